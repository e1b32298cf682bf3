/*
 * analysis_walk.c - walks a parse tree by a table of the node types and members that are known.
 *
 * An object or list that the table does not have makes the text no candidate for the cache, and its
 * writes unknown: no part of a tree is passed over.
 */
#include "base/check.h"
#include "query/analysis_parts.h"

/* Each level of nesting of a text, a token, is a few levels of nodes. */
#define WALK_DEPTH_MAX (QUERY_ANALYSIS_NESTING_MAX * 4)

/* What is done with a member. */
enum how {
    WALKED, /* a node, or a list of them */
    TYPED,  /* an object of the type `type` */
    SEEN,   /* handled by the node's function, or without meaning here: an alias */
};

struct member {
    const char *name;
    enum how how;
    const char *type;
};

struct node {
    const char *type;
    void (*see)(struct analysis *analysis, tree_at object); /* may be NULL */
    const struct member *members;                           /* ends with a NULL name */
};

#define MEMBERS(...) ((const struct member[]){__VA_ARGS__ __VA_OPT__(, ){NULL, SEEN, NULL}})
#define WALK(name)                                                                                 \
    {                                                                                              \
        name, WALKED, NULL                                                                         \
    }
#define AS(name, type)                                                                             \
    {                                                                                              \
        name, TYPED, type                                                                          \
    }
#define SEE(name)                                                                                  \
    {                                                                                              \
        name, SEEN, NULL                                                                           \
    }

static tree_at member(const struct analysis *analysis, tree_at object, const char *name)
{
    return analysis_tree_member(&analysis->tree, object, name);
}

/* --- clauses ---------------------------------------------------------------------------------- */

static void see_select(struct analysis *analysis, tree_at select)
{
    struct span op = analysis_tree_member_text(&analysis->tree, select, "op");
    if (member(analysis, select, "distinctClause") != 0 ||
        member(analysis, select, "groupClause") != 0 || !span_is(op, "SETOP_NONE"))
        analysis->done.compares = true;
    if (member(analysis, select, "lockingClause") != 0)
        analysis_because(analysis, QUERY_REASON_LOCKING);
    if (member(analysis, select, "intoClause") != 0) {
        analysis_because(analysis, QUERY_REASON_INTO);
        analysis_extends(analysis, QUERY_WRITES_DATABASE);
    }
}

static void see_insert(struct analysis *analysis, tree_at statement)
{
    tree_at conflict = member(analysis, statement, "onConflictClause");
    struct span action = analysis_tree_member_text(&analysis->tree, conflict, "action");
    analysis_see_target(analysis, statement, QUERY_ACCESS_INSERT);
    if (conflict != 0 && !span_is(action, "ONCONFLICT_NOTHING"))
        analysis_see_target(analysis, statement, QUERY_ACCESS_UPDATE);
}

static void see_update(struct analysis *analysis, tree_at statement)
{
    analysis_see_target(analysis, statement, QUERY_ACCESS_UPDATE);
}

static void see_delete(struct analysis *analysis, tree_at statement)
{
    analysis_see_target(analysis, statement, QUERY_ACCESS_DELETE);
}

static void see_merge(struct analysis *analysis, tree_at statement)
{
    analysis_see_target(analysis, statement, QUERY_ACCESS_MERGE);
}

static void see_join(struct analysis *analysis, tree_at join)
{
    tree_at using = member(analysis, join, "usingClause");
    if (using != 0 || member(analysis, join, "isNatural") != 0)
        analysis_add_operator(analysis, "=");
    if (using != 0)
        analysis_see_column(analysis, using, COLUMN_NAMES);
}

static void see_sample(struct analysis *analysis, tree_at sample)
{
    analysis_because(analysis, QUERY_REASON_SAMPLE);
}

static void see_range_function(struct analysis *analysis, tree_at function)
{
    analysis->done.calls_in_from = true;
}

static void see_xml_table(struct analysis *analysis, tree_at table)
{
    analysis_add_builtin(analysis, "xmltable", 1);
}

static void see_sort(struct analysis *analysis, tree_at sort)
{
    tree_at name = member(analysis, sort, "useOp");
    analysis->done.compares = true;
    if (name != 0)
        analysis_see_operator(analysis, name);
}

static void see_compares(struct analysis *analysis, tree_at object)
{
    analysis->done.compares = true;
}

