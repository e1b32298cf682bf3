/* co.c - coroutines: their stacks, their queue of those that can run, groups. */
#include "machine/clock.h"
#include "machine/loop_parts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * A coroutine and its stack are one mapping.  When a coroutine ends, its mapping stays in the
 * machine's free list, suspended in co_main, and the next coroutine of that kind is resumed there.
 * So starting a coroutine allocates nothing, and its timer's queue entry is reused.
 *
 *   lowest                                                                     highest address
 *   | guard page | stack, growing down ...                     | struct co | colour |
 *
 * The colour shifts the top of each stack by some cache lines, so that the stacks do not compete
 * for the same cache sets.
 *
 *            co_start, co_run_now              co_wake, co_cancel, deadline
 *   FREE ----------------------------> READY <----------------------------- WAITING
 *    ^                                   |                                     ^
 *    +------------------------------- RUNNING ---------------------------------+
 *               its entry returned                         co_wait
 */
enum co_state {
    CO_FREE,    /* in the pool of free stacks; no entry function */
    CO_READY,   /* in the run queue */
    CO_RUNNING, /* machine->running */
    CO_WAITING, /* in no list; its waker, its timer or co_cancel make it ready */
};

struct co {
    struct context context;
    struct co *next; /* in the run queue or in the pool */
    struct machine *machine;
    enum co_state state;
    bool woken;         /* since the last co_wait returned OK */
    bool cancelled;     /* until it ends */
    uint32_t forbidden; /* nesting depth of NO_SUSPEND blocks */
    struct waker waker;
    struct waker alarm; /* the waker of `timer` */
    struct timer timer; /* set only while the coroutine waits */
    void (*entry)(void *argument);
    void *argument;
    struct co_group *group; /* NULL: none */
    struct node member;
    enum co_stack kind;
    struct fault_detail detail;
    void *mapping;
    size_t mapping_size;
};

#define STACK_COLOURS     8
#define STACK_COLOUR_STEP 256
/* Interval of trims, which unmap the surplus stacks that were not used since the last one. */
#define TRIM_EVERY sec(1)

static const struct stack_kind {
    size_t usable;
    uint32_t keep; /* idle stacks that are never unmapped */
} stack_kinds[] = {
    [CO_SMALL] = {32768 * CONTEXT_STACK_FACTOR, 64},
    [CO_LARGE] = {262144 * CONTEXT_STACK_FACTOR, 8},
};

/* --- stacks ----------------------------------------------------------------------------------- */

/* A guard region (Linux 6.13) does not split a mapping in two, unlike mprotect; a process may have
 * 65,530 mappings. */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

static void *stack_map(size_t size, size_t guard)
{
    void *mapping = mmap(NULL, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (mapping == MAP_FAILED)
        return NULL;
    if (madvise(mapping, guard, MADV_GUARD_INSTALL) == 0 ||
        mprotect(mapping, guard, PROT_NONE) == 0)
        return mapping;
    munmap(mapping, size);
    return NULL;
}

static void co_main(void *argument);
static void co_waker_wake(struct waker *waker);
static void co_alarm_wake(struct waker *waker);

static struct co *co_map(struct machine *machine, enum co_stack kind)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t top = sizeof(struct co) + STACK_COLOURS * STACK_COLOUR_STEP;
    size_t size = (page + stack_kinds[kind].usable + top + page - 1) / page * page;
    char *mapping = stack_map(size, page);
    if (mapping == NULL)
        return NULL;
    size_t colour = machine->stats.stacks % STACK_COLOURS * STACK_COLOUR_STEP;
    uintptr_t end = ((uintptr_t)mapping + size - colour - sizeof(struct co)) & ~(uintptr_t)63;
    struct co *co = (struct co *)end;
    *co = (struct co){.machine = machine, .kind = kind, .mapping = mapping, .mapping_size = size};
    co->waker.wake = co_waker_wake;
    co->alarm.wake = co_alarm_wake;
    co->timer = TIMER_INIT(&co->alarm);
    if (context_init(&co->context, mapping + page, end - (uintptr_t)mapping - page, co_main, co) <
        0) {
        munmap(mapping, size);
        return NULL;
    }
    hint_add(&machine->stats.stacks, 1);
    return co;
}

