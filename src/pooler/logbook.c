#include "pooler/logbook.h"

#include "machine/clock.h"
#include "machine/ids.h"
#include "machine/log.h"
#include "pooler/pooler.h"
#include "wire/messages.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* --- tallies ---------------------------------------------------------------------------------- */

/* What tells one route's times from another's, over versions of the configuration. */
struct tally_key {
    const char *database;
    const char *user;
    const char *service;
    enum pool_mode mode;
};

static struct tally_key key_of(const struct tally *tally)
{
    return (struct tally_key){tally->database, tally->user, tally->service, tally->mode};
}

static uint64_t key_hash(const struct tally_key *key)
{
    return hash_span(span_text(key->database)) * 31 + hash_span(span_text(key->user)) * 7 +
           hash_span(span_text(key->service)) + (uint64_t)key->mode;
}

static bool tally_is(const struct map_link *link, const void *argument)
{
    const struct tally *tally = MAP_ENTRY(link, const struct tally, link);
    const struct tally_key *key = argument;
    return tally->mode == key->mode && strcmp(tally->database, key->database) == 0 &&
           strcmp(tally->user, key->user) == 0 && strcmp(tally->service, key->service) == 0;
}

/* One after the other in the tally's own room. */
static const char *tally_keep(char **room, const char *text)
{
    char *kept = *room;
    size_t size = strlen(text) + 1;
    memcpy(kept, text, size);
    *room += size;
    return kept;
}

/* Found or made; NULL: no memory. */
static struct tally *tally_of(struct map *map, const struct tally_key *key)
{
    uint64_t hash = key_hash(key);
    struct map_link *link = map_find(map, hash, tally_is, key);
    if (link != NULL)
        return MAP_ENTRY(link, struct tally, link);
    size_t size = strlen(key->database) + strlen(key->user) + strlen(key->service) + 3;
    struct tally *tally = calloc(1, sizeof(*tally) + size);
    if (tally == NULL)
        return NULL;
    char *room = tally->texts;
    tally->database = tally_keep(&room, key->database);
    tally->user = tally_keep(&room, key->user);
    tally->service = tally_keep(&room, key->service);
    tally->mode = key->mode;
    if (map_insert(map, &tally->link, hash) == OK)
        return tally;
    free(tally);
    return NULL;
}

static void tally_drop(struct map *map, struct tally *tally)
{
    map_remove(map, &tally->link);
    free(tally);
}

static void tally_end(struct map_link *link)
{
    free(MAP_ENTRY(link, struct tally, link));
}

void logbook_clear(struct map *tallies)
{
    map_clear(tallies, tally_end);
}

/* --- shares ----------------------------------------------------------------------------------- */

void logbook_renew(struct share *share)
{
    share->log.slow_us = share->route->slow_query.us;
    share->log.tally->line = share->route->line;
    share->log.noted = share->log.slow_us != INT64_MAX ? share->config->log_query_text : 0;
}

fault logbook_enter(struct share *share)
{
    const struct route_config *route = share->route;
    struct tally_key key = {.database = route->database != NULL ? route->database : "*",
                            .user = route->user != NULL ? route->user : "*",
                            .service = route->service != NULL ? route->service->name : "",
                            .mode = route->mode};
    share->log.tally = tally_of(&share->relay->tallies, &key);
    if (share->log.tally == NULL)
        return FAULT_MEMORY;
    share->log.tally->shares += 1;
    logbook_renew(share);
    return OK;
}

static struct share_stats stats_since(const struct share_stats *now, const struct share_stats *then)
{
    struct share_stats since = *now;
    stats_subtract(&since, then);
    return since;
}

void logbook_leave(struct share *share)
{
    struct tally *tally = TAKE(share->log.tally);
    struct share_stats since = stats_since(&share->stats, &share->log.told);
    stats_add(&tally->gone, &since);
    tally->shares -= 1;
    if (tally->shares == 0 && share->relay->config->log_stats_period.us == 0)
        tally_drop(&share->relay->tallies, tally);
}

