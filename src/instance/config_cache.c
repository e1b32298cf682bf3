/* config_cache.c - checks of the rules of `cache` that the table of settings can't express. */
#include "fleet/found.h"
#include "instance/config_reader.h"
#include "wire/startup.h"

#include <strings.h>

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
    else if (service->feed.user == NULL && service->writers != WRITERS_INSIDE)
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

/* --- writers: inside -------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcasecmp(a, b) == 0;
}

/* Whether two services may have a server in common. */
static bool shares_server(const struct service_config *a, const struct service_config *b)
{
    if (same_text(a->lookup_name, b->lookup_name))
        return true;
    for (size_t i = 0; i < a->host_count; i++)
        for (size_t j = 0; j < b->host_count; j++)
            if (same_text(a->hosts[i].host, b->hosts[j].host) &&
                a->hosts[i].port == b->hosts[j].port)
                return true;
    return false;
}

void config_check_writers(struct config_reader *reader, const struct service_config *service,
                          const yaml_node_t *node, const struct config_key *up)
{
    const struct config *config = reader->config;
    struct config_key key = {.up = up, .name = "writers"};
    const yaml_node_t *place = config_yaml_place(reader, node, "writers");
    if (service->writers != WRITERS_INSIDE)
        return;
    if (spreads(service))
        config_error(reader, place, &key,
                     "inside needs one primary at a time, but the service uses all of its "
                     "primaries, because of a priority, a weight or a zone");
    for (size_t i = 0; i < config->service_count; i++) {
        const struct service_config *other = &config->services[i];
        if (other != service && other->name != NULL && shares_server(service, other))
            config_error(reader, place, &key,
                         "inside needs all writers in this service, but service \"%s\" has the "
                         "same server",
                         other->name);
    }
}

/* --- one rule --------------------------------------------------------------------------------- */

bool config_read_fingerprint(const char *text, uint64_t *ret)
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
    if (match->fingerprint_text != NULL &&
        !config_read_fingerprint(match->fingerprint_text, &match->fingerprint))
        config_error(reader, place, &key,
                     "found \"%s\"; accepted: 16 hexadecimal digits, as CACHE EXPLAIN shows them",
                     match->fingerprint_text);
}

/* The mode that a rule has, or tries. */
static enum cache_mode mode_of(const struct cache_rule *rule)
{
    return (enum cache_mode)(rule->mode == CACHE_SHADOW ? rule->of : rule->mode);
}

/* Checks `of`, the mode that a shadow rule tries. */
static void check_of(struct config_reader *reader, struct cache_rule *rule, const yaml_node_t *node,
                     const struct config_key *up)
{
    struct config_key key = {.up = up, .name = "of"};
    bool has_ttl = config_yaml_find(reader, node, "ttl") != NULL;
    if (rule->mode != CACHE_SHADOW && rule->of != CACHE_OFF)
        config_error(reader, config_yaml_place(reader, node, "of"), &key,
                     "has an effect with mode: shadow only");
    else if (rule->mode == CACHE_SHADOW && rule->of == CACHE_OFF && has_ttl)
        rule->of = CACHE_TTL;
    else if (rule->mode == CACHE_SHADOW && rule->of == CACHE_OFF)
        config_error(reader, config_yaml_place(reader, node, "mode"), &key,
                     "missing; shadow tries another mode: dedupe, ttl or strict");
}

/* Checks the settings of how old a stored answer may be. */
static void check_age(struct config_reader *reader, struct cache_rule *rule,
                      const yaml_node_t *node, const struct config_key *up)
{
    enum cache_mode mode = mode_of(rule);
    struct config_key ttl = {.up = up, .name = "ttl"};
    struct config_key stale = {.up = up, .name = "stale"};
    bool has_ttl = config_yaml_find(reader, node, "ttl") != NULL;
    if (has_ttl && mode != CACHE_TTL && mode != CACHE_STRICT)
        config_error(reader, config_yaml_place(reader, node, "ttl"), &ttl,
                     "has an effect with mode: ttl or strict only");
    if (mode != CACHE_TTL && config_yaml_find(reader, node, "stale") != NULL)
        config_error(reader, config_yaml_place(reader, node, "stale"), &stale,
                     "has an effect with mode: ttl only");
    if (mode == CACHE_STRICT && !has_ttl)
        rule->ttl.us = 0;
}

