/*
 * balance.c - who gets a lease, and from whom one is called back.
 *
 * By the age of the oldest claims.  A member that lacks a lease takes one, in this order: of the
 * backends, while sizes and limits allow it; an idle server of another member; and of a member that
 * is busy but whose own oldest claim is younger by more than half of overtake_limit, the part of
 * its leases that belongs to the longer queue.  What can change while nobody says so, the ages, is
 * looked at again after a quarter of overtake_limit: so a claim is overtaken by no more than that
 * limit and one release.  Within the limit one lease at a time, once in such a period, goes where
 * more claims share one, until no move makes the local pools more even.
 *
 * Where a limit stops a pool that it shares with others, pools compete in the same way: reclaim.c.
 */
#include "machine/clock.h"
#include "pool/live_service.h"
#include "pool/pool.h"

#include <stdlib.h>

/* Pools that something of their own holds up, passed over in one walk along a line. */
#define ASIDE_MAX 64

/* --- who needs one ---------------------------------------------------------------------------- */

uint64_t member_queued(const struct member *member)
{
    return hint_read(&member->local->told.queued);
}

/* Since when its oldest claim waits; UINT64_MAX: none does. */
uint64_t member_oldest(const struct member *member)
{
    uint64_t oldest = hint_read(&member->local->told.oldest);
    return oldest == 0 ? UINT64_MAX : oldest;
}

/* Claims beyond the servers that are on their way to it. */
uint64_t member_lacks(const struct member *member)
{
    uint64_t arrived = hint_read(&member->local->told.arrived);
    uint64_t expected = member->coming + (member->sent > arrived ? member->sent - arrived : 0);
    uint64_t queued = member_queued(member);
    return queued > expected ? queued - expected : 0;
}

/* Leases that may be called back. */
uint32_t member_spare(const struct member *member)
{
    uint32_t taken = member->coming + member->recalls;
    return member->leases > taken ? member->leases - taken : 0;
}

uint32_t pool_leases(const struct pool *pool)
{
    uint32_t leases = 0;
    LIST_EACH (&pool->members, it)
        leases += LIST_ENTRY(it, struct member, node)->leases;
    return leases;
}

/* The member that lacks a lease and whose claim has waited longest; NULL: none. */
struct member *pool_needy(const struct pool *pool)
{
    struct member *needy = NULL;
    LIST_EACH (&pool->members, it) {
        struct member *member = LIST_ENTRY(it, struct member, node);
        if (member_lacks(member) > 0 &&
            (needy == NULL || member_oldest(member) < member_oldest(needy)))
            needy = member;
    }
    return needy;
}

bool pool_wants_min(const struct pool *pool)
{
    return !pool->obsolete && pool->route->mode != POOL_SESSION &&
           pool_leases(pool) < pool->route->pool_min;
}

/* While the pool is below its least: the member with clients that has the fewest. */
static struct member *pool_below_min(const struct pool *pool)
{
    struct member *fewest = NULL;
    if (!pool_wants_min(pool))
        return NULL;
    LIST_EACH (&pool->members, it) {
        struct member *member = LIST_ENTRY(it, struct member, node);
        if (hint_read(&member->local->told.clients) > 0 &&
            (fewest == NULL || member->leases < fewest->leases))
            fewest = member;
    }
    return fewest;
}

uint64_t pool_oldest(const struct pool *pool)
{
    const struct member *needy = pool_needy(pool);
    return needy == NULL ? UINT64_MAX : member_oldest(needy);
}

/* --- giving leases ---------------------------------------------------------------------------- */

static uint32_t versions_slots(const struct pool_versions *versions)
{
    uint32_t slots = 0;
    LIST_EACH (&versions->pools, it)
        slots += slots_count(LIST_ENTRY(it, struct pool, versions_node)->slots);
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
    uint32_t slots = versions_slots(pool->versions), size = pool->route->pool_size;
    if (slots < size)
        return false;
    return slots >= size + pool->route->pool_reserve || pool_reserve_due(pool).us > now().us;
}

static void lease_send(struct lease *lease, struct member *member)
{
    lease->local = member->local;
    member->leases += 1;
    mail_send(member->local->pools->machine, &lease->to_relay);
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

static enum pool_lack pool_grant(struct pool *pool, struct member *member, deadline *again)
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
    lease->sole = service_backends(live_service_service(pool->live)) == 1;
    lease->to_relay.deliver = local_pool_lease_came;
    lease->to_router.deliver = router_lease_back;
    lease->report.deliver = router_lease_report;
    list_push(&pool->leases, &lease->node);
    pool_hold(pool);
    member->coming += 1;
    lease_send(lease, member);
    return LACKS_NOTHING;
}

/* --- calling leases back ---------------------------------------------------------------------- */

