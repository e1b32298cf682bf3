/* parade_install.c - `parade init` and `upgrade`: the SQL of a database. */
#include "cli/cli.h"
#include "cli/parade_parts.h"
#include "parade/install.h"

#include <inttypes.h>
#include <stdio.h>

#define TEXT_MAX 65536u

static const char *kind_text(enum parade_for kind)
{
    return kind == PARADE_FOR_CATALOG ? "a catalog" : "a shard instance";
}

/* Prints the plan of an installation. */
static fault plan_print(const struct cli_parade_place *place,
                        const struct parade_installed *installed, enum parade_for kind)
{
    struct buffer names = BUFFER_INIT(TEXT_MAX);
    fault planned = parade_install_plan(installed, kind, &names);
    if (planned == OK)
        printf("%s: version %u, would become %s of version %u by:\n%.*s", place->name,
               installed->version, kind_text(kind), parade_newest_version(),
               SPAN_ARG(buffer_span(&names)));
    buffer_fini(&names);
    return planned;
}

static fault install(struct cli_parade *call, const struct cli_parade_place *place,
                     struct parade_session *session, const struct parade_installed *installed,
                     enum parade_for kind)
{
    if (call->dry_run)
        return plan_print(place, installed, kind);
    struct buffer notices = BUFFER_INIT(TEXT_MAX);
    fault done = parade_install(session, kind, &notices, cli_parade_until(call));
    fprintf(stderr, "%.*s", SPAN_ARG(buffer_span(&notices)));
    buffer_fini(&notices);
    if (done == OK)
        printf("%s: %s of version %u%s\n", place->name, kind_text(kind), parade_newest_version(),
               installed->version == parade_newest_version() ? " already" : "");
    return done;
}

/* Names the database, as its topology does. */
static bool name_it(struct cli_parade *call, const struct cli_parade_place *place,
                    struct parade_session *session, int64_t instance, const char *host)
{
    char number[24];
    snprintf(number, sizeof(number), "%" PRId64, instance);
    const struct span values[] = {span_text(host), span_text(number)};
    if (instance == 0)
        return cli_parade_ask(call, place, session, "select kv_config.set_my_info($1)", values, 1);
    if (!cli_parade_ask(call, place, session, "select kv_config.set_my_info($2::int, $1)", values,
                        2))
        return false;
    printf("%s: instance %s on %s, %.*s\n", place->name, number, host,
           SPAN_ARG(parade_session_cell(session, 0, 0)));
    return true;
}

static fault install_at(struct cli_parade *call, const struct cli_parade_place *place,
                        struct parade_session *session, int64_t number)
{
    struct parade_installed installed;
    TRY(parade_install_look(session, &installed, cli_parade_until(call)));
    if (installed.named && !installed.catalog && number > 0 && installed.number != number)
        return fault_raise(FAULT_CONFIG,
                           "this shard instance is number %" PRId64 ", not %" PRId64
                           "; its number is for ever",
                           installed.number, number);
    return install(call, place, session, &installed,
                   number == 0 ? PARADE_FOR_CATALOG : PARADE_FOR_SHARD);
}

bool cli_parade_install(struct cli_parade *call, const struct cli_parade_place *place,
                        struct parade_session *session, int64_t number, const char *host)
{
    fault done = install_at(call, place, session, number);
    if (done != OK)
        cli_parade_report(call, place, session, done);
    return done == OK && (call->dry_run || name_it(call, place, session, number, host));
}

int cli_parade_init(struct cli_parade *call)
{
    struct parade_session *session = NULL;
    const struct cli_parade_place *place = &call->places[0];
    if (call->catalog == (call->instance > 0)) {
        cli_parade_say(call, place,
                       "found %s; accepted: --instance NUMBER for a shard instance, or --catalog",
                       call->catalog ? "both" : "neither");
        return CLI_USAGE;
    }
    if (!cli_parade_open(call, place, &session))
        return CLI_FAILED;
    bool done = cli_parade_install(call, place, session, call->instance,
                                   call->host != NULL ? call->host : place->target.host);
    parade_session_close(&session);
    return done ? CLI_DONE : CLI_FAILED;
}

/* --- upgrade ---------------------------------------------------------------------------------- */

static fault upgrade_at(struct cli_parade *call, const struct cli_parade_place *place,
                        struct parade_session *session)
{
    struct parade_installed installed;
    TRY(parade_install_look(session, &installed, cli_parade_until(call)));
    if (installed.version == 0)
        return fault_raise(FAULT_CONFIG,
                           "the database is no part of a parade; run trunkline parade init first");
    return install(call, place, session, &installed,
                   installed.catalog ? PARADE_FOR_CATALOG : PARADE_FOR_SHARD);
}

int cli_parade_upgrade(struct cli_parade *call)
{
    int status = CLI_DONE;
    for (size_t i = 0; i < call->place_count; i++) {
        struct parade_session *session = NULL;
        if (!cli_parade_open(call, &call->places[i], &session)) {
            status = CLI_FAILED;
            continue;
        }
        fault done = upgrade_at(call, &call->places[i], session);
        if (done != OK) {
            cli_parade_report(call, &call->places[i], session, done);
            status = CLI_FAILED;
        }
        parade_session_close(&session);
    }
    return status;
}
