/* config_cache.c - checks of the rules of `cache` that the table of settings can't express. */
#include "fleet/found.h"
#include "instance/config_reader.h"

/* --- mode strict ------------------------------------------------------------------------------ */

/* Whether connections are spread over all primaries of the service, so that none is elected. */
static bool spreads(const struct service_config *service)
{
    for (size_t i = 0; i < service->host_count; i++)
        if (service->hosts[i].priority != 0 || service->hosts[i].zone != NULL ||
            service->hosts[i].weight != BACKEND_WEIGHT_PLAIN)
            return true;
    return service->resolver == RESOLVER_SRV;
}

static bool has_several(const struct service_config *service)
{
    return service->host_count > 1 || service->resolver != RESOLVER_FIXED;
}

/* Whether all that is executed for a strict rule happens at one primary, which a feed follows. */
static void check_strict(struct config_reader *reader, const struct route_config *route,
                         const yaml_node_t *place, const struct config_key *key)
{
    const struct service_config *service = route->service;
    if (route->reads.where != READS_PRIMARY)
        config_error(reader, place, key,
                     "strict needs the primary, but reads run on standbys "
                     "(reads)");
    else if (!target_needs_primary(route->target))
        config_error(reader, place, key,
                     "strict needs the primary: target_session_attrs must be "
                     "default, read-write or primary");
    else if (service == NULL || service->name == NULL)
        return; /* told already */
    else if (service->feed.user == NULL)
        config_error(reader, place, key,
                     "strict needs a feed, which tells of writes: service "
                     "\"%s\" has no feed_user",
                     service->name);
    else if (spreads(service))
        config_error(reader, place, key,
                     "strict needs one primary at a time, but service \"%s\" "
                     "uses all of its primaries, because of a priority, a weight or a zone",
                     service->name);
    else if (has_several(service) && service->probe.user == NULL)
        config_error(reader, place, key,
                     "strict needs one primary at a time: service \"%s\" may "
                     "have several servers and no probes (probe.user) that tell which one it is",
                     service->name);
}

/* --- one rule --------------------------------------------------------------------------------- */

/* Reads a fingerprint as CACHE EXPLAIN shows it. */
static bool read_hex(const char *text, uint64_t *ret)
{
    uint64_t value = 0;
    if (strlen(text) != 16)
        return false;
    for (; *text != '\0'; text++) {
        char low = (char)(*text | 0x20);
        bool digit = *text >= '0' && *text <= '9';
        if (!digit && (low < 'a' || low > 'f'))
            return false;
        value = value << 4 | (uint64_t)(digit ? *text - '0' : low - 'a' + 10);
    }
    *ret = value;
    return true;
}

static void check_fingerprint(struct config_reader *reader, struct cache_match *match,
                              const yaml_node_t *node, const struct config_key *up)
{
    struct config_key group = {.up = up, .name = "match"};
    struct config_key key = {.up = &group, .name = "fingerprint"};
    const yaml_node_t *place = config_yaml_place(reader, node, "match");
    if (match->fingerprint_text != NULL && !read_hex(match->fingerprint_text, &match->fingerprint))
        config_error(reader, place, &key,
                     "found \"%s\"; accepted: 16 hexadecimal digits, as CACHE EXPLAIN shows them",
                     match->fingerprint_text);
}

/* Checks the settings of how old a stored answer may be. */
static void check_age(struct config_reader *reader, struct cache_rule *rule,
                      const yaml_node_t *node, const struct config_key *up)
{
    struct config_key ttl = {.up = up, .name = "ttl"};
    struct config_key stale = {.up = up, .name = "stale"};
    bool has_ttl = config_yaml_find(reader, node, "ttl") != NULL;
    if (has_ttl && rule->mode != CACHE_TTL && rule->mode != CACHE_STRICT)
        config_error(reader, config_yaml_place(reader, node, "ttl"), &ttl,
                     "has an effect with mode: ttl or strict only");
    if (rule->mode != CACHE_TTL && config_yaml_find(reader, node, "stale") != NULL)
        config_error(reader, config_yaml_place(reader, node, "stale"), &stale,
                     "has an effect with mode: ttl only");
    if (rule->mode == CACHE_STRICT && !has_ttl)
        rule->ttl.us = 0;
}

static void check_rule(struct config_reader *reader, const struct route_config *route,
                       struct cache_rule *rule, const yaml_node_t *node,
                       const struct config_key *up)
{
    struct config_key key = {.up = up, .name = "mode"};
    if (rule->mode == CACHE_SHADOW) {
        config_error(reader, config_yaml_place(reader, node, "mode"), &key,
                     "shadow is not available yet; accepted: off, dedupe, ttl, strict");
        return;
    }
    rule->counts = config_arena_array(reader->arena, 1, sizeof(*rule->counts));
    if (rule->mode == CACHE_STRICT)
        check_strict(reader, route, config_yaml_place(reader, node, "mode"), &key);
    check_age(reader, rule, node, up);
    check_fingerprint(reader, &rule->match, node, up);
    key.name = "max_result";
    if (rule->result_max > reader->config->cache_memory)
        config_error(reader, config_yaml_place(reader, node, "max_result"), &key,
                     "is larger than cache_memory");
}

/* --- all rules of a route --------------------------------------------------------------------- */

static bool matches_all(const struct cache_match *match)
{
    return match->text == NULL && match->table_count == 0 && match->function_count == 0 &&
           match->fingerprint_text == NULL;
}

/* Warns of rules behind one that matches every statement. */
static void check_reached(struct config_reader *reader, const struct cache_config *cache,
                          const yaml_node_t *list, const struct config_key *up)
{
    for (size_t i = 0; i + 1 < cache->rule_count; i++) {
        if (!matches_all(&cache->rules[i].match))
            continue;
        struct config_key key = {.up = up, .index = i + 1};
        config_warning(reader, config_yaml_item(reader, list, i + 1), &key,
                       "is never used: the rule in front of it matches every statement");
        return;
    }
}

void config_check_cache(struct config_reader *reader, struct route_config *route,
                        const yaml_node_t *node, const struct config_key *up)
{
    struct cache_config *cache = &route->cache;
    struct config_key key = {.up = up, .name = "cache"};
    const yaml_node_t *list = config_yaml_find(reader, node, "cache");
    if (cache->rule_count == 0)
        return;
    if (route->mode == POOL_SESSION)
        config_error(reader, list, &key,
                     "has no effect in session pools: the pool must be transaction or statement");
    for (size_t i = 0; i < cache->rule_count; i++) {
        struct config_key item = {.up = &key, .index = i};
        const yaml_node_t *rule = config_yaml_item(reader, list, i);
        if (rule->type == YAML_MAPPING_NODE)
            check_rule(reader, route, &cache->rules[i], rule, &item);
    }
    check_reached(reader, cache, list, &key);
}
