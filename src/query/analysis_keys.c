/*
 * analysis_keys.c - conditions that compare a column with a parameter or a literal.
 *
 * They are taken from the AND list of WHERE of a statement with a single relation, so that each of
 * its rows fulfils all of them.
 */
#include "query/analysis_parts.h"

/* The relation that columns belong to. */
struct place {
    struct span schema;
    struct span name;
    struct span alias;
};

static tree_at member(const struct analysis *analysis, tree_at object, const char *name)
{
    return analysis_tree_member(&analysis->tree, object, name);
}

static struct span text(const struct analysis *analysis, tree_at object, const char *name)
{
    return analysis_tree_member_text(&analysis->tree, object, name);
}

/* --- columns ---------------------------------------------------------------------------------- */

static bool is_of(const struct place *place, struct span schema, struct span name)
{
    if (place->alias.size > 0)
        return schema.size == 0 && span_equal(name, place->alias);
    return span_equal(name, place->name) && (schema.size == 0 || span_equal(schema, place->schema));
}

/* Returns the name of a column of the relation; empty if the node is none. */
static struct span read_column(const struct analysis *analysis, const struct place *place,
                               tree_at node)
{
    const struct tree *tree = &analysis->tree;
    tree_at column = analysis_tree_node(tree, node, "ColumnRef");
    tree_at fields = member(analysis, column, "fields");
    struct span names[3] = {SPAN_NONE, SPAN_NONE, SPAN_NONE};
    uint32_t count = analysis_tree_length(tree, fields);
    if (count == 0 || count > ARRAY_SIZE(names))
        return SPAN_NONE;
    tree_at part = analysis_tree_first(tree, fields);
    for (size_t i = ARRAY_SIZE(names) - count; i < ARRAY_SIZE(names); i++) {
        names[i] = text(analysis, analysis_tree_node(tree, part, "String"), "sval");
        if (names[i].size == 0)
            return SPAN_NONE;
        part = analysis_tree_next(tree, fields, part);
    }
    return count == 1 || is_of(place, names[0], names[1]) ? names[2] : SPAN_NONE;
}

/* --- values ----------------------------------------------------------------------------------- */

static uint32_t read_number(struct span digits)
{
    uint32_t number = 0;
    for (size_t i = 0; i < digits.size && i < 9; i++)
        number = number * 10 + (uint32_t)(digits.at[i] - '0');
    return number;
}

/* An absent integer is 0 or negative: the text shows which. */
static struct span read_integer(const struct analysis *analysis, tree_at constant, tree_at integer)
{
    struct span value = text(analysis, integer, "ival");
    if (value.size > 0)
        return value;
    uint32_t at = read_number(text(analysis, constant, "location"));
    bool zero = at < analysis->text.size && analysis->text.at[at] == '0';
    return zero ? SPAN("0") : SPAN_NONE;
}

static bool read_constant(const struct analysis *analysis, tree_at constant, struct query_key *key)
{
    tree_at integer = member(analysis, constant, "ival");
    tree_at number = member(analysis, constant, "fval");
    tree_at string = member(analysis, constant, "sval");
    tree_at boolean = member(analysis, constant, "boolval");
    if (integer != 0) {
        key->literal = read_integer(analysis, constant, integer);
        return key->literal.size > 0;
    }
    if (number != 0) {
        key->literal = text(analysis, number, "fval");
        return key->literal.size > 0;
    }
    if (boolean != 0) {
        bool set = member(analysis, boolean, "boolval") != 0;
        key->literal = set ? SPAN("true") : SPAN("false");
        return true;
    }
    key->literal = text(analysis, string, "sval");
    key->quoted = true;
    return string != 0;
}

static bool read_cast(const struct analysis *analysis, tree_at cast, struct query_key *key)
{
    tree_at type = member(analysis, cast, "typeName");
    tree_at constant =
        analysis_tree_node(&analysis->tree, member(analysis, cast, "arg"), "A_Const");
    if (constant == 0 || member(analysis, type, "typmods") != 0 ||
        member(analysis, type, "arrayBounds") != 0)
        return false;
    key->type = analysis_object(analysis, member(analysis, type, "names"));
    return key->type.name.size > 0 && read_constant(analysis, constant, key);
}

static bool read_value(const struct analysis *analysis, tree_at node, struct query_key *key)
{
    const struct tree *tree = &analysis->tree;
    tree_at constant = analysis_tree_node(tree, node, "A_Const");
    tree_at parameter = analysis_tree_node(tree, node, "ParamRef");
    tree_at cast = analysis_tree_node(tree, node, "TypeCast");
    if (constant != 0)
        return read_constant(analysis, constant, key);
    if (cast != 0)
        return read_cast(analysis, cast, key);
    uint32_t number = read_number(text(analysis, parameter, "number"));
    key->parameter = (uint16_t)(number <= UINT16_MAX ? number : 0);
    key->repeated = number >= ANALYSIS_COUNTED_MAX || analysis->places[number] != 1;
    return key->parameter > 0;
}

