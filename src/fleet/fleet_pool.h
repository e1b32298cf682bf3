#pragma once
/*
 * fleet_pool.h - a pool of connections to one service: claims, slots with their states, health
 * checks, spares and rebalancing, as pure steps.
 *
 * For programs that embed the fleet; the pooler has pools of its own (src/pool/).  Reads no clock
 * and opens no connection.  A driver tells the pool what has happened, then calls
 * fleet_pool_step() until there is nothing left to do, and calls it again at fleet_pool_due().  Not
 * for several threads.  Design: docs/internals/fleet.md, docs/fleet.md
 *
 * Invariants: the slots never exceed `max`, and at each backend they never exceed connections_max,
 * over all pools of the service.  Claims are served in order of arrival; none overtakes another.
 */
#include "fleet/codel.h"
#include "fleet/fleet.h"

struct fleet_pool;
struct fleet_slot;

struct fleet_policy {
    uint32_t max;             /* connections of the pool */
    uint32_t min;             /* kept open */
    uint32_t spares;          /* idle ones kept ready, beside those in use */
    duration connect_timeout; /* to connect and log in */
    duration hook_timeout;    /* on_acquire, is_valid and on_recycle, each */
    duration health_interval; /* between two checks of an idle connection; 0: none */
    duration rebalance_interval;
    uint32_t
        moves_max; /* connections that are moved at a time; a twentieth of all if that is more */
    struct fleet_codel_limits codel;
};

/* --- claims ----------------------------------------------------------------------------------- */

enum fleet_claim_state {
    FLEET_CLAIM_NONE,      /* of no pool */
    FLEET_CLAIM_WAITING,   /* in the queue */
    FLEET_CLAIM_ACQUIRING, /* on_acquire runs with its connection */
    FLEET_CLAIM_HELD,      /* has a connection */
    FLEET_CLAIM_STATES,
};

/* Owned by the claimer; all zero before fleet_claim(). */
struct fleet_claim {
    struct node node;
    enum fleet_claim_state state;
    moment since;
    deadline by;   /* of the wait and of on_acquire, tries after failures included */
    uint64_t last; /* id of the slot to prefer if it is idle; 0: none.  Set by a release */
    struct fleet_slot *slot; /* ACQUIRING and HELD */
};

/** Puts the claim at the end of the queue.  The outcome is a step: GRANTED or REFUSED. */
void fleet_claim(struct fleet_pool *pool, struct fleet_claim *claim, moment now, deadline by);
/** Withdraws a claim that waits; releases the connection of one that has it. */
void fleet_claim_withdraw(struct fleet_pool *pool, struct fleet_claim *claim, moment now);

enum fleet_release {
    FLEET_RETURNED, /* may be used again, after on_recycle */
    FLEET_BROKEN,   /* must be closed: the other side failed */
};
/** Gives the connection of a held claim back. */
void fleet_release(struct fleet_pool *pool, struct fleet_claim *claim, enum fleet_release how,
                   moment now);

/* --- steps ------------------------------------------------------------------------------------ */

enum fleet_order {
    FLEET_NOTHING, /* until the next event, or fleet_pool_due() */
    FLEET_CONNECT, /* connect to the slot's backend; then fleet_slot_connected() or _failed() */
    FLEET_ACQUIRE, /* run on_acquire; then fleet_slot_checked() */
    FLEET_CHECK,   /* run is_valid; then fleet_slot_checked() */
    FLEET_RECYCLE, /* run on_recycle; then fleet_slot_checked() */
    FLEET_CLOSE,   /* stop what runs for the slot, close; then fleet_slot_closed() */
    FLEET_GRANTED, /* the claim has its connection */
    FLEET_REFUSED, /* the claim is refused, see `refusal` */
};

struct fleet_step {
    enum fleet_order order;
    struct fleet_slot *slot;   /* but for REFUSED */
    struct fleet_claim *claim; /* ACQUIRE, GRANTED, REFUSED */
    enum fleet_refusal refusal;
    deadline by; /* CONNECT, ACQUIRE, CHECK, RECYCLE: when the pool closes the slot otherwise */
};

/** Returns the next thing to do; NOTHING when all is done. */
struct fleet_step fleet_pool_step(struct fleet_pool *pool, moment now);
/** Returns when the next step is due without an event. */
deadline fleet_pool_due(const struct fleet_pool *pool);

/** Report results.  A slot in CLOSING state ignores all but fleet_slot_closed(). */
void fleet_slot_connected(struct fleet_slot *slot, enum backend_role role, moment now);
void fleet_slot_failed(struct fleet_slot *slot, enum slot_failure why, moment now);
enum fleet_verdict { FLEET_VALID, FLEET_INVALID };
void fleet_slot_checked(struct fleet_slot *slot, enum fleet_verdict verdict, moment now);
/** Reports that an idle connection was lost.  The slot is closed by a step. */
void fleet_slot_lost(struct fleet_slot *slot, moment now);
/** Frees the slot. */
void fleet_slot_closed(struct fleet_slot *slot, moment now);

/* --- life ------------------------------------------------------------------------------------- */

fault fleet_pool_new(struct service *service, const struct fleet_policy *policy, moment now,
                     struct fleet_pool **ret) MUST_USE;
void fleet_pool_set_policy(struct fleet_pool *pool, const struct fleet_policy *policy);
/** Tells the pool that the backends of the service have changed: it rebalances soon. */
void fleet_pool_changed(struct fleet_pool *pool, moment now);
/** Ends the pool: refuses all claims that wait and all later ones, and closes all connections,
 * those in use when they are released.  Waits for no back-off and no hook.  A second call does
 * nothing. */
void fleet_pool_end(struct fleet_pool *pool);
/** Returns whether the pool was ended and has no slots and no claims left. */
bool fleet_pool_over(const struct fleet_pool *pool);
void fleet_pool_free(struct fleet_pool **pool); /* over, or without slots and claims */

/* --- what is shown ---------------------------------------------------------------------------- */

enum fleet_slot_state {
    FLEET_CONNECTING,
    FLEET_IDLE, /* not claimed */
    FLEET_ACQUIRING,
    FLEET_CLAIMED,
    FLEET_RECYCLING,
    FLEET_CHECKING,
    FLEET_CLOSING,
    FLEET_SLOT_STATES,
};

struct fleet_counts {
    uint32_t slots[FLEET_SLOT_STATES];
    uint32_t waiting;
    uint64_t granted, refused[FLEET_REFUSALS], connects, failures, checks, invalid, moves;
};

/** Returns the counts; valid until the next call for this pool. */
const struct fleet_counts *fleet_pool_counts(struct fleet_pool *pool);
uint32_t fleet_pool_slots(const struct fleet_pool *pool);
enum fleet_slot_state fleet_slot_state(const struct fleet_slot *slot);
const char *fleet_slot_state_text(enum fleet_slot_state state);
/** Returns since when the slot is in its state. */
moment fleet_slot_since(const struct fleet_slot *slot);
uint64_t fleet_slot_id(const struct fleet_slot *slot);
const struct backend *fleet_slot_backend(const struct fleet_slot *slot);
/** The driver's own data of the slot. */
void fleet_slot_set_data(struct fleet_slot *slot, void *data);
void *fleet_slot_data(const struct fleet_slot *slot);
const char *fleet_refusal_text(enum fleet_refusal refusal);
/** Columns: slot, backend, state, since_ms. */
void fleet_pool_show(const struct fleet_pool *pool, moment now, struct table_sink *sink);
