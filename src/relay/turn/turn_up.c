/* turn_up.c - the direction from the client to the server. */
#include "machine/clock.h"
#include "query/effects.h"
#include "query/outcome.h"
#include "relay/client_log.h"
#include "relay/flight/flight_shadow.h"
#include "relay/flight/flight_writes.h"
#include "relay/turn/turn_firewall.h"
#include "relay/turn/turn_reads.h"
#include "wire/messages.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* PostgreSQL's own limit of a message: MaxAllocSize, 1 GB - 1. */
#define MESSAGE_MAX 0x3fffffffu
/* Made bytes and ledger entries that one message may need at most. */
#define MADE_A_MESSAGE 1024u
#define OWED_A_MESSAGE 8u

void direction_settle(struct direction *direction, struct chunk_store *store)
{
    if (direction->begin != direction->end || !outbox_empty(&direction->out) || direction->keeps)
        return;
    direction->begin = direction->end = 0;
    chunk_return(store, &direction->chunk);
}

fault turn_say(struct turn *turn, struct buffer *message)
{
    fault made = buffer_fault(message);
    if (made == OK && message->size > 0) {
        uint8_t *at = outbox_make(&turn->down.out, &turn->relay->chunks, message->size);
        if (at == NULL)
            made = FAULT_MEMORY;
        else
            memcpy(at, message->at, message->size);
        if (turn->client != NULL && UNLIKELY(turn->client->shadow != NULL))
            flight_shadow_take(turn->client, buffer_span(message));
    }
    buffer_fini(message);
    return made;
}

static fault turn_say_ready(struct turn *turn)
{
    uint8_t *at = outbox_make(&turn->down.out, &turn->relay->chunks, 6);
    if (at == NULL)
        return FAULT_MEMORY;
    at[0] = WIRE_READY;
    wire_store_u32(at + 1, 5);
    at[5] = WIRE_TX_IDLE;
    if (turn->client != NULL && UNLIKELY(turn->client->shadow != NULL))
        flight_shadow_take(turn->client, span_of(at, 6));
    return OK;
}

/* --- messages without a server ---------------------------------------------------------------- */

fault turn_refuse(struct turn *turn, const char *sqlstate, const char *text)
{
    struct direction *up = &turn->up;
    struct buffer out = BUFFER_INIT(4096);
    char ids[CLIENT_IDS_SIZE];
    struct wire_report report = {
        .severity = "ERROR",
        .sqlstate = sqlstate,
        .message = text,
        .detail = client_ids(turn->client, NULL, ids, sizeof(ids)),
    };
    turn->message.again = turn->client->judged = false;
    snprintf(turn->refused_state, sizeof(turn->refused_state), "%s", sqlstate);
    snprintf(turn->refused_text, sizeof(turn->refused_text), "%s", text);
    wire_put_report(&out, &report);
    TRY(turn_say(turn, &out));
    if (up->end - up->begin < WIRE_HEADER)
        return OK;
    const uint8_t *at = up->chunk->bytes + up->begin;
    if (at[0] != WIRE_QUERY && at[0] != WIRE_FUNCTION_CALL) {
        turn->client->skipping = true; /* as a server would, up to the Sync */
        return OK;
    }
    up->dropping = (uint64_t)wire_u32(at + 1) + 1;
    turn->message.ready_after = true;
    return OK;
}

/* Handles a message while there is no server, or while a refused batch is skipped. */
static fault up_local(struct turn *turn, uint8_t type)
{
    if (type == WIRE_TERMINATE) {
        turn_become(turn, TURN_CLOSING);
        return OK;
    }
    if (type != WIRE_SYNC)
        return OK;
    turn->client->skipping = false;
    return turn_say_ready(turn);
}

