#pragma once
/*
 * outlines.h - the outlines of many texts, by text, for all threads.
 *
 * Shards by the text's digest, each with a lock that is held for a look-up or an insertion.  Bytes
 * are bounded; CLOCK decides what stays.  An outline is found by the whole text.  Callable from any
 * thread; nothing suspends: relay/outline.h makes the outlines that are not there.
 */
#include "query/outline.h"

struct outlines;

/* The smallest table. */
#define OUTLINES_BYTES_MIN 65536u

/** Makes an empty table of at most `bytes_max` bytes (at least OUTLINES_BYTES_MIN); the caller owns
 *  it.  NULL without memory. */
struct outlines *outlines_new(uint64_t bytes_max);
void outlines_free(struct outlines **outlines); /* NULL-safe; no other thread may use it any more */

/** Returns the outline of a text, or NULL; the caller owns a reference.  Texts longer than
 *  QUERY_ANALYSIS_TEXT_MAX are never there. */
struct query_outline *outlines_find(struct outlines *outlines, struct span text);
/** Keeps a reference to the outline of a text, unless there is one of the same text.  False: it is
 *  too large, or there was no memory. */
bool outlines_store(struct outlines *outlines, struct span text, struct query_outline *outline);

/* Since the start, and now. */
struct outlines_stats {
    uint64_t entries, bytes, bytes_max;
    uint64_t hits, misses, evicted;
};

void outlines_stats(struct outlines *outlines, struct outlines_stats *ret);
