#pragma once
/*
 * driver.h - does what a pool of libtrunkline-fleet decides, with coroutines of
 * libtrunkline-machine: resolves the service's name, connects, runs the connector's hooks, closes.
 *
 * The pool owns the deadlines; the driver ends what has passed its own.  One machine calls a
 * driver.
 */
#include "fleet/fleet_pool.h"
#include "fleet/resolver.h"
#include "machine/co.h"
#include "machine/stream.h"

/* What is special about the connections.  Each hook runs on a coroutine of its own and ends by its
 * deadline, or when it is cancelled; OK: the connection may be used.  NULL: there is no such hook.
 */
struct connector {
    fault (*connect)(struct stream *stream, const struct backend *backend, deadline by);
    fault (*on_acquire)(struct stream *stream, deadline by);
    fault (*is_valid)(struct stream *stream, deadline by);
    fault (*on_recycle)(struct stream *stream, deadline by);
};

struct driver_settings {
    const char *service;
    const struct connector *connector;
    struct fleet_limits limits;
    struct fleet_policy policy;
    struct resolver_settings resolver;
};

/* One connection of the pool. */
struct connection {
    struct node node; /* in driver->connections */
    struct driver *driver;
    struct fleet_slot *slot;
    struct stream stream;
    struct waker idle_waker; /* of the stream while no coroutine uses it */
    enum fleet_order order;  /* what its task does */
    deadline by;
    struct co *task; /* NULL: none has begun */
    bool busy;       /* a task was started and has not ended */
    bool closing;    /* to be closed when it has ended */
};

struct driver {
    struct driver_settings settings;
    struct service *service;
    struct fleet_pool *pool;
    struct resolver *resolver;
    uint64_t version; /* of the resolver's backends that the service has */
    uint32_t queries; /* to name servers, under way */
    struct list connections;
    struct co *co;
    struct co *ending; /* waits in driver_end(); NULL: none */
    bool running;
    bool over;
};

/* A claim with its connection; on the stack of the claimer. */
struct held {
    struct fleet_claim claim;
    struct co *owner;
    bool done;
    bool refused;
    enum fleet_refusal refusal;
};

/** Makes a driver and starts its coroutine.  The strings of the settings are borrowed. */
fault driver_start(struct driver *driver, const struct driver_settings *settings) MUST_USE;
/** Claims a connection.  *held is all zero the first time; then it may be used again, and prefers
 *  the connection that it had.  Suspends.  Returns the connection's stream, borrowed until
 *  driver_release(); NULL: refused, or the calling coroutine was cancelled. */
struct stream *driver_claim(struct driver *driver, struct held *held, duration wait);
/** Gives the connection back; `works`: it may be used again. */
void driver_release(struct driver *driver, struct held *held, bool works);
/** Ends the pool and frees what the driver has.  Suspends until connections that are in use are
 *  released. */
void driver_end(struct driver *driver);
