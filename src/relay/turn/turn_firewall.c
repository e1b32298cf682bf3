#include "relay/turn/turn_firewall.h"

#include "machine/clock.h"
#include "query/outline.h"
#include "relay/relay_audit_parts.h"
#include "relay/relay_outline.h"
#include "relay/turn/turn.h"
#include "relay/turn/turn_firewall_names.h"
#include "relay/turn/turn_firewall_parts.h"
#include "wire/messages.h"

#include <inttypes.h>
#include <stdio.h>

/* The analysis of one text. */
#define ANALYSIS_MAX sec(10)

/* --- what a message would execute ------------------------------------------------------------- */

enum judged_by {
    JUDGED_NOT,     /* it executes nothing */
    JUDGED_TEXT,    /* `text` */
    JUDGED_NAMES,   /* one of the texts that the name stands for */
    JUDGED_UNKNOWN, /* something that is not known, or too long */
    JUDGED_CALL,    /* a function, by its OID */
};

struct judged {
    enum judged_by by;
    bool executes; /* it is, or is a part of, one execution; else it only prepares or describes */
    struct span text;
    struct span name; /* of a statement */
};

static bool remaps(const struct client *client)
{
    const struct route_config *route = client->pool->route;
    return route->mode != POOL_SESSION && route->prepared_max > 0;
}

static struct span before_nul(struct span text)
{
    return span_of(text.at, text.size == 0 ? 0 : strnlen((const char *)text.at, text.size));
}

/* The text of a Query, or of a Parse, whose name is given too. */
static struct judged judged_text(uint8_t type, struct span body, bool whole)
{
    struct judged judged = {.by = JUDGED_UNKNOWN, .executes = type == WIRE_QUERY};
    const uint8_t *end = body.size == 0 ? NULL : memchr(body.at, '\0', body.size);
    if (type == WIRE_PARSE && end != NULL) {
        judged.name = span_of(body.at, (size_t)(end - body.at));
        body = span_skip(body, judged.name.size + 1);
        end = body.size == 0 ? NULL : memchr(body.at, '\0', body.size);
    }
    if (end == NULL || (type == WIRE_QUERY && !whole))
        return judged;
    judged.by = JUDGED_TEXT;
    judged.text = before_nul(body);
    return judged;
}

/* The text of a statement of the client, by its name. */
static struct judged judged_statement(const struct client *client, struct span name, bool executes)
{
    struct judged judged = {.by = JUDGED_UNKNOWN, .executes = executes, .name = name};
    struct span body = SPAN_NONE;
    if (!remaps(client)) {
        judged.by = JUDGED_NAMES;
        return judged;
    }
    if (name.size == 0) {
        body = span_of(client->unnamed, client->unnamed_size);
    } else {
        const struct client_statement *named = client_statement_find(&client->statements, name);
        if (named != NULL)
            body = span_of(named->statement->body, named->statement->size);
    }
    if (body.at == NULL)
        return judged;
    judged.by = JUDGED_TEXT;
    judged.text = before_nul(body);
    return judged;
}

/* Returns false if too little of the message has arrived. */
static bool judged_bind(const struct client *client, struct span body, bool may_wait,
                        struct judged *ret)
{
    struct wire_bind_names names;
    *ret = (struct judged){.by = JUDGED_UNKNOWN, .executes = true};
    if (wire_read_bind_names(body, &names) == OK)
        *ret = judged_statement(client, names.statement, true);
    else if (may_wait)
        return false;
    return true;
}

static struct judged judged_describe(const struct client *client, struct span body)
{
    struct wire_target target;
    if (wire_read_target(body, &target) != OK)
        return (struct judged){.by = JUDGED_UNKNOWN};
    if (target.kind != 'S')
        return (struct judged){.by = JUDGED_NOT};
    return judged_statement(client, target.name, false);
}

/* Finds out what a message would execute.  Returns false if too little of it has arrived.  `room`:
 * more of it may arrive before it is looked at. */
static bool look(const struct client *client, const uint8_t *at, uint32_t here, bool room,
                 struct judged *ret)
{
    uint32_t size = wire_u32(at + 1) + 1;
    bool whole = here >= size;
    struct span body = span_of(at + WIRE_HEADER, MIN_OF(here, size) - WIRE_HEADER);
    *ret = (struct judged){.by = JUDGED_NOT};
    switch (at[0]) {
    case WIRE_QUERY:
        *ret = judged_text(WIRE_QUERY, body, whole);
        return true;
    case WIRE_PARSE:
        *ret = judged_text(WIRE_PARSE, body, whole);
        return true;
    case WIRE_BIND:
        return judged_bind(client, body, room && !whole, ret);
    case WIRE_DESCRIBE:
        *ret = judged_describe(client, body);
        return true;
    case WIRE_FUNCTION_CALL:
        *ret = (struct judged){.by = JUDGED_CALL, .executes = true};
        return true;
    default:
        return true;
    }
}

