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
#include "fleet/found.h"
#include "fleet/ruling.h"
#include "fleet/sample.h"
#include "fleet/target.h"
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
    uint32_t retry_jitter;      /* percent by which each of these waits is shortened at random */
    uint32_t logins_per_second; /* at one backend, evenly spaced; 0: no such limit */
    /* Backends of the own zone that must be healthy, or backends of all zones are used; at least
     * 1. */
    uint32_t zone_min;
    duration sample_fresh; /* how long the answer of a probe is trusted; 0: there are no probes */
    bool spread;           /* all backends are alike, see service_spreads() */
};

/* Bytes of a zone's name with the NUL; longer names are cut. */
#define FLEET_ZONE_SIZE 64u

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
/** Sets what the resolver found, all of it, with the identity of found.h: another address, port or
 *  target is another backend.  Priority, weight and zone change in place.  Of two that share an
 *  address the first is used.  Otherwise as service_set_addresses(). */
fault service_set_backends(struct service *service, const struct backend_found *found,
                           size_t count) MUST_USE;
/** The same after the way of finding them has changed: an address keeps its backend whatever its
 *  target is, with all that is known of the server. */
fault service_adopt_backends(struct service *service, const struct backend_found *found,
                             size_t count) MUST_USE;
/** Sets the zone of this process; "": none. */
void service_set_zone(struct service *service, const char *zone);
/** Seeds the random numbers of pauses, paces and choices. */
void service_seed(struct service *service, uint64_t seed);
/** Returns whether slots are spread over all backends, by priority, zone, weight and load.  That is
 *  so if the limits say so or the resolver gave priorities, weights or zones.  Otherwise the
 *  backend with the fewest slots is chosen, and a known primary before one of unknown role. */
bool service_spreads(const struct service *service);

/** Takes the backends with this address out of service: they get no new slots, and the existing
 *  ones end as they become free.  "HOST" or "HOST:PORT", as the console shows them.  Returns how
 *  many backends it names.  Stays in force while the backend is not resolved. */
uint32_t service_drain(struct service *service, const char *name);
/** Returns whether that is a backend's name. */
bool backend_named(const struct backend *backend, const char *name);
/** Puts them back into service. */
uint32_t service_undrain(struct service *service, const char *name);

/** Sets the only backend at which slots_ask() grants slots to pools that need the primary, by its
 *  backend_id(), and that it is online; 0: at none.  Until the first call there is no such rule. */
void service_set_primary(struct service *service, uint64_t id, moment now);
/** Ends that rule. */
void service_release_primary(struct service *service);
/** Sets whether slots_ask() grants nothing at all to pools that need the primary. */
void service_set_held(struct service *service, bool held);
/** Sets whether another primary has replaced this one: no pool gets slots there. */
void backend_set_replaced(struct backend *backend, bool replaced);
bool backend_replaced(const struct backend *backend);
/** Returns, once for each time, whether samples have shown that its address has moved to another
 *  server on a higher line. */
bool backend_take_move(struct backend *backend);
/** Returns whether the slot was asked for before its backend's address moved: its connection may be
 *  to the server of before. */
bool slot_before_move(const struct slot *slot);
/** Returns whether the latest samples of two backends are of one running server: it has two
 *  addresses, or has got another one. */
bool backend_same_server(const struct backend *a, const struct backend *b);
/** Returns when the latest login of a pool at this backend succeeded; 0: none has. */
moment backend_latest_login(const struct backend *backend);
/** Tells what is known of a backend for primary_judge().  Returns false if it is obsolete. */
struct primary_candidate;
bool backend_claim(const struct backend *backend, struct primary_candidate *ret);
/** Returns the backend with this number; NULL: there is none. */
struct backend *service_backend(const struct service *service, uint64_t id);

/* Why a claim can't be served. */
enum fleet_refusal {
    FLEET_NO_BACKENDS, /* no backend is known, or all are drained */
    FLEET_NONE_ONLINE, /* backends are known, but none accepts logins */
    FLEET_ALL_USED,    /* backends are online, but all slots are in use */
    FLEET_OVERLOADED,  /* shed by controlled delay, see codel.h */
    FLEET_ENDED,       /* the pool has ended */
    FLEET_REFUSALS,
};
/** Returns one of the first three. */
enum fleet_refusal service_refusal(const struct service *service);
/* Backends of a service that are not obsolete, and what is open at all of them. */
struct service_counts {
    uint32_t backends;
    uint32_t online;  /* accept logins; not drained, and not known to be replicas */
    uint32_t drained; /* by the operator */
    uint32_t slots;   /* obsolete backends' too */
    uint32_t logins;  /* slots whose login is in progress */
};
struct service_counts service_count(const struct service *service);
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
/** Returns whether its connections are to be closed as they become free: obsolete, drained or
 *  foreign. */
bool backend_leaving(const struct backend *backend);
uint32_t backend_slots(const struct backend *backend);

