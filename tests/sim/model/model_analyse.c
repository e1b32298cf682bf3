/* model_analyse.c - what the names of a statement mean, and of what types its values are. */
#include "model_inside.h"

#include <stdio.h>

struct analysis {
    struct model_session *session;
    struct sql_arena *arena;
    struct sql_stmt *stmt;
    struct sql_params *params;
    bool excluded;             /* ON CONFLICT DO UPDATE sees the row that was refused */
    const char *no_aggregates; /* where there may be none: "WHERE" */
    uint32_t aggregates;       /* found */
    bool bare;                 /* a column outside of an aggregate was found */
    struct span bare_name;
    bool inside; /* of an aggregate */
};

static fault analyse(struct analysis *a, struct sql_expr *expr);

/* --- names ------------------------------------------------------------------------------------ */

static fault no_column(struct analysis *a, const struct sql_expr *expr)
{
    if (expr->of.size > 0)
        return model_raise(a->session, "42703", "column %.*s.%.*s does not exist",
                           SPAN_ARG(expr->of), SPAN_ARG(expr->name));
    return model_raise(a->session, "42703", "column \"%.*s\" does not exist", SPAN_ARG(expr->name));
}

static bool column_number(struct span name, uint32_t *ret)
{
    *ret = span_is(name, "v");
    return span_is(name, "k") || span_is(name, "v");
}

static fault analyse_column(struct analysis *a, struct sql_expr *expr)
{
    const struct sql_stmt *stmt = a->stmt;
    bool excluded = a->excluded && span_is(expr->of, "excluded");
    if (expr->of.size > 0 && !excluded &&
        (stmt->source == SQL_FROM_NOTHING || !span_equal(expr->of, stmt->alias)))
        return model_raise(a->session, "42P01", "missing FROM-clause entry for table \"%.*s\"",
                           SPAN_ARG(expr->of));
    if (stmt->source == SQL_FROM_NOTHING)
        return no_column(a, expr);
    if (stmt->source == SQL_FROM_SERIES) {
        if (!span_equal(expr->name, stmt->alias))
            return no_column(a, expr);
        expr->type = stmt->series->type;
    } else {
        if (!column_number(expr->name, &expr->number))
            return no_column(a, expr);
        expr->type = expr->number == 0 ? SQL_INT4 : SQL_TEXT;
        expr->number += excluded ? 2 : 0;
    }
    if (!a->inside && !a->bare) {
        a->bare = true;
        a->bare_name =
            sql_printf(a->arena, "%.*s.%.*s", SPAN_ARG(stmt->alias), SPAN_ARG(expr->name));
    }
    return OK;
}

static fault analyse_param(struct analysis *a, struct sql_expr *expr)
{
    struct sql_params *params = a->params;
    if (expr->number == 0 || expr->number > (params->open ? SQL_PARAMS_MAX : params->count))
        return model_raise(a->session, "42P02", "there is no parameter $%u", expr->number);
    params->count = MAX_OF(params->count, expr->number);
    expr->type = params->types[expr->number - 1];
    return OK;
}

/* --- coercion --------------------------------------------------------------------------------- */

static bool is_number(enum sql_type type)
{
    return type == SQL_INT4 || type == SQL_INT8 || type == SQL_FLOAT8 || type == SQL_NUMERIC;
}

static bool is_text(enum sql_type type)
{
    return type == SQL_TEXT || type == SQL_NAME;
}

/* Whether a value changes its type by itself. */
static bool is_implicit(enum sql_type from, enum sql_type to, bool assigned)
{
    if (from == to || from == SQL_UNKNOWN || (is_text(from) && is_text(to)))
        return true;
    if (assigned && is_text(to))
        return from != SQL_VOID;
    if (!is_number(from) || !is_number(to))
        return false;
    return assigned || from == SQL_INT4 || (from == SQL_INT8 && to != SQL_INT4) ||
           (from == SQL_NUMERIC && to == SQL_FLOAT8);
}

