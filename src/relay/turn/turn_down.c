/* turn_down.c - the direction from the server to the client. */
#include "base/probes.h"
#include "machine/clock.h"
#include "relay/client_log.h"
#include "relay/flight/flight_shadow.h"
#include "relay/turn/turn_reads.h"
#include "session/pin.h"
#include "wire/messages.h"

#include <inttypes.h>
#include <stdio.h>

/* Free bytes in a chunk from which on another read into it is worth its system call. */
#define ROOM_WORTH_READING 4096u

/* --- replies of our own ----------------------------------------------------------------------- */

static bool down_has_room(struct turn *turn)
{
    return outbox_has_room(&turn->down.out, &turn->relay->chunks, 1024);
}

/* Sends the reply to a message that was never sent to the server. */
static fault say_synthetic(struct turn *turn, enum owed_kind kind)
{
    uint8_t *at = outbox_make(&turn->down.out, &turn->relay->chunks, WIRE_HEADER);
    if (at == NULL)
        return FAULT_MEMORY;
    at[0] = kind == OWED_PARSE ? WIRE_PARSE_COMPLETE : WIRE_CLOSE_COMPLETE;
    wire_store_u32(at + 1, 4);
    return OK;
}

fault turn_give_synthetic(struct turn *turn)
{
    struct ledger *ledger = &turn->server->session.ledger;
    const struct owed *head;
    while ((head = ledger_head(ledger)) != NULL && head->fate == FATE_SYNTHETIC) {
        if (!down_has_room(turn))
            return OK; /* turn_down sends the rest when these have been sent */
        if (turn->client != NULL)
            TRY(say_synthetic(turn, (enum owed_kind)head->kind));
        ledger_give(ledger);
    }
    return OK;
}

/* --- messages that are looked into ------------------------------------------------------------ */

/* Handles tags of commands that drop prepared statements, or change parameters or the schema. */
static void down_tag(struct turn *turn, struct span tag)
{
    struct server *server = turn->server;
    const struct owed *head = ledger_head(&server->session.ledger);
    bool all = span_is(tag, "DISCARD ALL");
    bool own = head != NULL && head->fate == FATE_SWALLOW; /* a query of ours, not the client's */
    turn_schema_tag(turn, tag);
    if (UNLIKELY(turn->resets.any) || all || span_is(tag, "RESET"))
        turn_reset_tag(turn, tag);
    if (all || span_is(tag, "DEALLOCATE ALL")) {
        server_statements_deallocated(&server->session.statements);
        if (!own && turn->client != NULL && turn->client->pool->route->mode != POOL_SESSION)
            client_statements_deallocate(&turn->client->statements);
    }
    struct deallocation *gone = head != NULL && head->about == ABOUT_DEALLOCATE ? head->what : NULL;
    if (gone != NULL && span_is(tag, "DEALLOCATE"))
        gone->done += gone->done < UINT8_MAX;
    if (all || span_is(tag, "RESET") || span_is(tag, "SET"))
        server->session.doubtful = true;
}

/* Counts how long a query took, and logs it if that was long. */
static void down_took(struct turn *turn, moment at)
{
    struct server *server = turn->server;
    struct local_pool *pool = turn->client->pool;
    int64_t took = between(server->used, at).us;
    hint_add(&pool->stats.query_us, (uint64_t)took);
    histogram_add(&pool->log.times->query, took);
    PROBE5(query__done, pool->database, pool->user, turn->client, server, took);
    if (UNLIKELY(took >= pool->log.slow_us))
        client_log_slow(turn->client, server, took);
    server->note_size = 0;
}

