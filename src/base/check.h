#pragma once
/*
 * check.h - facts that are proven, stated where they are relied on.
 *
 * invariant() stays on in production and aborts; costly_invariant() may walk a list and is
 * compiled out of releases (NDEBUG).  Doubt is not an invariant: it gets an `if` and a fault.
 */
#include "base/compiler.h"

#define invariant(fact)                                                                            \
    (LIKELY(fact) ? (void)0 : invariant_failed(#fact, __FILE__, __LINE__, __func__))

#ifdef NDEBUG
#define costly_invariant(fact) ((void)0)
#else
#define costly_invariant(fact) invariant(fact)
#endif

/** Says on stderr which fact did not hold, and aborts.  Async-signal-safe. */
void invariant_failed(const char *fact, const char *file, int line,
                      const char *function) NORETURN COLD;
