#pragma once
/*
 * flight_runner.h - executes the statement of a flight.
 *
 * A runner is a coroutine of the relay on which the flight began.  It first gets a verdict on the
 * statement (flight_judge.h), then executes it in a session of its own (flight_session.h), and
 * feeds the flight's answer.  It owns a reference to the flight and ends it on every path.  An
 * execution that fails in a way that another one may mend is repeated, if the clients have got
 * nothing of it yet.  When the last client has left, the statement is cancelled.
 */
#include "flight/flights.h"
#include "relay/turn/turn_batch_parts.h"

struct cache_rule;
struct client;
struct relay;

/** Starts the runner of a flight that this client leads, by a copy of the rule; on failure declines
 * the flight. */
void flight_runner_start(const struct client *client, struct flight *flight,
                         const struct cache_rule *rule, const struct turn_batch *batch);
/** Has the verdict on a statement made, in the background; if the mode is strict and no feed
 * follows a server, also executes it, which finds the server. */
void flight_runner_judge(const struct client *client, const struct cache_rule *rule,
                         const struct turn_batch *batch, const struct l1_key *key);
/** Starts a flight for which no client waits, to store its answer.  NULL: there is one already, or
 * no memory.  The caller owns a reference. */
struct flight *flight_runner_warm(const struct client *client, const struct cache_rule *rule,
                                  const struct turn_batch *batch, const struct l1_key *key);
/** Starts a flight for which no client waits, to refresh the entry of this key. */
void flight_runner_refresh(const struct client *client, const struct cache_rule *rule,
                           const struct turn_batch *batch, const struct l1_key *key);
