#include "clients/batch.h"
#include "clients/behaviours.h"
#include "machine/clock.h"
#include "scenario/scenario.h"

#include <stdio.h>
#include <string.h>

/*
 * The extended protocol: pipelines, named statements, portals, Flush and many Syncs.
 */

fault behave_pipeline(struct sim_client *client)
{
    struct batch batch;
    batch_begin_mixed(&batch, client, 1 + sim_client_draw(client, 20));
    return batch_run(&batch);
}

/* Named prepared statements: the same texts for all clients, with different results. */
static const char *const prepared_names[PREPARED] = {"one", "two", "three", "fails"};
static const char *const prepared_texts[PREPARED] = {
    "SELECT $1 || ' by the first'",
    "SELECT $1 || ' by the second'",
    "SELECT $1 || ' by the third'",
    "SELECT 1/length($1)",
};
static const char *const prepared_answers[PREPARED] = {" by the first", " by the second",
                                                       " by the third", ""};

static void batch_prepare(struct batch *batch, uint8_t which, const char *name)
{
    struct expectation parsed = {.what = EXPECT_PARSED,
                                 .effect = name[0] == '\0' ? EFFECT_NONE : EFFECT_PREPARED,
                                 .a = which};
    batch->anonymous = true;
    put_parse(batch->client, name, prepared_texts[which]);
    batch_expect(batch, &parsed);
}

static void batch_execute(struct batch *batch, uint8_t which, const char *name)
{
    char value[64];
    struct sim_client *client = batch->client;
    bool fails = which == PREPARED - 1;
    batch->anonymous = true;
    snprintf(value, sizeof(value), "%u.%u", client->login, ++client->statements);
    put_bind(client, "", name, fails ? "" : value);
    /* The planner computes it already, as long as it plans for the values at hand. */
    batch_expect(batch,
                 &(struct expectation){.what = EXPECT_BOUND, .sqlstate = fails ? "22012" : NULL});
    put_execute(client, "", 0);
    struct expectation expected = {.what = EXPECT_ANSWER,
                                   .has_rows = true,
                                   .rows = 1,
                                   .sqlstate = fails ? "22012" : NULL,
                                   .tag = "SELECT 1"};
    snprintf(expected.text, sizeof(expected.text), "%s%s", value, prepared_answers[which]);
    batch_expect(batch, &expected);
    trace("client", client->number, "executes '%s' with %s", name, value);
}

static void batch_close(struct batch *batch, uint8_t which, const char *name)
{
    put_target(batch->client, WIRE_CLOSE, 'S', name);
    batch_expect(batch,
                 &(struct expectation){.what = EXPECT_CLOSED, .effect = EFFECT_CLOSED, .a = which});
}

fault behave_prepared(struct sim_client *client)
{
    struct batch batch;
    uint8_t which = (uint8_t)sim_client_draw(client, PREPARED);
    const char *name = prepared_names[which];
    batch_begin(&batch, client);
    if (!client->prepared[which])
        batch_prepare(&batch, which, name);
    if (sim_client_one_in(client, 4)) {
        put_target(client, WIRE_DESCRIBE, 'S', name);
        batch_expect(&batch, &(struct expectation){.what = EXPECT_PARAMETERS});
        batch_expect(&batch, &(struct expectation){.what = EXPECT_ROWS});
    }
    batch_execute(&batch, which, name);
    if (sim_client_one_in(client, 4))
        batch_close(&batch, which, name);
    batch_sync(&batch);
    return batch_run(&batch);
}

/* DEALLOCATE drops a statement of Parse: alone or among others, within a transaction or not; for a
 * missing one the error has its name. */
static fault deallocate(struct sim_client *client, uint8_t which)
{
    struct batch batch;
    struct statement statements[3];
    struct statement *given_up = &statements[1];
    bool all = sim_client_one_in(client, 5);
    statement_echo(client, &statements[0]);
    if (all)
        statement_make(client, given_up, "DEALLOCATE ALL", EFFECT_CLOSED_ALL, "DEALLOCATE ALL");
    else
        statement_make(client, given_up, "DEALLOCATE", EFFECT_CLOSED, "DEALLOCATE %s",
                       prepared_names[which]);
    if (!all && !client->prepared[which])
        given_up->expected.sqlstate = "26000";
    given_up->expected.a = which;
    statement_echo(client, &statements[2]);
    batch_begin(&batch, client);
    switch (sim_client_draw(client, 3)) {
    case 0:
        batch_query(&batch, given_up);
        break;
    case 1:
        batch_queries(&batch, statements, ARRAY_SIZE(statements));
        break;
    default:
        batch_extended(&batch, given_up, false);
        batch_sync(&batch);
    }
    return batch_run(&batch);
}

