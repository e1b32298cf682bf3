#pragma once
/*
 * fleet.h - services, their backends, and the slots that pools hold at them: decisions, no deeds.
 *
 * Pure: reads no clock, touches no socket, allocates only its own objects.  All on one machine (the
 * pooler's); nothing locks.  The router asks for a slot, a relay connects it, the router reports
 * what came of it.  Knows nothing of PostgreSQL: a `role` is a number that the connector found.
 *
 *   service 1 --- n backend 1 --- n slot_set n --- 1 slots (of one pool)
 *                                   slot_set 1 --- n slot
 *
 * Invariants: the slots of one pool never exceed its size, those of one backend never its cap, the
 * logins under way at one backend never its permits; an offline backend has at most one (the
 * probe), not before its retry time.  Design: docs/internals/fleet.md
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
    uint32_t logins_max;      /* permits: logins at a time towards one backend */
    uint32_t connections_max; /* slots per backend, over all pools */
    duration retry_min;       /* before a failed backend is tried again: doubles up to the most */
    duration retry_max;
};

/* --- services and backends -------------------------------------------------------------------- */

fault service_new(const char *name, const struct fleet_limits *limits,
                  struct service **ret) MUST_USE;
/** NULL-safe.  Slots that pools still have become those of obsolete backends; what is left of the
 *  service goes with the last pool's slots_free. */
void service_free(struct service **service);
void service_set_limits(struct service *service, const struct fleet_limits *limits);
/** What the resolver found: the full set.  Known addresses keep their backends; new ones start
 *  unknown and online; those not named become obsolete (no new slots; freed with their last
 *  slot).  Faults: MEMORY, LIMIT (256 addresses). */
fault service_set_addresses(struct service *service, const struct address *addresses,
                            const char *const *hosts, size_t count) MUST_USE;
/** Whether a failure since the last call asks for resolving the names again. */
bool service_wants_resolving(struct service *service);
/** Backends that are not obsolete. */
uint32_t service_backends(const struct service *service);
/** At least one backend is online, or none has been tried yet. */
bool service_online(const struct service *service);

const struct address *backend_address(const struct backend *backend);
const char *backend_host(const struct backend *backend); /* as configured; lives as long as it */
enum backend_role backend_role(const struct backend *backend);
bool backend_online(const struct backend *backend);
bool backend_obsolete(const struct backend *backend);
uint32_t backend_slots(const struct backend *backend);

/* --- slots ------------------------------------------------------------------------------------ */

/** The slots of one pool at all backends of a service. */
fault slots_new(struct service *service, uint32_t max, struct slots **ret) MUST_USE;
void slots_free(struct slots **slots); /* none may be left */
void slots_set_max(struct slots *slots, uint32_t max);
uint32_t slots_count(const struct slots *slots);
/** A backend had no room for this pool, and it waits for that: others need not. */
bool slots_paused(const struct slots *slots);
/** More than `most` (it was lowered): how many should be closed. */
uint32_t slots_excess(const struct slots *slots);

/**
 * Asks for one more slot, with the permit to log in at its backend.
 *
 * The backend: online before offline (then only its probe), primary before unknown, replicas only
 * when their last look is older than retry_max (they may have been promoted), fewest slots first.
 * Faults, without a story: FULL (the pool's size), LIMIT (the backends' caps), MEMORY, AGAIN (no
 * permit now: ask again at *ret_again, or when a login of any pool of the service ended, whichever
 * is first; NEVER: only the latter).  Limits, addresses and slots of the service that end may also
 * change the answer, whatever it was.
 */
fault slots_ask(struct slots *slots, deadline now, struct slot **ret, deadline *ret_again) MUST_USE;

enum slot_failure {
    SLOT_UNREACHABLE, /* refused, reset, timed out: the backend is offline */
    SLOT_NOT_READY,   /* it answered that it can't now (starting up, shutting down) */
    SLOT_WRONG_ROLE,  /* logged in, but it is a replica */
    SLOT_REJECTED,    /* it refused this login for good: says nothing about the backend */
    /* It has no room (53300): NOT_READY, and this pool pauses there for retry_max, or until one of
     * the backend's slots ended. */
    SLOT_CROWDED,
};
/** The login succeeded: the permit is back, the backend is online with that role. */
void slot_connected(struct slot *slot, enum backend_role role, deadline now);
/** The login failed: frees the slot and the permit, *slot is NULL. */
void slot_failed(struct slot **slot, enum slot_failure why, deadline now);
/** The connection is gone (closed by us, or lost), or its login was given up; frees the slot.
 *  SLOT_LOST: by the other side, which asks for a closer look at the backend: only one login at a
 *  time until one succeeds. */
enum slot_end { SLOT_ENDED, SLOT_LOST };
void slot_closed(struct slot **slot, enum slot_end how, deadline now);

struct backend *slot_backend(const struct slot *slot);
struct slots *slot_slots(const struct slot *slot);
uint64_t slot_id(const struct slot *slot);
/** When it was asked for. */
deadline slot_since(const struct slot *slot);

/* --- for the console -------------------------------------------------------------------------- */
/* service, host, addr, role, state (online, suspect, not_ready, offline, obsolete), slots, logins,
 * failures, retry_in_ms (as of the service's latest event). */
struct table_sink;
void fleet_show_backends(struct service *const *services, size_t count, struct table_sink *sink);
