/* fleet_steps.c - what a pool has to do next: grants, checks, connections, closes. */
#include "base/probes.h"
#include "fleet/fleet_pool_parts.h"

#include <stdlib.h>

/* --- counting --------------------------------------------------------------------------------- */

static uint32_t pool_in(const struct fleet_pool *pool, enum fleet_slot_state state)
{
    return pool->counts.slots[state];
}

/* --- claims that end without a connection ----------------------------------------------------- */

static struct fleet_step claim_refuse(struct fleet_pool *pool, struct fleet_claim *claim,
                                      enum fleet_refusal refusal)
{
    list_remove(&pool->claims, &claim->node);
    fleet_claim_become(claim, FLEET_CLAIM_NONE);
    pool->counts.refused[refusal] += 1;
    PROBE2(pool__claim__failed, pool->slots_at->service->name, claim);
    PROBE4(claim__failed, pool->slots_at->service->name, claim, fleet_refusal_text(refusal), 0);
    return (struct fleet_step){.order = FLEET_REFUSED, .claim = claim, .refusal = refusal};
}

static struct fleet_step step_refuse(struct fleet_pool *pool, moment now)
{
    LIST_EACH (&pool->claims, it) {
        struct fleet_claim *claim = LIST_ENTRY(it, struct fleet_claim, node);
        if (pool->ended)
            return claim_refuse(pool, claim, FLEET_ENDED);
        if (claim->by.us <= now.us)
            return claim_refuse(pool, claim, service_refusal(pool->slots_at->service));
    }
    return (struct fleet_step){.order = FLEET_NOTHING};
}

/* --- slots whose time is over, and orders of their states ------------------------------------- */

static bool slot_runs_hook(const struct fleet_slot *slot)
{
    return slot->state == FLEET_ACQUIRING || slot->state == FLEET_RECYCLING ||
           slot->state == FLEET_CHECKING;
}

/* A connect or a hook took too long: the backend is at fault. */
static void slot_time_out(struct fleet_slot *slot, moment now)
{
    if (slot->state == FLEET_CHECKING)
        PROBE3(health__check__failed, slot->pool->slots_at->service->name, slot->slot->id,
               "timeout");
    if (slot->state == FLEET_RECYCLING)
        PROBE3(recycle__failed, slot->pool->slots_at->service->name, slot->slot->id, "timeout");
    if (slot->state == FLEET_ACQUIRING)
        fleet_slot_take_back(slot, slot->claim->by.us <= now.us ? SLOT_ENDED : SLOT_LOST, now);
    else
        fleet_slot_close(slot, SLOT_LOST, now);
}

static void slot_advance(struct fleet_slot *slot, moment now)
{
    struct fleet_pool *pool = slot->pool;
    bool in_use = slot->state == FLEET_CLAIMED || slot->state == FLEET_ACQUIRING;
    if (slot->state == FLEET_CLOSING)
        return;
    if (slot->state == FLEET_CONNECTING && slot->due.us <= now.us) {
        slot->unreachable = true;
        pool->counts.failures += 1;
    }
    if (slot->state == FLEET_ACQUIRING && pool->ended)
        fleet_slot_take_back(slot, SLOT_ENDED, now);
    else if (!in_use && (pool->ended || slot_unwanted(slot->slot)))
        fleet_slot_close(slot, SLOT_ENDED, now);
    else if (slot->due.us > now.us)
        return;
    else if (slot->state == FLEET_IDLE)
        fleet_slot_become(slot, FLEET_CHECKING, now, pool->policy.hook_timeout);
    else if (slot->state == FLEET_CONNECTING || slot_runs_hook(slot))
        slot_time_out(slot, now);
}

/* What a connection is about to do. */
static void slot_trace(const struct fleet_slot *slot)
{
    const char *name = slot->pool->slots_at->service->name;
    const char *host = slot->slot->backend->names->text;
    uint64_t id = slot->slot->id;
    if (slot->state == FLEET_ACQUIRING)
        PROBE3(pool__claim__done, name, slot->claim, id);
    else if (slot->state == FLEET_CHECKING)
        PROBE3(health__check__start, name, id, host);
    else if (slot->state == FLEET_RECYCLING)
        PROBE3(recycle__start, name, id, host);
}

