#pragma once
/*
 * compiler.h - attributes and macros that every file may use.
 *
 * Nothing here allocates or calls.  OWNED and TAKE express ownership: an OWNED variable is freed at
 * the end of its scope by its type's free function; TAKE moves the value out.
 */
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE          __attribute__((warn_unused_result))
#define UNUSED            __attribute__((unused))
#define NORETURN          __attribute__((noreturn))
#define COLD              __attribute__((cold, noinline))
#define NEVER_INLINE      __attribute__((noinline))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define LIKELY(fact)      __builtin_expect(!!(fact), 1)
#define UNLIKELY(fact)    __builtin_expect(!!(fact), 0)

#define ARRAY_SIZE(array)  (sizeof(array) / sizeof((array)[0]))
#define IS_POWER_OF_TWO(n) ((n) != 0 && ((n) & ((n)-1)) == 0)
#define MIN_OF(a, b)       ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b)       ((a) > (b) ? (a) : (b))

/* For a part of a hot loop that the compiler takes out of line when the loop grows. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

/* The object of type `type` whose member `field` is at `pointer`. */
#define CONTAINER_OF(pointer, type, field) ((type *)((char *)(pointer)-offsetof(type, field)))

/* type##_free gets the address of the pointer, accepts a NULL pointer, and sets it to NULL. */
#define OWNED(type) __attribute__((cleanup(type##_free))) struct type *
#define TAKE(p)                                                                                    \
    ({                                                                                             \
        __auto_type taken_ = (p);                                                                  \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })
