/* local_pool_log.c - what a local pool's part of the log goes by: its route's tally, and its
 * thresholds. */
#include "pool/local_pool.h"

void local_pool_log_renew(struct local_pool *pool)
{
    pool->log.slow_us = pool->route->slow_query.us;
    pool->log.tally->line = pool->route->line;
    pool->log.noted = pool->log.slow_us != INT64_MAX ? pool->config->log_query_text : 0;
}

fault local_pool_log_enter(struct local_pool *pool)
{
    const struct route_config *route = pool->route;
    struct tally_key key = {.database = route->database != NULL ? route->database : "*",
                            .user = route->user != NULL ? route->user : "*",
                            .service = route->service != NULL ? route->service->name : "",
                            .mode = route->mode};
    pool->log.tally = tally_of(&pool->pools->tallies, &key);
    if (pool->log.tally == NULL)
        return FAULT_MEMORY;
    pool->log.tally->local_pools += 1;
    local_pool_log_renew(pool);
    return OK;
}

void local_pool_log_leave(struct local_pool *pool)
{
    struct tally *tally = TAKE(pool->log.tally);
    struct local_pool_stats since = stats_since(&pool->stats, &pool->log.told);
    stats_add(&tally->gone, &since);
    tally->local_pools -= 1;
    if (tally->local_pools == 0 && pool->pools->config->log_stats_period.us == 0)
        tally_drop(&pool->pools->tallies, tally);
}
