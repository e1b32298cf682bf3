#include "flight/l1_parts.h"

#include "machine/ids.h"

#include <stdlib.h>
#include <xxhash.h>

/* Shards have at least so many bytes, so that a large answer has room in one. */
#define SHARD_MIN  4194304u
#define SHARDS_MAX 64u
/* Bytes of a shard for each of its buckets, and words of its sketch for each bucket. */
#define BUCKET_BYTES 1024u
#define BUCKET_WORDS 2u
#define BUCKETS_MIN  64u
#define BUCKETS_MAX  4194304u
/* What malloc adds to a block. */
#define BLOCK_EXTRA 16u
/* How often a store takes its lock again to evict more. */
#define ROUNDS_MAX 64u

/* --- shards ----------------------------------------------------------------------------------- */

static uint32_t power_of_two(uint64_t wanted, uint32_t min, uint32_t max)
{
    uint32_t result = min;
    while (result < max && result < wanted)
        result *= 2;
    return result;
}

static bool shard_init(struct l1_shard *shard, uint64_t max)
{
    uint32_t buckets = power_of_two(max / BUCKET_BYTES, BUCKETS_MIN, BUCKETS_MAX);
    *shard = (struct l1_shard){.mask = buckets - 1, .max = max};
    lock_init(&shard->lock);
    for (uint32_t i = 0; i < L1_SEGMENTS; i++)
        list_init(&shard->segments[i]);
    shard->buckets = calloc(buckets, sizeof(struct l1_entry *));
    return sketch_init(&shard->sketch, buckets * BUCKET_WORDS) && shard->buckets != NULL;
}

static void shard_fini(struct l1_shard *shard)
{
    struct l1_entry *removed = NULL;
    for (uint32_t i = 0; i < L1_SEGMENTS; i++)
        for (struct node *node; (node = list_first(&shard->segments[i])) != NULL;)
            l1_take_out(shard, LIST_ENTRY(node, struct l1_entry, node), &removed);
    invariant(shard->entries == 0);
    l1_free_removed(removed);
    free(shard->buckets);
    sketch_fini(&shard->sketch);
    lock_fini(&shard->lock);
}

struct l1 *l1_new(uint64_t bytes_max, const struct generations_table *generations)
{
    invariant(bytes_max >= L1_BYTES_MIN);
    uint32_t shards = power_of_two(bytes_max / SHARD_MIN / 2 + 1, 1, SHARDS_MAX);
    struct l1 *l1 = calloc(1, sizeof(*l1) + shards * sizeof(struct l1_shard));
    if (l1 == NULL)
        return NULL;
    l1->generations = generations;
    static_assert(sizeof(l1->secret) >= XXH3_SECRET_SIZE_MIN, "the digest wants a longer secret");
    random_bytes(l1->secret, sizeof(l1->secret));
    bool complete = true;
    for (; l1->shard_count < shards; l1->shard_count++)
        complete = shard_init(&l1->shards[l1->shard_count], bytes_max / shards) && complete;
    if (!complete)
        l1_free(&l1);
    return l1;
}

void l1_free(struct l1 **l1)
{
    if (*l1 == NULL)
        return;
    for (uint32_t i = 0; i < (*l1)->shard_count; i++)
        shard_fini(&(*l1)->shards[i]);
    free(*l1);
    *l1 = NULL;
}

void l1_bound(struct l1 *l1, uint64_t bytes_max, moment now)
{
    invariant(bytes_max >= L1_BYTES_MIN);
    for (uint32_t i = 0; i < l1->shard_count; i++) {
        struct l1_shard *shard = &l1->shards[i];
        for (bool done = false; !done;) {
            struct l1_entry *removed = NULL;
            lock_take(&shard->lock);
            shard->max = bytes_max / l1->shard_count;
            done = l1_shrink(l1, shard, now, &removed);
            lock_release(&shard->lock);
            l1_free_removed(removed);
        }
    }
}

duration l1_jitter(duration ttl, uint32_t percent)
{
    uint32_t random;
    invariant(percent <= 100 && ttl.us >= 0);
    random_bytes(&random, sizeof(random));
    if (ttl.us == NO_LIMIT.us)
        return ttl;
    int64_t part = ttl.us / 100 * percent;
    return (duration){ttl.us - (int64_t)((double)part * random / UINT32_MAX)};
}

void l1_key_init(const struct l1 *l1, struct span bytes, struct l1_key *ret)
{
    XXH128_hash_t digest =
        XXH3_128bits_withSecret(bytes.at, bytes.size, l1->secret, sizeof(l1->secret));
    *ret = (struct l1_key){.low = digest.low64, .high = digest.high64, .bytes = bytes};
}

/* The upper half of one word chooses the shard, the lower half the bucket. */
static struct l1_shard *shard_of(struct l1 *l1, const struct l1_key *key)
{
    return &l1->shards[key->low >> 32 & (l1->shard_count - 1)];
}

/* --- entries ---------------------------------------------------------------------------------- */

