/*
 * console_slots.c - SHOW SLOTS, SHOW CLAIMS and SHOW SERVICES: connections, claims and services as
 * the fleet sees them.
 *
 * A look at each relay copies records; text is made from them afterwards, on the console's own
 * coroutine.  What is known of backends and services is on the pooler machine, which a look visits
 * last.
 */
#include "admin/console_groups_parts.h"
#include "admin/console_parts.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "pool/claim.h"
#include "pool/router.h"
#include "relay/relay.h"

#include <stdio.h>

/* Records that are written before other coroutines of this relay run. */
#define RECORDS_AT_A_TIME 64
#define NAME_MAX_SHOWN    64

static const struct console_column slot_columns[] = {
    {"id", COLUMN_TEXT, "`id` of the server in SHOW SERVERS; null: `failed`"},
    {"service", COLUMN_TEXT, "service that the backend belongs to"},
    {"addr", COLUMN_TEXT, "address and port of the backend"},
    {"database", COLUMN_TEXT, "database of the pool, as clients name it"},
    {"user", COLUMN_TEXT, "user of the pool"},
    {"relay", COLUMN_INT4, "number of the relay that has it"},
    {"state", COLUMN_TEXT,
     "`connecting`, `idle`, `claimed`, `recycling` (its session is put in order), `checking` (an "
     "empty query asks whether it answers); `failed`: one row for each backend that waits before "
     "the next login"},
    {"state_ms", COLUMN_INT8,
     "milliseconds in this state; `claimed`: since the claim was made; `recycling`: since its "
     "latest query ended"},
    {"age_ms", COLUMN_INT8, "milliseconds since the login began; null: `failed`"},
    {"retry_in_ms", COLUMN_INT8, "`failed`: milliseconds until the next login; else null"},
};
const struct console_view console_view_slots = CONSOLE_VIEW(slot_columns);

static const struct console_column claim_columns[] = {
    {"client", COLUMN_TEXT, "`id` of the client in SHOW CLIENTS; null: a claim of the pooler's"},
    {"service", COLUMN_TEXT, "service of the pool"},
    {"database", COLUMN_TEXT, "database of the pool, as clients name it"},
    {"user", COLUMN_TEXT, "user of the pool"},
    {"relay", COLUMN_INT4, "number of the relay that has it"},
    {"state", COLUMN_TEXT, "`waiting` or `held`"},
    {"age_ms", COLUMN_INT8, "milliseconds since it was made"},
    {"place", COLUMN_INT4, "place in its relay's queue, from 1; null: `held`"},
    {"slot", COLUMN_TEXT, "`id` of the server that it holds; null: `waiting`"},
};
const struct console_view console_view_claims = CONSOLE_VIEW(claim_columns);

struct record {
    struct uuid slot;
    struct uuid client;
    bool has_slot;
    bool has_client;
    const char *state; /* static */
    int64_t state_us;
    int64_t age_us;
    uint32_t relay;
    uint32_t place;
    char service[NAME_MAX_SHOWN + 1];
    char database[NAME_MAX_SHOWN + 1];
    char user[NAME_MAX_SHOWN + 1];
    char address[ADDRESS_TEXT_SIZE];
};

struct gather {
    struct buffer records; /* struct record */
    struct router *router;
    struct table_sink *sink;
    int64_t wall; /* wall clock, us */
};

/* --- copying, on each relay ------------------------------------------------------------------- */

static struct record record_of(const struct local_pool *pool, const struct relay *relay)
{
    struct record record = {.relay = relay->index};
    snprintf(record.service, sizeof(record.service), "%s", pool->route->service->name);
    snprintf(record.database, sizeof(record.database), "%s", pool->database);
    snprintf(record.user, sizeof(record.user), "%s", pool->user);
    return record;
}

static void record_slot(struct record *record, const struct server *server)
{
    record->slot = server->id;
    record->has_slot = true;
    if (server->client == NULL)
        return;
    record->client = server->client->id;
    record->has_client = true;
}

