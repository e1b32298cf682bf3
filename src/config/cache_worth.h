#pragma once
/*
 * cache_worth.h - whether the answers of a strict rule save the server more than they cost it.
 *
 * An answer from memory saves an execution.  An execution for memory costs more than a client's
 * own, because it asks which server it is on, and each answer from memory costs a part of a
 * question to the feed's server.  If reads are cheap and often written, that is more than they
 * save: then the rule rests for a while, if it is adaptive, and its statements are executed by
 * their clients.  Atomics; any thread; nothing suspends.  Design: docs/internals/flight.md
 */
#include "config/cache_rules.h"

/** Whether the rule rests. */
bool cache_worth_rests(const struct cache_rule *rule, moment at);
/** Notes how long the feed took to say whether an answer is current, and what it has done so far.
 */
void cache_worth_asked(const struct cache_rule *rule, duration took, const struct cache_feed *feed);
/** Whether it should be measured how long the server takes for the question in front of an
 *  execution alone: a rule without a feed has nothing else to compare its executions with.  True
 *  once in 32 executions. */
bool cache_worth_wants_time(const struct cache_rule *rule, moment at);
/** Notes how long that took. */
void cache_worth_timed(const struct cache_rule *rule, duration took);
/** Notes that a statement finds an answer in memory which a write has changed. */
void cache_worth_changed(const struct cache_rule *rule);
/** Notes how long an execution took, and judges the rule now and then. */
void cache_worth_executed(const struct cache_rule *rule, duration took, moment at);
