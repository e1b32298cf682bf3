/*
 * console_fds.c - SHOW FDS: the descriptors of all connections.  PgBouncer passes the sockets
 * themselves with these rows; Trunkline shows rows only, without secrets.
 */
#include "admin/console_parts.h"

#include "relay/relay.h"

/* Connections that are shown before other coroutines of their relay run. */
#define SHOWN_AT_A_LOOK 256u

static const struct console_column columns[] = {
    {"fd", COLUMN_INT4, "file descriptor, in `/proc/PID/task/TID/fd` of its relay"},
    {"task", COLUMN_TEXT, "`client` or `server`"},
    {"user", COLUMN_TEXT, "user of its pool"},
    {"database", COLUMN_TEXT, "database of its pool, as clients name it"},
    {"addr", COLUMN_TEXT, "address of the peer; `unix` for Unix sockets"},
    {"port", COLUMN_INT4, "port of the peer"},
    {"cancel", COLUMN_INT8, "always 0: cancel keys are not shown"},
    {"link", COLUMN_INT4,
     "file descriptor of the server or client that it is linked to now; 0: none"},
    {"client_encoding", COLUMN_TEXT, "as the session has it"},
    {"std_strings", COLUMN_TEXT, "`standard_conforming_strings`, as the session has it"},
    {"datestyle", COLUMN_TEXT, "as the session has it"},
    {"timezone", COLUMN_TEXT, "as the session has it"},
    {"password", COLUMN_TEXT, "always null: passwords are not shown"},
};
const struct console_view console_view_fds = CONSOLE_VIEW(columns);

struct fds {
    struct table_sink *sink;
    uint64_t serial; /* of the relay's last client that was shown */
};

/* Writes the session's value of a parameter, or else the value that servers of its pool report. */
static void write_parameter(struct table_sink *sink, const struct local_pool *pool,
                            const struct params *params, const char *name)
{
    const struct span *own = params == NULL ? NULL : params_find(params, span_text(name));
    struct span value = own != NULL ? *own : SPAN_NONE;
    if (own == NULL && pool != NULL)
        value = wire_find_parameter(buffer_span(&pool->reported.parameters), name);
    if (value.at == NULL)
        table_null(sink);
    else
        table_span(sink, value);
}

struct fd {
    const char *task;
    const struct stream *stream;
    const struct stream *link;     /* NULL: none */
    const struct local_pool *pool; /* NULL: the console's */
    const struct params *params;
    const struct address *peer; /* NULL: not known */
};

static void write_owner(struct table_sink *sink, const struct fd *fd, const char *name)
{
    const struct span *own =
        fd->pool != NULL || fd->params == NULL ? NULL : params_find(fd->params, span_text(name));
    if (fd->pool != NULL)
        table_text(sink, strcmp(name, "user") == 0 ? fd->pool->user : fd->pool->database);
    else if (own != NULL)
        table_span(sink, *own);
    else
        table_null(sink);
}

static void write_fd(struct table_sink *sink, const struct fd *fd)
{
    char text[ADDRESS_TEXT_SIZE];
    static const char *const names[] = {"client_encoding", "standard_conforming_strings",
                                        "DateStyle", "TimeZone"};
    table_int(sink, fd->stream->handle);
    table_text(sink, fd->task);
    write_owner(sink, fd, "user");
    write_owner(sink, fd, "database");
    table_text(sink, fd->peer == NULL ? NULL : address_host_text(fd->peer, text, sizeof(text)));
    table_int(sink, fd->peer == NULL ? 0 : fd->peer->port);
    table_int(sink, 0);
    table_int(sink, fd->link == NULL ? 0 : fd->link->handle);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        write_parameter(sink, fd->pool, fd->params, names[i]);
    table_null(sink);
    table_end_row(sink);
}

static void write_client(struct table_sink *sink, const struct client *client)
{
    const struct server *server = client->server != NULL ? client->server : client->claim.server;
    struct fd fd = {.task = "client",
                    .stream = &client->stream,
                    .link = server == NULL ? NULL : &server->stream,
                    .pool = client->pool,
                    .params = client->params,
                    .peer = client->peer};
    if (stream_open(&client->stream))
        write_fd(sink, &fd);
}

static void write_server(struct table_sink *sink, const struct server *server)
{
    struct fd fd = {.task = "server",
                    .stream = &server->stream,
                    .link = server->client == NULL ? NULL : &server->client->stream,
                    .pool = server->pool,
                    .params = server->session.params,
                    .peer = server_address(server)};
    if (stream_open(&server->stream))
        write_fd(sink, &fd);
}

/* Writes clients, which are listed by serial number; returns true if there are more. */
static bool look_at_clients(const struct relay *relay, struct fds *fds)
{
    uint32_t shown = 0;
    LIST_EACH (&relay->clients, it) {
        const struct client *client = LIST_ENTRY(it, struct client, node);
        if (client->serial <= fds->serial)
            continue;
        if (shown++ == SHOWN_AT_A_LOOK)
            return true;
        fds->serial = client->serial;
        write_client(fds->sink, client);
    }
    fds->serial = 0;
    return false;
}

/* Writes the rows during the look: only one machine at a time uses the result. */
static bool look_at_fds(struct relay *relay, void *argument)
{
    struct fds *fds = argument;
    if (relay == NULL)
        return false;
    if (look_at_clients(relay, fds))
        return true;
    LIST_EACH (&relay->pools.all, it) {
        const struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        LIST_EACH (&pool->busy, at)
            write_server(fds->sink, LIST_ENTRY(at, struct server, node));
        LIST_EACH (&pool->idle, at)
            write_server(fds->sink, LIST_ENTRY(at, struct server, node));
    }
    return false;
}

fault console_show_fds(struct console *console, struct console_result *result)
{
    struct fds fds = {.sink = &result->sink};
    pooler_look_on(console->pooler, look_at_fds, &fds);
    return OK;
}
