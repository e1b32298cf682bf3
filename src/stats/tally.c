#include "stats/tally.h"

#include <stdlib.h>
#include <string.h>

struct tally_key tally_key_of(const struct tally *tally)
{
    return (struct tally_key){tally->database, tally->user, tally->service, tally->mode};
}

static uint64_t key_hash(const struct tally_key *key)
{
    return hash_span(span_text(key->database)) * 31 + hash_span(span_text(key->user)) * 7 +
           hash_span(span_text(key->service)) + (uint64_t)key->mode;
}

static bool tally_is(const struct map_link *link, const void *argument)
{
    const struct tally *tally = MAP_ENTRY(link, const struct tally, link);
    const struct tally_key *key = argument;
    return tally->mode == key->mode && strcmp(tally->database, key->database) == 0 &&
           strcmp(tally->user, key->user) == 0 && strcmp(tally->service, key->service) == 0;
}

/* One after the other in the tally's own room. */
static const char *tally_keep(char **room, const char *text)
{
    char *kept = *room;
    size_t size = strlen(text) + 1;
    memcpy(kept, text, size);
    *room += size;
    return kept;
}

/* Found or made; NULL: no memory. */
struct tally *tally_of(struct map *map, const struct tally_key *key)
{
    uint64_t hash = key_hash(key);
    struct map_link *link = map_find(map, hash, tally_is, key);
    if (link != NULL)
        return MAP_ENTRY(link, struct tally, link);
    size_t size = strlen(key->database) + strlen(key->user) + strlen(key->service) + 3;
    struct tally *tally = calloc(1, sizeof(*tally) + size);
    if (tally == NULL)
        return NULL;
    char *room = tally->texts;
    tally->database = tally_keep(&room, key->database);
    tally->user = tally_keep(&room, key->user);
    tally->service = tally_keep(&room, key->service);
    tally->mode = key->mode;
    if (map_insert(map, &tally->link, hash) == OK)
        return tally;
    free(tally);
    return NULL;
}

void tally_drop(struct map *map, struct tally *tally)
{
    map_remove(map, &tally->link);
    free(tally);
}

static void tally_end(struct map_link *link)
{
    free(MAP_ENTRY(link, struct tally, link));
}

void tallies_clear(struct map *tallies)
{
    map_clear(tallies, tally_end);
}
