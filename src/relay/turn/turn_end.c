/*
 * turn_end.c - ends a turn whose client or server has disconnected or broken the protocol, and
 * cleans the server.
 */
#include "base/probes.h"
#include "machine/clock.h"
#include "machine/log.h"
#include "query/outcome.h"
#include "relay/cancel.h"
#include "relay/client_log.h"
#include "relay/turn/turn.h"
#include "session/pin.h"
#include "wire/messages.h"

#include <stdio.h>
#include <stdlib.h>

/* --- cleaning --------------------------------------------------------------------------------- */

/* Writes messages that make what is under way fail.  CopyFail ends a COPY, also one that has not
 * begun yet; it is ignored where there is none.  An Execute of a portal that does not exist makes
 * the batch fail: a Sync alone would commit what was done so far.  The client may have made a
 * portal of that name, so a Close comes first. */
static void put_failing_end(struct buffer *out)
{
    size_t start = wire_begin(out, WIRE_COPY_FAIL);
    wire_put_text(out, "the client has gone");
    wire_end(out, start);
    start = wire_begin(out, WIRE_CLOSE);
    wire_put_text(out, "Ptl_abandoned");
    wire_end(out, start);
    start = wire_begin(out, WIRE_EXECUTE);
    wire_put_text(out, "tl_abandoned");
    wire_put_u32(out, 0);
    wire_end(out, start);
    wire_put_empty(out, WIRE_SYNC);
}

/* Whether messages were sent, or skipped, behind the last Sync. */
static bool batch_is_open(const struct ledger *ledger)
{
    return ledger_needs_sync(ledger) || ledger->extended;
}

/* Whether the ledger does not tell which replies are to come: a COPY may have read Syncs, or a mark
 * is under way that its client has not waited for. */
static bool syncs_in_doubt(const struct ledger *ledger)
{
    return (ledger->doubt & (DOUBT_COPY | DOUBT_BROKEN | DOUBT_MARK)) != 0;
}

/* Waits until a change of parameters in front of the client's query is answered.  Else the cancel
 * request would hit it, and the query would run under another client's parameters. */
static fault clean_await_query(struct turn *turn, deadline by)
{
    const struct owed *head;
    while ((head = ledger_head(&turn->server->session.ledger)) != NULL &&
           head->about == ABOUT_STATE)
        TRY(turn_step(turn, by));
    return OK;
}

/* Waits until the last reply has come, or a COPY has begun.  Without a COPY each reply is known.
 * All that was to be sent has been sent then. */
static fault clean_await_answers(struct turn *turn, deadline by)
{
    struct ledger *ledger = &turn->server->session.ledger;
    while (!direction_sent(&turn->up) || (!ledger_empty(ledger) && !syncs_in_doubt(ledger)))
        TRY(turn_step(turn, by));
    return OK;
}

/* Makes the open batch fail, and ends it. */
static fault clean_fail_batch(struct turn *turn)
{
    struct ledger *ledger = &turn->server->session.ledger;
    struct buffer out = BUFFER_INIT(512);
    if (!ledger_has_room(ledger, 3))
        return FAULT_MEMORY;
    put_failing_end(&out);
    TRY(buffer_fault(&out));
    ledger_copy_ends(ledger);
    ledger_owe(ledger, (struct owed){.kind = OWED_CLOSE});
    ledger_owe(ledger, (struct owed){.kind = OWED_EXECUTE});
    ledger_owe(ledger, (struct owed){.kind = OWED_SYNC});
    outbox_take_heap(&turn->up.out, out.at, out.size);
    return OK;
}

/* Ends the open batch, and waits for its replies.  Repeats that because a reply may show that a
 * batch is still open: if it failed, the server has skipped the Query that seemed to end it. */
static fault clean_end_batch(struct turn *turn, deadline by)
{
    const struct ledger *ledger = &turn->server->session.ledger;
    do {
        if (batch_is_open(ledger))
            TRY(clean_fail_batch(turn));
        TRY(clean_await_answers(turn, by));
    } while (batch_is_open(ledger) && !syncs_in_doubt(ledger));
    return OK;
}

