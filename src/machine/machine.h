#pragma once
/*
 * machine.h - a thread with a loop: events, timers, mail, and the coroutines that they wake.
 *
 * A machine owns its coroutines, streams and timers; nothing of it may be touched from another
 * thread, except by mail.  Mail is intrusive: the sender hands the object over with the message
 * (its `mail` member is the envelope), sending never waits and never fails, and each message is
 * delivered by a call of its `deliver` on the receiving machine's own stack (it must not suspend;
 * it may start or wake coroutines).  Design: docs/internals/machine.md
 */
#include "base/fault.h"
#include "base/list.h"
#include "base/time.h"

struct machine;

/* The envelope: a member of the message it delivers. */
struct mail {
    struct mail *next;
    void (*deliver)(struct mail *mail);
    uint32_t under_way; /* atomic: 1 between mail_send and its delivery */
};

/* What wakes up for an event: a coroutine, or a parked object's own function.
 * Runs on the loop's stack and must not suspend. */
struct waker {
    void (*wake)(struct waker *waker);
};

/* One pending point in time.  Owned by its object, which must disarm it before it goes. */
struct timer {
    int64_t due;    /* when the owner wants it; INT64_MAX: not at all */
    int64_t armed;  /* when the queue will look at it: <= due; INT64_MAX: not in the queue */
    uint32_t place; /* in the machine's heap */
    struct waker *waker;
};
#define TIMER_INIT(who) ((struct timer){.due = INT64_MAX, .armed = INT64_MAX, .waker = (who)})

/** Makes a machine and its thread.  `entry` runs there as the first coroutine, with `argument`.
 *  The thread ends when machine_stop was called and no coroutine is left.  `name`: at most 15
 *  characters. */
fault machine_new(const char *name, void (*entry)(void *argument), void *argument,
                  struct machine **ret) MUST_USE;
/** As machine_new, but runs on the calling thread until it ends (the pooler machine, tests). */
fault machine_run(const char *name, void (*entry)(void *argument), void *argument) MUST_USE;
/** Waits for the thread's end and frees the machine.  Blocks the caller. */
void machine_join(struct machine **machine);
/** On the machine itself: the loop ends once no coroutine is left. */
void machine_stop(void);

/** The running machine; NULL on a thread that is none. */
struct machine *machine_self(void);
const char *machine_name(const struct machine *machine);
/** What the running machine keeps for code that has no other way to it; NULL: nothing, or it is
 *  none. */
void machine_set_own(void *own);
void *machine_own(void);

/** Hands `mail` over to `to`, from any thread.  Returns false, and does nothing, when this envelope
 *  is still under way: the receiver has not seen the earlier message yet (coalesced). */
bool mail_send(struct machine *to, struct mail *mail);

/** Sets when `timer` fires: lazily, so that a later time than the armed one costs a store.
 *  NEVER keeps a stale entry in the queue, which is dropped when its time comes. */
void timer_set(struct timer *timer, deadline by);
/** Takes it out of the queue; needed before its memory goes. */
void timer_disarm(struct timer *timer);

/* What a machine counts; read by others as hints. */
struct machine_stats {
    uint64_t wakeups; /* returns of poll_wait */
    uint64_t events;
    uint64_t mails;
    uint64_t switches;   /* coroutine resumes */
    uint64_t coroutines; /* alive now */
    uint64_t stacks;     /* mapped now */
};
/** How long its thread has kept a processor busy, ever.  From any machine, while it has not been
 *  joined. */
duration machine_used(const struct machine *machine);
struct machine_stats machine_stats(const struct machine *machine);

/** A hint: a number that another thread may be changing.  In the simulation it may be stale. */
uint64_t hint_read(const uint64_t *hint);
/** New memory with hints in it: what lay there before is not their past. */
void hint_begin(const void *at, size_t size);
static inline void hint_write(uint64_t *hint, uint64_t value)
{
    __atomic_store_n(hint, value, __ATOMIC_RELAXED);
}
/** One writer only: a counter that others read as a hint. */
static inline void hint_add(uint64_t *hint, uint64_t more)
{
    __atomic_store_n(hint, __atomic_load_n(hint, __ATOMIC_RELAXED) + more, __ATOMIC_RELAXED);
}
