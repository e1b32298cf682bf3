#include "clients/batch.h"
#include "clients/behaviours.h"
#include "link/link.h"
#include "machine/clock.h"
#include "machine/sim/world.h"
#include "oracle/records.h"
#include "scenario/scenario.h"

#include <stdio.h>
#include <string.h>

/*
 * Hostile clients: any message at any time, above all COPY; cut, sent in parts, cancelled,
 * abandoned. They may lose their connection, but must not receive anything of another login, nor
 * more ReadyForQuery than they have requested.  The other clients check their replies (batch.c).
 */
#define STEPS_MAX   10u
#define COPIES_MAX  300u
#define READ_FOR    ms(30)
#define ANSWERED_BY sec(100)
/* A client that writes and does not read may block its server: less than claim_timeout. */
#define SENT_BY sec(20)

/* --- replies ---------------------------------------------------------------------------------- */

/* Checks that each number after `prefix` is that of this login. */
static void check_own(const struct sim_client *client, const char *prefix)
{
    struct span rest = client->conn.frame.body;
    size_t size = strlen(prefix);
    const uint8_t *at;
    while (rest.size > size && (at = memmem(rest.at, rest.size, prefix, size)) != NULL) {
        uint32_t login = 0;
        rest = span_skip(rest, (size_t)(at - rest.at) + size);
        for (; rest.size > 0 && *rest.at >= '0' && *rest.at <= '9'; rest = span_skip(rest, 1))
            login = login * 10 + (uint32_t)(*rest.at - '0');
        CHECK(login == 0 || login == client->login,
              "hostile client %u (login %u) receives data of login %u", client->number,
              client->login, login);
    }
}

/* Reads a message.  CLOSED: the connection has ended, for any reason. */
static fault receive(struct sim_client *client, deadline by)
{
    TRY(conn_next(&client->conn, by));
    uint8_t type = client->conn.frame.type;
    check_own(client, "echo ");
    check_own(client, "echo_");
    if (type == WIRE_PARAMETER_STATUS) /* application_name */
        check_own(client, "client ");
    CHECK(type != WIRE_NOTIFICATION, "hostile client %u is notified and does not listen",
          client->number);
    if (type == WIRE_READY) {
        CHECK(client->ready_due > 0, "hostile client %u receives a ReadyForQuery too many",
              client->number);
        client->ready_due -= 1;
    }
    return OK;
}

/* Returns whether the pooler refused: no server is free, or logins at servers fail. */
static bool is_refused(const struct sim_client *client)
{
    struct wire_error error;
    return client->conn.frame.type == WIRE_ERROR &&
           wire_read_error(client->conn.frame.body, &error) == OK &&
           (span_is(error.sqlstate, "53300") || span_is(error.sqlstate, "08006") ||
            span_is(error.sqlstate, "57P03"));
}

/* --- messages --------------------------------------------------------------------------------- */

static void put_sync(struct sim_client *client)
{
    wire_put_empty(&client->conn.out, WIRE_SYNC);
    client->ready_due += 1;
}

static void put_query(struct sim_client *client, const char *text)
{
    trace("client", client->number, "sends, hostile: %.*s", 200, text);
    wire_put_query(&client->conn.out, span_text(text));
    client->ready_due += 1;
}

static void put_call(struct sim_client *client)
{
    size_t start = wire_begin(&client->conn.out, WIRE_FUNCTION_CALL);
    wire_put_u32(&client->conn.out, sim_client_draw(client, 100000));
    wire_put_u16(&client->conn.out, 0);
    wire_put_u16(&client->conn.out, 0);
    wire_put_u16(&client->conn.out, 0);
    wire_end(&client->conn.out, start);
    client->ready_due += 1;
}

/* A row that may or may not be written: a record with an unknown outcome. */
static void put_good_row(struct sim_client *client)
{
    char value[RECORD_TEXT], line[RECORD_TEXT + 16];
    uint32_t record = record_begin();
    int32_t key = record_row(record, value);
    record_settle(record, RECORD_UNKNOWN);
    int size = snprintf(line, sizeof(line), "%d\t%s\n", key, value);
    if (sim_client_one_in(client, 4)) { /* in two pieces, with something ignored between them */
        char first[sizeof(line)];
        snprintf(first, sizeof(first), "%.*s", size / 2, line);
        put_copy(client, WIRE_COPY_DATA, first);
        if (sim_client_one_in(client, 2))
            put_sync(client);
        put_copy(client, WIRE_COPY_DATA, line + size / 2);
        return;
    }
    put_copy(client, WIRE_COPY_DATA, line);
}

static void put_bad_row(struct sim_client *client)
{
    static const char *const rows[] = {"bad\n", "bad\tx\n", "\n", "1\n", "\xff\xff\xff\xff", "b"};
    put_copy(client, WIRE_COPY_DATA, rows[sim_client_draw(client, ARRAY_SIZE(rows))]);
}

static const char *portal_of(struct sim_client *client)
{
    return sim_client_one_in(client, 3) ? "hp" : "";
}

