#pragma once
/*
 * pool_parts.h - data that the router's files share: pools, their versions, members, leases and
 * caps.
 *
 *   versions 1 --- n pool 1 --- n member 1 --- 1 local pool
 *                    pool 1 --- n lease
 *                    pool n --- 4 cap
 *
 * The versions of one pool share its budget of servers and its counts.  A cap is a limit that
 * several pools share: of a service, of a database, of a user, or of all pools.  For the pooler
 * machine only, in router.c, balance.c, cap.c, reclaim.c and live_service.c.
 */
#include "base/buffer.h"
#include "base/heap.h"
#include "pool/counts.h"
#include "pool/lease_parts.h"
#include "pool/local_pool.h"
#include "pool/router.h"

struct live_services;
struct live_service;
struct outage;

enum cap_kind { CAP_SERVICE, CAP_DATABASE, CAP_USER, CAP_ALL, CAPS };

/* A limit that several pools share, and the pools that wait for slots under it.  The limits of a
 * service are kept by the fleet, one for each backend; the others are kept here. */
struct cap {
    struct node node; /* in router->reclaims while some pool lacks room */
    enum cap_kind kind;
    uint32_t slots;      /* slots of its pools, with those whose servers are ending */
    uint32_t max;        /* 0: no limit here */
    struct list holders; /* struct holding; pools that gave up servers last are at the end */
    struct heap room;    /* pools that lack room here, by place: the oldest claim first */
    struct heap permits; /* a service's: pools that wait for a login to end, or for a time */
};

/* The entry of a pool that has slots under a cap. */
struct holding {
    struct node node;
    struct pool *pool;
};

/* The limit and the counts that all pools of one database, or of one user, share. */
struct group {
    struct map_link link; /* in router->groups */
    struct cap cap;
    struct counts *counts;
    uint32_t pools; /* references */
    char name[];
};

/* The groups of a pool.  Clients are counted by their own user, servers by server_user. */
enum group_of { GROUP_DATABASE, GROUP_USER, GROUP_SERVER_USER, GROUPS };

/* The rebalancing of a service's pools, at an interval and after changes. */
struct rebalance {
    struct timer timer;
    struct waker waker;
    struct router *router;
    struct live_service *live;
    deadline give_up; /* when a full pool may give up a connection for a probe again */
};

struct router {
    struct pooler_env *env;
    struct config *config; /* the latest version, counted */
    struct map versions;   /* struct pool_versions by database and user */
    struct map groups;     /* struct group by kind and name */
    struct cap all;
    uint32_t budget; /* servers that file descriptors suffice for; 0: any number */
    struct list pools;
    struct list reclaims; /* caps under which pools lack room */
    struct live_services *live_services;
    struct timer reclaim; /* the next reclaim of servers for pools that lack room */
    struct waker reclaim_waker;
    moment reclaimed; /* when the latest reclaim ran */
};

/* All versions of one pool. */
struct pool_versions {
    struct map_link link; /* in router->versions */
    bool replication;     /* of a replication route: separate from the other pools of the user */
    bool lookup;          /* of a route for auth_query: separate as well */
    enum fleet_target target;
    struct list pools; /* by versions_node */
    struct counts *counts;
    char *database;
    char *user;
};

/* One relay's local pool, as the router sees it. */
struct member {
    struct node node; /* in pool->members */
    struct pool *pool;
    struct local_pool *local;
    uint32_t leases;  /* leases that its local pool has or is being sent */
    uint32_t coming;  /* of these: the login has not ended yet */
    uint32_t recalls; /* recalled leases that have not come back yet */
    moment recalled;  /* when the latest recall was sent */
    uint64_t sent;    /* live servers transferred to it so far */
    uint64_t outage;  /* number of the latest outage that was mailed to it */
    uint64_t fence;   /* number of the fence that it is told of; 0: none is under way */
    bool fence_again; /* a later fence has been ordered since that mail was sent */
};

/* What keeps a pool from getting one more slot. */
enum pool_lack {
    LACKS_NOTHING,
    LACKS_SIZE,   /* all versions of the pool together are at pool_size */
    LACKS_ROOM,   /* a cap is at its limit: pool->lacks_at */
    LACKS_CROWD,  /* a backend had no room for the pool's latest login (53300) */
    LACKS_PERMIT, /* another login must end first, or time must pass */
    LACKS_MEMORY,
};

struct pool {
    struct node node;          /* in router->pools */
    struct node versions_node; /* in versions->pools */
    struct router *router;
    struct pool_versions *versions;
    struct config *config; /* counted: the version that `route` belongs to */
    const struct route_config *route;
    struct live_service *live;
    struct slots *slots;
    struct group *groups[GROUPS];
    struct cap *caps[CAPS];
    struct holding holdings[CAPS];
    struct list members;
    struct list leases;
    uint32_t ending; /* of these: Terminate was sent, the backend has not closed yet */
    bool obsolete;
    enum pool_lack lack;
    struct cap *lacks_at;    /* the cap that `lack` is about, or NULL */
    struct heap *line;       /* the line of that cap that `place` is in; NULL: in none */
    struct heap_node place;  /* its key: when the oldest claim was made, as known when it was set */
    struct node aside;       /* in the list of pools that cap_balance passes over */
    uint32_t moving;         /* connections closed so that others open elsewhere */
    bool probing;            /* the next one goes to a backend that is not known to be healthy */
    bool crowded;            /* a backend had no room for its latest login (53300) */
    moment evened;           /* when its members' queues were last made even */
    deadline held_back_told; /* the next route.held_back is not logged before */
    deadline paused; /* no login before: the backend rejected one while other servers live */
    duration pause;  /* the length of that pause */
    struct timer timer;
    struct waker timer_waker;
    uint8_t *reported; /* what the latest server reported, for new local pools; or NULL */
    uint32_t reported_size;
    struct buffer accepted; /* values that servers have accepted, flat; see accepted.h */
};

