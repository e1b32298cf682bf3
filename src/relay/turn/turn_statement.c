/*
 * turn_statement.c - handles messages that prepare, name or close statements, in pools whose
 * clients change servers.
 */
#include "machine/ids.h"
#include "query/outcome.h"
#include "relay/flight/flight_writes.h"
#include "relay/turn/turn_names.h"
#include "session/pin.h"

#include <stdlib.h>

void turn_owe(struct turn *turn, enum owed_kind kind, enum owed_fate fate, enum owed_about about,
              void *what)
{
    ledger_owe(&turn->server->session.ledger, (struct owed){.kind = (uint8_t)kind,
                                                            .fate = (uint8_t)fate,
                                                            .about = (uint8_t)about,
                                                            .what = what});
}

void turn_owe_name(struct turn *turn, enum owed_kind kind, enum owed_fate fate,
                   enum owed_about about, struct client_statement *named)
{
    turn->client->naming += 1;
    turn->client->naming_batch = turn->server->session.ledger.batch;
    turn_owe(turn, kind, fate, about, named);
}

/* Returns where the statement's name begins in a message; 0: it has none, or it has not arrived. */
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
        client->naming_batch == turn->server->session.ledger.batch)
        return false;
    if (at[0] == WIRE_EXECUTE)
        return turn->server->session.giving != NULL;
    if (at[0] == WIRE_QUERY) /* may be a DEALLOCATE */
        return query_may_have_effects(
            span_of(at + WIRE_HEADER, MIN_OF(here, wire_u32(at + 1) + 1) - WIRE_HEADER));
    uint32_t begin = name_begins(at, here);
    if (begin == 0 || at[begin] != '\0')
        return begin != 0;
    return at[0] == WIRE_BIND && client->unnamed_effects != NULL; /* may be a DEALLOCATE */
}

void turn_forward(struct turn *turn, const struct message *message)
{
    if (turn->held != NULL)
        turn_send_held(turn, message->size);
    else
        outbox_run(&turn->up.out, message->at, message->here);
    turn->up.passing = message->size - message->here;
}

/* --- making messages -------------------------------------------------------------------------- */

/* Returns room for a made message; one that does not fit the scratch chunk goes to the heap. */
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

uint8_t *turn_put_header(uint8_t *at, uint8_t type, size_t size)
{
    at[0] = type;
    wire_store_u32(at + 1, (uint32_t)size - 1);
    return at + WIRE_HEADER;
}

fault turn_make_parse(struct turn *turn, const char *name, struct span body)
{
    size_t name_size = strlen(name) + 1;
    size_t size = WIRE_HEADER + name_size + body.size;
    uint8_t *at = make(turn, size);
    if (at == NULL)
        return FAULT_MEMORY;
    at = turn_put_header(at, WIRE_PARSE, size);
    memcpy(at, name, name_size);
    memcpy(at + name_size, body.at, body.size);
    hint_add(&turn->client->pool->stats.server_parses, 1);
    return OK;
}

fault turn_make_describe(struct turn *turn, const char *name)
{
    size_t size = WIRE_HEADER + 1 + STATEMENT_NAME_SIZE;
    uint8_t *at = make(turn, size);
    if (at == NULL)
        return FAULT_MEMORY;
    at = turn_put_header(at, WIRE_DESCRIBE, size);
    at[0] = 'S';
    memcpy(at + 1, name, STATEMENT_NAME_SIZE);
    return OK;
}

static fault make_flush(struct turn *turn)
{
    uint8_t *at = make(turn, WIRE_HEADER);
    if (at == NULL)
        return FAULT_MEMORY;
    (void)turn_put_header(at, WIRE_FLUSH, WIRE_HEADER);
    return OK;
}

/* Closes a statement on the server, unseen by the client. */
static fault make_close(struct turn *turn, const struct server_statement *orphan)
{
    size_t size = WIRE_HEADER + 1 + STATEMENT_NAME_SIZE;
    char *name = malloc(STATEMENT_NAME_SIZE);
    uint8_t *at = name == NULL ? NULL : make(turn, size);
    if (at == NULL) {
        free(name);
        return FAULT_MEMORY;
    }
    memcpy(name, orphan->name, STATEMENT_NAME_SIZE);
    at = turn_put_header(at, WIRE_CLOSE, size);
    at[0] = 'S';
    memcpy(at + 1, name, STATEMENT_NAME_SIZE);
    turn_owe(turn, OWED_CLOSE, FATE_SWALLOW, ABOUT_ORPHAN, name);
    return OK;
}

