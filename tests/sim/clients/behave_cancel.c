#include "clients/batch.h"
#include "clients/behaviours.h"
#include "link/link.h"
#include "machine/clock.h"
#include "scenario/scenario.h"

/*
 * Cancel requests: during a statement, before it begins, and repeated.
 */
#define CANCELS_MAX     50u
#define CANCELS_AT_ONCE 6u

/* Sends a cancel request.  OK: it was carried out, and cannot hit a later statement.  The client
 * does not read meanwhile: its reply may have arrived. */
static fault send_cancel(struct sim_client *client)
{
    client->waits = false;
    struct link_target target = {.address = scenario.at, .host = "sim"};
    return link_cancel(&target, client->pid, wire_secret_span(&client->secret), after(sec(60)));
}

/* A statement that sleeps. */
static void batch_sleep(struct batch *batch, struct sim_client *client, const char *seconds)
{
    struct statement statement;
    statement_make(client, &statement, "SELECT 1", EFFECT_NONE, "SELECT pg_sleep(%s)", seconds);
    statement.expected.has_rows = true;
    statement.expected.rows = 1;
    statement.expected.text[0] = '\0';
    batch_begin(batch, client);
    batch_query(batch, &statement);
}

fault behave_cancel(struct sim_client *client)
{
    struct batch batch;
    batch_sleep(&batch, client, "0.2");
    TRY(batch_send(&batch));
    TRY(sim_client_pause(client, sim_client_one_in(client, 3) ? 2000 : 250000));
    trace("client", client->number, "cancels");
    client->wants_cancel = true;
    fault through = send_cancel(client);
    TRY(batch_receive(&batch));
    client->wants_cancel = through != OK;
    return OK;
}

/* Cancels a statement whose claim waits, or was granted just now. */
fault behave_cancel_at_once(struct sim_client *client)
{
    struct batch batch;
    bool rush = scenario_has(KIND_cancel_rush); /* one request, at any time until the grant */
    batch_sleep(&batch, client, rush ? "0.001" : "0.004");
    client->wants_cancel = true;
    TRY(batch_send(&batch));
    fault through = OK;
    for (uint32_t i = 0; i < (rush ? 1 : CANCELS_AT_ONCE) && !conn_has_reply(&client->conn); i++) {
        TRY(sim_client_pause(client, rush ? 30000 : 3000));
        trace("client", client->number, "cancels at once");
        fault came = send_cancel(client);
        through = through == OK ? came : through;
    }
    TRY(batch_receive(&batch));
    client->wants_cancel = through != OK;
    return OK;
}

/* Of repeated cancel requests one succeeds: the key stays valid when the client is moved.  While
 * clients are suspended there is nothing to cancel. */
fault behave_cancel_again(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    statement_make(client, &statement, "SELECT 1", EFFECT_NONE, "SELECT pg_sleep(600)");
    statement.expected.has_rows = true;
    statement.expected.sqlstate = "57014";
    batch_begin(&batch, client);
    batch_query(&batch, &statement);
    client->wants_cancel = true;
    TRY(batch_send(&batch));
    fault through = OK;
    for (uint32_t sent = 0; sent < CANCELS_MAX && !conn_has_reply(&client->conn);) {
        TRY(sim_client_pause(client, sim_client_one_in(client, 2) ? 2000 : 200000));
        fault came = send_cancel(client);
        through = through == OK ? came : through;
        sent = scenario.stopped ? 0 : sent + 1;
    }
    CHECK(conn_has_reply(&client->conn) || scenario_excuses_loss(client),
          "client %u has cancelled '%s' %u times in vain", client->number, statement.text,
          CANCELS_MAX);
    /* No request arrives: the client disconnects. */
    if (!conn_has_reply(&client->conn)) {
        sim_client_close(client);
        return FAULT_CLOSED;
    }
    TRY(batch_receive(&batch));
    client->wants_cancel = through != OK;
    return OK;
}
