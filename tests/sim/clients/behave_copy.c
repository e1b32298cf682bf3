#include "clients/batch.h"
#include "clients/behaviours.h"
#include "link/link.h"
#include "machine/clock.h"
#include "oracle/records.h"
#include "scenario/scenario.h"

#include <stdio.h>
#include <string.h>

/*
 * COPY, in both directions and both protocols, with what can go wrong in it.
 */

/* The command in either protocol; false: with a Sync behind it that COPY reads. */
static void put_command(struct batch *batch, const struct statement *statement, bool extended)
{
    struct sim_client *client = batch->client;
    trace("client", client->number, "copies: %s", statement->text);
    if (!extended) {
        wire_put_query(&client->conn.out, span_text(statement->text));
        return;
    }
    put_parse(client, "", statement->text);
    put_bind(client, "", "", NULL);
    put_execute(client, "", 0);
    batch_expect(batch, &(struct expectation){.what = EXPECT_PARSED});
    batch_expect(batch, &(struct expectation){.what = EXPECT_BOUND});
}

/* COPY FROM STDIN with so many good rows; `sqlstate`: it fails at its end, with this. */
static fault copy_rows(struct sim_client *client, const char *sqlstate, bool by_client)
{
    char tag[24];
    struct batch batch;
    struct statement statement;
    uint32_t rows = 1 + sim_client_draw(client, RECORD_ROWS - 1);
    bool extended = sim_client_one_in(client, 2);
    bool waits = sim_client_one_in(client, 2);
    snprintf(tag, sizeof(tag), "COPY %u", rows);
    statement_make(client, &statement, tag, EFFECT_NONE, "COPY kv FROM STDIN");
    batch_begin(&batch, client);
    client->record = record_begin();
    client->has_record = true;
    put_command(&batch, &statement, extended);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_COPY_IN});
    if (waits) {
        if (extended)
            wire_put_empty(&client->conn.out, WIRE_FLUSH);
        TRY(batch_run(&batch));
    }
    if (batch.failed && !extended) {
        batch_expect(&batch, &(struct expectation){.what = EXPECT_READY});
        return batch_receive(&batch);
    }
    for (uint32_t i = 0; i < rows; i++)
        put_row(client);
    statement.expected.sqlstate = sqlstate;
    if (by_client) {
        put_copy(client, WIRE_COPY_FAIL, "no more");
    } else {
        if (sqlstate != NULL)
            put_copy(client, WIRE_COPY_DATA, "this is no number\tx\n");
        /* What comes after the failure is read and forgotten. */
        if (sqlstate != NULL)
            put_copy(client, WIRE_COPY_DATA, "1\tlate\n");
        wire_put_empty(&client->conn.out, WIRE_COPY_DONE);
    }
    batch_expect(&batch, &statement.expected);
    if (extended)
        wire_put_empty(&client->conn.out, WIRE_SYNC);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_READY});
    return batch_run(&batch);
}

fault behave_copy_in(struct sim_client *client)
{
    return copy_rows(client, NULL, false);
}

fault behave_copy_failure(struct sim_client *client)
{
    bool by_client = sim_client_one_in(client, 2);
    return copy_rows(client, by_client ? "57014" : "22P02", by_client);
}

/* A COPY in the extended protocol that has begun, with some rows, all answers heard. */
static fault copy_begin(struct sim_client *client, struct batch *batch, struct statement *statement,
                        uint32_t rows)
{
    char tag[24];
    snprintf(tag, sizeof(tag), "COPY %u", rows);
    statement_make(client, statement, tag, EFFECT_NONE, "COPY kv FROM STDIN");
    batch_begin(batch, client);
    client->record = record_begin();
    client->has_record = true;
    put_command(batch, statement, true);
    batch_expect(batch, &(struct expectation){.what = EXPECT_COPY_IN});
    batch_flush(batch);
    TRY(batch_run(batch));
    for (uint32_t i = 0; i < rows && !batch->failed; i++)
        put_row(client);
    return OK;
}

static fault batch_ends(struct batch *batch)
{
    batch_sync(batch);
    return batch_run(batch);
}

/* A Sync that COPY reads is nothing to it: the batch goes on when the COPY is done, and its client
 * may leave it so. */
fault behave_copy_with_sync(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    TRY(copy_begin(client, &batch, &statement, 1 + sim_client_draw(client, RECORD_ROWS - 1)));
    if (batch.failed)
        return batch_ends(&batch);
    for (uint32_t syncs = 1 + sim_client_draw(client, 2); syncs > 0; syncs--)
        wire_put_empty(&client->conn.out, WIRE_SYNC);
    wire_put_empty(&client->conn.out, WIRE_COPY_DONE);
    batch_expect(&batch, &statement.expected);
    batch_flush(&batch);
    TRY(batch_run(&batch));
    if (sim_client_one_in(client, 2))
        TRY(sim_client_pause(client, 5000));
    if (!sim_client_one_in(client, 4))
        return batch_ends(&batch);
    client->wants_cancel = true;
    sim_client_close(client);
    return OK;
}

