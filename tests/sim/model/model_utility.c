/* model_utility.c - statements that are no queries: settings, prepared statements, tables. */
#include "model_inside.h"

#include <inttypes.h>
#include <stdio.h>

/* --- tables ----------------------------------------------------------------------------------- */

static struct model_table *find_temporary(const struct model_session *session, struct span name)
{
    LIST_EACH (&session->temporary, it) {
        struct model_table *table = LIST_ENTRY(it, struct model_table, node);
        if (table->gone == 0 && span_is(name, table->name))
            return table;
    }
    return NULL;
}

fault model_table_find(struct model_session *session, struct span name, struct model_table **ret)
{
    *ret = find_temporary(session, name);
    if (*ret == NULL && span_is(name, session->model->kv.name))
        *ret = &session->model->kv;
    if (*ret == NULL && span_is(name, session->model->guarded.name))
        *ret = &session->model->guarded;
    if (*ret == NULL)
        *ret = model_register(session->model, name);
    if (*ret != NULL)
        return OK;
    return model_raise(session, "42P01", "relation \"%.*s\" does not exist", SPAN_ARG(name));
}

fault model_table_guard(struct model_session *session, const struct model_table *table)
{
    if (table != &session->model->guarded)
        return OK;
    return model_raise(session, "P0001", "nothing may be inserted here");
}

static void free_table(struct model_session *session, struct model_table *table)
{
    list_remove(&session->temporary, &table->node);
    model_table_fini(table);
    free(table);
}

void model_temporary_fini(struct model_session *session)
{
    while (!list_empty(&session->temporary))
        free_table(session, LIST_ENTRY(list_first(&session->temporary), struct model_table, node));
}

/* A savepoint that ends well hands what it did to the level above. */
void model_temporary_end(struct model_session *session, bool commit, uint32_t level)
{
    LIST_EACH_SAFE (&session->temporary, it) {
        struct model_table *table = LIST_ENTRY(it, struct model_table, node);
        bool made = table->made > level, gone = table->gone > level;
        if (commit ? gone && level == 0 : made) {
            free_table(session, table);
            continue;
        }
        table->made = made ? level : table->made;
        table->gone = gone ? (commit ? level : 0) : table->gone;
    }
}

static void drop_temporary(struct model_session *session)
{
    LIST_EACH (&session->temporary, it) {
        struct model_table *table = LIST_ENTRY(it, struct model_table, node);
        if (table->gone == 0)
            table->gone = session->tx.level + 1;
    }
}

static fault run_create(struct model_session *session, const struct sql_stmt *stmt)
{
    char name[MODEL_NAME];
    snprintf(name, sizeof(name), "%.*s", SPAN_ARG(stmt->table));
    TRY(tx_must_write(session, "CREATE TABLE"));
    if (find_temporary(session, stmt->table) != NULL && stmt->missing_ok)
        return model_warn(session, "NOTICE", "42P07", "relation \"%s\" already exists, skipping",
                          name);
    if (find_temporary(session, stmt->table) != NULL)
        return model_raise(session, "42P07", "relation \"%s\" already exists", name);
    struct model_table *table = calloc(1, sizeof(*table));
    invariant(table != NULL);
    model_table_init(table, session->model, name);
    table->temporary = true;
    table->made = session->tx.level + 1;
    table->has_key = stmt->has_key;
    list_push(&session->temporary, &table->node);
    return OK;
}

static fault run_drop(struct model_session *session, const struct sql_stmt *stmt)
{
    struct model_table *table = find_temporary(session, stmt->table);
    TRY(tx_must_write(session, "DROP TABLE"));
    if (table == NULL && stmt->missing_ok)
        return model_warn(session, "NOTICE", "00000", "table \"%.*s\" does not exist, skipping",
                          SPAN_ARG(stmt->table));
    if (table == NULL && (span_is(stmt->table, session->model->kv.name) ||
                          span_is(stmt->table, session->model->guarded.name) ||
                          model_register(session->model, stmt->table) != NULL))
        return model_raise(session, "42501", "must be owner of table %.*s", SPAN_ARG(stmt->table));
    if (table == NULL)
        return model_raise(session, "42P01", "table \"%.*s\" does not exist",
                           SPAN_ARG(stmt->table));
    table->gone = session->tx.level + 1;
    return OK;
}

