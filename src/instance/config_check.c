/*
 * config_check.c - checks that the table of settings can't express: values that must fit each
 * other, and files that must load.
 */
#include "instance/config_reader.h"
#include "machine/process.h"
#include "machine/stream.h"

/* sizeof(sun_path) less "/.s.PGSQL.65535" and the NUL. */
#define DIRECTORY_MAX (108 - 15 - 1)
/* The longest name of a Unix socket. */
#define SOCKET_MAX 107

/* --- listeners -------------------------------------------------------------------------------- */

static bool same_listener(const struct listen_config *a, const struct listen_config *b)
{
    if (a->port != b->port)
        return false;
    if (address_host_is_unix(a->host) && address_host_is_unix(b->host))
        return strcmp(a->host, b->host) == 0;
    if (strcasecmp(a->host, b->host) == 0)
        return true;
    bool any = strcmp(a->host, "*") == 0 || strcmp(b->host, "*") == 0;
    return any && !address_host_is_unix(a->host) && !address_host_is_unix(b->host);
}

static void check_host(struct config_reader *reader, const struct listen_config *listener,
                       const yaml_node_t *node, const struct config_key *up)
{
    struct config_key key = {.up = up, .name = "host"};
    const yaml_node_t *place = config_yaml_place(reader, node, "host");
    if (address_host_is_unix(listener->host)) {
        if (strlen(listener->host) > DIRECTORY_MAX)
            config_error(reader, place, &key,
                         "found a directory of %zu bytes; accepted: at most %d, so that the "
                         "socket's name fits",
                         strlen(listener->host), DIRECTORY_MAX);
        return;
    }
    if (strpbrk(listener->host, " /[],@\"'") != NULL)
        config_error(reader, place, &key,
                     "found \"%s\"; accepted: a name, an address (IPv6 without brackets), \"*\", "
                     "an absolute directory, or \"@name\"",
                     listener->host);
}

/* Whose TLS a group named tls is. */
enum tls_use { TLS_OF_LISTENER, TLS_OF_SERVERS, TLS_OF_PATRONI, TLS_OF_REDIS };

/* Makes the TLS context; problems of its files are reported at the tls group. */
static void load_tls(struct config_reader *reader, struct tls_config *tls, const yaml_node_t *node,
                     const struct config_key *up, enum tls_use use)
{
    bool server = use == TLS_OF_LISTENER;
    struct config_key key = {.up = up, .name = "tls"};
    const yaml_node_t *group = config_yaml_place(reader, node, "tls");
    if (tls->mode == TLS_MODE_DISABLE) {
        bool files = tls->certificate != NULL || tls->key != NULL || tls->authorities != NULL;
        /* A mode that could not be read keeps its default: no warning then. */
        if (files && reader->problems.errors == 0)
            config_warning(reader, group, &key,
                           "certificates and keys have no effect while mode is disable");
        return;
    }
    const char *mode = server && tls->mode == TLS_MODE_ALLOW ? "allow"
                       : tls->mode == TLS_MODE_REQUIRE       ? "require"
                       : tls->mode == TLS_MODE_VERIFY_CA     ? "verify-ca"
                                                             : "verify-full";
    if (server && tls->certificate == NULL) {
        config_error(reader, group, &key, "mode %s needs a certificate (cert) and its key", mode);
        return;
    }
    if (tls->mode >= TLS_MODE_VERIFY_CA && tls->authorities == NULL) {
        config_error(reader, group, &key, "mode %s needs certificate authorities (ca)", mode);
        return;
    }
    if (tls->key != NULL && tls->certificate == NULL) {
        config_error(reader, group, &key, "key needs the certificate that belongs to it (cert)");
        return;
    }
    if (tls->negotiation == TLS_NEGOTIATION_DIRECT && tls->mode < TLS_MODE_REQUIRE) {
        config_error(
            reader, group, &key,
            "negotiation: direct is TLS only; mode must be require, verify-ca or verify-full");
        return;
    }
    const char *secret = tls->key != NULL ? tls->key : tls->certificate;
    if (secret != NULL && !config_check_private(reader, group, &key, secret))
        return;
    struct tls_settings settings = {.mode = tls->mode,
                                    .certificate = tls->certificate,
                                    .key = tls->key,
                                    .authorities = tls->authorities,
                                    .policy = tls->policy,
                                    .server = server,
                                    .is_http = use == TLS_OF_PATRONI || use == TLS_OF_REDIS};
    fault made = tls_context_new(&settings, &tls->context);
    if (made != OK)
        config_error(reader, group, &key, "%s", fault_detail(made));
}