static struct fleet_step slot_order(struct fleet_slot *slot)
{
    static const enum fleet_order orders[FLEET_SLOT_STATES] = {
        [FLEET_CONNECTING] = FLEET_CONNECT, [FLEET_IDLE] = FLEET_NOTHING,
        [FLEET_ACQUIRING] = FLEET_ACQUIRE,  [FLEET_CLAIMED] = FLEET_GRANTED,
        [FLEET_RECYCLING] = FLEET_RECYCLE,  [FLEET_CHECKING] = FLEET_CHECK,
        [FLEET_CLOSING] = FLEET_CLOSE,
    };
    slot->ordered = true;
    slot_trace(slot);
    return (struct fleet_step){
        .order = orders[slot->state], .slot = slot, .claim = slot->claim, .by = slot->due};
}

/* Closes what a smaller size leaves no room for: what is not connected first, nothing in use. */
static void pool_trim(struct fleet_pool *pool, moment now)
{
    static const enum fleet_slot_state order[] = {FLEET_CONNECTING, FLEET_IDLE, FLEET_CHECKING,
                                                  FLEET_RECYCLING};
    uint32_t excess = fleet_pool_excess(pool);
    for (size_t i = 0; i < ARRAY_SIZE(order) && excess > 0; i++) {
        LIST_EACH_SAFE (&pool->slots, it) {
            struct fleet_slot *slot = LIST_ENTRY(it, struct fleet_slot, node);
            if (excess == 0 || slot->state != order[i])
                continue;
            fleet_slot_close(slot, SLOT_ENDED, now);
            excess -= 1;
        }
    }
}

static struct fleet_step step_slots(struct fleet_pool *pool, moment now)
{
    pool_trim(pool, now);
    LIST_EACH_SAFE (&pool->slots, it) {
        struct fleet_slot *slot = LIST_ENTRY(it, struct fleet_slot, node);
        slot_advance(slot, now);
        if (slot->state == FLEET_IDLE || slot->ordered)
            continue;
        pool->counts.granted += slot->state == FLEET_CLAIMED;
        return slot_order(slot);
    }
    return (struct fleet_step){.order = FLEET_NOTHING};
}

/* --- grants ----------------------------------------------------------------------------------- */

/* Notes the backends of all slots that are in use or idle.  Returns their number. */
static uint32_t pool_survey(struct fleet_pool *pool, uint64_t wanted, struct fleet_slot **ret_last)
{
    uint32_t count = 0;
    LIST_EACH (&pool->slots, it) {
        struct fleet_slot *slot = LIST_ENTRY(it, struct fleet_slot, node);
        struct backend *backend = slot_backend(slot->slot);
        if (slot->state == FLEET_CLOSING || slot->state == FLEET_CONNECTING)
            continue;
        if (backend->seen >= count || pool->seen[backend->seen].backend != backend) {
            if (count == SERVICE_BACKENDS_MAX)
                continue;
            backend->seen = count;
            pool->seen[count++] = (struct fleet_seen){.backend = backend};
        }
        struct fleet_seen *seen = &pool->seen[backend->seen];
        seen->claimed += slot->state != FLEET_IDLE;
        if (slot->state != FLEET_IDLE)
            continue;
        seen->idle = slot; /* the last one of the list wins */
        if (slot_id(slot->slot) == wanted)
            *ret_last = slot;
    }
    return count;
}

/* Returns the idle connection for a claim: the one that it had last, else one at the backend that
 * fleet_choose() names; NULL: none is idle. */
static struct fleet_slot *pool_pick(struct fleet_pool *pool, const struct fleet_claim *claim,
                                    moment now)
{
    struct service *service = pool->slots_at->service;
    struct fleet_slot *last = NULL;
    uint32_t count = pool_survey(pool, claim->last, &last), idle = 0;
    if (last != NULL)
        return last;
    for (uint32_t i = 0; i < count; i++) {
        const struct fleet_seen *seen = &pool->seen[i];
        if (seen->idle == NULL)
            continue;
        pool->seen[idle] = *seen;
        service->candidates[idle++] = (struct fleet_candidate){
            .priority = seen->backend->priority,
            .weight = seen->backend->weight,
            .near = seen->backend->near,
            .ready = true,
            .load = seen->claimed,
            .failures = fleet_window_sum(&seen->backend->window, now),
        };
    }
    uint32_t chosen = fleet_choose(service->candidates, idle, service->limits.zone_min,
                                   FLEET_DRAW_TWO, &service->random);
    return chosen >= idle ? NULL : pool->seen[chosen].idle;
}

