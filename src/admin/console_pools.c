/*
 * console_pools.c - SHOW POOLS, SHOW LISTS and SHOW RELAYS.
 */
#include "admin/console_groups_parts.h"
#include "admin/console_parts.h"
#include "machine/clock.h"
#include "relay/relay.h"

/* --- pools ------------------------------------------------------------------------------------ */

static const struct console_column pool_columns[] = {
    {"database", COLUMN_TEXT, "database that clients request"},
    {"user", COLUMN_TEXT, "user name that clients log in as"},
    {"cl_active", COLUMN_INT4,
     "clients that do not wait for a server: active, idle, or logging in"},
    {"cl_waiting", COLUMN_INT4, "clients that wait for a server"},
    {"cl_active_cancel_req", COLUMN_INT4, "always 0: cancel requests use no pool"},
    {"cl_waiting_cancel_req", COLUMN_INT4, "always 0: cancel requests do not wait"},
    {"sv_active", COLUMN_INT4, "servers linked to a client"},
    {"sv_active_cancel", COLUMN_INT4, "always 0: cancel requests use connections of their own"},
    {"sv_being_canceled", COLUMN_INT4, "servers with a cancel request in progress"},
    {"sv_idle", COLUMN_INT4, "idle servers, ready for use"},
    {"sv_used", COLUMN_INT4, "always 0: idle servers are checked when a client needs them"},
    {"sv_tested", COLUMN_INT4, "servers whose session is being cleaned"},
    {"sv_login", COLUMN_INT4, "servers that are logging in"},
    {"maxwait", COLUMN_INT4, "age of the oldest wait, in whole seconds"},
    {"maxwait_us", COLUMN_INT4, "the remaining microseconds of `maxwait`"},
    {"pool_mode", COLUMN_TEXT, "`session`, `transaction` or `statement`"},
    {"load_balance_hosts", COLUMN_TEXT, "always null"},
    {"target_session_attrs", COLUMN_TEXT,
     "which servers the pool uses, by their role; a database and user with pools of several roles "
     "has a row for each, also for its reads that go to standbys"},
};
const struct console_view console_view_pools = CONSOLE_VIEW(pool_columns);

struct pool_row {
    struct console_groups_row row;
    uint32_t active;
    uint32_t waiting;
    uint32_t servers_active;
    uint32_t servers_being_canceled;
    uint32_t servers_idle;
    uint32_t servers_tested;
    uint32_t servers_login;
    int64_t longest; /* us */
    enum pool_mode mode;
    bool current; /* `mode` is that of the version in force */
};

const char *console_mode_text(enum pool_mode mode)
{
    static const char *const texts[] = {
        [POOL_SESSION] = "session",
        [POOL_TRANSACTION] = "transaction",
        [POOL_STATEMENT] = "statement",
    };
    return texts[mode];
}

static void pool_add_servers(struct pool_row *row, const struct local_pool *pool)
{
    row->servers_idle += pool->idle.count;
    LIST_EACH (&pool->busy, it) {
        const struct server *server = LIST_ENTRY(it, struct server, node);
        if (server->state == SERVER_CONNECTING)
            row->servers_login += 1;
        else if (server->cancels > 0)
            row->servers_being_canceled += 1;
        else if (server->state == SERVER_ACTIVE)
            row->servers_active += 1;
        else
            row->servers_tested += 1;
    }
}

static void pool_add(struct pool_row *row, const struct local_pool *pool)
{
    const struct node *first = list_first(&pool->claims);
    if (first != NULL) {
        moment since = LIST_ENTRY(first, struct claim, node)->since;
        row->longest = MAX_OF(row->longest, between(since, now()).us);
    }
    row->waiting += pool->claims.count;
    uint32_t clients = local_pool_clients(pool);
    row->active += clients - MIN_OF(clients, pool->claims.count);
    pool_add_servers(row, pool);
    if (row->current)
        return;
    row->mode = pool->route->mode;
    row->current = !pool->obsolete && !pool->route->is_replication;
}

static void look_at_pools(struct relay *relay, void *argument)
{
    if (relay == NULL)
        return;
    LIST_EACH (&relay->pools.all, it) {
        const struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        if (local_pool_unused(pool))
            continue;
        struct pool_row *row = console_groups_row_of(argument, span_text(pool->database),
                                                     span_text(pool->user), pool->route->target);
        if (row != NULL)
            pool_add(row, pool);
    }
}

