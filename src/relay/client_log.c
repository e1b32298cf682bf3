#include "relay/client_log.h"

#include "machine/clock.h"
#include "machine/ids.h"
#include "machine/log.h"
#include "relay/relay.h"
#include "wire/messages.h"

#include <inttypes.h>
#include <stdlib.h>

/* --- slow queries ----------------------------------------------------------------------------- */

/* Returns the SQL text that a Parse, a Query or a Bind refers to. */
static struct span text_of(const struct client *client, uint8_t type, struct span body)
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
    struct span text = text_of(client, type, body);
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
    char own[UUID_TEXT_SIZE], other[UUID_TEXT_SIZE];
    const struct local_pool *pool = client->pool;
    if (server->note_size > 0)
        log_event(LOG_NOTICE, "query.slow",
                  "client=%s server=%s pid=%u database=%s user=%s us=%" PRId64 " text=\"%.*s\"",
                  uuid_text(&client->id, own), uuid_text(&server->id, other), server->pid,
                  pool->database, pool->user, us, (int)server->note_size, server->note);
    else
        log_event(LOG_NOTICE, "query.slow",
                  "client=%s server=%s pid=%u database=%s user=%s us=%" PRId64,
                  uuid_text(&client->id, own), uuid_text(&server->id, other), server->pid,
                  pool->database, pool->user, us);
}

/* --- connects and disconnects ----------------------------------------------------------------- */

void client_log_came(const struct client *client, const char *database, const char *user)
{
    char id[UUID_TEXT_SIZE], other[UUID_TEXT_SIZE], from[ADDRESS_TEXT_SIZE];
    const struct server *server = client->server;
    if (!client->relay->pools.config->log_connections)
        return;
    address_text(client->peer, from, sizeof(from));
    if (server != NULL)
        log_event(LOG_INFO, "client.connected",
                  "client=%s database=%s user=%s from=%s server=%s pid=%u",
                  uuid_text(&client->id, id), database, user, from, uuid_text(&server->id, other),
                  server->pid);
    else
        log_event(LOG_INFO, "client.connected", "client=%s database=%s user=%s from=%s",
                  uuid_text(&client->id, id), database, user, from);
}

void client_log_parting(struct client *client, const struct server *server)
{
    client->served_by = server->id;
    client->served_pid = server->pid;
}

void client_log_gone(const struct client *client, const char *reason)
{
    char id[UUID_TEXT_SIZE], other[UUID_TEXT_SIZE];
    const struct local_pool *pool = client->pool;
    const struct server *last = client->claim.last_server;
    const struct uuid *server = last != NULL ? &last->id : &client->served_by;
    uint32_t pid = last != NULL ? last->pid : client->served_pid;
    int64_t age = between(client->connected, now()).us / 1000;
    if (pool == NULL || !client->relay->pools.config->log_disconnections)
        return;
    if (pid != 0)
        log_event(LOG_INFO, "client.disconnected",
                  "client=%s database=%s user=%s server=%s pid=%u age_ms=%" PRId64 " reason=\"%s\"",
                  uuid_text(&client->id, id), pool->database, pool->user, uuid_text(server, other),
                  pid, age, reason);
    else
        log_event(LOG_INFO, "client.disconnected",
                  "client=%s database=%s user=%s age_ms=%" PRId64 " reason=\"%s\"",
                  uuid_text(&client->id, id), pool->database, pool->user, age, reason);
}

void client_log_assigned(const struct client *client, const struct server *server)
{
    char own[UUID_TEXT_SIZE], other[UUID_TEXT_SIZE];
    log_event(LOG_DEBUG, "client.served", "client=%s server=%s pid=%u database=%s user=%s",
              uuid_text(&client->id, own), uuid_text(&server->id, other), server->pid,
              client->pool->database, client->pool->user);
}