void member_recall(struct member *member, uint64_t count)
{
    invariant(count > 0 && count <= member_spare(member));
    member->recalls += (uint32_t)count;
    member->recalled = now();
    __atomic_fetch_add(&member->local->told.recall, count, __ATOMIC_ACQ_REL);
    mail_send(member->local->pools->machine, &member->local->membership.recall);
}

/* On whose behalf leases are called back, and how many more. */
struct recall {
    const struct member *needy;
    uint64_t wanted;
    duration bound;
    bool may_even; /* once in a while, between claims that are about as old */
};

static void recall_less(struct recall *recall, uint64_t found)
{
    recall->wanted -= MIN_OF(found, recall->wanted);
}

/* What it may be asked for.  Another version of the pool gives one up only where that makes room,
 * to an older claim, and when it has had it for long: else it gets the same one back at once. */
static uint64_t recall_spare(const struct recall *recall, const struct member *victim)
{
    const struct pool *pool = recall->needy->pool;
    if (victim->pool == pool)
        return member_spare(victim);
    bool yields =
        pool->lack == LACKS_SIZE && member_oldest(recall->needy) < pool_oldest(victim->pool);
    return yields ? member_ripe(victim) : 0;
}

/* Idle servers; and when there are none, its relay says so when there is one. */
static void recall_idle(struct recall *recall, struct member *victim)
{
    uint64_t idle = hint_read(&victim->local->told.idle);
    uint64_t count = idle > victim->recalls ? idle - victim->recalls : 0;
    count = MIN_OF(MIN_OF(count, recall->wanted), recall_spare(recall, victim));
    if (count > 0)
        member_recall(victim, count);
    recall_less(recall, count);
    if (victim->leases > 0)
        hint_write(&victim->local->told.hungry, 1);
}

/* Whether more claims would share a lease here than there even after one has moved. */
static bool recall_evens(const struct recall *recall, const struct member *victim)
{
    uint64_t ours = member_queued(recall->needy) + recall->needy->leases;
    uint64_t theirs = member_queued(victim) + victim->leases;
    return recall->may_even && victim->leases > 0 &&
           ours * (victim->leases - 1) >= theirs * (recall->needy->leases + 1);
}

/* The part of a busy member's leases that would make both queues equally long for their leases. */
static void recall_busy(struct recall *recall, struct member *victim)
{
    uint64_t theirs = member_oldest(victim), ours = member_oldest(recall->needy);
    uint64_t spare = recall_spare(recall, victim);
    uint64_t queue = member_queued(recall->needy), rival = member_queued(victim);
    if (recall->wanted == 0 || spare == 0 || queue == 0)
        return;
    uint64_t count = 1;
    if (theirs == UINT64_MAX)
        count = spare;
    else if (theirs > ours && theirs - ours > (uint64_t)recall->bound.us)
        count = (spare * queue + queue + rival - 1) / (queue + rival);
    else if (!recall_evens(recall, victim))
        return;
    recall->may_even = false;
    count = MIN_OF(MIN_OF(count, spare), recall->wanted);
    member_recall(victim, count);
    recall_less(recall, count);
}

static void recall_pool(struct recall *recall, const struct pool *pool,
                        void (*step)(struct recall *recall, struct member *victim))
{
    LIST_EACH (&pool->members, it) {
        struct member *member = LIST_ENTRY(it, struct member, node);
        if (member != recall->needy)
            step(recall, member);
    }
}

static uint32_t pool_recalls(const struct pool *pool)
{
    uint32_t recalls = 0;
    LIST_EACH (&pool->members, it)
        recalls += LIST_ENTRY(it, struct member, node)->recalls;
    return recalls;
}

static duration pool_bound(const struct pool *pool)
{
    return (duration){.us = pool->config->overtake_max.us / 2};
}

duration pool_period(const struct pool *pool)
{
    return (duration){.us = pool->config->overtake_max.us / 4};
}

/* Recalls that may soon be answered.  A member that has not answered for so long is in long
 * transactions: others are asked instead of waiting for it. */
uint32_t pool_hopes(const struct pool *pool)
{
    uint32_t hopes = pool->ending;
    LIST_EACH (&pool->members, it) {
        const struct member *member = LIST_ENTRY(it, struct member, node);
        if (later(member->recalled, pool_period(pool)).us > now().us)
            hopes += member->recalls;
    }
    return hopes;
}

