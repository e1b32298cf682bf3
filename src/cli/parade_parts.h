#pragma once
/*
 * parade_parts.h - what the commands of `trunkline parade` share: their options, and the databases
 * that they were given.
 *
 * Each command runs as the only coroutine of a machine of its own.
 */
#include "base/buffer.h"
#include "parade/session.h"
#include "parade/topology.h"

#define CLI_PARADE_PLACES_MAX 64 /* databases of one call */

/* A database, and how messages name it. */
struct cli_parade_place {
    struct parade_target target;
    char name[PARADE_TARGET_TEXT];
};

struct cli_parade {
    const char *name; /* of the command */
    int count;        /* of `words` */
    char **words;     /* the arguments that are no options */
    const char *ns;
    const char *expire;        /* NULL: the namespace's own class */
    const char *password_file; /* NULL: none */
    const char *host;          /* NULL: that of the connection */
    int64_t instance;          /* 0: none */
    int64_t limit;             /* 0: none */
    duration timeout;          /* of a statement */
    bool catalog, dry_run, json, text, bytes, watch;
    struct cli_parade_place *places; /* those of the leading words */
    size_t place_count;
    const char *zone;                 /* `run` serves it */
    struct parade_topology *topology; /* of the commands that take its file; owned */
};

/** Opens a connection; reports a fault.  False: there is none.  Suspends. */
bool cli_parade_open(struct cli_parade *call, const struct cli_parade_place *place,
                     struct parade_session **ret);
/** Runs a statement with values; reports a fault.  Suspends. */
bool cli_parade_ask(struct cli_parade *call, const struct cli_parade_place *place,
                    struct parade_session *session, const char *sql, const struct span *values,
                    size_t count);
/** Reports a fault at a database, with detail and hint of the server's error where there is one;
 *  `session` may be NULL. */
void cli_parade_report(const struct cli_parade *call, const struct cli_parade_place *place,
                       const struct parade_session *session, fault what);
/** Reports a sentence about a database. */
void cli_parade_say(const struct cli_parade *call, const struct cli_parade_place *place,
                    const char *format, ...) PRINTF_LIKE(3, 4);
/** When a statement that starts now must have ended. */
deadline cli_parade_until(const struct cli_parade *call);

/** Finds the password of a database: its own, that of --password-file, PGPASSWORD, ~/.pgpass.
 *  Blocks.  False after a report. */
bool cli_parade_password(const struct cli_parade *call, struct parade_target *target);
/** Fills a place from a target. */
void cli_parade_place_set(struct cli_parade_place *place, const struct parade_target *target);
/** The SQL of one database, and its name in the topology (parade_install.c).  `number`: 0 makes a
 *  catalog.  Suspends.  False after a report. */
bool cli_parade_install(struct cli_parade *call, const struct cli_parade_place *place,
                        struct parade_session *session, int64_t number, const char *host);

/* The commands; each returns an exit status. */
int cli_parade_init(struct cli_parade *call);
int cli_parade_upgrade(struct cli_parade *call);
int cli_parade_status(struct cli_parade *call);
int cli_parade_get(struct cli_parade *call);
int cli_parade_put(struct cli_parade *call);
int cli_parade_delete(struct cli_parade *call);
int cli_parade_incr(struct cli_parade *call);
int cli_parade_scan(struct cli_parade *call);
int cli_parade_verify(struct cli_parade *call);
int cli_parade_repair(struct cli_parade *call);
int cli_parade_quarantine(struct cli_parade *call);
int cli_parade_gc(struct cli_parade *call);
int cli_parade_forget(struct cli_parade *call);
int cli_parade_setup(struct cli_parade *call);
int cli_parade_push(struct cli_parade *call);
int cli_parade_serve(struct cli_parade *call);

/* --- tables of text (parade_table.c) ---------------------------------------------------------- */

/* Cells that are collected before they are printed, row by row; the first row has the heads. */
struct cli_parade_grid {
    struct buffer bytes;
    struct buffer ends; /* size_t: where each cell ends in `bytes` */
    size_t columns;
};
#define CLI_PARADE_GRID_MAX ((size_t)64 * 1024 * 1024)

/** Begins a table with the heads that `heads` names, separated by blanks. */
void cli_parade_grid_init(struct cli_parade_grid *grid, const char *heads);
/** Adds the next cell. */
void cli_parade_grid_add(struct cli_parade_grid *grid, struct span cell);
/** Adds all rows of a session's last statement, which has the grid's columns, behind a first cell
 *  if `first` is not NULL. */
void cli_parade_grid_take(struct cli_parade_grid *grid, const char *first,
                          const struct parade_session *session);
/** Prints the table unless it has no rows, and frees it.  Columns of numbers are aligned to the
 *  right. */
void cli_parade_grid_print(struct cli_parade_grid *grid);

/* --- the table of commands, and their options (parade_options.c) ------------------------------ */

struct cli_parade_row {
    const char *name;
    const char *arguments; /* for the usage line */
    const char *options;   /* the letters of those that it accepts, beside the common ones */
    int least, most;       /* number of words */
    int places;            /* how many leading words are databases; -1: all */
    int (*run)(struct cli_parade *call);
    bool file; /* the first word is a topology file, or may be one if places is -1 */
};

/** Finds a command; NULL: there is none. */
const struct cli_parade_row *cli_parade_find(const char *name);
/** Reads options and words of a command into `call`, whose presets the caller has set and whose
 *  places have room.  Returns CLI_DONE, or after a report CLI_USAGE or CLI_FAILED. */
int cli_parade_options(const struct cli_parade_row *row, char **arguments, struct cli_parade *call);
