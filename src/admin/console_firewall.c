/*
 * console_firewall.c - the firewall of routes: SHOW FIREWALL, SHOW FIREWALL_STATEMENTS, FIREWALL
 * EXPLAIN and FIREWALL FORGET.
 *
 * Rules are data of the configuration, their counts are atomics, and the table of statements is
 * shared by all threads, so no other machine is visited.
 */
#include "admin/console_parts.h"
#include "config/firewall.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "pool/env.h"
#include "query/outline.h"
#include "relay/relay.h"
#include "relay/relay_outline.h"
#include "stats/learned.h"

#include <inttypes.h>
#include <stdio.h>

#define ANALYSIS_MAX sec(10)
#define LIST_MAX     ((size_t)32 * 1024)
/* Statements that are copied under one hold of the lock. */
#define VIEWS_AT_A_TIME 32u

/* Routes that are made from others have the rules of these. */
static bool is_written(const struct route_config *route)
{
    return !route->is_reads && !route->is_targeted && !route->is_replication &&
           route->firewall.mode != FIREWALL_OFF;
}

static void write_hex(struct table_sink *sink, uint64_t fingerprint)
{
    char text[17];
    snprintf(text, sizeof(text), "%016" PRIx64, fingerprint);
    table_text(sink, fingerprint == 0 ? NULL : text);
}

/* --- SHOW FIREWALL ---------------------------------------------------------------------------- */

static const struct console_column firewall_columns[] = {
    {"route", COLUMN_INT4, "line of the route in its configuration file"},
    {"mode", COLUMN_TEXT, "`learn`, `warn` or `enforce`"},
    {"list", COLUMN_TEXT, "`deny` or `allow`: the list that has the rule; `setting`: a setting"},
    {"rule", COLUMN_TEXT,
     "name of the rule; or the setting that denies; `allow`: no rule of that "
     "list was for the statement"},
    {"match", COLUMN_TEXT, "which statements the rule is for; null: a setting"},
    {"hits", COLUMN_INT8, "statements for which it decided, since the configuration was loaded"},
    {"denied", COLUMN_INT8, "of these: they were refused"},
    {"last_ms", COLUMN_INT8, "since the latest of them, in milliseconds; null: none"},
    {"last_fingerprint", COLUMN_TEXT, "of the latest; null: none, or it was not parsed"},
};
const struct console_view console_view_firewall = CONSOLE_VIEW(firewall_columns);

static void write_counts(struct table_sink *sink, const struct firewall_counts *counts)
{
    int64_t last = __atomic_load_n(&counts->last, __ATOMIC_RELAXED);
    table_int(sink, (int64_t)__atomic_load_n(&counts->hits, __ATOMIC_RELAXED));
    table_int(sink, (int64_t)__atomic_load_n(&counts->denied, __ATOMIC_RELAXED));
    if (last == 0)
        table_null(sink);
    else
        table_int(sink, (now().us - last) / 1000);
    write_hex(sink, __atomic_load_n(&counts->last_fingerprint, __ATOMIC_RELAXED));
    table_end_row(sink);
}

static void write_begin(struct table_sink *sink, const struct route_config *route, const char *list,
                        const char *name)
{
    table_int(sink, route->line);
    table_text(sink, firewall_mode_text(route->firewall.mode));
    table_text(sink, list);
    table_text(sink, name);
}

static void write_rules(struct table_sink *sink, const struct route_config *route, const char *list,
                        const struct firewall_rule *rules, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct buffer match = BUFFER_INIT(LIST_MAX);
        write_begin(sink, route, list, rules[i].name);
        firewall_write_match(&rules[i], &match);
        table_span(sink, buffer_span(&match));
        buffer_fini(&match);
        write_counts(sink, rules[i].counts);
    }
}

/* Whether a setting of the route decides by this reason. */
static bool decides(const struct firewall_config *firewall, enum firewall_reason reason)
{
    switch (reason) {
    case FIREWALL_UNLISTED:
        return firewall->allow_count > 0;
    case FIREWALL_UNPARSED:
        return !firewall->allows_unparsed;
    case FIREWALL_SEVERAL:
        return !firewall->allows_several;
    case FIREWALL_NO_WHERE:
        return !firewall->allows_no_where;
    default:
        return reason == FIREWALL_ALLOWED;
    }
}

static void write_route(struct table_sink *sink, const struct route_config *route)
{
    const struct firewall_config *firewall = &route->firewall;
    write_rules(sink, route, "deny", firewall->denies, firewall->deny_count);
    write_rules(sink, route, "allow", firewall->allows, firewall->allow_count);
    for (enum firewall_reason reason = FIREWALL_ALLOWED; reason < FIREWALL_REASONS; reason++) {
        if (!decides(firewall, reason))
            continue;
        write_begin(sink, route, "setting", firewall_reason_text(reason));
        table_null(sink);
        write_counts(sink, &firewall->counts[reason]);
    }
}

fault console_show_firewall(struct console *console, struct console_result *result)
{
    for (size_t i = 0; i < console->config->route_count; i++)
        if (is_written(&console->config->routes[i]))
            write_route(&result->sink, &console->config->routes[i]);
    return OK;
}

/* --- SHOW FIREWALL_STATEMENTS ----------------------------------------------------------------- */