/* From the members of the pool's own kin: for each claim that nothing will serve, at most one. */
static void pool_recall(struct pool *pool)
{
    struct recall recall = {.needy = pool_needy(pool), .bound = pool_bound(pool)};
    if (recall.needy == NULL)
        return;
    recall.may_even = pool->evened.us + pool_period(pool).us <= now().us;
    if (recall.may_even)
        pool->evened = now();
    recall.wanted = member_lacks(recall.needy);
    LIST_EACH (&pool->versions->pools, it) {
        const struct pool *versions = LIST_ENTRY(it, struct pool, versions_node);
        recall_less(&recall, pool_hopes(versions));
    }
    LIST_EACH (&pool->versions->pools, it)
        recall_pool(&recall, LIST_ENTRY(it, struct pool, versions_node), recall_idle);
    LIST_EACH (&pool->versions->pools, it)
        recall_pool(&recall, LIST_ENTRY(it, struct pool, versions_node), recall_busy);
}

/* More slots than a lowered limit allows: called back to be closed. */
static void pool_recall_excess(struct pool *pool)
{
    uint32_t excess = slots_excess(pool->slots);
    uint32_t under_way = pool_recalls(pool) + pool->ending;
    LIST_EACH (&pool->members, it) {
        struct member *member = LIST_ENTRY(it, struct member, node);
        uint32_t more = excess > under_way ? MIN_OF(excess - under_way, member_spare(member)) : 0;
        if (more > 0)
            member_recall(member, more);
        under_way += more;
    }
}

/* --- balance of one pool ---------------------------------------------------------------------- */

static enum pool_lack pool_fill(struct pool *pool, deadline *again)
{
    enum pool_lack lack = LACKS_NOTHING;
    while (lack == LACKS_NOTHING) {
        struct member *member = pool_needy(pool);
        if (member == NULL)
            member = pool_below_min(pool);
        if (member == NULL)
            break;
        lack = pool_grant(pool, member, again);
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
    uint32_t slots = versions_slots(pool->versions), size = pool->route->pool_size;
    uint32_t excess = slots > size ? slots - size : 0;
    uint32_t min = pool->obsolete ? 0 : pool->route->pool_min;
    LIST_EACH (&pool->members, it) {
        struct member *member = LIST_ENTRY(it, struct member, node);
        struct local_pool *local = member->local;
        uint32_t keep = MIN_OF(min, member->leases), reserve = MIN_OF(excess, member->leases);
        min -= keep;
        excess -= reserve;
        hint_write(&local->told.full, full);
        hint_write(&local->told.full_at, pool_lacks_room(pool) ? pool->lacks_at->max : 0);
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
    const struct member *needy = pool_needy(pool);
    bool full = pool->lack == LACKS_SIZE || pool_lacks_room(pool);
    if (full && needy != NULL && pool->route->mode == POOL_SESSION &&
        hint_read(&needy->local->told.idle) > 0 && pool_hopes(pool) == 0)
        mail_send(needy->local->pools->machine, &needy->local->membership.recall);
}

/* Others of its kin have leases that it could get, as time passes. */
static bool pool_competes(const struct pool *pool)
{
    const struct member *needy = pool_needy(pool);
    uint32_t leases = 0;
    if (needy == NULL)
        return false;
    LIST_EACH (&pool->versions->pools, it)
        leases += pool_leases(LIST_ENTRY(it, struct pool, versions_node));
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
        router_reclaim_soon(router);
    if (pool->lack == LACKS_SIZE && pool_reserve_due(pool).us > now().us)
        again = earlier_of(again, pool_reserve_due(pool));
    if (pool->lack == LACKS_MEMORY)
        again = after(ms(100));
    timer_set(&pool->timer, again);
    live_service_check(pool->live);
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
    for (struct pool *pool; (pool = cap_first(cap)) != NULL && aside.count < ASIDE_MAX;) {
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
static struct pool *versions_neediest(const struct pool_versions *versions)
{
    struct pool *neediest = NULL;
    LIST_EACH (&versions->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, versions_node);
        uint64_t oldest = pool_oldest(pool);
        if (oldest != UINT64_MAX && (neediest == NULL || oldest < pool_oldest(neediest)))
            neediest = pool;
    }
    return neediest;
}

/* The oldest claim goes first, lest the pool that was to give something up takes it back. */
void router_balance(struct router *router, const struct pool *pool)
{
    struct pool_versions *versions = pool->versions;
    struct cap *const caps[CAPS] = {pool->caps[0], pool->caps[1], pool->caps[2], pool->caps[3]};
    struct pool *own = versions_neediest(versions), *other = NULL;
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
    LIST_EACH (&versions->pools, it)
        pool_balance(LIST_ENTRY(it, struct pool, versions_node));
    for (int i = 0; i < CAPS; i++)
        cap_balance(caps[i]);
}

/* --- what comes back -------------------------------------------------------------------------- */

void lease_pass_on(struct lease *lease, struct member *from)
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
    struct member *to = pool_needy(pool);
    if (to == NULL)
        to = from;
    to->sent += 1;
    lease_send(lease, to);
    router_balance(router, pool);
}
