#include "fleet/fleet_pool_parts.h"

#include "base/probes.h"
#include "base/table.h"
#include "machine/stream.h"

#include <stdlib.h>

/* --- slots ------------------------------------------------------------------------------------ */

/* clang-format off */
/*
 *               v---------------------------------- RECYCLING
 *  CONNECTING --> IDLE --> ACQUIRING --> CLAIMED -----^
 *                 |  ^
 *                 v  |                  any of them --> CLOSING
 *                CHECKING
 *
 * A connection that could not be made has no state here: its slot is closed, and its backend has
 * the back-off (fleet.h), so that nothing that ends must wait for one.
 */
/* clang-format on */
#define TO(state) (1u << (state))
static const uint8_t permitted[FLEET_SLOT_STATES] = {
    [FLEET_CONNECTING] = TO(FLEET_IDLE) | TO(FLEET_CLOSING),
    [FLEET_IDLE] = TO(FLEET_ACQUIRING) | TO(FLEET_CHECKING) | TO(FLEET_CLOSING),
    [FLEET_ACQUIRING] = TO(FLEET_CLAIMED) | TO(FLEET_RECYCLING) | TO(FLEET_CLOSING),
    [FLEET_CLAIMED] = TO(FLEET_RECYCLING) | TO(FLEET_CLOSING),
    [FLEET_RECYCLING] = TO(FLEET_IDLE) | TO(FLEET_CLOSING),
    [FLEET_CHECKING] = TO(FLEET_IDLE) | TO(FLEET_CLOSING),
    [FLEET_CLOSING] = 0,
};

void fleet_slot_become(struct fleet_slot *slot, enum fleet_slot_state state, moment now,
                       duration wait)
{
    struct fleet_pool *pool = slot->pool;
    invariant((permitted[slot->state] & TO(state)) != 0);
    invariant(pool->counts.slots[slot->state] > 0);
    PROBE4(slot__state__change, pool->slots_at->service->name, slot->slot->id, slot->state, state);
    pool->counts.slots[slot->state] -= 1;
    pool->counts.slots[state] += 1;
    slot->state = state;
    slot->since = now;
    slot->due = later(now, wait);
    slot->ordered = false;
}

void fleet_slot_close(struct fleet_slot *slot, enum slot_end end, moment now)
{
    if (slot->state == FLEET_CLOSING)
        return;
    fleet_slot_become(slot, FLEET_CLOSING, now, NO_LIMIT);
    slot->end = end;
}

/* A connection becomes idle: it is checked again after the interval, less a random tenth. */
static void fleet_slot_rest(struct fleet_slot *slot, moment now)
{
    struct fleet_pool *pool = slot->pool;
    duration wait = pool->policy.health_interval;
    wait =
        wait.us <= 0 ? NO_LIMIT : fleet_random_shorten(&pool->slots_at->service->random, wait, 10);
    fleet_slot_become(slot, FLEET_IDLE, now, wait);
    list_remove(&pool->slots, &slot->node);
    list_push(&pool->slots, &slot->node);
}

void fleet_slot_connected(struct fleet_slot *slot, enum backend_role role, moment now)
{
    if (slot->state == FLEET_CLOSING)
        return;
    invariant(slot->state == FLEET_CONNECTING);
    slot_connected(slot->slot, role, now);
    fleet_slot_rest(slot, now);
}

static void fleet_slot_free(struct fleet_slot *slot)
{
    struct fleet_pool *pool = slot->pool;
    invariant(slot->slot == NULL && slot->claim == NULL);
    pool->counts.slots[slot->state] -= 1;
    list_remove(&pool->slots, &slot->node);
    free(slot);
}

void fleet_slot_failed(struct fleet_slot *slot, enum slot_failure why, moment now)
{
    if (slot->state == FLEET_CLOSING)
        return;
    invariant(slot->state == FLEET_CONNECTING);
    slot->pool->counts.failures += 1;
    slot_failed(&slot->slot, why, now);
    fleet_slot_free(slot);
}

void fleet_slot_lost(struct fleet_slot *slot, moment now)
{
    if (slot->state == FLEET_IDLE)
        fleet_slot_close(slot, SLOT_LOST, now);
}

