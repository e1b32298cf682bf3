#include "pooler/logbook.h"

#include "machine/log.h"
#include "pooler/pooler.h"
#include "relay/relay.h"
#include "stats/route_times.h"

#include <stdlib.h>

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
    if (times->version >= row->version) {
        row->version = times->version;
        row->line = times->line;
    }
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
        if (row != NULL || times->local_pools == 0)
            route_times_sum(&relay->pools.taken, times);
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
    log_event(
        LOG_INFO, "route.statistics", log_number("route", row->line),
        log_number("version", row->version),
        log_text("obsolete", row->obsolete != 0 ? "yes" : "no"),
        log_text("database", row->database), log_text("user", row->user),
        log_text("service", row->service), log_text("pool", modes[row->mode]),
        log_number("period_s", period.us / 1000000), log_number("pools", row->local_pools),
        log_number("clients", row->clients), log_number("waiting", row->waiting),
        log_number("idle", row->idle), log_number("busy", row->busy),
        log_number("logins", row->gone.logins), log_number("transactions", row->gone.transactions),
        log_number("queries", row->gone.queries), log_number("received", row->gone.received),
        log_number("sent", row->gone.sent), log_number("query_p50_us", query.p50),
        log_number("query_p95_us", query.p95), log_number("query_p99_us", query.p99),
        log_number("transaction_p50_us", transaction.p50),
        log_number("transaction_p95_us", transaction.p95),
        log_number("transaction_p99_us", transaction.p99), log_number("wait_p50_us", wait.p50),
        log_number("wait_p95_us", wait.p95), log_number("wait_p99_us", wait.p99));
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

/* --- obsolete pools --------------------------------------------------------------------------- */

/* One pool that a reload has made obsolete. */
struct outdated {
    struct map_link link;
    uint64_t version;
    uint64_t clients; /* over all relays */
    const char *database;
    const char *user;
    char texts[];
};

static bool outdated_is(const struct map_link *link, const void *argument)
{
    const struct outdated *row = MAP_ENTRY(link, const struct outdated, link);
    const struct local_pool *pool = argument;
    return row->version == pool->config->version && strcmp(row->database, pool->database) == 0 &&
           strcmp(row->user, pool->user) == 0;
}

/* Finds or creates the row of a pool.  NULL: no memory. */
static struct outdated *outdated_of(struct map *rows, const struct local_pool *pool)
{
    uint64_t hash = hash_span(span_text(pool->database)) * 31 +
                    hash_span(span_text(pool->user)) * 7 + pool->config->version;
    struct map_link *link = map_find(rows, hash, outdated_is, pool);
    if (link != NULL)
        return MAP_ENTRY(link, struct outdated, link);
    struct outdated *row =
        calloc(1, sizeof(*row) + strlen(pool->database) + strlen(pool->user) + 2);
    if (row == NULL)
        return NULL;
    size_t size = strlen(pool->database) + 1;
    row->database = memcpy(row->texts, pool->database, size);
    row->user = memcpy(row->texts + size, pool->user, strlen(pool->user) + 1);
    row->version = pool->config->version;
    if (map_insert(rows, &row->link, hash) == OK)
        return row;
    free(row);
    return NULL;
}

static void look_at_outdated(struct relay *relay, void *argument)
{
    if (relay == NULL)
        return;
    LIST_EACH (&relay->pools.all, it) {
        struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        if (!pool->outdated)
            continue;
        pool->outdated = false;
        struct outdated *row = outdated_of(argument, pool);
        if (row != NULL)
            row->clients += pool->clients;
    }
}

static void outdated_tell(struct map_link *link)
{
    struct outdated *row = MAP_ENTRY(link, struct outdated, link);
    log_event(LOG_NOTICE, "route.obsolete", log_text("database", row->database),
              log_text("user", row->user), log_number("version", row->version),
              log_number("clients", row->clients));
    free(row);
}

void logbook_tell_obsolete(struct pooler *pooler)
{
    struct map rows = MAP_INIT(LOGBOOK_OUTDATED_MAX);
    pooler_look(pooler, look_at_outdated, &rows);
    map_clear(&rows, outdated_tell);
}
