#pragma once
/*
 * lease.h - a relay's right to a slot: the object that travels between router and relays.
 *
 * The router makes it with the slot and hands it to a relay, which logs in and uses the server over
 * many claims; it comes back when the login failed, when the connection is gone, or, with the live
 * connection in it, when the router recalled it.  Exactly one side owns it at a time; `report` may
 * be under way besides and carries nothing but "look".
 */
#include "fleet/fleet.h"
#include "link/link.h"
#include "machine/machine.h"

struct pool;
struct local_pool;
struct server;

enum lease_return {
    LEASE_FAILED, /* the login failed: `failure` says how */
    LEASE_CLOSED, /* the connection is gone, or (`server`) was told to end: `end` says how */
    LEASE_GIVEN,  /* recalled: `server` is detached and alive */
};

struct lease {
    struct node node; /* in pool->leases */
    struct mail to_relay;
    struct mail to_router;
    struct mail report;       /* relay to router: logged in, as `role` */
    struct pool *pool;        /* the router's */
    struct slot *slot;        /* the router's */
    struct local_pool *local; /* who holds it, or shall */
    struct server *server;    /* detached, while travelling; else the relay's */
    struct link_target target;
    enum lease_return how;
    enum slot_failure failure;
    enum slot_end end;
    enum backend_role role; /* written before `report` */
    uint8_t *greeting;      /* with `report`, owned: news of what servers tell at login; or NULL */
    uint32_t greeting_size;
    bool doomed; /* atomic, the router's: its backend is obsolete; told by local->membership.recall
                  */
    bool sole;   /* the service has no other backend: a standby will do */
    bool connected; /* the router saw the report */
    deadline since; /* and when, as its residence goes: reclaim.c */
};