/* The data fails, and is not brought to its end: the Sync behind it is. */
fault behave_copy_without_end(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    TRY(copy_begin(client, &batch, &statement, sim_client_draw(client, RECORD_ROWS - 1)));
    if (batch.failed)
        return batch_ends(&batch);
    put_copy(client, WIRE_COPY_DATA, "this is no number\tx\n");
    statement.expected.sqlstate = "22P02";
    batch_expect(&batch, &statement.expected);
    return batch_ends(&batch);
}

#define LATE_DATA 60000u

/* A COPY fails while a message of its data is on its way, whose rest comes when all is answered. */
fault behave_copy_late_rest(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    struct conn *conn = &client->conn;
    statement_make(client, &statement, "", EFFECT_NONE, "COPY kv FROM STDIN");
    statement.expected.sqlstate = "22P02";
    batch_begin(&batch, client);
    put_command(&batch, &statement, false);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_COPY_IN});
    TRY(batch_run(&batch));
    batch_expect(&batch, &statement.expected);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_READY});
    if (batch.failed)
        return batch_receive(&batch);
    put_copy(client, WIRE_COPY_DATA, "this is no number\tx\n");
    size_t before = conn->out.size;
    size_t start = wire_begin(&conn->out, WIRE_COPY_DATA);
    uint32_t size = 1 + sim_client_draw(client, sim_client_one_in(client, 2) ? LATE_DATA : 200);
    memset(buffer_room(&conn->out, size), 'x', size);
    conn->out.size += size;
    wire_end(&conn->out, start);
    size_t part = before + 1 + sim_client_draw(client, (uint32_t)(conn->out.size - before));
    fault sent = conn_flush_part(conn, part, after(sec(60)));
    if (sent != OK)
        return sim_client_lost(client, sent);
    TRY(batch_receive(&batch));
    TRY(sim_client_pause(client, 3000));
    /* A client that disconnects before that costs a server. */
    statement_echo(client, &statement);
    batch_query(&batch, &statement);
    return batch_run(&batch);
}

/* A COPY that is cancelled as it begins reads an unknown number of its Syncs: if the first has a
 * reply, the messages after it have, too.  The client disconnects; no other client gets those
 * replies, and the server may be closed for it. */
fault behave_copy_cancelled(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    struct link_target target = {.address = scenario.at, .host = "sim"};
    statement_make(client, &statement, "", EFFECT_NONE, "COPY kv FROM STDIN");
    batch_begin(&batch, client);
    client->record = record_begin();
    client->has_record = client->may_commit = true;
    client->wants_cancel = true;
    put_command(&batch, &statement, true);
    put_row(client);
    wire_put_empty(&client->conn.out, WIRE_SYNC);
    wire_put_empty(&client->conn.out, WIRE_COPY_DONE);
    statement_make(client, &statement, "", EFFECT_NONE, "SELECT pg_sleep(0.0%u)",
                   1 + sim_client_draw(client, 20));
    batch_extended(&batch, &statement, false);
    wire_put_empty(&client->conn.out, WIRE_SYNC);
    TRY(sim_client_flush(client));
    TRY(sim_client_pause(client, 10000));
    (void)!link_cancel(&target, client->pid, wire_secret_span(&client->secret), after(sec(60)));
    while (conn_next(&client->conn, after(ms(300))) == OK && client->conn.frame.type != WIRE_READY)
        continue;
    sim_client_close(client);
    return OK;
}

/* The client disconnects before its COPY begins: it stands behind queries that take some time, and
 * no Sync follows it. */
fault behave_copy_abandoned(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    batch_begin(&batch, client);
    client->wants_cancel = true;
    for (uint32_t i = 1 + sim_client_draw(client, 6); i > 0; i--) {
        statement_make(client, &statement, "SELECT 1", EFFECT_NONE, "SELECT pg_sleep(0.00%u)",
                       sim_client_draw(client, 4));
        batch_query(&batch, &statement);
    }
    statement_make(client, &statement, "", EFFECT_NONE, "COPY kv FROM STDIN");
    put_command(&batch, &statement, true);
    TRY(sim_client_flush(client));
    TRY(sim_client_pause(client, 6000));
    sim_client_close(client);
    return OK;
}

fault behave_copy_out(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    bool extended = sim_client_one_in(client, 2);
    statement_make(client, &statement, "COPY", EFFECT_NONE, "COPY kv TO STDOUT");
    batch_begin(&batch, client);
    put_command(&batch, &statement, extended);
    statement.expected.what = EXPECT_COPY_OUT;
    batch_expect(&batch, &statement.expected);
    if (extended)
        wire_put_empty(&client->conn.out, WIRE_SYNC);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_READY});
    return batch_run(&batch);
}
