#pragma once
/*
 * outlines.h - the outlines of many texts, by text, for all threads.
 *
 * A table of digests.h, with its bounds.  Callable from any thread; nothing suspends:
 * relay/relay_outline.h makes the outlines that are not there.
 */
#include "flight/digests.h"
#include "query/outline.h"

struct outlines;

/* The smallest table. */
#define OUTLINES_BYTES_MIN DIGESTS_BYTES_MIN

/** Makes an empty table of at most `bytes_max` bytes (at least OUTLINES_BYTES_MIN); the caller owns
 *  it.  NULL without memory. */
struct outlines *outlines_new(uint64_t bytes_max);
void outlines_free(struct outlines **outlines); /* NULL-safe; no other thread may use it any more */

/** Returns the outline of a text, or NULL; the caller owns a reference.  Texts longer than
 *  QUERY_ANALYSIS_TEXT_MAX are never there. */
struct query_outline *outlines_find(struct outlines *outlines, struct span text);
/** Keeps a reference to the outline of a text, unless there is one of the same text.  False: there
 * is one, it is too large, or there was no memory. */
bool outlines_store(struct outlines *outlines, struct span text, struct query_outline *outline);

void outlines_stats(struct outlines *outlines, struct digests_stats *ret);
