#pragma once
/*
 * loop_parts.h - the internals of a machine; private to machine/.
 *
 * Everything here belongs to the machine's own thread, except `mailbox` and `woken`, which senders
 * write.  Other threads read the counters of `stats` as hints.
 */
#include "machine/co.h"
#include "machine/context_parts.h"
#include "machine/os.h"

#define EVENTS_MAX 256 /* events per loop iteration */

struct stream;

/* The run queue: coroutines that can run, in order. */
struct ready_queue {
    struct co *first;
    struct co *last;
    uint32_t count;
};

/* Unused stacks of one kind, most recently used first. */
struct stack_pool {
    struct co *free;
    uint32_t idle;
    uint32_t idle_min; /* minimum of `idle` since the last trim: this many were not needed */
    uint32_t keep;     /* a trim leaves at least this many */
};

/* A binary heap ordered by `at`; each timer stores its place. */
struct timer_entry {
    int64_t at;
    struct timer *timer;
};
struct timer_heap {
    struct timer_entry *entries;
    uint32_t count;
    uint32_t capacity;
};

/* The stream that gets a handle's events.  The generation identifies events of an earlier
 * registration of the same handle. */
struct registration {
    struct stream *stream; /* NULL: not registered */
    uint32_t generation;
};

struct machine {
    struct co *running; /* NULL: on the loop's own stack */
    void *own;          /* see machine_set_own */
    struct ready_queue ready;
    int64_t now_us; /* of this loop iteration */
    struct context loop;
    struct stack_pool stacks[CO_LARGE + 1];
    struct timer trim;
    struct waker trimmer;
    struct timer_heap timers;
    struct registration *registrations; /* by handle */
    uint32_t registrations_size;
    uint32_t round; /* events of the present round of the loop */
    int poller;
    bool stopping;
    bool asleep;         /* the machine has put the sleep mark into `mailbox` */
    uint64_t wakes_owed; /* senders that replaced the mark, and so call poll_wake once each */
    struct fault_detail detail;
    struct machine_stats stats;
    uint32_t random_left; /* unused bytes of `random`: its first ones */
    uint8_t random[1024];
    char name[16];
    void *thread; /* NULL: machine_run, on the caller's thread */
    void (*entry)(void *argument);
    void *argument;

    struct mail *mailbox __attribute__((aligned(64))); /* atomic: newest first, or the mark */
    uint64_t woken;                                    /* atomic: poll_wake calls that returned */
};

extern _Thread_local struct machine *machine_current;

/** Makes `machine` (NULL: none) the running machine of this thread; the simulation also calls it
 *  after a switch of threads. */
void machine_enter(struct machine *machine);
/** Reads a hint in the simulation, which may return an older value; NULL: not simulated. */
extern uint64_t (*machine_stale_hint)(const uint64_t *hint);
/** Called before and after accesses that can race with other threads, so that the simulation can
 *  switch threads there; NULL: not simulated. */
extern void (*machine_meeting)(void);
/** Locks that are held, in the simulation: all its threads share one real thread, which would wait
 *  for itself. */
extern uint32_t machine_locked;
static inline void machine_meet(void)
{
    if (UNLIKELY(machine_meeting != NULL))
        machine_meeting();
}
/** Tells the simulation that hints in this memory are new; NULL: not simulated. */
extern void (*machine_forget_hints)(const void *at, size_t size);

/* --- co.c ------------------------------------------------------------------------------------- */

void co_pools_init(struct machine *machine);
/** Maps a stack in advance, so that the first co_start of that kind can't fail.  Faults: MEMORY. */
fault co_pools_fill(struct machine *machine, enum co_stack kind) MUST_USE;
/** Unmaps all stacks.  No coroutine is left. */
void co_pools_fini(struct machine *machine);
/** Resumes the coroutines that are in the run queue at the call, in order.  Returns their count. */
uint32_t co_run_ready(struct machine *machine);

/* --- timers.c --------------------------------------------------------------------------------- */

void timers_fini(struct machine *machine);
/** Fires the timers that are due.  Returns their count. */
uint32_t timers_run(struct machine *machine);
/** The time of the first entry of the queue, which may be stale (earlier than its timer is due). */
deadline timers_next(const struct machine *machine);
/** Moves stale entries at the top to the times when they are due, so that they end no wait. */
void timers_tidy(struct machine *machine);

/* --- registrations.c -------------------------------------------------------------------------- */

/** Registers the stream's handle with the poller of the running machine: 0 or -errno. */
int registration_add(struct stream *stream);
/** Does the same for a listener that several machines share; only REGISTRATION_MOVES removes it. */
int registration_add_shared(struct stream *stream);
/** Unregisters the stream's handle.  Removes it from the poller only if it MOVES: closing a handle
 *  does that by itself. */
enum registration_end { REGISTRATION_CLOSES, REGISTRATION_MOVES };
void registration_remove(struct stream *stream, enum registration_end end);
/** Adds events to their streams' `ready` and wakes the streams' wakers; drops stale events. */
void registrations_dispatch(struct machine *machine, const struct poll_event *events, int count);
