/* docs/migrating-from-pgbouncer.md, made from the table of the import. */
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
    "`import` reads the file, and those that it includes, and prints a configuration that does "
    "the\n"
    "same. What has no equal stands at its end as comments, with the reason. `users.txt` is taken\n"
    "as it is. The console answers PgBouncer's commands with PgBouncer's columns, so that "
    "monitoring\n"
    "goes on ([console.md](console.md)); paths in the new file are relative to it.\n"
    "\n"
    "What will be noticed:\n"
    "\n"
    "* `pool_size` is exact although several threads work; no second process is needed.\n"
    "* A login error of a server arrives with the server's own SQLSTATE.\n"
    "* Session pools claim their server at login: `pg_backend_pid()` and the key of the "
    "connection\n"
    "  agree, startup parameters are the server's own, `RESET` returns to them.\n"
    "* A client that vanishes in a transaction: the query is cancelled, the transaction rolled "
    "back,\n"
    "  the server used again.\n"
    "* After PostgreSQL has restarted, waiting clients are served at once.\n"
    "\n"
    "## Every setting\n"
    "\n"
    "Keys of `[pgbouncer]` unless marked: d for a line of `[databases]`, u for one of `[users]`.\n"
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
