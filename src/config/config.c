#include "config/config.h"

#include "base/check.h"

#include <stdlib.h>

struct config *config_ref(struct config *config)
{
    uint32_t before = __atomic_fetch_add(&config->references, 1, __ATOMIC_RELAXED);
    invariant(before > 0);
    return config;
}

void config_unref(struct config **config)
{
    struct config *self = TAKE(*config);
    if (self == NULL)
        return;
    uint32_t before = __atomic_fetch_sub(&self->references, 1, __ATOMIC_ACQ_REL);
    invariant(before > 0);
    if (before > 1)
        return;
    for (size_t i = 0; i < self->listen_count; i++)
        tls_context_unref(&self->listens[i].tls.context);
    for (size_t i = 0; i < self->service_count; i++) {
        tls_context_unref(&self->services[i].tls.context);
        tls_context_unref(&self->services[i].patroni.tls.context);
    }
    tls_context_unref(&self->redis.tls.context);
    map_fini(&self->secrets);
    hba_free(&self->hba);
    map_fini(&self->users_by_name);
    map_fini(&self->databases_by_name);
    if (self->arena_free != NULL)
        self->arena_free(self->arena);
    free(self);
}

static bool range_holds(const struct address_range *range, const struct address *address)
{
    uint32_t whole = range->bits / 8;
    uint32_t rest = range->bits % 8;
    if (range->address.family != address->family)
        return false;
    if (memcmp(range->address.bytes, address->bytes, whole) != 0)
        return false;
    uint8_t mask = (uint8_t)(0xff00u >> rest);
    return rest == 0 || ((range->address.bytes[whole] ^ address->bytes[whole]) & mask) == 0;
}

