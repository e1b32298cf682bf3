#include "pooler/share/claim.h"

#include "machine/clock.h"
#include "pooler/client.h"
#include "pooler/share/share.h"

#include <stdio.h>
#include <stdlib.h>

struct refusal *refusal_new(const char *sqlstate, const char *text)
{
    struct refusal *refusal = malloc(sizeof(*refusal));
    if (refusal == NULL)
        return NULL;
    refusal->references = 1;
    snprintf(refusal->sqlstate, sizeof(refusal->sqlstate), "%s", sqlstate);
    snprintf(refusal->text, sizeof(refusal->text), "%s", text);
    return refusal;
}

void refusal_unref(struct refusal **refusal)
{
    struct refusal *gone = TAKE(*refusal);
    if (gone != NULL && --gone->references == 0)
        free(gone);
}

static void claim_attach(struct client *client, struct server *server, deadline at)
{
    client->claim.server = server;
    client->claim.state = CLAIM_GRANTED;
    server->client = client;
    server->taken = true;
    server->used = at;
}

bool claim_make(struct client *client, struct waker *waker)
{
    struct claim *claim = &client->claim;
    struct share *share = client->share;
    invariant(claim->state == CLAIM_NONE && client->server == NULL);
    claim->since = now();
    claim->tell = false;
    claim->waker = waker;
    struct server *server = share_take_idle(share, client);
    if (server != NULL) {
        claim_attach(client, server, claim->since);
        return true;
    }
    claim->state = CLAIM_WAITING;
    list_push(&share->claims, &claim->node);
    share_want(share);
    return false;
}

void claim_grant(struct client *client, struct server *server)
{
    invariant(client->claim.state == CLAIM_WAITING);
    list_remove(&client->share->claims, &client->claim.node);
    claim_attach(client, server, now());
    client->claim.waker->wake(client->claim.waker);
}

void claim_refuse(struct client *client, struct refusal *refusal)
{
    struct server *server = NULL;
    if (client->claim.state == CLAIM_GRANTED) {
        server = TAKE(client->claim.server);
        server->client = NULL;
    } else {
        invariant(client->claim.state == CLAIM_WAITING);
        list_remove(&client->share->claims, &client->claim.node);
        share_tell(client->share);
    }
    client->claim.state = CLAIM_REFUSED;
    client->claim.refusal = refusal;
    if (refusal != NULL)
        refusal->references += 1;
    client->claim.waker->wake(client->claim.waker);
    if (server != NULL)
        share_free(client->share, server);
}

void claim_withdraw(struct client *client)
{
    struct claim *claim = &client->claim;
    if (claim->state == CLAIM_WAITING) {
        list_remove(&client->share->claims, &claim->node);
        share_tell(client->share);
    } else if (claim->state == CLAIM_GRANTED) {
        struct server *server = TAKE(claim->server);
        server->client = NULL;
        claim->state = CLAIM_NONE;
        share_free(client->share, server);
    }
    claim_done(client);
}

void claim_done(struct client *client)
{
    refusal_unref(&client->claim.refusal);
    client->claim.server = NULL;
    client->claim.state = CLAIM_NONE;
}
