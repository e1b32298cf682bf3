/* model_run.c - queries, row by row, and how a portal is run. */
#include "model_inside.h"

#include <inttypes.h>
#include <stdio.h>

#define AGGREGATES_MAX  8
#define CONFLICT_BY_ROW 2 /* times as rare as at the beginning of a query */

/* --- planning --------------------------------------------------------------------------------- */

static fault fold_list(const struct sql_scope *scope, const struct sql_expr *list, bool params)
{
    for (; list != NULL; list = list->next)
        TRY(sql_fold(scope, list, params));
    return OK;
}

static fault fold_stmt(const struct sql_scope *scope, const struct sql_stmt *stmt, bool params)
{
    for (const struct sql_target *it = stmt->targets; it != NULL; it = it->next)
        TRY(sql_fold(scope, it->expr, params));
    TRY(fold_list(scope, stmt->series, params));
    TRY(sql_fold(scope, stmt->where, params));
    TRY(sql_fold(scope, stmt->limit, params));
    TRY(sql_fold(scope, stmt->offset, params));
    for (const struct sql_row *row = stmt->rows; row != NULL; row = row->next)
        TRY(fold_list(scope, row->values, params));
    for (const struct sql_assignment *it = stmt->set; it != NULL; it = it->next)
        TRY(sql_fold(scope, it->value, params));
    return stmt->inner == NULL ? OK : fold_stmt(scope, stmt->inner, params);
}

/* The first plans are made for the values at hand; later ones are for all. */
#define CUSTOM_PLANS 5

static fault plan(struct model_session *session, struct model_portal *portal)
{
    struct sql_scope scope = {
        .session = session, .arena = &portal->arena, .params = portal->params};
    struct model_plan *shared = portal->plan;
    bool custom = shared == NULL || shared->params.count == 0 || shared->customs < CUSTOM_PLANS;
    if (shared != NULL && shared->params.count > 0 && custom)
        shared->customs += 1;
    return fold_stmt(&scope, portal->stmt, custom);
}

/* --- the beginning of a query ----------------------------------------------------------------- */

static bool depends_on_rows(const struct sql_expr *expr)
{
    if (expr->kind == SQL_COLUMN)
        return true;
    for (const struct sql_expr *arg = expr->args; arg != NULL; arg = arg->next)
        if (depends_on_rows(arg))
            return true;
    return false;
}

/* where k = value: then only that row is looked at. */
static const struct sql_expr *find_key(const struct sql_expr *where)
{
    const struct sql_expr *left = where == NULL ? NULL : where->args;
    if (where == NULL)
        return NULL;
    if (where->kind == SQL_AND) {
        const struct sql_expr *found = find_key(left);
        return found != NULL ? found : find_key(left->next);
    }
    bool equal =
        where->kind == SQL_OPERATOR && where->arg_count == 2 && strcmp(where->sign, "=") == 0;
    if (!equal || left->kind != SQL_COLUMN || left->number != 0 || left->type != SQL_INT4 ||
        depends_on_rows(left->next))
        return NULL;
    return left->next;
}

static fault open_table(struct model_session *session, struct model_portal *portal)
{
    struct model_snapshot snapshot = model_snapshot(session);
    const struct sql_stmt *stmt = portal->stmt;
    const struct sql_expr *key = find_key(stmt->where);
    struct sql_scope scope = {
        .session = session, .arena = &portal->arena, .params = portal->params};
    struct sql_value value = {0};
    TRY(model_table_find(session, stmt->table, &portal->table));
    if (key != NULL)
        TRY(sql_evaluate(&scope, key, &value));
    int32_t wanted = (int32_t)value.number;
    bool one = key != NULL && !value.null;
    model_scan_begin(&portal->scan, portal->table, &snapshot, one ? &wanted : NULL);
    return OK;
}

static fault open_series(struct model_session *session, struct model_portal *portal)
{
    struct sql_scope scope = {
        .session = session, .arena = &portal->arena, .params = portal->params};
    struct sql_value values[3] = {{0}, {0}, {.number = 1}};
    uint32_t count = 0;
    for (const struct sql_expr *it = portal->stmt->series; it != NULL; it = it->next) {
        TRY(sql_evaluate(&scope, it, &values[count]));
        portal->series_over = portal->series_over || values[count].null;
        count++;
    }
    portal->series_at = values[0].number;
    portal->series_to = values[1].number;
    portal->series_step = values[2].number;
    return OK;
}

static void row_columns(const struct model_version *version, struct sql_value columns[2])
{
    columns[0] = (struct sql_value){.null = version->key_null, .number = version->key};
    columns[1] = (struct sql_value){.null = version->value_null,
                                    .text = span_of(version->value, version->size)};
}

