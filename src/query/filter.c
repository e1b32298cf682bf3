/* filter.c - the cheap look: most texts have no effect on their session, and shall not pay. */
#include "base/compiler.h"
#include "query/effects.h"

typedef uint8_t block __attribute__((vector_size(16)));
typedef uint64_t halves __attribute__((vector_size(16)));

/* Bytes of the longest thing that is looked for: four. */
#define AHEAD       3u
#define BLOCK_BYTES (sizeof(block) + AHEAD)

static block load(const uint8_t *at)
{
    block bytes;
    memcpy(&bytes, at, sizeof(bytes));
    return bytes;
}

/* Whether at any of 16 places begins a ';', a "temp" (also pg_temp), an "_co" (set_config) or an
 * "_ad" (pg_advisory_lock), letters in either case.  Reads AHEAD bytes more. */
static bool block_hits(const uint8_t *at)
{
    block a = load(at), b = load(at + 1) | 0x20, c = load(at + 2) | 0x20, d = load(at + 3) | 0x20;
    block under = (block)(a == '_');
    block temp =
        (block)((a | 0x20) == 't') & (block)(b == 'e') & (block)(c == 'm') & (block)(d == 'p');
    block config = under & (block)(b == 'c') & (block)(c == 'o');
    block advisory = under & (block)(b == 'a') & (block)(c == 'd');
    halves any = (halves)((block)(a == ';') | temp | config | advisory);
    return (any[0] | any[1]) != 0;
}

static bool part_hits(const uint8_t *at, size_t size)
{
    const uint8_t *last = at + size - BLOCK_BYTES;
    for (; at < last; at += sizeof(block))
        if (block_hits(at))
            return true;
    return block_hits(last);
}

bool query_part_may_have_effects(struct span part)
{
    uint8_t padded[BLOCK_BYTES] = {0};
    if (part.size >= BLOCK_BYTES)
        return part_hits(part.at, part.size);
    if (part.size > 0)
        memcpy(padded, part.at, part.size);
    return block_hits(padded);
}

/* Shorter than the shortest statement whose effect is not in its first word: SELECT INTO TEMP t. */
#define SHORT_MOST 16u

static uint64_t eight_from(const uint8_t *at)
{
    uint64_t bytes;
    memcpy(&bytes, at, sizeof(bytes));
    return bytes;
}

static uint64_t semicolons_of(uint64_t bytes)
{
    uint64_t zero = bytes ^ UINT64_C(0x3b3b3b3b3b3b3b3b);
    return (zero - UINT64_C(0x0101010101010101)) & ~zero & UINT64_C(0x8080808080808080);
}

/* Whether a short text has a second statement. */
static bool short_hits(const uint8_t *at, size_t size)
{
    if (size >= 8)
        return (semicolons_of(eight_from(at)) | semicolons_of(eight_from(at + size - 8))) != 0;
    bool hits = false;
    for (size_t i = 4; i < size; i++)
        hits |= at[i] == ';';
    return hits;
}

#define FOUR(a, b, c, d)                                                                           \
    ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* Statements that have none by what they are: only a function that they call, an INTO, or another
 * statement behind them could. */
static bool harmless_start(const uint8_t *at)
{
    switch (FOUR(at[0], at[1], at[2], at[3]) | 0x20202020u) {
    case FOUR('s', 'e', 'l', 'e'):
    case FOUR('i', 'n', 's', 'e'):
    case FOUR('u', 'p', 'd', 'a'):
    case FOUR('d', 'e', 'l', 'e'):
    case FOUR('w', 'i', 't', 'h'):
    case FOUR('b', 'e', 'g', 'i'):
    case FOUR('c', 'o', 'm', 'm'):
    case FOUR('r', 'o', 'l', 'l'):
    case FOUR('s', 'a', 'v', 'e'):
    case FOUR('r', 'e', 'l', 'e'):
    case FOUR('s', 't', 'a', 'r'):
    case FOUR('s', 'h', 'o', 'w'):
    case FOUR('f', 'e', 't', 'c'):
    case FOUR('v', 'a', 'l', 'u'):
    case FOUR('m', 'e', 'r', 'g'):
    case FOUR('c', 'o', 'p', 'y'):
    case FOUR('n', 'o', 't', 'i'):
        return true;
    default:
        return false;
    }
}

/* The view by which a parameter may be set: UPDATE pg_settings. */
static bool updates_catalog(struct span text)
{
    size_t at = 6;
    while (at < text.size && (text.at[at] == ' ' || text.at[at] == '\n' || text.at[at] == '\t'))
        at += 1;
    return text.size - at >= 3 && strncasecmp((const char *)text.at + at, "pg_", 3) == 0;
}

bool query_may_have_effects(struct span text)
{
    while (text.size > 0 && (text.at[text.size - 1] == '\0' || text.at[text.size - 1] == ';' ||
                             text.at[text.size - 1] == ' ' || text.at[text.size - 1] == '\n'))
        text.size -= 1;
    while (text.size > 0 && (text.at[0] == ' ' || text.at[0] == '\n' || text.at[0] == '\t'))
        text = span_skip(text, 1);
    if (text.size < 4)
        return text.size > 0;
    if (UNLIKELY(!harmless_start(text.at)))
        return true;
    if (UNLIKELY((text.at[0] | 0x20) == 'u' && text.size > 9 && updates_catalog(text)))
        return true;
    if (text.size <= SHORT_MOST)
        return short_hits(text.at, text.size);
    return query_part_may_have_effects(text);
}
