#include "stats/route_times.h"

#include <stdlib.h>
#include <string.h>

struct route_times_key route_times_key(const struct route_times *times)
{
    return (struct route_times_key){times->database, times->user, times->service, times->mode,
                                    times->obsolete};
}

static uint64_t key_hash(const struct route_times_key *key)
{
    return hash_span(span_text(key->database)) * 31 + hash_span(span_text(key->user)) * 7 +
           hash_span(span_text(key->service)) + (uint64_t)key->mode + key->obsolete * 131;
}

static bool times_is(const struct map_link *link, const void *argument)
{
    const struct route_times *times = MAP_ENTRY(link, const struct route_times, link);
    const struct route_times_key *key = argument;
    return times->mode == key->mode && times->obsolete == key->obsolete &&
           strcmp(times->database, key->database) == 0 && strcmp(times->user, key->user) == 0 &&
           strcmp(times->service, key->service) == 0;
}

/* Copies a text into the room after the struct, and advances *room. */
static const char *times_keep(char **room, const char *text)
{
    char *kept = *room;
    size_t size = strlen(text) + 1;
    memcpy(kept, text, size);
    *room += size;
    return kept;
}

struct route_times *route_times_of(struct map *map, const struct route_times_key *key)
{
    uint64_t hash = key_hash(key);
    struct map_link *link = map_find(map, hash, times_is, key);
    if (link != NULL)
        return MAP_ENTRY(link, struct route_times, link);
    size_t size = strlen(key->database) + strlen(key->user) + strlen(key->service) + 3;
    struct route_times *times = calloc(1, sizeof(*times) + size);
    if (times == NULL)
        return NULL;
    char *room = times->texts;
    times->database = times_keep(&room, key->database);
    times->user = times_keep(&room, key->user);
    times->service = times_keep(&room, key->service);
    times->mode = key->mode;
    times->obsolete = key->obsolete;
    if (map_insert(map, &times->link, hash) == OK)
        return times;
    free(times);
    return NULL;
}

void route_times_sum(struct route_times_taken *sums, const struct route_times *times)
{
    histogram_sum_add(&sums->query, &times->query);
    histogram_sum_add(&sums->transaction, &times->transaction);
    histogram_sum_add(&sums->wait, &times->wait);
}

void route_times_drop(struct map *map, struct route_times *times)
{
    map_remove(map, &times->link);
    free(times);
}

static void times_end(struct map_link *link)
{
    free(MAP_ENTRY(link, struct route_times, link));
}

void route_times_clear(struct map *route_times)
{
    map_clear(route_times, times_end);
}
