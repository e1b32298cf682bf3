#pragma once
/*
 * pool.h - what the router's files share: pools, their members, and who may call a lease back.
 *
 *   kin 1 --- n pool 1 --- n member 1 --- 1 local pool
 *                pool 1 --- n lease
 *                pool n --- 4 cap
 *
 * The versions of one pool are kin: they share its budget of servers and its counts.  A cap is a
 * limit that several pools share: a service's, a database's, a user's, that of all.  Only on the
 * pooler machine, and only for router.c, balance.c, cap.c, reclaim.c, closing.c and live_service.c.
 */
#include "base/heap.h"
#include "pool/counts.h"
#include "pool/lease.h"
#include "pool/local_pool.h"
#include "pool/router.h"

struct live_services;
struct live_service;

enum cap_kind { CAP_SERVICE, CAP_DATABASE, CAP_USER, CAP_ALL, CAPS };

/* Slots of several pools, and who wants more of them.  A service's limit is the fleet's, which has
 * one for each backend; the other limits are here. */
struct cap {
    struct node node; /* in router->reclaims while some pool lacks room */
    enum cap_kind kind;
    uint32_t slots;      /* that its pools hold, those that are ending included */
    uint32_t max;        /* 0: none here */
    struct list holders; /* struct holding; who gave something up the last time is at the end */
    struct heap room;    /* pools that lack room here, by place: the oldest claim first */
    struct heap permits; /* a service's: pools that wait for the end of a login, or for time */
};

/* That a pool has slots under a cap. */
struct holding {
    struct node node;
    struct pool *pool;
};

/* What pools of one database, or of one user, have in common. */
struct group {
    struct map_link link; /* in router->groups */
    struct cap cap;
    struct counts *counts;
    uint32_t pools; /* references */
    char name[];
};

/* A user's clients are counted by the name that they log in with, its servers by theirs. */
enum group_of { GROUP_DATABASE, GROUP_USER, GROUP_SERVER_USER, GROUPS };

struct router {
    struct pooler_env *env;
    struct config *config; /* the latest version, counted */
    struct map versions;   /* struct kin by database and user */
    struct map groups;     /* struct group by kind and name */
    struct cap all;
    uint32_t budget; /* servers that descriptors suffice for; 0: any number */
    struct list pools;
    struct list reclaims; /* caps under which pools lack room */
    struct list closings; /* struct closing: slots whose servers are about to end */
    struct live_services *live_services;
    struct timer reclaim; /* the next look at who waits for room */
    struct waker reclaim_waker;
    deadline reclaimed; /* the last one */
};

/* All versions of one pool. */
struct pool_versions {
    struct map_link link; /* in router->kin */
    bool replication;     /* a pool of its own beside that of the same database and user */
    bool lookup;          /* as well */
    struct list pools;    /* by versions_node */
    struct counts *counts;
    char *database;
    char *user;
};

/* One relay's local pool, as the router sees it. */
struct member {
    struct node node; /* in pool->members */
    struct pool *pool;
    struct local_pool *local;
    uint32_t leases;   /* out there */
    uint32_t coming;   /* of these: to be logged in under, and not connected yet */
    uint32_t recalls;  /* asked for and not answered yet */
    deadline recalled; /* the latest asking */
    uint64_t sent;     /* live servers passed on to it so far */
};

enum pool_lack {
    LACKS_NOTHING,
    LACKS_SIZE,   /* the pool, with its kin, is at its size */
    LACKS_ROOM,   /* a cap is at its limit: pool->lacks_at */
    LACKS_CROWD,  /* or a backend at one of its own, as the latest login was told */
    LACKS_PERMIT, /* or time has to pass */
    LACKS_MEMORY,
};

