#pragma once
/*
 * offload.h - runs blocking or CPU-intensive calls on threads of their own.
 *
 * The job owns everything that it uses: when the waiting coroutine gives up (deadline,
 * cancellation), the job runs on and `free` is called after it.
 */
#include "machine/machine.h"

struct offload_job {
    bool blocks;                           /* may take seconds: uses the threads for slow jobs */
    void (*run)(struct offload_job *job);  /* on an offload thread */
    void (*free)(struct offload_job *job); /* if the caller no longer owns the job; any thread */
};

/** Runs the job on an offload thread and suspends until it is done or until `by`.  After OK the
 *  caller owns the job again; after any fault it does not.  Faults: TIMEOUT, CANCELLED, SYSTEM. */
fault offload(struct offload_job *job, deadline by) MUST_USE;
