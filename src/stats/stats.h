#pragma once
/*
 * stats.h - counters of a local pool.  Written by its relay only, read by others as hints.  Times
 * in us.
 */
#include "base/map.h"
#include "base/time.h"

struct local_pool_stats {
    uint64_t transactions;
    uint64_t queries;
    uint64_t assignments; /* servers given to clients */
    uint64_t received;    /* bytes from clients */
    uint64_t sent;        /* bytes to clients */
    uint64_t transaction_us;
    uint64_t query_us;
    uint64_t wait_us;
    uint64_t client_parses;
    uint64_t server_parses;
    uint64_t binds;
    uint64_t logins; /* of clients */
};

/* Counters of a local pool at two earlier reads of the console, so that averages need no timer. */
struct stats_window {
    struct local_pool_stats older;
    struct local_pool_stats newer;
    moment older_at;
    moment newer_at;
};

/* Databases whose removed pools one relay remembers.  The counts of further databases are lost. */
#define STATS_DEPARTED_MAX 10000u

/* Counts of the removed pools of a database on one relay, kept so that totals never decrease. */
struct stats_departed {
    struct map_link link;
    struct local_pool_stats stats;
    char database[];
};

void stats_subtract(struct local_pool_stats *from, const struct local_pool_stats *less);
void stats_add(struct local_pool_stats *sum, const struct local_pool_stats *more);
/** Adds the counts of a removed pool of this database.  Without memory they are lost. */
void stats_depart(struct map *departed, const char *database, const struct local_pool_stats *stats);
void stats_departed_clear(struct map *departed);
/** Returns what was counted between the two. */
struct local_pool_stats stats_since(const struct local_pool_stats *now,
                                    const struct local_pool_stats *then);
