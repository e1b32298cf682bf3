#include "machine/clock.h"
#include "machine/co.h"
#include "machine/offload.h"
#include "machine/os_linux_parts.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>

/* A job that says where it is and waits to be let go. */
struct work {
    struct offload_job job;
    pthread_t ran_on;
    bool gated;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int running, freed;
static bool open_gate;

static void add(int *count, int more)
{
    pthread_mutex_lock(&lock);
    *count += more;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void wait_until(const int *count, int min)
{
    pthread_mutex_lock(&lock);
    while (*count < min)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static int now_at(const int *count)
{
    pthread_mutex_lock(&lock);
    int value = *count;
    pthread_mutex_unlock(&lock);
    return value;
}

static void set_gate(bool is_open)
{
    pthread_mutex_lock(&lock);
    open_gate = is_open;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void work_run(struct offload_job *job)
{
    struct work *work = CONTAINER_OF(job, struct work, job);
    work->ran_on = pthread_self();
    add(&running, 1);
    pthread_mutex_lock(&lock);
    while (work->gated && !open_gate)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void work_free(struct offload_job *job)
{
    free(CONTAINER_OF(job, struct work, job));
    add(&freed, 1);
}

static struct work *work_new(bool gated)
{
    struct work *work = calloc(1, sizeof(*work));
    ck_assert_ptr_nonnull(work);
    work->job = (struct offload_job){.run = work_run, .free = work_free};
    work->gated = gated;
    return work;
}

static void run(void (*entry)(void *argument))
{
    ck_assert_int_eq(machine_run("test", entry, NULL), OK);
}

static void one_job(void *argument)
{
    struct work *work = work_new(false);
    ck_assert_int_eq(offload(&work->job, NEVER), OK);
    ck_assert(!pthread_equal(work->ran_on, pthread_self()));
    free(work);
    machine_stop();
}

TEST(a_job_runs_on_another_thread_and_comes_back)
{
    run(one_job);
    ck_assert_int_eq(now_at(&freed), 0);
}
END_TEST

static void late_job(void *argument)
{
    struct work *work = work_new(true);
    ck_assert_int_eq(offload(&work->job, after(ms(5))), FAULT_TIMEOUT);
    ck_assert_int_eq(now_at(&freed), 0);
    machine_stop();
}

TEST(a_job_that_is_late_is_freed_when_it_ends_after_its_machine)
{
    run(late_job);
    wait_until(&running, 1);
    set_gate(true);
    wait_until(&freed, 1);
}
END_TEST

static void cancelled_job(void *argument)
{
    struct work *work = work_new(true);
    ck_assert_int_eq(offload(&work->job, NEVER), FAULT_CANCELLED);
}

static void canceller(void *argument)
{
    struct co_group group;
    co_group_init(&group);
    ck_assert_int_eq(co_group_start(&group, cancelled_job, NULL, CO_SMALL), OK);
    while (now_at(&running) == 0)
        ck_assert_int_eq(co_sleep(ms(1)), OK);
    co_group_cancel(&group);
    co_group_join(&group);
    set_gate(true);
    machine_stop();
}

TEST(a_cancelled_wait_leaves_its_job_behind)
{
    run(canceller);
    wait_until(&freed, 1);
}
END_TEST

static void many_jobs_one(void *argument)
{
    int *done = argument;
    struct work *work = work_new(false);
    /* Some of these deadlines pass about when the job ends: either side may come first. */
    fault result = offload(&work->job, *done % 3 == 0 ? now_exact() : after(sec(20)));
    *done += 1;
    if (result == OK)
        free(work);
    else
        ck_assert_int_eq(result, FAULT_TIMEOUT);
}

static int many_done;

static void many_jobs(void *argument)
{
    struct co_group group;
    co_group_init(&group);
    for (int i = 0; i < 300; i++)
        ck_assert_int_eq(co_group_start(&group, many_jobs_one, &many_done, CO_SMALL), OK);
    co_group_join(&group);
    ck_assert_int_eq(many_done, 300);
    machine_stop();
}

TEST(every_job_is_disposed_of_once_whoever_comes_second)
{
    run(many_jobs);
    /* Those left behind are freed by their thread; the queue is in order, so one more is the last.
     */
    run(one_job);
    ck_assert_int_le(now_at(&freed), 300);
}
END_TEST

static void refused_job(void *argument)
{
    struct work *work = work_new(false);
    ck_assert_int_eq(offload(&work->job, NEVER), FAULT_SYSTEM);
    ck_assert_int_eq(now_at(&freed), 1);
    machine_stop();
}

static int refuse(void (*job)(void *argument), void *argument)
{
    return -EAGAIN;
}

TEST(a_job_that_is_refused_is_freed)
{
    static struct os full;
    full = os_linux;
    full.offload = refuse;
    os = &full;
    run(refused_job);
    os = &os_linux;
}
END_TEST

static void gated_job(void *argument UNUSED)
{
    add(&running, 1);
    pthread_mutex_lock(&lock);
    while (!open_gate)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    add(&freed, 1);
}

/* All threads of the direction are busy; those that wait are done in the end, the refused one is
 * not. */
static void lane_is_filled(int (*take)(void (*job)(void *argument), void *argument), int threads)
{
    for (int i = 0; i < threads; i++) {
        ck_assert_int_eq(take(gated_job, NULL), 0);
        wait_until(&running, i + 1);
    }
    for (int i = 0; i < 4096; i++)
        ck_assert_int_eq(take(gated_job, NULL), 0);
    ck_assert_int_eq(take(gated_job, NULL), -EAGAIN);
    ck_assert_int_eq(now_at(&running), threads);
    set_gate(true);
    wait_until(&freed, threads + 4096);
    ck_assert_int_eq(now_at(&running), threads + 4096);
    ck_assert_int_eq(take(gated_job, NULL), 0);
    wait_until(&freed, threads + 4097);
}

TEST(as_many_jobs_wait_as_may_and_one_more_is_refused)
{
    lane_is_filled(os_linux.offload, 2);
}
END_TEST

TEST(so_it_is_with_jobs_that_take_long)
{
    lane_is_filled(os_linux.offload_slow, 16);
}
END_TEST

TESTS("offload", a_job_runs_on_another_thread_and_comes_back,
      a_job_that_is_late_is_freed_when_it_ends_after_its_machine,
      a_cancelled_wait_leaves_its_job_behind, every_job_is_disposed_of_once_whoever_comes_second,
      a_job_that_is_refused_is_freed, as_many_jobs_wait_as_may_and_one_more_is_refused,
      so_it_is_with_jobs_that_take_long)
