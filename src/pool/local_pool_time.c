/* local_pool_time.c - a local pool's only timer: limits for waiting claims and idle servers, and
 * the end of a drain. */
#include "machine/clock.h"
#include "pool/claim.h"
#include "pool/local_pool_parts.h"

#include <inttypes.h>
#include <stdio.h>

/* The pause between two looks at an obsolete local pool whose drain is over. */
#define DRAIN_AGAIN ms(100)

static struct claim *local_pool_oldest_claim(const struct local_pool *pool)
{
    struct node *first = list_first(&pool->claims);
    return first == NULL ? NULL : LIST_ENTRY(first, struct claim, node);
}

/* Returns when an idle server reaches idle_timeout; reserve_after if a reserve is in use. */
static deadline local_pool_idle_end(const struct local_pool *pool, const struct server *server)
{
    duration max = pool->route->idle_timeout;
    if (local_pool_has_reserve(pool))
        max.us = MIN_OF(max.us, pool->route->reserve_after.us);
    return later(server->used, max);
}

/* Sets the timer for the oldest claim, the longest idle server, and the end of the drain. */
void local_pool_arm(struct local_pool *pool)
{
    deadline by = pool->clients > 0 ? pool->drain_by : NEVER;
    struct claim *oldest = local_pool_oldest_claim(pool);
    if (oldest != NULL) {
        by = earlier_of(by, later(oldest->since, pool->route->claim_timeout));
        by = earlier_of(by, pool->membership.want_after);
        by = earlier_of(by, claim_notice_due(pool, oldest));
    }
    struct node *last = list_last(&pool->idle);
    if (last != NULL) {
        deadline end = local_pool_idle_end(pool, LIST_ENTRY(last, struct server, node));
        /* A server that is kept beyond its time is checked again after another idle_timeout. */
        by = earlier_of(by, end.us > now().us ? end : after(pool->route->idle_timeout));
    }
    if (last != NULL || !list_empty(&pool->busy))
        by = earlier_of(by, local_pool_check_due(pool));
    timer_set(&pool->timer, by);
}

static void local_pool_expire_claims(struct local_pool *pool)
{
    struct claim *oldest;
    while ((oldest = local_pool_oldest_claim(pool)) != NULL &&
           later(oldest->since, pool->route->claim_timeout).us <= now().us) {
        char full[SAY_FULL_SIZE], text[REFUSAL_TEXT_SIZE];
        invariant(oldest->state == CLAIM_WAITING && oldest->pool == pool);
        enum stats_service_count why;
        const char *sqlstate = local_pool_say_full(pool, full, sizeof(full), &why);
        snprintf(text, sizeof(text),
                 "no server of pool \"%s\"/\"%s\" became free within claim_timeout (%" PRId64
                 " ms, %s)",
                 pool->database, pool->user, pool->route->claim_timeout.us / 1000, full);
        struct refusal *refusal = refusal_new(sqlstate, text);
        stats_service_add(pool->service_stats, why);
        claim_refuse(oldest, refusal);
        refusal_unref(&refusal);
    }
}

static void local_pool_expire_idle(struct local_pool *pool)
{
    struct node *last;
    while ((last = list_last(&pool->idle)) != NULL) {
        struct server *server = LIST_ENTRY(last, struct server, node);
        if (local_pool_idle_end(pool, server).us > now().us)
            break;
        if (pool->clients > 0 &&
            pool->idle.count + pool->busy.count <= hint_read(&pool->hints.keep))
            break;
        server_close(&server,
                     local_pool_has_reserve(pool) ? "the reserve is not needed"
                                                  : "idle for too long",
                     false);
    }
}

/* Ends a drain whose time is over: has the relay disconnect the clients, and clients that come
 * later, such as from a login that was under way. */
static void local_pool_drain(struct local_pool *pool)
{
    if (pool->drain_by.us > now().us || pool->clients == 0)
        return;
    pool->drain_by = after(DRAIN_AGAIN);
    pool->pools->does->drain(pool);
    pool->drained = true;
}

void local_pool_timer_fired(struct waker *waker)
{
    struct local_pool *pool = CONTAINER_OF(waker, struct local_pool, timer_waker);
    local_pool_drain(pool);
    local_pool_expire_claims(pool);
    claim_notices(pool);
    local_pool_expire_idle(pool);
    local_pool_check_idle(pool);
    if (!list_empty(&pool->claims))
        local_pool_want(pool);
    local_pool_arm(pool);
    local_pool_maybe_retire(pool);
}

/* --- time limits of clients ------------------------------------------------------------------- */

/* Returns the user's own limit, else the route's; 0 means no limit. */
static duration time_of(duration own, duration general, bool *any)
{
    duration limit = own.us != 0 ? own : general;
    if (limit.us == 0)
        limit = NO_LIMIT;
    *any |= limit.us != INT64_MAX;
    return limit;
}

void local_pool_set_times(struct local_pool *pool)
{
    static const struct user_config nobody;
    const struct route_config *route = pool->route;
    const struct user_config *user = config_user(pool->config, pool->user);
    struct local_pool_times times = {.any = false};
    if (user == NULL || route->is_replication)
        user = &nobody;
    times.query = time_of(user->query_timeout, route->query_timeout, &times.any);
    times.transaction = time_of(user->transaction_timeout, route->transaction_timeout, &times.any);
    times.idle_transaction =
        time_of(user->idle_transaction_timeout, route->idle_transaction_timeout, &times.any);
    times.client_idle = time_of(user->client_idle_timeout, route->client_idle_timeout, &times.any);
    bool was = pool->times.any;
    pool->times = times;
    if (was || times.any)
        pool->pools->does->times(pool, was);
}
