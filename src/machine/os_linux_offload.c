#include "base/check.h"
#include "machine/os_linux.h"

#include <errno.h>
#include <pthread.h>

/* Threads that may block; started one by one as jobs find none idle, and kept. */
#define OFFLOAD_THREADS 2
/* Jobs that wait for a thread; more are refused. */
#define OFFLOAD_JOBS_MOST 4096

struct offload_entry {
    void (*job)(void *argument);
    void *argument;
};

static struct {
    pthread_mutex_t lock; /* guards everything; not held while a job runs */
    pthread_cond_t work;
    struct offload_entry waiting[OFFLOAD_JOBS_MOST]; /* a ring */
    uint32_t first;
    uint32_t count;
    uint32_t threads;
    uint32_t idle; /* threads that wait for work and were not called yet */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER};
static_assert(IS_POWER_OF_TWO(OFFLOAD_JOBS_MOST), "the ring's index is a mask");

static struct offload_entry take_job(void)
{
    pthread_mutex_lock(&pool.lock);
    while (pool.count == 0) {
        pool.idle += 1;
        pthread_cond_wait(&pool.work, &pool.lock);
        pool.idle -= 1;
    }
    struct offload_entry entry = pool.waiting[pool.first];
    pool.first = (pool.first + 1) & (OFFLOAD_JOBS_MOST - 1);
    pool.count -= 1;
    pthread_mutex_unlock(&pool.lock);
    return entry;
}

/* Ends with the process: a job that blocks for ever must not keep it. */
static void thread_main(void *argument)
{
    for (;;) {
        struct offload_entry entry = take_job();
        entry.job(entry.argument);
    }
}

/* One more thread if the jobs outnumber the idle ones; with one at least, its failure is no harm.
 */
static int threads_suffice_locked(void)
{
    if (pool.count <= pool.idle || pool.threads == OFFLOAD_THREADS)
        return 0;
    int result = os_linux_spawn("offload", thread_main, NULL, NULL);
    if (result == 0)
        pool.threads += 1;
    return pool.threads > 0 ? 0 : result;
}

int os_linux_offload(void (*job)(void *argument), void *argument)
{
    int result = -EAGAIN;
    pthread_mutex_lock(&pool.lock);
    if (pool.count < OFFLOAD_JOBS_MOST) {
        uint32_t place = (pool.first + pool.count) & (OFFLOAD_JOBS_MOST - 1);
        pool.waiting[place] = (struct offload_entry){.job = job, .argument = argument};
        pool.count += 1;
        result = threads_suffice_locked();
        pool.count -= result == 0 ? 0 : 1;
        pthread_cond_signal(&pool.work);
    }
    pthread_mutex_unlock(&pool.lock);
    invariant(result <= 0);
    return result;
}
