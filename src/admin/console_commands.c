/*
 * The commands as rows, and what is accepted only because drivers say it.
 */
#include "admin/console_parts.h"
#include "pooler/router.h"

#include <stdio.h>

/* --- small answers
 * --------------------------------------------------------------------------------- */

static const struct console_column version_columns[] = {
    {"version", COLUMN_TEXT, "name and version of the program"},
};
static const struct console_view version_view = CONSOLE_VIEW(version_columns);

static fault show_version(struct console *console, struct console_result *result)
{
    table_text(&result->sink, "Trunkline " TRUNKLINE_VERSION);
    table_end_row(&result->sink);
    return OK;
}

static const struct console_column help_columns[] = {
    {"command", COLUMN_TEXT, "what to type"},
    {"help", COLUMN_TEXT, "what it does"},
};
static const struct console_view help_view = CONSOLE_VIEW(help_columns);

static fault show_help(struct console *console, struct console_result *result)
{
    for (size_t i = 0; i < console_command_count; i++) {
        table_text(&result->sink, console_commands[i].words);
        table_text(&result->sink, console_commands[i].help);
        table_end_row(&result->sink);
    }
    return OK;
}

static const struct console_column config_columns[] = {
    {"key", COLUMN_TEXT, "path of the setting in the file"},
    {"value", COLUMN_TEXT, "in force"},
    {"default", COLUMN_TEXT, "what holds where the file says nothing"},
    {"changeable", COLUMN_TEXT, "`yes`: a reload changes it; `no`: a restart does"},
};
static const struct console_view config_view = CONSOLE_VIEW(config_columns);

static fault show_config(struct console *console, struct console_result *result)
{
    const struct config *config = console->config;
    for (size_t i = 0; i < config->row_count; i++) {
        const struct config_row *row = &config->rows[i];
        table_text(&result->sink, row->key);
        table_text(&result->sink, row->value);
        table_text(&result->sink, row->preset);
        table_text(&result->sink, row->reloadable ? "yes" : "no");
        table_end_row(&result->sink);
    }
    return OK;
}

static const struct console_column backends_columns[] = {
    {"service", COLUMN_TEXT, "the service whose backend it is"},
    {"host", COLUMN_TEXT, "as configured"},
    {"addr", COLUMN_TEXT, "address and port"},
    {"role", COLUMN_TEXT, "`primary`, `replica` or `unknown`"},
    {"state", COLUMN_TEXT, "whether logins are tried"},
    {"slots", COLUMN_INT4, "of all pools, logins included"},
    {"logins", COLUMN_INT4, "under way"},
    {"failures", COLUMN_INT8, "failed logins in a row"},
    {"retry_in_ms", COLUMN_INT8, "until the next try"},
};
static const struct console_view backends_view = CONSOLE_VIEW(backends_columns);

/* What they are is known on the pooler machine alone: the look that comes with no relay. */
struct backends_look {
    struct router *router;
    struct table_sink *sink;
};

static void look_at_backends(struct relay *relay, void *argument)
{
    struct backends_look *look = argument;
    if (relay == NULL)
        router_show_backends(look->router, look->sink);
}

static fault show_backends(struct console *console, struct console_result *result)
{
    struct backends_look look = {pooler_router(console->pooler), &result->sink};
    pooler_look(console->pooler, look_at_backends, &look);
    return OK;
}

/* --- the table
 * ---------------------------------------------------------------------------------------- */

#define SHOW .tag = "SHOW"

const struct console_command console_commands[] = {
    {"SHOW BACKENDS", "One row per backend of every service.", &backends_view, show_backends, SHOW},
    {"SHOW CLIENTS", "One row per client that has logged in or waits for a server to do so.",
     &console_view_connections, console_show_clients, SHOW},
    {"SHOW CONFIG", "Every setting of the configuration in force.", &config_view, show_config,
     SHOW},
    {"SHOW DATABASES", "One row per database that routes name, with the settings of the first.",
     &console_view_databases, console_show_databases, SHOW},
    {"SHOW HELP", "This list.", &help_view, show_help, SHOW},
    {"SHOW LISTS", "How many of what there are.", &console_view_lists, console_show_lists, SHOW},
    {"SHOW POOLS", "One row per database and user: clients, servers, and the longest wait.",
     &console_view_pools, console_show_pools, SHOW},
    {"SHOW RELAYS", "One row per worker thread.", &console_view_relays, console_show_relays, SHOW},
    {"SHOW ROUTES", "One row per route, and one per obsolete route that still has clients.",
     &console_view_routes, console_show_routes, SHOW},
    {"SHOW SERVERS", "One row per connection to a backend.", &console_view_connections,
     console_show_servers, SHOW},
    {"SHOW STATS", "Per database: totals since the start, and recent averages per second.",
     &console_view_stats, console_show_stats, SHOW},
    {"SHOW STATS_AVERAGES", "The averages of SHOW STATS.", &console_view_stats_averages,
     console_show_stats_averages, SHOW},
    {"SHOW STATS_TOTALS", "The totals of SHOW STATS.", &console_view_stats_totals,
     console_show_stats_totals, SHOW},
    {"SHOW TOTALS", "SHOW STATS over all databases, one row per number.", &console_view_totals,
     console_show_totals, SHOW},
    {"SHOW VERSION", "The version of the program.", &version_view, show_version, SHOW},
    {"RELOAD", "Loads the configuration file again; a file with errors changes nothing.", NULL,
     console_reload, .tag = "RELOAD"},
};
const size_t console_command_count = ARRAY_SIZE(console_commands);

/* --- what drivers say
 * --------------------------------------------------------------------------------- */

