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
#include "relay/turn/pin.h"
#include "relay/turn/turn.h"
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
    struct ledger *ledger = &turn->server->ledger;
    while (!ledger_empty(ledger) || !lane_sent(&turn->up)) {
        bool moved = false;
        TRY(turn_send_up(turn, &moved));
        fault went = turn_down(turn, &moved);
        if (turn->server_gone || turn->fatal || (went == OK && turn->server_lost))
            return fault_raise(FAULT_UPSTREAM, "the server ended the connection");
        TRY(went);
        if (!moved)
            TRY(turn_wait(turn, by));
    }
    if (turn->server->transaction != WIRE_TX_IDLE)
        return fault_raise(FAULT_PROTOCOL, "its transaction could not be ended");
    return OK;
}

static void mark_settled(struct server *server)
{
    if ((server->ledger.doubt & DOUBT_BROKEN) != 0)
        server->until = (deadline){0}; /* expires: its prepared statements are not known */
    server->ledger.doubt = 0;
    hint_add(&local_pool_relay(server->pool)->told.marks, 1);
}

fault turn_mark(struct turn *turn, struct buffer *out, struct span cleaning, deadline by)
{
    struct server *server = turn->server;
    invariant(server != NULL && !ledger_marking(&server->ledger));
    bool room = ledger_has_room(&server->ledger, 1);
    mark_draw(turn->mark);
    put_mark(out, turn->mark, cleaning);
    if (!room || buffer_fault(out) != OK) {
        buffer_fini(out);
        return FAULT_MEMORY;
    }
    server->unnamed_of = 0; /* a simple query destroys it */
    ledger_owe(&server->ledger, (struct owed){.kind = OWED_MARK, .fate = FATE_SWALLOW});
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
    return turn->client != NULL || !turn->abandoned || turn->server->ledger.mark_shown;
}

static fault mark_refused(struct turn *turn, const struct wire_error *error)
{
    turn->server_lost = true;
    return fault_raise(FAULT_UPSTREAM, "it answered a mark by an error: %.*s",
                       (int)MIN_OF(error->message.size, (size_t)200),
                       (const char *)error->message.at);
}

fault turn_take_mark(struct turn *turn, uint8_t type, struct span body)
{
    struct ledger *ledger = &turn->server->ledger;
    struct wire_error error = {0};
    if (type == WIRE_ERROR)
        (void)!wire_read_error(body, &error);
    /* A FATAL error, which may come at any time, is not the mark's reply. */
    if (span_is(error.severity, "FATAL") && !ledger->mark_begun) {
        turn->server_gone = true;
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
    char id[UUID_TEXT_SIZE];
    hint_add(&local_pool_relay(server->pool)->told.unmarked, 1);
    log_event(LOG_WARNING, "server.unmarked",
              "server=%s database=%s user=%s pid=%u doubt=%u reason=\"%s\"",
              uuid_text(&server->id, id), server->pool->database, server->pool->user, server->pid,
              server->ledger.doubt, why);
}

static void drop_server_bytes(struct turn *turn)
{
    struct chunk_store *chunks = &turn->relay->chunks;
    outbox_drop(&turn->up.out, chunks);
    turn->up.flushing = false;
    turn->down.begin = turn->down.end;
    turn->down.passing = 0;
    turn->server_lost = turn->server_gone = turn->fatal = turn->down_blocked = false;
    turn->state_fault = OK;
}

/* Detaches a server whose mark failed, to be closed; its client goes on without it. */
static void unmarked_leaves(struct turn *turn, const char *why)
{
    struct server *server = turn->server;
    turn_tell_unmarked(server, why);
    ledger_fini(&server->ledger);
    pin_free(server);
    server->broken = true;
    drop_server_bytes(turn);
    turn_detach_server(turn);
}

/* --- marking while the client is connected ---------------------------------------------------- */

/* Handles a failed mark.  If nothing of its reply came, it is unknown whether the client's Syncs
 * were answered: the client is told that its server is lost, as on a direct connection. */
static fault unproven(struct turn *turn, fault why)
{
    bool cut = turn->down.passing > 0 && !turn->muted; /* the client has a part of a message */
    if (turn->server->ledger.mark_begun && !cut) {
        unmarked_leaves(turn, fault_story(why));
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
    bool servers = turn->server_lost || turn->server_gone || turn->fatal ||
                   marked == FAULT_TIMEOUT || marked == FAULT_PROTOCOL;
    return marked == OK || !servers ? marked : unproven(turn, marked);
}

/* --- marking a free server -------------------------------------------------------------------- */

static void mark_main(void *argument)
{
    struct server *server = argument;
    struct relay *relay = local_pool_relay(server->pool);
    struct buffer out = BUFFER_INIT(256);
    struct turn turn;
    turn_init(&turn, relay, server);
    server_keep(server);
    fault marked = turn_mark(&turn, &out, SPAN_NONE, after(relay->pools.config->reset_timeout));
    bool lost = turn.server_lost || turn.server_gone;
    outbox_drop(&turn.up.out, &relay->chunks);
    outbox_drop(&turn.down.out, &relay->chunks);
    chunk_return(&relay->chunks, &turn.up.chunk);
    chunk_return(&relay->chunks, &turn.down.chunk);
    turn.server = NULL;
    if (marked == OK) {
        local_pool_free(server->pool, server);
        return;
    }
    turn_tell_unmarked(server, fault_story(marked));
    ledger_fini(&server->ledger);
    server->broken = true;
    cancel_finish(server);
    server_close(&server, "it did not answer a mark", lost);
}

void turn_mark_alone(struct server *server)
{
    invariant(ledger_empty(&server->ledger));
    server_become(server, SERVER_CLEANING);
    if (co_start(mark_main, server, CO_SMALL) == OK)
        return;
    server->broken = true;
    server_close(&server, "no memory for a coroutine", false);
}
