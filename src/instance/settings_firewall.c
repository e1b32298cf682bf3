/* settings_firewall.c - settings of a route: which statements are refused. */
#include "instance/settings_rows.h"

static const struct setting_choice modes[] = {
    {"off", FIREWALL_OFF},
    {"learn", FIREWALL_LEARN},
    {"warn", FIREWALL_WARN},
    {"enforce", FIREWALL_ENFORCE},
    {NULL, 0},
};

static const struct setting rule_rows[] = {
    {.name = "name",
     .kind = SETTING_TEXT,
     AT(firewall_rule, name),
     RANGE(1, NAME_BYTES_MAX),
     .required = true,
     .reloadable = true,
     .help = "The name of the rule, for errors, the log and the console."},
    {.name = "verbs",
     .kind = SETTING_SPECIAL,
     AT(firewall_rule, verb_names),
     .count_at = offsetof(struct firewall_rule, verb_count),
     .special = &config_special_names,
     .reloadable = true,
     .unit = "a list of verbs, such as select, delete, copy; docs/firewall.md has all",
     .help = "What a statement does. A WITH, EXPLAIN, COPY, PREPARE or CREATE TABLE AS also does "
             "what the statements in it do."},
    {.name = "tables",
     .kind = SETTING_SPECIAL,
     AT(firewall_rule, tables),
     .count_at = offsetof(struct firewall_rule, table_count),
     .special = &config_special_names,
     .reloadable = true,
     .unit = "a list of \"table\" or \"schema.table\"",
     .help = "The tables and views that a statement names. In `deny` a name without a schema is of "
             "any schema, here or in the statement; in `allow` both must have the same schema or "
             "none."},
    {.name = "functions",
     .kind = SETTING_SPECIAL,
     AT(firewall_rule, functions),
     .count_at = offsetof(struct firewall_rule, function_count),
     .special = &config_special_names,
     .reloadable = true,
     .unit = "a list of \"function\" or \"schema.function\"",
     .help = "The functions that a statement calls, named as in `tables`."},
    {.name = "fingerprints",
     .kind = SETTING_SPECIAL,
     AT(firewall_rule, fingerprint_texts),
     .count_at = offsetof(struct firewall_rule, fingerprint_count),
     .special = &config_special_names,
     .reloadable = true,
     .unit = "a list of 16 hexadecimal digits each",
     .help = "The statement differs from another one in its literals only: the fingerprints that "
             "SHOW FIREWALL_STATEMENTS and FIREWALL EXPLAIN show."},
    {.name = NULL},
};

const struct setting config_firewall_rows[] = {
    {.name = "mode",
     .kind = SETTING_CHOICE,
     AT(firewall_config, mode),
     .choices = modes,
     .preset = "off",
     .reloadable = true,
     .help = "off: nothing is judged. learn: nothing is denied, and SHOW FIREWALL_STATEMENTS lists "
             "the statements that come. warn: nothing is denied; what the rules deny is counted "
             "and logged. enforce: it is refused."},
    {.name = "unparsed",
     .kind = SETTING_SWITCH,
     AT(firewall_config, allows_unparsed),
     .preset = "no",
     .reloadable = true,
     .help = "Whether statements are allowed of which Trunkline can't tell what they are: longer "
             "than 64 KiB or chunk_size, nested too deep, in a syntax that it does not know; or "
             "names of prepared statements that it does not know."},
    {.name = "multi_statement",
     .kind = SETTING_SWITCH,
     AT(firewall_config, allows_several),
     .preset = "yes",
     .reloadable = true,
     .help = "Whether one text may have several statements."},
    {.name = "without_where",
     .kind = SETTING_SWITCH,
     AT(firewall_config, allows_no_where),
     .preset = "yes",
     .reloadable = true,
     .help = "Whether UPDATE and DELETE are allowed without WHERE."},
    {.name = "deny",
     .kind = SETTING_LIST,
     LIST_OF(firewall_config, denies, deny_count, firewall_rule, rule_rows),
     RANGE(0, 64),
     .help = "Rules of which none may match. One matches a statement that has something of each of "
             "its lists."},
    {.name = "allow",
     .kind = SETTING_LIST,
     LIST_OF(firewall_config, allows, allow_count, firewall_rule, rule_rows),
     RANGE(0, 64),
     .help = "If there are any: rules of which one must match. One matches a statement that has "
             "nothing but what is in its lists."},
    {.name = NULL},
};