static fault run_truncate(struct model_session *session, const struct sql_stmt *stmt)
{
    struct model_table *table;
    struct model_scan scan;
    fault done = OK;
    TRY(tx_must_write(session, "TRUNCATE TABLE"));
    TRY(model_table_find(session, stmt->table, &table));
    struct model_snapshot snapshot = model_snapshot(session);
    model_scan_begin(&scan, table, &snapshot, NULL);
    session->untold = true;
    while (done == OK && scan.at < scan.count) {
        struct model_version *version = scan.rows[scan.at++];
        done = model_table_claim(session, table, &version);
        if (done == OK && version != NULL)
            model_table_delete(session, table, version);
    }
    model_scan_end(&scan);
    session->untold = false;
    if (done == OK && !table->temporary) {
        model_xact_write(session);
        model_log_tell(session, "table public.%s: TRUNCATE: (no-flags)", table->name);
    }
    return done;
}

/* --- settings --------------------------------------------------------------------------------- */

static fault warn_outside(struct model_session *session, const char *what)
{
    if (tx_in_block(session))
        return OK;
    return model_warn(session, "WARNING", "25P01", "%s can only be used in transaction blocks",
                      what);
}

static fault run_set(struct model_session *session, const struct sql_stmt *stmt)
{
    char value[1024];
    bool list = span_is(stmt->name, "search_path") || span_is_nocase(stmt->name, "datestyle");
    if (stmt->local)
        TRY(warn_outside(session, "SET LOCAL"));
    if (stmt->is_list && !list)
        return model_raise(session, "22023", "SET %.*s takes only one argument",
                           SPAN_ARG(stmt->name));
    snprintf(value, sizeof(value), "%.*s", SPAN_ARG(stmt->value));
    TRY(model_guc_set(session, stmt->name, stmt->is_default ? NULL : value, stmt->local));
    if (span_is(stmt->name, "session_authorization"))
        return model_guc_set(session, SPAN("role"), NULL, stmt->local);
    return OK;
}

static fault run_reset(struct model_session *session, const struct sql_stmt *stmt)
{
    if (!stmt->all)
        return model_guc_set(session, stmt->name, NULL, false);
    model_guc_reset_all(session);
    return OK;
}

static fault run_show(struct model_session *session, const struct sql_stmt *stmt,
                      struct model_sink *sink, struct sql_arena *arena)
{
    const char *spelled;
    const char *value = model_guc_show(session, stmt->name, arena, &spelled);
    if (value == NULL)
        return model_guc_unknown(session, stmt->name);
    return sink->row(sink, stmt, &(struct sql_value){.text = span_text(value)});
}

static fault run_set_transaction(struct model_session *session, const struct sql_stmt *stmt)
{
    if (!stmt->all)
        TRY(warn_outside(session, "SET TRANSACTION"));
    return tx_set_modes(session, &stmt->modes, stmt->all);
}

/* --- prepared statements ---------------------------------------------------------------------- */

fault model_run_prepare(struct model_session *session, const struct sql_stmt *stmt)
{
    struct sql_params params = {.open = true, .count = stmt->type_count};
    struct model_plan *made;
    memcpy(params.types, stmt->types, sizeof(params.types));
    TRY(model_plan_new(session, stmt->inner->text, &params, &made));
    TRY(model_statement_add(session, stmt->name, made));
    model_statement_find(session, stmt->name)->by_sql = true;
    return OK;
}

/* The arguments are analysed for each run, against what the statement wants now. */
static struct sql_expr *copy_args(struct sql_arena *arena, const struct sql_expr *args)
{
    struct sql_expr *first = NULL, **last = &first;
    for (; args != NULL; args = args->next) {
        *last = sql_take(arena, sizeof(**last));
        **last = *args;
        (*last)->args = copy_args(arena, args->args);
        last = &(*last)->next;
    }
    return first;
}

static fault evaluate_arguments(struct model_session *session, struct model_portal *outer,
                                const struct model_plan *made, struct sql_value *values)
{
    struct sql_scope scope = {.session = session, .arena = &outer->arena, .params = outer->params};
    struct sql_params params = {0};
    struct sql_expr *args = copy_args(&outer->arena, outer->stmt->args), **arg = &args;
    if (outer->plan != NULL)
        params = outer->plan->params;
    for (uint32_t i = 0; i < made->params.count; i++, arg = &(*arg)->next) {
        enum sql_type type = made->params.types[i];
        bool done;
        TRY(sql_analyse_lone(session, &outer->arena, *arg, &params));
        enum sql_type from = (*arg)->type;
        TRY(sql_coerce(session, &outer->arena, arg, type, true, &done));
        if (!done) {
            (void)model_raise(session, "42804",
                              "parameter $%u of type %s cannot be coerced to the expected type %s",
                              i + 1, sql_types[from].name, sql_types[type].name);
            model_hint(session, "You will need to rewrite or cast the expression.");
            return FAULT_UPSTREAM;
        }
        TRY(sql_evaluate(&scope, *arg, &values[i]));
    }
    return OK;
}

