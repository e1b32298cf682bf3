#include "base/map.h"

#include "base/check.h"

#include <stdlib.h>
#include <xxhash.h>

#define MAP_MIN 8

void map_fini(struct map *map)
{
    free(map->buckets);
    *map = MAP_INIT(map->max);
}

struct map_link *map_find(const struct map *map, uint64_t hash, map_equal *equal, const void *key)
{
    if (map->buckets == NULL)
        return NULL;
    for (struct map_link *link = map->buckets[hash & map->mask]; link != NULL; link = link->next)
        if (link->hash == hash && equal(link, key))
            return link;
    return NULL;
}

static bool map_grow(struct map *map)
{
    uint32_t size = map->buckets == NULL ? MAP_MIN : (map->mask + 1) * 2;
    struct map_link **buckets = calloc(size, sizeof(struct map_link *));
    if (buckets == NULL)
        return false;
    for (uint32_t i = 0; map->buckets != NULL && i <= map->mask; i++) {
        struct map_link *next;
        for (struct map_link *link = map->buckets[i]; link != NULL; link = next) {
            next = link->next;
            link->next = buckets[link->hash & (size - 1)];
            buckets[link->hash & (size - 1)] = link;
        }
    }
    free(map->buckets);
    map->buckets = buckets;
    map->mask = size - 1;
    return true;
}

fault map_insert(struct map *map, struct map_link *link, uint64_t hash)
{
    if (map->count >= map->max)
        return FAULT_LIMIT;
    if ((map->buckets == NULL || map->count > map->mask) && !map_grow(map))
        return FAULT_MEMORY;
    link->hash = hash;
    link->next = map->buckets[hash & map->mask];
    map->buckets[hash & map->mask] = link;
    map->count += 1;
    return OK;
}

void map_remove(struct map *map, struct map_link *link)
{
    invariant(map->count > 0);
    struct map_link **at = &map->buckets[link->hash & map->mask];
    while (*at != link) {
        invariant(*at != NULL);
        at = &(*at)->next;
    }
    *at = link->next;
    link->next = NULL;
    map->count -= 1;
}

struct map_link *map_next(const struct map *map, const struct map_link *after)
{
    if (map->buckets == NULL)
        return NULL;
    if (after != NULL && after->next != NULL)
        return after->next;
    for (uint32_t i = after == NULL ? 0 : (uint32_t)(after->hash & map->mask) + 1; i <= map->mask;
         i++)
        if (map->buckets[i] != NULL)
            return map->buckets[i];
    return NULL;
}

void map_clear(struct map *map, void (*end)(struct map_link *link))
{
    struct map_link *next;
    for (struct map_link *link = map_next(map, NULL); link != NULL; link = next) {
        next = map_next(map, link);
        map_remove(map, link);
        end(link);
    }
    map_fini(map);
}

uint64_t hash_data(const void *bytes, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, size, seed);
}

static uint64_t name_seed;

uint64_t hash_span(struct span span)
{
    return hash_data(span.at, span.size, name_seed);
}

void hash_set_seed(uint64_t seed)
{
    name_seed = seed;
}
