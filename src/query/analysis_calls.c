/*
 * analysis_calls.c - functions, operators, types, columns and constants of expressions.
 */
#include "base/check.h"
#include "query/analysis_parts.h"

static bool is_any_of(struct span name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (span_is(name, names[i]))
            return true;
    return false;
}

static bool object_equal(struct query_object a, struct query_object b)
{
    return span_equal(a.name, b.name) && span_equal(a.schema, b.schema);
}

static bool is_builtin(struct query_object object)
{
    return object.schema.size == 0 || span_is(object.schema, "pg_catalog");
}

struct query_object analysis_object(const struct analysis *analysis, tree_at names)
{
    const struct tree *tree = &analysis->tree;
    struct query_object object = {SPAN_NONE, SPAN_NONE};
    tree_at part = analysis_tree_first(tree, names);
    for (; part != 0; part = analysis_tree_next(tree, names, part)) {
        object.schema = object.name;
        object.name =
            analysis_tree_member_text(tree, analysis_tree_node(tree, part, "String"), "sval");
    }
    return object;
}

bool analysis_is_given(const struct analysis *analysis, tree_at node)
{
    return analysis_tree_node(&analysis->tree, node, "A_Const") != 0 ||
           analysis_tree_node(&analysis->tree, node, "ParamRef") != 0;
}

/* --- functions -------------------------------------------------------------------------------- */

static void add_function(struct analysis *analysis, struct query_function function)
{
    struct query_analysis *done = &analysis->done;
    for (uint16_t i = 0; i < done->functions_count; i++) {
        const struct query_function *known = &analysis->functions[i];
        if (object_equal(known->is, function.is) && known->arguments == function.arguments &&
            known->variadic == function.variadic && known->attribute == function.attribute &&
            known->field == function.field)
            return;
    }
    if (done->functions_count < QUERY_ANALYSIS_ITEMS_MAX)
        analysis->functions[done->functions_count++] = function;
    else
        analysis->truncated = true;
}

void analysis_add_builtin(struct analysis *analysis, const char *name, uint32_t arguments)
{
    struct query_object is = {SPAN("pg_catalog"), span_text(name)};
    add_function(analysis, (struct query_function){.is = is, .arguments = (uint16_t)arguments});
}

static void add_type(struct analysis *analysis, struct query_object is, bool computed)
{
    static const char *const reg_types[] = {
        "regclass",    "regcollation", "regconfig",    "regdictionary", "regnamespace", "regoper",
        "regoperator", "regproc",      "regprocedure", "regrole",       "regtype",
    };
    struct query_analysis *done = &analysis->done;
    if (is_builtin(is) && is_any_of(is.name, reg_types, ARRAY_SIZE(reg_types)))
        analysis_because(analysis, QUERY_REASON_REG_TYPE);
    for (uint16_t i = 0; i < done->types_count; i++) {
        if (object_equal(analysis->types[i].is, is)) {
            analysis->types[i].computed |= computed;
            return;
        }
    }
    if (done->types_count < QUERY_ANALYSIS_ITEMS_MAX)
        analysis->types[done->types_count++] = (struct query_type){is, computed};
    else
        analysis->truncated = true;
}

/* date(x) and regclass(x) are casts if x is a string. */
static void see_function_as_cast(struct analysis *analysis, struct query_object is, tree_at args)
{
    static const char *const types[] = {
        "date",          "time",         "timetz",       "timestamp",
        "timestamptz",   "regclass",     "regcollation", "regconfig",
        "regdictionary", "regnamespace", "regoper",      "regoperator",
        "regproc",       "regprocedure", "regrole",      "regtype",
    };
    if (is_builtin(is) && is_any_of(is.name, types, ARRAY_SIZE(types)))
        add_type(analysis, is,
                 !analysis_is_given(analysis, analysis_tree_first(&analysis->tree, args)));
}

void analysis_see_function(struct analysis *analysis, tree_at call)
{
    const struct tree *tree = &analysis->tree;
    tree_at args = analysis_tree_member(tree, call, "args");
    uint32_t count = analysis_tree_length(tree, args);
    if (analysis_tree_member(tree, call, "agg_within_group") != 0)
        count += analysis_tree_length(tree, analysis_tree_member(tree, call, "agg_order"));
    struct query_function function = {
        .is = analysis_object(analysis, analysis_tree_member(tree, call, "funcname")),
        .arguments = (uint16_t)(count > UINT16_MAX ? UINT16_MAX : count),
        .variadic = analysis_tree_member(tree, call, "func_variadic") != 0,
    };
    add_function(analysis, function);
    if (count == 1 && args != 0)
        see_function_as_cast(analysis, function.is, args);
    if (analysis_tree_member(tree, call, "agg_distinct") != 0)
        analysis->done.compares = true;
}

/* --- operators -------------------------------------------------------------------------------- */

static void add_operator(struct analysis *analysis, struct query_object is)
{
    struct query_analysis *done = &analysis->done;
    for (uint16_t i = 0; i < done->operators_count; i++)
        if (object_equal(analysis->operators[i], is))
            return;
    if (done->operators_count < QUERY_ANALYSIS_ITEMS_MAX)
        analysis->operators[done->operators_count++] = is;
    else
        analysis->truncated = true;
}

void analysis_add_operator(struct analysis *analysis, const char *name)
{
    add_operator(analysis, (struct query_object){SPAN_NONE, span_text(name)});
}

void analysis_see_operator(struct analysis *analysis, tree_at names)
{
    if (names == 0)
        analysis_add_operator(analysis, "=");
    else
        add_operator(analysis, analysis_object(analysis, names));
}