/* --- expressions ------------------------------------------------------------------------------ */

static void see_column_ref(struct analysis *analysis, tree_at column)
{
    analysis_see_column(analysis, member(analysis, column, "fields"), COLUMN_REFERENCE);
}

static void see_indirection(struct analysis *analysis, tree_at indirection)
{
    analysis_see_column(analysis, member(analysis, indirection, "indirection"), COLUMN_FIELDS);
}

static void see_sublink(struct analysis *analysis, tree_at link)
{
    struct span type = analysis_tree_member_text(&analysis->tree, link, "subLinkType");
    tree_at name = member(analysis, link, "operName");
    if (name != 0 || span_is(type, "ANY_SUBLINK"))
        analysis_see_operator(analysis, name);
}

static void see_case(struct analysis *analysis, tree_at object)
{
    if (member(analysis, object, "arg") != 0)
        analysis_add_operator(analysis, "=");
}

static void see_cast(struct analysis *analysis, tree_at cast)
{
    tree_at arg = member(analysis, cast, "arg"), type = member(analysis, cast, "typeName");
    analysis_see_type(analysis, type, !analysis_is_given(analysis, arg));
    tree_at modifiers = member(analysis, type, "typmods");
    if (modifiers != 0)
        analysis_walk(analysis, modifiers);
}

static void see_type_name(struct analysis *analysis, tree_at type)
{
    analysis_see_type(analysis, type, true);
}

static void see_collate(struct analysis *analysis, tree_at collate)
{
    analysis_see_collation(analysis, member(analysis, collate, "collname"));
}

static void see_xml(struct analysis *analysis, tree_at xml)
{
    static const char *const names[][2] = {
        {"IS_XMLCONCAT", "xmlconcat"},  {"IS_XMLELEMENT", "xmlelement"},
        {"IS_XMLFOREST", "xmlforest"},  {"IS_XMLPARSE", "xmlparse"},
        {"IS_XMLPI", "xmlpi"},          {"IS_XMLROOT", "xmlroot"},
        {"IS_DOCUMENT", "is_document"},
    };
    struct span op = analysis_tree_member_text(&analysis->tree, xml, "op");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (span_is(op, names[i][0])) {
            tree_at args = member(analysis, xml, "args");
            analysis_add_builtin(analysis, names[i][1],
                                 analysis_tree_length(&analysis->tree, args));
            return;
        }
    }
    analysis_because(analysis, QUERY_REASON_SYNTAX);
}

static void see_xml_serialize(struct analysis *analysis, tree_at xml)
{
    analysis_add_builtin(analysis, "xmlserialize", 1);
}

static void see_current_of(struct analysis *analysis, tree_at current)
{
    analysis_because(analysis, QUERY_REASON_CURSOR);
}

/* --- the table -------------------------------------------------------------------------------- */