/* Closes two orphans for each Parse, so that their number stays bounded. */
fault turn_make_closings(struct turn *turn)
{
    struct server_statements *on = &turn->server->session.statements;
    server_statement_evict(on);
    for (int i = 0; i < 2 && !turn->server->session.ledger.skipping; i++) {
        const struct server_statement *orphan = server_statement_orphan(on);
        if (orphan == NULL)
            return OK;
        TRY(make_close(turn, orphan));
    }
    return OK;
}

struct digest turn_fresh_name(void)
{
    struct digest fresh = {0};
    random_bytes(fresh.bytes, sizeof(fresh.bytes));
    return fresh;
}

/* --- what must be on the server --------------------------------------------------------------- */

/* Parses the statement on the server, unseen by the client, and sends a Describe to compare its
 * signature. */
static fault inject(struct turn *turn, struct client_statement *named,
                    struct server_statement **ret)
{
    struct server *server = turn->server;
    struct digest fresh = turn_fresh_name();
    struct server_statement *known;
    const struct statement *statement = named->statement;
    struct span body = span_of(statement->body, statement->size);
    bool then = turn_then_differs(turn, named->params, body);
    if (UNLIKELY(then))
        TRY(turn_then_set(turn, named->params, false));
    TRY(server_statement_add(&server->session.statements, &named->meaning.key, &fresh, &known));
    known->unproven = true;
    *ret = known;
    turn_owe(turn, OWED_PARSE, FATE_SWALLOW, ABOUT_INJECT, client_statement_ref(named));
    turn_owe(turn, OWED_DESCRIBE, FATE_SWALLOW, ABOUT_PROOF, client_statement_ref(named));
    TRY(turn_make_parse(turn, known->name, body));
    TRY(turn_make_describe(turn, known->name));
    if (UNLIKELY(then))
        TRY(turn_then_set(turn, named->params, true));
    TRY(turn_make_closings(turn));
    return make_flush(turn);
}

/* Keeps other clients from using the statement, if the client has changed its session or its
 * transaction: the server may parse the statement anew, with another meaning. */
static void use_apart(struct turn *turn, const struct client_statement *named,
                      struct server_statement *known)
{
    const struct server *server = turn->server;
    if (server->session.pin != NULL || server->session.altered ||
        !digest_equal(&named->meaning.session, &server->session.params->session))
        known->owner = client_number(turn->client);
}

/* Returns the server's statement for the client's name.  NULL: the message must not be sent under a
 * name of the server.  Then either turn->message.awaits is true, and the reply to a Describe
 * decides; or the message was refused, as on a direct connection; or the server skips it anyway. */
static fault look_for(struct turn *turn, struct client_statement *named,
                      struct server_statement **ret)
{
    struct server *server = turn->server;
    struct server_statement *known = server_statement_use(
        &server->session.statements, &named->meaning.key, client_number(turn->client));
    *ret = NULL;
    if (UNLIKELY(known == NULL)) {
        if (server->session.ledger.skipping)
            return OK;
        TRY(inject(turn, named, &known));
    }
    if (UNLIKELY(known->differs)) {
        server_statement_drop(&server->session.statements, known);
        return turn_pin_refuse(turn, "0A000", "cached plan must not change result type");
    }
    /* A server that skips up to a Sync behind this message would send no reply to wait for. */
    turn->message.awaits =
        known->unproven && turn->held == NULL && !server->session.ledger.may_skip;
    if (turn->message.awaits)
        return OK;
    if (named->meaning.shared)
        use_apart(turn, named, known);
    *ret = known;
    return OK;
}

void *turn_unnamed_mark(struct turn *turn)
{
    turn->server->session.unnamed.mark += 1;
    return (void *)(uintptr_t)turn->server->session.unnamed.mark;
}

static fault close_unnamed(struct turn *turn)
{
    uint8_t *at = make(turn, WIRE_HEADER + 2);
    if (at == NULL)
        return FAULT_MEMORY;
    memcpy(turn_put_header(at, WIRE_CLOSE, WIRE_HEADER + 2), "S", 2);
    turn_owe(turn, OWED_CLOSE, FATE_SWALLOW, ABOUT_UNNAMED, turn_unnamed_mark(turn));
    return OK;
}

/* Compares the unnamed statement that Trunkline has parsed on this server with what its client was
 * told of it. */
