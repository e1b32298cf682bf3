#pragma once
/*
 * relay_accept.h - accepts clients on a relay.
 *
 * All relays accept from each listener of the pooler, so that a connection usually needs no other
 * thread.  A relay that has more clients than another hands the connection to that one.  At the
 * limit of unauthenticated connections (preauth.h) a relay holds one connection until there is
 * room, and accepts no other from this listener meanwhile.
 *
 * Runs on the relay's event loop; never suspends.
 */
#include "machine/stream.h"

struct relay;

/** Accepts from a listener, or changes the number that the clients of this listener get (see
 *  config_listen).  Faults: SYSTEM, MEMORY. */
fault relay_listen(struct relay *relay, const struct listener *listener, uint32_t number) MUST_USE;
/** Accepts no more from a listener; returns after the last hand-over to another relay was mailed.
 */
void relay_unlisten(struct relay *relay, const struct listener *listener);
