#include "clients/client.h"

#include "clients/behaviours.h"
#include "link/link.h"
#include "machine/clock.h"
#include "oracle/async.h"
#include "oracle/fairness.h"
#include "oracle/oracle.h"
#include "oracle/records.h"
#include "oracle/registers.h"
#include "scenario/scenario.h"

#include <stdio.h>
#include <string.h>

/*
 * A simulated client: its connection, asynchronous messages, and the loss of the connection.
 */
#define SLICE        sec(1)
#define PATIENCE     sec(120) /* no wait is longer, whatever faults there are */
#define SERVED_BY    sec(90)  /* after the faults ended */
#define QUIET_ROUNDS 2

const char *const setting_names[SETTINGS] = {"TimeZone", "DateStyle", "IntervalStyle"};
const char *const setting_values[SETTINGS][SETTING_VALUES] = {
    {"Etc/UTC", "Europe/Berlin", "Asia/Tokyo"},
    {"ISO, MDY", "ISO, DMY", "German, DMY"},
    {"postgres", "iso_8601", "sql_standard"},
};

/* --- the end of a connection ------------------------------------------------------------------ */

void sim_client_settle_record(struct sim_client *client, bool done)
{
    if (!client->has_record)
        return;
    record_settle(client->record, done ? RECORD_COMMITTED : RECORD_ROLLED_BACK);
    client->has_record = false;
}

void sim_client_close(struct sim_client *client)
{
    if (client->has_record)
        record_settle(client->record, client->may_commit ? RECORD_UNKNOWN : RECORD_ROLLED_BACK);
    client->has_record = false;
    if (client->connected)
        oracle_end_login(client);
    conn_close(&client->conn);
    client->connected = client->waits = false;
}

fault sim_client_lost(struct sim_client *client, fault why)
{
    trace("client", client->number, "loses its connection: %s", fault_detail(why));
    CHECK(strcmp(fault_detail_sqlstate(why), "08P01") != 0,
          "client %u (login %u) gets a protocol error: %s", client->number, client->login,
          fault_detail(why));
    CHECK(scenario_excuses_loss(client), "client %u (login %u) lost its connection: %s",
          client->number, client->login, fault_detail(why));
    scenario.counts->lost += 1;
    return FAULT_CLOSED;
}

fault sim_client_terminated(struct sim_client *client, const struct wire_error *error)
{
    trace("client", client->number, "is disconnected: %.*s %.*s", SPAN_ARG(error->sqlstate),
          SPAN_ARG(error->message));
    snprintf(client->last_error, sizeof(client->last_error), "%.*s", SPAN_ARG(error->sqlstate));
    /* Only clients that hold a long message may be disconnected for memory. */
    CHECK(!span_is(error->sqlstate, "53200") || client->holds_long_message ||
              scenario_has(KIND_out_of_memory),
          "client %u (login %u) is disconnected for memory: %.*s", client->number, client->login,
          SPAN_ARG(error->message));
    CHECK(!span_is(error->sqlstate, "08P01"), "client %u (login %u) gets a protocol error: %.*s",
          client->number, client->login, SPAN_ARG(error->message));
    CHECK(scenario_excuses_loss(client), "client %u (login %u) was disconnected: %.*s (%.*s)",
          client->number, client->login, SPAN_ARG(error->message), SPAN_ARG(error->sqlstate));
    scenario.counts->lost += 1;
    return FAULT_CLOSED;
}

/* --- reading ---------------------------------------------------------------------------------- */

static void sim_client_read_parameter(struct sim_client *client, struct span body)
{
    struct wire_parameter report;
    CHECK(wire_read_parameter_status(body, &report) == OK);
    for (size_t i = 0; i < SETTINGS; i++)
        if (span_is(report.name, setting_names[i]))
            snprintf(client->reported[i], sizeof(client->reported[i]), "%.*s",
                     SPAN_ARG(report.value));
}

void sim_client_check_settings(const struct sim_client *client)
{
    for (size_t i = 0; i < SETTINGS; i++) {
        const char *must = setting_values[i][client->now.values[i]];
        CHECK(strcmp(client->reported[i], must) == 0, "client %u: %s is '%s' and was set to '%s'",
              client->number, setting_names[i], client->reported[i], must);
    }
}

void sim_client_check_no_surplus(struct sim_client *client)
{
    CHECK(!client->connected || !conn_has_surplus(&client->conn),
          "client %u (login %u) receives a reply without a query", client->number, client->login);
}

/* Reads a message, waiting in slices; never returns TIMEOUT. */
static fault sim_client_read(struct sim_client *client)
{
    deadline begun = now();
    for (;;) {
        fault read = conn_next(&client->conn, after(SLICE));
        if (read != FAULT_TIMEOUT)
            return read == OK ? OK : sim_client_lost(client, read);
        if (scenario.stopped)
            begun = now();
        moment since =
            scenario.quiet && scenario.quiet_since.us > begun.us ? scenario.quiet_since : begun;
        duration waited = between(since, now());
        /* A reply on a stalled connection arrives when the faults end. */
        CHECK(waited.us < PATIENCE.us || (!scenario.quiet && scenario_has(KIND_stalls)),
              "client %u waits without end", client->number);
        CHECK(!scenario.quiet || waited.us < SERVED_BY.us,
              "client %u still waits %lld s after the faults ended", client->number,
              (long long)(waited.us / 1000000));
    }
}

