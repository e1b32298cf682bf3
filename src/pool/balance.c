/*
 * balance.c - who gets a lease, and from whom one is called back.
 *
 * By the age of the oldest claims.  A seat that lacks a lease takes one, in this order: of the
 * backends, while sizes and limits allow it; an idle server of another seat; and of a seat that is
 * busy but whose own oldest claim is younger by more than half of overtake_limit, the part of its
 * leases that belongs to the longer queue.  What can change while nobody says so, the ages, is
 * looked at again after a quarter of overtake_limit: so a claim is overtaken by no more than that
 * limit and one release.  Within the limit one lease at a time, once in such a period, goes where
 * more claims share one, until no move makes the local pools more even.
 *
 * Where a limit stops a pool that it shares with others, pools compete in the same way: contest.c.
 */
#include "machine/clock.h"
#include "pool/pool.h"
#include "pool/supply.h"

#include <stdlib.h>

/* Pools that something of their own holds up, passed over in one walk along a line. */
#define ASIDE_MOST 64

/* --- who needs one ---------------------------------------------------------------------------- */

uint64_t seat_queued(const struct seat *seat)
{
    return hint_read(&seat->local->told.queued);
}

/* Since when its oldest claim waits; UINT64_MAX: none does. */
uint64_t seat_oldest(const struct seat *seat)
{
    uint64_t oldest = hint_read(&seat->local->told.oldest);
    return oldest == 0 ? UINT64_MAX : oldest;
}

/* Claims beyond the servers that are on their way to it. */
uint64_t seat_lacks(const struct seat *seat)
{
    uint64_t arrived = hint_read(&seat->local->told.arrived);
    uint64_t expected = seat->coming + (seat->sent > arrived ? seat->sent - arrived : 0);
    uint64_t queued = seat_queued(seat);
    return queued > expected ? queued - expected : 0;
}

/* Leases that may be called back. */
uint32_t seat_spare(const struct seat *seat)
{
    uint32_t taken = seat->coming + seat->recalls;
    return seat->leases > taken ? seat->leases - taken : 0;
}

uint32_t pool_leases(const struct pool *pool)
{
    uint32_t leases = 0;
    LIST_EACH (&pool->seats, it)
        leases += LIST_ENTRY(it, struct seat, node)->leases;
    return leases;
}

/* The seat that lacks a lease and whose claim has waited longest; NULL: none. */
struct seat *pool_needy(const struct pool *pool)
{
    struct seat *needy = NULL;
    LIST_EACH (&pool->seats, it) {
        struct seat *seat = LIST_ENTRY(it, struct seat, node);
        if (seat_lacks(seat) > 0 && (needy == NULL || seat_oldest(seat) < seat_oldest(needy)))
            needy = seat;
    }
    return needy;
}

bool pool_wants_least(const struct pool *pool)
{
    return !pool->obsolete && pool->route->mode != POOL_SESSION &&
           pool_leases(pool) < pool->route->pool_min;
}

/* While the pool is below its least: the seat with clients that has the fewest. */
static struct seat *pool_below_least(const struct pool *pool)
{
    struct seat *fewest = NULL;
    if (!pool_wants_least(pool))
        return NULL;
    LIST_EACH (&pool->seats, it) {
        struct seat *seat = LIST_ENTRY(it, struct seat, node);
        if (hint_read(&seat->local->told.clients) > 0 &&
            (fewest == NULL || seat->leases < fewest->leases))
            fewest = seat;
    }
    return fewest;
}

uint64_t pool_oldest(const struct pool *pool)
{
    const struct seat *needy = pool_needy(pool);
    return needy == NULL ? UINT64_MAX : seat_oldest(needy);
}

/* --- giving leases ---------------------------------------------------------------------------- */

static uint32_t kin_slots(const struct kin *kin)
{
    uint32_t slots = 0;
    LIST_EACH (&kin->pools, it)
        slots += slots_count(LIST_ENTRY(it, struct pool, kin_node)->slots);
    return slots;
}

