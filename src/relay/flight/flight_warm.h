#pragma once
/*
 * flight_warm.h - executes statements before clients ask for them, so that their answers are
 * stored.
 *
 * The statements of `cache_warm`, and those that were hit most often (warms.h).  Each is executed
 * by the runner of a flight for which no client waits, under its rule and verdict like those of
 * clients, in the pool of the user who asks for it.  One relay has a coroutine that does so at the
 * start and when a service has got another primary; the console does it by command.
 */
#include "base/fault.h"
#include "flight/warms.h"

struct client;
struct relay;
struct turn_batch;

/** Counts a hit of a client's statement, now and then. */
void flight_warm_hit(struct client *client, const struct turn_batch *batch,
                     const struct l1_key *key);
/** Executes the statements whose answers are not stored, and whose text is like `pattern` (empty:
 *  all); `ret` counts what became of them.  Suspends for long.  Faults: CANCELLED, MEMORY. */
fault flight_warm_all(struct relay *relay, struct span pattern,
                      uint64_t ret[WARMS_COUNTS]) MUST_USE;
/** Starts the relay's coroutine if its configuration wants one and there is none. */
void flight_warm_start(struct relay *relay);
/** Ends that coroutine soon. */
void flight_warm_stop(struct relay *relay);
