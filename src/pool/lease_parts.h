#pragma once
/*
 * lease_parts.h - a relay's right to a slot: an object that the router and relays send to each
 * other.
 *
 * The router makes the lease with the slot and sends it to a relay.  The relay logs in and uses the
 * server over many claims.  The lease returns to the router when the login has failed, when the
 * connection is closed or ending, or when the router has recalled it; in the last case the live
 * connection is in it.  Exactly one side owns the lease at a time.  `report` may be under way at
 * the same time; it only tells the router to read the lease.  The relay closes every server: of a
 * lease whose server is ending it has the connection and the mail `ended`.
 */
#include "fleet/fleet.h"
#include "link/link.h"
#include "machine/machine.h"

struct pool;
struct local_pool;
struct local_pools;
struct server;

enum lease_return {
    LEASE_FAILED, /* the login failed: see `failure` */
    LEASE_CLOSED, /* closed, or (`ending`) Terminate was sent to it: see `end` */
    LEASE_GIVEN,  /* recalled: `server` is detached and alive */
};

/* What a probe has found at the lease's backend, if that is a replica; atomic: lease_sample.c. */
struct lease_sample {
    uint32_t version; /* 0: nothing yet */
    uint32_t line;
    int64_t asked_us;
    uint64_t instance;
    uint64_t system;
    uint64_t position;
};

struct lease {
    struct node node; /* in pool->leases */
    struct mail to_relay;
    struct mail to_router;
    struct mail report;         /* relay to router: the login succeeded; see `role` */
    struct mail ended;          /* relay to router: the backend of an ending server has closed */
    struct pool *pool;          /* the router's */
    struct slot *slot;          /* the router's */
    struct local_pool *local;   /* holds the lease, or will receive it */
    struct local_pools *closer; /* of the relay that the router has close `server` */
    struct server *server;      /* in transit: detached; NULL while the relay has it */
    struct link_target target;
    enum lease_return how;
    enum slot_failure failure;
    char *detail; /* FAILED: error of the login, owned; or NULL */
    enum slot_end end;
    enum backend_role role; /* written before `report`, and before a return with WRONG_ROLE */
    bool read_only;         /* with `role`: sessions begin read-only */
    uint8_t *reported;      /* with `report`, owned: new reported parameters, or NULL */
    uint32_t reported_size;
    bool ending;    /* CLOSED, FAILED: the relay waits for the end and then mails `ended` */
    bool fenced;    /* atomic, the router's: end the server now; see membership.fence */
    bool to_close;  /* atomic, the router's: close the server when free; see membership.recall */
    bool move;      /* atomic, the router's: may be closed to move, see hints.moves */
    bool moved;     /* it was closed for that */
    bool unasked;   /* the router's: for the spares or a move; log in although no claim waits */
    bool fallback;  /* slot_fallback(): no backend with the target's role may be had */
    bool connected; /* the router has seen the report */
    moment since;   /* when it saw it: the start of the residence, see reclaim.c */
    struct lease_sample sample;
};