/* --- conditions ------------------------------------------------------------------------------- */

static void add_key(struct analysis *analysis, const struct place *place, tree_at column,
                    tree_at value)
{
    struct query_key key = {.column = read_column(analysis, place, column)};
    if (key.column.size == 0 || !read_value(analysis, value, &key))
        return;
    if (analysis->done.keys_count < QUERY_ANALYSIS_ITEMS_MAX)
        analysis->keys[analysis->done.keys_count++] = key;
    else
        analysis->truncated = true;
}

static void see_comparison(struct analysis *analysis, const struct place *place, tree_at object)
{
    const struct tree *tree = &analysis->tree;
    struct span kind = text(analysis, object, "kind");
    struct query_object op = analysis_object(analysis, member(analysis, object, "name"));
    tree_at left = member(analysis, object, "lexpr"), right = member(analysis, object, "rexpr");
    if (!span_is(op.name, "=") || (op.schema.size > 0 && !span_is(op.schema, "pg_catalog")))
        return;
    if (span_is(kind, "AEXPR_IN")) {
        tree_at list = member(analysis, analysis_tree_node(tree, right, "List"), "items");
        if (analysis_tree_length(tree, list) == 1)
            add_key(analysis, place, left, analysis_tree_first(tree, list));
    } else if (span_is(kind, "AEXPR_OP")) {
        add_key(analysis, place, left, right);
        add_key(analysis, place, right, left);
    }
}

static void see_condition(struct analysis *analysis, const struct place *place, tree_at node)
{
    const struct tree *tree = &analysis->tree;
    tree_at comparison = analysis_tree_node(tree, node, "A_Expr");
    tree_at list = analysis_tree_node(tree, node, "BoolExpr");
    if (comparison != 0)
        see_comparison(analysis, place, comparison);
    if (list == 0 || !span_is(text(analysis, list, "boolop"), "AND_EXPR"))
        return;
    list = member(analysis, list, "args");
    tree_at part = analysis_tree_first(tree, list);
    for (; part != 0; part = analysis_tree_next(tree, list, part))
        see_condition(analysis, place, part);
}

/* --- statements ------------------------------------------------------------------------------- */

/* Returns the only relation of a SELECT; 0 if there is not just one. */
static tree_at source_of(const struct analysis *analysis, tree_at select)
{
    const struct tree *tree = &analysis->tree;
    tree_at from = member(analysis, select, "fromClause");
    if (analysis->occurrences != 1 || analysis->done.writes_count > 0 ||
        analysis_tree_length(tree, from) != 1)
        return 0;
    return analysis_tree_node(tree, analysis_tree_first(tree, from), "RangeVar");
}

/* Returns the target of an UPDATE or DELETE that has no other relation. */
static tree_at target_of(const struct analysis *analysis, tree_at statement)
{
    bool single = analysis->occurrences == 0 && analysis->done.writes_count == 1 &&
                  member(analysis, statement, "fromClause") == 0 &&
                  member(analysis, statement, "usingClause") == 0;
    return single ? member(analysis, statement, "relation") : 0;
}

static bool assigns(const struct analysis *analysis, tree_at update, struct span column)
{
    const struct tree *tree = &analysis->tree;
    tree_at list = member(analysis, update, "targetList");
    tree_at part = analysis_tree_first(tree, list);
    for (; part != 0; part = analysis_tree_next(tree, list, part)) {
        tree_at target = analysis_tree_node(tree, part, "ResTarget");
        if (target == 0 || span_equal(text(analysis, target, "name"), column))
            return true;
    }
    return false;
}

/* A row whose column an UPDATE assigns may have another value of it behind the statement. */
static void drop_assigned(struct analysis *analysis, tree_at update)
{
    uint16_t kept = 0;
    for (uint16_t i = 0; i < analysis->done.keys_count; i++)
        if (!assigns(analysis, update, analysis->keys[i].column))
            analysis->keys[kept++] = analysis->keys[i];
    analysis->done.keys_count = kept;
}

void analysis_see_keys(struct analysis *analysis, tree_at node)
{
    const struct tree *tree = &analysis->tree;
    tree_at select = analysis_tree_node(tree, node, "SelectStmt");
    tree_at update = analysis_tree_node(tree, node, "UpdateStmt");
    tree_at statement = select != 0 ? select : update;
    if (statement == 0)
        statement = analysis_tree_node(tree, node, "DeleteStmt");
    tree_at where = member(analysis, statement, "whereClause");
    if (where == 0 || member(analysis, statement, "withClause") != 0)
        return;
    tree_at relation = select != 0 ? source_of(analysis, select) : target_of(analysis, statement);
    if (relation == 0)
        return;
    struct place place = {
        .schema = text(analysis, relation, "schemaname"),
        .name = text(analysis, relation, "relname"),
        .alias = text(analysis, member(analysis, relation, "alias"), "aliasname"),
    };
    see_condition(analysis, &place, where);
    if (update != 0)
        drop_assigned(analysis, update);
}
