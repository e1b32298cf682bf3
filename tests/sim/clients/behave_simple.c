#include "clients/batch.h"
#include "clients/behaviours.h"
#include "machine/clock.h"
#include "scenario/scenario.h"

#include <stdio.h>
#include <string.h>

/*
 * Single statements, by either protocol; large results and slow readers.
 */

fault behave_echo(struct sim_client *client)
{
    struct statement statement;
    statement_echo(client, &statement);
    return sim_client_run(client, &statement);
}

fault behave_failure(struct sim_client *client)
{
    struct statement statement;
    statement_fail(client, &statement);
    return sim_client_run(client, &statement);
}

/* Several statements in one Query message: one transaction. */
fault behave_queries(struct sim_client *client)
{
    struct batch batch;
    struct statement statements[4];
    uint32_t count = 2 + sim_client_draw(client, ARRAY_SIZE(statements) - 1);
    batch_begin(&batch, client);
    for (uint32_t i = 0; i < count; i++)
        statement_any(client, &statements[i]);
    batch_queries(&batch, statements, count);
    return batch_run(&batch);
}

fault behave_settings(struct sim_client *client)
{
    struct statement statement;
    statement_set(client, &statement, false);
    TRY(sim_client_run(client, &statement));
    statement_show(client, &statement);
    TRY(sim_client_run(client, &statement));
    return behave_echo(client);
}

fault behave_pause(struct sim_client *client)
{
    return sim_client_pause(client, sim_client_one_in(client, 10) ? 2000000 : 30000);
}

static void statement_series(struct sim_client *client, struct statement *statement, uint32_t rows)
{
    char text[64];
    snprintf(text, sizeof(text), "row %u.%u ", client->login, client->statements + 1);
    statement_make(client, statement, "", EFFECT_NONE,
                   "SELECT '%s' || g FROM generate_series(1, %u) AS g", text, rows);
    struct expectation *expected = &statement->expected;
    snprintf(expected->tag, sizeof(expected->tag), "SELECT %u", rows);
    snprintf(expected->text, sizeof(expected->text), "%s", text);
    expected->has_rows = expected->numbered = true;
    expected->rows = rows;
    expected->first = 1;
}

fault behave_large_result(struct sim_client *client)
{
    struct statement statement;
    statement_series(client, &statement, 1 + sim_client_draw(client, 1500));
    return sim_client_run(client, &statement);
}

/* The results fill all buffers up to the server before they are read. */
fault behave_slow_reading(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    batch_begin(&batch, client);
    for (uint32_t i = 0; i < 3; i++) {
        statement_series(client, &statement, 1 + sim_client_draw(client, 1000));
        batch_query(&batch, &statement);
    }
    TRY(batch_send(&batch));
    TRY(sim_client_pause(client, 100000));
    return batch_receive(&batch);
}

#define PADDING_MAX  6000u
#define CHUNK        16384u /* the daemon's, and the largest TLS record */
#define RECORD_SMALL 200u

static const char padding_begins[] = " --";

/* Of a Query message, without padding. */
static size_t query_size(const struct statement *statement)
{
    return WIRE_HEADER + strlen(statement->text) + sizeof(padding_begins);
}

static void batch_padded(struct batch *batch, struct statement *statement, size_t padding)
{
    struct buffer *out = &batch->client->conn.out;
    trace("client", batch->client->number, "sends, %zu bytes longer: %s", padding, statement->text);
    statement->expected.simple = true;
    size_t start = wire_begin(out, WIRE_QUERY);
    wire_put_bytes(out, span_text(statement->text));
    wire_put_bytes(out, span_text(padding_begins));
    uint8_t *room = buffer_room(out, padding);
    CHECK(room != NULL);
    memset(room, 'x', padding);
    out->size += padding;
    wire_put_u8(out, 0);
    wire_end(out, start);
    batch_expect(batch, &statement->expected);
    batch_expect(batch, &(struct expectation){.what = EXPECT_READY});
}

/* Queries that fill buffers. */
fault behave_long_queries(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    batch_begin(&batch, client);
    for (uint32_t count = 1 + sim_client_draw(client, 5); count > 0; count--) {
        statement_echo(client, &statement);
        batch_padded(&batch, &statement, 1 + sim_client_draw(client, PADDING_MAX));
    }
    return batch_run(&batch);
}

/* Some bytes more than one read: a second TLS record, which arrives with the first, without another
 * event of the socket. */
fault behave_more_than_a_chunk(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    batch_begin(&batch, client);
    statement_echo(client, &statement);
    size_t more = 1 + sim_client_draw(client, RECORD_SMALL);
    batch_padded(&batch, &statement, CHUNK + more - query_size(&statement));
    return batch_run(&batch);
}
