#pragma once
/*
 * router.h - pools over all relays: who gets a lease, and from whom one is recalled.
 *
 * Runs on the pooler machine.  A pool is the live state of one route for one database and user; its
 * members are the local pools that relays have in it; its slots stand in the fleet.  Limits are
 * exact because only the router asks for slots.  Between relays it goes by the age of their oldest
 * claims: a claim is never overtaken from another relay by more than `overtake_max` and one
 * release. Recalls are always answered: at once when a server is idle, else at the next release.
 */
#include "config/config.h"
#include "fleet/fleet.h"
#include "machine/machine.h"

struct pooler_env;
struct router;
struct lease;
struct table_sink;

fault router_new(struct pooler_env *env, struct config *config, struct router **ret) MUST_USE;
void router_free(struct router **router);
/** A new version: limits apply in place, obsolete pools are marked, services follow. */
fault router_reload(struct router *router, struct config *config) MUST_USE;
/** Never more servers than this, whatever a version allows; 0: no bound of this kind. */
void router_set_budget(struct router *router, uint32_t servers);

/* Deliveries: of local->membership.enroll, local->membership.want and local->membership.retire on
 * the pooler machine, of local->membership.recall and of the answers to local->membership.enroll
 * and local->membership.retire on the relay; lease->to_router and lease->report on the pooler
 * machine, lease->to_relay and reported->mail on the relay. */
void router_enroll(struct mail *mail);
void router_want(struct mail *mail);
void router_retire(struct mail *mail);
void local_pool_recalled(struct mail *mail);
void router_lease_back(struct mail *mail);
void router_lease_report(struct mail *mail);
void local_pool_lease_came(struct mail *mail);
void local_pool_enrolled(struct mail *mail);
void local_pool_retired(struct mail *mail);
void local_pool_reported(struct mail *mail);

/* What a pool's servers tell at their login, for a local pool that has not logged one in itself. */
struct reported {
    struct mail mail;
    struct local_pool *local;
    uint32_t size;
    uint8_t bytes[];
};

struct live_service;
/** A service's addresses have changed, or are known at last. */
void router_resolved(struct router *router, struct live_service *live);
/** On the pooler machine: servers of this database, or of all (NULL), end as soon as they are free.
 */
void router_doom(struct router *router, const char *database);
/** How many there are; `doomed`: of those that shall end. */
uint64_t router_servers(const struct router *router, const char *database, bool doomed);
/** On the pooler machine, for the console. */
void router_show_backends(struct router *router, struct table_sink *sink);
/** The host names of services: hostname, ttl, addrs. */
void router_show_hosts(struct router *router, struct table_sink *sink);