static void check_group(struct config_reader *reader, struct listen_config *listener,
                        const yaml_node_t *node, const struct config_key *up)
{
    struct config_key key = {.up = up, .name = "unix_group"};
    listener->unix_group_number = -1;
    if (listener->unix_group != NULL && listener->host != NULL && listener->host[0] == '@')
        config_warning(reader, config_yaml_place(reader, node, "unix_group"), &key,
                       "has no effect: an abstract socket has no file and no permissions, so every "
                       "local user may connect");
    if (listener->unix_group == NULL ||
        process_group_number(listener->unix_group, &listener->unix_group_number))
        return;
    config_error(reader, config_yaml_place(reader, node, "unix_group"), &key,
                 "group \"%s\" does not exist on this machine", listener->unix_group);
}

static void check_listeners(struct config_reader *reader)
{
    const yaml_node_t *list = config_yaml_find(reader, reader->root, "listen");
    const struct config_key top = {.name = "listen"};
    struct config *config = reader->config;
    for (size_t i = 0; i < config->listen_count; i++) {
        struct config_key key = {.up = &top, .index = i};
        struct listen_config *listener = &config->listens[i];
        const yaml_node_t *node = config_yaml_item(reader, list, i);
        if (node->type != YAML_MAPPING_NODE)
            continue;
        check_host(reader, listener, node, &key);
        check_group(reader, listener, node, &key);
        load_tls(reader, &listener->tls, node, &key, TLS_OF_LISTENER);
        for (size_t before = 0; before < i; before++) {
            if (!same_listener(listener, &config->listens[before]))
                continue;
            config_error(reader, node, &key, "%s port %u is already used by listen[%zu]",
                         listener->host, listener->port, before);
            break;
        }
    }
}

/* --- services --------------------------------------------------------------------------------- */

/* Reports the settings that the way of finding servers lacks, and those it does not use. */
static void check_resolver(struct config_reader *reader, const struct service_config *service,
                           const yaml_node_t *node, const struct config_key *up)
{
    bool fixed = service->resolver == RESOLVER_FIXED;
    struct config_key hosts = {.up = up, .name = "hosts"};
    struct config_key name = {.up = up, .name = "name"};
    struct config_key refresh = {.up = up, .name = "refresh_min"};
    if (fixed && config_yaml_find(reader, node, "hosts") == NULL)
        config_error(reader, node, &hosts, "is required, because resolver is fixed");
    if (fixed && service->lookup_name != NULL)
        config_error(reader, config_yaml_place(reader, node, "name"), &name,
                     "is of no use, because resolver is fixed; set resolver to dns or srv");
    if (!fixed && config_yaml_find(reader, node, "hosts") != NULL)
        config_error(reader, config_yaml_place(reader, node, "hosts"), &hosts,
                     "is of no use, because resolver is not fixed");
    if (!fixed && service->lookup_name == NULL)
        config_error(reader, node, &name, "is required, because resolver is dns or srv");
    if (service->refresh_min.us > service->refresh_max.us)
        config_error(reader, config_yaml_place(reader, node, "refresh_min"), &refresh,
                     "is longer than refresh_max");
}

static void check_patroni(struct config_reader *reader, struct service_config *service,
                          const yaml_node_t *node, const struct config_key *up)
{
    struct config_key key = {.up = up, .name = "patroni"};
    const yaml_node_t *group = config_yaml_find(reader, node, "patroni");
    if (group == NULL || group->type != YAML_MAPPING_NODE)
        return;
    if (service->patroni.port == 0 && reader->problems.errors == 0)
        config_warning(reader, group, &key, "has no effect without its port");
    if (service->patroni.port != 0 && service->probe.user == NULL)
        config_error(reader, group, &key,
                     "needs probes (probe.user): a server is asked for its role before its "
                     "Patroni is");
    load_tls(reader, &service->patroni.tls, group, &key, TLS_OF_PATRONI);
}

