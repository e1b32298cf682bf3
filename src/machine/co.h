#pragma once
/*
 * co.h - coroutines of one machine: they start, wait, are woken, are cancelled, and end by
 * returning.
 *
 * A coroutine lives and dies on its machine.  It suspends only in co_wait, co_wait_through,
 * co_yield, co_sleep, co_group_wait_any, co_group_join, and what calls them.  A wake-up that comes
 * while it runs is remembered: the next co_wait returns at once.  The caller of a wait checks its
 * condition again, because wake-ups may be spurious.
 * Cancelling makes every wait return FAULT_CANCELLED from then on, but co_wait_through and
 * co_group_join, so that the coroutine unwinds itself; no stack is ever thrown away.
 * Design: docs/internals/machine.md
 */
#include "machine/machine.h"

struct co;

enum co_stack {
    CO_SMALL, /* 32 KiB usable: turns, checks and cleaning of servers, waits of clients that move */
    CO_LARGE, /* 256 KiB usable: logins of clients and servers, cancel requests, reloads */
};

/** Starts `entry(argument)` on this machine; it runs from the run queue, soon, not within this
 *  call.  Faults: MEMORY (no stack). */
fault co_start(void (*entry)(void *argument), void *argument, enum co_stack stack) MUST_USE;

/** As co_start, but switches to it at once; returns when it first suspends or ends.  From the
 * loop's own stack only (wakers, deliveries, timers): the hot path of a turn. */
fault co_run_now(void (*entry)(void *argument), void *argument, enum co_stack stack) MUST_USE;

/** The running coroutine; NULL on the loop's own stack. */
struct co *co_self(void);
/** What to give to streams and queues so that they wake this coroutine. */
struct waker *co_waker(struct co *co);

/** Suspends until woken (OK), until `by` (TIMEOUT), or until cancelled (CANCELLED). */
fault co_wait(deadline by) MUST_USE;
/** Suspends until woken or until `by`, cancelled or not: for what must not be left before it is
 *  over.  May return early; the caller looks whether what it waits for is so. */
void co_wait_through(deadline by);
/** Lets the others run once.  Suspends. */
void co_yield (void);
/** Puts it in the run queue, or remembers the wake-up if it runs now.  Same machine only. */
void co_wake(struct co *co);
/** Same machine only; idempotent. */
void co_cancel(struct co *co);
bool co_cancelled(void);
/** Suspends for this long.  Faults: CANCELLED. */
fault co_sleep(duration wait) MUST_USE;

/* A scope that its members can't outlive: members are started into it and joined before it ends. */
struct co_group {
    struct list members;
    struct co *waiting;
};
void co_group_init(struct co_group *group);
fault co_group_start(struct co_group *group, void (*entry)(void *argument), void *argument,
                     enum co_stack stack) MUST_USE;
/** Cancels all that are still there. */
void co_group_cancel(struct co_group *group);
/** Suspends until one more member ended (OK) or there is none left (OK), TIMEOUT, CANCELLED. */
fault co_group_wait_any(struct co_group *group, deadline by) MUST_USE;
/** Suspends, whatever happens, until no member is left. */
void co_group_join(struct co_group *group);

/* A block that must not suspend: the scheduler aborts if it does. */
#define NO_SUSPEND()                                                                               \
    int no_suspend_ __attribute__((cleanup(co_suspend_allow), unused)) = co_suspend_forbid()
int co_suspend_forbid(void);
void co_suspend_allow(int *token);
