/*
 * console_commands.c - the table of commands, and commands with small results.
 */
#include "admin/console_parts.h"
#include "pool/router.h"

#include <stdio.h>

/* --- small answers ---------------------------------------------------------------------------- */

static const struct console_column version_columns[] = {
    {"version", COLUMN_TEXT, "program name and version"},
};
const struct console_view console_view_version = CONSOLE_VIEW(version_columns);

fault console_show_version(struct console *console, struct console_result *result)
{
    table_text(&result->sink, "Trunkline " TRUNKLINE_VERSION);
    table_end_row(&result->sink);
    return OK;
}

static const struct console_column help_columns[] = {
    {"command", COLUMN_TEXT, "the command and its arguments"},
    {"help", COLUMN_TEXT, "what the command does"},
};
static const struct console_view help_view = CONSOLE_VIEW(help_columns);

static fault show_commands(struct console *console, struct console_result *result)
{
    for (size_t i = 0; i < console_command_count; i++) {
        const struct console_command *command = &console_commands[i];
        char usage[CONSOLE_TEXT_MAX];
        snprintf(usage, sizeof(usage), "%s%s%s", command->words,
                 command->argument == NULL ? "" : " ",
                 command->argument == NULL ? "" : command->argument);
        table_text(&result->sink, usage);
        table_text(&result->sink, command->help);
        table_end_row(&result->sink);
    }
    return OK;
}

/* Sends the help as PgBouncer does: no rows, but a notice. */
static fault show_help(struct console *console, struct console_result *result)
{
    struct buffer text = BUFFER_INIT(CONSOLE_DETAIL_MAX);
    for (size_t i = 0; i < console_command_count; i++) {
        const struct console_command *command = &console_commands[i];
        bool follows = command->argument != NULL;
        buffer_printf(&text, "\n\t%s%s%s", command->words, follows ? " " : "",
                      follows ? command->argument : "");
    }
    buffer_append_byte(&text, '\0');
    fault told = buffer_fault(&text);
    if (told == OK)
        wire_put_report(&console->out, &(struct wire_report){.severity = "NOTICE",
                                                             .sqlstate = "00000",
                                                             .message = "Console usage",
                                                             .detail = (const char *)text.at});
    buffer_fini(&text);
    return told;
}

static const struct console_column config_columns[] = {
    {"key", COLUMN_TEXT, "path of the setting in the configuration file"},
    {"value", COLUMN_TEXT, "the value in force"},
    {"default", COLUMN_TEXT, "the value if the file does not set it"},
    {"changeable", COLUMN_TEXT, "`yes`: a reload changes it; `no`: only a restart does"},
};
static const struct console_view config_view = CONSOLE_VIEW(config_columns);

static fault show_config(struct console *console, struct console_result *result)
{
    const struct config *config = console->config;
    for (size_t i = 0; i < config->row_count; i++) {
        const struct config_row *row = &config->rows[i];
        table_text(&result->sink, row->key);
        table_text(&result->sink, row->value);
        table_text(&result->sink, row->preset);
        table_text(&result->sink, row->reloadable ? "yes" : "no");
        table_end_row(&result->sink);
    }
    return OK;
}

static const struct console_column backends_columns[] = {
    {"service", COLUMN_TEXT, "the service whose backend it is"},
    {"host", COLUMN_TEXT, "as configured"},
    {"addr", COLUMN_TEXT, "address and port"},
    {"role", COLUMN_TEXT, "`primary`, `replica` or `unknown`"},
    {"state", COLUMN_TEXT,
     "`online`, `suspect`, `not_ready`, `offline`, `obsolete`, "
     "`drained`, `foreign` (of another system) or `replaced` (a primary, but another one is)"},
    {"slots", COLUMN_INT4, "connections of all pools, logins included"},
    {"logins", COLUMN_INT4, "logins in progress"},
    {"failures", COLUMN_INT8, "failed logins in a row"},
    {"retry_in_ms", COLUMN_INT8, "milliseconds until the next login attempt"},
    {"priority", COLUMN_INT4, "lower ones are used first; 0 where the resolver has none"},
    {"weight", COLUMN_INT4, "share of the connections within its priority"},
    {"zone", COLUMN_TEXT, "label of its zone; empty: none"},
    {"timeline", COLUMN_INT8, "that a probe found; null: not known"},
    {"lag_ms", COLUMN_INT8, "how far a replica is behind; null: not known, or no replica"},
    {"breaker", COLUMN_TEXT,
     "`closed`: logins are made; `open`: none until `retry_in_ms`; `half-open`: one at a time, "
     "as a trial"},
    {"arbiter", COLUMN_TEXT,
     "what Patroni says: `leader`, `not_leader`, `reads`, `no_reads`; with `, silent` behind it: "
     "no "
     "answer since; `silent`: none yet; null: not asked"},
    {"arbiter_failures", COLUMN_INT8, "answers of Patroni that were missing or of no use"},
};
static const struct console_view backends_view = CONSOLE_VIEW(backends_columns);