static void check_redis(struct config_reader *reader)
{
    struct redis_config *redis = &reader->config->redis;
    const struct config_key top = {.name = "cache_redis"};
    const yaml_node_t *group = config_yaml_find(reader, reader->root, "cache_redis");
    struct config_key key = {.up = &top, .name = "host"};
    if (group == NULL || group->type != YAML_MAPPING_NODE)
        return;
    if (redis->host == NULL && redis->sentinel_count == 0 && reader->problems.errors == 0)
        config_error(reader, group, &key,
                     "missing: a name, an address, or the path of a socket; or sentinels");
    if (redis->host != NULL && redis->sentinel_count > 0)
        config_error(reader, config_yaml_place(reader, group, "host"), &key,
                     "is told by the sentinels; set one of them only");
    key.name = "master";
    if ((redis->sentinel_count > 0) != (redis->master != NULL))
        config_error(reader, group, &key, "sentinels and the name of their master go together");
    key.name = "host";
    if (redis->host != NULL && redis->host[0] == '/' && strlen(redis->host) > SOCKET_MAX)
        config_error(reader, config_yaml_place(reader, group, "host"), &key,
                     "found a path of %zu bytes; accepted: at most %d", strlen(redis->host),
                     SOCKET_MAX);
    if (redis->host != NULL && redis->host[0] == '/' && redis->tls.mode != TLS_MODE_DISABLE)
        config_error(reader, config_yaml_place(reader, group, "tls"), &top,
                     "tls has no effect over a Unix socket");
    key.name = "user";
    if (redis->user != NULL && redis->password == NULL)
        config_error(reader, config_yaml_place(reader, group, "user"), &key, "needs a password");
    key.name = "prefix";
    if (redis->prefix != NULL && strpbrk(redis->prefix, "{}") != NULL)
        config_error(reader, config_yaml_place(reader, group, "prefix"), &key,
                     "found \"%s\"; accepted: a text without braces", redis->prefix);
    load_tls(reader, &redis->tls, group, &top, TLS_OF_REDIS);
}

static void check_services(struct config_reader *reader)
{
    const yaml_node_t *mapping = config_yaml_find(reader, reader->root, "services");
    const struct config_key top = {.name = "services"};
    struct config *config = reader->config;
    for (size_t i = 0; i < config->service_count; i++) {
        struct service_config *service = &config->services[i];
        if (service->name == NULL)
            continue;
        const yaml_node_t *node = config_yaml_find(reader, mapping, service->name);
        struct config_key key = {.up = &top, .name = service->name};
        load_tls(reader, &service->tls, node, &key, TLS_OF_SERVERS);
        check_patroni(reader, service, node, &key);
        check_resolver(reader, service, node, &key);
        config_check_writers(reader, service, node, &key);
        if (service->retry_min.us > service->retry_max.us) {
            struct config_key retry = {.up = &key, .name = "retry_min"};
            config_error(reader, config_yaml_place(reader, node, "retry_min"), &retry,
                         "is longer than retry_max");
        }
    }
}

/* --- routes ----------------------------------------------------------------------------------- */

static bool covers(const char *wide, const char *narrow)
{
    return wide == NULL || (narrow != NULL && strcmp(wide, narrow) == 0);
}

static void check_reachable(struct config_reader *reader, size_t index, const yaml_node_t *node,
                            const struct config_key *key)
{
    const struct route_config *routes = reader->config->routes;
    for (size_t i = 0; i < index; i++) {
        if (routes[i].line == 0 || !covers(routes[i].database, routes[index].database) ||
            !covers(routes[i].user, routes[index].user) ||
            (routes[i].listener_count > 0 && !route_same_listeners(&routes[i], &routes[index])))
            continue;
        const yaml_node_t *list = config_yaml_find(reader, reader->root, "routes");
        config_warning(reader, node, key, "never matches: routes[%zu] in %s takes all its clients",
                       i, config_line_of(reader, config_yaml_item(reader, list, i), node));
        return;
    }
}

static bool is_listener(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->listen_count; i++)
        if (config->listens[i].name != NULL && strcmp(config->listens[i].name, name) == 0)
            return true;
    return false;
}

