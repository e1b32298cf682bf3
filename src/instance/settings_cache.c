/* settings_cache.c - settings of a route: which answers may come from memory. */
#include "instance/settings_rows.h"

static const struct setting_choice modes[] = {
    {"off", CACHE_OFF},
    {"dedupe", CACHE_DEDUPE},
    {"ttl", CACHE_TTL},
    {NULL, 0},
};

const struct setting config_cache_rows[] = {
    {.name = "text",
     .kind = SETTING_TEXT,
     AT(cache_rule, text),
     RANGE(1, 4096),
     .reloadable = true,
     .help = "A pattern, as for LIKE, that the text of a statement has to match; default: any "
             "text."},
    {.name = "mode",
     .kind = SETTING_CHOICE,
     AT(cache_rule, mode),
     .choices = modes,
     .required = true,
     .reloadable = true,
     .help = "off: each statement is executed. dedupe: clients that ask for the same while it is "
             "executed get that answer. ttl: also a stored answer of up to `ttl`. See "
             "docs/flight.md."},
    {.name = "ttl",
     .kind = SETTING_DURATION,
     AT(cache_rule, ttl),
     RANGE(MS(1), DAYS(365)),
     .preset = "1s",
     .reloadable = true,
     .help = "mode ttl: the age up to which a stored answer is given, counted from when its "
             "execution was sent. A random tenth is taken off."},
    {.name = "stale",
     .kind = SETTING_DURATION,
     AT(cache_rule, stale),
     RANGE(MS(1), DAYS(365)),
     OR_ZERO("off"),
     .preset = "off",
     .reloadable = true,
     .help = "mode ttl: how much longer it is given while one execution refreshes it."},
    {.name = "max_result",
     .kind = SETTING_BYTES,
     AT(cache_rule, result_max),
     RANGE(KIB(1), GIB(1)),
     .preset = "1MiB",
     .reloadable = true,
     .help = "Longer answers are not stored, and clients that come later do not share them."},
    {.name = "tag",
     .kind = SETTING_TEXT,
     AT(cache_rule, tag),
     RANGE(1, 64),
     .reloadable = true,
     .help = "A word by which CACHE FLUSH finds the rule's answers."},
    {.name = NULL},
};
