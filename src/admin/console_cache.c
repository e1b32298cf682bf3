/*
 * console_cache.c - the cache of answers: SHOW CACHE, CACHE_RULES, CACHE_TOTALS, CACHE_REASONS and
 * FLIGHTS; CACHE FLUSH and CACHE WARM.
 *
 * The tables are shared by all threads (flight/flight_env.h), so no other machine is visited.
 */
#include "admin/console_parts.h"
#include "config/cache_rules.h"
#include "flight/flight_env.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "relay/flight/flight_tier.h"
#include "relay/flight/flight_warm.h"
#include "relay/relay.h"

#include <stdio.h>

/* Entries or flights that are described under one hold of a lock. */
#define VIEWS_AT_A_TIME 32u
/* Bytes of a cell that lists several things. */
#define LIST_MAX ((size_t)16 * 1024)

struct flight_env *console_flights(const struct console *console)
{
    for (size_t i = 0; i < console->config->route_count; i++)
        if (console->config->routes[i].is_watched)
            return console->client->relay->pools.env->flight;
    return NULL;
}

/* --- SHOW CACHE ------------------------------------------------------------------------------- */

static const struct console_column cache_columns[] = {
    {"text", COLUMN_TEXT, "beginning of the statement, at most 200 bytes"},
    {"tag", COLUMN_TEXT, "`tag` of the rule that stored it; null: none"},
    {"state", COLUMN_TEXT,
     "`current`; `held`: a write of what it reads is under way; `changed`: such a write was seen, "
     "and the entry is not used any more"},
    {"segment", COLUMN_TEXT, "`window`, `probation` or `protected`"},
    {"hits", COLUMN_INT8, "times that it was the answer"},
    {"bytes", COLUMN_INT8, "of memory, in all"},
    {"answer_bytes", COLUMN_INT8, "of these: the answer"},
    {"age_ms", COLUMN_INT8, "since its execution was sent, in milliseconds"},
    {"expires_ms", COLUMN_INT8, "until it is older than its `ttl`; negative: it is"},
    {"stale_ms", COLUMN_INT8, "until it is not used any more, `stale` included"},
};
const struct console_view console_view_cache = CONSOLE_VIEW(cache_columns);

static const char *state_text(enum generations_state state)
{
    return state == GENERATIONS_CURRENT ? "current"
           : state == GENERATIONS_HELD  ? "held"
                                        : "changed";
}

static void write_entry(struct table_sink *sink, const struct l1_view *view, moment at)
{
    table_text(sink, view->text);
    table_text(sink, view->tags[0] == '\0' ? NULL : view->tags);
    table_text(sink, state_text(view->state));
    table_text(sink, view->segment);
    table_int(sink, view->hits);
    table_int(sink, (int64_t)view->bytes);
    table_int(sink, (int64_t)view->answer_bytes);
    table_int(sink, between(view->made, at).us / 1000);
    table_int(sink, (view->expires.us - at.us) / 1000);
    table_int(sink, (view->stale_until.us - at.us) / 1000);
    table_end_row(sink);
}

fault console_show_cache(struct console *console, struct console_result *result)
{
    struct l1_cursor cursor = {0};
    struct l1_view views[VIEWS_AT_A_TIME];
    struct flight_env *env = console_flights(console);
    while (env != NULL) {
        uint32_t count = l1_views(env->l1, &cursor, views, VIEWS_AT_A_TIME);
        if (count == 0)
            break;
        for (uint32_t i = 0; i < count; i++)
            write_entry(&result->sink, &views[i], now());
        co_yield ();
    }
    return OK;
}

/* --- SHOW FLIGHTS ----------------------------------------------------------------------------- */

static const struct console_column flights_columns[] = {
    {"text", COLUMN_TEXT, "beginning of the statement, at most 200 bytes"},
    {"database", COLUMN_TEXT, "database that the clients requested"},
    {"user", COLUMN_TEXT, "user name that the clients logged in as"},
    {"phase", COLUMN_TEXT, "`asking`: whether the answer may be shared; `running`"},
    {"sealed", COLUMN_TEXT,
     "`yes`: a write that was seen has changed what it reads, so no more clients join it"},
    {"waiters", COLUMN_INT4, "clients that wait for it"},
    {"joined", COLUMN_INT4, "clients that have waited for it or do"},
    {"bytes", COLUMN_INT8, "of the answer so far"},
    {"age_ms", COLUMN_INT8, "since it began, in milliseconds"},
};
const struct console_view console_view_flights = CONSOLE_VIEW(flights_columns);

