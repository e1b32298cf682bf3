/*
 * console_stats.c - SHOW STATS, STATS_TOTALS, STATS_AVERAGES and TOTALS.
 *
 * There is no timer: each local pool stores its counters at two earlier looks, and a look computes
 * the averages from the older one.
 */
#include "admin/console_stats.h"

#include "admin/console_groups_parts.h"
#include "admin/console_parts.h"
#include "machine/clock.h"
#include "relay/relay.h"

#include <stdio.h>

/* --- what is counted -------------------------------------------------------------------------- */

#define COUNTERS 12

/* The divisor of an average: time, or another counter. */
#define PER_SECOND SIZE_MAX

struct counter {
    const char *name; /* in SHOW TOTALS, after total_ or avg_ */
    size_t at;
    size_t per; /* PER_SECOND, or the offset of the divisor */
};

#define AT(field) offsetof(struct local_pool_stats, field)

/* In the order of the columns. */
static const struct counter counters[COUNTERS] = {
    {"server_assignment_count", AT(assignments), PER_SECOND},
    {"xact_count", AT(transactions), PER_SECOND},
    {"query_count", AT(queries), PER_SECOND},
    {"client_bytes", AT(received), PER_SECOND},
    {"server_bytes", AT(sent), PER_SECOND},
    {"xact_time", AT(transaction_us), AT(transactions)},
    {"query_time", AT(query_us), AT(queries)},
    {"wait_time", AT(wait_us), PER_SECOND},
    {"ps_client_parse_count", AT(client_parses), PER_SECOND},
    {"ps_server_parse_count", AT(server_parses), PER_SECOND},
    {"ps_bind_count", AT(binds), PER_SECOND},
    {"client_login_count", AT(logins), PER_SECOND},
};
static_assert(sizeof(struct local_pool_stats) == COUNTERS * sizeof(uint64_t),
              "each counter is shown");

#define DATABASE                                                                                   \
    {                                                                                              \
        "database", COLUMN_TEXT, "database whose pools, including removed ones, are summed"        \
    }
#define N(column, text)                                                                            \
    {                                                                                              \
        column, COLUMN_NUMERIC, text                                                               \
    }

static const struct console_column stats_columns[] = {
    DATABASE,
    N("total_server_assignment_count", "times that a server was assigned to a client"),
    N("total_xact_count", "transactions"),
    N("total_query_count", "queries"),
    N("total_received", "bytes from clients"),
    N("total_sent", "bytes to clients"),
    N("total_xact_time", "microseconds that clients held servers"),
    N("total_query_time", "microseconds that queries took"),
    N("total_wait_time", "microseconds that clients waited for a server"),
    N("total_client_parse_count", "prepared statements created by clients"),
    N("total_server_parse_count", "prepared statements created on servers"),
    N("total_bind_count", "statements that clients bound"),
    N("total_client_login_count", "logins of clients"),
    N("avg_server_assignment_count", "per second"),
    N("avg_xact_count", "per second"),
    N("avg_query_count", "per second"),
    N("avg_recv", "bytes per second from clients"),
    N("avg_sent", "bytes per second to clients"),
    N("avg_xact_time", "microseconds per transaction"),
    N("avg_query_time", "microseconds per query"),
    N("avg_wait_time", "microseconds waited, per second"),
    N("avg_client_parse_count", "per second"),
    N("avg_server_parse_count", "per second"),
    N("avg_bind_count", "per second"),
    N("avg_client_login_count", "per second"),
};
const struct console_view console_view_stats = CONSOLE_VIEW(stats_columns);

static const struct console_column totals_columns[] = {
    DATABASE,
    N("server_assignment_count", "as `total_server_assignment_count` of SHOW STATS"),
    N("xact_count", "as `total_xact_count`"),
    N("query_count", "as `total_query_count`"),
    N("bytes_received", "as `total_received`"),
    N("bytes_sent", "as `total_sent`"),
    N("xact_time", "as `total_xact_time`"),
    N("query_time", "as `total_query_time`"),
    N("wait_time", "as `total_wait_time`"),
    N("client_parse_count", "as `total_client_parse_count`"),
    N("server_parse_count", "as `total_server_parse_count`"),
    N("bind_count", "as `total_bind_count`"),
    N("client_login_count", "as `total_client_login_count`"),
};
const struct console_view console_view_stats_totals = CONSOLE_VIEW(totals_columns);

