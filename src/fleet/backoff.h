#pragma once
/*
 * backoff.h - pauses between tries, and the pace of logins: both with jitter.
 *
 * Values without I/O.  The random numbers come from a generator that the caller seeds, so a
 * simulation that gives the same seed gets the same pauses.  Design: docs/internals/fleet.md
 */
#include "base/time.h"

/* SplitMix64: every seed is a good one.  Not for secrets. */
struct fleet_random {
    uint64_t state;
};

uint64_t fleet_random_next(struct fleet_random *random);
/** Returns a number below `bound`, which is not 0. */
uint64_t fleet_random_below(struct fleet_random *random, uint64_t bound);
/** Returns `whole` less a random part of it: at most `jitter` percent. */
duration fleet_random_shorten(struct fleet_random *random, duration whole, uint32_t jitter);

/* --- pauses after failures -------------------------------------------------------------------- */

struct fleet_pauses {
    duration min; /* before the second try; 1 us or more */
    duration max; /* at least `min` */
    /* Percent, 0 to 100.  Each pause is shortened by a random part up to this, also at `max`, so
     * that tries that failed together do not stay together. */
    uint32_t jitter;
};

/* All zero: no failure yet. */
struct fleet_backoff {
    duration step;  /* doubles with each failure, up to max */
    duration pause; /* step less its jitter; 0: no pause */
};

/** Lengthens the pause after a failure. */
void fleet_backoff_fail(struct fleet_backoff *backoff, const struct fleet_pauses *pauses,
                        struct fleet_random *random);
/** Ends the pause but keeps its length for the next failure. */
void fleet_backoff_skip(struct fleet_backoff *backoff);
/** Forgets all failures. */
void fleet_backoff_reset(struct fleet_backoff *backoff);

/* --- the pace of logins ----------------------------------------------------------------------- */

/* When the next login may start.  All zero: at once. */
struct fleet_pace {
    deadline next;
};

/** Records a start at `now`: the next one follows after 1/per_second, and up to a quarter later at
 *  random.  0: no pace. */
void fleet_pace_start(struct fleet_pace *pace, uint32_t per_second, struct fleet_random *random,
                      moment now);
