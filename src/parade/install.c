#include "parade/install.h"

#include <stdio.h>

/* Two installations at once: the second one waits, and then finds the version. */
#define BEGIN                                                                                      \
    "begin; set local check_function_bodies = on; set local client_min_messages = notice;"         \
    " set local statement_timeout = 0; select pg_advisory_xact_lock(hashtext('trunkline parade'))"

fault parade_install_look(struct parade_session *session, struct parade_installed *ret, deadline by)
{
    static const char there[] = "select to_regclass('kv_config.schema_version') is not null,"
                                " to_regclass('public.shard_instance') is not null";
    static const char what[] =
        "select (select max(version) from kv_config.schema_version), instance_id, true"
        " from kv_config.my_info union all"
        " select (select max(version) from kv_config.schema_version), null, false order by 3 desc";
    struct parade_installed installed = {0};
    TRY(parade_session_ask(session, there, NULL, 0, by));
    if (!parade_session_true(session, 0, 0)) {
        *ret = installed;
        return OK;
    }
    installed.catalog = parade_session_true(session, 0, 1);
    TRY(parade_session_ask(session, what, NULL, 0, by));
    installed.version = (uint32_t)parade_session_number(session, 0, 0);
    installed.number = parade_session_number(session, 0, 1);
    installed.named = parade_session_true(session, 0, 2);
    *ret = installed;
    return OK;
}

/* Whether this database may get that kind of installation. */
static fault check(const struct parade_installed *installed, enum parade_for wanted)
{
    bool catalog = wanted == PARADE_FOR_CATALOG;
    if (installed->version > 0 && installed->catalog != catalog)
        return fault_raise(FAULT_CONFIG, "the database is a %s, not a %s; use another database",
                           installed->catalog ? "catalog" : "shard instance",
                           catalog ? "catalog" : "shard instance");
    if (installed->version > parade_newest_version())
        return fault_raise(FAULT_CONFIG,
                           "the database has version %u, this program knows up to %u; use a newer "
                           "trunkline",
                           installed->version, parade_newest_version());
    return OK;
}

static bool belongs(const struct parade_file *file, enum parade_for wanted)
{
    return file->kind == PARADE_FOR_BOTH || file->kind == wanted;
}

static bool is_due(const struct parade_file *file, const struct parade_installed *installed,
                   enum parade_for wanted)
{
    return belongs(file, wanted) && (file->version == 0 || file->version > installed->version);
}

fault parade_install_plan(const struct parade_installed *installed, enum parade_for wanted,
                          struct buffer *names)
{
    TRY(check(installed, wanted));
    for (size_t i = 0; i < parade_file_count; i++)
        if (is_due(&parade_files[i], installed, wanted))
            buffer_printf(names, "%s\n", parade_files[i].name);
    return buffer_fault(names);
}

static fault run_file(struct parade_session *session, const struct parade_file *file,
                      struct buffer *notices, deadline by)
{
    fault what = parade_session_run(session, span_text(file->text), by);
    if (what == FAULT_UPSTREAM) {
        const struct parade_error *error = parade_session_error(session);
        return fault_raise_state(what, error->sqlstate, "%s: %s (%s)", file->name, error->message,
                                 error->sqlstate);
    }
    TRY(what);
    buffer_append_span(notices, parade_session_notices(session));
    return OK;
}

static fault run_all(struct parade_session *session, enum parade_for wanted, struct buffer *notices,
                     deadline by)
{
    struct parade_installed installed;
    TRY(parade_install_look(session, &installed, by));
    TRY(check(&installed, wanted));
    for (size_t i = 0; i < parade_file_count; i++)
        if (is_due(&parade_files[i], &installed, wanted))
            TRY(run_file(session, &parade_files[i], notices, by));
    for (uint32_t version = installed.version + 1; version <= parade_newest_version(); version++) {
        char text[16];
        snprintf(text, sizeof(text), "%u", version);
        struct span value = span_text(text);
        TRY(parade_session_ask(
            session, "insert into kv_config.schema_version (version) values ($1)", &value, 1, by));
    }
    return parade_session_run(session, SPAN("commit"), by);
}

fault parade_install(struct parade_session *session, enum parade_for wanted, struct buffer *notices,
                     deadline by)
{
    TRY(parade_session_run(session, SPAN(BEGIN), by));
    fault what = run_all(session, wanted, notices, by);
    if (what != OK && parade_session_usable(session)) {
        struct fault_detail detail = fault_detail_save();
        fault undone = parade_session_run(session, SPAN("rollback"), by);
        if (undone != OK)
            return undone;
        fault_detail_restore(&detail);
    }
    return what;
}
