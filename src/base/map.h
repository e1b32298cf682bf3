#pragma once
/*
 * map.h - an intrusive hash map: the object contains its link and its hash.
 *
 * The map owns the table of buckets, never the objects.  Keys are stored in the objects; the caller
 * compares them.  The table doubles at one object per bucket.  A map with `max` objects refuses
 * more.  A map that never held an object owns no memory.
 */
#include "base/fault.h"

struct map_link {
    struct map_link *next;
    uint64_t hash;
};

struct map {
    struct map_link **buckets; /* NULL while empty; a power of two */
    uint32_t mask;
    uint32_t count;
    uint32_t max; /* objects */
};

typedef bool map_equal(const struct map_link *link, const void *key);

#define MAP_INIT(ceiling)            ((struct map){.max = (ceiling)})
#define MAP_ENTRY(link, type, field) CONTAINER_OF(link, type, field)

void map_fini(struct map *map);
/** The object with this key, borrowed; NULL: there is none. */
struct map_link *map_find(const struct map *map, uint64_t hash, map_equal *equal, const void *key);
/** Inserts an object whose key is not in the map.  Faults: LIMIT (`max` objects), MEMORY (the table
 *  can't grow). */
fault map_insert(struct map *map, struct map_link *link, uint64_t hash) MUST_USE;
void map_remove(struct map *map, struct map_link *link);
/** Iterates over all objects, in no order: `after` NULL starts, a NULL result ends.  An object may
 *  be removed once map_next returned its successor. */
struct map_link *map_next(const struct map *map, const struct map_link *after);

/** Removes all objects and calls `end` for each, which may free it; frees the table. */
void map_clear(struct map *map, void (*end)(struct map_link *link));

/** xxHash3, 64 bits.  Not for secrets. */
uint64_t hash_data(const void *bytes, size_t size, uint64_t seed);
/** The hash of names in maps.  It depends on the seed, so that clients that choose names can't
 *  choose their buckets. */
uint64_t hash_span(struct span span);
/** Sets the seed, 0 at first.  Called before any map holds a name and before other threads run. */
void hash_set_seed(uint64_t seed);
