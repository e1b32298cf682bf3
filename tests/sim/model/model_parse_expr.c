/* model_parse_expr.c - expressions, by the precedence that PostgreSQL gives to its operators. */
#include "model_inside.h"

#define DEPTH_MAX 60

static fault read_level(struct sql_parser *parser, int level, struct sql_expr **ret);

static struct sql_expr *new_expr(struct sql_parser *parser, enum sql_expr_kind kind)
{
    struct sql_expr *expr = sql_take(parser->arena, sizeof(*expr));
    expr->kind = kind;
    return expr;
}

static struct sql_expr *new_pair(struct sql_parser *parser, enum sql_expr_kind kind,
                                 struct sql_expr *left, struct sql_expr *right)
{
    struct sql_expr *expr = new_expr(parser, kind);
    invariant(left != NULL);
    expr->args = left;
    expr->arg_count = right == NULL ? 1 : 2;
    left->next = right;
    return expr;
}

/* --- primaries -------------------------------------------------------------------------------- */

static struct sql_expr *new_number(struct sql_parser *parser, const struct sql_token *token,
                                   bool negative)
{
    struct sql_expr *expr = new_expr(parser, SQL_CONST);
    if (token->kind == SQL_INTEGER && token->number <= INT64_MAX) {
        int64_t number = negative ? -(int64_t)token->number : (int64_t)token->number;
        expr->type = number <= INT32_MAX && number >= INT32_MIN ? SQL_INT4 : SQL_INT8;
        expr->value.number = number;
        return expr;
    }
    expr->type = SQL_NUMERIC;
    expr->value.text = sql_printf(parser->arena, "%s%s%.*s", negative ? "-" : "",
                                  token->raw.at[0] == '.' ? "0" : "", SPAN_ARG(token->raw));
    expr->value.real = strtod((const char *)expr->value.text.at, NULL);
    return expr;
}

static struct sql_expr *new_cast(struct sql_parser *parser, struct sql_expr *of, enum sql_type type,
                                 struct span name)
{
    struct sql_expr *expr = new_pair(parser, SQL_CAST, of, NULL);
    expr->type = type;
    expr->name = name;
    return expr;
}

static fault read_call(struct sql_parser *parser, struct sql_expr *call)
{
    call->kind = SQL_CALL;
    if (sql_accept_sign(parser, "*")) {
        call->args = new_expr(parser, SQL_STAR);
        call->arg_count = 1;
    } else if (!sql_is_sign(parser, ")")) {
        TRY(sql_read_list(parser, &call->args, &call->arg_count));
    }
    return sql_expect_sign(parser, ")");
}

/* A column, a function, one of the functions without parentheses. */
static fault read_named(struct sql_parser *parser, struct sql_expr **ret)
{
    static const char *const words[] = {"current_user", "session_user", "user", "current_role",
                                        "current_catalog"};
    struct sql_expr *expr = new_expr(parser, SQL_COLUMN);
    *ret = expr;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (!sql_is_word(parser, words[i]))
            continue;
        expr->kind = SQL_CALL;
        expr->name = parser->at->value;
        expr->is_word = true;
        parser->at += 1;
        return OK;
    }
    TRY(sql_read_name(parser, &expr->name));
    if (sql_accept_sign(parser, ".")) {
        expr->of = expr->name;
        if (sql_accept_sign(parser, "*")) {
            expr->kind = SQL_STAR;
            return OK;
        }
        TRY(sql_read_name(parser, &expr->name));
    }
    if (!sql_accept_sign(parser, "("))
        return OK;
    return read_call(parser, expr);
}

/* CAST(x AS type) */
static fault read_cast(struct sql_parser *parser, struct sql_expr **ret)
{
    struct sql_expr *of = NULL;
    enum sql_type type = SQL_UNKNOWN;
    TRY(sql_expect_sign(parser, "("));
    TRY(sql_read_expr(parser, &of));
    TRY(sql_expect_word(parser, "as"));
    TRY(sql_read_type(parser, &type));
    *ret = new_cast(parser, of, type, span_text(sql_types[type].word));
    return sql_expect_sign(parser, ")");
}