static struct l1_entry *entry_find(const struct l1_shard *shard, const struct l1_key *key)
{
    struct l1_entry *entry = shard->buckets[key->low & shard->mask];
    for (; entry != NULL; entry = entry->next)
        if (entry->low == key->low && entry->high == key->high &&
            span_equal(l1_entry_key(entry), key->bytes))
            return entry;
    return NULL;
}

/* --- look-up ---------------------------------------------------------------------------------- */

/* What a look-up makes of an entry.  The generations are read after the request came. */
static enum l1_outcome entry_judge(const struct l1 *l1, struct l1_shard *shard,
                                   struct l1_entry *entry, moment now, deadline refresh_by)
{
    if (now.us >= entry->stale_until.us) {
        shard->counters.expired += 1;
        return L1_MISS;
    }
    switch (generations_check(l1->generations, entry->slots, entry->slot_count, entry->captured)) {
    case GENERATIONS_CHANGED:
        shard->counters.changed += 1;
        return L1_MISS;
    case GENERATIONS_HELD:
        return L1_HELD;
    case GENERATIONS_CURRENT:
        break;
    }
    if (now.us < entry->expires.us)
        return L1_HIT;
    if (now.us < entry->refresh_by.us)
        return L1_STALE;
    entry->refresh_by = refresh_by;
    return L1_REFRESH;
}

static void shard_count(struct l1_shard *shard, enum l1_outcome outcome)
{
    struct l1_counters *counters = &shard->counters;
    counters->misses += outcome == L1_MISS;
    counters->hits += outcome == L1_HIT;
    counters->stale += outcome == L1_STALE;
    counters->refreshes += outcome == L1_REFRESH;
    counters->held += outcome == L1_HELD;
}

enum l1_outcome l1_find(struct l1 *l1, const struct l1_key *key, moment now, deadline refresh_by,
                        struct l1_found *ret)
{
    struct l1_shard *shard = shard_of(l1, key);
    struct l1_entry *removed = NULL;
    enum l1_outcome outcome = L1_MISS;
    *ret = (struct l1_found){0};
    lock_take(&shard->lock);
    sketch_add(&shard->sketch, key->low, key->high, shard->entries);
    struct l1_entry *entry = entry_find(shard, key);
    uint64_t changed = shard->counters.changed;
    if (entry != NULL)
        outcome = entry_judge(l1, shard, entry, now, refresh_by);
    ret->changed = shard->counters.changed > changed;
    if (entry != NULL && outcome == L1_MISS)
        l1_take_out(shard, entry, &removed);
    if (outcome == L1_HIT || outcome == L1_STALE || outcome == L1_REFRESH) {
        l1_touch(shard, entry);
        entry->hits += entry->hits < UINT32_MAX;
        *ret = (struct l1_found){.answer = answer_ref(entry->answer), .made = entry->made};
    }
    shard_count(shard, outcome);
    lock_release(&shard->lock);
    l1_free_removed(removed);
    return outcome;
}

bool l1_has(struct l1 *l1, const struct l1_key *key, moment now, bool *ret_changed)
{
    struct l1_shard *shard = shard_of(l1, key);
    lock_take(&shard->lock);
    const struct l1_entry *entry = entry_find(shard, key);
    bool lives = entry != NULL && now.us < entry->stale_until.us;
    bool current = lives && generations_check(l1->generations, entry->slots, entry->slot_count,
                                              entry->captured) == GENERATIONS_CURRENT;
    lock_release(&shard->lock);
    *ret_changed = lives && !current;
    return current;
}

void l1_refresh_failed(struct l1 *l1, const struct l1_key *key)
{
    struct l1_shard *shard = shard_of(l1, key);
    lock_take(&shard->lock);
    struct l1_entry *entry = entry_find(shard, key);
    if (entry != NULL)
        entry->refresh_by = (deadline){INT64_MIN};
    lock_release(&shard->lock);
}

bool l1_remove(struct l1 *l1, const struct l1_key *key)
{
    struct l1_shard *shard = shard_of(l1, key);
    struct l1_entry *removed = NULL;
    lock_take(&shard->lock);
    struct l1_entry *entry = entry_find(shard, key);
    if (entry != NULL)
        l1_take_out(shard, entry, &removed);
    lock_release(&shard->lock);
    l1_free_removed(removed);
    return entry != NULL;
}

/* --- store ------------------------------------------------------------------------------------ */

static size_t entry_size(const struct l1_offer *offer)
{
    uint32_t slots = offer->reads == NULL ? 0 : offer->reads->count;
    return sizeof(struct l1_entry) + slots * sizeof(uint32_t) + offer->key.bytes.size +
           offer->tags.size;
}

/* The offset of the text in the key's bytes. */
static size_t text_at(const struct l1_offer *offer)
{
    if (offer->text.size == 0)
        return 0;
    invariant(offer->text.at >= offer->key.bytes.at);
    size_t at = (size_t)(offer->text.at - offer->key.bytes.at);
    invariant(at + offer->text.size <= offer->key.bytes.size);
    return at;
}

static_assert(GENERATIONS_SET_MAX <= UINT8_MAX && L1_TAGS_MAX <= UINT16_MAX, "counts have room");

