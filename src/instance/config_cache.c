/* config_cache.c - checks of the rules of `cache` that the table of settings can't express. */
#include "instance/config_reader.h"

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

/* Refuses a setting that has an effect with mode ttl only. */
static void check_only_ttl(struct config_reader *reader, const struct cache_rule *rule,
                           const yaml_node_t *node, const struct config_key *up, const char *name)
{
    struct config_key key = {.up = up, .name = name};
    if (rule->mode != CACHE_TTL && config_yaml_find(reader, node, name) != NULL)
        config_error(reader, config_yaml_place(reader, node, name), &key,
                     "has an effect with mode: ttl only");
}

static void check_rule(struct config_reader *reader, struct cache_rule *rule,
                       const yaml_node_t *node, const struct config_key *up)
{
    struct config_key key = {.up = up, .name = "mode"};
    if (rule->mode == CACHE_STRICT || rule->mode == CACHE_SHADOW) {
        config_error(reader, config_yaml_place(reader, node, "mode"), &key,
                     "%s is not available yet; accepted: off, dedupe, ttl",
                     rule->mode == CACHE_STRICT ? "strict" : "shadow");
        return;
    }
    rule->counts = config_arena_array(reader->arena, 1, sizeof(*rule->counts));
    check_only_ttl(reader, rule, node, up, "ttl");
    check_only_ttl(reader, rule, node, up, "stale");
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
            check_rule(reader, &cache->rules[i], rule, &item);
    }
    check_reached(reader, cache, list, &key);
}
