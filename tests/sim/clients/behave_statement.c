#include "clients/batch.h"
#include "clients/behaviours.h"
#include "machine/clock.h"
#include "scenario/scenario.h"

/*
 * Clients of a statement pool: a transaction must end with its message.
 */

/* A transaction block in one message. */
static fault block_within(struct sim_client *client)
{
    struct batch batch;
    struct statement statements[3];
    batch_begin(&batch, client);
    statement_make(client, &statements[0], "BEGIN", EFFECT_BEGIN, "BEGIN WORK");
    statement_write(client, &statements[1]);
    statement_make(client, &statements[2], "COMMIT", EFFECT_COMMIT, "COMMIT WORK");
    batch_queries(&batch, statements, 3);
    return batch_run(&batch);
}

/* Reads until the connection ends; *ret_refused: the right error came. */
static fault read_refusal(struct sim_client *client, bool *ret_refused)
{
    struct wire_error error;
    const struct wire_frame *frame = &client->conn.frame;
    for (;;) {
        fault heard = conn_next(&client->conn, after(sec(200)));
        /* A last word that does not fit into the socket at once is not waited for. */
        if (heard != OK)
            return *ret_refused || scenario_has(KIND_short_writes) || scenario_has(KIND_bandwidth)
                       ? OK
                       : sim_client_lost(client, heard);
        if (frame->type != WIRE_ERROR)
            continue;
        CHECK(wire_read_error(frame->body, &error) == OK);
        *ret_refused = span_is(error.sqlstate, "0A000") && span_is(error.severity, "FATAL");
        if (*ret_refused)
            continue;
        CHECK(scenario_excuses_error(client, &error), "client %u: '%.*s' (%.*s) came for BEGIN",
              client->number, SPAN_ARG(error.message), SPAN_ARG(error.sqlstate));
        return FAULT_CLOSED;
    }
}

fault behave_block(struct sim_client *client)
{
    bool refused = false;
    struct statement statement;
    struct batch batch;
    bool may_fail = scenario_has(KIND_out_of_memory) || scenario_has(KIND_statement_timeout) ||
                    scenario_has(KIND_cancels) || scenario_has(KIND_promotions) ||
                    scenario_has(KIND_roles);
    if (!may_fail && sim_client_one_in(client, 2))
        return block_within(client);
    batch_begin(&batch, client);
    statement_make(client, &statement, "BEGIN", EFFECT_NONE, "BEGIN WORK");
    if (sim_client_one_in(client, 2)) {
        batch_query(&batch, &statement);
    } else {
        batch_extended(&batch, &statement, false);
        batch_sync(&batch);
    }
    client->waits_since = now();
    TRY(sim_client_flush(client));
    fault heard = read_refusal(client, &refused);
    client->wants_cancel = true;
    sim_client_close(client);
    return heard;
}
