/* parade_setup.c - `parade setup` and `push`: a whole parade, as its topology file describes it. */
#include "cli/cli.h"
#include "cli/parade_parts.h"
#include "parade/install.h"

#include <stdio.h>

#define SQL_MAX      ((size_t)1024 * 1024)
#define DOCUMENT_MAX ((size_t)64 * 1024 * 1024)

/* --- databases -------------------------------------------------------------------------------- */

/* Appends a name as an identifier, or a text as a literal, in these quotes. */
static void put_quoted(struct buffer *sql, const char *text, char quote)
{
    buffer_append_byte(sql, (uint8_t)quote);
    for (; *text != '\0'; text++) {
        if (*text == quote)
            buffer_append_byte(sql, (uint8_t)quote);
        buffer_append_byte(sql, (uint8_t)*text);
    }
    buffer_append_byte(sql, (uint8_t)quote);
}

/* Makes a database over the maintenance database. */
static bool database_make(struct cli_parade *call, const struct cli_parade_place *place)
{
    struct cli_parade_place maintenance;
    struct parade_target target = place->target;
    struct parade_session *session = NULL;
    struct buffer sql = BUFFER_INIT(1024);
    if (call->dry_run) {
        printf("%s: would be created\n", place->name);
        return true;
    }
    memcpy(target.database, "postgres", sizeof("postgres"));
    cli_parade_place_set(&maintenance, &target);
    if (!cli_parade_open(call, &maintenance, &session))
        return false;
    buffer_append_text(&sql, "create database ");
    put_quoted(&sql, place->target.database, '"');
    buffer_append_text(&sql, " encoding 'UTF8' template template0");
    fault made = parade_session_run(session, buffer_span(&sql), cli_parade_until(call));
    if (made != OK)
        cli_parade_report(call, &maintenance, session, made);
    else
        printf("%s: created\n", place->name);
    buffer_fini(&sql);
    parade_session_close(&session);
    return made == OK;
}

/* Opens a database; makes it first if it is missing.  *ret stays NULL where it would be made. */
static bool open_or_make(struct cli_parade *call, const struct cli_parade_place *place,
                         struct parade_session **ret)
{
    deadline by = cli_parade_until(call);
    fault opened = parade_session_open(&place->target, "trunkline parade", ret, by);
    if (opened == OK)
        return true;
    if (strcmp(fault_detail_sqlstate(opened), "3D000") != 0) {
        cli_parade_report(call, place, NULL, opened);
        return false;
    }
    return database_make(call, place) && (call->dry_run || cli_parade_open(call, place, ret));
}

static bool setup_place(struct cli_parade *call, size_t index)
{
    const struct parade_topology *topology = call->topology;
    const struct cli_parade_place *place = &call->places[index];
    struct parade_session *session = NULL;
    int64_t number =
        index < topology->zone_count ? 0 : topology->members[index - topology->zone_count].number;
    if (!open_or_make(call, place, &session))
        return false;
    bool done =
        session == NULL || cli_parade_install(call, place, session, number, place->target.host);
    parade_session_close(&session);
    return done;
}

/* --- the catalog ------------------------------------------------------------------------------ */

/* What the catalog's tables shall hold; rows that the file does not name stay. */
static void put_topology(struct buffer *sql, const struct parade_topology *topology)
{
    buffer_append_text(sql, "begin;");
    for (size_t i = 0; i < topology->zone_count; i++) {
        const struct parade_target *target = &topology->zones[i].target;
        buffer_append_text(sql, "insert into public.catalog_instance values (");
        put_quoted(sql, target->host, '\'');
        buffer_printf(sql, ", %u) on conflict do nothing;", target->port);
    }
    for (size_t i = 0; i < topology->member_count; i++) {
        const struct parade_member *member = &topology->members[i];
        const struct parade_zone *zone = &topology->zones[member->zone];
        buffer_append_text(sql, "insert into public.shard_name values (");
        put_quoted(sql, member->shard, '\'');
        buffer_append_text(sql, ") on conflict do nothing;");
        buffer_printf(sql,
                      "insert into public.shard_instance as i"
                      " (instance_id, port, state, hostname, shard_name, zone) values"
                      " (%u, %u, 'online', ",
                      member->number, zone->target.port);
        put_quoted(sql, zone->target.host, '\'');
        buffer_append_text(sql, ", ");
        put_quoted(sql, member->shard, '\'');
        buffer_append_text(sql, ", ");
        put_quoted(sql, zone->name, '\'');
        buffer_append_text(sql,
                           ") on conflict (instance_id) do update set hostname = excluded.hostname,"
                           " port = excluded.port, shard_name = excluded.shard_name,"
                           " zone = excluded.zone where (i.hostname, i.port, i.shard_name, i.zone)"
                           " is distinct from (excluded.hostname, excluded.port,"
                           " excluded.shard_name, excluded.zone);");
    }
}

