/*
 * turn_mark.c - where a server's answers are in step with its ledger, whatever came before.
 *
 * A cancel request may end a COPY before or after that has read the Syncs that were sent behind it,
 * and only who knows which can tell how many answers are still to come.  So before anybody else has
 * the server, it is asked for an answer that nothing else gets: to the Close of a statement that
 * never was.  What comes before that was owed to something before.
 */
#include "machine/clock.h"
#include "pooler/turn/turn.h"
#include "wire/messages.h"

static void put_mark(struct ledger *ledger, struct buffer *out)
{
    size_t start = wire_begin(out, WIRE_CLOSE);
    buffer_append_byte(out, 'S');
    wire_put_text(out, "tl_mark");
    wire_end(out, start);
    wire_put_empty(out, WIRE_SYNC);
    ledger_owe(ledger, (struct owed){.kind = OWED_MARK, .fate = FATE_SWALLOW});
}

fault turn_send_mark(struct turn *turn, struct buffer *out, deadline by)
{
    struct ledger *ledger = &turn->server->ledger;
    bool room = ledger_has_room(ledger, 1);
    if (room)
        put_mark(ledger, out);
    if (!room || buffer_fault(out) != OK) {
        buffer_fini(out);
        return FAULT_MEMORY;
    }
    outbox_take_heap(&turn->up.out, out->at, out->size);
    return turn_drain(turn, by);
}

static fault mark_ask(struct turn *turn, deadline by)
{
    const struct ledger *ledger = &turn->server->ledger;
    struct buffer out = BUFFER_INIT(256);
    invariant(ledger_empty(ledger) && !ledger->skipping);
    return turn_send_mark(turn, &out, by);
}

static void mark_main(void *argument)
{
    struct server *server = argument;
    struct relay *relay = server->share->relay;
    struct turn turn;
    turn_init(&turn, relay, server);
    server_keep(server);
    fault marked = mark_ask(&turn, after(relay->config->reset_timeout));
    bool lost = turn.server_lost || turn.server_gone;
    outbox_drop(&turn.up.out, &relay->chunks);
    outbox_drop(&turn.down.out, &relay->chunks);
    chunk_return(&relay->chunks, &turn.up.chunk);
    chunk_return(&relay->chunks, &turn.down.chunk);
    turn.server = NULL;
    if (marked == OK) {
        server->doubtful_cancel = false;
        share_free(server->share, server);
        return;
    }
    ledger_fini(&server->ledger);
    server->broken = true;
    server_close(&server, "it did not answer after a cancel request", lost);
}

void turn_mark_alone(struct server *server)
{
    server_become(server, SERVER_CLEANING);
    if (co_start(mark_main, server, CO_SMALL) == OK)
        return;
    server->broken = true;
    server_close(&server, "no memory for a coroutine", false);
}
