/* turn_reads_choose.c - which of its two pools a client's next claim is made in. */
#include "relay/turn/turn_reads.h"

#include "query/outcome.h"
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

/* A message that has arrived whole. */
struct message {
    uint8_t type;
    struct span body;
};

static bool next_message(struct span *rest, struct message *ret)
{
    if (rest->size < WIRE_HEADER)
        return false;
    uint32_t length = wire_u32(rest->at + 1);
    if (length < 4 || length >= rest->size)
        return false;
    ret->type = rest->at[0];
    ret->body = span_of(rest->at + WIRE_HEADER, length - 4);
    *rest = span_skip(*rest, (size_t)length + 1);
    return true;
}

static void prove(const struct client *client, struct span text, struct query_proof *ret)
{
    const size_t size = strnlen((const char *)text.at, text.size);
    query_prove_reads(span_of(text.at, size), &client->pool->route->reads.rules, ret);
}

/* Reads the Parse of an unnamed statement. */
static bool parse_text(struct span body, struct span *ret)
{
    if (body.size < 2 || body.at[0] != '\0')
        return false;
    *ret = span_skip(body, 1);
    return true;
}

/* Finds the text of the statement that a Bind names.  `parsed`: that of a Parse in front of it. */
static bool bind_text(const struct client *client, struct span body, struct span parsed,
                      struct span *ret)
{
    struct wire_bind_names names;
    if (wire_read_bind_names(body, &names) != OK || names.portal.size > 0)
        return false;
    if (names.statement.size == 0) {
        *ret = parsed.at != NULL ? parsed : span_of(client->unnamed, client->unnamed_size);
        return ret->at != NULL;
    }
    const struct client_statement *named =
        parsed.at != NULL ? NULL : client_statement_find(&client->statements, names.statement);
    if (named == NULL || named->pending)
        return false;
    *ret = span_of(named->statement->body, named->statement->size);
    return true;
}

/* Whether the rest of a batch, behind its Bind, only describes and executes the unnamed portal.
 * `rest`: what stands behind it then. */
static bool executes_portal(struct span *rest)
{
    struct message next;
    struct wire_target target;
    if (!next_message(rest, &next))
        return false;
    if (next.type == WIRE_DESCRIBE) {
        if (wire_read_target(next.body, &target) != OK || target.kind != 'P' ||
            target.name.size > 0 || !next_message(rest, &next))
            return false;
    }
    if (next.type != WIRE_EXECUTE || next.body.size != 5 || next.body.at[0] != '\0')
        return false;
    return next_message(rest, &next) && next.type == WIRE_SYNC;
}

/* Finds the text of a Query, or of a batch of one statement, that has arrived whole.  `rest`: what
 * stands behind it then. */
static bool find_text(const struct client *client, struct span *rest, struct span *ret)
{
    struct message next;
    struct span parsed = SPAN_NONE;
    if (!next_message(rest, &next))
        return false;
    if (next.type == WIRE_QUERY) {
        *ret = next.body;
        return true;
    }
    if (client->pool->route->prepared_max == 0)
        return false; /* names of statements are the server's own */
    if (next.type == WIRE_PARSE && (!parse_text(next.body, &parsed) || !next_message(rest, &next)))
        return false;
    return next.type == WIRE_BIND && bind_text(client, next.body, parsed, ret) &&
           executes_portal(rest);
}

bool turn_reads_is_last(const struct client *client, const uint8_t *at, uint32_t size, bool open)
{
    struct span rest = span_of(at, size), text;
    return find_text(client, &rest, &text) && rest.size == 0 && query_is_last(text, open);
}

bool turn_reads_runs_nothing(const uint8_t *at, uint32_t size)
{
    struct span rest = span_of(at, size);
    struct message next;
    while (next_message(&rest, &next))
        if (next.type != WIRE_PARSE && next.type != WIRE_DESCRIBE && next.type != WIRE_CLOSE &&
            next.type != WIRE_FLUSH && next.type != WIRE_SYNC)
            return false;
    return rest.size == 0;
}

/* --- the choice ------------------------------------------------------------------------------- */

/* Standbys have no serializable transactions. */
static bool is_serializable(const struct params *params)
{
    const struct span *level = params_find(params, SPAN("default_transaction_isolation"));
    return level != NULL && span_is_nocase(*level, "serializable");
}

void turn_reads_choose(struct client *client, const uint8_t *at, uint32_t size)
{
    struct client_reads *reads = reads_of(client);
    struct local_pool *own = client->pool;
    struct query_proof proof;
    struct span rest = span_of(at, size), text;
    if (reads == NULL || client->state == CLIENT_LOGIN)
        return;
    invariant(reads->home == NULL);
    bool stays = reads->stays;
    reads->stays = false;
    if (stays || client->skipping || !find_text(client, &rest, &text))
        return;
    prove(client, text, &proof);
    if (proof.reads == QUERY_MAY_WRITE || is_serializable(client->params) || !pool_is_there(client))
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
