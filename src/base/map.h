#pragma once
/*
 * map.h - an intrusive hash map: the object carries its link and its hash.
 *
 * The map owns the table of buckets, never the objects.  Keys live in the objects; the caller
 * compares them.  Grows by doubling at one object per bucket up to `most` objects, then refuses.
 * An empty map owns no memory.
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
/** Borrowed, or NULL. */
struct map_link *map_find(const struct map *map, uint64_t hash, map_equal *equal, const void *key);
/** LIMIT at `most`, MEMORY when the table can't grow.  The caller made sure the key is not there.
 */
fault map_insert(struct map *map, struct map_link *link, uint64_t hash) MUST_USE;
void map_remove(struct map *map, struct map_link *link);
/** All objects, in no order: NULL starts, NULL ends.  The one returned may be removed once its
 *  successor was asked for. */
struct map_link *map_next(const struct map *map, const struct map_link *after);

/** Takes all objects out, gives each to `end`, which may free it, and ends with an empty map. */
void map_clear(struct map *map, void (*end)(struct map_link *link));

/** xxHash3, 64 bits.  Not for secrets. */
uint64_t hash_bytes(const void *bytes, size_t size, uint64_t seed);
static inline uint64_t hash_span(struct span span)
{
    return hash_bytes(span.at, span.size, 0);
}
