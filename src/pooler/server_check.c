/*
 * server_check.c - whether a server that has rested for long still answers.
 *
 * One whose end was announced closes itself while it is idle.  A host or a firewall that has
 * forgotten the connection announces nothing: the next query would wait for TCP to give up.  So a
 * server that was idle for server_check_delay answers an empty query first, on a coroutine of its
 * own, while the claim that it is for waits in the queue; the server then comes free as any other
 * does, or is closed.
 */
#include "machine/clock.h"
#include "pooler/cancel.h"
#include "pooler/turn/turn.h"

bool share_rested(const struct share *share, const struct server *server)
{
    return later(server->used, share->route->check_delay).us <= now().us;
}

static void check_end(struct turn *turn, fault answered)
{
    struct server *server = TAKE(turn->server);
    struct share *share = server->share;
    struct chunk_store *chunks = &turn->relay->chunks;
    bool lost = turn->server_lost || turn->server_gone;
    outbox_drop(&turn->up.out, chunks);
    outbox_drop(&turn->down.out, chunks);
    chunk_return(chunks, &turn->up.chunk);
    chunk_return(chunks, &turn->down.chunk);
    share->checks -= 1;
    if (answered == OK && server->transaction == WIRE_TX_IDLE) {
        server->used = now();
        share_free(share, server);
        return;
    }
    ledger_fini(&server->ledger);
    server->broken = true;
    server_close(&server, "it did not answer an empty query after it had rested", lost);
    share_check_next(share);
}

static void check_main(void *argument)
{
    struct server *server = argument;
    struct share *share = server->share;
    struct turn turn;
    turn_init(&turn, share->relay, server);
    server_keep(server);
    check_end(&turn, turn_ask(&turn, SPAN(""), after(share->route->check_timeout)));
}

fault share_check(struct share *share, struct server *server)
{
    TRY(co_start(check_main, server, CO_SMALL));
    server_become(server, SERVER_CLEANING);
    share->checks += 1;
    return OK;
}

/* A claim waits that no check under way is for. */
void share_check_next(struct share *share)
{
    if (share->claims.count <= share->checks)
        return;
    LIST_EACH (&share->idle, it) {
        struct server *server = LIST_ENTRY(it, struct server, node);
        if (share->route->mode != POOL_SESSION && share_check(share, server) == OK)
            return;
    }
    share_want(share);
}
