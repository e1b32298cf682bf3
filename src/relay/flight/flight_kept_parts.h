#pragma once
/*
 * flight_kept_parts.h - a session of the daemon's own that serves several executions.
 *
 * A session with which an execution has ended may serve the next one for a client of the same pool
 * with the same parameters, in the same state of the catalog.  So the servers keep what it has
 * prepared.  It belongs to one execution at a time, or waits.  Nothing here suspends.
 */
#include "relay/flight/flight_batch_parts.h"
#include "relay/flight/flight_session_parts.h"
#include "session/statements.h"

struct client;
struct relay;

/* Statements that one session prepares; with so many it isn't kept any more. */
#define FLIGHT_NAMES_MAX 32u

struct flight_kept {
    struct flight_session session;
    struct node node;
    struct relay *relay;
    const struct local_pool *pool; /* that its client has joined; compared only */
    struct digest params;          /* of the client like which it was opened */
    struct digest defaults;
    struct statement_catalog catalog;
    moment since; /* it waits */
    uint32_t count;
    struct digest prepared[FLIGHT_NAMES_MAX]; /* by number of the name */
};

/** Finds a session that waits and is like one of this client's, or opens one; the caller owns it.
 *  Faults: those of flight_session_open(). */
fault flight_kept_take(const struct client *like, const struct statement_catalog *catalog,
                       struct flight_kept **ret) MUST_USE;
/** Gives back a session whose batches were answered whole and without an error.  NULL-safe. */
void flight_kept_return(struct flight_kept **kept);
/** Closes a session.  NULL-safe. */
void flight_kept_close(struct flight_kept **kept);

/** Returns the name of a statement with this text and these types in the session, whose next batch
 *  must be answered without an error; unnamed if there is no room. */
struct flight_name flight_kept_name(struct flight_kept *kept, struct span parse);
