/*
 * balance.c - who gets a lease, and from whom one is called back.
 *
 * By the age of the oldest claims.  A seat that lacks a lease takes one, in this order: of the
 * backends, while sizes and limits allow it; an idle server of another seat; and of a seat that is
 * busy but whose own oldest claim is younger by more than half of overtake_limit, the part of its
 * leases that belongs to the longer queue.  What can change while nobody says so, the ages, is
 * looked at again after a quarter of overtake_limit: so a claim is overtaken by no more than that
 * limit and one release.  Within the limit one lease at a time, once in such a period, goes where
 * more claims share one, until no move makes the shares more even.
 *
 * Where the backends are at their limit of connections, pools compete in the same way, a server
 * being closed here so that another can be made there, which costs more: a busy pool gives one up
 * to claims that are older by the whole of overtake_limit.  See router_contest().
 */
#include "machine/clock.h"
#include "pooler/pool.h"
#include "pooler/pooler.h"
#include "pooler/relay.h"
#include "pooler/supply.h"

#include <stdlib.h>

/* Looks at the contest for room are no closer than this; those that wait longest go first. */
#define CONTEST_PAUSE ms(1)
#define CONTEST_POOLS 8

/* --- who needs one ------------------------------------------------------------------------------
 */

static uint64_t seat_queued(const struct seat *seat)
{
    return hint_read(&seat->share->told.queued);
}

/* Since when its oldest claim waits; UINT64_MAX: none does. */
static uint64_t seat_oldest(const struct seat *seat)
{
    uint64_t oldest = hint_read(&seat->share->told.oldest);
    return oldest == 0 ? UINT64_MAX : oldest;
}

/* Claims beyond the servers that are on their way to it. */
static uint64_t seat_lacks(const struct seat *seat)
{
    uint64_t arrived = hint_read(&seat->share->told.arrived);
    uint64_t expected = seat->coming + (seat->sent > arrived ? seat->sent - arrived : 0);
    uint64_t queued = seat_queued(seat);
    return queued > expected ? queued - expected : 0;
}

/* Leases that may be called back. */
static uint32_t seat_spare(const struct seat *seat)
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
static struct seat *pool_needy(const struct pool *pool)
{
    struct seat *needy = NULL;
    LIST_EACH (&pool->seats, it) {
        struct seat *seat = LIST_ENTRY(it, struct seat, node);
        if (seat_lacks(seat) > 0 && (needy == NULL || seat_oldest(seat) < seat_oldest(needy)))
            needy = seat;
    }
    return needy;
}

/* While the pool is below its least: the seat with clients that has the fewest. */
static struct seat *pool_below_least(const struct pool *pool)
{
    struct seat *fewest = NULL;
    if (pool->obsolete || pool->route->mode == POOL_SESSION ||
        pool_leases(pool) >= pool->route->pool_min)
        return NULL;
    LIST_EACH (&pool->seats, it) {
        struct seat *seat = LIST_ENTRY(it, struct seat, node);
        if (hint_read(&seat->share->told.clients) > 0 &&
            (fewest == NULL || seat->leases < fewest->leases))
            fewest = seat;
    }
    return fewest;
}

static uint64_t pool_oldest(const struct pool *pool)
{
    const struct seat *needy = pool_needy(pool);
    return needy == NULL ? UINT64_MAX : seat_oldest(needy);
}

/* --- giving leases ------------------------------------------------------------------------------
 */

/* The versions of one pool share one budget. */
static bool pool_over_budget(const struct pool *pool)
{
    uint32_t slots = 0;
    LIST_EACH (&pool->kin->pools, it)
        slots += slots_count(LIST_ENTRY(it, struct pool, kin_node)->slots);
    return slots >= pool->route->pool_size;
}

