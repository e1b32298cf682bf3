#pragma once
/*
 * l1_parts.h - shards, entries and segments of the cache in memory, for the files of l1.
 *
 * All fields of a shard are guarded by its lock.  Entries that were removed are put into a list and
 * freed after the lock was released.
 */
#include "base/list.h"
#include "flight/l1.h"
#include "flight/sketch.h"
#include "machine/lock.h"

/* Evictions under one hold of a lock; a store that needs more takes the lock again. */
#define L1_VICTIMS_MAX 64u

/* New entries come into the window.  Those that leave it and are admitted come into probation, and
 * into protected with the next hit. */
enum l1_segment { L1_WINDOW, L1_PROBATION, L1_PROTECTED, L1_SEGMENTS };

struct l1_entry {
    struct node node;      /* in its segment, least recently used first */
    struct l1_entry *next; /* in its bucket, or among the removed entries */
    uint64_t low, high;
    struct answer *answer;
    uint64_t captured;
    moment made;
    deadline expires;
    deadline stale_until;
    deadline refresh_by; /* until then a caller refreshes it; at first long ago */
    uint32_t bytes;      /* of this block and the answer, with what the allocator adds */
    uint32_t hits;
    uint32_t key_size;
    uint32_t text_at; /* in the key */
    uint32_t text_size;
    uint16_t tags_size;
    uint8_t slot_count;
    uint8_t segment;
    uint32_t slots[]; /* of generations; then the key, then the tags */
};

struct l1_counters {
    uint64_t hits, stale, refreshes, held, misses, expired, changed, stored, refused, evicted,
        rejected, flushed;
};

struct l1_shard {
    struct lock lock;
    uint32_t mask;             /* buckets - 1 */
    uint32_t entries;          /* those of all segments */
    struct l1_entry **buckets; /* each a list of entries */
    uint64_t max;              /* bytes */
    uint64_t bytes[L1_SEGMENTS];
    struct list segments[L1_SEGMENTS];
    struct sketch sketch;
    struct l1_counters counters;
};

struct l1 {
    const struct generations_table *generations;
    uint64_t flushes; /* atomic */
    uint32_t shard_count;
    uint8_t secret[192]; /* of the digests */
    struct l1_shard shards[];
};

/* --- entries ---------------------------------------------------------------------------------- */

static inline struct span l1_entry_key(const struct l1_entry *entry)
{
    return span_of(entry->slots + entry->slot_count, entry->key_size);
}

static inline struct span l1_entry_text(const struct l1_entry *entry)
{
    return span_of(l1_entry_key(entry).at + entry->text_at, entry->text_size);
}

static inline struct span l1_entry_tags(const struct l1_entry *entry)
{
    return span_of(l1_entry_key(entry).at + entry->key_size, entry->tags_size);
}

/* --- l1_admit.c ------------------------------------------------------------------------------- */

/** Takes an entry out of its shard and puts it before *removed.  The shard is locked. */
void l1_take_out(struct l1_shard *shard, struct l1_entry *entry, struct l1_entry **removed);
/** Frees removed entries.  No lock is held. */
void l1_free_removed(struct l1_entry *removed);
/** The bytes that an entry may have: those of the segments behind the window. */
uint64_t l1_main_max(const struct l1_shard *shard);
/** Puts a new entry into the window.  The shard is locked, here and below. */
void l1_admit(struct l1_shard *shard, struct l1_entry *entry);
/** Puts an entry into a segment, as the most recently used one. */
void l1_place(struct l1_shard *shard, struct l1_entry *entry, enum l1_segment segment);
/** Notes a hit. */
void l1_touch(struct l1_shard *shard, struct l1_entry *entry);
/** Evicts entries until the shard is within its limits, at most L1_VICTIMS_MAX.  False: there is
 *  more to evict. */
bool l1_shrink(const struct l1 *l1, struct l1_shard *shard, moment now, struct l1_entry **removed);
/** As l1_shrink, whatever the entries are worth, until the shard is within its limits. */
void l1_shrink_at_once(struct l1_shard *shard, struct l1_entry **removed);
