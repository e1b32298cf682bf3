#include "flight/l2.h"

#include "base/number.h"
#include "flight/l2_link.h"
#include "flight/l2_parts.h"
#include "machine/clock.h"
#include "machine/ids.h"

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

/* How long a flush waits. */
#define FLUSH_MAX sec(1)
/* The longest command but a store's. */
#define COMMAND_MAX 4096u

/* --- names and epochs ------------------------------------------------------------------------- */

static struct span value_name(const struct l2 *l2, struct span key, char name[L2_NAME_SIZE])
{
    XXH128_hash_t digest = XXH3_128bits(key.at, key.size);
    int size = snprintf(name, L2_NAME_SIZE, "{%s}:v:%016" PRIx64 "%016" PRIx64, l2->settings.prefix,
                        digest.high64, digest.low64);
    return span_of(name, (size_t)size);
}

static bool read_epoch(const struct l2_reply *reply, uint64_t *ret)
{
    return reply->type == L2_REPLY_TEXT && reply->text.size == L2_EPOCH_SIZE - 1 &&
           number_read(reply->text, 16, ret);
}

/* The answer to TIME: seconds and microseconds. */
static bool read_time(const struct l2_reply *reply, int64_t *ret)
{
    uint64_t seconds, part;
    if (reply->type != L2_REPLY_ARRAY || reply->count != 2 ||
        reply->items[0]->type != L2_REPLY_TEXT || reply->items[1]->type != L2_REPLY_TEXT ||
        !number_read(reply->items[0]->text, 10, &seconds) ||
        !number_read(reply->items[1]->text, 10, &part) || seconds > INT64_MAX / 1000000 - 1 ||
        part >= 1000000)
        return false;
    *ret = (int64_t)(seconds * 1000000 + part);
    return true;
}

/* --- flushes ---------------------------------------------------------------------------------- */

