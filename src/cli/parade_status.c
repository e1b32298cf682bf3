/* parade_status.c - `parade status`: instances and links of the databases that were named. */
#include "cli/cli.h"
#include "cli/parade_parts.h"
#include "machine/co.h"
#include "parade/install.h"

#include <stdio.h>

#define WATCH_PAUSE sec(2)

/* Counting a large table takes seconds: then the planner's estimate is shown, with a tilde. */
#define INSTANCE                                                                                   \
    "select (select max(version) from kv_config.schema_version) as version,"                       \
    " (select version from public.last_config_push) as config, i.instance_id as instance,"         \
    " i.hostname as host,"                                                                         \
    " coalesce((select state from kv_config.running r where r.xmin = r.xid::xid), 'cut') as "      \
    "state, case when c.reltuples > 1000000 then '~' || c.reltuples::bigint else"                  \
    " (select count(*)::text from kv.t_kv where value is not null or data is not null) end as "    \
    "rows, (select count(*) from kv.t_kv where value is null and data is null) as tombstones,"     \
    " (select count(*) from kv_stats.not_received) as waiting"                                     \
    " from kv_config.my_info i, pg_class c where c.oid = 'kv.t_kv'::regclass"
/* A link whose replicator is gone has its last state, and merges nothing. */
#define LINKS                                                                                      \
    "select l.peer, l.hostname as host, case when t.fenced then 'fenced' when l.reclaiming then "  \
    "'reclaiming' when coalesce(l.replicator, l.state) = 'streaming' and l.merged_at < kv.clock()" \
    " - interval '10 s' then 'silent' else coalesce(l.replicator, l.state) end as state,"          \
    " round(extract(epoch from l.lag)::numeric, 3) as lag, l.applied, l.conflicts,"                \
    " l.deferred_now as deferred, l.quarantined_now as quarantined,"                               \
    " round(extract(epoch from l.skew)::numeric, 3) as skew, l.verify_due, l.trouble"              \
    " from kv_stats.links l left join kv.peer_status_to t on t.peer = l.peer"                      \
    " where l.member is distinct from 'removed' order by l.peer"
#define CATALOG                                                                                    \
    "select (select max(version) from kv_config.schema_version) as version,"                       \
    " (select version from public.last_config_push) as config, null as instance,"                  \
    " (select hostname from kv_config.my_info) as host, 'catalog' as state, null as rows,"         \
    " null as tombstones, null as waiting"

static const char instance_text[] =
    "select instance, host, state, version, config, rows, tombstones, waiting from (" INSTANCE
    ") s";
static const char links_text[] =
    "select peer, host, state, lag, applied, conflicts, deferred, quarantined, skew, trouble"
    " from (" LINKS ") s";
static const char catalog_text[] =
    "select instance, host, state, version, config, rows, tombstones, waiting from (" CATALOG ") s";
static const char shard_json[] =
    "select (jsonb_build_object('database', $1::text) || to_jsonb(s) || jsonb_build_object('links',"
    " (select coalesce(jsonb_agg(to_jsonb(l)), '[]') from (" LINKS ") l)))::text from (" INSTANCE
    ") s";
static const char catalog_json[] = "select (jsonb_build_object('database', $1::text) ||"
                                   " to_jsonb(s))::text from (" CATALOG ") s";

struct status {
    struct cli_parade *call;
    struct cli_parade_grid instances;
    struct cli_parade_grid links;
    size_t documents;
};

/* --- one database ----------------------------------------------------------------------------- */

static bool show_json(struct status *status, const struct cli_parade_place *place,
                      struct parade_session *session, bool catalog)
{
    const struct span name = span_text(place->name);
    if (!cli_parade_ask(status->call, place, session, catalog ? catalog_json : shard_json, &name,
                        1))
        return false;
    printf("%s%.*s", status->documents++ > 0 ? ",\n " : "[",
           SPAN_ARG(parade_session_cell(session, 0, 0)));
    return true;
}

static bool show_text(struct status *status, const struct cli_parade_place *place,
                      struct parade_session *session, bool catalog)
{
    if (!cli_parade_ask(status->call, place, session, catalog ? catalog_text : instance_text, NULL,
                        0))
        return false;
    cli_parade_grid_take(&status->instances, place->name, session);
    if (catalog)
        return true;
    if (!cli_parade_ask(status->call, place, session, links_text, NULL, 0))
        return false;
    cli_parade_grid_take(&status->links, place->name, session);
    return true;
}

static bool show_at(struct status *status, const struct cli_parade_place *place)
{
    struct parade_session *session = NULL;
    struct parade_installed installed;
    if (!cli_parade_open(status->call, place, &session))
        return false;
    fault looked = parade_install_look(session, &installed, cli_parade_until(status->call));
    bool shown = false;
    if (looked != OK)
        cli_parade_report(status->call, place, session, looked);
    else if (installed.version == 0)
        cli_parade_say(status->call, place,
                       "the database is no part of a parade; run trunkline parade init first");
    else if (status->call->json)
        shown = show_json(status, place, session, installed.catalog);
    else
        shown = show_text(status, place, session, installed.catalog);
    parade_session_close(&session);
    return shown;
}

/* --- all -------------------------------------------------------------------------------------- */

static int show_all(struct cli_parade *call)
{
    struct status status = {.call = call};
    bool whole = true;
    cli_parade_grid_init(&status.instances,
                         "database instance host state version config rows tombstones waiting");
    cli_parade_grid_init(
        &status.links,
        "database peer host link lag applied conflicts deferred quarantined skew trouble");
    for (size_t i = 0; i < call->place_count; i++)
        whole = show_at(&status, &call->places[i]) && whole;
    if (call->watch)
        fputs("\033[H\033[J", stdout);
    if (call->json)
        puts(status.documents > 0 ? "]" : "[]");
    bool linked = status.links.ends.size > status.links.columns * sizeof(size_t);
    cli_parade_grid_print(&status.instances);
    if (linked)
        puts("");
    cli_parade_grid_print(&status.links);
    return whole ? CLI_DONE : CLI_FAILED;
}

int cli_parade_status(struct cli_parade *call)
{
    if (call->json && call->watch) {
        cli_parade_say(call, &call->places[0], "found --json and --watch; accepted: one of them");
        return CLI_USAGE;
    }
    int status = show_all(call);
    while (call->watch && fflush(stdout) == 0 && co_sleep(WATCH_PAUSE) == OK)
        status = show_all(call);
    return status;
}
