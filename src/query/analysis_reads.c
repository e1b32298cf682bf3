/*
 * analysis_reads.c - relations that are read and written, and the scopes of common table
 * expressions.
 */
#include "base/check.h"
#include "query/analysis_parts.h"

static bool is_in_scope(const struct analysis *analysis, struct span name)
{
    for (uint16_t i = analysis->scopes; i > 0; i--)
        if (span_equal(analysis->scope[i - 1], name))
            return true;
    return false;
}

static void add_relation(struct analysis *analysis, struct query_relation *list, uint16_t *count,
                         struct query_relation relation)
{
    for (uint16_t i = 0; i < *count; i++)
        if (list[i].access == relation.access && span_equal(list[i].is.name, relation.is.name) &&
            span_equal(list[i].is.schema, relation.is.schema))
            return;
    if (*count < QUERY_ANALYSIS_ITEMS_MAX)
        list[(*count)++] = relation;
    else
        analysis->truncated = true;
}

static struct query_object relation_of(const struct analysis *analysis, tree_at range_var)
{
    return (struct query_object){
        .schema = analysis_tree_member_text(&analysis->tree, range_var, "schemaname"),
        .name = analysis_tree_member_text(&analysis->tree, range_var, "relname"),
    };
}

/* Relations that are never cached, as far as names show that. */
static void judge_relation(struct analysis *analysis, struct query_object relation)
{
    struct span schema = relation.schema;
    if (span_starts(schema, SPAN("pg_temp")))
        analysis_because(analysis, QUERY_REASON_TEMPORARY);
    else if (span_starts(schema, SPAN("pg_")) || span_is(schema, "information_schema") ||
             (schema.size == 0 && span_starts(relation.name, SPAN("pg_"))))
        analysis_because(analysis, QUERY_REASON_CATALOG);
}

void analysis_see_relation(struct analysis *analysis, tree_at range_var)
{
    struct query_object is = relation_of(analysis, range_var);
    bool qualified =
        is.schema.size > 0 || analysis_tree_member(&analysis->tree, range_var, "catalogname") != 0;
    if (!qualified && is_in_scope(analysis, is.name))
        return;
    analysis->occurrences += 1;
    judge_relation(analysis, is);
    add_relation(analysis, analysis->reads, &analysis->done.reads_count,
                 (struct query_relation){is, QUERY_ACCESS_READ});
}

void analysis_see_written(struct analysis *analysis, tree_at range_var, enum query_access access)
{
    if (range_var == 0) {
        analysis_because(analysis, QUERY_REASON_SYNTAX);
        return;
    }
    analysis_because(analysis, QUERY_REASON_WRITES);
    analysis_extends(analysis, QUERY_WRITES_LISTED);
    add_relation(analysis, analysis->writes, &analysis->done.writes_count,
                 (struct query_relation){relation_of(analysis, range_var), access});
}

void analysis_see_target(struct analysis *analysis, tree_at statement, enum query_access access)
{
    analysis_see_written(analysis, analysis_tree_member(&analysis->tree, statement, "relation"),
                         access);
}

static void add_scope(struct analysis *analysis, tree_at expression)
{
    struct span name = analysis_tree_member_text(&analysis->tree, expression, "ctename");
    if (analysis->scopes < ANALYSIS_SCOPES_MAX)
        analysis->scope[analysis->scopes++] = name;
    else
        analysis->truncated = true;
}

/* In WITH RECURSIVE each expression sees all names of the list, else only those in front of it. */
void analysis_see_with(struct analysis *analysis, tree_at with)
{
    const struct tree *tree = &analysis->tree;
    bool recursive = analysis_tree_member(tree, with, "recursive") != 0;
    tree_at list = analysis_tree_member(tree, with, "ctes");
    tree_at part = analysis_tree_first(tree, list);
    if (part == 0)
        analysis_because(analysis, QUERY_REASON_SYNTAX);
    for (tree_at at = part; at != 0 && recursive; at = analysis_tree_next(tree, list, at))
        add_scope(analysis, analysis_tree_node(tree, at, "CommonTableExpr"));
    for (tree_at at = part; at != 0; at = analysis_tree_next(tree, list, at)) {
        analysis_walk(analysis, at);
        if (!recursive)
            add_scope(analysis, analysis_tree_node(tree, at, "CommonTableExpr"));
    }
}
