#pragma once
/*
 * feed_snapshot.h - which transactions a snapshot of the primary contains.
 *
 * Pure.  The text is that of pg_snapshot, "xmin:xmax:xip,xip,...", with ids of 64 bits; the feed's
 * ids are their lower halves.  Only ids of top transactions may be asked for: a snapshot doesn't
 * list the others.  Design: docs/internals/feed.md
 */
#include "base/fault.h"

/* Running transactions that are kept of a snapshot.  Of one that has more, those from the first
 * that isn't kept on count as not contained. */
#define FEED_RUNNING_MAX 1024u

struct feed_snapshot {
    uint64_t xmin; /* all before it are contained, or were undone */
    uint64_t xmax; /* none from here on is contained; 0: nothing is */
    bool cut;      /* it was longer, and ends here at an earlier xmax */
    uint32_t count;
    uint64_t running[FEED_RUNNING_MAX]; /* between them, in order: not contained */
};

/** Reads the text of a pg_snapshot.  Faults: PROTOCOL. */
fault feed_read_snapshot(struct span text, struct feed_snapshot *ret) MUST_USE;
void feed_snapshot_copy(struct feed_snapshot *to, const struct feed_snapshot *from);
/** Makes an id whole of its lower half: ids in use are less than 2^31 apart.  False: there was no
 *  such transaction. */
bool feed_snapshot_whole(const struct feed_snapshot *snapshot, uint32_t xid, uint64_t *ret);
/** Whether it contains the transaction, if that has ended. */
bool feed_snapshot_shows(const struct feed_snapshot *snapshot, uint64_t id);
/** Whether it contains all transactions that have ended whose ids are in this range, ends included,
 *  which is given by the lower halves of ids: `to` is `from` or a later one. */
bool feed_snapshot_has(const struct feed_snapshot *snapshot, uint32_t from, uint32_t to);
