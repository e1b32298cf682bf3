#pragma once
/*
 * logbook.h - what is written down about clients and queries: who came and went, what was slow, and
 * how long things took, for each route.
 *
 * A tally is one relay's part of a route's times.  The route's shares there refer to it, and it
 * outlives them until the next period has told what they counted; so nothing is lost with a pool.
 * All of it is the relay's own; logbook_tell_routes looks at every relay in turn.
 */
#include "config/config.h"
#include "stats/histogram.h"
#include "stats/stats.h"

struct relay;
struct share;
struct client;
struct server;
struct pooler;

/* Routes whose times one relay keeps; those of older configurations go with the next period. */
#define LOGBOOK_TALLIES_MOST 65536u

struct tally {
    struct map_link link; /* in relay->tallies, by all that tells routes apart */
    uint32_t shares;      /* that refer to it */
    uint32_t clients;     /* this and the next three: while the relays are looked at */
    uint32_t waiting;
    uint32_t idle;
    uint32_t busy;
    const char *database; /* the route's patterns, copied; "*" for any */
    const char *user;
    const char *service;
    enum pool_mode mode;
    uint32_t line;
    struct share_stats gone; /* what departed shares had counted and nobody has told */
    struct histogram query;
    struct histogram transaction;
    struct histogram wait;
    char texts[];
};

/** Gives a new share its tally and its thresholds.  Faults: MEMORY. */
fault logbook_enter(struct share *share) MUST_USE;
/** Thresholds of the newer version of its route. */
void logbook_renew(struct share *share);
void logbook_leave(struct share *share);
/** The relay's end. */
void logbook_clear(struct map *tallies);

/** On the pooler machine: one event for each route with clients or something counted since the
 *  last.  Suspends. */
void logbook_tell_routes(struct pooler *pooler, duration period);

/** Keeps the beginning of the text that a message of the client's asks for, if none is kept yet. */
void logbook_note(struct client *client, struct server *server, uint8_t type, struct span body);
/** A query took longer than its route's slow_query. */
void logbook_slow(const struct client *client, const struct server *server, int64_t us);

void logbook_client_came(const struct client *client, const char *database, const char *user);
/** Its server is about to be taken from it: what its last line says. */
void logbook_parting(struct client *client, const struct server *server);
void logbook_client_gone(const struct client *client, const char *reason);
/** At level debug: which server and backend a client's work is given to. */
void logbook_assigned(const struct client *client, const struct server *server);