static fault compare_unnamed(struct turn *turn, bool *ret_ready)
{
    struct server *server = turn->server;
    if (server->session.unnamed.proof == UNNAMED_DIFFERS && !server->session.ledger.skipping) {
        server->session.unnamed.of = 0;
        server->session.unnamed.proof = UNNAMED_GOOD;
        *ret_ready = false;
        return turn_pin_refuse(turn, "0A000", "cached plan must not change result type");
    }
    turn->message.awaits = server->session.unnamed.proof == UNNAMED_UNPROVEN &&
                           turn->held == NULL && !server->session.ledger.skipping &&
                           !server->session.ledger.may_skip;
    *ret_ready = !turn->message.awaits;
    return OK;
}

static fault prove_unnamed(struct turn *turn, bool *ret_ready)
{
    size_t size = WIRE_HEADER + 2;
    uint8_t *at = make(turn, size);
    if (at == NULL)
        return FAULT_MEMORY;
    memcpy(turn_put_header(at, WIRE_DESCRIBE, size), "S", 2);
    turn->server->session.unnamed.proof = UNNAMED_UNPROVEN;
    turn_owe(turn, OWED_DESCRIBE, FATE_SWALLOW, ABOUT_UNNAMED_PROOF,
             (void *)(uintptr_t)turn->server->session.unnamed.mark);
    TRY(make_flush(turn));
    return compare_unnamed(turn, ret_ready);
}

/* Sends the client's latest unnamed statement to a server that does not have it. */
static fault inject_unnamed(struct turn *turn)
{
    const struct client *client = turn->client;
    struct span body = span_of(client->unnamed, client->unnamed_size);
    bool then = turn_then_differs(turn, client->unnamed_params, body);
    if (UNLIKELY(then))
        TRY(turn_then_set(turn, client->unnamed_params, false));
    turn_owe(turn, OWED_PARSE, FATE_SWALLOW, ABOUT_UNNAMED, turn_unnamed_mark(turn));
    TRY(turn_make_parse(turn, "", body));
    return UNLIKELY(then) ? turn_then_set(turn, client->unnamed_params, true) : OK;
}

/* Makes sure that the server has the client's unnamed statement, or none if the client has none:
 * another client may have replaced it.  If the client was told its signature, that is compared.
 * *ret_ready false: the message must not be sent, as in look_for. */
static fault ensure_unnamed(struct turn *turn, bool *ret_ready)
{
    struct client *client = turn->client;
    struct server *server = turn->server;
    bool same = server->session.unnamed.batch == server->session.ledger.batch;
    bool sure = same || (!server->session.unnamed.unsure && !server->session.unnamed.pends);
    /* The message that replaced it may be skipped: the server may have another client's still. */
    turn->message.awaits = UNLIKELY(server->session.unnamed.pends) && !same && turn->held == NULL &&
                           !server->session.ledger.skipping && !server->session.ledger.may_skip;
    *ret_ready = !turn->message.awaits;
    if (turn->message.awaits)
        return OK;
    if (server->session.unnamed.of == client->unnamed_number && sure)
        return LIKELY(server->session.unnamed.proof == UNNAMED_GOOD)
                   ? OK
                   : compare_unnamed(turn, ret_ready);
    server->session.unnamed.of = client->unnamed_number;
    server->session.unnamed.proof = UNNAMED_GOOD;
    server->session.unnamed.unsure = true;
    server->session.unnamed.batch = server->session.ledger.batch;
    if (client->unnamed == NULL)
        return close_unnamed(turn);
    TRY(inject_unnamed(turn));
    return client->unnamed_shaped ? prove_unnamed(turn, ret_ready) : OK;
}

/* --- Bind, Describe, Close -------------------------------------------------------------------- */

/* Writes the entry of a Bind.  *ret_refused: the Bind must not be sent. */
static fault owe_bind(struct turn *turn, const struct message *message, struct span portal,
                      const struct query_effects *found, bool *ret_refused)
{
    struct query_effects *effects = NULL;
    bool own = false;
    *ret_refused = false;
    if (UNLIKELY(turn->server->session.giving != NULL))
        turn_deallocate_rebind(turn, portal);
    if (UNLIKELY(found != NULL)) {
        turn_note_resets(turn, found, true);
        TRY(turn_deallocate_bind(turn, portal, found, &own));
    }
    if (UNLIKELY(found != NULL) && !own) {
        TRY(turn_pin_bind(turn, found, portal.size > 0, &effects, ret_refused));
        if (*ret_refused) {
            turn->up.dropping = message->size - message->here;
            return OK;
        }
    } else if (UNLIKELY(turn->server->session.pin != NULL) && portal.size == 0) {
        static const struct query_effects none = {0}; /* replace those of an earlier Bind */
        effects = effects_copy(&none);
        if (effects == NULL)
            return FAULT_MEMORY;
    }
    turn_owe(turn, OWED_BIND, FATE_FORWARD, effects != NULL ? ABOUT_EFFECTS : ABOUT_NOTHING,
             effects);
    return OK;
}

