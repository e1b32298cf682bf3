/*
 * console_understand.c - parses a console statement; accepts what drivers send on their own.
 */
#include "admin/console_parts.h"

#include <stdio.h>

/* --- statements of drivers -------------------------------------------------------------------- */

static const struct console_column one_columns[] = {{"?column?", COLUMN_INT4, ""}};
static const struct console_view one_view = CONSOLE_VIEW(one_columns);

static fault select_one(struct console *console, struct console_result *result)
{
    table_int(&result->sink, 1);
    table_end_row(&result->sink);
    return OK;
}

/* Accepted with any text after these words; they change nothing. */
static const struct console_command chatter[] = {
    {.words = "BEGIN", .tag = "BEGIN", .begins = true},
    {.words = "START TRANSACTION", .tag = "START TRANSACTION", .begins = true},
    {.words = "COMMIT", .tag = "COMMIT", .ends = true},
    {.words = "END", .tag = "COMMIT", .ends = true},
    {.words = "ROLLBACK", .tag = "ROLLBACK", .ends = true},
    {.words = "ABORT", .tag = "ROLLBACK", .ends = true},
    {.words = "SET", .tag = "SET"},
    {.words = "RESET", .tag = "RESET"},
    {.words = "DISCARD", .tag = "DISCARD ALL"},
    {.words = "DEALLOCATE", .tag = "DEALLOCATE"},
};
static const struct console_command pings[] = {
    {.words = "SELECT 1", .view = &one_view, .run = select_one, .tag = "SELECT"},
    {.words = "SELECT VERSION()",
     .view = &console_view_version,
     .run = console_show_version,
     .tag = "SELECT"},
};
static const struct console_command show_setting = {.words = "SHOW", .tag = "SHOW"};

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
    {"application_name", "", false},
    {"statement_timeout", "0", false},
    {"lock_timeout", "0", false},
    {"max_identifier_length", "63", false},
    {"session_authorization", "", false},
    {"synchronous_commit", "on", false},
    {"transaction isolation level", "read committed", false},
};
const size_t console_setting_count = ARRAY_SIZE(console_settings);

/* --- understanding ---------------------------------------------------------------------------- */

/* Returns what follows `first` in `words`; NULL if `words` begins otherwise. */
static const char *words_behind(const char *words, const char *first)
{
    size_t size = strlen(first);
    if (strncmp(words, first, size) != 0 || (words[size] != ' ' && words[size] != '\0'))
        return NULL;
    return words[size] == ' ' ? words + size + 1 : words + size;
}

static const struct console_command *command_find(const char *words, bool *ret_chatter)
{
    *ret_chatter = false;
    for (size_t i = 0; i < console_command_count; i++)
        if (words_behind(words, console_commands[i].words) != NULL &&
            console_commands[i].run != console_set)
            return &console_commands[i];
    *ret_chatter = true;
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
    if (strcasecmp(name, "time zone") == 0)
        name = "TimeZone";
    for (size_t i = 0; i < console_setting_count; i++)
        if (strcasecmp(name, console_settings[i].name) == 0)
            return &console_settings[i];
    return NULL;
}

static fault unknown_command(struct span statement)
{
    return fault_raise(FAULT_SYNTAX, "unknown command \"%.*s\"",
                       (int)MIN_OF(statement.size, (size_t)100), (const char *)statement.at);
}

/* Takes the option of a command, with its value, off `rest` if it is there. */
static fault take_option(struct span *rest, struct console_call *call)
{
    const char *option = call->command->option;
    struct span behind = *rest;
    struct console_token token;
    TRY(console_token(&behind, &token));
    if (option == NULL || !console_token_is(&token, option))
        return OK;
    TRY(console_token(&behind, &token));
    if (token.kind == TOKEN_END || token.kind == TOKEN_SIGN)
        return fault_raise(FAULT_SYNTAX, "%s needs a value", option);
    memcpy(call->value, token.text, sizeof(call->value));
    *rest = behind;
    return OK;
}

/* Parses what follows the argument of a command: its option, and conditions of a view. */
static fault understand_option(struct span statement, struct span rest, struct console_call *call)
{
    struct console_token token;
    TRY(take_option(&rest, call));
    if (call->command->view != NULL)
        return console_read_filter(call->command, rest, &call->filter);
    TRY(console_token(&rest, &token));
    return token.kind == TOKEN_END ? OK : unknown_command(statement);
}

/* Parses what follows the words of a command. */
static fault understand_rest(struct span statement, struct console_call *call)
{
    struct span rest = statement;
    struct console_token token = {.kind = TOKEN_WORD};
    size_t words = 1;
    for (const char *at = call->command->words; *at != '\0'; at++)
        words += *at == ' ';
    while (words-- > 0)
        TRY(console_token(&rest, &token));
    bool shows = call->command->view != NULL;
    if (shows && call->command->argument == NULL)
        return console_read_filter(call->command, rest, &call->filter);
    TRY(console_token(&rest, &token));
    if (token.kind == TOKEN_END)
        return OK;
    if (call->command->argument == NULL || token.kind == TOKEN_SIGN || token.text[0] == '\0')
        return unknown_command(statement);
    memcpy(call->argument, token.text, sizeof(call->argument));
    return understand_option(statement, rest, call);
}

/* Checks that a required argument is there; one in brackets is optional. */
static fault check_argument(const struct console_call *call)
{
    const char *argument = call->command->argument;
    if (argument == NULL || argument[0] == '[' || call->argument[0] != '\0')
        return OK;
    return fault_raise(FAULT_SYNTAX, "%s needs an argument: %s %s", call->command->words,
                       call->command->words, argument);
}

fault console_understand(struct span statement, const struct config *config,
                         struct console_call *ret)
{
    char words[CONSOLE_WORDS_MAX];
    bool is_chatter;
    *ret = (struct console_call){.command = NULL};
    TRY(console_words(statement, words));
    if (words[0] == '\0')
        return OK;
    if (words_behind(words, "SET") != NULL ||
        (words_behind(words, "RESET") != NULL && words_behind(words, "RESET STATEMENTS") == NULL)) {
        TRY(console_understand_set(statement, config, ret));
        if (ret->command != NULL)
            return OK;
    }
    ret->command = command_find(words, &is_chatter);
    if (ret->command != NULL && is_chatter)
        return OK;
    if (ret->command != NULL) {
        TRY(understand_rest(statement, ret));
        return check_argument(ret);
    }
    const char *name = words_behind(words, "SHOW");
    ret->setting = name == NULL ? NULL : setting_find(name);
    if (ret->setting == NULL)
        return unknown_command(statement);
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
