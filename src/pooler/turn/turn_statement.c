/* turn_statement.c - messages that prepare, name or close statements, in pools whose servers
 * change. */
#include "pooler/turn/pin.h"
#include "pooler/turn/turn.h"
#include "wire/messages.h"

#include <stdlib.h>

/* A whole message of the client, or the first bytes of a Bind or of an unnamed Parse. */
struct message {
    uint8_t type;
    const uint8_t *at;
    uint32_t here; /* bytes at `at` */
    uint32_t size; /* of the whole message, type included */
};

static struct span message_body(const struct message *message)
{
    return span_of(message->at + WIRE_HEADER, message->here - WIRE_HEADER);
}

static void turn_owe(struct turn *turn, enum owed_kind kind, enum owed_fate fate,
                     enum owed_about about, void *what)
{
    ledger_owe(&turn->server->ledger, (struct owed){.kind = (uint8_t)kind,
                                                    .fate = (uint8_t)fate,
                                                    .about = (uint8_t)about,
                                                    .what = what});
}

/* The same for a message that gives a name or takes one away. */
static void turn_owe_name(struct turn *turn, enum owed_kind kind, enum owed_fate fate,
                          enum owed_about about, struct client_statement *named)
{
    turn->client->naming += 1;
    turn->client->naming_batch = turn->server->ledger.batch;
    turn_owe(turn, kind, fate, about, named);
}

/* Where the statement's name begins in a message, if as much of it is here; 0: not. */
static uint32_t name_begins(const uint8_t *at, uint32_t here)
{
    const uint8_t *end;
    switch (at[0]) {
    case WIRE_PARSE:
        return WIRE_HEADER < here ? WIRE_HEADER : 0;
    case WIRE_BIND:
        end = memchr(at + WIRE_HEADER, '\0', here - WIRE_HEADER);
        return end != NULL && end + 1 < at + here ? (uint32_t)(end + 1 - at) : 0;
    default:
        return WIRE_HEADER + 1 < here && at[WIRE_HEADER] == 'S' ? WIRE_HEADER + 1 : 0;
    }
}

bool turn_awaits_names(const struct turn *turn, const uint8_t *at, uint32_t here)
{
    const struct client *client = turn->client;
    if (client->naming == 0 || turn->server == NULL ||
        client->naming_batch == turn->server->ledger.batch)
        return false;
    uint32_t begin = name_begins(at, here);
    if (begin == 0 || at[begin] != '\0')
        return begin != 0;
    return at[0] == WIRE_BIND && client->unnamed_effects != NULL; /* it may be a DEALLOCATE */
}

/* The message as it is; what is missing of a long one follows as it comes. */
static void forward(struct turn *turn, const struct message *message)
{
    if (turn->held != NULL)
        turn_send_held(turn, message->size);
    else
        outbox_run(&turn->up.out, message->at, message->here);
    turn->up.passing = message->size - message->here;
}

/* --- making messages -------------------------------------------------------------------------- */

/* Room for a made message; what does not fit the scratch chunk goes to the heap. */
static uint8_t *make(struct turn *turn, size_t size)
{
    struct outbox *out = &turn->up.out;
    uint8_t *at = outbox_make(out, &turn->relay->chunks, size);
    if (at != NULL || out->owned != NULL)
        return at;
    return turn_make_long(turn, size);
}

uint8_t *turn_make(struct turn *turn, size_t size)
{
    return make(turn, size);
}

static uint8_t *put_header(uint8_t *at, uint8_t type, size_t size)
{
    at[0] = type;
    wire_store_u32(at + 1, (uint32_t)size - 1);
    return at + WIRE_HEADER;
}

