#include "clients/extra.h"

#include "machine/clock.h"
#include "scenario/scenario.h"

#include <stdio.h>
#include <string.h>

#define PATIENCE sec(120)

void extra_init(struct extra_conn *extra, const struct sim_client *client)
{
    *extra = (struct extra_conn){.as_client = *client, .conn = CONN_INIT};
    extra->as_client.logged_in = false;
    extra->as_client.is_new = scenario.quiet;
    extra->as_client.waits_since = now();
    extra->patience = PATIENCE;
}

fault extra_login(struct extra_conn *extra, const struct link_login *login)
{
    struct link_reported reported;
    fault done = link_login(&extra->conn.stream, login, &reported, after(extra->patience));
    if (done != OK) {
        snprintf(extra->sqlstate, sizeof(extra->sqlstate), "%s", fault_detail_sqlstate(done));
        return done;
    }
    extra->pid = reported.pid;
    extra->as_client.logged_in = true;
    buffer_fini(&reported.parameters);
    return OK;
}

void extra_close(struct extra_conn *extra)
{
    conn_close(&extra->conn);
}

/* Its login may also wait for a server, or for login_timeout. */
bool extra_is_excused(const struct extra_conn *extra)
{
    bool waits = !extra->as_client.logged_in;
    return scenario_excuses_loss(&extra->as_client) ||
           (waits && (scenario_has(KIND_login_timeout) || scenario_has(KIND_session_pools)));
}

static fault extra_lost(struct extra_conn *extra, fault why)
{
    trace("extra connection", extra->as_client.number, "loses its connection: %s",
          fault_detail(why));
    CHECK(strcmp(fault_detail_sqlstate(why), "08P01") != 0 && extra_is_excused(extra),
          "the extra connection of client %u lost its connection: %s", extra->as_client.number,
          fault_detail(why));
    return FAULT_CLOSED;
}

static fault extra_read_error(struct extra_conn *extra)
{
    struct wire_error error;
    CHECK(wire_read_error(extra->conn.frame.body, &error) == OK);
    snprintf(extra->sqlstate, sizeof(extra->sqlstate), "%.*s", SPAN_ARG(error.sqlstate));
    trace("extra connection", extra->as_client.number, "receives: %s %.*s", extra->sqlstate,
          SPAN_ARG(error.message));
    if (!span_is(error.severity, "FATAL"))
        return OK;
    CHECK(!span_is(error.sqlstate, "08P01") && extra_is_excused(extra),
          "the extra connection of client %u is dismissed: %.*s", extra->as_client.number,
          SPAN_ARG(error.message));
    return FAULT_CLOSED;
}

fault extra_flush(struct extra_conn *extra)
{
    fault sent = conn_flush(&extra->conn, after(PATIENCE));
    return sent == OK ? OK : extra_lost(extra, sent);
}

fault extra_next_by(struct extra_conn *extra, deadline by)
{
    do {
        fault read = conn_next(&extra->conn, by);
        if (read == FAULT_TIMEOUT)
            return read;
        if (read != OK)
            return extra_lost(extra, read);
    } while (conn_is_async(&extra->conn.frame));
    return extra->conn.frame.type == WIRE_ERROR ? extra_read_error(extra) : OK;
}

fault extra_next(struct extra_conn *extra)
{
    fault next = extra_next_by(extra, after(PATIENCE));
    CHECK(next != FAULT_TIMEOUT || scenario_has(KIND_stalls),
          "the extra connection of client %u waits for ever", extra->as_client.number);
    return next == FAULT_TIMEOUT ? FAULT_CLOSED : next;
}

fault extra_query(struct extra_conn *extra, const char *query, char text[CLIENT_TEXT])
{
    text[0] = '\0';
    wire_put_query(&extra->conn.out, span_text(query));
    TRY(extra_flush(extra));
    do {
        TRY(extra_next(extra));
        const struct wire_frame *frame = &extra->conn.frame;
        if (frame->type != WIRE_DATA_ROW)
            continue;
        struct wire_reader in = wire_reader_over(frame->body);
        (void)wire_get_u16(&in);
        uint32_t size = wire_get_u32(&in);
        CHECK(text[0] == '\0' && size < CLIENT_TEXT, "'%s' is answered twice", query);
        snprintf(text, CLIENT_TEXT, "%.*s", (int)size, (const char *)in.at);
    } while (extra->conn.frame.type != WIRE_READY);
    return OK;
}
