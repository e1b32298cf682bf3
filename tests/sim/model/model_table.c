/*
 * model_table.c - rows by versions: who wrote them, who deleted them, who sees them.
 *
 * A version is seen when whoever wrote it is seen and whoever deleted it is not.  Writers wait for
 * each other's end; readers never wait.  Whoever may suspend pins the table, so that versions stay.
 */
#include "model_inside.h"

#include <stdio.h>

#define VACUUM_MIN 64

/* --- transactions, as rows see them ----------------------------------------------------------- */

static const struct model_xact *root_of(const struct model_xact *xact)
{
    while (xact != NULL && xact->parent != NULL)
        xact = xact->parent;
    return xact;
}

/* A savepoint's fate is its transaction's, unless it was rolled back by itself. */
static enum model_fate fate_of(const struct model_xact *xact)
{
    for (; xact != NULL; xact = xact->parent)
        if (xact->fate == FATE_ABORTED || xact->parent == NULL)
            return xact->fate;
    return FATE_COMMITTED;
}

static bool is_own(const struct model_session *session, const struct model_xact *xact)
{
    return xact != NULL && root_of(xact)->session == session && fate_of(xact) == FATE_OPEN;
}

void model_xact_unref(struct model_xact **xact)
{
    struct model_xact *gone = TAKE(*xact);
    if (gone == NULL || --gone->refs > 0)
        return;
    model_xact_unref(&gone->parent);
    free(gone);
}

struct model_xact *model_xact_of(struct model_session *session)
{
    struct model_tx *tx = &session->tx;
    for (uint32_t level = 0; level <= tx->level; level++) {
        if (tx->levels[level].xact != NULL)
            continue;
        struct model_xact *xact = calloc(1, sizeof(*xact));
        invariant(xact != NULL);
        *xact = (struct model_xact){.refs = 1, .session = session};
        if (level > 0) {
            xact->parent = tx->levels[level - 1].xact;
            xact->parent->refs += 1;
        }
        tx->levels[level].xact = xact;
    }
    return tx->levels[tx->level].xact;
}

static struct model_xact *xact_ref(struct model_session *session)
{
    struct model_xact *xact = model_xact_of(session);
    xact->refs += 1;
    session->tx.wrote = true;
    model_log_xid(session);
    return xact;
}

void model_xact_write(struct model_session *session)
{
    struct model_xact *xact = xact_ref(session);
    model_xact_unref(&xact);
}

/* --- what is seen ----------------------------------------------------------------------------- */

static bool keeps_snapshot(const struct model_session *session)
{
    return strcmp(model_guc_value(session, "transaction_isolation"), "read committed") != 0 &&
           strcmp(model_guc_value(session, "transaction_isolation"), "read uncommitted") != 0;
}

struct model_snapshot model_snapshot(struct model_session *session)
{
    struct model_tx *tx = &session->tx;
    if (!tx->snapshot_taken || !keeps_snapshot(session))
        tx->snapshot = model_replayed(session);
    tx->snapshot_taken = true;
    return (struct model_snapshot){.order = tx->snapshot, .own = tx->levels[0].xact};
}

static bool xact_seen(const struct model_xact *xact, const struct model_snapshot *snapshot)
{
    const struct model_xact *root = root_of(xact);
    enum model_fate fate = fate_of(xact);
    invariant(root != NULL);
    if (root == snapshot->own && fate == FATE_OPEN)
        return true;
    return fate == FATE_COMMITTED && root->order <= snapshot->order;
}

bool model_version_seen(const struct model_version *version, const struct model_snapshot *snapshot)
{
    if (version->born != NULL && !xact_seen(version->born, snapshot))
        return false;
    return version->dead == NULL || !xact_seen(version->dead, snapshot);
}

/* --- the table -------------------------------------------------------------------------------- */

void model_table_init(struct model_table *table, struct model *model, const char *name)
{
    *table = (struct model_table){.model = model, .mask = 63};
    snprintf(table->name, sizeof(table->name), "%s", name);
    table->oid = model->next_oid++;
    table->buckets = calloc(table->mask + 1, sizeof(struct model_version *));
    invariant(table->buckets != NULL);
}

