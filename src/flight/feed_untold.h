#pragma once
/*
 * feed_untold.h - the transactions that a snapshot of the primary shows and the log has not told.
 *
 * A request need not wait for the end of the log, which may be unflushed for long: it is enough
 * that each transaction that it could see has been told.  A transaction that is never told (one of
 * another database, an aborted one, a subtransaction) has an id like others, so it is waited for
 * until the feed has passed the end of the log as of a probe.  Pure, on the feed's thread.  Design:
 * docs/internals/feed.md
 */
#include "flight/feed_snapshot.h"

/* Transactions of one probe that are waited for by their ids; with more, only the position counts.
 */
#define FEED_UNTOLD_MAX 256u
/* Ids of told transactions that are remembered, by their lower bits. */
#define FEED_TOLD_SLOTS 4096u

struct feed_untold {
    bool based; /* all that `base` shows has been told */
    struct feed_snapshot base;
    bool waits; /* for all that `next` shows */
    struct feed_snapshot next;
    uint64_t position; /* the end of the log as of `next` */
    bool counted;      /* `ids` are all that is missing */
    uint32_t count;
    uint64_t ids[FEED_UNTOLD_MAX];
    uint64_t told[FEED_TOLD_SLOTS];
};

/** Begins a session: nothing has been told. */
void feed_untold_init(struct feed_untold *untold);
/** Notes that a transaction was told and its tables were raised.  `xid`: the lower half of its id.
 */
void feed_untold_tell(struct feed_untold *untold, uint32_t xid);
/** Notes the answer of a probe, unless one with an earlier position is waited for.  One with the
 * same position replaces it: tickets of both are answered by that position, and a transaction whose
 *  commit was in the log before both may be visible to the later one alone. */
void feed_untold_probe(struct feed_untold *untold, const struct feed_snapshot *snapshot,
                       uint64_t position);
/** Returns the position up to which probes' tickets may be answered: `passed`, or that of the probe
 *  that was waited for, if all that its snapshot shows has been told. */
uint64_t feed_untold_passed(struct feed_untold *untold, uint64_t passed);
