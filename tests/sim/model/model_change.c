/* model_change.c - INSERT, UPDATE, DELETE. */
#include "model_inside.h"

#include <inttypes.h>
#include <stdio.h>

struct change {
    struct model_session *session;
    struct model_portal *portal;
    const struct sql_stmt *stmt;
    struct model_table *table;
    struct model_sink *sink;
    struct sql_scope scope;
    struct sql_value columns[4]; /* the row, and the one that was refused */
    uint64_t rows;
};

static fault give_back(struct change *change, const struct sql_value row[2])
{
    change->rows += 1;
    if (change->stmt->targets == NULL)
        return OK;
    struct sql_value *values =
        sql_take(&change->portal->row, (model_target_count(change->stmt) + 1) * sizeof(*values));
    if (row != change->columns)
        memcpy(change->columns, row, 2 * sizeof(*row));
    TRY(model_project(&change->scope, change->stmt, values));
    return change->sink->row(change->sink, change->stmt, values);
}

static void read_version(struct change *change, const struct model_version *version)
{
    change->columns[0] = (struct sql_value){.null = version->key_null, .number = version->key};
    change->columns[1] = (struct sql_value){
        .null = version->value_null,
        .text = sql_copy(&change->portal->row, span_of(version->value, version->size))};
}

static fault matches(struct change *change, bool *ret)
{
    struct sql_value truth = {.number = 1};
    if (change->stmt->where != NULL)
        TRY(sql_evaluate(&change->scope, change->stmt->where, &truth));
    *ret = !truth.null && truth.number;
    return OK;
}

/* The row of SET, from the one at hand. */
static fault set_row(struct change *change, struct sql_value row[2])
{
    memcpy(row, change->columns, 2 * sizeof(*row));
    for (const struct sql_assignment *it = change->stmt->set; it != NULL; it = it->next)
        TRY(sql_evaluate(&change->scope, it->value, &row[it->number]));
    return OK;
}

/* --- update and delete ------------------------------------------------------------------------ */

static fault change_version(struct change *change, struct model_version *version)
{
    struct model_version *claimed = version;
    struct sql_value row[2];
    bool wanted;
    sql_arena_reset(&change->portal->row);
    read_version(change, version);
    TRY(matches(change, &wanted));
    if (!wanted)
        return OK;
    TRY(model_table_claim(change->session, change->table, &claimed));
    if (claimed == NULL)
        return OK;
    if (claimed != version) {
        read_version(change, claimed);
        TRY(matches(change, &wanted));
        if (!wanted)
            return OK;
    }
    if (change->stmt->kind == SQL_DELETE) {
        model_table_delete(change->session, change->table, claimed);
        return give_back(change, change->columns);
    }
    TRY(set_row(change, row));
    TRY(model_table_update(change->session, change->table, claimed, row));
    return give_back(change, row);
}

/* where k = 7 asks for one row only, whatever else a row must have */
static bool find_one(struct change *change, int32_t *ret, fault *what)
{
    const struct sql_expr *where = change->stmt->where;
    struct sql_value value;
    *what = OK;
    if (where != NULL && where->kind == SQL_AND)
        where = where->args;
    if (where == NULL || where->kind != SQL_OPERATOR || strcmp(where->sign, "=") != 0 ||
        where->args->kind != SQL_COLUMN || where->args->number != 0 ||
        where->args->type != SQL_INT4 ||
        (where->args->next->kind != SQL_CONST && where->args->next->kind != SQL_PARAM))
        return false;
    *what = sql_evaluate(&change->scope, where->args->next, &value);
    *ret = (int32_t)value.number;
    return *what == OK && !value.null;
}

static fault change_all(struct change *change)
{
    struct model_snapshot snapshot = model_snapshot(change->session);
    struct model_scan scan;
    int32_t key;
    fault done;
    bool one = find_one(change, &key, &done);
    TRY(done);
    model_scan_begin(&scan, change->table, &snapshot, one ? &key : NULL);
    while (done == OK && scan.at < scan.count) {
        done = change_version(change, scan.rows[scan.at++]);
        if (done == OK)
            done = model_check(change->session);
    }
    model_scan_end(&scan);
    return done;
}

/* --- insert ----------------------------------------------------------------------------------- */

/* ON CONFLICT DO UPDATE: the row that is there is changed, once it is ours. */
static fault change_conflict(struct change *change, struct model_version *version,
                             const struct sql_value refused[2], bool *ret_done)
{
    struct sql_value row[2];
    struct model_version *claimed = version;
    TRY(model_table_claim(change->session, change->table, &claimed));
    *ret_done = claimed == version;
    if (!*ret_done)
        return OK;
    read_version(change, claimed);
    memcpy(change->columns + 2, refused, 2 * sizeof(*refused));
    TRY(set_row(change, row));
    TRY(model_table_update(change->session, change->table, claimed, row));
    return give_back(change, row);
}

