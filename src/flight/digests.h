#pragma once
/*
 * digests.h - a bounded table of counted values by bytes of any length, for all threads.
 *
 * Values are found by the whole key: a digest with a secret chooses the shard and the bucket.  Each
 * shard has a lock that is held for a look-up or an insertion.  Bytes are bounded, with keys and
 * values; CLOCK decides what stays.  The table owns one reference to each value.  Callable from any
 * thread; nothing suspends.
 */
#include "base/span.h"

struct digests;

/* The smallest table. */
#define DIGESTS_BYTES_MIN 65536u
/* The longest key, in bytes. */
#define DIGESTS_KEY_MAX 131072u
/* The greatest number of sorts of values that are counted apart. */
#define DIGESTS_SORTS_MAX 64u

/* What the values of a table are. */
struct digests_kind {
    void *(*ref)(void *value); /* returns it */
    void (*unref)(void *value);
    uint32_t (*sort)(const void *value); /* below DIGESTS_SORTS_MAX; NULL: they are of one sort */
};

/** Makes an empty table of at most `bytes_max` bytes (at least DIGESTS_BYTES_MIN); the caller owns
 *  it.  `kind` must outlive it.  NULL without memory. */
struct digests *digests_new(const struct digests_kind *kind, uint64_t bytes_max);
void digests_free(struct digests **digests); /* NULL-safe; no other thread may use it any more */
/** Sets a new limit and evicts down to it. */
void digests_bound(struct digests *digests, uint64_t bytes_max);

/** Returns the value of a key, or NULL; the caller owns a reference.  Counts the look-up. */
void *digests_find(struct digests *digests, struct span key);

/* What becomes of a value that has the same key. */
enum digests_old { DIGESTS_REPLACED, DIGESTS_STAYS };

/** Keeps a reference to a value of `size` bytes, unless another one of the same key stays.  False:
 *  neither, because the value or its key is too large, or for want of memory. */
bool digests_store(struct digests *digests, struct span key, void *value, size_t size,
                   enum digests_old old);
/** Removes all. */
void digests_clear(struct digests *digests);

/* Since the start, and now. */
struct digests_stats {
    uint64_t entries, bytes, bytes_max;
    uint64_t table_bytes; /* of shards and buckets; not a part of bytes_max */
    uint64_t hits, misses, stored, evicted;
    uint64_t sorts[DIGESTS_SORTS_MAX]; /* hits and stores, by the sort of the value */
};

void digests_stats(struct digests *digests, struct digests_stats *ret);
