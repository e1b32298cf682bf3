#pragma once
/*
 * flight_strict.h - what the strict mode asks of the origin of a client's database.
 *
 * A client whose answer is in memory, or under way, asks the feed first whether that answer is
 * current.  What such an ask needs is its own, so that the client may leave meanwhile.  On the
 * client's relay.
 */
#include "flight/generations.h"
#include "flight/origin.h"

struct client;
struct flight_ask;
struct flight_check;
struct relay;
struct route_config;
struct verdict;

/** Returns the origin of the client's database.  NULL: no memory. */
struct origin *flight_strict_origin(const struct client *client);
/** Whether a flight may be begun: not while the feed is behind, unless that flight finds the server
 *  for it. */
bool flight_strict_may_lead(const struct client *client, struct origin *origin);

/** Asks whether all that was committed until now has been told.  `answered` gets the client, unless
 *  it has left, on the relay.  NULL: no memory. */
struct flight_ask *flight_ask_begin(struct client *client, struct origin *origin,
                                    void (*answered)(struct client *client, bool current));
/** Ends the client's interest.  NULL-safe. */
void flight_ask_leave(struct flight_ask **ask);

/** Makes the set of what a statement reads.  False: it reads too much. */
bool flight_strict_reads(const struct generations_table *table, const struct origin *origin,
                         const struct verdict *verdict, struct generations_reads *ret);
/** Makes the feed follow the server that an execution has found; without effect if it does and has
 * not failed. */
void flight_strict_follow(const struct relay *relay, const struct route_config *route,
                          struct origin *origin, uint64_t epoch, const struct flight_check *check);