static void lease_send(struct lease *lease, struct seat *seat)
{
    lease->share = seat->share;
    seat->leases += 1;
    mail_send(seat->share->relay->machine, &lease->to_relay);
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

static bool pool_lacks_room(const struct pool *pool)
{
    return pool->lack == LACKS_ROOM || pool->lack == LACKS_CROWD;
}

static enum pool_lack pool_grant(struct pool *pool, struct seat *seat, deadline *again)
{
    if (pool->paused.us > now().us) {
        *again = pool->paused;
        return LACKS_PERMIT;
    }
    if (pool_over_budget(pool))
        return LACKS_SIZE;
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
    lease->to_relay.deliver = relay_lease;
    lease->to_router.deliver = router_lease_back;
    lease->report.deliver = router_lease_report;
    list_push(&pool->leases, &lease->node);
    seat->coming += 1;
    lease_send(lease, seat);
    return LACKS_NOTHING;
}

/* --- calling leases back
 * -------------------------------------------------------------------------- */

static void seat_recall(struct seat *seat, uint64_t count)
{
    invariant(count > 0 && count <= seat_spare(seat));
    seat->recalls += (uint32_t)count;
    seat->recalled = now();
    __atomic_fetch_add(&seat->share->told.recall, count, __ATOMIC_ACQ_REL);
    mail_send(seat->share->relay->machine, &seat->share->recall);
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

/* Idle servers; and when there are none, its relay says so when there is one. */
static void hunt_idle(struct hunt *hunt, struct seat *victim)
{
    uint64_t idle = hint_read(&victim->share->told.idle);
    uint64_t count = idle > victim->recalls ? idle - victim->recalls : 0;
    count = MIN_OF(MIN_OF(count, hunt->wanted), seat_spare(victim));
    if (count > 0)
        seat_recall(victim, count);
    hunt_less(hunt, count);
    if (victim->leases > 0)
        hint_write(&victim->share->told.hungry, 1);
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
    uint64_t spare = seat_spare(victim);
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

static duration pool_period(const struct pool *pool)
{
    return (duration){.us = pool->config->overtake_most.us / 4};
}

/* Recalls that may soon be answered.  A seat that has not answered for so long is in long
 * transactions: others are asked instead of waiting for it. */
static uint32_t pool_hopes(const struct pool *pool)
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

/* --- balance of one pool
 * -------------------------------------------------------------------------- */

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

static void pool_set_lack(struct pool *pool, enum pool_lack lack)
{
    struct list *waiting = &pool->router->waiting;
    uint64_t full = lack == LACKS_SIZE || lack == LACKS_ROOM || lack == LACKS_CROWD;
    pool->lack = lack;
    if (lack == LACKS_NOTHING && node_linked(&pool->waiting_node))
        list_remove(waiting, &pool->waiting_node);
    if (lack != LACKS_NOTHING && !node_linked(&pool->waiting_node))
        list_push(waiting, &pool->waiting_node);
    LIST_EACH (&pool->seats, it)
        hint_write(&LIST_ENTRY(it, struct seat, node)->share->told.full, full);
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
    if (pooler_stopping(router->pooler))
        return;
    pool_set_lack(pool, pool_fill(pool, &again));
    pool_recall_excess(pool);
    if (pool->lack != LACKS_NOTHING && pool_competes(pool)) {
        pool_recall(pool);
        again = earlier_of(again, after(pool_period(pool)));
    }
    if (pool_lacks_room(pool))
        timer_set(&router->contest, earlier_of((deadline){router->contest.due},
                                               later(router->contested, CONTEST_PAUSE)));
    if (pool->lack == LACKS_MEMORY)
        again = after(ms(100));
    timer_set(&pool->timer, again);
    supply_check(pool->supply);
}

/* --- balance of many
 * -------------------------------------------------------------------------------- */

/* Of those that wait for room, the one whose claim is the oldest, but younger than `beyond`. */
static struct pool *waiting_next(const struct router *router, const struct supply *supply,
                                 uint64_t beyond)
{
    struct pool *next = NULL;
    uint64_t oldest = UINT64_MAX;
    LIST_EACH (&router->waiting, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, waiting_node);
        bool waits = pool->supply == supply && pool_lacks_room(pool);
        uint64_t age = waits ? pool_oldest(pool) : UINT64_MAX;
        if (age > beyond && age < oldest) {
            oldest = age;
            next = pool;
        }
    }
    return next;
}

void router_balance_supply(struct router *router, const struct supply *supply)
{
    struct pool *first = waiting_next(router, supply, 0);
    if (first != NULL)
        pool_balance(first);
    bool full = first != NULL && first->lack == LACKS_ROOM;
    LIST_EACH_SAFE (&router->waiting, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, waiting_node);
        if (pool->supply != supply || (full && pool->lack == LACKS_ROOM))
            continue;
        pool_balance(pool);
        full = full || pool->lack == LACKS_ROOM;
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
    struct pool *kin = kin_neediest(pool->kin);
    struct pool *other = waiting_next(router, pool->supply, 0);
    if (other != NULL && kin != NULL && pool_oldest(kin) < pool_oldest(other))
        other = NULL;
    if (other != NULL)
        pool_balance(other);
    if (kin != NULL)
        pool_balance(kin);
    LIST_EACH (&pool->kin->pools, it)
        pool_balance(LIST_ENTRY(it, struct pool, kin_node));
    router_balance_supply(router, pool->supply);
}

/* --- room at the backends
 * ------------------------------------------------------------------------------ */

/* Recalls under way and servers that are ending make room, first for those that wait longest. */
static uint64_t contest_rooms(const struct router *router, const struct supply *supply)
{
    uint64_t rooms = 0;
    LIST_EACH (&router->pools, it) {
        const struct pool *pool = LIST_ENTRY(it, struct pool, node);
        if (pool->supply == supply)
            rooms += pool_hopes(pool);
    }
    return rooms;
}

/* Who has given goes to the end of the list, so that the next time others give. */
static void contest_step(struct hunt *hunt, const struct pool *needy,
                         void (*step)(struct hunt *hunt, struct seat *victim))
{
    struct list *pools = &needy->router->pools;
    LIST_EACH_SAFE (pools, it) {
        const struct pool *pool = LIST_ENTRY(it, struct pool, node);
        uint64_t wanted = hunt->wanted;
        if (pool->supply == needy->supply && pool != needy)
            hunt_pool(hunt, pool, step);
        if (hunt->wanted == wanted)
            continue;
        list_remove(pools, it);
        list_push(pools, it);
    }
}

/* One that waits calls on all other pools of the service, unless room is coming. */
static void contest_for(struct pool *pool, uint64_t *rooms)
{
    struct hunt hunt = {.needy = pool_needy(pool), .bound = pool->config->overtake_most};
    uint64_t lacks = seat_lacks(hunt.needy), coming = MIN_OF(lacks, *rooms);
    hunt.wanted = lacks - coming;
    *rooms -= coming;
    if (hunt.wanted == 0)
        return;
    contest_step(&hunt, pool, hunt_idle);
    contest_step(&hunt, pool, hunt_busy);
}

/* Those that wait for room at the backends, the oldest claims first. */
static void contest_supply(struct router *router, const struct supply *supply)
{
    uint64_t beyond = 0, rooms = contest_rooms(router, supply);
    for (int i = 0; i < CONTEST_POOLS; i++) {
        struct pool *pool = waiting_next(router, supply, beyond);
        if (pool == NULL)
            return;
        beyond = pool_oldest(pool);
        contest_for(pool, &rooms);
    }
}

void router_contest(struct waker *waker)
{
    struct router *router = CONTAINER_OF(waker, struct router, contest_waker);
    const struct supply *done = NULL;
    const struct pool *any = NULL;
    router->contested = now();
    LIST_EACH (&router->waiting, it) {
        const struct pool *pool = LIST_ENTRY(it, struct pool, waiting_node);
        if (!pool_lacks_room(pool) || pool_needy(pool) == NULL)
            continue;
        any = pool;
        if (pool->supply != done)
            contest_supply(router, pool->supply);
        done = pool->supply;
    }
    timer_set(&router->contest, any == NULL ? NEVER : after(pool_period(any)));
}

/* --- what comes back
 * ----------------------------------------------------------------------------------- */

/* Whether a pool that competes with this one has waited longer for room than anyone here. */
static bool pool_yields(const struct pool *pool)
{
    uint64_t own = pool_oldest(pool);
    LIST_EACH (&pool->router->waiting, it) {
        const struct pool *other = LIST_ENTRY(it, struct pool, waiting_node);
        bool rival = (other->lack == LACKS_SIZE && other->kin == pool->kin) ||
                     (pool_lacks_room(other) && other->supply == pool->supply);
        if (rival && other != pool && pool_oldest(other) < own)
            return true;
    }
    return false;
}

static void lease_close(struct lease *lease)
{
    lease->how = LEASE_CLOSED;
    lease->end = SLOT_ENDED;
    server_part(lease->server);
    goodbye_begin(lease->pool->router, lease);
}

void lease_pass_on(struct lease *lease, struct seat *from)
{
    struct pool *pool = lease->pool;
    struct router *router = pool->router;
    invariant(from->recalls > 0);
    from->recalls -= 1;
    if (slots_excess(pool->slots) > 0 || pooler_stopping(router->pooler) ||
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
