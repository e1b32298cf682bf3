#pragma once
/*
 * learned.h - the statements that firewalls have seen: all of them in mode `learn`, in other modes
 * those that a rule denies.
 *
 * One table for the process, behind a lock; it outlives reloads.  A statement is known by its route
 * and its fingerprint.  A full table takes no further ones and counts them.  From any thread;
 * nothing suspends.
 */
#include "base/span.h"
#include "base/time.h"

/* Statements of all routes. */
#define LEARNED_MAX 10000u
/* Bytes of a text that are kept. */
#define LEARNED_TEXT_MAX 200u
#define LEARNED_NAME_MAX 64u

struct learned;

/* A statement, as it is noted or shown. */
struct learned_view {
    char database[LEARNED_NAME_MAX]; /* of the route, as in its file; "*": any */
    char user[LEARNED_NAME_MAX];
    uint64_t fingerprint;
    uint64_t calls;
    uint64_t denied;             /* of these: they were refused */
    char rule[LEARNED_NAME_MAX]; /* what denied the latest one; "": it was allowed */
    moment last;
    uint32_t text_size;
    char text[LEARNED_TEXT_MAX]; /* the beginning, without constants */
};

/** Makes an empty table; the caller owns it.  NULL without memory. */
struct learned *learned_new(void);
void learned_free(struct learned **learned); /* NULL-safe */
/** Counts one call of a statement: `calls` and `denied` of the view are what is added. */
void learned_note(struct learned *learned, const struct learned_view *view);
/** Copies up to `max` statements behind those that earlier calls with this cursor, 0 at first, have
 *  copied.  Returns how many: 0 at the end. */
uint32_t learned_views(struct learned *learned, uint32_t *cursor, struct learned_view *views,
                       uint32_t max);
/** Removes all.  Returns how many. */
uint32_t learned_forget(struct learned *learned);
/** How many statements found the table full, or no memory. */
uint64_t learned_missed(struct learned *learned);
