#pragma once
/*
 * extra.h - a second, short connection of a client.
 *
 * The oracle does not count it as a login.
 */
#include "clients/client.h"
#include "link/link.h"

struct extra_conn {
    struct sim_client as_client; /* a copy: decides which losses are excused */
    struct conn conn;
    uint32_t pid;
    duration patience; /* how long its login may take; 120 s unless the behaviour says otherwise */
    char sqlstate[6];  /* of the last error */
};

void extra_init(struct extra_conn *extra, const struct sim_client *client);
/** Logs in.  UPSTREAM: refused by an error; any other fault is of the connection. */
fault extra_login(struct extra_conn *extra, const struct link_login *login) MUST_USE;
/** Closes the connection without Terminate. */
void extra_close(struct extra_conn *extra);
/** Returns whether the plan allows that it is lost, or gets an error. */
bool extra_is_excused(const struct extra_conn *extra);
/** Sends the contents of the buffer.  CLOSED: the connection was lost, and may be. */
fault extra_flush(struct extra_conn *extra) MUST_USE;
/** Reads the next message that is not asynchronous.  CLOSED as above, and for a FATAL error. */
fault extra_next(struct extra_conn *extra) MUST_USE;
/** Does the same; TIMEOUT if none arrives by then. */
fault extra_next_by(struct extra_conn *extra, deadline by) MUST_USE;
/** Runs a query of one row with one column, which is stored in `text`; empty: an error came. CLOSED
 *  as above. */
fault extra_query(struct extra_conn *extra, const char *query, char text[CLIENT_TEXT]) MUST_USE;
