/* model_functions.c - the functions that the model's SQL knows. */
#include "model_inside.h"

#include <ctype.h>

/* --- settings --------------------------------------------------------------------------------- */

static fault call_current_setting(const struct sql_scope *scope, const struct sql_value *args,
                                  struct sql_value *ret)
{
    const char *spelled;
    const char *value = model_guc_show(scope->session, args[0].text, scope->arena, &spelled);
    if (value == NULL && args[1].number) {
        ret->null = true;
        return OK;
    }
    if (value == NULL)
        return model_guc_unknown(scope->session, args[0].text);
    ret->text = span_text(value);
    return OK;
}

static fault call_set_config(const struct sql_scope *scope, const struct sql_value *args,
                             struct sql_value *ret)
{
    const char *spelled;
    const char *value = args[1].null ? NULL : (const char *)sql_copy(scope->arena, args[1].text).at;
    if (args[0].null)
        return model_raise(scope->session, "22004", "SET requires parameter name");
    TRY(model_guc_set(scope->session, args[0].text, value, args[2].number));
    value = model_guc_show(scope->session, args[0].text, scope->arena, &spelled);
    ret->text = span_text(value);
    return OK;
}

/* --- who and where ---------------------------------------------------------------------------- */

static fault call_backend_pid(const struct sql_scope *scope, const struct sql_value *args,
                              struct sql_value *ret)
{
    ret->number = scope->session->pid;
    return OK;
}

static fault call_current_user(const struct sql_scope *scope, const struct sql_value *args,
                               struct sql_value *ret)
{
    const char *role = model_guc_value(scope->session, "role");
    bool none = strcmp(role, "none") == 0;
    ret->text = span_text(none ? model_guc_value(scope->session, "session_authorization") : role);
    return OK;
}

static fault call_session_user(const struct sql_scope *scope, const struct sql_value *args,
                               struct sql_value *ret)
{
    ret->text = span_text(model_guc_value(scope->session, "session_authorization"));
    return OK;
}

static fault call_database(const struct sql_scope *scope, const struct sql_value *args,
                           struct sql_value *ret)
{
    ret->text = span_text(scope->session->database);
    return OK;
}

static fault call_in_recovery(const struct sql_scope *scope, const struct sql_value *args,
                              struct sql_value *ret)
{
    ret->number = model_is_standby(scope->session);
    return OK;
}

static fault call_signal_cancel(const struct sql_scope *scope, const struct sql_value *args,
                                struct sql_value *ret)
{
    ret->number = model_cancel(scope->session->model, (uint32_t)args[0].number);
    if (!ret->number)
        return model_warn(scope->session, "WARNING", "01000",
                          "PID %d is not a PostgreSQL backend process", (int)args[0].number);
    return model_check(scope->session);
}

static fault call_signal_terminate(const struct sql_scope *scope, const struct sql_value *args,
                                   struct sql_value *ret)
{
    ret->number = model_terminate(scope->session->model, (uint32_t)args[0].number);
    if (!ret->number)
        return model_warn(scope->session, "WARNING", "01000",
                          "PID %d is not a PostgreSQL backend process", (int)args[0].number);
    return model_check(scope->session);
}

static fault call_sleep(const struct sql_scope *scope, const struct sql_value *args,
                        struct sql_value *ret)
{
    deadline by = after((duration){.us = (int64_t)(args[0].real * 1e6)});
    if (args[0].real <= 0)
        return model_check(scope->session);
    while (now().us < by.us)
        TRY(model_wait(scope->session, by));
    return OK;
}

static fault call_setseed(const struct sql_scope *scope, const struct sql_value *args,
                          struct sql_value *ret)
{
    if (args[0].real < -1 || args[0].real > 1)
        return model_raise(scope->session, "22023",
                           "setseed parameter %g is out of allowed range [-1,1]", args[0].real);
    return OK;
}

/* --- locks and notifications ------------------------------------------------------------------ */

static fault lock_with(const struct sql_scope *scope, const struct sql_value *args,
                       struct sql_value *ret, bool transaction, bool wait)
{
    bool got;
    TRY(model_lock(scope->session, args[0].number, transaction, wait, &got));
    ret->number = got;
    return OK;
}

static fault call_lock(const struct sql_scope *scope, const struct sql_value *args,
                       struct sql_value *ret)
{
    return lock_with(scope, args, ret, false, true);
}

static fault call_try_lock(const struct sql_scope *scope, const struct sql_value *args,
                           struct sql_value *ret)
{
    return lock_with(scope, args, ret, false, false);
}

static fault call_xact_lock(const struct sql_scope *scope, const struct sql_value *args,
                            struct sql_value *ret)
{
    return lock_with(scope, args, ret, true, true);
}

