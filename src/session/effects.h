#pragma once
/*
 * effects.h - heap copies of the effects that an SQL text may have on its session.
 *
 * A copy is kept while the reply to the text is outstanding, or while its statement exists.  Its
 * memory counts in memory_limit (counted.h).
 */
#include "base/fault.h"
#include "query/effects.h"

/** Reads the effects of a text.  *ret is NULL if the text has none.  MEMORY: the effects are
 *  unknown. */
fault effects_of_text(struct span text, struct query_effects **ret) MUST_USE;
struct query_effects *effects_copy(const struct query_effects *effects); /* NULL: no memory */
void effects_free(struct query_effects *effects);                        /* NULL-safe */
/** Returns the bytes that count in memory_limit; 0 for NULL. */
uint64_t effects_bytes(const struct query_effects *effects);