static const char *name_of(struct sim_client *client)
{
    static const char *const names[] = {"", "", "h1", "h2"};
    return names[sim_client_draw(client, ARRAY_SIZE(names))];
}

static void make_copy(struct sim_client *client, struct statement *statement)
{
    static const char *const tables[] = {"kv", "kv", "kv", "kv", "guarded", "nowhere"};
    if (sim_client_one_in(client, 12))
        statement_make(client, statement, "", EFFECT_NONE, "COPY (SELECT 'echo %u.0') TO STDOUT",
                       client->login);
    else
        statement_make(client, statement, "", EFFECT_NONE, "COPY %s FROM STDIN",
                       tables[sim_client_draw(client, ARRAY_SIZE(tables))]);
}

static void make_any(struct sim_client *client, struct statement *statement)
{
    static const char *const words[] = {"BEGIN WORK", "COMMIT WORK", "ROLLBACK WORK",
                                        "SELECT nonsense", "SELECT g FROM generate_series(1, 3) g"};
    uint32_t lot = sim_client_draw(client, 12);
    if (lot < ARRAY_SIZE(words))
        statement_make(client, statement, "", EFFECT_NONE, "%s", words[lot]);
    else if (lot < 9)
        statement_echo(client, statement);
    else
        statement_plain(client, statement);
}

/* --- COPY ------------------------------------------------------------------------------------- */