static struct sql_expr *cast_to(struct sql_arena *arena, struct sql_expr *expr, enum sql_type type)
{
    struct sql_expr *cast = sql_take(arena, sizeof(*cast));
    cast->kind = SQL_CAST;
    cast->type = type;
    cast->args = expr;
    cast->arg_count = 1;
    cast->next = expr->next;
    expr->next = NULL;
    return cast;
}

static fault settle_param(struct model_session *session, struct sql_params *params,
                          struct sql_expr *expr, enum sql_type type)
{
    enum sql_type *known = &params->types[expr->number - 1];
    if (*known != SQL_UNKNOWN && *known != type) {
        (void)model_raise(session, "42P08", "inconsistent types deduced for parameter $%u",
                          expr->number);
        model_detail(session, "%s versus %s", sql_types[*known].name, sql_types[type].name);
        return FAULT_UPSTREAM;
    }
    *known = type;
    expr->type = type;
    return OK;
}

static fault coerce(struct analysis *a, struct sql_expr **expr, enum sql_type type, bool assigned,
                    bool *done)
{
    struct sql_expr *old = *expr;
    invariant(old != NULL);
    *done = is_implicit(old->type, type, assigned);
    if (!*done || old->type == type)
        return OK;
    if (old->type == SQL_UNKNOWN && old->kind == SQL_PARAM)
        return settle_param(a->session, a->params, old, type);
    if (old->type == SQL_UNKNOWN && old->kind == SQL_CONST) {
        if (!old->value.null)
            TRY(sql_value_read(a->session, type, sql_copy(a->arena, old->value.text), &old->value));
        old->type = type;
        return OK;
    }
    *expr = cast_to(a->arena, old, type);
    return OK;
}

fault sql_coerce(struct model_session *session, struct sql_arena *arena, struct sql_expr **expr,
                 enum sql_type type, bool assigned, bool *ret_done)
{
    struct sql_params none = {0};
    struct analysis a = {.session = session, .arena = arena, .params = &none};
    return coerce(&a, expr, type, assigned, ret_done);
}

/* --- operators -------------------------------------------------------------------------------- */

static fault no_operator(struct analysis *a, const struct sql_expr *expr, bool ambiguous)
{
    const struct sql_expr *left = expr->args, *right = left->next;
    const char *word = ambiguous ? "operator is not unique" : "operator does not exist";
    if (right == NULL)
        (void)model_raise(a->session, ambiguous ? "42725" : "42883", "%s: %s %s", word, expr->sign,
                          sql_types[left->type].name);
    else
        (void)model_raise(a->session, ambiguous ? "42725" : "42883", "%s: %s %s %s", word,
                          sql_types[left->type].name, expr->sign, sql_types[right->type].name);
    if (ambiguous)
        model_hint(a->session, "Could not choose a best candidate operator. You might need to add "
                               "explicit type casts.");
    else if (right == NULL)
        model_hint(a->session, "No operator matches the given name and argument type. You might "
                               "need to add an explicit type cast.");
    else
        model_hint(a->session, "No operator matches the given name and argument types. You might "
                               "need to add explicit type casts.");
    return FAULT_UPSTREAM;
}

static enum sql_type wider(enum sql_type a, enum sql_type b)
{
    if (a == SQL_FLOAT8 || b == SQL_FLOAT8)
        return SQL_FLOAT8;
    if (a == SQL_NUMERIC || b == SQL_NUMERIC)
        return SQL_NUMERIC;
    return a == SQL_INT8 || b == SQL_INT8 ? SQL_INT8 : SQL_INT4;
}

/* Both sides get this type. */
static fault both(struct analysis *a, struct sql_expr *expr, enum sql_type type)
{
    bool done;
    TRY(coerce(a, &expr->args, type, false, &done));
    return coerce(a, &expr->args->next, type, false, &done);
}

/* The other side of an operator that has two. */
static const struct sql_expr *other_side(const struct sql_expr *expr)
{
    invariant(expr->args != NULL);
    const struct sql_expr *other = expr->args->next;
    invariant(other != NULL);
    return other;
}

