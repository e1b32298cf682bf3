#include "clients/batch.h"
#include "clients/behaviours.h"
#include "link/link.h"
#include "machine/clock.h"
#include "scenario/scenario.h"

#include <string.h>

/*
 * Connections that do not follow the protocol, mostly unauthenticated.  They are closed, with no
 * effect on other clients.
 */
#define CLOSED_BY sec(10) /* beyond login_timeout */
#define BEYOND    (64u << 20)

/* Reads until the connection ends, which it must soon. */
static fault read_to_end(struct sim_client *client, struct conn *conn)
{
    uint8_t bytes[512];
    size_t size;
    deadline by = later(later(now(), scenario.setup.login_timeout), CLOSED_BY);
    for (;;) {
        fault read = stream_read(&conn->stream, bytes, sizeof(bytes), &size, by);
        CHECK(read != FAULT_TIMEOUT || scenario_has(KIND_stalls) ||
                  scenario_has(KIND_console_commands) || scenario_has(KIND_bandwidth) ||
                  scenario_has(KIND_restarts),
              "client %u sends invalid messages and is not disconnected", client->number);
        if (read != OK)
            return read;
    }
}

static void put_noise(struct sim_client *client, struct buffer *out)
{
    uint32_t size = 1 + sim_client_draw(client, 300);
    for (uint32_t i = 0; i < size; i++)
        wire_put_u8(out, (uint8_t)sim_client_draw(client, 256));
}

/* An invalid startup packet. */
static void put_strange_start(struct sim_client *client, struct buffer *out)
{
    static const uint32_t lengths[] = {0, 3, 7, 8, 9, 10001, 0x7fffffff, 0xffffffff};
    static const uint32_t codes[] = {80877103, 80877104, 80877102, 0x30000, 0x20000, 0x40000, 0};
    switch (sim_client_draw(client, 4)) {
    case 0:
        put_noise(client, out);
        break;
    case 1:
        wire_put_u8(out, 0x16); /* as TLS begins */
        put_noise(client, out);
        break;
    default:
        wire_put_u32(out, lengths[sim_client_draw(client, ARRAY_SIZE(lengths))]);
        wire_put_u32(out, codes[sim_client_draw(client, ARRAY_SIZE(codes))]);
        put_noise(client, out);
    }
}

fault behave_invalid_startup(struct sim_client *client)
{
    struct conn conn = CONN_INIT;
    put_strange_start(client, &conn.out);
    fault done = stream_connect(&conn.stream, &scenario.at, NULL, after(sec(60)));
    if (done == OK)
        done = conn_flush(&conn, after(sec(60)));
    if (done == OK && sim_client_one_in(client, 3))
        stream_close(&conn.stream);
    else if (done == OK)
        (void)!read_to_end(client, &conn);
    conn_close(&conn);
    return OK;
}

/* After the login, an invalid message, or the beginning of a very long one. */
fault behave_invalid_message(struct sim_client *client)
{
    struct buffer *out = &client->conn.out;
    bool is_none = sim_client_one_in(client, 2);
    client->wants_cancel = true;
    if (is_none) {
        static const uint8_t types[] = {'y', 'R', 'Z', 0, 255, 'p', 'T'};
        wire_put_u8(out, types[sim_client_draw(client, ARRAY_SIZE(types))]);
        wire_put_u32(out, sim_client_draw(client, 20));
        put_noise(client, out);
    } else {
        wire_put_u8(out, sim_client_one_in(client, 2) ? WIRE_QUERY : WIRE_BIND);
        wire_put_u32(out, BEYOND);
        put_noise(client, out);
    }
    trace("client", client->number, "sends an invalid message of %zu bytes", out->size);
    fault sent = conn_flush(&client->conn, after(sec(60)));
    if (sent == OK && is_none)
        (void)!read_to_end(client, &client->conn);
    else
        TRY(sim_client_pause(client, 20000));
    sim_client_close(client);
    return OK;
}

/* A cancel request with an unknown key, or with a wrong secret: nothing is cancelled. */
fault behave_wrong_key(struct sim_client *client)
{
    struct link_target target = {.address = scenario.at, .host = "sim"};
    struct wire_secret secret = client->secret;
    struct span bytes = wire_secret_span(&secret);
    if (bytes.size > 0)
        ((uint8_t *)(uintptr_t)bytes.at)[sim_client_draw(client, (uint32_t)bytes.size)] ^= 1;
    uint32_t pid = sim_client_one_in(client, 2) ? client->pid : sim_client_draw(client, 100000);
    (void)!link_cancel(&target, pid, bytes, after(sec(60)));
    return behave_echo(client);
}