/* Checks that the statement exists if it was prepared, and not if it was dropped. */
static fault check_prepared(struct sim_client *client, uint8_t which)
{
    struct batch batch;
    if (client->status == WIRE_TX_FAILED)
        return OK;
    batch_begin(&batch, client);
    if (client->prepared[which]) {
        batch_execute(&batch, which, prepared_names[which]);
    } else {
        batch.anonymous = true;
        put_bind(client, "", prepared_names[which], "nothing");
        batch_expect(&batch, &(struct expectation){.what = EXPECT_BOUND, .sqlstate = "26000"});
    }
    batch_sync(&batch);
    return batch_run(&batch);
}

fault behave_deallocate(struct sim_client *client)
{
    struct batch batch;
    uint8_t which = (uint8_t)sim_client_draw(client, PREPARED - 1);
    if (!client->prepared[which] && !sim_client_one_in(client, 3)) {
        batch_begin(&batch, client);
        batch_prepare(&batch, which, prepared_names[which]);
        batch_sync(&batch);
        TRY(batch_run(&batch));
    }
    if (client->pool != CLIENT_STATEMENT && sim_client_one_in(client, 3))
        TRY(sim_client_start_transaction(client));
    TRY(deallocate(client, which));
    TRY(check_prepared(client, which));
    while (client->status != WIRE_TX_IDLE)
        TRY(sim_client_roll_back(client));
    return check_prepared(client, which);
}

/* The unnamed statement stays from one batch to the next, on whichever server that runs. */
static fault unnamed(struct sim_client *client)
{
    struct batch batch;
    uint8_t which = (uint8_t)sim_client_draw(client, PREPARED - 1);
    batch_begin(&batch, client);
    batch_prepare(&batch, which, "");
    batch_sync(&batch);
    TRY(batch_run(&batch));
    if (batch.any_failed)
        return OK;
    for (uint32_t times = 1 + sim_client_draw(client, 4); times > 0; times--) {
        TRY(sim_client_pause(client, 10000));
        batch_begin(&batch, client);
        batch_execute(&batch, which, "");
        batch_sync(&batch);
        TRY(batch_run(&batch));
    }
    return OK;
}

/* After a second Parse without a name, the first statement on an earlier server must not be used.
 */
fault behave_unnamed(struct sim_client *client)
{
    for (uint32_t times = 2 + sim_client_draw(client, 4); times > 0; times--)
        TRY(unnamed(client));
    return OK;
}

/* Many prepared statements in one batch: each may have to be prepared again after an eviction. */
fault behave_prepared_pipeline(struct sim_client *client)
{
    struct batch batch;
    batch_begin(&batch, client);
    for (uint8_t i = 0; i + 1 < PREPARED; i++) {
        if (client->prepared[i])
            continue;
        batch_prepare(&batch, i, prepared_names[i]);
        batch_sync(&batch);
    }
    TRY(batch_run(&batch));
    if (batch.any_failed)
        return OK;
    batch_begin(&batch, client);
    for (uint32_t count = 2 + sim_client_draw(client, 8); count > 0; count--) {
        uint8_t which = (uint8_t)sim_client_draw(client, PREPARED - 1);
        batch_execute(&batch, which, prepared_names[which]);
        if (sim_client_one_in(client, 4))
            batch_sync(&batch);
    }
    batch_sync(&batch);
    return batch_run(&batch);
}

#define NOTIFIED_TIMES 3u

/* Executes a prepared statement while other sessions notify the channel. */
static fault execute_while_notified(struct sim_client *client)
{
    struct batch batch;
    uint8_t which = (uint8_t)sim_client_draw(client, PREPARED - 1);
    const char *name = prepared_names[which];
    batch_begin(&batch, client);
    if (!client->prepared[which])
        batch_prepare(&batch, which, name);
    batch_execute(&batch, which, name);
    batch_sync(&batch);
    TRY(batch_send(&batch));
    for (uint32_t i = 0; i < NOTIFIED_TIMES; i++) {
        TRY(sim_client_pause(client, 400));
        scenario_notify_soon();
    }
    return batch_receive(&batch);
}

/* A client that listens executes prepared statements: notifications arrive together with replies
 * to a Parse that the pooler has sent ahead of the client's messages. */
fault behave_listen_and_execute(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    client->listens = true;
    statement_make(client, &statement, "LISTEN", EFFECT_NONE, "LISTEN news");
    batch_begin(&batch, client);
    batch_query(&batch, &statement);
    TRY(batch_run(&batch));
    for (uint32_t i = 0; i < 8 && !batch.any_failed; i++)
        TRY(execute_while_notified(client));
    statement_make(client, &statement, "UNLISTEN", EFFECT_NONE, "UNLISTEN news");
    batch_begin(&batch, client);
    batch_query(&batch, &statement);
    return batch_run(&batch);
}

