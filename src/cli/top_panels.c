/*
 * top_panels.c - the panels of the screen: which columns of which views they show.
 *
 * A column that the daemon's view does not have is left out.
 */
#include "cli/top_parts.h"

static const struct top_column backend_columns[] = {
    {"service", "service", TOP_NAME, true, NULL},
    {"host", "host", TOP_NAME, true, NULL},
    {"addr", "addr", TOP_NAME, true, NULL},
    {"role", "role", TOP_NAME, false, NULL},
    {"state", "state", TOP_NAME, false, NULL},
    {"lag", "lag_ms", TOP_MS, false, NULL},
    {"slots", "slots", TOP_COUNT, false, NULL},
    {"logins", "logins", TOP_COUNT, false, NULL},
    {"failures", "failures", TOP_COUNT, false, NULL},
    {"retry_in", "retry_in_ms", TOP_MS, false, NULL},
    {"breaker", "breaker", TOP_NAME, false, NULL},
    {"timeline", "timeline", TOP_COUNT, false, NULL},
    {"zone", "zone", TOP_NAME, false, NULL},
    {"priority", "priority", TOP_COUNT, false, NULL},
    {"weight", "weight", TOP_COUNT, false, NULL},
};

static const struct top_column pool_columns[] = {
    {"database", "database", TOP_NAME, true, NULL},
    {"user", "user", TOP_NAME, true, NULL},
    {"waiting", "cl_waiting", TOP_COUNT, false, NULL},
    {"oldest_wait", "maxwait", TOP_S, false, "maxwait_us"},
    {"clients", "cl_active", TOP_COUNT, false, NULL},
    {"claimed", "sv_active", TOP_COUNT, false, NULL},
    {"idle", "sv_idle", TOP_COUNT, false, NULL},
    {"login", "sv_login", TOP_COUNT, false, NULL},
    {"recycling", "sv_tested", TOP_COUNT, false, NULL},
    {"canceled", "sv_being_canceled", TOP_COUNT, false, NULL},
    {"mode", "pool_mode", TOP_NAME, false, NULL},
    {"role", "target_session_attrs", TOP_NAME, true, NULL},
};

static const struct top_column database_columns[] = {
    {"database", "database", TOP_NAME, true, NULL},
    {"queries/s", "query_count", TOP_RATE, false, NULL},
    {"transactions/s", "xact_count", TOP_RATE, false, NULL},
    {"claims/s", "server_assignment_count", TOP_RATE, false, NULL},
    {"received/s", "bytes_received", TOP_BYTES, false, NULL},
    {"sent/s", "bytes_sent", TOP_BYTES, false, NULL},
    {"logins/s", "client_login_count", TOP_RATE, false, NULL},
};

static const struct top_column relay_columns[] = {
    {"relay", "relay", TOP_COUNT, true, NULL},
    {"cpu", "cpu_us", TOP_PERCENT, false, NULL},
    {"clients", "clients", TOP_COUNT, false, NULL},
    {"waiting", "waiting", TOP_COUNT, false, NULL},
    {"servers", "servers", TOP_COUNT, false, NULL},
    {"pools", "local_pools", TOP_COUNT, false, NULL},
    {"wakeups/s", "wakeups", TOP_RATE, false, NULL},
    {"switches/s", "switches", TOP_RATE, false, NULL},
    {"held", "held_bytes", TOP_SIZE, false, NULL},
    {"buffers", "chunks_lent", TOP_COUNT, false, NULL},
    {"shed/s", "shed", TOP_RATE, false, NULL},
};

/* Those of SHOW SERVICES and of SHOW RESOLVERS. */
static const struct top_column service_columns[] = {
    {"service", "service", TOP_NAME, true, NULL},
    {"resolver", "resolver", TOP_NAME, false, NULL},
    {"state", "state", TOP_NAME, false, NULL},
    {"backends", "backends", TOP_COUNT, false, NULL},
    {"online", "online", TOP_COUNT, false, NULL},
    {"drained", "drained", TOP_COUNT, false, NULL},
    {"slots", "slots", TOP_COUNT, false, NULL},
    {"logins", "logins", TOP_COUNT, false, NULL},
    {"waiting", "waiting", TOP_COUNT, false, NULL},
    {"down", "down_ms", TOP_MS, false, NULL},
    {"refresh_in", "next_refresh_ms", TOP_MS, false, NULL},
    {"problem", "problem", TOP_NAME, false, NULL},
    {"no_backends/s", "refused_no_backends", TOP_RATE, false, NULL},
    {"none_online/s", "refused_none_online", TOP_RATE, false, NULL},
    {"all_used/s", "refused_all_used", TOP_RATE, false, NULL},
    {"shed/s", "refused_shed", TOP_RATE, false, NULL},
    {"rejected/s", "refused_rejected", TOP_RATE, false, NULL},
    {"checks_failed/s", "checks_failed", TOP_RATE, false, NULL},
};