static void pool_write(struct table_sink *sink, const struct pool_row *row)
{
    const int64_t numbers[] = {row->active,
                               row->waiting,
                               0,
                               0,
                               row->servers_active,
                               0,
                               row->servers_being_canceled,
                               row->servers_idle,
                               0,
                               row->servers_tested,
                               row->servers_login,
                               row->longest / 1000000,
                               row->longest % 1000000};
    table_span(sink, row->row.first);
    table_span(sink, row->row.second);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        table_int(sink, numbers[i]);
    table_text(sink, console_mode_text(row->mode));
    table_null(sink);
    table_text(sink, target_name((enum fleet_target)row->row.kind));
    table_end_row(sink);
}

fault console_show_pools(struct console *console, struct console_result *result)
{
    struct console_groups pools;
    console_groups_init(&pools, sizeof(struct pool_row));
    pooler_look(console->pooler, look_at_pools, &pools);
    LIST_EACH (&pools.rows, it) {
        const struct console_groups_row *row = LIST_ENTRY(it, struct console_groups_row, node);
        pool_write(&result->sink, CONTAINER_OF(row, struct pool_row, row));
    }
    fault shown = console_groups_fault(&pools);
    console_groups_fini(&pools);
    return shown;
}

/* --- lists ------------------------------------------------------------------------------------ */

static const struct console_column list_columns[] = {
    {"list", COLUMN_TEXT, "what is counted; for names that only PgBouncer counts, the number is 0"},
    {"items", COLUMN_INT4, "the count"},
};
const struct console_view console_view_lists = CONSOLE_VIEW(list_columns);

struct counts {
    struct console_groups pools;
    uint32_t clients;
    uint32_t logins;
    uint32_t servers;
};

static void look_at_counts(struct relay *relay, void *argument)
{
    struct counts *counts = argument;
    if (relay == NULL)
        return;
    look_at_pools(relay, &counts->pools);
    counts->clients += relay->clients.count - relay->internals;
    LIST_EACH (&relay->clients, it)
        counts->logins += LIST_ENTRY(it, struct client, node)->state == CLIENT_LOGIN;
    LIST_EACH (&relay->pools.all, it) {
        const struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        counts->servers += pool->idle.count + pool->busy.count;
    }
}

static uint32_t count_databases(const struct config *config, fault *failed)
{
    struct console_groups names;
    console_groups_init(&names, sizeof(struct console_groups_row));
    for (size_t i = 0; i < config->route_count; i++)
        (void)console_groups_row(&names, span_text(config->routes[i].database), SPAN_NONE);
    uint32_t count = names.rows.count;
    *failed = console_groups_fault(&names);
    console_groups_fini(&names);
    return count;
}

/* Counts names of SRV records. */
static uint32_t count_zones(const struct config *config)
{
    uint32_t count = 0;
    for (size_t i = 0; i < config->service_count; i++)
        count += (config->services[i].resolver == RESOLVER_SRV) +
                 (config->services[i].resolver_service != NULL);
    return count;
}

/* Counts names that services resolve: hosts that are neither addresses nor directories, and those
 * of the settings `name` and `resolver_service`. */
static uint32_t count_names(const struct config *config)
{
    uint32_t count = 0;
    struct address number;
    for (size_t i = 0; i < config->service_count; i++) {
        const struct service_config *service = &config->services[i];
        count += (service->lookup_name != NULL) + (service->resolver_service != NULL);
        for (size_t j = 0; j < service->host_count; j++) {
            const char *host = service->hosts[j].host;
            count += !address_host_is_unix(host) && !address_parse_number(host, 0, &number);
        }
    }
    return count;
}

