#pragma once
/*
 * fleet_pool_parts.h - the objects of fleet_pool.h; for src/fleet only.
 */
#include "fleet/fleet_parts.h"
#include "fleet/fleet_pool.h"

struct fleet_slot {
    struct node node; /* in pool->slots */
    struct fleet_pool *pool;
    struct slot *slot;
    enum fleet_slot_state state;
    moment since; /* when it entered this state */
    deadline due; /* CONNECTING, ACQUIRING, RECYCLING, CHECKING: the time limit; IDLE: the check */
    bool ordered; /* the step of this state was handed out */
    enum slot_end end;         /* CLOSING */
    bool unreachable;          /* CLOSING: the connect timed out */
    struct fleet_claim *claim; /* ACQUIRING and CLAIMED */
    void *data;
};

/* One backend, as one walk over the slots sees it. */
struct fleet_seen {
    const struct backend *backend;
    struct fleet_slot *idle; /* the one that was used last */
    uint32_t claimed;
};

struct fleet_pool {
    struct fleet_policy policy;
    struct slots *slots_at; /* the permits and the counts, see fleet.h */
    struct list slots;      /* struct fleet_slot; the one that became idle last is at the end */
    struct list claims;     /* that wait, the oldest first */
    struct list held;       /* that have a slot */
    struct fleet_codel codel;
    struct fleet_counts counts;
    deadline rebalance;
    deadline again; /* when a backend may be asked for again */
    bool ended;
    struct fleet_seen seen[SERVICE_BACKENDS_MAX];
};

void fleet_claim_become(struct fleet_claim *claim, enum fleet_claim_state state);
/** Enters the state; `wait` until `due`, NO_LIMIT: none. */
void fleet_slot_become(struct fleet_slot *slot, enum fleet_slot_state state, moment now,
                       duration wait);
/** Has the slot closed by the next step. */
void fleet_slot_close(struct fleet_slot *slot, enum slot_end end, moment now);
/** ACQUIRING: puts the claim back in front of the queue and has the slot closed.  LOST: on_acquire
 *  failed, so the backend pauses. */
void fleet_slot_take_back(struct fleet_slot *slot, enum slot_end end, moment now);
/** Returns by how many slots that are not closing the pool exceeds its size. */
uint32_t fleet_pool_excess(const struct fleet_pool *pool);
/** Returns how many slots are not closing. */
uint32_t fleet_pool_open(const struct fleet_pool *pool);
/** Returns how many slots the pool wants open. */
uint32_t fleet_pool_wanted(const struct fleet_pool *pool);
/** Closes idle connections beyond what is wanted, and of backends that have more than their
 *  share. */
void fleet_pool_rebalance(struct fleet_pool *pool, moment now);
