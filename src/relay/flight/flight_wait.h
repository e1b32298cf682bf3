#pragma once
/*
 * flight_wait.h - a client that is answered from memory, or waits for a flight.
 *
 * A parked client's statement that a cache rule allows to share is answered at once, or the client
 * waits in the state FLIGHT: its message is stashed, it has no server, no claim and no coroutine.
 * What happens to it runs on the loop's stack.  It gets the answer while it arrives.  If the
 * statement may not be shared after all, or the execution was lost before the client got anything
 * of it, the client executes the statement by itself, as if it had just sent it.
 */
#include "base/fault.h"

struct client;

enum flight_taken {
    FLIGHT_PASSES, /* the client executes the statement */
    FLIGHT_SERVED, /* it was answered, and is parked still */
    FLIGHT_TAKEN,  /* it waits, or has ended */
};

/** Handles what a parked client without a server has sent, if a rule says so: a whole statement and
 *  nothing behind it.  Only if its route has cache rules. */
enum flight_taken flight_take(struct client *client, const uint8_t *at, uint32_t size);
/** Handles an event of the stream of a client in FLIGHT. */
void flight_event(struct client *client);
/** Handles its timer. */
void flight_overdue(struct client *client);
/** Ends the wait of a client that is about to be ended.  False: a part of a message was sent, so no
 *  error may follow. */
bool flight_drop(struct client *client);
/** Cancels the wait, by the client's request: it gets an error.  Has no effect once the client has
 *  got a part of the answer. */
void flight_cancel(struct client *client);
