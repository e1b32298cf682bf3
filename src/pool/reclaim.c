/*
 * reclaim.c - closes servers of pools under a cap, to make room for pools whose claims wait longer.
 *
 * A reclaim closes a server of one pool so that another pool can log in one, which costs a login.
 * Two rules keep pools from reclaiming the same room from each other all the time.  A new server is
 * left alone for `overtake_limit`, its residence; that of an obsolete version of a route is not.  A
 * claim must have waited for `overtake_limit` too, unless the server to be closed has been idle for
 * that long.  Hence, in any such period, at most as many servers are closed as the cap allows,
 * whatever the number of pools; and every pool gets its share, the oldest claim first.
 */
#include "machine/clock.h"
#include "machine/log.h"
#include "pool/closing.h"
#include "pool/pool_parts.h"
#include "pool/server.h"

/* The shortest pause between two runs of router_reclaim, and the number of pools per cap that one
 * run serves: those that wait longest. */
#define RECLAIM_PAUSE     ms(1)
#define RECLAIM_POOLS_MAX 8

bool pool_lacks_room(const struct pool *pool)
{
    return pool->lack == LACKS_ROOM || pool->lack == LACKS_CROWD;
}

/* --- residence -------------------------------------------------------------------------------- */

/* Servers of an obsolete version have no residence: the version gets its budget back only by age,
 * so each server that it releases goes to an older claim of another version or pool at once. */
static duration pool_residence(const struct pool *pool)
{
    return pool->obsolete ? ms(0) : pool->config->overtake_max;
}

static bool lease_ripe(const struct lease *lease)
{
    deadline ripe = later(lease->since, pool_residence(lease->pool));
    return lease->connected && ripe.us <= now().us;
}

uint32_t member_ripe(const struct member *member)
{
    uint32_t ripe = 0;
    LIST_EACH (&member->pool->leases, it) {
        const struct lease *lease = LIST_ENTRY(it, struct lease, node);
        ripe += lease->local == member->local && lease_ripe(lease) ? 1 : 0;
    }
    uint32_t spare = member_spare(member);
    ripe = ripe > member->recalls ? ripe - member->recalls : 0;
    return MIN_OF(ripe, spare);
}

/* --- pools that give servers up --------------------------------------------------------------- */

/* A reclaim for the member `needy`. */
struct reclaim {
    const struct member *needy;
    uint64_t wanted; /* leases still to recall */
    bool patient;    /* its oldest claim has waited for overtake_limit */
};

static void reclaim_take(struct reclaim *reclaim, struct member *victim, uint64_t count)
{
    count = MIN_OF(MIN_OF(count, reclaim->wanted), member_ripe(victim));
    if (count == 0)
        return;
    member_recall(victim, count);
    reclaim->wanted -= count;
}

/* Recalls idle servers.  For a claim that has waited for long, the victim's relay also reports when
 * a server becomes idle. */
static void reclaim_idle(struct reclaim *reclaim, struct member *victim)
{
    uint64_t idle = hint_read(&victim->local->hints.idle);
    uint64_t rested = hint_read(&victim->local->hints.rested);
    uint64_t count = idle > victim->recalls ? idle - victim->recalls : 0;
    moment long_ago = later((deadline){(int64_t)rested}, pool_residence(victim->pool));
    if (!reclaim->patient && (rested == 0 || long_ago.us > now().us))
        return;
    if (!reclaim->patient) /* the hint tells about the longest idle server only */
        count = MIN_OF(count, 1u);
    reclaim_take(reclaim, victim, count);
    if (reclaim->patient && victim->leases > 0)
        hint_write(&victim->local->hints.others_wait, 1);
}

/* Recalls the part of a busy member's servers that makes both queues equally long for their
 * servers, if the member's own claims are younger by more than a residence. */
static void reclaim_busy(struct reclaim *reclaim, struct member *victim)
{
    uint64_t theirs = member_oldest(victim), ours = member_oldest(reclaim->needy);
    uint64_t queue = member_queued(reclaim->needy), rival = member_queued(victim);
    uint64_t spare = member_spare(victim);
    if (!reclaim->patient || queue == 0 || spare == 0)
        return;
    if (theirs == UINT64_MAX)
        reclaim_take(reclaim, victim, spare);
    else if (theirs > ours && theirs - ours > (uint64_t)pool_residence(victim->pool).us)
        reclaim_take(reclaim, victim, (spare * queue + queue + rival - 1) / (queue + rival));
}

/* Whether a server less of this pool is room under the cap for `needy`.  At a service it must be at
 * a backend that `needy` may use: a standby's does not help a pool that needs the primary. */
static bool reclaim_helps(const struct cap *cap, const struct pool *needy, const struct pool *pool)
{
    return pool != needy &&
           (cap->kind != CAP_SERVICE || slots_blocked_by(needy->slots, pool->slots));
}

/* Applies `step` to the members of all other pools under the cap.  A pool that gives servers up
 * moves to the end of the list, so that others give the next time. */
static void reclaim_step(struct reclaim *reclaim, struct cap *cap, const struct pool *needy,
                         void (*step)(struct reclaim *reclaim, struct member *victim))
{
    struct node *last = list_last(&cap->holders);
    for (struct node *it = list_first(&cap->holders), *next; it != NULL && reclaim->wanted > 0;
         it = next) {
        struct pool *pool = LIST_ENTRY(it, struct holding, node)->pool;
        uint64_t wanted = reclaim->wanted;
        next = it == last ? NULL : it->next;
        if (!reclaim_helps(cap, needy, pool))
            continue;
        LIST_EACH (&pool->members, at)
            if (reclaim->wanted > 0)
                step(reclaim, LIST_ENTRY(at, struct member, node));
        if (reclaim->wanted == wanted)
            continue;
        list_remove(&cap->holders, it);
        list_push(&cap->holders, it);
    }
}