/* When the pool's oldest claim has waited for so long that the reserve is for it. */
static deadline pool_reserve_due(const struct pool *pool)
{
    uint64_t oldest = pool_oldest(pool);
    if (pool->route->pool_reserve == 0 || oldest == UINT64_MAX)
        return NEVER;
    return later((deadline){(int64_t)oldest}, pool->route->reserve_after);
}

/* The versions of one pool share one budget. */
static bool pool_over_budget(const struct pool *pool)
{
    uint32_t slots = kin_slots(pool->kin), size = pool->route->pool_size;
    if (slots < size)
        return false;
    return slots >= size + pool->route->pool_reserve || pool_reserve_due(pool).us > now().us;
}

static void lease_send(struct lease *lease, struct seat *seat)
{
    lease->local = seat->local;
    seat->leases += 1;
    mail_send(seat->local->pools->machine, &lease->to_relay);
}

static enum pool_lack lack_of(fault asked)
{
    switch (asked) {
    case OK:
        return LACKS_NOTHING;
    case FAULT_FULL:
        return LACKS_SIZE;
    case FAULT_LIMIT:
        return LACKS_ROOM;
    case FAULT_AGAIN:
        return LACKS_PERMIT;
    default:
        return LACKS_MEMORY;
    }
}

static enum pool_lack pool_grant(struct pool *pool, struct seat *seat, deadline *again)
{
    if (pool->paused.us > now().us) {
        *again = pool->paused;
        pool->lacks_at = pool->caps[CAP_SERVICE];
        return LACKS_PERMIT;
    }
    if (pool_over_budget(pool))
        return LACKS_SIZE;
    pool->lacks_at = pool_capped(pool);
    if (pool->lacks_at != NULL)
        return LACKS_ROOM;
    pool->lacks_at = pool->caps[CAP_SERVICE];
    struct lease *lease = calloc(1, sizeof(*lease));
    fault asked = lease == NULL ? FAULT_MEMORY : slots_ask(pool->slots, now(), &lease->slot, again);
    if (asked != OK) {
        free(lease);
        return lack_of(asked);
    }
    hint_begin(lease, sizeof(*lease));
    const struct backend *backend = slot_backend(lease->slot);
    lease->pool = pool;
    lease->target.address = *backend_address(backend);
    lease->target.host = backend_host(backend);
    lease->sole = service_backends(supply_service(pool->supply)) == 1;
    lease->to_relay.deliver = local_pool_lease_came;
    lease->to_router.deliver = router_lease_back;
    lease->report.deliver = router_lease_report;
    list_push(&pool->leases, &lease->node);
    pool_hold(pool);
    seat->coming += 1;
    lease_send(lease, seat);
    return LACKS_NOTHING;
}

/* --- calling leases back ---------------------------------------------------------------------- */

void seat_recall(struct seat *seat, uint64_t count)
{
    invariant(count > 0 && count <= seat_spare(seat));
    seat->recalls += (uint32_t)count;
    seat->recalled = now();
    __atomic_fetch_add(&seat->local->told.recall, count, __ATOMIC_ACQ_REL);
    mail_send(seat->local->pools->machine, &seat->local->membership.recall);
}

/* On whose behalf leases are called back, and how many more. */
struct hunt {
    const struct seat *needy;
    uint64_t wanted;
    duration bound;
    bool may_even; /* once in a while, between claims that are about as old */
};

static void hunt_less(struct hunt *hunt, uint64_t found)
{
    hunt->wanted -= MIN_OF(found, hunt->wanted);
}

/* What it may be asked for.  Another version of the pool gives one up only where that makes room,
 * to an older claim, and when it has had it for long: else it gets the same one back at once. */
static uint64_t hunt_spare(const struct hunt *hunt, const struct seat *victim)
{
    const struct pool *pool = hunt->needy->pool;
    if (victim->pool == pool)
        return seat_spare(victim);
    bool yields = pool->lack == LACKS_SIZE && seat_oldest(hunt->needy) < pool_oldest(victim->pool);
    return yields ? seat_ripe(victim) : 0;
}