static fault analyse_arithmetic(struct analysis *a, struct sql_expr *expr)
{
    enum sql_type left = expr->args->type, right = other_side(expr)->type;
    if (left == SQL_UNKNOWN && right == SQL_UNKNOWN)
        return no_operator(a, expr, true);
    left = left == SQL_UNKNOWN ? right : left;
    right = right == SQL_UNKNOWN ? left : right;
    if (!is_number(left) || !is_number(right))
        return no_operator(a, expr, false);
    expr->type = wider(left, right);
    return both(a, expr, expr->type);
}

static fault analyse_comparison(struct analysis *a, struct sql_expr *expr)
{
    enum sql_type left = expr->args->type, right = other_side(expr)->type;
    left = left == SQL_UNKNOWN ? right : left;
    right = right == SQL_UNKNOWN ? left : right;
    expr->type = SQL_BOOL;
    if (left == SQL_UNKNOWN)
        return both(a, expr, SQL_TEXT);
    if (is_number(left) && is_number(right))
        return both(a, expr, wider(left, right));
    if (is_text(left) && is_text(right))
        return both(a, expr, SQL_TEXT);
    if (left == SQL_BOOL && right == SQL_BOOL)
        return both(a, expr, SQL_BOOL);
    return no_operator(a, expr, false);
}

static fault analyse_concatenation(struct analysis *a, struct sql_expr *expr)
{
    struct sql_expr **sides[2] = {&expr->args, &expr->args->next};
    enum sql_type types[2] = {expr->args->type, other_side(expr)->type};
    bool text = is_text(types[0]) || is_text(types[1]) || types[0] == SQL_UNKNOWN ||
                types[1] == SQL_UNKNOWN;
    if (!text || types[0] == SQL_VOID || types[1] == SQL_VOID)
        return no_operator(a, expr, false);
    expr->type = SQL_TEXT;
    for (int i = 1; i >= 0; i--) {
        bool done;
        TRY(coerce(a, sides[i], SQL_TEXT, true, &done));
    }
    return OK;
}

static fault analyse_operator(struct analysis *a, struct sql_expr *expr)
{
    invariant(expr->args != NULL);
    if (expr->arg_count == 1) {
        if (expr->args->type == SQL_UNKNOWN)
            return no_operator(a, expr, true);
        expr->type = expr->args->type;
        return is_number(expr->type) ? OK : no_operator(a, expr, false);
    }
    if (strchr("<>=", expr->sign[0]) != NULL)
        return analyse_comparison(a, expr);
    if (expr->sign[0] == '|')
        return analyse_concatenation(a, expr);
    return analyse_arithmetic(a, expr);
}

/* --- calls ------------------------------------------------------------------------------------ */

static fault no_function(struct analysis *a, const struct sql_expr *expr)
{
    char types[160] = "";
    size_t size = 0;
    for (const struct sql_expr *arg = expr->args; arg != NULL; arg = arg->next)
        size += (size_t)snprintf(types + size, sizeof(types) - size, "%s%s", size > 0 ? ", " : "",
                                 arg->kind == SQL_STAR ? "" : sql_types[arg->type].name);
    (void)model_raise(a->session, "42883", "function %.*s%s%.*s(%s) does not exist",
                      SPAN_ARG(expr->of), expr->of.size > 0 ? "." : "", SPAN_ARG(expr->name),
                      types);
    model_hint(a->session, "No function matches the given name and argument types. You might "
                           "need to add explicit type casts.");
    return FAULT_UPSTREAM;
}

static fault analyse_arguments(struct analysis *a, struct sql_expr *expr)
{
    const struct sql_function *function = expr->function;
    struct sql_expr **arg = &expr->args;
    for (uint32_t i = 0; i < function->arg_count; i++, arg = &(*arg)->next) {
        bool done;
        TRY(coerce(a, arg, function->args[i], false, &done));
    }
    return OK;
}

