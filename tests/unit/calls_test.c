/* The statements that a server is executing, beside its ledger: session/calls.h. */
#include "session/calls.h"

#include "query/outline.h"
#include "unit.h"

static struct ledger ledger;
static struct calls *calls;

static void nothing(void *owner, const struct owed *owed, enum owed_end end)
{
    (void)owner;
    (void)owed;
    (void)end;
}

static void setup(void)
{
    ledger_init(&ledger, nothing, NULL);
    calls = calls_new();
    ck_assert_ptr_nonnull(calls);
}

static void teardown(void)
{
    calls_free(&calls);
    ledger_fini(&ledger);
}

static void sent(void)
{
    struct call left;
    if (!calls_sent(calls, &ledger, &left))
        query_outline_unref(&left.outline);
}

static void begin(enum call_kind kind)
{
    struct call call = {.kind = kind};
    calls_begin(calls, &ledger, &call, kind == CALL_NONE ? NULL : query_outline_unparsed());
}

static void owe(enum owed_kind kind)
{
    ck_assert(ledger_has_room(&ledger, 1));
    ledger_owe(&ledger, (struct owed){.kind = (uint8_t)kind});
}

static void send(enum call_kind kind, enum owed_kind owed)
{
    begin(kind);
    owe(owed);
    sent();
}

static void send_batch(void)
{
    send(CALL_PREPARE, OWED_PARSE);
    send(CALL_PREPARE, OWED_BIND);
    send(CALL_EXECUTE, OWED_EXECUTE);
    send(CALL_NONE, OWED_SYNC);
}

static void take(uint8_t type)
{
    ck_assert(ledger_take(&ledger, type) != VERDICT_BREACH);
}

TEST(a_call_is_found_when_its_entry_is_the_oldest)
{
    send_batch();
    send_batch();
    for (int i = 0; i < 2; i++) {
        ck_assert_ptr_nonnull(calls_head(calls, &ledger));
        take(WIRE_PARSE_COMPLETE);
        take(WIRE_BIND_COMPLETE);
        const struct call *call = calls_head(calls, &ledger);
        ck_assert(call != NULL && call->kind == CALL_EXECUTE);
        calls_end(calls, call);
        take(WIRE_COMMAND_COMPLETE);
        ck_assert_ptr_null(calls_head(calls, &ledger));
        take(WIRE_READY);
    }
    ck_assert_uint_eq(calls->count, 0);
}

TEST(what_an_error_skips_is_dropped)
{
    send(CALL_PREPARE, OWED_PARSE);
    send(CALL_EXECUTE, OWED_EXECUTE);
    send_batch();
    const struct call *failed = calls_failed(calls, &ledger);
    ck_assert(failed != NULL && failed->kind == CALL_PREPARE);
    calls_end(calls, failed);
    take(WIRE_ERROR);
    take(WIRE_READY);
    ck_assert_ptr_null(calls_head(calls, &ledger));
    ck_assert_uint_eq(calls->count, 0);
}

TEST(an_error_of_a_message_of_ours_is_that_of_the_call_behind_it)
{
    begin(CALL_PREPARE);
    owe(OWED_PARSE); /* injected */
    owe(OWED_BIND);
    sent();
    ck_assert_ptr_null(calls_head(calls, &ledger));
    ck_assert_ptr_nonnull(calls_failed(calls, &ledger));
}

TEST(an_error_is_never_that_of_a_later_batch)
{
    send(CALL_NONE, OWED_DESCRIBE);
    send(CALL_NONE, OWED_SYNC);
    send(CALL_QUERY, OWED_QUERY);
    ck_assert_ptr_null(calls_failed(calls, &ledger));
}

TEST(what_is_not_sent_is_no_call)
{
    begin(CALL_QUERY);
    sent();
    begin(CALL_QUERY);
    begin(CALL_QUERY);
    owe(OWED_QUERY);
    sent();
    sent();
    ck_assert_uint_eq(calls->count, 1);
}

TEST(a_wait_is_given_to_the_first_statement)
{
    calls->waited_us = 7;
    send_batch();
    take(WIRE_PARSE_COMPLETE);
    take(WIRE_BIND_COMPLETE);
    ck_assert_int_eq(calls_head(calls, &ledger)->waited_us, 7);
    ck_assert_int_eq(calls->waited_us, 0);
}

TEST(a_long_pipeline_is_counted_in_part)
{
    for (uint32_t i = 0; i < LEDGER_MAX - 1; i++)
        send(CALL_EXECUTE, OWED_EXECUTE);
    ck_assert_uint_eq(calls->count, CALLS_MAX);
}

/* --- names ------------------------------------------------------------------------------------ */

static struct query_outline *outline_of(const char *text)
{
    struct query_outline *made;
    ck_assert_int_eq(query_outline_new(span_text(text), &made), OK);
    return made;
}

static void send_named(struct call call, const char *text, enum owed_kind owed)
{
    calls_begin(calls, &ledger, &call, text == NULL ? NULL : outline_of(text));
    owe(owed);
    sent();
}

static void parse(const char *name, const char *text)
{
    send_named((struct call){.kind = CALL_PREPARE,
                             .names = CALL_NAMES_STATEMENT,
                             .name = calls_name(span_text(name))},
               text, OWED_PARSE);
}

static void bind(const char *portal, const char *statement)
{
    send_named((struct call){.kind = CALL_PREPARE,
                             .names = CALL_NAMES_PORTAL,
                             .name = calls_name(span_text(portal)),
                             .source = calls_name(span_text(statement))},
               NULL, OWED_BIND);
}

