#pragma once
/*
 * check.h - invariants: facts that are proven, stated where the code relies on them.
 *
 * invariant() stays on in production and aborts.  costly_invariant() may walk a list and is
 * compiled out of releases (NDEBUG).  A condition that may fail at run time is not an invariant:
 * use an `if` and a fault.
 */
#include "base/compiler.h"

#define invariant(fact)                                                                            \
    (LIKELY(fact) ? (void)0 : invariant_failed(#fact, __FILE__, __LINE__, __func__))

#ifdef NDEBUG
#define costly_invariant(fact) ((void)0)
#else
#define costly_invariant(fact) invariant(fact)
#endif

/** Prints to stderr which invariant failed and where, then aborts.  Async-signal-safe. */
void invariant_failed(const char *fact, const char *file, int line,
                      const char *function) NORETURN COLD;
