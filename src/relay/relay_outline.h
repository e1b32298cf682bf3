#pragma once
/*
 * relay_outline.h - the outline of a client's SQL text: from the table, or made on an offload
 * thread.
 *
 * All threads share one table (flight/outlines.h), so a text is analyzed once.  `text` may be the
 * body of a Query: a NUL ends it.
 */
#include "base/fault.h"
#include "base/span.h"
#include "base/time.h"

struct query_outline;
struct relay;

/** Returns the outline of a text as far as it is known without analyzing it; the caller owns a
 *  reference.  NULL: call relay_outline_learn. */
struct query_outline *relay_outline_find(const struct relay *relay, struct span text);
/** The same, but makes the outline if it is not known.  Copies the text.  Suspends, only in that
 *  case; the analysis goes on behind a TIMEOUT, and its result is dropped.  Faults: MEMORY,
 * TIMEOUT, CANCELLED, SYSTEM. */
fault relay_outline_learn(const struct relay *relay, struct span text, deadline by,
                          struct query_outline **ret) MUST_USE;
