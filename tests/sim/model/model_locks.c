/* model_locks.c - advisory locks, and waiting for whoever holds something. */
#include "model_inside.h"

#define DEADLOCK_AFTER sec(1)

struct advisory {
    struct node node;
    int64_t key;
    const struct model_session *owner;
    uint32_t of_session; /* times */
    uint32_t of_transaction;
};

static struct advisory *find_lock(const struct model *model, int64_t key)
{
    LIST_EACH (&model->locks, it) {
        struct advisory *lock = LIST_ENTRY(it, struct advisory, node);
        if (lock->key == key)
            return lock;
    }
    return NULL;
}

fault model_lock(struct model_session *session, int64_t key, bool transaction, bool wait,
                 bool *ret_got)
{
    struct model *model = session->model;
    struct advisory *lock = find_lock(model, key);
    *ret_got = false;
    while (lock != NULL && lock->owner != session) {
        if (!wait)
            return OK;
        TRY(model_wait_lock(session, lock->owner));
        lock = find_lock(model, key);
    }
    if (lock == NULL) {
        lock = calloc(1, sizeof(*lock));
        invariant(lock != NULL);
        *lock = (struct advisory){.key = key, .owner = session};
        list_push(&model->locks, &lock->node);
    }
    *(transaction ? &lock->of_transaction : &lock->of_session) += 1;
    *ret_got = true;
    return OK;
}

static void release_unheld(struct model *model, struct advisory *lock)
{
    if (lock->of_session > 0 || lock->of_transaction > 0)
        return;
    list_remove(&model->locks, &lock->node);
    free(lock);
    model_wake_waiters(model);
}

bool model_unlock(struct model_session *session, int64_t key)
{
    struct advisory *lock = find_lock(session->model, key);
    if (lock == NULL || lock->owner != session || lock->of_session == 0)
        return false;
    lock->of_session -= 1;
    release_unheld(session->model, lock);
    return true;
}

void model_unlock_all(struct model_session *session, bool transaction)
{
    LIST_EACH_SAFE (&session->model->locks, it) {
        struct advisory *lock = LIST_ENTRY(it, struct advisory, node);
        if (lock->owner != session)
            continue;
        *(transaction ? &lock->of_transaction : &lock->of_session) = 0;
        release_unheld(session->model, lock);
    }
}

uint32_t model_locks_held(const struct model_session *session)
{
    uint32_t count = 0;
    LIST_EACH (&session->model->locks, it)
        count += LIST_ENTRY(it, struct advisory, node)->owner == session;
    return count;
}

/* --- waiting ---------------------------------------------------------------------------------- */

void model_wake_waiters(struct model *model)
{
    LIST_EACH (&model->waiting, it)
        co_wake(LIST_ENTRY(it, struct model_session, waiting_node)->co);
}

/* Whoever we wait for waits, in the end, for us. */
static bool is_deadlock(const struct model_session *session)
{
    const struct model_session *it = session->waits_for;
    for (uint32_t steps = 0; it != NULL && steps < 1000; it = it->waits_for, steps++)
        if (it == session)
            return true;
    return false;
}

fault model_wait_lock(struct model_session *session, const struct model_session *holder)
{
    int64_t timeout = model_guc_number(session, "lock_timeout");
    deadline check = after(DEADLOCK_AFTER);
    if (session->lock_end.us == 0)
        session->lock_end = timeout > 0 ? after(ms(timeout)) : NEVER;
    session->waits_for = holder;
    list_push(&session->model->waiting, &session->waiting_node);
    fault waited = model_wait(session, earlier_of(check, session->lock_end));
    bool deadlock = waited == OK && now().us >= check.us && is_deadlock(session);
    list_remove(&session->model->waiting, &session->waiting_node);
    session->waits_for = NULL;
    TRY(waited);
    if (now().us >= session->lock_end.us)
        return model_raise(session, "55P03", "canceling statement due to lock timeout");
    if (!deadlock)
        return OK;
    (void)model_raise(session, "40P01", "deadlock detected");
    model_hint(session, "See server log for query details.");
    return FAULT_UPSTREAM;
}