static void write_flight(struct table_sink *sink, const struct flight_view *view, moment at)
{
    table_text(sink, view->text);
    table_text(sink, view->database);
    table_text(sink, view->user);
    table_text(sink, view->phase == FLIGHT_ASKING ? "asking" : "running");
    table_text(sink, view->sealed ? "yes" : "no");
    table_int(sink, view->waiters);
    table_int(sink, view->joined);
    table_int(sink, (int64_t)view->bytes);
    table_int(sink, between(view->since, at).us / 1000);
    table_end_row(sink);
}

fault console_show_flights(struct console *console, struct console_result *result)
{
    uint32_t cursor = 0;
    struct flight_view views[VIEWS_AT_A_TIME];
    struct flight_env *env = console_flights(console);
    while (env != NULL) {
        uint32_t count = flights_views(env->flights, &cursor, views, VIEWS_AT_A_TIME);
        if (count == 0)
            break;
        for (uint32_t i = 0; i < count; i++)
            write_flight(&result->sink, &views[i], now());
        co_yield ();
    }
    return OK;
}

/* --- SHOW CACHE_RULES ------------------------------------------------------------------------- */

static const struct console_column rules_columns[] = {
    {"route", COLUMN_INT4, "line of the route in its configuration file"},
    {"rule", COLUMN_INT4, "number of the rule within the route, from 1"},
    {"match", COLUMN_TEXT, "which statements it is for; `all`: every one"},
    {"mode", COLUMN_TEXT, "`off`, `dedupe`, `ttl`, `strict` or `shadow`"},
    {"of", COLUMN_TEXT, "mode `shadow`: which mode is tried; null: another mode"},
    {"ttl_ms", COLUMN_INT8, "oldest answer that is given, in milliseconds; null: none, or any"},
    {"tag", COLUMN_TEXT, "for CACHE FLUSH TAG; null: none"},
    {"hits", COLUMN_INT8, "statements answered from memory"},
    {"stale", COLUMN_INT8, "of these: with an answer older than `ttl`"},
    {"executed", COLUMN_INT8, "executions for all clients that wait for one answer"},
    {"joined", COLUMN_INT8, "clients that waited for an execution that another had begun"},
    {"refreshed", COLUMN_INT8, "executions that refreshed a stored answer"},
    {"stored", COLUMN_INT8, "answers that were stored"},
    {"off", COLUMN_INT8, "statements for which the rule or a hint says off"},
    {"opted_out", COLUMN_INT8, "statements of clients that have set `trunkline.cache` to off"},
    {"state", COLUMN_INT8, "statements that may depend on other state of their session"},
    {"refused", COLUMN_INT8, "executions that could not be shared: see `reasons`"},
    {"failed", COLUMN_INT8, "executions for which that could not be found out"},
    {"bypassed", COLUMN_INT8,
     "statements executed because the feed could not say in time that the answer was current"},
    {"rested", COLUMN_INT8,
     "statements executed because the rule's answers cost the server more than they save"},
    {"warmed", COLUMN_INT8, "executions to have an answer before clients ask: CACHE WARM"},
    {"fetched", COLUMN_INT8, "answers that came from the second tier: SHOW CACHE_TIER"},
    {"shadow_hits", COLUMN_INT8,
     "mode `shadow`: statements that `of` would have answered from another execution"},
    {"shadow_differences", COLUMN_INT8, "of these: that answer was not the client's own"},
    {"shadow_undecided", COLUMN_INT8, "of these: it could not be told whether it was"},
    {"reasons", COLUMN_TEXT, "`refused` by reason, as in SHOW CACHE_REASONS"},
};
const struct console_view console_view_cache_rules = CONSOLE_VIEW(rules_columns);

static void write_reasons(struct table_sink *sink, const struct cache_counts *counts)
{
    struct buffer out = BUFFER_INIT(LIST_MAX);
    for (uint32_t i = 0; i < VERDICT_REASONS; i++) {
        uint64_t count = __atomic_load_n(&counts->reasons[i], __ATOMIC_RELAXED);
        if (count > 0)
            buffer_printf(&out, "%s%s=%llu", out.size > 0 ? " " : "", verdict_reason_word(i),
                          (unsigned long long)count);
    }
    table_span(sink, buffer_span(&out));
    buffer_fini(&out);
}

