/*
 * console_routes.c - SHOW ROUTES and SHOW DATABASES.
 */
#include "admin/console_groups_parts.h"
#include "admin/console_parts.h"
#include "config/hba.h"
#include "machine/clock.h"
#include "pool/claim.h"
#include "relay/relay.h"

/* --- routes ----------------------------------------------------------------------------------- */

static const struct console_column route_columns[] = {
    {"version", COLUMN_INT8, "version of the configuration that the route is from"},
    {"database", COLUMN_TEXT, "name that it matches; `*`: any"},
    {"user", COLUMN_TEXT, "name that it matches; `*`: any"},
    {"service", COLUMN_TEXT, "service whose backends run the queries"},
    {"pool_mode", COLUMN_TEXT, "`session`, `transaction` or `statement`"},
    {"pool_size", COLUMN_INT4, "maximum of servers of each of its pools, over all relays"},
    {"target_session_attrs", COLUMN_TEXT,
     "which servers it uses, by their role; clients that ask for another value have a row of their "
     "own"},
    {"auth", COLUMN_TEXT, "authentication method of its clients"},
    {"clients", COLUMN_INT4, "on it"},
    {"servers", COLUMN_INT4, "of its pools; versions of one pool share its `pool_size`"},
    {"waiting", COLUMN_INT4, "clients that wait for a server"},
    {"maxwait_us", COLUMN_INT8, "age of the oldest of these waits, in microseconds"},
    {"obsolete", COLUMN_TEXT,
     "`yes`: a newer version has replaced it; its remaining clients finish on it"},
    {"file", COLUMN_TEXT, "file of the configuration that has it"},
    {"line", COLUMN_INT4, "line in that file"},
};
const struct console_view console_view_routes = CONSOLE_VIEW(route_columns);

struct route_row {
    struct console_groups_row row;
    struct config *config; /* counted */
    const struct route_config *route;
    bool obsolete;
    uint32_t clients;
    uint32_t servers;
    uint32_t waiting;
    int64_t maxwait_us;
};

/* Identifies a route by its version and its index there; the bytes serve as a key. */
struct route_key {
    uint64_t version;
    uint64_t index;
    uint64_t obsolete;
};

static struct route_row *route_row(struct console_groups *routes, struct config *config,
                                   const struct route_config *route, bool obsolete)
{
    struct route_key key = {config->version, (uint64_t)(route - config->routes), obsolete};
    struct route_row *row = console_groups_row(routes, span_of(&key, sizeof(key)), SPAN_NONE);
    if (row == NULL || row->config != NULL)
        return row;
    row->config = config_ref(config);
    row->route = route;
    row->obsolete = obsolete;
    return row;
}

static void look_at_routes(struct relay *relay, void *argument)
{
    if (relay == NULL)
        return;
    LIST_EACH (&relay->pools.all, it) {
        const struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        if (pool->obsolete && local_pool_unused(pool))
            continue;
        struct route_row *row = route_row(argument, pool->config, pool->route, pool->obsolete);
        if (row == NULL)
            continue;
        row->clients += local_pool_clients(pool);
        row->servers += pool->idle.count + pool->busy.count;
        row->waiting += pool->claims.count;
        const struct node *oldest = list_first(&pool->claims);
        if (oldest != NULL) {
            moment since = LIST_ENTRY(oldest, struct claim, node)->since;
            row->maxwait_us = MAX_OF(row->maxwait_us, between(since, now()).us);
        }
    }
}

static const char *or_any(const char *name)
{
    return name == NULL ? "*" : name;
}

static void route_write(struct table_sink *sink, const struct route_row *row)
{
    const struct route_config *route = row->route;
    table_int(sink, (int64_t)row->config->version);
    table_text(sink, or_any(route->database));
    table_text(sink, or_any(route->user));
    table_text(sink, route->service == NULL ? NULL : route->service->name);
    table_text(sink, console_mode_text(route->mode));
    table_int(sink, route->pool_size);
    table_text(sink, target_name(route->target));
    table_text(sink, auth_method_text(route->auth));
    table_int(sink, row->clients);
    table_int(sink, row->servers);
    table_int(sink, row->waiting);
    table_int(sink, row->maxwait_us);
    table_text(sink, row->obsolete ? "yes" : "no");
    table_text(sink, route->file);
    table_int(sink, route->line);
    table_end_row(sink);
}

