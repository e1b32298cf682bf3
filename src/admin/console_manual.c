/*
 * console_manual.c - generates docs/console.md from the tables of commands and columns: `trunkline
 * docs console`.
 */
#include "admin/console.h"

#include "admin/console_parts.h"

static const char manual_start[] =
    "# The console\n"
    "\n"
    "<!-- Made by `trunkline docs console` from the tables in src/admin. -->\n"
    "\n"
    "Connect with any PostgreSQL client to the database `trunkline` or `pgbouncer`. The\n"
    "setting `console.databases` gives the console other names, so that real databases of\n"
    "these names can be reached. Users in `console.users` may run every command. Users in\n"
    "`console.stats_users` may run every SHOW command but SHOW FDS, SHOW CACHE and\n"
    "SHOW FLIGHTS. Passwords are those of the auth file. On a Unix socket, a console user that\n"
    "is not in the auth file needs no password if the client process belongs to the daemon's\n"
    "user or to root; the users `trunkline` and `pgbouncer` (the names in `console.databases`)\n"
    "need not even be listed then.\n"
    "\n"
    "```sh\n"
    "psql -h 127.0.0.1 -p 6432 -U admin trunkline -c 'SHOW POOLS'\n"
    "```\n"
    "\n"
    "Commands are not case-sensitive; semicolons separate several commands. The simple and\n"
    "the extended query protocol both work, with results in text or binary format. The\n"
    "connection stays usable after an error. Statements that drivers send on their own\n"
    "(`BEGIN`, `COMMIT`, `SET client_encoding = ...`, `SHOW TimeZone`, `SELECT 1`) are\n"
    "accepted and change nothing. Views that PgBouncer also has have its columns, in its\n"
    "order and of its types.\n"
    "\n"
    "Every SHOW accepts conditions, an order and a limit, which PgBouncer does not have:\n"
    "\n"
    "```sql console\n"
    "SHOW CLIENTS WHERE database = 'app' AND wait >= 1 AND application_name LIKE 'job%' ORDER BY "
    "wait DESC LIMIT 10\n"
    "```\n"
    "\n"
    "WHERE takes up to 8 conditions, joined by `AND`: a column, `=`, `<>`, `<`, `<=`, `>`,\n"
    "`>=` or `LIKE`, and a value; or a column with `IS NULL` or `IS NOT NULL`. Numeric\n"
    "columns are compared as numbers, all others byte by byte. NULL satisfies no comparison\n"
    "and sorts last in either order.\n"
    "\n"
    "A result has at most 64 MiB; a larger one fails with 54000. Averages cover the last 60\n"
    "to 120 seconds if they are queried at least once a minute; otherwise the time since the\n"
    "last query, or since the pool was created.\n"
    "\n"
    "| Command | What it does |\n"
    "|---|---|\n";

static void cell_print(const char *text, struct buffer *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '|')
            buffer_append_byte(out, '\\');
        buffer_append_byte(out, (uint8_t)*text);
    }
}

static const char *type_text(enum column_type type)
{
    static const char *const texts[] = {
        [COLUMN_TEXT] = "text",       [COLUMN_INT4] = "integer", [COLUMN_INT8] = "bigint",
        [COLUMN_NUMERIC] = "numeric", [COLUMN_BOOL] = "boolean",
    };
    return texts[type];
}

/* Whether this is the first command of its view: commands with the same columns share one
 * section. */
static bool is_first_of_view(size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (console_commands[i].view == console_commands[at].view)
            return false;
    return true;
}

static void heading_print(size_t at, struct buffer *out)
{
    buffer_printf(out, "\n## %s", console_commands[at].words);
    for (size_t i = at + 1; i < console_command_count; i++)
        if (console_commands[i].view == console_commands[at].view)
            buffer_printf(out, ", %s", console_commands[i].words);
    buffer_append_text(out, "\n\n| Column | Type | Meaning |\n|---|---|---|\n");
}

static void view_print(const struct console_view *view, struct buffer *out)
{
    for (size_t i = 0; i < view->count; i++) {
        const struct console_column *column = &view->columns[i];
        buffer_printf(out, "| `%s` | %s | ", column->name, type_text(column->type));
        cell_print(column->help, out);
        buffer_append_text(out, " |\n");
    }
}

void console_print_manual(struct buffer *out)
{
    buffer_append_text(out, manual_start);
    for (size_t i = 0; i < console_command_count; i++) {
        const char *argument = console_commands[i].argument;
        buffer_printf(out, "| `%s%s%s` | ", console_commands[i].words, argument == NULL ? "" : " ",
                      argument == NULL ? "" : argument);
        cell_print(console_commands[i].help, out);
        buffer_append_text(out, " |\n");
    }
    for (size_t i = 0; i < console_command_count; i++) {
        if (console_commands[i].view == NULL || !is_first_of_view(i))
            continue;
        heading_print(i, out);
        view_print(console_commands[i].view, out);
    }
}
