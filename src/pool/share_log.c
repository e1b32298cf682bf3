/* share_log.c - what a share's part of the log goes by: its route's tally, and its thresholds. */
#include "pool/share.h"

void share_log_renew(struct share *share)
{
    share->log.slow_us = share->route->slow_query.us;
    share->log.tally->line = share->route->line;
    share->log.noted = share->log.slow_us != INT64_MAX ? share->config->log_query_text : 0;
}

fault share_log_enter(struct share *share)
{
    const struct route_config *route = share->route;
    struct tally_key key = {.database = route->database != NULL ? route->database : "*",
                            .user = route->user != NULL ? route->user : "*",
                            .service = route->service != NULL ? route->service->name : "",
                            .mode = route->mode};
    share->log.tally = tally_of(&share->pools->tallies, &key);
    if (share->log.tally == NULL)
        return FAULT_MEMORY;
    share->log.tally->shares += 1;
    share_log_renew(share);
    return OK;
}

void share_log_leave(struct share *share)
{
    struct tally *tally = TAKE(share->log.tally);
    struct share_stats since = stats_since(&share->stats, &share->log.told);
    stats_add(&tally->gone, &since);
    tally->shares -= 1;
    if (tally->shares == 0 && share->pools->config->log_stats_period.us == 0)
        tally_drop(&share->pools->tallies, tally);
}