static fault run_inner(struct model_session *session, struct model_portal *inner,
                       struct model_sink *sink, char tag[48])
{
    TRY(model_run_begin(session, inner));
    if (inner->stmt->kind == SQL_SELECT) {
        TRY(model_run_rows(session, inner, UINT64_MAX, sink));
        snprintf(tag, 48, "SELECT %" PRIu64, sink->rows);
        return OK;
    }
    if (inner->stmt->kind <= SQL_DELETE) {
        sink->portal = inner;
        return model_run_change(session, inner, sink, tag);
    }
    return model_run_utility(session, inner, sink, tag);
}

#define NESTED_MAX 8

static fault refuse_depth(struct model_session *session)
{
    (void)model_raise(session, "54001", "stack depth limit exceeded");
    model_hint(session, "Increase the configuration parameter \"max_stack_depth\" (currently "
                        "2048kB), after ensuring the platform's stack depth limit is adequate.");
    return FAULT_UPSTREAM;
}

fault model_run_execute(struct model_session *session, struct model_portal *portal,
                        struct model_sink *sink, char tag[48])
{
    const struct sql_stmt *stmt = portal->stmt;
    struct model_statement *statement = model_statement_find(session, stmt->name);
    struct sql_value values[SQL_PARAMS_MAX];
    uint32_t given = 0;
    if (statement == NULL)
        return model_statement_missing(session, stmt->name);
    for (const struct sql_expr *arg = stmt->args; arg != NULL; arg = arg->next)
        given++;
    if (statement->plan->stmt == NULL) {
        snprintf(tag, 48, "EXECUTE");
        return OK;
    }
    if (statement->plan->params.count > 0 && given != statement->plan->params.count) {
        (void)model_raise(session, "42601",
                          "wrong number of parameters for prepared statement \"%.*s\"",
                          SPAN_ARG(stmt->name));
        model_detail(session, "Expected %u parameters but got %u.", statement->plan->params.count,
                     given);
        return FAULT_UPSTREAM;
    }
    TRY(evaluate_arguments(session, portal, statement->plan, values));
    (void)model_snapshot(session);
    struct model_portal inner = {
        .plan = model_plan_ref(statement->plan), .params = values, .stmt = statement->plan->stmt};
    inner.formats = portal->formats;
    inner.format_count = portal->format_count;
    inner.stored = BUFFER_INIT(0);
    session->nested += 1;
    fault done = session->nested > NESTED_MAX ? refuse_depth(session)
                                              : run_inner(session, &inner, sink, tag);
    session->nested -= 1;
    sink->portal = portal;
    model_portal_fini(&inner);
    return done;
}

/* --- discarding ------------------------------------------------------------------------------- */

void model_discard(struct model_session *session, enum sql_discard what)
{
    if (what == SQL_DISCARD_TEMP || what == SQL_DISCARD_ALL)
        drop_temporary(session);
    if (what != SQL_DISCARD_ALL)
        return;
    model_portals_close_all(session);
    (void)!model_guc_set(session, SPAN("session_authorization"), NULL, false);
    (void)!model_guc_set(session, SPAN("role"), NULL, false);
    model_guc_reset_all(session);
    model_statements_remove_all(session);
    model_unlisten(session, SPAN_NONE, true);
    model_unlock_all(session, false);
}

static fault run_discard(struct model_session *session, const struct sql_stmt *stmt,
                         const char **tag)
{
    static const char *const tags[] = {"DISCARD ALL", "DISCARD PLANS", "DISCARD SEQUENCES",
                                       "DISCARD TEMP"};
    *tag = tags[stmt->discard];
    if (stmt->discard == SQL_DISCARD_ALL)
        TRY(tx_prevent(session, "DISCARD ALL"));
    model_discard(session, stmt->discard);
    return OK;
}

