#pragma once
/*
 * route_times.h - one relay's part of a route's times and counts, for each period of the log.
 *
 * The route's local pools on the relay refer to it, and it outlives them until the next period has
 * told what they counted; so nothing is lost with a pool.  All of it is of one thread.
 */
#include "config/config.h"
#include "stats/histogram.h"
#include "stats/stats.h"

/* Routes whose times one relay keeps; those of older configurations go with the next period. */
#define ROUTE_TIMES_MAX 65536u

/* What tells one route's times from another's, over versions of the configuration. */
struct route_times_key {
    const char *database;
    const char *user;
    const char *service;
    enum pool_mode mode;
};

struct route_times {
    struct map_link link; /* in the relay's map, by all that tells routes apart */
    uint32_t local_pools; /* that refer to it */
    uint32_t clients;     /* this and the next three: while the relays are looked at */
    uint32_t waiting;
    uint32_t idle;
    uint32_t busy;
    const char *database; /* the route's patterns, copied; "*" for any */
    const char *user;
    const char *service;
    enum pool_mode mode;
    uint32_t line;
    struct local_pool_stats gone; /* what departed local pools had counted and nobody has told */
    struct histogram query;
    struct histogram transaction;
    struct histogram wait;
    char texts[];
};

/** Found or made; NULL: no memory. */
struct route_times *route_times_of(struct map *map, const struct route_times_key *key);
struct route_times_key route_times_key(const struct route_times *times);
void route_times_drop(struct map *map, struct route_times *times);
void route_times_clear(struct map *route_times);