static void down_ready(struct turn *turn, uint8_t status)
{
    struct server *server = turn->server;
    server->session.transaction = status;
    if (turn->client == NULL)
        return;
    struct local_pool_stats *stats = &turn->client->pool->stats;
    moment at = now();
    hint_add(&stats->queries, 1);
    down_took(turn, at);
    server->used = at;
    if (status == WIRE_TX_IDLE) {
        int64_t took = between(turn->client->since, at).us;
        hint_add(&stats->transactions, 1);
        hint_add(&stats->transaction_us, (uint64_t)took);
        histogram_add(&turn->client->pool->log.times->transaction, took);
        turn->client->since = at;
        if (UNLIKELY(turn->times.set))
            turn->client->began = (moment){0};
    } else if (turn->client->pool->route->mode == POOL_STATEMENT) {
        turn->state_fault = fault_raise_state(FAULT_UNSUPPORTED, "0A000",
                                              "transactions of several statements are not allowed "
                                              "in a statement pool");
    }
}

/* Sends the error for a name that the client prepared twice: the server has rejected our name, the
 * client is told its own. */
static fault down_duplicate(struct turn *turn, const struct owed *owed)
{
    const struct client_statement *named = owed->what;
    struct buffer out = BUFFER_INIT(66000);
    char text[256], ids[CLIENT_IDS_SIZE];
    snprintf(text, sizeof(text), "prepared statement \"%.*s\" already exists",
             (int)MIN_OF(named->size, 200), named->name);
    struct wire_report report = {.severity = "ERROR",
                                 .sqlstate = "42P05",
                                 .message = text,
                                 .detail =
                                     client_ids(turn->client, turn->server, ids, sizeof(ids))};
    wire_put_report(&out, &report);
    return turn_say(turn, &out);
}

/* Whether the client may get another server from now on: no error of this one is forwarded then. */
static bool turn_is_over_for_server(const struct turn *turn)
{
    const struct server *server = turn->server;
    return server->pool->route->mode != POOL_SESSION &&
           server->session.transaction == WIRE_TX_IDLE && !server->session.ledger.extended &&
           server->session.pin == NULL;
}

/* Decides whether an error is forwarded, is swallowed, or is replaced by one of ours. */
static fault judge_error(struct turn *turn, struct span body, enum ledger_verdict *verdict)
{
    struct ledger *ledger = &turn->server->session.ledger;
    struct wire_error error = {0};
    const struct owed *head = ledger_head(ledger);
    bool known = wire_read_error(body, &error) == OK;
    if (head == NULL && turn_is_over_for_server(turn)) {
        turn->server->broken = true;
        *verdict = VERDICT_SWALLOW;
        return OK;
    }
    /* A message that is injected for the client's own fails in its place: the client is told. */
    bool injected = head != NULL && head->fate == FATE_SWALLOW && head->about != ABOUT_STATE &&
                    head->about != ABOUT_POSITION && !turn->reads.again;
    if (known && span_is(error.severity, "FATAL")) {
        /* The server closes the connection next.  An error for a query of ours is not forwarded. */
        turn->reply.fatal = head == NULL || head->fate != FATE_SWALLOW || injected;
        turn_server_ends(turn, SERVER_UNWRITABLE);
    }
    if (UNLIKELY(known && span_is(error.sqlstate, "25006"))) /* read-only: was it demoted? */
        local_pool_doubt(turn->server->pool);
    if (UNLIKELY(known && span_is(error.sqlstate, "26000")) && turn_lost(turn, error.message)) {
        *verdict = VERDICT_SWALLOW;
        return OK;
    }
    if (head != NULL && head->fate == FATE_SWALLOW && head->about == ABOUT_STATE) {
        turn->server->session.unmade = true;
        turn->state_fault = fault_raise_state(
            FAULT_UPSTREAM,
            known && error.sqlstate.size == 5 ? (const char *)error.sqlstate.at : "XX000", "%.*s",
            (int)MIN_OF(error.message.size, (size_t)200), (const char *)error.message.at);
    }
    if (known && head != NULL && head->about == ABOUT_DUPLICATE && turn->client != NULL &&
        span_is(error.sqlstate, "42P05")) {
        TRY(down_duplicate(turn, head));
        (void)!ledger_take(ledger, WIRE_ERROR);
        *verdict = VERDICT_SWALLOW;
        return OK;
    }
    if (UNLIKELY(turn->server->session.pin != NULL) && (head == NULL || head->fate <= FATE_NOTED))
        pin_failed(&turn->server->session, head);
    turn->resets.undone = true;
    if (known && head != NULL && head->about == ABOUT_REFUSED && turn->client != NULL &&
        (span_is(error.sqlstate, "42601") || span_is(error.sqlstate, "34000"))) {
        TRY(turn_pin_refused(turn, head));
        (void)!ledger_take(ledger, WIRE_ERROR);
        *verdict = VERDICT_SWALLOW;
        return OK;
    }
    *verdict = ledger_take(ledger, WIRE_ERROR);
    if (injected)
        *verdict = VERDICT_FORWARD;
    return OK;
}

