/*
 * balance.c - grants leases to members, and recalls leases from other members for them.
 *
 * The member with the oldest claim comes first.  A member that lacks a lease gets one from the
 * first of these sources that has one:
 *  1. a new slot at a backend, while sizes and limits allow it;
 *  2. an idle server of another member.  Servers that became idle within an eighth of
 * overtake_limit, the patience, are left alone until the claim has waited for as long: the clients
 * of a busy relay often pause all at once, and would find no server when they go on.  A member
 * without any lease gets its even part of them at once;
 *  3. a busy member whose own oldest claim is younger by more than half of overtake_limit.  It
 * gives up the part of its leases that makes both queues equally long for their leases.  A busy
 * member of an obsolete version gives them up to any older claim of another version. Claim ages
 * change without an event, so they are checked again after a quarter of overtake_limit. Hence a
 * claim is overtaken by no more than overtake_limit and one release.  Within the limit, once in
 * each such period leases move to a member where more claims share a lease, so many that as many
 * claims share a lease on both.
 *
 * Pools that share a limit compete for servers in the same way: see reclaim.c.
 */
#include "fleet/share.h"
#include "machine/clock.h"
#include "machine/log.h"
#include "pool/live_service.h"
#include "pool/outage_parts.h"
#include "pool/pool_parts.h"
#include "pool/router_parts.h"

#include <stdlib.h>

/* The largest number of pools that one walk along a line passes over because they wait for
 * something of their own. */
#define ASIDE_MAX 64

/* The wait from which on claims are logged that obsolete versions hold back, and the pause between
 * two such lines of one pool. */
#define HELD_BACK_MIN   sec(1)
#define HELD_BACK_AGAIN sec(30)

/* How often the spares of a pool are counted: servers become busy without an event here. */
#define SPARES_PERIOD ms(100)

/* --- members that need a lease ---------------------------------------------------------------- */

uint64_t member_queued(const struct member *member)
{
    return hint_read(&member->local->hints.queued);
}

/* Returns when its oldest claim was made, us; UINT64_MAX: none waits. */
uint64_t member_oldest(const struct member *member)
{
    uint64_t oldest = hint_read(&member->local->hints.oldest);
    return oldest == 0 ? UINT64_MAX : oldest;
}