/* --- what probes find (sampled.c) ------------------------------------------------------------- */

/** Returns the backend behind this one, obsolete ones too; behind NULL: the first.  NULL: none. */
struct backend *service_next(const struct service *service, const struct backend *after);
/** Returns a number that no other backend of the service has or had; never 0. */
uint64_t backend_id(const struct backend *backend);
/** Takes what a probe found.  The role counts unless a login that began later has found another;
 *  the backend is online. */
void backend_sampled(struct backend *backend, const struct backend_sample *sample, moment now);
/** Takes that a probe, begun at `asked`, got no answer at all: no connection, or none in time.  The
 *  third one in a row sets the backend offline, unless a login succeeded since the first. */
void backend_unsampled(struct backend *backend, moment asked, moment now);
/** Takes that the server rejected a probe: it is there. */
void backend_rejected(struct backend *backend);
/** Forgets what probes have told of all backends: there are none any more. */
void service_forget_samples(struct service *service);
/** Judges all samples anew: which are fresh, which backends are of another system, which replicas
 *  lag.  To be called after each of the two above.  Returns whether something changed that decides
 *  which backends pools may use; lag alone is none, see slot_unwanted(). */
bool service_judge(struct service *service, moment now);
/** Returns the latest sample; NULL: none, or it was too old when the service was judged. */
const struct backend_sample *backend_sample(const struct backend *backend);
/** Returns how far a replica is behind; negative: not known, or it is no replica. */
duration backend_lag(const struct backend *backend);
/** Returns whether it is of another system than most backends of its service. */
bool backend_foreign(const struct backend *backend);

/* --- what an arbiter says (ruling.c) ---------------------------------------------------------- */

/** Takes an arbiter's answer about a backend.  Judge the service and its primary afterwards. */
void backend_ruled(struct backend *backend, const struct backend_ruling *ruling, moment now);
/** Takes that the arbiter gave no answer that can be used: it is counted, and changes nothing. */
void backend_unruled(struct backend *backend, moment now);
/** Forgets what arbiters have said of all backends: none is asked any more. */
void service_forget_rulings(struct service *service);
/** Returns the ruling in force: "leader", "not_leader", "reads", "no_reads".  Behind it stands
 *  ", silent" if the arbiter gave no answer since; "silent": it never gave one; NULL: it was not
 *  asked. */
const char *backend_ruling_text(const struct backend *backend);

/* --- slots ------------------------------------------------------------------------------------ */

/** Creates the slots of one pool at all backends of a service. */
fault slots_new(struct service *service, uint32_t max, struct slots **ret) MUST_USE;
void slots_free(struct slots **slots); /* no slot may be left */
void slots_set_max(struct slots *slots, uint32_t max);
/** Sets which backends the pool may use, before its first slot; TARGET_DEFAULT unless set. */
void slots_set_target(struct slots *slots, enum fleet_target target);
/** Sets the lag beyond which replicas are not used; NO_LIMIT unless set.  Matters for the targets
 *  any, read-only, standby and prefer-standby.  A replica without a fresh sample counts as beyond.
 */
void slots_set_lag_max(struct slots *slots, duration lag_max);
/** Returns whether the pool's slots are spread over all backends that it may use: the service
 *  spreads, or several backends may have the roles of the target. */
bool slots_spread(const struct slots *slots);
/** Returns whether all backends that are neither obsolete nor drained are online and of a role that
 *  the pool may use, or of unknown role. */
bool slots_all_healthy(const struct slots *slots);
/** Returns whether backends accept logins, but all of these are known to have a role that the pool
 *  may not use. */
bool slots_lack_role(const struct slots *slots);
/** Returns whether the pool's statements may write: then it needs the primary. */
bool slots_need_primary(const struct slots *slots);
/** Returns whether the pool needs the primary, and there is none now: service_set_primary(). */
bool slots_lack_primary(const struct slots *slots);
uint32_t slots_count(const struct slots *slots);
/** Returns whether this pool waits because a backend had no room for it.  Other pools need not
 *  wait. */
bool slots_paused(const struct slots *slots);
/** Records that `count` slots are closed so that others can open elsewhere: the next ones that a
 *  service that spreads grants are at the backends where this pool has the fewest for their weight.
 */
void slots_moved(struct slots *slots, uint32_t count);
/** Returns how many slots exceed `max`, after it was lowered, and should be closed. */
uint32_t slots_excess(const struct slots *slots);

/**
 * Asks for one more slot, with the permit to log in at its backend.
 *
 * Chooses a backend, unless the slots spread: online before offline (then only its probe); the
 * target's role before an unknown one; another role only if it was found longer than retry_max ago
 * (it may have changed); fewest slots first.  Faults, without a detail: FULL (the pool's size),
 * LIMIT, MEMORY, AGAIN (no permit now: ask again at *ret_again, or when a login of any pool of the
 * service has ended, whichever is first; NEVER: only the latter).  New limits or addresses, and the
 * end of a slot of the service, may also change the answer, whatever it was.
 *
 * LIMIT means that another pool's slot must end, see slots_blocked_by(): every backend has
 * connections_max slots, or all those that would serve this pool have, whatever room there is at
 * others (standbys, backends that are offline).  A backend that is offline, or of another role, is
 * still tried when its pause is over: *ret_again says when, as with AGAIN.
 */
