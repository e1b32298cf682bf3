/* settings_cache.c - settings of a route: which answers may come from memory. */
#include "instance/settings_rows.h"

static const struct setting_choice modes[] = {
    {"off", CACHE_OFF},       {"dedupe", CACHE_DEDUPE}, {"ttl", CACHE_TTL},
    {"strict", CACHE_STRICT}, {"shadow", CACHE_SHADOW}, {NULL, 0},
};

static const struct setting_choice tried[] = {
    {"none", CACHE_OFF}, {"dedupe", CACHE_DEDUPE}, {"ttl", CACHE_TTL}, {"strict", CACHE_STRICT},
    {NULL, 0},
};

static const struct setting_choice tiers[] = {
    {"memory", CACHE_TIER_MEMORY},
    {"redis", CACHE_TIER_REDIS},
    {NULL, 0},
};

static const struct setting match_rows[] = {
    {.name = "text",
     .kind = SETTING_TEXT,
     AT(cache_match, text),
     RANGE(1, 4096),
     .reloadable = true,
     .help =
         "The whole text of the statement, as a pattern of LIKE: % is any bytes, _ one byte, \\ "
         "in front of either the byte itself; upper and lower case differ."},
    {.name = "tables",
     .kind = SETTING_SPECIAL,
     AT(cache_match, tables),
     .count_at = offsetof(struct cache_match, table_count),
     .special = &config_special_names,
     .reloadable = true,
     .unit = "a list of \"table\" or \"schema.table\"",
     .help = "The statement reads one of these tables or views. \"table\": in any schema; "
             "\"schema.table\": if the text names the schema."},
    {.name = "functions",
     .kind = SETTING_SPECIAL,
     AT(cache_match, functions),
     .count_at = offsetof(struct cache_match, function_count),
     .special = &config_special_names,
     .reloadable = true,
     .unit = "a list of \"function\" or \"schema.function\"",
     .help = "The statement calls one of these functions, named as in `tables`."},
    {.name = "fingerprint",
     .kind = SETTING_TEXT,
     AT(cache_match, fingerprint_text),
     RANGE(16, 16),
     .reloadable = true,
     .unit = "16 hexadecimal digits",
     .help = "The statement differs from another one in its literals only: the fingerprint that "
             "CACHE EXPLAIN shows for that one."},
    {.name = NULL},
};

const struct setting config_cache_rows[] = {
    {.name = "match",
     .kind = SETTING_GROUP,
     AT(cache_rule, match),
     .rows = match_rows,
     .help = "Which statements the rule is for: all that is set must apply. Without any: every "
             "statement."},
    {.name = "mode",
     .kind = SETTING_CHOICE,
     AT(cache_rule, mode),
     .choices = modes,
     .required = true,
     .preset = "off",
     .reloadable = true,
     .help = "off: each statement is executed. dedupe: clients that ask for the same while it is "
             "executed get that answer. ttl: also a stored answer of up to `ttl`. strict: also a "
             "stored "
             "answer, if nothing that it has read has changed. shadow: each statement is executed, "
             "and its answer is compared with what mode `of` would give. See docs/flight.md."},
    {.name = "of",
     .kind = SETTING_CHOICE,
     AT(cache_rule, of),
     .choices = tried,
     .preset = "none",
     .reloadable = true,
     .help = "mode shadow: which mode is tried; its other settings apply. ttl if `ttl` is set."},
    {.name = "ttl",
     .kind = SETTING_DURATION,
     AT(cache_rule, ttl),
     RANGE(MS(1), DAYS(365)),
     .preset = "1s",
     .reloadable = true,
     .help = "mode ttl: the age up to which a stored answer is given, counted from when its "
             "execution was sent. A random tenth is taken off. mode strict: the same; without "
             "it, an hour."},
    {.name = "stale",
     .kind = SETTING_DURATION,
     AT(cache_rule, stale),
     RANGE(MS(1), DAYS(365)),
     OR_ZERO("off"),
     .preset = "off",
     .reloadable = true,
     .help = "mode ttl: how much longer it is given while one execution refreshes it."},
    {.name = "tier",
     .kind = SETTING_CHOICE,
     AT(cache_rule, tier),
     .choices = tiers,
     .preset = "memory",
     .reloadable = true,
     .help =
         "mode ttl: where answers are stored. redis: in memory and in `cache_redis`, where other "
         "daemons find them."},
    {.name = "max_result",
     .kind = SETTING_BYTES,
     AT(cache_rule, result_max),
     RANGE(KIB(1), GIB(1)),
     .preset = "1MiB",
     .reloadable = true,
     .help = "Longer answers are not stored, and clients that come later do not share them."},
    {.name = "adaptive",
     .kind = SETTING_SWITCH,
     AT(cache_rule, adaptive),
     .preset = "yes",
     .reloadable = true,
     .help = "mode strict: whether the rule rests for some seconds, up to a minute, when its "
             "answers cost the server more than they save."},
    {.name = "tag",
     .kind = SETTING_TEXT,
     AT(cache_rule, tag),
     RANGE(1, 64),
     .reloadable = true,
     .help = "A word by which CACHE FLUSH finds the rule's answers."},
    {.name = NULL},
};

const struct setting config_warm_rows[] = {
    {.name = "text",
     .kind = SETTING_TEXT,
     AT(cache_warm, text),
     RANGE(1, 65535),
     .required = true,
     .reloadable = true,
     .help = "The statement, as clients send it in a simple query, byte by byte."},
    {.name = "user",
     .kind = SETTING_TEXT,
     AT(cache_warm, user),
     RANGE(1, NAME_BYTES_MAX),
     .reloadable = true,
     .help = "The user whose clients ask for it. Default: that of the route."},
    {.name = "database",
     .kind = SETTING_TEXT,
     AT(cache_warm, database),
     RANGE(1, NAME_BYTES_MAX),
     .reloadable = true,
     .help = "The database that they ask for. Default: that of the route."},
    {.name = "options",
     .kind = SETTING_TEXT,
     AT(cache_warm, options),
     RANGE(1, 4096),
     .reloadable = true,
     .help = "The session parameters that these clients set, as `options` of a connection string: "
             "-c TimeZone=UTC. Values that are the servers' defaults need not be named."},
    {.name = NULL},
};