/* --- the verdict ------------------------------------------------------------------------------ */

/* A verdict, and what the judged text is; NULL: not known.  Owns a reference. */
struct judgement {
    struct firewall_verdict verdict;
    struct query_outline *outline;
};

static struct judgement judge_outline(const struct client *client,
                                      struct query_outline *take_outline)
{
    const struct firewall_config *firewall = &client->pool->route->firewall;
    return (struct judgement){firewall_judge(firewall, take_outline), take_outline};
}

/* Judges all texts that a name may stand for: one that is denied counts. */
static struct judgement judge_names(const struct client *client, struct span name)
{
    struct query_outline *const *outlines = NULL;
    uint32_t count = turn_firewall_names_find(client, name, &outlines);
    struct judgement judgement =
        judge_outline(client, count == 0 ? NULL : query_outline_ref(outlines[0]));
    for (uint32_t i = 1; i < count && judgement.verdict.reason == FIREWALL_ALLOWED; i++) {
        query_outline_unref(&judgement.outline);
        judgement = judge_outline(client, query_outline_ref(outlines[i]));
    }
    return judgement;
}

/* Judges what needs no analysis.  False: the text is not known yet. */
static bool judge_known(const struct client *client, const struct server *server,
                        const struct judged *judged, struct judgement *ret)
{
    const struct firewall_config *firewall = &client->pool->route->firewall;
    struct query_outline *outline = NULL;
    switch (judged->by) {
    case JUDGED_CALL:
        *ret = (struct judgement){firewall_judge_call(firewall), NULL};
        return true;
    case JUDGED_NAMES:
        *ret = judge_names(client, judged->name);
        return true;
    case JUDGED_TEXT:
        if (turn_firewall_sure(client, server, judged->text)) {
            outline = relay_outline_find(client->relay, judged->text);
            if (outline == NULL)
                return false;
        }
        *ret = judge_outline(client, outline);
        return true;
    default:
        *ret = judge_outline(client, NULL);
        return true;
    }
}

static bool refuses(const struct client *client, const struct judgement *judgement)
{
    return judgement->verdict.reason != FIREWALL_ALLOWED &&
           client->pool->route->firewall.mode == FIREWALL_ENFORCE;
}

/* --- refusals --------------------------------------------------------------------------------- */

/* Whether nothing is owed to the client, nor open at its server, so that an error of ours is the
 * whole truth and the server need not know. */
static bool answers_alone(const struct turn *turn)
{
    const struct server *server = turn->server;
    if (server == NULL)
        return true;
    const struct ledger *ledger = &server->session.ledger;
    return server->session.transaction == WIRE_TX_IDLE && ledger_empty(ledger) &&
           !ledger->skipping && !ledger->extended && ledger->doubt == 0 && !ledger->copy_in &&
           turn->down.passing == 0;
}

/* Answers the message with an error.  In a transaction or a batch the server gets, in its place, a
 * message that must fail, so that its transaction fails and it skips the rest of the batch. */
static fault refuse(struct turn *turn, const char *sqlstate, const char *text)
{
    struct direction *up = &turn->up;
    const uint8_t *at = up->chunk->bytes + up->begin;
    uint64_t size = (uint64_t)wire_u32(at + 1) + 1;
    if (answers_alone(turn))
        return turn_refuse(turn, sqlstate, text);
    turn->client->refused_batch = turn->server->session.ledger.batch + 1;
    up->dropping = size;
    if (at[0] == WIRE_QUERY || at[0] == WIRE_FUNCTION_CALL)
        return turn_pin_refuse_query(turn, sqlstate, text);
    return turn_pin_refuse(turn, sqlstate, text);
}

static fault refuse_denied(struct turn *turn, const struct judgement *judgement)
{
    char text[160];
    uint64_t fingerprint = judgement->outline == NULL ? 0 : judgement->outline->fingerprint;
    const char *kind = judgement->verdict.rule != NULL ? "rule" : "setting";
    snprintf(text, sizeof(text),
             "statement denied by the firewall of this route: %s \"%s\", fingerprint %016" PRIx64,
             kind, firewall_verdict_name(judgement->verdict), fingerprint);
    return refuse(turn, "42501", text);
}

