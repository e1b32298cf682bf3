/*
 * turn_calls.c - counts the statements of a turn's client: for SHOW STATEMENTS.
 *
 * Each Query and Execute that goes to the server is a call (session/calls.h); a Parse or a Bind is
 * one if it fails.  What the text is has to be known when the message goes, so a text that is not
 * known yet suspends the turn while an offload thread analyzes it.  Nothing here decides what is
 * sent.
 */
#include "machine/clock.h"
#include "query/outline.h"
#include "relay/client_log.h"
#include "relay/relay_audit_parts.h"
#include "relay/relay_calls.h"
#include "relay/relay_outline.h"
#include "relay/turn/turn.h"
#include "session/calls.h"
#include "wire/messages.h"

/* How long a statement waits for the analysis of its text; it counts as not parsed then. */
#define OUTLINE_MAX sec(1)

/* --- towards the server ----------------------------------------------------------------------- */

/* Finds or makes the outline of a text.  Faults: CANCELLED, of the turn. */
static fault learn(const struct turn *turn, struct span text, struct query_outline **ret)
{
    fault learned = relay_outline_learn(turn->relay, text, after(OUTLINE_MAX), ret);
    if (learned != OK && learned != FAULT_CANCELLED)
        *ret = query_outline_unparsed();
    return learned == FAULT_CANCELLED ? learned : OK;
}

static fault look_at_parse(struct turn *turn, struct calls *calls, struct span body,
                           struct call *call, struct query_outline **ret)
{
    struct wire_parse parse;
    if (wire_read_parse(body, &parse) != OK) {
        *ret = query_outline_unparsed();
    } else {
        TRY(learn(turn, parse.query, ret));
        if (!turn_remaps(turn))
            calls_note_statement(calls, parse.statement, query_outline_ref(*ret));
    }
    call->kind = CALL_PREPARE;
    return OK;
}

static fault look_at_bind(struct turn *turn, struct calls *calls, struct span body,
                          struct call *call, struct query_outline **ret)
{
    struct wire_bind_names names;
    if (wire_read_bind_names(body, &names) != OK)
        return OK;
    struct span text =
        turn_remaps(turn) ? client_log_text_of(turn->client, WIRE_BIND, body) : SPAN_NONE;
    if (text.size > 0)
        TRY(learn(turn, text, ret));
    else
        *ret = calls_statement(calls, names.statement);
    if (*ret == NULL)
        *ret = query_outline_unparsed();
    calls_note_portal(calls, names.portal, query_outline_ref(*ret));
    call->kind = CALL_PREPARE;
    return OK;
}

static void look_at_execute(struct calls *calls, struct span body, struct call *call,
                            struct query_outline **ret)
{
    struct wire_execute execute;
    call->kind = CALL_EXECUTE;
    if (wire_read_execute(body, &execute) == OK) {
        call->limit = execute.rows;
        *ret = calls_portal(calls, execute.portal);
    }
    if (*ret == NULL)
        *ret = query_outline_unparsed();
}

fault turn_calls_look(struct turn *turn, uint8_t type, struct span body, bool whole)
{
    struct server *server = turn->server;
    struct query_outline *outline = NULL;
    struct call call = {.kind = CALL_NONE};
    if (server->calls == NULL)
        server->calls = calls_new();
    if (server->calls == NULL)
        return OK;
    if (type == WIRE_QUERY) {
        call.kind = CALL_QUERY;
        if (whole)
            TRY(learn(turn, body, &outline));
        else
            outline = query_outline_unparsed();
    } else if (type == WIRE_PARSE && whole) {
        TRY(look_at_parse(turn, server->calls, body, &call, &outline));
    } else if (type == WIRE_BIND) {
        TRY(look_at_bind(turn, server->calls, body, &call, &outline));
    } else if (type == WIRE_EXECUTE) {
        look_at_execute(server->calls, body, &call, &outline);
    }
    call.began = now();
    calls_begin(server->calls, &server->session.ledger, &call, outline);
    return OK;
}

void turn_calls_sent(struct turn *turn)
{
    struct server *server = turn->server;
    if (server == NULL || server->calls == NULL)
        return;
    if (turn->waited_us > 0)
        server->calls->waited_us = turn->waited_us;
    turn->waited_us = 0;
    calls_sent(server->calls, &server->session.ledger);
}

/* --- from the server -------------------------------------------------------------------------- */

/* The number at the end of a tag such as "INSERT 0 5". */
static uint64_t rows_of(struct span tag)
{
    uint64_t rows = 0, power = 1;
    size_t at = tag.size;
    while (at > 0 && tag.at[at - 1] >= '0' && tag.at[at - 1] <= '9' && power < UINT64_C(1) << 60) {
        rows += power * (uint64_t)(tag.at[--at] - '0');
        power *= 10;
    }
    return rows;
}

static struct span tag_of(struct span body)
{
    return span_of(body.at, body.size > 0 ? body.size - 1 : 0);
}

/* Ends a call at the byte of the replies that `end` counts. */
static void count(const struct turn *turn, struct calls *calls, const struct call *call,
                  uint64_t end)
{
    moment at = now(), began = call->began;
    if (calls->ended.us > began.us)
        began = calls->ended;
    struct stats_call sample = {
        .rows = call->rows,
        .bytes = end > calls->mark ? end - calls->mark : 0,
        .errors = call->errors,
        .waited_us = call->waited_us,
        .took_us = between(began, at).us,
    };
    relay_calls_add(turn->client->pool, call->outline, &sample);
    relay_audit(turn->client, call->outline,
                &(struct audit_line){.answer = AUDIT_EXECUTED,
                                     .server = turn->server,
                                     .sqlstate = call->errors > 0 ? call->sqlstate : NULL,
                                     .call = sample});
    calls->mark = end;
    calls->ended = at;
    calls_end(calls, call);
}

/* A Query goes on after its error, up to its ReadyForQuery. */
static void on_error(const struct turn *turn, struct calls *calls, struct span body, uint64_t end)
{
    struct wire_error error;
    struct call *call = calls_failed(calls, &turn->server->session.ledger);
    if (call == NULL)
        return;
    call->errors = 1;
    if (wire_read_error(body, &error) == OK && error.sqlstate.size < sizeof(call->sqlstate))
        memcpy(call->sqlstate, error.sqlstate.at, error.sqlstate.size);
    if (call->kind != CALL_QUERY)
        count(turn, calls, call, end);
}

void turn_calls_answer(struct turn *turn, uint8_t type, struct span body, uint64_t walked)
{
    struct calls *calls = turn->server->calls;
    if (calls == NULL || turn->client == NULL)
        return;
    uint64_t end = calls->passed + walked;
    if (type == WIRE_ERROR) {
        on_error(turn, calls, body, end);
        return;
    }
    struct call *call = calls_head(calls, &turn->server->session.ledger);
    if (call == NULL)
        return;
    if (type == WIRE_COMMAND_COMPLETE)
        call->rows += rows_of(tag_of(body));
    else if (type == WIRE_PORTAL_SUSPENDED)
        call->rows += call->limit;
    if (call->kind == CALL_EXECUTE || (call->kind == CALL_QUERY && type == WIRE_READY))
        count(turn, calls, call, end);
}

void turn_calls_walked(const struct turn *turn, uint64_t walked)
{
    if (turn->server != NULL && turn->server->calls != NULL)
        turn->server->calls->passed += walked;
}
