#pragma once
/*
 * pools.h - all local pools of one relay, and the operations that the relay offers to them.
 *
 * Embedded in the relay; used on the relay's thread.  The pool knows clients only by their claims.
 * Bytes between clients and servers are moved by the relay's operations, not by the pool.  The
 * struct is open because the relay embeds it and finds itself by it.
 */
#include "base/list.h"
#include "base/map.h"
#include "config/config.h"
#include "pool/env.h"
#include "pool/orders.h"
#include "session/ledger.h"
#include "session/params.h"
#include "session/pin.h"
#include "stats/route_times.h"

struct claim;
struct local_pool;
struct local_pools;
struct server;

/* The operations that the relay offers, on its own thread.  None suspends. */
struct pool_operations {
    /** Called when a ledger entry that has `about` is answered or dropped. */
    void (*settle)(void *server, const struct owed *owed, enum owed_end end);
    /** Frees the pin and the portals that the relay keeps with a server. */
    void (*forget)(struct server *server);
    /** Resolves the doubt in a free server's ledger by a query whose reply marks the place.  The
     *  server then becomes free or is closed. */
    void (*mark)(struct server *server);
    /** Cleans the session of a server without a client; it then becomes free or is closed. */
    void (*clean)(struct server *server);
    /** Checks by an empty query that an idle server still answers.  The server then becomes free or
     *  is closed.  Fault: MEMORY; the server is idle as before. */
    fault (*check)(struct server *server) MUST_USE;
    /** Ends a server that is not idle, and its client: nothing is sent to it from now on. */
    void (*fence)(struct server *server);
    /** Sends a NOTICE to the client of a claim that has waited for long. */
    void (*notice)(struct claim *claim);
    /** Applies changed time limits to the clients of a local pool; `was`: it had limits before. */
    void (*times)(struct local_pool *pool, bool was);
    /** Disconnects the clients of a local pool now, because drain_timeout has passed. */
    void (*drain)(struct local_pool *pool);
    /** Called when something that the end of the relay waits for is gone. */
    void (*settled)(struct local_pools *pools);
};

struct local_pools {
    struct machine *machine; /* the relay's thread */
    struct pooler_env *env;
    const struct pool_operations *does;
    struct config *config; /* the latest version, counted */
    bool stopping;         /* no new clients; present clients are disconnected */
    struct orders orders;
    struct list all;      /* struct local_pool */
    struct list closings; /* struct closing: servers that are ending */
    struct map by_name;   /* local pools that take new clients, by database and user */
    struct params_store params;
    struct pin_counts pins;
    struct map route_times;         /* struct route_times by route */
    struct route_times_taken taken; /* what `route_times` had before the log took it */
    struct map departed; /* struct stats_departed by database: local pools that were freed */
    struct map services; /* struct stats_service by name */
};

/** Reports that something that the end of the relay waits for is gone. */
static inline void pools_settled(struct local_pools *pools)
{
    pools->does->settled(pools);
}