static const struct console_column averages_columns[] = {
    DATABASE,
    N("server_assignment_count", "as `avg_server_assignment_count` of SHOW STATS"),
    N("xact_count", "as `avg_xact_count`"),
    N("query_count", "as `avg_query_count`"),
    N("bytes_received", "as `avg_recv`"),
    N("bytes_sent", "as `avg_sent`"),
    N("xact_time", "as `avg_xact_time`"),
    N("query_time", "as `avg_query_time`"),
    N("wait_time", "as `avg_wait_time`"),
    N("avg_client_parse_count", "as there"),
    N("avg_server_parse_count", "as there"),
    N("avg_bind_count", "as there"),
    N("avg_client_login_count", "as there"),
};
const struct console_view console_view_stats_averages = CONSOLE_VIEW(averages_columns);

static const struct console_column sums_columns[] = {
    {"name", COLUMN_TEXT, "`total_` or `avg_` and the counter's name"},
    {"value", COLUMN_NUMERIC, "value over all databases"},
};
const struct console_view console_view_totals = CONSOLE_VIEW(sums_columns);

static uint64_t counter_of(const struct local_pool_stats *stats, size_t at)
{
    uint64_t value;
    memcpy(&value, (const char *)stats + at, sizeof(value));
    return value;
}

/* --- averages --------------------------------------------------------------------------------- */

void console_stats_look(struct stats_window *window, const struct local_pool_stats *stats,
                        moment at, struct local_pool_stats *ret_since, duration *ret_during)
{
    if (between(window->newer_at, at).us >= CONSOLE_STATS_PERIOD.us) {
        window->older = window->newer;
        window->older_at = window->newer_at;
        window->newer = *stats;
        window->newer_at = at;
    }
    uint64_t now_counted[COUNTERS], then[COUNTERS];
    memcpy(now_counted, stats, sizeof(now_counted));
    memcpy(then, &window->older, sizeof(then));
    for (size_t i = 0; i < COUNTERS; i++)
        now_counted[i] -= then[i];
    memcpy(ret_since, now_counted, sizeof(now_counted));
    /* Rates need at least one second. */
    ret_during->us = MAX_OF(between(window->older_at, at).us, sec(1).us);
}

/* --- gathering -------------------------------------------------------------------------------- */

struct stats_row {
    struct console_groups_row row;
    struct local_pool_stats total;
    struct local_pool_stats since; /* over the windows */
    double rates[COUNTERS];        /* per second, each window by its own length */
};

static void row_add(struct stats_row *row, struct local_pool *pool)
{
    struct local_pool_stats since;
    duration during;
    console_stats_look(&pool->window, &pool->stats, now(), &since, &during);
    stats_add(&row->total, &pool->stats);
    stats_add(&row->since, &since);
    for (size_t i = 0; i < COUNTERS; i++)
        row->rates[i] += (double)counter_of(&since, counters[i].at) * 1e6 / (double)during.us;
}

static void look_at_stats(struct relay *relay, void *argument)
{
    struct stats_row *row;
    if (relay == NULL)
        return;
    LIST_EACH (&relay->pools.all, it) {
        struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        row = console_groups_row(argument, span_text(pool->database), SPAN_NONE);
        if (row != NULL)
            row_add(row, pool);
    }
    for (struct map_link *link = map_next(&relay->pools.departed, NULL); link != NULL;
         link = map_next(&relay->pools.departed, link)) {
        const struct stats_departed *gone = MAP_ENTRY(link, struct stats_departed, link);
        row = console_groups_row(argument, span_text(gone->database), SPAN_NONE);
        if (row != NULL)
            stats_add(&row->total, &gone->stats);
    }
}

