#pragma once
/*
 * analysis.h - finds what a SQL text reads, writes and calls, by PostgreSQL's own grammar.
 *
 * Parses the text with libpg_query (the grammar of PostgreSQL 15) and walks the parse tree.  The
 * result depends on the text only: no catalog, no settings.  Names are as the text has them, folded
 * and without quotes; which object an unqualified name denotes is decided by search_path, later.
 * Every part of the tree is known to the walk, or the text is no candidate for the cache.
 *
 * Takes some ten microseconds, for large texts milliseconds, and up to QUERY_ANALYSIS_STACK bytes
 * of stack: call it on an offload thread, or on a coroutine's large stack if query_analysis_stack
 * says that this suffices.  Several threads may analyze at the same time. Design:
 * docs/internals/analysis.md
 */
#include "base/fault.h"
#include "base/span.h"

/* Bytes of a text; longer ones are not parsed. */
#define QUERY_ANALYSIS_TEXT_MAX (64 * 1024)
/* Tokens that may be nested in each other.  libpg_query recurses and does not check its stack, so
 * query_analyze estimates the nesting before it parses. */
#define QUERY_ANALYSIS_NESTING_MAX 1000
/* Objects of one kind: relations read, functions and so on. */
#define QUERY_ANALYSIS_ITEMS_MAX 128
/* Bytes of stack that query_analyze needs at most; measured: half of it. */
#define QUERY_ANALYSIS_STACK ((32 + QUERY_ANALYSIS_NESTING_MAX) * 1024)

enum query_statement {
    QUERY_STATEMENT_NONE,     /* only blanks and comments */
    QUERY_STATEMENT_READS,    /* one SELECT, VALUES, TABLE, or COPY TO */
    QUERY_STATEMENT_WRITES,   /* one statement that writes rows; also SELECT with such a CTE */
    QUERY_STATEMENT_UTILITY,  /* one statement of another kind: SET, BEGIN, EXPLAIN, DDL, DO */
    QUERY_STATEMENT_SEVERAL,  /* the lists are those of all statements */
    QUERY_STATEMENT_UNPARSED, /* too large, too deep, or not in the grammar; the lists are empty */
};

/* Why a statement is no candidate for the cache. */
enum query_reason {
#define REASON(name, word, text) QUERY_REASON_##name,
#include "query/analysis_reasons.def"
#undef REASON
    QUERY_REASONS,
};

/* What the statements of a text do. */
enum query_verb {
#define VERB(name, word) QUERY_VERB_##name,
#include "query/verbs.def"
#undef VERB
    QUERY_VERBS,
};

/* What a text may change in tables, not counting the functions that it calls. */
enum query_extent {
    QUERY_WRITES_NOTHING,
    QUERY_WRITES_LISTED,   /* the relations in `writes`, and what follows from writes to them */
    QUERY_WRITES_DATABASE, /* DDL and other commands that may change any relation */
    QUERY_WRITES_UNKNOWN,  /* the text does not show it: DO, CALL, EXECUTE, COMMIT PREPARED */
};

enum query_access {
    QUERY_ACCESS_READ,
    QUERY_ACCESS_INSERT,
    QUERY_ACCESS_UPDATE,
    QUERY_ACCESS_DELETE,
    QUERY_ACCESS_MERGE,
    QUERY_ACCESS_TRUNCATE, /* may be CASCADE */
    QUERY_ACCESS_COPY,
    QUERY_ACCESS_REFRESH,
    QUERY_ACCESS_NAMED, /* only in outlines: by a statement of another kind, see query_named */
};

/* A name.  `schema` is empty if the text has none. */
struct query_object {
    struct span schema;
    struct span name;
};

struct query_relation {
    struct query_object is;
    enum query_access access;
};

/* A function with one argument may as well be a cast to a type of its name. */
struct query_function {
    struct query_object is;
    uint16_t arguments; /* those of WITHIN GROUP included; 0 for f(*) */
    bool variadic;      /* the last argument is an array of further ones */
    bool attribute;     /* written as a.f or (expression).f: most probably a column */
    bool field;         /* written as (expression).f: the value may have any type */
};

