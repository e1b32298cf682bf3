#include "base/check.h"
#include "machine/os_linux.h"

#include <errno.h>
#include <pthread.h>

/* Threads for short jobs; started when a job finds none idle, and kept. */
#define OFFLOAD_THREADS 2
/* Threads for jobs that may take seconds, mostly waiting for the network. */
#define OFFLOAD_SLOW_THREADS 16
/* Jobs that may wait for a thread; more are refused. */
#define OFFLOAD_JOBS_MAX 4096

struct offload_entry {
    void (*job)(void *argument);
    void *argument;
};

struct offload_lane {
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
static struct offload_lane quick = LANE_INIT(OFFLOAD_THREADS);
static struct offload_lane slow = LANE_INIT(OFFLOAD_SLOW_THREADS);
static_assert(IS_POWER_OF_TWO(OFFLOAD_JOBS_MAX), "the ring's index is a mask");

static struct offload_entry take_job(struct offload_lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    while (lane->count == 0) {
        lane->idle += 1;
        pthread_cond_wait(&lane->work, &lane->lock);
        lane->idle -= 1;
    }
    struct offload_entry entry = lane->waiting[lane->first];
    lane->first = (lane->first + 1) & (OFFLOAD_JOBS_MAX - 1);
    lane->count -= 1;
    pthread_mutex_unlock(&lane->lock);
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

/* Starts one more thread if there are more jobs than idle threads.  Returns 0, or -errno if there
 * is no thread at all. */
static int threads_suffice_locked(struct offload_lane *lane)
{
    if (lane->count <= lane->idle || lane->threads == lane->threads_max)
        return 0;
    int result = os_linux_spawn("offload", thread_main, lane, NULL);
    if (result == 0)
        lane->threads += 1;
    return lane->threads > 0 ? 0 : result;
}

static int lane_take(struct offload_lane *lane, void (*job)(void *argument), void *argument)
{
    int result = -EAGAIN;
    pthread_mutex_lock(&lane->lock);
    if (lane->count < OFFLOAD_JOBS_MAX) {
        uint32_t place = (lane->first + lane->count) & (OFFLOAD_JOBS_MAX - 1);
        lane->waiting[place] = (struct offload_entry){.job = job, .argument = argument};
        lane->count += 1;
        result = threads_suffice_locked(lane);
        lane->count -= result == 0 ? 0 : 1;
        pthread_cond_signal(&lane->work);
    }
    pthread_mutex_unlock(&lane->lock);
    invariant(result <= 0);
    return result;
}

int os_linux_offload(void (*job)(void *argument), void *argument)
{
    return lane_take(&quick, job, argument);
}

int os_linux_offload_slow(void (*job)(void *argument), void *argument)
{
    return lane_take(&slow, job, argument);
}
