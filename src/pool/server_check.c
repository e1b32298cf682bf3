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
#include "pool/share.h"
#include "wire/messages.h"

bool share_rested(const struct share *share, const struct server *server)
{
    return later(server->used, share->route->check_delay).us <= now().us;
}

fault share_check(struct share *share, struct server *server)
{
    TRY(share->pools->does->check(server));
    share->checks += 1;
    return OK;
}

/* A claim waits that no check under way is for. */
static void share_check_next(struct share *share)
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

void share_checked(struct share *share, struct server *server, bool answers, bool lost)
{
    share->checks -= 1;
    if (answers && server->transaction == WIRE_TX_IDLE) {
        server->used = now();
        share_free(share, server);
        return;
    }
    ledger_fini(&server->ledger);
    server->broken = true;
    server_close(&server, "it did not answer an empty query after it had rested", lost);
    share_check_next(share);
}