static void put_many_copies(struct sim_client *client)
{
    static const char copy[] = "; COPY kv FROM STDIN";
    char text[CLIENT_TEXT + sizeof(copy) * COPIES_MAX];
    struct statement statement;
    uint32_t count = sim_client_one_in(client, 6) ? 200 + sim_client_draw(client, COPIES_MAX - 200)
                                                  : 2 + sim_client_draw(client, 4);
    statement_make(client, &statement, "", EFFECT_NONE, "COPY kv FROM STDIN");
    size_t used = (size_t)snprintf(text, sizeof(text), "%s", statement.text);
    for (uint32_t i = 1; i < count; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s", copy);
    put_query(client, text);
    for (uint32_t i = 0; i < count; i++)
        wire_put_empty(&client->conn.out, WIRE_COPY_DONE);
}

static void put_copy_command(struct sim_client *client)
{
    struct statement statement;
    make_copy(client, &statement);
    if (sim_client_one_in(client, 2)) {
        put_query(client, statement.text);
        return;
    }
    trace("client", client->number, "parses, binds and executes, hostile: %s", statement.text);
    put_parse(client, "", statement.text);
    put_bind(client, "", "", NULL);
    put_execute(client, "", 0);
    if (sim_client_one_in(client, 2)) /* as libpq does it */
        put_sync(client);
}

static void put_copy_part(struct sim_client *client)
{
    switch (sim_client_draw(client, 10)) {
    case 0:
    case 1:
        put_good_row(client);
        break;
    case 2:
    case 3:
        put_bad_row(client);
        break;
    case 4:
        wire_put_empty(&client->conn.out, WIRE_FLUSH);
        break;
    case 5:
        wire_put_empty(&client->conn.out, WIRE_COPY_DONE);
        break;
    case 6:
        put_copy(client, WIRE_COPY_FAIL, "no more");
        break;
    default:
        put_sync(client);
    }
}

static void put_copying(struct sim_client *client)
{
    if (sim_client_one_in(client, 12)) {
        put_many_copies(client);
    } else {
        put_copy_command(client);
        for (uint32_t parts = sim_client_draw(client, 6); parts > 0; parts--)
            put_copy_part(client);
    }
    if (sim_client_one_in(client, 2))
        put_sync(client);
}

/* --- anything --------------------------------------------------------------------------------- */

static void put_extended(struct sim_client *client)
{
    struct statement statement;
    const char *name = name_of(client), *portal = portal_of(client);
    uint8_t type = sim_client_one_in(client, 2) ? WIRE_CLOSE : WIRE_DESCRIBE;
    uint32_t rows = sim_client_draw(client, 3);
    make_any(client, &statement);
    switch (sim_client_draw(client, 6)) {
    case 0:
        put_parse(client, name, statement.text);
        break;
    case 1:
        put_bind(client, portal, name, NULL);
        break;
    case 2:
        put_execute(client, portal, rows);
        break;
    case 3:
        put_target(client, type, 'P', portal);
        break;
    case 4:
        put_target(client, type, 'S', name);
        break;
    default:
        put_parse(client, "", statement.text);
        put_bind(client, "", "", NULL);
        put_execute(client, "", 0);
    }
}

static void put_something(struct sim_client *client)
{
    struct statement statement;
    uint32_t lot = sim_client_draw(client, 40);
    if (lot < 18) {
        put_copying(client);
    } else if (lot < 24) {
        put_copy_part(client);
    } else if (lot < 32) {
        put_extended(client);
    } else if (lot < 37) {
        make_any(client, &statement);
        put_query(client, statement.text);
    } else if (lot == 37) {
        put_call(client);
    } else if (lot == 38 && sim_client_one_in(client, 4)) {
        put_copy(client, WIRE_PASSWORD, "open");
    } else {
        put_sync(client);
    }
}

/* --- sending ---------------------------------------------------------------------------------- */

/* In one write, or cut anywhere. */
static fault send_split(struct sim_client *client)
{
    struct conn *conn = &client->conn;
    uint32_t cuts = sim_client_one_in(client, 2) ? 0 : sim_client_draw(client, 5);
    for (; cuts > 0 && conn->out.size > 1; cuts--) {
        TRY(conn_flush_part(conn, 1 + sim_client_draw(client, (uint32_t)conn->out.size - 1),
                            after(SENT_BY)));
        if (sim_client_one_in(client, 2))
            TRY(sim_client_pause(client, 3000));
    }
    return conn_flush(conn, after(SENT_BY));
}

static void send_cancel(struct sim_client *client)
{
    struct link_target target = {.address = scenario.at, .host = "sim"};
    for (uint32_t i = 1 + sim_client_draw(client, 2); i > 0; i--) {
        (void)!sim_client_pause(client, 4000);
        (void)!link_cancel(&target, client->pid, wire_secret_span(&client->secret), after(sec(60)));
    }
}

/* Sends messages after which, in any state, no transaction is open and an empty query has a reply,
 * or the connection ends. */
static fault resynchronize(struct sim_client *client)
{
    deadline begun = now();
    put_copy(client, WIRE_COPY_FAIL, "enough");
    put_sync(client);
    put_query(client, "ROLLBACK");
    put_query(client, "");
    TRY(send_split(client));
    for (;;) {
        fault received = receive(client, after(sec(1)));
        if (received == OK && (client->conn.frame.type == WIRE_EMPTY_QUERY || is_refused(client)))
            return OK;
        if (received != FAULT_TIMEOUT) {
            TRY(received);
            continue;
        }
        if (scenario.stopped)
            begun = now();
        CHECK(between(begun, now()).us < ANSWERED_BY.us || scenario_has(KIND_stalls) ||
                  scenario_has(KIND_half_closes),
              "hostile client %u (login %u) is left without an answer", client->number,
              client->login);
        if (scenario_has(KIND_stalls) && between(begun, now()).us > READ_FOR.us)
            return received;
    }
}

static fault receive_for_a_while(struct sim_client *client)
{
    deadline by = after(READ_FOR);
    fault received = OK;
    while (received == OK)
        received = receive(client, by);
    return received == FAULT_TIMEOUT ? OK : received;
}

static fault disconnect(struct sim_client *client)
{
    switch (sim_client_draw(client, 4)) {
    case 0:
        wire_put_empty(&client->conn.out, WIRE_TERMINATE);
        (void)!conn_flush(&client->conn, after(sec(1)));
        break;
    case 1:
        sim_net_linger(&client->conn.stream);
        break;
    default: /* in the middle of a message, perhaps */
        if (sim_client_one_in(client, 2)) {
            put_something(client);
            (void)!conn_flush_part(&client->conn,
                                   sim_client_draw(client, (uint32_t)client->conn.out.size),
                                   after(sec(1)));
        }
    }
    return FAULT_CLOSED;
}

/* A COPY whose row is bad, and Syncs: which of them are answered decides when the server is free.
 */
static void put_failing_copy(struct sim_client *client)
{
    put_copy_command(client);
    for (uint32_t parts = sim_client_draw(client, 3); parts > 0; parts--) {
        if (sim_client_one_in(client, 2))
            put_good_row(client);
        else
            put_sync(client);
    }
    put_bad_row(client);
    for (uint32_t syncs = sim_client_draw(client, 3); syncs > 0; syncs--)
        put_sync(client);
    if (sim_client_one_in(client, 3))
        wire_put_empty(&client->conn.out, WIRE_COPY_DONE);
    if (sim_client_one_in(client, 3))
        put_sync(client);
}

static void put_attack(struct sim_client *client)
{
    if (sim_client_one_in(client, 2)) {
        put_failing_copy(client);
        return;
    }
    for (uint32_t steps = 1 + sim_client_draw(client, STEPS_MAX); steps > 0; steps--)
        put_something(client);
}

/* After an attack it sends nothing for a while, so that its server may be released. */
static fault attack(struct sim_client *client)
{
    for (uint32_t times = 1 + sim_client_draw(client, 3); times > 0; times--) {
        put_attack(client);
        TRY(send_split(client));
        if (sim_client_one_in(client, 6))
            send_cancel(client);
        if (!sim_client_one_in(client, 3))
            TRY(receive_for_a_while(client));
    }
    return sim_client_one_in(client, 4) ? disconnect(client) : resynchronize(client);
}

/* Its own connection may end, and no other. */
fault hostile_round(struct sim_client *client)
{
    client->wants_cancel = true;
    client->idle = false;
    trace("client", client->number, "is hostile");
    if (attack(client) != OK)
        sim_client_close(client);
    return OK;
}
