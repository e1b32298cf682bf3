#pragma once
/*
 * offload.h - calls that block or burn, on threads that may.
 *
 * The job owns what it touches: a coroutine that stops waiting (deadline, cancellation) leaves the
 * job running, and `free` disposes of it afterwards.
 */
#include "machine/machine.h"

struct offload_job {
    bool blocks;                           /* for seconds, it may be: on threads of their own */
    void (*run)(struct offload_job *job);  /* on an offload thread */
    void (*free)(struct offload_job *job); /* when nobody waits any more; any thread */
};

/** Runs the job elsewhere and suspends until it is done (OK: the caller owns the job again), or
 *  until `by` (TIMEOUT: the job is no longer the caller's, nor after any other fault).  Faults:
 *  TIMEOUT, CANCELLED, SYSTEM. */
fault offload(struct offload_job *job, deadline by) MUST_USE;
