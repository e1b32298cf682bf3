#pragma once
/*
 * resolve.h - asks the catalog what the names of a text denote, and makes a verdict of the answer.
 *
 * The question is one text for the simple protocol.  It must run as the client's own statement
 * would: in the same database, with the same role, search_path, client_encoding and
 * standard_conforming_strings; the verdict is good for these only, and for one state of the
 * catalog. It writes nothing, takes some ten milliseconds of the server, and needs PostgreSQL 12.
 *
 * Pure: the caller sends the question and gives the rows of the answer one by one.  A `struct
 * resolve` belongs to one thread at a time and borrows the analysis and the rules.  Nothing
 * suspends.  Design: docs/internals/flight.md
 */
#include "flight/verdict.h"

/* Columns of the answer. */
#define RESOLVE_COLUMNS 6u
/* Names of one text that are looked up. */
#define RESOLVE_NAMES_MAX 256u
/* How far relations are followed (views, partitions, foreign keys), and types. */
#define RESOLVE_DEPTH_MAX 24
/* Relations, types and functions that are followed. */
#define RESOLVE_FOLLOWED_MAX 512
/* Bytes of a question, at most. */
#define RESOLVE_QUESTION_MAX (128u * 1024)
/* Rows of an answer. */
#define RESOLVE_ROWS_MAX 8192u

/* An expression: a digest of the user and of the settings on which results depend. */
#define RESOLVE_SETTINGS_DIGEST                                                                    \
    "pg_catalog.hashtextextended(pg_catalog.concat_ws(pg_catalog.chr(10), current_user,"           \
    " session_user, pg_catalog.current_setting('search_path'),"                                    \
    " pg_catalog.current_setting('client_encoding'), pg_catalog.current_setting('TimeZone'),"      \
    " pg_catalog.current_setting('timezone_abbreviations'),"                                       \
    " pg_catalog.current_setting('DateStyle'), pg_catalog.current_setting('IntervalStyle'),"       \
    " pg_catalog.current_setting('extra_float_digits'),"                                           \
    " pg_catalog.current_setting('bytea_output'), pg_catalog.current_setting('xmlbinary'),"        \
    " pg_catalog.current_setting('xmloption'), pg_catalog.current_setting('lc_monetary'),"         \
    " pg_catalog.current_setting('lc_numeric'), pg_catalog.current_setting('lc_time'),"            \
    " pg_catalog.current_setting('default_text_search_config'),"                                   \
    " pg_catalog.current_setting('array_nulls'), pg_catalog.current_setting('backslash_quote'),"   \
    " pg_catalog.current_setting('standard_conforming_strings'),"                                  \
    " pg_catalog.current_setting('transform_null_equals'),"                                        \
    " pg_catalog.current_setting('row_security'),"                                                 \
    " pg_catalog.current_setting('quote_all_identifiers'),"                                        \
    " pg_catalog.current_setting('gin_fuzzy_search_limit'),"                                       \
    " pg_catalog.current_setting('session_replication_role')), 0)"

/* A function that a rule declares: it gives the same result as long as its tables are the same, and
 * writes nothing.  All names have a schema. */
struct resolve_declared {
    struct query_object is;
    const struct query_object *tables;
    uint16_t tables_count;
};

struct resolve_rules {
    const struct resolve_declared *declared;
    size_t count;
};

struct resolve;

/** Returns whether a verdict needs the catalog; `writes`: the caller wants to know what is written
 *  also if the answer may not come from memory. */
bool resolve_asks(const struct query_analysis *analysis, bool writes);
/** Makes the verdict of a text for which resolve_asks is false.  Faults: MEMORY. */
fault resolve_without(const struct query_analysis *analysis, struct verdict **ret) MUST_USE;

/** Appends the question: two statements, SET LOCAL and a SELECT, without a NUL.  It is ASCII
 * whatever the names are, and has no backslash.  The buffer's fault says whether there was room. */
void resolve_question(const struct query_analysis *analysis, const struct resolve_rules *rules,
                      struct buffer *sql);
/** Begins to read the answer; the caller owns it.  NULL without memory. */
struct resolve *resolve_new(const struct query_analysis *analysis,
                            const struct resolve_rules *rules);
void resolve_free(struct resolve **resolve); /* NULL-safe */
/** Takes a row; the cells are text, and those that are NULL have no `at`.  Faults: PROTOCOL (not a
 *  row of the question), LIMIT (too many rows). */
fault resolve_row(struct resolve *resolve, const struct span cells[RESOLVE_COLUMNS]) MUST_USE;
/** Makes the verdict; all rows were taken.  Faults: PROTOCOL (rows are missing), MEMORY. */
fault resolve_end(struct resolve *resolve, struct verdict **ret) MUST_USE;