/* Handles an error.  If Bind has a wrong number of values or a statement does not exist, the text
 * gets the client's name of the statement. */
static fault down_error(struct turn *turn, struct span body, enum ledger_verdict *verdict)
{
    struct buffer renamed = BUFFER_INIT(1024);
    struct wire_error error;
    if (wire_read_error(body, &error) == OK &&
        (span_is(error.sqlstate, "08P01") || span_is(error.sqlstate, "26000")))
        turn_error_rename(turn, body, &renamed);
    fault judged = judge_error(turn, body, verdict);
    if (judged != OK || *verdict != VERDICT_FORWARD || renamed.size == 0) {
        buffer_fini(&renamed);
        return judged;
    }
    *verdict = VERDICT_SWALLOW;
    return turn_say(turn, &renamed);
}

/* Whether the tag needs a closer look: not for INSERT, UPDATE, and SELECT behind its rows. */
static bool tag_matters(const struct turn *turn, const uint8_t tag[3])
{
    uint8_t last = turn->down.last;
    switch (tag[0]) {
    case 'S':
        return tag[2] == 'T' || (last != WIRE_DATA_ROW && last != WIRE_ROW_DESCRIPTION);
    case 'I':
    case 'U':
        return tag[1] == 'M'; /* IMPORT */
    default:
        return true;
    }
}

/* Ends the count of a pinned server before the client gets the reply: another may pin at once. */
static void down_pin_ready(struct server *server, uint8_t status)
{
    pin_ready(&server->session, status);
    if (status == WIRE_TX_IDLE && ledger_quiet(&server->session.ledger) &&
        !pin_holds(&server->session))
        server_unpin(server);
}

/* Whether the next reply is to the question of turn_reads.c. */
static bool is_position(const struct turn *turn)
{
    const struct owed *head = ledger_head(&turn->server->session.ledger);
    return head != NULL && head->about == ABOUT_POSITION;
}

/* What a turn has sent that began before its route was watched counts as a write. */
static COLD void down_unwatched(const struct turn *turn)
{
    if ((turn->looks & POOL_LOOKS_WRITES) == 0 && turn->client != NULL)
        turn->server->session.wrote = true;
}

static fault down_look_ready(struct turn *turn, struct span body, enum ledger_verdict *verdict)
{
    struct server *server = turn->server;
    *verdict = ledger_take(&server->session.ledger, WIRE_READY);
    if (body.size != 1) {
        *verdict = VERDICT_BREACH;
        return OK;
    }
    uint8_t status = body.at[0];
    if (UNLIKELY(server->pool->route->is_watched)) {
        down_unwatched(turn);
        server_writes_ready(server, status);
    }
    if (UNLIKELY(server->session.pin != NULL) && *verdict == VERDICT_FORWARD)
        down_pin_ready(server, status);
    server->session.transaction = status;
    if (ledger_empty(&server->session.ledger) ||
        (server->session.ledger.count == 1 && is_position(turn)))
        server->session.unanswered = 0;
    if (UNLIKELY(turn->resets.any))
        TRY(turn_restore(turn, status, verdict));
    else
        turn->resets.undone = false;
    if (*verdict == VERDICT_FORWARD)
        down_ready(turn, status);
    if (UNLIKELY(server->session.altered))
        turn_schema_ready(turn, status);
    return OK;
}

