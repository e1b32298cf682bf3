#pragma once
/*
 * stats_calls.h - what became of statements, by fingerprint and route: SHOW STATEMENTS.
 *
 * One table for the process, in shards with a lock each that is held for one addition.  The number
 * of entries is bounded over all shards; a new one takes the place of the one that was counted
 * longest ago.  Callable from any thread; nothing suspends.
 */
#include "base/span.h"
#include "base/time.h"
#include "stats/histogram.h"

struct stats_calls;

/* Reasons that one entry tells apart; further ones count as "other". */
#define STATS_CALL_REASONS 8u

struct stats_call_key {
    uint64_t fingerprint; /* 0: texts that are not parsed */
    const char *database; /* of the route, as route_times.h has them */
    const char *user;
    const char *service;
};

/* One execution. */
struct stats_call {
    uint64_t rows;
    uint64_t bytes;
    uint64_t errors;
    int64_t waited_us;
    int64_t took_us;
};

/* What a cache rule did with a statement. */
enum stats_share { STATS_HIT, STATS_JOIN, STATS_BYPASS };

/* The counts of an entry, for a look at it. */
struct stats_call_view {
    struct stats_call_key key;
    struct span text;
    uint64_t calls, rows, bytes, errors;
    uint64_t took_us, waited_us; /* sums */
    uint64_t hits, joins, bypassed;
    struct {
        const char *word;
        uint64_t count;
    } reasons[STATS_CALL_REASONS + 1]; /* of `bypassed`; NULL ends them */
    const struct histogram *wait;
    const struct histogram *took;
    moment seen;
};

struct stats_calls *stats_calls_new(void);         /* of no entries; NULL: no memory */
void stats_calls_free(struct stats_calls **calls); /* NULL-safe */
/** Sets the limit of entries, and removes those beyond it.  0: none are kept. */
void stats_calls_bound(struct stats_calls *calls, uint32_t max);
/** Removes all entries. */
void stats_calls_reset(struct stats_calls *calls);
/** Counts an execution.  `text`: what is shown of the statement.  Without memory nothing is
 *  counted. */
void stats_calls_add(struct stats_calls *calls, const struct stats_call_key *key, struct span text,
                     const struct stats_call *call, moment at);
/** Counts what a cache rule did.  `why`: a constant string, the reason of a bypass; else NULL. */
void stats_calls_share(struct stats_calls *calls, const struct stats_call_key *key,
                       struct span text, enum stats_share share, const char *why, moment at);
/** Calls `look` for each entry, which is valid for the call only.  `look` may not suspend. */
void stats_calls_look(struct stats_calls *calls,
                      void (*look)(void *argument, const struct stats_call_view *view),
                      void *argument);

/* Now, and since the start. */
struct stats_calls_totals {
    uint64_t entries, entries_max, evicted;
};
void stats_calls_total(struct stats_calls *calls, struct stats_calls_totals *ret);
