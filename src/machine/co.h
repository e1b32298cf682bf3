#pragma once
/*
 * co.h - coroutines of one machine: start, wait, wake, cancel.
 *
 * A coroutine stays on its machine and ends when its entry function returns.  It suspends only in
 * co_wait, co_wait_through, co_yield, co_sleep, co_group_wait_any, co_group_join, and callers of
 * these.  A wake-up while the coroutine runs is remembered: the next co_wait returns at once.
 * Wake-ups may be spurious: the caller of a wait checks its condition again.
 * After a cancellation every wait returns FAULT_CANCELLED, except co_wait_through and
 * co_group_join, so that the coroutine unwinds itself.  No stack is discarded while in use.
 * Design: docs/internals/machine.md
 */
#include "machine/machine.h"

struct co;

enum co_stack {
    CO_SMALL, /* 32 KiB usable: turns, server checks and resets, waits of clients that transfer */
    CO_LARGE, /* 256 KiB usable: logins, cancel requests, reloads, coroutines that run for long */
};

/** Starts `entry(argument)` on this machine, by the run queue: the coroutine does not run within
 *  this call.  Faults: MEMORY (no stack). */
fault co_start(void (*entry)(void *argument), void *argument, enum co_stack stack) MUST_USE;

/** Same as co_start, but switches to the coroutine at once; returns when it first suspends or ends.
 *  Only from the loop's own stack (wakers, deliveries, timers): the hot path of a turn. */
fault co_run_now(void (*entry)(void *argument), void *argument, enum co_stack stack) MUST_USE;

/** The running coroutine; NULL on the loop's own stack. */
struct co *co_self(void);
/** The waker of a coroutine, for streams and queues that are to wake it. */
struct waker *co_waker(struct co *co);

/** Suspends until woken (OK), until `by` (TIMEOUT), or until cancelled (CANCELLED). */
fault co_wait(deadline by) MUST_USE;
/** Waits uninterruptibly: suspends until woken or until `by`, also when cancelled.  May return
 *  early; the caller checks its condition again. */
void co_wait_through(deadline by);
/** Puts the running coroutine at the end of the run queue.  Suspends. */
void co_yield (void);
/** Puts a waiting coroutine in the run queue; remembers the wake-up for any other.  Same machine
 *  only. */
void co_wake(struct co *co);
/** Cancels a coroutine, irrevocably.  Same machine only; idempotent. */
void co_cancel(struct co *co);
/** Whether the running coroutine was cancelled; false on the loop's own stack. */
bool co_cancelled(void);
/** Suspends for `wait`.  Faults: CANCELLED. */
fault co_sleep(duration wait) MUST_USE;

/* A set of coroutines that their starter cancels and joins together. */
struct co_group {
    struct list members;
    struct co *waiting;
};
void co_group_init(struct co_group *group);
fault co_group_start(struct co_group *group, void (*entry)(void *argument), void *argument,
                     enum co_stack stack) MUST_USE;
/** Cancels all members that have not ended. */
void co_group_cancel(struct co_group *group);
/** Suspends until a member ends; returns OK at once if the group has none.  Faults: TIMEOUT,
 *  CANCELLED. */
fault co_group_wait_any(struct co_group *group, deadline by) MUST_USE;
/** Waits uninterruptibly until no member is left.  Suspends. */
void co_group_join(struct co_group *group);

/* Marks the rest of the block: the scheduler aborts if the coroutine suspends there. */
#define NO_SUSPEND()                                                                               \
    int no_suspend_ __attribute__((cleanup(co_suspend_allow), unused)) = co_suspend_forbid()
int co_suspend_forbid(void);
void co_suspend_allow(int *token);