/* A changed topology gets a new version of the configuration. */
static bool topology_write(struct cli_parade *call, struct parade_session *session)
{
    static const char document[] = "select kv_config._export_topology()::text";
    const struct cli_parade_place *place = &call->places[0];
    struct buffer sql = BUFFER_INIT(SQL_MAX), before = BUFFER_INIT(DOCUMENT_MAX);
    bool done = cli_parade_ask(call, place, session, document, NULL, 0);
    buffer_append_span(&before, parade_session_cell(session, 0, 0));
    put_topology(&sql, call->topology);
    fault ran = done ? parade_session_run(session, buffer_span(&sql), cli_parade_until(call)) : OK;
    if (ran != OK)
        cli_parade_report(call, place, session, ran);
    done = done && ran == OK && cli_parade_ask(call, place, session, document, NULL, 0);
    bool changed = done && !span_equal(parade_session_cell(session, 0, 0), buffer_span(&before));
    if (changed) {
        done = cli_parade_ask(call, place, session, "select kv_config.push_catalog_changes()", NULL,
                              0);
        if (done)
            printf("%s: configuration of version %.*s\n", place->name,
                   SPAN_ARG(parade_session_cell(session, 0, 0)));
    }
    done = done && cli_parade_ask(call, place, session, "commit", NULL, 0);
    buffer_fini(&sql);
    buffer_fini(&before);
    return done;
}

/* --- the configuration ------------------------------------------------------------------------ */

static bool import_at(struct cli_parade *call, const struct cli_parade_place *place,
                      struct span document)
{
    struct parade_session *session = NULL;
    if (!cli_parade_open(call, place, &session))
        return false;
    bool done = cli_parade_ask(call, place, session, "select kv_config.import_config($1::jsonb)",
                               &document, 1);
    if (done)
        printf("%s: configuration %s\n", place->name,
               parade_session_true(session, 0, 0) ? "taken over" : "is there already");
    parade_session_close(&session);
    return done;
}

/* Carries the first catalog's configuration to all other databases; one that can't be reached has
 * it at the next call. */
static bool carry(struct cli_parade *call, struct parade_session *session)
{
    struct buffer document = BUFFER_INIT(DOCUMENT_MAX);
    bool done = cli_parade_ask(call, &call->places[0], session,
                               "select kv_config.export_config()::text", NULL, 0);
    buffer_append_span(&document, parade_session_cell(session, 0, 0));
    bool all = done && buffer_fault(&document) == OK;
    for (size_t i = 1; i < call->place_count && done; i++)
        all = import_at(call, &call->places[i], buffer_span(&document)) && all;
    buffer_fini(&document);
    return all;
}

int cli_parade_push(struct cli_parade *call)
{
    struct parade_session *session = NULL;
    if (!cli_parade_open(call, &call->places[0], &session))
        return CLI_FAILED;
    bool done = cli_parade_ask(call, &call->places[0], session,
                               "select kv_config.push_catalog_changes()", NULL, 0);
    if (done)
        printf("%s: configuration of version %.*s\n", call->places[0].name,
               SPAN_ARG(parade_session_cell(session, 0, 0)));
    done = done && carry(call, session);
    parade_session_close(&session);
    return done ? CLI_DONE : CLI_FAILED;
}

int cli_parade_setup(struct cli_parade *call)
{
    struct parade_session *session = NULL;
    bool all = true;
    for (size_t i = 0; i < call->place_count; i++)
        all = setup_place(call, i) && all;
    if (call->dry_run || !all)
        return all ? CLI_DONE : CLI_FAILED;
    if (!cli_parade_open(call, &call->places[0], &session))
        return CLI_FAILED;
    all = topology_write(call, session) && carry(call, session);
    parade_session_close(&session);
    return all ? CLI_DONE : CLI_FAILED;
}
