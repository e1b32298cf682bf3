/* os_linux_offload.c - the threads for jobs that block. */
#include "base/check.h"
#include "machine/os_linux_parts.h"

#include <errno.h>
#include <pthread.h>

/* Threads for short jobs; started when a job finds none idle, or all at once by
 * os_linux_offload_prepare, and kept. */
#define OFFLOAD_THREADS 2
/* Threads for jobs that may take seconds, mostly waiting for the network. */
#define OFFLOAD_SLOW_THREADS 16
/* Jobs that may wait for a thread; more are refused. */
#define OFFLOAD_JOBS_MAX 4096

struct offload_entry {
    void (*job)(void *argument);
    void *argument;
};

struct offload_queue {
    pthread_mutex_t lock; /* protects all fields; not held while a job runs */
    pthread_cond_t work;
    struct offload_entry waiting[OFFLOAD_JOBS_MAX]; /* a ring */
    uint32_t first;
    uint32_t count;
    uint32_t threads;
    uint32_t threads_max;
    uint32_t idle; /* threads that wait in pthread_cond_wait */
};

#define LANE_INIT(max)                                                                             \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .threads_max = (max)  \
    }
static struct offload_queue quick = LANE_INIT(OFFLOAD_THREADS);
static struct offload_queue slow = LANE_INIT(OFFLOAD_SLOW_THREADS);
static_assert(IS_POWER_OF_TWO(OFFLOAD_JOBS_MAX), "the ring's index is a mask");

static struct offload_entry pop_job_locked(struct offload_queue *direction)
{
    invariant(direction->count > 0);
    struct offload_entry entry = direction->waiting[direction->first];
    direction->first = (direction->first + 1) & (OFFLOAD_JOBS_MAX - 1);
    direction->count -= 1;
    return entry;
}

static struct offload_entry take_job(struct offload_queue *direction)
{
    pthread_mutex_lock(&direction->lock);
    while (direction->count == 0) {
        direction->idle += 1;
        pthread_cond_wait(&direction->work, &direction->lock);
        direction->idle -= 1;
    }
    struct offload_entry entry = pop_job_locked(direction);
    pthread_mutex_unlock(&direction->lock);
    return entry;
}

/* Runs jobs until the process ends; detached, so that a blocked job does not prevent that. */
static void thread_main(void *argument)
{
    for (;;) {
        struct offload_entry entry = take_job(argument);
        entry.job(entry.argument);
    }
}

static int thread_add_locked(struct offload_queue *direction)
{
    int result = os_linux_spawn("offload", thread_main, direction, NULL);
    if (result == 0)
        direction->threads += 1;
    return result;
}

static void thread_add(void *argument);

/* Starts one more thread if there are more jobs than idle threads.  Returns 0, or -errno if there
 * is no thread at all. */
static int threads_suffice_locked(struct offload_queue *direction)
{
    if (direction->count <= direction->idle || direction->threads == direction->threads_max)
        return 0;
    /* A new thread uses the table of handles of its parent thread.  Libraries for PAM and LDAP keep
     * handles for all threads, so all offload threads need the table of the process. */
    int result = os_linux_table() != 0 ? os_linux_offload(thread_add, direction)
                                       : thread_add_locked(direction);
    return direction->threads > 0 ? 0 : result;
}

/* Starts a slow thread, on a quick one.  If that fails and there is none, does a job itself. */
static void thread_add(void *argument)
{
    struct offload_queue *direction = argument;
    struct offload_entry entry = {.job = NULL};
    pthread_mutex_lock(&direction->lock);
    if (threads_suffice_locked(direction) != 0)
        entry = pop_job_locked(direction);
    pthread_mutex_unlock(&direction->lock);
    if (entry.job != NULL)
        entry.job(entry.argument);
}

static int direction_take(struct offload_queue *direction, void (*job)(void *argument),
                          void *argument)
{
    int result = -EAGAIN;
    pthread_mutex_lock(&direction->lock);
    if (direction->count < OFFLOAD_JOBS_MAX) {
        uint32_t place = (direction->first + direction->count) & (OFFLOAD_JOBS_MAX - 1);
        direction->waiting[place] = (struct offload_entry){.job = job, .argument = argument};
        direction->count += 1;
        result = threads_suffice_locked(direction);
        direction->count -= result == 0 ? 0 : 1;
        pthread_cond_signal(&direction->work);
    }
    pthread_mutex_unlock(&direction->lock);
    invariant(result <= 0);
    return result;
}

int os_linux_offload(void (*job)(void *argument), void *argument)
{
    return direction_take(&quick, job, argument);
}

int os_linux_offload_slow(void (*job)(void *argument), void *argument)
{
    return direction_take(&slow, job, argument);
}

int os_linux_offload_prepare(void)
{
    int result = 0;
    pthread_mutex_lock(&quick.lock);
    while (quick.threads < quick.threads_max && result == 0)
        result = thread_add_locked(&quick);
    pthread_mutex_unlock(&quick.lock);
    return result;
}