static fault insert_row(struct change *change, const struct sql_value row[2])
{
    bool tolerant = change->stmt->conflict != SQL_CONFLICT_FAILS;
    for (;;) {
        struct model_version *conflict = NULL;
        bool done;
        TRY(model_table_insert(change->session, change->table, row, tolerant ? &conflict : NULL));
        if (conflict == NULL)
            return give_back(change, row);
        if (change->stmt->conflict == SQL_CONFLICT_SKIPS)
            return OK;
        TRY(change_conflict(change, conflict, row, &done));
        if (done)
            return OK;
    }
}

static fault insert_values(struct change *change, const struct sql_row *list)
{
    const struct sql_assignment *column = change->stmt->columns;
    struct sql_value row[2] = {{.null = true}, {.null = true}};
    uint32_t number = 0;
    sql_arena_reset(&change->portal->row);
    for (const struct sql_expr *value = list->values; value != NULL; value = value->next) {
        uint32_t into = column == NULL ? number : column->number;
        TRY(sql_evaluate(&change->scope, value, &row[into]));
        column = column == NULL ? NULL : column->next;
        number += 1;
    }
    return insert_row(change, row);
}

/* INSERT ... SELECT: the query's rows are kept first, so that it does not see what it writes. */
struct feed {
    struct model_sink sink;
    struct change *change;
    struct sql_arena arena;
    struct sql_value (*rows)[2];
    size_t count;
    size_t room;
};

static fault feed_row(struct model_sink *sink, const struct sql_stmt *stmt,
                      const struct sql_value *values)
{
    struct feed *feed = CONTAINER_OF(sink, struct feed, sink);
    const struct sql_assignment *column = feed->change->stmt->columns;
    struct sql_value row[2] = {{.null = true}, {.null = true}};
    uint32_t number = 0;
    for (const struct sql_target *it = stmt->targets; it != NULL && number < 2; it = it->next) {
        uint32_t into = column == NULL ? number : column->number;
        enum sql_type types[2] = {it->expr->type, into == 0 ? SQL_INT4 : SQL_TEXT};
        row[into] = values[number];
        TRY(sql_value_cast(sink->session, &feed->arena, types, &row[into]));
        row[into].text = sql_copy(&feed->arena, row[into].text);
        column = column == NULL ? NULL : column->next;
        number += 1;
    }
    if (feed->count == feed->room) {
        feed->room = feed->room == 0 ? 16 : 2 * feed->room;
        feed->rows = realloc(feed->rows, feed->room * sizeof(*feed->rows));
        invariant(feed->rows != NULL);
    }
    memcpy(feed->rows[feed->count++], row, sizeof(row));
    return OK;
}

static fault insert_query(struct change *change)
{
    struct model_portal inner = {
        .stmt = change->stmt->inner, .params = change->portal->params, .limit = -1};
    struct feed feed = {.sink = {.row = feed_row, .session = change->session}, .change = change};
    fault done = model_run_begin(change->session, &inner);
    if (done == OK)
        done = model_run_rows(change->session, &inner, UINT64_MAX, &feed.sink);
    for (size_t i = 0; i < feed.count && done == OK; i++)
        done = insert_row(change, feed.rows[i]);
    model_portal_fini(&inner);
    sql_arena_fini(&feed.arena);
    free(feed.rows);
    return done;
}

static fault insert_all(struct change *change)
{
    (void)model_snapshot(change->session);
    TRY(model_table_guard(change->session, change->table));
    if (change->stmt->inner != NULL)
        return insert_query(change);
    for (const struct sql_row *it = change->stmt->rows; it != NULL; it = it->next)
        TRY(insert_values(change, it));
    return OK;
}

fault model_run_change(struct model_session *session, struct model_portal *portal,
                       struct model_sink *sink, char tag[48])
{
    static const char *const words[] = {
        [SQL_INSERT] = "INSERT", [SQL_UPDATE] = "UPDATE", [SQL_DELETE] = "DELETE"};
    const struct sql_stmt *stmt = portal->stmt;
    struct change change = {.session = session, .portal = portal, .stmt = stmt, .sink = sink};
    change.scope = (struct sql_scope){.session = session,
                                      .arena = &portal->row,
                                      .params = portal->params,
                                      .columns = change.columns};
    TRY(model_table_find(session, stmt->table, &change.table));
    if (!change.table->temporary)
        TRY(tx_must_write(session, words[stmt->kind]));
    TRY(stmt->kind == SQL_INSERT ? insert_all(&change) : change_all(&change));
    snprintf(tag, 48, "%s%s %" PRIu64, words[stmt->kind], stmt->kind == SQL_INSERT ? " 0" : "",
             change.rows);
    return OK;
}