void fleet_slot_closed(struct fleet_slot *slot, moment now)
{
    invariant(slot->state == FLEET_CLOSING);
    if (slot->unreachable)
        slot_failed(&slot->slot, SLOT_UNREACHABLE, now);
    else
        slot_closed(&slot->slot, slot->end, now);
    fleet_slot_free(slot);
}

/* --- claims ----------------------------------------------------------------------------------- */

/*
 *  NONE --> WAITING --> ACQUIRING --> HELD       WAITING, ACQUIRING, HELD --> NONE
 *
 * A claim whose on_acquire failed is NONE and at once WAITING again, in front of the queue.
 */
static const uint8_t claim_permitted[FLEET_CLAIM_STATES] = {
    [FLEET_CLAIM_NONE] = TO(FLEET_CLAIM_WAITING),
    [FLEET_CLAIM_WAITING] = TO(FLEET_CLAIM_ACQUIRING) | TO(FLEET_CLAIM_NONE),
    [FLEET_CLAIM_ACQUIRING] = TO(FLEET_CLAIM_HELD) | TO(FLEET_CLAIM_NONE),
    [FLEET_CLAIM_HELD] = TO(FLEET_CLAIM_NONE),
};

void fleet_claim_become(struct fleet_claim *claim, enum fleet_claim_state state)
{
    invariant((claim_permitted[claim->state] & TO(state)) != 0);
    claim->state = state;
}

void fleet_claim(struct fleet_pool *pool, struct fleet_claim *claim, moment now, deadline by)
{
    invariant(claim->state == FLEET_CLAIM_NONE);
    fleet_claim_become(claim, FLEET_CLAIM_WAITING);
    claim->since = now;
    claim->by = by;
    list_push(&pool->claims, &claim->node);
    PROBE3(claim__start, pool->slots_at->service->name, claim, 0);
    PROBE2(pool__claim__start, pool->slots_at->service->name, claim);
}

static struct fleet_slot *claim_let_go(struct fleet_pool *pool, struct fleet_claim *claim)
{
    struct fleet_slot *slot = TAKE(claim->slot);
    invariant(slot->claim == claim);
    slot->claim = NULL;
    list_remove(&pool->held, &claim->node);
    fleet_claim_become(claim, FLEET_CLAIM_NONE);
    return slot;
}

uint32_t fleet_pool_excess(const struct fleet_pool *pool)
{
    uint32_t excess = slots_excess(pool->slots_at), closing = pool->counts.slots[FLEET_CLOSING];
    return excess > closing ? excess - closing : 0;
}

void fleet_release(struct fleet_pool *pool, struct fleet_claim *claim, enum fleet_release how,
                   moment now)
{
    struct fleet_slot *slot = claim_let_go(pool, claim);
    claim->last = slot_id(slot->slot);
    PROBE2(handle__returned, pool->slots_at->service->name, claim->last);
    if (how == FLEET_BROKEN)
        fleet_slot_close(slot, SLOT_LOST, now);
    else if (pool->ended || slot_unwanted(slot->slot) || fleet_pool_excess(pool) > 0)
        fleet_slot_close(slot, SLOT_ENDED, now);
    else
        fleet_slot_become(slot, FLEET_RECYCLING, now, pool->policy.hook_timeout);
}

void fleet_claim_withdraw(struct fleet_pool *pool, struct fleet_claim *claim, moment now)
{
    if (claim->state == FLEET_CLAIM_WAITING) {
        list_remove(&pool->claims, &claim->node);
        fleet_claim_become(claim, FLEET_CLAIM_NONE);
    } else if (claim->state == FLEET_CLAIM_ACQUIRING) {
        /* on_acquire runs: the state of the connection is unknown. */
        fleet_slot_close(claim_let_go(pool, claim), SLOT_ENDED, now);
    } else if (claim->state == FLEET_CLAIM_HELD) {
        fleet_release(pool, claim, FLEET_RETURNED, now);
    }
}

/* The claim is the next one again and keeps its deadline, so it ends in time however often
 * on_acquire fails. */
