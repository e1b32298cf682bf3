#include "clients/batch.h"
#include "clients/behaviours.h"
#include "machine/clock.h"
#include "scenario/scenario.h"

/*
 * Transactions: their rows are compared with the table at the end (oracle/records.c).
 */

static fault run_command(struct sim_client *client, const char *tag, enum effect effect,
                         const char *text)
{
    struct statement statement;
    statement_make(client, &statement, tag, effect, "%s", text);
    return sim_client_run(client, &statement);
}

fault sim_client_start_transaction(struct sim_client *client)
{
    return run_command(client, "BEGIN", EFFECT_BEGIN, "BEGIN WORK");
}

fault sim_client_roll_back(struct sim_client *client)
{
    return run_command(client, "ROLLBACK", EFFECT_ROLLBACK, "ROLLBACK WORK");
}

static fault end_transaction(struct sim_client *client)
{
    if (sim_client_one_in(client, 4))
        return run_command(client, "ROLLBACK", EFFECT_ROLLBACK, "ROLLBACK WORK");
    return run_command(client, "COMMIT", EFFECT_COMMIT, "COMMIT WORK");
}

fault behave_transaction(struct sim_client *client)
{
    struct statement statement;
    uint32_t count = sim_client_draw(client, 5);
    TRY(sim_client_start_transaction(client));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t lot = sim_client_draw(client, 8);
        if (lot < 4)
            statement_write(client, &statement);
        else if (lot == 4)
            statement_set(client, &statement, sim_client_one_in(client, 2));
        else if (lot == 5 && client->status == WIRE_TX_ACTIVE)
            statement_show(client, &statement);
        else
            statement_any(client, &statement);
        TRY(sim_client_run(client, &statement));
        if (sim_client_one_in(client, 3))
            TRY(sim_client_pause(client, 5000));
    }
    return end_transaction(client);
}

/* Errors are undone to a savepoint, and the rest is committed. */
fault behave_savepoints(struct sim_client *client)
{
    struct statement statement;
    TRY(sim_client_start_transaction(client));
    statement_write(client, &statement);
    TRY(sim_client_run(client, &statement));
    if (client->status != WIRE_TX_ACTIVE)
        return end_transaction(client);
    TRY(run_command(client, "SAVEPOINT", EFFECT_SAVEPOINT, "SAVEPOINT a"));
    if (client->status != WIRE_TX_ACTIVE)
        return end_transaction(client);
    statement_write(client, &statement);
    TRY(sim_client_run(client, &statement));
    if (sim_client_one_in(client, 2))
        statement_fail(client, &statement);
    else
        statement_set(client, &statement, sim_client_one_in(client, 2));
    TRY(sim_client_run(client, &statement));
    if (client->status == WIRE_TX_FAILED || sim_client_one_in(client, 2))
        TRY(run_command(client, "ROLLBACK", EFFECT_BACK, "ROLLBACK TO SAVEPOINT a"));
    statement_write(client, &statement);
    TRY(sim_client_run(client, &statement));
    return end_transaction(client);
}

/* Several writes without BEGIN in one batch: all of them or none. */
fault behave_atomic_batch(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    uint32_t count = 2 + sim_client_draw(client, 4);
    batch_begin(&batch, client);
    for (uint32_t i = 0; i < count; i++) {
        if (sim_client_one_in(client, 8))
            statement_fail(client, &statement);
        else
            statement_write(client, &statement);
        batch_extended(&batch, &statement, sim_client_one_in(client, 4));
    }
    batch_sync(&batch);
    return batch_run(&batch);
}
