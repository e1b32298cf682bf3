/* parade_data.c - `parade get`, `put`, `delete`, `incr` and `scan`: what applications do. */
#include "cli/cli.h"
#include "cli/parade_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A page of `scan`. */
#define PAGE_ROWS 1000
/* The largest value that a namespace can allow, as standard input. */
#define VALUE_MAX ((size_t)64 * 1024 * 1024)

static struct span argument(const struct cli_parade *call, int index)
{
    return index < call->count ? span_text(call->words[index]) : SPAN_NONE;
}

/* Runs one statement at the first database; prints its only cell, with `none` for NULL. */
static int ask_one(struct cli_parade *call, const char *sql, const struct span *values,
                   size_t count, const char *none)
{
    struct parade_session *session = NULL;
    int status = CLI_FAILED;
    if (!cli_parade_open(call, &call->places[0], &session))
        return CLI_FAILED;
    if (cli_parade_ask(call, &call->places[0], session, sql, values, count)) {
        struct span cell = parade_session_cell(session, 0, 0);
        if (cell.at != NULL)
            printf("%.*s\n", SPAN_ARG(cell));
        else
            cli_parade_say(call, &call->places[0], none, call->words[1], call->ns);
        status = cell.at != NULL ? CLI_DONE : CLI_FAILED;
    }
    parade_session_close(&session);
    return status;
}

int cli_parade_get(struct cli_parade *call)
{
    const struct span values[] = {span_text(call->ns), argument(call, 1)};
    return ask_one(call,
                   call->text ? "select coalesce(value #>> '{}', data::text)"
                                " from kv.mget($1, array[$2::text])"
                              : "select coalesce(value::text, data::text)"
                                " from kv.mget($1, array[$2::text])",
                   values, ARRAY_SIZE(values), "there is no key \"%s\" in namespace \"%s\"");
}

/* Reads standard input as the value.  Blocks. */
static bool value_read(const struct cli_parade *call, struct buffer *into)
{
    for (;;) {
        uint8_t *room = buffer_room(into, 65536);
        if (room == NULL) {
            cli_parade_say(call, &call->places[0],
                           "found a value of more than %zu bytes; accepted: up to %zu", VALUE_MAX,
                           VALUE_MAX);
            return false;
        }
        ssize_t got = read(STDIN_FILENO, room, 65536);
        if (got <= 0)
            return got == 0;
        into->size += (size_t)got;
    }
}

int cli_parade_put(struct cli_parade *call)
{
    struct buffer input = BUFFER_INIT(VALUE_MAX + 65536);
    struct span value = argument(call, 2);
    const char *sql = "select kv.put($1, $2, $3::text, $4)";
    if (call->text && call->bytes) {
        cli_parade_say(call, &call->places[0], "found --text and --bytes; accepted: one of them");
        return CLI_USAGE;
    }
    if (call->text)
        sql = "select kv.put($1, $2, to_json($3::text)::text, $4)";
    else if (call->bytes)
        sql = "select kv.put_bytes($1, $2, $3::bytea, $4)";
    if (span_is(value, "-")) {
        if (!value_read(call, &input)) {
            buffer_fini(&input);
            return CLI_FAILED;
        }
        value = input.size > 0 ? buffer_span(&input) : SPAN("");
    }
    const struct span values[] = {span_text(call->ns), argument(call, 1), value,
                                  span_text(call->expire)};
    int status = ask_one(call, sql, values, ARRAY_SIZE(values), "wrote nothing");
    buffer_fini(&input);
    return status;
}

int cli_parade_delete(struct cli_parade *call)
{
    const struct span values[] = {span_text(call->ns), argument(call, 1)};
    return ask_one(call, "select kv.delete($1, $2)", values, ARRAY_SIZE(values), "deleted nothing");
}

int cli_parade_incr(struct cli_parade *call)
{
    const struct span values[] = {span_text(call->ns), argument(call, 1),
                                  call->count > 2 ? argument(call, 2) : SPAN("1"),
                                  span_text(call->expire)};
    return ask_one(call, "select kv.incr($1, $2, $3, $4)", values, ARRAY_SIZE(values),
                   "added nothing");
}

/* --- scan ------------------------------------------------------------------------------------- */

/* Prints the rows of a page; keeps the last key in `after`. */
static bool page_print(const struct parade_session *session, struct buffer *after)
{
    uint32_t rows = parade_session_rows(session);
    for (uint32_t i = 0; i < rows; i++) {
        struct span key = parade_session_cell(session, i, 0);
        printf("%.*s\t%.*s\n", SPAN_ARG(key), SPAN_ARG(parade_session_cell(session, i, 1)));
        if (i + 1 == rows) {
            buffer_clear(after);
            buffer_append_span(after, key);
        }
    }
    return buffer_fault(after) == OK;
}

static int scan_pages(struct cli_parade *call, struct parade_session *session, struct buffer *after)
{
    const char *sql = call->text ? "select key, coalesce(value #>> '{}', data::text)"
                                   " from kv.scan($1, $2, $3, $4::int)"
                                 : "select key, coalesce(value::text, data::text)"
                                   " from kv.scan($1, $2, $3, $4::int)";
    int64_t left = call->limit > 0 ? call->limit : INT64_MAX;
    bool begun = false;
    while (left > 0) {
        int64_t page = MIN_OF(left, (int64_t)PAGE_ROWS);
        char rows[24];
        snprintf(rows, sizeof(rows), "%lld", (long long)page);
        const struct span values[] = {span_text(call->ns),
                                      call->count > 1 ? argument(call, 1) : SPAN(""),
                                      begun ? buffer_span(after) : SPAN_NONE, span_text(rows)};
        if (!cli_parade_ask(call, &call->places[0], session, sql, values, ARRAY_SIZE(values)) ||
            !page_print(session, after))
            return CLI_FAILED;
        left -= page;
        begun = true;
        if (parade_session_rows(session) < page)
            break;
    }
    return CLI_DONE;
}

int cli_parade_scan(struct cli_parade *call)
{
    struct parade_session *session = NULL;
    struct buffer after = BUFFER_INIT(4096);
    if (!cli_parade_open(call, &call->places[0], &session))
        return CLI_FAILED;
    int status = scan_pages(call, session, &after);
    buffer_fini(&after);
    parade_session_close(&session);
    return status;
}