static void execute(const char *portal)
{
    send_named((struct call){.kind = CALL_EXECUTE, .source = calls_name(span_text(portal))}, NULL,
               OWED_EXECUTE);
}

/* The text of the Execute whose reply comes now. */
static void runs(const char *text)
{
    const struct call *call = calls_head(calls, &ledger);
    ck_assert(call != NULL && call->kind == CALL_EXECUTE);
    ck_assert(span_is(call->outline->shown, text));
    calls_end(calls, call);
    take(WIRE_COMMAND_COMPLETE);
}

static void fails(void)
{
    const struct call *failed = calls_failed(calls, &ledger);
    ck_assert_ptr_nonnull(failed);
    calls_skip(calls, &ledger);
    calls_end(calls, failed);
    take(WIRE_ERROR);
}

TEST(a_pipeline_means_what_its_names_mean_when_the_server_comes_to_them)
{
    parse("s", "select 1, 1");
    bind("p", "s");
    execute("p");
    parse("s", "select 2");
    bind("p", "s");
    execute("p");
    for (int i = 0; i < 2; i++) {
        take(WIRE_PARSE_COMPLETE);
        take(WIRE_BIND_COMPLETE);
        runs(i == 0 ? "select $1, $2" : "select $1");
    }
}
END_TEST

TEST(a_name_that_was_refused_or_skipped_stands_for_what_it_did)
{
    parse("s", "delete from t");
    bind("p", "s");
    send(CALL_NONE, OWED_SYNC);
    take(WIRE_PARSE_COMPLETE);
    take(WIRE_BIND_COMPLETE);
    take(WIRE_READY);
    parse("s", "select 2"); /* it is there already */
    bind("p", "s");
    execute("p");
    send(CALL_NONE, OWED_SYNC);
    fails();
    take(WIRE_READY);
    bind("q", "s");
    execute("p");
    execute("q");
    take(WIRE_BIND_COMPLETE);
    runs("delete from t");
    runs("delete from t");
}
END_TEST

TEST(what_was_forgotten_is_not_known)
{
    parse("s", "select 2");
    bind("p", "s");
    take(WIRE_PARSE_COMPLETE);
    take(WIRE_BIND_COMPLETE);
    ck_assert_ptr_null(calls_head(calls, &ledger));
    calls_forget_portals(calls);
    execute("p");
    runs("");
    bind("p", "s");
    execute("p");
    take(WIRE_BIND_COMPLETE);
    runs("select $1");
    calls_forget_names(calls);
    bind("p", "s");
    execute("p");
    take(WIRE_BIND_COMPLETE);
    runs("");
}
END_TEST

/* The Bind that gives the portal another meaning finds no room. */
TEST(a_name_that_could_not_be_noted_is_not_known)
{
    parse("s", "select 2");
    bind("p", "s");
    take(WIRE_PARSE_COMPLETE);
    take(WIRE_BIND_COMPLETE);
    ck_assert_ptr_null(calls_head(calls, &ledger));
    for (uint32_t i = 0; i < CALLS_MAX; i++)
        execute("p");
    bind("p", "t");
    for (uint32_t i = 0; i < CALLS_MAX; i++)
        runs("");
    take(WIRE_BIND_COMPLETE);
    execute("p");
    runs("");
    parse("s", "select 2");
    bind("p", "s");
    execute("p");
    take(WIRE_PARSE_COMPLETE);
    take(WIRE_BIND_COMPLETE);
    runs("select $1");
}
END_TEST

TEST(names_are_bounded)
{
    char name[2] = "a";
    for (int i = 0; i < 100; i++) {
        name[0] = (char)(1 + i);
        parse(name, "select 2");
        bind(name, name);
        take(WIRE_PARSE_COMPLETE);
        take(WIRE_BIND_COMPLETE);
    }
    execute(name);
    runs("select $1");
    name[0] = 1;
    execute(name);
    runs("");
}
END_TEST

TEST(what_was_sent_and_not_answered_is_lost)
{
    parse("s", "select 2");
    bind("p", "s");
    execute("p");
    send(CALL_QUERY, OWED_QUERY);
    take(WIRE_PARSE_COMPLETE);
    take(WIRE_BIND_COMPLETE);
    const struct call *call = calls_lost(calls, &ledger);
    ck_assert(call != NULL && call->kind == CALL_EXECUTE);
    ck_assert(span_is(call->outline->shown, "select $1"));
    calls_end(calls, call);
    call = calls_lost(calls, &ledger);
    ck_assert(call != NULL && call->kind == CALL_QUERY);
    calls_end(calls, call);
    ck_assert_ptr_null(calls_lost(calls, &ledger));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_call_is_found_when_its_entry_is_the_oldest,
        what_an_error_skips_is_dropped,
        an_error_of_a_message_of_ours_is_that_of_the_call_behind_it,
        an_error_is_never_that_of_a_later_batch,
        what_is_not_sent_is_no_call,
        a_wait_is_given_to_the_first_statement,
        a_long_pipeline_is_counted_in_part,
        a_pipeline_means_what_its_names_mean_when_the_server_comes_to_them,
        a_name_that_was_refused_or_skipped_stands_for_what_it_did,
        what_was_forgotten_is_not_known,
        a_name_that_could_not_be_noted_is_not_known,
        names_are_bounded,
        what_was_sent_and_not_answered_is_lost,
        NULL,
    };
    return unit_run("calls", tests, setup, teardown);
}