/* --- balance.c: grants of leases, and recalls ------------------------------------------------- */

/** Grants the leases that can be granted; recalls leases from other members for the rest. */
void pool_balance(struct pool *pool);
/** The same, but pools with older claims that wait for a permit of the same service go first. */
void pool_balance_in_turn(struct pool *pool);
/** Balances the pools that may use a slot or a permit that this pool has returned, or its idle
 *  server: the pool with the oldest claim first. */
void router_balance(struct router *router, const struct pool *pool);
/** Balances the pools that wait under a cap, in the order of their oldest claims. */
void cap_balance(struct cap *cap);
/** Transfers a live server that `from` has given back to the neediest member, or closes it to make
 *  room for another pool. */
void lease_pass_on(struct lease *take_lease, struct member *from);
/** Grants a slot to a member: a lease is made of it and sent. */
fault pool_lend(struct pool *pool, struct member *member, struct slot *take_slot) MUST_USE;
/** Returns the member with clients that has the fewest leases; NULL: no member has clients. */
struct member *pool_fewest(const struct pool *pool);
uint32_t pool_leases(const struct pool *pool);
/** Returns the member that lacks a lease and has the oldest claim; NULL: none lacks one. */
struct member *pool_needy(const struct pool *pool);
/** Returns when that claim was made, us; UINT64_MAX: no member lacks a lease. */
uint64_t pool_oldest(const struct pool *pool);
/** Whether the pool wants a lease without a claim: for pool_min, the spares or a move. */
bool pool_wants_more(const struct pool *pool);
/** Returns how often claim ages are checked again; they change without an event. */
duration pool_period(const struct pool *pool);
/** Returns how many leases will soon come back: recent recalls, and servers that are ending. */
uint32_t pool_hopes(const struct pool *pool);
uint64_t member_queued(const struct member *member);
uint64_t member_oldest(const struct member *member);
/** Returns the number of claims beyond the servers that are on their way to the member. */
uint64_t member_lacks(const struct member *member);
/** Returns how many of the member's leases can be recalled. */
uint32_t member_spare(const struct member *member);
/** Recalls `count` of the member's leases. */
void member_recall(struct member *member, uint64_t count);

/* --- cap.c: limits that pools share ----------------------------------------------------------- */

void cap_init(struct cap *cap, enum cap_kind kind);
/** Checks that no pool is left under the cap. */
void cap_fini(struct cap *cap);
/** Puts the pool under its caps.  Faults: MEMORY. */
fault pool_join_caps(struct pool *pool) MUST_USE;
void pool_leave_caps(struct pool *pool);
/** Counts one more slot of the pool at its caps. */
void pool_hold(struct pool *pool);
/** Counts one slot of the pool less at its caps. */
void pool_let_go(struct pool *pool);
/** Returns a cap that is at its limit; NULL: none is, the pool may have one more slot. */
struct cap *pool_capped(const struct pool *pool);
/** Puts the pool in the line for what it lacks, or takes it out of its line. */
void pool_line_up(struct pool *pool);
/** Returns the pool in line that has the oldest claim; NULL: no pool in line wants a server now. */
struct pool *line_first(struct heap *line);
/** Sets the limits of all caps from the latest configuration. */
void router_set_caps(struct router *router);

/* --- reclaim.c: servers that pools give up so that others can have theirs --------------------- */

/** Reclaims servers for all pools that lack room.  Called by the router's timer. */
void router_reclaim(struct waker *waker);
/** Has router_reclaim run soon. */
void router_reclaim_soon(struct router *router);
/** Returns how many leases can be recalled for other pools because their residence is over. */
uint32_t member_ripe(const struct member *member);
/** Whether this pool must give up a server to a pool or version that waits longer. */
bool pool_yields(const struct pool *pool);
/** Has the relay that gave back this live server close it, to make room. */
void lease_close(struct lease *take_lease);
/** Whether a limit that the pool shares with others keeps it from getting a slot. */
bool pool_lacks_room(const struct pool *pool);

/* --- router.c --------------------------------------------------------------------------------- */

/** Frees the lease and its slot, and the pool if nothing else is left in it. */
void lease_end(struct lease *take_lease);

/** Has all servers of the pool closed as they become free. */
void pool_doom_all(struct pool *pool);

/* --- rebalance.c: connections of services that spread ----------------------------------------- */

void rebalance_init(struct rebalance *rebalance, struct router *router, struct live_service *live);
void rebalance_fini(struct rebalance *rebalance);
/** Has the service rebalanced at once, because something has changed. */
void rebalance_soon(struct rebalance *rebalance);

/* --- live_service.c --------------------------------------------------------------------------- */

const struct service_config *live_service_settings(const struct live_service *live);
struct rebalance *live_service_rebalance(struct live_service *live);
struct failover *live_service_failover(struct live_service *live);
struct cap *live_service_cap(struct live_service *live);
/** Notes the result of a login at one of the service's backends. */
void live_service_login_failed(struct live_service *live, const struct lease *lease);
void live_service_login_succeeded(struct live_service *live);
/** Returns the outage; NULL: logins succeed.  The number differs after each change. */
const struct outage *live_service_outage(const struct live_service *live, uint64_t *ret_number);
