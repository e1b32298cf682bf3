#pragma once
/*
 * context_parts.h - a flow of control with a stack of its own, and the switch between two of them.
 *
 * Private to machine/.  A context belongs to one thread.  The switch preserves the callee-saved
 * registers of the ABI, on x86-64 with the control words of SSE and x87, and nothing else: errno
 * and the signal mask belong to the thread.  Sanitizers and Valgrind are notified of every stack.
 * The entry function never returns.
 */
#include "base/check.h"

#if defined(__SANITIZE_ADDRESS__)
#define CONTEXT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CONTEXT_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define CONTEXT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CONTEXT_TSAN 1
#endif
#endif
#ifndef CONTEXT_ASAN
#define CONTEXT_ASAN 0
#endif
#ifndef CONTEXT_TSAN
#define CONTEXT_TSAN 0
#endif

/* Sanitizers make stack frames several times as large. */
#define CONTEXT_STACK_FACTOR (CONTEXT_ASAN || CONTEXT_TSAN ? 8 : 1)

struct context {
    void *point; /* the suspended state: a stack pointer, or a ucontext */
#if CONTEXT_ASAN
    const void *bottom; /* of a thread's stack: known after the first switch away */
    size_t size;
    void *fake;
#endif
#if CONTEXT_TSAN
    void *fiber;
#endif
    uint32_t valgrind;
};

/** Initializes the context of the calling thread's own stack, to switch away from and back to. */
void context_init_thread(struct context *context);
/** Prepares `context`: the first switch to it calls `entry(argument)` on the stack [`bottom`,
 *  `bottom` + `size`).  The stack is borrowed.  Returns 0 or -errno. */
int context_init(struct context *context, void *bottom, size_t size, void (*entry)(void *argument),
                 void *argument) MUST_USE;
/** Frees a context that is never switched to again; the stack stays. */
void context_fini(struct context *context);
/** Completes the first switch; `entry` calls it before anything else. */
void context_entered(struct context *context);

/* Implemented in assembly or with ucontext: stores the running flow in *save, continues `next`. */
void context_jump(void **save, void *next);
/** The processor-dependent part of context_init: returns the initial `point`; NULL: no memory. */
void *context_prepare(void *bottom, size_t size, void (*entry)(void *argument), void *argument);
void context_dispose(void *point);

#if CONTEXT_ASAN || CONTEXT_TSAN
void context_switch(struct context *from, struct context *to);
#else
static inline void context_switch(struct context *from, struct context *to)
{
    context_jump(&from->point, to->point);
}
#endif