/* --- what a period has brought ---------------------------------------------------------------- */

static void row_add_share(struct tally *row, struct share *share)
{
    struct share_stats since = stats_since(&share->stats, &share->log.told);
    share->log.told = share->stats;
    stats_add(&row->gone, &since);
    row->shares += 1;
    row->clients += share->clients;
    row->waiting += (uint32_t)share->claims.count;
    row->idle += (uint32_t)share->idle.count;
    row->busy += (uint32_t)share->busy.count;
}

static void row_take(struct tally *row, struct tally *tally)
{
    row->line = tally->line;
    histogram_merge(&row->query, &tally->query);
    histogram_merge(&row->transaction, &tally->transaction);
    histogram_merge(&row->wait, &tally->wait);
    stats_add(&row->gone, &tally->gone);
    tally->query = tally->transaction = tally->wait = (struct histogram){{0}};
    tally->gone = (struct share_stats){0};
}

/* On each relay's own loop: what it counted goes into the asker's rows, and starts anew. */
static void look_at_tallies(struct relay *relay, void *argument)
{
    struct map *rows = argument;
    struct map_link *next;
    if (relay == NULL)
        return;
    LIST_EACH (&relay->shares, it) {
        struct share *share = LIST_ENTRY(it, struct share, node);
        struct tally_key key = key_of(share->log.tally);
        struct tally *row = tally_of(rows, &key);
        if (row != NULL)
            row_add_share(row, share);
    }
    for (struct map_link *link = map_next(&relay->tallies, NULL); link != NULL; link = next) {
        struct tally *tally = MAP_ENTRY(link, struct tally, link);
        struct tally_key key = key_of(tally);
        struct tally *row = tally_of(rows, &key);
        next = map_next(&relay->tallies, link);
        if (row != NULL)
            row_take(row, tally);
        if (tally->shares == 0)
            tally_drop(&relay->tallies, tally);
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
              period.us / 1000000, row->shares, row->clients, row->waiting, row->idle, row->busy,
              row->gone.logins, row->gone.transactions, row->gone.queries, row->gone.received,
              row->gone.sent, query.p50, query.p95, query.p99, transaction.p50, transaction.p95,
              transaction.p99, wait.p50, wait.p95, wait.p99);
}

void logbook_tell_routes(struct pooler *pooler, duration period)
{
    struct map rows = MAP_INIT(LOGBOOK_TALLIES_MOST);
    pooler_look(pooler, look_at_tallies, &rows);
    for (struct map_link *link = map_next(&rows, NULL); link != NULL;
         link = map_next(&rows, link)) {
        const struct tally *row = MAP_ENTRY(link, const struct tally, link);
        if (row->clients > 0 || row->gone.queries > 0 || row->gone.logins > 0)
            row_tell(row, period);
    }
    logbook_clear(&rows);
}

/* --- slow queries ----------------------------------------------------------------------------- */

/* The text that a Parse, a simple Query or the use of a prepared statement is about. */
static struct span text_of(const struct client *client, uint8_t type, struct span body)
{
    struct wire_parse parse;
    struct wire_bind_names names;
    if (type == WIRE_QUERY)
        return body;
    if (type == WIRE_PARSE && wire_read_parse(body, &parse) == OK)
        return parse.query;
    if (type != WIRE_BIND || wire_read_bind_names(body, &names) != OK)
        return SPAN_NONE;
    const struct client_statement *named =
        names.statement.size > 0 ? client_statement_find(&client->statements, names.statement)
                                 : NULL;
    if (named != NULL)
        return span_of(named->statement->body, named->statement->size);
    if (names.statement.size == 0 && client->unnamed != NULL)
        return span_of(client->unnamed, client->unnamed_size);
    return SPAN_NONE;
}

