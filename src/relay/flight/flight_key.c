#include "relay/flight/flight_key.h"

#include "flight/generations.h"
#include "pool/local_pool.h"
#include "relay/client.h"
#include "relay/flight/flight_shadow.h"
#include "wire/message.h"

#include <string.h>

/* Of the key: a mark of the protocol, the size of the text, then the parts. */
#define TEXT_SIZE_AT 1u
#define TEXT_AT      5u

struct span flight_key_text_of(const struct turn_batch *batch)
{
    return span_of(batch->text.at, strnlen((const char *)batch->text.at, batch->text.size));
}

/* Each name with its NUL, so that two names can't be read as two others. */
static void put_name(struct buffer *key, const char *name)
{
    if (name != NULL)
        buffer_append(key, name, strlen(name));
    buffer_append(key, "", 1);
}

/* The name, and the servers: a reload may give the name to others. */
static void put_service(struct buffer *key, const struct service_config *service)
{
    put_name(key, service->name);
    put_name(key, service->lookup_name);
    buffer_append(key, &service->lookup_port, sizeof(service->lookup_port));
    for (size_t i = 0; i < service->host_count; i++) {
        put_name(key, service->hosts[i].host);
        buffer_append(key, &service->hosts[i].port, sizeof(service->hosts[i].port));
    }
    put_name(key, NULL);
}

static void put_digest(struct buffer *key, const struct params *params)
{
    static const struct digest none;
    buffer_append(key, params == NULL ? &none : &params->answer, sizeof(none));
}

uint64_t flight_key_database(const struct generations_table *generations,
                             const struct client *client)
{
    return local_pool_generations(client->pool, generations);
}

void flight_key_session(const struct client *client, struct buffer *key)
{
    const struct local_pool *pool = client->pool;
    const struct route_config *route = pool->route;
    uint8_t target = (uint8_t)route->target;
    put_service(key, route->service);
    put_name(key, local_pool_database(pool));
    put_name(key, route->server_user != NULL ? route->server_user : pool->user);
    buffer_append(key, &target, 1);
    put_digest(key, client->params);
    put_digest(key, client->defaults);
}

void flight_key_write(const struct client *client, const struct turn_batch *batch,
                      struct buffer *key)
{
    struct span text = flight_key_text_of(batch);
    uint8_t size[4];
    wire_store_u32(size, (uint32_t)text.size);
    buffer_append(key, batch->extended ? "E" : "Q", 1);
    buffer_append(key, size, sizeof(size));
    buffer_append_span(key, text);
    flight_key_session(client, key);
    if (!batch->extended)
        return;
    struct span types = span_skip(batch->parse, text.size);
    wire_store_u32(size, (uint32_t)types.size);
    buffer_append(key, size, sizeof(size));
    buffer_append_span(key, types);
    buffer_append_span(key, batch->bind);
}

void flight_key_of_rule(const struct client *client, const struct turn_batch *batch,
                        const struct cache_rule *rule, bool named, struct buffer *key)
{
    flight_key_write(client, batch, key);
    if (rule->mode == CACHE_STRICT)
        buffer_append(key, client->pool->route->is_inside ? "I" : "S", 1);
    if (rule->mode == CACHE_TTL && rule->tier == CACHE_TIER_REDIS) {
        /* A flight of this key may get an answer as old as `ttl`. */
        buffer_append(key, "R", 1);
        buffer_append(key, &rule->ttl, sizeof(rule->ttl));
    }
    if (rule->mode == CACHE_SHADOW)
        flight_shadow_key(rule, batch, key);
    buffer_append(key, named ? "N" : "U", 1);
}

bool flight_key_stands_alone(const struct client *client, const struct turn_batch *batch)
{
    const struct params *params = client->params;
    return !batch->limited && batch->params != NULL && !params->temp_path &&
           digest_equal(&batch->params->session, &params->session) &&
           !params_serializable(params) && client->unnamed_before == NULL && client->naming == 0;
}

struct span flight_key_text(struct span key)
{
    return span_of(key.at + TEXT_AT, wire_u32(key.at + TEXT_SIZE_AT));
}

bool flight_key_named(struct span key)
{
    return key.at[key.size - 1] == 'N';
}