/* A Parse of `body` (text and types) under this name. */
static fault make_parse(struct turn *turn, const char *name, struct span body)
{
    size_t name_size = strlen(name) + 1;
    size_t size = WIRE_HEADER + name_size + body.size;
    uint8_t *at = make(turn, size);
    if (at == NULL)
        return FAULT_MEMORY;
    at = put_header(at, WIRE_PARSE, size);
    memcpy(at, name, name_size);
    memcpy(at + name_size, body.at, body.size);
    hint_add(&turn->client->share->stats.server_parses, 1);
    return OK;
}

/* Closes a statement on the server, unseen by the client. */
static fault make_close(struct turn *turn, const uint8_t *digest, enum owed_about about, void *what)
{
    size_t size = WIRE_HEADER + 1 + STATEMENT_NAME_SIZE;
    uint8_t *at = make(turn, size);
    if (at == NULL) {
        free(what);
        return FAULT_MEMORY;
    }
    at = put_header(at, WIRE_CLOSE, size);
    *at++ = 'S';
    statement_name(digest, (char *)at);
    turn_owe(turn, OWED_CLOSE, FATE_SWALLOW, about, what);
    return OK;
}

static uint8_t *digest_copy(const uint8_t digest[DIGEST_SIZE])
{
    uint8_t *copy = malloc(DIGEST_SIZE);
    if (copy != NULL)
        memcpy(copy, digest, DIGEST_SIZE);
    return copy;
}

/* Closes what the server has prepared beyond its limit, the least recently used first. */
static fault make_evictions(struct turn *turn)
{
    const struct server_statement *victim = server_statement_evict(&turn->server->statements);
    if (victim == NULL)
        return OK;
    uint8_t *digest = digest_copy(victim->digest);
    return digest == NULL ? FAULT_MEMORY : make_close(turn, victim->digest, ABOUT_EVICT, digest);
}

/* --- what must be on the server --------------------------------------------------------------- */

/* Whether the server has it for certain.  Where that depends on an earlier batch it is closed
 * first, so that a Parse of it is always right. */
static fault look_for_statement(struct turn *turn, const struct statement *statement, bool *there)
{
    struct server *server = turn->server;
    enum statement_place place =
        server_statement_use(&server->statements, statement->digest, server->ledger.batch);
    *there = place == STATEMENT_THERE;
    if (place == STATEMENT_UNSURE)
        return make_close(turn, statement->digest, ABOUT_NOTHING, NULL);
    return OK;
}

/* Parses the statement there, unseen by the client, if the server does not have it. */
static fault ensure_statement(struct turn *turn, struct statement *statement)
{
    struct server *server = turn->server;
    bool there;
    TRY(look_for_statement(turn, statement, &there));
    if (there)
        return OK;
    uint8_t *digest = digest_copy(statement->digest);
    if (digest == NULL)
        return FAULT_MEMORY;
    if (server_statement_add(&server->statements, digest, server->ledger.batch) != OK) {
        free(digest);
        return FAULT_MEMORY;
    }
    turn_owe(turn, OWED_PARSE, FATE_SWALLOW, ABOUT_INJECT, digest);
    TRY(make_parse(turn, statement->name, span_of(statement->body, statement->size)));
    return make_evictions(turn);
}

/* Not a pointer: a number, for the entry of the message that comes next. */
static void *unnamed_mark(struct turn *turn)
{
    turn->server->unnamed_mark += 1;
    return (void *)(uintptr_t)turn->server->unnamed_mark;
}

static fault close_unnamed(struct turn *turn)
{
    uint8_t *at = make(turn, WIRE_HEADER + 2);
    if (at == NULL)
        return FAULT_MEMORY;
    memcpy(put_header(at, WIRE_CLOSE, WIRE_HEADER + 2), "S", 2);
    turn_owe(turn, OWED_CLOSE, FATE_SWALLOW, ABOUT_UNNAMED, unnamed_mark(turn));
    return OK;
}

/* The same for the unnamed statement, which another client may have replaced since, or which this
 * one does not have although the server does. */