/* Classes of a client's messages, by type. */
enum {
    CLASS_KNOWN = 1,
    CLASS_LOCAL = 2,     /* needs no server */
    CLASS_BARE = 4,      /* consists of its header only */
    CLASS_STATEMENT = 8, /* names a prepared statement, or may */
    CLASS_TEXT = 16,     /* holds SQL */
    CLASS_NAMES = 32,    /* depends on which statement names exist, or may */
    CLASS_OPEN = 64,     /* may run SQL whose outcome is open if the server is lost */
};
static const uint8_t classes[256] = {
    [WIRE_QUERY] = CLASS_KNOWN | CLASS_TEXT | CLASS_NAMES | CLASS_OPEN,
    [WIRE_FUNCTION_CALL] = CLASS_KNOWN | CLASS_OPEN,
    [WIRE_EXECUTE] = CLASS_KNOWN | CLASS_NAMES,
    [WIRE_PARSE] = CLASS_KNOWN | CLASS_STATEMENT | CLASS_TEXT | CLASS_NAMES,
    [WIRE_BIND] = CLASS_KNOWN | CLASS_STATEMENT | CLASS_NAMES | CLASS_OPEN,
    [WIRE_DESCRIBE] = CLASS_KNOWN | CLASS_STATEMENT | CLASS_NAMES,
    [WIRE_CLOSE] = CLASS_KNOWN | CLASS_STATEMENT | CLASS_NAMES,
    [WIRE_SYNC] = CLASS_KNOWN | CLASS_LOCAL | CLASS_BARE,
    [WIRE_FLUSH] = CLASS_KNOWN | CLASS_LOCAL | CLASS_BARE,
    [WIRE_TERMINATE] = CLASS_KNOWN | CLASS_LOCAL | CLASS_BARE,
    [WIRE_COPY_DATA] = CLASS_KNOWN | CLASS_LOCAL,
    [WIRE_COPY_DONE] = CLASS_KNOWN | CLASS_LOCAL | CLASS_BARE,
    [WIRE_COPY_FAIL] = CLASS_KNOWN | CLASS_LOCAL,
};

static bool type_is(uint8_t type, uint8_t class)
{
    return (classes[type] & class) != 0;
}

bool turn_needs_server(uint8_t type)
{
    return (classes[type] & (CLASS_KNOWN | CLASS_LOCAL)) == CLASS_KNOWN;
}

/* --- messages with a server ------------------------------------------------------------------- */

static void up_owe(struct turn *turn, enum owed_kind kind)
{
    ledger_owe(&turn->server->session.ledger, (struct owed){.kind = (uint8_t)kind});
}

/* Notes what the server will owe for a message that is forwarded as it is. */
static void up_note(struct turn *turn, uint8_t type)
{
    switch (type) {
    case WIRE_QUERY:
        turn_forget_unnamed(turn);
        up_owe(turn, OWED_QUERY);
        return;
    case WIRE_FUNCTION_CALL:
        turn->server->session.altered = true;
        up_owe(turn, OWED_FUNCTION);
        return;
    case WIRE_SYNC:
        up_owe(turn, OWED_SYNC);
        return;
    case WIRE_PARSE:
        up_owe(turn, OWED_PARSE);
        return;
    case WIRE_BIND:
        up_owe(turn, OWED_BIND);
        return;
    case WIRE_DESCRIBE:
        up_owe(turn, OWED_DESCRIBE);
        return;
    case WIRE_CLOSE:
        up_owe(turn, OWED_CLOSE);
        return;
    case WIRE_COPY_DONE:
    case WIRE_COPY_FAIL:
        ledger_copy_ends(&turn->server->session.ledger);
        return;
    default:
        return;
    }
}

/* Whether the message is a Describe of the unnamed portal, as drivers send it with every query: it
 * names no statement. */
static bool describes_portal(const uint8_t *at, uint32_t size)
{
    return at[0] == WIRE_DESCRIBE && size == WIRE_HEADER + 2 && at[WIRE_HEADER] == 'P' &&
           at[WIRE_HEADER + 1] == '\0';
}

/* Returns the SQL of a Query, or of a Parse behind its name. */
static struct span text_of(const uint8_t *at, uint32_t here)
{
    struct span body = span_of(at + WIRE_HEADER, here - WIRE_HEADER);
    if (at[0] != WIRE_PARSE || body.size == 0)
        return body;
    return span_skip(body, strnlen((const char *)body.at, body.size) + 1);
}

/* Notes what a message that is about to be sent leaves open if the server is lost.  The text of a
 * statement counts with its Bind, see turn_statement.c. */
static void turn_note_sent(struct turn *turn, uint8_t type, const uint8_t *at, uint32_t size)
{
    struct session *session = &turn->server->session;
    if (type != WIRE_QUERY && !(type == WIRE_BIND && turn_remaps(turn)))
        turn_note_run(turn, type == WIRE_FUNCTION_CALL ? SPAN("execute") : SPAN_NONE);
    if (type == WIRE_QUERY) /* of a pool that does not look at texts */
        session->unanswered |= query_outcome_of(span_of(at + WIRE_HEADER, size - WIRE_HEADER));
    else if (type == WIRE_FUNCTION_CALL)
        session->unanswered |= QUERY_OPEN_WRITE;
    else if (type == WIRE_BIND && !turn_remaps(turn)) /* the text of its statement is not known */
        session->unanswered |= QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT;
}