/* The kinds of A_Expr.  Those with `first` stand for other operators than their name. */
static const struct {
    const char *kind;
    const char *first;
    const char *second;
} kinds[] = {
    {"AEXPR_OP", NULL, NULL},           {"AEXPR_OP_ANY", NULL, NULL},
    {"AEXPR_OP_ALL", NULL, NULL},       {"AEXPR_DISTINCT", NULL, NULL},
    {"AEXPR_NOT_DISTINCT", NULL, NULL}, {"AEXPR_NULLIF", NULL, NULL},
    {"AEXPR_IN", NULL, NULL},           {"AEXPR_LIKE", NULL, NULL},
    {"AEXPR_ILIKE", NULL, NULL},        {"AEXPR_SIMILAR", NULL, NULL},
    {"AEXPR_BETWEEN", ">=", "<="},      {"AEXPR_NOT_BETWEEN", "<", ">"},
    {"AEXPR_BETWEEN_SYM", ">=", "<="},  {"AEXPR_NOT_BETWEEN_SYM", "<", ">"},
};

void analysis_see_expression(struct analysis *analysis, tree_at expression)
{
    struct span kind = analysis_tree_member_text(&analysis->tree, expression, "kind");
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (!span_is(kind, kinds[i].kind))
            continue;
        if (kinds[i].first == NULL) {
            tree_at name = analysis_tree_member(&analysis->tree, expression, "name");
            analysis_see_operator(analysis, name);
            return;
        }
        analysis_add_operator(analysis, kinds[i].first);
        analysis_add_operator(analysis, kinds[i].second);
        return;
    }
    analysis_because(analysis, QUERY_REASON_SYNTAX);
}

/* --- types and collations --------------------------------------------------------------------- */

void analysis_see_type(struct analysis *analysis, tree_at type, bool computed)
{
    tree_at names = analysis_tree_member(&analysis->tree, type, "names");
    if (names == 0)
        analysis_because(analysis, QUERY_REASON_SYNTAX);
    else
        add_type(analysis, analysis_object(analysis, names), computed);
}

void analysis_see_collation(struct analysis *analysis, tree_at names)
{
    struct query_analysis *done = &analysis->done;
    struct query_object is = analysis_object(analysis, names);
    for (uint16_t i = 0; i < done->collations_count; i++)
        if (object_equal(analysis->collations[i], is))
            return;
    if (done->collations_count < QUERY_ANALYSIS_ITEMS_MAX)
        analysis->collations[done->collations_count++] = is;
    else
        analysis->truncated = true;
}

/* --- columns, constants, parameters ----------------------------------------------------------- */

void analysis_see_column(struct analysis *analysis, tree_at names, enum column_names kind)
{
    static const char *const system_columns[] = {"ctid", "xmin", "xmax",
                                                 "cmin", "cmax", "tableoid"};
    const struct tree *tree = &analysis->tree;
    bool reference = kind == COLUMN_REFERENCE, first = true;
    tree_at part = analysis_tree_first(tree, names);
    for (; part != 0; part = analysis_tree_next(tree, names, part)) {
        struct span name =
            analysis_tree_member_text(tree, analysis_tree_node(tree, part, "String"), "sval");
        if (is_any_of(name, system_columns, ARRAY_SIZE(system_columns)))
            analysis_because(analysis, QUERY_REASON_SYSTEM_COLUMN);
        tree_at next = analysis_tree_next(tree, names, part);
        bool may_be_function = reference ? !first && next == 0 : kind == COLUMN_FIELDS;
        if (may_be_function && name.size > 0)
            add_function(analysis, (struct query_function){.is = {SPAN_NONE, name},
                                                           .arguments = 1,
                                                           .attribute = true,
                                                           .field = !reference});
        first = false;
    }
}

void analysis_see_constant(struct analysis *analysis, tree_at constant)
{
    const struct tree *tree = &analysis->tree;
    tree_at text = analysis_tree_member(tree, constant, "sval");
    if (text != 0 && query_is_time_word(analysis_tree_member_text(tree, text, "sval")))
        analysis_because(analysis, QUERY_REASON_TIME_WORD);
}

void analysis_see_value(struct analysis *analysis, tree_at value)
{
    static const char *const session[] = {
        "SVFOP_CURRENT_ROLE", "SVFOP_CURRENT_USER",    "SVFOP_USER",
        "SVFOP_SESSION_USER", "SVFOP_CURRENT_CATALOG", "SVFOP_CURRENT_SCHEMA",
    };
    struct span op = analysis_tree_member_text(&analysis->tree, value, "op");
    bool of_session = is_any_of(op, session, ARRAY_SIZE(session));
    analysis_because(analysis, of_session ? QUERY_REASON_SESSION_VALUE : QUERY_REASON_TIME_VALUE);
}

void analysis_see_parameter(struct analysis *analysis, tree_at parameter)
{
    struct span text = analysis_tree_member_text(&analysis->tree, parameter, "number");
    uint32_t number = 0;
    for (size_t i = 0; i < text.size && number <= UINT16_MAX; i++)
        number = number * 10 + (uint32_t)(text.at[i] - '0');
    if (text.size == 0 || number > UINT16_MAX)
        analysis_because(analysis, QUERY_REASON_SYNTAX);
    else if (number > analysis->done.parameters)
        analysis->done.parameters = (uint16_t)number;
    if (number < ANALYSIS_COUNTED_MAX && analysis->places[number] < 2)
        analysis->places[number] += 1;
}