struct sorted {
    struct model_version *version;
    struct sql_value by;
    uint32_t at; /* what is equal stays in its order */
};

static int compare_sorted(const void *left, const void *right)
{
    const struct sorted *a = left, *b = right;
    if (a->by.null != b->by.null)
        return a->by.null ? 1 : -1;
    size_t size = MIN_OF(a->by.text.size, b->by.text.size);
    int order = size > 0 ? memcmp(a->by.text.at, b->by.text.at, size) : 0;
    if (order == 0)
        order = (a->by.text.size > b->by.text.size) - (a->by.text.size < b->by.text.size);
    if (order == 0)
        order = (a->by.number > b->by.number) - (a->by.number < b->by.number);
    return order != 0 ? order : (a->at > b->at) - (a->at < b->at);
}

static fault sort_rows(struct model_session *session, struct model_portal *portal)
{
    struct model_scan *scan = &portal->scan;
    struct sorted *rows = calloc(scan->count + 1, sizeof(*rows));
    invariant(rows != NULL);
    fault done = OK;
    for (uint32_t i = 0; i < scan->count && done == OK; i++) {
        struct sql_value columns[2];
        row_columns(scan->rows[i], columns);
        struct sql_scope scope = {.session = session,
                                  .arena = &portal->arena,
                                  .params = portal->params,
                                  .columns = columns};
        rows[i] = (struct sorted){.version = scan->rows[i], .at = i};
        done = sql_evaluate(&scope, portal->stmt->order, &rows[i].by);
        if (portal->stmt->order->type != SQL_TEXT && portal->stmt->order->type != SQL_NAME)
            rows[i].by.text = SPAN_NONE;
    }
    qsort(rows, scan->count, sizeof(*rows), compare_sorted);
    for (uint32_t i = 0; i < scan->count; i++)
        scan->rows[portal->stmt->descending ? scan->count - 1 - i : i] = rows[i].version;
    free(rows);
    return done;
}

fault model_run_begin(struct model_session *session, struct model_portal *portal)
{
    const struct sql_stmt *stmt = portal->stmt;
    if (stmt == NULL || stmt->kind > SQL_DELETE)
        return OK;
    TRY(plan(session, portal));
    if (stmt->kind != SQL_SELECT)
        return OK;
    portal->limit = -1;
    if (stmt->for_update && stmt->source == SQL_FROM_TABLE)
        TRY(tx_must_write(session, "SELECT FOR UPDATE"));
    (void)model_snapshot(session);
    return stmt->source == SQL_FROM_TABLE ? open_table(session, portal) : OK;
}

/* --- rows ------------------------------------------------------------------------------------- */

/* The columns of the next row; false: none is left. */
static bool next_row(struct model_portal *portal, struct sql_value columns[2])
{
    switch (portal->stmt->source) {
    case SQL_FROM_TABLE:
        if (portal->scan.at == portal->scan.count)
            return false;
        row_columns(portal->scan.rows[portal->scan.at++], columns);
        return true;
    case SQL_FROM_SERIES: {
        bool over = portal->series_step > 0 ? portal->series_at > portal->series_to
                                            : portal->series_at < portal->series_to;
        if (portal->series_over || over)
            return false;
        columns[0] = (struct sql_value){.number = portal->series_at};
        portal->series_over =
            __builtin_add_overflow(portal->series_at, portal->series_step, &portal->series_at);
        return true;
    }
    default:
        if (portal->lone_over)
            return false;
        portal->lone_over = true;
        return true;
    }
}

fault model_project(const struct sql_scope *scope, const struct sql_stmt *stmt,
                    struct sql_value *values)
{
    for (const struct sql_target *it = stmt->targets; it != NULL; it = it->next)
        TRY(sql_evaluate(scope, it->expr, values++));
    return OK;
}

static fault passes(const struct sql_scope *scope, const struct sql_expr *where, bool *ret)
{
    struct sql_value truth = {.number = 1};
    if (where != NULL)
        TRY(sql_evaluate(scope, where, &truth));
    *ret = !truth.null && truth.number;
    return OK;
}

/* The next row that WHERE lets through. */
static fault next_match(const struct sql_scope *scope, struct model_portal *portal, bool *ret)
{
    for (*ret = false; !*ret;) {
        if (!next_row(portal, (struct sql_value *)(uintptr_t)scope->columns))
            return OK;
        TRY(model_check(scope->session));
        TRY(passes(scope, portal->stmt->where, ret));
        if (!*ret)
            sql_arena_reset(&portal->row);
    }
    return OK;
}