fault slots_ask(struct slots *slots, moment now, struct slot **ret, deadline *ret_again) MUST_USE;
/** Returns whether the end of a slot of `other` may make room for this pool: it has one at a
 * backend that would serve this pool, and that has connections_max slots or had no room for it. */
bool slots_blocked_by(const struct slots *slots, const struct slots *other);
/** Asks for a slot at a backend of which it is not known that it is healthy, to find out: the one
 *  with the longest time since its last failure.  slots_ask() has none while others are healthy.
 *  Faults as there; AGAIN, without a time: none is due. */
fault slots_probe(struct slots *slots, moment now, struct slot **ret) MUST_USE;

enum slot_failure {
    SLOT_UNREACHABLE, /* refused, reset, timed out: the backend is offline */
    SLOT_NOT_READY,   /* the server can't accept now (starting up, shutting down) */
    SLOT_WRONG_ROLE,  /* logged in, but the pool's target does not accept the server's role */
    SLOT_REJECTED,    /* the server rejected this login for good; says nothing about the backend */
    /* The server has no room (53300): as NOT_READY, and this pool pauses there for retry_max, or
     * until one of the backend's slots has ended. */
    SLOT_CROWDED,
};
/** Reports that the login succeeded: returns the permit; the backend is online with that role. */
void slot_connected(struct slot *slot, enum backend_role role, moment now);
/** Whether the pool may use this backend even if its role is not the target's, see
 *  target_accepts().  As of now: another backend may have the role a moment later. */
bool slot_fallback(const struct slot *slot);
/** Records what a login found, before slot_connected() or SLOT_WRONG_ROLE.  `read_only`: at a
 *  primary, sessions of this pool begin read-only.  Without it SLOT_WRONG_ROLE means a replica. */
void slot_found(struct slot *slot, enum backend_role role, bool read_only);
/** Reports that the login failed: frees the slot and the permit, sets *slot to NULL. */
void slot_failed(struct slot **slot, enum slot_failure why, moment now);
/** Reports the same where the connection has not ended yet: frees the permit only.  slot_closed()
 *  frees the slot. */
void slot_failing(struct slot *slot, enum slot_failure why, moment now);
/** Frees a slot whose connection was closed by us or lost, or whose login was given up.  SLOT_LOST:
 *  the other side closed it, so the backend is suspect: one login at a time until one succeeds. */
enum slot_end { SLOT_ENDED, SLOT_LOST };
void slot_closed(struct slot **slot, enum slot_end how, moment now);

/** Whether slots_probe() would grant a slot if the pool's size allowed it. */
bool slots_probe_due(const struct slots *slots, moment now);

/* One connection of a pool that is open, and the result of a plan. */
struct fleet_open {
    const struct slot *slot;
    bool move; /* its backend has too many: it may be closed if it is idle */
};
struct fleet_move_limits {
    uint32_t moves_max; /* or a twentieth of all connections if that is more */
    uint32_t idle_max;  /* connections that are idle and no spares: no more than these */
};
/** Plans how to level out the connections of a pool.  Returns how many of those with `move` should
 *  be closed now; others then open elsewhere (slots_moved()). */
uint32_t slots_plan_moves(struct slots *slots, struct fleet_open *open, uint32_t count,
                          const struct fleet_move_limits *limits);
/** Returns when a rebalancing that moved something is repeated, of the interval. */
duration fleet_round(duration interval);

struct backend *slot_backend(const struct slot *slot);
struct slots *slot_slots(const struct slot *slot);
uint64_t slot_id(const struct slot *slot);
/** Returns whether its connection is to be closed as it becomes free: backend_leaving(), or a probe
 *  has found that its pool may not use the backend.  The latter never for TARGET_DEFAULT. */
bool slot_unwanted(const struct slot *slot);
/** Returns when the slot was asked for. */
moment slot_since(const struct slot *slot);

/* --- for the console -------------------------------------------------------------------------- */
/* Columns: service, host, addr, role, state (online, suspect, not_ready, offline, obsolete,
 * drained, foreign), slots, logins, failures, retry_in_ms (as of the service's latest event),
 * priority, weight, zone, timeline, lag_ms (both null if not known), breaker, arbiter (null: not
 * asked), arbiter_failures. */
struct table_sink;
/** Adds a row for each backend that waits before its next login: null, service, addr, null, null,
 *  null, "failed", milliseconds since the failure, null, milliseconds until the login. */
void fleet_show_failed(const struct service *service, moment now, struct table_sink *sink);
void fleet_show_backends(struct service *const *services, size_t count, struct table_sink *sink);
