/*
 * console_histograms.c - SHOW HISTOGRAMS.
 *
 * Relays count times in histograms, by route, which the log takes every period.  What it has taken
 * is kept in sums (struct route_times_taken), so that no count decreases and a reader can compute
 * quantiles of any interval from two results.
 */
#include "admin/console_parts.h"
#include "relay/relay.h"

#include <stdlib.h>

static const struct console_column histogram_columns[] = {
    {"kind", COLUMN_TEXT, "`query`, `transaction`, or `wait`: a client's wait for a server"},
    {"from_us", COLUMN_INT8, "least duration that this row counts, in microseconds"},
    {"below_us", COLUMN_INT8, "durations below this; null: all that are longer"},
    {"count", COLUMN_INT8, "since the start, over all routes; rows that count none are left out"},
};
const struct console_view console_view_histograms = CONSOLE_VIEW(histogram_columns);

static void look_at_times(struct relay *relay, void *argument)
{
    struct route_times_taken *sums = argument;
    if (relay == NULL)
        return;
    const struct route_times_taken *taken = &relay->pools.taken;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        sums->query.counts[i] += taken->query.counts[i];
        sums->transaction.counts[i] += taken->transaction.counts[i];
        sums->wait.counts[i] += taken->wait.counts[i];
    }
    for (struct map_link *link = map_next(&relay->pools.route_times, NULL); link != NULL;
         link = map_next(&relay->pools.route_times, link))
        route_times_sum(sums, MAP_ENTRY(link, const struct route_times, link));
}

static void write_rows(struct table_sink *sink, const char *kind, const struct histogram_sum *sum)
{
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (sum->counts[i] == 0)
            continue;
        table_text(sink, kind);
        table_int(sink, (int64_t)histogram_bucket_start(i));
        if (i + 1 < HISTOGRAM_BUCKETS)
            table_int(sink, (int64_t)histogram_bucket_start(i + 1));
        else
            table_null(sink);
        table_int(sink, (int64_t)sum->counts[i]);
        table_end_row(sink);
    }
}

fault console_show_histograms(struct console *console, struct console_result *result)
{
    struct route_times_taken *sums = calloc(1, sizeof(*sums));
    if (sums == NULL)
        return fault_raise(FAULT_MEMORY, "no memory for %zu bytes of sums", sizeof(*sums));
    pooler_look(console->pooler, look_at_times, sums);
    write_rows(&result->sink, "query", &sums->query);
    write_rows(&result->sink, "transaction", &sums->transaction);
    write_rows(&result->sink, "wait", &sums->wait);
    free(sums);
    return OK;
}