/* Whether the server may owe an answer to a question of turn_reads.c: its client's reads are split,
 * or the client has left. */
static bool turn_may_ask_position(const struct turn *turn)
{
    return turn->client == NULL || turn->client->reads != NULL;
}

/* Learns a parameter from the server.  A value that the server has told before is no reset, and
 * neither is the report of a statement of ours. */
static fault down_learn(struct turn *turn, const struct wire_parameter *parameter,
                        enum ledger_verdict verdict)
{
    struct server *server = turn->server;
    struct params *before = params_ref(server->session.params);
    fault learnt = server_learn(server, parameter->name, parameter->value,
                                server->client == NULL ? NULL : &server->client->params);
    bool changed = server->session.params != before; /* sets are interned */
    params_unref(&before);
    TRY(learnt);
    if (UNLIKELY(turn->resets.any) && verdict == VERDICT_FORWARD && changed)
        turn_note_report(turn, parameter->name);
    return OK;
}

/* Handles a whole message that changes what is known of the server. */
static fault down_look(struct turn *turn, uint8_t type, struct span body,
                       enum ledger_verdict *verdict)
{
    struct wire_parameter parameter;
    bool marking = ledger_marking(&turn->server->session.ledger);
    if (UNLIKELY(marking))
        TRY(turn_take_mark(turn, type, body));
    switch (type) {
    case WIRE_READY:
        return down_look_ready(turn, body, verdict);
    case WIRE_ERROR:
        if (UNLIKELY(turn->server->writes != NULL))
            server_writes_failed(turn->server);
        ledger_align(&turn->server->session.ledger, type);
        return down_error(turn, body, verdict);
    case WIRE_PARAMETER_STATUS:
        *verdict = ledger_take(&turn->server->session.ledger, type);
        if (wire_read_parameter_status(body, &parameter) != OK)
            *verdict = VERDICT_BREACH;
        else
            TRY(down_learn(turn, &parameter, *verdict));
        if (UNLIKELY(turn->resets.restoring) && *verdict == VERDICT_SWALLOW)
            *verdict = VERDICT_FORWARD;
        return OK;
    case WIRE_COMMAND_COMPLETE:
        if (UNLIKELY(turn->server->pool->route->is_watched)) {
            down_unwatched(turn);
            server_writes_completed(turn->server,
                                    span_of(body.at, body.size > 0 ? body.size - 1 : 0));
        }
        if (body.size >= 3 && tag_matters(turn, body.at))
            down_tag(turn, span_of(body.at, body.size - 1));
        if (UNLIKELY(turn->server->session.pin != NULL) && body.size > 0 && !marking)
            pin_completed(&turn->server->session, ledger_head(&turn->server->session.ledger),
                          span_of(body.at, body.size - 1));
        *verdict = ledger_take(&turn->server->session.ledger, type);
        return OK;
    case WIRE_DATA_ROW:
        if (is_position(turn))
            turn_reads_told(turn, body);
        *verdict = ledger_take(&turn->server->session.ledger, type);
        return OK;
    default:
        *verdict = ledger_take(&turn->server->session.ledger, type);
        return OK;
    }
}

/* Handles such a message that is longer than a chunk and passes unread: assumes the worst. */
static enum ledger_verdict down_long(struct turn *turn, uint8_t type)
{
    struct server *server = turn->server;
    const struct owed *head = ledger_head(&server->session.ledger);
    if (type == WIRE_ERROR && UNLIKELY(server->session.pin != NULL) &&
        (head == NULL || head->fate <= FATE_NOTED))
        pin_failed(&server->session, head);
    if (type == WIRE_ERROR)
        turn->resets.undone = true;
    if (type == WIRE_PARAMETER_STATUS)
        server->broken = true; /* the server's parameters are not known any more */
    return ledger_take(&server->session.ledger, type);
}

