/*
 * console_connections.c - SHOW CLIENTS, SHOW SERVERS, SHOW SOCKETS and SHOW ACTIVE_SOCKETS.
 *
 * A look at each relay copies its connections into records, some at a time, because the relay is
 * blocked meanwhile.  Text is made from the records afterwards, on the console's own coroutine.
 */
#include "admin/console_parts.h"
#include "machine/clock.h"
#include "relay/relay.h"

#include <stdio.h>

#define COLUMNS_OF_CONNECTIONS 21
#define COLUMNS_OF_SOCKETS     28
/* Records that are written before other coroutines of this relay run. */
#define RECORDS_AT_A_TIME 64
/* Records that are copied before other coroutines of their relay run. */
#define RECORDS_AT_A_LOOK 256u
/* Maximum of bytes of a name or text that are shown. */
#define TEXT_MAX 256u

/* The columns of all four views; sockets have some more. */
#define CONNECTION_COLUMNS                                                                         \
    {"type", COLUMN_TEXT, "`C` client, `S` server"},                                               \
        {"user", COLUMN_TEXT, "user name that the client logged in as"},                           \
        {"database", COLUMN_TEXT,                                                                  \
         "database that the client requested; for console clients, the console's database"},       \
        {"replication", COLUMN_TEXT, "`none`, `physical` or `logical`"},                           \
        {"state", COLUMN_TEXT,                                                                     \
         "clients: `active`, `idle`, `waiting`, `login`; servers: `active`, `idle`, `tested` "     \
         "(being cleaned), `login`, `being_canceled`"},                                            \
        {"addr", COLUMN_TEXT, "address of the peer; `unix` for Unix sockets"},                     \
        {"port", COLUMN_INT4, "port of the peer"}, {"local_addr", COLUMN_TEXT, "our end"},         \
        {"local_port", COLUMN_INT4, "our end"},                                                    \
        {"connect_time", COLUMN_TEXT, "when the connection was accepted or opened, UTC"},          \
        {"request_time", COLUMN_TEXT, "when its latest turn, wait or idle period began, UTC"},     \
        {"wait", COLUMN_INT4, "how long a waiting client has waited, in whole seconds"},           \
        {"wait_us", COLUMN_INT4, "the remaining microseconds of `wait`"},                          \
        {"close_needed", COLUMN_INT4, "1: the connection closes at the end of its transaction"},   \
        {"ptr", COLUMN_TEXT, "the same as `id`"},                                                  \
        {"link", COLUMN_TEXT, "`ptr` of the server or client that it is linked to now"},           \
        {"remote_pid", COLUMN_INT4, "servers: process ID of the backend"},                         \
        {"tls", COLUMN_TEXT, "TLS protocol and cipher; empty: no TLS"},                            \
        {"application_name", COLUMN_TEXT, "as the session has it"},                                \
        {"prepared_statements", COLUMN_INT4, "number of named prepared statements"},               \
    {                                                                                              \
        "id", COLUMN_TEXT, "its UUID, as in log lines and errors"                                  \
    }

static const struct console_column columns[] = {CONNECTION_COLUMNS};
static const struct console_column socket_columns[] = {
    CONNECTION_COLUMNS,
    {"recv_pos", COLUMN_INT4, "always 0: buffered bytes begin at the start of their buffer"},
    {"pkt_pos", COLUMN_INT4, "always 0: as `recv_pos`"},
    {"pkt_remain", COLUMN_INT4, "always 0: messages are forwarded as they arrive"},
    {"send_pos", COLUMN_INT4, "always 0"},
    {"send_remain", COLUMN_INT4, "always 0: bytes that can't be sent yet are not read"},
    {"pkt_avail", COLUMN_INT4, "bytes received that wait for a server"},
    {"send_avail", COLUMN_INT4, "always 0"},
};
const struct console_view console_view_sockets = CONSOLE_VIEW(socket_columns);
static_assert(ARRAY_SIZE(socket_columns) == COLUMNS_OF_SOCKETS, "write_socket fills all columns");
const struct console_view console_view_connections = CONSOLE_VIEW(columns);
static_assert(ARRAY_SIZE(columns) == COLUMNS_OF_CONNECTIONS, "write_record fills all columns");

