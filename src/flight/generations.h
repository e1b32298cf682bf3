#pragma once
/*
 * generations.h - counts of writes per table, so that an answer from memory is never older than a
 * write that could be seen.
 *
 * An execution captures the generations of what it reads before it is sent; its answer is used only
 * while they are unchanged.  All threads share one table; every function may be called from any
 * thread and never blocks.  The sets belong to their callers.  Design: docs/internals/flight.md
 *
 * Memory is bounded: tables and keys are hashed onto a fixed array of slots.  Two that share a slot
 * are raised and held together, so a collision can only hide an answer that was still good: a write
 * touches at least the slot of its own table, and a reader of that table compares at least that
 * slot.
 *
 * Why no stale answer is served or stored.  A writer does, per slot and in this order,
 *     hold += 1;  (the commit becomes visible);  generation += 1;  hold -= 1
 * or, for a transaction that was decoded before it was visible ("unsettled"),
 *     hold += 1;  generation += 1;  (the commit becomes visible);  hold -= 1.
 * A reader loads generation, hold, generation (acquire); it goes on only if hold is 0 and both
 * generations are equal.  All steps of the writer are release operations on atomics, and both words
 * are changed only by read-modify-write, so that later changes continue the release sequence:
 *  1. Hit.  The request came after the commit was visible, so the first `hold += 1` was before.  If
 *     the reader loads hold 0, it has read from, or behind, `hold -= 1`; that acquires
 *     `generation += 1`, and the second load of the generation sees it: it differs from that of any
 *     answer that was captured before the increment.
 *  2. Capture.  If the first load sees the increment, then in the first order the commit is visible
 *     and the execution, sent after the capture, sees it.  In the second order that load acquires
 *     `hold += 1`: the load of hold sees it (refused), or its end, and then the commit is visible.
 *  3. Store.  The entry keeps the captured generations, and each hit compares them (1).  A store
 *     that races with an increment stores an entry which no look-up returns.
 *  4. `hold += 1` is sequentially consistent and is followed by the system call that sends the
 *     commit; no client can have seen the commit before that call.
 */
#include "base/check.h"
#include "base/span.h"

struct generations_table;

/* Tables and keys that one statement may read, or one transaction write, slot by slot. */
#define GENERATIONS_SET_MAX 64u
/* Slots of a table: 16 bytes each. */
#define GENERATIONS_SLOTS_MIN     64u
#define GENERATIONS_SLOTS_MAX     16777216u
#define GENERATIONS_SLOTS_DEFAULT 65536u

/* What an execution reads: the slots of its database, catalog, tables and keys. */
struct generations_reads {
    uint64_t database;
    uint32_t count;
    uint32_t slots[GENERATIONS_SET_MAX];
};

enum generations_hold { GENERATIONS_FREE, GENERATIONS_DOUBT, GENERATIONS_UNSETTLED };

/* What a transaction writes.  A set is not changed while it holds its slots. */
struct generations_writes {
    uint64_t database;
    uint32_t count;
    uint32_t slots[GENERATIONS_SET_MAX];
    enum generations_hold hold;
};

enum generations_state {
    GENERATIONS_CURRENT, /* nothing has changed since the capture */
    GENERATIONS_HELD,    /* a write is in doubt or unsettled: nothing may be served or stored now */
    GENERATIONS_CHANGED, /* for good */
};

/** Makes a table with this number of slots, a power of two within the limits; the caller owns it.
 *  NULL without memory. */
struct generations_table *generations_table_new(uint32_t slots);
/** NULL-safe.  No set may hold any more. */
void generations_table_free(struct generations_table **table);
/** Returns the number that stands for a database of a service in the functions below.  If two have
 *  the same, a write to one also changes the other. */
uint64_t generations_database(const struct generations_table *table, struct span service,
                              struct span database);
/** Returns how often the catalog of the database has changed, for keys.  What is captured before an
 *  analysis and unchanged behind it is the catalog that the analysis saw, or a newer one. */
uint64_t generations_catalog(const struct generations_table *table, uint64_t database);

/** Begins the set of an execution in this database; it has the database and its catalog. */
void generations_reads_init(const struct generations_table *table, struct generations_reads *reads,
                            uint64_t database);
/** Adds what is written with the whole of another database; the set has two slots only. */
void generations_reads_database(const struct generations_table *table,
                                struct generations_reads *reads, uint64_t other);
/** Adds a whole table.  False: the set is full, and the statement must go to the server. */
bool generations_reads_table(const struct generations_table *table, struct generations_reads *reads,
                             uint32_t relation) MUST_USE;
/** Adds the rows of a table with one value of the primary key; `key` is a digest of the value.
 *  False: the set is full. */
bool generations_reads_key(const struct generations_table *table, struct generations_reads *reads,
                           uint32_t relation, uint64_t key) MUST_USE;

/** Begins an empty set of writes in this database. */
void generations_writes_init(struct generations_writes *writes, uint64_t database);
/** Adds a whole table: rows of unknown keys.  A full set becomes the whole database. */
void generations_writes_table(const struct generations_table *table,
                              struct generations_writes *writes, uint32_t relation);
/** Adds the rows of one primary key.  An update that changes the key adds both values.  A full set
 *  becomes the whole database. */
void generations_writes_key(const struct generations_table *table,
                            struct generations_writes *writes, uint32_t relation, uint64_t key);
/** Makes the set the whole database: writes whose tables are not known. */
void generations_writes_database(const struct generations_table *table,
                                 struct generations_writes *writes);
/** Makes the set the whole database and its catalog: a command that may change the schema, or what
 *  a role may read. */
void generations_writes_catalog(const struct generations_table *table,
                                struct generations_writes *writes);

/** Holds the slots, before the message is sent that may commit these writes. */
void generations_doubt(struct generations_table *table, struct generations_writes *writes);
/** Raises the generations, after the answer to the commit was read and before any of it goes out.
 */
void generations_raise(struct generations_table *table, const struct generations_writes *writes);
/** Ends the doubt: at ReadyForQuery, or when the backend is known to be gone.  The generations must
 *  have been raised unless the transaction certainly did not commit. */
void generations_doubt_end(struct generations_table *table, struct generations_writes *writes);
/** Holds the slots and then raises them: the feed has reported these writes, which may not be
 *  visible yet. */
void generations_unsettle(struct generations_table *table, struct generations_writes *writes);
/** Ends that hold: a snapshot of the same primary contains the transaction. */
void generations_settle(struct generations_table *table, struct generations_writes *writes);

/** Captures the generations before an execution is sent.  False: one is held, and the answer may be
 *  neither stored nor joined; `ret` is then unchanged. */
bool generations_capture(const struct generations_table *table,
                         const struct generations_reads *reads, uint64_t *ret) MUST_USE;
/** Compares the generations of `count` slots with what was captured for them. */
enum generations_state generations_check(const struct generations_table *table,
                                         const uint32_t *slots, uint32_t count, uint64_t captured);