static bool type_is_looked_into(const struct turn *turn, uint8_t type)
{
    return type == WIRE_READY || type == WIRE_ERROR || type == WIRE_PARAMETER_STATUS ||
           type == WIRE_COMMAND_COMPLETE ||
           (type == WIRE_DATA_ROW &&
            (ledger_marking(&turn->server->session.ledger) ||
             (UNLIKELY(turn_may_ask_position(turn)) && is_position(turn))));
}

/* --- the walk --------------------------------------------------------------------------------- */

/* Position of the walk.  A run of bytes to forward grows until a message is swallowed. */
struct walk {
    uint32_t run; /* first byte of the run */
    uint32_t at;
};

static void walk_cut(struct turn *turn, struct walk *walk)
{
    const uint8_t *run = turn->down.chunk->bytes + walk->run;
    if (turn->client != NULL) {
        outbox_run(&turn->down.out, run, walk->at - walk->run);
        if (UNLIKELY(turn->client->shadow != NULL))
            flight_shadow_take(turn->client, span_of(run, walk->at - walk->run));
    }
    walk->run = walk->at;
}

/* Keeps a part of the reply to a Describe; its last part is taken to the ledger. */
static void walk_sign(struct turn *turn, struct span part)
{
    turn_shape_keep(turn, part);
    if (turn->down.passing > 0)
        return;
    turn->reply.kept = false;
    (void)!ledger_take(&turn->server->session.ledger, turn->down.last);
}

static ALWAYS_INLINE void walk_pass(struct turn *turn, struct walk *walk)
{
    struct direction *down = &turn->down;
    uint32_t here = down->end - walk->at;
    uint32_t step = down->passing < here ? (uint32_t)down->passing : here;
    walk->at += step;
    down->passing -= step;
    if (turn->reply.kept)
        walk_sign(turn, span_of(down->chunk->bytes + walk->at - step, step));
    if (turn->reply.swallowed)
        walk->run = walk->at;
}

/* Handles the message that starts here.  *taken: it was taken, or its beginning was; false: more of
 * it must arrive first. */
static ALWAYS_INLINE fault walk_message(struct turn *turn, struct walk *walk, bool *taken)
{
    struct direction *down = &turn->down;
    const uint8_t *at = down->chunk->bytes + walk->at;
    uint32_t here = down->end - walk->at;
    uint32_t length = wire_u32(at + 1);
    enum ledger_verdict verdict = VERDICT_FORWARD;
    if (length < 4 || length > INT32_MAX) {
        turn_server_ends(turn, SERVER_UNWRITABLE);
        return fault_raise(FAULT_PROTOCOL, "the server sent an invalid length %u", length);
    }
    uint32_t size = length + 1;
    if (LIKELY(at[0] != WIRE_ERROR)) /* an error's text decides what it answers */
        ledger_align(&turn->server->session.ledger, at[0]);
    turn->reply.kept = UNLIKELY(turn_shape_wanted(turn, at[0]));
    if (turn->reply.kept) {
        verdict = ledger_head(&turn->server->session.ledger)->fate == FATE_NOTED ? VERDICT_FORWARD
                                                                                 : VERDICT_SWALLOW;
    } else if (type_is_looked_into(turn, at[0])) {
        *taken = here >= size;
        if (!*taken && size <= down->chunk->size)
            return OK;
        if (at[0] == WIRE_ERROR)
            walk_cut(turn, walk); /* an error of ours may take its place, behind earlier replies */
        if (UNLIKELY((turn->looks & POOL_LOOKS_CALLS) != 0)) /* of a long error, its beginning */
            turn_calls_answer(turn, at[0],
                              span_of(at + WIRE_HEADER, MIN_OF(here, size) - WIRE_HEADER),
                              walk->at - down->begin + (uint64_t)size);
        if (*taken)
            TRY(down_look(turn, at[0], span_of(at + WIRE_HEADER, length - 4), &verdict));
        else
            verdict = down_long(turn, at[0]);
    } else {
        if (UNLIKELY(turn->server->writes != NULL) &&
            (at[0] == WIRE_PORTAL_SUSPENDED || at[0] == WIRE_FUNCTION_RESULT))
            server_writes_other(turn->server);
        if (UNLIKELY((turn->looks & POOL_LOOKS_CALLS) != 0) &&
            (at[0] == WIRE_PORTAL_SUSPENDED || at[0] == WIRE_EMPTY_QUERY))
            turn_calls_answer(turn, at[0], SPAN_NONE, walk->at - down->begin + (uint64_t)size);
        verdict = ledger_take(&turn->server->session.ledger, at[0]);
    }
    *taken = true;
    if (verdict == VERDICT_BREACH) {
        const struct owed *head = ledger_head(&turn->server->session.ledger);
        bool close = at[0] == WIRE_COPY_IN && head != NULL &&
                     (head->kind == OWED_QUERY || head->kind == OWED_EXECUTE);
        turn_server_ends(turn, SERVER_UNWRITABLE);
        if (close)
            return fault_raise(FAULT_PROTOCOL, "a Close message came in place of COPY data");
        return fault_raise(FAULT_PROTOCOL, "the server sent an unexpected '%c' message", at[0]);
    }
    turn->reply.swallowed = verdict == VERDICT_SWALLOW;
    if (turn->reply.swallowed)
        walk_cut(turn, walk);
    if (at[0] != WIRE_NOTICE && at[0] != WIRE_PARAMETER_STATUS && at[0] != WIRE_NOTIFICATION)
        down->last = at[0];
    down->passing = size;
    walk_pass(turn, walk);
    return OK;
}

