#include "relay/client_log.h"

#include "machine/clock.h"
#include "machine/ids.h"
#include "machine/log.h"
#include "relay/relay.h"
#include "relay/relay_calls.h"
#include "session/calls.h"
#include "wire/messages.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* --- slow queries ----------------------------------------------------------------------------- */

struct span client_log_text_of(const struct client *client, uint8_t type, struct span body)
{
    struct wire_parse parse;
    struct wire_bind_names names;
    if (type == WIRE_QUERY)
        return body;
    if (type == WIRE_PARSE && wire_read_parse(body, &parse) == OK)
        return parse.query;
    if (type != WIRE_BIND || wire_read_bind_names(body, &names) != OK)
        return SPAN_NONE;
    const struct client_statement *named =
        names.statement.size > 0 ? client_statement_find(&client->statements, names.statement)
                                 : NULL;
    if (named != NULL)
        return span_of(named->statement->body, named->statement->size);
    if (names.statement.size == 0 && client->unnamed != NULL)
        return span_of(client->unnamed, client->unnamed_size);
    return SPAN_NONE;
}

void client_log_text(struct client *client, struct server *server, uint8_t type, struct span body)
{
    uint32_t max = client->pool->log.noted;
    if (server->note_size > 0)
        return;
    struct span text = client_log_text_of(client, type, body);
    const uint8_t *end = text.size > 0 ? memchr(text.at, '\0', text.size) : NULL;
    size_t size = end != NULL ? (size_t)(end - text.at) : text.size;
    if (size == 0)
        return;
    if (server->note_room < max) {
        char *room = realloc(server->note, max);
        if (room == NULL)
            return;
        server->note = room;
        server->note_room = max;
    }
    server->note_size = (uint32_t)MIN_OF(size, (size_t)max);
    memcpy(server->note, text.at, server->note_size);
}

void client_log_slow(const struct client *client, const struct server *server, int64_t us)
{
    const struct local_pool *pool = client->pool;
    char fingerprint[17] = "";
    if (server->calls != NULL && server->calls->last != 0 && relay_calls_wanted(pool))
        snprintf(fingerprint, sizeof(fingerprint), "%016" PRIx64, server->calls->last);
    log_event(
        LOG_NOTICE, "query.slow", log_id("client", &client->id), log_id("server", &server->id),
        log_number("server_pid", server->pid), log_text("database", pool->database),
        log_text("user", pool->user), log_number("us", us),
        fingerprint[0] != '\0' ? log_text("fingerprint", fingerprint) : log_nothing(),
        server->note_size > 0 ? log_quote_span("text", span_of(server->note, server->note_size))
                              : log_nothing());
}

/* --- connects and disconnects ----------------------------------------------------------------- */

void client_log_came(const struct client *client, const char *database, const char *user)
{
    char from[ADDRESS_TEXT_SIZE];
    const struct server *server = client->server;
    if (!client->relay->pools.config->log_connections)
        return;
    log_event(LOG_INFO, "client.connected", log_id("client", &client->id),
              log_text("database", database), log_text("user", user),
              log_text("from", address_text(client->peer, from, sizeof(from))),
              server != NULL ? log_id("server", &server->id) : log_nothing(),
              server != NULL ? log_number("server_pid", server->pid) : log_nothing());
}

void client_log_gone(const struct client *client, const char *reason)
{
    const struct local_pool *pool = client->pool;
    const struct server *last = client->parted ? NULL : client->claim.last_server;
    const struct uuid *server = last != NULL ? &last->id : &client->claim.served_by;
    uint32_t pid = last != NULL ? last->pid : client->claim.served_pid;
    if (pool == NULL || client->internal || !client->relay->pools.config->log_disconnections)
        return;
    log_event(LOG_INFO, "client.disconnected", log_id("client", &client->id),
              log_text("database", pool->database), log_text("user", pool->user),
              pid != 0 ? log_id("server", server) : log_nothing(),
              pid != 0 ? log_number("server_pid", pid) : log_nothing(),
              log_number("age_ms", between(client->connected, now()).us / 1000),
              log_quote("reason", reason));
}

void client_log_assigned(const struct client *client, const struct server *server)
{
    log_event(LOG_DEBUG, "client.served", log_id("client", &client->id),
              log_id("server", &server->id), log_number("server_pid", server->pid),
              log_text("database", client->pool->database), log_text("user", client->pool->user));
}
