#pragma once
/*
 * verdict.h - what is known of a statement: whether its answer may come from memory, which
 * relations it reads, which it writes.
 *
 * A verdict is made by resolve.h from a text and the catalog of one database, for one role and one
 * search_path.  It is immutable and one allocation; references are counted by an atomic, so any
 * thread may hold one.  Nothing suspends.  Design: docs/internals/flight.md
 */
#include "base/buffer.h"
#include "query/analysis.h"

/* Relations that a verdict lists: as many as a set of generations holds, beside the database, the
 * catalog and some more. */
#define VERDICT_RELATIONS_MAX 60u
/* Columns of a primary key. */
#define VERDICT_KEYS_MAX 8u

/* Why an answer may not come from memory, or why the relations that are written are not known.
 * Smaller ones are those of the text: enum query_reason. */
enum verdict_reason {
    VERDICT_REASON_TEXT = QUERY_REASONS - 1,
#define REASON(name, word, text) VERDICT_REASON_##name,
#include "flight/resolve_reasons.def"
#undef REASON
    VERDICT_REASONS, /* also: there is none */
};

/** The name of a reason's counter, and its text for users. */
const char *verdict_reason_word(uint32_t reason);
const char *verdict_reason_text(uint32_t reason);

enum verdict_extent {
    VERDICT_WRITES_NOTHING,
    VERDICT_WRITES_LISTED,   /* `written`, if it commits */
    VERDICT_WRITES_DATABASE, /* any relation of the database */
};

struct verdict_relation {
    uint32_t oid;
    bool stored; /* has rows of its own; false: a view */
    struct span schema;
    struct span name;
};

/* How the values of a column are compared: those with the same canonical text are equal, and no
 * others. */
enum verdict_key_type {
    VERDICT_KEY_INTEGER, /* int2, int4, int8 */
    VERDICT_KEY_TEXT,    /* text, varchar; of a deterministic collation */
    VERDICT_KEY_UUID,
};

/* A column of the primary key: its condition. */
struct verdict_key {
    enum verdict_key_type type;
    uint16_t parameter; /* from 1; 0: a literal, which has its canonical text */
    bool repeated;      /* the parameter stands elsewhere too: its type has to be given */
    struct span name;
    struct span literal;
};

struct verdict {
    uint32_t references;     /* atomic */
    uint64_t settings;       /* atomic; of the session that was asked; 0: not known */
    uint32_t reason;         /* VERDICT_REASONS: an answer from memory may be given */
    struct span because;     /* the name that caused it; may be empty */
    uint32_t written_reason; /* of VERDICT_WRITES_DATABASE */
    struct span written_because;
    enum verdict_extent writes;
    uint16_t reads_count;
    uint16_t written_count;
    uint16_t keys_count;   /* 0: it is not one value of the whole primary key */
    uint32_t key_relation; /* the only relation that is read or written; 0 without keys */
    const struct verdict_relation *reads;   /* only if the answer may come from memory */
    const struct verdict_relation *written; /* only with VERDICT_WRITES_LISTED */
    const struct verdict_key *keys;         /* in the order of the primary key */
};

/** Copies a draft, whose lists and spans the caller has; the caller owns the reference.  Faults:
 *  MEMORY. */
fault verdict_new(const struct verdict *draft, struct verdict **ret) MUST_USE;
/** Counts one more reference to a verdict to which the caller has one. */
struct verdict *verdict_ref(struct verdict *verdict);
void verdict_unref(struct verdict **verdict); /* NULL-safe */
/** Bytes of memory, with what the allocator adds. */
size_t verdict_bytes(const struct verdict *verdict);

/* A value that a client has bound. */
struct verdict_value {
    struct span bytes;
    bool null;
    bool binary;
    uint32_t type; /* as Parse has it; 0: left to the server */
};

/** Returns whether a type that Parse gives for a parameter keeps the verdict good: a base type of
 *  PostgreSQL, or an array of one, whose values do not depend on the date of today or on the
 * catalog. Else the statement must go to the server.  query_is_time_word has to be asked too for
 * each value that is a text, in text format or of a type such as text. */
bool verdict_parameter_type(uint32_t type);
/** Appends the canonical text of a value of a primary key's column.  False, and nothing is
 *  appended: there is none, and the statement must count as one that reads the whole table. */
bool verdict_key_text(enum verdict_key_type type, const struct verdict_value *value,
                      struct buffer *ret) MUST_USE;
/** Appends what identifies the value of the whole primary key: each text behind its length. `count`
 *  values are bound.  False as in verdict_key_text. */
bool verdict_key_bytes(const struct verdict *verdict, const struct verdict_value *values,
                       uint32_t count, struct buffer *ret) MUST_USE;