/* An address, without the path of a Unix socket. */
struct short_address {
    uint8_t bytes[offsetof(struct address, path)];
};

enum text { TEXT_USER, TEXT_DATABASE, TEXT_TLS, TEXT_APPLICATION, TEXTS };

/* One connection; its texts follow it in the buffer. */
struct record {
    struct uuid id;
    struct uuid peer_id;
    const char *state;       /* static */
    const char *replication; /* static */
    int64_t connected;       /* wall clock, us */
    int64_t request;         /* wall clock, us */
    int64_t wait;            /* us */
    uint32_t pid;
    uint32_t prepared;
    uint32_t kept; /* bytes that were read and not processed yet */
    uint16_t sizes[TEXTS];
    char type;
    bool bound; /* to peer_id */
    bool close_needed;
    struct short_address remote;
    struct short_address local;
};

struct gather {
    struct buffer records;
    int64_t wall;    /* wall clock at monotonic zero, us */
    uint64_t serial; /* of the relay's last client that was copied */
    bool clients;
    bool servers;
    bool active; /* only active ones */
    bool sockets;
};

/* --- copying, on each relay ------------------------------------------------------------------- */

static void shorten(struct short_address *to, const struct address *from)
{
    memcpy(to->bytes, from, sizeof(to->bytes));
}

static void record_stream(struct record *record, const struct stream *stream)
{
    struct address local = {.family = ADDRESS_NONE};
    if (!stream_open(stream) || stream_local(stream, &local) != OK)
        local.family = ADDRESS_NONE;
    shorten(&record->local, &local);
}

static void gather_add(struct gather *gather, struct record *record, const struct span texts[TEXTS])
{
    size_t size = sizeof(*record);
    for (size_t i = 0; i < TEXTS; i++) {
        record->sizes[i] = (uint16_t)MIN_OF(texts[i].size, TEXT_MAX);
        size += record->sizes[i];
    }
    /* Copies the whole record or nothing, so that records can be read back. */
    uint8_t *at = buffer_room(&gather->records, size);
    if (at == NULL)
        return;
    memcpy(at, record, sizeof(*record));
    at += sizeof(*record);
    for (size_t i = 0; i < TEXTS; i++) {
        if (record->sizes[i] > 0)
            memcpy(at, texts[i].at, record->sizes[i]);
        at += record->sizes[i];
    }
    gather->records.size += size;
}

static struct span param_of(const struct params *params, struct span name)
{
    const struct span *value = params == NULL ? NULL : params_find(params, name);
    return value == NULL ? SPAN_NONE : *value;
}

static int64_t wall_of(const struct gather *gather, moment at)
{
    return gather->wall + at.us;
}

static const char *client_state(const struct client *client)
{
    return client->claim.state == CLAIM_WAITING ? "waiting" : client_state_text(client);
}

/* Returns the kind of replication; the `replication` parameter tells physical from logical. */
static const char *replication_text(const struct local_pool *pool, const struct params *params)
{
    if (pool == NULL || !pool->route->is_replication)
        return "none";
    return span_is(param_of(params, SPAN("replication")), "database") ? "logical" : "physical";
}