void logbook_note(struct client *client, struct server *server, uint8_t type, struct span body)
{
    uint32_t most = client->share->log.noted;
    if (server->note_size > 0)
        return;
    struct span text = text_of(client, type, body);
    const uint8_t *end = text.size > 0 ? memchr(text.at, '\0', text.size) : NULL;
    size_t size = end != NULL ? (size_t)(end - text.at) : text.size;
    if (size == 0)
        return;
    if (server->note_room < most) {
        char *room = realloc(server->note, most);
        if (room == NULL)
            return;
        server->note = room;
        server->note_room = most;
    }
    server->note_size = (uint32_t)MIN_OF(size, (size_t)most);
    memcpy(server->note, text.at, server->note_size);
}

void logbook_slow(const struct client *client, const struct server *server, int64_t us)
{
    char own[UUID_TEXT_SIZE], other[UUID_TEXT_SIZE];
    const struct share *share = client->share;
    if (server->note_size > 0)
        log_event(LOG_NOTICE, "query.slow",
                  "client=%s server=%s pid=%u database=%s user=%s us=%" PRId64 " text=\"%.*s\"",
                  uuid_text(&client->id, own), uuid_text(&server->id, other), server->pid,
                  share->database, share->user, us, (int)server->note_size, server->note);
    else
        log_event(LOG_NOTICE, "query.slow",
                  "client=%s server=%s pid=%u database=%s user=%s us=%" PRId64,
                  uuid_text(&client->id, own), uuid_text(&server->id, other), server->pid,
                  share->database, share->user, us);
}

/* --- who comes and goes ----------------------------------------------------------------------- */

void logbook_client_came(const struct client *client, const char *database, const char *user)
{
    char id[UUID_TEXT_SIZE], other[UUID_TEXT_SIZE], from[ADDRESS_TEXT_SIZE];
    const struct server *server = client->server;
    if (!client->relay->config->log_connections)
        return;
    address_text(client->peer, from, sizeof(from));
    if (server != NULL)
        log_event(LOG_INFO, "client.connected",
                  "client=%s database=%s user=%s from=%s server=%s pid=%u",
                  uuid_text(&client->id, id), database, user, from, uuid_text(&server->id, other),
                  server->pid);
    else
        log_event(LOG_INFO, "client.connected", "client=%s database=%s user=%s from=%s",
                  uuid_text(&client->id, id), database, user, from);
}

void logbook_parting(struct client *client, const struct server *server)
{
    client->served_by = server->id;
    client->served_pid = server->pid;
}

void logbook_client_gone(const struct client *client, const char *reason)
{
    char id[UUID_TEXT_SIZE], other[UUID_TEXT_SIZE];
    const struct share *share = client->share;
    const struct server *last = client->last_server;
    const struct uuid *server = last != NULL ? &last->id : &client->served_by;
    uint32_t pid = last != NULL ? last->pid : client->served_pid;
    int64_t age = between(client->connected, now()).us / 1000;
    if (share == NULL || !client->relay->config->log_disconnections)
        return;
    if (pid != 0)
        log_event(LOG_INFO, "client.disconnected",
                  "client=%s database=%s user=%s server=%s pid=%u age_ms=%" PRId64 " reason=\"%s\"",
                  uuid_text(&client->id, id), share->database, share->user,
                  uuid_text(server, other), pid, age, reason);
    else
        log_event(LOG_INFO, "client.disconnected",
                  "client=%s database=%s user=%s age_ms=%" PRId64 " reason=\"%s\"",
                  uuid_text(&client->id, id), share->database, share->user, age, reason);
}

void logbook_assigned(const struct client *client, const struct server *server)
{
    char own[UUID_TEXT_SIZE], other[UUID_TEXT_SIZE];
    log_event(LOG_DEBUG, "client.served", "client=%s server=%s pid=%u database=%s user=%s",
              uuid_text(&client->id, own), uuid_text(&server->id, other), server->pid,
              client->share->database, client->share->user);
}