static fault analyse_call(struct analysis *a, struct sql_expr *expr)
{
    enum sql_type types[8] = {0};
    uint32_t count = 0;
    bool was_inside = a->inside;
    bool aggregate = span_is(expr->name, "count") || span_is(expr->name, "sum") ||
                     span_is(expr->name, "min") || span_is(expr->name, "max");
    bool star = expr->args != NULL && expr->args->kind == SQL_STAR;
    a->inside = a->inside || aggregate;
    for (struct sql_expr *arg = expr->args; arg != NULL; arg = arg->next) {
        if (!star)
            TRY(analyse(a, arg));
        if (count < ARRAY_SIZE(types))
            types[count++] = arg->type;
    }
    a->inside = was_inside;
    expr->function = sql_function_find(expr->name, types, star ? 0 : count);
    if (expr->function == NULL || (expr->of.size > 0 && !span_is(expr->of, "pg_catalog")))
        return no_function(a, expr);
    expr->type = expr->function->result;
    if (expr->function->aggregate != SQL_PLAIN) {
        if (a->no_aggregates != NULL)
            return model_raise(a->session, "42803", "aggregate functions are not allowed in %s",
                               a->no_aggregates);
        expr->number = a->aggregates++;
    }
    return star ? OK : analyse_arguments(a, expr);
}

/* --- expressions ------------------------------------------------------------------------------ */

static fault must_be_bool(struct analysis *a, struct sql_expr **expr, const char *what)
{
    bool done;
    TRY(coerce(a, expr, SQL_BOOL, false, &done));
    if (done)
        return OK;
    return model_raise(a->session, "42804", "argument of %s must be type boolean, not type %s",
                       what, sql_types[(*expr)->type].name);
}

static fault analyse_logic(struct analysis *a, struct sql_expr *expr)
{
    const char *word = expr->kind == SQL_AND ? "AND" : expr->kind == SQL_OR ? "OR" : "NOT";
    expr->type = SQL_BOOL;
    for (struct sql_expr **arg = &expr->args; *arg != NULL; arg = &(*arg)->next)
        TRY(must_be_bool(a, arg, word));
    return OK;
}

static fault analyse_cast(struct analysis *a, struct sql_expr *expr)
{
    invariant(expr->args != NULL);
    enum sql_type from = expr->args->type;
    bool done;
    if (from == SQL_UNKNOWN)
        return coerce(a, &expr->args, expr->type, false, &done);
    bool possible = from == expr->type || is_text(from) || is_text(expr->type) ||
                    (is_number(from) && is_number(expr->type)) ||
                    (from == SQL_BOOL && expr->type == SQL_INT4) ||
                    (from == SQL_INT4 && expr->type == SQL_BOOL);
    if (possible && from != SQL_VOID)
        return OK;
    return model_raise(a->session, "42846", "cannot cast type %s to %s", sql_types[from].name,
                       sql_types[expr->type].name);
}

static fault analyse(struct analysis *a, struct sql_expr *expr)
{
    if (expr->kind == SQL_CALL)
        return analyse_call(a, expr);
    for (struct sql_expr *arg = expr->args; arg != NULL; arg = arg->next)
        TRY(analyse(a, arg));
    switch (expr->kind) {
    case SQL_COLUMN:
        return analyse_column(a, expr);
    case SQL_PARAM:
        return analyse_param(a, expr);
    case SQL_OPERATOR:
        return analyse_operator(a, expr);
    case SQL_CAST:
        return analyse_cast(a, expr);
    case SQL_AND:
    case SQL_OR:
    case SQL_NOT:
        return analyse_logic(a, expr);
    case SQL_IS_NULL:
        expr->type = SQL_BOOL;
        return OK;
    case SQL_DEFAULT:
        return model_raise(a->session, "42601", "DEFAULT is not allowed in this context");
    case SQL_STAR:
        return model_raise(a->session, "42601", "syntax error at or near \"*\"");
    default:
        return OK;
    }
}

/* --- clauses ---------------------------------------------------------------------------------- */

static fault analyse_where(struct analysis *a, struct sql_expr **where)
{
    if (*where == NULL)
        return OK;
    a->no_aggregates = "WHERE";
    bool bare = a->bare;
    TRY(analyse(a, *where));
    TRY(must_be_bool(a, where, "WHERE"));
    a->bare = bare;
    a->no_aggregates = NULL;
    return OK;
}

