#pragma once
/*
 * route_times.h - times and counts of a route on one relay, for each period of the log.
 *
 * The route's local pools on the relay refer to its struct route_times.  The struct outlives them
 * until the next period has logged what they counted, so that nothing is lost with a pool.  Used by
 * one thread only.
 */
#include "config/config.h"
#include "stats/histogram.h"
#include "stats/stats.h"

/* Routes whose times one relay keeps.  Those of older configurations are dropped with the next
 * period. */
#define ROUTE_TIMES_MAX 65536u

/* Identifies a route's times over versions of the configuration. */
struct route_times_key {
    const char *database;
    const char *user;
    const char *service;
    enum pool_mode mode;
    uint64_t obsolete; /* version of an obsolete route: each has its own times; 0: in force */
};

struct route_times {
    struct map_link link; /* in the relay's map, by struct route_times_key */
    uint32_t local_pools; /* that refer to this struct */
    uint32_t clients;     /* this and the next three: only in the log's sums over relays */
    uint32_t waiting;
    uint32_t idle;
    uint32_t busy;
    const char *database; /* the route's patterns, copied; "*" for any */
    const char *user;
    const char *service;
    enum pool_mode mode;
    uint32_t line;
    uint64_t version;             /* newest version of the configuration with this route */
    uint64_t obsolete;            /* the same version if the route is obsolete; 0: in force */
    struct local_pool_stats gone; /* counts of removed local pools, not logged yet */
    struct histogram query;
    struct histogram transaction;
    struct histogram wait;
    char texts[];
};

/* The times of all routes of a relay that the log's periods have taken, since its start. */
struct route_times_taken {
    struct histogram_sum query;
    struct histogram_sum transaction;
    struct histogram_sum wait;
};

/** Adds the histograms of a route to the sums. */
void route_times_sum(struct route_times_taken *sums, const struct route_times *times);
/** Finds or creates the times of a route.  NULL: no memory. */
struct route_times *route_times_of(struct map *map, const struct route_times_key *key);
struct route_times_key route_times_key(const struct route_times *times);
void route_times_drop(struct map *map, struct route_times *times);
void route_times_clear(struct map *route_times);