/* Notes that Redis has a new epoch since this flush was wanted. */
static void note_flushed(struct l2 *l2, uint64_t wanted)
{
    uint64_t done = __atomic_load_n(&l2->flushes_done, __ATOMIC_RELAXED);
    while (done < wanted && !__atomic_compare_exchange_n(&l2->flushes_done, &done, wanted, true,
                                                         __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        ;
    l2_count(l2, L2_COUNT_FLUSHES);
}

static uint64_t flushes_wanted(const struct l2 *l2)
{
    return __atomic_load_n(&l2->flushes_wanted, __ATOMIC_ACQUIRE);
}

static bool is_flushed(const struct l2 *l2, uint64_t wanted)
{
    return __atomic_load_n(&l2->flushes_done, __ATOMIC_ACQUIRE) >= wanted;
}

/* Sets a new epoch. */
static bool tell_flush(struct l2_link *link, uint64_t wanted, deadline by)
{
    struct l2 *l2 = l2_link_of(link);
    char name[L2_NAME_SIZE], text[L2_EPOCH_SIZE];
    struct l2_reply *replies[L2_REPLIES_MAX] = {NULL};
    struct buffer out = BUFFER_INIT(COMMAND_MAX);
    l2_command_put(&out, (struct span[]){SPAN("SET"), l2_epoch_name(l2, name), l2_epoch_text(text)},
                   3);
    bool told = buffer_fault(&out) == OK && l2_link_ask(link, buffer_span(&out), 1, replies, by) &&
                replies[0]->type == L2_REPLY_TEXT && span_is(replies[0]->text, "OK");
    if (told)
        note_flushed(l2, wanted);
    l2_reply_free(&replies[0]);
    buffer_fini(&out);
    return told;
}

bool l2_flush(struct l2_link *link)
{
    struct l2 *l2 = l2_link_of(link);
    uint64_t wanted = __atomic_add_fetch(&l2->flushes_wanted, 1, __ATOMIC_ACQ_REL);
    return tell_flush(link, wanted, after(FLUSH_MAX));
}

/* --- look-ups --------------------------------------------------------------------------------- */

/* Makes the epoch, or reads that of a daemon that was quicker. */
static bool make_epoch(struct l2_link *link, uint64_t *ret, deadline by)
{
    const struct l2 *l2 = l2_link_of(link);
    char name[L2_NAME_SIZE], text[L2_EPOCH_SIZE];
    struct span epoch = l2_epoch_name(l2, name);
    struct l2_reply *replies[L2_REPLIES_MAX] = {NULL};
    struct buffer out = BUFFER_INIT(COMMAND_MAX);
    l2_command_put(&out, (struct span[]){SPAN("SET"), epoch, l2_epoch_text(text), SPAN("NX")}, 4);
    l2_command_put(&out, (struct span[]){SPAN("GET"), epoch}, 2);
    bool made = buffer_fault(&out) == OK && l2_link_ask(link, buffer_span(&out), 2, replies, by) &&
                read_epoch(replies[1], ret);
    l2_reply_free(&replies[0]);
    l2_reply_free(&replies[1]);
    buffer_fini(&out);
    return made;
}

static enum l2_count count_of(enum l2_flaw flaw)
{
    static const enum l2_count counts[L2_FLAWS] = {
        [L2_SOUND] = L2_COUNT_HITS,          [L2_MALFORMED] = L2_COUNT_MALFORMED,
        [L2_VERSION] = L2_COUNT_VERSION,     [L2_CHECKSUM] = L2_COUNT_CHECKSUM,
        [L2_OTHER_KEY] = L2_COUNT_OTHER_KEY,
    };
    return counts[flaw];
}

/* What a look-up wants of a value. */
struct wanted {
    struct span key;
    duration ttl;
    struct answer_memory *memory;
    uint64_t result_max;
};

/* Judges a value by its form, its epoch and its age. */
static enum l2_count take_value(const struct l2_reply *reply, const struct wanted *wanted,
                                struct l2_found *found)
{
    struct l2_value value;
    if (reply->type == L2_REPLY_NONE)
        return L2_COUNT_MISSES;
    enum l2_flaw flaw = reply->type == L2_REPLY_TEXT
                            ? l2_value_read(reply->text, wanted->key, &value)
                            : L2_MALFORMED;
    if (flaw != L2_SOUND)
        return count_of(flaw);
    int64_t age;
    bool old = value.epoch != found->epoch ||
               __builtin_sub_overflow(found->time, value.made, &age) || age < 0 ||
               age >= wanted->ttl.us;
    if (!old) {
        found->answer = l2_value_answer(&value, wanted->memory, wanted->result_max);
        found->age.us = age;
    }
    l2_value_fini(&value);
    if (old)
        return L2_COUNT_OLD;
    return found->answer == NULL ? L2_COUNT_TOO_LONG : L2_COUNT_HITS;
}

/* Reads the replies to MGET and TIME.  False: they are nonsense. */
static bool take_replies(struct l2_link *link, struct l2_reply *replies[L2_REPLIES_MAX],
                         const struct wanted *wanted, struct l2_found *found, deadline by)
{
    struct l2 *l2 = l2_link_of(link);
    const struct l2_reply *both = replies[0];
    if (both->type != L2_REPLY_ARRAY || both->count != 2 || !read_time(replies[1], &found->time))
        return false;
    if (both->items[0]->type == L2_REPLY_NONE) {
        l2_count(l2, L2_COUNT_MISSES);
        return make_epoch(link, &found->epoch, by);
    }
    if (!read_epoch(both->items[0], &found->epoch))
        return false;
    l2_count(l2, take_value(both->items[1], wanted, found));
    return true;
}

void l2_find(struct l2_link *link, struct span key, duration ttl, struct answer_memory *memory,
             uint64_t result_max, struct l2_found *ret)
{
    struct l2 *l2 = l2_link_of(link);
    const struct wanted wanted = {key, ttl, memory, result_max};
    deadline by = after(l2->settings.budget);
    uint64_t flushes = flushes_wanted(l2);
    *ret = (struct l2_found){.asked = now()};
    if (!is_flushed(l2, flushes) && !tell_flush(link, flushes, by))
        return;
    char epoch[L2_NAME_SIZE], value[L2_NAME_SIZE];
    struct l2_reply *replies[L2_REPLIES_MAX] = {NULL};
    struct buffer out = BUFFER_INIT(COMMAND_MAX);
    l2_command_put(
        &out, (struct span[]){SPAN("MGET"), l2_epoch_name(l2, epoch), value_name(l2, key, value)},
        3);
    l2_command_put(&out, (struct span[]){SPAN("TIME")}, 1);
    if (buffer_fault(&out) == OK && l2_link_ask(link, buffer_span(&out), 2, replies, by))
        ret->answered = take_replies(link, replies, &wanted, ret, by);
    for (uint32_t i = 0; i < L2_REPLIES_MAX; i++)
        l2_reply_free(&replies[i]);
    buffer_fini(&out);
}

/* --- stores ----------------------------------------------------------------------------------- */

void l2_put(struct l2_link *link, struct span key, struct answer *answer,
            const struct l2_found *found, duration life)
{
    struct l2 *l2 = l2_link_of(link);
    const struct l2_value value = {.epoch = found->epoch, .made = found->time, .key = key};
    struct buffer bytes = BUFFER_INIT(L2_VALUE_MAX);
    struct buffer out = BUFFER_INIT(L2_VALUE_MAX + COMMAND_MAX);
    char name[L2_NAME_SIZE], px[24];
    invariant(found->answered);
    if (life.us < 1000 || !l2_value_put(&value, answer, l2->settings.compress_min, &bytes)) {
        l2_count(l2, L2_COUNT_TOO_LONG);
        buffer_fini(&bytes);
        return;
    }
    snprintf(px, sizeof(px), "%" PRId64, life.us / 1000);
    l2_command_put(&out,
                   (struct span[]){SPAN("SET"), value_name(l2, key, name), buffer_span(&bytes),
                                   SPAN("PX"), span_text(px)},
                   5);
    if (buffer_fault(&out) == OK)
        l2_link_post(link, buffer_span(&out));
    buffer_fini(&bytes);
    buffer_fini(&out);
}