/* Sends synthetic replies that are due between two messages. */
static fault walk_synthetic(struct turn *turn, struct walk *walk)
{
    walk_cut(turn, walk);
    return turn_give_synthetic(turn);
}

/* Walks past messages of which only the length and the ledger matter: rows, COPY data, and the
 * common replies to the client's own messages.  walk_message handles all others. */
static void walk_plain(struct turn *turn, struct walk *walk)
{
    struct direction *down = &turn->down;
    struct ledger *ledger = &turn->server->session.ledger;
    const uint8_t *bytes = down->chunk->bytes;
    uint32_t at = walk->at;
    uint8_t last = down->last;
    while (down->end - at >= WIRE_HEADER) {
        enum ledger_plain plain = ledger_plain(ledger, bytes[at]);
        uint32_t length = wire_u32(bytes + at + 1);
        if (plain == PLAIN_NOT || length < 4 || length > INT32_MAX)
            break; /* walk_message handles it */
        last = bytes[at];
        if (plain == PLAIN_ANSWER)
            ledger_strike(ledger);
        if (length >= down->end - at) {
            turn->reply.swallowed = false;
            down->passing = (uint64_t)length + 1 - (down->end - at);
            at = down->end;
            break;
        }
        at += length + 1;
    }
    down->last = last;
    walk->at = at;
}

static fault turn_walk_down(struct turn *turn)
{
    struct direction *down = &turn->down;
    const struct ledger *ledger = &turn->server->session.ledger;
    struct walk walk = {down->begin, down->begin};
    fault result = OK;
    while (walk.at != down->end && result == OK && down_has_room(turn)) {
        bool taken = true;
        if (down->passing > 0)
            walk_pass(turn, &walk);
        if (UNLIKELY(turn->reads.undecided) && down->passing == 0 && walk.at != down->end &&
            turn_reads_holds(turn, walk.at))
            break;
        if (down->passing == 0)
            walk_plain(turn, &walk);
        if (down->passing > 0)
            break;
        if (UNLIKELY(ledger_synthetic(ledger)))
            result = walk_synthetic(turn, &walk);
        if (result != OK || down->end - walk.at < WIRE_HEADER ||
            ledger_synthetic(ledger)) /* no room for all synthetic replies */
            break;
        result = walk_message(turn, &walk, &taken);
        if (!taken)
            break;
    }
    if (result == OK && down->passing == 0 && UNLIKELY(ledger_synthetic(ledger)))
        result = walk_synthetic(turn, &walk);
    walk_cut(turn, &walk);
    invariant(walk.run == walk.at && walk.at <= down->end);
    if (UNLIKELY((turn->looks & POOL_LOOKS_CALLS) != 0))
        turn_calls_walked(turn, walk.at - down->begin);
    down->begin = walk.at;
    if (turn->up.keeps)
        turn_lost_end(turn);
    return result;
}

