/*
 * config_special.c - settings that are neither a number nor a text: hosts, name servers, references
 * to a service, lists of names.
 */
#include "fleet/found.h"
#include "instance/config_reader.h"
#include "instance/settings_rows.h"
#include "machine/stream.h"

#include <stdio.h>
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

static bool number_read(struct span text, uint16_t *ret)
{
    uint32_t number = 0;
    if (text.size == 0 || text.size > 5)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        number = number * 10 + (text.at[i] - '0');
    }
    *ret = (uint16_t)number;
    return number <= UINT16_MAX;
}

static bool zone_sound(struct span zone)
{
    for (size_t i = 0; i < zone.size; i++)
        if (zone.at[i] <= ' ' || zone.at[i] == 127)
            return false;
    return zone.size > 0 && zone.size <= NAME_BYTES_MAX;
}

/* Reads " key=value" at the end of the text and cuts it off.  Returns false if there is none. */
static bool attribute_cut(struct span *text, struct span *ret_key, struct span *ret_value)
{
    size_t at = text->size;
    while (at > 0 && text->at[at - 1] != ' ')
        at--;
    const uint8_t *equal = memchr(text->at + at, '=', text->size - at);
    if (at == 0 || equal == NULL)
        return false;
    *ret_key = span_of(text->at + at, (size_t)(equal - text->at) - at);
    *ret_value = span_skip(*text, (size_t)(equal - text->at) + 1);
    while (at > 0 && text->at[at - 1] == ' ')
        at--;
    text->size = at;
    return true;
}

/* Reads the attributes behind a host and cuts them off.  Returns false if one is wrong. */
static bool host_attributes(struct config_reader *reader, struct span *text,
                            struct host_config *host)
{
    struct span key, value;
    host->weight = BACKEND_WEIGHT_PLAIN;
    while (attribute_cut(text, &key, &value)) {
        bool sound = false;
        if (span_is(key, "priority"))
            sound = number_read(value, &host->priority);
        else if (span_is(key, "weight"))
            sound = number_read(value, &host->weight);
        else if (span_is(key, "zone") && zone_sound(value))
            sound = (host->zone = config_arena_text(reader->arena, value)) != NULL;
        if (!sound)
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
        struct span host, text;
        uint16_t port;
        if (item->type == YAML_SCALAR_NODE)
            text = config_yaml_text(item);
        if (item->type != YAML_SCALAR_NODE || !host_attributes(reader, &text, &service->hosts[i]) ||
            !host_split(text, &host, &port) || !host_sound(host)) {
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
        if (host->priority != 0)
            buffer_printf(out, " priority=%u", host->priority);
        if (host->weight != BACKEND_WEIGHT_PLAIN)
            buffer_printf(out, " weight=%u", host->weight);
        if (host->zone != NULL)
            buffer_printf(out, " zone=%s", host->zone);
    }
}

const struct setting_special config_special_hosts = {.read = hosts_read, .print = hosts_print};

/* --- name servers ----------------------------------------------------------------------------- */

#define NAME_SERVERS_MAX 16
#define NAME_SERVER_PORT 53

static bool name_server_read(struct span text, struct address *ret)
{
    char number[64];
    struct span host;
    uint16_t port;
    if (!host_split(text, &host, &port) || host.size >= sizeof(number))
        return false;
    snprintf(number, sizeof(number), "%.*s", SPAN_ARG(host));
    bool bare = host.size == text.size || text.at[text.size - 1] == ']';
    return address_parse_number(number, bare ? NAME_SERVER_PORT : port, ret);
}

static void name_servers_read(struct config_reader *reader, const struct setting *setting,
                              yaml_node_t *node, const struct config_key *key, void *object)
{
    struct service_config *service = object;
    size_t count = node->type == YAML_SEQUENCE_NODE ? config_yaml_count(node) : 0;
    if (count == 0 || count > NAME_SERVERS_MAX) {
        config_refuse(reader, node, key, setting);
        return;
    }
    service->name_servers = config_arena_array(reader->arena, count, sizeof(struct address));
    if (service->name_servers == NULL)
        return;
    service->name_server_count = count;
    for (size_t i = 0; i < count; i++) {
        yaml_node_t *item = config_yaml_item(reader, node, i);
        struct config_key item_key = {.up = key, .index = i};
        if (item->type != YAML_SCALAR_NODE ||
            !name_server_read(config_yaml_text(item), &service->name_servers[i]))
            config_refuse(reader, item, &item_key, setting);
    }
}

static void name_servers_print(const struct setting *setting, const void *object,
                               struct buffer *out)
{
    const struct service_config *service = object;
    char text[ADDRESS_TEXT_SIZE];
    for (size_t i = 0; i < service->name_server_count; i++)
        buffer_printf(out, "%s%s", i > 0 ? ", " : "",
                      address_text(&service->name_servers[i], text, sizeof(text)));
}

const struct setting_special config_special_name_servers = {.read = name_servers_read,
                                                            .print = name_servers_print};

/* --- the service of a route ------------------------------------------------------------------- */

/* Returns the most similar service name, for "did you mean"; NULL: none. */
static const char *service_nearest(const struct config *config, struct span name)
{
    const char *nearest = NULL;
    unsigned best = name.size < 4 ? 2 : 3;
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

/* --- ignore_startup_parameters ---------------------------------------------------------------- */

/* Startup parameters that are accepted and dropped. */
#define IGNORED_MAX      256
#define IGNORED_NAME_MAX 127

static void ignored_read(struct config_reader *reader, const struct setting *setting,
                         yaml_node_t *node, const struct config_key *key, void *object)
{
    static const struct setting name_row = {
        .kind = SETTING_TEXT, .min = 1, .max = IGNORED_NAME_MAX};
    struct config *config = object;
    size_t count = node->type == YAML_SEQUENCE_NODE ? config_yaml_count(node) : IGNORED_MAX + 1;
    if (count > IGNORED_MAX) {
        config_refuse(reader, node, key, setting);
        return;
    }
    config->ignored_parameters = config_arena_array(reader->arena, count, sizeof(const char *));
    for (size_t i = 0; config->ignored_parameters != NULL && i < count; i++) {
        struct config_key item = {.up = key, .index = i};
        const char *text = config_read_text(reader, &name_row, config_yaml_item(reader, node, i),
                                            &item, IGNORED_NAME_MAX);
        if (text != NULL)
            config->ignored_parameters[config->ignored_count++] = text;
    }
}

static void ignored_print(const struct setting *setting, const void *object, struct buffer *out)
{
    const struct config *config = object;
    for (size_t i = 0; i < config->ignored_count; i++)
        buffer_printf(out, "%s%s", i > 0 ? ", " : "", config->ignored_parameters[i]);
}

const struct setting_special config_special_ignored = {.read = ignored_read,
                                                       .print = ignored_print};