/* Idle servers; and when there are none, its relay says so when there is one. */
static void hunt_idle(struct hunt *hunt, struct seat *victim)
{
    uint64_t idle = hint_read(&victim->local->told.idle);
    uint64_t count = idle > victim->recalls ? idle - victim->recalls : 0;
    count = MIN_OF(MIN_OF(count, hunt->wanted), hunt_spare(hunt, victim));
    if (count > 0)
        seat_recall(victim, count);
    hunt_less(hunt, count);
    if (victim->leases > 0)
        hint_write(&victim->local->told.hungry, 1);
}

/* Whether more claims would share a lease here than there even after one has moved. */
static bool hunt_evens(const struct hunt *hunt, const struct seat *victim)
{
    uint64_t ours = seat_queued(hunt->needy) + hunt->needy->leases;
    uint64_t theirs = seat_queued(victim) + victim->leases;
    return hunt->may_even && victim->leases > 0 &&
           ours * (victim->leases - 1) >= theirs * (hunt->needy->leases + 1);
}

/* The part of a busy seat's leases that would make both queues equally long for their leases. */
static void hunt_busy(struct hunt *hunt, struct seat *victim)
{
    uint64_t theirs = seat_oldest(victim), ours = seat_oldest(hunt->needy);
    uint64_t spare = hunt_spare(hunt, victim);
    uint64_t queue = seat_queued(hunt->needy), rival = seat_queued(victim);
    if (hunt->wanted == 0 || spare == 0 || queue == 0)
        return;
    uint64_t count = 1;
    if (theirs == UINT64_MAX)
        count = spare;
    else if (theirs > ours && theirs - ours > (uint64_t)hunt->bound.us)
        count = (spare * queue + queue + rival - 1) / (queue + rival);
    else if (!hunt_evens(hunt, victim))
        return;
    hunt->may_even = false;
    count = MIN_OF(MIN_OF(count, spare), hunt->wanted);
    seat_recall(victim, count);
    hunt_less(hunt, count);
}

static void hunt_pool(struct hunt *hunt, const struct pool *pool,
                      void (*step)(struct hunt *hunt, struct seat *victim))
{
    LIST_EACH (&pool->seats, it) {
        struct seat *seat = LIST_ENTRY(it, struct seat, node);
        if (seat != hunt->needy)
            step(hunt, seat);
    }
}

static uint32_t pool_recalls(const struct pool *pool)
{
    uint32_t recalls = 0;
    LIST_EACH (&pool->seats, it)
        recalls += LIST_ENTRY(it, struct seat, node)->recalls;
    return recalls;
}

static duration pool_bound(const struct pool *pool)
{
    return (duration){.us = pool->config->overtake_most.us / 2};
}

duration pool_period(const struct pool *pool)
{
    return (duration){.us = pool->config->overtake_most.us / 4};
}

/* Recalls that may soon be answered.  A seat that has not answered for so long is in long
 * transactions: others are asked instead of waiting for it. */
uint32_t pool_hopes(const struct pool *pool)
{
    uint32_t hopes = pool->ending;
    LIST_EACH (&pool->seats, it) {
        const struct seat *seat = LIST_ENTRY(it, struct seat, node);
        if (later(seat->recalled, pool_period(pool)).us > now().us)
            hopes += seat->recalls;
    }
    return hopes;
}

/* From the seats of the pool's own kin: for each claim that nothing will serve, at most one. */
static void pool_recall(struct pool *pool)
{
    struct hunt hunt = {.needy = pool_needy(pool), .bound = pool_bound(pool)};
    if (hunt.needy == NULL)
        return;
    hunt.may_even = pool->evened.us + pool_period(pool).us <= now().us;
    if (hunt.may_even)
        pool->evened = now();
    hunt.wanted = seat_lacks(hunt.needy);
    LIST_EACH (&pool->kin->pools, it) {
        const struct pool *kin = LIST_ENTRY(it, struct pool, kin_node);
        hunt_less(&hunt, pool_hopes(kin));
    }
    LIST_EACH (&pool->kin->pools, it)
        hunt_pool(&hunt, LIST_ENTRY(it, struct pool, kin_node), hunt_idle);
    LIST_EACH (&pool->kin->pools, it)
        hunt_pool(&hunt, LIST_ENTRY(it, struct pool, kin_node), hunt_busy);
}

