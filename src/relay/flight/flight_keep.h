#pragma once
/*
 * flight_keep.h - keeps sessions of the daemon's own for the next executions.
 *
 * One per relay.  A session is closed after some time without use, when too many wait, and when the
 * relay ends.  Nothing suspends.
 */
#include "base/fault.h"

struct flight_keep;

/** Makes an empty one; the relay owns it.  Faults: MEMORY. */
fault flight_keep_new(struct flight_keep **ret) MUST_USE;
/** Closes all sessions that wait; from now on none is kept.  NULL-safe. */
void flight_keep_end(struct flight_keep *keep);
/** Ends it; no session is in use.  NULL-safe. */
void flight_keep_free(struct flight_keep **keep);
