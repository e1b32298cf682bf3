#include "pool/failover_parts.h"

#include "flight/flight_env.h"
#include "machine/clock.h"
#include "machine/log.h"
#include "pool/live_service.h"
#include "pool/pool_parts.h"
#include "pool/router_parts.h"

#include <stdlib.h>

void failover_init(struct failover *failover, struct router *router, struct live_service *live)
{
    *failover = (struct failover){.router = router, .live = live};
}

/* --- transactions that an old primary has completed ------------------------------------------- */

static uint64_t member_completed(const struct member *member)
{
    return hint_read(&member->local->stats.transactions);
}

/* Sums up the transactions of the pools that need the primary.  The relays add to these counts all
 * the time: an estimate. */
static uint64_t failover_sum(const struct failover *failover)
{
    uint64_t sum = failover->ended;
    LIST_EACH (&failover->router->pools, it) {
        const struct pool *pool = LIST_ENTRY(it, struct pool, node);
        if (pool->live != failover->live || !slots_need_primary(pool->slots))
            continue;
        LIST_EACH (&pool->members, at)
            sum += member_completed(LIST_ENTRY(at, struct member, node));
    }
    return sum;
}

void failover_leave(struct failover *failover, const struct member *member)
{
    if (slots_need_primary(member->pool->slots))
        failover->ended += member_completed(member);
}

/* Notes what was completed when the elected backend was asked for its position. */
static void failover_mark_position(struct failover *failover, const struct backend_sample *sample,
                                   uint64_t sum)
{
    const struct failover_mark *latest =
        &failover->marks[(failover->marked + FAILOVER_MARKS - 1) % FAILOVER_MARKS];
    if (failover->marked == 0 || latest->asked.us != sample->asked.us)
        failover->marks[failover->marked++ % FAILOVER_MARKS] =
            (struct failover_mark){sample->asked, sample->inserted, sum};
}

/* Notes the position of a replica. */
static void failover_see(struct failover *failover, const struct primary_candidate *replica)
{
    size_t i = 0;
    while (i < FAILOVER_SEEN && failover->seen[i].backend != replica->backend)
        i++;
    if (i == FAILOVER_SEEN)
        i = failover->seen_next++ % FAILOVER_SEEN;
    failover->seen[i] = (struct failover_seen){replica->backend, replica->sample.position};
}

static void failover_count(struct failover *failover, const struct primary_candidate *all,
                           size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!all[i].sampled)
            continue;
        if (all[i].sample.replica)
            failover_see(failover, &all[i]);
        else if (all[i].backend == failover->granted)
            failover_mark_position(failover, &all[i].sample, failover_sum(failover));
    }
}

/* Returns how many transactions the old primary may have completed that the new one does not have:
 * all since the old one's position was certainly not beyond what the new one had replayed when it
 * was last seen as a replica; if no position that is remembered shows that, all since its election.
 */
static uint64_t failover_late(const struct failover *failover)
{
    uint64_t has = 0, since = failover->before;
    for (size_t i = 0; i < FAILOVER_SEEN; i++)
        if (failover->seen[i].backend == failover->primary.backend)
            has = failover->seen[i].position;
    /* What was completed when a position came back is more than when it was asked for; the mark
     * before it is less. */
    uint64_t first = failover->marked > FAILOVER_MARKS ? failover->marked - FAILOVER_MARKS : 0;
    for (uint64_t i = first; i + 1 < failover->marked; i++)
        if (failover->marks[(i + 1) % FAILOVER_MARKS].position <= has)
            since = failover->marks[i % FAILOVER_MARKS].completed;
    uint64_t sum = failover_sum(failover);
    return sum < since ? 0 : sum - since;
}

/* --- the fence -------------------------------------------------------------------------------- */

/* The number of a fence that no grant waits for. */
#define UNCOUNTED UINT64_MAX

/* Changes what is in memory of a service whose writers are all inside.  Again when the fence is
 * complete: the old primary may have answered until then. */
static void failover_end_inside(const struct failover *failover)
{
    const struct flight_env *flight = failover->router->env->flight;
    if (flight != NULL)
        insides_change(flight->insides, span_text(live_service_settings(failover->live)->name));
}

/* Ends the validity of all strict answers: another server will execute from now on. */
static void failover_end_answers(const struct failover *failover)
{
    const struct flight_env *flight = failover->router->env->flight;
    if (flight != NULL)
        origins_change(flight->origins, span_text(live_service_settings(failover->live)->name));
    failover_end_inside(failover);
}

/* Tells a member to end the servers of its fenced leases.  Its envelope may be under way: then it
 * is told again when that has come back. */
static void member_fence(struct member *member, uint64_t fence)
{
    struct local_pool *local = member->local;
    if (member->fence != 0) {
        member->fence_again = true;
        return;
    }
    member->fence = fence;
    local->membership.fence.deliver = local_pool_fenced;
    mail_send(local->pools->machine, &local->membership.fence);
}

