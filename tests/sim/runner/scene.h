#pragma once
/*
 * scene.h - one run: the pooler, its PostgreSQL and its clients in the simulated world.
 */
#include "runner/plan.h"

/* What came of it; added up over runs, to see that they do something. */
struct counts {
    int64_t simulated_us;
    uint64_t logins;
    uint64_t answered; /* queries */
    uint64_t errors;   /* queries that failed as they should */
    uint64_t cancelled;
    uint64_t arrivals; /* messages that were said unasked, and heard */
    uint64_t lost;     /* connections that ended with an error */
};

/** Plays it to its end.  Returns the hash of its history; a failure ends the process. */
uint64_t scene_play(const struct plan *plan, struct counts *counts);
