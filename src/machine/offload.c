#include "machine/offload.h"

#include "base/check.h"
#include "machine/co.h"
#include "machine/loop_parts.h"
#include "machine/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Two parties share an call: the thread that runs the job, and the coroutine that waits.  Each
 * sets `state` once, atomically, when it is done with the call; the second one frees it.
 *
 *   RUNNING --thread--> RAN --(mail)--> the coroutine frees the call, the caller owns the job
 *   RUNNING --coroutine--> LEFT --thread--> the thread frees both
 */
enum call_state { CALL_RUNNING, CALL_RAN, CALL_LEFT };

struct offload_call {
    struct mail mail; /* from the thread to the coroutine's machine */
    struct offload_job *job;
    struct machine *home;
    struct co *waiting;
    uint32_t state; /* atomic; enum call_state */
    bool delivered; /* the mail has arrived: the thread is done with the call */
};
static_assert(offsetof(struct offload_call, mail) == 0, "the envelope comes first");

static void call_deliver(struct mail *mail)
{
    struct offload_call *call = CONTAINER_OF(mail, struct offload_call, mail);
    call->delivered = true;
    co_wake(call->waiting);
}

/* Runs the job; on an offload thread. */
static void call_run(void *argument)
{
    struct offload_call *call = argument;
    call->job->run(call->job);
    machine_meet();
    uint32_t before = __atomic_exchange_n(&call->state, CALL_RAN, __ATOMIC_ACQ_REL);
    if (before == CALL_LEFT) {
        call->job->free(call->job);
        free(call);
        return;
    }
    invariant(before == CALL_RUNNING);
    mail_send(call->home, &call->mail);
}

/* Leaves the call and its job to the thread; returns false if the job has run already. */
static bool call_leave(struct offload_call *call)
{
    uint32_t expected = CALL_RUNNING;
    machine_meet();
    return __atomic_compare_exchange_n(&call->state, &expected, CALL_LEFT, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

fault offload(struct offload_job *job, deadline by)
{
    struct offload_call *call = calloc(1, sizeof(*call));
    fault result = OK;
    invariant(co_self() != NULL);
    if (call == NULL) {
        job->free(job);
        return fault_raise(FAULT_SYSTEM, "no memory to offload a job");
    }
    *call = (struct offload_call){
        .mail.deliver = call_deliver, .job = job, .home = machine_self(), .waiting = co_self()};
    int started = job->blocks ? os->offload_slow(call_run, call) : os->offload(call_run, call);
    if (started != 0) {
        char text[96];
        free(call);
        job->free(job);
        return fault_raise(FAULT_SYSTEM, "a job can't be offloaded: %s",
                           strerror_r(-started, text, sizeof(text)));
    }
    while (!call->delivered && result == OK)
        result = co_wait(by);
    if (!call->delivered && call_leave(call))
        return result;
    /* The job has run: its mail is about to arrive, and the machine must not end before that. */
    while (!call->delivered)
        co_wait_through(NEVER);
    free(call);
    return OK;
}
