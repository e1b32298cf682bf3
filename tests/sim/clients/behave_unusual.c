#include "clients/batch.h"
#include "clients/behaviours.h"
#include "machine/clock.h"
#include "scenario/scenario.h"
#include "wire/startup.h"

#include <stdio.h>

/*
 * Uses of the protocol that are allowed and rare.
 */
#define BYTE_PAUSE  sec(5)
#define LOGIN_SLACK sec(20)

/* After a failed message all messages up to the Sync are skipped, also a Query: it has no reply. */
fault behave_query_after_failure(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    batch_begin(&batch, client);
    put_bind(client, "", "nobody has prepared this", NULL);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_BOUND, .sqlstate = "26000"});
    if (sim_client_one_in(client, 2)) { /* sent when the failure is known */
        batch_flush(&batch);
        TRY(batch_run(&batch));
    }
    statement_echo(client, &statement);
    wire_put_query(&client->conn.out, span_text(statement.text));
    trace("client", client->number, "sends after a failure: %s", statement.text);
    batch_sync(&batch);
    return batch_run(&batch);
}

static void put_typed_parse(struct sim_client *client, const char *name, const char *text,
                            uint32_t type)
{
    struct buffer *out = &client->conn.out;
    size_t start = wire_begin(out, WIRE_PARSE);
    wire_put_text(out, name);
    wire_put_text(out, text);
    wire_put_u16(out, 1);
    wire_put_u32(out, type);
    wire_end(out, start);
}

/* The same text with one type and another is two statements. */
fault behave_typed(struct sim_client *client)
{
    static const struct {
        uint32_t type;
        const char *value;
    } kinds[] = {{23, "17"}, {25, "no number"}};
    struct batch batch;
    char name[32];
    uint32_t kind = sim_client_draw(client, ARRAY_SIZE(kinds));
    snprintf(name, sizeof(name), "typed %u", ++client->statements);
    batch_begin(&batch, client);
    batch.anonymous = true;
    put_typed_parse(client, name, "SELECT $1", kinds[kind].type);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_PARSED});
    put_bind(client, "", name, kinds[kind].value);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_BOUND});
    put_execute(client, "", 0);
    struct expectation expected = {
        .what = EXPECT_ANSWER, .has_rows = true, .rows = 1, .tag = "SELECT 1"};
    snprintf(expected.text, sizeof(expected.text), "%s", kinds[kind].value);
    batch_expect(&batch, &expected);
    put_target(client, WIRE_CLOSE, 'S', name);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_CLOSED});
    batch_sync(&batch);
    return batch_run(&batch);
}

/* A batch in two parts, cut anywhere: statements of the first may have replies before the second is
 * sent. */
fault behave_split_send(struct sim_client *client)
{
    struct batch batch;
    batch_begin_mixed(&batch, client, 1 + sim_client_draw(client, 4));
    batch.anonymous = true; /* statements begin before the batch was sent */
    batch.half_sent = true;
    client->waits_since = now();
    size_t size = 1 + sim_client_draw(client, (uint32_t)client->conn.out.size - 1);
    trace("client", client->number, "sends %zu of %zu bytes first", size, client->conn.out.size);
    fault sent = conn_flush_part(&client->conn, size, after(sec(60)));
    if (sent != OK)
        return sim_client_lost(client, sent);
    TRY(sim_client_pause(client, sim_client_one_in(client, 2) ? 3000 : 30000));
    return batch_run(&batch);
}

/* A startup packet byte by byte: login_timeout ends the connection. */
fault behave_slow_login(struct sim_client *client)
{
    size_t start;
    struct conn conn = CONN_INIT;
    wire_put_startup_begin(&conn.out, WIRE_PROTOCOL_3_0, &start);
    wire_put_startup_parameter(&conn.out, SPAN("user"), SPAN("joe"));
    wire_put_startup_parameter(&conn.out, SPAN("database"), SPAN("somewhere"));
    wire_put_startup_end(&conn.out, start);
    fault done = scenario.quiet ? FAULT_CLOSED
                                : stream_connect(&conn.stream, &scenario.at, NULL, after(sec(60)));
    deadline max = later(later(now(), scenario.setup.login_timeout), LOGIN_SLACK);
    while (done == OK && conn.out.size > 1 && !stream_hung_up(&conn.stream)) {
        CHECK(now().us < max.us || (!scenario.quiet && scenario_has(KIND_stalls)),
              "client %u is still let log in after login_timeout", client->number);
        done = conn_flush_part(&conn, 1, after(sec(60)));
        CHECK(co_sleep(BYTE_PAUSE) == OK);
    }
    conn_close(&conn);
    return OK;
}
