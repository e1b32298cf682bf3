#pragma once
/*
 * import.h - converts a PgBouncer configuration.
 *
 * One table, import_rows, lists every setting of PgBouncer: the equivalent key, how its value is
 * written, or why there is none.  Both the import and the migration page are made from it.  The
 * resulting configuration can be run; settings without an equivalent are in it as comments.  For
 * the command line only: nothing suspends.
 */
#include "base/buffer.h"

/* Where the equivalent setting is. */
enum import_place {
    IMPORT_TOP,
    IMPORT_LISTEN,     /* each listener */
    IMPORT_LISTEN_TLS, /* its tls: */
    IMPORT_SERVICE,    /* each service */
    IMPORT_SERVICE_TLS,
    IMPORT_ROUTE,
    IMPORT_DATABASE, /* databases.NAME: */
    IMPORT_USER,     /* as IMPORT_ROUTE, but a single user's value is under users.NAME: */
    IMPORT_TCP,      /* client_tcp: and server_tcp: */
    IMPORT_CONSOLE,
    IMPORT_LOG,
    IMPORT_APART,   /* special: converted by code; `ours` is for the page only */
    IMPORT_NOTHING, /* no equivalent; the remark says why, or what to do instead */
};

/* How a value is converted. */
enum import_shape {
    IMPORT_AS_IT_IS, /* a name, a number, a path */
    IMPORT_SECONDS,  /* "2.5" becomes 2500ms */
    IMPORT_MILLISECONDS,
    IMPORT_SWITCH, /* 0 and 1 become no and yes */
    IMPORT_NAMES,  /* a list with commas or blanks between */
};

struct import_row {
    const char *global;   /* key in [pgbouncer]; NULL: none */
    const char *database; /* key in a line of [databases]; NULL: none */
    const char *user;     /* key in a line of [users]; NULL: none */
    const char *ours;
    enum import_place place;
    enum import_shape shape;
    const char *zero;   /* value written for 0; NULL: 0 */
    const char *preset; /* PgBouncer's default, if ours differs; NULL: the same */
    const char *remark; /* for the page; NULL: none */
};

extern const struct import_row import_rows[];
extern const size_t import_rows_count;

/** Reads the file and appends a configuration to `out`.  Faults: CONFIG (each problem in
 *  `problems`), SYSTEM, MEMORY, with the detail. */
fault import_pgbouncer(const char *path, struct buffer *out, struct buffer *problems) MUST_USE;
/** Appends docs/migrating-from-pgbouncer.md. */
void import_print_manual(struct buffer *out);
