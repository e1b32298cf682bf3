#pragma once
/*
 * flight_shadow.h - mode shadow: what another mode would have answered, compared with the answer
 * that the client gets.
 *
 * The client's statement goes its usual way.  What it is sent is read on the way, and compared with
 * what the mode `of` the rule would have given.  Own answers are stored as those of the mode would
 * be, under keys from which no client is ever answered.  A shadow belongs to its client from the
 * statement's arrival to its ReadyForQuery; a strict one may then wait for the feed alone.  On the
 * client's relay; nothing suspends.
 */
#include "config/cache_rules.h"
#include "flight/l1.h"
#include "relay/turn/turn_batch_parts.h"

struct client;
struct flight_shadow;

/** Makes the key of a shadow rule of one that the mode would have. */
void flight_shadow_key(const struct cache_rule *rule, const struct turn_batch *batch,
                       struct buffer *key);
/** Begins the shadow of a statement that is about to be executed, if there is one. */
void flight_shadow_begin(struct client *client, const struct turn_batch *batch,
                         const struct cache_rule *rule, const struct l1_key *key);
/** Reads what the client is about to be sent. */
void flight_shadow_take(struct client *client, struct span bytes);
/** Ends the shadow of a client whose statement has not been answered whole. */
void flight_shadow_drop(struct client *client);
