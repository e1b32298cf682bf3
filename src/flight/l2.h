#pragma once
/*
 * l2.h - the second tier of the result cache, in Redis: what all threads share, and look-ups.
 *
 * Several daemons use one Redis, so an answer that one has stored is found by the others.  Nothing
 * here decides what may be stored: the caller's key has all that an answer depends on.  The age of
 * an answer is counted by Redis's clock, from before its execution was sent.  All answers have the
 * epoch of the cache in them, a random number in Redis: another epoch ends them all.
 *
 * Redis may be slow, full, gone or wrong.  A caller waits for its budget at most, and without an
 * answer of Redis it executes.  Each thread has a link of its own (l2_link.h).  Design:
 * docs/internals/flight.md
 */
#include "flight/l2_shared.h"
#include "flight/l2_value.h"

struct l2_link;

/* What a look-up has found. */
struct l2_found {
    bool answered;         /* Redis has told its clock and the epoch */
    uint64_t epoch;        /* of the cache */
    int64_t time;          /* microseconds of Redis's clock, before an execution begins */
    moment asked;          /* our clock, not later than that */
    struct answer *answer; /* complete, the caller owns it; NULL: there is none */
    duration age;          /* of the answer: not less than its age at `asked` */
};

/** Looks a key up.  Suspends, for the budget at most.  `ttl`: the oldest answer that counts. */
void l2_find(struct l2_link *link, struct span key, duration ttl, struct answer_memory *memory,
             uint64_t result_max, struct l2_found *ret);
/** Sends an answer to be stored for `life` from now on; does not wait for Redis.  `found`: of the
 *  look-up before its execution, answered. */
void l2_put(struct l2_link *link, struct span key, struct answer *answer,
            const struct l2_found *found, duration life);
/** Ends all answers, those of other daemons too.  Suspends.  False: Redis has not said so; then no
 *  answer is taken from it before it has. */
bool l2_flush(struct l2_link *link);
