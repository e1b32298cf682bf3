#include "pooler/logbook.h"

#include "machine/log.h"
#include "pooler/pooler.h"
#include "relay/relay.h"
#include "stats/tally.h"

#include <inttypes.h>

/* --- what a period has brought ---------------------------------------------------------------- */

static void row_add_pool(struct tally *row, struct local_pool *pool)
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

static void row_take(struct tally *row, struct tally *tally)
{
    row->line = tally->line;
    histogram_merge(&row->query, &tally->query);
    histogram_merge(&row->transaction, &tally->transaction);
    histogram_merge(&row->wait, &tally->wait);
    stats_add(&row->gone, &tally->gone);
    tally->query = tally->transaction = tally->wait = (struct histogram){{0}};
    tally->gone = (struct local_pool_stats){0};
}

/* On each relay's own loop: what it counted goes into the asker's rows, and starts anew. */
static void look_at_tallies(struct relay *relay, void *argument)
{
    struct map *rows = argument;
    struct map_link *next;
    if (relay == NULL)
        return;
    LIST_EACH (&relay->pools.all, it) {
        struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        struct tally_key key = tally_key_of(pool->log.tally);
        struct tally *row = tally_of(rows, &key);
        if (row != NULL)
            row_add_pool(row, pool);
    }
    for (struct map_link *link = map_next(&relay->pools.tallies, NULL); link != NULL; link = next) {
        struct tally *tally = MAP_ENTRY(link, struct tally, link);
        struct tally_key key = tally_key_of(tally);
        struct tally *row = tally_of(rows, &key);
        next = map_next(&relay->pools.tallies, link);
        if (row != NULL)
            row_take(row, tally);
        if (tally->local_pools == 0)
            tally_drop(&relay->pools.tallies, tally);
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

static void row_tell(const struct tally *row, duration period)
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
    struct map rows = MAP_INIT(TALLIES_MOST);
    pooler_look(pooler, look_at_tallies, &rows);
    for (struct map_link *link = map_next(&rows, NULL); link != NULL;
         link = map_next(&rows, link)) {
        const struct tally *row = MAP_ENTRY(link, const struct tally, link);
        if (row->clients > 0 || row->gone.queries > 0 || row->gone.logins > 0)
            row_tell(row, period);
    }
    tallies_clear(&rows);
}
