/*
 * console_explain.c - CACHE EXPLAIN: which rule is for a statement, what its text says, and what
 * the catalog says.
 *
 * The text is analyzed on an offload thread.  What its names denote stands in the catalog of a
 * database, for one role: a session of the daemon itself asks for it.
 */
#include "admin/console_parts.h"
#include "config/cache_rules.h"
#include "machine/clock.h"
#include "query/analysis.h"
#include "relay/flight/flight_analyze.h"
#include "relay/flight/flight_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ANALYSIS_MAX sec(10)
#define CATALOG_MAX  sec(10)
#define LIST_MAX     ((size_t)32 * 1024)

static const struct console_column explain_columns[] = {
    {"item", COLUMN_TEXT, "what the row is about"},
    {"value", COLUMN_TEXT, "what is known of it"},
};
const struct console_view console_view_cache_explain = CONSOLE_VIEW(explain_columns);

void console_write_item(struct table_sink *sink, const char *item, const char *value)
{
    table_text(sink, item);
    table_text(sink, value);
    table_end_row(sink);
}

/* --- what the text says ----------------------------------------------------------------------- */

void console_put_object(struct buffer *out, const struct query_object *object)
{
    if (out->size > 0)
        buffer_append_text(out, ", ");
    if (object->schema.size > 0)
        buffer_printf(out, "%.*s.", SPAN_ARG(object->schema));
    buffer_append_span(out, object->name);
}

void console_write_list(struct table_sink *sink, const char *item, struct buffer *list)
{
    if (list->size > 0) {
        table_text(sink, item);
        table_span(sink, buffer_span(list));
        table_end_row(sink);
    }
    buffer_clear(list);
}

static void write_names(struct table_sink *sink, const struct query_analysis *analysis)
{
    struct buffer list = BUFFER_INIT(LIST_MAX);
    for (uint16_t i = 0; i < analysis->reads_count; i++)
        console_put_object(&list, &analysis->reads[i].is);
    console_write_list(sink, "reads", &list);
    for (uint16_t i = 0; i < analysis->writes_count; i++)
        console_put_object(&list, &analysis->writes[i].is);
    console_write_list(sink, "writes", &list);
    for (uint16_t i = 0; i < analysis->functions_count; i++)
        console_put_object(&list, &analysis->functions[i].is);
    console_write_list(sink, "calls", &list);
    buffer_fini(&list);
}

static void write_text(struct table_sink *sink, const struct query_analysis *analysis)
{
    char fingerprint[17], why[256];
    enum query_reason reason = query_analysis_reason(analysis);
    snprintf(fingerprint, sizeof(fingerprint), "%016" PRIx64, analysis->fingerprint);
    console_write_item(sink, "fingerprint", fingerprint);
    write_names(sink, analysis);
    if (reason == QUERY_REASONS) {
        console_write_item(sink, "text", "a candidate; the catalog decides");
        return;
    }
    snprintf(why, sizeof(why), "not shared: %s (%s)", query_reason_text(reason),
             query_reason_word(reason));
    console_write_item(sink, "text", why);
}

/* --- what the catalog says -------------------------------------------------------------------- */

static void put_relations(struct buffer *out, const struct verdict *verdict)
{
    for (uint32_t i = 0; i < verdict->reads_count; i++) {
        const struct verdict_relation *relation = &verdict->reads[i];
        buffer_printf(out, "%s%.*s.%.*s%s", i > 0 ? ", " : "", SPAN_ARG(relation->schema),
                      SPAN_ARG(relation->name), relation->stored ? "" : " (view)");
    }
}

static void put_key(struct buffer *out, const struct verdict *verdict)
{
    for (uint32_t i = 0; i < verdict->keys_count; i++) {
        const struct verdict_key *key = &verdict->keys[i];
        buffer_printf(out, "%s%.*s = ", i > 0 ? ", " : "", SPAN_ARG(key->name));
        if (key->parameter > 0)
            buffer_printf(out, "$%u", key->parameter);
        else
            buffer_printf(out, "'%.*s'", SPAN_ARG(key->literal));
    }
}

static void write_verdict(struct table_sink *sink, const struct verdict *verdict)
{
    struct buffer list = BUFFER_INIT(LIST_MAX);
    if (verdict->reason == VERDICT_REASONS)
        buffer_append_text(&list, "may be shared");
    else
        buffer_printf(&list, "not shared: %s (%s)%s%.*s", verdict_reason_text(verdict->reason),
                      verdict_reason_word(verdict->reason), verdict->because.size > 0 ? ": " : "",
                      SPAN_ARG(verdict->because));
    console_write_list(sink, "verdict", &list);
    put_relations(&list, verdict);
    console_write_list(sink, "tables", &list);
    put_key(&list, verdict);
    console_write_list(sink, "key", &list);
    buffer_fini(&list);
}

