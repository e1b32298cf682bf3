#include "machine/os_sim.h"

#include "machine/loop.h"
#include "machine/os_sim_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Time, chance and threads.  Each thread of the simulated world is a flow with a stack of its own
 * on the one real thread; it runs until it waits in poll_wait or join, and who goes on is drawn.
 */
#define THREADS_MOST 256
#define THREAD_STACK (256 * 1024 * CONTEXT_STACK_FACTOR)
#define HINTS        1024 /* remembered; the rest is always fresh */
/* One wait in so many goes on late, by so much at most: the processor was somebody else's. */
#define PREEMPTED_ONE_IN  64
#define PREEMPTED_MOST_US 5000
/* Wall time of the beginning: 2025-01-01. */
#define WALL_START INT64_C(1735689600000000)

enum thread_state { THREAD_READY, THREAD_POLLING, THREAD_JOINING, THREAD_ENDED };

struct sim_thread {
    enum thread_state state;
    int poller;               /* POLLING */
    int64_t until;            /* POLLING */
    int64_t held;             /* does not run before: others have its processor */
    struct sim_thread *other; /* JOINING: who must end */
    struct context *resume;   /* where it waits; `begin` at first */
    struct context begin;
    void *stack; /* NULL: the real thread's */
    bool detached;
    void (*main)(void *argument);
    void *argument;
};

struct hint_seen {
    const uint64_t *hint;
    uint64_t value;
    bool known; /* false: in memory that has become another object's since */
};

static struct sim {
    uint64_t seed;
    uint64_t chance; /* state of the drawing of lots */
    uint64_t random; /* state of what the world gives as random bytes */
    uint64_t history;
    int64_t now;
    struct sim_thread *threads[THREADS_MOST];
    uint32_t count;
    struct sim_thread *running;
    struct hint_seen hints[HINTS];
} sim;

/* --- chance, time and history ----------------------------------------------------------------- */

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t sim_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

uint64_t sim_below(uint64_t limit)
{
    invariant(limit > 0);
    return sim_next(&sim.chance) % limit;
}

int64_t sim_now(void)
{
    return sim.now;
}

static void sim_note_bytes(const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++)
        sim.history = (sim.history ^ at[i]) * 0x100000001b3; /* FNV-1a */
}

void sim_note(const char *what, int64_t a, int64_t b)
{
    const int64_t facts[] = {sim.now, a, b};
    sim_note_bytes(what, strlen(what));
    sim_note_bytes(facts, sizeof(facts));
}

static int64_t sim_monotonic_us(void)
{
    return sim.now;
}

static int64_t sim_wall_us(void)
{
    return WALL_START + sim.now;
}

static void sim_random(void *bytes, size_t size)
{
    uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(sim_next(&sim.random) >> 32);
}

static struct hint_seen *hint_find(const uint64_t *hint)
{
    for (uint32_t i = 0; i < HINTS; i++) {
        struct hint_seen *seen = &sim.hints[((uintptr_t)hint / sizeof(*hint) + i) % HINTS];
        if (seen->hint == hint || seen->hint == NULL)
            return seen;
    }
    return NULL;
}

/* Now and then what it was when it was last looked at.  A lot is drawn each time, so that chance
 * does not depend on where things lie in memory. */
static uint64_t sim_stale_hint(const uint64_t *hint)
{
    bool stale = sim_below(4) == 0;
    uint64_t value = *hint;
    struct hint_seen *seen = hint_find(hint);
    if (seen == NULL)
        return value;
    if (seen->hint == hint && seen->known && stale)
        return seen->value;
    *seen = (struct hint_seen){hint, value, true};
    return value;
}

static void sim_forget_hints(const void *at, size_t size)
{
    for (uint32_t i = 0; i < HINTS; i++)
        if ((uintptr_t)sim.hints[i].hint - (uintptr_t)at < size)
            sim.hints[i].known = false;
}

/* --- threads ---------------------------------------------------------------------------------- */

static bool thread_can_run(const struct sim_thread *thread)
{
    if (thread->held > sim.now)
        return false;
    switch (thread->state) {
    case THREAD_READY:
        return true;
    case THREAD_POLLING:
        return thread->until <= sim.now || sim_poller_ready(thread->poller);
    case THREAD_JOINING:
        return thread->other->state == THREAD_ENDED;
    case THREAD_ENDED:
        break;
    }
    return false;
}

