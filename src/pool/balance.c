/*
 * balance.c - grants leases to members, and recalls leases from other members for them.
 *
 * The member with the oldest claim comes first.  A member that lacks a lease gets one from the
 * first of these sources that has one:
 *  1. a new slot at a backend, while sizes and limits allow it;
 *  2. an idle server of another member;
 *  3. a busy member whose own oldest claim is younger by more than half of overtake_limit.  It
 * gives up the part of its leases that makes both queues equally long for their leases. Claim ages
 * change without an event, so they are checked again after a quarter of overtake_limit. Hence a
 * claim is overtaken by no more than overtake_limit and one release.  Within the limit, one lease
 * in each such period moves to a member where more claims share a lease, until no move makes the
 * local pools more even.
 *
 * Pools that share a limit compete for servers in the same way: see reclaim.c.
 */
#include "machine/clock.h"
#include "pool/live_service.h"
#include "pool/pool.h"

#include <stdlib.h>

/* The largest number of pools that one walk along a line passes over because they wait for
 * something of their own. */
#define ASIDE_MAX 64

/* --- members that need a lease ---------------------------------------------------------------- */

uint64_t member_queued(const struct member *member)
{
    return hint_read(&member->local->told.queued);
}

/* Returns when its oldest claim was made, us; UINT64_MAX: none waits. */
uint64_t member_oldest(const struct member *member)
{
    uint64_t oldest = hint_read(&member->local->told.oldest);
    return oldest == 0 ? UINT64_MAX : oldest;
}

uint64_t member_lacks(const struct member *member)
{
    /* Servers on their way: logins, and live servers that were sent and have not arrived. */
    uint64_t arrived = hint_read(&member->local->told.arrived);
    uint64_t expected = member->coming + (member->sent > arrived ? member->sent - arrived : 0);
    uint64_t queued = member_queued(member);
    return queued > expected ? queued - expected : 0;
}

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

/* Returns the member with clients that has the fewest leases if the pool has fewer than pool_min;
 * NULL: none. */
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

/* --- granting leases -------------------------------------------------------------------------- */

static uint32_t versions_slots(const struct pool_versions *versions)
{
    uint32_t slots = 0;
    LIST_EACH (&versions->pools, it)
        slots += slots_count(LIST_ENTRY(it, struct pool, versions_node)->slots);
    return slots;
}

/* Returns when the pool's oldest claim has waited for reserve_after and may use the reserve. */
static deadline pool_reserve_due(const struct pool *pool)
{
    uint64_t oldest = pool_oldest(pool);
    if (pool->route->pool_reserve == 0 || oldest == UINT64_MAX)
        return NEVER;
    return later((deadline){(int64_t)oldest}, pool->route->reserve_after);
}

/* All versions of a pool share one budget of servers. */
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

/* --- recalling leases ------------------------------------------------------------------------- */

void member_recall(struct member *member, uint64_t count)
{
    invariant(count > 0 && count <= member_spare(member));
    member->recalls += (uint32_t)count;
    member->recalled = now();
    __atomic_fetch_add(&member->local->told.recall, count, __ATOMIC_ACQ_REL);
    mail_send(member->local->pools->machine, &member->local->membership.recall);
}

/* A round of recalls for the member `needy`. */
struct recall {
    const struct member *needy;
    uint64_t wanted; /* leases still to recall */
    duration bound;  /* difference of ages from which a busy member must give */
    bool may_even;   /* this round may even out queues whose claims are about as old */
};

static void recall_less(struct recall *recall, uint64_t found)
{
    recall->wanted -= MIN_OF(found, recall->wanted);
}

/* Returns how many leases the victim can be asked for.  Another version of the pool gives leases up
 * only if the pool is at its size, only to an older claim, and only those with an ended residence:
 * else it would get the same lease back at once. */
static uint64_t recall_spare(const struct recall *recall, const struct member *victim)
{
    const struct pool *pool = recall->needy->pool;
    if (victim->pool == pool)
        return member_spare(victim);
    bool yields =
        pool->lack == LACKS_SIZE && member_oldest(recall->needy) < pool_oldest(victim->pool);
    return yields ? member_ripe(victim) : 0;
}

/* Recalls idle servers, and asks the victim's relay to report when a server becomes idle. */
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

/* Whether, after one lease has moved here, at least as many claims would share a lease here as at
 * the victim. */
static bool recall_evens(const struct recall *recall, const struct member *victim)
{
    uint64_t ours = member_queued(recall->needy) + recall->needy->leases;
    uint64_t theirs = member_queued(victim) + victim->leases;
    return recall->may_even && victim->leases > 0 &&
           ours * (victim->leases - 1) >= theirs * (recall->needy->leases + 1);
}

/* Recalls the part of a busy member's leases that makes both queues equal for their leases. */
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

/* Recalls of a member count as hopes for one pool_period only.  A member that has not answered by
 * then is in long transactions, and other members are asked instead. */
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

/* Recalls leases from members of all versions of the pool: at most one for each claim of the needy
 * member that no server is on its way for. */
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
        const struct pool *other = LIST_ENTRY(it, struct pool, versions_node);
        recall_less(&recall, pool_hopes(other));
    }
    LIST_EACH (&pool->versions->pools, it)
        recall_pool(&recall, LIST_ENTRY(it, struct pool, versions_node), recall_idle);
    LIST_EACH (&pool->versions->pools, it)
        recall_pool(&recall, LIST_ENTRY(it, struct pool, versions_node), recall_busy);
}

/* Recalls leases beyond a lowered limit, so that their servers are closed. */
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

/* Writes the hints for the members' relays: the limit that is reached, and how many servers belong
 * to the reserve or stay when idle. */
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
        if (more) /* servers that are idle already must be closed earlier now */
            mail_send(local->pools->machine, &local->membership.recall);
    }
}

/* Tells the needy member of a session pool that the pool is full.  Its idle servers have other
 * startup parameters than its claims, so it must close one of them. */
static void pool_tell_needy(const struct pool *pool)
{
    const struct member *needy = pool_needy(pool);
    bool full = pool->lack == LACKS_SIZE || pool_lacks_room(pool);
    if (full && needy != NULL && pool->route->mode == POOL_SESSION &&
        hint_read(&needy->local->told.idle) > 0 && pool_hopes(pool) == 0)
        mail_send(needy->local->pools->machine, &needy->local->membership.recall);
}

/* Whether other members, of any version of the pool, have leases for its needy member. */
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

/* --- balance of several pools ----------------------------------------------------------------- */

/* Returns the pool with the oldest claim of those that wait under a cap for room or a permit. */
static struct pool *cap_first(struct cap *cap)
{
    struct pool *room = line_first(&cap->room), *permit = line_first(&cap->permits);
    if (room == NULL || permit == NULL)
        return room == NULL ? permit : room;
    return room->place.key <= permit->place.key ? room : permit;
}

/* Whether the pool waits for the end of a pause of its own, so that others may go first. */
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

/* Returns the version of the pool with the oldest claim; NULL: no claim lacks a server. */
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

/* Balances the pool with the oldest claim first, so that the pool that gave the server up can't
 * reclaim it at once. */
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

/* --- servers that come back ------------------------------------------------------------------- */

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
