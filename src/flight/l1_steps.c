/* l1_steps.c - all entries of the cache in memory, in steps: flushes, the console's views, sums. */
#include "base/like.h"
#include "flight/l1_parts.h"

/* Buckets and entries that a step looks at under one hold of a lock. */
#define STEP_BUCKETS 64u
#define STEP_ENTRIES 64u

uint64_t l1_flushes(const struct l1 *l1)
{
    return __atomic_load_n(&l1->flushes, __ATOMIC_ACQUIRE);
}

/* --- tags ------------------------------------------------------------------------------------- */

static bool tags_have(struct span tags, struct span tag)
{
    while (tags.size >= tag.size) {
        const uint8_t *comma = memchr(tags.at, ',', tags.size);
        size_t size = comma == NULL ? tags.size : (size_t)(comma - tags.at);
        if (span_equal(span_of(tags.at, size), tag))
            return true;
        if (comma == NULL)
            return false;
        tags = span_skip(tags, size + 1);
    }
    return false;
}

static bool filter_matches(const struct l1_filter *filter, const struct l1_entry *entry)
{
    return (filter->tag.size == 0 || tags_have(l1_entry_tags(entry), filter->tag)) &&
           (filter->like.size == 0 || span_like(l1_entry_text(entry), filter->like));
}

/* --- flushes ---------------------------------------------------------------------------------- */

/* A store compares the count under the lock of its shard.  If it sees the old count, it enters its
 * entry before the flush takes that lock, and the flush finds the entry. */
struct l1_cursor l1_flush_begin(struct l1 *l1)
{
    uint64_t before = __atomic_fetch_add(&l1->flushes, 1, __ATOMIC_RELEASE);
    invariant(before < UINT64_MAX);
    return (struct l1_cursor){0};
}

static void cursor_next_bucket(struct l1_cursor *cursor, const struct l1_shard *shard)
{
    invariant(cursor->bucket <= shard->mask);
    cursor->entry = 0;
    if (cursor->bucket++ < shard->mask)
        return;
    cursor->bucket = 0;
    cursor->shard += 1;
}

bool l1_flush_step(struct l1 *l1, const struct l1_filter *filter, struct l1_cursor *cursor,
                   uint64_t *removed)
{
    if (cursor->shard >= l1->shard_count)
        return false;
    struct l1_shard *shard = &l1->shards[cursor->shard];
    struct l1_entry *taken = NULL;
    uint32_t seen = 0, here = cursor->shard;
    lock_take(&shard->lock);
    for (uint32_t i = 0; i < STEP_BUCKETS && seen < STEP_ENTRIES && cursor->shard == here; i++) {
        struct l1_entry *next;
        for (struct l1_entry *entry = shard->buckets[cursor->bucket]; entry != NULL; entry = next) {
            next = entry->next;
            seen += 1;
            if (!filter_matches(filter, entry))
                continue;
            l1_take_out(shard, entry, &taken);
            shard->counters.flushed += 1;
            *removed += 1;
        }
        cursor_next_bucket(cursor, shard);
    }
    lock_release(&shard->lock);
    l1_free_removed(taken);
    return cursor->shard < l1->shard_count;
}

/* --- views ------------------------------------------------------------------------------------ */

static void text_copy(char *to, size_t size, struct span text)
{
    size_t count = MIN_OF(text.size, size - 1);
    if (count > 0)
        memcpy(to, text.at, count);
    to[count] = '\0';
}

static void view_fill(const struct l1 *l1, const struct l1_entry *entry, struct l1_view *view)
{
    static const char *const names[] = {"window", "probation", "protected"};
    static_assert(ARRAY_SIZE(names) == L1_SEGMENTS, "each segment has a name");
    *view = (struct l1_view){
        .segment = names[entry->segment],
        .state =
            generations_check(l1->generations, entry->slots, entry->slot_count, entry->captured),
        .bytes = entry->bytes,
        .answer_bytes = answer_bytes(entry->answer),
        .hits = entry->hits,
        .made = entry->made,
        .expires = entry->expires,
        .stale_until = entry->stale_until,
    };
    text_copy(view->text, sizeof(view->text), l1_entry_text(entry));
    text_copy(view->tags, sizeof(view->tags), l1_entry_tags(entry));
}

/* Describes entries of one shard; returns their number. */
static uint32_t shard_views(const struct l1 *l1, struct l1_shard *shard, struct l1_cursor *cursor,
                            struct l1_view *views, uint32_t count)
{
    uint32_t made = 0, here = cursor->shard;
    for (uint32_t i = 0; i < STEP_BUCKETS && made < count && cursor->shard == here; i++) {
        const struct l1_entry *entry = shard->buckets[cursor->bucket];
        for (uint32_t passed = 0; entry != NULL && passed < cursor->entry; passed++)
            entry = entry->next;
        for (; entry != NULL && made < count; entry = entry->next) {
            view_fill(l1, entry, &views[made++]);
            cursor->entry += 1;
        }
        if (entry == NULL)
            cursor_next_bucket(cursor, shard);
    }
    return made;
}

uint32_t l1_views(struct l1 *l1, struct l1_cursor *cursor, struct l1_view *views, uint32_t count)
{
    uint32_t made = 0;
    while (made == 0 && cursor->shard < l1->shard_count) {
        struct l1_shard *shard = &l1->shards[cursor->shard];
        lock_take(&shard->lock);
        made = shard_views(l1, shard, cursor, views, MIN_OF(count, STEP_ENTRIES));
        lock_release(&shard->lock);
    }
    return made;
}

/* --- sums ------------------------------------------------------------------------------------- */

static void shard_stats(const struct l1_shard *shard, struct l1_stats *sums)
{
    const struct l1_counters *counters = &shard->counters;
    sums->entries += shard->entries;
    for (uint32_t i = 0; i < L1_SEGMENTS; i++)
        sums->bytes += shard->bytes[i];
    sums->bytes_max += shard->max;
    sums->table_bytes += sizeof(*shard) + (shard->mask + 1) * sizeof(struct l1_entry *) +
                         (shard->sketch.mask + 1) * sizeof(uint64_t);
    sums->hits += counters->hits;
    sums->stale += counters->stale;
    sums->refreshes += counters->refreshes;
    sums->held += counters->held;
    sums->misses += counters->misses;
    sums->expired += counters->expired;
    sums->changed += counters->changed;
    sums->stored += counters->stored;
    sums->refused += counters->refused;
    sums->evicted += counters->evicted;
    sums->rejected += counters->rejected;
    sums->flushed += counters->flushed;
}

void l1_stats(struct l1 *l1, struct l1_stats *ret)
{
    struct l1_stats sums = {0};
    for (uint32_t i = 0; i < l1->shard_count; i++) {
        lock_take(&l1->shards[i].lock);
        shard_stats(&l1->shards[i], &sums);
        lock_release(&l1->shards[i].lock);
    }
    *ret = sums;
}