uint64_t member_lacks(const struct member *member)
{
    /* Servers on their way: logins, and live servers that were sent and have not arrived. */
    uint64_t arrived = hint_read(&member->local->hints.arrived);
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

static uint32_t versions_slots(const struct pool_versions *versions)
{
    uint32_t slots = 0;
    LIST_EACH (&versions->pools, it)
        slots += slots_count(LIST_ENTRY(it, struct pool, versions_node)->slots);
    return slots;
}

/* The number of their slots whose servers are not ending. */
static uint32_t versions_lasting(const struct pool_versions *versions)
{
    uint32_t slots = 0;
    LIST_EACH (&versions->pools, it) {
        const struct pool *pool = LIST_ENTRY(it, struct pool, versions_node);
        invariant(pool->ending <= slots_count(pool->slots));
        slots += slots_count(pool->slots) - pool->ending;
    }
    return slots;
}

/* The number of slots that the pool may have without its reserve. */
static uint32_t pool_room(const struct pool *pool)
{
    uint32_t others = versions_slots(pool->versions) - slots_count(pool->slots);
    return pool->route->pool_size > others ? pool->route->pool_size - others : 0;
}

/* Returns how many of the pool's leases are idle, or will be once their logins have ended. */
static uint32_t pool_at_rest(const struct pool *pool)
{
    uint64_t rest = 0;
    LIST_EACH (&pool->members, it) {
        const struct member *member = LIST_ENTRY(it, struct member, node);
        uint64_t idle = hint_read(&member->local->hints.idle) + member->coming;
        uint64_t queued = member_queued(member);
        rest += idle > queued ? MIN_OF(idle - queued, (uint64_t)member->leases) : 0;
    }
    return (uint32_t)rest;
}

/* Returns how many leases the pool wants without a claim: those in use and the spares, at least
 * pool_min. */
static uint32_t pool_wanted(const struct pool *pool)
{
    uint32_t leases = pool_leases(pool), rest = pool_at_rest(pool);
    struct fleet_wants wants = {.claimed = leases - MIN_OF(rest, leases),
                                .spares = pool->route->spares,
                                .min = pool->route->pool_min,
                                .max = pool_room(pool)};
    if (wants.spares == 0) /* pool_min needs no hints */
        wants.claimed = 0;
    return pool->obsolete || pool->route->mode == POOL_SESSION ? 0 : fleet_wanted(&wants);
}

bool pool_wants_more(const struct pool *pool)
{
    if (pool->route->pool_min == 0 && pool->route->spares == 0 && pool->moving == 0)
        return false;
    bool moves = pool->moving > 0 && !pool->obsolete && slots_count(pool->slots) < pool_room(pool);
    return moves || pool_leases(pool) < pool_wanted(pool);
}

struct member *pool_fewest(const struct pool *pool)
{
    struct member *fewest = NULL;
    LIST_EACH (&pool->members, it) {
        struct member *member = LIST_ENTRY(it, struct member, node);
        if (hint_read(&member->local->hints.clients) > 0 &&
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
    struct slot *slot = NULL;
    bool probes = pool->probing && member_lacks(member) == 0;
    fault asked = probes ? slots_probe(pool->slots, now(), &slot) : FAULT_AGAIN;
    pool->probing = pool->probing && !probes;
    if (asked != OK)
        asked = slots_ask(pool->slots, now(), &slot, again);
    return lack_of(asked == OK ? pool_lend(pool, member, slot) : asked);
}

fault pool_lend(struct pool *pool, struct member *member, struct slot *slot)
{
    struct lease *lease = calloc(1, sizeof(*lease));
    if (lease == NULL) {
        slot_closed(&slot, SLOT_ENDED, now());
        return FAULT_MEMORY;
    }
    lease->slot = slot;
    lease->unasked = member_lacks(member) == 0;
    hint_begin(lease, sizeof(*lease));
    const struct backend *backend = slot_backend(lease->slot);
    lease->pool = pool;
    lease->target.address = *backend_address(backend);
    lease->target.host = backend_host(backend);
    lease->fallback = slot_fallback(slot);
    lease->to_relay.deliver = local_pool_lease_came;
    lease->to_router.deliver = router_lease_back;
    lease->report.deliver = router_lease_report;
    lease->ended.deliver = router_lease_ended;
    list_push(&pool->leases, &lease->node);
    pool_hold(pool);
    member->coming += 1;
    lease_send(lease, member);
    return OK;
}

/* --- recalling leases ------------------------------------------------------------------------- */

void member_recall(struct member *member, uint64_t count)
{
    invariant(count > 0 && count <= member_spare(member));
    member->recalls += (uint32_t)count;
    member->recalled = now();
    __atomic_fetch_add(&member->local->hints.recall, count, __ATOMIC_ACQ_REL);
    mail_send(member->local->pools->machine, &member->local->membership.recall);
}

static duration pool_bound(const struct pool *pool)
{
    return (duration){.us = pool->config->overtake_max.us / 2};
}

duration pool_period(const struct pool *pool)
{
    return (duration){.us = pool->config->overtake_max.us / 4};
}

static duration pool_patience(const struct pool *pool)
{
    return (duration){.us = pool->config->overtake_max.us / 8};
}

/* A round of recalls for the member `needy`. */
struct recall {
    const struct member *needy;
    uint64_t leases; /* that the member has, and that were recalled for it */
    uint64_t wanted; /* leases still to recall */
    duration bound;  /* difference of ages from which a busy member must give */
    bool patient;    /* the oldest claim has waited for pool_patience */
    bool may_even;   /* this round may even out queues whose claims are about as old */
};

static void recall_less(struct recall *recall, uint64_t found)
{
    recall->leases += found;
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

/* Returns how many leases must move for as many claims to share a lease here as at the victim.  A
 * member without any gets at least one if no claim waits at the victim. */
static uint64_t recall_even(const struct recall *recall, const struct member *victim)
{
    uint64_t rival = member_queued(victim), spare = member_spare(victim);
    uint64_t ours = member_queued(recall->needy) + recall->leases, theirs = rival + spare;
    uint64_t above = ours * spare, below = theirs * recall->leases;
    uint64_t least = recall->leases == 0 && rival == 0 ? 1 : 0;
    return recall->may_even && above > below ? MAX_OF((above - below) / (ours + theirs), least)
                                             : least;
}

static void recall_take(struct recall *recall, struct member *victim, uint64_t count)
{
    count = MIN_OF(MIN_OF(count, recall->wanted), recall_spare(recall, victim));
    if (count > 0)
        member_recall(victim, count);
    recall_less(recall, count);
}

/* Whether all idle servers of the victim may be recalled: its clients don't merely pause. */
static bool recall_may_empty(const struct recall *recall, const struct member *victim)
{
    const struct pool *pool = recall->needy->pool;
    moment rested = {(int64_t)hint_read(&victim->local->hints.rested)};
    return recall->patient || victim->pool != pool ||
           (rested.us != 0 && later(rested, pool_patience(pool)).us <= now().us);
}

/* Recalls idle servers, and asks the victim's relay to report when a server becomes idle. */
static void recall_idle(struct recall *recall, struct member *victim)
{
    uint64_t idle = hint_read(&victim->local->hints.idle), even = recall_even(recall, victim);
    uint64_t count = idle > victim->recalls ? idle - victim->recalls : 0;
    bool may_empty = recall_may_empty(recall, victim);
    recall->may_even = recall->may_even && (may_empty || count == 0 || even == 0);
    recall_take(recall, victim, may_empty ? count : MIN_OF(count, even));
    if (victim->leases > 0 && (may_empty || recall->needy->leases == 0))
        hint_write(&victim->local->hints.others_wait, 1);
}

/* Whether claims at the victim overtake older ones here for too long.  If none waits there, the
 * next one would. */
static bool recall_is_overtaken(const struct recall *recall, const struct member *victim)
{
    uint64_t theirs = member_oldest(victim), ours = member_oldest(recall->needy);
    if (victim->pool->obsolete)
        return theirs > ours;
    theirs = MIN_OF(theirs, (uint64_t)now().us);
    return theirs > ours && theirs - ours > (uint64_t)recall->bound.us;
}

/* Recalls the part of a busy member's leases that makes both queues equal for their leases. */
static void recall_busy(struct recall *recall, struct member *victim)
{
    uint64_t spare = recall_spare(recall, victim), count = recall_even(recall, victim);
    uint64_t queue = member_queued(recall->needy), rival = member_queued(victim);
    if (recall->wanted == 0 || spare == 0 || queue == 0)
        return;
    if (recall_is_overtaken(recall, victim))
        count = (spare * queue + queue + rival - 1) / (queue + rival);
    recall->may_even = recall->may_even && count == 0;
    recall_take(recall, victim, count);
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
    recall.leases = recall.needy->leases;
    uint64_t oldest = member_oldest(recall.needy);
    recall.patient = oldest != UINT64_MAX &&
                     later((moment){(int64_t)oldest}, pool_patience(pool)).us <= now().us;
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

/* Returns the member for a lease that no claim asks for: up to pool_min, the spares, and one for
 * each connection that was closed to move.  NULL: none is wanted. */
static struct member *pool_unasked(const struct pool *pool)
{
    return pool_wants_more(pool) ? pool_fewest(pool) : NULL;
}

static enum pool_lack pool_fill(struct pool *pool, deadline *again)
{
    enum pool_lack lack = LACKS_NOTHING;
    while (lack == LACKS_NOTHING) {
        struct member *member = pool_needy(pool);
        if (member == NULL)
            member = pool_unasked(pool);
        if (member == NULL)
            break;
        lack = pool_grant(pool, member, again);
        pool->moving -= lack == LACKS_NOTHING && pool->moving > 0 ? 1 : 0;
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
        return slots_lack_primary(pool->slots) ? FULL_PRIMARY
               : slots_lack_role(pool->slots)  ? FULL_ROLE
                                               : FULL_NOTHING;
    }
}

static bool pool_is_connected(const struct pool *pool)
{
    LIST_EACH (&pool->leases, it)
        if (LIST_ENTRY(it, struct lease, node)->connected)
            return true;
    return false;
}

/* Mails each change of the outage to a member once.  Runs whenever the pool is examined, and that
 * is regularly while claims wait. */
static void member_tell_outage(struct member *member, const struct outage *outage, uint64_t number)
{
    if (member->outage == number)
        return;
    struct outage_news *news = malloc(sizeof(*news));
    if (news == NULL)
        return;
    *news =
        (struct outage_news){.mail = {.deliver = local_pool_outage_came}, .local = member->local};
    if (outage != NULL)
        news->outage = *outage;
    member->outage = number;
    mail_send(member->local->pools->machine, &news->mail);
}

/* Writes the hints for the members' relays: the limit that is reached, and how many servers belong
 * to the reserve or stay when idle. */
static void pool_tell(const struct pool *pool)
{
    enum local_pool_full full = full_of(pool);
    uint64_t number;
    const struct outage *outage = live_service_outage(pool->live, &number);
    bool role =
        full == FULL_PRIMARY || (full == FULL_ROLE && pool->route->target != TARGET_DEFAULT);
    bool none = full == FULL_NOTHING || full == FULL_ROLE;
    bool failing = outage != NULL && !role && (none || !pool_is_connected(pool));
    const struct service *service = live_service_service(pool->live);
    bool empty = service_refusal(service) == FLEET_NO_BACKENDS;
    struct service_counts known = {.backends = 0};
    if (failing)
        known = service_count(service);
    uint32_t slots = versions_lasting(pool->versions), size = pool->route->pool_size;
    uint32_t excess = slots > size ? slots - size : 0;
    uint32_t min = pool->obsolete ? 0 : MAX_OF(pool->route->pool_min, pool_wanted(pool));
    LIST_EACH (&pool->members, it) {
        struct member *member = LIST_ENTRY(it, struct member, node);
        struct local_pool *local = member->local;
        uint32_t keep = MIN_OF(min, member->leases), reserve = MIN_OF(excess, member->leases);
        min -= keep;
        excess -= reserve;
        hint_write(&local->hints.full, full);
        hint_write(&local->hints.failing, failing);
        hint_write(&local->hints.empty, empty);
        hint_write(&local->hints.backends, known.backends);
        hint_write(&local->hints.online, known.online);
        member_tell_outage(member, outage, number);
        hint_write(&local->hints.full_at, pool_lacks_room(pool) ? pool->lacks_at->max : 0);
        uint64_t ordinary = reserve > 0 ? member->leases - reserve : ORDINARY_ALL;
        bool more = ordinary < hint_read(&local->hints.ordinary);
        hint_write(&local->hints.ordinary, ordinary);
        hint_write(&local->hints.keep, keep);
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
        hint_read(&needy->local->hints.idle) > 0 && pool_hopes(pool) == 0)
        mail_send(needy->local->pools->machine, &needy->local->membership.recall);
}

/* Logs that claims wait while obsolete versions of the pool hold servers of the common budget. */
static void pool_tell_held_back(struct pool *pool)
{
    uint64_t oldest = pool_oldest(pool), queued = 0;
    uint32_t held = 0;
    if (pool->obsolete || (pool->lack != LACKS_SIZE && !pool_lacks_room(pool)) ||
        oldest == UINT64_MAX || pool->held_back_told.us > now().us)
        return;
    duration waited = between((moment){(int64_t)oldest}, now());
    if (waited.us < HELD_BACK_MIN.us)
        return;
    LIST_EACH (&pool->versions->pools, it) {
        const struct pool *other = LIST_ENTRY(it, struct pool, versions_node);
        held += other->obsolete ? pool_leases(other) : 0;
    }
    if (held == 0)
        return;
    LIST_EACH (&pool->members, it)
        queued += member_queued(LIST_ENTRY(it, struct member, node));
    pool->held_back_told = after(HELD_BACK_AGAIN);
    log_event(LOG_WARNING, "route.held_back", log_text("database", pool->versions->database),
              log_text("user", pool->versions->user), log_number("version", pool->config->version),
              log_number("waiting", queued), log_number("wait_ms", waited.us / 1000),
              log_number("obsolete_servers", held));
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
        again = earlier_of(again, after(pool_patience(pool)));
    }
    pool_tell_held_back(pool);
    if (pool_lacks_room(pool))
        router_reclaim_soon(router);
    if (pool->lack == LACKS_SIZE && pool_reserve_due(pool).us > now().us)
        again = earlier_of(again, pool_reserve_due(pool));
    if (pool->lack == LACKS_MEMORY)
        again = after(ms(100));
    if (pool->route->spares > 0 && pool_fewest(pool) != NULL)
        again = earlier_of(again, after(SPARES_PERIOD));
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

void pool_balance_in_turn(struct pool *pool)
{
    struct cap *cap = pool->caps[CAP_SERVICE];
    const struct pool *first = line_first(&cap->permits);
    if (first != NULL && first != pool && pool_oldest(first) < pool_oldest(pool))
        cap_balance(cap);
    pool_balance(pool);
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
    if (slots_excess(pool->slots) > 0 || router->env->stopping || lease->to_close ||
        lease->fenced || slot_unwanted(lease->slot) || pool_yields(pool)) {
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
