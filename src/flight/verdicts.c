#include "flight/verdicts.h"

#include "base/check.h"
#include "base/list.h"
#include "machine/ids.h"
#include "machine/lock.h"

#include <stdlib.h>
#include <xxhash.h>

#define SHARDS       16u
#define BUCKET_BYTES 1024u
#define BUCKETS_MIN  16u
#define BUCKETS_MAX  65536u
/* What malloc adds to a block. */
#define BLOCK_EXTRA 16u

/* --- shards ----------------------------------------------------------------------------------- */

struct entry {
    struct entry *next; /* of the bucket */
    struct node node;   /* in the order of the clock */
    uint64_t low, high; /* the digest */
    struct verdict *verdict;
    uint32_t bytes;
    uint32_t key_size;
    bool used; /* since the hand of the clock passed */
    uint8_t key[];
};

struct shard {
    struct lock lock; /* guards all of the shard */
    struct entry **buckets;
    uint32_t mask;
    struct list clock; /* the hand is at the front */
    uint64_t bytes;
    uint64_t max;
    uint64_t hits, misses, stored, evicted;
    uint64_t reasons[VERDICT_REASONS + 1];
};

struct verdicts {
    uint8_t secret[192];
    struct shard shards[SHARDS];
};

static bool shard_init(struct shard *shard, uint64_t max)
{
    uint32_t buckets = BUCKETS_MIN;
    while (buckets < BUCKETS_MAX && buckets < max / BUCKET_BYTES)
        buckets *= 2;
    lock_init(&shard->lock);
    list_init(&shard->clock);
    shard->mask = buckets - 1;
    shard->max = max;
    shard->buckets = calloc(buckets, sizeof(struct entry *));
    return shard->buckets != NULL;
}

struct verdicts *verdicts_new(uint64_t bytes_max)
{
    invariant(bytes_max >= VERDICTS_BYTES_MIN);
    struct verdicts *verdicts = calloc(1, sizeof(*verdicts));
    if (verdicts == NULL)
        return NULL;
    static_assert(sizeof(verdicts->secret) >= XXH3_SECRET_SIZE_MIN, "XXH3 wants a longer secret");
    random_bytes(verdicts->secret, sizeof(verdicts->secret));
    bool complete = true;
    for (uint32_t i = 0; i < SHARDS; i++)
        complete = shard_init(&verdicts->shards[i], bytes_max / SHARDS) && complete;
    if (!complete)
        verdicts_free(&verdicts);
    return verdicts;
}

/* --- entries ---------------------------------------------------------------------------------- */

static void free_removed(struct entry *removed)
{
    while (removed != NULL) {
        struct entry *next = removed->next;
        verdict_unref(&removed->verdict);
        free(removed);
        removed = next;
    }
}

/* Takes an entry out of its shard, which is locked, and puts it before *removed. */
static void take_out(struct shard *shard, struct entry *entry, struct entry **removed)
{
    struct entry **at = &shard->buckets[entry->low & shard->mask];
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    list_remove(&shard->clock, &entry->node);
    shard->bytes -= entry->bytes;
    entry->next = *removed;
    *removed = entry;
}

/* Evicts until the shard, which is locked, is within its limit.  Each turn of the clock clears the
 * marks, so it ends. */
static void shrink(struct shard *shard, struct entry **removed)
{
    while (shard->bytes > shard->max) {
        struct entry *entry = LIST_ENTRY(list_first(&shard->clock), struct entry, node);
        if (!entry->used) {
            take_out(shard, entry, removed);
            shard->evicted += 1;
            continue;
        }
        entry->used = false;
        list_remove(&shard->clock, &entry->node);
        list_push(&shard->clock, &entry->node);
    }
}

static struct entry *find_entry(const struct shard *shard, XXH128_hash_t digest, struct span key)
{
    struct entry *entry = shard->buckets[digest.low64 & shard->mask];
    while (entry != NULL && (entry->low != digest.low64 || entry->high != digest.high64 ||
                             !span_equal(span_of(entry->key, entry->key_size), key)))
        entry = entry->next;
    return entry;
}

static XXH128_hash_t digest_of(const struct verdicts *verdicts, struct span key)
{
    return XXH3_128bits_withSecret(key.at, key.size, verdicts->secret, sizeof(verdicts->secret));
}

static struct shard *shard_of(struct verdicts *verdicts, XXH128_hash_t digest)
{
    return &verdicts->shards[digest.high64 & (SHARDS - 1)];
}

/* --- interface -------------------------------------------------------------------------------- */