static void aggregate_row(const struct sql_function *function, const struct sql_value *value,
                          enum sql_type type, struct sql_value *total)
{
    if (value != NULL && value->null)
        return;
    if (function->aggregate == SQL_COUNT) {
        total->number += 1;
        return;
    }
    invariant(value != NULL); /* only count() does without */
    if (function->aggregate == SQL_SUM) {
        total->number = total->null ? value->number : total->number + value->number;
        total->null = false;
        return;
    }
    size_t size = MIN_OF(value->text.size, total->text.size);
    int order = type != SQL_TEXT ? (value->number > total->number) - (value->number < total->number)
                : size > 0       ? memcmp(value->text.at, total->text.at, size)
                                 : 0;
    if (type == SQL_TEXT && order == 0)
        order = (value->text.size > total->text.size) - (value->text.size < total->text.size);
    if (total->null || (function->aggregate == SQL_MIN ? order < 0 : order > 0))
        *total = *value;
}

static fault aggregate_expr(const struct sql_scope *scope, const struct sql_expr *expr,
                            struct sql_value *totals, bool begin)
{
    if (expr->kind != SQL_CALL || expr->function->aggregate == SQL_PLAIN) {
        for (const struct sql_expr *arg = expr->args; arg != NULL; arg = arg->next)
            TRY(aggregate_expr(scope, arg, totals, begin));
        return OK;
    }
    if (expr->number >= AGGREGATES_MAX)
        return model_raise(scope->session, "54000", "the model knows %d aggregates in a query",
                           AGGREGATES_MAX);
    struct sql_value value, *total = &totals[expr->number];
    if (begin) {
        *total = (struct sql_value){.null = expr->function->aggregate != SQL_COUNT};
        return OK;
    }
    bool star = expr->args == NULL || expr->args->kind == SQL_STAR;
    if (!star)
        TRY(sql_evaluate(scope, expr->args, &value));
    aggregate_row(expr->function, star ? NULL : &value, star ? SQL_VOID : expr->args->type, total);
    if (total->text.size > 0)
        total->text = sql_copy(scope->arena, total->text);
    return OK;
}

/* All rows become one. */
static fault aggregate_all(struct sql_scope *scope, struct model_portal *portal,
                           struct sql_value *totals)
{
    bool found = true;
    for (bool begin = true; found; begin = false) {
        scope->arena = &portal->arena;
        for (const struct sql_target *it = portal->stmt->targets; it != NULL; it = it->next)
            TRY(aggregate_expr(scope, it->expr, totals, begin));
        TRY(next_match(scope, portal, &found));
    }
    scope->aggregates = totals;
    portal->lone_over = true;
    return OK;
}

static fault read_limit(const struct sql_scope *scope, const struct sql_expr *expr,
                        const char *word, int64_t otherwise, int64_t *ret)
{
    struct sql_value value = {.null = true};
    if (expr != NULL)
        TRY(sql_evaluate(scope, expr, &value));
    *ret = value.null ? otherwise : value.number;
    if (*ret >= 0)
        return OK;
    return model_raise(scope->session, word[0] == 'L' ? "2201W" : "2201X",
                       "%s must not be negative", word);
}

static fault read_limits(const struct sql_scope *scope, struct model_portal *portal)
{
    if (portal->limit >= 0)
        return OK;
    if (portal->stmt->source == SQL_FROM_SERIES)
        TRY(open_series(scope->session, portal));
    if (portal->stmt->source == SQL_FROM_SERIES && portal->series_step == 0)
        return model_raise(scope->session, "22023", "step size cannot equal zero");
    if (portal->stmt->order != NULL && portal->stmt->source == SQL_FROM_TABLE &&
        !portal->stmt->aggregates)
        TRY(sort_rows(scope->session, portal));
    TRY(read_limit(scope, portal->stmt->offset, "OFFSET", 0, &portal->offset));
    return read_limit(scope, portal->stmt->limit, "LIMIT", INT64_MAX, &portal->limit);
}

static fault next_result(struct sql_scope *scope, struct model_portal *portal,
                         struct sql_value *totals, bool *ret)
{
    *ret = false;
    if (portal->limit == 0 || (portal->stmt->aggregates && portal->lone_over))
        return OK;
    if (portal->stmt->aggregates) {
        TRY(aggregate_all(scope, portal, totals));
        *ret = portal->offset == 0;
        return OK;
    }
    do
        TRY(next_match(scope, portal, ret));
    while (*ret && portal->offset > 0 && portal->offset-- > 0);
    portal->limit -= *ret && portal->limit != INT64_MAX;
    return OK;
}

