/*
 * analysis_verbs.c - the verbs of a text, and the objects that statements name which are not
 * walked.
 *
 * Looks at each value of the parse tree, whatever its place is, so that a statement within another
 * one (EXPLAIN, PREPARE, WITH) counts too.
 */
#include "base/check.h"
#include "query/analysis_parts.h"

static_assert(QUERY_VERBS <= 64, "a set of verbs has 64 bits");

static const char *const words[] = {
#define VERB(name, word) word,
#include "query/verbs.def"
#undef VERB
};

const char *query_verb_word(enum query_verb verb)
{
    invariant(verb < QUERY_VERBS);
    return words[verb];
}

enum query_verb query_verb_of(struct span word)
{
    for (size_t i = 0; i < QUERY_VERBS; i++)
        if (span_is(word, words[i]))
            return (enum query_verb)i;
    return QUERY_VERBS;
}

/* --- verbs ------------------------------------------------------------------------------------ */

struct verb_of {
    const char *name; /* the name, or the beginning of it */
    enum query_verb verb;
};

static const struct verb_of verbs_of_types[] = {
    {"SelectStmt", QUERY_VERB_SELECT},
    {"InsertStmt", QUERY_VERB_INSERT},
    {"UpdateStmt", QUERY_VERB_UPDATE},
    {"DeleteStmt", QUERY_VERB_DELETE},
    {"MergeStmt", QUERY_VERB_MERGE},
    {"TruncateStmt", QUERY_VERB_TRUNCATE},
    {"CopyStmt", QUERY_VERB_COPY},
    {"RefreshMatViewStmt", QUERY_VERB_REFRESH},
    {"ExplainStmt", QUERY_VERB_EXPLAIN},
    {"DeclareCursorStmt", QUERY_VERB_DECLARE},
    {"FetchStmt", QUERY_VERB_FETCH},
    {"ClosePortalStmt", QUERY_VERB_CLOSE},
    {"PrepareStmt", QUERY_VERB_PREPARE},
    {"ExecuteStmt", QUERY_VERB_EXECUTE},
    {"DeallocateStmt", QUERY_VERB_DEALLOCATE},
    {"DoStmt", QUERY_VERB_DO},
    {"CallStmt", QUERY_VERB_CALL},
    {"VariableSetStmt", QUERY_VERB_SET},
    {"ConstraintsSetStmt", QUERY_VERB_SET},
    {"VariableShowStmt", QUERY_VERB_SHOW},
    {"DiscardStmt", QUERY_VERB_DISCARD},
    {"ListenStmt", QUERY_VERB_LISTEN},
    {"UnlistenStmt", QUERY_VERB_UNLISTEN},
    {"NotifyStmt", QUERY_VERB_NOTIFY},
    {"LockStmt", QUERY_VERB_LOCK},
    {"VacuumStmt", QUERY_VERB_VACUUM},
    {"CheckPointStmt", QUERY_VERB_CHECKPOINT},
    {"ClusterStmt", QUERY_VERB_CLUSTER},
    {"ReindexStmt", QUERY_VERB_REINDEX},
    {"GrantStmt", QUERY_VERB_GRANT},
    {"GrantRoleStmt", QUERY_VERB_GRANT},
    {"CommentStmt", QUERY_VERB_COMMENT},
    {"SecLabelStmt", QUERY_VERB_SECURITY},
    {"LoadStmt", QUERY_VERB_LOAD},
    {"ImportForeignSchemaStmt", QUERY_VERB_IMPORT},
    {"ReassignOwnedStmt", QUERY_VERB_REASSIGN},
    {"Create", QUERY_VERB_CREATE},
    {"IndexStmt", QUERY_VERB_CREATE},
    {"ViewStmt", QUERY_VERB_CREATE},
    {"RuleStmt", QUERY_VERB_CREATE},
    {"DefineStmt", QUERY_VERB_CREATE},
    {"CompositeTypeStmt", QUERY_VERB_CREATE},
    {"Alter", QUERY_VERB_ALTER},
    {"RenameStmt", QUERY_VERB_ALTER},
    {"Drop", QUERY_VERB_DROP},
};

static const struct verb_of verbs_of_transactions[] = {
    {"TRANS_STMT_BEGIN", QUERY_VERB_BEGIN},         {"TRANS_STMT_START", QUERY_VERB_BEGIN},
    {"TRANS_STMT_COMMIT", QUERY_VERB_COMMIT},       {"TRANS_STMT_ROLLBACK", QUERY_VERB_ROLLBACK},
    {"TRANS_STMT_SAVEPOINT", QUERY_VERB_SAVEPOINT}, {"TRANS_STMT_RELEASE", QUERY_VERB_RELEASE},
    {"TRANS_STMT_PREPARE", QUERY_VERB_PREPARE},
};

static enum query_verb find_verb(const struct verb_of *list, size_t count, struct span name)
{
    for (size_t i = 0; i < count; i++)
        if (span_starts(name, span_text(list[i].name)))
            return list[i].verb;
    return QUERY_VERB_OTHER;
}