/* Cleans a server whose ledger does not tell how many replies are to come.  Makes all that is under
 * way fail, and swallows all that comes before the mark. */
static fault clean_in_doubt(struct turn *turn, deadline by)
{
    struct ledger *ledger = &turn->server->session.ledger;
    struct buffer out = BUFFER_INIT(512);
    if (!ledger_empty(ledger) || !ledger->ready || batch_is_open(ledger))
        put_failing_end(&out);
    if (out.size > 0 || turn->server->session.transaction != WIRE_TX_IDLE)
        wire_put_query(&out, SPAN("rollback"));
    ledger_drop_all(ledger);
    turn_become(turn, TURN_ABANDONED);
    return turn_mark(turn, &out, SPAN_NONE, by);
}

/* Ends what is under way: a query by a cancel request, a batch by messages that make it fail. */
static fault clean_interrupt(struct turn *turn, deadline by)
{
    struct server *server = turn->server;
    struct ledger *ledger = &server->session.ledger;
    TRY(clean_await_query(turn, by));
    if (!ledger_empty(ledger) && !ledger_marking(ledger))
        TRY(cancel_server(server, by));
    if (!syncs_in_doubt(ledger))
        TRY(clean_end_batch(turn, by));
    return syncs_in_doubt(ledger) ? clean_in_doubt(turn, by) : OK;
}

/* Marks a server in doubt, such as after a cancel request, once all replies have come. */
static fault clean_mark(struct turn *turn, deadline by)
{
    struct buffer out = BUFFER_INIT(256);
    if (turn->server->session.ledger.doubt == 0)
        return OK;
    return turn_mark(turn, &out, SPAN_NONE, by);
}

/* Cleans session state that the server's last client has left, or may have left. */
static fault clean_pins(struct turn *turn, deadline by)
{
    char sql[PIN_CLEANING_SIZE];
    struct server *server = turn->server;
    if (pin_incurable(&server->session))
        return fault_raise(FAULT_CLOSED,
                           "only the end of its connection ends what its client left");
    if (server->session.suspect && server->pool->route->session.isolation == ISOLATION_FRESH)
        return fault_raise(FAULT_CLOSED, "the route wants a fresh server for every client");
    if (pin_cleaning(&server->session, sql)[0] != '\0') {
        struct buffer out = BUFFER_INIT(PIN_CLEANING_SIZE + 256);
        TRY(turn_mark(turn, &out, span_text(sql), by));
    }
    pin_cleaned(&server->session, turn->relay->pools.params.none);
    server_unpin(server);
    return OK;
}

/* Resets parameters of the last client that act on an idle server, such as timeouts. */
static fault clean_timers(struct turn *turn, deadline by)
{
    struct server *server = turn->server;
    struct params *rest;
    struct buffer sql = BUFFER_INIT(2 * PARAMS_SIZE_MAX);
    TRY(params_at_rest(server->session.params, &rest));
    params_write_difference(&sql, server->session.params, rest, true);
    fault asked = buffer_fault(&sql);
    if (asked == OK)
        asked = turn_ask(turn, buffer_span(&sql), by);
    buffer_fini(&sql);
    if (asked == OK)
        params_assign(&server->session.params, params_ref(rest));
    params_unref(&rest);
    return asked;
}

