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
    calls_sent(calls, &ledger);
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
    calls_sent(calls, &ledger);
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
    calls_sent(calls, &ledger);
    begin(CALL_QUERY);
    begin(CALL_QUERY);
    owe(OWED_QUERY);
    calls_sent(calls, &ledger);
    calls_sent(calls, &ledger);
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

TEST(names_are_bounded)
{
    char name[2] = "a";
    for (int i = 0; i < 100; i++) {
        name[0] = (char)(1 + i);
        calls_note_portal(calls, span_of(name, 1), query_outline_unparsed());
        calls_note_statement(calls, span_of(name, 1), query_outline_unparsed());
    }
    struct query_outline *last = calls_portal(calls, span_of(name, 1));
    ck_assert_ptr_nonnull(last);
    query_outline_unref(&last);
    last = calls_statement(calls, span_of(name, 1));
    ck_assert_ptr_nonnull(last);
    query_outline_unref(&last);
    name[0] = 1;
    ck_assert_ptr_null(calls_portal(calls, span_of(name, 1)));
    ck_assert_ptr_null(calls_statement(calls, span_of(name, 1)));
    ck_assert_ptr_null(calls_portal(calls, SPAN("none")));
}

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
        names_are_bounded,
        NULL,
    };
    return unit_run("calls", tests, setup, teardown);
}
