#pragma once
/*
 * fleet.h - services, their backends, and the slots that pools hold at them: decisions without I/O.
 *
 * Pure: reads no clock, touches no socket, allocates only its own objects.  Used on one machine
 * only (the pooler's), without locks.  The router asks for a slot, a relay connects, the router
 * reports the result.  Knows nothing of PostgreSQL: a `role` is what the connecting relay found.
 *
 *   service 1 --- n backend 1 --- n slot
 *   service 1 --- n slots (of one pool) 1 --- n slot
 *
 * Invariants: the slots of a pool never exceed its size.  The slots of a backend never exceed
 * connections_max.  The logins in progress at a backend never exceed its permits.  An offline
 * backend has at most one login (the probe), and not before its retry time.  Design:
 * docs/internals/fleet.md
 */
#include "base/fault.h"
#include "base/list.h"
#include "base/time.h"
#include "machine/os.h"

struct service;
struct backend;
struct slots;
struct slot;

enum backend_role { ROLE_UNKNOWN, ROLE_PRIMARY, ROLE_REPLICA };

struct fleet_limits {
    uint32_t logins_max;      /* permits: concurrent logins to one backend */
    uint32_t connections_max; /* slots per backend, over all pools */
    duration retry_min;       /* wait before a failed backend is tried; doubles up to retry_max */
    duration retry_max;
};

/* --- services and backends -------------------------------------------------------------------- */

fault service_new(const char *name, const struct fleet_limits *limits,
                  struct service **ret) MUST_USE;
/** Frees the service; NULL-safe.  Backends with slots become obsolete.  The last pool's
 *  slots_free() frees what is left. */
void service_free(struct service **service);
void service_set_limits(struct service *service, const struct fleet_limits *limits);
/** Sets the addresses that the resolver found, all of them.  Known addresses keep their backends.
 *  New backends start online, with an unknown role.  Backends that are not named become obsolete
 *  (no new slots; freed with their last slot).  Faults: MEMORY, LIMIT (more than 256 addresses). */
fault service_set_addresses(struct service *service, const struct address *addresses,
                            const char *const *hosts, size_t count) MUST_USE;
/** Returns whether a failure since the last call requires that names are resolved again. */
bool service_wants_resolving(struct service *service);
/** Returns the number of backends that are not obsolete. */
uint32_t service_backends(const struct service *service);
/** Returns whether at least one backend is not offline, or the service has no backends. */
bool service_online(const struct service *service);

const struct address *backend_address(const struct backend *backend);
/** Returns the name as configured; valid as long as the backend. */
const char *backend_host(const struct backend *backend);
enum backend_role backend_role(const struct backend *backend);
bool backend_online(const struct backend *backend);
bool backend_obsolete(const struct backend *backend);
uint32_t backend_slots(const struct backend *backend);

/* --- slots ------------------------------------------------------------------------------------ */

/** Creates the slots of one pool at all backends of a service. */
fault slots_new(struct service *service, uint32_t max, struct slots **ret) MUST_USE;
void slots_free(struct slots **slots); /* no slot may be left */
void slots_set_max(struct slots *slots, uint32_t max);
uint32_t slots_count(const struct slots *slots);
/** Returns whether this pool waits because a backend had no room for it.  Other pools need not
 *  wait. */
bool slots_paused(const struct slots *slots);
/** Returns how many slots exceed `max`, after it was lowered, and should be closed. */
uint32_t slots_excess(const struct slots *slots);

/**
 * Asks for one more slot, with the permit to log in at its backend.
 *
 * Chooses a backend: online before offline (then only its probe); primary before unknown; replicas
 * only if their role was found longer than retry_max ago (they may have been promoted); fewest
 * slots first.  Faults, without a story: FULL (the pool's size), LIMIT (every backend has
 * connections_max slots), MEMORY, AGAIN (no permit now: ask again at *ret_again, or when a login of
 * any pool of the service has ended, whichever is first; NEVER: only the latter).  New limits or
 * addresses, and the end of a slot of the service, may also change the answer, whatever it was.
 */
fault slots_ask(struct slots *slots, deadline now, struct slot **ret, deadline *ret_again) MUST_USE;

enum slot_failure {
    SLOT_UNREACHABLE, /* refused, reset, timed out: the backend is offline */
    SLOT_NOT_READY,   /* the server can't accept now (starting up, shutting down) */
    SLOT_WRONG_ROLE,  /* logged in, but the server is a replica */
    SLOT_REJECTED,    /* the server rejected this login for good; says nothing about the backend */
    /* The server has no room (53300): as NOT_READY, and this pool pauses there for retry_max, or
     * until one of the backend's slots has ended. */
    SLOT_CROWDED,
};
/** Reports that the login succeeded: returns the permit; the backend is online with that role. */
void slot_connected(struct slot *slot, enum backend_role role, deadline now);
/** Reports that the login failed: frees the slot and the permit, sets *slot to NULL. */
void slot_failed(struct slot **slot, enum slot_failure why, deadline now);
/** Frees a slot whose connection was closed by us or lost, or whose login was given up.  SLOT_LOST:
 *  the other side closed it, so the backend is suspect: one login at a time until one succeeds. */
enum slot_end { SLOT_ENDED, SLOT_LOST };
void slot_closed(struct slot **slot, enum slot_end how, deadline now);

struct backend *slot_backend(const struct slot *slot);
struct slots *slot_slots(const struct slot *slot);
uint64_t slot_id(const struct slot *slot);
/** Returns when the slot was asked for. */
deadline slot_since(const struct slot *slot);

/* --- for the console -------------------------------------------------------------------------- */
/* Columns: service, host, addr, role, state (online, suspect, not_ready, offline, obsolete), slots,
 * logins, failures, retry_in_ms (as of the service's latest event). */
struct table_sink;
void fleet_show_backends(struct service *const *services, size_t count, struct table_sink *sink);