static const struct node nodes[] = {
    /* expressions, the most frequent first */
    {"ColumnRef", see_column_ref, MEMBERS(SEE("fields"))},
    {"ResTarget", NULL, MEMBERS(WALK("val"), WALK("indirection"))},
    {"A_Expr", analysis_see_expression, MEMBERS(SEE("name"), WALK("lexpr"), WALK("rexpr"))},
    {"A_Const", analysis_see_constant,
     MEMBERS(SEE("ival"), SEE("fval"), SEE("sval"), SEE("boolval"), SEE("bsval"))},
    {"ParamRef", analysis_see_parameter, MEMBERS()},
    {"BoolExpr", NULL, MEMBERS(WALK("args"))},
    {"List", NULL, MEMBERS(WALK("items"))},
    {"String", NULL, MEMBERS()},
    {"A_Star", NULL, MEMBERS()},
    {"FuncCall", analysis_see_function,
     MEMBERS(SEE("funcname"), WALK("args"), WALK("agg_order"), WALK("agg_filter"),
             AS("over", "WindowDef"))},
    {"TypeCast", see_cast, MEMBERS(WALK("arg"), SEE("typeName"))},
    {"SubLink", see_sublink, MEMBERS(WALK("testexpr"), SEE("operName"), WALK("subselect"))},
    {"NullTest", NULL, MEMBERS(WALK("arg"))},
    {"BooleanTest", NULL, MEMBERS(WALK("arg"))},
    {"CaseExpr", see_case, MEMBERS(WALK("arg"), WALK("args"), WALK("defresult"))},
    {"CaseWhen", NULL, MEMBERS(WALK("expr"), WALK("result"))},
    {"CoalesceExpr", NULL, MEMBERS(WALK("args"))},
    {"MinMaxExpr", see_compares, MEMBERS(WALK("args"))},
    {"RowExpr", NULL, MEMBERS(WALK("args"), SEE("colnames"))},
    {"A_ArrayExpr", NULL, MEMBERS(WALK("elements"))},
    {"A_Indirection", see_indirection, MEMBERS(WALK("arg"), WALK("indirection"))},
    {"A_Indices", NULL, MEMBERS(WALK("lidx"), WALK("uidx"))},
    {"NamedArgExpr", NULL, MEMBERS(WALK("arg"))},
    {"SQLValueFunction", analysis_see_value, MEMBERS()},
    {"CollateClause", see_collate, MEMBERS(WALK("arg"), SEE("collname"))},
    {"GroupingFunc", NULL, MEMBERS(WALK("args"))},
    {"SetToDefault", NULL, MEMBERS()},
    {"MultiAssignRef", NULL, MEMBERS(WALK("source"))},
    {"CurrentOfExpr", see_current_of, MEMBERS()},
    {"XmlExpr", see_xml, MEMBERS(WALK("named_args"), SEE("arg_names"), WALK("args"))},
    {"XmlSerialize", see_xml_serialize, MEMBERS(WALK("expr"), AS("typeName", "TypeName"))},
    /* what FROM has */
    {"RangeVar", analysis_see_relation, MEMBERS(SEE("alias"))},
    {"JoinExpr", see_join,
     MEMBERS(WALK("larg"), WALK("rarg"), WALK("quals"), SEE("usingClause"), SEE("alias"),
             SEE("join_using_alias"))},
    {"RangeSubselect", NULL, MEMBERS(WALK("subquery"), SEE("alias"))},
    {"RangeFunction", see_range_function,
     MEMBERS(WALK("functions"), WALK("coldeflist"), SEE("alias"))},
    {"RangeTableSample", see_sample,
     MEMBERS(WALK("relation"), SEE("method"), WALK("args"), WALK("repeatable"))},
    {"RangeTableFunc", see_xml_table,
     MEMBERS(WALK("docexpr"), WALK("rowexpr"), WALK("namespaces"), WALK("columns"), SEE("alias"))},
    {"RangeTableFuncCol", NULL,
     MEMBERS(AS("typeName", "TypeName"), WALK("colexpr"), WALK("coldefexpr"))},
    {"ColumnDef", NULL, MEMBERS(AS("typeName", "TypeName"), AS("collClause", "CollateClause"))},
    {"TypeName", see_type_name, MEMBERS(SEE("names"), WALK("typmods"), SEE("arrayBounds"))},
    /* clauses */
    {"SortBy", see_sort, MEMBERS(WALK("node"), SEE("useOp"))},
    {"WindowDef", see_compares,
     MEMBERS(WALK("partitionClause"), WALK("orderClause"), WALK("startOffset"), WALK("endOffset"))},
    {"GroupingSet", see_compares, MEMBERS(WALK("content"))},
    {"CommonTableExpr", NULL,
     MEMBERS(WALK("ctequery"), SEE("aliascolnames"), AS("search_clause", "CTESearchClause"),
             AS("cycle_clause", "CTECycleClause"))},
    {"CTESearchClause", see_compares, MEMBERS(SEE("search_col_list"))},
    {"CTECycleClause", see_compares,
     MEMBERS(SEE("cycle_col_list"), WALK("cycle_mark_value"), WALK("cycle_mark_default"))},
    {"OnConflictClause", NULL,
     MEMBERS(AS("infer", "InferClause"), WALK("targetList"), WALK("whereClause"))},
    {"InferClause", NULL, MEMBERS(WALK("indexElems"), WALK("whereClause"))},
    {"IndexElem", NULL, MEMBERS(WALK("expr"), SEE("collation"), SEE("opclass"))},
    {"MergeWhenClause", NULL, MEMBERS(WALK("condition"), WALK("targetList"), WALK("values"))},
    /* statements; a WITH clause comes before all else, see analysis_walk_as */
    {"SelectStmt", see_select,
     MEMBERS(SEE("withClause"), SEE("intoClause"), SEE("lockingClause"), WALK("distinctClause"),
             WALK("targetList"), WALK("fromClause"), WALK("whereClause"), WALK("groupClause"),
             WALK("havingClause"), WALK("windowClause"), WALK("valuesLists"), WALK("sortClause"),
             WALK("limitOffset"), WALK("limitCount"), AS("larg", "SelectStmt"),
             AS("rarg", "SelectStmt"))},
    {"InsertStmt", see_insert,
     MEMBERS(SEE("withClause"), SEE("relation"), WALK("cols"), WALK("selectStmt"),
             AS("onConflictClause", "OnConflictClause"), WALK("returningList"))},
    {"UpdateStmt", see_update,
     MEMBERS(SEE("withClause"), SEE("relation"), WALK("targetList"), WALK("whereClause"),
             WALK("fromClause"), WALK("returningList"))},
    {"DeleteStmt", see_delete,
     MEMBERS(SEE("withClause"), SEE("relation"), WALK("usingClause"), WALK("whereClause"),
             WALK("returningList"))},
    {"MergeStmt", see_merge,
     MEMBERS(SEE("withClause"), SEE("relation"), WALK("sourceRelation"), WALK("joinCondition"),
             WALK("mergeWhenClauses"))},
};