static void check_route_listeners(struct config_reader *reader, const struct route_config *route,
                                  const yaml_node_t *node, const struct config_key *up)
{
    struct config_key key = {.up = up, .name = "listeners"};
    for (size_t i = 0; i < route->listener_count; i++)
        if (!is_listener(reader->config, route->listeners[i]))
            config_error(reader, config_yaml_place(reader, node, "listeners"), &key,
                         "there is no listener \"%s\"; accepted: the name of an entry of listen",
                         route->listeners[i]);
}

static void check_route(struct config_reader *reader, size_t index, const yaml_node_t *node,
                        const struct config_key *up)
{
    const struct route_config *route = &reader->config->routes[index];
    check_reachable(reader, index, node, up);
    check_route_listeners(reader, route, node, up);
    if (route->auth != AUTH_BLOCK && config_yaml_find(reader, node, "service") == NULL) {
        struct config_key key = {.up = up, .name = "service"};
        config_error(reader, node, &key,
                     "missing; accepted: a key of services (only auth: block needs none)");
    }
    if (route->pool_min > route->pool_size) {
        struct config_key key = {.up = up, .name = "pool_min"};
        config_error(reader, config_yaml_place(reader, node, "pool_min"), &key,
                     "found %u; accepted: at most pool_size, %u", route->pool_min,
                     route->pool_size);
    }
    if (route->reads.where != READS_PRIMARY &&
        (route->mode == POOL_SESSION ||
         (route->target != TARGET_DEFAULT && route->target != TARGET_READ_WRITE &&
          route->target != TARGET_PRIMARY))) {
        struct config_key key = {.up = up, .name = "reads"};
        config_error(
            reader, config_yaml_place(reader, node, "reads"), &key,
            route->mode == POOL_SESSION
                ? "has no effect in session pools: the pool must be transaction or statement"
                : "target_session_attrs must be default, read-write or primary");
    }
    config_check_cache(reader, &reader->config->routes[index], node, up);
    config_check_firewall(reader, &reader->config->routes[index].firewall, node, up);
    if (route->fresh && route->mode != POOL_SESSION) {
        struct config_key key = {.up = up, .name = "fresh"};
        config_error(reader, config_yaml_place(reader, node, "fresh"), &key,
                     "has an effect in session pools only");
    }
}

static bool needs_secrets(enum auth_method method)
{
    return method == AUTH_PASSWORD || method == AUTH_MD5 || method == AUTH_SCRAM;
}

static void check_routes(struct config_reader *reader)
{
    const yaml_node_t *list = config_yaml_find(reader, reader->root, "routes");
    const struct config_key top = {.name = "routes"};
    struct config *config = reader->config;
    bool told = config_yaml_find(reader, reader->root, "auth_file") != NULL ||
                config_yaml_find(reader, reader->root, "auth_query") != NULL;
    for (size_t i = 0; i < config->route_count; i++) {
        struct config_key key = {.up = &top, .index = i};
        const yaml_node_t *node = config_yaml_item(reader, list, i);
        if (node->type != YAML_MAPPING_NODE)
            continue;
        config->routes[i].file = config_file_of(reader, node)->path;
        config->routes[i].line = (uint32_t)node->start_mark.line + 1;
        check_route(reader, i, node, &key);
        if (told || !needs_secrets(config->routes[i].auth))
            continue;
        struct config_key auth = {.up = &key, .name = "auth"};
        config_error(reader, config_yaml_place(reader, node, "auth"), &auth,
                     "this method needs an auth_file, but none is set");
        told = true;
    }
}

/* --- databases and users ---------------------------------------------------------------------- */

static void index_names(struct config_reader *reader)
{
    struct config *config = reader->config;
    config->databases_by_name = MAP_INIT(UINT32_MAX);
    for (size_t i = 0; i < config->database_count; i++) {
        struct database_config *database = &config->databases[i];
        if (database->name == NULL)
            continue;
        if (map_insert(&config->databases_by_name, &database->link,
                       hash_span(span_text(database->name))) != OK)
            config_error(reader, reader->root, NULL, "out of memory for the databases");
    }
    config->users_by_name = MAP_INIT(UINT32_MAX);
    for (size_t i = 0; i < config->user_count; i++) {
        struct user_config *user = &config->users[i];
        if (user->name == NULL)
            continue;
        if (map_insert(&config->users_by_name, &user->link, hash_span(span_text(user->name))) != OK)
            config_error(reader, reader->root, NULL, "out of memory for the users");
    }
}