static void gather_client(struct gather *gather, const struct client *client)
{
    const struct local_pool *pool = client->pool;
    const struct server *server = client->server != NULL ? client->server : client->claim.server;
    char tls[TEXT_MAX];
    struct record record = {
        .id = client->id,
        .state = client_state(client),
        .replication = replication_text(pool, client->params),
        .type = 'C',
        .connected = wall_of(gather, client->connected),
        .request = wall_of(gather, client->since.us == 0 ? client->connected : client->since),
        .prepared = client->statements.count,
        .kept = client->stash_size,
        .bound = server != NULL,
        .close_needed = client->leaving || (pool != NULL && pool->obsolete),
    };
    if (server != NULL)
        record.peer_id = server->id;
    if (client->claim.state == CLAIM_WAITING)
        record.wait = between(client->claim.since, now()).us;
    shorten(&record.remote, client->peer);
    record_stream(&record, &client->stream);
    struct span texts[TEXTS] = {
        [TEXT_USER] = pool != NULL ? span_text(pool->user) : param_of(client->params, SPAN("user")),
        [TEXT_DATABASE] =
            pool != NULL ? span_text(pool->database) : param_of(client->params, SPAN("database")),
        [TEXT_TLS] = span_text(stream_tls_text(&client->stream, tls, sizeof(tls))),
        [TEXT_APPLICATION] = param_of(client->params, SPAN("application_name")),
    };
    gather_add(gather, &record, texts);
}

static bool gather_wants(const struct gather *gather, const struct client *client)
{
    if (client->pool == NULL && !client->console)
        return false;
    if (client->internal && client->state == CLIENT_PARKED)
        return false; /* a session of the daemon that waits for its next execution */
    return !gather->active || strcmp(client_state(client), "active") == 0;
}

/* Copies clients, which are listed by serial number; returns true if there are more. */
static bool gather_clients(const struct relay *relay, struct gather *gather)
{
    uint32_t copied = 0;
    LIST_EACH (&relay->clients, it) {
        const struct client *client = LIST_ENTRY(it, struct client, node);
        if (client->serial <= gather->serial)
            continue;
        if (copied++ == RECORDS_AT_A_LOOK)
            return true;
        gather->serial = client->serial;
        if (gather_wants(gather, client))
            gather_client(gather, client);
    }
    gather->serial = 0;
    return false;
}

/* Returns the time of a version 7 UUID, which begins with milliseconds since 1970. */
static int64_t uuid_time(const struct uuid *id)
{
    uint64_t time = 0;
    for (size_t i = 0; i < 6; i++)
        time = time << 8 | id->bytes[i];
    return (int64_t)time * 1000;
}

static void gather_server(struct gather *gather, const struct server *server)
{
    const struct local_pool *pool = server->pool;
    const struct address nowhere = {.family = ADDRESS_NONE};
    char tls[TEXT_MAX];
    struct record record = {
        .id = server->id,
        .state = server_state_text(server),
        .replication = replication_text(pool, server->session.startup),
        .type = 'S',
        .connected = uuid_time(&server->id),
        .pid = server->pid,
        .prepared = server->session.statements.known.count,
        .bound = server->client != NULL,
        .close_needed = server->broken || pool->obsolete,
    };
    record.request = server->used.us == 0 ? record.connected : wall_of(gather, server->used);
    if (server->client != NULL)
        record.peer_id = server->client->id;
    shorten(&record.remote, server_address(server) == NULL ? &nowhere : server_address(server));
    record_stream(&record, &server->stream);
    struct span texts[TEXTS] = {
        [TEXT_USER] = span_text(pool->user),
        [TEXT_DATABASE] = span_text(pool->database),
        [TEXT_TLS] = span_text(stream_tls_text(&server->stream, tls, sizeof(tls))),
        [TEXT_APPLICATION] = param_of(server->session.params, SPAN("application_name")),
    };
    gather_add(gather, &record, texts);
}

static void gather_servers(const struct relay *relay, struct gather *gather)
{
    LIST_EACH (&relay->pools.all, it) {
        const struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        LIST_EACH (&pool->busy, at) {
            const struct server *server = LIST_ENTRY(at, struct server, node);
            if (!gather->active || server->state == SERVER_ACTIVE)
                gather_server(gather, server);
        }
        if (gather->active)
            continue;
        LIST_EACH (&pool->idle, at)
            gather_server(gather, LIST_ENTRY(at, struct server, node));
    }
}

static bool look_at_connections(struct relay *relay, void *argument)
{
    struct gather *gather = argument;
    if (relay == NULL)
        return false;
    if (gather->clients && gather_clients(relay, gather))
        return true;
    if (gather->servers)
        gather_servers(relay, gather);
    return false;
}