/* More slots than a lowered limit allows: called back to be closed. */
static void pool_recall_excess(struct pool *pool)
{
    uint32_t excess = slots_excess(pool->slots);
    uint32_t under_way = pool_recalls(pool) + pool->ending;
    LIST_EACH (&pool->seats, it) {
        struct seat *seat = LIST_ENTRY(it, struct seat, node);
        uint32_t more = excess > under_way ? MIN_OF(excess - under_way, seat_spare(seat)) : 0;
        if (more > 0)
            seat_recall(seat, more);
        under_way += more;
    }
}

/* --- balance of one pool ---------------------------------------------------------------------- */

static enum pool_lack pool_fill(struct pool *pool, deadline *again)
{
    enum pool_lack lack = LACKS_NOTHING;
    while (lack == LACKS_NOTHING) {
        struct seat *seat = pool_needy(pool);
        if (seat == NULL)
            seat = pool_below_least(pool);
        if (seat == NULL)
            break;
        lack = pool_grant(pool, seat, again);
    }
    return lack == LACKS_PERMIT && pool->crowded ? LACKS_CROWD : lack;
}

static enum local_pool_full full_of(const struct pool *pool)
{
    static const enum local_pool_full at[CAPS] = {[CAP_SERVICE] = FULL_SERVICE,
                                                  [CAP_DATABASE] = FULL_DATABASE,
                                                  [CAP_USER] = FULL_USER,
                                                  [CAP_ALL] = FULL_ALL};
    switch (pool->lack) {
    case LACKS_SIZE:
        return FULL_POOL;
    case LACKS_ROOM:
        return at[pool->lacks_at->kind];
    case LACKS_CROWD:
        return FULL_CROWD;
    default:
        return FULL_NOTHING;
    }
}

/* What its relays should know: why there are no more servers, and which of them stay when idle. */
static void pool_tell(const struct pool *pool)
{
    enum local_pool_full full = full_of(pool);
    uint32_t slots = kin_slots(pool->kin), size = pool->route->pool_size;
    uint32_t excess = slots > size ? slots - size : 0;
    uint32_t least = pool->obsolete ? 0 : pool->route->pool_min;
    LIST_EACH (&pool->seats, it) {
        struct seat *seat = LIST_ENTRY(it, struct seat, node);
        struct local_pool *local = seat->local;
        uint32_t keep = MIN_OF(least, seat->leases), reserve = MIN_OF(excess, seat->leases);
        least -= keep;
        excess -= reserve;
        hint_write(&local->told.full, full);
        hint_write(&local->told.full_at, pool_lacks_room(pool) ? pool->lacks_at->most : 0);
        bool more = reserve > hint_read(&local->told.reserve);
        hint_write(&local->told.reserve, reserve);
        hint_write(&local->told.keep, keep);
        if (more) /* those that are idle already have less time now */
            mail_send(local->pools->machine, &local->membership.recall);
    }
}

/* Who lacks a server in a session pool may have idle ones, of other startup parameters: it learns
 * that the pool is full while it waits, and gives one up. */
static void pool_tell_needy(const struct pool *pool)
{
    const struct seat *needy = pool_needy(pool);
    bool full = pool->lack == LACKS_SIZE || pool_lacks_room(pool);
    if (full && needy != NULL && pool->route->mode == POOL_SESSION &&
        hint_read(&needy->local->told.idle) > 0 && pool_hopes(pool) == 0)
        mail_send(needy->local->pools->machine, &needy->local->membership.recall);
}

/* Others of its kin have leases that it could get, as time passes. */
static bool pool_competes(const struct pool *pool)
{
    const struct seat *needy = pool_needy(pool);
    uint32_t leases = 0;
    if (needy == NULL)
        return false;
    LIST_EACH (&pool->kin->pools, it)
        leases += pool_leases(LIST_ENTRY(it, struct pool, kin_node));
    return leases > needy->leases;
}