fault console_show_lists(struct console *console, struct console_result *result)
{
    struct counts counts = {.clients = 0};
    fault failed;
    uint32_t databases = count_databases(console->config, &failed);
    TRY(failed);
    console_groups_init(&counts.pools, sizeof(struct pool_row));
    pooler_look(console->pooler, look_at_counts, &counts);
    const struct {
        const char *name;
        uint32_t items;
    } lists[] = {
        {"databases", databases},
        {"users", console->config->secrets.count},
        {"peers", 0},
        {"pools", counts.pools.rows.count},
        {"peer_pools", 0},
        {"free_clients", 0},
        {"used_clients", counts.clients - counts.logins},
        {"login_clients", counts.logins},
        {"free_servers", 0},
        {"used_servers", counts.servers},
        {"dns_names", count_names(console->config)},
        {"dns_zones", count_zones(console->config)},
        {"dns_queries", 0},
        {"dns_pending", 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        table_text(&result->sink, lists[i].name);
        table_int(&result->sink, lists[i].items);
        table_end_row(&result->sink);
    }
    failed = console_groups_fault(&counts.pools);
    console_groups_fini(&counts.pools);
    return failed;
}

/* --- relays ----------------------------------------------------------------------------------- */

static const struct console_column relay_columns[] = {
    {"relay", COLUMN_INT4, "number of the relay"},
    {"clients", COLUMN_INT4, "connected clients, including those that are logging in"},
    {"waiting", COLUMN_INT4, "clients that wait for a server"},
    {"servers", COLUMN_INT4, "leased servers, including those that are logging in"},
    {"local_pools", COLUMN_INT4, "local pools of this relay"},
    {"parameter_sets", COLUMN_INT4, "different sets of session parameters"},
    {"statements", COLUMN_INT4, "different prepared statements"},
    {"chunks_lent", COLUMN_INT4, "buffers in use"},
    {"chunks_max", COLUMN_INT4, "buffers that may be in use; from `memory`"},
    {"chunks_short", COLUMN_INT8, "how often no buffer was available"},
    {"held_bytes", COLUMN_INT8,
     "memory outside buffers that counts towards `memory_limit`: long messages, state left by "
     "clients"},
    {"came", COLUMN_INT8, "clients moved here from other relays, in total"},
    {"left", COLUMN_INT8, "clients moved to other relays, in total"},
    {"shed", COLUMN_INT8, "clients disconnected or refused because of a lack of memory, in total"},
    {"unauthenticated", COLUMN_INT8, "connections that have not finished their login"},
    {"crowded_out", COLUMN_INT8,
     "unauthenticated connections closed in favour of newer ones, in total"},
    {"derivations", COLUMN_INT8, "keys derived from passwords for client logins, in total"},
    {"cancels", COLUMN_INT4, "cancel requests to servers in progress"},
    {"marks", COLUMN_INT8, "servers proven to owe no more replies, in total"},
    {"unmarked", COLUMN_INT8, "servers closed because this could not be proven, in total"},
    {"wakeups", COLUMN_INT8, "rounds of the event loop"},
    {"events", COLUMN_INT8, "socket events"},
    {"mails", COLUMN_INT8, "messages received from other threads"},
    {"switches", COLUMN_INT8, "times that a coroutine was resumed"},
    {"coroutines", COLUMN_INT8, "alive"},
    {"stacks", COLUMN_INT8, "mapped"},
    {"cpu_us", COLUMN_INT8, "processor time of the relay's thread, in microseconds"},
};
const struct console_view console_view_relays = CONSOLE_VIEW(relay_columns);

/* Writes the relay's row during the look: only one machine at a time uses the result. */
static void look_at_relay(struct relay *relay, void *argument)
{
    struct table_sink *sink = argument;
    uint32_t waiting = 0, servers = 0;
    if (relay == NULL)
        return;
    LIST_EACH (&relay->pools.all, it) {
        const struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        waiting += pool->claims.count;
        servers += pool->idle.count + pool->busy.count;
    }
    struct machine_stats stats = machine_stats(relay->pools.machine);
    const uint64_t numbers[] = {relay->index,
                                relay->clients.count - relay->internals,
                                waiting,
                                servers,
                                relay->pools.all.count,
                                relay->pools.params.sets.count,
                                relay->statements.count,
                                relay->chunks.lent,
                                relay->chunks.max,
                                relay->chunks.short_of,
                                relay->chunks.held,
                                relay->hints.came,
                                relay->hints.left,
                                hint_read(&relay->hints.shed),
                                relay->hints.preauths,
                                relay->hints.crowded,
                                relay->auth.derived,
                                relay->cancels,
                                relay->hints.marks,
                                relay->hints.unmarked,
                                stats.wakeups,
                                stats.events,
                                stats.mails,
                                stats.switches,
                                stats.coroutines,
                                stats.stacks,
                                (uint64_t)machine_used(relay->pools.machine).us};
    static_assert(ARRAY_SIZE(numbers) == ARRAY_SIZE(relay_columns), "one number per column");
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        table_int(sink, (int64_t)numbers[i]);
    table_end_row(sink);
}

fault console_show_relays(struct console *console, struct console_result *result)
{
    pooler_look(console->pooler, look_at_relay, &result->sink);
    return OK;
}
