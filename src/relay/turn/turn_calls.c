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

/* The name with which a message begins, if its end is there. */
static bool name_of(struct span body, struct span *ret)
{
    const uint8_t *end = body.size == 0 ? NULL : memchr(body.at, '\0', body.size);
    *ret = end == NULL ? SPAN_NONE : span_of(body.at, (size_t)(end - body.at));
    return end != NULL;
}

/* A text that has not come whole is not known, and the name stands for that. */
static fault look_at_parse(struct turn *turn, struct calls *calls, struct span body, bool whole,
                           struct call *call, struct query_outline **ret)
{
    struct wire_parse parse;
    struct span name;
    call->kind = CALL_PREPARE;
    if (!turn_remaps(turn) && name_of(body, &name)) {
        call->names = CALL_NAMES_STATEMENT;
        call->name = calls_name(name);
    } else if (!turn_remaps(turn)) {
        calls_lose_name(calls);
    }
    if (whole && wire_read_parse(body, &parse) == OK)
        return learn(turn, parse.query, ret);
    *ret = query_outline_unparsed();
    return OK;
}

static fault look_at_bind(struct turn *turn, struct span body, struct call *call,
                          struct query_outline **ret)
{
    struct wire_bind_names names;
    if (wire_read_bind_names(body, &names) != OK)
        return OK;
    call->kind = CALL_PREPARE;
    call->names = CALL_NAMES_PORTAL;
    call->name = calls_name(names.portal);
    call->source = calls_name(names.statement);
    if (!turn_remaps(turn))
        return OK;
    struct span text = client_log_text_of(turn->client, WIRE_BIND, body);
    if (text.size > 0)
        return learn(turn, text, ret);
    *ret = query_outline_unparsed();
    return OK;
}

static void look_at_execute(struct span body, struct call *call, struct query_outline **ret)
{
    struct wire_execute execute;
    call->kind = CALL_EXECUTE;
    if (wire_read_execute(body, &execute) == OK) {
        call->limit = execute.rows;
        call->source = calls_name(execute.portal);
    } else {
        *ret = query_outline_unparsed();
    }
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
    } else if (type == WIRE_FUNCTION_CALL) {
        call.kind = CALL_QUERY;
        outline = query_outline_unparsed();
    } else if (type == WIRE_PARSE) {
        TRY(look_at_parse(turn, server->calls, body, whole, &call, &outline));
    } else if (type == WIRE_BIND) {
        TRY(look_at_bind(turn, body, &call, &outline));
    } else if (type == WIRE_EXECUTE) {
        look_at_execute(body, &call, &outline);
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
    struct call call;
    if (calls_sent(server->calls, &server->session.ledger, &call))
        return;
    if (call.kind != CALL_PREPARE)
        relay_audit(turn->client, call.outline, &(struct audit_line){.answer = AUDIT_SENT});
    query_outline_unref(&call.outline);
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

/* Whether what was executed may give names of statements and portals another meaning. */
static bool renames(const struct query_outline *outline)
{
    static const enum query_verb verbs[] = {
        QUERY_VERB_DECLARE, QUERY_VERB_CLOSE,   QUERY_VERB_PREPARE, QUERY_VERB_DEALLOCATE,
        QUERY_VERB_DISCARD, QUERY_VERB_EXECUTE, QUERY_VERB_DO,      QUERY_VERB_CALL};
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (query_outline_does(outline, verbs[i]))
            return true;
    return outline->fingerprint == 0;
}

static void write_line(const struct turn *turn, const struct call *call,
                       const struct stats_call *sample, enum audit_answer answer)
{
    relay_audit(turn->client, call->outline,
                &(struct audit_line){.answer = answer,
                                     .server = turn->server,
                                     .sqlstate = call->sqlstate[0] != '\0' ? call->sqlstate : NULL,
                                     .call = *sample});
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
    write_line(turn, call, &sample, AUDIT_EXECUTED);
    calls->mark = end;
    calls->ended = at;
    bool forgets = renames(call->outline);
    calls_end(calls, call);
    if (forgets)
        calls_forget_names(calls);
}

/* The fields of an error up to its SQLSTATE may be there although its end is not. */
static void note_sqlstate(struct call *call, struct span body)
{
    while (body.size > 1 && body.at[0] != '\0') {
        const uint8_t *end = memchr(body.at, '\0', body.size);
        if (end == NULL)
            return;
        struct span field = span_of(body.at + 1, (size_t)(end - body.at) - 1);
        if (body.at[0] == 'C' && field.size == sizeof(call->sqlstate) - 1)
            memcpy(call->sqlstate, field.at, field.size);
        body = span_skip(body, field.size + 2);
    }
}

/* Whether an error answers a message that must fail, sent in place of one that was refused. */
static bool is_refusal(const struct turn *turn)
{
    const struct owed *head = ledger_head(&turn->server->session.ledger);
    return head != NULL && head->about == ABOUT_REFUSED;
}

/* A Query goes on after its error, up to its ReadyForQuery. */
static void on_error(const struct turn *turn, struct calls *calls, struct span body, uint64_t end)
{
    const struct ledger *ledger = &turn->server->session.ledger;
    struct call *call = is_refusal(turn) ? NULL : calls_failed(calls, ledger);
    calls_skip(calls, ledger);
    if (call == NULL)
        return;
    call->errors = 1;
    if (call->sqlstate[0] == '\0')
        note_sqlstate(call, body);
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
    if (call != NULL && type == WIRE_COMMAND_COMPLETE)
        call->rows += rows_of(tag_of(body));
    else if (call != NULL && type == WIRE_PORTAL_SUSPENDED)
        call->rows += call->limit;
    if (call != NULL &&
        (call->kind == CALL_EXECUTE || (call->kind == CALL_QUERY && type == WIRE_READY)))
        count(turn, calls, call, end);
    if (type == WIRE_READY && body.size == 1 && body.at[0] == WIRE_TX_IDLE)
        calls_forget_portals(calls);
}

void turn_calls_lost(const struct turn *turn)
{
    const struct server *server = turn->server;
    if (server == NULL || server->calls == NULL || turn->client == NULL)
        return;
    for (struct call *call; (call = calls_lost(server->calls, &server->session.ledger)) != NULL;) {
        struct stats_call sample = {.rows = call->rows,
                                    .errors = 1,
                                    .waited_us = call->waited_us,
                                    .took_us = between(call->began, now()).us};
        write_line(turn, call, &sample, AUDIT_LOST);
        calls_end(server->calls, call);
    }
    calls_forget_names(server->calls);
}

void turn_calls_walked(const struct turn *turn, uint64_t walked)
{
    if (turn->server != NULL && turn->server->calls != NULL)
        turn->server->calls->passed += walked;
}
