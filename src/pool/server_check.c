/*
 * server_check.c - checks that a server that was idle for long still answers.
 *
 * If the other side closes the connection of an idle server, the pool notices at once.  If a host
 * or a firewall has forgotten the connection, no packet comes, and the next query would wait until
 * TCP gives up.  So a server that was idle for server_check_delay must answer an empty query before
 * it is used.  The check runs on a coroutine of its own, while the claim that it is for waits in
 * the queue.  The server then becomes free like any other, or is closed.
 */
#include "machine/clock.h"
#include "pool/local_pool.h"
#include "wire/messages.h"

bool local_pool_rested(const struct local_pool *pool, const struct server *server)
{
    return later(server->used, pool->route->check_delay).us <= now().us;
}

fault local_pool_check(struct local_pool *pool, struct server *server)
{
    TRY(pool->pools->does->check(server));
    pool->checks += 1;
    return OK;
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
    pool->checks -= 1;
    if (answers && server->transaction == WIRE_TX_IDLE) {
        server->used = now();
        local_pool_free(pool, server);
        return;
    }
    ledger_fini(&server->ledger);
    server->broken = true;
    server_close(&server, "the server did not answer an empty query after it was idle", lost);
    local_pool_check_next(pool);
}