/* Whether the connection of this lease must end.  It must if its backend has been replaced, if it
 * was made before the backend's address moved to another server, or if the pool needs the primary
 * and the backend is neither the next primary nor another address of that server. */
static bool lease_is_cut(const struct failover *failover, const struct lease *lease)
{
    const struct backend *backend = slot_backend(lease->slot);
    const struct backend *next =
        service_backend(live_service_service(failover->live), failover->primary.backend);
    if (backend_replaced(backend) || slot_before_move(lease->slot))
        return true;
    if (!slots_need_primary(lease->pool->slots) || backend == next)
        return false;
    return next == NULL || !backend_same_server(backend, next);
}

static bool pool_fence(const struct failover *failover, struct pool *pool)
{
    bool any = false;
    LIST_EACH (&pool->leases, it) {
        struct lease *lease = LIST_ENTRY(it, struct lease, node);
        if (!lease_is_cut(failover, lease))
            continue;
        __atomic_store_n(&lease->fenced, true, __ATOMIC_RELAXED);
        any = true;
    }
    return any;
}

/* Returns how many answers with this number are to come. */
static uint32_t failover_fence(struct failover *failover, uint64_t number)
{
    uint32_t sent = 0;
    failover_end_answers(failover);
    LIST_EACH (&failover->router->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        if (pool->live != failover->live || !pool_fence(failover, pool))
            continue;
        LIST_EACH (&pool->members, at) {
            struct member *member = LIST_ENTRY(at, struct member, node);
            if (member->leases == 0)
                continue;
            member_fence(member, number);
            sent += 1;
        }
    }
    return sent;
}

void router_fenced(struct mail *mail)
{
    struct local_pool *local = CONTAINER_OF(mail, struct local_pool, membership.fence);
    struct member *member = local->membership.member;
    struct failover *failover = live_service_failover(member->pool->live);
    uint64_t answered = member->fence;
    member->fence = 0;
    if (member->fence_again) {
        member->fence_again = false;
        member_fence(member, failover->primary.fence);
        return;
    }
    failover_answered(failover, answered);
}

/* --- acting on a decision --------------------------------------------------------------------- */

static void failover_tell(const struct failover *failover, uint64_t late)
{
    const struct primary *primary = &failover->primary;
    const char *name = live_service_settings(failover->live)->name;
    const struct backend *backend =
        service_backend(live_service_service(failover->live), primary->backend);
    int64_t fence_ms = between(failover->fenced, now()).us / 1000;
    char at[ADDRESS_TEXT_SIZE] = "";
    if (primary->state == PRIMARY_NONE)
        log_event(LOG_ERR, "primary.none", log_text("service", name),
                  log_number("timeline", primary->line), log_number("fence_ms", fence_ms));
    if (primary->state == PRIMARY_CONTESTED)
        log_event(LOG_ERR, "primary.contested", log_text("service", name),
                  log_number("fence_ms", fence_ms));
    if (primary->state == PRIMARY_ELECTED)
        log_event(
            LOG_NOTICE, "primary.elected", log_text("service", name),
            log_text("backend",
                     backend == NULL ? at : address_text(backend_address(backend), at, sizeof(at))),
            log_number("timeline", primary->line), log_number("epoch", (int64_t)primary->epoch),
            log_number("fence_ms", fence_ms), log_number("late_transactions", (int64_t)late));
}

/* Whether the server that is elected now differs from the one elected before. */
static bool failover_is_another(const struct failover *failover, const struct backend *elected)
{
    struct primary_candidate claim;
    if (failover->granted == 0 || elected == NULL)
        return false;
    (void)backend_claim(elected, &claim);
    if (sample_same_server(&claim.sample, &failover->last))
        return false;
    return failover->moved.us != failover->primary.moved.us ||
           failover->granted != failover->primary.backend;
}

/* Keeps what the next election is compared with. */
static void failover_grant(struct failover *failover, const struct backend *elected)
{
    struct primary_candidate claim = {.backend = 0};
    if (elected != NULL)
        (void)backend_claim(elected, &claim);
    failover->last = claim.sample;
    failover->granted = failover->primary.backend;
    failover->moved = failover->primary.moved;
    failover->before = failover_sum(failover);
    failover->marked = 0;
}

/* The fence is complete: slots are granted at the elected backend, if there is one. */
static void failover_settle(struct failover *failover)
{
    struct service *service = live_service_service(failover->live);
    bool elected = failover->primary.state == PRIMARY_ELECTED;
    failover_end_inside(failover);
    const struct backend *backend = service_backend(service, failover->primary.backend);
    bool another = elected && failover_is_another(failover, backend);
    uint64_t late = another ? failover_late(failover) : 0;
    failover->late += late;
    if (elected)
        failover_grant(failover, backend);
    service_set_primary(service, elected ? failover->primary.backend : 0, now());
    failover_tell(failover, late);
    router_resolved(failover->router, failover->live);
}

static void failover_begin_fence(struct failover *failover)
{
    failover->fenced = now();
    service_set_primary(live_service_service(failover->live), 0, now());
    if (primary_await(&failover->primary, failover_fence(failover, failover->primary.fence)) ==
        PRIMARY_SETTLED)
        failover_settle(failover);
}