static const struct console_column one_columns[] = {{"?column?", COLUMN_INT4, ""}};
static const struct console_view one_view = CONSOLE_VIEW(one_columns);

static fault select_one(struct console *console, struct console_result *result)
{
    table_int(&result->sink, 1);
    table_end_row(&result->sink);
    return OK;
}

/* Accepted with whatever follows these words; they change nothing. */
static const struct console_command chatter[] = {
    {"BEGIN", "", NULL, NULL, .tag = "BEGIN", .begins = true},
    {"START TRANSACTION", "", NULL, NULL, .tag = "START TRANSACTION", .begins = true},
    {"COMMIT", "", NULL, NULL, .tag = "COMMIT", .ends = true},
    {"END", "", NULL, NULL, .tag = "COMMIT", .ends = true},
    {"ROLLBACK", "", NULL, NULL, .tag = "ROLLBACK", .ends = true},
    {"ABORT", "", NULL, NULL, .tag = "ROLLBACK", .ends = true},
    {"SET", "", NULL, NULL, .tag = "SET"},
    {"RESET", "", NULL, NULL, .tag = "RESET"},
    {"DISCARD", "", NULL, NULL, .tag = "DISCARD ALL"},
    {"DEALLOCATE", "", NULL, NULL, .tag = "DEALLOCATE"},
};
static const struct console_command pings[] = {
    {"SELECT 1", "", &one_view, select_one, .tag = "SELECT"},
    {"SELECT VERSION()", "", &version_view, show_version, .tag = "SELECT"},
};
static const struct console_command show_setting = {"SHOW", "", NULL, NULL, SHOW};

const struct console_setting console_settings[] = {
    /* Drivers read a number from its beginning: that of a PostgreSQL whose manners the console has.
     */
    {"server_version", "15.0 (Trunkline " TRUNKLINE_VERSION ")", true},
    {"server_encoding", "UTF8", true},
    {"client_encoding", "UTF8", true},
    {"DateStyle", "ISO, MDY", true},
    {"IntervalStyle", "postgres", true},
    {"TimeZone", "UTC", true},
    {"integer_datetimes", "on", true},
    {"standard_conforming_strings", "on", true},
    {"is_superuser", "off", true},
    {"in_hot_standby", "off", true},
    {"default_transaction_read_only", "off", true},
    {"default_transaction_isolation", "read committed", false},
    {"transaction_isolation", "read committed", false},
    {"transaction_read_only", "off", false},
    {"extra_float_digits", "1", false},
    {"search_path", "", false},
    {"server_version_num", "150000", false},
};
const size_t console_setting_count = ARRAY_SIZE(console_settings);

/* --- understanding
 * --------------------------------------------------------------------------------------- */

/* The words that follow `first` in `words`; NULL when they begin otherwise. */
static const char *words_behind(const char *words, const char *first)
{
    size_t size = strlen(first);
    if (strncmp(words, first, size) != 0 || (words[size] != ' ' && words[size] != '\0'))
        return NULL;
    return words[size] == ' ' ? words + size + 1 : words + size;
}

static const struct console_command *command_find(const char *words)
{
    for (size_t i = 0; i < console_command_count; i++)
        if (strcmp(words, console_commands[i].words) == 0)
            return &console_commands[i];
    for (size_t i = 0; i < ARRAY_SIZE(pings); i++)
        if (strcmp(words, pings[i].words) == 0)
            return &pings[i];
    for (size_t i = 0; i < ARRAY_SIZE(chatter); i++)
        if (words_behind(words, chatter[i].words) != NULL)
            return &chatter[i];
    return NULL;
}

static const struct console_setting *setting_find(const char *name)
{
    for (size_t i = 0; i < console_setting_count; i++)
        if (strcasecmp(name, console_settings[i].name) == 0)
            return &console_settings[i];
    return NULL;
}

/* SET of what only the file can change must not look as if it had worked. */
static fault check_set(const char *words, const struct config *config)
{
    const char *name = words_behind(words, "SET");
    size_t size = name == NULL ? 0 : strcspn(name, " =");
    for (size_t i = 0; size > 0 && i < config->row_count; i++)
        if (span_is_nocase(span_of(name, size), config->rows[i].key))
            return fault_raise(FAULT_UNSUPPORTED,
                               "\"%s\" is set in the configuration file, then RELOAD",
                               config->rows[i].key);
    return OK;
}

fault console_understand(struct span statement, const struct config *config,
                         struct console_call *ret)
{
    char words[CONSOLE_WORDS_MOST];
    *ret = (struct console_call){.command = NULL};
    TRY(console_words(statement, words));
    if (words[0] == '\0')
        return OK;
    TRY(check_set(words, config));
    ret->command = command_find(words);
    if (ret->command != NULL)
        return OK;
    const char *name = words_behind(words, "SHOW");
    ret->setting = name == NULL ? NULL : setting_find(name);
    if (ret->setting == NULL)
        return fault_raise(FAULT_SYNTAX, "unknown command \"%.*s\"",
                           (int)MIN_OF(statement.size, 100), (const char *)statement.at);
    ret->command = &show_setting;
    ret->setting_column = (struct console_column){ret->setting->name, COLUMN_TEXT, ""};
    return OK;
}

const struct console_column *console_call_columns(const struct console_call *call,
                                                  size_t *ret_count)
{
    const struct console_view *view = call->command == NULL ? NULL : call->command->view;
    if (call->setting != NULL) {
        *ret_count = 1;
        return &call->setting_column;
    }
    *ret_count = view == NULL ? 0 : view->count;
    return view == NULL ? NULL : view->columns;
}