/* --- pools that lack room --------------------------------------------------------------------- */

/* Returns how much room will soon be made under the cap by recalls under way and by servers that
 * are ending.  The pools that wait longest get it. */
static uint64_t cap_hopes(const struct cap *cap)
{
    uint64_t rooms = 0;
    LIST_EACH (&cap->holders, it)
        rooms += pool_hopes(LIST_ENTRY(it, struct holding, node)->pool);
    return rooms;
}

/* Reclaims servers of the other pools under the cap for one pool, except for the room in `*rooms`
 * that is coming, which it uses up. */
static void reclaim_for(struct cap *cap, struct pool *pool, uint64_t *rooms)
{
    struct reclaim reclaim = {.needy = pool_needy(pool)};
    if (reclaim.needy == NULL)
        return;
    uint64_t lacks = member_lacks(reclaim.needy), coming = MIN_OF(lacks, *rooms);
    uint64_t oldest = member_oldest(reclaim.needy); /* a hint: the claim may not wait any more */
    reclaim.wanted = lacks - coming;
    reclaim.patient = oldest != UINT64_MAX &&
                      later((deadline){(int64_t)oldest}, pool->config->overtake_max).us <= now().us;
    *rooms -= coming;
    reclaim_step(&reclaim, cap, pool, reclaim_idle);
    reclaim_step(&reclaim, cap, pool, reclaim_busy);
}

/* Reclaims servers for the pools that lack room under a cap, the oldest claims first. */
static void reclaim_under(struct cap *cap)
{
    struct pool *first[RECLAIM_POOLS_MAX];
    uint64_t rooms = cap_hopes(cap);
    size_t count = 0;
    while (count < ARRAY_SIZE(first)) {
        struct pool *pool = line_first(&cap->room);
        if (pool == NULL)
            break;
        invariant(pool->line == &cap->room && pool->lacks_at == cap);
        heap_remove(&cap->room, &pool->place);
        first[count++] = pool;
        reclaim_for(cap, pool, &rooms);
    }
    for (size_t i = 0; i < count; i++)
        heap_push(&cap->room, &first[i]->place, first[i]->place.key);
}

void router_reclaim(struct waker *waker)
{
    struct router *router = CONTAINER_OF(waker, struct router, reclaim_waker);
    router->reclaimed = now();
    bool any = false;
    LIST_EACH (&router->reclaims, it) {
        struct cap *cap = LIST_ENTRY(it, struct cap, node);
        any |= line_first(&cap->room) != NULL;
        reclaim_under(cap);
    }
    duration period = {.us = router->config->overtake_max.us / 4};
    timer_set(&router->reclaim, any ? after(period) : NEVER);
}

void router_reclaim_soon(struct router *router)
{
    timer_set(&router->reclaim,
              earlier_of((deadline){router->reclaim.due}, later(router->reclaimed, RECLAIM_PAUSE)));
}

/* --- servers that come back ------------------------------------------------------------------- */

/* Whether a competing pool or version has an older claim than this pool. */
static bool pool_has_rival(const struct pool *pool)
{
    uint64_t own = pool_oldest(pool);
    LIST_EACH (&pool->versions->pools, it) {
        const struct pool *other = LIST_ENTRY(it, struct pool, versions_node);
        if (other != pool && other->lack == LACKS_SIZE && pool_oldest(other) < own)
            return true;
    }
    for (int i = 0; i < CAPS; i++) {
        const struct pool *first = line_first(&pool->caps[i]->room);
        if (first != NULL && first != pool && pool_oldest(first) < own)
            return true;
    }
    return false;
}

static struct lease *pool_ripe_lease(const struct pool *pool)
{
    LIST_EACH (&pool->leases, it) {
        struct lease *lease = LIST_ENTRY(it, struct lease, node);
        if (lease_ripe(lease))
            return lease;
    }
    return NULL;
}

bool pool_yields(const struct pool *pool)
{
    return pool_has_rival(pool) && pool_ripe_lease(pool) != NULL;
}

/* Swaps the residences of two leases.  The server that came back need not be one whose residence is
 * over: then a server that stays takes over the rest of its residence. */
static void lease_swap_residence(struct lease *lease)
{
    struct lease *ripe = lease_ripe(lease) ? NULL : pool_ripe_lease(lease->pool);
    if (ripe == NULL)
        return;
    moment since = ripe->since;
    ripe->since = lease->since;
    lease->since = since;
}

void lease_close(struct lease *lease)
{
    struct pool *pool = lease->pool;
    lease_swap_residence(lease);
    log_event(LOG_INFO, "server.evicted", log_id("server", &lease->server->id),
              log_text("database", pool->versions->database),
              log_text("user", pool->versions->user), log_number("server_pid", lease->server->pid));
    lease->how = LEASE_CLOSED;
    lease->end = SLOT_ENDED;
    lease->closer = lease->local->pools;
    lease->to_relay.deliver = closing_ordered;
    pool->ending += 1;
    mail_send(lease->closer->machine, &lease->to_relay);
}
