/* model_portal.c - prepared statements and portals: their names, their lives, cursors of SQL. */
#include "model_inside.h"

#include <inttypes.h>
#include <stdio.h>

#define STORED_MAX (64u << 20)
#define NAMES_MAX  65536

/* --- plans ------------------------------------------------------------------------------------ */

static void plan_shape(struct model_session *session, struct model_plan *plan)
{
    struct model_plan *owner = NULL;
    plan->shape = model_shape(session, plan->stmt);
    if (plan->stmt->kind == SQL_EXECUTE) {
        struct model_statement *statement = model_statement_find(session, plan->stmt->name);
        owner = statement == NULL ? NULL : statement->plan;
    } else if (plan->stmt->kind == SQL_FETCH) {
        struct model_portal *portal = model_portal_find(session, plan->stmt->name);
        owner = portal == NULL ? NULL : portal->plan;
    }
    if (plan->shape != NULL && owner != NULL)
        plan->shape_owner = model_plan_ref(owner->shape_owner != NULL ? owner->shape_owner : owner);
}

static fault plan_make(struct model_session *session, struct model_plan *plan, struct span text)
{
    struct sql_stmt *stmt;
    plan->text = sql_copy(&plan->arena, text);
    TRY(sql_parse(session, &plan->arena, plan->text, &stmt));
    if (stmt != NULL && stmt->next != NULL)
        return model_raise(session, "42601",
                           "cannot insert multiple commands into a prepared statement");
    if (stmt != NULL && tx_is_failed(session) && !tx_is_exit(stmt))
        return tx_refuse_failed(session);
    if (stmt != NULL && (stmt->kind <= SQL_DELETE || stmt->kind == SQL_DECLARE))
        (void)model_snapshot(session);
    if (stmt != NULL)
        TRY(sql_analyse(session, &plan->arena, stmt, &plan->params));
    for (uint32_t i = 0; i < plan->params.count; i++)
        if (plan->params.types[i] == SQL_UNKNOWN)
            return model_raise(session, "42P18", "could not determine data type of parameter $%u",
                               i + 1);
    plan->stmt = stmt;
    if (stmt != NULL)
        plan_shape(session, plan);
    return OK;
}

fault model_plan_new(struct model_session *session, struct span text,
                     const struct sql_params *params, struct model_plan **ret)
{
    struct model_plan *plan = calloc(1, sizeof(*plan));
    invariant(plan != NULL);
    plan->refs = 1;
    plan->params = *params;
    fault made = plan_make(session, plan, text);
    if (made != OK)
        model_plan_unref(&plan);
    *ret = plan;
    return made;
}

struct model_plan *model_plan_ref(struct model_plan *plan)
{
    plan->refs += 1;
    return plan;
}

void model_plan_unref(struct model_plan **plan)
{
    struct model_plan *gone = TAKE(*plan);
    if (gone == NULL || --gone->refs > 0)
        return;
    model_plan_unref(&gone->shape_owner);
    sql_arena_fini(&gone->arena);
    free(gone);
}

/* --- prepared statements ---------------------------------------------------------------------- */

static bool is_statement(const struct map_link *link, const void *key)
{
    return span_is(*(const struct span *)key, MAP_ENTRY(link, struct model_statement, link)->name);
}

struct model_statement *model_statement_find(struct model_session *session, struct span name)
{
    if (name.size == 0)
        return session->unnamed.plan == NULL ? NULL : &session->unnamed;
    struct map_link *link = map_find(&session->statements, hash_span(name), is_statement, &name);
    return link == NULL ? NULL : MAP_ENTRY(link, struct model_statement, link);
}

fault model_statement_missing(struct model_session *session, struct span name)
{
    if (name.size == 0)
        return model_raise(session, "26000", "unnamed prepared statement does not exist");
    return model_raise(session, "26000", "prepared statement \"%.*s\" does not exist",
                       SPAN_ARG(name));
}

fault model_statement_add(struct model_session *session, struct span name,
                          struct model_plan *take_plan)
{
    if (name.size == 0) {
        model_plan_unref(&session->unnamed.plan);
        session->unnamed.plan = take_plan;
        return OK;
    }
    if (model_statement_find(session, name) != NULL) {
        model_plan_unref(&take_plan);
        return model_raise(session, "42P05", "prepared statement \"%.*s\" already exists",
                           SPAN_ARG(name));
    }
    struct model_statement *statement = calloc(1, sizeof(*statement));
    invariant(statement != NULL);
    snprintf(statement->name, sizeof(statement->name), "%.*s", SPAN_ARG(name));
    statement->plan = take_plan;
    invariant(map_insert(&session->statements, &statement->link, hash_span(name)) == OK);
    return OK;
}

