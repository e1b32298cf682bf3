/* model_evaluate.c - the value of an expression. */
#include "model_inside.h"

static fault divided_by_zero(const struct sql_scope *scope)
{
    return model_raise(scope->session, "22012", "division by zero");
}

/* --- operators -------------------------------------------------------------------------------- */

static fault out_of_range(const struct sql_scope *scope, enum sql_type type)
{
    return model_raise(scope->session, "22003", "%s out of range", sql_types[type].name);
}

static fault integer_arithmetic(const struct sql_scope *scope, const struct sql_expr *expr,
                                const struct sql_value sides[2], int64_t *ret)
{
    int64_t a = sides[0].number, b = sides[1].number;
    bool overflow = false;
    switch (expr->sign[0]) {
    case '+':
        overflow = __builtin_add_overflow(a, b, ret);
        break;
    case '-':
        overflow = __builtin_sub_overflow(a, b, ret);
        break;
    case '*':
        overflow = __builtin_mul_overflow(a, b, ret);
        break;
    default:
        if (b == 0)
            return divided_by_zero(scope);
        overflow = b == -1 && a == INT64_MIN && expr->sign[0] == '/';
        if (b == -1)
            *ret = expr->sign[0] == '/' ? (int64_t) - (uint64_t)a : 0;
        else
            *ret = expr->sign[0] == '/' ? a / b : a % b;
        break;
    }
    if (overflow || (expr->type == SQL_INT4 && (*ret > INT32_MAX || *ret < INT32_MIN)))
        return out_of_range(scope, expr->type);
    return OK;
}

static fault real_arithmetic(const struct sql_scope *scope, const struct sql_expr *expr,
                             const struct sql_value sides[2], struct sql_value *ret)
{
    double a = sides[0].real, b = sides[1].real;
    if (strchr("/%", expr->sign[0]) != NULL && b == 0)
        return divided_by_zero(scope);
    ret->real = expr->sign[0] == '+'   ? a + b
                : expr->sign[0] == '-' ? a - b
                : expr->sign[0] == '*' ? a * b
                                       : a / b;
    ret->text = sql_printf(scope->arena, "%.15g", ret->real);
    return OK;
}

