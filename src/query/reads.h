#pragma once
/*
 * reads.h - proves that a SQL text only reads, so that a replica may run it.
 *
 * One pass over the tokens of the text.  A text is proven if it is one statement of a kind that
 * reads, and every function that it calls by name is one of PostgreSQL's that is known to read
 * (read_functions.def) or is declared by the route.  What the text does not show is not proven
 * either way: views, operators, casts and row-level security may call any function.
 * Design: docs/internals/splitting.md
 */
#include "base/span.h"

enum query_reads {
    QUERY_MAY_WRITE,      /* not proven: for the primary */
    QUERY_READS,          /* one statement that reads */
    QUERY_BEGINS_TO_READ, /* BEGIN or START TRANSACTION, with READ ONLY */
};

enum query_hint { QUERY_NO_HINT, QUERY_HINT_PRIMARY, QUERY_HINT_REPLICA };

/* What a route adds to the proof. */
struct query_read_rules {
    const struct span *declared; /* names of functions that read: "f", or "schema.f"; folded */
    size_t count;
    bool hints; /* a comment in front of the statement or behind it may decide */
};

struct query_proof {
    enum query_reads reads;
    enum query_hint hint; /* the one that decided */
    uint64_t fingerprint; /* equal for texts that differ in literals, blanks and comments only */
};

/** Judges a text.  Pure, linear in the text; takes any bytes. */
void query_prove_reads(struct span text, const struct query_read_rules *rules,
                       struct query_proof *ret);
/** Returns whether PostgreSQL has functions of this name, and all of them read.  The name is as
 *  pg_proc has it. */
bool query_function_reads(struct span name);
