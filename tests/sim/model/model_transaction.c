/*
 * model_transaction.c - transaction blocks, as PostgreSQL's xact.c has them.
 *
 *            BEGIN                   error
 *   NONE ─> STARTED ──────> OPEN ─────────────> FAILED
 *     ^        │ ^ │          │  <── ROLLBACK TO ──┘│
 *     │        │ │ └> IMPLICIT│ (several statements │
 *     │        v └─────┘      │  in one Query)      │
 *     └──────── end of the statement, COMMIT, ROLLBACK
 *
 * A statement orders (`pending`); tx_finish carries it out, because the portal that ran it is gone
 * after that.
 */
#include "model_inside.h"

#include <stdio.h>

/* --- ends ------------------------------------------------------------------------------------- */

static void forget_levels(struct model_tx *tx, uint32_t from)
{
    for (uint32_t level = tx->level + 1; level-- > from;)
        model_xact_unref(&tx->levels[level].xact);
}

static void mark(struct model_xact *xact, enum model_fate fate, uint64_t order)
{
    if (xact == NULL)
        return;
    xact->fate = fate;
    xact->order = order;
}

static void tell_decided(struct model_session *session, bool commit)
{
    const struct model_watch *watch = &session->model->options.watch;
    struct model_session_view view = model_session_look(session);
    session->model->counts.commits += commit;
    if (watch->decided != NULL)
        watch->decided(watch->argument, &view, commit);
}

/* The whole transaction. */
static void end_transaction(struct model_session *session, bool commit)
{
    struct model_tx *tx = &session->tx;
    struct model *model = session->model;
    if (commit)
        model_portals_end(session, true, 0);
    bool wrote = tx->wrote && tx->levels[0].xact != NULL;
    if (wrote && commit)
        model_log_commit(session);
    model_log_forget(session, 0);
    model_log_completed(session);
    model->definition += wrote && commit && tx->defines;
    if (wrote)
        mark(tx->levels[0].xact, commit ? FATE_COMMITTED : FATE_ABORTED, ++model->order);
    model_notify_end(session, commit);
    if (!commit)
        model_portals_end(session, false, 0);
    model_gucs_end(session, commit, 1);
    model_temporary_end(session, commit, 0);
    model_unlock_all(session, true);
    forget_levels(tx, 0);
    *tx = (struct model_tx){0};
    if (wrote) {
        tell_decided(session, commit);
        model_wake_waiters(model);
        model_table_vacuum(&model->kv);
        for (size_t i = 0; i < MODEL_REGISTERS; i++)
            model_table_vacuum(&model->registers[i]);
    }
}

/* The innermost levels down to `level`, which ends too. */
static void end_levels(struct model_session *session, uint32_t level, bool commit)
{
    struct model_tx *tx = &session->tx;
    for (uint32_t it = tx->level; it >= level && it > 0; it--) {
        if (!commit) {
            mark(tx->levels[it].xact, FATE_ABORTED, 0);
            model_log_forget(session, tx->levels[it].told);
        }
        model_gucs_end(session, commit, it + 1);
        model_portals_end(session, commit, it);
        model_temporary_end(session, commit, it);
    }
    forget_levels(tx, level);
    tx->level = level - 1;
    model_wake_waiters(session->model);
}

static void push_level(struct model_session *session, const char *name)
{
    struct model_tx *tx = &session->tx;
    tx->level += 1;
    tx->levels[tx->level] = (struct tx_level){.told = session->told.size};
    snprintf(tx->levels[tx->level].name, MODEL_NAME, "%s", name);
}

void tx_start(struct model_session *session)
{
    struct model_tx *tx = &session->tx;
    if (tx->block != TX_NONE)
        return;
    tx->isolation = model_guc_word(model_guc_value(session, "default_transaction_isolation"));
    tx->read_only = model_guc_value(session, "default_transaction_read_only");
    tx->read_only = strcmp(tx->read_only, "on") == 0 ? "on" : "off";
    tx->block = TX_STARTED;
}

static void go_back(struct model_session *session)
{
    struct model_tx *tx = &session->tx;
    char name[MODEL_NAME];
    memcpy(name, tx->levels[tx->target].name, sizeof(name));
    end_levels(session, tx->target, false);
    push_level(session, name);
    tx->block = TX_OPEN;
}

