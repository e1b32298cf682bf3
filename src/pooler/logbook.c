#include "pooler/logbook.h"

#include "machine/log.h"
#include "pooler/pooler.h"
#include "relay/relay.h"
#include "stats/route_times.h"

#include <inttypes.h>

/* --- statistics of a period ------------------------------------------------------------------- */

static void row_add_pool(struct route_times *row, struct local_pool *pool)
{
    struct local_pool_stats since = stats_since(&pool->stats, &pool->log.told);
    pool->log.told = pool->stats;
    stats_add(&row->gone, &since);
    row->local_pools += 1;
    row->clients += pool->clients;
    row->waiting += (uint32_t)pool->claims.count;
    row->idle += (uint32_t)pool->idle.count;
    row->busy += (uint32_t)pool->busy.count;
}

static void row_take(struct route_times *row, struct route_times *times)
{
    row->line = times->line;
    histogram_merge(&row->query, &times->query);
    histogram_merge(&row->transaction, &times->transaction);
    histogram_merge(&row->wait, &times->wait);
    stats_add(&row->gone, &times->gone);
    times->query = times->transaction = times->wait = (struct histogram){{0}};
    times->gone = (struct local_pool_stats){0};
}

/* Adds a relay's counts to the caller's rows and resets them.  Runs on the relay's loop. */
static void look_at_times(struct relay *relay, void *argument)
{
    struct map *rows = argument;
    struct map_link *next;
    if (relay == NULL)
        return;
    LIST_EACH (&relay->pools.all, it) {
        struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        struct route_times_key key = route_times_key(pool->log.times);
        struct route_times *row = route_times_of(rows, &key);
        if (row != NULL)
            row_add_pool(row, pool);
    }
    for (struct map_link *link = map_next(&relay->pools.route_times, NULL); link != NULL;
         link = next) {
        struct route_times *times = MAP_ENTRY(link, struct route_times, link);
        struct route_times_key key = route_times_key(times);
        struct route_times *row = route_times_of(rows, &key);
        next = map_next(&relay->pools.route_times, link);
        if (row != NULL)
            row_take(row, times);
        if (times->local_pools == 0)
            route_times_drop(&relay->pools.route_times, times);
    }
}

struct times {
    uint64_t p50, p95, p99;
};

static struct times times_of(const struct histogram *histogram)
{
    return (struct times){histogram_quantile(histogram, 500), histogram_quantile(histogram, 950),
                          histogram_quantile(histogram, 990)};
}

static void row_tell(const struct route_times *row, duration period)
{
    static const char *const modes[] = {"session", "transaction", "statement"};
    struct times query = times_of(&row->query);
    struct times transaction = times_of(&row->transaction);
    struct times wait = times_of(&row->wait);
    log_event(LOG_INFO, "route.statistics",
              "route=%u database=%s user=%s service=%s pool=%s period_s=%" PRId64 " pools=%u "
              "clients=%u waiting=%u idle=%u busy=%u logins=%" PRIu64 " transactions=%" PRIu64
              " queries=%" PRIu64 " received=%" PRIu64 " sent=%" PRIu64 " query_p50_us=%" PRIu64
              " query_p95_us=%" PRIu64 " query_p99_us=%" PRIu64 " transaction_p50_us=%" PRIu64
              " transaction_p95_us=%" PRIu64 " transaction_p99_us=%" PRIu64 " wait_p50_us=%" PRIu64
              " wait_p95_us=%" PRIu64 " wait_p99_us=%" PRIu64,
              row->line, row->database, row->user, row->service, modes[row->mode],
              period.us / 1000000, row->local_pools, row->clients, row->waiting, row->idle,
              row->busy, row->gone.logins, row->gone.transactions, row->gone.queries,
              row->gone.received, row->gone.sent, query.p50, query.p95, query.p99, transaction.p50,
              transaction.p95, transaction.p99, wait.p50, wait.p95, wait.p99);
}

void logbook_tell_routes(struct pooler *pooler, duration period)
{
    struct map rows = MAP_INIT(ROUTE_TIMES_MAX);
    pooler_look(pooler, look_at_times, &rows);
    for (struct map_link *link = map_next(&rows, NULL); link != NULL;
         link = map_next(&rows, link)) {
        const struct route_times *row = MAP_ENTRY(link, const struct route_times, link);
        if (row->clients > 0 || row->gone.queries > 0 || row->gone.logins > 0)
            row_tell(row, period);
    }
    route_times_clear(&rows);
}