/* Whether a text may have effects on its session.  Notes what a Query leaves open if the server is
 * lost. */
static inline bool up_filters(struct turn *turn, uint8_t type, struct span text)
{
    uint8_t outcome;
    bool effects = query_filter(text, &outcome);
    if (type == WIRE_QUERY)
        turn->server->session.unanswered |= outcome;
    return effects;
}

/* Writes the entry of an Execute.  Its size tells whether the portal has a name. */
static void up_note_execute(struct turn *turn, uint32_t size)
{
    ledger_owe(&turn->server->session.ledger,
               (struct owed){.kind = OWED_EXECUTE, .named = size > WIRE_HEADER + 5});
}

static COLD fault up_look(struct turn *turn, uint8_t type, const uint8_t *at, uint32_t size)
{
    if ((turn->looks & POOL_LOOKS_CALLS) != 0)
        TRY(turn_calls_look(turn, type, span_of(at + WIRE_HEADER, size - WIRE_HEADER), true));
    if ((turn->looks & POOL_LOOKS_LOG) != 0)
        client_log_text(turn->client, turn->server, type,
                        span_of(at + WIRE_HEADER, size - WIRE_HEADER));
    if (type == WIRE_QUERY)
        turn_note_run(turn, text_of(at, size));
    else if (type == WIRE_PARSE && turn->server->writes != NULL)
        flight_writes_parsed(turn, text_of(at, size));
    return OK;
}

/* Notes what the beginning of a long message may write. */
static void up_note_long(struct turn *turn, uint8_t type, struct span begin)
{
    if (type == WIRE_QUERY && turn->server->writes != NULL)
        flight_writes_begin(turn, begin);
    else if (type == WIRE_PARSE && turn->server->writes != NULL)
        flight_writes_parsed_long(turn, begin);
    turn_note_run(turn,
                  type == WIRE_QUERY || type == WIRE_FUNCTION_CALL ? SPAN("execute") : SPAN_NONE);
}

static fault up_whole(struct turn *turn, uint8_t type, const uint8_t *at, uint32_t size)
{
    if (turn->client->skipping || turn->server == NULL)
        return up_local(turn, type);
    if (type == WIRE_TERMINATE) {
        turn_become(turn, TURN_CLOSING);
        return OK;
    }
    if (UNLIKELY(turn->looks != 0))
        TRY(up_look(turn, type, at, size));
    if (type_is(type, CLASS_OPEN) && (type != WIRE_QUERY || !turn_gates(turn)))
        turn_note_sent(turn, type, at, size);
    if (type_is(type, CLASS_STATEMENT) && turn_remaps(turn) && !describes_portal(at, size))
        return turn_statement(turn, type, at, size);
    if (type_is(type, CLASS_TEXT) && turn_gates(turn) &&
        UNLIKELY(up_filters(turn, type, text_of(at, size)) || turn->server->session.path_unsure)) {
        bool taken;
        turn->server->session.altered = true;
        TRY(turn_pin_text(turn, at, size, &taken));
        if (taken)
            return OK;
    }
    if (UNLIKELY(turn->server->session.giving != NULL) && type == WIRE_EXECUTE) {
        bool taken;
        TRY(turn_deallocate_execute(turn, at, size, &taken));
        if (taken)
            return OK;
    }
    if (type == WIRE_EXECUTE)
        up_note_execute(turn, size);
    else
        up_note(turn, type);
    outbox_run(&turn->up.out, at, size);
    return OK;
}

/* Handles a Bind that is longer than a chunk: its names are needed before any of it is sent. */
static fault up_long_bind(struct turn *turn, const uint8_t *at, uint32_t here)
{
    struct wire_bind_names names;
    if (wire_read_bind_names(span_of(at + WIRE_HEADER, here - WIRE_HEADER), &names) == OK)
        return turn_statement(turn, WIRE_BIND, at, here);
    if (here == turn->up.chunk->size)
        return fault_raise(FAULT_LIMIT, "the names in a Bind message do not fit into chunk_size=%u",
                           here);
    turn->message.starved = true;
    return OK;
}

static fault up_hold(struct turn *turn, uint8_t type, uint32_t size)
{
    uint32_t max = turn->relay->pools.config->message_max;
    if (size > max)
        return fault_raise(FAULT_LIMIT, "a '%c' message of %u bytes, the limit is message_limit=%u",
                           type, size, max);
    return turn_hold(turn, size);
}

/* Handles a Parse that is longer than a chunk.  An unnamed one that is too long to be kept is
 * forwarded as it arrives; others are held until they are whole. */
static fault up_long_parse(struct turn *turn, const uint8_t *at, uint32_t size)
{
    uint32_t here = turn->up.end - turn->up.begin;
    if (here == WIRE_HEADER) {
        turn->message.starved = true;
        return OK;
    }
    if (at[WIRE_HEADER] == '\0' && size > CLIENT_UNNAMED_MAX + WIRE_HEADER + 1)
        return turn_statement(turn, WIRE_PARSE, at, here);
    return up_hold(turn, WIRE_PARSE, size);
}

/* Handles a message that is longer than a chunk: holds it if it must be seen whole, else streams
 * it. */
static fault up_long(struct turn *turn, uint8_t type, uint32_t size)
{
    struct direction *up = &turn->up;
    const uint8_t *at = up->chunk->bytes + up->begin;
    if (turn->client->skipping || turn->server == NULL) {
        up->dropping = size;
        return OK;
    }
    if (UNLIKELY((turn->looks & POOL_LOOKS_CALLS) != 0))
        TRY(turn_calls_look(turn, type,
                            span_of(at + WIRE_HEADER, up->end - up->begin - WIRE_HEADER), false));
    if (type_is(type, CLASS_STATEMENT) && turn_remaps(turn)) {
        if (type == WIRE_BIND)
            return up_long_bind(turn, at, up->end - up->begin);
        return type == WIRE_PARSE ? up_long_parse(turn, at, size) : up_hold(turn, type, size);
    }
    if (type == WIRE_EXECUTE)
        up_note_execute(turn, size);
    else
        up_note(turn, type);
    up->passing = size;
    up_note_long(turn, type, text_of(at, up->end - up->begin));
    turn->server->session.unanswered |= QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT;
    turn->server->session.altered = true; /* most likely a long SQL text */
    if (type_is(type, CLASS_TEXT) && turn_gates(turn))
        return turn_pin_long(turn, text_of(at, up->end - up->begin));
    return OK;
}

/* Handles a message of which not all has arrived.  OK with turn->message.starved: wait for more of
 * it. */
static fault up_part(struct turn *turn, uint8_t type, uint32_t size)
{
    struct direction *up = &turn->up;
    if (type == WIRE_COPY_DATA && turn->server != NULL && !turn->client->skipping) {
        up->passing = size;
        return OK;
    }
    if (size > up->chunk->size)
        return up_long(turn, type, size);
    turn->message.starved = true;
    return OK;
}

/* --- the rest of a message begun earlier ------------------------------------------------------ */

static uint32_t direction_take(struct direction *direction, uint64_t max)
{
    uint32_t here = direction->end - direction->begin;
    uint32_t step = max < here ? (uint32_t)max : here;
    direction->begin += step;
    return step;
}

/* Handles a held message that is whole by now. */
static fault up_held(struct turn *turn)
{
    if (UNLIKELY((turn->looks & POOL_LOOKS_CALLS) != 0))
        TRY(turn_calls_look(turn, turn->held[0],
                            span_of(turn->held + WIRE_HEADER, turn->held_max - WIRE_HEADER), true));
    TRY(turn_statement_held(turn));
    if (UNLIKELY((turn->looks & POOL_LOOKS_CALLS) != 0))
        turn_calls_sent(turn);
    return OK;
}

/* Continues a message begun earlier.  *whole false: it takes all bytes here, and more follow. */
static fault up_continue(struct turn *turn, bool *whole)
{
    struct direction *up = &turn->up;
    *whole = true;
    if (up->dropping > 0) {
        up->dropping -= direction_take(up, up->dropping);
        *whole = up->dropping == 0;
        if (*whole && turn->message.ready_after) {
            turn->message.ready_after = false;
            return turn_say_ready(turn);
        }
    } else if (up->passing > 0) {
        const uint8_t *at = up->chunk->bytes + up->begin;
        uint32_t step = direction_take(up, up->passing);
        outbox_run(&up->out, at, step);
        up->passing -= step;
        *whole = up->passing == 0;
        if (UNLIKELY(turn->looks != 0) && turn->server->writes != NULL)
            flight_writes_part(turn, span_of(at, step), *whole);
        if (UNLIKELY(turn->message.scans))
            return turn_pin_part(turn, span_of(at, step));
    } else if (turn->held != NULL) {
        const uint8_t *at = up->chunk->bytes + up->begin;
        invariant(turn->held_size < turn->held_max);
        uint32_t step = direction_take(up, turn->held_max - turn->held_size);
        memcpy(turn->held + turn->held_size, at, step);
        turn->held_size += step;
        *whole = turn->held_size == turn->held_max;
        if (*whole)
            return up_held(turn);
    }
    return OK;
}

