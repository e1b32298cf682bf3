#pragma once
/*
 * context.h - one flow of control with a stack of its own, and the switch between two of them.
 *
 * Private to machine/.  A context belongs to one thread.  The switch keeps what the ABI calls
 * callee-saved (on x86-64 also the control words of SSE and x87), nothing else: errno and the
 * signal mask belong to the thread.  Sanitizers and Valgrind are told about every stack.  The entry
 * function never returns.
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

/* Instrumented frames are several times as large. */
#define CONTEXT_STACK_FACTOR (CONTEXT_ASAN || CONTEXT_TSAN ? 8 : 1)

struct context {
    void *point; /* where it was left: a stack pointer, or a ucontext */
#if CONTEXT_ASAN
    const void *bottom; /* learned when it is left */
    size_t size;
    void *fake;
#endif
#if CONTEXT_TSAN
    void *fiber;
#endif
    uint32_t valgrind;
};

/** The calling thread's own flow, as something to switch away from and back to. */
void context_init_thread(struct context *context);
/** Makes `context` start `entry(argument)` on the stack [`bottom`, `bottom` + `size`) when it is
 *  first switched to.  The stack is borrowed.  0 or -errno. */
int context_init(struct context *context, void *bottom, size_t size, void (*entry)(void *argument),
                 void *argument) MUST_USE;
/** It will never be switched to again. */
void context_fini(struct context *context);
/** The first thing that `entry` does. */
void context_entered(struct context *context);

/* By the assembly, or by ucontext: leaves the running flow in *save, goes on with `next`. */
void context_jump(void **save, void *next);
/** As context_init, for the machine-dependent part. */
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
