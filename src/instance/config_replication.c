/*
 * config_replication.c - derives a route for replication connections from each route.
 *
 * Each replication connection has a server of its own, opened for it and closed with it: a session
 * pool beside the route's own, so that neither is affected by servers, limits and failures of the
 * other.  A stream is one query that may last for months, so the timeouts of queries and idle
 * clients do not apply.
 */
#include "instance/config_reader.h"

void config_add_replication(struct config_reader *reader)
{
    struct config *config = reader->config;
    struct config_arena *arena = reader->arena;
    struct route_config *likes =
        config_arena_array(arena, config->route_count, sizeof(struct route_config));
    for (size_t i = 0; likes != NULL && i < config->route_count; i++) {
        struct route_config *route = &config->routes[i];
        if (route->replication_max == 0)
            continue;
        likes[i] = *route;
        likes[i].is_replication = true;
        likes[i].mode = POOL_SESSION;
        likes[i].fresh = true;
        likes[i].pool_size = likes[i].client_max = route->replication_max;
        likes[i].pool_min = likes[i].pool_reserve = 0;
        likes[i].prepared_max = 0;
        likes[i].client_idle_timeout = likes[i].query_timeout = NO_LIMIT;
        likes[i].transaction_timeout = likes[i].idle_transaction_timeout = NO_LIMIT;
        route->replication = &likes[i];
    }
}