static void version_free(struct model_version *version)
{
    model_xact_unref(&version->born);
    model_xact_unref(&version->dead);
    free(version);
}

void model_table_fini(struct model_table *table)
{
    for (uint32_t i = 0; i < table->count; i++)
        version_free(table->heap[i]);
    free(table->heap);
    free(table->buckets);
    *table = (struct model_table){0};
}

static struct model_version **bucket_of(const struct model_table *table, int32_t key)
{
    return &table->buckets[((uint32_t)key * 2654435761u >> 7) & table->mask];
}

static void index_again(struct model_table *table, uint32_t size)
{
    free(table->buckets);
    table->buckets = calloc(size, sizeof(struct model_version *));
    invariant(table->buckets != NULL);
    table->mask = size - 1;
    for (uint32_t i = 0; i < table->count; i++) {
        struct model_version **bucket = bucket_of(table, table->heap[i]->key);
        table->heap[i]->next = *bucket;
        *bucket = table->heap[i];
    }
}

static void table_add(struct model_table *table, struct model_version *version)
{
    if (table->count == table->room) {
        table->room = table->room == 0 ? 64 : 2 * table->room;
        table->heap = realloc(table->heap, table->room * sizeof(struct model_version *));
        invariant(table->heap != NULL);
    }
    table->heap[table->count++] = version;
    struct model_version **bucket = bucket_of(table, version->key);
    version->next = *bucket;
    *bucket = version;
    if (table->count > 2 * table->mask)
        index_again(table, 2 * (table->mask + 1));
}

static struct model_version *version_new(const struct sql_value row[2], struct model_xact *born)
{
    size_t size = row[1].null ? 0 : row[1].text.size;
    struct model_version *version = calloc(1, sizeof(*version) + size + 1);
    invariant(version != NULL);
    version->born = born;
    version->key = (int32_t)row[0].number;
    version->key_null = row[0].null;
    version->value_null = row[1].null;
    version->size = (uint32_t)size;
    if (size > 0)
        memcpy(version->value, row[1].text.at, size);
    return version;
}

static bool removable(const struct model_version *version)
{
    return fate_of(version->born) == FATE_ABORTED ||
           (version->dead != NULL && fate_of(version->dead) == FATE_COMMITTED);
}

static bool snapshots_kept(const struct model *model)
{
    LIST_EACH (&model->sessions, it) {
        const struct model_session *session = LIST_ENTRY(it, struct model_session, node);
        if (session->ready && session->tx.snapshot_taken && keeps_snapshot(session))
            return true;
    }
    return false;
}

void model_table_vacuum(struct model_table *table)
{
    uint32_t kept = 0, before = table->count;
    if (table->dead < VACUUM_MIN || table->dead < table->count / 2 || table->pins > 0 ||
        snapshots_kept(table->model) || model_any_behind(table->model))
        return;
    for (uint32_t i = 0; i < before; i++)
        if (table->heap[i]->newer != NULL && removable(table->heap[i]->newer))
            table->heap[i]->newer = NULL;
    for (uint32_t i = 0; i < before; i++) {
        struct model_version *version = table->heap[i];
        if (removable(version)) {
            version_free(version);
            continue;
        }
        if (version->born != NULL && fate_of(version->born) == FATE_COMMITTED)
            model_xact_unref(&version->born);
        table->heap[kept++] = version;
    }
    table->count = kept;
    table->dead = 0;
    index_again(table, table->mask + 1);
}

/* --- reading ---------------------------------------------------------------------------------- */

