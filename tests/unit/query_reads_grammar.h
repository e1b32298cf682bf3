#pragma once
/*
 * query_reads_grammar.h - what query/reads.h takes for a read, against PostgreSQL's own grammar.
 *
 * The parse tree of a proven text is one statement that reads: nothing in it writes, locks rows or
 * makes a table, and each function in it is known to read.
 */
#include "json_view.h"
#include "query/reads.h"

#include <stdio.h>

static bool node_writes(struct span name)
{
    static const char *const nodes[] = {"InsertStmt", "UpdateStmt",    "DeleteStmt",
                                        "MergeStmt",  "LockingClause", "IntoClause",
                                        "intoClause", "lockingClause", "CreateTableAsStmt"};
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
        if (span_is(name, nodes[i]))
            return true;
    return false;
}

/* The grammar makes calls of its own in pg_catalog: EXTRACT, AT TIME ZONE, LIKE ... ESCAPE. */
static bool call_is_read(struct span call)
{
    struct span parts[3] = {SPAN_NONE};
    unsigned count = 0;
    struct json_walk walk = json_begin(json_member(call, "funcname"));
    while (json_next(&walk) && count < 3)
        parts[count++] = json_member_text(json_member(walk.value, "String"), "sval");
    if (count == 2 && !span_is(parts[0], "pg_catalog"))
        return false;
    return count > 0 && count < 3 && query_function_reads(parts[count - 1]);
}

/* Finds what must not be in the tree of a read. */
static bool tree_reads(struct span value, char *why, size_t size)
{
    struct json_walk walk = json_begin(value);
    while (json_next(&walk)) {
        bool call = span_is(walk.name, "FuncCall");
        if (node_writes(walk.name) || (call && !call_is_read(walk.value))) {
            snprintf(why, size, "a read has %.*s %.*s", (int)walk.name.size,
                     (const char *)walk.name.at, call ? 60 : 0, (const char *)walk.value.at);
            return false;
        }
        if (!tree_reads(walk.value, why, size))
            return false;
    }
    return true;
}

static bool statement_reads(struct span statement, enum query_reads reads)
{
    struct json_walk walk = json_begin(statement);
    if (!json_next(&walk))
        return false;
    if (reads == QUERY_BEGINS_TO_READ)
        return span_is(walk.name, "TransactionStmt");
    if (span_is(walk.name, "ExplainStmt")) {
        struct json_walk inner = json_begin(json_member(walk.value, "query"));
        return json_next(&inner) && span_is(inner.name, "SelectStmt");
    }
    return span_is(walk.name, "SelectStmt") || span_is(walk.name, "VariableShowStmt");
}

/* Compares a text with its tree.  Writes to `why` where they differ. */
static bool reads_agree(const char *text, const char *tree, char *why, size_t size)
{
    const struct query_read_rules none = {.count = 0};
    struct query_proof proof;
    unsigned count = 0;
    query_prove_reads(span_text(text), &none, &proof);
    if (proof.reads == QUERY_MAY_WRITE)
        return true;
    struct json_walk walk = json_begin(json_member(span_text(tree), "stmts"));
    for (; json_next(&walk); count++) {
        struct span statement = json_member(walk.value, "stmt");
        if (!statement_reads(statement, proof.reads)) {
            snprintf(why, size, "statement %u is no read", count);
            return false;
        }
        if (!tree_reads(statement, why, size))
            return false;
    }
    snprintf(why, size, "a read of %u statements", count);
    return count == 1;
}
