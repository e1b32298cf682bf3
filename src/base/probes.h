#pragma once
/*
 * probes.h - static probes, for tracers such as bpftrace and perf: provider `trunkline`.
 *
 * Private to this program: it is not installed with the libraries.
 * A probe is one no-op and a note in the program that says where its arguments are.  Without a
 * tracer nothing else happens.  Arguments on a hot path must be values at hand: variables, or
 * members of what a variable points to; a call or a second pointer costs instructions.
 * All probes and their arguments: docs/tracing.md, which a test holds against the program.
 */
#include <stdbool.h>

#ifdef WITH_PROBES
#include <sys/sdt.h>
/* As STAP_PROBE4() and its like, but `inline`: else the compiler takes the lines of the note for
 * instructions, and does not inline the function around it. */
#define PROBE_NOTE(name, n, ...)                                                                   \
    __asm__ __volatile__ __inline__(STAP_PROBE_ASM(                                                \
        trunkline, name, STAP_PROBE_ASM_TEMPLATE(n))::STAP_PROBE_ASM_OPERANDS(n, __VA_ARGS__))
#define PROBE1(name, a)             PROBE_NOTE(name, 1, a)
#define PROBE2(name, a, b)          PROBE_NOTE(name, 2, a, b)
#define PROBE3(name, a, b, c)       PROBE_NOTE(name, 3, a, b, c)
#define PROBE4(name, a, b, c, d)    PROBE_NOTE(name, 4, a, b, c, d)
#define PROBE5(name, a, b, c, d, e) PROBE_NOTE(name, 5, a, b, c, d, e)
#else
/* The arguments count as used, and are not evaluated. */
#define PROBE_NONE(...)                                                                            \
    do {                                                                                           \
        if (false)                                                                                 \
            __VA_ARGS__;                                                                           \
    } while (false)
#define PROBE1(name, a)          PROBE_NONE((void)(a))
#define PROBE2(name, a, b)       PROBE_NONE((void)(a), (void)(b))
#define PROBE3(name, a, b, c)    PROBE_NONE((void)(a), (void)(b), (void)(c))
#define PROBE4(name, a, b, c, d) PROBE_NONE((void)(a), (void)(b), (void)(c), (void)(d))
#define PROBE5(name, a, b, c, d, e)                                                                \
    PROBE_NONE((void)(a), (void)(b), (void)(c), (void)(d), (void)(e))
#endif
