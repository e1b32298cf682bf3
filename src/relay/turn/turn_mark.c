/*
 * turn_mark.c - proves that a server has sent all its replies, before another client gets it.
 *
 * The ledger counts what a server owes.  After a COPY, a cancel request or a reply out of order the
 * count may be wrong, and a reply too many would go to the next client.  So such a server gets a
 * mark: a query that has only one possible result, a row of 128 random bits.  Replies before that
 * row belong to earlier messages; what comes behind it, up to ReadyForQuery, belongs to the mark.
 * Why it can't be mistaken: docs/internals/ledger.md
 */
#include "machine/clock.h"
#include "machine/ids.h"
#include "machine/log.h"
#include "relay/cancel.h"
#include "relay/turn/turn.h"
#include "session/pin.h"
#include "wire/messages.h"

#include <inttypes.h>

/* Read committed: under the defaults SERIALIZABLE READ ONLY DEFERRABLE the SELECT could block. */
static const char mark_begin[] = "begin isolation level read committed; ";

/* --- sending the mark ------------------------------------------------------------------------- */

static void mark_draw(char mark[MARK_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bits[(MARK_SIZE - 1) / 2];
    random_bytes(bits, sizeof(bits));
    for (size_t i = 0; i < sizeof(bits); i++) {
        mark[2 * i] = digits[bits[i] >> 4];
        mark[2 * i + 1] = digits[bits[i] & 15];
    }
    mark[MARK_SIZE - 1] = '\0';
}

static void put_mark(struct buffer *out, const char *mark, struct span cleaning)
{
    size_t start = wire_begin(out, WIRE_QUERY);
    buffer_append(out, mark_begin, sizeof(mark_begin) - 1);
    if (cleaning.size > 0) {
        buffer_append(out, cleaning.at, cleaning.size); /* each ends in a semicolon */
        buffer_append_byte(out, ' ');
    }
    buffer_append(out, "select '", 8);
    buffer_append(out, mark, MARK_SIZE - 1);
    buffer_append(out, "'; ", 3);
    wire_put_text(out, cleaning.size > 0 ? "commit" : "rollback");
    wire_end(out, start);
}

/* Waits for the mark's reply; earlier replies go where they belong. */
static fault mark_await(struct turn *turn, deadline by)
{
    struct ledger *ledger = &turn->server->session.ledger;
    while (!ledger_empty(ledger) || !direction_sent(&turn->up)) {
        bool moved = false;
        TRY(turn_send_up(turn, &moved));
        fault went = turn_down(turn, &moved);
        if (turn_server_is_gone(turn) || (went == OK && turn->server_end != SERVER_OPEN))
            return fault_raise(FAULT_UPSTREAM, "the server ended the connection");
        TRY(went);
        if (!moved)
            TRY(turn_wait(turn, by));
    }
    if (turn->server->session.transaction != WIRE_TX_IDLE)
        return fault_raise(FAULT_PROTOCOL, "its transaction could not be ended");
    return OK;
}

static void mark_settled(struct server *server)
{
    if ((server->session.ledger.doubt & DOUBT_BROKEN) != 0)
        server->until = (deadline){0}; /* expires: its prepared statements are not known */
    server->session.ledger.doubt = 0;
    hint_add(&local_pool_relay(server->pool)->hints.marks, 1);
}

fault turn_mark(struct turn *turn, struct buffer *out, struct span cleaning, deadline by)
{
    struct server *server = turn->server;
    invariant(server != NULL && !ledger_marking(&server->session.ledger));
    bool room = ledger_has_room(&server->session.ledger, 1);
    mark_draw(turn->mark);
    put_mark(out, turn->mark, cleaning);
    if (!room || buffer_fault(out) != OK) {
        buffer_fini(out);
        return FAULT_MEMORY;
    }
    server->session.unnamed.of = 0; /* a simple query destroys it */
    ledger_owe(&server->session.ledger, (struct owed){.kind = OWED_MARK, .fate = FATE_SWALLOW});
    outbox_take_heap(&turn->up.out, out->at, out->size);
    turn_bulk_end(turn);
    TRY(mark_await(turn, by));
    mark_settled(server);
    return OK;
}

/* --- the mark's reply ------------------------------------------------------------------------- */

static bool row_is(struct span row, const char *mark)
{
    const size_t head = 6, size = MARK_SIZE - 1; /* count of columns, length of the value */
    return row.size == head + size && wire_u16(row.at) == 1 && wire_u32(row.at + 2) == size &&
           memcmp(row.at + head, mark, size) == 0;
}

/* Whether an error means that the mark failed: messages that a disconnected client left may fail in
 * front of the mark. */
static bool mark_may_fail(const struct turn *turn)
{
    return turn->state != TURN_ABANDONED || turn->server->session.ledger.mark_shown;
}

static fault mark_refused(struct turn *turn, const struct wire_error *error)
{
    turn_server_ends(turn, SERVER_UNWRITABLE);
    return fault_raise(FAULT_UPSTREAM, "it answered a mark by an error: %.*s",
                       (int)MIN_OF(error->message.size, (size_t)200),
                       (const char *)error->message.at);
}

fault turn_take_mark(struct turn *turn, uint8_t type, struct span body)
{
    struct ledger *ledger = &turn->server->session.ledger;
    struct wire_error error = {0};
    if (type == WIRE_ERROR)
        (void)!wire_read_error(body, &error);
    /* A FATAL error, which may come at any time, is not the mark's reply. */
    if (span_is(error.severity, "FATAL") && !ledger->mark_begun) {
        turn_server_ends(turn, SERVER_CLOSED);
        return mark_refused(turn, &error);
    }
    ledger_align(ledger, type);
    const struct owed *head = ledger_head(ledger);
    if (head == NULL || head->kind != OWED_MARK)
        return OK;
    if (type == WIRE_DATA_ROW && ledger->mark_begun && row_is(body, turn->mark))
        ledger_mark_shown(ledger);
    if (type != WIRE_ERROR || !mark_may_fail(turn))
        return OK;
    return mark_refused(turn, &error);
}

/* --- a server whose mark failed --------------------------------------------------------------- */

void turn_tell_unmarked(const struct server *server, const char *why)
{
    hint_add(&local_pool_relay(server->pool)->hints.unmarked, 1);
    log_event(LOG_WARNING, "server.unmarked", log_id("server", &server->id),
              log_text("database", server->pool->database), log_text("user", server->pool->user),
              log_number("server_pid", server->pid),
              log_number("doubt", server->session.ledger.doubt), log_quote("reason", why));
}

static void drop_server_bytes(struct turn *turn)
{
    struct chunk_store *chunks = &turn->relay->chunks;
    outbox_drop(&turn->up.out, chunks);
    turn->up.flushing = false;
    turn->down.begin = turn->down.end;
    turn->down.passing = 0;
    turn->reply.blocked = false;
    turn->state_fault = OK;
}

/* Detaches a server whose mark failed, to be closed; its client goes on without it. */
static void unmarked_leaves(struct turn *turn, const char *why)
{
    struct server *server = turn->server;
    turn_tell_unmarked(server, why);
    ledger_fini(&server->session.ledger);
    server_free_pin(server);
    server->broken = true;
    drop_server_bytes(turn);
    turn_detach_server(turn);
}

/* --- marking while the client is connected ---------------------------------------------------- */

/* Handles a failed mark.  If nothing of its reply came, it is unknown whether the client's Syncs
 * were answered: the client is told that its server is lost, as on a direct connection. */
static fault unproven(struct turn *turn, fault why)
{
    bool cut =
        turn->down.passing > 0 && !turn->reply.swallowed; /* the client has a part of a message */
    if (turn->server->session.ledger.mark_begun && !cut) {
        unmarked_leaves(turn, fault_detail(why));
        return OK;
    }
    if (why == FAULT_UPSTREAM)
        return why;
    return fault_raise_state(FAULT_UPSTREAM, "08006",
                             "the server did not answer within %" PRId64 " ms",
                             turn->relay->pools.config->reset_timeout.us / 1000);
}

fault turn_prove(struct turn *turn)
{
    struct buffer out = BUFFER_INIT(256);
    fault marked =
        turn_mark(turn, &out, SPAN_NONE, after(turn->relay->pools.config->reset_timeout));
    bool servers =
        turn->server_end != SERVER_OPEN || marked == FAULT_TIMEOUT || marked == FAULT_PROTOCOL;
    return marked == OK || !servers ? marked : unproven(turn, marked);
}

/* --- marking a free server -------------------------------------------------------------------- */

static void mark_main(void *argument)
{
    struct server *server = argument;
    struct relay *relay = local_pool_relay(server->pool);
    struct buffer out = BUFFER_INIT(256);
    struct turn turn;
    turn_init(&turn, relay, NULL, server);
    server_keep(server);
    fault marked = turn_mark(&turn, &out, SPAN_NONE, after(relay->pools.config->reset_timeout));
    bool lost = turn.server_end != SERVER_OPEN;
    outbox_drop(&turn.up.out, &relay->chunks);
    outbox_drop(&turn.down.out, &relay->chunks);
    chunk_return(&relay->chunks, &turn.up.chunk);
    chunk_return(&relay->chunks, &turn.down.chunk);
    turn.server = NULL;
    if (marked == OK) {
        local_pool_free(server->pool, server);
        return;
    }
    turn_tell_unmarked(server, fault_detail(marked));
    ledger_fini(&server->session.ledger);
    server->broken = true;
    cancel_finish(server);
    server_close(&server, "it did not answer a mark", lost);
}

void turn_mark_alone(struct server *server)
{
    invariant(ledger_empty(&server->session.ledger));
    server_become(server, SERVER_CLEANING);
    if (co_start(mark_main, server, CO_SMALL) == OK)
        return;
    server->broken = true;
    server_close(&server, "no memory for a coroutine", false);
}
