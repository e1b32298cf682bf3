/*
 * console_pins.c - SHOW PINS and SHOW PIN_TOTALS.
 */
#include "admin/console_parts.h"
#include "machine/clock.h"
#include "relay/relay.h"

#include <stdio.h>

/* Records that are written before other coroutines of this relay run. */
#define RECORDS_AT_A_TIME 64
/* PostgreSQL truncates longer names. */
#define NAME_SIZE 64

static const struct console_column pins_columns[] = {
    {"client", COLUMN_TEXT, "UUID of the client"},
    {"server", COLUMN_TEXT, "UUID of the server that it is pinned to"},
    {"remote_pid", COLUMN_INT4, "process ID of the backend"},
    {"database", COLUMN_TEXT, "database that the client requested"},
    {"user", COLUMN_TEXT, "user name that the client logged in as"},
    {"route", COLUMN_INT4, "line of the client's route in the configuration file"},
    {"reason", COLUMN_TEXT, "the kind of state that pinned it first"},
    {"kinds", COLUMN_TEXT, "the kinds of state that it has now"},
    {"state", COLUMN_TEXT, "state of the client, as in SHOW CLIENTS"},
    {"age", COLUMN_INT8, "how long it has been pinned, in whole seconds"},
    {"since", COLUMN_TEXT, "UTC"},
    {"pinned", COLUMN_INT4, "pinned servers of this pool on this relay"},
    {"limit", COLUMN_INT4,
     "maximum of pinned servers of the pool, over all relays: pin_share of pool_size"},
};
const struct console_view console_view_pins = CONSOLE_VIEW(pins_columns);

static const struct console_column totals_columns[] = {
    {"kind", COLUMN_TEXT, "kind of state, as in `session_state`"},
    {"held", COLUMN_INT4, "servers that have this state now"},
    {"pinned", COLUMN_INT8, "times that a client was pinned for it"},
    {"cleaned", COLUMN_INT8, "servers that were cleaned of it"},
    {"rejected", COLUMN_INT8, "statements rejected by the route's policy"},
    {"over_limit", COLUMN_INT8, "statements rejected because of `pin_share`"},
};
const struct console_view console_view_pin_totals = CONSOLE_VIEW(totals_columns);

/* --- SHOW PINS -------------------------------------------------------------------------------- */

struct record {
    struct uuid client;
    struct uuid server;
    const char *state; /* static */
    char database[NAME_SIZE];
    char user[NAME_SIZE];
    uint32_t pid;
    uint32_t line;
    uint32_t pinned;
    uint32_t max;
    struct pin_view view;
};

static void gather_pin(struct buffer *records, const struct server *server, uint32_t pinned)
{
    const struct local_pool *pool = server->pool;
    struct record record = {
        .client = server->client->id,
        .server = server->id,
        .state = client_state_text(server->client),
        .pid = server->pid,
        .line = pool->route->line,
        .pinned = pinned,
        .max = local_pool_pin_max(pool->route),
    };
    snprintf(record.database, sizeof(record.database), "%s", pool->database);
    snprintf(record.user, sizeof(record.user), "%s", pool->user);
    pin_look(&server->session, &record.view);
    /* Copies the whole record or nothing, so that records can be read back. */
    uint8_t *at = buffer_room(records, sizeof(record));
    if (at == NULL)
        return;
    memcpy(at, &record, sizeof(record));
    records->size += sizeof(record);
}

static bool is_pinned(const struct server *server)
{
    return server->client != NULL && pin_holds(&server->session);
}

static void look_at_pins(struct relay *relay, void *argument)
{
    if (relay == NULL)
        return;
    LIST_EACH (&relay->pools.all, it) {
        const struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        uint32_t pinned = 0;
        LIST_EACH (&pool->busy, at)
            pinned += is_pinned(LIST_ENTRY(at, struct server, node));
        LIST_EACH (&pool->busy, at)
            if (is_pinned(LIST_ENTRY(at, struct server, node)))
                gather_pin(argument, LIST_ENTRY(at, struct server, node), pinned);
    }
}