static const struct node *find_node(struct span type)
{
    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
        if (span_is(type, nodes[i].type))
            return &nodes[i];
    return NULL;
}

/* --- the walk --------------------------------------------------------------------------------- */

static void walk_object(struct analysis *analysis, struct span type, tree_at object);

static void walk_member(struct analysis *analysis, const struct node *node, tree_at part)
{
    struct span name = analysis_tree_name(&analysis->tree, part);
    const struct member *known = node->members;
    while (known->name != NULL && !span_is(name, known->name))
        known += 1;
    if (known->name == NULL)
        analysis_because(analysis, QUERY_REASON_SYNTAX);
    else if (known->how == WALKED)
        analysis_walk(analysis, part);
    else if (known->how == TYPED)
        walk_object(analysis, span_text(known->type), part);
}

static void walk_members(struct analysis *analysis, const struct node *node, tree_at object)
{
    const struct tree *tree = &analysis->tree;
    uint16_t scopes = analysis->scopes;
    tree_at with = member(analysis, object, "withClause");
    if (with != 0)
        analysis_see_with(analysis, with);
    if (node->see != NULL)
        node->see(analysis, object);
    for (tree_at part = analysis_tree_first(tree, object); part != 0;
         part = analysis_tree_next(tree, object, part))
        if (tree->values[part].kind <= TREE_LIST)
            walk_member(analysis, node, part);
    analysis->scopes = scopes;
}

static void walk_object(struct analysis *analysis, struct span type, tree_at object)
{
    const struct node *node = find_node(type);
    if (node == NULL || analysis->tree.values[object].kind != TREE_OBJECT ||
        analysis->depth == WALK_DEPTH_MAX) {
        analysis_because(analysis, QUERY_REASON_SYNTAX);
        return;
    }
    analysis->depth += 1;
    walk_members(analysis, node, object);
    analysis->depth -= 1;
}

void analysis_walk_as(struct analysis *analysis, const char *type, tree_at object)
{
    walk_object(analysis, span_text(type), object);
}

/* A list item that is NULL in PostgreSQL's tree is an empty object. */
static void walk_node(struct analysis *analysis, tree_at value)
{
    const struct tree *tree = &analysis->tree;
    tree_at object = analysis_tree_first(tree, value);
    if (object == 0)
        return;
    if (analysis_tree_next(tree, value, object) != 0)
        analysis_because(analysis, QUERY_REASON_SYNTAX);
    else
        walk_object(analysis, analysis_tree_name(tree, object), object);
}

void analysis_walk(struct analysis *analysis, tree_at value)
{
    const struct tree *tree = &analysis->tree;
    invariant(value != 0);
    if (tree->values[value].kind == TREE_OBJECT) {
        walk_node(analysis, value);
        return;
    }
    for (tree_at part = analysis_tree_first(tree, value); part != 0;
         part = analysis_tree_next(tree, value, part)) {
        if (tree->values[part].kind == TREE_OBJECT)
            walk_node(analysis, part);
        else
            analysis_because(analysis, QUERY_REASON_SYNTAX);
    }
}