struct verdict *verdicts_find(struct verdicts *verdicts, struct span key)
{
    XXH128_hash_t digest = digest_of(verdicts, key);
    struct shard *shard = shard_of(verdicts, digest);
    struct verdict *verdict = NULL;
    lock_take(&shard->lock);
    struct entry *entry = find_entry(shard, digest, key);
    if (entry != NULL) {
        entry->used = true;
        verdict = verdict_ref(entry->verdict);
        shard->hits += 1;
        shard->reasons[verdict->reason] += 1;
    } else {
        shard->misses += 1;
    }
    lock_release(&shard->lock);
    return verdict;
}

static struct entry *entry_new(XXH128_hash_t digest, struct span key, struct verdict *verdict)
{
    struct entry *entry = malloc(sizeof(*entry) + key.size);
    if (entry == NULL)
        return NULL;
    *entry = (struct entry){.low = digest.low64, .high = digest.high64};
    entry->bytes = (uint32_t)(sizeof(*entry) + key.size + BLOCK_EXTRA + verdict_bytes(verdict));
    entry->key_size = (uint32_t)key.size;
    entry->verdict = verdict_ref(verdict);
    memcpy(entry->key, key.at, key.size);
    return entry;
}

static void insert(struct shard *shard, struct entry *entry, struct entry **removed)
{
    struct entry **bucket = &shard->buckets[entry->low & shard->mask];
    entry->next = *bucket;
    *bucket = entry;
    list_push(&shard->clock, &entry->node);
    shard->bytes += entry->bytes;
    shard->stored += 1;
    shard->reasons[entry->verdict->reason] += 1;
    shrink(shard, removed);
}

bool verdicts_store(struct verdicts *verdicts, struct span key, struct verdict *verdict)
{
    struct entry *removed = NULL;
    if (key.size == 0 || key.size > VERDICTS_KEY_MAX)
        return false;
    XXH128_hash_t digest = digest_of(verdicts, key);
    struct shard *shard = shard_of(verdicts, digest);
    struct entry *entry = entry_new(digest, key, verdict);
    if (entry == NULL)
        return false;
    lock_take(&shard->lock);
    struct entry *old = find_entry(shard, digest, key);
    if (old != NULL)
        take_out(shard, old, &removed);
    bool fits = entry->bytes <= shard->max;
    if (fits)
        insert(shard, entry, &removed);
    lock_release(&shard->lock);
    free_removed(removed);
    if (!fits)
        free_removed(entry);
    return fits;
}

void verdicts_bound(struct verdicts *verdicts, uint64_t bytes_max)
{
    invariant(bytes_max >= VERDICTS_BYTES_MIN);
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &verdicts->shards[i];
        struct entry *removed = NULL;
        lock_take(&shard->lock);
        shard->max = bytes_max / SHARDS;
        shrink(shard, &removed);
        lock_release(&shard->lock);
        free_removed(removed);
    }
}

void verdicts_clear(struct verdicts *verdicts)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &verdicts->shards[i];
        struct entry *removed = NULL;
        lock_take(&shard->lock);
        for (struct node *node; (node = list_first(&shard->clock)) != NULL;)
            take_out(shard, LIST_ENTRY(node, struct entry, node), &removed);
        lock_release(&shard->lock);
        free_removed(removed);
    }
}

void verdicts_free(struct verdicts **verdicts)
{
    if (*verdicts == NULL)
        return;
    verdicts_clear(*verdicts);
    for (uint32_t i = 0; i < SHARDS; i++) {
        free((*verdicts)->shards[i].buckets);
        lock_fini(&(*verdicts)->shards[i].lock);
    }
    free(*verdicts);
    *verdicts = NULL;
}

static void add_stats(const struct shard *shard, struct verdicts_stats *ret)
{
    ret->entries += shard->clock.count;
    ret->bytes += shard->bytes;
    ret->bytes_max += shard->max;
    ret->table_bytes += (shard->mask + 1) * sizeof(struct entry *);
    ret->hits += shard->hits;
    ret->misses += shard->misses;
    ret->stored += shard->stored;
    ret->evicted += shard->evicted;
    for (uint32_t i = 0; i <= VERDICT_REASONS; i++)
        ret->reasons[i] += shard->reasons[i];
}

void verdicts_stats(struct verdicts *verdicts, struct verdicts_stats *ret)
{
    *ret = (struct verdicts_stats){.table_bytes = sizeof(*verdicts)};
    for (uint32_t i = 0; i < SHARDS; i++) {
        lock_take(&verdicts->shards[i].lock);
        add_stats(&verdicts->shards[i], ret);
        lock_release(&verdicts->shards[i].lock);
    }
}