/* A transaction follows at once, with the same modes. */
static void chain(struct model_session *session, bool commit)
{
    char isolation[32], read_only[8];
    snprintf(isolation, sizeof(isolation), "%s", model_guc_value(session, "transaction_isolation"));
    snprintf(read_only, sizeof(read_only), "%s", model_guc_value(session, "transaction_read_only"));
    end_transaction(session, commit);
    tx_start(session);
    session->tx.block = TX_OPEN;
    (void)!model_guc_set(session, SPAN("transaction_isolation"), isolation, true);
    (void)!model_guc_set(session, SPAN("transaction_read_only"), read_only, true);
}

void tx_finish(struct model_session *session)
{
    struct model_tx *tx = &session->tx;
    enum tx_pending pending = tx->pending;
    tx->pending = TX_NOTHING;
    switch (pending) {
    case TX_BEGIN:
        tx->block = TX_OPEN;
        return;
    case TX_COMMIT:
    case TX_ROLLBACK:
        if (tx->chain)
            chain(session, pending == TX_COMMIT);
        else
            end_transaction(session, pending == TX_COMMIT);
        return;
    case TX_SAVE:
        push_level(session, tx->levels[TX_LEVELS_MAX - 1].name);
        return;
    case TX_RELEASE:
        end_levels(session, tx->target, true);
        return;
    case TX_BACK:
        go_back(session);
        return;
    default:
        if (tx->block == TX_STARTED)
            end_transaction(session, true);
        return;
    }
}

void tx_implicit_begin(struct model_session *session)
{
    if (session->tx.block == TX_STARTED)
        session->tx.block = TX_IMPLICIT;
}

void tx_implicit_end(struct model_session *session)
{
    if (session->tx.block == TX_IMPLICIT)
        session->tx.block = TX_STARTED;
}

void tx_abort(struct model_session *session)
{
    struct model_tx *tx = &session->tx;
    tx->pending = TX_NOTHING;
    if (tx->block == TX_STARTED || tx->block == TX_IMPLICIT) {
        end_transaction(session, false);
        return;
    }
    if (tx->block != TX_OPEN)
        return;
    tx->block = TX_FAILED;
    model_portals_fail(session, tx->level);
    mark(tx->levels[tx->level].xact, FATE_ABORTED, 0);
    model_gucs_end(session, false, tx->level + 1);
    if (tx->level == 0) {
        model_unlock_all(session, true);
        model_notify_end(session, false);
    }
    model_wake_waiters(session->model);
}

void tx_gone(struct model_session *session)
{
    if (session->tx.block != TX_NONE)
        end_transaction(session, false);
}

/* --- statements ------------------------------------------------------------------------------- */

bool tx_is_transaction(const struct sql_stmt *stmt)
{
    return stmt->kind >= SQL_BEGIN && stmt->kind <= SQL_ROLLBACK_TO;
}

bool tx_is_exit(const struct sql_stmt *stmt)
{
    return stmt->kind == SQL_COMMIT || stmt->kind == SQL_ROLLBACK || stmt->kind == SQL_ROLLBACK_TO;
}

fault tx_refuse_failed(struct model_session *session)
{
    return model_raise(session, "25P02",
                       "current transaction is aborted, commands ignored until end of "
                       "transaction block");
}

bool tx_in_block(const struct model_session *session)
{
    enum tx_block block = session->tx.block;
    return session->nested > 0 || block == TX_OPEN || block == TX_FAILED || block == TX_IMPLICIT;
}

fault tx_prevent(struct model_session *session, const char *what)
{
    struct model_tx *tx = &session->tx;
    if (tx->block != TX_STARTED && tx->block != TX_NONE)
        return model_raise(session, "25001", "%s cannot run inside a transaction block", what);
    if (tx->pipelining)
        return model_raise(session, "25001", "%s cannot be executed within a pipeline", what);
    if (session->nested > 0)
        return model_raise(session, "25001", "%s cannot be executed from a function", what);
    tx->commit_soon = true;
    return OK;
}

fault tx_must_write(struct model_session *session, const char *what)
{
    if (strcmp(model_guc_value(session, "transaction_read_only"), "on") != 0)
        return OK;
    return model_raise(session, "25006", "cannot execute %s in a read-only transaction", what);
}

/* `inside`: the server's own name for it, which it tells where EXECUTE has led it astray. */
static fault only_in_block(struct model_session *session, const char *what, const char *inside)
{
    if (inside != NULL && session->nested > 0 && session->tx.block == TX_STARTED)
        return model_raise_fatal(session, "XX000", "%s: unexpected state STARTED", inside);
    return model_raise(session, "25P01", "%s can only be used in transaction blocks", what);
}

