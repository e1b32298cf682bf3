/*
 * Settings that are neither a number nor a text: hosts, references to a service, lists of names.
 */
#include "instance/config_reader.h"
#include "machine/stream.h"

#include <stdlib.h>

#define POSTGRES_PORT 5432
#define HOSTS_MAX     64
#define USERS_MAX     1000
#define HOST_MAX      253
#define USER_MAX      63
/* sizeof(sun_path) less "/.s.PGSQL.65535" and the NUL. */
#define DIRECTORY_MAX (108 - 15 - 1)

/* --- hosts ------------------------------------------------------------------------------------ */

static bool port_read(struct span text, uint16_t *ret)
{
    unsigned port = 0;
    if (text.size == 0 || text.size > 5)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        port = port * 10 + (text.at[i] - '0');
    }
    if (port == 0 || port > UINT16_MAX)
        return false;
    *ret = (uint16_t)port;
    return true;
}

static size_t colons(struct span text, size_t *ret_last)
{
    size_t count = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] != ':')
            continue;
        count++;
        *ret_last = i;
    }
    return count;
}

/* Splits "host", "host:port", "[IPv6]:port", a bare IPv6 address, "/directory", "/directory:port",
 * "@name" and "@name:port". Returns false if it is none of them. */
static bool host_split(struct span text, struct span *host, uint16_t *port)
{
    size_t last = 0;
    size_t count = colons(text, &last);
    bool bracket = text.size > 0 && text.at[0] == '[';
    bool directory = text.size > 0 && (text.at[0] == '/' || text.at[0] == '@');
    *port = POSTGRES_PORT;
    *host = text;
    if (bracket) {
        const uint8_t *end = memchr(text.at, ']', text.size);
        if (end == NULL)
            return false;
        *host = span_of(text.at + 1, (size_t)(end - text.at) - 1);
        struct span rest = span_skip(text, host->size + 2);
        if (memchr(host->at, ':', host->size) == NULL)
            return false;
        return rest.size == 0 || (rest.at[0] == ':' && port_read(span_skip(rest, 1), port));
    }
    if (directory) {
        /* A directory may contain a colon; only one before digits starts a port. */
        if (count > 0 && port_read(span_skip(text, last + 1), port))
            *host = span_of(text.at, last);
        return host->size <= DIRECTORY_MAX;
    }
    if (count == 1) {
        *host = span_of(text.at, last);
        return host->size > 0 && port_read(span_skip(text, last + 1), port);
    }
    return true;
}

static bool host_sound(struct span host)
{
    if (host.size == 0 || host.size > HOST_MAX)
        return false;
    bool directory = host.at[0] == '/' || (host.at[0] == '@' && host.size > 1);
    for (size_t i = 0; i < host.size; i++) {
        uint8_t byte = host.at[i];
        if (byte < ' ' || byte == 127)
            return false;
        if (!directory && strchr(" /[]\"'*,@", byte) != NULL)
            return false;
    }
    return true;
}

static void hosts_read(struct config_reader *reader, const struct setting *setting,
                       yaml_node_t *node, const struct config_key *key, void *object)
{
    struct service_config *service = object;
    size_t count = node->type == YAML_SEQUENCE_NODE ? config_yaml_count(node) : 0;
    if (count == 0 || count > HOSTS_MAX) {
        config_refuse(reader, node, key, setting);
        return;
    }
    service->hosts = config_arena_array(reader->arena, count, sizeof(struct host_config));
    if (service->hosts == NULL)
        return;
    service->host_count = count;
    for (size_t i = 0; i < count; i++) {
        yaml_node_t *item = config_yaml_item(reader, node, i);
        struct config_key item_key = {.up = key, .index = i};
        struct span host;
        uint16_t port;
        if (item->type != YAML_SCALAR_NODE || !host_split(config_yaml_text(item), &host, &port) ||
            !host_sound(host)) {
            config_refuse(reader, item, &item_key, setting);
            continue;
        }
        service->hosts[i].host = config_arena_text(reader->arena, host);
        service->hosts[i].port = port;
    }
}

