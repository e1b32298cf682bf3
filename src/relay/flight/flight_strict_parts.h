#pragma once
/*
 * flight_strict_parts.h - what the strict mode asks of the origin of a client's database.
 *
 * A client whose answer is in memory, or under way, asks the feed first whether that answer is
 * current.  What such an ask needs is its own, so that the client may leave meanwhile.  On the
 * client's relay.
 */
#include "flight/generations.h"
#include "flight/origin.h"
#include "relay/flight/flight_values_parts.h"

struct client;
struct flight_ask;
struct flight_check;
struct relay;
struct route_config;
struct verdict;

/** Returns the origin of the client's database.  NULL: no memory. */
struct origin *flight_strict_origin(const struct client *client);
/** Whether the feed is not behind and nothing that it has told is unsettled. */
bool flight_strict_is_current(const struct client *client);
/** Whether a flight may be begun: not while the feed is behind, unless that flight finds the server
 *  for it. */
bool flight_strict_may_lead(const struct client *client, struct origin *origin);

/** Asks whether all that was committed until now has been told.  `answered` gets the client, unless
 *  it has left, on the relay.  NULL: no memory. */
struct flight_ask *flight_ask_begin(struct client *client, struct origin *origin,
                                    void (*answered)(struct client *client, bool current));
/** Ends the client's interest.  NULL-safe. */
void flight_ask_leave(struct flight_ask **ask);

/* What a strict execution is captured by. */
struct flight_strict_of {
    const struct generations_table *table;
    const struct origin *origin;
    uint64_t catalog; /* its generation in which the verdict is good */
};
/** Whether all changes of the catalog that have been told are visible, and `catalog` is its present
 *  generation: a verdict that is asked for now is good in this generation. */
bool flight_strict_settled(const struct flight_strict_of *of);
/** Makes the set of what a statement reads, by its primary key if that can be, and captures it.
 *  False: it reads too much, a write is in doubt, or the verdict is of another catalog. */
bool flight_strict_capture(const struct flight_strict_of *of, const struct verdict *verdict,
                           const struct flight_values *values, struct generations_reads *reads,
                           uint64_t *ret) MUST_USE;
/** Makes the feed follow the server that an execution has found; without effect if it does and has
 * not failed. */
void flight_strict_follow(const struct relay *relay, const struct route_config *route,
                          struct origin *origin, uint64_t epoch, const struct flight_check *check);
