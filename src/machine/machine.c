/* machine.c - machines: a thread with its poller, its coroutines and its mail. */
#include "machine/clock.h"
#include "machine/loop_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Wait interval of machine_settle. */
#define OWED_STEP ms(1)
/* Rounds through the run queue per loop iteration.  Coroutines that others wake mostly run in the
 * same iteration, and a coroutine that only yields can't starve the handles. */
#define ROUNDS_MAX 4

_Thread_local struct machine *machine_current;
uint64_t (*machine_stale_hint)(const uint64_t *hint);
void (*machine_forget_hints)(const void *at, size_t size);
void (*machine_meeting)(void);
uint32_t machine_locked;

/* --- mail ------------------------------------------------------------------------------------- */

/*
 * The mailbox is one atomic word: NULL (empty, the receiver runs), the sleep mark (empty, the
 * receiver is in poll_wait or about to call it), or the newest message, linked to the older ones.
 * Senders push one message; the receiver takes all at once, so there is no ABA problem.  The
 * receiver sets the mark only in place of NULL, and the one sender that replaces the mark calls
 * poll_wake: one system call per sleep, none while the receiver runs.
 *
 * That sender may still be in poll_wake when the message was delivered, and even when the receiver
 * ends.  So its last access is to increment `woken`, and the receiver does not end before `woken`
 * equals `wakes_owed`.
 */
static struct mail mailbox_mark;

bool mail_send(struct machine *to, struct mail *mail)
{
    machine_meet();
    if (__atomic_exchange_n(&mail->under_way, 1, __ATOMIC_ACQ_REL) != 0)
        return false;
    struct mail *newest = __atomic_load_n(&to->mailbox, __ATOMIC_RELAXED);
    machine_meet();
    do {
        mail->next = newest == &mailbox_mark ? NULL : newest;
    } while (!__atomic_compare_exchange_n(&to->mailbox, &newest, mail, true, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED));
    if (newest == &mailbox_mark) {
        machine_meet();
        os->poll_wake(to->poller);
        machine_meet();
        __atomic_add_fetch(&to->woken, 1, __ATOMIC_RELEASE);
    }
    return true;
}