struct pool {
    struct node node;          /* in router->pools */
    struct node versions_node; /* in kin->pools */
    struct router *router;
    struct pool_versions *versions;
    struct config *config; /* counted: whose route it goes by */
    const struct route_config *route;
    struct live_service *live;
    struct slots *slots;
    struct group *groups[GROUPS];
    struct cap *caps[CAPS];
    struct holding holdings[CAPS];
    struct list members;
    struct list leases;
    uint32_t ending; /* of these: the server was told to end */
    bool obsolete;
    enum pool_lack lack;
    struct cap *lacks_at;   /* where, unless that is nowhere */
    struct heap *line;      /* of that cap, with `place` in it; NULL: in none */
    struct heap_node place; /* by the age of its oldest claim, as it was known then */
    struct node aside;      /* while a walk along that line passes it over */
    bool crowded;           /* a backend had no room for its latest login */
    deadline evened;        /* when its members were last compared for evenness */
    deadline paused;        /* no login before: the backend refused one though others stand */
    duration pause;
    struct timer timer;
    struct waker timer_waker;
    uint8_t *greeting; /* what the latest server reported, if any; for local pools without one */
    uint32_t greeting_size;
};

/* --- balance.c: who gets one, and from whom --------------------------------------------------- */

/** Grants what can be granted, calls back what is missing. */
void pool_balance(struct pool *pool);
/** A slot or a permit of this pool has come back, or a server of it rests: those who wait for it.
 */
void router_balance(struct router *router, const struct pool *pool);
/** The same for all pools that wait under a cap. */
void cap_balance(struct cap *cap);
/** A live server that its member has given back: passed on, or closed to make room. */
void lease_pass_on(struct lease *take_lease, struct member *from);
uint32_t pool_leases(const struct pool *pool);
/** The member that lacks a lease and whose claim has waited longest; NULL: none. */
struct member *pool_needy(const struct pool *pool);
/** Since when that claim waits; UINT64_MAX: none does. */
uint64_t pool_oldest(const struct pool *pool);
/** Wants a server though no claim waits. */
bool pool_wants_min(const struct pool *pool);
/** How often ages, which change while nobody says so, are looked at again. */
duration pool_period(const struct pool *pool);
/** Recalls and endings that may soon be answered. */
uint32_t pool_hopes(const struct pool *pool);
uint64_t member_queued(const struct member *member);
uint64_t member_oldest(const struct member *member);
/** Claims beyond the servers that are on their way to it. */
uint64_t member_lacks(const struct member *member);
/** Leases that may be called back. */
uint32_t member_spare(const struct member *member);
void member_recall(struct member *member, uint64_t count);

/* --- cap.c: limits that pools share ----------------------------------------------------------- */

void cap_init(struct cap *cap, enum cap_kind kind);
/** No pool is under it. */
void cap_fini(struct cap *cap);
/** Puts the pool under its caps.  MEMORY. */
fault pool_join_caps(struct pool *pool) MUST_USE;
void pool_leave_caps(struct pool *pool);
/** It got a slot, or one of its slots has ended. */
void pool_hold(struct pool *pool);
void pool_let_go(struct pool *pool);
/** The cap that lets it have no more slots; NULL: none. */
struct cap *pool_capped(const struct pool *pool);
/** Into the line for what it lacks, or out of all lines. */
void pool_line_up(struct pool *pool);
/** The pool whose claim is the oldest; NULL: nobody in line wants anything now. */
struct pool *line_first(struct heap *line);
/** Limits follow the latest configuration. */
void router_set_caps(struct router *router);

/* --- reclaim.c: room that pools take from each other ------------------------------------------ */

/** When it is time to look again at who waits for room. */
void router_reclaim(struct waker *waker);
void router_reclaim_soon(struct router *router);
/** Leases of it that may be called back for other pools: their residence is over. */
uint32_t member_ripe(const struct member *member);
/** Whether this pool has to give one of its servers up to one that waits longer. */
bool pool_yields(const struct pool *pool);
/** Closes a live server that was given back. */
void lease_close(struct lease *take_lease);
bool pool_lacks_room(const struct pool *pool);

/* --- router.c --------------------------------------------------------------------------------- */

/** The slot is free: ends the lease, and the pool if it was the last thing in it. */
void lease_end(struct lease *take_lease);

/* --- live_service.c --------------------------------------------------------------------------- */

struct cap *live_service_cap(struct live_service *live);

/* --- closing.c: a slot is free when its server's process has let go of the connection --------- */

/** `lease->server` is detached and has been told to end. */
void closing_begin(struct router *router, struct lease *take_lease);
/** Does not wait any longer; the pools are not balanced. */
void closing_end_all(struct router *router);
