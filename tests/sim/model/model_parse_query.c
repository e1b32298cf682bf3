/* model_parse_query.c - SELECT, INSERT, UPDATE and DELETE. */
#include "model_inside.h"

bool sql_is_query(const struct sql_parser *parser)
{
    return sql_is_word(parser, "select") || sql_is_word(parser, "insert") ||
           sql_is_word(parser, "update") || sql_is_word(parser, "delete");
}

/* --- targets ---------------------------------------------------------------------------------- */

/* How the server calls a column that nobody named; `*strong`: it won't be renamed by a cast. */
static struct span figure_label(const struct sql_expr *expr, bool *strong)
{
    struct span inner;
    switch (expr->kind) {
    case SQL_COLUMN:
    case SQL_CALL:
        *strong = true;
        return expr->name;
    case SQL_CAST:
        inner = figure_label(expr->args, strong);
        return *strong ? inner : expr->name;
    default:
        *strong = false;
        return SPAN("?column?");
    }
}

static bool may_be_label(const struct sql_parser *parser)
{
    static const char *const not_labels[] = {"from",   "where", "order",     "limit",
                                             "offset", "for",   "returning", "group",
                                             "union",  "into",  "on"};
    if (parser->at->kind == SQL_QUOTED)
        return true;
    if (parser->at->kind != SQL_WORD)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(not_labels); i++)
        if (sql_is_word(parser, not_labels[i]))
            return false;
    return true;
}

static fault read_target(struct sql_parser *parser, struct sql_target **ret)
{
    struct sql_target *target = sql_take(parser->arena, sizeof(*target));
    bool strong = false;
    *ret = target;
    if (sql_accept_sign(parser, "*")) {
        target->expr = sql_take(parser->arena, sizeof(*target->expr));
        target->expr->kind = SQL_STAR;
        return OK;
    }
    TRY(sql_read_expr(parser, &target->expr));
    target->label = figure_label(target->expr, &strong);
    bool named = sql_accept_word(parser, "as");
    if (!named && !may_be_label(parser))
        return OK;
    if (parser->at->kind != SQL_QUOTED && parser->at->kind != SQL_WORD)
        return sql_syntax_error(parser);
    target->label = parser->at->value;
    parser->at += 1;
    return OK;
}

static fault read_targets(struct sql_parser *parser, struct sql_target **ret)
{
    do {
        TRY(read_target(parser, ret));
        ret = &(*ret)->next;
    } while (sql_accept_sign(parser, ","));
    return OK;
}

static fault read_returning(struct sql_parser *parser, struct sql_stmt *stmt)
{
    return sql_accept_word(parser, "returning") ? read_targets(parser, &stmt->targets) : OK;
}

/* --- select ----------------------------------------------------------------------------------- */

static fault read_alias(struct sql_parser *parser, struct sql_stmt *stmt)
{
    static const char *const not_aliases[] = {"where", "order",     "limit", "offset", "for",
                                              "set",   "returning", "group", "union"};
    bool named = sql_accept_word(parser, "as");
    if (!named && parser->at->kind != SQL_WORD && parser->at->kind != SQL_QUOTED)
        return OK;
    for (size_t i = 0; !named && i < ARRAY_SIZE(not_aliases); i++)
        if (sql_is_word(parser, not_aliases[i]))
            return OK;
    return sql_read_name(parser, &stmt->alias);
}

static fault read_from(struct sql_parser *parser, struct sql_stmt *stmt)
{
    uint32_t count = 0;
    TRY(sql_read_relation(parser, &stmt->table));
    stmt->alias = stmt->table;
    stmt->source = SQL_FROM_TABLE;
    if (sql_accept_sign(parser, "(")) {
        if (!span_is(stmt->table, "generate_series") &&
            !span_is(stmt->table, "pg_catalog.generate_series"))
            return model_raise(parser->session, "0A000", "the model knows no function %.*s in FROM",
                               SPAN_ARG(stmt->table));
        stmt->source = SQL_FROM_SERIES;
        TRY(sql_read_list(parser, &stmt->series, &count));
        TRY(sql_expect_sign(parser, ")"));
        stmt->alias = SPAN("generate_series");
    }
    TRY(read_alias(parser, stmt));
    if (stmt->source != SQL_FROM_SERIES || !sql_accept_sign(parser, "("))
        return OK;
    TRY(sql_read_name(parser, &stmt->alias));
    return sql_expect_sign(parser, ")");
}

/* select generate_series(1, 9): as if it stood in FROM. */
static void move_series(struct sql_parser *parser, struct sql_stmt *stmt)
{
    struct sql_expr *call = stmt->targets->expr;
    if (stmt->source != SQL_FROM_NOTHING || stmt->targets->next != NULL || call->kind != SQL_CALL ||
        !span_is(call->name, "generate_series"))
        return;
    stmt->source = SQL_FROM_SERIES;
    stmt->series = call->args;
    stmt->alias = SPAN("generate_series");
    struct sql_expr *column = sql_take(parser->arena, sizeof(*column));
    column->kind = SQL_COLUMN;
    column->name = stmt->alias;
    stmt->targets->expr = column;
}

static fault read_order(struct sql_parser *parser, struct sql_stmt *stmt)
{
    if (!sql_accept_word(parser, "order"))
        return OK;
    TRY(sql_expect_word(parser, "by"));
    TRY(sql_read_expr(parser, &stmt->order));
    stmt->descending = sql_accept_word(parser, "desc");
    if (!stmt->descending)
        (void)sql_accept_word(parser, "asc");
    return OK;
}

