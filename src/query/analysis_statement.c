/*
 * analysis_statement.c - the kinds of statements, and what each may write.
 *
 * A kind that is not listed here counts as DDL, which may change any relation.
 */
#include "base/check.h"
#include "query/analysis_parts.h"

/* --- statements that are walked --------------------------------------------------------------- */

static void become(struct analysis *analysis, enum query_statement statement)
{
    analysis->done.statement = statement;
}

static void see_rows(struct analysis *analysis, const char *type, tree_at statement)
{
    analysis_walk_as(analysis, type, statement);
    bool writes = analysis->done.extent != QUERY_WRITES_NOTHING;
    become(analysis, writes ? QUERY_STATEMENT_WRITES : QUERY_STATEMENT_READS);
}

static void see_truncate(struct analysis *analysis, const char *type, tree_at statement)
{
    const struct tree *tree = &analysis->tree;
    tree_at list = analysis_tree_member(tree, statement, "relations");
    tree_at part = analysis_tree_first(tree, list);
    for (; part != 0; part = analysis_tree_next(tree, list, part))
        analysis_see_written(analysis, analysis_tree_node(tree, part, "RangeVar"),
                             QUERY_ACCESS_TRUNCATE);
    become(analysis, QUERY_STATEMENT_WRITES);
}

static void see_refresh(struct analysis *analysis, const char *type, tree_at statement)
{
    analysis_see_target(analysis, statement, QUERY_ACCESS_REFRESH);
    become(analysis, QUERY_STATEMENT_WRITES);
}

static void see_copy_query(struct analysis *analysis, tree_at query)
{
    analysis_walk(analysis, query);
    bool writes = analysis->done.extent != QUERY_WRITES_NOTHING;
    become(analysis, writes ? QUERY_STATEMENT_WRITES : QUERY_STATEMENT_READS);
}

static void see_copy(struct analysis *analysis, const char *type, tree_at statement)
{
    const struct tree *tree = &analysis->tree;
    tree_at query = analysis_tree_member(tree, statement, "query");
    tree_at where = analysis_tree_member(tree, statement, "whereClause");
    tree_at relation = analysis_tree_member(tree, statement, "relation");
    analysis_because(analysis, QUERY_REASON_UTILITY);
    if (where != 0)
        analysis_walk(analysis, where);
    if (query != 0) {
        see_copy_query(analysis, query);
    } else if (analysis_tree_member(tree, statement, "is_from") != 0) {
        analysis_see_written(analysis, relation, QUERY_ACCESS_COPY);
        become(analysis, QUERY_STATEMENT_WRITES);
    } else if (relation != 0) {
        analysis_see_relation(analysis, relation);
        become(analysis, QUERY_STATEMENT_READS);
    } else {
        analysis_because(analysis, QUERY_REASON_SYNTAX);
    }
}

/* EXPLAIN ANALYZE executes what it explains; a plain EXPLAIN is taken for the same. */
static void see_explain(struct analysis *analysis, const char *type, tree_at statement)
{
    tree_at query = analysis_tree_member(&analysis->tree, statement, "query");
    if (query != 0)
        analysis_see_statement(analysis, query);
    else
        analysis_because(analysis, QUERY_REASON_SYNTAX);
    analysis_because(analysis, QUERY_REASON_UTILITY);
    become(analysis, QUERY_STATEMENT_UTILITY);
}

static void see_cursor(struct analysis *analysis, const char *type, tree_at statement)
{
    tree_at query = analysis_tree_member(&analysis->tree, statement, "query");
    if (query != 0)
        analysis_walk(analysis, query);
    analysis_because(analysis, QUERY_REASON_UTILITY);
    analysis_because(analysis, QUERY_REASON_CURSOR);
    become(analysis, QUERY_STATEMENT_UTILITY);
}

/* --- statements that are not ------------------------------------------------------------------ */

static void see_session(struct analysis *analysis, const char *type, tree_at statement)
{
    analysis_see_named(analysis, statement);
    analysis_because(analysis, QUERY_REASON_UTILITY);
    become(analysis, QUERY_STATEMENT_UTILITY);
}

static void see_fetch(struct analysis *analysis, const char *type, tree_at statement)
{
    analysis_because(analysis, QUERY_REASON_CURSOR);
    see_session(analysis, type, statement);
}

static void see_unknown(struct analysis *analysis, const char *type, tree_at statement)
{
    analysis_extends(analysis, QUERY_WRITES_UNKNOWN);
    see_session(analysis, type, statement);
}

static void see_ddl(struct analysis *analysis, const char *type, tree_at statement)
{
    analysis_extends(analysis, QUERY_WRITES_DATABASE);
    see_session(analysis, type, statement);
}

static void see_transaction(struct analysis *analysis, const char *type, tree_at statement)
{
    struct span kind = analysis_tree_member_text(&analysis->tree, statement, "kind");
    struct span gid = analysis_tree_member_text(&analysis->tree, statement, "gid");
    if (gid.size > 0)
        analysis->done.gid = gid;
    if (span_is(kind, "TRANS_STMT_COMMIT_PREPARED"))
        analysis_extends(analysis, QUERY_WRITES_UNKNOWN);
    see_session(analysis, type, statement);
}

/* --- the table -------------------------------------------------------------------------------- */

static const struct {
    const char *type;
    void (*see)(struct analysis *analysis, const char *type, tree_at statement);
} statements[] = {
    {"SelectStmt", see_rows},
    {"InsertStmt", see_rows},
    {"UpdateStmt", see_rows},
    {"DeleteStmt", see_rows},
    {"MergeStmt", see_rows},
    {"TruncateStmt", see_truncate},
    {"RefreshMatViewStmt", see_refresh},
    {"CopyStmt", see_copy},
    {"ExplainStmt", see_explain},
    {"DeclareCursorStmt", see_cursor},
    {"FetchStmt", see_fetch},
    {"ClosePortalStmt", see_fetch},
    {"TransactionStmt", see_transaction},
    {"DoStmt", see_unknown},
    {"CallStmt", see_unknown},
    {"ExecuteStmt", see_unknown},
    /* These change no rows, and nothing that a query reads but settings. */
    {"VariableSetStmt", see_session},
    {"VariableShowStmt", see_session},
    {"ConstraintsSetStmt", see_session},
    {"DiscardStmt", see_session},
    {"PrepareStmt", see_session},
    {"DeallocateStmt", see_session},
    {"ListenStmt", see_session},
    {"UnlistenStmt", see_session},
    {"NotifyStmt", see_session},
    {"LockStmt", see_session},
    {"VacuumStmt", see_session},
    {"CheckPointStmt", see_session},
};

void analysis_see_statement(struct analysis *analysis, tree_at node)
{
    const struct tree *tree = &analysis->tree;
    tree_at statement = analysis_tree_first(tree, node);
    struct span type = analysis_tree_name(tree, statement);
    for (size_t i = 0; i < ARRAY_SIZE(statements); i++) {
        if (span_is(type, statements[i].type)) {
            statements[i].see(analysis, statements[i].type, statement);
            return;
        }
    }
    see_ddl(analysis, "", statement);
}
