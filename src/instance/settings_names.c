/* settings_names.c - the rows of what holds for a database or a user by name. */
#include "instance/settings_rows.h"

/* What a user's settings replace is said by its route. */
#define OR_ROUTE .word = "route", .word_value = 0, .preset = "route"

/* What holds by name replaces what holds for all. */
#define OR_ALL .word = "all", .word_value = 0, .preset = "all"

const struct setting config_database_rows[] = {
    {.name = "client_limit",
     .kind = SETTING_COUNT,
     AT(database_config, client_max),
     RANGE(1, 10000000),
     OR_ALL,
     .reloadable = true,
     .help = "Clients of this database, over all users; all: what database_clients says."},
    {.name = "server_limit",
     .kind = SETTING_COUNT,
     AT(database_config, servers_max),
     RANGE(1, 10000000),
     OR_ALL,
     .reloadable = true,
     .help = "Servers of this database's pools; all: what database_servers says."},
    {.name = NULL},
};

const struct setting config_user_rows[] = {
    {.name = "client_limit",
     .kind = SETTING_COUNT,
     AT(user_config, client_max),
     RANGE(1, 10000000),
     OR_ALL,
     .reloadable = true,
     .help = "Clients of this user, over all databases; all: what user_clients says."},
    {.name = "server_limit",
     .kind = SETTING_COUNT,
     AT(user_config, servers_max),
     RANGE(1, 10000000),
     OR_ALL,
     .reloadable = true,
     .help = "Servers that log in as this user, over all pools; all: what user_servers says."},
    {.name = "query_timeout",
     .kind = SETTING_DURATION,
     AT(user_config, query_timeout),
     RANGE(MS(1), DAYS(365)),
     OR_ROUTE,
     .reloadable = true,
     .help = "The user's own query_timeout; route: what its route says."},
    {.name = "transaction_timeout",
     .kind = SETTING_DURATION,
     AT(user_config, transaction_timeout),
     RANGE(MS(1), DAYS(365)),
     OR_ROUTE,
     .reloadable = true,
     .help = "The user's own transaction_timeout; route: what its route says."},
    {.name = "idle_transaction_timeout",
     .kind = SETTING_DURATION,
     AT(user_config, idle_transaction_timeout),
     RANGE(MS(1), DAYS(365)),
     OR_ROUTE,
     .reloadable = true,
     .help = "The user's own idle_transaction_timeout; route: what its route says."},
    {.name = "client_idle_timeout",
     .kind = SETTING_DURATION,
     AT(user_config, client_idle_timeout),
     RANGE(MS(1), DAYS(365)),
     OR_ROUTE,
     .reloadable = true,
     .help = "The user's own client_idle_timeout; route: what its route says."},
    {.name = NULL},
};
