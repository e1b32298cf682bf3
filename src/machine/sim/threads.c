/* threads.c - threads of the simulation, one at a time in a seeded order. */
#include "base/check.h"
#include "machine/context_parts.h"
#include "machine/loop_parts.h"
#include "machine/sim/inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Threads.  Each simulated thread is a flow with a stack of its own on the one real thread.  It
 * runs until it waits in poll_wait or join, or reaches a point where threads can race; the next
 * thread is then drawn.
 */
#define THREADS_MAX  1024
#define THREAD_STACK (256 * 1024 * CONTEXT_STACK_FACTOR)
#define STACKS_KEPT  16

enum thread_state { THREAD_READY, THREAD_POLLING, THREAD_JOINING, THREAD_ENDED };

struct sim_thread {
    enum thread_state state;
    int poller;               /* POLLING */
    int64_t until;            /* POLLING */
    int64_t held;             /* preempted: does not run before this time */
    int64_t held_us;          /* the sum of these delays */
    struct sim_thread *other; /* JOINING: the thread that must end */
    struct context *resume;   /* the suspended flow; at first `begin` */
    struct context begin;
    void *stack; /* NULL: the real thread's */
    bool detached;
    uint32_t table; /* of handles; 0: that of the process */
    bool hot;       /* its CPU time advances as fast as the clock */
    int64_t born;
    int64_t used; /* CPU time: one microsecond per wait */
    void (*main)(void *argument);
    void *argument;
    char name[16];
};

static struct sim_threads {
    struct sim_thread *all[THREADS_MAX];
    uint32_t count;
    struct sim_thread *running;
    uint64_t idle_turns;
    uint32_t tables; /* made beside that of the process */
} threads;

/* Free stacks, reused also by later simulations: stacks are large and threads short-lived. */
static void *stacks[STACKS_KEPT];
static uint32_t stacks_count;

static void *stack_take(void)
{
    return stacks_count > 0 ? stacks[--stacks_count] : aligned_alloc(4096, THREAD_STACK);
}

static void stack_give(void *stack)
{
    /* AddressSanitizer resets its state of the memory only when it is freed. */
    if (stack != NULL && stacks_count < STACKS_KEPT && !CONTEXT_ASAN)
        stacks[stacks_count++] = stack;
    else
        free(stack);
}

/* --- the scheduler ---------------------------------------------------------------------------- */

static bool thread_can_run(const struct sim_thread *thread)
{
    if (thread->held > sim_now())
        return false;
    switch (thread->state) {
    case THREAD_READY:
        return true;
    case THREAD_POLLING:
        return thread->until <= sim_now() || sim_poller_ready(thread->poller);
    case THREAD_JOINING:
        return thread->other->state == THREAD_ENDED;
    case THREAD_ENDED:
        break;
    }
    return false;
}

/* Draws one of the threads that can run; NULL when there is none. */
static struct sim_thread *threads_draw(void)
{
    struct sim_thread *able[THREADS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < threads.count; i++) {
        if (thread_can_run(threads.all[i]))
            able[count++] = threads.all[i];
    }
    if (count <= 1)
        return count == 0 ? NULL : able[0];
    return able[sim_below(LOT_ORDER, count)];
}

static void thread_tell(const struct sim_thread *thread)
{
    static const char *const states[] = {"ready", "polling", "joining", "ended"};
    fprintf(stderr, "  thread %s: %s\n", thread->name, states[thread->state]);
}

static void threads_stuck(void)
{
    fprintf(stderr, "simulation with seed %llu: nothing can happen any more\n",
            (unsigned long long)sim_seed());
    for (uint32_t i = 0; i < threads.count; i++)
        thread_tell(threads.all[i]);
    abort();
}

/* Advances the clock to the next event, when no thread can run. */
static void threads_pass_time(void)
{
    int64_t next = sim_events_next();
    for (uint32_t i = 0; i < threads.count; i++) {
        const struct sim_thread *thread = threads.all[i];
        if (thread->state == THREAD_POLLING)
            next = MIN_OF(next, MAX_OF(thread->until, thread->held));
        if (thread->held > sim_now())
            next = MIN_OF(next, thread->held);
    }
    if (next == INT64_MAX)
        threads_stuck();
    sim_advance(next);
    sim_events_run();
}

static void threads_reap(void)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < threads.count; i++) {
        struct sim_thread *thread = threads.all[i];
        if (thread->state != THREAD_ENDED || !thread->detached || thread == threads.running) {
            threads.all[kept++] = thread;
            continue;
        }
        context_fini(&thread->begin);
        stack_give(thread->stack);
        free(thread);
    }
    threads.count = kept;
}

static void threads_switch(struct sim_thread *to)
{
    struct machine *machine = machine_current;
    struct fault_detail *detail = fault_detail_current;
    /* On the current stack, which may be a coroutine's. */
    struct context here;
    context_init_thread(&here);
    threads.running->resume = &here;
    threads.running = to;
    context_switch(&here, to->resume);
    machine_enter(machine);
    fault_detail_current = detail;
    threads_reap();
}

/* Runs other threads until the running thread's state allows it to continue. */
static void threads_block(void)
{
    struct sim_thread *thread = threads.running;
    sim_events_run();
    struct sim_thread *next = threads_draw();
    while (next == NULL) {
        threads_pass_time();
        next = threads_draw();
    }
    next->state = THREAD_READY;
    if (next != thread)
        threads_switch(next);
}