static void hosts_print(const struct setting *setting, const void *object, struct buffer *out)
{
    const struct service_config *service = object;
    for (size_t i = 0; i < service->host_count; i++) {
        const struct host_config *host = &service->hosts[i];
        bool bare = !address_host_is_unix(host->host) && strchr(host->host, ':') != NULL;
        buffer_printf(out, "%s%s%s%s:%u", i > 0 ? ", " : "", bare ? "[" : "", host->host,
                      bare ? "]" : "", host->port);
    }
}

const struct setting_special config_special_hosts = {.read = hosts_read, .print = hosts_print};

/* --- the service of a route ------------------------------------------------------------------- */

/* Returns the most similar service name, for "did you mean"; NULL: none. */
static const char *service_nearest(const struct config *config, struct span name)
{
    const char *nearest = NULL;
    unsigned best = 3;
    for (size_t i = 0; i < config->service_count; i++) {
        const char *known = config->services[i].name;
        unsigned distance = known == NULL ? best : setting_distance(name, span_text(known), best);
        if (distance >= best)
            continue;
        best = distance;
        nearest = known;
    }
    return nearest;
}

static void service_read(struct config_reader *reader, const struct setting *setting,
                         yaml_node_t *node, const struct config_key *key, void *object)
{
    struct route_config *route = object;
    const struct config *config = reader->config;
    const char *name = config_read_text(reader, setting, node, key, USER_MAX);
    if (name == NULL)
        return;
    for (size_t i = 0; i < config->service_count; i++)
        if (config->services[i].name != NULL && strcmp(config->services[i].name, name) == 0)
            route->service = &config->services[i];
    if (route->service != NULL)
        return;
    const char *nearest = service_nearest(config, span_text(name));
    if (nearest != NULL)
        config_error(reader, node, key, "there is no service \"%s\"; did you mean \"%s\"?", name,
                     nearest);
    else
        config_error(reader, node, key, "there is no service \"%s\"; accepted: a key of services",
                     name);
}

static void service_print(const struct setting *setting, const void *object, struct buffer *out)
{
    const struct route_config *route = object;
    if (route->service != NULL)
        buffer_append_text(out, route->service->name);
}

const struct setting_special config_special_service = {.read = service_read,
                                                       .print = service_print};

/* --- lists of names: users and databases of the console --------------------------------------- */

static void names_read(struct config_reader *reader, const struct setting *setting,
                       yaml_node_t *node, const struct config_key *key, void *object)
{
    size_t count = node->type == YAML_SEQUENCE_NODE ? config_yaml_count(node) : USERS_MAX + 1;
    size_t *known = (size_t *)(void *)((char *)object + setting->count_at);
    if (count > USERS_MAX) {
        config_refuse(reader, node, key, setting);
        return;
    }
    const char **names =
        config_arena_array(reader->arena, MAX_OF(count, (size_t)1), sizeof(*names));
    *(const char ***)(void *)((char *)object + setting->at) = names;
    *known = 0;
    for (size_t i = 0; names != NULL && i < count; i++) {
        static const struct setting name_row = {.kind = SETTING_TEXT, .min = 1, .max = USER_MAX};
        struct config_key item = {.up = key, .index = i};
        const char *text =
            config_read_text(reader, &name_row, config_yaml_item(reader, node, i), &item, USER_MAX);
        if (text != NULL)
            names[(*known)++] = text;
    }
}

static void names_print(const struct setting *setting, const void *object, struct buffer *out)
{
    const char *const *names =
        *(const char *const *const *)(const void *)((const char *)object + setting->at);
    size_t count = *(const size_t *)(const void *)((const char *)object + setting->count_at);
    for (size_t i = 0; i < count; i++)
        buffer_printf(out, "%s%s", i > 0 ? ", " : "", names[i]);
}

const struct setting_special config_special_names = {.read = names_read, .print = names_print};