/* --- writing, on the console's relay ---------------------------------------------------------- */

static void write_address(struct table_sink *sink, const struct short_address *from)
{
    char text[ADDRESS_TEXT_SIZE];
    struct address address = {.family = ADDRESS_NONE};
    memcpy(&address, from->bytes, sizeof(from->bytes));
    table_text(sink, address.family == ADDRESS_NONE
                         ? ""
                         : address_host_text(&address, text, sizeof(text)));
    table_int(sink, address.port);
}

static void write_record(struct table_sink *sink, const struct record *record,
                         const struct span texts[TEXTS])
{
    char id[UUID_TEXT_SIZE], peer[UUID_TEXT_SIZE], time[CONSOLE_TIME_SIZE];
    uuid_text(&record->id, id);
    table_span(sink, span_of(&record->type, 1));
    table_span(sink, texts[TEXT_USER]);
    table_span(sink, texts[TEXT_DATABASE]);
    table_text(sink, record->replication);
    table_text(sink, record->state);
    write_address(sink, &record->remote);
    write_address(sink, &record->local);
    table_text(sink, console_time(record->connected, time));
    table_text(sink, console_time(record->request, time));
    table_int(sink, record->wait / 1000000);
    table_int(sink, record->wait % 1000000);
    table_int(sink, record->close_needed);
    table_text(sink, id);
    table_text(sink, record->bound ? uuid_text(&record->peer_id, peer) : "");
    table_int(sink, (int32_t)record->pid);
    table_span(sink, texts[TEXT_TLS]);
    table_span(sink, texts[TEXT_APPLICATION]);
    table_int(sink, record->prepared);
    table_text(sink, id);
}

static void write_socket(struct table_sink *sink, const struct record *record)
{
    const int64_t numbers[] = {0, 0, 0, 0, 0, record->kept, 0};
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        table_int(sink, numbers[i]);
}

/* Suspends from time to time. */
static void write_records(struct span rest, bool sockets, struct console_result *result)
{
    for (uint32_t written = 1; rest.size > 0; written++) {
        struct record record;
        struct span texts[TEXTS];
        memcpy(&record, rest.at, sizeof(record));
        rest = span_skip(rest, sizeof(record));
        for (size_t i = 0; i < TEXTS; i++) {
            texts[i] = span_of(rest.at, record.sizes[i]);
            rest = span_skip(rest, record.sizes[i]);
        }
        write_record(&result->sink, &record, texts);
        if (sockets)
            write_socket(&result->sink, &record);
        table_end_row(&result->sink);
        if (written % RECORDS_AT_A_TIME == 0)
            co_yield ();
    }
}

static fault show_connections(struct console *console, struct console_result *result,
                              struct gather what)
{
    what.records = BUFFER_INIT(CONSOLE_RECORDS_MAX);
    what.wall = wall_now().us - now_exact().us;
    pooler_look_on(console->pooler, look_at_connections, &what);
    fault gathered = buffer_fault(&what.records);
    if (gathered == OK)
        write_records(buffer_span(&what.records), what.sockets, result);
    buffer_fini(&what.records);
    if (gathered == FAULT_LIMIT)
        return fault_raise(FAULT_LIMIT, "the rows of connections exceed %zu MiB",
                           CONSOLE_RECORDS_MAX >> 20);
    return gathered;
}

fault console_show_clients(struct console *console, struct console_result *result)
{
    return show_connections(console, result, (struct gather){.clients = true});
}

fault console_show_servers(struct console *console, struct console_result *result)
{
    return show_connections(console, result, (struct gather){.servers = true});
}

fault console_show_sockets(struct console *console, struct console_result *result)
{
    return show_connections(console, result,
                            (struct gather){.clients = true, .servers = true, .sockets = true});
}

fault console_show_active_sockets(struct console *console, struct console_result *result)
{
    return show_connections(
        console, result,
        (struct gather){.clients = true, .servers = true, .active = true, .sockets = true});
}
