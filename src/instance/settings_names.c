/* settings_names.c - the rows of limits and timeouts of single databases and users. */
#include "instance/settings_rows.h"

/* The default of a user's settings: the route's value. */
#define OR_ROUTE .word = "route", .word_value = 0, .preset = "route"

/* The default of single limits: the limit of all databases or users. */
#define OR_ALL .word = "all", .word_value = 0, .preset = "all"

const struct setting config_database_rows[] = {
    {.name = "client_limit",
     .kind = SETTING_COUNT,
     AT(database_config, client_max),
     RANGE(1, 10000000),
     OR_ALL,
     .reloadable = true,
     .help = "Clients of this database, over all users; all: the limit is `database_clients`."},
    {.name = "server_limit",
     .kind = SETTING_COUNT,
     AT(database_config, servers_max),
     RANGE(1, 10000000),
     OR_ALL,
     .reloadable = true,
     .help = "Server connections of this database's pools; all: the limit is `database_servers`."},
    {.name = NULL},
};

const struct setting config_user_rows[] = {
    {.name = "client_limit",
     .kind = SETTING_COUNT,
     AT(user_config, client_max),
     RANGE(1, 10000000),
     OR_ALL,
     .reloadable = true,
     .help = "Clients of this user, over all databases; all: the limit is `user_clients`."},
    {.name = "server_limit",
     .kind = SETTING_COUNT,
     AT(user_config, servers_max),
     RANGE(1, 10000000),
     OR_ALL,
     .reloadable = true,
     .help = "Server connections that log in as this user, over all pools; all: the limit is "
             "`user_servers`."},
    {.name = "query_timeout",
     .kind = SETTING_DURATION,
     AT(user_config, query_timeout),
     RANGE(MS(1), DAYS(365)),
     OR_ROUTE,
     .reloadable = true,
     .help = "Replaces the route's query_timeout for this user; route: no replacement."},
    {.name = "transaction_timeout",
     .kind = SETTING_DURATION,
     AT(user_config, transaction_timeout),
     RANGE(MS(1), DAYS(365)),
     OR_ROUTE,
     .reloadable = true,
     .help = "Replaces the route's transaction_timeout for this user; route: no replacement."},
    {.name = "idle_transaction_timeout",
     .kind = SETTING_DURATION,
     AT(user_config, idle_transaction_timeout),
     RANGE(MS(1), DAYS(365)),
     OR_ROUTE,
     .reloadable = true,
     .help = "Replaces the route's idle_transaction_timeout for this user; route: no replacement."},
    {.name = "client_idle_timeout",
     .kind = SETTING_DURATION,
     AT(user_config, client_idle_timeout),
     RANGE(MS(1), DAYS(365)),
     OR_ROUTE,
     .reloadable = true,
     .help = "Replaces the route's client_idle_timeout for this user; route: no replacement."},
    {.name = NULL},
};
