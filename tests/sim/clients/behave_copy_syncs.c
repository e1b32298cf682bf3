#include "clients/batch.h"
#include "clients/behaviours.h"
#include "oracle/records.h"
#include "scenario/scenario.h"

#include <stdio.h>
#include <string.h>

/*
 * COPY with Syncs in it, ahead of its failure and behind it, as libpq sends one: what PostgreSQL
 * answers of them is known, and all of it must come (docs/internals/model-postgres.md).
 */
#define SYNCS_MAX 4u

struct copying {
    struct sim_client *client;
    struct batch batch;
    struct statement statement;
    struct statement next;
    bool extended;
    bool waits;           /* for the server to ask for data */
    bool asks_on;         /* a query stands behind all that */
    const char *sqlstate; /* it fails with this; NULL: it does not */
    bool refused;         /* before it reads anything */
    uint32_t syncs;       /* all of them */
    uint32_t answered;    /* that are answered if the COPY begins */
};

static void put_syncs(struct copying *copying, uint32_t count, bool answered)
{
    for (uint32_t i = 0; i < count; i++)
        wire_put_empty(&copying->client->conn.out, WIRE_SYNC);
    copying->syncs += count;
    copying->answered += answered ? count : 0;
}

static uint32_t draw_syncs(struct copying *copying)
{
    return sim_client_draw(copying->client, SYNCS_MAX);
}

static void put_command(struct copying *copying)
{
    struct sim_client *client = copying->client;
    struct batch *batch = &copying->batch;
    trace("client", client->number, "copies among Syncs: %s", copying->statement.text);
    if (copying->extended) {
        put_parse(client, "", copying->statement.text);
        put_bind(client, "", "", NULL);
        put_execute(client, "", 0);
        batch_expect(batch, &(struct expectation){.what = EXPECT_PARSED});
        batch_expect(batch, &(struct expectation){.what = EXPECT_BOUND});
        put_syncs(copying, copying->waits ? 1 : draw_syncs(copying), copying->refused);
    } else {
        wire_put_query(&client->conn.out, span_text(copying->statement.text));
    }
    batch_expect(batch, &(struct expectation){.what = EXPECT_COPY_IN});
}

static void put_rows(struct copying *copying, uint32_t rows)
{
    struct sim_client *client = copying->client;
    for (uint32_t i = 0; i < rows; i++) {
        put_row(client);
        if (sim_client_one_in(client, 3))
            put_syncs(copying, 1, copying->refused);
    }
    if (copying->sqlstate == NULL) {
        put_syncs(copying, draw_syncs(copying), false);
        return;
    }
    if (!copying->refused)
        put_copy(client, WIRE_COPY_DATA, "this is no number\tx\n");
    put_syncs(copying, draw_syncs(copying), true);
}

static void put_end(struct copying *copying)
{
    struct sim_client *client = copying->client;
    if (copying->sqlstate == NULL || sim_client_one_in(client, 2))
        wire_put_empty(&client->conn.out, WIRE_COPY_DONE);
    put_syncs(copying, copying->extended ? 1 + draw_syncs(copying) : draw_syncs(copying), true);
    if (copying->asks_on) {
        if (sim_client_one_in(client, 3))
            statement_fail(client, &copying->next);
        else
            statement_echo(client, &copying->next);
        copying->next.expected.simple = true;
        wire_put_query(&client->conn.out, span_text(copying->next.text));
    }
}

/* What follows CopyInResponse, or the error in its place. */
static fault read_replies(struct copying *copying)
{
    struct batch *batch = &copying->batch;
    bool began = !batch->failed;
    if (began)
        batch_expect(batch, &copying->statement.expected);
    if (began)
        TRY(batch_receive(batch));
    if (began && batch->failed && !batch->meant) {
        /* For a reason that the plan gives; how far it had come is not known. */
        copying->client->wants_cancel = true;
        sim_client_close(copying->client);
        return OK;
    }
    uint32_t ready = began ? copying->answered : copying->syncs;
    for (ready += !copying->extended; ready > 0; ready--)
        batch_expect(batch, &(struct expectation){.what = EXPECT_READY});
    if (copying->asks_on) {
        batch_expect(batch, &copying->next.expected);
        batch_expect(batch, &(struct expectation){.what = EXPECT_READY});
    }
    batch->partly = false;
    return batch_receive(batch);
}

static fault copy_among_syncs(struct copying *copying, const char *table)
{
    char tag[24];
    struct sim_client *client = copying->client;
    struct batch *batch = &copying->batch;
    uint32_t rows = 1 + sim_client_draw(client, RECORD_ROWS - 1);
    snprintf(tag, sizeof(tag), "COPY %u", rows);
    statement_make(client, &copying->statement, tag, EFFECT_NONE, "COPY %s FROM STDIN", table);
    copying->statement.expected.sqlstate = copying->sqlstate;
    batch_begin(batch, client);
    batch->partly = true;
    client->record = record_begin();
    client->has_record = client->may_commit = true;
    put_command(copying);
    if (copying->waits) {
        TRY(batch_run(batch));
        if (batch->failed) {
            put_syncs(copying, !copying->extended && copying->syncs == 0 ? 1 : 0, true);
            copying->asks_on = false;
            TRY(batch_send(batch));
            return read_replies(copying);
        }
    }
    put_rows(copying, rows);
    put_end(copying);
    TRY(batch_run(batch));
    return read_replies(copying);
}

fault behave_copy_syncs(struct sim_client *client)
{
    struct copying copying = {.client = client};
    copying.extended = sim_client_one_in(client, 2);
    copying.waits = sim_client_one_in(client, 3);
    copying.asks_on = sim_client_one_in(client, 2);
    switch (sim_client_draw(client, 3)) {
    case 0:
        return copy_among_syncs(&copying, "kv");
    case 1:
        copying.sqlstate = "P0001";
        copying.refused = true;
        return copy_among_syncs(&copying, "guarded");
    default:
        copying.sqlstate = "22P02";
        return copy_among_syncs(&copying, "kv");
    }
}

/* --- many of them in one text ----------------------------------------------------------------- */

#define COPIES_MAX 300u

/* Their ends, Syncs and a query are there before the first of them has begun. */
fault behave_many_copies(struct sim_client *client)
{
    static const char more[] = "; COPY kv FROM STDIN";
    char text[CLIENT_TEXT + COPIES_MAX * sizeof(more)];
    struct copying copying = {.client = client, .asks_on = true};
    struct batch *batch = &copying.batch;
    uint32_t count = sim_client_one_in(client, 2) ? 2 + sim_client_draw(client, 5)
                                                  : COPIES_MAX - sim_client_draw(client, 60);
    statement_make(client, &copying.statement, "COPY 0", EFFECT_NONE, "COPY kv FROM STDIN");
    size_t used = (size_t)snprintf(text, sizeof(text), "%s", copying.statement.text);
    for (uint32_t i = 1; i < count; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s", more);
    trace("client", client->number, "copies %u times in one text", count);
    batch_begin(batch, client);
    batch->partly = true;
    wire_put_query(&client->conn.out, span_text(text));
    for (uint32_t i = 0; i < count; i++)
        wire_put_empty(&client->conn.out, WIRE_COPY_DONE);
    put_end(&copying);
    TRY(batch_send(batch));
    for (uint32_t i = 0; i < count && !batch->failed; i++) {
        batch_drop(batch);
        batch_expect(batch, &(struct expectation){.what = EXPECT_COPY_IN});
        if (i + 1 < count)
            batch_expect(batch, &copying.statement.expected);
        TRY(batch_receive(batch));
    }
    return read_replies(&copying);
}
