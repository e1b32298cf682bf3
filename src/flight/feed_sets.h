#pragma once
/*
 * feed_sets.h - the tables and keys that each transaction of the feed has written, and those that
 * are unsettled.
 *
 * Pure steps over a table of generations.  One thread, that of the feed.  A transaction is raised
 * and held at its COMMIT, and held until a snapshot contains it.  Nothing here fails after
 * feed_sets_init(); without memory a key is unknown.  Design: docs/internals/feed.md
 */
#include "flight/feed_keys.h"
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
/* Slots of a transaction up to which it is told by keys; further rows are of unknown keys, so that
 * a transaction with many rows doesn't become one of the whole database. */
#define FEED_KEYED_SLOTS 32u

struct feed_unsettled {
    uint32_t from; /* ids of transactions; the same unless several are held together */
    uint32_t to;
    uint64_t number; /* in the order in which they were told */
    bool catalog;    /* it may have changed the catalog */
    struct generations_writes writes;
};

struct feed_sets {
    struct generations_table *table; /* borrowed */
    uint64_t database;
    struct feed_keys *keys;         /* borrowed; NULL: all keys are unknown */
    uint64_t changed;               /* position of the latest change of the catalog, or behind it */
    uint64_t number;                /* of transactions told */
    struct generations_writes open; /* of the transaction that is being told */
    uint32_t latest;                /* the table told last: rows of one come together */
    bool is_latest;
    bool keyed; /* its rows are told by `key` */
    struct feed_key key;
    struct buffer bytes;         /* of the values of a key */
    bool all;                    /* the open transaction may have changed anything */
    bool foreign;                /* it has a message that isn't ours */
    struct feed_unsettled *held; /* room for FEED_UNSETTLED_MAX */
    uint32_t count;
    bool overflowed; /* `rest` holds */
    struct feed_unsettled rest;
    struct feed_snapshot seen; /* the latest snapshot of the same primary */
};

/** Begins without any transaction.  `keys` may be NULL.  Faults: MEMORY. */
fault feed_sets_init(struct feed_sets *sets, struct generations_table *table, uint64_t database,
                     struct feed_keys *keys) MUST_USE;
/** Ends all holds, as feed_sets_clear(), and frees the memory. */
void feed_sets_fini(struct feed_sets *sets);

/** Takes the next event of the feed.  At a COMMIT its tables are raised, and held unless the latest
 *  snapshot contains it.  Faults: PROTOCOL (the slot decodes two phases, so it isn't ours). */
fault feed_sets_take(struct feed_sets *sets, const struct feed_event *event) MUST_USE;
/** Ends the holds of transactions that this snapshot contains, and of later ones that it contains
 *  when they are told. */
void feed_sets_settle(struct feed_sets *sets, const struct feed_snapshot *snapshot);
/** The catalog may have changed before this position without having been told of: what is told and
 *  was written before it counts as a write of the whole database. */
void feed_sets_begin(struct feed_sets *sets, uint64_t position);
/** Ends all holds and forgets the open transaction and the snapshot.  The caller holds the whole
 *  database meanwhile. */
void feed_sets_clear(struct feed_sets *sets);
/** How many transactions, or groups of them, are held. */
static inline uint32_t feed_sets_unsettled(const struct feed_sets *sets)
{
    return sets->count + sets->overflowed;
}