/* One target for each column. */
static fault expand_star(struct analysis *a, struct sql_target *star)
{
    struct sql_stmt *stmt = a->stmt;
    struct span of = star->expr->of;
    if (of.size > 0 && !span_equal(of, stmt->alias))
        return model_raise(a->session, "42P01", "missing FROM-clause entry for table \"%.*s\"",
                           SPAN_ARG(of));
    if (stmt->source == SQL_FROM_NOTHING)
        return model_raise(a->session, "42601", "SELECT * with no tables specified is not valid");
    star->expr->kind = SQL_COLUMN;
    star->expr->of = SPAN_NONE;
    star->expr->name = star->label = stmt->source == SQL_FROM_SERIES ? stmt->alias : SPAN("k");
    if (stmt->source == SQL_FROM_SERIES)
        return OK;
    struct sql_target *value = sql_take(a->arena, sizeof(*value));
    value->expr = sql_take(a->arena, sizeof(*value->expr));
    value->expr->kind = SQL_COLUMN;
    value->expr->name = value->label = SPAN("v");
    value->next = star->next;
    star->next = value;
    return OK;
}

static fault analyse_targets(struct analysis *a)
{
    for (struct sql_target *target = a->stmt->targets; target != NULL; target = target->next) {
        if (target->expr->kind == SQL_STAR)
            TRY(expand_star(a, target));
        TRY(analyse(a, target->expr));
    }
    a->stmt->aggregates = a->aggregates > 0;
    return OK;
}

/* What nobody gave a type is text. */
static fault settle_targets(struct analysis *a)
{
    for (struct sql_target *target = a->stmt->targets; target != NULL; target = target->next) {
        bool done;
        if (target->expr->type == SQL_UNKNOWN)
            TRY(coerce(a, &target->expr, SQL_TEXT, false, &done));
    }
    return OK;
}

static fault analyse_order(struct analysis *a)
{
    struct sql_expr *order = a->stmt->order;
    uint32_t position = 0;
    if (order == NULL)
        return OK;
    bool number = order->kind == SQL_CONST && order->type == SQL_INT4;
    for (struct sql_target *target = a->stmt->targets; target != NULL; target = target->next) {
        position += 1;
        bool named = order->kind == SQL_COLUMN && order->of.size == 0 &&
                     span_equal(order->name, target->label);
        if (!named && !(number && order->value.number == position))
            continue;
        a->stmt->order = target->expr;
        return OK;
    }
    if (number)
        return model_raise(a->session, "42P10", "ORDER BY position %d is not in select list",
                           (int)order->value.number);
    return analyse(a, order);
}

static fault analyse_limit(struct analysis *a, struct sql_expr **limit, const char *word)
{
    bool done;
    if (*limit == NULL)
        return OK;
    TRY(analyse(a, *limit));
    TRY(coerce(a, limit, SQL_INT8, true, &done));
    if (done)
        return OK;
    return model_raise(a->session, "42804", "argument of %s must be type bigint, not type %s", word,
                       sql_types[(*limit)->type].name);
}

static fault analyse_series(struct analysis *a)
{
    struct sql_stmt *stmt = a->stmt;
    enum sql_type type = SQL_INT4;
    uint32_t count = 0;
    enum sql_source source = stmt->source;
    stmt->source = SQL_FROM_NOTHING;
    for (struct sql_expr *arg = stmt->series; arg != NULL; arg = arg->next, count++) {
        TRY(analyse(a, arg));
        type = arg->type == SQL_INT8 ? SQL_INT8 : type;
    }
    struct sql_expr call = {.name = SPAN("generate_series"), .args = stmt->series};
    for (struct sql_expr **arg = &stmt->series; *arg != NULL; arg = &(*arg)->next) {
        bool done;
        TRY(coerce(a, arg, type, false, &done));
        if (!done || count < 2 || count > 3)
            return no_function(a, &call);
    }
    stmt->source = source;
    return OK;
}