static void co_unmap(struct co *co)
{
    invariant(co->state == CO_FREE);
    hint_add(&co->machine->stats.stacks, (uint64_t)-1);
    timer_disarm(&co->timer);
    context_fini(&co->context);
    munmap(co->mapping, co->mapping_size);
}

static struct co *stack_pool_pop(struct stack_pool *pool)
{
    struct co *co = pool->free;
    if (UNLIKELY(co == NULL))
        return NULL;
    pool->free = co->next;
    pool->idle -= 1;
    if (pool->idle < pool->idle_min)
        pool->idle_min = pool->idle;
    return co;
}

static void stack_pool_push(struct machine *machine, struct co *co)
{
    struct stack_pool *pool = &machine->stacks[co->kind];
    co->next = pool->free;
    pool->free = co;
    pool->idle += 1;
    if (UNLIKELY(pool->idle > pool->keep) && machine->trim.due == INT64_MAX)
        timer_set(&machine->trim, after(TRIM_EVERY));
}

/* Unmaps surplus stacks from the end of the list, which has the least recently used ones. */
static void stack_pool_trim(struct stack_pool *pool)
{
    uint32_t surplus = pool->idle - MIN_OF(pool->idle, pool->keep);
    uint32_t left = pool->idle - MIN_OF(surplus, pool->idle_min);
    struct co **link = &pool->free;
    for (uint32_t i = 0; i < left; i++)
        link = &(*link)->next;
    struct co *gone = *link;
    *link = NULL;
    while (gone != NULL) {
        struct co *next = gone->next;
        co_unmap(gone);
        gone = next;
    }
    pool->idle = pool->idle_min = left;
}

static void co_pools_trim(struct waker *waker)
{
    struct machine *machine = CONTAINER_OF(waker, struct machine, trimmer);
    bool again = false;
    for (size_t kind = 0; kind < ARRAY_SIZE(machine->stacks); kind++) {
        struct stack_pool *pool = &machine->stacks[kind];
        stack_pool_trim(pool);
        again |= pool->idle > pool->keep;
    }
    if (again)
        timer_set(&machine->trim, after(TRIM_EVERY));
}

void co_pools_init(struct machine *machine)
{
    for (size_t kind = 0; kind < ARRAY_SIZE(machine->stacks); kind++)
        machine->stacks[kind].keep = stack_kinds[kind].keep;
    machine->trimmer.wake = co_pools_trim;
    machine->trim = TIMER_INIT(&machine->trimmer);
}

fault co_pools_fill(struct machine *machine, enum co_stack kind)
{
    struct co *co = co_map(machine, kind);
    if (co == NULL)
        return fault_raise(FAULT_MEMORY, "no memory for a stack of machine %s", machine->name);
    co->next = machine->stacks[kind].free;
    machine->stacks[kind].free = co;
    machine->stacks[kind].idle += 1;
    return OK;
}

void co_pools_fini(struct machine *machine)
{
    invariant(machine->stats.coroutines == 0 && machine->ready.count == 0);
    for (size_t kind = 0; kind < ARRAY_SIZE(machine->stacks); kind++) {
        struct stack_pool *pool = &machine->stacks[kind];
        pool->keep = 0;
        pool->idle_min = pool->idle;
        stack_pool_trim(pool);
    }
    invariant(machine->stats.stacks == 0);
}

/* --- running ---------------------------------------------------------------------------------- */

static void co_push_ready(struct co *co)
{
    struct ready_queue *ready = &co->machine->ready;
    co->state = CO_READY;
    co->next = NULL;
    if (ready->first == NULL)
        ready->first = co;
    else
        ready->last->next = co;
    ready->last = co;
    ready->count += 1;
}

