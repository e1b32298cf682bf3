#include "clients/batch.h"
#include "clients/behaviours.h"
#include "machine/clock.h"
#include "scenario/scenario.h"
#include "wire/startup.h"

#include <stdio.h>
#include <string.h>

/*
 * Listeners and users that are refused.
 */

/* Returns the type of the first message of a login, and the SQLSTATE of an error; 0: the connection
 * ended before. */
static uint8_t first_reply(const struct address *at, const char *user, const char *database,
                           char sqlstate[6])
{
    size_t start;
    uint8_t type = 0;
    struct wire_error error;
    struct conn conn = CONN_INIT;
    sqlstate[0] = '\0';
    wire_put_startup_begin(&conn.out, WIRE_PROTOCOL_3_0, &start);
    wire_put_startup_parameter(&conn.out, SPAN("user"), span_text(user));
    wire_put_startup_parameter(&conn.out, SPAN("database"), span_text(database));
    wire_put_startup_end(&conn.out, start);
    fault done = stream_connect(&conn.stream, at, NULL, after(sec(60)));
    if (done == OK)
        done = conn_flush(&conn, after(sec(60)));
    if (done == OK)
        done = conn_next(&conn, after(sec(60)));
    if (done == OK)
        type = conn.frame.type;
    if (type == WIRE_ERROR && wire_read_error(conn.frame.body, &error) == OK)
        snprintf(sqlstate, 6, "%.*s", SPAN_ARG(error.sqlstate));
    conn_close(&conn);
    return type;
}

/* One database is refused at the second listener, and accepted at the first. */
fault behave_other_listener(struct sim_client *client)
{
    char sqlstate[6];
    bool second = sim_client_one_in(client, 2);
    uint8_t type =
        first_reply(second ? &scenario.at_second : &scenario.at, "joe", "hidden", sqlstate);
    trace("client", client->number, "receives '%c' %s at the %s listener", type != 0 ? type : '-',
          sqlstate, second ? "second" : "first");
    CHECK(!second || type != WIRE_AUTHENTICATION, "client %u is accepted by the wrong listener",
          client->number);
    CHECK(second || strcmp(sqlstate, "28000") != 0, "client %u is refused by the right listener",
          client->number);
    return OK;
}

/* A line of the HBA file refuses mallory. */
fault behave_refused_user(struct sim_client *client)
{
    char sqlstate[6];
    bool by_socket = scenario_has(KIND_unix_sockets) && sim_client_one_in(client, 2);
    uint8_t type =
        first_reply(by_socket ? &scenario.at_socket : &scenario.at, "mallory", "app", sqlstate);
    trace("client", client->number, "receives '%c' %s as mallory", type != 0 ? type : '-',
          sqlstate);
    CHECK(type == 0 || (type == WIRE_ERROR && strcmp(sqlstate, "28000") == 0) ||
              scenario_has(KIND_restarts) ||
              (scenario_has(KIND_stalls) && strcmp(sqlstate, "57014") == 0) || /* login_timeout */
              (scenario_has(KIND_few_descriptors) && strcmp(sqlstate, "53300") == 0),
          "mallory receives '%c' %s", type, sqlstate);
    return OK;
}
