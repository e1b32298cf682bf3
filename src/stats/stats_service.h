#pragma once
/*
 * stats_service.h - what one relay counts for each service.
 *
 * The relay's local pools refer to the counters of their service, which outlive them, so that
 * totals never decrease.  Written on the relay's thread only; the console reads there, too.
 */
#include "base/map.h"

/* Services that one relay remembers.  What further ones count is lost. */
#define STATS_SERVICES_MAX 10000u

enum stats_service_count {
    STATS_REFUSED_NO_BACKENDS, /* claims refused: the service has no servers */
    STATS_REFUSED_NONE_ONLINE, /* it has, but none accepts logins */
    STATS_REFUSED_ALL_USED,    /* all connections that a limit allows are in use */
    STATS_REFUSED_SHED,        /* shed by controlled delay */
    STATS_REFUSED_PAUSED,      /* the database is paused */
    STATS_REFUSED_REJECTED,    /* the server rejected the login for good */
    STATS_CHECKS,              /* empty queries to idle servers */
    STATS_CHECKS_FAILED,
    STATS_SERVICE_COUNTS,
};

struct stats_service {
    struct map_link link;
    uint64_t counts[STATS_SERVICE_COUNTS];
    char name[];
};

/** Finds or makes the counters of a service.  NULL: no memory. */
struct stats_service *stats_service_of(struct map *services, const char *name);
/** Adds one; `service` NULL: nothing is counted. */
void stats_service_add(struct stats_service *service, enum stats_service_count what);
void stats_services_clear(struct map *services);
