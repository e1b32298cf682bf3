/*
 * rebalance.c - levels out the connections of pools over the backends of a service that spreads.
 *
 * At an interval, and after backends came or left.  The fleet plans which backends have too many
 * connections of a pool.  The relays are asked to close a few of these, if they are idle, and the
 * pool logs in elsewhere for each that was closed.  A backend that failed gets no logins while
 * others are healthy, so one pool also tries it.
 */
#include "base/probes.h"
#include "machine/clock.h"
#include "pool/live_service.h"
#include "pool/pool_parts.h"
#include "pool/router_parts.h"

#include <stdlib.h>

/* --- moves ------------------------------------------------------------------------------------ */

/* Returns how many idle servers of the member may move, as far as hints tell. */
static uint32_t member_movable(const struct member *member)
{
    uint32_t movable = 0;
    LIST_EACH (&member->pool->leases, it) {
        const struct lease *lease = LIST_ENTRY(it, struct lease, node);
        movable += lease->local == member->local && __atomic_load_n(&lease->move, __ATOMIC_RELAXED);
    }
    return (uint32_t)MIN_OF((uint64_t)movable, hint_read(&member->local->hints.idle));
}

/* Asks the relays to close idle connections among those that may move: `moves` in all. */
static void pool_ask_moves(struct pool *pool, uint32_t moves)
{
    LIST_EACH (&pool->members, it) {
        struct member *member = LIST_ENTRY(it, struct member, node);
        uint32_t count = MIN_OF(member_movable(member), moves);
        if (count == 0)
            continue;
        moves -= count;
        __atomic_store_n(&member->local->hints.moves, count, __ATOMIC_RELEASE);
        mail_send(member->local->pools->machine, &member->local->membership.recall);
    }
}

static uint64_t pool_idle(const struct pool *pool)
{
    uint64_t idle = 0;
    LIST_EACH (&pool->members, it)
        idle += hint_read(&LIST_ENTRY(it, struct member, node)->local->hints.idle);
    return idle;
}

/* Servers of session pools belong to clients with the same startup parameters, so they stay. */
static bool pool_moves(const struct pool *pool)
{
    return !pool->obsolete && pool->route->mode != POOL_SESSION && pool_fewest(pool) != NULL;
}

/* Plans the moves of one pool and asks for them.  Returns their number. */
static uint32_t pool_rebalance(struct pool *pool)
{
    const struct balance_config *settings = &live_service_settings(pool->live)->balance;
    uint64_t idle = pool_idle(pool);
    uint32_t count = (uint32_t)pool->leases.count, i = 0;
    if (idle <= pool->route->spares || !pool_moves(pool))
        return 0;
    struct fleet_move_limits limits = {.moves_max = settings->moves_max,
                                       .idle_max = (uint32_t)idle - pool->route->spares};
    struct fleet_open *open = calloc(count, sizeof(*open));
    if (open == NULL)
        return 0;
    LIST_EACH (&pool->leases, it)
        open[i++].slot = LIST_ENTRY(it, struct lease, node)->slot;
    uint32_t moves = slots_plan_moves(pool->slots, open, count, &limits);
    i = 0;
    LIST_EACH (&pool->leases, it) {
        struct lease *lease = LIST_ENTRY(it, struct lease, node);
        __atomic_store_n(&lease->move, moves > 0 && open[i++].move, __ATOMIC_RELAXED);
    }
    free(open);
    if (moves > 0)
        pool_ask_moves(pool, moves);
    return moves;
}

/* --- probes ----------------------------------------------------------------------------------- */

/* Has the pool log in at a backend that is not known to be healthy, if one is due.  A full pool
 * gives up an idle connection for that, at most once in an interval. */
static bool pool_probe(struct pool *pool, struct rebalance *rebalance)
{
    if (!pool_moves(pool) || !slots_probe_due(pool->slots, now()))
        return false;
    uint32_t before = pool->moving;
    pool->probing = true;
    pool->moving = MAX_OF(before, 1u);
    pool_balance(pool);
    if (!pool->probing)
        return true;
    pool->moving = before;
    if (pool_idle(pool) <= pool->route->spares || rebalance->give_up.us > now().us)
        return false;
    rebalance->give_up = after(live_service_settings(pool->live)->balance.rebalance_interval);
    LIST_EACH (&pool->leases, it)
        __atomic_store_n(&LIST_ENTRY(it, struct lease, node)->move, true, __ATOMIC_RELAXED);
    pool_ask_moves(pool, 1);
    return true;
}

/* --- a service -------------------------------------------------------------------------------- */

static void rebalance_run(struct waker *waker)
{
    struct rebalance *rebalance = CONTAINER_OF(waker, struct rebalance, waker);
    struct router *router = rebalance->router;
    struct service *service = live_service_service(rebalance->live);
    uint32_t moves = 0;
    bool probed = false, spread = service_spreads(service), healthy = true;
    if (router->env->stopping)
        return;
    PROBE1(rebalance__start, live_service_settings(rebalance->live)->name);
    LIST_EACH (&router->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        if (pool->live != rebalance->live || !slots_spread(pool->slots))
            continue;
        spread = true;
        healthy = healthy && slots_all_healthy(pool->slots);
        moves += pool_rebalance(pool);
        probed = probed || pool_probe(pool, rebalance);
    }
    if (!spread)
        return;
    duration interval = live_service_settings(rebalance->live)->balance.rebalance_interval;
    bool again = moves > 0 || probed || !healthy;
    invariant(interval.us > 0);
    timer_set(&rebalance->timer, after(again ? fleet_round(interval) : interval));
    PROBE2(rebalance__done, live_service_settings(rebalance->live)->name, moves);
}

void rebalance_soon(struct rebalance *rebalance)
{
    timer_set(&rebalance->timer, now());
}

void rebalance_init(struct rebalance *rebalance, struct router *router, struct live_service *live)
{
    rebalance->router = router;
    rebalance->live = live;
    rebalance->waker.wake = rebalance_run;
    rebalance->timer = TIMER_INIT(&rebalance->waker);
}

void rebalance_fini(struct rebalance *rebalance)
{
    timer_disarm(&rebalance->timer);
}
