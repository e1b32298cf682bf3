#include "cli/parade.h"

#include "cli/cli.h"
#include "cli/parade_parts.h"
#include "machine/clock.h"
#include "machine/machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Before a statement of a command fails; --timeout changes it. */
#define TIMEOUT_USUAL sec(300)

struct running {
    struct cli_parade *call;
    int (*run)(struct cli_parade *call);
    int status;
};

/* --- for the commands ------------------------------------------------------------------------- */

deadline cli_parade_until(const struct cli_parade *call)
{
    return after(call->timeout);
}

void cli_parade_report(const struct cli_parade *call, const struct cli_parade_place *place,
                       const struct parade_session *session, fault what)
{
    fprintf(stderr, "trunkline parade %s: %s: %s\n", call->name, place->name, fault_detail(what));
    if (session == NULL || what != FAULT_UPSTREAM)
        return;
    const struct parade_error *error = parade_session_error(session);
    if (error->detail[0] != '\0')
        fprintf(stderr, "  detail: %s\n", error->detail);
    if (error->hint[0] != '\0')
        fprintf(stderr, "  hint: %s\n", error->hint);
}

void cli_parade_say(const struct cli_parade *call, const struct cli_parade_place *place,
                    const char *format, ...)
{
    va_list values;
    fprintf(stderr, "trunkline parade %s: %s: ", call->name, place->name);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputs("\n", stderr);
}

bool cli_parade_open(struct cli_parade *call, const struct cli_parade_place *place,
                     struct parade_session **ret)
{
    deadline by = after(sec(place->target.patience));
    fault opened = parade_session_open(&place->target, "trunkline parade", ret, by);
    if (opened != OK)
        cli_parade_report(call, place, NULL, opened);
    return opened == OK;
}

bool cli_parade_ask(struct cli_parade *call, const struct cli_parade_place *place,
                    struct parade_session *session, const char *sql, const struct span *values,
                    size_t count)
{
    fault asked = parade_session_ask(session, sql, values, count, cli_parade_until(call));
    if (asked != OK)
        cli_parade_report(call, place, session, asked);
    return asked == OK;
}

/* --- running ---------------------------------------------------------------------------------- */

static void run_main(void *argument)
{
    struct running *running = argument;
    running->status = running->run(running->call);
    machine_stop();
}

static int run_command(const struct cli_parade_row *row, struct cli_parade *call)
{
    struct running running = {call, row->run, CLI_FAILED};
    fault ran = machine_run("parade", run_main, &running);
    if (ran != OK)
        fprintf(stderr, "trunkline parade %s: %s\n", row->name, fault_detail(ran));
    return ran == OK ? running.status : CLI_FAILED;
}

static void call_wipe(struct cli_parade *call)
{
    parade_topology_free(&call->topology);
    for (size_t i = 0; i < call->place_count; i++)
        explicit_bzero(&call->places[i].target, sizeof(call->places[i].target));
    free(call->places);
}

int cli_parade_run(char **arguments)
{
    struct cli_parade call = {.ns = "DEFAULT", .timeout = TIMEOUT_USUAL};
    const struct cli_parade_row *row = arguments[0] != NULL ? cli_parade_find(arguments[0]) : NULL;
    if (row == NULL) {
        if (arguments[0] != NULL)
            fprintf(stderr, "trunkline parade: unknown command %s\n", arguments[0]);
        fputs(cli_parade_help(), stderr);
        return CLI_USAGE;
    }
    call.name = row->name;
    call.places = calloc(CLI_PARADE_PLACES_MAX, sizeof(call.places[0]));
    if (call.places == NULL) {
        fputs("trunkline parade: no memory\n", stderr);
        return CLI_FAILED;
    }
    int status = cli_parade_options(row, arguments, &call);
    if (status == CLI_USAGE)
        fprintf(stderr, "usage: trunkline parade %s %s\n", row->name, row->arguments);
    if (status == CLI_DONE)
        status = run_command(row, &call);
    call_wipe(&call);
    return status;
}