/* A Bind in two parts, sent before the Parse of its statement has a reply. */
static fault bind_in_pieces(struct sim_client *client)
{
    struct batch batch;
    uint8_t which = (uint8_t)sim_client_draw(client, PREPARED - 1);
    const char *name = prepared_names[which];
    batch_begin(&batch, client);
    if (client->prepared[which])
        batch_close(&batch, which, name);
    batch_prepare(&batch, which, name);
    batch_sync(&batch);
    trace("client", client->number, "prepares and binds '%s' in pieces", name);
    size_t named = client->conn.out.size + WIRE_HEADER + sizeof("") + strlen(name) + 1;
    batch_execute(&batch, which, name);
    batch_sync(&batch);
    fault sent = conn_flush_part(&client->conn, named, after(sec(60)));
    if (sent != OK)
        return sim_client_lost(client, sent);
    TRY(sim_client_pause(client, 300));
    return batch_run(&batch);
}

fault behave_bind_in_pieces(struct sim_client *client)
{
    /* Without the Parse, the Bind would fail. */
    if (scenario_has(KIND_out_of_memory) || scenario_has(KIND_claim_timeout) ||
        scenario_has(KIND_claim_delays))
        return OK;
    if (client->pool == CLIENT_STATEMENT || sim_client_one_in(client, 2))
        return bind_in_pieces(client);
    TRY(sim_client_start_transaction(client));
    if (client->status != WIRE_TX_ACTIVE)
        return OK;
    TRY(bind_in_pieces(client));
    return sim_client_roll_back(client);
}

/* The rest of a batch is skipped behind an error, the next one is not; a missing statement gives an
 * error. */
fault behave_failing_batch(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    uint8_t which = (uint8_t)sim_client_draw(client, PREPARED);
    batch_begin(&batch, client);
    if (sim_client_one_in(client, 2)) {
        statement_fail(client, &statement);
        batch_extended(&batch, &statement, false);
    } else {
        put_bind(client, "", "nobody has prepared this", NULL);
        batch_expect(&batch, &(struct expectation){.what = EXPECT_BOUND, .sqlstate = "26000"});
    }
    if (!client->prepared[which])
        batch_prepare(&batch, which, prepared_names[which]);
    if (sim_client_one_in(client, 2))
        batch_close(&batch, which, prepared_names[which]);
    batch_sync(&batch);
    statement_echo(client, &statement);
    batch_extended(&batch, &statement, true);
    batch_sync(&batch);
    return batch_run(&batch);
}

/* Some rows at a time, out of a portal with a name, with Flush or Sync in between. */
fault behave_portal(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    char text[64];
    uint32_t rows = 2 + sim_client_draw(client, 20), at = 1;
    uint32_t step = 1 + sim_client_draw(client, 6);
    snprintf(text, sizeof(text), "part %u.%u ", client->login, client->statements + 1);
    statement_make(client, &statement, "", EFFECT_NONE,
                   "SELECT '%s' || g FROM generate_series(1, %u) AS g", text, rows);
    batch_begin(&batch, client);
    put_parse(client, "", statement.text);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_PARSED});
    put_bind(client, "p", "", NULL);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_BOUND});
    while (at <= rows + 1) {
        struct expectation expected = {
            .what = EXPECT_SUSPENDED, .numbered = true, .rows = step, .first = at};
        if (at + step > rows + 1) {
            /* Rows that were there exactly are only known to be the last by one more look. */
            expected.what = EXPECT_ANSWER;
            expected.rows = rows + 1 - at;
            snprintf(expected.tag, sizeof(expected.tag), "SELECT %u", expected.rows);
        }
        snprintf(expected.text, sizeof(expected.text), "%s", text);
        put_execute(client, "p", step);
        batch_expect(&batch, &expected);
        at += step;
        if (expected.what == EXPECT_ANSWER)
            break;
        if (sim_client_one_in(client, 3)) {
            batch_flush(&batch);
            TRY(batch_run(&batch));
            if (batch.failed)
                break;
        }
    }
    batch_sync(&batch);
    return batch_run(&batch);
}

/* Flush within a batch. */
fault behave_flushes(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    uint32_t count = 1 + sim_client_draw(client, 4);
    batch_begin(&batch, client);
    for (uint32_t i = 0; i < count && !batch.failed; i++) {
        statement_any(client, &statement);
        batch_extended(&batch, &statement, sim_client_one_in(client, 3));
        batch_flush(&batch);
        TRY(batch_run(&batch));
        if (sim_client_one_in(client, 3))
            TRY(sim_client_pause(client, 3000));
    }
    batch_sync(&batch);
    return batch_run(&batch);
}

fault behave_many_syncs(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    uint32_t count = 1 + sim_client_draw(client, 8);
    batch_begin(&batch, client);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t syncs = sim_client_draw(client, 3); syncs > 0; syncs--)
            batch_sync(&batch);
        statement_echo(client, &statement);
        batch_extended(&batch, &statement, false);
        batch_sync(&batch);
    }
    batch_sync(&batch);
    return batch_run(&batch);
}