bool listen_from_proxy(const struct listen_config *listen, const struct address *peer)
{
    for (size_t i = 0; i < listen->proxy_count; i++)
        if (range_holds(&listen->proxies[i], peer))
            return true;
    return false;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool pattern_matches(const char *pattern, struct span name)
{
    return pattern == NULL || span_is(name, pattern);
}

const struct route_config *config_route(const struct config *config, struct span database,
                                        struct span user)
{
    for (size_t i = 0; i < config->route_count; i++) {
        const struct route_config *route = &config->routes[i];
        if (pattern_matches(route->database, database) && pattern_matches(route->user, user))
            return route;
    }
    return NULL;
}

const struct route_config *config_route_lookup(const struct config *config, const char *service,
                                               enum fleet_target target)
{
    bool primary = target_needs_primary(target);
    for (size_t i = 0; i < config->lookup_count; i++) {
        const struct route_config *lookup = &config->lookups[i];
        if (target_needs_primary(lookup->target) == primary &&
            same_text(lookup->service->name, service))
            return lookup;
    }
    return NULL;
}

static bool route_listens(const struct route_config *route, const char *listener)
{
    for (size_t i = 0; listener != NULL && i < route->listener_count; i++)
        if (strcmp(route->listeners[i], listener) == 0)
            return true;
    return route->listener_count == 0;
}

const struct route_config *config_route_at(const struct config *config, const char *listener,
                                           struct span database, struct span user)
{
    for (size_t i = 0; i < config->route_count; i++) {
        const struct route_config *route = &config->routes[i];
        if (pattern_matches(route->database, database) && pattern_matches(route->user, user) &&
            route_listens(route, listener))
            return route;
    }
    return NULL;
}

bool route_same_listeners(const struct route_config *a, const struct route_config *b)
{
    if (a->listener_count != b->listener_count)
        return false;
    for (size_t i = 0; i < a->listener_count; i++)
        if (strcmp(a->listeners[i], b->listeners[i]) != 0)
            return false;
    return true;
}

const struct route_config *config_route_like(const struct config *config, struct span database,
                                             struct span user, const struct route_config *like)
{
    if (like->is_lookup)
        return config_route_lookup(config, like->service->name, like->target);
    const char *listener = like->listener_count > 0 ? like->listeners[0] : NULL;
    const struct route_config *route = config_route_at(config, listener, database, user);
    if (route != NULL && like->is_targeted)
        route = route_for_target(route, like->target);
    if (route != NULL && like->is_reads)
        return route->aside;
    return route != NULL && like->is_replication ? route->replication : route;
}

const struct route_config *route_for_target(const struct route_config *route,
                                            enum fleet_target target)
{
    invariant(target < TARGETS);
    bool other = target != TARGET_DEFAULT && target != route->target;
    return other && route->targets != NULL ? &route->targets[target] : route;
}

static bool secret_is(const struct map_link *link, const void *key)
{
    const struct secret *secret = MAP_ENTRY(link, const struct secret, link);
    return span_is(*(const struct span *)key, secret->user);
}

const struct secret *config_secret(const struct config *config, struct span user)
{
    struct map_link *link = map_find(&config->secrets, hash_span(user), secret_is, &user);
    return link == NULL ? NULL : MAP_ENTRY(link, const struct secret, link);
}

static bool database_is(const struct map_link *link, const void *key)
{
    return strcmp(MAP_ENTRY(link, const struct database_config, link)->name, key) == 0;
}

const struct database_config *config_database(const struct config *config, const char *database)
{
    struct map_link *link =
        map_find(&config->databases_by_name, hash_span(span_text(database)), database_is, database);
    return link == NULL ? NULL : MAP_ENTRY(link, const struct database_config, link);
}

static bool user_is(const struct map_link *link, const void *key)
{
    return strcmp(MAP_ENTRY(link, const struct user_config, link)->name, key) == 0;
}

const struct user_config *config_user(const struct config *config, const char *user)
{
    struct map_link *link =
        map_find(&config->users_by_name, hash_span(span_text(user)), user_is, user);
    return link == NULL ? NULL : MAP_ENTRY(link, const struct user_config, link);
}

static bool name_listed(const char *const *names, size_t count, struct span name)
{
    for (size_t i = 0; i < count; i++)
        if (span_is(name, names[i]))
            return true;
    return false;
}

bool config_console_database(const struct config *config, struct span database)
{
    return name_listed(config->console_databases, config->console_database_count, database);
}

enum console_role config_console_role(const struct config *config, struct span user)
{
    if (name_listed(config->console_users, config->console_user_count, user))
        return CONSOLE_ALL;
    return name_listed(config->console_readers, config->console_reader_count, user)
               ? CONSOLE_READS
               : CONSOLE_NOTHING;
}

bool config_ignores(const struct config *config, struct span parameter)
{
    for (size_t i = 0; i < config->ignored_count; i++)
        if (span_is_nocase(parameter, config->ignored_parameters[i]))
            return true;
    return false;
}

static bool same_policy(const struct tls_policy *a, const struct tls_policy *b)
{
    return a->min_version == b->min_version && same_text(a->ciphers, b->ciphers) &&
           same_text(a->suites, b->suites) && same_text(a->groups, b->groups);
}

static bool same_tls(const struct tls_config *a, const struct tls_config *b)
{
    return a->mode == b->mode && same_text(a->certificate, b->certificate) &&
           same_text(a->key, b->key) && same_text(a->authorities, b->authorities) &&
           a->negotiation == b->negotiation && a->binding == b->binding &&
           same_policy(&a->policy, &b->policy);
}

/* Compares services by name: a service's hosts may change under its pools, which the fleet
 * handles. */
static bool same_service(const struct service_config *a, const struct service_config *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return same_text(a->name, b->name) && same_tls(&a->tls, &b->tls);
}

bool route_same_identity(const struct route_config *a, const struct route_config *b)
{
    return same_text(a->database, b->database) && same_text(a->user, b->user) &&
           same_service(a->service, b->service) && a->auth == b->auth &&
           same_text(a->auth_options, b->auth_options) && a->mode == b->mode &&
           route_same_listeners(a, b) && a->fresh == b->fresh &&
           a->is_replication == b->is_replication && a->is_lookup == b->is_lookup &&
           a->is_reads == b->is_reads && a->target == b->target &&
           (a->prepared_max == 0) == (b->prepared_max == 0) &&
           same_text(a->server_database, b->server_database) &&
           same_text(a->server_user, b->server_user);
}

const struct listen_config *config_listen(const struct config *config, uint32_t listen)
{
    for (size_t i = 0; i < config->listen_count; i++)
        if (config->listens[i].number == listen)
            return &config->listens[i];
    return NULL;
}
