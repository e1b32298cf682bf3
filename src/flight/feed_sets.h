#pragma once
/*
 * feed_sets.h - the tables that each transaction of the feed has written, and those that are
 * unsettled.
 *
 * Pure steps over a table of generations.  One thread, that of the feed.  A transaction is raised
 * and held at its COMMIT, and held until a snapshot contains it.  Nothing here fails or allocates
 * after feed_sets_init().  Design: docs/internals/feed.md
 */
#include "flight/feed_snapshot.h"
#include "flight/feed_stream.h"
#include "flight/generations.h"

/* Prefixes of messages in the log.  Any user may write such a message: a false one of DDL raises
 * too much, and a marker says nothing. */
#define FEED_PREFIX_DDL "trunkline.ddl" /* of the event triggers: the schema has changed */
#define FEED_PREFIX_MARKER                                                                         \
    "trunkline.marker" /* of probes, also other daemons', and of DDL on                            \
                          temporary objects */

/* Transactions of a feed that are unsettled one by one.  More are held together, as the whole
 * database. */
#define FEED_UNSETTLED_MAX 512u

struct feed_unsettled {
    uint32_t from; /* ids of transactions; the same unless several are held together */
    uint32_t to;
    struct generations_writes writes;
};

struct feed_sets {
    struct generations_table *table; /* borrowed */
    uint64_t database;
    struct generations_writes open; /* of the transaction that is being told */
    uint32_t latest;                /* the table added last: rows of one come together */
    bool is_latest;
    bool all;                    /* the open transaction may have changed anything */
    bool foreign;                /* it has a message that isn't ours */
    struct feed_unsettled *held; /* room for FEED_UNSETTLED_MAX */
    uint32_t count;
    bool overflowed; /* `rest` holds */
    struct feed_unsettled rest;
    struct feed_snapshot seen; /* the latest snapshot of the same primary */
};

/** Begins without any transaction.  Faults: MEMORY. */
fault feed_sets_init(struct feed_sets *sets, struct generations_table *table,
                     uint64_t database) MUST_USE;
/** Ends all holds, as feed_sets_clear(), and frees the memory. */
void feed_sets_fini(struct feed_sets *sets);

/** Takes the next event of the feed.  At a COMMIT its tables are raised, and held unless the latest
 *  snapshot contains it.  Faults: PROTOCOL (the slot decodes two phases, so it isn't ours). */
fault feed_sets_take(struct feed_sets *sets, const struct feed_event *event) MUST_USE;
/** Ends the holds of transactions that this snapshot contains, and of later ones that it contains
 *  when they are told. */
void feed_sets_settle(struct feed_sets *sets, const struct feed_snapshot *snapshot);
/** Ends all holds and forgets the open transaction and the snapshot.  The caller holds the whole
 *  database meanwhile. */
void feed_sets_clear(struct feed_sets *sets);
/** How many transactions, or groups of them, are held. */
static inline uint32_t feed_sets_unsettled(const struct feed_sets *sets)
{
    return sets->count + sets->overflowed;
}
