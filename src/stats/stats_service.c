#include "stats/stats_service.h"

#include <stdlib.h>
#include <string.h>

static bool service_is(const struct map_link *link, const void *name)
{
    return strcmp(MAP_ENTRY(link, struct stats_service, link)->name, name) == 0;
}

struct stats_service *stats_service_of(struct map *services, const char *name)
{
    uint64_t hash = hash_span(span_text(name));
    struct map_link *link = map_find(services, hash, service_is, name);
    if (link != NULL)
        return MAP_ENTRY(link, struct stats_service, link);
    size_t size = strlen(name) + 1;
    struct stats_service *service = calloc(1, sizeof(*service) + size);
    if (service == NULL)
        return NULL;
    memcpy(service->name, name, size);
    if (map_insert(services, &service->link, hash) == OK)
        return service;
    free(service);
    return NULL;
}

void stats_service_add(struct stats_service *service, enum stats_service_count what)
{
    if (service != NULL)
        service->counts[what] += 1;
}

static void service_end(struct map_link *link)
{
    free(MAP_ENTRY(link, struct stats_service, link));
}

void stats_services_clear(struct map *services)
{
    map_clear(services, service_end);
}