static fault ensure_unnamed(struct turn *turn)
{
    struct client *client = turn->client;
    struct server *server = turn->server;
    bool sure = !server->unnamed_unsure || server->unnamed_batch == server->ledger.batch;
    if (server->unnamed_of == client->unnamed_number && sure)
        return OK;
    server->unnamed_of = client->unnamed_number;
    server->unnamed_unsure = true;
    server->unnamed_batch = server->ledger.batch;
    if (client->unnamed == NULL)
        return close_unnamed(turn);
    turn_owe(turn, OWED_PARSE, FATE_SWALLOW, ABOUT_UNNAMED, unnamed_mark(turn));
    return make_parse(turn, "", span_of(client->unnamed, client->unnamed_size));
}

/* --- Parse ------------------------------------------------------------------------------------ */

static fault parse_unnamed(struct turn *turn, const struct message *message, struct span body)
{
    struct query_effects *effects =
        body.size > 0 && UNLIKELY(query_may_have_effects(body)) ? pin_effects_of(body) : NULL;
    pin_effects_free(turn->client->unnamed_effects);
    turn->client->unnamed_effects = effects;
    if (UNLIKELY(effects != NULL)) {
        bool refused;
        TRY(turn_pin_parse(turn, effects, &refused));
        if (refused) { /* and the one before is gone, as a server would have it */
            pin_effects_free(TAKE(turn->client->unnamed_effects));
            turn_forget_unnamed(turn);
            return OK;
        }
    }
    client_keep_unnamed(turn->client, body);
    turn->server->unnamed_of = turn->client->unnamed_number;
    turn->server->unnamed_unsure = false;
    turn_owe(turn, OWED_PARSE, FATE_FORWARD, ABOUT_UNNAMED, unnamed_mark(turn));
    hint_add(&turn->client->share->stats.server_parses, 1);
    forward(turn, message);
    if (message->here < message->size)
        return turn_pin_long(turn, span_skip(message_body(message), 1));
    return OK;
}

/* The name is taken: let the server fail on it too, so that its transaction fails as it should. */
static fault parse_duplicate(struct turn *turn, struct client_statement *named)
{
    struct statement *statement = named->statement;
    TRY(ensure_statement(turn, statement));
    TRY(make_parse(turn, statement->name, span_of(statement->body, statement->size)));
    named->references += 1;
    turn_owe(turn, OWED_PARSE, FATE_FORWARD, ABOUT_DUPLICATE, named);
    return OK;
}

/* Sends the client's Parse under the statement's own name. */
static fault parse_rename(struct turn *turn, const struct message *message,
                          struct client_statement *named, struct span body)
{
    struct server *server = turn->server;
    size_t size = WIRE_HEADER + STATEMENT_NAME_SIZE + body.size;
    uint8_t *at = make(turn, WIRE_HEADER + STATEMENT_NAME_SIZE);
    if (at == NULL || server_statement_add(&server->statements, named->statement->digest,
                                           server->ledger.batch) != OK) {
        client_statement_unref(&named);
        return FAULT_MEMORY;
    }
    at = put_header(at, WIRE_PARSE, size);
    memcpy(at, named->statement->name, STATEMENT_NAME_SIZE);
    hint_add(&turn->client->share->stats.server_parses, 1);
    turn_owe_name(turn, OWED_PARSE, FATE_FORWARD, ABOUT_PARSE, named); /* it may be gone now */
    if (turn->held == NULL) {
        outbox_run(&turn->up.out, body.at, body.size);
        return make_evictions(turn);
    }
    size_t skip = (size_t)(body.at - turn->held);
    memmove(turn->held, body.at, body.size);
    invariant(skip + body.size == message->size);
    turn_send_held(turn, body.size);
    return make_evictions(turn);
}

