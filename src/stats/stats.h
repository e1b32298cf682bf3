#pragma once
/*
 * stats.h - what a local pool counts.  Written by its relay only, read by others as hints.  Times
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

/* What a local pool had counted at two earlier looks of the console: averages need no tick. */
struct stats_window {
    struct local_pool_stats older;
    struct local_pool_stats newer;
    deadline older_at;
    deadline newer_at;
};

/* Databases whose departed pools one relay remembers; what more of them counted is forgotten. */
#define STATS_DEPARTED_MAX 10000u

/* What the departed pools of a database have counted on one relay, so that totals never fall. */
struct stats_departed {
    struct map_link link;
    struct local_pool_stats stats;
    char database[];
};

void stats_subtract(struct local_pool_stats *from, const struct local_pool_stats *less);
void stats_add(struct local_pool_stats *sum, const struct local_pool_stats *more);
/** Adds what a pool of this database has counted to the departed.  Forgets it without memory. */
void stats_depart(struct map *departed, const char *database, const struct local_pool_stats *stats);
void stats_departed_clear(struct map *departed);
/** What was counted between the two. */
struct local_pool_stats stats_since(const struct local_pool_stats *now,
                                    const struct local_pool_stats *then);