static void thread_perhaps_hold(struct sim_thread *thread)
{
    thread->held = 0;
    if (!sim_chance(LOT_ORDER, sim_rates.preempted))
        return;
    int64_t delay = (int64_t)sim_between(LOT_ORDER, 1, sim_rates.preempted_max);
    thread->held = sim_now() + delay;
    thread->held_us += delay;
}

void sim_meet(void)
{
    struct sim_thread *thread = threads.running;
    if (machine_locked > 0 || !sim_chance(LOT_ORDER, sim_rates.meets))
        return;
    thread_perhaps_hold(thread);
    threads_block();
}

int sim_poll_wait(int poller, struct poll_event *events, int max, deadline by)
{
    struct sim_thread *thread = threads.running;
    thread->state = THREAD_POLLING;
    thread->poller = poller;
    thread->until = by.us;
    thread_perhaps_hold(thread);
    sim_wall_drift();
    /* Each wait takes time, or threads that never wait would stop the clock. */
    sim_advance(sim_now() + 1);
    thread->used += 1;
    threads_block();
    int count = sim_poller_take(poller, events, max);
    threads.idle_turns += count == 0;
    sim_note("poll", poller, count);
    sim_dns_deliver(poller);
    return count;
}

uint64_t sim_idle_turns(void)
{
    return threads.idle_turns;
}

/* --- start and end of threads ----------------------------------------------------------------- */

static void thread_begin(void *argument)
{
    struct sim_thread *thread = argument;
    context_entered(&thread->begin);
    machine_enter(NULL);
    thread->main(thread->argument);
    thread->state = THREAD_ENDED;
    sim_note("end", 0, 0);
    threads_block();
    invariant(!"an ended thread was resumed");
}

static struct sim_thread *thread_new(const char *name)
{
    struct sim_thread *thread = calloc(1, sizeof(*thread));
    invariant(thread != NULL && threads.count < THREADS_MAX);
    snprintf(thread->name, sizeof(thread->name), "%s", name);
    threads.all[threads.count++] = thread;
    return thread;
}

int sim_spawn(const char *name, void (*main)(void *argument), void *argument, void **ret_thread)
{
    if (threads.count == THREADS_MAX)
        return -EAGAIN;
    void *stack = stack_take();
    if (stack == NULL)
        return -ENOMEM;
    struct sim_thread *thread = thread_new(name);
    int made = context_init(&thread->begin, stack, THREAD_STACK, thread_begin, thread);
    invariant(made == 0);
    thread->stack = stack;
    thread->resume = &thread->begin;
    thread->main = main;
    thread->argument = argument;
    thread->born = sim_now();
    thread->hot = sim_chance(LOT_ORDER, sim_rates.hot);
    thread->detached = ret_thread == NULL;
    if (ret_thread != NULL)
        *ret_thread = thread;
    sim_note_text("spawn", name, strlen(name));
    return 0;
}

int sim_spawn_apart(const char *name, void (*main)(void *argument), void *argument, int poller,
                    void **ret_thread)
{
    (void)poller;
    int status = sim_spawn(name, main, argument, ret_thread);
    if (status == 0)
        threads.all[threads.count - 1]->table = ++threads.tables;
    return status;
}

uint32_t sim_table(void)
{
    return threads.running->table;
}

void sim_join(void *ended)
{
    struct sim_thread *other = ended;
    while (other->state != THREAD_ENDED) {
        threads.running->state = THREAD_JOINING;
        threads.running->other = other;
        threads.running->held = 0;
        threads_block();
    }
    other->detached = true;
    threads_reap();
}

int64_t sim_thread_used_us(void *asked)
{
    const struct sim_thread *thread = asked;
    return thread->hot ? sim_now() - thread->born : thread->used;
}

int64_t sim_held_us(const char *name)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < threads.count; i++)
        if (strcmp(threads.all[i]->name, name) == 0)
            sum += threads.all[i]->held_us;
    return sum;
}

int sim_offload(void (*job)(void *argument), void *argument)
{
    int status = sim_spawn("offload", job, argument, NULL);
    /* Delays the job, as if others were served before it. */
    if (status == 0 && sim_rates.job_max > 0)
        threads.all[threads.count - 1]->held =
            sim_now() + (int64_t)sim_between(LOT_ORDER, 1, sim_rates.job_max);
    return status;
}

const char *sim_thread_name(void)
{
    return threads.running == NULL ? "" : threads.running->name;
}

void sim_threads_start(void)
{
    threads.running = thread_new("main");
}

uint32_t sim_threads_leaks(void (*each)(void *argument, const char *what), void *argument)
{
    uint32_t count = 0;
    threads_reap();
    for (uint32_t i = 0; i < threads.count; i++) {
        char text[64];
        if (threads.all[i] == threads.running)
            continue;
        snprintf(text, sizeof(text), "thread %s", threads.all[i]->name);
        each(argument, text);
        count += 1;
    }
    return count;
}

void sim_threads_finish(void)
{
    invariant(threads.count == 1 && threads.running == threads.all[0]);
    free(threads.running);
    threads = (struct sim_threads){0};
}