/* Makes an entry with a reference to a packed answer.  NULL without memory. */
static struct l1_entry *entry_new(const struct l1_offer *offer)
{
    const struct generations_reads *reads = offer->reads;
    size_t size = entry_size(offer);
    struct l1_entry *entry = malloc(size);
    if (entry == NULL)
        return NULL;
    *entry = (struct l1_entry){.low = offer->key.low,
                               .high = offer->key.high,
                               .answer = answer_pack(offer->answer),
                               .captured = offer->captured,
                               .made = offer->made,
                               .expires = offer->expires,
                               .stale_until = offer->stale_until,
                               .refresh_by = {INT64_MIN},
                               .key_size = (uint32_t)offer->key.bytes.size,
                               .text_at = (uint32_t)text_at(offer),
                               .text_size = (uint32_t)offer->text.size,
                               .tags_size = (uint16_t)offer->tags.size,
                               .slot_count = (uint8_t)(reads == NULL ? 0 : reads->count)};
    if (reads != NULL)
        memcpy(entry->slots, reads->slots, reads->count * sizeof(uint32_t));
    memcpy((uint8_t *)(entry->slots + entry->slot_count), offer->key.bytes.at,
           offer->key.bytes.size);
    if (offer->tags.size > 0)
        memcpy((uint8_t *)(entry->slots + entry->slot_count) + entry->key_size, offer->tags.at,
               offer->tags.size);
    uint64_t bytes = size + BLOCK_EXTRA + answer_footprint(entry->answer);
    entry->bytes = (uint32_t)MIN_OF(bytes, UINT32_MAX);
    return entry;
}

/* Whether the offer is still good.  Asked with the lock held, which a flush takes too. */
static enum l1_stored offer_judge(const struct l1 *l1, const struct l1_offer *offer,
                                  const struct l1_entry *old)
{
    if (offer->flushes != l1_flushes(l1))
        return L1_CHANGED;
    if (offer->reads != NULL)
        switch (generations_check(l1->generations, offer->reads->slots, offer->reads->count,
                                  offer->captured)) {
        case GENERATIONS_CHANGED:
            return L1_CHANGED;
        case GENERATIONS_HELD:
            return L1_IN_DOUBT;
        case GENERATIONS_CURRENT:
            break;
        }
    return old != NULL && old->made.us > offer->made.us ? L1_OLD : L1_STORED;
}

/* Enters an entry, in the place of an old one with its key. */
static void shard_enter(struct l1_shard *shard, struct l1_entry *entry, struct l1_entry *old,
                        struct l1_entry **removed)
{
    enum l1_segment segment = L1_WINDOW;
    if (old != NULL) {
        segment = old->segment;
        entry->hits = old->hits;
        l1_take_out(shard, old, removed);
    }
    struct l1_entry **bucket = &shard->buckets[entry->low & shard->mask];
    entry->next = *bucket;
    *bucket = entry;
    shard->entries += 1;
    shard->counters.stored += 1;
    if (segment == L1_WINDOW)
        l1_admit(shard, entry);
    else
        l1_place(shard, entry, segment);
}

/* Evicts down to the limit, under as many holds of the lock as that takes. */
static void shard_settle(const struct l1 *l1, struct l1_shard *shard, moment now)
{
    bool done = false;
    for (uint32_t round = 1; !done; round++) {
        struct l1_entry *removed = NULL;
        lock_take(&shard->lock);
        if (round < ROUNDS_MAX) {
            done = l1_shrink(l1, shard, now, &removed);
        } else {
            l1_shrink_at_once(shard, &removed);
            done = true;
        }
        invariant(!done || shard->bytes[L1_WINDOW] + shard->bytes[L1_PROBATION] +
                                   shard->bytes[L1_PROTECTED] <=
                               shard->max);
        lock_release(&shard->lock);
        l1_free_removed(removed);
    }
}

enum l1_stored l1_store(struct l1 *l1, const struct l1_offer *offer, moment now)
{
    invariant(answer_storable(offer->answer) && offer->expires.us <= offer->stale_until.us);
    struct l1_shard *shard = shard_of(l1, &offer->key);
    if (now.us >= offer->expires.us)
        return L1_OLD;
    if (offer->key.bytes.size > L1_KEY_MAX || offer->tags.size > L1_TAGS_MAX)
        return L1_TOO_LARGE;
    struct l1_entry *entry = entry_new(offer), *removed = entry;
    if (entry == NULL)
        return L1_NO_MEMORY;
    lock_take(&shard->lock);
    struct l1_entry *old = entry_find(shard, &offer->key);
    enum l1_stored stored = offer_judge(l1, offer, old);
    if (stored == L1_STORED && entry->bytes > l1_main_max(shard))
        stored = L1_TOO_LARGE;
    if (stored == L1_STORED) {
        removed = NULL;
        shard_enter(shard, entry, old, &removed);
    } else {
        shard->counters.refused += 1;
    }
    lock_release(&shard->lock);
    l1_free_removed(removed);
    if (stored == L1_STORED)
        shard_settle(l1, shard, now);
    return stored;
}
