/*
 * console_users.c - SHOW USERS.
 */
#include "admin/console_groups_parts.h"
#include "admin/console_parts.h"
#include "relay/relay.h"

/* Names that are visited before other coroutines of this relay run. */
#define NAMES_AT_A_TIME 256

static const struct console_column columns[] = {
    {"name", COLUMN_TEXT, "user name of clients or of server connections"},
    {"pool_size", COLUMN_TEXT, "always null: set by the route"},
    {"reserve_pool_size", COLUMN_TEXT, "always null: set by the route"},
    {"pool_mode", COLUMN_TEXT, "always null: set by the route"},
    {"max_user_connections", COLUMN_INT4,
     "maximum of servers that log in as this user; 0: no limit"},
    {"current_connections", COLUMN_INT4, "servers that are logged in as this user"},
    {"max_user_client_connections", COLUMN_INT4,
     "maximum of clients of this user, over all databases; 0: no limit"},
    {"current_client_connections", COLUMN_INT4, "connected clients of this user"},
};
const struct console_view console_view_users = CONSOLE_VIEW(columns);

struct user_row {
    struct console_groups_row row;
    uint32_t clients;
    uint32_t servers;
};

static void look_at_users(struct relay *relay, void *argument)
{
    if (relay == NULL)
        return;
    LIST_EACH (&relay->pools.all, it) {
        const struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        const char *forced = pool->route->server_user;
        struct user_row *client = console_groups_row(argument, span_text(pool->user), SPAN_NONE);
        struct user_row *server =
            forced == NULL ? client : console_groups_row(argument, span_text(forced), SPAN_NONE);
        if (client != NULL)
            client->clients += local_pool_clients(pool);
        if (server != NULL)
            server->servers += pool->idle.count + pool->busy.count;
    }
}

/* Adds the users of the configuration and the auth file.  Suspends from time to time. */
static void add_known(const struct config *config, struct console_groups *users)
{
    uint32_t walked = 1;
    for (size_t i = 0; i < config->user_count; i++)
        (void)console_groups_row(users, span_text(config->users[i].name), SPAN_NONE);
    for (struct map_link *link = map_next(&config->secrets, NULL);
         link != NULL && users->failed == OK; link = map_next(&config->secrets, link)) {
        const struct secret *secret = MAP_ENTRY(link, struct secret, link);
        (void)console_groups_row(users, span_text(secret->user), SPAN_NONE);
        if (walked++ % NAMES_AT_A_TIME == 0)
            co_yield ();
    }
}

static void user_write(struct table_sink *sink, const struct config *config,
                       const struct user_row *row)
{
    const struct user_config *user = config_user(config, (const char *)row->row.first.at);
    table_span(sink, row->row.first);
    table_null(sink);
    table_null(sink);
    table_null(sink);
    table_int(sink, user != NULL && user->servers_max != 0 ? user->servers_max
                                                           : config->user_servers_max);
    table_int(sink, row->servers);
    table_int(sink,
              user != NULL && user->client_max != 0 ? user->client_max : config->user_clients_max);
    table_int(sink, row->clients);
    table_end_row(sink);
}

fault console_show_users(struct console *console, struct console_result *result)
{
    struct console_groups users;
    uint32_t written = 1;
    console_groups_init(&users, sizeof(struct user_row));
    add_known(console->config, &users);
    pooler_look(console->pooler, look_at_users, &users);
    LIST_EACH (&users.rows, it) {
        const struct console_groups_row *row = LIST_ENTRY(it, struct console_groups_row, node);
        user_write(&result->sink, console->config, CONTAINER_OF(row, struct user_row, row));
        if (written++ % NAMES_AT_A_TIME == 0)
            co_yield ();
    }
    fault shown = console_groups_fault(&users);
    console_groups_fini(&users);
    return shown;
}
