#pragma once
/*
 * feed_keys.h - the primary keys of tables that statements read by one value of the key, so that a
 * feed can tell which rows were written.
 *
 * One table of keys per origin.  A runner that executes a statement declares the key of its table,
 * as its verdict has it; the feed of the origin looks it up for each table that it tells of.  All
 * keys are those of one generation of the catalog and are forgotten with it.  Any thread; nothing
 * suspends. Why no stale answer comes of it: docs/internals/feed.md
 */
#include "flight/feed_text.h"
#include "flight/generations.h"
#include "flight/verdict.h"

/* Tables whose keys are kept. */
#define FEED_KEYS_MAX 1024u

/* A column of a primary key. */
struct feed_key_column {
    enum verdict_key_type type;
    struct feed_name name;
};

/* A primary key. */
struct feed_key {
    uint32_t count; /* of columns, at least one */
    struct feed_key_column columns[VERDICT_KEYS_MAX];
};

struct feed_keys;

/** Makes an empty table for a database; the caller owns it.  NULL without memory. */
struct feed_keys *feed_keys_new(const struct generations_table *generations, uint64_t database);
void feed_keys_free(struct feed_keys **keys); /* NULL-safe */

/** Takes the key of a table from a verdict that was made in this generation of the catalog.  True:
 *  each write that is told from now on, in this generation, tells the values of this key or counts
 *  as a write of all of them.  False: it may tell the values of another key, there is no room, or
 *  the catalog has changed: the statement has to count as one that reads the whole table. */
bool feed_keys_declare(struct feed_keys *keys, uint32_t relation, uint64_t catalog,
                       const struct verdict *verdict) MUST_USE;
/** Finds the key of a table in the present generation of the catalog.  False: writes of the table
 *  are of unknown keys. */
bool feed_keys_find(struct feed_keys *keys, uint32_t relation, struct feed_key *ret) MUST_USE;
/** How many tables have a key. */
uint32_t feed_keys_count(struct feed_keys *keys);

/** Returns the digest of what verdict_key_bytes has written, for generations.h. */
uint64_t feed_key_digest(struct span bytes);
/** Makes the same digest of a row that the feed has told, by the canonical texts of its values;
 *  `bytes` is room for them.  False: a value is missing, or of a form that is not expected. */
bool feed_key_of_row(const struct feed_key *key, struct feed_row row, struct buffer *bytes,
                     uint64_t *ret) MUST_USE;
