#pragma once
/*
 * effects.h - what a text may do to its session, kept on the heap for as long as its answer is
 * outstanding or its statement lives.
 *
 * It counts in memory_limit like everything that a client can make grow (counted.h).
 */
#include "base/fault.h"
#include "query/effects.h"

/** What the text may do; NULL: nothing.  MEMORY: it is not known. */
fault effects_of_text(struct span text, struct query_effects **ret) MUST_USE;
struct query_effects *effects_copy(const struct query_effects *effects); /* NULL: no memory */
void effects_free(struct query_effects *effects);                        /* NULL-safe */
/** What of them counts in memory_limit; 0 for NULL. */
uint64_t effects_bytes(const struct query_effects *effects);