static void write_match(struct table_sink *sink, const struct cache_match *match)
{
    struct buffer out = BUFFER_INIT(LIST_MAX);
    cache_rules_write_match(match, &out);
    table_span(sink, buffer_span(&out));
    buffer_fini(&out);
}

static void write_rule(struct table_sink *sink, const struct route_config *route, size_t number)
{
    const struct cache_rule *rule = &route->cache.rules[number];
    table_int(sink, route->line);
    table_int(sink, (int64_t)number + 1);
    write_match(sink, &rule->match);
    table_text(sink, cache_rules_mode_text(rule->mode));
    table_text(sink, rule->of == CACHE_OFF ? NULL : cache_rules_mode_text(rule->of));
    uint16_t mode = rule->of == CACHE_OFF ? rule->mode : rule->of;
    if (mode == CACHE_TTL || (mode == CACHE_STRICT && rule->ttl.us > 0))
        table_int(sink, rule->ttl.us / 1000);
    else
        table_null(sink);
    table_text(sink, rule->tag);
    for (unsigned i = 0; i < CACHE_COUNTS; i++)
        table_int(sink, (int64_t)__atomic_load_n(&rule->counts->all[i], __ATOMIC_RELAXED));
    write_reasons(sink, rule->counts);
    table_end_row(sink);
}

/* Routes that are made from others have the rules of these. */
static bool is_written(const struct route_config *route)
{
    return !route->is_reads && !route->is_targeted && !route->is_replication;
}

fault console_show_cache_rules(struct console *console, struct console_result *result)
{
    static_assert(CACHE_COUNTS == 18, "a column for each count");
    const struct config *config = console->config;
    for (size_t i = 0; i < config->route_count; i++)
        for (size_t j = 0; is_written(&config->routes[i]) && j < config->routes[i].cache.rule_count;
             j++)
            write_rule(&result->sink, &config->routes[i], j);
    return OK;
}

/* --- SHOW CACHE_TOTALS and CACHE_REASONS ------------------------------------------------------ */

static const struct console_column totals_columns[] = {
    {"name", COLUMN_TEXT, "what is counted"},
    {"value", COLUMN_INT8, "now, or since the start"},
};
const struct console_view console_view_cache_totals = CONSOLE_VIEW(totals_columns);

static void write_total(struct table_sink *sink, const char *name, uint64_t value)
{
    table_text(sink, name);
    table_int(sink, (int64_t)value);
    table_end_row(sink);
}

static void write_stored(struct table_sink *sink, const struct l1_stats *stats)
{
    write_total(sink, "entries", stats->entries);
    write_total(sink, "bytes", stats->bytes);
    write_total(sink, "bytes_max", stats->bytes_max);
    write_total(sink, "table_bytes", stats->table_bytes);
    write_total(sink, "hits", stats->hits);
    write_total(sink, "stale", stats->stale);
    write_total(sink, "refreshes", stats->refreshes);
    write_total(sink, "held", stats->held);
    write_total(sink, "misses", stats->misses);
    write_total(sink, "expired", stats->expired);
    write_total(sink, "changed", stats->changed);
    write_total(sink, "stored", stats->stored);
    write_total(sink, "refused", stats->refused);
    write_total(sink, "evicted", stats->evicted);
    write_total(sink, "rejected", stats->rejected);
    write_total(sink, "flushed", stats->flushed);
}

static void write_warms(struct table_sink *sink, const struct warms *warms)
{
    uint64_t counts[WARMS_COUNTS], left;
    warms_stats(warms, counts, &left);
    write_total(sink, "warm_left", left);
    write_total(sink, "warm_present", counts[WARMS_PRESENT]);
    write_total(sink, "warm_stored", counts[WARMS_STORED]);
    write_total(sink, "warm_refused", counts[WARMS_REFUSED]);
    write_total(sink, "warm_failed", counts[WARMS_FAILED]);
}

fault console_show_cache_totals(struct console *console, struct console_result *result)
{
    struct flight_env *env = console_flights(console);
    struct l1_stats stored;
    struct verdicts_stats verdicts;
    if (env == NULL)
        return OK;
    l1_stats(env->l1, &stored);
    verdicts_stats(env->verdicts, &verdicts);
    write_stored(&result->sink, &stored);
    write_warms(&result->sink, env->warms);
    write_total(&result->sink, "answer_bytes", answer_memory_bytes(&env->memory));
    write_total(&result->sink, "verdicts", verdicts.table.entries);
    write_total(&result->sink, "verdict_bytes", verdicts.table.bytes);
    write_total(&result->sink, "verdict_hits", verdicts.table.hits);
    write_total(&result->sink, "verdict_misses", verdicts.table.misses);
    return OK;
}

