#include "machine/offload.h"

#include "base/check.h"
#include "machine/co.h"
#include "machine/loop.h"
#include "machine/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Two parties share an errand: the thread that runs the job, and the coroutine that waits.  Each
 * sets `state` once, atomically, when it is done with the errand; the second one frees it.
 *
 *   RUNNING --thread--> RAN --(mail)--> the coroutine frees the errand, the caller owns the job
 *   RUNNING --coroutine--> LEFT --thread--> the thread frees both
 */
enum errand_state { ERRAND_RUNNING, ERRAND_RAN, ERRAND_LEFT };

struct errand {
    struct mail mail; /* from the thread to the coroutine's machine */
    struct offload_job *job;
    struct machine *home;
    struct co *waiting;
    uint32_t state; /* atomic; enum errand_state */
    bool delivered; /* the mail has arrived: the thread is done with the errand */
};
static_assert(offsetof(struct errand, mail) == 0, "the envelope comes first");

static void errand_deliver(struct mail *mail)
{
    struct errand *errand = CONTAINER_OF(mail, struct errand, mail);
    errand->delivered = true;
    co_wake(errand->waiting);
}

/* Runs the job; on an offload thread. */
static void errand_run(void *argument)
{
    struct errand *errand = argument;
    errand->job->run(errand->job);
    machine_meet();
    uint32_t before = __atomic_exchange_n(&errand->state, ERRAND_RAN, __ATOMIC_ACQ_REL);
    if (before == ERRAND_LEFT) {
        errand->job->free(errand->job);
        free(errand);
        return;
    }
    invariant(before == ERRAND_RUNNING);
    mail_send(errand->home, &errand->mail);
}

/* Leaves the errand and its job to the thread; returns false if the job has run already. */
static bool errand_leave(struct errand *errand)
{
    uint32_t expected = ERRAND_RUNNING;
    machine_meet();
    return __atomic_compare_exchange_n(&errand->state, &expected, ERRAND_LEFT, false,
                                       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

fault offload(struct offload_job *job, deadline by)
{
    struct errand *errand = calloc(1, sizeof(*errand));
    fault result = OK;
    invariant(co_self() != NULL);
    if (errand == NULL) {
        job->free(job);
        return fault_raise(FAULT_SYSTEM, "no memory to offload a job");
    }
    *errand = (struct errand){
        .mail.deliver = errand_deliver, .job = job, .home = machine_self(), .waiting = co_self()};
    int started =
        job->blocks ? os->offload_slow(errand_run, errand) : os->offload(errand_run, errand);
    if (started != 0) {
        char text[96];
        free(errand);
        job->free(job);
        return fault_raise(FAULT_SYSTEM, "a job can't be offloaded: %s",
                           strerror_r(-started, text, sizeof(text)));
    }
    while (!errand->delivered && result == OK)
        result = co_wait(by);
    if (!errand->delivered && errand_leave(errand))
        return result;
    /* The job has run: its mail is about to arrive, and the machine must not end before that. */
    while (!errand->delivered)
        co_wait_through(NEVER);
    free(errand);
    return OK;
}
