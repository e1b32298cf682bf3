/*
 * console_set.c - parses SET and RESET on the console.  Settings of the configuration file change
 * until the next reload, PostgreSQL parameters that drivers set are accepted and ignored, all
 * others are errors.
 */
#include "admin/console_parts.h"
#include "base/settings.h"

#include <ctype.h>
#include <stdio.h>

/* Maximum edit distance of a name that is suggested. */
#define MISSPELT_MAX 2u
/* Number of keys searched for a suggestion; a file may have very many routes. */
#define SUGGESTED_AMONG 10000u

/* Parameters that drivers and tools set, in addition to those of console_settings. */
static const char *const accepted[] = {
    "bytea_output",
    "check_function_bodies",
    "client_min_messages",
    "default_transaction_deferrable",
    "escape_string_warning",
    "geqo",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "jit",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "plan_cache_mode",
    "quote_all_identifiers",
    "row_security",
    "session_replication_role",
    "synchronize_seqscans",
    "tcp_user_timeout",
    "transaction_deferrable",
    "transaction_timeout",
    "work_mem",
    "xmloption",
};

/* --- the key ---------------------------------------------------------------------------------- */

/* The tokens that follow SET or RESET. */
struct set {
    struct console_token key;
    struct console_token next; /* the token after the key */
    bool scoped;               /* SESSION or LOCAL precedes the key */
};

static fault set_read(struct span *rest, struct set *ret)
{
    struct console_token word;
    ret->scoped = false;
    TRY(console_token(rest, &word)); /* SET, RESET */
    TRY(console_token(rest, &ret->key));
    TRY(console_token(rest, &ret->next));
    bool scope = console_token_is(&ret->key, "SESSION") || console_token_is(&ret->key, "LOCAL");
    if (!scope || (ret->next.kind != TOKEN_WORD && ret->next.kind != TOKEN_NAME) ||
        console_token_is(&ret->next, "TO"))
        return OK;
    ret->scoped = true;
    ret->key = ret->next;
    return console_token(rest, &ret->next);
}

static const struct config_row *row_find(const struct config *config, const char *key)
{
    for (size_t i = 0; key[0] != '\0' && i < config->row_count; i++)
        if (strcasecmp(key, config->rows[i].key) == 0)
            return &config->rows[i];
    return NULL;
}

static bool is_parameter(const char *name)
{
    for (size_t i = 0; i < console_setting_count; i++)
        if (strcasecmp(name, console_settings[i].name) == 0)
            return true;
    for (size_t i = 0; i < ARRAY_SIZE(accepted); i++)
        if (strcasecmp(name, accepted[i]) == 0)
            return true;
    return false;
}

/* Recognizes forms without a parameter name: SET TIME ZONE, SET NAMES, SET SESSION CHARACTERISTICS
 * and the like. */
static bool is_phrase(const struct set *set)
{
    static const char *const words[] = {"TRANSACTION", "NAMES", "ROLE"};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (console_token_is(&set->key, words[i]))
            return true;
    if (console_token_is(&set->key, "TIME"))
        return console_token_is(&set->next, "ZONE");
    return set->scoped && (console_token_is(&set->key, "CHARACTERISTICS") ||
                           console_token_is(&set->key, "AUTHORIZATION"));
}

/* --- suggestions ------------------------------------------------------------------------------ */

struct nearest {
    char name[CONSOLE_TEXT_MAX]; /* in lower case */
    unsigned distance;
    const char *key; /* NULL: no known name is similar */
};

static void nearest_try(struct nearest *nearest, const char *known, const char *key)
{
    struct span name = span_text(nearest->name), other = span_text(known);
    size_t apart = name.size > other.size ? name.size - other.size : other.size - name.size;
    if (apart >= nearest->distance)
        return;
    unsigned distance = setting_distance(name, other, nearest->distance);
    if (distance >= nearest->distance)
        return;
    nearest->distance = distance;
    nearest->key = key;
}

/* Raises 42704 with the most similar key.  A key's last part alone is compared, too: `pool_size`
 * suggests `routes[0].pool_size`. */
