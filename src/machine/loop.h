#pragma once
/*
 * loop.h - the inside of a machine; private to machine/.
 *
 * Everything here belongs to the machine's own thread, except `mailbox` and `woken`, which senders
 * write.  Counters are written by the machine and read by others as hints.
 */
#include "machine/co.h"
#include "machine/context.h"
#include "machine/os.h"

#define EVENTS_MAX 256 /* taken from the poller a turn */

struct stream;

/* The coroutines that can run, in order. */
struct ready_queue {
    struct co *first;
    struct co *last;
    uint32_t count;
};

/* Stacks that nobody uses, most recently used first. */
struct stack_pool {
    struct co *free;
    uint32_t idle;
    uint32_t idle_min; /* since the last trimming: that many were surely not needed */
    uint32_t keep;     /* not trimmed below */
};

/* A binary heap by `at`; each timer knows its place. */
struct timer_entry {
    int64_t at;
    struct timer *timer;
};
struct timer_heap {
    struct timer_entry *entries;
    uint32_t count;
    uint32_t capacity;
};

/* Who gets the events of a handle.  The generation tells events of an earlier registration. */
struct registration {
    struct stream *stream; /* NULL: nobody */
    uint32_t generation;
};

struct machine {
    struct co *running; /* NULL: on the loop's own stack */
    void *own;
    struct ready_queue ready;
    int64_t now_us; /* as of this turn */
    struct context loop;
    struct stack_pool stacks[CO_LARGE + 1];
    struct timer trim;
    struct waker trimmer;
    struct timer_heap timers;
    struct registration *registrations; /* by handle */
    uint32_t registrations_size;
    int poller;
    bool stopping;
    bool asleep;         /* `mailbox` was set to the sleeper's mark by us */
    uint64_t wakes_owed; /* senders that took the mark, and so will call poll_wake */
    struct fault_story story;
    struct machine_stats stats;
    uint32_t random_left; /* bytes of `random` that nobody has got yet, its first ones */
    uint8_t random[1024];
    char name[16];
    void *thread; /* NULL: runs on its caller's */
    void (*entry)(void *argument);
    void *argument;

    struct mail *mailbox __attribute__((aligned(64))); /* atomic: newest first, or the mark */
    uint64_t woken;                                    /* atomic: poll_wakes that are done */
};

extern _Thread_local struct machine *machine_current;

/** Makes `machine` (NULL: none) the running one of this thread; after a switch of machines in the
 *  simulation. */
void machine_enter(struct machine *machine);
/** The filter through which hints are read; NULL: none.  Set by the simulation. */
extern uint64_t (*machine_stale_hint)(const uint64_t *hint);
/** Called where threads can meet; NULL: nothing to do.  Set by the simulation. */
extern void (*machine_meeting)(void);
static inline void machine_meet(void)
{
    if (UNLIKELY(machine_meeting != NULL))
        machine_meeting();
}
/** Forgets what it knows of hints in this memory; NULL: nothing to forget. */
extern void (*machine_forget_hints)(const void *at, size_t size);

/* --- co.c ------------------------------------------------------------------------------------- */

void co_pools_init(struct machine *machine);
/** Maps one stack ahead, so that the first co_start of that kind can't fail. */
fault co_pools_fill(struct machine *machine, enum co_stack kind) MUST_USE;
/** Unmaps all; no coroutine is left. */
void co_pools_fini(struct machine *machine);
/** Resumes what was ready when called, in order.  Returns how many. */
uint32_t co_run_ready(struct machine *machine);

/* --- timers.c --------------------------------------------------------------------------------- */

void timers_fini(struct machine *machine);
/** Fires what is due.  Returns how many. */
uint32_t timers_run(struct machine *machine);
/** When the first entry wants to be looked at. */
deadline timers_next(const struct machine *machine);
/** Brings stale entries at the top to their true times, so that they wake nobody. */
void timers_tidy(struct machine *machine);

/* --- registrations.c -------------------------------------------------------------------------- */

/** Registers the stream's handle with the poller of the running machine: 0 or -errno. */
int registration_add(struct stream *stream);
/** Forgets it.  The poller is told only if the handle lives on. */
enum registration_end { REGISTRATION_CLOSES, REGISTRATION_MOVES };
void registration_remove(struct stream *stream, enum registration_end end);
void registrations_dispatch(struct machine *machine, const struct poll_event *events, int count);
