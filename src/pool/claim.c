#include "pool/claim.h"

#include "base/probes.h"
#include "machine/clock.h"
#include "pool/local_pool.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TO(state) (1u << (state))

static const uint8_t permitted[CLAIM_STATES] = {
    [CLAIM_NONE] = TO(CLAIM_WAITING) | TO(CLAIM_GRANTED),
    [CLAIM_WAITING] = TO(CLAIM_GRANTED) | TO(CLAIM_REFUSED) | TO(CLAIM_NONE),
    [CLAIM_GRANTED] = TO(CLAIM_REFUSED) | TO(CLAIM_NONE),
    [CLAIM_REFUSED] = TO(CLAIM_NONE),
};

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

static void claim_become(struct claim *claim, enum claim_state next)
{
    invariant((permitted[claim->state] & TO(next)) != 0);
    invariant((claim->server != NULL) == (next == CLAIM_GRANTED));
    invariant(claim->refusal == NULL || next == CLAIM_REFUSED);
    claim->state = next;
}

static void claim_attach(struct claim *claim, const struct local_pool *pool, struct server *server,
                         moment at)
{
    claim->server = server;
    claim_become(claim, CLAIM_GRANTED);
    server->client = claim->client;
    server->taken = true;
    server->used = at;
    PROBE4(claim__done, pool->database, claim, server, pool->user);
}

bool claim_make(struct claim *claim, struct waker *waker)
{
    struct local_pool *pool = claim->pool;
    invariant(claim->state == CLAIM_NONE && pool != NULL);
    claim->since = now();
    claim->tell = false;
    claim->waker = waker;
    PROBE3(claim__start, pool->database, claim, pool->user);
    struct server *server = local_pool_take_idle(pool, claim);
    if (server != NULL) {
        claim_attach(claim, pool, server, claim->since);
        return true;
    }
    claim_become(claim, CLAIM_WAITING);
    list_push(&pool->claims, &claim->node);
    local_pool_want(pool);
    return false;
}

void claim_note_served(struct claim *claim, const struct server *server)
{
    claim->served_by = server->id;
    claim->served_pid = server->pid;
}

void claim_grant(struct claim *claim, struct server *server)
{
    struct local_pool *pool = claim->pool;
    invariant(claim->state == CLAIM_WAITING);
    list_remove(&pool->claims, &claim->node);
    claim_attach(claim, pool, server, now());
    claim->waker->wake(claim->waker);
}

void claim_refuse(struct claim *claim, struct refusal *refusal)
{
    struct server *server = NULL;
    PROBE4(claim__failed, claim->pool->database, claim, refusal == NULL ? NULL : refusal->text,
           claim->pool->user);
    if (claim->state == CLAIM_GRANTED) {
        server = TAKE(claim->server);
        server->client = NULL;
    } else {
        invariant(claim->state == CLAIM_WAITING);
        list_remove(&claim->pool->claims, &claim->node);
        local_pool_tell(claim->pool);
    }
    claim_become(claim, CLAIM_REFUSED);
    claim->refusal = refusal;
    if (refusal != NULL)
        refusal->references += 1;
    claim->waker->wake(claim->waker);
    if (server != NULL)
        local_pool_free(claim->pool, server);
}

bool claim_shed(struct claim *claim)
{
    struct local_pool *pool = claim->pool;
    const struct fleet_codel_limits limits = {pool->route->delay_target,
                                              pool->route->delay_interval};
    char text[REFUSAL_TEXT_SIZE];
    if (!fleet_codel_sheds(&pool->codel, &limits, claim->since, now()))
        return false;
    snprintf(text, sizeof(text),
             "pool \"%s\"/\"%s\" is overloaded: all clients have waited longer than "
             "claim_delay_target (%" PRId64 " ms) for claim_delay_interval (%" PRId64 " ms)",
             pool->database, pool->user, limits.target.us / 1000, limits.interval.us / 1000);
    struct refusal *refusal = refusal_new("53300", text);
    stats_service_add(pool->service_stats, STATS_REFUSED_SHED);
    claim_refuse(claim, refusal);
    refusal_unref(&refusal);
    return true;
}

void claim_withdraw(struct claim *claim)
{
    struct server *server = NULL;
    if (claim->state == CLAIM_WAITING) {
        list_remove(&claim->pool->claims, &claim->node);
        local_pool_tell(claim->pool);
    } else if (claim->state == CLAIM_GRANTED) {
        server = TAKE(claim->server);
        server->client = NULL;
    }
    claim_done(claim);
    if (server != NULL)
        local_pool_free(claim->pool, server);
}

void claim_done(struct claim *claim)
{
    refusal_unref(&claim->refusal);
    claim->server = NULL;
    claim_become(claim, CLAIM_NONE);
    claim->login = false;
}