void model_scan_begin(struct model_scan *scan, struct model_table *table,
                      const struct model_snapshot *snapshot, const int32_t *key)
{
    *scan = (struct model_scan){.table = table};
    table->pins += 1;
    uint32_t room = key == NULL ? table->count : 4;
    scan->rows = malloc((room + 1) * sizeof(struct model_version *));
    invariant(scan->rows != NULL);
    if (key == NULL) {
        for (uint32_t i = 0; i < table->count; i++)
            if (model_version_seen(table->heap[i], snapshot))
                scan->rows[scan->count++] = table->heap[i];
        return;
    }
    for (struct model_version *it = *bucket_of(table, *key); it != NULL; it = it->next) {
        if (it->key != *key || it->key_null || !model_version_seen(it, snapshot))
            continue;
        if (scan->count == room) {
            room *= 2;
            scan->rows = realloc(scan->rows, room * sizeof(struct model_version *));
            invariant(scan->rows != NULL);
        }
        scan->rows[scan->count++] = it;
    }
}

void model_scan_end(struct model_scan *scan)
{
    if (scan->table == NULL)
        return;
    free(scan->rows);
    scan->table->pins -= 1;
    *scan = (struct model_scan){0};
}

/* --- writing ---------------------------------------------------------------------------------- */

static fault refuse_duplicate(struct model_session *session, const struct model_table *table,
                              int64_t key)
{
    (void)model_raise(session, "23505",
                      "duplicate key value violates unique constraint \"%s_pkey\"", table->name);
    model_detail(session, "Key (k)=(%d) already exists.", (int)key);
    return FAULT_UPSTREAM;
}

static fault refuse_null(struct model_session *session, const struct model_table *table,
                         const struct sql_value row[2])
{
    (void)model_raise(session, "23502",
                      "null value in column \"k\" of relation \"%s\" violates not-null constraint",
                      table->name);
    model_detail(session, "Failing row contains (null, %.*s).",
                 row[1].null ? 4 : (int)row[1].text.size,
                 row[1].null ? "null" : (const char *)row[1].text.at);
    return FAULT_UPSTREAM;
}

/* Whose end decides whether this version is in the way of another with its key; NULL: nobody's,
 * `*in_way` says it. */
static const struct model_session *decider(const struct model_session *session,
                                           const struct model_version *version, bool *in_way)
{
    *in_way = false;
    if (fate_of(version->born) == FATE_ABORTED)
        return NULL;
    if (fate_of(version->born) == FATE_OPEN && !is_own(session, version->born))
        return root_of(version->born)->session;
    if (version->dead == NULL || fate_of(version->dead) == FATE_ABORTED) {
        *in_way = true;
        return NULL;
    }
    if (fate_of(version->dead) == FATE_OPEN && !is_own(session, version->dead))
        return root_of(version->dead)->session;
    return NULL;
}

/* What is in the way of a new row with this key, after all who might be have decided. */
static fault find_conflict(struct model_session *session, struct model_table *table, int32_t key,
                           struct model_version **ret)
{
    struct model_version *it = *bucket_of(table, key);
    *ret = NULL;
    while (it != NULL) {
        bool in_way = false;
        const struct model_session *other =
            it->key == key && !it->key_null ? decider(session, it, &in_way) : NULL;
        if (in_way) {
            *ret = it;
            return OK;
        }
        it = it->next;
        if (other != NULL) {
            TRY(model_wait_lock(session, other));
            it = *bucket_of(table, key);
        }
    }
    return OK;
}

fault model_table_check(struct model_session *session, const struct model_table *table,
                        const struct sql_value row[2])
{
    return table->has_key && row[0].null ? refuse_null(session, table, row) : OK;
}

static fault insert_pinned(struct model_session *session, struct model_table *table,
                           const struct sql_value row[2], struct model_version **ret_conflict,
                           struct model_version **ret_made)
{
    struct model_version *conflict = NULL;
    TRY(model_table_check(session, table, row));
    if (table->has_key)
        TRY(find_conflict(session, table, (int32_t)row[0].number, &conflict));
    if (conflict != NULL && ret_conflict == NULL)
        return refuse_duplicate(session, table, row[0].number);
    if (conflict != NULL && keeps_snapshot(session)) {
        struct model_snapshot snapshot = model_snapshot(session);
        if (!model_version_seen(conflict, &snapshot))
            return model_raise(session, "40001",
                               "could not serialize access due to concurrent update");
    }
    if (ret_conflict != NULL)
        *ret_conflict = conflict;
    if (conflict != NULL)
        return OK;
    *ret_made = version_new(row, xact_ref(session));
    table_add(table, *ret_made);
    return OK;
}