static int64_t since_us(moment at)
{
    return at.us == 0 ? 0 : between(at, now()).us;
}

/* Returns the time since the server's identifier was made: its first 48 bits are milliseconds. */
static int64_t age_of(const struct gather *gather, const struct server *server)
{
    int64_t made = 0;
    for (size_t i = 0; i < 6; i++)
        made = made << 8 | server->id.bytes[i];
    return MAX_OF(gather->wall - made * 1000, INT64_C(0));
}

static void record_state(struct record *record, const struct server *server)
{
    switch (server->state) {
    case SERVER_CONNECTING:
        record->state = "connecting";
        record->state_us = record->age_us;
        return;
    case SERVER_IDLE:
        record->state = "idle";
        record->state_us = since_us(server->used);
        return;
    case SERVER_ACTIVE:
        record->state = "claimed";
        record->state_us =
            since_us(server->client == NULL ? server->used : server->client->claim.since);
        return;
    default:
        record->state = server->checking ? "checking" : "recycling";
        record->state_us = since_us(server->checking ? server->heard : server->used);
    }
}

static void gather_slot(struct gather *gather, const struct relay *relay,
                        const struct server *server)
{
    struct record record = record_of(server->pool, relay);
    record_slot(&record, server);
    record.age_us = age_of(gather, server);
    record_state(&record, server);
    if (server_address(server) != NULL)
        (void)address_text(server_address(server), record.address, sizeof(record.address));
    buffer_append(&gather->records, &record, sizeof(record));
}

static void look_at_slots(struct relay *relay, void *argument)
{
    struct gather *gather = argument;
    if (relay == NULL) {
        router_show_failed(gather->router, gather->sink);
        return;
    }
    LIST_EACH (&relay->pools.all, it) {
        const struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        LIST_EACH (&pool->busy, at)
            gather_slot(gather, relay, LIST_ENTRY(at, struct server, node));
        LIST_EACH (&pool->idle, at)
            gather_slot(gather, relay, LIST_ENTRY(at, struct server, node));
    }
}

static void gather_waiting(struct gather *gather, const struct relay *relay,
                           const struct local_pool *pool)
{
    uint32_t place = 0;
    LIST_EACH (&pool->claims, it) {
        const struct claim *claim = LIST_ENTRY(it, struct claim, node);
        struct record record = record_of(pool, relay);
        record.state = "waiting";
        record.place = ++place;
        record.age_us = since_us(claim->since);
        record.has_client = claim->client != NULL;
        if (claim->client != NULL)
            record.client = claim->client->id;
        buffer_append(&gather->records, &record, sizeof(record));
    }
}

static void look_at_claims(struct relay *relay, void *argument)
{
    struct gather *gather = argument;
    if (relay == NULL)
        return;
    LIST_EACH (&relay->pools.all, it) {
        const struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        gather_waiting(gather, relay, pool);
        LIST_EACH (&pool->busy, at) {
            const struct server *server = LIST_ENTRY(at, struct server, node);
            if (server->state != SERVER_ACTIVE)
                continue;
            struct record record = record_of(pool, relay);
            record_slot(&record, server);
            record_state(&record, server);
            record.age_us = record.state_us;
            record.state = "held";
            buffer_append(&gather->records, &record, sizeof(record));
        }
    }
}

/* --- writing, on the console's relay ---------------------------------------------------------- */

static const char *id_text(bool any, const struct uuid *id, char text[UUID_TEXT_SIZE])
{
    return any ? uuid_text(id, text) : NULL;
}

static void write_slot(struct table_sink *sink, const struct record *record)
{
    char id[UUID_TEXT_SIZE];
    table_text(sink, id_text(record->has_slot, &record->slot, id));
    table_text(sink, record->service);
    table_text(sink, record->address);
    table_text(sink, record->database);
    table_text(sink, record->user);
    table_int(sink, record->relay);
    table_text(sink, record->state);
    table_int(sink, record->state_us / 1000);
    table_int(sink, record->age_us / 1000);
    table_null(sink);
}

