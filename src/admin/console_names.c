/*
 * console_names.c - RESOLVE, SHOW RESOLVERS, SHOW DNS_HOSTS, SHOW DNS_ZONES: names are resolved on
 * the pooler machine only, by the visit without a relay.
 */
#include "admin/console_parts.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "pool/router.h"

/* How long RESOLVE waits for name servers before it shows what is known. */
#define RESOLVE_WAIT sec(15)
#define LOOK_PAUSE   ms(20)

static const struct console_column zone_columns[] = {
    {"zonename", COLUMN_TEXT, "name of SRV records: a service's `name` or `resolver_service`"},
    {"serial", COLUMN_TEXT, "always null: the serials of zones are not watched"},
    {"count", COLUMN_INT4, "SRV records"},
};
const struct console_view console_view_dns_zones = CONSOLE_VIEW(zone_columns);

static const struct console_column host_columns[] = {
    {"hostname", COLUMN_TEXT,
     "host name: one of a service's `hosts`, its `name`, or a target of SRV records"},
    {"ttl", COLUMN_INT8, "seconds until the addresses expire; negative: since then; null: never"},
    {"addrs", COLUMN_TEXT, "resolved addresses; empty: not resolved yet"},
};
const struct console_view console_view_dns_hosts = CONSOLE_VIEW(host_columns);

static const struct console_column resolver_columns[] = {
    {"service", COLUMN_TEXT, "the service"},
    {"resolver", COLUMN_TEXT, "how its servers are found: `fixed`, `dns`, `srv`"},
    {"name", COLUMN_TEXT,
     "the name to resolve; null for `fixed`, as are the columns from `rounds`"},
    {"backends", COLUMN_INT4, "servers that are known now"},
    {"rounds", COLUMN_INT8, "resolutions that have ended"},
    {"failed_rounds", COLUMN_INT8, "of these, how many met a failure, or a name without records"},
    {"queries", COLUMN_INT8, "queries that were sent to name servers"},
    {"changes", COLUMN_INT8, "changes of the set of servers"},
    {"next_refresh_ms", COLUMN_INT8,
     "milliseconds until the names are resolved again; null: being resolved now"},
    {"problem", COLUMN_TEXT, "what was wrong in the latest resolution; null: nothing"},
};
const struct console_view console_view_resolvers = CONSOLE_VIEW(resolver_columns);

static const struct console_column resolve_columns[] = {
    {"service", COLUMN_TEXT, "the service"},
    {"record", COLUMN_TEXT,
     "`srv`, `a`, `aaaa`: a record, or that there is none; `server`: a name server; `host`: one of "
     "`hosts`"},
    {"name", COLUMN_TEXT, "the record's name; of a `server`: the SRV records that list it"},
    {"target", COLUMN_TEXT, "host and port of a `srv` record"},
    {"addr", COLUMN_TEXT, "address"},
    {"priority", COLUMN_INT4, "priority of a `srv` record; lower ones are used first"},
    {"weight", COLUMN_INT4, "weight of a `srv` record"},
    {"ttl", COLUMN_INT8, "seconds until the record expires; negative: since then; null: never"},
    {"said", COLUMN_TEXT,
     "the latest answer: `records`, `empty`, `nxdomain`, `servfail`, `refused`, `timeout`, "
     "`unreachable`, `malformed`"},
    {"said_by", COLUMN_TEXT, "the name server that said it; null: the hosts file"},
    {"stale", COLUMN_BOOL,
     "the record is used though the latest answer lacks it; of a `server`: it failed and is asked "
     "last for a time"},
    {"next_refresh_ms", COLUMN_INT8,
     "milliseconds until the names are resolved again; null: being resolved now"},
};
const struct console_view console_view_resolve = CONSOLE_VIEW(resolve_columns);

/* One visit of the pooler machine. */
struct names_look {
    struct router *router;
    struct table_sink *sink;
    const char *service;
    uint64_t rounds;
    bool found;
    void (*look)(struct names_look *look);
};

static void names_visit(struct relay *relay, void *argument)
{
    struct names_look *look = argument;
    if (relay == NULL)
        look->look(look);
}

static void names_look(struct console *console, struct names_look *look,
                       void (*what)(struct names_look *look))
{
    look->router = pooler_router(console->pooler);
    look->look = what;
    pooler_look(console->pooler, names_visit, look);
}

static void look_at_hosts(struct names_look *look)
{
    router_show_hosts(look->router, look->sink);
}

static void look_at_resolvers(struct names_look *look)
{
    router_show_resolvers(look->router, look->sink);
}

static void look_at_zones(struct names_look *look)
{
    router_show_zones(look->router, look->sink);
}

static void look_to_resolve(struct names_look *look)
{
    look->found = router_resolve(look->router, look->service, &look->rounds);
}

static void look_whether_resolved(struct names_look *look)
{
    look->found = router_has_resolved(look->router, look->service, look->rounds);
}

static void look_at_resolver(struct names_look *look)
{
    router_show_resolver(look->router, look->service, look->sink);
}

fault console_show_dns_hosts(struct console *console, struct console_result *result)
{
    struct names_look look = {.sink = &result->sink};
    names_look(console, &look, look_at_hosts);
    return OK;
}

fault console_show_resolvers(struct console *console, struct console_result *result)
{
    struct names_look look = {.sink = &result->sink};
    names_look(console, &look, look_at_resolvers);
    return OK;
}

fault console_show_dns_zones(struct console *console, struct console_result *result)
{
    struct names_look look = {.sink = &result->sink};
    names_look(console, &look, look_at_zones);
    return OK;
}

fault console_resolve(struct console *console, struct console_result *result)
{
    struct names_look look = {.sink = &result->sink, .service = console->call->argument};
    deadline by = after(RESOLVE_WAIT);
    names_look(console, &look, look_to_resolve);
    if (!look.found)
        return fault_raise_state(FAULT_NAME, "42704", "there is no service \"%s\"", look.service);
    names_look(console, &look, look_whether_resolved);
    while (!look.found && now().us < by.us) {
        TRY(co_sleep(LOOK_PAUSE));
        names_look(console, &look, look_whether_resolved);
    }
    names_look(console, &look, look_at_resolver);
    return OK;
}
