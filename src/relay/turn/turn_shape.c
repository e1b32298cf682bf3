/*
 * turn_shape.c - learns from replies: signatures of statements, and changes of the schema.
 */
#include "relay/turn/turn.h"
#include "session/pin.h"

/* --- signatures ------------------------------------------------------------------------------- */

bool turn_shape_wanted(const struct turn *turn, uint8_t type)
{
    const struct owed *head = ledger_head(&turn->server->session.ledger);
    return head != NULL && head->kind == OWED_DESCRIBE && head->about != ABOUT_NOTHING &&
           (type == WIRE_PARAMETER_DESCRIPTION || type == WIRE_ROW_DESCRIPTION ||
            type == WIRE_NO_DATA);
}

void turn_shape_keep(struct turn *turn, struct span part)
{
    const struct owed *head = ledger_head(&turn->server->session.ledger);
    invariant(head != NULL && head->kind == OWED_DESCRIBE && head->about != ABOUT_NOTHING);
    buffer_append_span(&turn->server->session.described, part);
}

/* --- changes of the schema -------------------------------------------------------------------- */

/* Whether the command was CREATE TABLE AS or SELECT INTO: their tag is SELECT, but they neither
 * send nor describe a row. */
static bool selects_into(const struct turn *turn, const struct owed *head, struct span tag)
{
    uint8_t last = turn->down.last;
    if (!span_starts(tag, SPAN("SELECT ")) || last == WIRE_DATA_ROW || last == WIRE_ROW_DESCRIPTION)
        return false;
    return head->kind == OWED_QUERY || !span_is(tag, "SELECT 0");
}

void turn_schema_tag(struct turn *turn, struct span tag)
{
    struct server *server = turn->server;
    const struct owed *head = ledger_head(&server->session.ledger);
    bool changes = head != NULL && (generation_changes(tag) || selects_into(turn, head, tag));
    bool ends = span_is(tag, "COMMIT") || span_is(tag, "ROLLBACK");
    server->session.altered = server->session.altered || changes;
    /* Only its client sees a temporary object, and clients with temporary objects share nothing. */
    if (changes && (span_starts(tag, SPAN("CREATE ")) || span_starts(tag, SPAN("SELECT "))) &&
        pin_makes_temporary(&server->session, head))
        return;
    server->session.reshaping = server->session.reshaping || changes;
    if (changes || (ends && server->session.reshaping))
        generation_raise(server->session.generation);
}

void turn_schema_ready(struct turn *turn, uint8_t status)
{
    struct server *server = turn->server;
    if (status != WIRE_TX_IDLE)
        return;
    if (UNLIKELY(server->session.reshaping))
        generation_raise(server->session.generation);
    server->session.reshaping = false;
    if (ledger_empty(&server->session.ledger)) {
        server->session.altered = false;
        turn_forget_portals(server);
    }
}