/* One of those who can run; NULL when there is none. */
static struct sim_thread *sim_draw(void)
{
    struct sim_thread *able[THREADS_MOST];
    uint32_t count = 0;
    for (uint32_t i = 0; i < sim.count; i++) {
        if (thread_can_run(sim.threads[i]))
            able[count++] = sim.threads[i];
    }
    return count == 0 ? NULL : able[sim_below(count)];
}

/* Nobody can run: on to the next thing that happens. */
static void sim_pass_time(void)
{
    int64_t next = sim_net_next();
    for (uint32_t i = 0; i < sim.count; i++) {
        const struct sim_thread *thread = sim.threads[i];
        if (thread->state == THREAD_POLLING && MAX_OF(thread->until, thread->held) < next)
            next = MAX_OF(thread->until, thread->held);
        if (thread->held > sim.now && thread->held < next)
            next = thread->held;
    }
    if (next == INT64_MAX) {
        fprintf(stderr, "simulation with seed %llu: nothing can happen any more\n",
                (unsigned long long)sim.seed);
        abort();
    }
    if (next > sim.now)
        sim.now = next;
    sim_net_deliver();
}

static void sim_reap(void)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < sim.count; i++) {
        struct sim_thread *thread = sim.threads[i];
        if (thread->state != THREAD_ENDED || !thread->detached || thread == sim.running) {
            sim.threads[kept++] = thread;
            continue;
        }
        context_fini(&thread->begin);
        free(thread->stack);
        free(thread);
    }
    sim.count = kept;
}

/* Lets the others run until the running thread's state lets it go on. */
static void sim_block(void)
{
    struct sim_thread *thread = sim.running;
    struct machine *machine = machine_current;
    struct fault_story *story = fault_story_current;
    sim_net_deliver();
    struct sim_thread *next = sim_draw();
    while (next == NULL) {
        sim_pass_time();
        next = sim_draw();
    }
    next->state = THREAD_READY;
    if (next == thread)
        return;
    /* It may wait on any stack, a coroutine's too. */
    struct context here;
    context_init_thread(&here);
    thread->resume = &here;
    sim.running = next;
    context_switch(&here, next->resume);
    machine_enter(machine);
    fault_story_current = story;
    sim_reap();
}

static void thread_begin(void *argument)
{
    struct sim_thread *thread = argument;
    context_entered(&thread->begin);
    machine_enter(NULL);
    thread->main(thread->argument);
    thread->state = THREAD_ENDED;
    sim_note("end", 0, 0);
    sim_block();
    invariant(!"an ended thread was resumed");
}

static int sim_spawn(const char *name, void (*main)(void *argument), void *argument,
                     void **ret_thread)
{
    if (sim.count == THREADS_MOST)
        return -EAGAIN;
    struct sim_thread *thread = calloc(1, sizeof(*thread));
    void *stack = aligned_alloc(4096, THREAD_STACK);
    if (thread == NULL || stack == NULL ||
        context_init(&thread->begin, stack, THREAD_STACK, thread_begin, thread) < 0) {
        free(thread);
        free(stack);
        return -ENOMEM;
    }
    thread->stack = stack;
    thread->resume = &thread->begin;
    thread->main = main;
    thread->argument = argument;
    thread->detached = ret_thread == NULL;
    if (ret_thread != NULL)
        *ret_thread = thread;
    sim.threads[sim.count++] = thread;
    sim_note(name, 0, 0);
    return 0;
}

static void sim_join(void *ended)
{
    struct sim_thread *other = ended;
    sim.running->state = THREAD_JOINING;
    sim.running->other = other;
    while (other->state != THREAD_ENDED)
        sim_block();
    sim.running->state = THREAD_READY;
    other->detached = true;
    sim_reap();
}

/* Work costs no time that anybody could read. */
static int64_t sim_thread_used_us(void *thread UNUSED)
{
    return 0;
}

static int sim_offload(void (*job)(void *argument), void *argument)
{
    return sim_spawn("offload", job, argument, NULL);
}

static int sim_poll_wait(int poller, struct poll_event *events, int most, deadline by)
{
    struct sim_thread *thread = sim.running;
    thread->state = THREAD_POLLING;
    thread->poller = poller;
    thread->until = by.us;
    bool preempted = sim_below(PREEMPTED_ONE_IN) == 0;
    thread->held = preempted ? sim.now + (int64_t)sim_below(PREEMPTED_MOST_US) : 0;
    /* Work takes time: or those who never wait would stop the clock. */
    sim.now += 1;
    sim_block();
    int count = sim_poller_take(poller, events, most);
    sim_note("poll", poller, count);
    return count;
}