static fault read_word(struct sql_parser *parser, struct sql_expr **ret)
{
    if (sql_accept_word(parser, "null")) {
        *ret = new_expr(parser, SQL_CONST);
        (*ret)->value.null = true;
        return OK;
    }
    if (sql_is_word(parser, "true") || sql_is_word(parser, "false")) {
        *ret = new_expr(parser, SQL_CONST);
        (*ret)->type = SQL_BOOL;
        (*ret)->value.number = sql_is_word(parser, "true");
        parser->at += 1;
        return OK;
    }
    if (sql_accept_word(parser, "cast"))
        return read_cast(parser, ret);
    if (sql_accept_word(parser, "default")) {
        *ret = new_expr(parser, SQL_DEFAULT);
        return OK;
    }
    return read_named(parser, ret);
}

static fault read_primary(struct sql_parser *parser, struct sql_expr **ret)
{
    const struct sql_token *token = parser->at;
    switch (token->kind) {
    case SQL_INTEGER:
    case SQL_DECIMAL:
        *ret = new_number(parser, token, false);
        parser->at += 1;
        return OK;
    case SQL_STRING:
        *ret = new_expr(parser, SQL_CONST);
        (*ret)->value.text = token->value;
        parser->at += 1;
        return OK;
    case SQL_DOLLAR:
        *ret = new_expr(parser, SQL_PARAM);
        (*ret)->number = (uint32_t)MIN_OF(token->number, UINT32_MAX);
        parser->at += 1;
        return OK;
    case SQL_WORD:
        return read_word(parser, ret);
    case SQL_QUOTED:
        return read_named(parser, ret);
    default:
        break;
    }
    if (!sql_accept_sign(parser, "("))
        return sql_syntax_error(parser);
    TRY(sql_read_expr(parser, ret));
    return sql_expect_sign(parser, ")");
}

static fault read_with_casts(struct sql_parser *parser, struct sql_expr **ret)
{
    TRY(read_primary(parser, ret));
    while (sql_accept_sign(parser, "::")) {
        enum sql_type type = SQL_UNKNOWN;
        TRY(sql_read_type(parser, &type));
        *ret = new_cast(parser, *ret, type, span_text(sql_types[type].word));
    }
    return OK;
}

static fault read_signed(struct sql_parser *parser, struct sql_expr **ret)
{
    if (sql_accept_sign(parser, "+"))
        return read_signed(parser, ret);
    if (!sql_accept_sign(parser, "-"))
        return read_with_casts(parser, ret);
    bool number = parser->at->kind == SQL_INTEGER || parser->at->kind == SQL_DECIMAL;
    bool casts = number && parser->at[1].kind == SQL_SIGN && span_is(parser->at[1].value, "::");
    if (number && !casts) {
        *ret = new_number(parser, parser->at, true);
        parser->at += 1;
        return OK;
    }
    struct sql_expr *of = NULL;
    TRY(read_signed(parser, &of));
    *ret = new_pair(parser, SQL_OPERATOR, of, NULL);
    (*ret)->sign[0] = '-';
    return OK;
}

/* --- operators -------------------------------------------------------------------------------- */

enum {
    LEVEL_OR,
    LEVEL_AND,
    LEVEL_NOT,
    LEVEL_IS,
    LEVEL_COMPARE,
    LEVEL_IN,
    LEVEL_OTHER,
    LEVEL_ADD,
    LEVEL_TIMES,
    LEVEL_SIGNED
};

/* Which signs bind at a level. */
static const char *const level_signs[][7] = {
    [LEVEL_COMPARE] = {"=", "<>", "<", ">", "<=", ">="},
    [LEVEL_OTHER] = {"||"},
    [LEVEL_ADD] = {"+", "-"},
    [LEVEL_TIMES] = {"*", "/", "%"},
};

static const char *level_sign(const struct sql_parser *parser, int level)
{
    for (size_t i = 0; i < 7 && level_signs[level][i] != NULL; i++)
        if (sql_is_sign(parser, level_signs[level][i]))
            return level_signs[level][i];
    return NULL;
}