static fault analyse_select(struct analysis *a)
{
    struct sql_stmt *stmt = a->stmt;
    struct model_table *table;
    if (stmt->source == SQL_FROM_TABLE)
        TRY(model_table_find(a->session, stmt->table, &table));
    if (stmt->source == SQL_FROM_SERIES)
        TRY(analyse_series(a));
    TRY(analyse_targets(a));
    TRY(analyse_where(a, &stmt->where));
    TRY(analyse_order(a));
    TRY(analyse_limit(a, &stmt->offset, "OFFSET"));
    TRY(analyse_limit(a, &stmt->limit, "LIMIT"));
    TRY(settle_targets(a));
    if (stmt->aggregates && a->bare)
        return model_raise(a->session, "42803",
                           "column \"%.*s\" must appear in the GROUP BY clause or be used in an "
                           "aggregate function",
                           SPAN_ARG(a->bare_name));
    return OK;
}

/* --- changes ---------------------------------------------------------------------------------- */

/* All values are looked at before the first is made one of its column. */
static fault analyse_value(struct analysis *a, struct sql_expr *value)
{
    return value->kind == SQL_DEFAULT ? OK : analyse(a, value);
}

/* `*value` becomes one of column `number`. */
static fault assign(struct analysis *a, struct sql_expr **value, uint32_t number)
{
    enum sql_type type = number == 0 ? SQL_INT4 : SQL_TEXT;
    bool done;
    if ((*value)->kind == SQL_DEFAULT) {
        (*value)->kind = SQL_CONST;
        (*value)->value.null = true;
        (*value)->type = type;
        return OK;
    }
    TRY(coerce(a, value, type, true, &done));
    if (done)
        return OK;
    (void)model_raise(
        a->session, "42804", "column \"%s\" is of type %s but expression is of type %s",
        number == 0 ? "k" : "v", sql_types[type].name, sql_types[(*value)->type].name);
    model_hint(a->session, "You will need to rewrite or cast the expression.");
    return FAULT_UPSTREAM;
}

static fault find_column(struct analysis *a, struct sql_assignment *column)
{
    if (column_number(column->column, &column->number))
        return OK;
    return model_raise(a->session, "42703", "column \"%.*s\" of relation \"%.*s\" does not exist",
                       SPAN_ARG(column->column), SPAN_ARG(a->stmt->table));
}

static fault analyse_columns(struct analysis *a, uint32_t *count)
{
    uint32_t seen = 0;
    *count = 0;
    for (struct sql_assignment *it = a->stmt->columns; it != NULL; it = it->next, *count += 1) {
        TRY(find_column(a, it));
        if ((seen & 1u << it->number) != 0)
            return model_raise(a->session, "42701", "column \"%.*s\" specified more than once",
                               SPAN_ARG(it->column));
        seen |= 1u << it->number;
    }
    return OK;
}

static fault analyse_set(struct analysis *a)
{
    uint32_t seen = 0;
    for (struct sql_assignment *it = a->stmt->set; it != NULL; it = it->next)
        TRY(analyse_value(a, it->value));
    for (struct sql_assignment *it = a->stmt->set; it != NULL; it = it->next) {
        TRY(find_column(a, it));
        if ((seen & 1u << it->number) != 0)
            return model_raise(a->session, "42601", "multiple assignments to same column \"%.*s\"",
                               SPAN_ARG(it->column));
        seen |= 1u << it->number;
        TRY(assign(a, &it->value, it->number));
    }
    return OK;
}

static fault analyse_row(struct analysis *a, struct sql_row *row, uint32_t named)
{
    struct sql_assignment *column = a->stmt->columns;
    uint32_t number = 0, max = a->stmt->columns == NULL ? 2 : named;
    if (row->count > max)
        return model_raise(a->session, "42601", "INSERT has more expressions than target columns");
    if (row->count < named)
        return model_raise(a->session, "42601", "INSERT has more target columns than expressions");
    for (struct sql_expr *value = row->values; value != NULL; value = value->next)
        TRY(analyse_value(a, value));
    for (struct sql_expr **value = &row->values; *value != NULL; value = &(*value)->next) {
        TRY(assign(a, value, column == NULL ? number : column->number));
        column = column == NULL ? NULL : column->next;
        number += 1;
    }
    return OK;
}

