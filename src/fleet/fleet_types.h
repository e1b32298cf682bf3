#pragma once
/*
 * fleet_types.h - the objects behind fleet.h; for src/fleet only.
 *
 * What a backend's state permits, and what moves it, is drawn at backend_become() in service.c.
 */
#include "fleet/fleet.h"

/* Addresses of one service; a resolver that finds more is refused. */
#define SERVICE_BACKENDS_MAX 256u

enum backend_state {
    BACKEND_ONLINE,    /* logins as the limits say (one at a time where it is a replica) */
    BACKEND_SUSPECT,   /* it dropped a connection: one login at a time until one succeeds */
    BACKEND_NOT_READY, /* it answers, but takes nobody: one login at a time, when due */
    BACKEND_OFFLINE,   /* it does not answer: one login at a time, when due */
    BACKEND_STATES,
};

/* Names by which a backend was ever configured, the current one first. They are handed out by
 * pointer, so an old one stays until the backend has no slots. */
struct backend_name {
    struct backend_name *next;
    char text[];
};

struct backend {
    struct node node; /* in service->backends, also while obsolete */
    struct service *service;
    struct address address;
    struct backend_name *names;
    uint64_t id; /* of the service's own counting; never reused */
    enum backend_state state;
    enum backend_role role;
    deadline looked_at; /* when the role was seen last; meaningless while it is unknown */
    deadline failed_at; /* the last failure that counted */
    duration backoff;   /* from failed_at to the next probe; 0 since the last success */
    bool crowded;       /* NOT_READY because it has no room: a release makes it due */
    bool obsolete;
    uint32_t epoch;    /* changes when it fails and when it recovers, see slot_failed() */
    uint32_t releases; /* slots that ended here */
    uint32_t slots;    /* logins <= slots */
    uint32_t logins;   /* slots whose login is under way */
    uint64_t failures; /* for the console */
};

struct service {
    char *name;
    struct fleet_limits limits;
    struct list backends; /* as the resolver named them, then the obsolete ones */
    uint64_t ids;
    uint32_t references; /* its owner's, and one of each struct slots */
    bool wants_resolving;
    deadline latest; /* the latest event's time: the console's idea of now */
};

struct slots {
    struct service *service; /* counted */
    uint32_t max;
    uint32_t count;
    /* The backend that had no room for this pool.  Its own pause, so that one pool at a limit of
     * its role or database does not take every probe that others could use. */
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

/** It answered as it should: online, nothing held against it. */
void backend_recover(struct backend *backend);
/** A failure that counts: `state` is NOT_READY or OFFLINE; the pause before the next probe grows.
 */
void backend_fail(struct backend *backend, enum backend_state state, deadline now);
/** A connection was dropped by the other side. */
void backend_suspect(struct backend *backend);
/** When its current pause ends: in the past when it has none. */
deadline backend_due(const struct backend *backend);
/** Frees it, if it is obsolete and its last slot went. */
void backend_settle(struct backend *backend);
/** Drops one reference; the last one frees. */
void service_unref(struct service **service);