static void write_claim(struct table_sink *sink, const struct record *record)
{
    char id[UUID_TEXT_SIZE], slot[UUID_TEXT_SIZE];
    table_text(sink, id_text(record->has_client, &record->client, id));
    table_text(sink, record->service);
    table_text(sink, record->database);
    table_text(sink, record->user);
    table_int(sink, record->relay);
    table_text(sink, record->state);
    table_int(sink, record->age_us / 1000);
    if (record->place > 0)
        table_int(sink, record->place);
    else
        table_null(sink);
    table_text(sink, id_text(record->has_slot, &record->slot, slot));
}

/* Suspends from time to time. */
static fault show_records(struct console *console, struct console_result *result,
                          void (*look)(struct relay *relay, void *argument),
                          void (*write)(struct table_sink *sink, const struct record *record))
{
    struct gather gather = {.records = BUFFER_INIT(CONSOLE_RECORDS_MAX),
                            .router = pooler_router(console->pooler),
                            .sink = &result->sink,
                            .wall = wall_now().us};
    pooler_look(console->pooler, look, &gather);
    fault gathered = buffer_fault(&gather.records);
    size_t count = gathered == OK ? gather.records.size / sizeof(struct record) : 0;
    for (size_t i = 0; i < count; i++) {
        struct record record;
        memcpy(&record, gather.records.at + i * sizeof(record), sizeof(record));
        write(&result->sink, &record);
        table_end_row(&result->sink);
        if (i % RECORDS_AT_A_TIME == RECORDS_AT_A_TIME - 1)
            co_yield ();
    }
    buffer_fini(&gather.records);
    return gathered;
}

fault console_show_slots(struct console *console, struct console_result *result)
{
    return show_records(console, result, look_at_slots, write_slot);
}

fault console_show_claims(struct console *console, struct console_result *result)
{
    return show_records(console, result, look_at_claims, write_claim);
}

/* --- services --------------------------------------------------------------------------------- */

static const struct console_column service_columns[] = {
    {"service", COLUMN_TEXT, "the service"},
    {"resolver", COLUMN_TEXT, "how its servers are found: `fixed`, `dns`, `srv`"},
    {"state", COLUMN_TEXT,
     "`online`; `none_online`: no backend accepts logins; `no_backends`: none is known, or all are "
     "drained"},
    {"backends", COLUMN_INT4, "backends that are known now"},
    {"online", COLUMN_INT4, "of these, how many accept logins; replicas and drained ones do not"},
    {"drained", COLUMN_INT4, "backends that DRAIN has taken out of service"},
    {"slots", COLUMN_INT4, "connections to its backends, logins in progress included"},
    {"logins", COLUMN_INT4, "logins in progress"},
    {"waiting", COLUMN_INT4, "claims that wait"},
    {"refused_no_backends", COLUMN_INT8,
     "claims refused, in total, because the service had no backends"},
    {"refused_none_online", COLUMN_INT8, "because no backend accepted logins"},
    {"refused_all_used", COLUMN_INT8, "because all connections that a limit allows were in use"},
    {"refused_shed", COLUMN_INT8, "by `claim_delay_target`"},
    {"refused_paused", COLUMN_INT8, "because the database was paused"},
    {"refused_rejected", COLUMN_INT8, "because a backend rejected the login for good"},
    {"checks", COLUMN_INT8, "empty queries to idle servers, in total"},
    {"checks_failed", COLUMN_INT8, "of these, how many got no proper answer in time"},
    {"down_ms", COLUMN_INT8,
     "milliseconds since a login first failed; null: the latest login has succeeded"},
    {"problem", COLUMN_TEXT, "the latest error; null: the latest login has succeeded"},
    {"primary", COLUMN_TEXT,
     "what probes know of its primary: `elected`; `none`; `contested`: several servers call "
     "themselves primary; `fencing`: connections to the old one are being ended; `unproven`: not "
     "found yet; null: there are no probes"},
    {"elections", COLUMN_INT8, "times that a primary was elected, the first included"},
    {"late_transactions", COLUMN_INT8,
     "at most so many transactions that old primaries had completed are not at their successors, "
     "in total: [failover](failover.md#what-clients-see)"},
};
const struct console_view console_view_services = CONSOLE_VIEW(service_columns);