/* --- the walk --------------------------------------------------------------------------------- */

static bool up_has_room(struct turn *turn)
{
    struct chunk_store *store = &turn->relay->chunks;
    return outbox_has_room(&turn->up.out, store, MADE_A_MESSAGE) &&
           outbox_has_room(&turn->down.out, store, MADE_A_MESSAGE) &&
           (turn->server == NULL || ledger_has_room(&turn->server->session.ledger, OWED_A_MESSAGE));
}

static uint32_t length_max(uint8_t type)
{
    return type_is(type, CLASS_BARE) ? 4 : MESSAGE_MAX;
}

static bool header_good(uint8_t type, uint32_t length)
{
    return type_is(type, CLASS_KNOWN) && length >= 4 && length <= length_max(type);
}

fault turn_check_header(const uint8_t header[WIRE_HEADER])
{
    uint8_t type = header[0];
    uint32_t length = wire_u32(header + 1);
    if (LIKELY(header_good(type, length)))
        return OK;
    if (!type_is(type, CLASS_KNOWN))
        return fault_raise(FAULT_PROTOCOL, "invalid frontend message type %u", type);
    return fault_raise(FAULT_PROTOCOL, "invalid length %u of a '%c' message, the limit is %u",
                       length, type, length_max(type));
}

/* Handles the message at `at`, or as much of it as has arrived. */
static ALWAYS_INLINE fault up_message(struct turn *turn, const uint8_t *at)
{
    struct direction *up = &turn->up;
    uint8_t type = at[0];
    uint32_t length = wire_u32(at + 1), size = length + 1;
    if (UNLIKELY(!header_good(type, length)))
        return turn_check_header(at);
    bool whole = up->end - up->begin >= size;
    if (UNLIKELY((turn->looks & POOL_LOOKS_FIREWALL) != 0)) {
        bool taken;
        TRY(turn_firewall(turn, &taken));
        if (taken)
            return OK;
        at = up->chunk->bytes + up->begin; /* more of it may have arrived */
    }
    if (turn->server == NULL && !turn->client->skipping && turn_needs_server(type) &&
        (whole || size > up->chunk->size)) {
        turn->message.again = true;
        return turn_claim(turn);
    }
    if (!whole)
        return up_part(turn, type, size);
    up->begin += size;
    return up_whole(turn, type, at, size);
}

fault turn_walk_up(struct turn *turn)
{
    struct direction *up = &turn->up;
    turn->message.starved = false;
    while (up->begin != up->end && turn->state == TURN_SERVING && up_has_room(turn)) {
        bool whole;
        TRY(up_continue(turn, &whole));
        if (!whole || up->begin == up->end || UNLIKELY(up->out.owned != NULL))
            return OK; /* a held message is sent before another one is made */
        if (up->end - up->begin < WIRE_HEADER) {
            turn->message.starved = true;
            return OK;
        }
        const uint8_t *at = up->chunk->bytes + up->begin;
        turn->message.awaits =
            (type_is(at[0], CLASS_NAMES) && turn_awaits_names(turn, at, up->end - up->begin)) ||
            (UNLIKELY(turn->resets.any) && turn_awaits_restore(turn, at[0])) ||
            (UNLIKELY(turn->reads.stopped) && turn_reads_stops(turn));
        if (turn->message.awaits)
            return OK;
        uint32_t begin = up->begin;
        uint8_t type = at[0];
        TRY(up_message(turn, at));
        if (UNLIKELY(turn->message.awaits)) { /* the message is walked again later */
            up->begin = begin;
            turn->message.again = true;
            return OK;
        }
        if (UNLIKELY(turn->reads.watched) && up->begin != begin)
            turn_reads_sent(turn, type);
        if (UNLIKELY((turn->looks & POOL_LOOKS_CALLS) != 0))
            turn_calls_sent(turn);
        if (turn->message.starved)
            return OK;
    }
    return OK;
}

