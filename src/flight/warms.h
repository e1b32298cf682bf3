#pragma once
/*
 * warms.h - the statements that were answered from memory most often, to be executed again when
 * their answers are gone; and what became of that.
 *
 * One table for all threads, under a lock.  It counts a sample of the hits.  A full table gives the
 * place of the statement with the fewest hits to a new one, which begins with that count: so a
 * statement with more than one in WARMS_MAX of all hits is always among them.  Nothing suspends.
 */
#include "base/span.h"
#include "flight/l1.h"

/* Statements that are remembered, and the bytes of one with all that it needs. */
#define WARMS_MAX       512u
#define WARMS_BYTES_MAX 8192u

struct warms;

/* A statement with the database, the user and the parameters of its session; immutable and counted.
 */
struct warm {
    uint32_t references; /* atomic */
    uint64_t hits;       /* when it was listed, of the sample */
    struct span database;
    struct span user;
    struct span params;   /* of the session: params_write_flat() */
    struct span messages; /* as a client sends them, for the unnamed statement */
    uint8_t bytes[];
};

/** Makes an empty table; the caller owns it.  NULL without memory. */
struct warms *warms_new(void);
void warms_free(struct warms **warms); /* NULL-safe */
/** Counts a hit of this key.  True: the statement is not known, and is to be told by warms_add().
 */
bool warms_hit(struct warms *warms, const struct l1_key *key);
/** Adds the statement of a hit that was counted; copies it.  One that is too long is left out. */
void warms_add(struct warms *warms, const struct l1_key *key, const struct warm *about);
/** Lists statements by hits, most first; the caller owns a reference to each.  Returns how many. */
uint32_t warms_list(struct warms *warms, struct warm *ret[WARMS_MAX]);
void warm_unref(struct warm **warm); /* NULL-safe */

/* What became of statements that were to be executed again; each a row of the console. */
enum warms_count {
    WARMS_PRESENT, /* the answer was there */
    WARMS_STORED,
    WARMS_REFUSED, /* no rule stores its answer, or it may not be shared */
    WARMS_FAILED,  /* no server could be asked, the statement failed, or its answer was not kept */
    WARMS_COUNTS,
};
/** Counts one; any thread. */
void warms_count(struct warms *warms, enum warms_count what);
/** Adds to the number of statements that wait to be executed. */
void warms_left(struct warms *warms, int64_t more);
/** Reads the counts since the start, and how many statements wait now. */
void warms_stats(const struct warms *warms, uint64_t ret[WARMS_COUNTS], uint64_t *ret_left);
