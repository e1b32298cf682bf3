/*
 * turn_fence.c - ends servers whose backend is no longer the primary, and their clients.
 *
 * After turn_fence() nothing can be sent to the server: its stream takes no more bytes.  What was
 * sent before may still be carried out there.  Design: docs/internals/failover.md
 */
#include "machine/co.h"
#include "relay/turn/turn.h"

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
}

fault turn_claim_again(struct turn *turn)
{
    claim_withdraw(&turn->client->claim);
    return turn_claim(turn);
}