static fault unknown_key(const struct config *config, const char *key)
{
    struct nearest nearest = {.distance = strlen(key) < 4 ? 2 : MISSPELT_MAX + 1};
    for (size_t i = 0; key[i] != '\0'; i++)
        nearest.name[i] = (char)tolower((unsigned char)key[i]);
    size_t count = MIN_OF(config->row_count, (size_t)SUGGESTED_AMONG);
    for (size_t i = 0; i < count; i++)
        nearest_try(&nearest, config->rows[i].key, config->rows[i].key);
    for (size_t i = 0; i < count; i++) {
        const char *last = strrchr(config->rows[i].key, '.');
        if (last != NULL)
            nearest_try(&nearest, last + 1, config->rows[i].key);
    }
    for (size_t i = 0; i < console_setting_count; i++)
        nearest_try(&nearest, console_settings[i].name, console_settings[i].name);
    for (size_t i = 0; i < ARRAY_SIZE(accepted); i++)
        nearest_try(&nearest, accepted[i], accepted[i]);
    if (nearest.key == NULL)
        return fault_raise_state(FAULT_SYNTAX, "42704", "there is no setting \"%s\"", key);
    return fault_raise_state(FAULT_SYNTAX, "42704",
                             "there is no setting \"%s\"; did you mean \"%s\"?", key, nearest.key);
}

/* --- statements ------------------------------------------------------------------------------- */

static const struct console_command *command_set(void)
{
    size_t at = 0;
    while (console_commands[at].run != console_set)
        at++;
    return &console_commands[at];
}

static bool is_assignment(const struct console_token *token)
{
    return console_token_is(token, "=") || console_token_is(token, "TO");
}

static fault set_row(struct span rest, const struct set *set, const struct config_row *row,
                     struct console_call *call)
{
    struct console_token token;
    if (!row->reloadable)
        return fault_raise(FAULT_UNSUPPORTED, "setting \"%s\" cannot be changed without a restart",
                           row->key);
    if (set->scoped)
        return fault_raise(FAULT_UNSUPPORTED,
                           "setting \"%s\" applies to all sessions; use SET %s = value", row->key,
                           row->key);
    call->command = command_set();
    snprintf(call->argument, sizeof(call->argument), "%s", row->key);
    TRY(console_token(&rest, &token));
    if (!is_assignment(&set->next) || token.kind == TOKEN_END || token.kind == TOKEN_SIGN)
        return fault_raise(FAULT_SYNTAX, "SET %s needs a value: SET %s = value", row->key,
                           row->key);
    memcpy(call->value, token.text, sizeof(call->value));
    TRY(console_token(&rest, &token));
    return token.kind == TOKEN_END
               ? OK
               : fault_raise(FAULT_SYNTAX,
                             "syntax error at \"%s\": expected one value after SET %s", token.text,
                             row->key);
}

fault console_understand_set(struct span statement, const struct config *config,
                             struct console_call *ret)
{
    struct set set;
    struct console_token word;
    struct span rest = statement;
    TRY(console_token(&statement, &word));
    bool resets = console_token_is(&word, "RESET");
    TRY(set_read(&rest, &set));
    const struct config_row *row = row_find(config, set.key.text);
    if (row != NULL && resets)
        return fault_raise(FAULT_UNSUPPORTED,
                           "setting \"%s\" cannot be reset alone; RELOAD restores all settings",
                           row->key);
    if (row != NULL)
        return set_row(rest, &set, row, ret);
    if (is_phrase(&set) || (resets && console_token_is(&set.key, "ALL")))
        return OK;
    if (set.key.kind != TOKEN_WORD && set.key.kind != TOKEN_NAME)
        return fault_raise(FAULT_SYNTAX, "%s needs the name of a setting", word.text);
    if (!is_parameter(set.key.text))
        return unknown_key(config, set.key.text);
    if (resets || is_assignment(&set.next))
        return OK;
    return fault_raise(FAULT_SYNTAX, "SET %s needs a value: SET %s = value", set.key.text,
                       set.key.text);
}