/* --- what this world does not have, or hardly ------------------------------------------------- */

static int sim_listen_again(int handle, const struct address *at, int backlog, int unix_mode)
{
    return 0;
}

static int sim_listen_tune(int handle, const struct address *at, int64_t group, int defer)
{
    return 0;
}

static int sim_signals_open(const int *numbers, size_t count)
{
    return -ENOSYS;
}

static int sim_signals_next(int handle)
{
    return -ENOSYS;
}

static int64_t sim_file_read(const char *path, void *bytes, size_t size)
{
    return -ENOENT;
}

static int sim_file_mode(const char *path, uint32_t *ret_owner)
{
    return -ENOENT;
}

static int sim_run(const char *const *words, deadline by, struct os_output *output)
{
    return -ENOSYS;
}

static int sim_file_unlink(const char *path)
{
    return 0;
}

static int sim_file_list(const char *path, void (*each)(void *argument, const char *name),
                         void *argument)
{
    return -ENOENT;
}

static int sim_interfaces(struct os_interface *ret, int most)
{
    return 0;
}

static int sim_dns_query(int poller, const char *name, int type,
                         void (*done)(void *argument, int status, const uint8_t *answer,
                                      size_t size),
                         void *argument)
{
    return -ENOSYS;
}

static void sim_log_line(int sink, const char *line, size_t size)
{
    sim_note_bytes(line, size);
}

static uint64_t sim_log_dropped(void)
{
    return 0;
}

const struct os os_sim = {
    .name = "sim",
    .monotonic_us = sim_monotonic_us,
    .wall_us = sim_wall_us,
    .random = sim_random,
    .listen = sim_listen,
    .listen_again = sim_listen_again,
    .listen_tune = sim_listen_tune,
    .accept = sim_accept,
    .connect = sim_connect,
    .connect_result = sim_connect_result,
    .set_options = sim_set_options,
    .set_low_water = sim_set_low_water,
    .local_address = sim_local_address,
    .peer_user = sim_peer_user,
    .recv = sim_recv,
    .send = sim_send,
    .send_vector = sim_send_vector,
    .shut = sim_shut,
    .close = sim_close,
    .poll_new = sim_poll_new,
    .poll_free = sim_poll_free,
    .poll_add = sim_poll_add,
    .poll_del = sim_poll_del,
    .poll_wait = sim_poll_wait,
    .poll_wake = sim_poll_wake,
    .spawn = sim_spawn,
    .join = sim_join,
    .thread_used_us = sim_thread_used_us,
    .signals_open = sim_signals_open,
    .signals_next = sim_signals_next,
    .file_read = sim_file_read,
    .file_mode = sim_file_mode,
    .file_unlink = sim_file_unlink,
    .file_list = sim_file_list,
    .interfaces = sim_interfaces,
    .dns_query = sim_dns_query,
    .run = sim_run,
    .offload = sim_offload,
    .offload_slow = sim_offload,
    .log_line = sim_log_line,
    .log_dropped = sim_log_dropped,
};

/* --- beginning and end ------------------------------------------------------------------------ */

void os_sim_start(uint64_t seed)
{
    invariant(os != &os_sim && machine_current == NULL);
    struct sim_thread *here = calloc(1, sizeof(*here));
    invariant(here != NULL);
    here->state = THREAD_READY;
    sim = (struct sim){.seed = seed, .chance = seed, .random = ~seed, .now = 1000000};
    sim.history = 0xcbf29ce484222325;
    sim.threads[sim.count++] = here;
    sim.running = here;
    machine_stale_hint = sim_stale_hint;
    machine_forget_hints = sim_forget_hints;
    os = &os_sim;
}

uint64_t os_sim_history(void)
{
    return sim.history;
}

void os_sim_finish(void)
{
    invariant(os == &os_sim && machine_current == NULL);
    sim_reap();
    invariant(sim.count == 1 && sim.running == sim.threads[0]);
    free(sim.running);
    sim_net_reset();
    machine_stale_hint = NULL;
    machine_forget_hints = NULL;
    os = &os_linux;
}
