#pragma once
/*
 * l1.h - the result cache in memory: answers by key, for all threads.
 *
 * Shards by the key's digest, each with a lock that is held for a look-up or a few evictions and
 * never while memory is allocated or freed.  Bytes are bounded over all shards; what stays is
 * decided by TinyLFU: a new entry passes a small window, and then must be asked for more often than
 * those that it would evict.  Callable from any thread; nothing suspends.
 *
 * An entry is found by its whole key: two keys with one digest are two entries.  A random
 * secret goes into the digests: clients choose the texts, but not the places of their entries. Each
 * hit compares the generations of what the execution read: see generations.h.  Design:
 * docs/internals/flight.md
 */
#include "base/time.h"
#include "flight/answer.h"
#include "flight/generations.h"

struct l1;

/* The longest key and the longest list of tags that an entry may have. */
#define L1_KEY_MAX  1048576u
#define L1_TAGS_MAX 1024u
/* The smallest cache. */
#define L1_BYTES_MIN 65536u

/** Makes an empty cache of at most `bytes_max` bytes (at least L1_BYTES_MIN); the caller owns it.
 *  NULL without memory. */
struct l1 *l1_new(uint64_t bytes_max, const struct generations_table *generations);
void l1_free(struct l1 **l1); /* NULL-safe; no other thread may use it any more */
/** Sets a new limit and evicts down to it.  The number of shards stays. */
void l1_bound(struct l1 *l1, uint64_t bytes_max, moment now);
/** Shortens `ttl` by a random part of up to `percent` percent, so that entries made together do not
 *  expire together.  Never longer: `ttl` is a promise. */
duration l1_jitter(duration ttl, uint32_t percent);

/* All that the answer depends on, and its digest; of one cache. */
struct l1_key {
    uint64_t low, high;
    struct span bytes;
};

/** Makes the digest of a key; `ret` borrows the bytes. */
void l1_key_init(const struct l1 *l1, struct span bytes, struct l1_key *ret);

enum l1_outcome {
    L1_MISS,    /* there is none, or it is too old, or a write changed what it read */
    L1_HIT,     /* not older than its time to live */
    L1_STALE,   /* older, within the time that stale answers may be served; another refreshes it */
    L1_REFRESH, /* as L1_STALE, and the caller is asked to execute the statement and store it */
    L1_HELD,    /* a write is in doubt: the statement must go to the server */
};

struct l1_found {
    struct answer *answer; /* the caller owns a reference; NULL after L1_MISS and L1_HELD */
    moment made;           /* when the execution was sent */
    bool changed;          /* with L1_MISS: there was one, and a write has changed what it read */
};

/** Looks a key up and counts the look-up.  `refresh_by`: when the refresh that L1_REFRESH asks for
 * is given up; from then on another caller is asked. */
enum l1_outcome l1_find(struct l1 *l1, const struct l1_key *key, moment now, deadline refresh_by,
                        struct l1_found *ret);
/** Whether there is an entry of this key that no write has changed.  Counts nothing.
 *  *ret_changed: there is one, and a write has changed it. */
bool l1_has(struct l1 *l1, const struct l1_key *key, moment now, bool *ret_changed);
/** Gives a refresh up: the next caller is asked. */
void l1_refresh_failed(struct l1 *l1, const struct l1_key *key);

/** Returns a number to capture before an execution is sent; each flush changes it. */
uint64_t l1_flushes(const struct l1 *l1);

/* An answer to store, and what was captured before its execution was sent. */
struct l1_offer {
    struct l1_key key;
    struct answer *answer; /* storable; the cache keeps a packed copy or a reference of its own */
    struct span text;      /* the statement, a part of the key's bytes: for flushes by pattern */
    struct span tags;      /* words separated by commas: for flushes by tag */
    moment made;           /* when the execution was sent */
    deadline expires;
    deadline stale_until;                  /* not before `expires` */
    const struct generations_reads *reads; /* NULL: no write shortens the entry's life */
    uint64_t captured;                     /* generations_capture(reads) */
    uint64_t flushes;                      /* l1_flushes() */
};

enum l1_stored {
    L1_STORED,    /* admission may still evict it, at once or later */
    L1_CHANGED,   /* a write has changed what the execution read, or the cache was flushed */
    L1_IN_DOUBT,  /* such a write is in doubt or unsettled */
    L1_OLD,       /* expired already, or there is an entry whose execution was sent later */
    L1_TOO_LARGE, /* for a shard */
    L1_NO_MEMORY,
};

/** Stores an answer, in place of an entry with the same key. */
enum l1_stored l1_store(struct l1 *l1, const struct l1_offer *offer, moment now);
/** Removes the entry of a key.  False: there was none. */
bool l1_remove(struct l1 *l1, const struct l1_key *key);

/* --- all entries, in steps -------------------------------------------------------------------- */

/* A place among the entries; zero: the first. */
struct l1_cursor {
    uint32_t shard;
    uint32_t bucket;
    uint32_t entry; /* of the bucket */
};

/* Entries to flush; empty: any. */
struct l1_filter {
    struct span like; /* pattern of the text: % any bytes, _ one byte, \ escapes */
    struct span tag;
};

/** Begins a flush: answers whose executions were sent before can't be stored any more. */
struct l1_cursor l1_flush_begin(struct l1 *l1);
/** Removes matching entries among some dozens and adds their number to *removed.  False: all were
 *  looked at.  Between two steps the caller may suspend. */
bool l1_flush_step(struct l1 *l1, const struct l1_filter *filter, struct l1_cursor *cursor,
                   uint64_t *removed);

/* What the console shows of an entry. */
struct l1_view {
    char text[201]; /* the beginning of the statement, terminated */
    char tags[65];
    const char *segment;
    enum generations_state state;
    uint64_t bytes; /* of memory */
    uint64_t answer_bytes;
    uint32_t hits;
    moment made;
    deadline expires;
    deadline stale_until;
};

/** Describes up to `count` entries and moves the cursor behind them.  0: there are no more.  Each
 *  entry that stays is described once; if entries of its bucket come or go between two steps, it
 * may be described twice or left out. */
uint32_t l1_views(struct l1 *l1, struct l1_cursor *cursor, struct l1_view *views, uint32_t count);

/* Since the start, and now. */
struct l1_stats {
    uint64_t entries, bytes, bytes_max;
    uint64_t table_bytes; /* of shards, buckets and sketches; not a part of bytes_max */
    uint64_t hits, stale, refreshes, held, misses;
    uint64_t expired, changed; /* misses that found an entry */
    uint64_t stored, refused;
    uint64_t evicted;  /* for others */
    uint64_t rejected; /* evicted from the window because others were asked for more often */
    uint64_t flushed;
};

void l1_stats(struct l1 *l1, struct l1_stats *ret);
