/*
 * client_name.c - application_name with the client's address, so that queries show their client.
 *
 * In transaction pools the name is one more parameter of the session.  Servers of a session pool
 * are given to clients with equal startup parameters, which must not differ by an address.  So the
 * name is set once the client has its server, and DISCARD ALL removes it.
 */
#include "machine/clock.h"
#include "relay/relay.h"
#include "relay/turn/turn.h"
#include "session/chunk.h"

#include <stdio.h>

static_assert(CLIENT_NAME_SIZE == 64, "PostgreSQL cuts names behind 63 bytes");

/* Replaces bytes that are not printable ASCII: PostgreSQL keeps none of them in
 * application_name. */
static char plain(uint8_t byte)
{
    return byte >= ' ' && byte <= '~' ? (char)byte : '?';
}

struct span client_origin_name(const struct client *client, struct span asked,
                               char name[CLIENT_NAME_SIZE])
{
    char host[ADDRESS_TEXT_SIZE], origin[ADDRESS_TEXT_SIZE + 16];
    if (asked.size == 0)
        asked = SPAN("app");
    int size = snprintf(origin, sizeof(origin), " - %s:%u",
                        address_host_text(client->peer, host, sizeof(host)), client->peer->port);
    size_t behind = MIN_OF((size_t)size, (size_t)CLIENT_NAME_SIZE - 1);
    size_t kept = MIN_OF(asked.size, CLIENT_NAME_SIZE - 1 - behind);
    for (size_t i = 0; i < kept; i++)
        name[i] = plain(asked.at[i]);
    memcpy(name + kept, origin, behind);
    return span_of(name, kept + behind);
}

/* Writes the SET statement, with quotes and backslashes escaped so that the session's settings
 * don't matter. */
static void put_statement(struct buffer *sql, struct span name)
{
    buffer_append_text(sql, "SET application_name = E'");
    for (size_t i = 0; i < name.size; i++) {
        if (name.at[i] == '\'' || name.at[i] == '\\')
            buffer_append_span(sql, span_of(name.at + i, 1));
        buffer_append_span(sql, span_of(name.at + i, 1));
    }
    buffer_append_text(sql, "'");
}

fault client_name_session(struct client *client, struct span name, deadline by)
{
    struct relay *relay = client->relay;
    struct server *server = client->server;
    struct buffer sql = BUFFER_INIT(256);
    struct turn turn;
    put_statement(&sql, name);
    fault named = buffer_fault(&sql);
    turn_init(&turn, relay, NULL, server);
    server->stream.waker = co_waker(co_self());
    if (named == OK)
        named = turn_ask(&turn, buffer_span(&sql), by);
    outbox_drop(&turn.up.out, &relay->chunks);
    outbox_drop(&turn.down.out, &relay->chunks);
    chunk_return(&relay->chunks, &turn.up.chunk);
    chunk_return(&relay->chunks, &turn.down.chunk);
    buffer_fini(&sql);
    return named;
}
