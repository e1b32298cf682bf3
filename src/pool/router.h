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

fault router_new(struct pooler_env *env, struct config *config, struct router **ret) MUST_USE;
void router_free(struct router **router);
/** Applies a new version: changes limits in place, marks obsolete pools, updates services. */
fault router_reload(struct router *router, struct config *config) MUST_USE;
/** Sets the number of servers that descriptors suffice for, which no version exceeds; 0: no such
 *  bound. */
void router_set_budget(struct router *router, uint32_t servers);

/* Deliveries of mail.  router_*() run on the pooler machine, local_pool_*() on the relay. */
void router_enroll(struct mail *mail);         /* membership.enroll */
void router_want(struct mail *mail);           /* membership.want */
void router_retire(struct mail *mail);         /* membership.retire */
void local_pool_recalled(struct mail *mail);   /* membership.recall */
void router_lease_back(struct mail *mail);     /* lease->to_router */
void router_lease_report(struct mail *mail);   /* lease->report */
void local_pool_lease_came(struct mail *mail); /* lease->to_relay */
void local_pool_enrolled(struct mail *mail);   /* membership.enroll, answered */
void local_pool_retired(struct mail *mail);    /* membership.retire, answered */
void local_pool_reported(struct mail *mail);   /* reported->mail */

/* Parameters that a pool's servers report at login, for a local pool that has had no login yet. */
struct reported {
    struct mail mail;
    struct local_pool *local;
    uint32_t size;
    uint8_t bytes[];
};

struct live_service;
/** Called when a service's hosts were resolved: has servers of obsolete backends closed as they
 *  become free, and balances the pools that wait for the service. */
void router_resolved(struct router *router, struct live_service *live);
/** Has servers of this database, or of all (NULL), closed as soon as they are free.  On the pooler
 *  machine. */
void router_doom(struct router *router, const char *database);
/** Counts the servers of this database, or of all (NULL).  `doomed`: only those to be closed. */
uint64_t router_servers(const struct router *router, const char *database, bool doomed);
/** Adds a row for each backend.  On the pooler machine, for the console. */
void router_show_backends(struct router *router, struct table_sink *sink);
/** Adds a row for each host name of a service: hostname, ttl, addrs. */
void router_show_hosts(struct router *router, struct table_sink *sink);
