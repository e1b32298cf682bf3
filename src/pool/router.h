#pragma once
/*
 * router.h - pools over all relays: grants leases to local pools and recalls them.
 *
 * Runs on the pooler machine.  A pool is the live state of one route for one database and user.
 * Its members are its local pools on the relays; its slots are kept by the fleet.  Limits are exact
 * because only the router asks for slots.  Relays are served by the age of their oldest claims: a
 * claim is never overtaken from another relay by more than `overtake_max` and one release.
 * Recalls are always answered: at once if a server is idle, else at the next release.
 */
#include "config/config.h"
#include "fleet/fleet.h"
#include "machine/machine.h"

struct pooler_env;
struct router;
struct lease;
struct table_sink;

/* A service, for the console.  The texts are borrowed during the call. */
struct router_service {
    const char *name;
    const char *resolver;
    enum fleet_refusal lacks;
    struct service_counts counts;
    moment down;         /* the first failure after the last login that succeeded; 0: none */
    char problem[240];   /* the latest of these failures */
    const char *primary; /* primary_state_text(); NULL: it has no probes */
    uint64_t elections;
    uint64_t late; /* transactions that new primaries may lack, in all of them */
};

fault router_new(struct pooler_env *env, struct config *config, struct router **ret) MUST_USE;
void router_free(struct router **router);
/** Applies a new version: changes limits in place, marks obsolete pools, updates services. */
fault router_reload(struct router *router, struct config *config) MUST_USE;
/** Sets the number of servers that descriptors suffice for, which no version exceeds; 0: no such
 *  bound. */
void router_set_budget(struct router *router, uint32_t servers);
/** Has servers of this database, or of all (NULL), closed as soon as they are free.  On the pooler
 *  machine. */
void router_doom(struct router *router, const char *database);
/** Counts the servers of this database, or of all (NULL).  `to_close`: only those to be closed. */
uint64_t router_servers(const struct router *router, const char *database, bool to_close);
/** Takes a backend, "HOST" or "HOST:PORT", out of all services, and puts it back.  Return how many
 *  backends the name has. */
uint32_t router_drain(struct router *router, const char *backend);
uint32_t router_undrain(struct router *router, const char *backend);
/* What SWITCHOVER waits for. */
struct router_switch {
    bool elected;     /* a primary is elected, and slots are granted there */
    bool held;        /* a switchover is under way */
    uint64_t epoch;   /* of its election */
    uint64_t servers; /* of pools that need the primary */
    duration timeout; /* of the service's switchovers */
};
/** Returns false if there is no such service. */
bool router_look_at_switch(struct router *router, const char *service, struct router_switch *ret);
/** Grants nothing to the service's pools that need the primary until then, and has their servers
 *  closed as they become free.  0: ends that. */
void router_hold(struct router *router, const char *service, deadline until);
enum router_choice {
    ROUTER_CHOSEN,
    ROUTER_NO_BACKEND,
    ROUTER_NO_SERVICE,
    ROUTER_SEVERAL,  /* backends of one service */
    ROUTER_SERVICES, /* that have such a backend */
    ROUTER_NOT_PRIMARY,
    ROUTER_BEHIND,
};
struct router_election {
    enum router_choice choice;
    char services[256]; /* quoted names of those that have such a backend, cut if they are longer */
};
/** Chooses the backend with this host or address, "HOST" or "HOST:PORT", as the primary on its
 *  line.  `service`: in this one; "": in the only one that has such a backend.  Each service has
 *  its own primary, so nothing is chosen if there are several. */
void router_elect(struct router *router, const char *backend, const char *service,
                  struct router_election *ret);
/** Adds a row for each backend.  On the pooler machine, for the console. */
void router_show_backends(struct router *router, struct table_sink *sink);
/** Adds a row of SHOW SLOTS for each backend that waits before its next login. */
void router_show_failed(struct router *router, struct table_sink *sink);
/** Calls `see` for each service. */
void router_each_service(struct router *router,
                         void (*see)(void *argument, const struct router_service *service),
                         void *argument);
/** Adds a row for each host name of a service: hostname, ttl, addrs. */
void router_show_hosts(struct router *router, struct table_sink *sink);
/** Adds a row for each service, with the state of its resolver. */
void router_show_resolvers(struct router *router, struct table_sink *sink);
/** Adds a row for each SRV name: zonename, serial, count. */
void router_show_zones(struct router *router, struct table_sink *sink);
/** Resolves a service again; *ret_rounds is for router_has_resolved().  Returns false if there is
 * no such service. */
bool router_resolve(struct router *router, const char *service, uint64_t *ret_rounds);
bool router_has_resolved(struct router *router, const char *service, uint64_t rounds);
/** Adds a row for each record and each name server of a service. */
void router_show_resolver(struct router *router, const char *service, struct table_sink *sink);
