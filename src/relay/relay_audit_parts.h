#pragma once
/*
 * relay_audit_parts.h - the audit: a line for each statement of a route that wants it.
 *
 * A line names the client and its address, the statement, the kind of answer, its rows and its
 * times.  It has no values: neither parameters nor the constants of the text.  Statements of
 * the daemon's own clients have none.  Nothing here suspends; the thread may wait, if the target of
 * the audit is set so (log.h).  Users' view: docs/audit.md
 */
#include "base/span.h"
#include "pool/local_pool.h"
#include "stats/stats_calls.h"

struct client;
struct query_outline;
struct server;

/* How a statement was answered. */
enum audit_answer {
    AUDIT_EXECUTED, /* by a server, for this client; also for the cache */
    AUDIT_JOINED,   /* by an execution that another client had begun */
    AUDIT_HIT,      /* from memory */
    AUDIT_REFUSED,  /* by the firewall */
    AUDIT_LOST,     /* the client, or the server, was gone before the answer */
    AUDIT_SENT,     /* how it was answered was not followed: too much is under way */
};

/* One line.  What does not apply is zero or NULL. */
struct audit_line {
    enum audit_answer answer;
    const struct server *server;
    const char *sqlstate; /* of the error */
    const char *rule;     /* of the firewall */
    struct stats_call call;
};

/** Whether statements of this pool's clients are audited. */
static inline bool relay_audit_wanted(const struct local_pool *pool)
{
    return UNLIKELY(pool->route->audit != AUDIT_OFF);
}
/** Writes the line of a statement, if they are audited.  `outline` NULL: it is not known. */
void relay_audit(const struct client *client, const struct query_outline *outline,
                 const struct audit_line *line);
