/*
 * import_manual.c - generates docs/migrating-from-pgbouncer.md from the table of the import.
 */
#include "instance/import.h"

static const char manual_start[] =
    "# Migrating from PgBouncer\n"
    "\n"
    "<!-- Made by `trunkline docs migrating-from-pgbouncer` from src/instance/import_rows.c. -->\n"
    "\n"
    "```sh\n"
    "trunkline import /etc/pgbouncer/pgbouncer.ini > trunkline.yaml\n"
    "trunkline check trunkline.yaml\n"
    "trunkline run trunkline.yaml\n"
    "```\n"
    "\n"
    "`import` reads the file and the files that it includes, and prints an equivalent\n"
    "configuration. Settings without an equivalent are listed at its end as comments, each\n"
    "with the reason. `users.txt` is used unchanged. The console answers PgBouncer's commands\n"
    "with PgBouncer's columns, so monitoring keeps working ([console.md](console.md)). Paths\n"
    "in the new file are relative to it.\n"
    "\n"
    "Differences that you will notice:\n"
    "\n"
    "* `pool_size` is exact although several threads work; no second process is needed.\n"
    "* When a login at a server fails, clients get the server's own SQLSTATE.\n"
    "* Session pools assign the server at login: `pg_backend_pid()` and the cancel key of the\n"
    "  connection agree, startup parameters are the server's own, and `RESET` returns to\n"
    "  them.\n"
    "* When a client disconnects in a transaction, the query is cancelled, the transaction is\n"
    "  rolled back, and the server is used again.\n"
    "* After PostgreSQL has restarted, waiting clients are served at once.\n"
    "* SIGUSR1 reopens the log files; to pause, use `PAUSE` on the console. SIGUSR2 resumes, as\n"
    "  in PgBouncer.\n"
    "\n"
    "## Every setting\n"
    "\n"
    "Keys are those of `[pgbouncer]`, except: d marks a key in a line of `[databases]`, u one\n"
    "in a line of `[users]`.\n"
    "\n"
    "| PgBouncer | Trunkline | Remark |\n"
    "|---|---|---|\n";

static const char *place_head(enum import_place place)
{
    switch (place) {
    case IMPORT_LISTEN:
        return "listen[].";
    case IMPORT_LISTEN_TLS:
        return "listen[].tls.";
    case IMPORT_SERVICE:
        return "services.NAME.";
    case IMPORT_SERVICE_TLS:
        return "services.NAME.tls.";
    case IMPORT_DATABASE:
        return "databases.NAME.";
    case IMPORT_ROUTE:
    case IMPORT_USER:
        return "routes[].";
    case IMPORT_TCP:
        return "client_tcp., server_tcp.";
    case IMPORT_CONSOLE:
        return "console.";
    case IMPORT_LOG:
        return "log.";
    default:
        return "";
    }
}

static void put_key(struct buffer *out, const char *key, const char *mark, const char **between)
{
    if (key == NULL)
        return;
    buffer_printf(out, "%s`%s`%s", *between, key, mark);
    *between = ", ";
}

void import_print_manual(struct buffer *out)
{
    buffer_append_text(out, manual_start);
    for (size_t i = 0; i < import_rows_count; i++) {
        const struct import_row *row = &import_rows[i];
        const char *between = "";
        buffer_append_text(out, "| ");
        put_key(out, row->global, "", &between);
        put_key(out, row->database, " d", &between);
        put_key(out, row->user, " u", &between);
        buffer_append_text(out, " | ");
        if (row->ours != NULL)
            buffer_printf(out, "`%s%s`", place_head(row->place), row->ours);
        buffer_printf(out, " | %s |\n", row->remark == NULL ? "" : row->remark);
    }
}
