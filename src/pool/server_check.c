/*
 * server_check.c - checks that a server that was idle for long still answers.
 *
 * If the other side closes the connection of an idle server, the pool notices at once.  If a host
 * or a firewall has forgotten the connection, no packet comes, and the next query would wait until
 * TCP gives up.  So a server that was idle for server_check_delay must answer an empty query before
 * it is used.  The check runs on a coroutine of its own, while the claim that it is for waits in
 * the queue.  The server then becomes free like any other, or is closed.
 *
 * With health_check_interval idle servers are checked before a claim comes, too.  The local pool
 * looks at them eight times in an interval, and checks at most a quarter of them at a time, so that
 * the others can serve.
 */
#include "machine/clock.h"
#include "pool/local_pool.h"
#include "wire/messages.h"

/* Looks at the idle servers in each interval. */
#define LOOKS 8

bool local_pool_needs_check(const struct local_pool *pool, const struct server *server)
{
    return later(server->heard, pool->route->check_delay).us <= now().us;
}

/* A check counts for a claim that waits, or comes meanwhile, unless the claim may need a server
 * with other startup parameters. */
static fault check_begin(struct local_pool *pool, struct server *server, bool routine)
{
    server->rested = server->used; /* the check itself changes `used` */
    TRY(pool->pools->does->check(server));
    stats_service_add(pool->service_stats, STATS_CHECKS);
    server->heard = now();
    server->checking = true;
    server->routine = routine;
    server->claim_waits = !routine || pool->route->mode != POOL_SESSION;
    pool->checks += server->claim_waits ? 1 : 0;
    return OK;
}

fault local_pool_check(struct local_pool *pool, struct server *server)
{
    return check_begin(pool, server, false);
}

/* Starts another check, or asks the router for a server, if a claim waits that no check is for. */
static void local_pool_check_next(struct local_pool *pool)
{
    if (pool->claims.count <= pool->checks)
        return;
    LIST_EACH (&pool->idle, it) {
        struct server *server = LIST_ENTRY(it, struct server, node);
        if (pool->route->mode != POOL_SESSION && local_pool_check(pool, server) == OK)
            return;
    }
    local_pool_want(pool);
}

void local_pool_checked(struct local_pool *pool, struct server *server, bool answers, bool lost)
{
    bool routine = server->routine;
    pool->checks -= server->claim_waits ? 1 : 0;
    server->checking = false;
    if (answers && server->session.transaction == WIRE_TX_IDLE) {
        server->used = now();
        if (routine)
            local_pool_free_rested(pool, server, server->rested);
        else
            local_pool_free(pool, server);
        return;
    }
    stats_service_add(pool->service_stats, STATS_CHECKS_FAILED);
    ledger_fini(&server->session.ledger);
    server->broken = true;
    server_close(&server, "the server did not answer an empty query after it was idle", lost);
    local_pool_check_next(pool);
}

/* --- at an interval --------------------------------------------------------------------------- */

static duration check_interval(const struct local_pool *pool)
{
    duration interval = pool->route->service->health_interval;
    return interval.us == 0 ? NO_LIMIT : interval;
}

deadline local_pool_check_due(const struct local_pool *pool)
{
    return check_interval(pool).us == NO_LIMIT.us ? NEVER : pool->look_due;
}

void local_pool_check_idle(struct local_pool *pool)
{
    duration interval = check_interval(pool), look = {.us = interval.us / LOOKS};
    if (local_pool_check_due(pool).us > now().us)
        return;
    uint32_t most = MAX_OF(pool->idle.count / 4, 1u);
    pool->look_due = after(look);
    LIST_EACH_SAFE (&pool->idle, it) {
        struct server *server = LIST_ENTRY(it, struct server, node);
        if (later(server->heard, interval).us > pool->look_due.us)
            continue;
        if (most-- == 0 || check_begin(pool, server, true) != OK)
            return;
    }
}
