/*
 * turn_unnamed.c - keeps an unnamed statement while the message that replaces it may be skipped.
 *
 * A message that is not the first in its batch is skipped if an earlier one fails.  If it would
 * have replaced or closed the unnamed statement, the server keeps the statement that it had.  So
 * the turn keeps the client's too, until the first such message of a batch is answered or fails
 * itself.  One statement is kept at a time.  Where batches follow each other before that is known,
 * or a message between two such messages fails, the client has none (26000).
 */
#include "relay/turn/turn.h"
#include "session/counted.h"
#include "session/pin.h"

#include <stdlib.h>

struct unnamed_before {
    uint8_t *body;
    uint32_t size;
    uint32_t room;
    struct params *params;
    struct query_effects *effects;
    bool alters;
    uint8_t outcome;
    uint64_t catalog;
    uint64_t number;
    struct digest shape;
    bool shaped;
    uint64_t server_of; /* the server's unnamed_of; 0: not known for certain */
    uint32_t batch;
    uint32_t first;  /* mark of the first message that replaced it */
    uint64_t newest; /* number of the statement that replaced it last */
};

static void free_statement(struct client *client, uint8_t *body, uint32_t room,
                           struct query_effects *effects)
{
    free(body);
    chunk_unhold(&client->relay->chunks, room);
    effects_free(effects);
}

void turn_unnamed_drop_before(struct client *client)
{
    struct unnamed_before *before = TAKE(client->unnamed_before);
    if (before == NULL)
        return;
    free_statement(client, before->body, before->room, before->effects);
    params_unref(&before->params);
    counted_free(before, sizeof(*before));
}

void turn_unnamed_keep_before(struct turn *turn)
{
    struct client *client = turn->client;
    struct server *server = turn->server;
    struct unnamed_before *before = client->unnamed_before;
    if (before != NULL) { /* kept in this batch already, or in an earlier one */
        if (before->batch != server->session.ledger.batch)
            turn_unnamed_drop_before(client);
        return;
    }
    before = counted_alloc(sizeof(*before));
    if (before == NULL)
        return; /* without memory it is lost if the message is skipped */
    *before = (struct unnamed_before){
        .body = TAKE(client->unnamed),
        .size = client->unnamed_size,
        .room = client->unnamed_room,
        .params = TAKE(client->unnamed_params),
        .effects = TAKE(client->unnamed_effects),
        .alters = client->unnamed_alters,
        .outcome = client->unnamed_outcome,
        .catalog = client->unnamed_catalog,
        .number = client->unnamed_number,
        .shape = client->unnamed_shape,
        .shaped = client->unnamed_shaped,
        .server_of = server->session.unnamed.unsure ? 0 : server->session.unnamed.of,
        .batch = server->session.ledger.batch,
        .first = server->session.unnamed.mark + 1,
    };
    client->unnamed_size = client->unnamed_room = 0;
    client->unnamed_before = before;
}

void turn_unnamed_replaced(struct turn *turn)
{
    turn->client->unnamed_before->newest = turn->client->unnamed_number;
}

static void restore(struct server *server, struct client *client)
{
    struct unnamed_before *before = TAKE(client->unnamed_before);
    free_statement(client, client->unnamed, client->unnamed_room, client->unnamed_effects);
    client->unnamed = before->body;
    client->unnamed_size = before->size;
    client->unnamed_room = before->room;
    client->unnamed_effects = before->effects;
    client->unnamed_alters = before->alters;
    client->unnamed_outcome = before->outcome;
    client->unnamed_catalog = before->catalog;
    client->unnamed_number = before->number;
    client->unnamed_shape = before->shape;
    client->unnamed_shaped = before->shaped;
    params_assign(&client->unnamed_params, before->params);
    server->session.unnamed.of = before->server_of;
    server->session.unnamed.unsure = false;
    server->session.unnamed.proof = UNNAMED_GOOD;
    counted_free(before, sizeof(*before));
}

/* Empties the kept statement, whose own Parse has failed in the batch before. */
static void empty_before(struct client *client)
{
    struct unnamed_before *before = client->unnamed_before;
    free_statement(client, before->body, before->room, before->effects);
    before->body = NULL;
    before->size = before->room = 0;
    before->effects = NULL;
    before->server_of = 0;
    params_unref(&before->params);
}

static bool is_clients_own(const struct owed *owed)
{
    return owed->about == ABOUT_UNNAMED && owed->fate == FATE_FORWARD;
}

static void forget_unnamed(struct server *server)
{
    client_keep_unnamed(server->client, SPAN_NONE);
    server->session.unnamed.of = 0;
}

bool turn_unnamed_undo(struct server *server, const struct owed *owed, enum owed_end end)
{
    struct client *client = server->client;
    const struct unnamed_before *before = client->unnamed_before;
    const struct owed *failed = ledger_head(&server->session.ledger);
    uint32_t mark = (uint32_t)(uintptr_t)owed->what;
    if ((int32_t)(mark - before->first) < 0) {
        if (end == OWED_DROPPED && is_clients_own(owed))
            empty_before(client);
        return false;
    }
    bool newest = before->newest == client->unnamed_number;
    if (end == OWED_ANSWERED || !newest) {
        turn_unnamed_drop_before(client);
        return false;
    }
    if (owed == failed) { /* a failed Parse destroys the earlier statement */
        turn_unnamed_drop_before(client);
        forget_unnamed(server);
    } else if (mark == before->first) { /* the last of these entries that is dropped */
        invariant(failed != NULL);      /* what is dropped stands behind a message that failed */
        restore(server, client);
        if (is_clients_own(failed)) /* the restored statement's own Parse */
            forget_unnamed(server);
    }
    return true;
}