/* Switches from the loop to the coroutine; returns when it suspends or ends. */
static void co_resume(struct machine *machine, struct co *co)
{
    invariant(machine->running == NULL && co->machine == machine);
    co->state = CO_RUNNING;
    machine->running = co;
    fault_detail_current = &co->detail;
    hint_add(&machine->stats.switches, 1);
    context_switch(&machine->loop, &co->context);
    machine->running = NULL;
    fault_detail_current = &machine->detail;
}

static void co_suspend(struct co *co)
{
    invariant(co->forbidden == 0);
    context_switch(&co->context, &co->machine->loop);
}

uint32_t co_run_ready(struct machine *machine)
{
    struct ready_queue *ready = &machine->ready;
    uint32_t count = ready->count;
    for (uint32_t i = 0; i < count; i++) {
        struct co *co = ready->first;
        invariant(co != NULL && co->state == CO_READY);
        ready->first = co->next;
        ready->count -= 1;
        co_resume(machine, co);
    }
    return count;
}

static void co_group_leave(struct co *co)
{
    struct co_group *group = co->group;
    co->group = NULL;
    list_remove(&group->members, &co->member);
    if (group->waiting == NULL)
        return;
    co_wake(group->waiting);
    group->waiting = NULL;
}

/* The base function of every stack: each round of the loop runs one coroutine. */
static void co_main(void *argument)
{
    struct co *co = argument;
    context_entered(&co->context);
    for (;;) {
        co->entry(co->argument);
        invariant(co->state == CO_RUNNING && co->forbidden == 0);
        if (co->group != NULL)
            co_group_leave(co);
        co->timer.due = INT64_MAX;
        co->state = CO_FREE;
        hint_add(&co->machine->stats.coroutines, (uint64_t)-1);
        stack_pool_push(co->machine, co);
        context_switch(&co->context, &co->machine->loop);
    }
}

/* Takes a stack from the pool or maps one.  NULL: no memory; the fault is raised. */
static struct co *co_make(void (*entry)(void *argument), void *argument, enum co_stack stack)
{
    struct machine *machine = machine_current;
    invariant(machine != NULL && entry != NULL);
    struct co *co = stack_pool_pop(&machine->stacks[stack]);
    if (UNLIKELY(co == NULL)) {
        co = co_map(machine, stack);
        if (co == NULL) {
            fault_raise(FAULT_MEMORY, "no memory for a stack, %lu are in use",
                        (unsigned long)machine->stats.stacks);
            return NULL;
        }
    }
    co->entry = entry;
    co->argument = argument;
    co->woken = co->cancelled = false;
    co->detail.code = OK;
    co->detail.text[0] = '\0';
    hint_add(&machine->stats.coroutines, 1);
    return co;
}

fault co_start(void (*entry)(void *argument), void *argument, enum co_stack stack)
{
    struct co *co = co_make(entry, argument, stack);
    if (UNLIKELY(co == NULL))
        return FAULT_MEMORY;
    co_push_ready(co);
    return OK;
}

fault co_run_now(void (*entry)(void *argument), void *argument, enum co_stack stack)
{
    struct co *co = co_make(entry, argument, stack);
    if (UNLIKELY(co == NULL))
        return FAULT_MEMORY;
    co_resume(machine_current, co);
    return OK;
}

/* --- waiting and waking ----------------------------------------------------------------------- */

struct co *co_self(void)
{
    return machine_current == NULL ? NULL : machine_current->running;
}

struct waker *co_waker(struct co *co)
{
    return &co->waker;
}

static void co_waker_wake(struct waker *waker)
{
    co_wake(CONTAINER_OF(waker, struct co, waker));
}

static void co_alarm_wake(struct waker *waker)
{
    struct co *co = CONTAINER_OF(waker, struct co, alarm);
    if (co->state == CO_WAITING)
        co_push_ready(co);
}

void co_wake(struct co *co)
{
    invariant(co->machine == machine_current && co->state != CO_FREE);
    co->woken = true;
    if (co->state == CO_WAITING)
        co_push_ready(co);
}