static fault read_operators(struct sql_parser *parser, int level, struct sql_expr **ret)
{
    TRY(read_level(parser, level + 1, ret));
    for (;;) {
        const char *sign = level_sign(parser, level);
        struct sql_expr *right = NULL;
        if (sign == NULL)
            return OK;
        parser->at += 1;
        TRY(read_level(parser, level + 1, &right));
        *ret = new_pair(parser, SQL_OPERATOR, *ret, right);
        memcpy((*ret)->sign, sign, strlen(sign) + 1);
        if (level == LEVEL_COMPARE) /* they do not chain */
            return level_sign(parser, level) == NULL ? OK : sql_syntax_error(parser);
    }
}

static fault read_logic(struct sql_parser *parser, int level, struct sql_expr **ret)
{
    const char *word = level == LEVEL_OR ? "or" : "and";
    TRY(read_level(parser, level + 1, ret));
    while (sql_accept_word(parser, word)) {
        struct sql_expr *right = NULL;
        TRY(read_level(parser, level + 1, &right));
        *ret = new_pair(parser, level == LEVEL_OR ? SQL_OR : SQL_AND, *ret, right);
    }
    return OK;
}

static fault read_is(struct sql_parser *parser, struct sql_expr **ret)
{
    TRY(read_level(parser, LEVEL_IS + 1, ret));
    if (!sql_accept_word(parser, "is"))
        return OK;
    struct sql_expr *test = new_pair(parser, SQL_IS_NULL, *ret, NULL);
    test->negated = sql_accept_word(parser, "not");
    *ret = test;
    return sql_expect_word(parser, "null");
}

/* x in (a, b) is x = a or x = b. */
static fault read_in(struct sql_parser *parser, struct sql_expr **ret)
{
    TRY(read_level(parser, LEVEL_IN + 1, ret));
    bool negated = sql_is_word(parser, "not") && parser->at[1].kind == SQL_WORD &&
                   span_is(parser->at[1].value, "in");
    parser->at += negated;
    if (!sql_accept_word(parser, "in"))
        return OK;
    struct sql_expr *list = NULL, *all = NULL;
    uint32_t count = 0;
    TRY(sql_expect_sign(parser, "("));
    TRY(sql_read_list(parser, &list, &count));
    TRY(sql_expect_sign(parser, ")"));
    while (list != NULL) {
        struct sql_expr *next = list->next, *left = new_expr(parser, SQL_CONST);
        *left = **ret;
        list->next = NULL;
        struct sql_expr *equal = new_pair(parser, SQL_OPERATOR, left, list);
        equal->sign[0] = '=';
        all = all == NULL ? equal : new_pair(parser, SQL_OR, all, equal);
        list = next;
    }
    *ret = negated ? new_pair(parser, SQL_NOT, all, NULL) : all;
    return OK;
}

static fault read_not(struct sql_parser *parser, struct sql_expr **ret)
{
    if (!sql_accept_word(parser, "not"))
        return read_level(parser, LEVEL_NOT + 1, ret);
    struct sql_expr *of = NULL;
    TRY(read_not(parser, &of));
    *ret = new_pair(parser, SQL_NOT, of, NULL);
    return OK;
}

static fault read_level(struct sql_parser *parser, int level, struct sql_expr **ret)
{
    switch (level) {
    case LEVEL_OR:
    case LEVEL_AND:
        return read_logic(parser, level, ret);
    case LEVEL_NOT:
        return read_not(parser, ret);
    case LEVEL_IS:
        return read_is(parser, ret);
    case LEVEL_IN:
        return read_in(parser, ret);
    case LEVEL_SIGNED:
        return read_signed(parser, ret);
    default:
        return read_operators(parser, level, ret);
    }
}

fault sql_read_expr(struct sql_parser *parser, struct sql_expr **ret)
{
    if (parser->depth >= DEPTH_MAX)
        return model_raise(parser->session, "54001", "stack depth limit exceeded");
    parser->depth += 1;
    fault read = read_level(parser, LEVEL_OR, ret);
    parser->depth -= 1;
    return read;
}

fault sql_read_list(struct sql_parser *parser, struct sql_expr **ret, uint32_t *count)
{
    *ret = NULL;
    *count = 0;
    do {
        TRY(sql_read_expr(parser, ret));
        invariant(*ret != NULL);
        ret = &(*ret)->next;
        *count += 1;
    } while (sql_accept_sign(parser, ","));
    return OK;
}