fault model_run_rows(struct model_session *session, struct model_portal *portal, uint64_t max,
                     struct model_sink *sink)
{
    const struct sql_stmt *stmt = portal->stmt;
    struct sql_value columns[2], totals[AGGREGATES_MAX];
    struct sql_scope scope = {
        .session = session, .arena = &portal->row, .params = portal->params, .columns = columns};
    TRY(read_limits(&scope, portal));
    while (!portal->at_end && sink->rows < max) {
        bool found;
        sql_arena_reset(&portal->row);
        scope.arena = &portal->row;
        TRY(next_result(&scope, portal, totals, &found));
        if (!found)
            break;
        struct sql_value *values =
            sql_take(&portal->row, (model_target_count(stmt) + 1) * sizeof(*values));
        TRY(model_project(&scope, stmt, values));
        TRY(sink->row(sink, stmt, values));
        sink->rows += 1;
        TRY(model_conflict(session, CONFLICT_BY_ROW));
    }
    portal->at_end = portal->at_end || sink->rows < max;
    return OK;
}

/* --- portals ---------------------------------------------------------------------------------- */

/* Formats are looked at when there is a row to be written in them. */
static fault check_formats(const struct model_sink *sink)
{
    for (uint32_t i = 0; sink->portal != NULL && i < sink->portal->format_count; i++)
        if (sink->portal->formats[i] > 1)
            return model_raise(sink->session, "22023", "unsupported format code: %u",
                               sink->portal->formats[i]);
    return OK;
}

/* A command's count is that of the rows which this run has given. */
static void count_rows(char tag[48], uint64_t rows)
{
    char *space = strrchr(tag, ' ');
    if (space == NULL || space[1] < '0' || space[1] > '9')
        return;
    size_t size = (size_t)(space + 1 - tag);
    snprintf(space + 1, 48 - size, "%" PRIu64, rows);
}

static fault sink_to_client(struct model_sink *sink, const struct sql_stmt *stmt,
                            const struct sql_value *values)
{
    TRY(check_formats(sink));
    model_put_row(&sink->session->out, &sink->portal->row, stmt, values, sink->portal);
    return model_flush_much(sink->session);
}

static fault sink_to_store(struct model_sink *sink, const struct sql_stmt *stmt,
                           const struct sql_value *values)
{
    TRY(check_formats(sink));
    model_put_row(sink->into, &sink->portal->row, stmt, values, sink->portal);
    return buffer_fault(sink->into);
}

static fault run_select(struct model_session *session, struct model_portal *portal, uint64_t max,
                        bool describe, char tag[48])
{
    struct model_sink sink = {.row = sink_to_client, .session = session, .portal = portal};
    TRY(model_conflict(session, 1));
    if (describe)
        model_put_row_description(session, portal->stmt, portal);
    TRY(model_run_rows(session, portal, max, &sink));
    snprintf(tag, 48, "SELECT %" PRIu64, sink.rows);
    return OK;
}

/* What changes or tells: all at once, its rows kept if there are any. */
static fault run_whole(struct model_session *session, struct model_portal *portal)
{
    struct model_sink sink = {
        .row = sink_to_store, .session = session, .portal = portal, .into = &portal->stored};
    portal->begun = true;
    if (portal->stmt->kind <= SQL_DELETE)
        return model_run_change(session, portal, &sink, portal->tag);
    return model_run_utility(session, portal, &sink, portal->tag);
}

static fault run_stored(struct model_session *session, struct model_portal *portal, uint64_t max,
                        const struct sql_stmt *shape, bool describe)
{
    uint64_t rows = 0;
    if (!portal->begun)
        TRY(run_whole(session, portal));
    if (describe && shape != NULL)
        model_put_row_description(session, shape, portal);
    while (rows < max && portal->stored_at < portal->stored.size) {
        struct span rest = span_skip(buffer_span(&portal->stored), portal->stored_at);
        uint32_t size = wire_u32(rest.at + 1) + 1;
        wire_put_bytes(&session->out, span_of(rest.at, size));
        portal->stored_at += size;
        rows += 1;
        TRY(model_flush_much(session));
    }
    portal->at_end = rows < max;
    count_rows(portal->tag, rows);
    return OK;
}

fault model_run(struct model_session *session, struct model_portal *portal, uint64_t max,
                bool describe, bool *ret_suspended, char tag[48])
{
    const struct sql_stmt *shape = model_shape(session, portal->stmt);
    bool select = portal->stmt->kind == SQL_SELECT;
    *ret_suspended = false;
    if (portal->state != PORTAL_READY)
        return model_raise(session, "55000", "portal \"%s\" cannot be run", portal->name);
    if (select) {
        TRY(run_select(session, portal, max, describe, tag));
        TRY(model_linger(session));
        *ret_suspended = !portal->at_end;
        return OK;
    }
    if (shape != NULL || portal->begun) {
        TRY(run_stored(session, portal, max, shape, describe));
        *ret_suspended = !portal->at_end;
    } else {
        portal->state = PORTAL_DONE;
        TRY(run_whole(session, portal));
    }
    memcpy(tag, portal->tag, sizeof(portal->tag));
    return OK;
}