/* Returns false if the message is not asynchronous. */
static bool sim_client_read_async(struct sim_client *client)
{
    const struct wire_frame *frame = &client->conn.frame;
    if (!conn_is_async(frame))
        return false;
    async_received(client, frame);
    if (frame->type == WIRE_PARAMETER_STATUS)
        sim_client_read_parameter(client, frame->body);
    CHECK(frame->type != WIRE_NOTIFICATION || client->listens,
          "client %u is notified without LISTEN", client->number);
    return true;
}

/* Returns CLOSED for a FATAL error. */
static fault sim_client_read_error(struct sim_client *client)
{
    struct wire_error error;
    CHECK(wire_read_error(client->conn.frame.body, &error) == OK);
    return span_is(error.severity, "FATAL") ? sim_client_terminated(client, &error) : OK;
}

fault sim_client_next(struct sim_client *client)
{
    do
        TRY(sim_client_read(client));
    while (sim_client_read_async(client));
    return client->conn.frame.type == WIRE_ERROR ? sim_client_read_error(client) : OK;
}

fault sim_client_receive_for(struct sim_client *client, duration max)
{
    deadline by = after(max);
    for (;;) {
        fault read = conn_next(&client->conn, by);
        if (read == FAULT_TIMEOUT)
            return OK;
        if (read != OK)
            return sim_client_lost(client, read);
        if (sim_client_read_async(client))
            continue;
        CHECK(client->conn.frame.type == WIRE_ERROR, "client %u receives '%c' without a query",
              client->number, client->conn.frame.type);
        TRY(sim_client_read_error(client));
    }
}

/* Sends the buffer in parts of any size, with or without pauses. */
static fault sim_client_flush_in_parts(struct sim_client *client)
{
    struct conn *conn = &client->conn;
    fault sent = OK;
    for (uint32_t i = 1 + sim_client_draw(client, 4); i > 0 && conn->out.size > 1 && sent == OK;
         i--) {
        size_t part = 1 + sim_client_draw(client, (uint32_t)conn->out.size - 1);
        sent = conn_flush_part(conn, part, after(PATIENCE));
        if (sent == OK && sim_client_one_in(client, 2))
            sent = sim_client_pause(client, sim_client_one_in(client, 2) ? 200 : 10000);
    }
    return sent;
}

fault sim_client_flush(struct sim_client *client)
{
    bool in_pieces = sim_client_one_in(client, 6) && !client->unsplit;
    fault sent = in_pieces ? sim_client_flush_in_parts(client) : OK;
    if (sent == OK)
        sent = conn_flush(&client->conn, after(PATIENCE));
    CHECK(sent != FAULT_TIMEOUT, "client %u can't send", client->number);
    client->sent_at = now();
    return sent == OK ? OK : sim_client_lost(client, sent);
}

fault sim_client_pause(struct sim_client *client, uint32_t most_us)
{
    CHECK(co_sleep((duration){.us = 1 + sim_client_draw(client, most_us)}) == OK);
    return OK;
}

/* --- login ------------------------------------------------------------------------------------ */

static void sim_client_init_login(struct sim_client *client)
{
    client->conn = CONN_INIT;
    client->login = oracle_add_login(client);
    client->is_new = scenario.quiet;
    client->logged_in = false;
    client->last_error[0] = '\0';
    client->holds_long_message = client->unsplit = false;
    /* Some clients set no parameters, and must not get the values of other clients. */
    bool plain = sim_client_one_in(client, 4) || scenario_has(KIND_default_settings);
    client->name[0] = '\0';
    if (!plain)
        snprintf(client->name, sizeof(client->name), "client %u", client->login);
    client->status = WIRE_TX_IDLE;
    client->savepoints = client->statements = client->ready_due = 0;
    client->has_record = client->listens = client->may_commit = client->left_prepared = false;
    client->sets = client->wants_cancel = client->waits = false;
    memset(client->prepared, 0, sizeof(client->prepared));
    for (size_t i = 0; i < SETTINGS; i++) {
        uint8_t value = !plain && sim_client_one_in(client, 3)
                            ? (uint8_t)sim_client_draw(client, SETTING_VALUES)
                            : 0;
        client->now.values[i] = client->now.lasting[i] = value;
        client->reset[i] = value;
    }
    client->before = client->now;
    registers_forget(client);
}

static void sim_client_put_parameters(const struct sim_client *client, struct buffer *out)
{
    if (client->name[0] != '\0') {
        buffer_append(out, "application_name", sizeof("application_name"));
        buffer_append(out, client->name, strlen(client->name) + 1);
    }
    for (size_t i = 0; i < SETTINGS; i++) {
        const char *value = setting_values[i][client->now.values[i]];
        if (client->now.values[i] == 0)
            continue;
        buffer_append(out, setting_names[i], strlen(setting_names[i]) + 1);
        buffer_append(out, value, strlen(value) + 1);
    }
}

