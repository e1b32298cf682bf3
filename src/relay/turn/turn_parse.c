/*
 * turn_parse.c - handles a client's own Parse, in pools whose clients change servers.
 *
 * A client's Parse is always sent to the server, because what a text means depends on more than
 * Trunkline sees.  A named statement gets a name that was never used before, and a Describe behind
 * the Parse that the client does not see.  The reply to that tells whether statements of other
 * clients mean the same.
 */
#include "query/outcome.h"
#include "relay/flight/flight_writes.h"
#include "relay/turn/turn_names.h"
#include "session/pin.h"

#include <stdlib.h>

/* Returns the session's parameters, referenced; NULL if a message under way may change them. */
static struct params *known_params(const struct turn *turn)
{
    const struct server *server = turn->server;
    bool unsure = server->session.altered && !ledger_empty(&server->session.ledger);
    return UNLIKELY(unsure) ? NULL : params_ref(server->session.params);
}

static fault parse_unnamed(struct turn *turn, const struct message *message, struct span body)
{
    if (UNLIKELY(turn->server->session.ledger.skipping)) {
        turn_owe(turn, OWED_PARSE, FATE_FORWARD, ABOUT_NOTHING, NULL);
        turn_forward(turn, message);
        return OK;
    }
    if (UNLIKELY(turn->server->session.ledger.extended || turn->client->unnamed_before != NULL))
        turn_unnamed_keep_before(turn);
    uint8_t outcome = QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT;
    bool alters = body.size == 0 || query_filter(body, &outcome);
    struct query_effects *effects = NULL;
    if (UNLIKELY(alters) && body.size > 0)
        TRY(turn_effects_of(turn, body, &effects));
    effects_free(turn->client->unnamed_effects);
    turn->client->unnamed_effects = effects;
    turn->client->unnamed_alters = alters;
    turn->client->unnamed_outcome = outcome;
    turn->client->unnamed_catalog = flight_writes_catalog(turn->server);
    if (UNLIKELY(effects != NULL)) {
        bool refused;
        TRY(turn_pin_parse(turn, effects, &refused));
        if (refused) { /* the earlier unnamed statement is gone, as after a failed Parse */
            effects_free(TAKE(turn->client->unnamed_effects));
            turn_forget_unnamed(turn);
            return OK;
        }
    }
    client_keep_unnamed(turn->client, body);
    params_assign(&turn->client->unnamed_params, known_params(turn));
    turn->server->session.unnamed.of = turn->client->unnamed_number;
    turn->server->session.unnamed.unsure = false;
    turn->server->session.unnamed.pends = turn->server->session.ledger.extended;
    turn->server->session.unnamed.batch = turn->server->session.ledger.batch;
    turn->server->session.unnamed.proof = UNNAMED_GOOD;
    if (UNLIKELY(turn->client->unnamed_before != NULL))
        turn_unnamed_replaced(turn);
    turn_owe(turn, OWED_PARSE, FATE_FORWARD, ABOUT_UNNAMED, turn_unnamed_mark(turn));
    hint_add(&turn->client->pool->stats.server_parses, 1);
    turn_forward(turn, message);
    if (message->here < message->size)
        return turn_pin_long(turn, span_skip(message_body(message), 1));
    return OK;
}

/* Handles a Parse whose name is taken.  Makes it fail on the server too, behind all other errors in
 * its text, so that the server's transaction fails as it should. */
static fault parse_duplicate(struct turn *turn, struct client_statement *named, struct span body)
{
    static const uint8_t nothing[3]; /* an empty text, no types */
    struct digest fresh = turn_fresh_name();
    char name[STATEMENT_NAME_SIZE];
    statement_name(&fresh, name);
    if (server_statement_litter(&turn->server->session.statements, &fresh) != OK)
        return FAULT_MEMORY;
    turn_owe(turn, OWED_PARSE, FATE_SWALLOW, ABOUT_NOTHING, NULL);
    TRY(turn_make_parse(turn, name, span_of(nothing, sizeof(nothing))));
    turn_owe(turn, OWED_PARSE, FATE_FORWARD, ABOUT_DUPLICATE, client_statement_ref(named));
    return turn_make_parse(turn, name, body);
}

