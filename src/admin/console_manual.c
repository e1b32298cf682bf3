/*
 * docs/console.md, made from the tables of commands and columns: `trunkline docs console`.
 */
#include "admin/console.h"

#include "admin/console_parts.h"

static const char manual_start[] =
    "# The console\n"
    "\n"
    "<!-- Made by `trunkline docs console` from the tables in src/admin. -->\n"
    "\n"
    "Connect with any PostgreSQL client to the database `trunkline` or `pgbouncer` (the setting\n"
    "`console.databases` gives it other names, and real databases of these names back to "
    "clients).\n"
    "Who is listed in `console.users` may do everything, who is listed in `console.stats_users` "
    "may\n"
    "SHOW everything but FDS. The password is that of the auth file. Over a Unix socket, if the\n"
    "process at the other end is of the daemon's own user or of root, a console user that the "
    "auth\n"
    "file does not know needs no password, and the users `trunkline` and `pgbouncer` (as "
    "`console.databases`\n"
    "has it) need not be listed.\n"
    "\n"
    "```sh\n"
    "psql -h 127.0.0.1 -p 6432 -U admin trunkline -c 'SHOW POOLS'\n"
    "```\n"
    "\n"
    "Commands may be written in any case, and several may be parted by semicolons. Both query\n"
    "protocols work, with results in text or binary. An error leaves the connection usable. What\n"
    "drivers say on their own (`BEGIN`, `COMMIT`, `SET ...`, `SHOW client_encoding`, `SELECT 1`) "
    "is\n"
    "accepted and changes nothing. Where PgBouncer has such a view, columns, their order and types "
    "are\n"
    "its own.\n"
    "\n"
    "Every SHOW takes conditions, an order and a limit, which PgBouncer does not have:\n"
    "\n"
    "```sql console\n"
    "SHOW CLIENTS WHERE database = 'app' AND wait >= 1 AND application_name LIKE 'job%' ORDER BY "
    "wait DESC LIMIT 10\n"
    "```\n"
    "\n"
    "Up to 8 conditions of a column, `=`, `<>`, `<`, `<=`, `>`, `>=` or `LIKE`, and a value, or "
    "`IS NULL`\n"
    "and `IS NOT NULL`, joined by `AND`. Numbers are compared as numbers, all else byte by byte; a "
    "null\n"
    "fits no comparison and comes last in any order.\n"
    "\n"
    "An answer has at most 64 MiB; a longer one is the error 54000. Averages are over the last 60 "
    "to\n"
    "120 seconds if somebody asks at least once a minute, else since somebody last asked, and at "
    "first\n"
    "since the pool began.\n"
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

/* Commands with the same columns share one part. */
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