fault console_show_routes(struct console *console, struct console_result *result)
{
    struct console_groups routes;
    struct config *config = console->config;
    console_groups_init(&routes, sizeof(struct route_row));
    for (size_t i = 0; i < config->route_count; i++)
        (void)route_row(&routes, config, &config->routes[i], false);
    pooler_look(console->pooler, look_at_routes, &routes);
    LIST_EACH (&routes.rows, it) {
        struct route_row *row =
            CONTAINER_OF(LIST_ENTRY(it, struct console_groups_row, node), struct route_row, row);
        route_write(&result->sink, row);
        config_unref(&row->config);
    }
    fault shown = console_groups_fault(&routes);
    console_groups_fini(&routes);
    return shown;
}

/* --- databases -------------------------------------------------------------------------------- */

static const struct console_column database_columns[] = {
    {"name", COLUMN_TEXT, "database as in the routes; `*`: any"},
    {"host", COLUMN_TEXT, "hosts of the route's service"},
    {"port", COLUMN_INT4, "port of the first host"},
    {"database", COLUMN_TEXT,
     "database at the server; `*`: the database that the client requested"},
    {"force_user", COLUMN_TEXT, "user at the server; null: the user of the client"},
    {"pool_size", COLUMN_INT4, "maximum of servers of one pool"},
    {"min_pool_size", COLUMN_INT4,
     "minimum of servers of one pool, kept open while it has clients"},
    {"reserve_pool_size", COLUMN_INT4,
     "additional servers for clients that have waited for `reserve_after`"},
    {"server_lifetime", COLUMN_INT4, "maximum age of a server in seconds; null: unlimited"},
    {"pool_mode", COLUMN_TEXT, "`session`, `transaction` or `statement`"},
    {"load_balance_hosts", COLUMN_TEXT, "always null"},
    {"max_connections", COLUMN_INT4,
     "maximum of servers of the database, over all pools; 0: no limit"},
    {"current_connections", COLUMN_INT4, "servers of all routes for this database"},
    {"max_client_connections", COLUMN_INT4,
     "maximum of clients of the database; 0: no limit of its own"},
    {"current_client_connections", COLUMN_INT4, "clients of all routes for this database"},
    {"paused", COLUMN_INT4, "1: paused by PAUSE or KILL"},
    {"disabled", COLUMN_INT4, "1: its clients are refused by DISABLE or `auth: block`"},
};
const struct console_view console_view_databases = CONSOLE_VIEW(database_columns);

struct database_row {
    struct console_groups_row row; /* by name: monitoring needs each name only once */
    const struct route_config *route;
    uint32_t clients;
    uint32_t servers;
    bool paused;
    bool disabled;
};

/* Adds databases that no route names but that are paused or disabled. */
static void add_marked(const struct orders *orders, const struct config *config,
                       struct console_groups *databases)
{
    uint32_t flags = 0;
    for (const char *database = NULL; (database = orders_next(orders, database, &flags)) != NULL;) {
        const struct route_config *any = NULL;
        for (size_t i = 0; any == NULL && i < config->route_count; i++)
            if (config->routes[i].database == NULL)
                any = &config->routes[i];
        struct database_row *row = console_groups_find(databases, span_text(database), SPAN_NONE);
        if (row == NULL && any != NULL)
            row = console_groups_row(databases, span_text(database), SPAN_NONE);
        if (row == NULL)
            continue;
        if (row->route == NULL)
            row->route = any;
        row->paused = (flags & ORDER_PAUSED) != 0;
        row->disabled = (flags & ORDER_DISABLED) != 0;
    }
}

