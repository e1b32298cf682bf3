#pragma once
/*
 * flight_model.h - lets the daemon run statements as a user in a database, although no such client
 * is connected: for CACHE EXPLAIN, and for warming.
 *
 * A model has the local pool and the session parameters that a client of this database and user
 * would have.  `like` stands for such a client where keys are made and sessions are opened; it has
 * no connection, and is in no list.  It belongs to a coroutine of its relay.  The servers' password
 * is that of the pool: of the route, of the auth file, or what a client has proven.
 */
#include "base/time.h"
#include "flight/verdict.h"
#include "relay/client.h"
#include "session/params.h"

struct config;
struct relay;

struct flight_model {
    struct client like;
    struct config *config; /* counted */
};

/** Finds the pool of the first route for this database and user, and asks a server of it something,
 *  so that its parameters are known.  Suspends.  Faults: ROUTE (there is none that shares answers),
 *  UPSTREAM (no server can be asked; with its message), MEMORY, TIMEOUT, CANCELLED; nothing is to
 *  be closed then. */
fault flight_model_open(struct relay *relay, struct span database, struct span user, deadline by,
                        struct flight_model *ret) MUST_USE;
/** Gives the model the session parameters of `options`, as in a startup packet.  Suspends.  Faults
 * as of flight_model_open; PROTOCOL, LIMIT. */
fault flight_model_take_options(struct flight_model *model, struct span options,
                                deadline by) MUST_USE;
/** Gives it those that params_write_flat() wrote.  Faults: LIMIT, MEMORY. */
fault flight_model_take_params(struct flight_model *model, struct span flat) MUST_USE;
void flight_model_close(struct flight_model *model);
/** Makes the verdict on a text as for a client of the model; the caller owns a reference. Suspends.
 *  Faults as flight_judge(). */
fault flight_model_judge(struct flight_model *model, struct span text,
                         struct verdict **ret) MUST_USE;