fault turn_send_up(struct turn *turn, bool *moved)
{
    struct direction *up = &turn->up;
    uint64_t sent = 0;
    if (direction_sent(up))
        return OK;
    invariant(turn->server != NULL);
    fault result = outbox_send(&up->out, &turn->server->stream, &turn->relay->chunks, &sent);
    up->flushing = result == FAULT_AGAIN;
    *moved = *moved || sent > 0;
    if (result == OK)
        direction_settle(up, &turn->relay->chunks);
    else if (result != FAULT_AGAIN)
        turn_server_ends(turn, SERVER_UNWRITABLE); /* its last messages are read first */
    return OK;
}

/* Reads behind the bytes that are there.  Makes room by moving them to the front of the chunk. */
static fault up_read(struct turn *turn, bool *moved)
{
    struct direction *up = &turn->up;
    size_t size = 0;
    if (up->chunk == NULL)
        TRY(turn_lend(turn, &up->chunk));
    up->keeps = turn->reads.undecided = false;
    if (UNLIKELY(turn->reads.unrun))
        turn_reads_runs(turn);
    if (up->begin > 0) {
        memmove(up->chunk->bytes, up->chunk->bytes + up->begin, up->end - up->begin);
        up->end -= up->begin;
        up->begin = 0;
    }
    invariant(up->end < up->chunk->size);
    fault read = stream_read_some(&turn->client->stream, up->chunk->bytes + up->end,
                                  up->chunk->size - up->end, &size);
    if (read == FAULT_AGAIN) {
        direction_settle(up, &turn->relay->chunks);
        return OK;
    }
    TRY(read);
    up->end += (uint32_t)size;
    hint_add(&turn->client->pool->stats.received, size);
    turn->message.starved = false;
    turn->bulk.bytes = 0;
    *moved = true;
    return OK;
}

static bool up_may_read(const struct turn *turn)
{
    const struct direction *up = &turn->up;
    bool walked = up->begin == up->end || turn->message.starved;
    if (UNLIKELY(turn->reads.undecided || turn->reads.again) &&
        !stream_hung_up(&turn->client->stream))
        return false; /* what was sent may be sent again from its chunk */
    return walked && outbox_empty(&up->out) && turn->state == TURN_SERVING &&
           (stream_may_read(&turn->client->stream) || stream_hung_up(&turn->client->stream));
}

/* Starts the time of a query, and of a transaction if none is open: not at the reply before. */
static void turn_query_begins(struct turn *turn)
{
    moment at = now();
    turn->server->used = at;
    if (turn->server->session.transaction == WIRE_TX_IDLE)
        turn->client->since = at;
}

/* Whether the client has disconnected while its messages are still on their way, or wait for
 * replies that may never come.  Its turn ends at once then. */
static bool turn_is_left(const struct turn *turn)
{
    bool waits = turn->up.begin != turn->up.end && !turn->message.starved && turn->server != NULL &&
                 turn->server->session.ledger.murky;
    return (waits || turn->message.awaits || !outbox_empty(&turn->up.out)) &&
           turn->state == TURN_SERVING && stream_hung_up(&turn->client->stream);
}

/* Sends what is there to be sent; most often there is nothing. */
static ALWAYS_INLINE fault up_send(struct turn *turn, bool *moved)
{
    return LIKELY(direction_sent(&turn->up)) ? OK : turn_send_up(turn, moved);
}

fault turn_up(struct turn *turn, bool *moved)
{
    TRY(up_send(turn, moved));
    if (turn->client == NULL)
        return OK;
    if (turn->server_end != SERVER_OPEN)
        return OK;
    if (turn_is_left(turn))
        return FAULT_CLOSED;
    if (up_may_read(turn))
        TRY(up_read(turn, moved));
    if (outbox_empty(&turn->up.out) && turn->up.begin != turn->up.end && !turn->message.starved) {
        uint32_t begin = turn->up.begin;
        bool idle = turn->server != NULL && ledger_empty(&turn->server->session.ledger);
        if (UNLIKELY(turn->reads.watched) && idle)
            turn_reads_look(turn);
        TRY(turn_walk_up(turn));
        if (idle && turn->server != NULL && !ledger_empty(&turn->server->session.ledger))
            turn_query_begins(turn);
        /* The rest of a message may have arrived since, which was no reason to read before. */
        bool more = turn->message.starved && stream_may_read(&turn->client->stream);
        if (turn->up.begin != begin)
            turn->client->silent = (moment){0};
        *moved = *moved || more || turn->up.begin != begin;
        TRY(turn_send_up(turn, moved));
    }
    if (turn->state == TURN_CLOSING || turn->up.begin == turn->up.end)
        direction_settle(&turn->up, &turn->relay->chunks);
    return OK;
}