static void write_unasked(struct table_sink *sink, const char *why)
{
    char value[320];
    snprintf(value, sizeof(value), "not asked: %s", why);
    console_write_item(sink, "catalog", value);
}

static fault ask(struct console *console, struct span database, struct span user, struct span text,
                 struct verdict **ret)
{
    struct flight_model *model = malloc(sizeof(*model));
    if (model == NULL)
        return FAULT_MEMORY;
    fault asked =
        flight_model_open(console->client->relay, database, user, after(CATALOG_MAX), model);
    if (asked == OK) {
        asked = flight_model_judge(model, text, ret);
        flight_model_close(model);
    }
    free(model);
    return asked;
}

static fault write_catalog(struct console *console, struct table_sink *sink, struct span database,
                           struct span user, struct span text)
{
    char account[320];
    struct verdict *verdict = NULL;
    fault asked = ask(console, database, user, text, &verdict);
    if (asked == FAULT_CANCELLED)
        return asked;
    if (asked != OK) {
        write_unasked(sink, fault_detail(asked));
        return OK;
    }
    snprintf(account, sizeof(account), "of database \"%.*s\", asked as user \"%.*s\"",
             SPAN_ARG(database), SPAN_ARG(user));
    console_write_item(sink, "catalog", account);
    write_verdict(sink, verdict);
    verdict_unref(&verdict);
    return OK;
}

/* Splits "user@database" at its last @. */
static fault read_account(struct span account, struct span *user, struct span *database)
{
    for (size_t at = account.size; at-- > 0;) {
        if (account.at[at] != '@')
            continue;
        *user = span_of(account.at, at);
        *database = span_skip(account, at + 1);
        if (user->size > 0 && database->size > 0)
            return OK;
        break;
    }
    return fault_raise(FAULT_SYNTAX, "FOR needs a user and a database: FOR user@database");
}

/* --- the rules -------------------------------------------------------------------------------- */

/* Returns whether a rule of the route is for the statement. */
static bool write_rule(struct table_sink *sink, const struct route_config *route, struct span text,
                       const struct query_analysis *analysis)
{
    char item[64], value[160];
    size_t number = 0;
    snprintf(item, sizeof(item), "route %u", route->line);
    if (cache_rules_choose(&route->cache, text, analysis, &number) != CACHE_CHOICE_RULE) {
        console_write_item(sink, item, "no rule matches: each client executes the statement");
        return false;
    }
    struct cache_rule rule = route->cache.rules[number];
    if (route->cache.hints)
        cache_rules_hint(text, &rule);
    if (rule.mode == CACHE_TTL)
        snprintf(value, sizeof(value), "rule %zu, mode ttl, ttl %" PRId64 " ms", number + 1,
                 rule.ttl.us / 1000);
    else if (rule.mode == CACHE_SHADOW)
        snprintf(value, sizeof(value), "rule %zu, mode shadow of %s", number + 1,
                 cache_rules_mode_text(rule.of));
    else
        snprintf(value, sizeof(value), "rule %zu, mode %s", number + 1,
                 cache_rules_mode_text(rule.mode));
    console_write_item(sink, item, value);
    return true;
}

/* Writes the rules; returns the first route that has one for the statement. */
static const struct route_config *write_rules(struct table_sink *sink, const struct config *config,
                                              struct span text,
                                              const struct query_analysis *analysis)
{
    const struct route_config *first = NULL;
    for (size_t i = 0; i < config->route_count; i++) {
        const struct route_config *route = &config->routes[i];
        if (route->cache.rule_count > 0 && !route->is_reads && !route->is_targeted &&
            !route->is_replication && write_rule(sink, route, text, analysis) && first == NULL)
            first = route;
    }
    return first;
}

/* Asks the catalog, as the user that FOR names, or that the route names. */
static fault write_asked(struct console *console, struct table_sink *sink,
                         const struct route_config *route, struct span text)
{
    struct span user = SPAN_NONE, database = SPAN_NONE;
    if (console->call->value[0] != '\0') {
        TRY(read_account(span_text(console->call->value), &user, &database));
    } else if (route == NULL) {
        write_unasked(sink, "no rule is for the statement");
        return OK;
    } else if (route->user == NULL || route->database == NULL) {
        write_unasked(sink, "the route is for several users or databases; say FOR user@database");
        return OK;
    } else {
        user = span_text(route->user);
        database = span_text(route->database);
    }
    return write_catalog(console, sink, database, user, text);
}

fault console_cache_explain(struct console *console, struct console_result *result)
{
    struct span text = span_text(console->call->argument);
    struct query_analysis *analysis = NULL;
    TRY(flight_analyze(text, after(ANALYSIS_MAX), &analysis));
    const struct route_config *route = write_rules(&result->sink, console->config, text, analysis);
    write_text(&result->sink, analysis);
    query_analysis_free(&analysis);
    return write_asked(console, &result->sink, route, text);
}