static fault call_try_xact_lock(const struct sql_scope *scope, const struct sql_value *args,
                                struct sql_value *ret)
{
    return lock_with(scope, args, ret, true, false);
}

static fault call_unlock(const struct sql_scope *scope, const struct sql_value *args,
                         struct sql_value *ret)
{
    ret->number = model_unlock(scope->session, args[0].number);
    if (ret->number)
        return OK;
    return model_warn(scope->session, "WARNING", "01000", "you don't own a lock of type %s",
                      "ExclusiveLock");
}

static fault call_unlock_all(const struct sql_scope *scope, const struct sql_value *args,
                             struct sql_value *ret)
{
    model_unlock_all(scope->session, false);
    return OK;
}

static fault call_notify(const struct sql_scope *scope, const struct sql_value *args,
                         struct sql_value *ret)
{
    if (args[0].null || args[0].text.size == 0)
        return model_raise(scope->session, "22023", "channel name cannot be empty");
    model_notify(scope->session, args[0].text, args[1].null ? SPAN("") : args[1].text);
    return OK;
}

/* --- texts ------------------------------------------------------------------------------------ */

static fault call_length(const struct sql_scope *scope, const struct sql_value *args,
                         struct sql_value *ret)
{
    for (size_t i = 0; i < args[0].text.size; i++)
        ret->number += (args[0].text.at[i] & 0xc0) != 0x80;
    return OK;
}

static fault call_upper(const struct sql_scope *scope, const struct sql_value *args,
                        struct sql_value *ret)
{
    struct span copy = sql_copy(scope->arena, args[0].text);
    for (size_t i = 0; i < copy.size; i++)
        ((uint8_t *)(uintptr_t)copy.at)[i] = (uint8_t)toupper(copy.at[i]);
    ret->text = copy;
    return OK;
}

#define REPEAT_MAX (1 << 20)

static fault call_repeat(const struct sql_scope *scope, const struct sql_value *args,
                         struct sql_value *ret)
{
    size_t size = args[0].text.size, times = args[1].number < 0 ? 0 : (size_t)args[1].number;
    if (size > 0 && times > REPEAT_MAX / size)
        return model_raise(scope->session, "54000", "requested length too large");
    char *text = sql_take(scope->arena, size * times + 1);
    for (size_t i = 0; i < times && size > 0; i++)
        memcpy(text + i * size, args[0].text.at, size);
    ret->text = span_of(text, size * times);
    return OK;
}

static fault call_version(const struct sql_scope *scope, const struct sql_value *args,
                          struct sql_value *ret)
{
    ret->text = SPAN("PostgreSQL 15 (model)");
    return OK;
}

/* --- the table -------------------------------------------------------------------------------- */

