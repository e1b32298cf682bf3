#include "clients/batch.h"
#include "clients/behaviours.h"
#include "machine/clock.h"
#include "oracle/fairness.h"
#include "scenario/scenario.h"
#include "wire/startup.h"

#include <string.h>

/*
 * Time limits, in runs without delays: a client within a limit is not disconnected; a client beyond
 * it is, not earlier, and later by no more than a small part of the limit.
 */
#define EARLY_MAX ms(2)  /* the daemon measures from its own receipt */
#define LATE_MAX  ms(5)  /* of 60 ms, the smallest of the limits */
#define SLEEPS    ms(20) /* each statement of a transaction that takes long */

static bool is_set(duration limit)
{
    return limit.us != NO_LIMIT.us;
}

static duration nine_tenths(duration limit)
{
    return (duration){limit.us / 10 * 9};
}

/* Checks that an error of this SQLSTATE ended the connection, `limit` after `since`. */
static void check_ended(const struct sim_client *client, const char *sqlstate, moment since,
                        duration limit)
{
    int64_t passed = between(since, now()).us;
    CHECK(strcmp(client->last_error, sqlstate) == 0, "client %u is ended by '%s' instead of '%s'",
          client->number, client->last_error, sqlstate);
    CHECK(passed >= limit.us - EARLY_MAX.us && passed <= limit.us + LATE_MAX.us,
          "client %u is ended after %lld us, the limit is %lld us (%s)", client->number,
          (long long)passed, (long long)limit.us, sqlstate);
}

/* A statement of this duration, as a Query: one turn of the server. */
static fault run_sleep(struct sim_client *client, duration time)
{
    struct batch batch;
    struct statement statement;
    batch_begin(&batch, client);
    statement_make(client, &statement, "SELECT 1", EFFECT_NONE, "SELECT pg_sleep(%lld.%06lld)",
                   (long long)(time.us / 1000000), (long long)(time.us % 1000000));
    statement.expected.has_rows = true;
    statement.expected.rows = 1;
    statement.expected.text[0] = '\0';
    batch_query(&batch, &statement);
    client->unsplit = true;
    fault ran = batch_run(&batch);
    client->unsplit = false;
    return ran;
}

/* --- queries ---------------------------------------------------------------------------------- */

/* Outside of a transaction both limits run, and the shorter one ends it. */
static duration query_limit(const char **ret_sqlstate)
{
    const struct setup *setup = &scenario.setup;
    bool by_transaction = setup->transaction_timeout.us < setup->query_timeout.us;
    *ret_sqlstate = by_transaction ? "25P04" : "57014";
    return by_transaction ? setup->transaction_timeout : setup->query_timeout;
}

/* Each query of a transaction has the whole limit. */
static fault run_queries_within(struct sim_client *client)
{
    const struct setup *setup = &scenario.setup;
    duration limit = setup->query_timeout;
    TRY(sim_client_start_transaction(client));
    if (client->status != WIRE_TX_ACTIVE)
        return OK;
    duration max = is_set(setup->transaction_timeout) ? (duration){limit.us / 3} : limit;
    for (uint32_t i = 0; i < 2; i++)
        TRY(run_sleep(client, nine_tenths(max)));
    return sim_client_roll_back(client);
}

fault behave_query_limit(struct sim_client *client)
{
    const char *sqlstate;
    duration limit = query_limit(&sqlstate);
    if (!is_set(limit))
        return OK;
    TRY(behave_echo(client)); /* it has not been silent for too long */
    if (is_set(scenario.setup.query_timeout) && client->pool != CLIENT_STATEMENT &&
        sim_client_one_in(client, 3))
        return run_queries_within(client);
    if (sim_client_one_in(client, 2))
        return run_sleep(client, nine_tenths(limit));
    fault slept = run_sleep(client, sec(600));
    if (slept != FAULT_CLOSED) /* its claim was refused */
        return slept;
    check_ended(client, sqlstate, client->ran_at, limit);
    return FAULT_CLOSED;
}

/* --- transactions ----------------------------------------------------------------------------- */

fault behave_transaction_limit(struct sim_client *client)
{
    duration limit = scenario.setup.transaction_timeout;
    if (!is_set(limit))
        return OK;
    TRY(behave_echo(client));
    client->unsplit = true;
    fault begun = sim_client_start_transaction(client);
    client->unsplit = false;
    if (begun != OK || client->status != WIRE_TX_ACTIVE)
        return begun;
    moment since = client->ran_at;
    bool in_time = sim_client_one_in(client, 2);
    deadline until = later(since, in_time ? nine_tenths(limit) : sec(600));
    while (now().us + SLEEPS.us < until.us) {
        fault slept = run_sleep(client, SLEEPS);
        if (slept == OK)
            continue;
        CHECK(!in_time, "client %u is ended within its time", client->number);
        check_ended(client, "25P04", since, limit);
        return slept;
    }
    return sim_client_roll_back(client);
}