static void statement_free(struct model_session *session, struct model_statement *statement)
{
    map_remove(&session->statements, &statement->link);
    model_plan_unref(&statement->plan);
    free(statement);
}

void model_statement_remove(struct model_session *session, struct span name)
{
    struct model_statement *statement = model_statement_find(session, name);
    if (statement == &session->unnamed)
        model_plan_unref(&session->unnamed.plan);
    else if (statement != NULL)
        statement_free(session, statement);
}

void model_statements_remove_all(struct model_session *session)
{
    struct map_link *link = map_next(&session->statements, NULL);
    while (link != NULL) {
        struct map_link *next = map_next(&session->statements, link);
        statement_free(session, MAP_ENTRY(link, struct model_statement, link));
        link = next;
    }
}

/* --- portals ---------------------------------------------------------------------------------- */

static bool is_portal(const struct map_link *link, const void *key)
{
    return span_is(*(const struct span *)key, MAP_ENTRY(link, struct model_portal, link)->name);
}

struct model_portal *model_portal_find(struct model_session *session, struct span name)
{
    struct map_link *link = map_find(&session->portals, hash_span(name), is_portal, &name);
    return link == NULL ? NULL : MAP_ENTRY(link, struct model_portal, link);
}

fault model_portal_missing(struct model_session *session, struct span name)
{
    return model_raise(session, "34000", "portal \"%.*s\" does not exist", SPAN_ARG(name));
}

struct model_portal *model_portal_new(struct model_session *session, struct span name)
{
    struct model_portal *portal = calloc(1, sizeof(*portal));
    invariant(portal != NULL);
    snprintf(portal->name, sizeof(portal->name), "%.*s", SPAN_ARG(name));
    portal->level = session->tx.level;
    portal->stored = BUFFER_INIT(STORED_MAX);
    invariant(map_insert(&session->portals, &portal->link, hash_span(name)) == OK);
    return portal;
}

void model_portal_fini(struct model_portal *portal)
{
    model_scan_end(&portal->scan);
    buffer_fini(&portal->stored);
    sql_arena_fini(&portal->arena);
    sql_arena_fini(&portal->row);
    model_plan_unref(&portal->plan);
}

void model_portal_remove(struct model_session *session, struct model_portal **portal)
{
    struct model_portal *gone = TAKE(*portal);
    if (gone == NULL)
        return;
    map_remove(&session->portals, &gone->link);
    model_portal_fini(gone);
    free(gone);
}

static fault hold_row(struct model_sink *sink, const struct sql_stmt *stmt,
                      const struct sql_value *values)
{
    struct model_portal *portal = sink->portal;
    uint32_t count = model_target_count(stmt);
    struct sql_value *row = sql_take(&portal->arena, (count + 1) * sizeof(*row));
    for (uint32_t i = 0; i < count; i++) {
        row[i] = values[i];
        row[i].text = sql_copy(&portal->arena, values[i].text);
    }
    buffer_append(&portal->stored, &row, sizeof(struct sql_value *));
    return buffer_fault(&portal->stored);
}

/* WITH HOLD: its rows outlive the transaction. */
static void portal_hold(struct model_session *session, struct model_portal *portal)
{
    struct model_sink sink = {.row = hold_row, .session = session, .portal = portal};
    portal->held = true;
    if (portal->state == PORTAL_READY)
        (void)!model_run_rows(session, portal, UINT64_MAX, &sink);
    model_scan_end(&portal->scan);
}

/* Whether it goes with this end. */
static bool portal_ends(struct model_session *session, struct model_portal *portal, bool commit,
                        uint32_t level)
{
    if (portal->held || portal->active || portal->level < level)
        return false;
    if (level > 0 && commit) {
        portal->level = level - 1;
        return false;
    }
    if (commit && portal->hold) {
        portal_hold(session, portal);
        return false;
    }
    return true;
}

void model_portals_end(struct model_session *session, bool commit, uint32_t level)
{
    struct map_link *link = map_next(&session->portals, NULL);
    while (link != NULL) {
        struct model_portal *portal = MAP_ENTRY(link, struct model_portal, link);
        link = map_next(&session->portals, link);
        if (portal_ends(session, portal, commit, level))
            model_portal_remove(session, &portal);
    }
}