/* Handles a message that is not sent under a name of the server: discards it, leaves it for later,
 * or forwards it as it is if the server skips it. */
static fault not_sent(struct turn *turn, const struct message *message, enum owed_kind kind)
{
    if (!turn->server->session.ledger.skipping) {
        turn->up.dropping = turn->message.awaits ? 0 : message->size - message->here;
        return OK;
    }
    turn_owe(turn, kind, FATE_FORWARD, ABOUT_NOTHING, NULL);
    turn_forward(turn, message);
    return OK;
}

/* Notes that a statement, parsed in this generation of the catalog, is about to run with the values
 * of this Bind. */
static COLD void note_bound(struct turn *turn, struct span body, uint64_t catalog,
                            const struct message *message, const struct wire_bind_names *names)
{
    struct span bind = SPAN_NONE;
    flight_writes_planned(turn, catalog);
    if (message->here == message->size)
        bind = span_skip(message_body(message), names->portal.size + names->statement.size + 2);
    turn_writes_note(turn, body, bind);
}

static fault bind_named(struct turn *turn, const struct message *message,
                        const struct wire_bind_names *names, struct client_statement *named)
{
    size_t old_names = names->portal.size + 1 + names->statement.size + 1;
    size_t new_names = names->portal.size + 1 + STATEMENT_NAME_SIZE;
    struct server_statement *known;
    TRY(look_for(turn, named, &known));
    if (UNLIKELY(known == NULL))
        return not_sent(turn, message, OWED_BIND);
    if (LIKELY(message->here == message->size && named->statement->effects == NULL))
        turn_lost_keep(turn, message->at);
    bool refused;
    TRY(owe_bind(turn, message, names->portal, named->statement->effects, &refused));
    if (refused)
        return OK;
    if (UNLIKELY(named->statement->alters) && !turn->client->internal)
        turn->server->session.altered = true; /* what the daemon itself executes was judged */
    if (UNLIKELY((turn->looks & POOL_LOOKS_WRITES) != 0))
        note_bound(turn, span_of(named->statement->body, named->statement->size),
                   named->meaning.catalog.generation, message, names);
    turn->server->session.unanswered |= named->statement->outcome;
    uint8_t *at = make(turn, WIRE_HEADER + new_names);
    if (at == NULL)
        return FAULT_MEMORY;
    at = turn_put_header(at, WIRE_BIND, message->size - old_names + new_names);
    memcpy(at, names->portal.at, names->portal.size);
    at[names->portal.size] = '\0';
    memcpy(at + names->portal.size + 1, known->name, STATEMENT_NAME_SIZE);
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
    if (names.statement.size > 0) {
        struct client_statement *named =
            client_statement_find(&turn->client->statements, names.statement);
        if (named != NULL)
            return bind_named(turn, message, &names, named);
        turn_note_run(turn, SPAN("execute")); /* made by PREPARE */
    } else {
        bool ready;
        TRY(ensure_unnamed(turn, &ready));
        if (UNLIKELY(!ready))
            return not_sent(turn, message, OWED_BIND);
        turn->server->session.altered |= turn->client->unnamed_alters;
        if (UNLIKELY((turn->looks & POOL_LOOKS_WRITES) != 0))
            note_bound(turn, span_of(turn->client->unnamed, turn->client->unnamed_size),
                       turn->client->unnamed_catalog, message, &names);
        turn->server->session.unanswered |= turn->client->unnamed == NULL
                                                ? QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT
                                                : turn->client->unnamed_outcome;
    }
    /* The client has not prepared such a name by Parse: the server has it by SQL's PREPARE, or
     * answers 26000. */
    bool refused;
    const struct query_effects *effects =
        names.statement.size > 0 ? NULL : turn->client->unnamed_effects;
    TRY(owe_bind(turn, message, names.portal, effects, &refused));
    if (refused)
        return OK;
    turn_forward(turn, message);
    return OK;
}

/* Handles a Describe of the unnamed statement.  Its reply is noted: the client relies on it from
 * then on. */
