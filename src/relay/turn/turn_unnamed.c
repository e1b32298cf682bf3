/*
 * turn_unnamed.c - an unnamed statement that a message replaces or closes which is then skipped.
 *
 * What is not first in its batch is skipped if something before it fails, and the server keeps the
 * statement that it had.  So the client's is kept too, until the first of such messages of a batch
 * is answered, or fails itself.  One is kept at a time: where batches follow each other before that
 * is known, or something between two such messages fails, the client has none (26000).
 */
#include "relay/turn/pin.h"
#include "relay/turn/turn.h"
#include "session/counted.h"

#include <stdlib.h>

struct unnamed_before {
    uint8_t *body;
    uint32_t size;
    uint32_t room;
    struct params *params;
    struct query_effects *effects;
    bool alters;
    uint64_t number;
    struct digest shape;
    bool shaped;
    uint64_t server_of; /* the server's unnamed_of; 0: not known for certain */
    uint32_t batch;
    uint32_t first;  /* mark of the first message that replaced it */
    uint64_t newest; /* number of what replaced it last */
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
    if (before != NULL) { /* of its own batch, or of one that it replaces */
        if (before->batch != server->ledger.batch)
            turn_unnamed_drop_before(client);
        return;
    }
    before = counted_alloc(sizeof(*before));
    if (before == NULL)
        return; /* then it is lost if the message is skipped */
    *before = (struct unnamed_before){
        .body = TAKE(client->unnamed),
        .size = client->unnamed_size,
        .room = client->unnamed_room,
        .params = TAKE(client->unnamed_params),
        .effects = TAKE(client->unnamed_effects),
        .alters = client->unnamed_alters,
        .number = client->unnamed_number,
        .shape = client->unnamed_shape,
        .shaped = client->unnamed_shaped,
        .server_of = server->unnamed_unsure ? 0 : server->unnamed_of,
        .batch = server->ledger.batch,
        .first = server->unnamed_mark + 1,
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
    client->unnamed_number = before->number;
    client->unnamed_shape = before->shape;
    client->unnamed_shaped = before->shaped;
    params_assign(&client->unnamed_params, before->params);
    server->unnamed_of = before->server_of;
    server->unnamed_unsure = false;
    server->unnamed_proof = UNNAMED_GOOD;
    counted_free(before, sizeof(*before));
}

/* The Parse of the one that is kept has failed itself, in the batch before. */
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
    server->unnamed_of = 0;
}

bool turn_unnamed_undo(struct server *server, const struct owed *owed, enum owed_end end)
{
    struct client *client = server->client;
    const struct unnamed_before *before = client->unnamed_before;
    const struct owed *failed = ledger_head(&server->ledger);
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
    if (owed == failed) { /* which destroys the one before */
        turn_unnamed_drop_before(client);
        forget_unnamed(server);
    } else if (mark == before->first) { /* the last one of them that is dropped */
        restore(server, client);
        if (is_clients_own(failed)) /* the Parse of what was restored */
            forget_unnamed(server);
    }
    return true;
}