static bool is_block(const struct model_session *session)
{
    return session->tx.block == TX_OPEN || session->tx.block == TX_FAILED;
}

static fault warn_no_transaction(struct model_session *session)
{
    return model_warn(session, "WARNING", "25P01", "there is no transaction in progress");
}

static fault run_begin(struct model_session *session, const struct sql_stmt *stmt)
{
    if (is_block(session))
        TRY(model_warn(session, "WARNING", "25001", "there is already a transaction in progress"));
    else
        session->tx.pending = TX_BEGIN;
    return tx_set_modes(session, &stmt->modes, false);
}

static fault run_commit(struct model_session *session, const struct sql_stmt *stmt,
                        const char **tag)
{
    struct model_tx *tx = &session->tx;
    tx->chain = stmt->chain && is_block(session);
    if (tx->block == TX_FAILED) {
        *tag = "ROLLBACK";
        tx->pending = TX_ROLLBACK;
        return OK;
    }
    if (tx->block != TX_OPEN && stmt->chain)
        return only_in_block(session, "COMMIT AND CHAIN", NULL);
    if (tx->block != TX_OPEN)
        TRY(warn_no_transaction(session));
    tx->pending = TX_COMMIT;
    return OK;
}

static fault run_rollback(struct model_session *session, const struct sql_stmt *stmt)
{
    session->tx.chain = stmt->chain && is_block(session);
    if (!is_block(session) && stmt->chain)
        return only_in_block(session, "ROLLBACK AND CHAIN", NULL);
    if (!is_block(session))
        TRY(warn_no_transaction(session));
    session->tx.pending = TX_ROLLBACK;
    return OK;
}

static fault find_level(struct model_session *session, struct span name)
{
    struct model_tx *tx = &session->tx;
    for (tx->target = tx->level; tx->target > 0; tx->target--)
        if (span_is(name, tx->levels[tx->target].name))
            return OK;
    return model_raise(session, "3B001", "savepoint \"%.*s\" does not exist", SPAN_ARG(name));
}

static fault run_save(struct model_session *session, const struct sql_stmt *stmt)
{
    struct model_tx *tx = &session->tx;
    if (!is_block(session))
        return only_in_block(session, "SAVEPOINT", "DefineSavepoint");
    if (tx->level + 2 >= TX_LEVELS_MAX)
        return model_raise(session, "54000", "the model keeps %d savepoints at most",
                           TX_LEVELS_MAX - 2);
    snprintf(tx->levels[TX_LEVELS_MAX - 1].name, MODEL_NAME, "%.*s", SPAN_ARG(stmt->name));
    tx->pending = TX_SAVE;
    return OK;
}

fault tx_run(struct model_session *session, const struct sql_stmt *stmt, const char **tag)
{
    struct model_tx *tx = &session->tx;
    switch (stmt->kind) {
    case SQL_BEGIN:
        *tag = stmt->all ? "START TRANSACTION" : "BEGIN";
        return run_begin(session, stmt);
    case SQL_COMMIT:
        *tag = "COMMIT";
        return run_commit(session, stmt, tag);
    case SQL_ROLLBACK:
        *tag = "ROLLBACK";
        return run_rollback(session, stmt);
    case SQL_SAVEPOINT:
        *tag = "SAVEPOINT";
        return run_save(session, stmt);
    case SQL_RELEASE:
        *tag = "RELEASE";
        if (!is_block(session))
            return only_in_block(session, "RELEASE SAVEPOINT", "ReleaseSavepoint");
        TRY(find_level(session, stmt->name));
        tx->pending = TX_RELEASE;
        return OK;
    default:
        *tag = "ROLLBACK";
        if (!is_block(session))
            return only_in_block(session, "ROLLBACK TO SAVEPOINT", "RollbackToSavepoint");
        TRY(find_level(session, stmt->name));
        tx->pending = TX_BACK;
        return OK;
    }
}

fault tx_set_modes(struct model_session *session, const struct sql_modes *modes, bool session_wide)
{
    const char *isolation =
        session_wide ? "default_transaction_isolation" : "transaction_isolation";
    const char *read_only =
        session_wide ? "default_transaction_read_only" : "transaction_read_only";
    if (modes->isolation != NULL)
        TRY(model_guc_set(session, span_text(isolation), modes->isolation, !session_wide));
    if (modes->read_only >= 0)
        TRY(model_guc_set(session, span_text(read_only), modes->read_only ? "on" : "off",
                          !session_wide));
    return OK;
}
