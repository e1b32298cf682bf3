/* options.c - reads the `options` startup parameter as pg_split_opts() and
 * process_postgres_switches() do. */
#include "wire/startup.h"

/* --- words ------------------------------------------------------------------------------------ */

struct option_words {
    struct span rest;
    uint8_t *scratch; /* never overtakes `rest`: unescaping only shortens */
};

/* isspace() in the C locale, whatever the locale of the process. */
static bool option_is_blank(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Takes the next word, unescaped; false at the end.  A lone backslash at the end makes an empty
 * word, as in PostgreSQL. */
static bool option_next_word(struct option_words *words, struct span *ret)
{
    struct span rest = words->rest;
    while (rest.size > 0 && option_is_blank(rest.at[0]))
        rest = span_skip(rest, 1);
    if (rest.size == 0)
        return false;
    uint8_t *word = words->scratch;
    bool escaped = false;
    for (; rest.size > 0 && (escaped || !option_is_blank(rest.at[0])); rest = span_skip(rest, 1)) {
        escaped = !escaped && rest.at[0] == '\\';
        if (!escaped)
            *words->scratch++ = rest.at[0];
    }
    words->rest = rest;
    *ret = span_of(word, (size_t)(words->scratch - word));
    return true;
}

/* --- switches --------------------------------------------------------------------------------- */

/* Forms of a switch: what follows its letter. */
enum option_form {
    OPTION_NONE, /* not a switch of PostgreSQL */
    OPTION_BARE,
    OPTION_VALUE,   /* the setting's value */
    OPTION_SETTING, /* name=value */
    OPTION_DEBUG,   /* a level */
    OPTION_PLANS,   /* a letter: the kind of plan to disable */
    OPTION_STATS,   /* a word: whose statistics to log */
};

/* PostgreSQL's switches.  A switch without a setting is accepted and ignored, as in a backend under
 * a postmaster. */
static const struct option_switch {
    enum option_form form;
    const char *name;
    const char *value; /* of a bare switch */
} option_switches[128] = {
    ['B'] = {OPTION_VALUE, "shared_buffers", NULL},
    ['C'] = {OPTION_VALUE, NULL, NULL},
    ['D'] = {OPTION_VALUE, NULL, NULL},
    ['E'] = {OPTION_BARE, NULL, NULL},
    ['F'] = {OPTION_BARE, "fsync", "false"},
    ['N'] = {OPTION_VALUE, "max_connections", NULL},
    ['O'] = {OPTION_BARE, "allow_system_table_mods", "true"},
    ['P'] = {OPTION_BARE, "ignore_system_indexes", "true"},
    ['S'] = {OPTION_VALUE, "work_mem", NULL},
    ['T'] = {OPTION_BARE, NULL, NULL},
    ['W'] = {OPTION_VALUE, "post_auth_delay", NULL},
    ['b'] = {OPTION_BARE, NULL, NULL},
    ['c'] = {OPTION_SETTING, NULL, NULL},
    ['-'] = {OPTION_SETTING, NULL, NULL},
    ['d'] = {OPTION_DEBUG, NULL, NULL},
    ['e'] = {OPTION_BARE, "datestyle", "euro"},
    ['f'] = {OPTION_PLANS, NULL, NULL},
    ['h'] = {OPTION_VALUE, "listen_addresses", NULL},
    ['i'] = {OPTION_BARE, "listen_addresses", "*"},
    ['j'] = {OPTION_BARE, NULL, NULL},
    ['k'] = {OPTION_VALUE, "unix_socket_directories", NULL},
    ['l'] = {OPTION_BARE, "ssl", "true"},
    ['n'] = {OPTION_BARE, NULL, NULL},
    ['p'] = {OPTION_VALUE, "port", NULL},
    ['r'] = {OPTION_VALUE, NULL, NULL},
    ['s'] = {OPTION_BARE, "log_statement_stats", "true"},
    ['t'] = {OPTION_STATS, NULL, NULL},
    ['v'] = {OPTION_VALUE, NULL, NULL},
};

/* The callback for each setting. */
struct option_sink {
    fault (*each)(void *argument, struct span name, struct span value);
    void *argument;
};

static fault option_set(const struct option_sink *sink, const char *name, const char *value)
{
    return sink->each(sink->argument, span_text(name), span_text(value));
}

/* Passes on "name=value".  `setting` lies in the scratch bytes, where dashes can be replaced. */
static fault option_setting(const struct option_sink *sink, struct span setting)
{
    const uint8_t *equals = setting.size == 0 ? NULL : memchr(setting.at, '=', setting.size);
    if (equals == NULL || equals == setting.at)
        return FAULT_PROTOCOL;
    struct span name = span_of(setting.at, (size_t)(equals - setting.at));
    uint8_t *letters = (uint8_t *)(uintptr_t)name.at;
    for (size_t i = 0; i < name.size; i++)
        if (letters[i] == '-')
            letters[i] = '_';
    return sink->each(sink->argument, name, span_skip(setting, name.size + 1));
}

/* Reads a level as atoi() does, but stops at 10: all levels from 10 on mean the same. */
static unsigned option_level(struct span text)
{
    while (text.size > 0 && option_is_blank(text.at[0]))
        text = span_skip(text, 1);
    if (text.size > 0 && text.at[0] == '+')
        text = span_skip(text, 1);
    unsigned level = 0;
    for (; text.size > 0 && text.at[0] >= '0' && text.at[0] <= '9'; text = span_skip(text, 1))
        level = MIN_OF(level * 10 + (text.at[0] - '0'), 10U);
    return level;
}

/* Does what set_debug_options() does.  Passes on levels that log_min_messages does not have: the
 * server rejects them. */
static fault option_debug(const struct option_sink *sink, struct span text)
{
    static const char *const levels[] = {"notice", "debug1", "debug2",
                                         "debug3", "debug4", "debug5"};
    static const struct {
        const char *name;
        const char *value;
    } more[] = {{"log_statement", "all"},
                {"debug_print_parse", "true"},
                {"debug_print_plan", "true"},
                {"debug_print_rewritten", "true"}};
    unsigned level = option_level(text);
    if (level >= ARRAY_SIZE(levels))
        return sink->each(sink->argument, SPAN("log_min_messages"), text);
    TRY(option_set(sink, "log_min_messages", levels[level]));
    for (size_t i = 0; i < ARRAY_SIZE(more) && i + 2 <= level; i++)
        TRY(option_set(sink, more[i].name, more[i].value));
    return OK;
}

/* Does what set_plan_disabling_options() does: only the first letter counts. */
static fault option_plans(const struct option_sink *sink, struct span text)
{
    static const char *const names[128] = {
        ['s'] = "enable_seqscan",    ['i'] = "enable_indexscan", ['o'] = "enable_indexonlyscan",
        ['b'] = "enable_bitmapscan", ['t'] = "enable_tidscan",   ['n'] = "enable_nestloop",
        ['m'] = "enable_mergejoin",  ['h'] = "enable_hashjoin",
    };
    const char *name = text.size == 0 || text.at[0] > 127 ? NULL : names[text.at[0]];
    return name == NULL ? FAULT_PROTOCOL : option_set(sink, name, "false");
}

/* Does what get_stats_option_name() does. */
static fault option_stats(const struct option_sink *sink, struct span text)
{
    if (span_starts(text, SPAN("pa")))
        return option_set(sink, "log_parser_stats", "true");
    if (span_starts(text, SPAN("pl")))
        return option_set(sink, "log_planner_stats", "true");
    if (span_starts(text, SPAN("e")))
        return option_set(sink, "log_executor_stats", "true");
    return FAULT_PROTOCOL;
}

static fault option_apply(const struct option_sink *sink, const struct option_switch *which,
                          struct span value)
{
    switch (which->form) {
    case OPTION_SETTING:
        return option_setting(sink, value);
    case OPTION_DEBUG:
        return option_debug(sink, value);
    case OPTION_PLANS:
        return option_plans(sink, value);
    case OPTION_STATS:
        return option_stats(sink, value);
    default:
        return which->name == NULL ? OK : sink->each(sink->argument, span_text(which->name), value);
    }
}

/* Applies a word of switches: any number of bare switches, then perhaps a switch with a value.  The
 * value is the rest of the word or, if nothing is left, the next word. */
static fault option_cluster(struct option_words *words, const struct option_sink *sink,
                            struct span word)
{
    while (word.size > 0) {
        uint8_t letter = word.at[0];
        static const struct option_switch none = {OPTION_NONE, NULL, NULL};
        const struct option_switch *which = letter < 128 ? &option_switches[letter] : &none;
        word = span_skip(word, 1);
        if (which->form == OPTION_NONE)
            return FAULT_PROTOCOL;
        if (which->form == OPTION_BARE) {
            TRY(option_apply(sink, which, span_text(which->value)));
            continue;
        }
        if (word.size == 0 && !option_next_word(words, &word))
            return FAULT_PROTOCOL;
        return option_apply(sink, which, word);
    }
    return OK;
}

fault wire_read_options(struct span options, uint8_t *scratch,
                        fault (*each)(void *argument, struct span name, struct span value),
                        void *argument, struct span *ret_wrong)
{
    struct option_words words = {.rest = options, .scratch = scratch};
    struct option_sink sink = {each, argument};
    struct span word;
    while (option_next_word(&words, &word)) {
        *ret_wrong = word;
        /* A bare "--" ends the options, after which PostgreSQL accepts nothing at all. */
        if (span_is(word, "--"))
            return option_next_word(&words, ret_wrong) ? FAULT_PROTOCOL : OK;
        if (word.size < 2 || word.at[0] != '-')
            return FAULT_PROTOCOL;
        TRY(option_cluster(&words, &sink, span_skip(word, 1)));
    }
    return OK;
}