static fault run_deallocate(struct model_session *session, const struct sql_stmt *stmt,
                            const char **tag)
{
    *tag = stmt->all ? "DEALLOCATE ALL" : "DEALLOCATE";
    if (stmt->all) {
        model_statements_remove_all(session);
        return OK;
    }
    if (model_statement_find(session, stmt->name) == NULL)
        return model_statement_missing(session, stmt->name);
    model_statement_remove(session, stmt->name);
    return OK;
}

/* --- all of them ------------------------------------------------------------------------------ */

static fault run_channel(struct model_session *session, const struct sql_stmt *stmt,
                         const char **tag)
{
    *tag = stmt->kind == SQL_LISTEN ? "LISTEN" : stmt->kind == SQL_NOTIFY ? "NOTIFY" : "UNLISTEN";
    if (stmt->kind != SQL_UNLISTEN && model_is_standby(session))
        return model_raise(session, "25006", "cannot execute %s during recovery", *tag);
    if (stmt->kind == SQL_LISTEN)
        model_listen(session, stmt->name);
    else if (stmt->kind == SQL_NOTIFY)
        model_notify(session, stmt->name, stmt->value);
    else
        model_unlisten(session, stmt->name, stmt->all);
    return OK;
}

static fault run_close(struct model_session *session, const struct sql_stmt *stmt, const char **tag)
{
    *tag = stmt->all ? "CLOSE CURSOR ALL" : "CLOSE CURSOR";
    if (stmt->all) {
        model_portals_close_all(session);
        return OK;
    }
    struct model_portal *portal = model_portal_find(session, stmt->name);
    if (portal == NULL)
        return model_raise(session, "34000", "cursor \"%.*s\" does not exist",
                           SPAN_ARG(stmt->name));
    model_portal_remove(session, &portal);
    return OK;
}

static fault run_plain(struct model_session *session, const struct sql_stmt *stmt, const char **tag)
{
    switch (stmt->kind) {
    case SQL_SET:
        *tag = "SET";
        return run_set(session, stmt);
    case SQL_RESET:
        *tag = "RESET";
        return run_reset(session, stmt);
    case SQL_SET_TRANSACTION:
        *tag = "SET";
        return run_set_transaction(session, stmt);
    case SQL_PREPARE:
        *tag = "PREPARE";
        return model_run_prepare(session, stmt);
    case SQL_DEALLOCATE:
        return run_deallocate(session, stmt, tag);
    case SQL_DISCARD:
        return run_discard(session, stmt, tag);
    case SQL_CLOSE:
        return run_close(session, stmt, tag);
    case SQL_CREATE:
        *tag = "CREATE TABLE";
        return run_create(session, stmt);
    case SQL_DROP:
        *tag = "DROP TABLE";
        return run_drop(session, stmt);
    case SQL_TRUNCATE:
        *tag = "TRUNCATE TABLE";
        return run_truncate(session, stmt);
    default:
        return run_channel(session, stmt, tag);
    }
}

/* Whether it looks at the world as of its transaction's beginning, and so fixes that. */
static bool takes_snapshot(const struct sql_stmt *stmt)
{
    switch (stmt->kind) {
    case SQL_TRUNCATE:
    case SQL_PREPARE:
    case SQL_EXECUTE:
    case SQL_DEALLOCATE:
    case SQL_DISCARD:
    case SQL_COPY:
    case SQL_DECLARE:
    case SQL_CLOSE:
    case SQL_CREATE:
    case SQL_DROP:
        return true;
    default:
        return false;
    }
}

fault model_run_utility(struct model_session *session, struct model_portal *portal,
                        struct model_sink *sink, char tag[48])
{
    const struct sql_stmt *stmt = portal->stmt;
    const char *word = "";
    if (takes_snapshot(stmt))
        (void)model_snapshot(session);
    switch (stmt->kind) {
    case SQL_EXECUTE:
        return model_run_execute(session, portal, sink, tag);
    case SQL_FETCH:
        return model_run_fetch(session, stmt, sink, tag);
    case SQL_COPY:
        return model_run_copy(session, portal, tag);
    case SQL_SHOW:
        snprintf(tag, 48, "SHOW");
        return run_show(session, stmt, sink, &portal->row);
    case SQL_DECLARE:
        snprintf(tag, 48, "DECLARE CURSOR");
        return model_run_declare(session, portal);
    default:
        if (tx_is_transaction(stmt))
            TRY(tx_run(session, stmt, &word));
        else
            TRY(run_plain(session, stmt, &word));
        snprintf(tag, 48, "%s", word);
        return OK;
    }
}
