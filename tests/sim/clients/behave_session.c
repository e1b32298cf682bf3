#include "clients/batch.h"
#include "clients/behaviours.h"
#include "machine/clock.h"
#include "oracle/async.h"
#include "scenario/scenario.h"

#include <stdio.h>

/*
 * Session state: the pooler pins the server to its client until the state has ended.
 */

static fault run_command(struct sim_client *client, const char *tag, const char *text,
                         const char *row)
{
    struct statement statement;
    statement_make(client, &statement, tag, EFFECT_NONE, "%s", text);
    if (row != NULL) {
        statement.expected.has_rows = true;
        statement.expected.rows = 1;
        snprintf(statement.expected.text, CLIENT_TEXT, "%s", row);
    }
    struct batch batch;
    batch_begin(&batch, client);
    batch_query(&batch, &statement);
    TRY(batch_run(&batch));
    /* AGAIN: refused, as by pin_share: the following statements are left out. */
    return batch.any_failed ? FAULT_AGAIN : OK;
}

static fault unless_refused(fault done)
{
    return done == FAULT_AGAIN ? OK : done;
}

static fault sql_prepared(struct sim_client *client)
{
    if (client->left_prepared)
        return OK;
    TRY(run_command(client, "PREPARE", "PREPARE mine AS SELECT 'mine'", NULL));
    TRY(sim_client_pause(client, 3000));
    fault done = run_command(client, "SELECT 1", "EXECUTE mine", "mine");
    if (done == FAULT_CLOSED)
        return done;
    done = run_command(client, "DEALLOCATE", "DEALLOCATE mine", NULL);
    client->left_prepared = done == FAULT_AGAIN;
    return done;
}

fault behave_sql_prepared(struct sim_client *client)
{
    return unless_refused(sql_prepared(client));
}

static fault pinned_setting(struct sim_client *client)
{
    TRY(run_command(client, "SET", "SET lock_timeout = '7s'", NULL));
    TRY(sim_client_pause(client, 3000));
    fault done = run_command(client, "SHOW", "SHOW lock_timeout", "7s");
    if (done == FAULT_CLOSED)
        return done;
    return run_command(client, "RESET", "RESET lock_timeout", NULL);
}

fault behave_pinned_setting(struct sim_client *client)
{
    return unless_refused(pinned_setting(client));
}

static fault lock(struct sim_client *client)
{
    char text[96];
    uint32_t key = 100000 + client->login;
    snprintf(text, sizeof(text), "SELECT pg_advisory_lock(%u)", key);
    TRY(run_command(client, "SELECT 1", text, ""));
    TRY(sim_client_pause(client, 3000));
    snprintf(text, sizeof(text), "SELECT pg_advisory_unlock(%u)", key);
    return run_command(client, "SELECT 1", text, "t");
}

fault behave_lock(struct sim_client *client)
{
    return unless_refused(lock(client));
}

#define NOTIFIED_WITHIN ms(100) /* where nothing is late */

/* A parked client receives notifications at once. */
static fault receive_notifications(struct sim_client *client)
{
    duration max = {.us = 1 + sim_client_draw(client, 400000)};
    TRY(sim_client_receive_for(client, max));
    if (scenario_is_exact())
        async_check_prompt(client, NOTIFIED_WITHIN);
    return OK;
}

static fault listen_and_notify(struct sim_client *client)
{
    client->listens = true;
    TRY(run_command(client, "LISTEN", "LISTEN news", NULL));
    if (scenario_has(KIND_notifications))
        TRY(receive_notifications(client));
    TRY(sim_client_pause(client, 3000));
    fault done = run_command(client, "NOTIFY", "NOTIFY news, 'of one'", NULL);
    if (done == FAULT_CLOSED)
        return done;
    TRY(run_command(client, "UNLISTEN", "UNLISTEN news", NULL));
    return OK;
}

fault behave_listen(struct sim_client *client)
{
    return unless_refused(listen_and_notify(client));
}
