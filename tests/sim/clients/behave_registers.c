#include "clients/batch.h"
#include "clients/behaviours.h"
#include "oracle/registers.h"
#include "scenario/scenario.h"

#include <stdio.h>

/*
 * Reads that go to standbys: rows that are written again and again, and transactions that begin
 * READ ONLY (oracle/registers.c, oracle/reads.c).
 */

/* A row of any client; often the client's own. */
static void statement_read(struct sim_client *client, struct statement *statement)
{
    uint32_t number = client->number;
    if (sim_client_one_in(client, 2))
        number = sim_client_draw(client, scenario.plan->clients);
    statement_make(client, statement, "SELECT 1", EFFECT_NONE, "SELECT v FROM kv WHERE k = %d",
                   (int)register_key(number));
    statement->expected.has_rows = statement->expected.reads = true;
    statement->expected.rows = 1;
    statement->expected.number = number;
}

/* The condition keeps a statement of an earlier connection, which still runs, from writing an older
 * value. */
static void statement_update(struct sim_client *client, struct statement *statement, uint32_t value)
{
    statement_make(client, statement, "UPDATE 1", EFFECT_NONE,
                   "UPDATE kv SET v = '%08u' WHERE k = %d AND v < '%08u'", value,
                   (int)register_key(client->number), value);
}

/* *ret_done: without an error. */
static fault run_told(struct sim_client *client, const struct statement *statement, bool *ret_done)
{
    struct batch batch;
    batch_begin(&batch, client);
    if (sim_client_one_in(client, 2)) {
        batch_query(&batch, statement);
    } else {
        batch_extended(&batch, statement, sim_client_one_in(client, 3));
        batch_sync(&batch);
    }
    TRY(batch_run(&batch));
    *ret_done = !batch.any_failed;
    return OK;
}

static fault write_alone(struct sim_client *client)
{
    struct statement statement;
    uint32_t value = register_next(client);
    bool done = false;
    statement_update(client, &statement, value);
    TRY(run_told(client, &statement, &done));
    if (done)
        register_written(client, value);
    return OK;
}

/* What is read behind the write would be lost by a rollback: nothing is. */
static fault write_in_transaction(struct sim_client *client)
{
    struct statement statement;
    bool done = false;
    TRY(sim_client_start_transaction(client));
    if (client->status != WIRE_TX_ACTIVE) /* refused */
        return OK;
    uint32_t value = register_next(client);
    if (sim_client_one_in(client, 2)) {
        statement_read(client, &statement);
        TRY(sim_client_run(client, &statement));
    }
    statement_update(client, &statement, value);
    TRY(sim_client_run(client, &statement));
    if (client->status != WIRE_TX_ACTIVE || sim_client_one_in(client, 4))
        return sim_client_roll_back(client);
    statement_make(client, &statement, "COMMIT", EFFECT_COMMIT, "COMMIT WORK");
    TRY(run_told(client, &statement, &done));
    if (done)
        register_written(client, value);
    return OK;
}

fault behave_registers(struct sim_client *client)
{
    struct statement statement;
    for (uint32_t count = 2 + sim_client_draw(client, 5); count > 0; count--) {
        uint32_t lot = sim_client_draw(client, 6);
        if (lot == 0) {
            TRY(write_in_transaction(client));
        } else if (lot == 1) {
            TRY(write_alone(client));
        } else {
            statement_read(client, &statement);
            TRY(sim_client_run(client, &statement));
        }
        if (sim_client_one_in(client, 3))
            TRY(sim_client_pause(client, 20000));
    }
    return OK;
}

/* --- transactions that begin READ ONLY -------------------------------------------------------- */

static fault begin_read_only(struct sim_client *client)
{
    static const struct {
        const char *text, *tag;
    } ways[] = {
        {"BEGIN READ ONLY", "BEGIN"},
        {"BEGIN TRANSACTION READ ONLY", "BEGIN"},
        {"START TRANSACTION READ ONLY", "START TRANSACTION"},
        {"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", "BEGIN"},
    };
    struct statement statement;
    uint32_t way = sim_client_draw(client, ARRAY_SIZE(ways));
    statement_make(client, &statement, ways[way].tag, EFFECT_BEGIN, "%s", ways[way].text);
    return sim_client_run(client, &statement);
}

/* What may not be done there, wherever it runs. */
static void statement_refused(struct sim_client *client, struct statement *statement)
{
    static const char *const ways[] = {
        "INSERT INTO kv VALUES (0, 'never')",
        "UPDATE kv SET v = 'never' WHERE k = 0",
        "DELETE FROM kv WHERE k = 0",
        "SELECT v FROM kv WHERE k = 0 FOR UPDATE",
        "CREATE TEMPORARY TABLE never (k int, v text)",
        "TRUNCATE kv",
    };
    uint32_t way = sim_client_draw(client, ARRAY_SIZE(ways));
    statement_make(client, statement, "", EFFECT_NONE, "%s", ways[way]);
    statement->expected.sqlstate = "25006";
}

fault behave_read_only(struct sim_client *client)
{
    struct statement statement;
    TRY(begin_read_only(client));
    if (client->status != WIRE_TX_ACTIVE) /* refused */
        return OK;
    for (uint32_t count = sim_client_draw(client, 6); count > 0; count--) {
        uint32_t lot = sim_client_draw(client, 10);
        if (lot == 0)
            statement_refused(client, &statement);
        else if (lot == 1)
            statement_fail(client, &statement);
        else if (lot == 2)
            statement_set(client, &statement, true);
        else if (lot == 3)
            statement_echo(client, &statement);
        else
            statement_read(client, &statement);
        TRY(sim_client_run(client, &statement));
        if (sim_client_one_in(client, 3))
            TRY(sim_client_pause(client, 20000));
    }
    bool commits = sim_client_one_in(client, 2);
    statement_make(client, &statement, commits ? "COMMIT" : "ROLLBACK",
                   commits ? EFFECT_COMMIT : EFFECT_ROLLBACK, "%s",
                   commits ? "COMMIT WORK" : "ROLLBACK WORK");
    return sim_client_run(client, &statement);
}
