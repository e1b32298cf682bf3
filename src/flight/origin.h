#pragma once
/*
 * origin.h - where strict answers of one database come from: one primary at a time, and the feed
 * that tells of its writes.
 *
 * One per database of a service, for as long as the process runs.  Its `epoch` counts the
 * primaries. The pooler begins a new epoch when it ends or elects a primary; an execution that
 * finds another server than the feed's begins one too.  A strict answer counts only in the epoch in
 * which it was executed, at the server that the feed of that epoch follows.  Tickets and
 * generations of a strict answer are those of its origin: `database` below is a number of its own,
 * so a feed that is behind does not hold back answers of other modes.  Any thread; nothing
 * suspends.  Design: docs/internals/flight.md
 */
#include "flight/feed.h"
#include "flight/feed_keys.h"
#include "flight/inside.h"

struct origin;
struct origins;

/* What an execution says of the server that it ran on. */
struct origin_server {
    uint64_t system; /* identifier */
    uint32_t timeline;
    uint64_t instance; /* when it was started, microseconds since 1970 */
};

/* How a feed reaches its server.  What `target` borrows stays valid until `release`. */
struct origin_route {
    const struct link_target *target;
    const char *user;
    const char *password; /* NULL: none */
    uint64_t version;     /* of these settings */
    void (*release)(void *held);
    void *held;
};

/** Makes an empty table; the caller owns it.  NULL without memory. */
struct origins *origins_new(struct generations_table *generations);
/** Starts the thread of the feeds, unless it runs.  Not for relays: the thread shares the caller's
 *  table of handles.  Faults: MEMORY, SYSTEM. */
fault origins_begin(struct origins *origins) MUST_USE;
/** Ends all feeds and their thread.  Blocks until they have ended.  NULL-safe. */
void origins_free(struct origins **origins);

/** Finds the origin of a database of a service, or makes it, with a feed that has no source yet.
 *  NULL: no memory, or origins_begin() was not called.  The result is valid until origins_free().
 */
struct origin *origins_get(struct origins *origins, struct span service, struct span database);
/** The same of a service whose writers are all inside: without a feed. */
struct origin *origins_get_inside(struct origins *origins, struct inside *inside,
                                  struct span service, struct span database);
/** Begins a new epoch of all databases of a service: its primary has changed, or may have.  Called
 *  before any server of the new one is used. */
void origins_change(struct origins *origins, struct span service);

/** Pauses the feeds of services for which `has_feed` is false; one goes on when it follows a server
 *  again. */
void origins_prune(struct origins *origins, bool (*has_feed)(void *argument, struct span service),
                   void *argument);

/** Returns the number of the origin's database in generations.h. */
uint64_t origin_database(const struct origin *origin);
/** Returns the service, if its writers are all inside; else NULL. */
struct inside *origin_inside(const struct origin *origin);
/** Returns the generation of its catalog. */
uint64_t origin_catalog(const struct origin *origin);
/** Begins the set of an execution. */
void origin_reads_init(const struct origin *origin, struct generations_reads *reads);
/** Of a service whose writers are all inside: an execution ran on this server, and nothing had
 *  been suspected of it since `suspicions` was read, before the execution was sent.  The first one
 *  of an epoch says which server it is; another server begins a new epoch and changes all that is
 *  in memory.  False: the answer may not be shared. */
bool origin_confirm(struct origin *origin, uint64_t epoch, const struct origin_server *server,
                    uint64_t suspicions);
/** Whether stored answers wait for an execution that finds the server as it was. */
bool origin_is_suspected(struct origin *origin);
/** Returns the primary keys of its tables, for its feed. */
struct feed_keys *origin_keys(const struct origin *origin);
/** Returns the epoch.  To be read before an execution is sent, and after a ticket was answered. */
uint64_t origin_epoch(const struct origin *origin);
/** Whether the feed follows this server, in this epoch, which is still the latest one. */
bool origin_is(struct origin *origin, uint64_t epoch, const struct origin_server *server);
/** Whether the feed follows no server in this epoch, or does not reach it. */
bool origin_lacks(struct origin *origin);
/** The same, but true only once in a while: the caller then executes a statement to find the
 *  server. */
bool origin_is_due(struct origin *origin);
/** Called while a rule rests, whose statements do not ask.  A feed that no statement has asked for
 *  some seconds gives up its slot, in a new epoch, until the next execution that finds its server.
 */
void origin_rest(struct origin *origin, moment at);
/** Makes the feed follow this server, if `epoch` is still the latest one, as one of that epoch; if
 *  the feed follows another server in it, or fails with an older version of the settings, as one of
 *  a new epoch.  Copies the route and takes over
 *  what it holds, which is released on each path, by any thread.  Faults: MEMORY; AGAIN (there is a
 *  later epoch). */
fault origin_follow(struct origin *origin, uint64_t epoch, const struct origin_server *server,
                    const struct origin_route *route) MUST_USE;
/** Asks the feed; see feed_ask().  The answer counts only if the ticket's epoch is the origin's. */
void origin_ask(struct origin *origin, struct feed_ticket *ticket);

/** Copies what its feed shows; all zeros without one. */
void origin_look(const struct origin *origin, struct feed_view *ret);

/* What the console shows of an origin; names are valid until origins_free(). */
struct origin_view {
    struct span service;
    struct span database;
    uint64_t epoch;
    struct feed_view feed;
};
/** Returns a number that changes when a service gets another primary. */
uint64_t origins_epochs(struct origins *origins);
/** Calls `see` for each origin. */
void origins_each(struct origins *origins,
                  void (*see)(void *argument, const struct origin_view *view), void *argument);