static void kinds_text(uint16_t kinds, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (unsigned kind = 0; kind < QUERY_KINDS && used < size; kind++)
        if ((kinds & QUERY_KIND(kind)) != 0)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used > 0 ? " " : "",
                                     pin_kind_text((enum query_kind)kind));
}

static void write_pin(struct table_sink *sink, const struct record *record, int64_t wall)
{
    char id[UUID_TEXT_SIZE], peer[UUID_TEXT_SIZE], time[CONSOLE_TIME_SIZE], kinds[128];
    kinds_text(record->view.kinds, kinds, sizeof(kinds));
    table_text(sink, uuid_text(&record->client, id));
    table_text(sink, uuid_text(&record->server, peer));
    table_int(sink, (int32_t)record->pid);
    table_text(sink, record->database);
    table_text(sink, record->user);
    table_int(sink, record->line);
    table_text(sink, record->view.reason);
    table_text(sink, kinds);
    table_text(sink, record->state);
    table_int(sink, between(record->view.since, now()).us / 1000000);
    table_text(sink, console_time(wall + record->view.since.us, time));
    table_int(sink, record->pinned);
    table_int(sink, record->max);
    table_end_row(sink);
}

fault console_show_pins(struct console *console, struct console_result *result)
{
    struct buffer records = BUFFER_INIT(CONSOLE_RECORDS_MAX);
    int64_t wall = wall_now().us - now_exact().us;
    pooler_look(console->pooler, look_at_pins, &records);
    fault gathered = buffer_fault(&records);
    for (size_t at = 0; gathered == OK && at < records.size; at += sizeof(struct record)) {
        struct record record;
        memcpy(&record, records.at + at, sizeof(record));
        write_pin(&result->sink, &record, wall);
        if (at / sizeof(record) % RECORDS_AT_A_TIME == RECORDS_AT_A_TIME - 1)
            co_yield ();
    }
    buffer_fini(&records);
    if (gathered == FAULT_LIMIT)
        return fault_raise(FAULT_LIMIT, "the rows of pins exceed %zu MiB",
                           CONSOLE_RECORDS_MAX >> 20);
    return gathered;
}

/* --- SHOW PIN_TOTALS -------------------------------------------------------------------------- */

struct totals {
    struct pin_counts counts;
    uint32_t held[QUERY_KINDS];
};

static void look_at_totals(struct relay *relay, void *argument)
{
    struct totals *totals = argument;
    if (relay == NULL)
        return;
    for (unsigned kind = 0; kind < QUERY_KINDS; kind++) {
        totals->counts.pinned[kind] += relay->pools.pins.pinned[kind];
        totals->counts.cleaned[kind] += relay->pools.pins.cleaned[kind];
        totals->counts.rejected[kind] += relay->pools.pins.rejected[kind];
        totals->counts.full[kind] += relay->pools.pins.full[kind];
    }
    LIST_EACH (&relay->pools.all, it)
        LIST_EACH (&LIST_ENTRY(it, struct local_pool, node)->busy, at) {
            const struct server *server = LIST_ENTRY(at, struct server, node);
            struct pin_view view = {0};
            if (server->session.pin != NULL)
                pin_look(&server->session, &view);
            for (unsigned kind = 0; kind < QUERY_KINDS; kind++)
                totals->held[kind] += (view.kinds & QUERY_KIND(kind)) != 0;
        }
}

fault console_show_pin_totals(struct console *console, struct console_result *result)
{
    struct totals totals = {0};
    pooler_look(console->pooler, look_at_totals, &totals);
    for (unsigned kind = 0; kind < QUERY_KINDS; kind++) {
        table_text(&result->sink, pin_kind_text((enum query_kind)kind));
        table_int(&result->sink, totals.held[kind]);
        table_int(&result->sink, (int64_t)totals.counts.pinned[kind]);
        table_int(&result->sink, (int64_t)totals.counts.cleaned[kind]);
        table_int(&result->sink, (int64_t)totals.counts.rejected[kind]);
        table_int(&result->sink, (int64_t)totals.counts.full[kind]);
        table_end_row(&result->sink);
    }
    return OK;
}