#define FUNCTION(name_, result_, call_, volatility_, ...)                                          \
    {                                                                                              \
        .name = name_, .result = result_, .call = call_, .volatility = volatility_,                \
        .args = {__VA_ARGS__},                                                                     \
        .arg_count =                                                                               \
            sizeof((enum sql_type[]){SQL_VOID, ##__VA_ARGS__}) / sizeof(enum sql_type) - 1         \
    }
#define AGGREGATE(name_, result_, kind_, ...)                                                      \
    {                                                                                              \
        .name = name_, .result = result_, .aggregate = kind_, .args = {__VA_ARGS__},               \
        .arg_count =                                                                               \
            sizeof((enum sql_type[]){SQL_VOID, ##__VA_ARGS__}) / sizeof(enum sql_type) - 1         \
    }

static const struct sql_function functions[] = {
    FUNCTION("current_setting", SQL_TEXT, call_current_setting, SQL_STABLE, SQL_TEXT),
    FUNCTION("current_setting", SQL_TEXT, call_current_setting, SQL_STABLE, SQL_TEXT, SQL_BOOL),
    {.name = "set_config",
     .result = SQL_TEXT,
     .call = call_set_config,
     .volatility = SQL_VOLATILE,
     .args = {SQL_TEXT, SQL_TEXT, SQL_BOOL},
     .arg_count = 3,
     .takes_null = true},
    FUNCTION("pg_backend_pid", SQL_INT4, call_backend_pid, SQL_STABLE),
    FUNCTION("current_user", SQL_NAME, call_current_user, SQL_STABLE),
    FUNCTION("current_role", SQL_NAME, call_current_user, SQL_STABLE),
    FUNCTION("user", SQL_NAME, call_current_user, SQL_STABLE),
    FUNCTION("session_user", SQL_NAME, call_session_user, SQL_STABLE),
    FUNCTION("current_database", SQL_NAME, call_database, SQL_STABLE),
    FUNCTION("current_catalog", SQL_NAME, call_database, SQL_STABLE),
    FUNCTION("pg_is_in_recovery", SQL_BOOL, call_in_recovery, SQL_VOLATILE),
    FUNCTION("pg_cancel_backend", SQL_BOOL, call_signal_cancel, SQL_VOLATILE, SQL_INT4),
    FUNCTION("pg_terminate_backend", SQL_BOOL, call_signal_terminate, SQL_VOLATILE, SQL_INT4),
    FUNCTION("setseed", SQL_VOID, call_setseed, SQL_VOLATILE, SQL_FLOAT8),
    FUNCTION("pg_sleep", SQL_VOID, call_sleep, SQL_VOLATILE, SQL_FLOAT8),
    FUNCTION("pg_advisory_lock", SQL_VOID, call_lock, SQL_VOLATILE, SQL_INT8),
    FUNCTION("pg_try_advisory_lock", SQL_BOOL, call_try_lock, SQL_VOLATILE, SQL_INT8),
    FUNCTION("pg_advisory_xact_lock", SQL_VOID, call_xact_lock, SQL_VOLATILE, SQL_INT8),
    FUNCTION("pg_try_advisory_xact_lock", SQL_BOOL, call_try_xact_lock, SQL_VOLATILE, SQL_INT8),
    FUNCTION("pg_advisory_unlock", SQL_BOOL, call_unlock, SQL_VOLATILE, SQL_INT8),
    FUNCTION("pg_advisory_unlock_all", SQL_VOID, call_unlock_all, SQL_VOLATILE),
    {.name = "pg_notify",
     .result = SQL_VOID,
     .call = call_notify,
     .volatility = SQL_VOLATILE,
     .args = {SQL_TEXT, SQL_TEXT},
     .arg_count = 2,
     .takes_null = true},
    FUNCTION("length", SQL_INT4, call_length, SQL_IMMUTABLE, SQL_TEXT),
    FUNCTION("upper", SQL_TEXT, call_upper, SQL_IMMUTABLE, SQL_TEXT),
    FUNCTION("repeat", SQL_TEXT, call_repeat, SQL_IMMUTABLE, SQL_TEXT, SQL_INT4),
    FUNCTION("version", SQL_TEXT, call_version, SQL_STABLE),
    FUNCTION("model_pick", SQL_TEXT, model_call_pick, SQL_IMMUTABLE, SQL_TEXT, SQL_INT8),
    FUNCTION("model_digest", SQL_TEXT, model_call_digest, SQL_VOLATILE, SQL_TEXT),
    FUNCTION("model_fact", SQL_TEXT, model_call_fact, SQL_VOLATILE, SQL_TEXT),
    FUNCTION("model_context", SQL_TEXT, model_call_context, SQL_STABLE),
    AGGREGATE("count", SQL_INT8, SQL_COUNT),
    AGGREGATE("count", SQL_INT8, SQL_COUNT, SQL_INT4),
    AGGREGATE("count", SQL_INT8, SQL_COUNT, SQL_TEXT),
    AGGREGATE("count", SQL_INT8, SQL_COUNT, SQL_INT8),
    AGGREGATE("sum", SQL_INT8, SQL_SUM, SQL_INT4),
    AGGREGATE("min", SQL_INT4, SQL_MIN, SQL_INT4),
    AGGREGATE("max", SQL_INT4, SQL_GREATEST, SQL_INT4),
    AGGREGATE("min", SQL_TEXT, SQL_MIN, SQL_TEXT),
    AGGREGATE("max", SQL_TEXT, SQL_GREATEST, SQL_TEXT),
};

static bool becomes(enum sql_type from, enum sql_type to)
{
    if (from == to || from == SQL_UNKNOWN)
        return true;
    if (from == SQL_NAME || from == SQL_INT4)
        return from == SQL_NAME ? to == SQL_TEXT : to == SQL_INT8 || to == SQL_FLOAT8;
    return (from == SQL_NUMERIC || from == SQL_INT8) && to == SQL_FLOAT8;
}

const struct sql_function *sql_function_find(struct span name, const enum sql_type *types,
                                             uint32_t count)
{
    const struct sql_function *best = NULL;
    uint32_t best_exact = 0;
    for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
        const struct sql_function *it = &functions[i];
        uint32_t fits = 0, exact = 0;
        if (it->arg_count != count || !span_is(name, it->name))
            continue;
        for (uint32_t arg = 0; arg < count; arg++) {
            fits += becomes(types[arg], it->args[arg]);
            exact += types[arg] == it->args[arg];
        }
        if (fits == count && (best == NULL || exact > best_exact)) {
            best = it;
            best_exact = exact;
        }
    }
    return best;
}
