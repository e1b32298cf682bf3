#pragma once
/*
 * fleet_types.h - the objects of fleet.h; for src/fleet only.
 *
 * The diagram of a backend's states is at backend_become() in service.c.
 */
#include "fleet/fleet.h"

/* Addresses of one service.  More of them are a LIMIT fault. */
#define SERVICE_BACKENDS_MAX 256u

enum backend_state {
    BACKEND_ONLINE,    /* logins up to logins_max (one at a time at a replica) */
    BACKEND_SUSPECT,   /* dropped a connection: one login at a time until one succeeds */
    BACKEND_NOT_READY, /* answers, but accepts no logins: one login at a time, when due */
    BACKEND_OFFLINE,   /* does not answer: one login at a time, when due */
    BACKEND_STATES,
};

/* Names under which a backend has been configured, the current name first.  Callers hold pointers
 * to them, so an old name stays until the backend has no slots. */
struct backend_name {
    struct backend_name *next;
    char text[];
};

struct backend {
    struct node node; /* in service->backends, also while obsolete */
    struct service *service;
    struct address address;
    struct backend_name *names;
    uint64_t id; /* counted within the service; never reused */
    enum backend_state state;
    enum backend_role role;
    deadline looked_at; /* when the role was last found; meaningless while it is unknown */
    deadline failed_at; /* the last failure that counted */
    duration backoff;   /* from failed_at to the next probe; 0 since the last success */
    bool crowded;       /* NOT_READY because it has no room: due once a connected slot ends */
    bool obsolete;
    uint32_t epoch; /* incremented when the backend fails and when it recovers, see slot_failed() */
    uint32_t releases; /* connected slots that have ended */
    uint32_t slots;    /* logins <= slots */
    uint32_t logins;   /* slots whose login is in progress */
    uint64_t failures; /* for the console */
};

struct service {
    char *name;
    struct fleet_limits limits;
    struct list backends; /* as the resolver named them, then the obsolete ones */
    uint64_t ids;
    uint32_t references; /* the owner's, and one for each struct slots */
    bool wants_resolving;
    deadline latest; /* time of the latest event; "now" for the console */
};

struct slots {
    struct service *service; /* counted */
    uint32_t max;
    uint32_t count;
    /* The backend that had no room for this pool.  Each pool has its own pause, so that a pool at a
     * limit of its role or database does not take every probe that other pools could use. */
    uint64_t crowded_at; /* a backend's id; 0: none */
    uint32_t crowded_releases;
    deadline crowded_since;
};

struct slot {
    struct slots *slots;
    struct backend *backend;
    uint64_t id;
    deadline since;
    uint32_t epoch; /* the backend's, when the login began */
    bool connected;
};

/** Sets the backend online and ends its pause. */
void backend_recover(struct backend *backend);
/** Sets the backend to `state`, NOT_READY or OFFLINE, and lengthens the pause before the next
 *  probe. */
void backend_fail(struct backend *backend, enum backend_state state, deadline now);
/** Records that the other side dropped a connection. */
void backend_suspect(struct backend *backend);
/** Returns when the backend's pause ends: in the past if it has none. */
deadline backend_due(const struct backend *backend);
/** Frees old names of a backend without slots; frees the backend too if it is obsolete. */
void backend_settle(struct backend *backend);
/** Drops one reference; the last one frees. */
void service_unref(struct service **service);
