#include "stats/stats.h"

#include <stdlib.h>

#define COUNTERS (sizeof(struct local_pool_stats) / sizeof(uint64_t))

void stats_add(struct local_pool_stats *sum, const struct local_pool_stats *more)
{
    uint64_t counters[COUNTERS], others[COUNTERS];
    static_assert(sizeof(counters) == sizeof(*sum), "counters and nothing else");
    memcpy(counters, sum, sizeof(counters));
    memcpy(others, more, sizeof(others));
    for (size_t i = 0; i < COUNTERS; i++)
        counters[i] += others[i];
    memcpy(sum, counters, sizeof(counters));
}

void stats_subtract(struct local_pool_stats *from, const struct local_pool_stats *less)
{
    uint64_t counters[COUNTERS], others[COUNTERS];
    memcpy(counters, from, sizeof(counters));
    memcpy(others, less, sizeof(others));
    for (size_t i = 0; i < COUNTERS; i++)
        counters[i] -= others[i];
    memcpy(from, counters, sizeof(counters));
}

static bool departed_is(const struct map_link *link, const void *database)
{
    return strcmp(MAP_ENTRY(link, struct stats_departed, link)->database, database) == 0;
}

static struct stats_departed *departed_of(struct map *departed, const char *database)
{
    uint64_t hash = hash_span(span_text(database));
    struct map_link *link = map_find(departed, hash, departed_is, database);
    if (link != NULL)
        return MAP_ENTRY(link, struct stats_departed, link);
    size_t size = strlen(database) + 1;
    struct stats_departed *entry = calloc(1, sizeof(*entry) + size);
    if (entry == NULL)
        return NULL;
    memcpy(entry->database, database, size);
    if (map_insert(departed, &entry->link, hash) == OK)
        return entry;
    free(entry);
    return NULL;
}

void stats_depart(struct map *departed, const char *database, const struct local_pool_stats *stats)
{
    struct stats_departed *entry = departed_of(departed, database);
    if (entry != NULL)
        stats_add(&entry->stats, stats);
}

static void departed_end(struct map_link *link)
{
    free(MAP_ENTRY(link, struct stats_departed, link));
}

void stats_departed_clear(struct map *departed)
{
    map_clear(departed, departed_end);
}

struct local_pool_stats stats_since(const struct local_pool_stats *now,
                                    const struct local_pool_stats *then)
{
    struct local_pool_stats since = *now;
    stats_subtract(&since, then);
    return since;
}
