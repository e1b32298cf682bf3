#include "machine/context_parts.h"

#include <errno.h>

#if CONTEXT_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#if CONTEXT_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#ifndef VALGRIND_STACK_REGISTER
#define VALGRIND_STACK_REGISTER(low, high) 0
#define VALGRIND_STACK_DEREGISTER(id)      ((void)(id))
#endif

void context_init_thread(struct context *context)
{
    *context = (struct context){0};
#if CONTEXT_TSAN
    context->fiber = __tsan_get_current_fiber();
#endif
}

int context_init(struct context *context, void *bottom, size_t size, void (*entry)(void *argument),
                 void *argument)
{
    invariant(((uintptr_t)bottom + size) % 16 == 0);
    *context = (struct context){.point = context_prepare(bottom, size, entry, argument)};
    if (context->point == NULL)
        return -ENOMEM;
#if CONTEXT_ASAN
    context->bottom = bottom;
    context->size = size;
#endif
#if CONTEXT_TSAN
    context->fiber = __tsan_create_fiber(0);
#endif
    context->valgrind = VALGRIND_STACK_REGISTER(bottom, (char *)bottom + size);
    return 0;
}

void context_fini(struct context *context)
{
#if CONTEXT_TSAN
    __tsan_destroy_fiber(context->fiber);
#endif
    VALGRIND_STACK_DEREGISTER(context->valgrind);
    context_dispose(context->point);
    context->point = NULL;
}

#if CONTEXT_ASAN
/* The context that this thread switched away from last.  After a switch ASan reports the bounds of
 * the previous stack; so the bounds of thread stacks are known before a switch back to them. */
static _Thread_local struct context *context_left;

static void context_arrived(struct context *context)
{
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(context->fake, &bottom, &size);
    context_left->bottom = bottom;
    context_left->size = size;
}
#endif

void context_entered(struct context *context)
{
#if CONTEXT_ASAN
    context_arrived(context);
#else
    (void)context;
#endif
}

#if CONTEXT_ASAN || CONTEXT_TSAN
void context_switch(struct context *from, struct context *to)
{
#if CONTEXT_ASAN
    context_left = from;
    __sanitizer_start_switch_fiber(&from->fake, to->bottom, to->size);
#endif
#if CONTEXT_TSAN
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
    context_jump(&from->point, to->point);
#if CONTEXT_ASAN
    context_arrived(from);
#endif
}
#endif
