/* turn_end.c - how turns end badly: the client goes, the server goes, or one of them breaks the
 * rules. */
#include "machine/clock.h"
#include "machine/log.h"
#include "pooler/cancel.h"
#include "pooler/turn/pin.h"
#include "pooler/turn/turn.h"
#include "wire/messages.h"

#include <stdio.h>
#include <stdlib.h>

/* --- cleaning --------------------------------------------------------------------------------- */

/* The end of a batch that its client did not end: its Sync alone would commit what was done so far.
 * What is answered to it is not owed: the mark behind it swallows that. */
static void put_failing_end(struct buffer *out)
{
    size_t start = wire_begin(out, WIRE_EXECUTE);
    wire_put_text(out, "tl_abandoned"); /* no such portal: the transaction fails */
    wire_put_u32(out, 0);
    wire_end(out, start);
}

/* A COPY by CopyFail, also one that has not begun yet, for where there is none it is ignored. */
static void put_copy_end(struct ledger *ledger, struct buffer *out)
{
    size_t start = wire_begin(out, WIRE_COPY_FAIL);
    wire_put_text(out, "the client has gone");
    wire_end(out, start);
    ledger_copy_ends(ledger);
}

/* Whether messages were sent, or skipped, behind the last Sync, or a COPY may have read that. */
static bool batch_is_open(const struct ledger *ledger)
{
    const struct owed *head = ledger_head(ledger);
    return ledger_needs_sync(ledger) || ledger->extended ||
           (head != NULL && head->kind > OWED_FUNCTION);
}

/* A change of parameters in front of the client's query comes to its end first: the request would
 * hit that, and the query would run with somebody else's. */
static fault clean_await_query(struct turn *turn, deadline by)
{
    const struct owed *head;
    while ((head = ledger_head(&turn->server->ledger)) != NULL && head->about == ABOUT_STATE) {
        bool moved = false;
        fault went = turn_down(turn, &moved);
        if (went != OK && (went != turn->state_fault || turn->server_gone || turn->fatal))
            return went;
        if (!moved)
            TRY(turn_wait(turn, by));
    }
    return OK;
}

/* Ends what is under way: the query by a cancel request, a COPY by CopyFail, the batch by a Sync.
 * A COPY may have read the Sync that was sent behind it, or not: the mark tells where all has been
 * answered. */
static fault clean_interrupt(struct turn *turn, deadline by)
{
    struct server *server = turn->server;
    struct ledger *ledger = &server->ledger;
    struct buffer out = BUFFER_INIT(512);
    TRY(clean_await_query(turn, by));
    bool open = batch_is_open(ledger);
    if (ledger_empty(ledger) && !open)
        return OK;
    if (!ledger_empty(ledger)) {
        TRY(cancel_server(server, by));
        put_copy_end(ledger, &out);
    }
    if (open)
        put_failing_end(&out);
    wire_put_empty(&out, WIRE_SYNC);
    return turn_send_mark(turn, &out, by);
}

/* State that the server's last client has left, or may have. */
static fault clean_pins(struct turn *turn, deadline by)
{
    char sql[PIN_CLEANING_SIZE];
    struct server *server = turn->server;
    if (pin_incurable(server))
        return fault_raise(FAULT_CLOSED,
                           "only the end of its connection ends what its client left");
    if (server->suspect && server->share->route->session.isolation == ISOLATION_FRESH)
        return fault_raise(FAULT_CLOSED, "the route wants a fresh server for every client");
    if (pin_cleaning(server, sql)[0] != '\0')
        TRY(turn_ask(turn, span_text(sql), by));
    pin_cleaned(server);
    return OK;
}

static fault clean_server(struct turn *turn)
{
    struct server *server = turn->server;
    struct share *share = server->share;
    deadline by = after(turn->relay->config->reset_timeout);
    bool session = share->route->mode == POOL_SESSION;
    if (turn->up.passing > 0 || turn->up_cut)
        return fault_raise(FAULT_CLOSED, "its client left in the middle of a message");
    if (session && share->route->fresh)
        return fault_raise(FAULT_CLOSED, "the route wants a fresh server for every client");
    TRY(clean_interrupt(turn, by));
    if (server->unmade)
        return fault_raise(FAULT_PROTOCOL, "a change of its parameters was not carried out");
    if (server->transaction != WIRE_TX_IDLE)
        TRY(turn_ask(turn, SPAN("ROLLBACK"), by));
    if (session) {
        TRY(turn_ask(turn, SPAN("DISCARD ALL"), by));
        params_assign(&server->params, params_ref(turn->relay->params.none));
    }
    if (server->pin != NULL || server->suspect)
        TRY(clean_pins(turn, by));
    if (server->transaction != WIRE_TX_IDLE)
        return fault_raise(FAULT_PROTOCOL, "its transaction could not be ended");
    return OK;
}