static fault on_parse(struct turn *turn, const struct message *message)
{
    struct client *client = turn->client;
    struct wire_parse parse;
    struct span whole = message_body(message);
    if (message->here < message->size) /* unnamed, and longer than what is kept of such */
        return parse_unnamed(turn, message, SPAN_NONE);
    if (wire_read_parse(whole, &parse) != OK)
        return fault_raise(FAULT_PROTOCOL, "malformed Parse message of %u bytes", message->size);
    struct span body = span_skip(whole, parse.statement.size + 1);
    hint_add(&client->share->stats.client_parses, 1);
    if (parse.statement.size == 0)
        return parse_unnamed(turn, message, body);
    struct client_statement *named = client_statement_find(&client->statements, parse.statement);
    if (named != NULL)
        return parse_duplicate(turn, named);
    __attribute__((cleanup(statement_unref))) struct statement *statement = NULL;
    TRY(turn_intern(turn, body, &statement));
    if (UNLIKELY(statement->effects != NULL)) {
        bool refused;
        TRY(turn_pin_parse(turn, statement->effects, &refused));
        if (refused)
            return OK;
    }
    fault added = client_statement_add(&client->statements, parse.statement, statement, &named);
    if (added == FAULT_MEMORY)
        return added;
    if (added != OK)
        return fault_raise(FAULT_LIMIT, "more than %u prepared statements", CLIENT_STATEMENTS_MOST);
    bool there;
    fault looked = look_for_statement(turn, statement, &there);
    if (looked != OK) {
        client_statement_unref(&named);
        return looked;
    }
    if (there) {
        turn_owe_name(turn, OWED_PARSE, FATE_SYNTHETIC, ABOUT_PARSE, named);
        return OK;
    }
    return parse_rename(turn, message, named, body);
}

/* --- Bind, Describe, Close -------------------------------------------------------------------- */

/* The entry of a Bind; true in *ret_refused: it must not be sent. */
static fault owe_bind(struct turn *turn, const struct message *message,
                      const struct query_effects *found, bool *ret_refused)
{
    struct query_effects *effects = NULL;
    *ret_refused = false;
    if (UNLIKELY(found != NULL)) {
        bool owed;
        TRY(turn_deallocate_bind(turn, found, &owed));
        if (owed)
            return OK;
        TRY(turn_pin_bind(turn, found, &effects, ret_refused));
        if (*ret_refused) {
            turn->up.dropping = message->size - message->here;
            return OK;
        }
    }
    turn_owe(turn, OWED_BIND, FATE_FORWARD, effects != NULL ? ABOUT_EFFECTS : ABOUT_NOTHING,
             effects);
    return OK;
}

static fault bind_named(struct turn *turn, const struct message *message,
                        const struct wire_bind_names *names, struct client_statement *named)
{
    size_t old_names = names->portal.size + 1 + names->statement.size + 1;
    size_t new_names = names->portal.size + 1 + STATEMENT_NAME_SIZE;
    TRY(ensure_statement(turn, named->statement));
    bool refused;
    TRY(owe_bind(turn, message, named->statement->effects, &refused));
    if (refused)
        return OK;
    uint8_t *at = make(turn, WIRE_HEADER + new_names);
    if (at == NULL)
        return FAULT_MEMORY;
    at = put_header(at, WIRE_BIND, message->size - old_names + new_names);
    memcpy(at, names->portal.at, names->portal.size);
    at[names->portal.size] = '\0';
    memcpy(at + names->portal.size + 1, named->statement->name, STATEMENT_NAME_SIZE);
    outbox_run(&turn->up.out, message->at + WIRE_HEADER + old_names,
               message->here - WIRE_HEADER - old_names);
    turn->up.passing = message->size - message->here;
    return OK;
}