/* --- reading and sending ---------------------------------------------------------------------- */

fault turn_send_down(struct turn *turn, bool *moved)
{
    struct direction *down = &turn->down;
    uint64_t sent = 0;
    if (direction_sent(down) || turn->client == NULL)
        return OK;
    fault result = outbox_send(&down->out, &turn->client->stream, &turn->relay->chunks, &sent);
    down->flushing = result == FAULT_AGAIN;
    *moved = *moved || sent > 0;
    hint_add(&turn->client->pool->stats.sent, sent);
    if (result == FAULT_AGAIN)
        return OK;
    TRY(result);
    direction_settle(down, &turn->relay->chunks);
    return OK;
}

/* Reads behind the bytes that are there, and walks them.  *more: more may be readable at once. */
static fault down_read(struct turn *turn, bool *moved, bool *more)
{
    struct direction *down = &turn->down;
    size_t size = 0;
    *more = false;
    if (down->chunk == NULL)
        TRY(turn_lend(turn, &down->chunk));
    if (outbox_empty(&down->out) && down->begin > 0) {
        memmove(down->chunk->bytes, down->chunk->bytes + down->begin, down->end - down->begin);
        down->end -= down->begin;
        down->begin = 0;
    }
    if (down->end == down->chunk->size)
        return OK;
    fault read = stream_read_some(&turn->server->stream, down->chunk->bytes + down->end,
                                  down->chunk->size - down->end, &size);
    if (read == FAULT_AGAIN)
        return OK;
    if (read != OK) {
        turn_server_ends(turn, SERVER_CLOSED);
        return OK;
    }
    down->end += (uint32_t)size;
    *moved = true;
    turn_bulk_came(turn, (uint32_t)size);
    TRY(turn_walk_down(turn));
    *more = stream_may_read(&turn->server->stream) &&
            !ledger_empty(&turn->server->session.ledger) &&
            down->chunk->size - down->end >= ROOM_WORTH_READING && down_has_room(turn);
    return OK;
}

static bool down_may_read(const struct turn *turn)
{
    const struct server *server = turn->server;
    return server != NULL && turn->server_end != SERVER_CLOSED && direction_sent(&turn->down) &&
           (stream_may_read(&server->stream) || stream_hung_up(&server->stream) ||
            turn->server_end != SERVER_OPEN);
}

fault turn_down(struct turn *turn, bool *moved)
{
    if (!direction_sent(&turn->down))
        TRY(turn_send_down(turn, moved));
    if (turn->server != NULL && direction_sent(&turn->down) && turn->down.begin != turn->down.end &&
        turn->reply.blocked) {
        turn->reply.blocked = false;
        TRY(turn_walk_down(turn));
        *moved = true;
    }
    if (turn->server != NULL && direction_sent(&turn->down) && turn->down.passing == 0 &&
        UNLIKELY(ledger_synthetic(&turn->server->session.ledger))) {
        TRY(turn_give_synthetic(turn));
        *moved = true;
    }
    bool more = down_may_read(turn);
    while (more)
        TRY(down_read(turn, moved, &more));
    turn->reply.blocked =
        turn->server != NULL && turn->down.begin != turn->down.end && !down_has_room(turn);
    if (!direction_sent(&turn->down))
        TRY(turn_send_down(turn, moved));
    if (turn_server_is_gone(turn) && direction_sent(&turn->down))
        return FAULT_UPSTREAM;
    if (turn->server == NULL || turn->down.begin == turn->down.end)
        direction_settle(&turn->down, &turn->relay->chunks);
    return turn->state_fault;
}
