/* config_firewall.c - checks of the rules of `firewall` that the table of settings can't express.
 */
#include "instance/config_reader.h"
#include "query/outline.h"

/* --- one rule --------------------------------------------------------------------------------- */

static void check_fingerprints(struct config_reader *reader, struct firewall_rule *rule,
                               const yaml_node_t *node, const struct config_key *up)
{
    struct config_key group = {.up = up, .name = "fingerprints"};
    const yaml_node_t *list = config_yaml_find(reader, node, "fingerprints");
    rule->fingerprints =
        config_arena_array(reader->arena, rule->fingerprint_count + 1, sizeof(uint64_t));
    for (size_t i = 0; rule->fingerprints != NULL && i < rule->fingerprint_count; i++) {
        struct config_key key = {.up = &group, .index = i};
        if (!config_read_fingerprint(rule->fingerprint_texts[i], &rule->fingerprints[i]))
            config_error(reader, config_yaml_item(reader, list, i), &key,
                         "found \"%s\"; accepted: 16 hexadecimal digits, as "
                         "SHOW FIREWALL_STATEMENTS shows them",
                         rule->fingerprint_texts[i]);
    }
}

static void check_verbs(struct config_reader *reader, struct firewall_rule *rule,
                        const yaml_node_t *node, const struct config_key *up)
{
    struct config_key group = {.up = up, .name = "verbs"};
    const yaml_node_t *list = config_yaml_find(reader, node, "verbs");
    for (size_t i = 0; i < rule->verb_count; i++) {
        struct config_key key = {.up = &group, .index = i};
        enum query_verb verb = query_verb_of(span_text(rule->verb_names[i]));
        if (verb != QUERY_VERBS)
            rule->verbs |= UINT64_C(1) << verb;
        else
            config_error(reader, config_yaml_item(reader, list, i), &key,
                         "found \"%s\"; accepted: a verb such as select, delete or copy",
                         rule->verb_names[i]);
    }
}

static bool is_bare(const struct firewall_rule *rule)
{
    return rule->verb_count + rule->table_count + rule->function_count + rule->fingerprint_count ==
           0;
}

static void check_rules(struct config_reader *reader, struct firewall_rule *rules, size_t count,
                        const yaml_node_t *list, const struct config_key *up)
{
    for (size_t i = 0; i < count; i++) {
        struct config_key item = {.up = up, .index = i};
        const yaml_node_t *node = config_yaml_item(reader, list, i);
        rules[i].counts = config_arena_array(reader->arena, 1, sizeof(*rules[i].counts));
        if (node->type != YAML_MAPPING_NODE)
            continue;
        check_verbs(reader, &rules[i], node, &item);
        check_fingerprints(reader, &rules[i], node, &item);
        if (is_bare(&rules[i]))
            config_error(reader, node, &item,
                         "matches every statement; it needs verbs, tables, functions or "
                         "fingerprints");
    }
}

/* --- all of a route --------------------------------------------------------------------------- */

/* Whether two rules have the same name, by which errors and the console tell them apart. */
static void check_names(struct config_reader *reader, const struct firewall_config *firewall,
                        const yaml_node_t *node, const struct config_key *up)
{
    size_t count = firewall->deny_count + firewall->allow_count;
    for (size_t i = 0; i < count; i++) {
        bool denies = i < firewall->deny_count;
        size_t number = denies ? i : i - firewall->deny_count;
        struct config_key list = {.up = up, .name = denies ? "deny" : "allow"};
        struct config_key key = {.up = &list, .index = number};
        const struct firewall_rule *rule =
            denies ? &firewall->denies[number] : &firewall->allows[number];
        for (size_t j = 0; rule->name != NULL && j < i; j++) {
            const struct firewall_rule *other = j < firewall->deny_count
                                                    ? &firewall->denies[j]
                                                    : &firewall->allows[j - firewall->deny_count];
            if (other->name != NULL && strcmp(other->name, rule->name) == 0)
                config_error(
                    reader,
                    config_yaml_item(reader, config_yaml_find(reader, node, list.name), number),
                    &key, "another rule is named \"%s\", too", rule->name);
        }
    }
}

void config_check_firewall(struct config_reader *reader, struct firewall_config *firewall,
                           const yaml_node_t *node, const struct config_key *up)
{
    struct config_key key = {.up = up, .name = "firewall"};
    struct config_key deny = {.up = &key, .name = "deny"}, allow = {.up = &key, .name = "allow"};
    const yaml_node_t *group = config_yaml_find(reader, node, "firewall");
    if (group == NULL || group->type != YAML_MAPPING_NODE)
        return;
    firewall->counts =
        config_arena_array(reader->arena, FIREWALL_REASONS, sizeof(*firewall->counts));
    check_rules(reader, firewall->denies, firewall->deny_count,
                config_yaml_find(reader, group, "deny"), &deny);
    check_rules(reader, firewall->allows, firewall->allow_count,
                config_yaml_find(reader, group, "allow"), &allow);
    check_names(reader, firewall, group, &key);
    if (firewall->mode == FIREWALL_OFF && firewall->deny_count + firewall->allow_count > 0) {
        key = (struct config_key){.up = up, .name = "firewall"};
        config_warning(reader, group, &key, "has no effect: mode is off");
    }
}