static void sim_client_logged_in(struct sim_client *client, struct link_reported *reported)
{
    struct span rest = buffer_span(&reported->parameters), name, value;
    client->pid = reported->pid;
    client->secret = reported->secret;
    while (wire_next_parameter(&rest, &name, &value))
        for (size_t i = 0; i < SETTINGS; i++)
            if (span_is(name, setting_names[i]))
                snprintf(client->reported[i], sizeof(client->reported[i]), "%.*s", SPAN_ARG(value));
    buffer_fini(&reported->parameters);
    sim_client_check_settings(client);
}

void sim_client_target(const struct sim_client *client, struct link_target *ret)
{
    /* Keepalive, as applications set it for libpq: a stalled connection ends. */
    *ret = (struct link_target){
        .address = scenario.at,
        .host = "sim",
        .socket = {.keepalive = true, .keep_idle = 20, .keep_interval = 5, .keep_count = 3}};
    bool by_socket = scenario_has(KIND_unix_sockets) && client->number % 3 == 0;
    bool by_second = scenario_has(KIND_listeners) && client->number % 4 == 1;
    if (scenario_has(KIND_proxies) && client->number % 2 == 0)
        ret->address = proxy_address();
    if (by_second)
        ret->address = scenario.at_second;
    if (by_socket)
        ret->address = scenario.at_socket;
    by_socket |= by_second; /* this listener has no TLS either */
    if (scenario.client_tls != NULL && !by_socket && client->number % 4 > 0) {
        ret->tls_mode = TLS_MODE_REQUIRE;
        ret->tls = scenario.client_tls;
    }
}

fault sim_client_connect(struct sim_client *client)
{
    static const char *const databases[] = {[CLIENT_TRANSACTION] = "app",
                                            [CLIENT_SESSION] = "session",
                                            [CLIENT_STATEMENT] = "statement"};
    struct buffer parameters = BUFFER_INIT(1024);
    struct link_reported reported;
    struct link_secret secret = {.password = SPAN(SCENARIO_PASSWORD)};
    struct link_target target;
    sim_client_target(client, &target);
    sim_client_init_login(client);
    sim_client_put_parameters(client, &parameters);
    struct link_login login = {.target = &target,
                               .user = SPAN("joe"),
                               .database = span_text(databases[client->pool]),
                               .parameters = buffer_span(&parameters),
                               .secret = &secret};
    trace("client", client->number, "logs in as login %u", client->login);
    client->connected = true;
    client->waits_since = now();
    fairness_logged_in(client);
    fault done = link_login(&client->conn.stream, &login, &reported,
                            after(scenario.quiet ? SERVED_BY : PATIENCE));
    buffer_fini(&parameters);
    if (done != OK)
        return sim_client_lost(client, done);
    scenario.counts->logins += 1;
    client->logged_in = true;
    sim_client_logged_in(client, &reported);
    return OK;
}

/* --- rounds ----------------------------------------------------------------------------------- */

static void sim_client_round(struct sim_client *client)
{
    fault done = client->connected ? OK : sim_client_connect(client);
    if (done == OK)
        done = client->hostile ? hostile_round(client) : behaviour_draw(client)(client);
    /* COMMIT or ROLLBACK may have failed. */
    while (done == OK && client->connected && client->status != WIRE_TX_IDLE)
        done = sim_client_roll_back(client);
    CHECK(done == OK || done == FAULT_CLOSED);
    if (done == OK && !client->hostile)
        sim_client_check_no_surplus(client);
    if (done != OK && client->connected)
        sim_client_close(client);
    /* A client that was refused reconnects after a pause. */
    if (done != OK)
        (void)!sim_client_pause(client, 20000);
}

void sim_client_main(void *argument)
{
    struct sim_client *client = argument;
    (void)!sim_client_pause(client, scenario_has(KIND_short_sessions) ? 1000 : 20000);
    for (uint32_t i = 0; i < scenario.plan->rounds && !scenario.quiet; i++)
        sim_client_round(client);
    scenario.rounds_over += 1;
    while (!scenario.quiet)
        (void)!sim_client_pause(client, 100000);
    for (uint32_t i = 0; i < QUIET_ROUNDS; i++)
        sim_client_round(client);
    /* After the faults every client must be served. */
    if (client->connected)
        sim_client_close(client);
    deadline by = after(SERVED_BY);
    while (!client->connected || behave_echo(client) != OK) {
        CHECK(now().us < by.us, "client %u is not served after the faults ended", client->number);
        sim_client_close(client);
        if (sim_client_connect(client) != OK)
            sim_client_close(client);
        (void)!sim_client_pause(client, 10000);
    }
    scenario.resting += 1;
    /* A session would keep its server from others. */
    if (client->pool == CLIENT_SESSION)
        sim_client_close(client);
    while (scenario_has(KIND_spreading) && !scenario.rested)
        (void)!sim_client_pause(client, 100000);
    if (client->connected)
        sim_client_close(client);
    mail_send(scenario.home, &scenario.done[client->number]);
}