static fault describe_unnamed(struct turn *turn, const struct message *message)
{
    bool ready;
    const struct client *client = turn->client;
    TRY(ensure_unnamed(turn, &ready));
    if (UNLIKELY(!ready))
        return not_sent(turn, message, OWED_DESCRIBE);
    if (client->unnamed == NULL ||
        statement_follows(span_of(client->unnamed, client->unnamed_size)))
        turn_owe(turn, OWED_DESCRIBE, FATE_FORWARD, ABOUT_NOTHING, NULL);
    else
        turn_owe(turn, OWED_DESCRIBE, FATE_NOTED, ABOUT_UNNAMED_SIGNATURE,
                 (void *)(uintptr_t)client->unnamed_number);
    turn_forward(turn, message);
    return OK;
}

static fault on_describe(struct turn *turn, const struct message *message,
                         const struct wire_target *target)
{
    struct client_statement *named = NULL;
    if (target->kind == 'S' && target->name.size == 0)
        return describe_unnamed(turn, message);
    if (target->kind == 'S')
        named = client_statement_find(&turn->client->statements, target->name);
    if (named == NULL) {
        turn_owe(turn, OWED_DESCRIBE, FATE_FORWARD, ABOUT_NOTHING, NULL);
        turn_forward(turn, message);
        return OK;
    }
    struct server_statement *known;
    TRY(look_for(turn, named, &known));
    if (UNLIKELY(known == NULL))
        return not_sent(turn, message, OWED_DESCRIBE);
    turn_owe(turn, OWED_DESCRIBE, FATE_FORWARD, ABOUT_NOTHING, NULL);
    return turn_make_describe(turn, known->name);
}

/* Writes the entry of the client's Close of its unnamed statement. */
static void owe_close_unnamed(struct turn *turn)
{
    const struct ledger *ledger = &turn->server->session.ledger;
    if (LIKELY(!ledger->skipping)) {
        if (ledger->extended || turn->client->unnamed_before != NULL)
            turn_unnamed_keep_before(turn);
        client_keep_unnamed(turn->client, SPAN_NONE);
        turn->server->session.unnamed.of = 0;
        turn->server->session.unnamed.pends = ledger->extended;
        turn->server->session.unnamed.batch = ledger->batch;
        if (turn->client->unnamed_before != NULL)
            turn_unnamed_replaced(turn);
    }
    turn_owe(turn, OWED_CLOSE, FATE_FORWARD, ABOUT_UNNAMED, turn_unnamed_mark(turn));
}

static fault on_close(struct turn *turn, const struct message *message,
                      const struct wire_target *target)
{
    struct client_statement *named = NULL;
    if (target->kind == 'S' && target->name.size > 0)
        named = client_statement_find(&turn->client->statements, target->name);
    if (named == NULL) {
        if (target->kind == 'S' && target->name.size == 0)
            owe_close_unnamed(turn);
        else
            turn_owe(turn, OWED_CLOSE, FATE_FORWARD, ABOUT_NOTHING, NULL);
        turn_forward(turn, message);
        return OK;
    }
    /* The server keeps the statement for others; only the client's name ends.  A COPY reads the
     * message in place of data, so the server has to get it. */
    bool copying = turn->server->session.ledger.copy_in;
    named->references += 1;
    client_statement_remove(&turn->client->statements, named);
    turn_owe_name(turn, OWED_CLOSE, copying ? FATE_FORWARD : FATE_SYNTHETIC, ABOUT_CLOSE, named);
    if (copying)
        turn_forward(turn, message);
    return OK;
}

static fault on_message(struct turn *turn, const struct message *message)
{
    struct wire_target target;
    if (message->type == WIRE_PARSE)
        return turn_parse(turn, message);
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
    invariant(turn->server != NULL && turn_remaps(turn) && here <= message.size);
    /* A message longer than a chunk has not been walked past yet: its first bytes are here. */
    if (message.here < message.size)
        turn->up.begin = turn->up.end;
    TRY(on_message(turn, &message));
    hint_add(&turn->client->pool->stats.binds, type == WIRE_BIND && !turn->message.awaits);
    if (turn->down.passing == 0 && ledger_synthetic(&turn->server->session.ledger))
        return turn_give_synthetic(turn);
    return OK;
}

fault turn_statement_held(struct turn *turn)
{
    uint8_t *held = turn->held;
    invariant(held != NULL && turn->held_size == turn->held_max);
    fault result = turn_statement(turn, held[0], held, turn->held_max);
    if (turn->held == held) /* the outbox has not taken it */
        turn_drop_held(turn);
    return result;
}