static fault clean_server(struct turn *turn)
{
    struct server *server = turn->server;
    struct local_pool *pool = server->pool;
    deadline by = after(turn->relay->pools.config->reset_timeout);
    bool session = pool->route->mode == POOL_SESSION;
    if (turn->up.passing > 0 || turn->message.cut)
        return fault_raise(FAULT_CLOSED, "its client left in the middle of a message");
    if (session && pool->route->fresh)
        return fault_raise(FAULT_CLOSED, "the route wants a fresh server for every client");
    if (pool->route->is_replication && server->session.ledger.doubt != 0)
        return fault_raise(FAULT_CLOSED, "its client left a stream of replication");
    TRY(clean_interrupt(turn, by));
    if (server->session.unmade)
        return fault_raise(FAULT_PROTOCOL, "a change of its parameters was not carried out");
    if (server->session.transaction != WIRE_TX_IDLE)
        TRY(turn_ask(turn, SPAN("ROLLBACK"), by));
    TRY(clean_mark(turn, by));
    if (session) {
        TRY(turn_ask(turn, SPAN("DISCARD ALL"), by));
        params_assign(&server->session.params, params_ref(turn->relay->pools.params.none));
    }
    if (server->session.pin != NULL || server->session.suspect)
        TRY(clean_pins(turn, by));
    if (UNLIKELY(server->session.params->acts) && !session)
        TRY(clean_timers(turn, by));
    if (server->session.transaction != WIRE_TX_IDLE)
        return fault_raise(FAULT_PROTOCOL, "its transaction could not be ended");
    return OK;
}

void turn_clean(struct turn *turn)
{
    struct server *server = turn->server;
    struct chunk_store *chunks = &turn->relay->chunks;
    invariant(server->client == NULL && turn->state == TURN_CLEANING);
    server_become(server, SERVER_CLEANING);
    server_keep(server);
    PROBE3(recycle__start, server->pool->database, server, server->pid);
    turn_bulk_end(turn);
    bool open = turn->server_end == SERVER_OPEN && !server->fenced;
    fault cleaned = open ? clean_server(turn) : FAULT_CLOSED;
    bool lost = turn->server_end != SERVER_OPEN;
    const char *why = cleaned == OK ? "" : fault_detail(cleaned);
    outbox_drop(&turn->up.out, chunks);
    outbox_drop(&turn->down.out, chunks);
    chunk_return(chunks, &turn->up.chunk);
    chunk_return(chunks, &turn->down.chunk);
    turn->server = NULL;
    if (cleaned != OK) {
        PROBE3(recycle__failed, server->pool->database, server, why);
        if (ledger_marking(&server->session.ledger))
            turn_tell_unmarked(server, why);
        ledger_fini(&server->session.ledger);
        server->broken = true;
        cancel_finish(server);
        server_close(&server, why, lost);
        return;
    }
    PROBE3(recycle__done, server->pool->database, server, server->pid);
    server_forget_owner(server);
    local_pool_free(server->pool, server);
}

/* --- ending the client ------------------------------------------------------------------------ */

/* Whether the server that is lost may have committed what it was sent: a COMMIT that it has not
 * answered, or statements outside of a transaction block. */
static bool outcome_unknown(const struct turn *turn)
{
    if (turn->server == NULL || ledger_empty(&turn->server->session.ledger))
        return false;
    const struct session *session = &turn->server->session;
    if (session->transaction == WIRE_TX_IDLE)
        return session->unanswered != 0;
    return session->transaction == WIRE_TX_ACTIVE && (session->unanswered & QUERY_OPEN_COMMIT) != 0;
}

/* Returns the text that the client is sent when its turn ends for this reason; NULL: none. */
static const char *last_words(const struct turn *turn, fault why, char *sqlstate)
{
    if (why == FAULT_CANCELLED && turn->client->drained)
        why = client_drained(turn->client);
    bool lost = why == FAULT_UPSTREAM && turn->server_end == SERVER_CLOSED;
    bool fenced = why == FAULT_CANCELLED && turn->client->fenced;
    if (fenced)
        why = client_outrun(turn->client);
    const char *state = fault_detail_sqlstate(why);
    memcpy(sqlstate, state, 6);
    if (turn->state == TURN_CLOSING || why == FAULT_CLOSED || turn->reply.fatal)
        return NULL;
    if (why == FAULT_CANCELLED && turn->client->shed) {
        memcpy(sqlstate, "53200", 6);
        return client_shed_why;
    }
    if ((lost || fenced) && outcome_unknown(turn)) {
        memcpy(sqlstate, "08007", 6);
        return lost
                   ? "the server closed the connection before it answered: whether the transaction "
                     "was committed is not known"
                   : "the primary has changed (failover) before the server answered: whether the "
                     "transaction was committed is not known";
    }
    if (lost) {
        memcpy(sqlstate, "08006", 6);
        return "the server closed the connection unexpectedly";
    }
    if (why == FAULT_CANCELLED && turn->client->killed) {
        memcpy(sqlstate, "57P01", 6);
        return "terminating connection due to administrator command";
    }
    return fault_detail(why);
}