/* Serves the first claim if a connection is idle; sheds it if it has waited in a queue that is too
 * long. */
static struct fleet_step step_claims(struct fleet_pool *pool, moment now)
{
    struct fleet_step nothing = {.order = FLEET_NOTHING};
    if (list_empty(&pool->claims)) {
        fleet_codel_empty(&pool->codel);
        return nothing;
    }
    if (pool_in(pool, FLEET_IDLE) == 0)
        return nothing;
    struct fleet_claim *claim = LIST_ENTRY(list_first(&pool->claims), struct fleet_claim, node);
    if (fleet_codel_sheds(&pool->codel, &pool->policy.codel, claim->since, now))
        return claim_refuse(pool, claim, FLEET_OVERLOADED);
    struct fleet_slot *slot = pool_pick(pool, claim, now);
    if (slot == NULL)
        return nothing;
    PROBE4(slot__set__claim__done, pool->slots_at->service->name, claim, slot->slot->id,
           (const char *)slot->slot->backend->names->text);
    list_remove(&pool->claims, &claim->node);
    list_push(&pool->held, &claim->node);
    fleet_claim_become(claim, FLEET_CLAIM_ACQUIRING);
    claim->slot = slot;
    slot->claim = claim;
    duration wait = pool->policy.hook_timeout, left = between(now, claim->by);
    fleet_slot_become(slot, FLEET_ACQUIRING, now, left.us < wait.us ? left : wait);
    return slot_order(slot);
}

/* --- connections ------------------------------------------------------------------------------ */

static struct fleet_step pool_connect(struct fleet_pool *pool, struct slot *granted, moment now)
{
    struct fleet_slot *slot = calloc(1, sizeof(*slot));
    if (slot == NULL) {
        slot_closed(&granted, SLOT_ENDED, now);
        pool->again = later(now, ms(100));
        return (struct fleet_step){.order = FLEET_NOTHING};
    }
    *slot = (struct fleet_slot){.pool = pool,
                                .slot = granted,
                                .state = FLEET_CONNECTING,
                                .since = now,
                                .due = later(now, pool->policy.connect_timeout)};
    pool->counts.slots[FLEET_CONNECTING] += 1;
    pool->counts.connects += 1;
    list_push(&pool->slots, &slot->node);
    invariant(slots_count(pool->slots_at) == pool->slots.count);
    return slot_order(slot);
}

static struct fleet_step step_connect(struct fleet_pool *pool, moment now)
{
    struct slot *granted = NULL;
    pool->again = NEVER;
    if (fleet_pool_open(pool) >= fleet_pool_wanted(pool) ||
        slots_ask(pool->slots_at, now, &granted, &pool->again) != OK)
        return (struct fleet_step){.order = FLEET_NOTHING};
    return pool_connect(pool, granted, now);
}

/* Looks at a backend that is not known to be healthy, if one is due, with every rebalancing. */
static struct fleet_step step_rebalance(struct fleet_pool *pool, moment now)
{
    struct slot *granted = NULL;
    if (pool->ended || pool->rebalance.us > now.us)
        return (struct fleet_step){.order = FLEET_NOTHING};
    fleet_pool_rebalance(pool, now);
    if (fleet_pool_wanted(pool) == 0 || slots_probe(pool->slots_at, now, &granted) != OK)
        return (struct fleet_step){.order = FLEET_NOTHING};
    return pool_connect(pool, granted, now);
}

/* --- the next step ---------------------------------------------------------------------------- */

struct fleet_step fleet_pool_step(struct fleet_pool *pool, moment now)
{
    static struct fleet_step (*const steps[])(struct fleet_pool * pool, moment now) = {
        step_refuse, step_slots, step_claims, step_rebalance, step_slots, step_connect,
    };
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct fleet_step step = steps[i](pool, now);
        if (step.order != FLEET_NOTHING)
            return step;
    }
    return (struct fleet_step){.order = FLEET_NOTHING};
}

deadline fleet_pool_due(const struct fleet_pool *pool)
{
    deadline due = pool->ended ? NEVER : earlier_of(pool->rebalance, pool->again);
    LIST_EACH (&pool->claims, it)
        due = earlier_of(due, LIST_ENTRY(it, struct fleet_claim, node)->by);
    LIST_EACH (&pool->slots, it)
        due = earlier_of(due, LIST_ENTRY(it, struct fleet_slot, node)->due);
    return due;
}
