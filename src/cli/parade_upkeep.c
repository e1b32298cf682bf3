/* parade_upkeep.c - `parade quarantine`, `gc` and `forget`. */
#include "cli/cli.h"
#include "cli/parade_parts.h"

#include <stdio.h>

/* Asks the first database for one row, and prints each of its cells before its text. */
static int ask_numbers(struct cli_parade *call, const char *sql, const struct span *values,
                       size_t count, const char *const *texts)
{
    struct parade_session *session = NULL;
    if (!cli_parade_open(call, &call->places[0], &session))
        return CLI_FAILED;
    bool asked = cli_parade_ask(call, &call->places[0], session, sql, values, count);
    for (uint32_t i = 0; asked && texts[i] != NULL; i++)
        printf("%s%.*s %s", i > 0 ? ", " : "", SPAN_ARG(parade_session_cell(session, 0, i)),
               texts[i]);
    if (asked)
        puts("");
    parade_session_close(&session);
    return asked ? CLI_DONE : CLI_FAILED;
}

int cli_parade_gc(struct cli_parade *call)
{
    static const char *const texts[] = {"removed", "expired", "members fenced", NULL};
    return ask_numbers(call, "select removed, stripped, fenced from kv.gc()", NULL, 0, texts);
}

int cli_parade_forget(struct cli_parade *call)
{
    struct parade_session *session = NULL;
    const struct span peer = span_text(call->words[1]);
    if (!cli_parade_open(call, &call->places[0], &session))
        return CLI_FAILED;
    bool done = cli_parade_ask(call, &call->places[0], session,
                               "select kv_config.forget_peer($1::int)", &peer, 1);
    if (done)
        printf("%s: peer %s is forgotten; run trunkline parade verify on the others\n",
               call->places[0].name, call->words[1]);
    parade_session_close(&session);
    return done ? CLI_DONE : CLI_FAILED;
}

/* --- quarantine ------------------------------------------------------------------------------- */

static int quarantine_list(struct cli_parade *call)
{
    struct parade_session *session = NULL;
    struct cli_parade_grid grid;
    if (!cli_parade_open(call, &call->places[0], &session))
        return CLI_FAILED;
    bool asked = cli_parade_ask(
        call, &call->places[0], session,
        "select id, kind, source, date_trunc('second', at), namespace, key, sqlstate, message"
        " from kv_stats.not_received order by kind desc, id",
        NULL, 0);
    if (asked) {
        cli_parade_grid_init(&grid, "number kind peer since namespace key sqlstate reason");
        cli_parade_grid_take(&grid, NULL, session);
        cli_parade_grid_print(&grid);
    }
    parade_session_close(&session);
    return asked ? CLI_DONE : CLI_FAILED;
}

int cli_parade_quarantine(struct cli_parade *call)
{
    static const char *const again[] = {"rows are tried again by the next merge", NULL};
    static const char *const dropped[] = {"rows dropped; this instance now differs from its peer",
                                          NULL};
    const char *what = call->words[1];
    const struct span number = call->count > 2 ? span_text(call->words[2]) : SPAN_NONE;
    if (strcmp(what, "list") == 0 && call->count == 2)
        return quarantine_list(call);
    if (strcmp(what, "retry") == 0)
        return ask_numbers(call, "select kv_config.quarantine_retry($1::bigint)", &number, 1,
                           again);
    if (strcmp(what, "drop") == 0 && call->count == 3)
        return ask_numbers(call, "select kv_config.quarantine_drop($1::bigint)", &number, 1,
                           dropped);
    cli_parade_say(call, &call->places[0], "found %s; accepted: list, retry [NUMBER], drop NUMBER",
                   what);
    return CLI_USAGE;
}
