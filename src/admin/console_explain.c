/*
 * console_explain.c - CACHE EXPLAIN: which rule is for a statement, and what its text says.
 *
 * The text is analyzed on an offload thread.  What its names denote stands in the catalog of a
 * database, for one role: that is asked for when a client sends the statement.
 */
#include "admin/console_parts.h"
#include "config/cache_rules.h"
#include "machine/clock.h"
#include "query/analysis.h"
#include "relay/flight/flight_analyze.h"

#include <inttypes.h>
#include <stdio.h>

#define ANALYSIS_MAX sec(10)
#define LIST_MAX     ((size_t)32 * 1024)

static const struct console_column explain_columns[] = {
    {"item", COLUMN_TEXT, "what the row is about"},
    {"value", COLUMN_TEXT, "what is known of it"},
};
const struct console_view console_view_cache_explain = CONSOLE_VIEW(explain_columns);

static void write_item(struct table_sink *sink, const char *item, const char *value)
{
    table_text(sink, item);
    table_text(sink, value);
    table_end_row(sink);
}

/* --- what the text says ----------------------------------------------------------------------- */

static void put_object(struct buffer *out, const struct query_object *object)
{
    if (out->size > 0)
        buffer_append_text(out, ", ");
    if (object->schema.size > 0)
        buffer_printf(out, "%.*s.", SPAN_ARG(object->schema));
    buffer_append_span(out, object->name);
}

static void write_list(struct table_sink *sink, const char *item, struct buffer *list)
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
        put_object(&list, &analysis->reads[i].is);
    write_list(sink, "reads", &list);
    for (uint16_t i = 0; i < analysis->writes_count; i++)
        put_object(&list, &analysis->writes[i].is);
    write_list(sink, "writes", &list);
    for (uint16_t i = 0; i < analysis->functions_count; i++)
        put_object(&list, &analysis->functions[i].is);
    write_list(sink, "calls", &list);
    buffer_fini(&list);
}

static void write_text(struct table_sink *sink, const struct query_analysis *analysis)
{
    char fingerprint[17], why[256];
    enum query_reason reason = query_analysis_reason(analysis);
    snprintf(fingerprint, sizeof(fingerprint), "%016" PRIx64, analysis->fingerprint);
    write_item(sink, "fingerprint", fingerprint);
    write_names(sink, analysis);
    if (reason == QUERY_REASONS) {
        write_item(sink, "text",
                   "a candidate; the catalog decides when a client sends the statement");
        return;
    }
    snprintf(why, sizeof(why), "not shared: %s (%s)", query_reason_text(reason),
             query_reason_word(reason));
    write_item(sink, "text", why);
}

/* --- the rules -------------------------------------------------------------------------------- */

static void write_rule(struct table_sink *sink, const struct route_config *route, struct span text,
                       const struct query_analysis *analysis)
{
    char item[64], value[160];
    size_t number = 0;
    snprintf(item, sizeof(item), "route %u", route->line);
    if (cache_rules_choose(&route->cache, text, analysis, &number) != CACHE_CHOICE_RULE) {
        write_item(sink, item, "no rule matches: each client executes the statement");
        return;
    }
    struct cache_rule rule = route->cache.rules[number];
    if (route->cache.hints)
        cache_rules_hint(text, &rule);
    if (rule.mode == CACHE_TTL)
        snprintf(value, sizeof(value), "rule %zu, mode ttl, ttl %" PRId64 " ms", number + 1,
                 rule.ttl.us / 1000);
    else
        snprintf(value, sizeof(value), "rule %zu, mode %s", number + 1,
                 cache_rules_mode_text(rule.mode));
    write_item(sink, item, value);
}

fault console_cache_explain(struct console *console, struct console_result *result)
{
    struct span text = span_text(console->call->argument);
    const struct config *config = console->config;
    struct query_analysis *analysis = NULL;
    TRY(flight_analyze(text, after(ANALYSIS_MAX), &analysis));
    for (size_t i = 0; i < config->route_count; i++) {
        const struct route_config *route = &config->routes[i];
        if (route->cache.rule_count > 0 && !route->is_reads && !route->is_targeted &&
            !route->is_replication)
            write_rule(&result->sink, route, text, analysis);
    }
    write_text(&result->sink, analysis);
    query_analysis_free(&analysis);
    return OK;
}
