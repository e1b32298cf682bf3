#pragma once
/*
 * guest.h - a connection that a client has beside its own, for a short while.
 *
 * It is no login of the oracle's: what is said there belongs to nobody.
 */
#include "link/link.h"
#include "people/person.h"

struct guest {
    struct person host; /* as it was: what excuses its losses excuses these */
    struct talk talk;
    uint32_t pid;
    char sqlstate[6]; /* of the last error */
};

void guest_init(struct guest *guest, const struct person *person);
/** Logs in.  Any fault but that of a refusal (UPSTREAM) is the connection's. */
fault guest_login(struct guest *guest, const struct link_login *login) MUST_USE;
/** Closes without a word. */
void guest_end(struct guest *guest);
/** Whether the world gives a reason for the end of it, or for an error. */
bool guest_is_excused(const struct guest *guest);
/** Sends what is in the buffer.  CLOSED when it was lost, for a reason. */
fault guest_flush(struct guest *guest) MUST_USE;
/** The next message that is asked for.  CLOSED as above; a FATAL error, too. */
fault guest_next(struct guest *guest) MUST_USE;
/** The same, and TIMEOUT if none comes by then. */
fault guest_next_by(struct guest *guest, deadline by) MUST_USE;
/** A Query message of which one row with one column comes, which is kept in `text`; the empty text:
 *  an error came instead.  CLOSED as above. */
fault guest_asks(struct guest *guest, const char *query, char text[PERSON_TEXT]) MUST_USE;
