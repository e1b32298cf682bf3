/* filter.c - a cheap filter: most texts have no effects and skip the analysis. */
#include "base/check.h"
#include "base/compiler.h"
#include "query/effects.h"
#include "query/outcome.h"

typedef uint8_t block __attribute__((vector_size(16)));
typedef uint64_t halves __attribute__((vector_size(16)));

/* Bytes of the longest pattern after its first byte: patterns have up to four bytes. */
#define AHEAD       3u
#define BLOCK_BYTES (sizeof(block) + AHEAD)

static block load(const uint8_t *at)
{
    block bytes;
    memcpy(&bytes, at, sizeof(bytes));
    return bytes;
}

/* Marks which of 16 positions begin one of these, letters in either case: ';', "temp" (also
 * pg_temp), "_co" (set_config), "_ad" (pg_advisory_lock), "_rep" (pg_replication_..., ..._slot),
 * "stv" (lastval), "rrv" (currval), "tse" (setseed), "u&" (a name with escapes).  Reads AHEAD bytes
 * more. */
static inline block block_hits(const uint8_t *at, block *into)
{
    block first = load(at), a = first | 0x20, b = load(at + 1) | 0x20, c = load(at + 2) | 0x20,
          d = load(at + 3) | 0x20;
    *into |= (block)(a == 'i') & (block)(d == 'o');
    block e = (block)(b == 'e'), p = (block)(d == 'p'), r = (block)(b == 'r');
    block t =
        (block)(a == 't') & ((e & p & (block)(c == 'm')) | ((block)(b == 's') & (block)(c == 'e')));
    block under =
        ((block)(b == 'c') & (block)(c == 'o')) | ((block)(b == 'a') & (block)(c == 'd')) | (r & p);
    block value = ((block)(a == 's') & (block)(b == 't')) | ((block)(a == 'r') & r);
    return (block)(first == ';') | t | ((block)(first == '_') & under) |
           ((block)(c == 'v') & value) | ((block)(a == 'u') & (block)(b == '&'));
}

/* Blocks between two tests of the hits. */
#define BLOCKS_AT_A_TIME 8

/* *ret_into: "into", or letters like it, may occur; meaningless if there are hits. */
static inline bool part_hits_into(struct span part, bool *ret_into)
{
    uint8_t padded[BLOCK_BYTES] = {0};
    block hits = {0}, into = {0};
    if (part.size < BLOCK_BYTES) {
        if (part.size > 0)
            memcpy(padded, part.at, part.size);
        part = span_of(padded, sizeof(padded));
    }
    costly_invariant(part.size >= BLOCK_BYTES);
    const uint8_t *at = part.at, *last = part.at + part.size - BLOCK_BYTES;
    while (at < last) {
        const uint8_t *end = last - at > 16 * BLOCKS_AT_A_TIME ? at + 16 * BLOCKS_AT_A_TIME : last;
        for (; at < end; at += sizeof(block))
            hits |= block_hits(at, &into);
        halves any = (halves)hits;
        if ((any[0] | any[1]) != 0)
            return true;
    }
    halves any = (halves)(hits | block_hits(last, &into)), like = (halves)into;
    *ret_into = (like[0] | like[1]) != 0;
    return (any[0] | any[1]) != 0;
}

static bool part_hits(struct span part)
{
    bool into;
    return part_hits_into(part, &into);
}

/* Returns whether "_set" occurs, as in pg_settings, which may be updated anywhere in a text. */
static bool has_settings(struct span part)
{
    while (part.size >= 4) {
        const uint8_t *at = memchr(part.at, '_', part.size - 3);
        if (at == NULL)
            return false;
        if ((at[1] | 0x20) == 's' && (at[2] | 0x20) == 'e' && (at[3] | 0x20) == 't')
            return true;
        part = span_skip(part, (size_t)(at - part.at) + 1);
    }
    return false;
}

bool query_part_may_have_effects(struct span part)
{
    return part_hits(part) || has_settings(part);
}

/* Texts of at most this size are shorter than SELECT lastval(), the shortest statement whose effect
 * is not in its first word. */
#define SHORT_MAX 15u

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

/* Returns whether a short text has a second statement. */
static bool short_hits(const uint8_t *at, size_t size)
{
    costly_invariant(size >= 4 && size <= SHORT_MAX);
    if (size >= 8)
        return (semicolons_of(eight_from(at)) | semicolons_of(eight_from(at + size - 8))) != 0;
    bool hits = false;
    for (size_t i = 4; i < size; i++)
        hits |= at[i] == ';';
    return hits;
}

#define FOUR(a, b, c, d)                                                                           \
    ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* Returns whether the first word has no effect.  Only a called function, an INTO or another
 * statement after it can have effects. */
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

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Returns whether an UPDATE may be of pg_settings, which sets parameters: also "pg_settings", ONLY,
 * after a comment, with a schema.  False: certainly another table. */
static bool updates_catalog(struct span text)
{
    costly_invariant(text.size >= 4);
    size_t at = 6;
    while (at < text.size && is_space(text.at[at]))
        at += 1;
    if (at < text.size && text.at[at] == '"')
        at += 1;
    else if (at == 6 || at == text.size || (text.at[at] | 0x20) < 'a' || (text.at[at] | 0x20) > 'z')
        return true;
    uint8_t letter = at < text.size ? text.at[at] | 0x20 : '\0';
    if (letter != 'p' && letter != 'o')
        return false;
    const char *name = (const char *)text.at + at;
    return text.size - at < 4 || strncasecmp(name, "pg_", 3) == 0 ||
           (strncasecmp(name, "only", 4) == 0 && name[-1] != '"');
}

/* Finds effects that depend on the first word and that part_hits() does not find. */
static bool first_word_hits(struct span text)
{
    switch (text.at[0] | 0x20) {
    case 'u':
        return updates_catalog(text);
    case 'w': /* WITH a AS (UPDATE pg_settings ...), COPY (UPDATE pg_settings ...) */
    case 'c':
        return has_settings(text);
    default:
        return false;
    }
}

/* Removes blanks around the text, and semicolons and NULs at its end. */
static struct span trimmed(struct span text)
{
    while (text.size > 0 && (text.at[text.size - 1] == '\0' || text.at[text.size - 1] == ';' ||
                             text.at[text.size - 1] == ' ' || text.at[text.size - 1] == '\n'))
        text.size -= 1;
    while (text.size > 0 && (text.at[0] == ' ' || text.at[0] == '\n' || text.at[0] == '\t'))
        text = span_skip(text, 1);
    return text;
}

bool query_may_have_effects(struct span text)
{
    text = trimmed(text);
    if (text.size < 4)
        return text.size > 0;
    if (UNLIKELY(!harmless_start(text.at)))
        return true;
    if (UNLIKELY(first_word_hits(text)))
        return true;
    if (text.size <= SHORT_MAX)
        return short_hits(text.at, text.size);
    return part_hits(text);
}

bool query_filter(struct span whole, uint8_t *ret_outcome)
{
    struct span text = trimmed(whole);
    bool into = false;
    if (!outcome_selects(text)) {
        *ret_outcome = query_outcome_of(whole);
        return query_may_have_effects(text);
    }
    bool hits =
        text.size <= SHORT_MAX ? short_hits(text.at, text.size) : part_hits_into(text, &into);
    *ret_outcome = LIKELY(!hits && !into) ? 0 : query_outcome_of(whole);
    return hits;
}

bool query_start_may_have_effects(struct span part)
{
    return trimmed(part).size == 0 || query_may_have_effects(part);
}