void turn_clean(struct turn *turn)
{
    struct server *server = turn->server;
    struct chunk_store *chunks = &turn->relay->chunks;
    invariant(server->client == NULL && turn->client == NULL);
    server_become(server, SERVER_CLEANING);
    server_keep(server);
    turn_bulk_end(turn);
    turn->server_lost = turn->server_lost || turn->server_gone;
    fault cleaned = turn->server_lost ? FAULT_CLOSED : clean_server(turn);
    bool lost = turn->server_lost;
    const char *why = cleaned == OK ? "" : fault_story(cleaned);
    outbox_drop(&turn->up.out, chunks);
    outbox_drop(&turn->down.out, chunks);
    chunk_return(chunks, &turn->up.chunk);
    chunk_return(chunks, &turn->down.chunk);
    turn->server = NULL;
    if (cleaned != OK) {
        ledger_fini(&server->ledger);
        server->broken = true;
        cancel_finish(server);
        server_close(&server, why, lost);
        return;
    }
    server_forget_owner(server);
    share_free(server->share, server);
}

/* --- ending the client ------------------------------------------------------------------------ */

/* What the client is told when its turn ends for this reason; NULL: nothing. */
static const char *last_words(const struct turn *turn, fault why, char *sqlstate)
{
    const char *state = fault_story_sqlstate(why);
    memcpy(sqlstate, state, 6);
    if (turn->closing || why == FAULT_CLOSED || turn->fatal)
        return NULL;
    if (why == FAULT_CANCELLED && turn->client->shed) {
        memcpy(sqlstate, "53200", 6);
        return client_shed_why;
    }
    if (why == FAULT_UPSTREAM && turn->server_gone) {
        memcpy(sqlstate, "08006", 6);
        return "the server closed the connection unexpectedly";
    }
    if (why == FAULT_CANCELLED && turn->client->killed) {
        memcpy(sqlstate, "57P01", 6);
        return "terminating connection due to administrator command";
    }
    return fault_story(why);
}

/* Why a client went that is told nothing. */
static const char *silent_reason(const struct turn *turn)
{
    if (turn->fatal)
        return "its server ended";
    return turn->closing ? "terminated by the client" : "closed by the client";
}

/* A message that is cut in two can't be followed by another. */
static bool down_is_clean(const struct turn *turn)
{
    return lane_sent(&turn->down) && (turn->down.passing == 0 || turn->muted);
}

static void turn_drop_lanes(struct turn *turn)
{
    struct chunk_store *chunks = &turn->relay->chunks;
    turn->up_cut = turn->up_cut || turn->up.passing > 0 || !outbox_empty(&turn->up.out);
    outbox_drop(&turn->up.out, chunks);
    outbox_drop(&turn->down.out, chunks);
    chunk_return(chunks, &turn->up.chunk);
    turn->up.begin = turn->up.end = 0;
    turn->up.flushing = turn->down.flushing = false;
    turn_drop_held(turn);
}

void turn_fail(struct turn *turn, fault why)
{
    struct client *client = TAKE(turn->client);
    struct server *server = turn->server;
    char sqlstate[6], text[FAULT_STORY_MOST + 32];
    if (client->claim.state != CLAIM_NONE)
        claim_withdraw(client);
    turn->client = client; /* for last_words only */
    const char *words = last_words(turn, why, sqlstate);
    turn->client = NULL;
    if (words != NULL)
        snprintf(text, sizeof(text), "%s", words);
    bool clean = down_is_clean(turn);
    turn_drop_lanes(turn);
    client->state = CLIENT_LOGIN; /* nobody's events are for it any more */
    client->co = NULL;
    client->stream.waker = NULL;
    if (server != NULL) {
        logbook_parting(client, server);
        client->server = NULL;
        server->client = NULL;
        server_forget_owner(server);
    }
    if (words != NULL && clean)
        client_farewell(&client, sqlstate, text);
    else
        client_close(&client, words != NULL ? text : silent_reason(turn));
    if (server != NULL) {
        turn->state_fault = OK;
        turn_clean(turn);
    } else {
        chunk_return(&turn->relay->chunks, &turn->down.chunk);
    }
}

/* --- session pools: a parked client goes ------------------------------------------------------ */

static void end_session(void *argument)
{
    struct server *server = argument;
    struct turn turn;
    turn_init(&turn, server->share->relay, server);
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
    ledger_fini(&server->ledger);
    server_close(&server, "no memory for a coroutine", false);
}

void turn_end_session(struct client *client, const char *sqlstate, const char *text)
{
    struct server *server = TAKE(client->server);
    logbook_parting(client, server);
    server->client = NULL;
    server_forget_owner(server);
    server_become(server, SERVER_CLEANING);
    if (sqlstate != NULL)
        client_farewell(&client, sqlstate, text);
    else
        client_close(&client, text);
    turn_clean_alone(server);
}
