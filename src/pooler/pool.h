#pragma once
/*
 * pool.h - what the router's files share: pools, their seats, and who may call a lease back.
 *
 *   kin 1 --- n pool 1 --- n seat 1 --- 1 share (a relay's)
 *                pool 1 --- n lease
 *
 * The versions of one pool are kin: they share its budget of servers and its census.  Only on the
 * pooler machine, and only for router.c, balance.c and goodbye.c.
 */
#include "pooler/census.h"
#include "pooler/lease.h"
#include "pooler/router.h"
#include "pooler/share.h"

struct supplies;

struct router {
    struct pooler *pooler;
    struct config *config; /* the latest version, counted */
    struct map kin;        /* struct kin by database and user */
    struct list pools;
    struct list waiting;  /* pools that lack something, by waiting_node */
    struct list goodbyes; /* struct goodbye: slots whose servers are about to end */
    struct supplies *supplies;
    struct timer contest; /* the next look at who waits for room at the backends */
    struct waker contest_waker;
    deadline contested; /* the last one */
};

/* All versions of one pool. */
struct kin {
    struct map_link link; /* in router->kin */
    struct list pools;    /* by kin_node */
    struct census *census;
    char *database;
    char *user;
};

/* One relay's share, as the router sees it. */
struct seat {
    struct node node; /* in pool->seats */
    struct pool *pool;
    struct share *share;
    uint32_t leases;  /* out there */
    uint32_t coming;  /* of these: to be logged in under, and not connected yet */
    uint32_t recalls; /* asked for and not answered yet */
    deadline recalled; /* the latest asking */
    uint64_t sent;    /* live servers passed on to it so far */
};

enum pool_lack {
    LACKS_NOTHING,
    LACKS_SIZE,   /* the pool, with its kin, is at its size */
    LACKS_ROOM,   /* the backends are at our limit of connections */
    LACKS_CROWD,  /* or at a limit of their own, as the latest login was told */
    LACKS_PERMIT, /* or time has to pass */
    LACKS_MEMORY,
};

struct pool {
    struct node node;         /* in router->pools */
    struct node kin_node;     /* in kin->pools */
    struct node waiting_node; /* in router->waiting, unless it lacks nothing */
    struct router *router;
    struct kin *kin;
    struct config *config; /* counted: whose route it goes by */
    const struct route_config *route;
    struct supply *supply;
    struct slots *slots;
    struct list seats;
    struct list leases;
    uint32_t ending; /* of these: the server was told to end */
    bool obsolete;
    enum pool_lack lack;
    bool crowded;    /* a backend had no room for its latest login */
    deadline evened; /* when its seats were last compared for evenness */
    deadline paused; /* no login before: the backend refused one though others stand */
    duration pause;
    struct timer timer;
    struct waker timer_waker;
    uint8_t *greeting; /* what the latest server reported, if any; for shares without one */
    uint32_t greeting_size;
};

/* --- balance.c: who gets one, and from whom ------------------------------------------------------
 */

/** Grants what can be granted, calls back what is missing. */
void pool_balance(struct pool *pool);
/** A slot or a permit of this pool has come back, or a server of it rests: those who wait for it.
 */
void router_balance(struct router *router, const struct pool *pool);
/** The same for all pools of a service. */
void router_balance_supply(struct router *router, const struct supply *supply);
/** When it is time to look again at who waits for room. */
void router_contest(struct waker *waker);
/** A live server that its seat has given back: passed on, or closed to make room. */
void lease_pass_on(struct lease *take_lease, struct seat *from);
uint32_t pool_leases(const struct pool *pool);

/* --- router.c ----------------------------------------------------------------------------------
 */

/** The slot is free: ends the lease, and the pool if it was the last thing in it. */
void lease_end(struct lease *take_lease);

/* --- goodbye.c: a slot is free when its server's process has let go of the connection ------------
 */

/** `lease->server` is detached and has been told to end. */
void goodbye_begin(struct router *router, struct lease *take_lease);
/** Does not wait any longer; the pools are not balanced. */
void goodbye_end_all(struct router *router);
