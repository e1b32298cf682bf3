/*
 * turn_then.c - parses a statement under the parameters that its session had at the client's Parse.
 *
 * PostgreSQL evaluates literals at Parse: '1/2/2003'::date under DateStyle.  A Parse that Trunkline
 * sends later, to another server, stands between two statements that the client does not see.  They
 * set parameters for the rest of the transaction only.  So the session has its own parameters again
 * whatever fails and wherever the transaction ends.
 */
#include "relay/turn/turn_names.h"

/* Messages of one such statement: Parse, Bind, Execute, and a Close of the portal and of it. */
#define THEN_ENTRIES 5u

bool turn_then_differs(const struct turn *turn, const struct params *then, struct span body)
{
    const struct server *server = turn->server;
    if (LIKELY(then == NULL || then == server->session.params) ||
        digest_equal(&then->session, &server->session.params->session))
        return false;
    /* In a failed transaction the server parses only commands that end it. */
    return server->session.transaction != WIRE_TX_FAILED && !statement_is_command(body);
}

static void put_close(struct buffer *out, char kind, const char *name)
{
    size_t start = wire_begin(out, WIRE_CLOSE);
    wire_put_u8(out, (uint8_t)kind);
    wire_put_text(out, name);
    wire_end(out, start);
}

/* Writes a statement and a portal of this name that run "SELECT `sql`", and closes both. */
static void put_statement(struct buffer *out, const char *name, struct span sql)
{
    size_t start = wire_begin(out, WIRE_PARSE);
    wire_put_text(out, name);
    wire_put_bytes(out, SPAN("SELECT "));
    wire_put_string(out, sql);
    wire_put_u16(out, 0);
    wire_end(out, start);
    start = wire_begin(out, WIRE_BIND);
    wire_put_text(out, name);
    wire_put_text(out, name);
    wire_put_u16(out, 0);
    wire_put_u16(out, 0);
    wire_put_u16(out, 0);
    wire_end(out, start);
    start = wire_begin(out, WIRE_EXECUTE);
    wire_put_text(out, name);
    wire_put_u32(out, 0);
    wire_end(out, start);
    put_close(out, 'P', name);
    put_close(out, 'S', name);
}

static fault send_statement(struct turn *turn, struct buffer *message)
{
    static const enum owed_kind kinds[THEN_ENTRIES] = {OWED_PARSE, OWED_BIND, OWED_EXECUTE,
                                                       OWED_CLOSE, OWED_CLOSE};
    TRY(buffer_fault(message));
    if (!ledger_has_room(&turn->server->session.ledger, 4 * THEN_ENTRIES))
        return FAULT_MEMORY;
    uint8_t *at = turn_make(turn, message->size);
    if (at == NULL)
        return FAULT_MEMORY;
    memcpy(at, message->at, message->size);
    for (size_t i = 0; i < THEN_ENTRIES; i++)
        turn_owe(turn, kinds[i], FATE_SWALLOW, ABOUT_NOTHING, NULL);
    return OK;
}

fault turn_then_set(struct turn *turn, const struct params *then, bool back)
{
    const struct params *now = turn->server->session.params;
    struct buffer sql = BUFFER_INIT(8 * PARAMS_SIZE_MAX),
                  message = BUFFER_INIT(9 * PARAMS_SIZE_MAX);
    char name[STATEMENT_NAME_SIZE];
    struct digest fresh = turn_fresh_name();
    statement_name(&fresh, name);
    params_write_local(&sql, back ? then : now, back ? now : then);
    put_statement(&message, name, buffer_span(&sql));
    fault result = buffer_fault(&sql);
    if (result == OK)
        result = send_statement(turn, &message);
    buffer_fini(&sql);
    buffer_fini(&message);
    return result;
}