/* Returns the running coroutine; aborts if there is none or it is in a NO_SUSPEND block. */
static struct co *co_suspender(void)
{
    struct co *co = co_self();
    invariant(co != NULL && co->forbidden == 0);
    return co;
}

/* Waits for a wake-up, a cancellation or `by`; returns at once after an earlier wake-up. */
static void co_pause(struct co *co, deadline by)
{
    if (co->woken)
        return;
    timer_set(&co->timer, by);
    co->state = CO_WAITING;
    co_suspend(co);
    co->timer.due = INT64_MAX;
}

/* Clears an older detail with the same code: this fault has none, and the old one does not apply.
 */
static fault co_wait_failed(struct co *co, fault code)
{
    if (co->detail.code == code)
        co->detail.text[0] = '\0';
    return code;
}

fault co_wait(deadline by)
{
    struct co *co = co_suspender();
    if (UNLIKELY(co->cancelled))
        return co_wait_failed(co, FAULT_CANCELLED);
    if (!co->woken && by.us <= co->machine->now_us)
        return co_wait_failed(co, FAULT_TIMEOUT);
    co_pause(co, by);
    if (UNLIKELY(co->cancelled))
        return co_wait_failed(co, FAULT_CANCELLED);
    if (!co->woken)
        return co_wait_failed(co, FAULT_TIMEOUT);
    co->woken = false;
    return OK;
}

void co_wait_through(deadline by)
{
    struct co *co = co_suspender();
    co_pause(co, by);
    co->woken = false;
}

void co_yield (void)
{
    struct co *co = co_suspender();
    co_push_ready(co);
    co_suspend(co);
}

void co_cancel(struct co *co)
{
    invariant(co->machine == machine_current && co->state != CO_FREE);
    co->cancelled = true;
    if (co->state == CO_WAITING)
        co_push_ready(co);
}

bool co_cancelled(void)
{
    struct co *co = co_self();
    return co != NULL && co->cancelled;
}

fault co_sleep(duration wait)
{
    deadline by = after(wait);
    bool woken = false;
    fault end;
    while ((end = co_wait(by)) == OK)
        woken = true;
    /* Keep the wake-up for the next wait. */
    co_self()->woken |= woken;
    return end == FAULT_TIMEOUT ? OK : end;
}

int co_suspend_forbid(void)
{
    struct co *co = co_self();
    if (co != NULL)
        co->forbidden += 1;
    return 0;
}

void co_suspend_allow(int *token)
{
    (void)token;
    struct co *co = co_self();
    invariant(co == NULL || co->forbidden > 0);
    if (co != NULL)
        co->forbidden -= 1;
}

/* --- groups ----------------------------------------------------------------------------------- */

void co_group_init(struct co_group *group)
{
    list_init(&group->members);
    group->waiting = NULL;
}

fault co_group_start(struct co_group *group, void (*entry)(void *argument), void *argument,
                     enum co_stack stack)
{
    struct co *co = co_make(entry, argument, stack);
    if (UNLIKELY(co == NULL))
        return FAULT_MEMORY;
    co->group = group;
    list_push(&group->members, &co->member);
    co_push_ready(co);
    return OK;
}

void co_group_cancel(struct co_group *group)
{
    LIST_EACH (&group->members, node)
        co_cancel(LIST_ENTRY(node, struct co, member));
}

fault co_group_wait_any(struct co_group *group, deadline by)
{
    struct co *co = co_suspender();
    if (list_empty(&group->members))
        return OK;
    invariant(group->waiting == NULL);
    group->waiting = co;
    /* A member that ends sets `waiting` to NULL; any other wake-up is spurious here. */
    fault end = OK;
    while (end == OK && group->waiting != NULL)
        end = co_wait(by);
    if (group->waiting == NULL)
        return OK;
    group->waiting = NULL;
    return end;
}

void co_group_join(struct co_group *group)
{
    struct co *co = co_suspender();
    while (!list_empty(&group->members)) {
        group->waiting = co;
        co->woken = false;
        co_pause(co, NEVER);
    }
    group->waiting = NULL;
}