/* Handles a text that could not be analyzed for want of memory or time. */
static fault without_judgement(struct turn *turn, fault failed, bool *ret_taken)
{
    if (failed == FAULT_CANCELLED)
        return failed;
    *ret_taken = turn->client->pool->route->firewall.mode == FIREWALL_ENFORCE;
    if (*ret_taken)
        relay_audit(
            turn->client, NULL,
            &(struct audit_line){.answer = AUDIT_REFUSED, .call.errors = 1, .sqlstate = "53200"});
    return *ret_taken ? refuse(turn, "53200", "the firewall could not analyze the statement") : OK;
}

/* --- one message ------------------------------------------------------------------------------ */

/* Whether the server skips the message because an earlier one of its batch was refused. */
static bool is_skipped(const struct turn *turn)
{
    return turn->server != NULL &&
           (turn->server->session.ledger.skipping ||
            (turn->client->refused_batch == turn->server->session.ledger.batch + 1 &&
             turn->server->session.ledger.extended));
}

/* Notes what a message that is let through may change for those behind it. */
static void pass(struct turn *turn, uint8_t type, const struct judged *judged,
                 struct query_outline *outline)
{
    if (turn->server != NULL && !turn_gates(turn) && judged->executes &&
        turn_firewall_alters(outline))
        turn->server->session.altered = true;
    if (type == WIRE_PARSE && !remaps(turn->client))
        turn_firewall_names_add(turn->client, judged->name, outline);
}

static fault act(struct turn *turn, uint8_t type, const struct judged *judged,
                 struct judgement *judgement, bool *ret_taken)
{
    bool again = turn->message.again || turn->client->judged;
    turn->message.again = turn->client->judged = false;
    *ret_taken = refuses(turn->client, judgement);
    bool counts = (*ret_taken || judged->executes) && !is_skipped(turn);
    if (counts && (*ret_taken || !again))
        turn_firewall_note(turn->client, judgement->verdict, judgement->outline, *ret_taken);
    if (!*ret_taken) {
        pass(turn, type, judged, judgement->outline);
        return OK;
    }
    return refuse_denied(turn, judgement);
}

static fault judge_message(struct turn *turn, uint8_t type, const struct judged *judged,
                           bool *ret_taken)
{
    struct judgement judgement = {.outline = NULL};
    if (!judge_known(turn->client, turn->server, judged, &judgement)) {
        struct query_outline *outline = NULL;
        fault learned =
            relay_outline_learn(turn->relay, judged->text, after(ANALYSIS_MAX), &outline);
        if (learned != OK)
            return without_judgement(turn, learned, ret_taken);
        judgement = judge_outline(turn->client, outline);
    }
    fault acted = act(turn, type, judged, &judgement, ret_taken);
    query_outline_unref(&judgement.outline);
    return acted;
}

static void note_close(const struct client *client, const uint8_t *at, uint32_t size)
{
    struct wire_target target;
    struct span body = span_of(at + WIRE_HEADER, size - WIRE_HEADER);
    if (!remaps(client) && wire_read_target(body, &target) == OK && target.kind == 'S')
        turn_firewall_names_close(client, target.name);
}

fault turn_firewall(struct turn *turn, bool *ret_taken)
{
    const struct direction *up = &turn->up;
    const uint8_t *at = up->chunk->bytes + up->begin;
    uint32_t here = up->end - up->begin, size = wire_u32(at + 1) + 1;
    struct judged judged;
    *ret_taken = false;
    if (turn->client->internal || turn->client->skipping ||
        (here < size && size <= up->chunk->size))
        return OK;
    if (at[0] == WIRE_CLOSE && here >= size)
        note_close(turn->client, at, size);
    if (!look(turn->client, at, here, here < up->chunk->size, &judged)) {
        turn->message.starved = *ret_taken = true;
        return OK;
    }
    return judged.by == JUDGED_NOT ? OK : judge_message(turn, at[0], &judged, ret_taken);
}

bool turn_firewall_passes(struct client *client, const uint8_t *at, uint32_t here)
{
    struct judged judged;
    struct judgement judgement = {.outline = NULL};
    uint32_t size = wire_u32(at + 1) + 1;
    if (client->internal)
        return true;
    if (here < size || !look(client, at, here, false, &judged))
        return false;
    if (judged.by == JUDGED_NOT)
        return true;
    if (!judge_known(client, NULL, &judged, &judgement))
        return false;
    bool passes = !refuses(client, &judgement);
    if (passes && judged.executes && !client->passes)
        turn_firewall_note(client, judgement.verdict, judgement.outline, false);
    query_outline_unref(&judgement.outline);
    return passes;
}
