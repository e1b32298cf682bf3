#include "pool/claim.h"

#include "machine/clock.h"
#include "pool/local_pool.h"

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

static void claim_attach(struct claim *claim, struct server *server, deadline at)
{
    claim->server = server;
    claim->state = CLAIM_GRANTED;
    server->client = claim->client;
    server->taken = true;
    server->used = at;
}

bool claim_make(struct claim *claim, struct waker *waker)
{
    struct local_pool *pool = claim->pool;
    invariant(claim->state == CLAIM_NONE && pool != NULL);
    claim->since = now();
    claim->tell = false;
    claim->waker = waker;
    struct server *server = local_pool_take_idle(pool, claim);
    if (server != NULL) {
        claim_attach(claim, server, claim->since);
        return true;
    }
    claim->state = CLAIM_WAITING;
    list_push(&pool->claims, &claim->node);
    local_pool_want(pool);
    return false;
}

void claim_grant(struct claim *claim, struct server *server)
{
    invariant(claim->state == CLAIM_WAITING);
    list_remove(&claim->pool->claims, &claim->node);
    claim_attach(claim, server, now());
    claim->waker->wake(claim->waker);
}

void claim_refuse(struct claim *claim, struct refusal *refusal)
{
    struct server *server = NULL;
    if (claim->state == CLAIM_GRANTED) {
        server = TAKE(claim->server);
        server->client = NULL;
    } else {
        invariant(claim->state == CLAIM_WAITING);
        list_remove(&claim->pool->claims, &claim->node);
        local_pool_tell(claim->pool);
    }
    claim->state = CLAIM_REFUSED;
    claim->refusal = refusal;
    if (refusal != NULL)
        refusal->references += 1;
    claim->waker->wake(claim->waker);
    if (server != NULL)
        local_pool_free(claim->pool, server);
}

void claim_withdraw(struct claim *claim)
{
    if (claim->state == CLAIM_WAITING) {
        list_remove(&claim->pool->claims, &claim->node);
        local_pool_tell(claim->pool);
    } else if (claim->state == CLAIM_GRANTED) {
        struct server *server = TAKE(claim->server);
        server->client = NULL;
        claim->state = CLAIM_NONE;
        local_pool_free(claim->pool, server);
    }
    claim_done(claim);
}

void claim_done(struct claim *claim)
{
    refusal_unref(&claim->refusal);
    claim->server = NULL;
    claim->state = CLAIM_NONE;
    claim->login = false;
}