static fault analyse_insert(struct analysis *a)
{
    struct sql_stmt *stmt = a->stmt;
    struct model_table *table;
    uint32_t named, width = 0;
    TRY(model_table_find(a->session, stmt->table, &table));
    TRY(analyse_columns(a, &named));
    if (stmt->inner != NULL)
        TRY(sql_analyse(a->session, a->arena, stmt->inner, a->params));
    for (struct sql_row *row = stmt->rows; row != NULL; row = row->next) {
        if (row != stmt->rows && row->count != width)
            return model_raise(a->session, "42601", "VALUES lists must all be the same length");
        width = row->count;
    }
    for (struct sql_row *row = stmt->rows; row != NULL; row = row->next)
        TRY(analyse_row(a, row, named));
    stmt->source = SQL_FROM_TABLE;
    a->excluded = true;
    TRY(analyse_set(a));
    a->excluded = false;
    TRY(analyse_targets(a));
    return settle_targets(a);
}

static fault analyse_change(struct analysis *a)
{
    struct model_table *table;
    TRY(model_table_find(a->session, a->stmt->table, &table));
    a->stmt->source = SQL_FROM_TABLE;
    TRY(analyse_where(a, &a->stmt->where));
    TRY(analyse_targets(a));
    TRY(settle_targets(a));
    return analyse_set(a);
}

fault sql_analyse_copy(struct model_session *session, struct sql_arena *arena,
                       struct sql_stmt *stmt)
{
    struct sql_params none = {0};
    struct analysis a = {.session = session, .arena = arena, .stmt = stmt, .params = &none};
    struct model_table *table;
    uint32_t count;
    if (stmt->inner != NULL) {
        /* Once more from its text: analysis changes what it looks at. */
        TRY(sql_parse(session, arena, stmt->inner->text, &stmt->inner));
        return sql_analyse(session, arena, stmt->inner, &none);
    }
    TRY(model_table_find(session, stmt->table, &table));
    return analyse_columns(&a, &count);
}

/* Its only column is called as the setting is spelled. */
static fault analyse_show(struct analysis *a)
{
    const char *spelled;
    if (model_guc_show(a->session, a->stmt->name, a->arena, &spelled) == NULL)
        return model_guc_unknown(a->session, a->stmt->name);
    a->stmt->targets = sql_take(a->arena, sizeof(*a->stmt->targets));
    a->stmt->targets->expr = sql_take(a->arena, sizeof(*a->stmt->targets->expr));
    a->stmt->targets->expr->type = SQL_TEXT;
    a->stmt->targets->label = span_text(spelled);
    return OK;
}

fault sql_analyse(struct model_session *session, struct sql_arena *arena, struct sql_stmt *stmt,
                  struct sql_params *params)
{
    struct analysis a = {.session = session, .arena = arena, .stmt = stmt, .params = params};
    switch (stmt->kind) {
    case SQL_SELECT:
        return analyse_select(&a);
    case SQL_INSERT:
        return analyse_insert(&a);
    case SQL_UPDATE:
    case SQL_DELETE:
        return analyse_change(&a);
    case SQL_SHOW:
        return analyse_show(&a);
    case SQL_DECLARE:
        return sql_analyse(session, arena, stmt->inner, params);
    default:
        return OK;
    }
}

fault sql_analyse_lone(struct model_session *session, struct sql_arena *arena,
                       struct sql_expr *expr, struct sql_params *params)
{
    struct sql_stmt nothing = {.source = SQL_FROM_NOTHING};
    struct analysis a = {.session = session, .arena = arena, .stmt = &nothing, .params = params};
    return analyse(&a, expr);
}

bool sql_has_rows(const struct sql_stmt *stmt)
{
    return stmt->kind == SQL_SELECT || stmt->targets != NULL;
}
