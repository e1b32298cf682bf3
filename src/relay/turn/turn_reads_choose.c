/* turn_reads_choose.c - which of its two pools a client's next claim is made in. */
#include "relay/turn/turn_reads.h"

#include "query/outcome.h"
#include "relay/turn/turn_batch_parts.h"
#include "wire/messages.h"

#include <stdlib.h>

/* --- the client's second pool ----------------------------------------------------------------- */

static struct client_reads *reads_of(struct client *client)
{
    if (client->reads == NULL) {
        client->reads = calloc(1, sizeof(*client->reads));
    }
    return client->reads;
}

static void leave_pool(struct client_reads *reads)
{
    if (reads->pool != NULL)
        local_pool_leave(TAKE(reads->pool));
}

/* Finds the pool for the client's reads; false: it can't be used, or not yet. */
static bool pool_is_there(struct client *client)
{
    struct client_reads *reads = client->reads;
    struct local_pool *own = client->pool;
    if (reads->pool != NULL && (reads->pool->obsolete || reads->pool->route != own->route->aside))
        leave_pool(reads);
    if (reads->pool == NULL) {
        if (own->obsolete || own->config != own->pools->config ||
            local_pool_of(own->pools, own->route->aside, span_text(own->database),
                          span_text(own->user), &reads->pool) != OK)
            return false;
        local_pool_join(reads->pool);
    }
    local_pool_share_secret(own, reads->pool);
    if (local_pool_is_entered(reads->pool))
        return true;
    (void)!local_pool_enroll(reads->pool);
    return false;
}

void turn_reads_home(struct client *client)
{
    struct client_reads *reads = client->reads;
    if (reads == NULL || reads->home == NULL)
        return;
    invariant(client->server == NULL && client->claim.state == CLAIM_NONE);
    client->pool = TAKE(reads->home);
}

void turn_reads_leave(struct client *client, bool ends)
{
    struct client_reads *reads = client->reads;
    if (reads == NULL)
        return;
    turn_reads_home(client);
    leave_pool(reads);
    if (!ends)
        return;
    client->reads = NULL;
    free(reads);
}

/* --- what the client has sent ----------------------------------------------------------------- */

static void prove(const struct client *client, struct span text, struct query_proof *ret)
{
    const size_t size = strnlen((const char *)text.at, text.size);
    query_prove_reads(span_of(text.at, size), &client->pool->route->reads.rules, ret);
}

bool turn_reads_is_last(const struct client *client, const uint8_t *at, uint32_t size, bool open)
{
    struct span rest = span_of(at, size);
    struct turn_batch batch;
    return turn_batch_read(client, &rest, &batch) && rest.size == 0 &&
           query_is_last(batch.text, open);
}

bool turn_reads_runs_nothing(const uint8_t *at, uint32_t size)
{
    struct span rest = span_of(at, size);
    struct turn_message_whole next;
    while (turn_message_next(&rest, &next))
        if (next.type != WIRE_PARSE && next.type != WIRE_DESCRIBE && next.type != WIRE_CLOSE &&
            next.type != WIRE_FLUSH && next.type != WIRE_SYNC)
            return false;
    return rest.size == 0;
}

/* --- the choice ------------------------------------------------------------------------------- */

void turn_reads_choose(struct client *client, const uint8_t *at, uint32_t size)
{
    struct client_reads *reads = reads_of(client);
    struct local_pool *own = client->pool;
    struct query_proof proof;
    struct span rest = span_of(at, size);
    struct turn_batch batch;
    if (reads == NULL || client->state == CLIENT_LOGIN || client->internal)
        return;
    invariant(reads->home == NULL);
    bool stays = reads->stays;
    reads->stays = false;
    if (stays || client->skipping || !turn_batch_read(client, &rest, &batch))
        return;
    prove(client, batch.text, &proof);
    /* Standbys have no serializable transactions. */
    if (proof.reads == QUERY_MAY_WRITE || params_serializable(client->params) ||
        !pool_is_there(client))
        return;
    if (local_pool_read_fails(own, proof.fingerprint)) {
        hint_add(&own->reads.refused, 1);
        return;
    }
    if (own->route->reads.consistency == READS_SESSION && reads->writes.unknown) {
        hint_add(&own->reads.behind, 1);
        return;
    }
    reads->fingerprint = proof.fingerprint;
    reads->begins = proof.reads == QUERY_BEGINS_TO_READ;
    reads->home = own;
    client->pool = reads->pool;
}