/* --- the log: which settings of a target belong together -------------------------------------- */

/* sizeof(sun_path) less the NUL. */
#define SOCKET_MAX 107

static void check_target(struct config_reader *reader, const struct log_target *target,
                         const yaml_node_t *node, const struct config_key *up)
{
    struct config_key key = {.up = up, .name = "path"};
    const yaml_node_t *place = config_yaml_place(reader, node, "path");
    bool socket = target->to == LOG_TO_SYSLOG || target->to == LOG_TO_JOURNAL;
    if (target->to == LOG_TO_FILE && target->path == NULL)
        config_error(reader, node, &key, "missing; accepted: the path of the log file");
    else if (target->to == LOG_TO_STDERR && target->path != NULL)
        config_error(reader, place, &key, "has no effect on standard error");
    else if (socket && target->path != NULL && strlen(target->path) > SOCKET_MAX)
        config_error(reader, place, &key,
                     "found a path of %zu bytes; accepted: at most %d, as a socket's name",
                     strlen(target->path), SOCKET_MAX);
    key.name = "when_full";
    if (target->when_full == LOG_FULL_WAITS && target->events != LOG_EVENTS_AUDIT)
        config_error(reader, config_yaml_place(reader, node, "when_full"), &key,
                     "found \"wait\"; accepted for the audit only (events: audit)");
}

/* Returns how many targets take these events. */
static size_t targets_of(const struct config *config, int events)
{
    size_t count = 0;
    for (size_t i = 0; i < config->log_target_count; i++)
        count += config->log_targets[i].events == events;
    return count;
}

/* The audit has a target of its own, and the log as well. */
static void check_audit(struct config_reader *reader, const yaml_node_t *list,
                        const struct config_key *list_key)
{
    struct config *config = reader->config;
    const struct config_key routes = {.name = "routes"};
    if (targets_of(config, LOG_EVENTS_AUDIT) > 0 && targets_of(config, LOG_EVENTS_LOG) == 0)
        config_error(reader, list, list_key,
                     "all of them are for the audit; the log needs one, too (events: log)");
    for (size_t i = 0; i < config->route_count; i++) {
        const struct config_key up = {.up = &routes, .index = i};
        const struct config_key key = {.up = &up, .name = "audit"};
        if (config->routes[i].audit == AUDIT_OFF || targets_of(config, LOG_EVENTS_AUDIT) > 0)
            continue;
        config_error(reader, reader->root, &key,
                     "needs one of log.targets that takes its lines (events: audit)");
    }
}

static void check_log(struct config_reader *reader)
{
    struct config *config = reader->config;
    const struct config_key top = {.name = "log"};
    struct config_key list_key = {.up = &top, .name = "targets"};
    const yaml_node_t *group = config_yaml_find(reader, reader->root, "log");
    const yaml_node_t *list = group != NULL ? config_yaml_find(reader, group, "targets") : NULL;
    for (size_t i = 0; i < config->log_target_count; i++) {
        struct log_target *target = &config->log_targets[i];
        struct config_key key = {.up = &list_key, .index = i};
        const yaml_node_t *node = config_yaml_item(reader, list, i);
        if (node->type == YAML_MAPPING_NODE)
            check_target(reader, target, node, &key);
        if (target->level == LOG_INHERIT)
            target->level = config->log_level;
        if (target->format == LOG_INHERIT)
            target->format = config->log_format;
    }
    check_audit(reader, list, &list_key);
    if (config->log_target_count > 0 && config->log_file != NULL) {
        struct config_key key = {.up = &top, .name = "file"};
        config_warning(reader, config_yaml_place(reader, group, "file"), &key,
                       "has no effect because targets are set");
    }
}

/* --- the whole -------------------------------------------------------------------------------- */

void config_check(struct config_reader *reader)
{
    invariant(reader->root != NULL);
    if (reader->root->type != YAML_MAPPING_NODE)
        return;
    check_listeners(reader);
    check_services(reader);
    check_redis(reader);
    check_routes(reader);
    index_names(reader);
    check_log(reader);
    if (reader->config->memory_max < reader->config->message_max) {
        const struct config_key key = {.name = "memory_limit"};
        config_error(reader, config_yaml_place(reader, reader->root, "memory_limit"), &key,
                     "is smaller than message_limit");
    }
}