/* Those that wait, the oldest first. */
static const struct top_column claim_columns[] = {
    {"client", "client", TOP_NAME, true, NULL}, {"database", "database", TOP_NAME, false, NULL},
    {"user", "user", TOP_NAME, false, NULL},    {"service", "service", TOP_NAME, false, NULL},
    {"relay", "relay", TOP_COUNT, true, NULL},  {"age", "age_ms", TOP_MS, false, NULL},
    {"place", "place", TOP_COUNT, false, NULL},
};

/* The view twice: there is no other. */
#define ONE(view)                                                                                  \
    {                                                                                              \
        (view), (view)                                                                             \
    }
#define PANEL(title, from, all, by, down)                                                          \
    {                                                                                              \
        .name = (title), .views = from, .columns = (all), .count = ARRAY_SIZE(all), .sort = (by),  \
        .descending = (down)                                                                       \
    }

const struct top_panel_kind top_panel_kinds[TOP_PANELS] = {
    [TOP_BACKENDS] = PANEL("backends", ONE(TOP_VIEW_BACKENDS), backend_columns, -1, false),
    [TOP_POOLS] = PANEL("pools", ONE(TOP_VIEW_POOLS), pool_columns, 2, true),
    [TOP_DATABASES] = PANEL("databases", ONE(TOP_VIEW_STATS), database_columns, 1, true),
    [TOP_RELAYS] = PANEL("relays", ONE(TOP_VIEW_RELAYS), relay_columns, 0, false),
    [TOP_SERVICES] = {"services",
                      {TOP_VIEW_SERVICES, TOP_VIEW_RESOLVERS},
                      service_columns,
                      ARRAY_SIZE(service_columns),
                      -1,
                      false},
    [TOP_CLAIMS] = PANEL("claims", ONE(TOP_VIEW_CLAIMS), claim_columns, -1, false),
};

static_assert(ARRAY_SIZE(backend_columns) <= TOP_PANEL_COLUMNS, "room for every column");

const struct top_total_kind top_total_kinds[TOP_TOTALS] = {
    [TOP_TOTAL_CLIENTS] = {"clients", TOP_COUNT},
    [TOP_TOTAL_WAITING] = {"waiting", TOP_COUNT},
    [TOP_TOTAL_OLDEST_WAIT] = {"oldest_wait", TOP_US},
    [TOP_TOTAL_SERVERS] = {"servers", TOP_COUNT},
    [TOP_TOTAL_CLAIMS] = {"claims/s", TOP_RATE},
    [TOP_TOTAL_TRANSACTIONS] = {"transactions/s", TOP_RATE},
    [TOP_TOTAL_QUERIES] = {"queries/s", TOP_RATE},
    [TOP_TOTAL_LOGINS] = {"logins/s", TOP_RATE},
    [TOP_TOTAL_RECEIVED] = {"received/s", TOP_BYTES},
    [TOP_TOTAL_SENT] = {"sent/s", TOP_BYTES},
    [TOP_TOTAL_WAIT_P50] = {"wait_p50", TOP_US},
    [TOP_TOTAL_WAIT_P99] = {"wait_p99", TOP_US},
    [TOP_TOTAL_QUERY_P50] = {"query_p50", TOP_US},
    [TOP_TOTAL_QUERY_P99] = {"query_p99", TOP_US},
    [TOP_TOTAL_TRANSACTION_P50] = {"transaction_p50", TOP_US},
    [TOP_TOTAL_TRANSACTION_P99] = {"transaction_p99", TOP_US},
    [TOP_TOTAL_CONNECTING] = {"connecting", TOP_COUNT},
    [TOP_TOTAL_IDLE] = {"idle", TOP_COUNT},
    [TOP_TOTAL_CLAIMED] = {"claimed", TOP_COUNT},
    [TOP_TOTAL_RECYCLING] = {"recycling", TOP_COUNT},
    [TOP_TOTAL_CHECKING] = {"checking", TOP_COUNT},
    [TOP_TOTAL_FAILED] = {"failed", TOP_COUNT},
};