static bool has(const struct analysis *analysis, tree_at object, const char *name)
{
    return analysis_tree_member(&analysis->tree, object, name) != 0;
}

static bool member_is(const struct analysis *analysis, tree_at object, const char *name,
                      const char *text)
{
    return span_is(analysis_tree_member_text(&analysis->tree, object, name), text);
}

static enum query_verb verb_of(const struct analysis *analysis, struct span type, tree_at statement)
{
    if (span_is(type, "TransactionStmt"))
        return find_verb(verbs_of_transactions, ARRAY_SIZE(verbs_of_transactions),
                         analysis_tree_member_text(&analysis->tree, statement, "kind"));
    enum query_verb verb = find_verb(verbs_of_types, ARRAY_SIZE(verbs_of_types), type);
    if (verb == QUERY_VERB_GRANT && !has(analysis, statement, "is_grant"))
        return QUERY_VERB_REVOKE;
    if (verb == QUERY_VERB_VACUUM && !has(analysis, statement, "is_vacuumcmd"))
        return QUERY_VERB_ANALYZE;
    if (span_is(type, "VariableSetStmt") &&
        (member_is(analysis, statement, "kind", "VAR_RESET") ||
         member_is(analysis, statement, "kind", "VAR_RESET_ALL")))
        return QUERY_VERB_RESET;
    return verb;
}

/* Whether a SELECT is a statement, not a part of one. */
static bool is_statement(const struct analysis *analysis, tree_at node)
{
    struct span place = analysis_tree_name(&analysis->tree, node);
    return span_is(place, "stmt") || span_is(place, "query");
}

static void see_verb(struct analysis *analysis, tree_at node, tree_at statement)
{
    struct span type = analysis_tree_name(&analysis->tree, statement);
    enum query_verb verb = verb_of(analysis, type, statement);
    if (verb == QUERY_VERB_SELECT && has(analysis, statement, "intoClause"))
        analysis->done.verbs |= UINT64_C(1) << QUERY_VERB_CREATE;
    if ((verb == QUERY_VERB_UPDATE || verb == QUERY_VERB_DELETE) &&
        !has(analysis, statement, "whereClause"))
        analysis->done.unbounded = true;
    if (verb != QUERY_VERB_SELECT || is_statement(analysis, node))
        analysis->done.verbs |= UINT64_C(1) << verb;
}

/* Whether a name is that of a type of statements; members have names that begin with a small
 * letter. */
static bool is_type_of_statement(struct span name)
{
    return name.size > 4 && name.at[0] >= 'A' && name.at[0] <= 'Z' &&
           span_is(span_skip(name, name.size - 4), "Stmt");
}

void analysis_see_verbs(struct analysis *analysis)
{
    const struct tree *tree = &analysis->tree;
    for (tree_at node = TREE_ROOT; node < tree->count; node++) {
        tree_at statement =
            tree->values[node].kind == TREE_OBJECT ? analysis_tree_first(tree, node) : 0;
        if (statement != 0 && is_type_of_statement(analysis_tree_name(tree, statement)))
            see_verb(analysis, node, statement);
    }
}

/* --- names ------------------------------------------------------------------------------------ */

static void add_named(struct analysis *analysis, struct query_object is, bool function)
{
    struct query_analysis *done = &analysis->done;
    for (uint16_t i = 0; i < done->named_count; i++) {
        const struct query_named *known = &analysis->named[i];
        if (known->function == function && span_equal(known->is.name, is.name) &&
            span_equal(known->is.schema, is.schema))
            return;
    }
    if (done->named_count < QUERY_ANALYSIS_ITEMS_MAX)
        analysis->named[done->named_count++] = (struct query_named){is, function};
    else
        done->partial = true;
}

/* DROP names its objects by lists of strings. */
static void see_dropped(struct analysis *analysis, tree_at statement)
{
    const struct tree *tree = &analysis->tree;
    tree_at list = analysis_tree_member(tree, statement, "objects");
    tree_at part = analysis_tree_first(tree, list);
    for (; part != 0; part = analysis_tree_next(tree, list, part)) {
        tree_at names = analysis_tree_member(tree, analysis_tree_node(tree, part, "List"), "items");
        if (names != 0)
            add_named(analysis, analysis_object(analysis, names), false);
    }
}

static void see_named_object(struct analysis *analysis, tree_at object)
{
    const struct tree *tree = &analysis->tree;
    tree_at function = analysis_tree_member(tree, object, "funcname");
    struct span name = analysis_tree_member_text(tree, object, "relname");
    struct span schema = analysis_tree_member_text(tree, object, "schemaname");
    if (function != 0)
        add_named(analysis, analysis_object(analysis, function), true);
    if (name.size > 0)
        add_named(analysis, (struct query_object){schema, name}, false);
    if (span_is(analysis_tree_name(tree, object), "DropStmt"))
        see_dropped(analysis, object);
}

void analysis_see_named(struct analysis *analysis, tree_at whole)
{
    const struct tree *tree = &analysis->tree;
    for (tree_at at = whole; at < tree->values[whole].end; at++)
        if (tree->values[at].kind == TREE_OBJECT)
            see_named_object(analysis, at);
}