static int compare_texts(struct span a, struct span b)
{
    size_t size = MIN_OF(a.size, b.size);
    int order = size == 0 ? 0 : memcmp(a.at, b.at, size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int64_t compare(enum sql_type type, const char *sign, const struct sql_value sides[2])
{
    int order = (sides[0].number > sides[1].number) - (sides[0].number < sides[1].number);
    if (type == SQL_TEXT || type == SQL_NAME)
        order = compare_texts(sides[0].text, sides[1].text);
    if (type == SQL_FLOAT8 || type == SQL_NUMERIC)
        order = (sides[0].real > sides[1].real) - (sides[0].real < sides[1].real);
    if (sign[0] == '=')
        return order == 0;
    if (sign[0] == '<')
        return sign[1] == '>' ? order != 0 : sign[1] == '=' ? order <= 0 : order < 0;
    return sign[1] == '=' ? order >= 0 : order > 0;
}

static fault evaluate_operator(const struct sql_scope *scope, const struct sql_expr *expr,
                               struct sql_value *ret)
{
    struct sql_value sides[2] = {{0}};
    const struct sql_expr *left = expr->args, *right = left->next;
    enum sql_type type = left->type;
    TRY(sql_evaluate(scope, left, &sides[right == NULL]));
    if (right != NULL)
        TRY(sql_evaluate(scope, right, &sides[1]));
    *ret = (struct sql_value){.null = sides[0].null || sides[1].null};
    if (ret->null)
        return OK;
    if (strchr("<>=", expr->sign[0]) != NULL) {
        ret->number = compare(type, expr->sign, sides);
        return OK;
    }
    if (expr->sign[0] == '|') {
        char *text = sql_take(scope->arena, sides[0].text.size + sides[1].text.size + 1);
        if (sides[0].text.size > 0)
            memcpy(text, sides[0].text.at, sides[0].text.size);
        if (sides[1].text.size > 0)
            memcpy(text + sides[0].text.size, sides[1].text.at, sides[1].text.size);
        ret->text = span_of(text, sides[0].text.size + sides[1].text.size);
        return OK;
    }
    if (expr->type == SQL_INT4 || expr->type == SQL_INT8)
        return integer_arithmetic(scope, expr, sides, &ret->number);
    return real_arithmetic(scope, expr, sides, ret);
}

/* AND and OR in the logic of three values. */
static fault evaluate_logic(const struct sql_scope *scope, const struct sql_expr *expr,
                            struct sql_value *ret)
{
    bool decides = expr->kind == SQL_OR;
    bool null = false;
    for (const struct sql_expr *arg = expr->args; arg != NULL; arg = arg->next) {
        TRY(sql_evaluate(scope, arg, ret));
        if (!ret->null && (ret->number != 0) == decides)
            return OK;
        null = null || ret->null;
    }
    *ret = (struct sql_value){.null = null, .number = !decides};
    return OK;
}

static fault evaluate_call(const struct sql_scope *scope, const struct sql_expr *expr,
                           struct sql_value *ret)
{
    const struct sql_function *function = expr->function;
    struct sql_value args[3] = {{0}};
    uint32_t count = 0;
    if (function->aggregate != SQL_PLAIN) {
        invariant(scope->aggregates != NULL);
        *ret = scope->aggregates[expr->number];
        return OK;
    }
    for (const struct sql_expr *arg = expr->args; arg != NULL; arg = arg->next) {
        TRY(sql_evaluate(scope, arg, &args[count]));
        if (args[count++].null && !function->takes_null) {
            *ret = (struct sql_value){.null = true};
            return OK;
        }
    }
    *ret = (struct sql_value){0};
    return function->call(scope, args, ret);
}

fault sql_evaluate(const struct sql_scope *scope, const struct sql_expr *expr,
                   struct sql_value *ret)
{
    switch (expr->kind) {
    case SQL_CONST:
        *ret = expr->value;
        return OK;
    case SQL_PARAM:
        *ret = scope->params[expr->number - 1];
        return OK;
    case SQL_COLUMN:
        *ret = scope->columns[expr->number];
        return OK;
    case SQL_CALL:
        return evaluate_call(scope, expr, ret);
    case SQL_OPERATOR:
        return evaluate_operator(scope, expr, ret);
    case SQL_CAST:
        TRY(sql_evaluate(scope, expr->args, ret));
        return sql_value_cast(scope->session, scope->arena,
                              (enum sql_type[]){expr->args->type, expr->type}, ret);
    case SQL_AND:
    case SQL_OR:
        return evaluate_logic(scope, expr, ret);
    case SQL_NOT:
        TRY(sql_evaluate(scope, expr->args, ret));
        ret->number = !ret->number;
        return OK;
    case SQL_IS_NULL:
        TRY(sql_evaluate(scope, expr->args, ret));
        *ret = (struct sql_value){.number = ret->null != expr->negated};
        return OK;
    default:
        *ret = (struct sql_value){.null = true};
        return OK;
    }
}

/* --- what the planner does -------------------------------------------------------------------- */

static bool is_constant(const struct sql_expr *expr, bool params)
{
    if (expr->kind == SQL_COLUMN || expr->kind == SQL_STAR ||
        (expr->kind == SQL_PARAM && !params) ||
        (expr->kind == SQL_CALL &&
         (expr->function->volatility != SQL_IMMUTABLE || expr->function->aggregate != SQL_PLAIN)))
        return false;
    for (const struct sql_expr *arg = expr->args; arg != NULL; arg = arg->next)
        if (!is_constant(arg, params))
            return false;
    return true;
}

fault sql_fold(const struct sql_scope *scope, const struct sql_expr *expr, bool params)
{
    struct sql_value value;
    if (expr == NULL || expr->kind == SQL_CONST || expr->kind == SQL_COLUMN)
        return OK;
    if (is_constant(expr, params))
        return sql_evaluate(scope, expr, &value);
    for (const struct sql_expr *arg = expr->args; arg != NULL; arg = arg->next)
        TRY(sql_fold(scope, arg, params));
    return OK;
}
