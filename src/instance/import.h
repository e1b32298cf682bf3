#pragma once
/*
 * import.h - a PgBouncer configuration, told in ours.
 *
 * One table, import_rows, knows every setting of PgBouncer: the key that does the same here, how
 * its value is to be written, or why there is none.  The import and the page about migrating are
 * both made from it.  The configuration that comes out can be run; what got lost on the way stands
 * in it as comments.  For the command line: nothing suspends.
 */
#include "base/buffer.h"

/* Where a setting of ours stands. */
enum import_place {
    IMPORT_TOP,
    IMPORT_LISTEN,     /* each listener */
    IMPORT_LISTEN_TLS, /* its tls: */
    IMPORT_SERVICE,    /* each service */
    IMPORT_SERVICE_TLS,
    IMPORT_ROUTE,
    IMPORT_DATABASE, /* databases.NAME: */
    IMPORT_USER,     /* the same, but a user's own stands under users.NAME: */
    IMPORT_TCP,      /* client_tcp: and server_tcp: */
    IMPORT_CONSOLE,
    IMPORT_LOG,
    IMPORT_APART,   /* `ours` is for the page: the code knows what to do with it */
    IMPORT_NOTHING, /* no equal; the remark says why, or what to do instead */
};

/* How a value is written. */
enum import_shape {
    IMPORT_AS_IT_IS, /* a name, a number, a path */
    IMPORT_SECONDS,  /* "2.5" becomes 2500ms */
    IMPORT_MILLISECONDS,
    IMPORT_SWITCH, /* 0 and 1 become no and yes */
    IMPORT_NAMES,  /* a list with commas or blanks between */
};

struct import_row {
    const char *global;   /* its key in [pgbouncer]; NULL: not there */
    const char *database; /* in a line of [databases]; NULL */
    const char *user;     /* in a line of [users]; NULL */
    const char *ours;
    enum import_place place;
    enum import_shape shape;
    const char *zero;   /* what is written for 0; NULL: 0 */
    const char *preset; /* PgBouncer's own default, where ours is another; NULL */
    const char *remark; /* for the page; NULL */
};

extern const struct import_row import_rows[];
extern const size_t import_rows_count;

/** Reads the file and appends a configuration.  Faults: CONFIG (each problem in `problems`),
 *  SYSTEM, MEMORY, with the story. */
fault import_pgbouncer(const char *path, struct buffer *out, struct buffer *problems) MUST_USE;
/** Appends docs/migrating-from-pgbouncer.md. */
void import_print_manual(struct buffer *out);
