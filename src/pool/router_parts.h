#pragma once
/*
 * router_parts.h - the mail between the router and local pools, and the calls of live services.
 */
#include "machine/machine.h"

struct backend;
struct backend_sample;
struct live_service;
struct local_pool;
struct router;

/* Deliveries of mail.  router_*() run on the pooler machine, local_pool_*() on the relay. */
void router_enroll(struct mail *mail);          /* membership.enroll */
void router_want(struct mail *mail);            /* membership.want */
void router_retire(struct mail *mail);          /* membership.retire */
void local_pool_recalled(struct mail *mail);    /* membership.recall */
void router_lease_back(struct mail *mail);      /* lease->to_router */
void router_lease_report(struct mail *mail);    /* lease->report */
void router_lease_ended(struct mail *mail);     /* lease->ended */
void local_pool_lease_came(struct mail *mail);  /* lease->to_relay */
void local_pool_enrolled(struct mail *mail);    /* membership.enroll, answered */
void local_pool_retired(struct mail *mail);     /* membership.retire, answered */
void local_pool_reported(struct mail *mail);    /* reported->mail */
void local_pool_outage_came(struct mail *mail); /* outage_news->mail */
void local_pool_fenced(struct mail *mail);      /* membership.fence */
void router_fenced(struct mail *mail);          /* membership.fence, answered */

/* reported->mail with values that servers have accepted: to the router, and on to other relays. */
void router_accepted(struct mail *mail);
void local_pool_accepted_came(struct mail *mail);

/* Parameters that a pool's servers report at login, for a local pool that has had no login yet; or
 * values that they have accepted, flat as in accepted.h.  `local`: the sender or the receiver. */
struct reported {
    struct mail mail;
    struct local_pool *local;
    uint32_t size;
    uint8_t bytes[];
};

/** Called when a service's hosts were resolved or drained: has servers of obsolete and drained
 *  backends closed as they become free, and balances the pools that wait for the service. */
void router_resolved(struct router *router, struct live_service *live);
/** Tells the relays what a probe has found at a replica, for pools of reads. */
void router_sampled(struct router *router, const struct live_service *live,
                    const struct backend *backend, const struct backend_sample *sample);
/** Has the pools of a service follow what probes found.  `changed`: more than the lag of replicas.
 */
void router_judged(struct router *router, struct live_service *live, bool changed);
