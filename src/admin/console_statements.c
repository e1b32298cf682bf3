/*
 * console_statements.c - SHOW STATEMENTS and RESET STATEMENTS.
 *
 * The table is shared by all threads (stats/stats_calls.h), so no other machine is visited.  Rows
 * are written under the lock of a shard: a result only grows in memory.
 */
#include "admin/console_parts.h"
#include "machine/clock.h"
#include "relay/relay.h"
#include "stats/stats_calls.h"

#include <inttypes.h>
#include <stdio.h>

/* Bytes of the cell that lists the reasons. */
#define LIST_MAX ((size_t)4 * 1024)

static const struct console_column statements_columns[] = {
    {"fingerprint", COLUMN_TEXT,
     "of the statement, in hexadecimal: statements that differ in constants only have the same; "
     "null: texts that are not parsed"},
    {"database", COLUMN_TEXT, "`database` of the route; `*`: any"},
    {"user", COLUMN_TEXT, "`user` of the route; `*`: any"},
    {"service", COLUMN_TEXT, "`service` of the route"},
    {"calls", COLUMN_INT8, "executions on a server, also failed ones"},
    {"rows", COLUMN_INT8, "rows that were returned or changed"},
    {"bytes", COLUMN_INT8, "of the replies"},
    {"errors", COLUMN_INT8, "executions that ended with an error"},
    {"exec_us", COLUMN_INT8, "sum of the execution times, in microseconds"},
    {"exec_p50_us", COLUMN_INT8, "median of the execution times"},
    {"exec_p95_us", COLUMN_INT8, "95 of 100 executions took at most so long"},
    {"exec_p99_us", COLUMN_INT8, "99 of 100 executions took at most so long"},
    {"wait_us", COLUMN_INT8, "sum of the waits for a server, in microseconds"},
    {"wait_p50_us", COLUMN_INT8, "median of these waits"},
    {"wait_p95_us", COLUMN_INT8, "95 of 100 executions waited at most so long"},
    {"wait_p99_us", COLUMN_INT8, "99 of 100 executions waited at most so long"},
    {"hits", COLUMN_INT8, "times that it was answered from memory"},
    {"joins", COLUMN_INT8, "times that a client waited for the execution of another one"},
    {"bypassed", COLUMN_INT8, "times that a cache rule was for it, but it was executed by itself"},
    {"reasons", COLUMN_TEXT,
     "`bypassed` by reason: a column of SHOW CACHE_RULES, or as in SHOW CACHE_REASONS"},
    {"last_seen", COLUMN_TEXT, "when it was counted last"},
    {"text", COLUMN_TEXT,
     "the statement with $n for each constant, at most 2048 bytes; of others than SELECT, INSERT, "
     "UPDATE, DELETE and MERGE only the command; null: not parsed"},
};
const struct console_view console_view_statements = CONSOLE_VIEW(statements_columns);

/* --- rows ------------------------------------------------------------------------------------- */

struct look {
    struct table_sink *sink;
    int64_t wall; /* of the moment 0 */
};

static void write_times(struct table_sink *sink, uint64_t sum, const struct histogram *histogram)
{
    table_int(sink, (int64_t)sum);
    table_int(sink, (int64_t)histogram_quantile(histogram, 500));
    table_int(sink, (int64_t)histogram_quantile(histogram, 950));
    table_int(sink, (int64_t)histogram_quantile(histogram, 990));
}

static void write_reasons(struct table_sink *sink, const struct stats_call_view *view)
{
    struct buffer out = BUFFER_INIT(LIST_MAX);
    for (uint32_t i = 0; i < STATS_CALL_REASONS && view->reasons[i].word != NULL; i++)
        buffer_printf(&out, "%s%s=%" PRIu64, out.size > 0 ? " " : "", view->reasons[i].word,
                      view->reasons[i].count);
    table_span(sink, buffer_span(&out));
    buffer_fini(&out);
}

static void write_statement(void *argument, const struct stats_call_view *view)
{
    const struct look *look = argument;
    struct table_sink *sink = look->sink;
    char fingerprint[17], seen[CONSOLE_TIME_SIZE];
    snprintf(fingerprint, sizeof(fingerprint), "%016" PRIx64, view->key.fingerprint);
    table_text(sink, view->key.fingerprint == 0 ? NULL : fingerprint);
    table_text(sink, view->key.database);
    table_text(sink, view->key.user);
    table_text(sink, view->key.service);
    table_int(sink, (int64_t)view->calls);
    table_int(sink, (int64_t)view->rows);
    table_int(sink, (int64_t)view->bytes);
    table_int(sink, (int64_t)view->errors);
    write_times(sink, view->took_us, view->took);
    write_times(sink, view->waited_us, view->wait);
    table_int(sink, (int64_t)view->hits);
    table_int(sink, (int64_t)view->joins);
    table_int(sink, (int64_t)view->bypassed);
    write_reasons(sink, view);
    table_text(sink, console_time(look->wall + view->seen.us, seen));
    if (view->key.fingerprint == 0)
        table_null(sink);
    else
        table_span(sink, view->text);
    table_end_row(sink);
}

/* --- commands --------------------------------------------------------------------------------- */

fault console_show_statements(struct console *console, struct console_result *result)
{
    struct look look = {&result->sink, wall_now().us - now_exact().us};
    stats_calls_look(console->client->relay->pools.env->calls, write_statement, &look);
    return OK;
}

fault console_reset_statements(struct console *console, struct console_result *result)
{
    stats_calls_reset(console->client->relay->pools.env->calls);
    return OK;
}