static void look_at_databases(struct relay *relay, void *argument)
{
    if (relay == NULL)
        return;
    LIST_EACH (&relay->pools.all, it) {
        const struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        struct database_row *row =
            console_groups_find(argument, span_text(pool->database), SPAN_NONE);
        if (row == NULL)
            row =
                console_groups_find(argument, span_text(or_any(pool->route->database)), SPAN_NONE);
        if (row == NULL)
            continue;
        row->clients += local_pool_clients(pool);
        row->servers += pool->idle.count + pool->busy.count;
    }
}

static void write_hosts(struct table_sink *sink, const struct service_config *service)
{
    struct buffer hosts = BUFFER_INIT(16384);
    for (size_t i = 0; service != NULL && i < service->host_count; i++) {
        buffer_append_text(&hosts, i == 0 ? "" : ",");
        buffer_append_text(&hosts, service->hosts[i].host);
    }
    if (service == NULL)
        table_null(sink);
    else if (service->resolver != RESOLVER_FIXED)
        table_text(sink, service->lookup_name);
    else
        table_span(sink, buffer_span(&hosts));
    buffer_fini(&hosts);
}

/* The port of the first host; 0: there is none, or SRV records have it. */
static int64_t port_of(const struct service_config *service)
{
    if (service == NULL || service->resolver == RESOLVER_SRV)
        return 0;
    if (service->resolver == RESOLVER_DNS)
        return service->lookup_port;
    return service->host_count == 0 ? 0 : service->hosts[0].port;
}

static void write_seconds(struct table_sink *sink, duration time)
{
    if (time.us == NO_LIMIT.us)
        table_null(sink);
    else
        table_int(sink, time.us / 1000000);
}

static void database_write(struct table_sink *sink, const struct config *config,
                           const struct database_row *row, bool paused)
{
    const struct database_config *own = config_database(config, (const char *)row->row.first.at);
    uint32_t clients = own == NULL ? 0 : own->client_max;
    uint32_t servers = own == NULL ? 0 : own->servers_max;
    const struct route_config *route = row->route;
    const struct service_config *service = route->service;
    table_span(sink, row->row.first);
    write_hosts(sink, service);
    table_int(sink, port_of(service));
    table_text(sink,
               route->server_database != NULL ? route->server_database : or_any(route->database));
    table_text(sink, route->server_user);
    table_int(sink, route->pool_size);
    table_int(sink, route->pool_min);
    table_int(sink, route->pool_reserve);
    write_seconds(sink, route->server_lifetime);
    table_text(sink, console_mode_text(route->mode));
    table_null(sink);
    table_int(sink, servers != 0 ? servers : config->database_servers_max);
    table_int(sink, row->servers);
    table_int(sink, clients != 0 ? clients : config->database_clients_max);
    table_int(sink, row->clients);
    table_int(sink, paused || row->paused);
    table_int(sink, row->disabled || route->auth == AUTH_BLOCK);
    table_end_row(sink);
}

fault console_show_databases(struct console *console, struct console_result *result)
{
    struct console_groups databases;
    const struct config *config = console->config;
    console_groups_init(&databases, sizeof(struct database_row));
    for (size_t i = 0; i < config->route_count; i++) {
        struct database_row *row = console_groups_row(
            &databases, span_text(or_any(config->routes[i].database)), SPAN_NONE);
        if (row != NULL && row->route == NULL)
            row->route = &config->routes[i];
    }
    const struct orders *orders = &console->client->relay->pools.orders;
    add_marked(orders, config, &databases);
    pooler_look(console->pooler, look_at_databases, &databases);
    LIST_EACH (&databases.rows, it) {
        const struct console_groups_row *row = LIST_ENTRY(it, struct console_groups_row, node);
        database_write(&result->sink, config, CONTAINER_OF(row, struct database_row, row),
                       orders->paused);
    }
    fault shown = console_groups_fault(&databases);
    console_groups_fini(&databases);
    return shown;
}