struct service_row {
    struct console_groups_row row;
    bool live; /* `seen` is filled */
    struct router_service seen;
    uint32_t waiting;
    uint64_t counts[STATS_SERVICE_COUNTS];
};

struct services_look {
    struct console_groups groups;
    struct router *router;
};

static struct service_row *service_row(struct services_look *look, const char *name)
{
    return console_groups_row(&look->groups, span_text(name), SPAN_NONE);
}

static void see_service(void *argument, const struct router_service *service)
{
    struct service_row *row = service_row(argument, service->name);
    if (row == NULL)
        return;
    row->live = true;
    row->seen = *service;
    row->seen.name = NULL; /* the row has it */
}

static void look_at_services(struct relay *relay, void *argument)
{
    struct services_look *look = argument;
    struct service_row *row;
    if (relay == NULL) {
        router_each_service(look->router, see_service, look);
        return;
    }
    const struct map *services = &relay->pools.services;
    for (struct map_link *link = map_next(services, NULL); link != NULL;
         link = map_next(services, link)) {
        const struct stats_service *counts = MAP_ENTRY(link, struct stats_service, link);
        row = service_row(look, counts->name);
        for (size_t i = 0; row != NULL && i < STATS_SERVICE_COUNTS; i++)
            row->counts[i] += counts->counts[i];
    }
    LIST_EACH (&relay->pools.all, it) {
        const struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        row = service_row(look, pool->route->service->name);
        if (row != NULL)
            row->waiting += pool->claims.count;
    }
}

static void write_service(struct table_sink *sink, const struct service_row *row)
{
    static const char *const states[] = {[FLEET_NO_BACKENDS] = "no_backends",
                                         [FLEET_NONE_ONLINE] = "none_online",
                                         [FLEET_ALL_USED] = "online"};
    const struct router_service *seen = &row->seen;
    table_span(sink, row->row.first);
    table_text(sink, seen->resolver);
    table_text(sink, states[seen->lacks]);
    table_int(sink, seen->counts.backends);
    table_int(sink, seen->counts.online);
    table_int(sink, seen->counts.drained);
    table_int(sink, seen->counts.slots);
    table_int(sink, seen->counts.logins);
    table_int(sink, row->waiting);
    for (size_t i = 0; i < STATS_SERVICE_COUNTS; i++)
        table_int(sink, (int64_t)row->counts[i]);
    if (seen->down.us == 0)
        table_null(sink);
    else
        table_int(sink, between(seen->down, now()).us / 1000);
    table_text(sink, seen->down.us == 0 ? NULL : seen->problem);
    table_text(sink, seen->primary);
    table_int(sink, (int64_t)seen->elections);
    table_int(sink, (int64_t)seen->late);
    table_end_row(sink);
}

fault console_show_services(struct console *console, struct console_result *result)
{
    struct services_look look = {.router = pooler_router(console->pooler)};
    console_groups_init(&look.groups, sizeof(struct service_row));
    pooler_look(console->pooler, look_at_services, &look);
    LIST_EACH (&look.groups.rows, it) {
        const struct service_row *row =
            CONTAINER_OF(LIST_ENTRY(it, struct console_groups_row, node), struct service_row, row);
        if (row->live)
            write_service(&result->sink, row);
    }
    fault shown = console_groups_fault(&look.groups);
    console_groups_fini(&look.groups);
    return shown;
}