/* Sets the sleep mark; returns false if there is mail: don't sleep. */
static bool mailbox_sleep(struct machine *machine)
{
    struct mail *empty = NULL;
    machine_meet();
    machine->asleep = __atomic_compare_exchange_n(&machine->mailbox, &empty, &mailbox_mark, false,
                                                  __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return machine->asleep;
}

/* Removes the sleep mark after a wait; counts a poll_wake that the sender owes if it is gone. */
static void mailbox_rise(struct machine *machine)
{
    if (!machine->asleep)
        return;
    machine->asleep = false;
    machine_meet();
    struct mail *mark = &mailbox_mark;
    if (!__atomic_compare_exchange_n(&machine->mailbox, &mark, NULL, false, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED))
        machine->wakes_owed += 1;
}

/* Takes all messages, oldest first. */
static struct mail *mailbox_take(struct machine *machine)
{
    if (__atomic_load_n(&machine->mailbox, __ATOMIC_RELAXED) == NULL)
        return NULL;
    machine_meet();
    struct mail *newest = __atomic_exchange_n(&machine->mailbox, NULL, __ATOMIC_ACQUIRE);
    invariant(newest != &mailbox_mark);
    struct mail *oldest = NULL;
    while (newest != NULL) {
        struct mail *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

static uint32_t mailbox_deliver(struct machine *machine)
{
    uint32_t delivered = 0;
    struct mail *mail = mailbox_take(machine);
    while (mail != NULL) {
        struct mail *next = mail->next;
        /* An exchange, not a store: everything that a coalesced sender wrote before its mail_send
         * must be visible to `deliver`, which requires that this operation reads the sender's write
         * to the same word. */
        __atomic_exchange_n(&mail->under_way, 0, __ATOMIC_ACQ_REL);
        machine_meet();
        mail->deliver(mail);
        mail = next;
        delivered += 1;
    }
    if (delivered > 0)
        hint_add(&machine->stats.mails, delivered);
    return delivered;
}

/* --- the loop --------------------------------------------------------------------------------- */

void machine_enter(struct machine *machine)
{
    machine_current = machine;
    fault_detail_current = NULL;
    if (machine != NULL)
        fault_detail_current = &machine->detail;
}

static int machine_poll(struct machine *machine, struct poll_event *events)
{
    deadline by = {0};
    if (machine->ready.count == 0 && mailbox_sleep(machine))
        by = timers_next(machine);
    int count = os->poll_wait(machine->poller, events, EVENTS_MAX, by);
    mailbox_rise(machine);
    machine->now_us = os->monotonic_us();
    hint_add(&machine->stats.wakeups, 1);
    return count < 0 ? 0 : count;
}

static void machine_turn(struct machine *machine)
{
    struct poll_event events[EVENTS_MAX];
    int count = machine_poll(machine, events);
    registrations_dispatch(machine, events, count);
    uint32_t done = (uint32_t)count + mailbox_deliver(machine);
    done += timers_run(machine);
    for (int round = 0; round < ROUNDS_MAX && machine->ready.count > 0; round++)
        done += co_run_ready(machine);
    /* An idle wake-up, by a stale timer entry: refresh the entries to avoid the next one. */
    if (done == 0)
        timers_tidy(machine);
}

static bool machine_is_over(const struct machine *machine)
{
    return machine->stopping && machine->stats.coroutines == 0 &&
           __atomic_load_n(&machine->mailbox, __ATOMIC_RELAXED) == NULL;
}

/* Waits until all senders that owe a poll_wake have made it: the poller is freed next. */
static void machine_settle(struct machine *machine)
{
    struct poll_event event;
    while (__atomic_load_n(&machine->woken, __ATOMIC_ACQUIRE) != machine->wakes_owed)
        os->poll_wait(machine->poller, &event, 1, later(now_exact(), OWED_STEP));
}

static void machine_main(void *argument)
{
    struct machine *machine = argument;
    struct machine *outer = machine_current;
    invariant(machine != NULL);
    context_init_thread(&machine->loop);
    machine_enter(machine);
    machine->now_us = os->monotonic_us();
    fault first = co_start(machine->entry, machine->argument, CO_LARGE);
    invariant(first == OK); /* its stack was mapped by machine_make */
    while (!machine_is_over(machine))
        machine_turn(machine);
    machine_settle(machine);
    timer_disarm(&machine->trim);
    co_pools_fini(machine);
    timers_fini(machine);
    machine_enter(outer);
}

static void machine_free(struct machine **machine)
{
    struct machine *gone = *machine;
    if (gone == NULL)
        return;
    *machine = NULL;
    if (gone->poller >= 0)
        os->poll_free(gone->poller);
    free(gone->registrations);
    free(gone);
}

static fault machine_make(const char *name, void (*entry)(void *argument), void *argument,
                          struct machine **ret)
{
    struct machine *machine = aligned_alloc(_Alignof(struct machine), sizeof(*machine));
    if (machine == NULL)
        return fault_raise(FAULT_MEMORY, "no memory for machine %s", name);
    memset(machine, 0, sizeof(*machine));
    hint_begin(&machine->stats, sizeof(machine->stats));
    machine->entry = entry;
    machine->argument = argument;
    snprintf(machine->name, sizeof(machine->name), "%s", name);
    co_pools_init(machine);
    machine->poller = os->poll_new();
    if (machine->poller < 0) {
        fault failed = fault_raise(FAULT_SYSTEM, "no poller for machine %s: %s", name,
                                   strerrordesc_np(-machine->poller));
        machine_free(&machine);
        return failed;
    }
    fault filled = co_pools_fill(machine, CO_LARGE);
    if (filled != OK) {
        machine_free(&machine);
        return filled;
    }
    *ret = machine;
    return OK;
}

static fault machine_start(const char *name, void (*entry)(void *argument), void *argument,
                           bool apart, struct machine **ret)
{
    struct machine *machine = NULL;
    TRY(machine_make(name, entry, argument, &machine));
    invariant(machine != NULL && machine->poller >= 0);
    /* Set before the thread starts, because its entry may read *ret at once. */
    *ret = machine;
    int status = apart ? os->spawn_apart(machine->name, machine_main, machine, machine->poller,
                                         &machine->thread)
                       : os->spawn(machine->name, machine_main, machine, &machine->thread);
    if (status == 0)
        return OK;
    *ret = NULL;
    co_pools_fini(machine);
    machine_free(&machine);
    return fault_raise(FAULT_SYSTEM, "no thread for machine %s: %s", name,
                       strerrordesc_np(-status));
}

fault machine_new(const char *name, void (*entry)(void *argument), void *argument,
                  struct machine **ret)
{
    return machine_start(name, entry, argument, false, ret);
}

fault machine_new_apart(const char *name, void (*entry)(void *argument), void *argument,
                        struct machine **ret)
{
    return machine_start(name, entry, argument, true, ret);
}

fault machine_run(const char *name, void (*entry)(void *argument), void *argument)
{
    struct machine *machine = NULL;
    TRY(machine_make(name, entry, argument, &machine));
    machine_main(machine);
    machine_free(&machine);
    return OK;
}

void machine_join(struct machine **machine)
{
    if (*machine == NULL)
        return;
    invariant((*machine)->thread != NULL && *machine != machine_current);
    os->join((*machine)->thread);
    machine_free(machine);
}

void machine_stop(void)
{
    invariant(machine_current != NULL);
    machine_current->stopping = true;
}

struct machine *machine_self(void)
{
    return machine_current;
}

void machine_set_own(void *own)
{
    if (machine_current != NULL)
        machine_current->own = own;
}

void *machine_own(void)
{
    return machine_current == NULL ? NULL : machine_current->own;
}

const char *machine_name(const struct machine *machine)
{
    return machine->name;
}

/* --- hints and statistics --------------------------------------------------------------------- */

uint64_t hint_read(const uint64_t *hint)
{
    if (UNLIKELY(machine_stale_hint != NULL))
        return machine_stale_hint(hint);
    return __atomic_load_n(hint, __ATOMIC_RELAXED);
}

void hint_begin(const void *at, size_t size)
{
    if (UNLIKELY(machine_forget_hints != NULL))
        machine_forget_hints(at, size);
}

duration machine_used(const struct machine *machine)
{
    return (duration){.us = os->thread_used_us(machine->thread)};
}

struct machine_stats machine_stats(const struct machine *machine)
{
    const struct machine_stats *stats = &machine->stats;
    return (struct machine_stats){
        .wakeups = hint_read(&stats->wakeups),
        .events = hint_read(&stats->events),
        .mails = hint_read(&stats->mails),
        .switches = hint_read(&stats->switches),
        .coroutines = hint_read(&stats->coroutines),
        .stacks = hint_read(&stats->stacks),
    };
}