void model_portals_fail(struct model_session *session, uint32_t level)
{
    for (struct map_link *link = map_next(&session->portals, NULL); link != NULL;
         link = map_next(&session->portals, link)) {
        struct model_portal *portal = MAP_ENTRY(link, struct model_portal, link);
        if (portal->held || portal->level < level)
            continue;
        portal->state = PORTAL_FAILED;
        model_scan_end(&portal->scan);
    }
}

void model_portals_close_all(struct model_session *session)
{
    struct map_link *link = map_next(&session->portals, NULL);
    while (link != NULL) {
        struct model_portal *portal = MAP_ENTRY(link, struct model_portal, link);
        link = map_next(&session->portals, link);
        if (!portal->active)
            model_portal_remove(session, &portal);
    }
}

/* --- cursors of SQL --------------------------------------------------------------------------- */

static const struct sql_value *copy_params(struct sql_arena *arena, const struct sql_value *params,
                                           uint32_t count)
{
    struct sql_value *copy = sql_take(arena, (count + 1) * sizeof(*copy));
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = params[i];
        copy[i].text = sql_copy(arena, params[i].text);
    }
    return copy;
}

fault model_run_declare(struct model_session *session, struct model_portal *outer)
{
    const struct sql_stmt *stmt = outer->stmt;
    struct sql_params params = {.open = true};
    struct model_plan *plan;
    if (outer->plan != NULL)
        params = outer->plan->params;
    if (!stmt->hold && !tx_in_block(session))
        return model_raise(session, "25P01",
                           "DECLARE CURSOR can only be used in transaction blocks");
    if (model_portal_find(session, stmt->name) != NULL)
        return model_raise(session, "42P03", "cursor \"%.*s\" already exists",
                           SPAN_ARG(stmt->name));
    TRY(model_plan_new(session, stmt->inner->text, &params, &plan));
    struct model_portal *portal = model_portal_new(session, stmt->name);
    portal->plan = plan;
    portal->stmt = plan->stmt;
    portal->hold = stmt->hold;
    if (outer->params != NULL)
        portal->params = copy_params(&portal->arena, outer->params, params.count);
    fault begun = model_run_begin(session, portal);
    if (begun != OK)
        model_portal_remove(session, &portal);
    return begun;
}

/* Rows that a held cursor has kept. */
static fault fetch_held(struct model_portal *portal, uint64_t max, struct model_sink *sink)
{
    while (sink->rows < max && portal->stored_at < portal->stored.size) {
        const struct sql_value *row;
        memcpy((void *)&row, portal->stored.at + portal->stored_at, sizeof(row));
        portal->stored_at += sizeof(row);
        TRY(sink->row(sink, portal->stmt, row));
        sink->rows += 1;
    }
    return OK;
}

static fault drop_row(struct model_sink *sink, const struct sql_stmt *stmt,
                      const struct sql_value *values)
{
    return OK;
}

fault model_run_fetch(struct model_session *session, const struct sql_stmt *stmt,
                      struct model_sink *sink, char tag[48])
{
    struct model_portal *portal = model_portal_find(session, stmt->name);
    struct model_sink quiet = {.row = drop_row, .session = session};
    if (portal == NULL || portal->stmt == NULL)
        return model_raise(session, "34000", "cursor \"%.*s\" does not exist",
                           SPAN_ARG(stmt->name));
    if (portal->state != PORTAL_READY || portal->active)
        return model_raise(session, "55000", "portal \"%s\" cannot be run", portal->name);
    struct model_sink *to = stmt->quietly ? &quiet : sink;
    to->rows = 0;
    if (portal->held)
        TRY(fetch_held(portal, (uint64_t)stmt->count, to));
    else
        TRY(model_run_rows(session, portal, (uint64_t)stmt->count, to));
    snprintf(tag, 48, "%s %" PRIu64, stmt->quietly ? "MOVE" : "FETCH", to->rows);
    return OK;
}

const struct sql_stmt *model_shape(struct model_session *session, const struct sql_stmt *stmt)
{
    if (stmt->kind == SQL_EXECUTE) {
        struct model_statement *statement = model_statement_find(session, stmt->name);
        return statement == NULL ? NULL : statement->plan->shape;
    }
    if (stmt->kind == SQL_FETCH && !stmt->quietly) {
        struct model_portal *portal = model_portal_find(session, stmt->name);
        return portal == NULL ? NULL : portal->stmt;
    }
    return sql_has_rows(stmt) ? stmt : NULL;
}