static fault on_bind(struct turn *turn, const struct message *message)
{
    struct wire_bind_names names;
    fault read = wire_read_bind_names(message_body(message), &names);
    if (read != OK)
        return fault_raise(FAULT_PROTOCOL, "malformed Bind message of %u bytes", message->size);
    hint_add(&turn->client->share->stats.binds, 1);
    if (names.statement.size > 0) {
        struct client_statement *named =
            client_statement_find(&turn->client->statements, names.statement);
        if (named != NULL)
            return bind_named(turn, message, &names, named);
    } else {
        TRY(ensure_unnamed(turn));
    }
    /* A name that was never prepared: the server says 26000, or knows it from SQL's PREPARE. */
    bool refused;
    const struct query_effects *effects =
        names.statement.size > 0 ? NULL : turn->client->unnamed_effects;
    TRY(owe_bind(turn, message, effects, &refused));
    if (refused)
        return OK;
    forward(turn, message);
    return OK;
}

static fault on_describe(struct turn *turn, const struct message *message,
                         const struct wire_target *target)
{
    struct client_statement *named = NULL;
    if (target->kind == 'S' && target->name.size == 0)
        TRY(ensure_unnamed(turn));
    else if (target->kind == 'S')
        named = client_statement_find(&turn->client->statements, target->name);
    if (named == NULL) {
        turn_owe(turn, OWED_DESCRIBE, FATE_FORWARD, ABOUT_NOTHING, NULL);
        forward(turn, message);
        return OK;
    }
    TRY(ensure_statement(turn, named->statement));
    turn_owe(turn, OWED_DESCRIBE, FATE_FORWARD, ABOUT_NOTHING, NULL);
    size_t size = WIRE_HEADER + 1 + STATEMENT_NAME_SIZE;
    uint8_t *at = make(turn, size);
    if (at == NULL)
        return FAULT_MEMORY;
    at = put_header(at, WIRE_DESCRIBE, size);
    at[0] = 'S';
    memcpy(at + 1, named->statement->name, STATEMENT_NAME_SIZE);
    return OK;
}

static fault on_close(struct turn *turn, const struct message *message,
                      const struct wire_target *target)
{
    struct client_statement *named = NULL;
    if (target->kind == 'S' && target->name.size > 0)
        named = client_statement_find(&turn->client->statements, target->name);
    if (named == NULL) {
        if (target->kind == 'S' && target->name.size == 0) {
            client_keep_unnamed(turn->client, SPAN_NONE);
            turn->server->unnamed_of = 0;
        }
        turn_owe(turn, OWED_CLOSE, FATE_FORWARD, ABOUT_NOTHING, NULL);
        forward(turn, message);
        return OK;
    }
    /* The server keeps it for others; the client's name is gone when its turn comes. */
    named->references += 1;
    client_statement_remove(&turn->client->statements, named);
    turn_owe_name(turn, OWED_CLOSE, FATE_SYNTHETIC, ABOUT_CLOSE, named);
    return OK;
}

static fault on_message(struct turn *turn, const struct message *message)
{
    struct wire_target target;
    if (message->type == WIRE_PARSE)
        return on_parse(turn, message);
    if (message->type == WIRE_BIND)
        return on_bind(turn, message);
    if (wire_read_target(message_body(message), &target) != OK)
        return fault_raise(FAULT_PROTOCOL, "malformed '%c' message of %u bytes", message->type,
                           message->size);
    return message->type == WIRE_DESCRIBE ? on_describe(turn, message, &target)
                                          : on_close(turn, message, &target);
}

fault turn_statement(struct turn *turn, uint8_t type, const uint8_t *at, uint32_t here)
{
    struct message message = {type, at, here, wire_u32(at + 1) + 1};
    /* One that is longer than a chunk has not been walked past yet: its first bytes are here. */
    if (message.here < message.size)
        turn->up.begin = turn->up.end;
    TRY(on_message(turn, &message));
    if (turn->down.passing == 0 && ledger_synthetic(&turn->server->ledger))
        return turn_give_synthetic(turn);
    return OK;
}

fault turn_statement_held(struct turn *turn)
{
    uint8_t *held = turn->held;
    fault result = turn_statement(turn, held[0], held, turn->held_most);
    if (turn->held == held) /* it was not sent from there */
        turn_drop_held(turn);
    return result;
}
