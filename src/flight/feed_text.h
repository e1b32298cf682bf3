#pragma once
/*
 * feed_text.h - one text of test_decoding, the output plugin of the feed.
 *
 * Pure: nothing allocates, spans point into the text.  A text is checked as a whole: reading the
 * tables and columns of one that was accepted can't fail.  Whatever the plugin of PostgreSQL 15
 * doesn't write is PROTOCOL, and the caller takes it for a change of the whole database.
 *
 * Texts are in the encoding of the database.  Design: docs/internals/feed.md
 */
#include "base/buffer.h"

/* The longest identifier of PostgreSQL, bytes (NAMEDATALEN - 1). */
#define FEED_NAME_MAX 63
struct feed_name {
    uint8_t size; /* never 0 in a name that was read */
    char at[FEED_NAME_MAX];
};
static inline struct span feed_name_span(const struct feed_name *name)
{
    return span_of(name->at, name->size);
}

struct feed_table {
    struct feed_name schema;
    struct feed_name name;
};

/* The columns of a row: for feed_next_column() and feed_find_columns(). */
struct feed_row {
    bool told; /* false: the plugin has nothing of this row */
    struct span columns;
};

enum feed_value { FEED_VALUE, FEED_NULL, FEED_UNCHANGED /* stored out of line, not told */ };

struct feed_column {
    struct feed_name name;
    struct span type; /* as format_type() writes it, without a modifier */
    enum feed_value value;
    struct span literal; /* of a FEED_VALUE: for feed_put_literal() */
};

enum feed_kind {
    FEED_BEGIN,
    FEED_COMMIT,
    FEED_PREPARE, /* the three of a slot that decodes two phases */
    FEED_COMMIT_PREPARED,
    FEED_ROLLBACK_PREPARED,
    FEED_INSERT,
    FEED_UPDATE,
    FEED_DELETE,
    FEED_TRUNCATE,
    FEED_MESSAGE, /* of pg_logical_emit_message() */
};

struct feed_text {
    enum feed_kind kind;
    uint32_t xid;            /* of the first five kinds: the top transaction's, its lower 32 bits */
    struct span gid;         /* of the prepared kinds: for feed_put_literal() */
    struct feed_table table; /* INSERT, UPDATE, DELETE; a partitioned table is never named */
    struct feed_row
        old_row;             /* DELETE, and UPDATE if its replica identity's values changed: those
                                columns, or without its NULLs the whole row (REPLICA IDENTITY FULL) */
    struct feed_row new_row; /* INSERT, UPDATE */
    struct span tables;      /* TRUNCATE: for feed_next_table() */
    bool transactional;      /* MESSAGE; one that is not belongs to no transaction */
    struct span prefix;      /* as it was given if that has no ", sz: " */
    struct span content;
};

/** Reads one text; `text` may contain NUL only in a message's content.  Faults: PROTOCOL. */
fault feed_read_text(struct span text, struct feed_text *ret) MUST_USE;

/** Takes the next table off `tables`; false at their end. */
bool feed_next_table(struct span *tables, struct feed_table *ret);

/** Takes the next column off `columns`; false at their end. */
bool feed_next_column(struct span *columns, struct feed_column *ret);

/* Columns of a key (INDEX_MAX_KEYS). */
#define FEED_COLUMNS_MAX 32

/** Writes the columns of these names, at most FEED_COLUMNS_MAX, to `ret` in the order of `names`.
 *  Returns false if the row doesn't tell a value other than NULL of each; `ret` is undefined then.
 *
 *  The values of a row are those of a key only if the key can't have changed unseen.  An UPDATE
 *  tells the old key if the columns of the table's replica identity changed.  So without old_row
 *  the key of new_row is the old one too if the replica identity is FULL, or DEFAULT with a
 *  primary key that is not deferrable; else all keys of the table may have changed. */
bool feed_find_columns(struct feed_row row, const struct span *names, size_t count,
                       struct feed_column *ret);

/** Appends what a literal stands for: its quotes and its B or E in front removed. */
void feed_put_literal(struct buffer *out, struct span literal);
