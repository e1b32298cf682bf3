#pragma once
/*
 * pools.h - what all local pools of one relay have in common, and what the relay does for them.
 *
 * Embedded in the relay, and of its thread.  The pool knows of clients what their claims say, and
 * of the bytes between a client and a server nothing: the relay's operations move them.
 */
#include "base/list.h"
#include "base/map.h"
#include "config/config.h"
#include "pool/env.h"
#include "pool/orders.h"
#include "session/ledger.h"
#include "session/params.h"

struct claim;
struct local_pools;

struct server;
struct local_pool;

/* What the relay does, on its own thread.  None suspends. */
struct pool_operations {
    /** An entry of a server's ledger that has `about` is answered or dropped; owner: the server. */
    void (*settle)(void *server, const struct owed *owed, enum owed_end end);
    /** Frees what is known of a server's session beyond what its owner keeps: pins, portals. */
    void (*forget)(struct server *server);
    /** A server is free but in doubt: asks it for a mark, then it comes free or is closed. */
    void (*mark)(struct server *server);
    /** A server that nobody has: puts its session in order, then it comes free or is closed. */
    void (*clean)(struct server *server);
    /** Asks an idle server whether it still answers; it comes free or is closed.  MEMORY. */
    fault (*check)(struct server *server) MUST_USE;
    /** A claim waits for long: its client is told. */
    void (*notice)(struct claim *claim);
    /** The limits of time of its clients have changed; `was`: there was one before. */
    void (*times)(struct local_pool *pool, bool was);
    /** Its clients leave: those in a transaction at its end. */
    void (*drain)(struct local_pool *pool);
    /** Something that the relay's end waits for has gone. */
    void (*settled)(struct local_pools *pools);
};

struct local_pools {
    struct machine *machine; /* the relay's thread */
    struct pooler_env *env;
    const struct pool_operations *does;
    struct config *config; /* the latest version, counted */
    bool stopping;         /* no new clients; those there leave */
    struct orders orders;
    struct list all;    /* struct local_pool */
    struct map by_name; /* those that take new clients, by database and user */
    struct params_store params;
    struct map route_times; /* struct route's times by route */
    struct map departed;    /* struct stats_departed by database: pools that are gone */
};

/** Something that the relay's end waits for has gone. */
static inline void pools_settled(struct local_pools *pools)
{
    pools->does->settled(pools);
}