/* --- writing ---------------------------------------------------------------------------------- */

/* PgBouncer's averages are whole numbers too. */
static void write_number(struct table_sink *sink, double number)
{
    table_int(sink, number >= 9e18 ? INT64_MAX : (int64_t)(number + 0.5));
}

static void write_totals(struct table_sink *sink, const struct stats_row *row)
{
    for (size_t i = 0; i < COUNTERS; i++)
        table_int(sink, (int64_t)counter_of(&row->total, counters[i].at));
}

static double average_of(const struct stats_row *row, size_t i)
{
    const struct counter *counter = &counters[i];
    if (counter->per == PER_SECOND)
        return row->rates[i];
    uint64_t divisor = counter_of(&row->since, counter->per);
    return divisor == 0 ? 0 : (double)counter_of(&row->since, counter->at) / (double)divisor;
}

static void write_averages(struct table_sink *sink, const struct stats_row *row)
{
    for (size_t i = 0; i < COUNTERS; i++)
        write_number(sink, average_of(row, i));
}

static fault show_rows(struct console *console, struct console_result *result,
                       void (*write)(struct table_sink *sink, const struct stats_row *row))
{
    struct console_groups rows;
    console_groups_init(&rows, sizeof(struct stats_row));
    pooler_look(console->pooler, look_at_stats, &rows);
    LIST_EACH (&rows.rows, it) {
        const struct console_groups_row *row = LIST_ENTRY(it, struct console_groups_row, node);
        write(&result->sink, CONTAINER_OF(row, struct stats_row, row));
    }
    fault shown = console_groups_fault(&rows);
    console_groups_fini(&rows);
    return shown;
}

static void write_stats_row(struct table_sink *sink, const struct stats_row *row)
{
    table_span(sink, row->row.first);
    write_totals(sink, row);
    write_averages(sink, row);
    table_end_row(sink);
}

static void write_totals_row(struct table_sink *sink, const struct stats_row *row)
{
    table_span(sink, row->row.first);
    write_totals(sink, row);
    table_end_row(sink);
}

static void write_averages_row(struct table_sink *sink, const struct stats_row *row)
{
    table_span(sink, row->row.first);
    write_averages(sink, row);
    table_end_row(sink);
}

fault console_show_stats(struct console *console, struct console_result *result)
{
    return show_rows(console, result, write_stats_row);
}

fault console_show_stats_totals(struct console *console, struct console_result *result)
{
    return show_rows(console, result, write_totals_row);
}

fault console_show_stats_averages(struct console *console, struct console_result *result)
{
    return show_rows(console, result, write_averages_row);
}

static void sum_add(struct stats_row *sum, const struct stats_row *row)
{
    stats_add(&sum->total, &row->total);
    stats_add(&sum->since, &row->since);
    for (size_t i = 0; i < COUNTERS; i++)
        sum->rates[i] += row->rates[i];
}

fault console_show_totals(struct console *console, struct console_result *result)
{
    struct console_groups rows;
    struct stats_row sum = {.rates = {0}};
    struct table_sink *sink = &result->sink;
    char name[64];
    console_groups_init(&rows, sizeof(struct stats_row));
    pooler_look(console->pooler, look_at_stats, &rows);
    LIST_EACH (&rows.rows, it) {
        const struct console_groups_row *row = LIST_ENTRY(it, struct console_groups_row, node);
        sum_add(&sum, CONTAINER_OF(row, struct stats_row, row));
    }
    for (size_t i = 0; i < 2 * COUNTERS; i++) {
        const struct counter *counter = &counters[i % COUNTERS];
        snprintf(name, sizeof(name), "%s_%s", i < COUNTERS ? "total" : "avg", counter->name);
        table_text(sink, name);
        if (i < COUNTERS)
            table_int(sink, (int64_t)counter_of(&sum.total, counter->at));
        else
            write_number(sink, average_of(&sum, i - COUNTERS));
        table_end_row(sink);
    }
    fault shown = console_groups_fault(&rows);
    console_groups_fini(&rows);
    return shown;
}