const struct console_view console_view_cache_tier = CONSOLE_VIEW(totals_columns);

fault console_show_cache_tier(struct console *console, struct console_result *result)
{
    struct flight_env *env = console_flights(console);
    if (env == NULL || env->l2 == NULL)
        return OK;
    write_total(&result->sink, "lost", l2_is_lost(env->l2) ? 1 : 0);
    for (unsigned i = 0; i < L2_COUNTS; i++)
        write_total(&result->sink, l2_count_word(i), l2_counted(env->l2, i));
    return OK;
}

static const struct console_column reasons_columns[] = {
    {"reason", COLUMN_TEXT, "the word for it in SHOW CACHE_RULES"},
    {"count", COLUMN_INT8, "how often a statement was not shared for this reason"},
    {"help", COLUMN_TEXT, "what it means"},
};
const struct console_view console_view_cache_reasons = CONSOLE_VIEW(reasons_columns);

fault console_show_cache_reasons(struct console *console, struct console_result *result)
{
    struct flight_env *env = console_flights(console);
    struct verdicts_stats verdicts = {0};
    if (env != NULL)
        verdicts_stats(env->verdicts, &verdicts);
    for (uint32_t i = 0; i < VERDICT_REASONS; i++) {
        table_text(&result->sink, verdict_reason_word(i));
        table_int(&result->sink, (int64_t)verdicts.reasons[i]);
        table_text(&result->sink, verdict_reason_text(i));
        table_end_row(&result->sink);
    }
    return OK;
}

/* --- CACHE FLUSH ------------------------------------------------------------------------------ */

static const struct console_column flush_columns[] = {
    {"flushed", COLUMN_INT8, "stored answers that were removed"},
    {"tier", COLUMN_TEXT,
     "`flushed`: all answers in the second tier have ended; `owed`: Redis did not answer, and "
     "gives "
     "no answer before it has been told; null: there is no second tier"},
};
const struct console_view console_view_cache_flush = CONSOLE_VIEW(flush_columns);

static void flush(struct console *console, const struct l1_filter *filter,
                  struct console_result *result)
{
    struct flight_env *env = console_flights(console);
    uint64_t removed = 0;
    struct l2_link *link = env == NULL ? NULL : flight_tier_link(console->client->relay);
    /* First, so that what is taken from Redis meanwhile can't be stored here. */
    bool told = link != NULL && l2_flush(link);
    if (env != NULL) {
        struct l1_cursor cursor = l1_flush_begin(env->l1);
        while (l1_flush_step(env->l1, filter, &cursor, &removed))
            co_yield ();
    }
    table_int(&result->sink, (int64_t)removed);
    table_text(&result->sink, link == NULL ? NULL : told ? "flushed" : "owed");
    table_end_row(&result->sink);
}

fault console_cache_flush(struct console *console, struct console_result *result)
{
    flush(console, &(struct l1_filter){.like = span_text(console->call->argument)}, result);
    return OK;
}

fault console_cache_flush_tag(struct console *console, struct console_result *result)
{
    flush(console, &(struct l1_filter){.tag = span_text(console->call->argument)}, result);
    return OK;
}

/* --- CACHE WARM ------------------------------------------------------------------------------- */

static const struct console_column warm_columns[] = {
    {"statements", COLUMN_INT8, "that were looked at"},
    {"present", COLUMN_INT8, "of these: whose answer was stored already"},
    {"stored", COLUMN_INT8, "of these: whose answer is stored now"},
    {"refused", COLUMN_INT8, "of these: no rule stores the answer, or it may not be shared"},
    {"failed", COLUMN_INT8,
     "of these: no server could be asked, the statement failed, or the answer was not kept"},
};
const struct console_view console_view_cache_warm = CONSOLE_VIEW(warm_columns);

fault console_cache_warm(struct console *console, struct console_result *result)
{
    uint64_t counts[WARMS_COUNTS] = {0}, sum = 0;
    if (console_flights(console) != NULL)
        TRY(flight_warm_all(console->client->relay, span_text(console->call->argument), counts));
    for (unsigned i = 0; i < WARMS_COUNTS; i++)
        sum += counts[i];
    table_int(&result->sink, (int64_t)sum);
    for (unsigned i = 0; i < WARMS_COUNTS; i++)
        table_int(&result->sink, (int64_t)counts[i]);
    table_end_row(&result->sink);
    return OK;
}