void pool_balance(struct pool *pool)
{
    struct router *router = pool->router;
    deadline again = NEVER;
    if (router->env->stopping)
        return;
    pool->lack = pool_fill(pool, &again);
    pool_line_up(pool);
    pool_tell(pool);
    pool_tell_needy(pool);
    pool_recall_excess(pool);
    if (pool->lack != LACKS_NOTHING && pool_competes(pool)) {
        pool_recall(pool);
        again = earlier_of(again, after(pool_period(pool)));
    }
    if (pool_lacks_room(pool))
        router_contest_soon(router);
    if (pool->lack == LACKS_SIZE && pool_reserve_due(pool).us > now().us)
        again = earlier_of(again, pool_reserve_due(pool));
    if (pool->lack == LACKS_MEMORY)
        again = after(ms(100));
    timer_set(&pool->timer, again);
    supply_check(pool->supply);
}

/* --- balance of many -------------------------------------------------------------------------- */

/* The oldest of those that wait under a cap, for room or for a permit. */
static struct pool *cap_first(struct cap *cap)
{
    struct pool *room = line_first(&cap->room), *permit = line_first(&cap->permits);
    if (room == NULL || permit == NULL)
        return room == NULL ? permit : room;
    return room->place.key <= permit->place.key ? room : permit;
}

/* What holds it up is its own: others may get what it does not. */
static bool pool_held_alone(const struct pool *pool)
{
    return pool->paused.us > now().us || slots_paused(pool->slots);
}

void cap_balance(struct cap *cap)
{
    struct list aside;
    list_init(&aside);
    for (struct pool *pool; (pool = cap_first(cap)) != NULL && aside.count < ASIDE_MOST;) {
        pool_balance(pool);
        if (pool->line == NULL || pool->lacks_at != cap)
            continue;
        if (!pool_held_alone(pool))
            break;
        heap_remove(pool->line, &pool->place);
        list_push(&aside, &pool->aside);
    }
    for (struct node *node; (node = list_pop(&aside)) != NULL;) {
        struct pool *pool = LIST_ENTRY(node, struct pool, aside);
        heap_push(pool->line, &pool->place, pool->place.key);
    }
}

/* The version whose claim is the oldest; NULL: none has any that lacks a server. */
static struct pool *kin_neediest(const struct kin *kin)
{
    struct pool *neediest = NULL;
    LIST_EACH (&kin->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, kin_node);
        uint64_t oldest = pool_oldest(pool);
        if (oldest != UINT64_MAX && (neediest == NULL || oldest < pool_oldest(neediest)))
            neediest = pool;
    }
    return neediest;
}

/* The oldest claim goes first, lest the pool that was to give something up takes it back. */
void router_balance(struct router *router, const struct pool *pool)
{
    struct kin *kin = pool->kin;
    struct cap *const caps[CAPS] = {pool->caps[0], pool->caps[1], pool->caps[2], pool->caps[3]};
    struct pool *own = kin_neediest(kin), *other = NULL;
    if (router->env->stopping)
        return;
    for (int i = 0; i < CAPS; i++) {
        struct pool *first = cap_first(caps[i]);
        if (first != NULL && (other == NULL || pool_oldest(first) < pool_oldest(other)))
            other = first;
    }
    if (other != NULL && own != NULL && pool_oldest(own) < pool_oldest(other))
        other = NULL;
    if (other != NULL)
        pool_balance(other);
    if (own != NULL)
        pool_balance(own);
    LIST_EACH (&kin->pools, it)
        pool_balance(LIST_ENTRY(it, struct pool, kin_node));
    for (int i = 0; i < CAPS; i++)
        cap_balance(caps[i]);
}

/* --- what comes back -------------------------------------------------------------------------- */

void lease_pass_on(struct lease *lease, struct seat *from)
{
    struct pool *pool = lease->pool;
    struct router *router = pool->router;
    invariant(from->recalls > 0);
    from->recalls -= 1;
    if (slots_excess(pool->slots) > 0 || router->env->stopping || lease->doomed ||
        backend_obsolete(slot_backend(lease->slot)) || pool_yields(pool)) {
        lease_close(lease);
        return;
    }
    struct seat *to = pool_needy(pool);
    if (to == NULL)
        to = from;
    to->sent += 1;
    lease_send(lease, to);
    router_balance(router, pool);
}