/* --- idle timeouts ---------------------------------------------------------------------------- */

static fault stay_silent(struct sim_client *client, const char *sqlstate, duration limit)
{
    moment since = now();
    bool in_time = sim_client_one_in(client, 2);
    fault heard = sim_client_receive_for(client, in_time ? nine_tenths(limit) : sec(600));
    if (heard == OK)
        return OK;
    CHECK(!in_time, "client %u is ended within its time", client->number);
    check_ended(client, sqlstate, since, limit);
    return heard;
}

/* LISTEN or UNLISTEN; notifications do not end the idle time.  AGAIN: it was refused. */
static fault listens(struct sim_client *client, bool on)
{
    struct batch batch;
    struct statement statement;
    statement_make(client, &statement, on ? "LISTEN" : "UNLISTEN", on ? EFFECT_LISTEN : EFFECT_NONE,
                   on ? "LISTEN news" : "UNLISTEN news");
    client->listens = true;
    batch_begin(&batch, client);
    batch_query(&batch, &statement);
    TRY(batch_run(&batch));
    return batch.any_failed ? FAULT_AGAIN : OK;
}

static fault idle_through(struct sim_client *client)
{
    bool hears =
        scenario_has(KIND_notifications) && scenario_has(KIND_pins) && sim_client_one_in(client, 2);
    TRY(behave_echo(client)); /* its time begins with the end of a query */
    fault listening = hears ? listens(client, true) : FAULT_AGAIN;
    if (listening != OK && listening != FAULT_AGAIN)
        return listening;
    TRY(stay_silent(client, "57P05", scenario.setup.client_idle_timeout));
    fault ended = listening == OK ? listens(client, false) : OK;
    return ended == FAULT_AGAIN ? OK : ended;
}

fault behave_idle_limit(struct sim_client *client)
{
    const struct setup *setup = &scenario.setup;
    bool within = client->pool != CLIENT_STATEMENT && sim_client_one_in(client, 2);
    if (!within && is_set(setup->client_idle_timeout))
        return idle_through(client);
    if (!within || !is_set(setup->idle_transaction_timeout))
        return OK;
    TRY(sim_client_start_transaction(client));
    if (client->status != WIRE_TX_ACTIVE)
        return OK;
    struct statement failure;
    statement_fail(client, &failure);
    if (sim_client_one_in(client, 2)) /* one that has failed is no other */
        TRY(sim_client_run(client, &failure));
    TRY(stay_silent(client, "25P03", setup->idle_transaction_timeout));
    return sim_client_roll_back(client);
}

/* --- logins ----------------------------------------------------------------------------------- */

/* Half of a startup packet, and no more. */
fault behave_login_limit(struct sim_client *client)
{
    size_t start, size = 0;
    uint8_t bytes[512];
    struct conn conn = CONN_INIT;
    duration limit = scenario.setup.login_timeout;
    wire_put_startup_begin(&conn.out, WIRE_PROTOCOL_3_0, &start);
    wire_put_startup_parameter(&conn.out, SPAN("user"), SPAN("joe"));
    wire_put_startup_end(&conn.out, start);
    TRY(stream_connect(&conn.stream, &scenario.at, NULL, after(sec(60))));
    moment since = now();
    fault done = conn_flush_part(&conn, 1 + sim_client_draw(client, (uint32_t)conn.out.size - 1),
                                 after(sec(60)));
    while (done == OK)
        done = stream_read(&conn.stream, bytes, sizeof(bytes), &size, after(sec(600)));
    int64_t passed = between(since, now()).us;
    CHECK(done == FAULT_CLOSED && passed >= limit.us - EARLY_MAX.us &&
              passed <= limit.us + limit.us / 20,
          "client %u is let log in for %lld us, login_timeout is %lld us", client->number,
          (long long)passed, (long long)limit.us);
    conn_close(&conn);
    return OK;
}

/* --- drains ----------------------------------------------------------------------------------- */

/* A transaction that is silent while its route may become obsolete: drain_timeout ends it. */
fault behave_transaction_in_a_drain(struct sim_client *client)
{
    if (!is_set(scenario.setup.drain_timeout) || client->pool == CLIENT_STATEMENT)
        return OK;
    TRY(behave_echo(client));
    TRY(sim_client_start_transaction(client));
    if (client->status != WIRE_TX_ACTIVE)
        return OK;
    deadline until = after(sec(1)); /* for a reload */
    while (now().us < until.us) {
        TRY(sim_client_receive_for(client, ms(100)));
        fairness_check_drain(client);
        if (client->identity != scenario.setup.identity)
            until = later(scenario.setup.identity_since, sec(4));
    }
    return sim_client_roll_back(client);
}