fault model_table_insert(struct model_session *session, struct model_table *table,
                         const struct sql_value row[2], struct model_version **ret_conflict)
{
    struct model_version *made;
    table->pins += 1;
    fault done = insert_pinned(session, table, row, ret_conflict, &made);
    table->pins -= 1;
    if (done == OK && (ret_conflict == NULL || *ret_conflict == NULL))
        model_log_row(session, table, MODEL_INSERTS, 0, row);
    return done;
}

fault model_table_claim(struct model_session *session, struct model_table *table,
                        struct model_version **version)
{
    struct model_version *it = *version;
    for (;;) {
        if (it->dead == NULL || fate_of(it->dead) == FATE_ABORTED)
            break;
        if (is_own(session, it->dead)) {
            it = NULL;
            break;
        }
        if (fate_of(it->dead) == FATE_OPEN) {
            table->pins += 1;
            fault waited = model_wait_lock(session, root_of(it->dead)->session);
            table->pins -= 1;
            TRY(waited);
            continue;
        }
        if (keeps_snapshot(session))
            return model_raise(session, "40001", "could not serialize access due to concurrent %s",
                               it->newer == NULL ? "delete" : "update");
        it = it->newer;
        if (it == NULL)
            break;
    }
    *version = it;
    return OK;
}

static void delete_version(struct model_session *session, struct model_table *table,
                           struct model_version *version)
{
    model_xact_unref(&version->dead);
    version->dead = xact_ref(session);
    version->newer = NULL;
    table->dead += 1;
}

void model_table_delete(struct model_session *session, struct model_table *table,
                        struct model_version *version)
{
    delete_version(session, table, version);
    model_log_row(session, table, MODEL_DELETES, version->key, NULL);
}

fault model_table_update(struct model_session *session, struct model_table *table,
                         struct model_version *version, const struct sql_value row[2])
{
    struct model_version *made = NULL;
    int32_t old = version->key;
    delete_version(session, table, version);
    table->pins += 1;
    fault done = insert_pinned(session, table, row, NULL, &made);
    table->pins -= 1;
    version->newer = made;
    if (done == OK)
        model_log_row(session, table, MODEL_UPDATES, old, row);
    return done;
}

/* --- from outside ----------------------------------------------------------------------------- */

static const struct model_snapshot everything = {.order = UINT64_MAX};

const char *const model_register_names[MODEL_REGISTERS] = {"reg_a", "reg_b"};

static bool table_read(const struct model_table *table, int32_t key, struct span *ret)
{
    for (struct model_version *it = *bucket_of(table, key); it != NULL; it = it->next) {
        if (it->key != key || !model_version_seen(it, &everything))
            continue;
        *ret = span_of(it->value, it->size);
        return true;
    }
    return false;
}

bool model_table_read(const struct model *model, int32_t key, struct span *ret)
{
    return table_read(&model->kv, key, ret);
}

bool model_register_read(const struct model *model, uint32_t table, int32_t key, struct span *ret)
{
    return table_read(&model->registers[table], key, ret);
}

void model_table_each(const struct model *model, void *argument,
                      void (*each)(void *argument, int32_t key, struct span value))
{
    for (uint32_t i = 0; i < model->kv.count; i++) {
        const struct model_version *it = model->kv.heap[i];
        if (model_version_seen(it, &everything))
            each(argument, it->key, span_of(it->value, it->size));
    }
}

static fault table_put(struct model_table *table, int32_t key, struct span value)
{
    struct span old;
    if (table_read(table, key, &old))
        return FAULT_FULL;
    struct sql_value row[2] = {{.number = key}, {.text = value}};
    table_add(table, version_new(row, NULL));
    return OK;
}

fault model_table_put(struct model *model, int32_t key, struct span value)
{
    return table_put(&model->kv, key, value);
}

fault model_register_put(struct model *model, uint32_t table, int32_t key, struct span value)
{
    return table_put(&model->registers[table], key, value);
}