/* Checks where a rule's answers are stored. */
static void check_tier(struct config_reader *reader, const struct cache_rule *rule,
                       const yaml_node_t *node, const struct config_key *up)
{
    struct config_key key = {.up = up, .name = "tier"};
    const yaml_node_t *place = config_yaml_place(reader, node, "tier");
    if (rule->tier == CACHE_TIER_MEMORY)
        return;
    if (rule->mode != CACHE_TTL)
        config_error(reader, place, &key,
                     "redis needs mode: ttl, whose promise is the age of an answer: what Redis has "
                     "tells nothing of writes");
    else if (reader->config->redis.host == NULL && reader->config->redis.sentinel_count == 0)
        config_error(reader, place, &key, "redis needs cache_redis with its host or sentinels");
}

static void check_rule(struct config_reader *reader, const struct route_config *route,
                       struct cache_rule *rule, const yaml_node_t *node,
                       const struct config_key *up)
{
    struct config_key key = {.up = up, .name = "mode"};
    check_of(reader, rule, node, up);
    rule->counts = config_arena_array(reader->arena, 1, sizeof(*rule->counts));
    if (mode_of(rule) == CACHE_STRICT)
        check_strict(reader, route, config_yaml_place(reader, node, "mode"), &key);
    check_age(reader, rule, node, up);
    check_tier(reader, rule, node, up);
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

/* --- warming ---------------------------------------------------------------------------------- */

static fault take_option(void *argument UNUSED, struct span name UNUSED, struct span value UNUSED)
{
    return OK;
}

static void check_options(struct config_reader *reader, const struct cache_warm *warm,
                          const yaml_node_t *node, const struct config_key *up)
{
    struct config_key key = {.up = up, .name = "options"};
    struct span wrong = SPAN_NONE;
    uint8_t scratch[4096];
    if (warm->options != NULL &&
        wire_read_options(span_text(warm->options), scratch, take_option, NULL, &wrong) != OK)
        config_error(reader, config_yaml_place(reader, node, "options"), &key,
                     "found \"%.*s\"; accepted: -c name=value ...", SPAN_ARG(wrong));
}

static void check_whom(struct config_reader *reader, const struct route_config *route,
                       const struct cache_warm *warm, const yaml_node_t *node,
                       const struct config_key *up)
{
    struct config_key key = {.up = up};
    if (warm->user == NULL && route->user == NULL)
        key.name = "user";
    else if (warm->database == NULL && route->database == NULL)
        key.name = "database";
    if (key.name != NULL)
        config_error(reader, node, &key, "missing; the route is for any %s", key.name);
}

static void check_warms(struct config_reader *reader, const struct route_config *route,
                        const yaml_node_t *node, const struct config_key *up)
{
    const struct cache_config *cache = &route->cache;
    struct config_key key = {.up = up, .name = "cache_warm"};
    const yaml_node_t *list = config_yaml_find(reader, node, "cache_warm");
    if (cache->rule_count == 0 && (cache->warm_count > 0 || cache->warm_max > 0)) {
        key.name = cache->warm_count > 0 ? "cache_warm" : "cache_warm_max";
        config_error(reader, config_yaml_place(reader, node, key.name), &key,
                     "has no effect without rules (cache)");
        return;
    }
    for (size_t i = 0; i < cache->warm_count; i++) {
        struct config_key item = {.up = &key, .index = i};
        const yaml_node_t *warm = config_yaml_item(reader, list, i);
        if (warm->type != YAML_MAPPING_NODE)
            continue;
        check_whom(reader, route, &cache->warms[i], warm, &item);
        check_options(reader, &cache->warms[i], warm, &item);
    }
}

void config_check_cache(struct config_reader *reader, struct route_config *route,
                        const yaml_node_t *node, const struct config_key *up)
{
    struct cache_config *cache = &route->cache;
    struct config_key key = {.up = up, .name = "cache"};
    const yaml_node_t *list = config_yaml_find(reader, node, "cache");
    check_warms(reader, route, node, up);
    if (cache->rule_count == 0)
        return;
    if (route->mode == POOL_SESSION)
        config_error(reader, list, &key,
                     "has no effect in session pools: the pool must be transaction or statement");
    for (size_t i = 0; i < cache->rule_count; i++) {
        struct config_key item = {.up = &key, .index = i};
        const yaml_node_t *rule = config_yaml_item(reader, list, i);
        cache->rules[i].number = (uint32_t)i + 1;
        if (rule->type == YAML_MAPPING_NODE)
            check_rule(reader, route, &cache->rules[i], rule, &item);
    }
    check_reached(reader, cache, list, &key);
}
