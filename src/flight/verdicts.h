#pragma once
/*
 * verdicts.h - the verdicts of many texts, by key, for all threads.
 *
 * The caller makes the key's bytes: all that a verdict depends on, which is service, database,
 * login user, role, search_path, client_encoding, standard_conforming_strings, the generation of
 * the catalog (generations_catalog, read before the question was sent) and the text.  Verdicts are
 * found by the whole key.  A catalog that changes makes new keys; the old ones are evicted in time.
 *
 * A table of digests.h, with its bounds.  Callable from any thread; nothing suspends.  Design:
 * docs/internals/flight.md
 */
#include "flight/digests.h"
#include "flight/verdict.h"

struct verdicts;

/* The smallest table. */
#define VERDICTS_BYTES_MIN DIGESTS_BYTES_MIN
/* The longest key. */
#define VERDICTS_KEY_MAX DIGESTS_KEY_MAX

/** Makes an empty table of at most `bytes_max` bytes (at least VERDICTS_BYTES_MIN); the caller owns
 *  it.  NULL without memory. */
struct verdicts *verdicts_new(uint64_t bytes_max);
void verdicts_free(struct verdicts **verdicts); /* NULL-safe; no other thread may use it any more */
/** Sets a new limit and evicts down to it. */
void verdicts_bound(struct verdicts *verdicts, uint64_t bytes_max);

/** Returns the verdict of a key, or NULL; the caller owns a reference.  Counts the look-up, and the
 *  reason of the verdict. */
struct verdict *verdicts_find(struct verdicts *verdicts, struct span key);
/** Keeps a reference to a verdict, in place of one with the same key.  False: it or its key is too
 *  large, or there was no memory. */
bool verdicts_store(struct verdicts *verdicts, struct span key, struct verdict *verdict);
/** Removes all. */
void verdicts_clear(struct verdicts *verdicts);

struct verdicts_stats {
    struct digests_stats table;
    uint64_t reasons[VERDICT_REASONS + 1]; /* hits and stores by reason; the last one: none */
};

void verdicts_stats(struct verdicts *verdicts, struct verdicts_stats *ret);
