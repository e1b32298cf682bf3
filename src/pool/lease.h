#pragma once
/*
 * lease.h - a relay's right to a slot: an object that the router and relays send to each other.
 *
 * The router makes the lease with the slot and sends it to a relay.  The relay logs in and uses the
 * server over many claims.  The lease returns to the router when the login has failed, when the
 * connection is closed, or when the router has recalled it; in the last case the live connection is
 * in it.  Exactly one side owns the lease at a time.  `report` may be under way at the same time;
 * it only tells the router to read the lease.
 */
#include "fleet/fleet.h"
#include "link/link.h"
#include "machine/machine.h"

struct pool;
struct local_pool;
struct server;

enum lease_return {
    LEASE_FAILED, /* the login failed: see `failure` */
    LEASE_CLOSED, /* closed, or (`server` set) Terminate was sent and it is ending: see `end` */
    LEASE_GIVEN,  /* recalled: `server` is detached and alive */
};

struct lease {
    struct node node; /* in pool->leases */
    struct mail to_relay;
    struct mail to_router;
    struct mail report;       /* relay to router: the login succeeded; see `role` */
    struct pool *pool;        /* the router's */
    struct slot *slot;        /* the router's */
    struct local_pool *local; /* the holder, or the one that it is sent to */
    struct server *server;    /* in transit or ending: detached; NULL while the relay has it */
    struct link_target target;
    enum lease_return how;
    enum slot_failure failure;
    enum slot_end end;
    enum backend_role role; /* written before `report` */
    uint8_t *greeting;      /* with `report`, owned: new reported parameters, or NULL */
    uint32_t greeting_size;
    bool doomed;    /* atomic, the router's: close the server when free; see membership.recall */
    bool sole;      /* the service has no other backend: a standby is accepted */
    bool connected; /* the router has seen the report */
    deadline since; /* when it saw it: the start of the residence, see reclaim.c */
};
