/* local_pool_log.c - what a local pool needs for the log: its route's times, and its thresholds. */
#include "pool/local_pool.h"

void local_pool_log_renew(struct local_pool *pool)
{
    pool->log.slow_us = pool->route->slow_query.us;
    pool->log.times->line = pool->route->line;
    pool->log.times->version = pool->config->version;
    pool->log.noted = pool->log.slow_us != INT64_MAX ? pool->config->log_query_text : 0;
}

static struct route_times *times_of(const struct local_pool *pool)
{
    const struct route_config *route = pool->route;
    struct route_times_key key = {.database = route->database != NULL ? route->database : "*",
                                  .user = route->user != NULL ? route->user : "*",
                                  .service = route->service != NULL ? route->service->name : "",
                                  .mode = route->mode,
                                  .obsolete = pool->obsolete ? pool->config->version : 0};
    return route_times_of(&pool->pools->route_times, &key);
}

fault local_pool_log_enter(struct local_pool *pool)
{
    pool->log.times = times_of(pool);
    if (pool->log.times == NULL)
        return FAULT_MEMORY;
    pool->log.times->local_pools += 1;
    local_pool_log_renew(pool);
    return OK;
}

void local_pool_log_leave(struct local_pool *pool)
{
    struct route_times *times = TAKE(pool->log.times);
    struct local_pool_stats since = stats_since(&pool->stats, &pool->log.told);
    stats_add(&times->gone, &since);
    pool->log.told = pool->stats;
    times->local_pools -= 1;
    if (times->local_pools == 0 && pool->pools->config->log_stats_period.us == 0)
        route_times_drop(&pool->pools->route_times, times);
}

void local_pool_log_outdate(struct local_pool *pool)
{
    struct route_times *own = times_of(pool);
    if (own == NULL) /* no memory: goes on counting with the version in force */
        return;
    own->local_pools += 1;
    local_pool_log_leave(pool);
    pool->log.times = own;
    local_pool_log_renew(pool);
}
