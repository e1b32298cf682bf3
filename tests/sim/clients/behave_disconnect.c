#include "clients/batch.h"
#include "clients/behaviours.h"
#include "machine/clock.h"
#include "machine/sim/world.h"
#include "scenario/scenario.h"
#include "wire/startup.h"

/*
 * How clients disconnect.
 */

fault behave_terminate(struct sim_client *client)
{
    wire_put_empty(&client->conn.out, WIRE_TERMINATE);
    TRY(sim_client_flush(client));
    sim_client_close(client);
    return OK;
}

static duration duration_sum(duration a, duration b)
{
    return (duration){a.us + b.us};
}

/* Disconnects without Terminate, by a close or a reset. */
static fault abort_connection(struct sim_client *client)
{
    client->wants_cancel = true;
    TRY(sim_client_pause(client, scenario_has(KIND_short_sessions) ? 100 : 3000));
    if (sim_client_one_in(client, 3))
        sim_net_linger(&client->conn.stream);
    trace("client", client->number, "disconnects without Terminate");
    sim_client_close(client);
    return OK;
}

/* Disconnects during a statement or a transaction. */
fault behave_abort(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    batch_begin(&batch, client);
    client->wants_cancel = true;
    switch (sim_client_draw(client, 4)) {
    case 0:
        statement_make(client, &statement, "BEGIN", EFFECT_BEGIN, "BEGIN WORK");
        TRY(sim_client_run(client, &statement));
        if (sim_client_one_in(client, 2)) { /* the end of the transaction reverts it */
            statement_set(client, &statement, false);
            TRY(sim_client_run(client, &statement));
        }
        statement_write(client, &statement);
        TRY(sim_client_run(client, &statement));
        return abort_connection(client);
    case 1:
        statement_make(client, &statement, "SELECT 1", EFFECT_NONE, "SELECT pg_sleep(0.5)");
        batch_query(&batch, &statement);
        break;
    case 2:
        statement_write(client, &statement);
        batch_extended(&batch, &statement, false);
        break;
    default:
        for (uint32_t i = 0; i < 20; i++) {
            statement_echo(client, &statement);
            batch_query(&batch, &statement);
        }
    }
    TRY(sim_client_flush(client));
    return abort_connection(client);
}

/* Disconnects after part of a batch, at any byte. */
fault behave_partial_send(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    batch_begin(&batch, client);
    client->wants_cancel = true;
    uint32_t count = 1 + sim_client_draw(client, 5);
    for (uint32_t i = 0; i < count; i++) {
        statement_write(client, &statement);
        batch_extended(&batch, &statement, sim_client_one_in(client, 3));
    }
    if (sim_client_one_in(client, 2))
        batch_flush(&batch);
    batch_sync(&batch);
    size_t size = 1 + sim_client_draw(client, (uint32_t)client->conn.out.size);
    trace("client", client->number, "sends %zu of %zu bytes", size, client->conn.out.size);
    fault sent = conn_flush_part(&client->conn, size, after(sec(60)));
    if (sent != OK)
        return sim_client_lost(client, sent);
    return abort_connection(client);
}

/* With few descriptors a connection waits until earlier ones are accepted. */
static duration accept_delay_max(void)
{
    return scenario_has(KIND_few_descriptors) ? sec(3 * (1 + scenario.plan->clients)) : sec(0);
}

/* Sends bytes one by one until the daemon disconnects it, or for a while. */
static fault dribbles(struct sim_client *client, struct conn *conn)
{
    duration max = duration_sum(scenario.setup.login_timeout, accept_delay_max());
    deadline by = later(now(), duration_sum(max, sec(2)));
    bool patient = scenario_has(KIND_login_timeout);
    while (conn->out.size > 1) {
        uint8_t byte;
        size_t size;
        TRY(conn_flush_part(conn, 1, by));
        fault read = stream_read(&conn->stream, &byte, 1, &size, after(ms(250)));
        if (read != FAULT_TIMEOUT)
            return read == OK ? FAULT_AGAIN : read;
        CHECK(!patient || now().us < by.us || scenario_has(KIND_stalls),
              "client %u exceeds login_timeout and is not disconnected", client->number);
        if (!patient && sim_client_one_in(client, 4))
            return OK;
    }
    return OK;
}

/* A startup packet that is never complete. */
fault behave_half_login(struct sim_client *client)
{
    size_t start;
    struct conn conn = CONN_INIT;
    wire_put_startup_begin(&conn.out, WIRE_PROTOCOL_3_0, &start);
    wire_put_startup_parameter(&conn.out, SPAN("user"), SPAN("joe"));
    wire_put_startup_parameter(&conn.out, SPAN("database"), SPAN("app"));
    wire_put_startup_end(&conn.out, start);
    fault done = stream_connect(&conn.stream, &scenario.at, NULL, after(sec(60)));
    if (done == OK)
        (void)!dribbles(client, &conn);
    conn_close(&conn);
    return OK;
}

/* Stays idle, within a transaction or outside, until an idle timeout disconnects it. */
fault behave_idle_too_long(struct sim_client *client)
{
    struct statement statement;
    duration max = scenario.setup.client_idle_timeout;
    if (sim_client_one_in(client, 2)) {
        statement_make(client, &statement, "BEGIN", EFFECT_BEGIN, "BEGIN WORK");
        TRY(sim_client_run(client, &statement));
        max = scenario.setup.idle_transaction_timeout;
    }
    deadline by = later(now(), duration_sum(max, sec(2)));
    fault heard = conn_next(&client->conn, by);
    while (heard == OK && client->conn.frame.type != WIRE_ERROR)
        heard = conn_next(&client->conn, by);
    /* Suspended clients have no timeouts. */
    CHECK(heard != FAULT_TIMEOUT || scenario_has(KIND_stalls) || scenario_has(KIND_latency) ||
              scenario_has(KIND_console_commands),
          "client %u exceeds an idle timeout and is not disconnected", client->number);
    client->wants_cancel = true;
    sim_client_close(client);
    return OK;
}
