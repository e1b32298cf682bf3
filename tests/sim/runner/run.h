#pragma once
/*
 * run.h - one run: the daemon, the model of PostgreSQL and the clients in the simulated system.
 */
#include "runner/plan.h"

/* Counts of a run, summed over runs. */
struct counts {
    int64_t simulated_us;
    uint64_t logins;
    uint64_t answered; /* queries */
    uint64_t errors;   /* queries that failed as expected */
    uint64_t cancelled;
    uint64_t async_messages; /* asynchronous messages that were received */
    uint64_t lost;           /* connections that ended with an error */
};

/** Plays it to its end.  Returns the hash of its history; a failure ends the process. */
uint64_t run_play(const struct plan *plan, struct counts *counts);
