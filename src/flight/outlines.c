#include "flight/outlines.h"

#include "base/check.h"
#include "base/list.h"
#include "machine/ids.h"
#include "machine/lock.h"

#include <stdlib.h>
#include <xxhash.h>

#define SHARDS       16u
#define BUCKET_BYTES 1024u
#define BUCKETS_MIN  16u
#define BUCKETS_MAX  4096u
/* What malloc adds to a block. */
#define BLOCK_EXTRA 16u

struct entry {
    struct entry *next; /* of the bucket */
    struct node node;   /* in the order of the clock */
    uint64_t low, high; /* the digest */
    struct query_outline *outline;
    uint32_t bytes;
    uint32_t text_size;
    bool used; /* since the hand of the clock passed */
    uint8_t text[];
};

struct shard {
    struct lock lock; /* guards all of the shard */
    struct entry **buckets;
    uint32_t mask;
    struct list clock; /* the hand is at the front */
    uint64_t bytes;
    uint64_t max;
    uint64_t hits, misses, evicted;
};

struct outlines {
    uint8_t secret[XXH3_SECRET_SIZE_MIN];
    struct shard shards[SHARDS];
};

/* --- the table -------------------------------------------------------------------------------- */

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

struct outlines *outlines_new(uint64_t bytes_max)
{
    invariant(bytes_max >= OUTLINES_BYTES_MIN);
    struct outlines *outlines = calloc(1, sizeof(*outlines));
    if (outlines == NULL)
        return NULL;
    random_bytes(outlines->secret, sizeof(outlines->secret));
    bool complete = true;
    for (uint32_t i = 0; i < SHARDS; i++)
        complete = shard_init(&outlines->shards[i], bytes_max / SHARDS) && complete;
    if (!complete)
        outlines_free(&outlines);
    return outlines;
}

static void entry_free(struct entry **entry)
{
    query_outline_unref(&(*entry)->outline);
    free(*entry);
    *entry = NULL;
}

void outlines_free(struct outlines **outlines)
{
    if (*outlines == NULL)
        return;
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &(*outlines)->shards[i];
        for (struct node *node; (node = list_first(&shard->clock)) != NULL;) {
            struct entry *entry = LIST_ENTRY(node, struct entry, node);
            list_remove(&shard->clock, node);
            entry_free(&entry);
        }
        free(shard->buckets);
        lock_fini(&shard->lock);
    }
    free(*outlines);
    *outlines = NULL;
}

/* --- entries ---------------------------------------------------------------------------------- */

static XXH128_hash_t digest_of(const struct outlines *outlines, struct span text)
{
    return XXH3_128bits_withSecret(text.at, text.size, outlines->secret, sizeof(outlines->secret));
}

static struct shard *shard_of(struct outlines *outlines, XXH128_hash_t digest)
{
    return &outlines->shards[digest.high64 & (SHARDS - 1)];
}

static struct entry *find_entry(const struct shard *shard, XXH128_hash_t digest, struct span text)
{
    struct entry *entry = shard->buckets[digest.low64 & shard->mask];
    while (entry != NULL && (entry->low != digest.low64 || entry->high != digest.high64 ||
                             !span_equal(span_of(entry->text, entry->text_size), text)))
        entry = entry->next;
    return entry;
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

static struct entry *entry_new(XXH128_hash_t digest, struct span text,
                               struct query_outline *outline)
{
    struct entry *entry = malloc(sizeof(*entry) + text.size);
    if (entry == NULL)
        return NULL;
    *entry = (struct entry){.low = digest.low64, .high = digest.high64};
    entry->bytes = (uint32_t)(sizeof(*entry) + text.size + BLOCK_EXTRA + outline->bytes);
    entry->text_size = (uint32_t)text.size;
    entry->outline = query_outline_ref(outline);
    memcpy(entry->text, text.at, text.size);
    return entry;
}

static void insert(struct shard *shard, struct entry *entry, struct entry **removed)
{
    struct entry **bucket = &shard->buckets[entry->low & shard->mask];
    entry->next = *bucket;
    *bucket = entry;
    list_push(&shard->clock, &entry->node);
    shard->bytes += entry->bytes;
    shrink(shard, removed);
}

/* --- interface -------------------------------------------------------------------------------- */

struct query_outline *outlines_find(struct outlines *outlines, struct span text)
{
    if (text.size > QUERY_ANALYSIS_TEXT_MAX)
        return NULL;
    XXH128_hash_t digest = digest_of(outlines, text);
    struct shard *shard = shard_of(outlines, digest);
    struct query_outline *outline = NULL;
    lock_take(&shard->lock);
    struct entry *entry = find_entry(shard, digest, text);
    if (entry != NULL) {
        entry->used = true;
        outline = query_outline_ref(entry->outline);
        shard->hits += 1;
    } else {
        shard->misses += 1;
    }
    lock_release(&shard->lock);
    return outline;
}

bool outlines_store(struct outlines *outlines, struct span text, struct query_outline *outline)
{
    if (text.size > QUERY_ANALYSIS_TEXT_MAX)
        return false;
    XXH128_hash_t digest = digest_of(outlines, text);
    struct shard *shard = shard_of(outlines, digest);
    struct entry *removed = NULL, *entry = entry_new(digest, text, outline);
    if (entry == NULL)
        return false;
    lock_take(&shard->lock);
    bool known = find_entry(shard, digest, text) != NULL;
    bool fits = entry->bytes <= shard->max;
    if (fits && !known)
        insert(shard, entry, &removed);
    lock_release(&shard->lock);
    if (known || !fits)
        entry_free(&entry);
    while (removed != NULL) {
        struct entry *next = removed->next;
        entry_free(&removed);
        removed = next;
    }
    return fits;
}

void outlines_stats(struct outlines *outlines, struct outlines_stats *ret)
{
    *ret = (struct outlines_stats){0};
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &outlines->shards[i];
        lock_take(&shard->lock);
        ret->entries += shard->clock.count;
        ret->bytes += shard->bytes;
        ret->bytes_max += shard->max;
        ret->hits += shard->hits;
        ret->misses += shard->misses;
        ret->evicted += shard->evicted;
        lock_release(&shard->lock);
    }
}