/* Sends the client's Parse under a name of ours. */
static fault parse_rename(struct turn *turn, const struct message *message, const char *name,
                          struct span body)
{
    size_t size = WIRE_HEADER + STATEMENT_NAME_SIZE + body.size;
    uint8_t *at = turn_make(turn, WIRE_HEADER + STATEMENT_NAME_SIZE);
    if (at == NULL)
        return FAULT_MEMORY;
    at = turn_put_header(at, WIRE_PARSE, size);
    memcpy(at, name, STATEMENT_NAME_SIZE);
    hint_add(&turn->client->pool->stats.server_parses, 1);
    if (turn->held == NULL) {
        outbox_run(&turn->up.out, body.at, body.size);
        return OK;
    }
    size_t skip = (size_t)(body.at - turn->held);
    memmove(turn->held, body.at, body.size);
    invariant(skip + body.size == message->size);
    turn_send_held(turn, body.size);
    return OK;
}

/* Enters the new name on this server, and notes what the statement's meaning depends on. */
static fault parse_enter(struct turn *turn, struct client_statement *named,
                         struct server_statement **ret)
{
    struct server *server = turn->server;
    struct digest fresh = turn_fresh_name();
    struct statement_catalog here = {.generation = flight_writes_catalog(server)};
    named->meaning =
        (struct meaning){.key = fresh,
                         .session = server->session.params->session,
                         .generation = generation_now(server->session.generation),
                         .catalog = turn->client->internal ? turn->client->catalog : here};
    named->params = known_params(turn);
    return server_statement_add(&server->session.statements, &fresh, &fresh, ret);
}

static fault parse_named(struct turn *turn, const struct message *message, struct span name,
                         struct span body)
{
    struct client *client = turn->client;
    struct server_statement *known;
    struct client_statement *named;
    __attribute__((cleanup(statement_unref))) struct statement *statement = NULL;
    TRY(turn_intern(turn, body, &statement));
    if (UNLIKELY(statement->effects != NULL)) {
        bool refused;
        TRY(turn_pin_parse(turn, statement->effects, &refused));
        if (refused)
            return OK;
    }
    fault added = client_statement_add(&client->statements, name, statement, &named);
    if (added == FAULT_MEMORY)
        return added;
    if (added != OK)
        return fault_raise(FAULT_LIMIT, "more than %u prepared statements", CLIENT_STATEMENTS_MAX);
    fault entered = parse_enter(turn, named, &known);
    if (entered != OK) {
        client_statement_unref(&named);
        return entered;
    }
    char own[STATEMENT_NAME_SIZE]; /* a copy: `known` is freed if the server skips the Parse */
    memcpy(own, known->name, sizeof(own));
    (void)client_statement_ref(named);
    turn_owe_name(turn, OWED_PARSE, FATE_FORWARD, ABOUT_PARSE, named);
    turn_owe_name(turn, OWED_DESCRIBE, FATE_SWALLOW, ABOUT_SIGNATURE, named);
    TRY(parse_rename(turn, message, own, body));
    TRY(turn_make_describe(turn, own));
    return turn_make_closings(turn);
}

fault turn_parse(struct turn *turn, const struct message *message)
{
    struct client *client = turn->client;
    struct wire_parse parse;
    struct span whole = message_body(message);
    if (message->here < message->size) /* unnamed, and longer than CLIENT_UNNAMED_MAX */
        return parse_unnamed(turn, message, SPAN_NONE);
    if (wire_read_parse(whole, &parse) != OK)
        return fault_raise(FAULT_PROTOCOL, "malformed Parse message of %u bytes", message->size);
    struct span body = span_skip(whole, parse.statement.size + 1);
    hint_add(&client->pool->stats.client_parses, 1);
    if (parse.statement.size == 0)
        return parse_unnamed(turn, message, body);
    struct client_statement *named = client_statement_find(&client->statements, parse.statement);
    if (named != NULL)
        return parse_duplicate(turn, named, body);
    return parse_named(turn, message, parse.statement, body);
}