static fault read_limits(struct sql_parser *parser, struct sql_stmt *stmt)
{
    for (;;) {
        if (stmt->limit == NULL && sql_accept_word(parser, "limit")) {
            if (!sql_accept_word(parser, "all"))
                TRY(sql_read_expr(parser, &stmt->limit));
        } else if (stmt->offset == NULL && sql_accept_word(parser, "offset")) {
            TRY(sql_read_expr(parser, &stmt->offset));
        } else {
            return OK;
        }
    }
}

static fault read_select(struct sql_parser *parser, struct sql_stmt *stmt)
{
    stmt->kind = SQL_SELECT;
    bool bare = parser->at->kind == SQL_END || sql_is_sign(parser, ";") ||
                sql_is_sign(parser, ")") || sql_is_word(parser, "from");
    if (!bare)
        TRY(read_targets(parser, &stmt->targets));
    if (sql_accept_word(parser, "from"))
        TRY(read_from(parser, stmt));
    if (stmt->targets != NULL)
        move_series(parser, stmt);
    if (sql_accept_word(parser, "where"))
        TRY(sql_read_expr(parser, &stmt->where));
    TRY(read_order(parser, stmt));
    TRY(read_limits(parser, stmt));
    if (!sql_accept_word(parser, "for"))
        return OK;
    stmt->for_update = true;
    return sql_expect_word(parser, "update");
}

/* --- changes ---------------------------------------------------------------------------------- */

static fault read_set(struct sql_parser *parser, struct sql_stmt *stmt)
{
    struct sql_assignment **last = &stmt->set;
    TRY(sql_expect_word(parser, "set"));
    do {
        *last = sql_take(parser->arena, sizeof(**last));
        TRY(sql_read_name(parser, &(*last)->column));
        TRY(sql_expect_sign(parser, "="));
        TRY(sql_read_expr(parser, &(*last)->value));
        last = &(*last)->next;
    } while (sql_accept_sign(parser, ","));
    return OK;
}

/* ON CONFLICT [(k)] DO NOTHING | UPDATE SET ... */
static fault read_conflict(struct sql_parser *parser, struct sql_stmt *stmt)
{
    struct span column = SPAN_NONE;
    if (!sql_accept_word(parser, "on"))
        return OK;
    TRY(sql_expect_word(parser, "conflict"));
    if (sql_accept_sign(parser, "(")) {
        TRY(sql_read_name(parser, &column));
        TRY(sql_expect_sign(parser, ")"));
    }
    TRY(sql_expect_word(parser, "do"));
    if (sql_accept_word(parser, "nothing")) {
        stmt->conflict = SQL_CONFLICT_SKIPS;
        return OK;
    }
    TRY(sql_expect_word(parser, "update"));
    stmt->conflict = SQL_CONFLICT_UPDATES;
    return read_set(parser, stmt);
}

static fault read_rows(struct sql_parser *parser, struct sql_stmt *stmt)
{
    struct sql_row **last = &stmt->rows;
    TRY(sql_expect_word(parser, "values"));
    do {
        *last = sql_take(parser->arena, sizeof(**last));
        TRY(sql_expect_sign(parser, "("));
        TRY(sql_read_list(parser, &(*last)->values, &(*last)->count));
        TRY(sql_expect_sign(parser, ")"));
        last = &(*last)->next;
    } while (sql_accept_sign(parser, ","));
    return OK;
}

static fault read_insert(struct sql_parser *parser, struct sql_stmt *stmt)
{
    stmt->kind = SQL_INSERT;
    struct sql_assignment **last = &stmt->columns;
    TRY(sql_expect_word(parser, "into"));
    TRY(sql_read_relation(parser, &stmt->table));
    stmt->alias = stmt->table;
    if (sql_accept_sign(parser, "(")) {
        do {
            *last = sql_take(parser->arena, sizeof(**last));
            TRY(sql_read_name(parser, &(*last)->column));
            last = &(*last)->next;
        } while (sql_accept_sign(parser, ","));
        TRY(sql_expect_sign(parser, ")"));
    }
    if (sql_is_word(parser, "select"))
        TRY(sql_read_stmt(parser, &stmt->inner));
    else
        TRY(read_rows(parser, stmt));
    TRY(read_conflict(parser, stmt));
    return read_returning(parser, stmt);
}

static fault read_update(struct sql_parser *parser, struct sql_stmt *stmt)
{
    stmt->kind = SQL_UPDATE;
    TRY(sql_read_relation(parser, &stmt->table));
    stmt->alias = stmt->table;
    TRY(read_alias(parser, stmt));
    TRY(read_set(parser, stmt));
    if (sql_accept_word(parser, "where"))
        TRY(sql_read_expr(parser, &stmt->where));
    return read_returning(parser, stmt);
}

static fault read_delete(struct sql_parser *parser, struct sql_stmt *stmt)
{
    stmt->kind = SQL_DELETE;
    TRY(sql_expect_word(parser, "from"));
    TRY(sql_read_relation(parser, &stmt->table));
    stmt->alias = stmt->table;
    TRY(read_alias(parser, stmt));
    if (sql_accept_word(parser, "where"))
        TRY(sql_read_expr(parser, &stmt->where));
    return read_returning(parser, stmt);
}

fault sql_read_query(struct sql_parser *parser, struct sql_stmt *stmt)
{
    if (sql_accept_word(parser, "select"))
        return read_select(parser, stmt);
    if (sql_accept_word(parser, "insert"))
        return read_insert(parser, stmt);
    if (sql_accept_word(parser, "update"))
        return read_update(parser, stmt);
    TRY(sql_expect_word(parser, "delete"));
    return read_delete(parser, stmt);
}