static const struct console_column statements_columns[] = {
    {"database", COLUMN_TEXT, "`database` of the route; `*`: any"},
    {"user", COLUMN_TEXT, "`user` of the route; `*`: any"},
    {"fingerprint", COLUMN_TEXT, "for `fingerprints` of a rule; null: not parsed"},
    {"calls", COLUMN_INT8, "how often it came"},
    {"denied", COLUMN_INT8, "of these: it was refused"},
    {"rule", COLUMN_TEXT, "what denied it the latest time; null: it was allowed"},
    {"last_ms", COLUMN_INT8, "since it came, in milliseconds"},
    {"text", COLUMN_TEXT,
     "beginning of the statement, at most 200 bytes, without constants; of "
     "other statements than SELECT, INSERT, UPDATE, DELETE and MERGE only the "
     "command"},
};
const struct console_view console_view_firewall_statements = CONSOLE_VIEW(statements_columns);

static void write_statement(struct table_sink *sink, const struct learned_view *view)
{
    table_text(sink, view->database);
    table_text(sink, view->user);
    write_hex(sink, view->fingerprint);
    table_int(sink, (int64_t)view->calls);
    table_int(sink, (int64_t)view->denied);
    table_text(sink, view->rule[0] == '\0' ? NULL : view->rule);
    table_int(sink, between(view->last, now()).us / 1000);
    table_span(sink, span_of(view->text, view->text_size));
    table_end_row(sink);
}

static struct learned *learned_of(const struct console *console)
{
    return console->client->relay->pools.env->learned;
}

fault console_show_firewall_statements(struct console *console, struct console_result *result)
{
    struct learned_view views[VIEWS_AT_A_TIME];
    uint32_t cursor = 0, count;
    while ((count = learned_views(learned_of(console), &cursor, views, VIEWS_AT_A_TIME)) > 0) {
        for (uint32_t i = 0; i < count; i++)
            write_statement(&result->sink, &views[i]);
        co_yield ();
    }
    return OK;
}

/* --- FIREWALL FORGET -------------------------------------------------------------------------- */

static const struct console_column forget_columns[] = {
    {"forgotten", COLUMN_INT8, "statements that were listed"},
    {"missed", COLUMN_INT8,
     "statements since the start that could not be listed: there were 10000, or no memory"},
};
const struct console_view console_view_firewall_forget = CONSOLE_VIEW(forget_columns);

fault console_firewall_forget(struct console *console, struct console_result *result)
{
    table_int(&result->sink, learned_forget(learned_of(console)));
    table_int(&result->sink, (int64_t)learned_missed(learned_of(console)));
    table_end_row(&result->sink);
    return OK;
}

/* --- FIREWALL EXPLAIN ------------------------------------------------------------------------- */

static const struct console_column explain_columns[] = {
    {"item", COLUMN_TEXT, "what the row is about"},
    {"value", COLUMN_TEXT, "what is known of it"},
};
const struct console_view console_view_firewall_explain = CONSOLE_VIEW(explain_columns);

static void write_outline(struct table_sink *sink, const struct query_outline *outline)
{
    char text[24];
    struct buffer list = BUFFER_INIT(LIST_MAX);
    if (!outline->parsed) {
        console_write_item(sink, "parsed", "no");
        return;
    }
    snprintf(text, sizeof(text), "%016" PRIx64, outline->fingerprint);
    console_write_item(sink, "fingerprint", text);
    snprintf(text, sizeof(text), "%u", outline->statements);
    console_write_item(sink, "statements", text);
    for (unsigned verb = 0; verb < QUERY_VERBS; verb++)
        if (query_outline_does(outline, (enum query_verb)verb))
            buffer_printf(&list, "%s%s", list.size > 0 ? ", " : "",
                          query_verb_word((enum query_verb)verb));
    console_write_list(sink, "verbs", &list);
    for (uint16_t i = 0; i < outline->relations_count; i++)
        console_put_object(&list, &outline->relations[i].is);
    console_write_list(sink, "tables", &list);
    for (uint16_t i = 0; i < outline->functions_count; i++)
        console_put_object(&list, &outline->functions[i]);
    console_write_list(sink, "functions", &list);
    if (outline->unbounded)
        console_write_item(sink, "without_where", "yes");
    buffer_fini(&list);
}

static void write_verdict(struct table_sink *sink, const struct route_config *route,
                          const struct query_outline *outline)
{
    char item[32], value[160];
    struct firewall_verdict verdict = firewall_judge(&route->firewall, outline);
    const char *mode = firewall_mode_text(route->firewall.mode);
    snprintf(item, sizeof(item), "route %u", route->line);
    if (verdict.reason != FIREWALL_ALLOWED)
        snprintf(value, sizeof(value), "denied by %s \"%s\" (mode %s)",
                 verdict.rule != NULL ? "rule" : "setting", firewall_verdict_name(verdict), mode);
    else if (verdict.rule != NULL)
        snprintf(value, sizeof(value), "allowed by rule \"%s\" (mode %s)", verdict.rule->name,
                 mode);
    else
        snprintf(value, sizeof(value), "allowed (mode %s)", mode);
    console_write_item(sink, item, value);
}

fault console_firewall_explain(struct console *console, struct console_result *result)
{
    struct query_outline *outline = NULL;
    TRY(relay_outline_learn(console->client->relay, span_text(console->call->argument),
                            after(ANALYSIS_MAX), &outline));
    write_outline(&result->sink, outline);
    for (size_t i = 0; i < console->config->route_count; i++)
        if (is_written(&console->config->routes[i]))
            write_verdict(&result->sink, &console->config->routes[i], outline);
    query_outline_unref(&outline);
    return OK;
}