/* Notes which backends another primary has replaced, and finds those whose addresses have moved.
 * Returns whether there are more than before: what pools of any target have there ends. */
static bool failover_mark(struct failover *failover, const struct primary_candidate *all,
                          size_t count)
{
    const struct service *service = live_service_service(failover->live);
    bool more = false;
    for (size_t i = 0; i < count; i++) {
        struct backend *backend = service_backend(service, all[i].backend);
        bool replaced = primary_replaced(&failover->primary, &all[i]);
        if (backend == NULL)
            continue;
        more |= backend_take_move(backend) || (replaced && !backend_replaced(backend));
        backend_set_replaced(backend, replaced);
    }
    return more;
}

/* Collects what is known of the service's backends.  The caller frees; NULL: no memory. */
static struct primary_candidate *failover_candidates(const struct failover *failover,
                                                     size_t *ret_count)
{
    const struct service *service = live_service_service(failover->live);
    struct primary_candidate *all = calloc(BACKENDS_FOUND_MAX, sizeof(*all));
    struct backend *backend = NULL;
    *ret_count = 0;
    while (all != NULL && (backend = service_next(service, backend)) != NULL)
        if (*ret_count < BACKENDS_FOUND_MAX && backend_claim(backend, &all[*ret_count]))
            *ret_count += 1;
    return all;
}

void failover_judge(struct failover *failover, duration fresh)
{
    size_t count;
    if (failover->router->env->stopping)
        return;
    if (service_spreads(live_service_service(failover->live))) {
        failover_release(failover);
        return;
    }
    struct primary_candidate *all = failover_candidates(failover, &count);
    if (all == NULL)
        return;
    if (failover->since.us == 0)
        failover->since = now();
    if (failover->held.us != 0 && failover->held.us <= now().us)
        failover_hold(failover, (deadline){0});
    failover_count(failover, all, count);
    enum primary_order order =
        primary_judge(&failover->primary, all, count, fresh, failover->since, now());
    bool more = failover_mark(failover, all, count);
    if (order == PRIMARY_FENCE)
        failover_begin_fence(failover);
    else if (more)
        (void)failover_fence(failover, UNCOUNTED);
    free(all);
}

void failover_doubt(struct failover *failover)
{
    const struct backend *backend =
        service_backend(live_service_service(failover->live), failover->granted);
    if (backend != NULL)
        live_service_probe(failover->live, backend_address(backend));
}

/* --- without probes --------------------------------------------------------------------------- */

void failover_release(struct failover *failover)
{
    struct service *service = live_service_service(failover->live);
    if (failover->since.us == 0)
        return;
    struct backend *backend = NULL;
    while ((backend = service_next(service, backend)) != NULL)
        backend_set_replaced(backend, false);
    failover_hold(failover, (deadline){0});
    service_release_primary(service);
    /* An answer to a fence that is under way meets another number. */
    failover->primary =
        (struct primary){.epoch = failover->primary.epoch, .fence = failover->primary.fence};
    failover->since = (moment){0};
    failover->granted = 0;
    failover->marked = 0;
    router_resolved(failover->router, failover->live);
}

/* --- by the operator -------------------------------------------------------------------------- */

uint64_t failover_servers(const struct failover *failover)
{
    uint64_t count = 0;
    LIST_EACH (&failover->router->pools, it) {
        const struct pool *pool = LIST_ENTRY(it, struct pool, node);
        if (pool->live == failover->live && slots_need_primary(pool->slots))
            count += pool->leases.count;
    }
    return count;
}

void failover_hold(struct failover *failover, deadline until)
{
    if (failover->held.us == 0 && until.us == 0)
        return;
    failover->held = until;
    service_set_held(live_service_service(failover->live), until.us != 0);
    const char *name = live_service_settings(failover->live)->name;
    if (until.us != 0)
        log_event(LOG_NOTICE, "switchover.begun", log_text("service", name),
                  log_number("servers", (int64_t)failover_servers(failover)));
    else
        log_event(LOG_NOTICE, "switchover.ended", log_text("service", name),
                  log_number("epoch", (int64_t)failover->primary.epoch));
    LIST_EACH (&failover->router->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        if (until.us != 0 && pool->live == failover->live && slots_need_primary(pool->slots))
            pool_doom_all(pool);
    }
    if (until.us == 0)
        router_resolved(failover->router, failover->live);
}

enum primary_choice failover_elect(struct failover *failover, const struct backend *backend,
                                   duration fresh)
{
    struct primary_candidate chosen;
    (void)backend_claim(backend, &chosen);
    enum primary_choice choice = primary_choose(&failover->primary, &chosen, fresh, now());
    if (choice == PRIMARY_CHOSEN)
        failover_judge(failover, fresh);
    return choice;
}

void failover_answered(struct failover *failover, uint64_t fence)
{
    if (primary_acknowledged(&failover->primary, fence) == PRIMARY_SETTLED)
        failover_settle(failover);
}
