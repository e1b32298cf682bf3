/*
 * turn_fence.c - ends servers whose backend is no longer the primary, and their clients.
 *
 * After turn_fence() nothing can be sent to the server: its stream takes no more bytes, or is
 * closed.  What was sent before may still be carried out there.  Design: docs/internals/failover.md
 */
#include "machine/co.h"
#include "relay/turn/turn.h"

/* Ends the wait of a lookup of auth_query for this server's reply: it claims another one. */
static void end_lookup(struct server *server)
{
    struct waker *waker = server->stream.waker;
    stream_close(&server->stream);
    waker->wake(waker);
}

void turn_fence(struct server *server)
{
    struct client *client = server->client;
    server->fenced = server->broken = true;
    stream_end(&server->stream);
    /* A claim that was granted, and not taken yet, is made again: turn_claim_again(). */
    if (client != NULL && client->server == server)
        client_fence(client);
    else if (client == NULL && server->keeper != NULL)
        co_cancel(server->keeper);
    else if (client == NULL && server->stream.waker != NULL)
        end_lookup(server);
}

fault turn_claim_again(struct turn *turn)
{
    claim_withdraw(&turn->client->claim);
    return turn_claim(turn);
}