/* Returns the reason for the log where the client is sent no text. */
static const char *silent_reason(const struct turn *turn)
{
    if (turn->reply.fatal)
        return "its server ended";
    return turn->state == TURN_CLOSING ? "terminated by the client" : "closed by the client";
}

/* Separates a client that ends from its server; the client's last lines still name the server. */
static void client_part(struct client *client, struct server *server)
{
    invariant(server->client == client);
    client->server = NULL;
    server->client = NULL;
    server_forget_owner(server);
    claim_note_served(&client->claim, server);
    client->parted = true;
}

/* Whether a message may be sent to the client: none may follow a message that is cut in two. */
static bool down_is_clean(const struct turn *turn)
{
    return direction_sent(&turn->down) && (turn->down.passing == 0 || turn->reply.swallowed);
}

static void turn_drop_directions(struct turn *turn)
{
    struct chunk_store *chunks = &turn->relay->chunks;
    turn->message.cut = turn->message.cut || turn->up.passing > 0 || !outbox_empty(&turn->up.out);
    outbox_drop(&turn->up.out, chunks);
    outbox_drop(&turn->down.out, chunks);
    chunk_return(chunks, &turn->up.chunk);
    turn->up.begin = turn->up.end = 0;
    turn->up.flushing = turn->down.flushing = false;
    turn_drop_held(turn);
}

void turn_fail(struct turn *turn, fault why)
{
    struct client *client = turn->client;
    struct server *server = turn->server;
    char sqlstate[6], text[FAULT_STORY_MAX + 32];
    if (client->claim.state != CLAIM_NONE)
        claim_withdraw(&client->claim);
    const char *words = last_words(turn, why, sqlstate);
    PROBE2(turn__failed, client, words);
    const char *silent = silent_reason(turn);
    if (UNLIKELY((turn->looks & POOL_LOOKS_CALLS) != 0))
        turn_calls_lost(turn);
    turn_become(turn, TURN_CLEANING);
    if (words != NULL)
        snprintf(text, sizeof(text), "%s", words);
    bool clean = down_is_clean(turn);
    turn_drop_directions(turn);
    turn->reads.undecided = false; /* no reply is awaited in order to send the read again */
    client_become(client, CLIENT_DETACHED);
    client->stream.waker = NULL;
    if (server != NULL)
        client_part(client, server);
    if (words != NULL && clean)
        client_farewell(&client, sqlstate, text);
    else
        client_close(&client, words != NULL ? text : silent);
    if (server != NULL) {
        turn->state_fault = OK;
        turn_clean(turn);
    } else {
        chunk_return(&turn->relay->chunks, &turn->down.chunk);
    }
}

/* --- ending a parked client that holds a server ----------------------------------------------- */

static void end_session(void *argument)
{
    struct server *server = argument;
    struct turn turn;
    turn_init(&turn, local_pool_relay(server->pool), NULL, server);
    turn_clean(&turn);
}

void turn_clean_alone(struct server *server)
{
    server_forget_owner(server);
    server_become(server, SERVER_CLEANING);
    server->stream.waker = NULL;
    if (co_start(end_session, server, CO_SMALL) == OK)
        return;
    server->broken = true;
    ledger_fini(&server->session.ledger);
    server_close(&server, "no memory for a coroutine", false);
}

void turn_end_session(struct client *client, const char *sqlstate, const char *text)
{
    struct server *server = TAKE(client->server);
    client_part(client, server);
    server_become(server, SERVER_CLEANING);
    if (sqlstate != NULL)
        client_farewell(&client, sqlstate, text);
    else
        client_close(&client, text);
    turn_clean_alone(server);
}
