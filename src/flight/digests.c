#include "flight/digests.h"

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
    void *value;
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
    uint64_t sorts[DIGESTS_SORTS_MAX];
};

struct digests {
    const struct digests_kind *kind;
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

struct digests *digests_new(const struct digests_kind *kind, uint64_t bytes_max)
{
    invariant(bytes_max >= DIGESTS_BYTES_MIN);
    struct digests *digests = calloc(1, sizeof(*digests));
    if (digests == NULL)
        return NULL;
    digests->kind = kind;
    static_assert(sizeof(digests->secret) >= XXH3_SECRET_SIZE_MIN, "XXH3 wants a longer secret");
    random_bytes(digests->secret, sizeof(digests->secret));
    bool complete = true;
    for (uint32_t i = 0; i < SHARDS; i++)
        complete = shard_init(&digests->shards[i], bytes_max / SHARDS) && complete;
    if (!complete)
        digests_free(&digests);
    return digests;
}

/* --- entries ---------------------------------------------------------------------------------- */

static void free_removed(const struct digests *digests, struct entry *removed)
{
    while (removed != NULL) {
        struct entry *next = removed->next;
        digests->kind->unref(removed->value);
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

static XXH128_hash_t digest_of(const struct digests *digests, struct span key)
{
    return XXH3_128bits_withSecret(key.at, key.size, digests->secret, sizeof(digests->secret));
}

static struct shard *shard_of(struct digests *digests, XXH128_hash_t digest)
{
    return &digests->shards[digest.high64 & (SHARDS - 1)];
}

static void count_sort(const struct digests *digests, struct shard *shard, const void *value)
{
    if (digests->kind->sort != NULL)
        shard->sorts[digests->kind->sort(value)] += 1;
}

/* --- interface -------------------------------------------------------------------------------- */

void *digests_find(struct digests *digests, struct span key)
{
    XXH128_hash_t digest = digest_of(digests, key);
    struct shard *shard = shard_of(digests, digest);
    void *value = NULL;
    lock_take(&shard->lock);
    struct entry *entry = find_entry(shard, digest, key);
    if (entry != NULL) {
        entry->used = true;
        value = digests->kind->ref(entry->value);
        shard->hits += 1;
        count_sort(digests, shard, value);
    } else {
        shard->misses += 1;
    }
    lock_release(&shard->lock);
    return value;
}

static struct entry *entry_new(const struct digests *digests, XXH128_hash_t digest, struct span key,
                               void *value, size_t size)
{
    struct entry *entry = malloc(sizeof(*entry) + key.size);
    if (entry == NULL)
        return NULL;
    *entry = (struct entry){.low = digest.low64, .high = digest.high64};
    entry->bytes = (uint32_t)(sizeof(*entry) + key.size + BLOCK_EXTRA + size);
    entry->key_size = (uint32_t)key.size;
    entry->value = digests->kind->ref(value);
    if (key.size > 0)
        memcpy(entry->key, key.at, key.size);
    return entry;
}

static void insert(const struct digests *digests, struct shard *shard, struct entry *entry,
                   struct entry **removed)
{
    struct entry **bucket = &shard->buckets[entry->low & shard->mask];
    entry->next = *bucket;
    *bucket = entry;
    list_push(&shard->clock, &entry->node);
    shard->bytes += entry->bytes;
    shard->stored += 1;
    count_sort(digests, shard, entry->value);
    shrink(shard, removed);
}

bool digests_store(struct digests *digests, struct span key, void *value, size_t size,
                   enum digests_old what)
{
    struct entry *removed = NULL;
    if (key.size > DIGESTS_KEY_MAX)
        return false;
    XXH128_hash_t digest = digest_of(digests, key);
    struct shard *shard = shard_of(digests, digest);
    struct entry *entry = entry_new(digests, digest, key, value, size);
    if (entry == NULL)
        return false;
    lock_take(&shard->lock);
    struct entry *old = find_entry(shard, digest, key);
    if (old != NULL && what == DIGESTS_REPLACED)
        take_out(shard, old, &removed);
    bool stays = old != NULL && what == DIGESTS_STAYS;
    bool fits = entry->bytes <= shard->max && !stays;
    if (fits)
        insert(digests, shard, entry, &removed);
    lock_release(&shard->lock);
    free_removed(digests, removed);
    if (!fits)
        free_removed(digests, entry);
    return fits || stays;
}

void digests_bound(struct digests *digests, uint64_t bytes_max)
{
    invariant(bytes_max >= DIGESTS_BYTES_MIN);
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &digests->shards[i];
        struct entry *removed = NULL;
        lock_take(&shard->lock);
        shard->max = bytes_max / SHARDS;
        shrink(shard, &removed);
        lock_release(&shard->lock);
        free_removed(digests, removed);
    }
}

void digests_clear(struct digests *digests)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &digests->shards[i];
        struct entry *removed = NULL;
        lock_take(&shard->lock);
        for (struct node *node; (node = list_first(&shard->clock)) != NULL;)
            take_out(shard, LIST_ENTRY(node, struct entry, node), &removed);
        lock_release(&shard->lock);
        free_removed(digests, removed);
    }
}

void digests_free(struct digests **digests)
{
    if (*digests == NULL)
        return;
    digests_clear(*digests);
    for (uint32_t i = 0; i < SHARDS; i++) {
        free((*digests)->shards[i].buckets);
        lock_fini(&(*digests)->shards[i].lock);
    }
    free(*digests);
    *digests = NULL;
}

static void add_stats(const struct shard *shard, struct digests_stats *ret)
{
    ret->entries += shard->clock.count;
    ret->bytes += shard->bytes;
    ret->bytes_max += shard->max;
    ret->table_bytes += (shard->mask + 1) * sizeof(struct entry *);
    ret->hits += shard->hits;
    ret->misses += shard->misses;
    ret->stored += shard->stored;
    ret->evicted += shard->evicted;
    for (uint32_t i = 0; i < DIGESTS_SORTS_MAX; i++)
        ret->sorts[i] += shard->sorts[i];
}

void digests_stats(struct digests *digests, struct digests_stats *ret)
{
    *ret = (struct digests_stats){.table_bytes = sizeof(*digests)};
    for (uint32_t i = 0; i < SHARDS; i++) {
        lock_take(&digests->shards[i].lock);
        add_stats(&digests->shards[i], ret);
        lock_release(&digests->shards[i].lock);
    }
}