/* A relation or a function that a statement names which is not walked: DDL, PREPARE, LOCK.  The
 * name may as well be that of a common table expression. */
struct query_named {
    struct query_object is;
    bool function;
};

struct query_type {
    struct query_object is;
    bool computed; /* a value other than a literal or a parameter is cast, so it may be any text */
};

/* A condition `column = $parameter` or `column = literal` of the AND list. */
struct query_key {
    struct span column;
    uint16_t parameter;       /* from 1; 0: a literal */
    bool repeated;            /* the parameter stands elsewhere too, and may have its type there */
    bool quoted;              /* the literal is a string; else a number, true, or false */
    struct span literal;      /* the value, without quotes */
    struct query_object type; /* a type that the literal is cast to; mostly empty */
};

struct query_analysis {
    enum query_statement statement;
    enum query_extent extent;
    uint32_t reasons;     /* set of (1 << enum query_reason); 0: a candidate for the cache */
    uint64_t verbs;       /* set of (1 << enum query_verb), of all statements, also inner ones */
    uint16_t statements;  /* of the text, not counting those within another */
    uint16_t parameters;  /* the highest n of $n */
    bool unbounded;       /* has an UPDATE or a DELETE without WHERE */
    bool partial;         /* a list of objects was full: further ones are missing */
    bool backslash;       /* depends on standard_conforming_strings, taken as on */
    bool high_bytes;      /* has bytes above 127, so it depends on client_encoding */
    bool calls_in_from;   /* a function in FROM: its alias is a value of any type */
    bool compares;        /* uses default operators of types: ORDER BY, GROUP BY, DISTINCT, UNION */
    uint64_t fingerprint; /* pg_query's; 0 if not parsed */
    struct span gid;      /* of PREPARE TRANSACTION and COMMIT PREPARED; the last of them */
    uint16_t reads_count; /* relations read; the target of an UPDATE is in `writes` only */
    uint16_t writes_count;
    uint16_t functions_count;
    uint16_t operators_count;
    uint16_t types_count;
    uint16_t collations_count;
    uint16_t keys_count;
    uint16_t named_count;
    const struct query_relation *reads;
    const struct query_relation *writes;
    const struct query_function *functions;
    const struct query_object *operators;
    const struct query_type *types; /* of casts, and of column definitions of functions */
    const struct query_object *collations;
    const struct query_named *named;
    /* Filled if one SELECT reads a single relation once, or one UPDATE or DELETE touches only its
     * target, without columns that the UPDATE assigns.  `=` is whatever operator of that name
     * search_path gives. */
    const struct query_key *keys;
};

/** Analyzes a text; a NUL ends it.  Texts with errors are analyzed too: see `reasons`.  The result
 *  is one allocation and does not refer to the text.  Faults: MEMORY. */
fault query_analyze(struct span text, struct query_analysis **ret) MUST_USE;
void query_analysis_free(struct query_analysis **analysis);
/** Returns how many bytes of stack query_analyze needs for a text, at most.  Linear in the text. */
size_t query_analysis_stack(struct span text);

/** The command of a verb, in small letters; and the verb of such a word, QUERY_VERBS if there is
 *  none. */
const char *query_verb_word(enum query_verb verb);
enum query_verb query_verb_of(struct span word);

/** The most important one of the reasons; QUERY_REASONS if there is none. */
enum query_reason query_analysis_reason(const struct query_analysis *analysis);
/** The name of its counter, and its text for users. */
const char *query_reason_word(enum query_reason reason);
const char *query_reason_text(enum query_reason reason);

/** Returns whether a text, read as a date or time (or a range, array or row of such), may depend on
 *  the current time: it has 'now', 'today', 'tomorrow' or 'yesterday' as a word of its own.  For
 *  parameters in text format. */
bool query_is_time_word(struct span text);
