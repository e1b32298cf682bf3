#pragma once
/*
 * session.h - one connection of a parade's program to a database: statements, and their rows as
 * text.
 *
 * Reads like a blocking client, but suspends the running coroutine.  One statement at a time.  A
 * connection that failed stays failed: the owner closes it and opens another.
 * Design: docs/internals/parade-cli.md
 */
#include "base/time.h"
#include "parade/target.h"

struct parade_session; /* opaque; heap, owned by its opener */

/* What the server said of the last statement that failed.  Empty texts: it said none. */
struct parade_error {
    char sqlstate[6];
    char message[1024];
    char detail[512];
    char hint[512];
};

/** Resolves the host, connects, negotiates TLS as sslmode says, and logs in; tries each address
 *  until one does not refuse.  `name`: application_name.  Suspends.  Needs a CO_LARGE stack.
 *  Faults: those of link_login, NAME. */
fault parade_session_open(const struct parade_target *target, const char *name,
                          struct parade_session **ret, deadline by) MUST_USE;
/** Closes the connection and frees the session.  NULL-safe; nulls *session. */
void parade_session_close(struct parade_session **session);

/** Runs SQL of one or several statements, without values; rows are those of all of them.  Suspends.
 *  Faults: UPSTREAM with the server's SQLSTATE (parade_session_error has the rest, and the
 *  connection is of use), LIMIT (its rows are larger than PARADE_ROWS_MAX), CLOSED, TIMEOUT,
 *  PROTOCOL, CANCELLED. */
fault parade_session_run(struct parade_session *session, struct span sql, deadline by) MUST_USE;
/** Runs one statement with values as text, for $1 and so on; a value whose `at` is NULL is NULL.
 *  Suspends.  Faults: as parade_session_run. */
fault parade_session_ask(struct parade_session *session, const char *sql, const struct span *values,
                         size_t count, deadline by) MUST_USE;

/* --- the rows of the last statement; spans live until the next one ---------------------------- */

#define PARADE_ROWS_MAX ((size_t)512 * 1024 * 1024) /* bytes */

uint32_t parade_session_rows(const struct parade_session *session);
/** A cell as text; `at` is NULL for NULL, and for a cell that there is not. */
struct span parade_session_cell(const struct parade_session *session, uint32_t row,
                                uint32_t column);
/** Whether a boolean cell is true. */
bool parade_session_true(const struct parade_session *session, uint32_t row, uint32_t column);
/** A cell's whole number; 0 if it has none. */
int64_t parade_session_number(const struct parade_session *session, uint32_t row, uint32_t column);

/** The error of the last statement that the server rejected. */
const struct parade_error *parade_session_error(const struct parade_session *session);
/** Whether the connection can be used for another statement. */
bool parade_session_usable(const struct parade_session *session);
/** Messages and hints of the last statement's notices, a line each; cut at 4 KiB. */
struct span parade_session_notices(const struct parade_session *session);
