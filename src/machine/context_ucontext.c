/* context_ucontext.c - contexts of coroutines by ucontext, where there is no assembly. */
#include "machine/context_parts.h"

#include <signal.h>
#include <stdlib.h>
#include <ucontext.h>

/*
 * The portable switch, for processors without assembly here; it makes system calls at each switch.
 * `point` is a ucontext on the heap, kept until context_fini.  A thread's own flow uses one on its
 * stack while it is suspended.
 */

struct flow {
    ucontext_t context;
    void (*entry)(void *argument);
    void *argument;
};

/* Gets the pointer in two halves, because makecontext passes ints only. */
static void flow_begin(unsigned high, unsigned low)
{
    struct flow *flow = (struct flow *)(((uintptr_t)high << 16 << 16) | low);
    flow->entry(flow->argument);
    invariant(!"a flow's entry returned");
}

void *context_prepare(void *bottom, size_t size, void (*entry)(void *argument), void *argument)
{
    struct flow *flow = calloc(1, sizeof(*flow));
    if (flow == NULL)
        return NULL;
    flow->entry = entry;
    flow->argument = argument;
    getcontext(&flow->context);
    flow->context.uc_stack.ss_sp = bottom;
    flow->context.uc_stack.ss_size = size;
    makecontext(&flow->context, (void (*)(void))flow_begin, 2,
                (unsigned)((uintptr_t)flow >> 16 >> 16), (unsigned)(uintptr_t)flow);
    return flow;
}

void context_dispose(void *point)
{
    free(point);
}

void context_jump(void **save, void *next)
{
    struct flow here;
    struct flow *from = *save != NULL ? *save : &here;
    struct flow *to = next;
    *save = from;
    /* The signal mask belongs to the thread, but swapcontext restores the one in `to`. */
    pthread_sigmask(SIG_SETMASK, NULL, &to->context.uc_sigmask);
    swapcontext(&from->context, &to->context);
    if (from == &here)
        *save = NULL;
}
