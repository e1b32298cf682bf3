#pragma once
/*
 * relay_calls.h - counts of statements for SHOW STATEMENTS: by fingerprint and route.
 *
 * The table is one for all threads (stats/stats_calls.h).  Nothing suspends.
 */
#include "base/span.h"
#include "pool/local_pool.h"
#include "stats/stats_calls.h"

struct client;
struct query_outline;

/** Whether statements of this pool's clients are counted. */
static inline bool relay_calls_wanted(const struct local_pool *pool)
{
    return UNLIKELY((pool->looks & POOL_LOOKS_CALLS) != 0);
}
/** Counts an execution of a statement for a client of this pool. */
void relay_calls_add(const struct local_pool *pool, const struct query_outline *outline,
                     const struct stats_call *call);
/** Counts what a cache rule did with a client's statement, if statements are counted, and writes
 *  the audit's line of a hit or a join.  A text that has no outline yet counts with those that are
 *  not parsed.  `call`: how long it took the client, and whether it failed; NULL with a bypass.
 *  `why`: see stats_calls_share. */
void relay_calls_share(const struct client *client, struct span text, enum stats_share share,
                       const struct stats_call *call, const char *why);
/** Writes the audit's line of a statement that was executed for the cache, for this client; or,
 *  with `lost`, of one whose client did not get the answer. */
void relay_calls_led(const struct client *client, struct span text, const struct stats_call *call);
void relay_calls_lost(const struct client *client, struct span text, const struct stats_call *call);
