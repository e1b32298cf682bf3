#pragma once
/*
 * machine.h - a thread with an event loop: events, timers, mail, and the coroutines that they wake.
 *
 * A machine owns its coroutines, streams and timers.  Other threads access it by mail only.  Mail
 * is intrusive: the message contains its envelope (a `mail` member), and the sender gives up the
 * message.  Sending never waits and never fails.  The receiving machine calls `deliver` for each
 * message on its loop's stack; `deliver` must not suspend, but may start or wake coroutines.
 * Design: docs/internals/machine.md
 */
#include "base/fault.h"
#include "base/list.h"
#include "base/time.h"

struct machine;

/* The envelope: a member of the message that it delivers. */
struct mail {
    struct mail *next;
    void (*deliver)(struct mail *mail);
    uint32_t under_way; /* atomic: 1 between mail_send and its delivery */
};

/* The callback of an event: it resumes a coroutine, or is a parked object's own function.
 * `wake` runs on the loop's stack and must not suspend. */
struct waker {
    void (*wake)(struct waker *waker);
};

/* A timer.  The object that contains it disarms it before the object's memory is freed. */
struct timer {
    int64_t due;    /* when it fires; INT64_MAX: never */
    int64_t armed;  /* time of its queue entry: <= due; INT64_MAX: not in the queue */
    uint32_t place; /* index in the machine's heap */
    struct waker *waker;
};
#define TIMER_INIT(who) ((struct timer){.due = INT64_MAX, .armed = INT64_MAX, .waker = (who)})

/** Creates a machine and its thread.  `entry(argument)` runs there as the first coroutine.  The
 *  thread ends when machine_stop was called and no coroutine is left.  `name`: at most 15
 *  characters.  Faults: MEMORY, SYSTEM. */
fault machine_new(const char *name, void (*entry)(void *argument), void *argument,
                  struct machine **ret) MUST_USE;
/** Same as machine_new, but the machine has a table of handles of its own (os.h, spawn_apart), if
 *  the system can: calls on them cost less.  No stream may go to another machine or come from
 *  one. */
fault machine_new_apart(const char *name, void (*entry)(void *argument), void *argument,
                        struct machine **ret) MUST_USE;
/** Same as machine_new, but runs the machine on the calling thread until the machine ends (the
 *  pooler machine, tests). */
fault machine_run(const char *name, void (*entry)(void *argument), void *argument) MUST_USE;
/** Waits until the machine's thread has ended and frees the machine.  Blocks the caller. */
void machine_join(struct machine **machine);
/** Ends the running machine's loop once no coroutine is left. */
void machine_stop(void);

/** The running machine; NULL on a thread that is no machine. */
struct machine *machine_self(void);
const char *machine_name(const struct machine *machine);
/** A pointer of the running machine for code that has no other way to its data; NULL: not set, or
 *  the thread is no machine. */
void machine_set_own(void *own);
void *machine_own(void);

/** Sends `mail` to `to`, from any thread.  Returns false and does nothing when this envelope was
 *  sent before and is not delivered yet (coalesced). */
bool mail_send(struct machine *to, struct mail *mail);

/** Sets when `timer` fires.  A time later than `armed` costs one store: the queue entry stays and
 *  is moved when its time comes.  The same holds for NEVER, whose entry is then dropped. */
void timer_set(struct timer *timer, deadline by);
/** Removes the timer from the queue; required before its memory is freed. */
void timer_disarm(struct timer *timer);

/* A machine's counters; other threads read them as hints. */
struct machine_stats {
    uint64_t wakeups; /* returns of poll_wait */
    uint64_t events;
    uint64_t mails;
    uint64_t switches;   /* coroutine resumes */
    uint64_t coroutines; /* at present */
    uint64_t stacks;     /* mapped at present */
};
/** CPU time that the machine's thread has used since its start.  From any thread, before
 *  machine_join. */
duration machine_used(const struct machine *machine);
struct machine_stats machine_stats(const struct machine *machine);

/** Reads a hint: a number that another thread may be changing.  In the simulation the result may be
 *  stale. */
uint64_t hint_read(const uint64_t *hint);
/** Declares new memory that contains hints, so that the simulation returns no values from its
 *  previous use. */
void hint_begin(const void *at, size_t size);
static inline void hint_write(uint64_t *hint, uint64_t value)
{
    __atomic_store_n(hint, value, __ATOMIC_RELAXED);
}
/** Adds to a counter that has one writer and is read by others as a hint. */
static ALWAYS_INLINE void hint_add(uint64_t *hint, uint64_t more)
{
    __atomic_store_n(hint, __atomic_load_n(hint, __ATOMIC_RELAXED) + more, __ATOMIC_RELAXED);
}