void fleet_slot_take_back(struct fleet_slot *slot, enum slot_end end, moment now)
{
    struct fleet_pool *pool = slot->pool;
    struct fleet_claim *claim = slot->claim;
    PROBE4(claim__acquire__failed, pool->slots_at->service->name, claim, slot->slot->id, end);
    (void)claim_let_go(pool, claim);
    fleet_claim_become(claim, FLEET_CLAIM_WAITING);
    list_push_front(&pool->claims, &claim->node);
    if (end == SLOT_LOST)
        backend_useless(slot_backend(slot->slot), now);
    fleet_slot_close(slot, SLOT_ENDED, now);
}

/* The end of a hook. */
static void fleet_slot_trace(const struct fleet_slot *slot, enum fleet_verdict verdict)
{
    const char *name = slot->pool->slots_at->service->name;
    const char *host = slot->slot->backend->names->text;
    uint64_t id = slot->slot->id;
    bool valid = verdict != FLEET_INVALID;
    if (slot->state == FLEET_ACQUIRING && valid) {
        PROBE4(claim__done, name, slot->claim, id, 0);
        PROBE4(handle__claimed, name, slot->claim, id, host);
    } else if (slot->state == FLEET_CHECKING && valid)
        PROBE3(health__check__done, name, id, host);
    else if (slot->state == FLEET_CHECKING)
        PROBE3(health__check__failed, name, id, "invalid");
    else if (slot->state == FLEET_RECYCLING && valid)
        PROBE3(recycle__done, name, id, host);
    else if (slot->state == FLEET_RECYCLING)
        PROBE3(recycle__failed, name, id, "invalid");
}

void fleet_slot_checked(struct fleet_slot *slot, enum fleet_verdict verdict, moment now)
{
    struct fleet_pool *pool = slot->pool;
    if (slot->state == FLEET_CLOSING)
        return;
    invariant(slot->state == FLEET_ACQUIRING || slot->state == FLEET_CHECKING ||
              slot->state == FLEET_RECYCLING);
    fleet_slot_trace(slot, verdict);
    pool->counts.checks += slot->state == FLEET_CHECKING;
    pool->counts.invalid += verdict == FLEET_INVALID;
    if (slot->state == FLEET_ACQUIRING) {
        if (verdict == FLEET_INVALID) {
            fleet_slot_take_back(slot, SLOT_LOST, now);
            return;
        }
        backend_useful(slot_backend(slot->slot));
        fleet_claim_become(slot->claim, FLEET_CLAIM_HELD);
        fleet_slot_become(slot, FLEET_CLAIMED, now, NO_LIMIT);
    } else if (verdict == FLEET_INVALID) {
        fleet_slot_close(slot, SLOT_LOST, now);
    } else {
        fleet_slot_rest(slot, now);
    }
}

/* --- life ------------------------------------------------------------------------------------- */

fault fleet_pool_new(struct service *service, const struct fleet_policy *policy, moment now,
                     struct fleet_pool **ret)
{
    struct fleet_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return FAULT_MEMORY;
    fault made = slots_new(service, policy->max, &pool->slots_at);
    if (made != OK) {
        free(pool);
        return made;
    }
    list_init(&pool->slots);
    list_init(&pool->claims);
    list_init(&pool->held);
    pool->policy = *policy;
    pool->rebalance = later(now, policy->rebalance_interval);
    *ret = pool;
    return OK;
}

void fleet_pool_set_policy(struct fleet_pool *pool, const struct fleet_policy *policy)
{
    pool->policy = *policy;
    slots_set_max(pool->slots_at, policy->max);
}

void fleet_pool_changed(struct fleet_pool *pool, moment now)
{
    pool->rebalance = now;
    pool->again = now;
}

void fleet_pool_end(struct fleet_pool *pool)
{
    pool->ended = true;
}

bool fleet_pool_over(const struct fleet_pool *pool)
{
    return pool->ended && list_empty(&pool->slots) && list_empty(&pool->claims) &&
           list_empty(&pool->held);
}