/* Backends are known on the pooler machine only: the visit without a relay. */
struct backends_look {
    struct router *router;
    struct table_sink *sink;
};

static void look_at_backends(struct relay *relay, void *argument)
{
    struct backends_look *look = argument;
    if (relay == NULL)
        router_show_backends(look->router, look->sink);
}

static fault show_backends(struct console *console, struct console_result *result)
{
    struct backends_look look = {pooler_router(console->pooler), &result->sink};
    pooler_look(console->pooler, look_at_backends, &look);
    return OK;
}

/* --- the table -------------------------------------------------------------------------------- */

#define VIEW(name, text, columns, shower)                                                          \
    {                                                                                              \
        .words = "SHOW " name, .help = (text), .view = (columns), .run = (shower), .tag = "SHOW"   \
    }
#define VERB(name, text, follows, runner)                                                          \
    {                                                                                              \
        .words = (name), .help = (text), .argument = (follows), .run = (runner), .tag = (name),    \
        .admin = true                                                                              \
    }

const struct console_command console_commands[] = {
    VIEW("ACTIVE_SOCKETS", "SHOW SOCKETS, only active clients and servers.", &console_view_sockets,
         console_show_active_sockets),
    VIEW("BACKENDS", "One row per backend of every service.", &backends_view, show_backends),
    {.words = "SHOW CACHE",
     .help = "One row per answer in memory.",
     .view = &console_view_cache,
     .run = console_show_cache,
     .tag = "SHOW",
     .admin = true},
    VIEW("CACHE_REASONS", "Why statements were not shared, with counts since the start.",
         &console_view_cache_reasons, console_show_cache_reasons),
    VIEW("CACHE_RULES",
         "One row per rule of `cache`, with what became of its statements since this version of "
         "the configuration came.",
         &console_view_cache_rules, console_show_cache_rules),
    VIEW("CACHE_TOTALS", "Answers in memory: counts and bytes.", &console_view_cache_totals,
         console_show_cache_totals),
    VIEW("CLAIMS", "One row per claim for a server: those that wait, and those that hold one.",
         &console_view_claims, console_show_claims),
    VIEW("CLIENTS", "One row per client that has logged in or waits for a server to log in.",
         &console_view_connections, console_show_clients),
    VIEW("COMMANDS", "One row per command: this list.", &help_view, show_commands),
    VIEW("CONFIG", "Every setting of the configuration in force.", &config_view, show_config),
    VIEW("DATABASES",
         "One row per database that the routes name, with the settings of its first route.",
         &console_view_databases, console_show_databases),
    VIEW("DNS_HOSTS", "One row per host name of a service, with the addresses it resolved to.",
         &console_view_dns_hosts, console_show_dns_hosts),
    VIEW("DNS_ZONES", "One row per name of SRV records.", &console_view_dns_zones,
         console_show_dns_zones),
    {.words = "SHOW FDS",
     .help = "One row per socket of a client or server; the file descriptors themselves are not "
             "passed.",
     .view = &console_view_fds,
     .run = console_show_fds,
     .tag = "SHOW",
     .admin = true},
    VIEW("FEED", "One row per database with rules of mode strict: what is known of its writes.",
         &console_view_feed, console_show_feed),
    {.words = "SHOW FLIGHTS",
     .help = "One row per execution whose answer clients share while it is made.",
     .view = &console_view_flights,
     .run = console_show_flights,
     .tag = "SHOW",
     .admin = true},
    VIEW("HELP", "Lists the commands in a NOTICE.", NULL, show_help),
    VIEW("HISTOGRAMS",
         "How long queries, transactions and waits for a server took, counted since the start.",
         &console_view_histograms, console_show_histograms),
    VIEW("LISTS", "Counts of pools, clients, servers and other objects.", &console_view_lists,
         console_show_lists),
    VIEW("MEM", "One row per kind of object, with its memory over all relays.",
         &console_view_memory, console_show_memory),
    VIEW("PEERS", "No rows: there are no peers.", &console_view_peers, NULL),
    VIEW("PEER_POOLS", "No rows: there are no peers.", &console_view_peer_pools, NULL),
    VIEW("POOLS", "One row per database and user: clients, servers, and the longest wait.",
         &console_view_pools, console_show_pools),
    VIEW("RELAYS", "One row per worker thread.", &console_view_relays, console_show_relays),
    VIEW("RESOLVERS", "One row per service: how its servers are found, and what is wrong with it.",
         &console_view_resolvers, console_show_resolvers),
    VIEW("ROUTES", "One row per route, and one per obsolete route that still has clients.",
         &console_view_routes, console_show_routes),
    VIEW("SERVERS", "One row per connection to a backend.", &console_view_connections,
         console_show_servers),
    VIEW("SERVICES", "One row per service: its backends, why claims were refused, what is wrong.",
         &console_view_services, console_show_services),
    VIEW("SLOTS", "One row per connection to a backend, and one per backend that is not tried now.",
         &console_view_slots, console_show_slots),
    VIEW("SOCKETS", "Clients and servers, with what their buffers hold.", &console_view_sockets,
         console_show_sockets),
    VIEW("STATE", "Whether the pooler as a whole is paused or suspended.", &console_view_state,
         console_show_state),
    {.words = "SHOW STATEMENTS",
     .help = "One row per statement and route, if `statements_limit` is set: how often it was "
             "called and what became of it, since it was counted first.",
     .view = &console_view_statements,
     .run = console_show_statements,
     .tag = "SHOW",
     .admin = true},
    VIEW("STATS", "Per database: totals since the start, and recent averages per second.",
         &console_view_stats, console_show_stats),
    VIEW("STATS_AVERAGES", "The averages of SHOW STATS.", &console_view_stats_averages,
         console_show_stats_averages),
    VIEW("STATS_TOTALS", "The totals of SHOW STATS.", &console_view_stats_totals,
         console_show_stats_totals),
    VIEW("TOTALS", "SHOW STATS over all databases, one row per number.", &console_view_totals,
         console_show_totals),
    VIEW("PINS", "One row per pinned server, with the reason; the longest pinned first.",
         &console_view_pins, console_show_pins),
    VIEW("PIN_TOTALS", "One row per kind of session state, with counts since the start.",
         &console_view_pin_totals, console_show_pin_totals),
    VIEW("READS", "One row per relay and pool whose route splits reads: where they went.",
         &console_view_reads, console_show_reads),
    VIEW("USERS",
         "One row per user that is named in the configuration or the auth file, or is connected.",
         &console_view_users, console_show_users),
    VIEW("VERSION", "The version of Trunkline.", &console_view_version, console_show_version),
    {.words = "CACHE EXPLAIN",
     .help = "Which rule of each route is for a statement, what its text says about sharing its "
             "answer, and what the catalog of the database says to this user. Without FOR the "
             "catalog is that of the first route whose rule is for the statement, if it names a "
             "database and a user. The statement is a string of at most 255 bytes.",
     .argument = "'statement' [FOR user@database]",
     .option = "FOR",
     .view = &console_view_cache_explain,
     .run = console_cache_explain,
     .tag = "CACHE",
     .admin = true},
    {.words = "CACHE FLUSH TAG",
     .help = "Removes the stored answers of rules with this tag.",
     .argument = "tag",
     .view = &console_view_cache_flush,
     .run = console_cache_flush_tag,
     .tag = "CACHE",
     .admin = true},
    {.words = "CACHE FLUSH",
     .help = "Removes all stored answers, or those whose statement matches a pattern of LIKE.",
     .argument = "['pattern']",
     .view = &console_view_cache_flush,
     .run = console_cache_flush,
     .tag = "CACHE",
     .admin = true},
    {.words = "CACHE WARM",
     .help =
         "Executes the statements of `cache_warm`, and the most hit ones, whose answers are not "
         "stored, or those that match a pattern of LIKE. Returns when all were executed; "
         "SHOW CACHE_TOTALS has the progress.",
     .argument = "['pattern']",
     .view = &console_view_cache_warm,
     .run = console_cache_warm,
     .tag = "CACHE",
     .admin = true},
    VERB("DISABLE", "Refuses new clients of the database until ENABLE.", "database",
         console_disable),
    VERB("DRAIN",
         "Takes a backend out of service, by its `host` or `addr` in SHOW BACKENDS: it gets no new "
         "connections, and its servers are closed as they become free. Until UNDRAIN.",
         "backend", console_drain),
    {.words = "ELECT",
     .help = "Chooses a backend, by its `host` or `addr` in SHOW BACKENDS, where several call "
             "themselves primary on one timeline: it is the primary of its service on that "
             "timeline. If several services have the backend, SERVICE must say in which.",
     .argument = "backend [SERVICE service]",
     .option = "SERVICE",
     .run = console_elect,
     .tag = "ELECT",
     .admin = true},
    VERB("ENABLE", "Accepts clients of the database again, after DISABLE.", "database",
         console_enable),
    VERB("KILL",
         "Disconnects all clients and servers of the database, or of all databases, which then "
         "stay paused until RESUME.",
         "[database]", console_kill),
    VERB("KILL_CLIENT", "Disconnects the client with this `id` (see SHOW CLIENTS).", "id",
         console_kill_client),
    VERB("MOVE_CLIENT",
         "Moves an idle client, given by its `id` in SHOW CLIENTS, to the other relay with the "
         "fewest clients.",
         "id", console_move_client),
    VERB("PAUSE",
         "Makes clients wait and closes servers as they become free; returns when all are closed. "
         "Canceling the command undoes it.",
         "[database]", console_pause),
    VERB("RECONNECT", "Closes servers as they become free; new ones replace them.", "[database]",
         console_reconnect),
    VERB("RELOAD", "Reloads the configuration file; if the file has errors, nothing changes.", NULL,
         console_reload),
    VERB("RESET STATEMENTS", "Removes all counts of SHOW STATEMENTS.", NULL,
         console_reset_statements),
    {.words = "RESOLVE",
     .help = "Resolves the names of a service again, and returns what name servers said.",
     .argument = "service",
     .view = &console_view_resolve,
     .run = console_resolve,
     .tag = "RESOLVE",
     .admin = true},
    VERB("RESUME", "Ends PAUSE, KILL and SUSPEND; waiting clients are served.", "[database]",
         console_resume),
    VERB("SET",
         "Changes a setting until the next reload; `key` is as in SHOW CONFIG. PostgreSQL "
         "parameters that drivers set are accepted and ignored; any other key is an error.",
         "key = value", console_set),
    VERB("SHUTDOWN",
         "Shuts the pooler down: at once, when no server is in use, or when all clients have "
         "disconnected. Until then, only console logins are accepted.",
         "[WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]", console_shutdown),
    VERB("SUSPEND",
         "Makes clients wait before they begin anything new; servers stay connected. Returns when "
         "nothing is in progress.",
         NULL, console_suspend),
    {.words = "SWITCHOVER",
     .help = "Makes clients of pools that write wait, closes their servers as they become free, "
             "and returns when another server of the service has become the primary, which is "
             "promoted meanwhile. After TIMEOUT, or the service's `switchover_timeout`, or if the "
             "command is canceled, clients are served as before, and the command fails.",
     .argument = "service [TIMEOUT duration]",
     .option = "TIMEOUT",
     .run = console_switchover,
     .tag = "SWITCHOVER",
     .admin = true},
    VERB("UNDRAIN", "Puts a backend back into service, after DRAIN.", "backend", console_undrain),
    VERB("WAIT_CLOSE", "Returns when all servers marked by RECONNECT or RELOAD are closed.",
         "[database]", console_wait_close),
};
const size_t console_command_count = ARRAY_SIZE(console_commands);
