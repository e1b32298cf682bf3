#pragma once
/*
 * lag.h - how far a replica is behind, in time.
 *
 * Pure.  Keeps the primary's positions, each with the time when it was first seen.  The lag of
 * a replica is the age of the oldest of them that it has not replayed.  So it is 0 if the primary
 * writes nothing, and no clock of a server is needed.
 */
#include "fleet/sample.h"

/* When as many are known, some are dropped: the older they are the more lie between two that stay.
 */
#define FLEET_LAG_POSITIONS 256u

/* The lag is not known: no primary was sampled yet, or the replica is of another system or line. */
#define FLEET_LAG_UNKNOWN ((duration){.us = -1})

/* All zero: empty. */
struct fleet_lag {
    uint64_t system;
    uint32_t line;
    uint32_t count;
    struct {
        uint64_t position; /* ascending */
        moment seen;       /* when the question was sent whose answer had it first */
    } at[FLEET_LAG_POSITIONS];
};

/** Takes a sample of the primary.  Another system or a lower position of the same line starts anew;
 *  a sample of a lower line is ignored.  On a higher line the positions before the primary's stay:
 * a replica that was behind when another one was promoted is not up to date by that. */
void fleet_lag_note(struct fleet_lag *lag, const struct backend_sample *primary);
/** Returns the lag that counts against limits.  `before`: what counted before; 0 at first.  A
 * replica that has exceeded a limit exceeds it until its lag is 4/5 of the limit or less.  An
 * unknown lag changes nothing. */
duration fleet_lag_counts(duration lag, duration before);
/** Returns the lag of a replica: 0 or more, or UNKNOWN.  If it is behind all positions that are
 *  still known, the age of the oldest of them. */
duration fleet_lag_of(const struct fleet_lag *lag, const struct backend_sample *replica,
                      moment now);