void fleet_pool_free(struct fleet_pool **pool)
{
    struct fleet_pool *gone = TAKE(*pool);
    if (gone == NULL)
        return;
    invariant(list_empty(&gone->slots) && list_empty(&gone->claims) && list_empty(&gone->held));
    slots_free(&gone->slots_at);
    free(gone);
}

static uint32_t pool_used(const struct fleet_pool *pool)
{
    return pool->counts.slots[FLEET_CLAIMED] + pool->counts.slots[FLEET_ACQUIRING];
}

uint32_t fleet_pool_open(const struct fleet_pool *pool)
{
    return (uint32_t)pool->slots.count - pool->counts.slots[FLEET_CLOSING];
}

uint32_t fleet_pool_wanted(const struct fleet_pool *pool)
{
    struct fleet_wants wants = {.claimed = pool_used(pool) + (uint32_t)pool->claims.count,
                                .spares = pool->policy.spares,
                                .min = pool->policy.min,
                                .max = pool->policy.max};
    return pool->ended ? 0 : fleet_wanted(&wants);
}

/* --- what is shown ---------------------------------------------------------------------------- */

const struct fleet_counts *fleet_pool_counts(struct fleet_pool *pool)
{
    pool->counts.waiting = (uint32_t)pool->claims.count;
    return &pool->counts;
}

uint32_t fleet_pool_slots(const struct fleet_pool *pool)
{
    return slots_count(pool->slots_at);
}

enum fleet_slot_state fleet_slot_state(const struct fleet_slot *slot)
{
    return slot->state;
}

const char *fleet_slot_state_text(enum fleet_slot_state state)
{
    static const char *const texts[] = {
        [FLEET_CONNECTING] = "connecting", [FLEET_IDLE] = "idle",
        [FLEET_ACQUIRING] = "acquiring",   [FLEET_CLAIMED] = "claimed",
        [FLEET_RECYCLING] = "recycling",   [FLEET_CHECKING] = "checking",
        [FLEET_CLOSING] = "closing",
    };
    static_assert(ARRAY_SIZE(texts) == FLEET_SLOT_STATES, "every state has a text");
    return texts[state];
}

moment fleet_slot_since(const struct fleet_slot *slot)
{
    return slot->since;
}

uint64_t fleet_slot_id(const struct fleet_slot *slot)
{
    return slot_id(slot->slot);
}

const struct backend *fleet_slot_backend(const struct fleet_slot *slot)
{
    return slot_backend(slot->slot);
}

void fleet_slot_set_data(struct fleet_slot *slot, void *data)
{
    slot->data = data;
}

void *fleet_slot_data(const struct fleet_slot *slot)
{
    return slot->data;
}

const char *fleet_refusal_text(enum fleet_refusal refusal)
{
    static const char *const texts[] = {
        [FLEET_NO_BACKENDS] = "no backend of the service is known",
        [FLEET_NONE_ONLINE] = "backends of the service are known, but none is online",
        [FLEET_ALL_USED] = "backends of the service are online, but all connections are in use",
        [FLEET_OVERLOADED] = "the queue has been too long for too long: the claim was shed",
        [FLEET_ENDED] = "the pool has ended",
    };
    static_assert(ARRAY_SIZE(texts) == FLEET_REFUSALS, "every refusal has a text");
    return texts[refusal];
}

void fleet_pool_show(const struct fleet_pool *pool, moment now, struct table_sink *sink)
{
    static const struct column columns[] = {{"slot", COLUMN_INT8},
                                            {"backend", COLUMN_TEXT},
                                            {"state", COLUMN_TEXT},
                                            {"since_ms", COLUMN_INT8}};
    table_begin(sink, columns, ARRAY_SIZE(columns));
    LIST_EACH (&pool->slots, it) {
        const struct fleet_slot *slot = LIST_ENTRY(it, struct fleet_slot, node);
        char address[ADDRESS_TEXT_SIZE];
        table_int(sink, (int64_t)slot_id(slot->slot));
        table_text(sink, address_text(backend_address(slot_backend(slot->slot)), address,
                                      sizeof(address)));
        table_text(sink, fleet_slot_state_text(slot->state));
        table_int(sink, between(slot->since, now).us / 1000);
        table_end_row(sink);
    }
}
