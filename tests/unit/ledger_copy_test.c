#include "ledger_play.h"

TEST(a_copy_by_a_simple_query_ends_with_it)
{
    begin();
    owe(OWED_QUERY);
    hears("G");
    ck_assert(ledger.copy_in);
    ledger_copy_ends(&ledger);
    ck_assert(!ledger.copy_in);
    hears("CZ");
    is_even();
}
END_TEST

TEST(a_sync_that_was_sent_before_the_copy_began_is_read_by_it)
{
    begin(); /* libpq: Parse, Bind, Describe, Execute, Sync; then data, CopyDone, Sync */
    owe(OWED_PARSE);
    owe(OWED_BIND);
    owe(OWED_DESCRIBE);
    owe(OWED_EXECUTE);
    owe(OWED_SYNC);
    hears("12nG");
    ledger_copy_ends(&ledger);
    owe(OWED_SYNC);
    hears("CZ");
    is_even();
}
END_TEST

/* PostgreSQL would refuse this Close as COPY data, and has not got it. */
TEST(a_synthetic_answer_before_the_end_of_a_copy_is_a_breach)
{
    for (int syncs = 0; syncs < 2; syncs++) {
        begin();
        owe(OWED_QUERY);
        for (int i = 0; i < syncs; i++)
            owe(OWED_SYNC);
        owe_about(OWED_CLOSE, FATE_SYNTHETIC, "a");
        owe(OWED_SYNC);
        is_breached_by('G');
        ledger_fini(&ledger);
    }
    begin();
    owe(OWED_QUERY);
    ledger_copy_ends(&ledger);
    owe_about(OWED_CLOSE, FATE_SYNTHETIC, "a");
    owe(OWED_SYNC);
    hears("GCZ");
    ledger_give(&ledger);
    hears("Z");
    is_even();
}
END_TEST

/* The client has not seen yet that its COPY failed.  What it sends behind the next COPY is for that
 * one. */
TEST(the_end_of_a_copy_that_began_behind_one_that_failed)
{
    begin();
    owe(OWED_QUERY);
    owe(OWED_SYNC);
    hears("G");
    owe(OWED_SYNC);
    owe(OWED_QUERY); /* another COPY */
    ledger_copy_ends(&ledger);
    owe(OWED_SYNC);
    owe(OWED_QUERY);
    hears("EZ");  /* of the first COPY, which has read one of the Syncs */
    hears("Z");   /* of the other */
    hears("GCZ"); /* of the second COPY, which has read no Sync */
    hears("ZEZ");
    is_even();
}
END_TEST

/* PostgreSQL has read the first Sync, or not: a BEFORE STATEMENT trigger raises before it reads. */
TEST(the_same_with_a_copy_that_fails)
{
    for (int answers = 1; answers <= 2; answers++) {
        begin();
        owe(OWED_EXECUTE);
        owe(OWED_SYNC);
        hears("G");
        ck_assert_int_eq(ledger.doubt, DOUBT_COPY);
        ledger_copy_ends(&ledger);
        owe(OWED_SYNC);
        hears("E");
        ck_assert(ledger.unsure && !ledger_may_mark(&ledger));
        hears("Z");
        ck_assert(ledger.unsure && ledger_may_mark(&ledger));
        owe_about(OWED_MARK, FATE_SWALLOW, NULL);
        hears(answers == 2 ? "Z" : "");
        swallows("CT");
        ledger_mark_shown(&ledger);
        swallows("DCCZ");
        is_even();
    }
}
END_TEST

TEST(a_sync_into_a_copy_that_succeeds_is_not_answered)
{
    static const enum owed_kind by[] = {OWED_EXECUTE, OWED_QUERY};
    for (size_t i = 0; i < ARRAY_SIZE(by); i++) {
        begin();
        owe(by[i]);
        hears("G");
        owe(OWED_SYNC);
        owe(OWED_SYNC);
        ledger_copy_ends(&ledger);
        owe(OWED_SYNC);
        hears(by[i] == OWED_QUERY ? "CZZ" : "CZ");
        is_even();
    }
}
END_TEST

TEST(a_sync_into_a_copy_that_has_failed_may_be_answered)
{
    for (int answered = 0; answered < 2; answered++) {
        begin();
        owe(OWED_QUERY);
        hears("G");
        owe(OWED_SYNC);
        hears("E");
        ck_assert(!ledger.copy_in && ledger.unsure);
        hears("Z");
        ck_assert(ledger_may_mark(&ledger));
        owe(OWED_QUERY); /* its client goes on: what answers that tells */
        ck_assert(!ledger_may_mark(&ledger));
        hears(answered ? "ZTDCZ" : "TDCZ");
        is_even();
        ck_assert_int_eq(ledger.doubt, DOUBT_COPY);
    }
}
END_TEST

TEST(a_batch_behind_a_sync_that_a_copy_may_have_read_may_be_skipped)
{
    begin();
    owe(OWED_EXECUTE);
    owe(OWED_SYNC);
    owe_about(OWED_PARSE, FATE_FORWARD, "a");
    owe(OWED_SYNC);
    hears("GEZ"); /* of the second Sync, as the first was read */
    ck_assert(!ledger_may_mark(&ledger));
    owe(OWED_QUERY);
    hears("TDCZ");
    ck_assert_str_eq(settled, "a-");
    ck_assert_int_eq(ledger.doubt, DOUBT_COPY | DOUBT_BROKEN);
    is_even();
}
END_TEST

/* The Parse and the Describe are skipped.  What was taken for their answers are the first ones of
 * the batch behind them. */
TEST(answers_taken_for_those_of_a_skipped_batch_count_in_the_next)
{
    begin();
    owe(OWED_EXECUTE);
    owe(OWED_SYNC);
    hears("GE");
    owe(OWED_PARSE);
    owe(OWED_DESCRIBE);
    owe(OWED_SYNC);
    owe(OWED_PARSE);
    owe(OWED_QUERY);
    owe(OWED_QUERY);
    owe(OWED_SYNC);
    owe(OWED_QUERY);
    hears("Z1TDCZ");
    ck_assert_uint_eq(ledger.count, 3);
    hears("TDCZZ");
    ck_assert_uint_eq(ledger.count, 1);
    hears("CZ");
    is_even();
}
END_TEST

/* No Query is answered by ReadyForQuery alone, but a Sync is behind Queries that were skipped. */
TEST(queries_behind_a_sync_that_a_copy_may_have_read_may_be_skipped)
{
    begin();
    owe(OWED_EXECUTE);
    owe(OWED_SYNC);
    owe(OWED_SYNC);
    owe(OWED_QUERY);
    owe(OWED_QUERY);
    owe(OWED_SYNC);
    owe(OWED_SYNC);
    owe(OWED_SYNC);
    owe(OWED_QUERY);
    owe(OWED_QUERY);
    hears("GEZZZ"); /* the last three */
    hears("CZIZ");
    is_even();
}
END_TEST

TEST(a_skipped_batch_that_holds_a_query_is_a_breach)
{
    begin();
    owe(OWED_EXECUTE);
    owe(OWED_SYNC);
    hears("GE");
    owe(OWED_PARSE);
    owe(OWED_QUERY);
    owe(OWED_SYNC);
    owe(OWED_BIND);
    owe(OWED_QUERY);
    owe(OWED_SYNC);
    hears("Z");
    is_breached_by('2');
    ledger_fini(&ledger);
}
END_TEST

TEST(an_error_behind_syncs_that_a_copy_may_have_read_is_of_what_follows_them)
{
    begin();
    owe(OWED_QUERY);
    hears("G");
    owe(OWED_SYNC);
    hears("EZ");
    owe_about(OWED_PARSE, FATE_FORWARD, "a");
    owe(OWED_SYNC);
    hears("E");
    ck_assert_str_eq(settled, "a-");
    hears("Z");
    is_even();
}
END_TEST

TEST(a_copy_sent_in_one_go_keeps_the_sync_behind_its_end)
{
    begin();
    owe(OWED_EXECUTE);
    ledger_copy_ends(&ledger); /* before the server has asked for data */
    owe(OWED_SYNC);
    hears("G");
    ck_assert(!ledger.copy_in);
    owe(OWED_SYNC);
    hears("CZZ");
    is_even();
}
END_TEST

TEST(syncs_before_and_behind_the_end_of_a_copy_sent_in_one_go_are_told_apart)
{
    begin();
    owe(OWED_EXECUTE);
    owe(OWED_SYNC); /* read by the COPY */
    owe(OWED_SYNC); /* this too */
    ledger_copy_ends(&ledger);
    owe(OWED_SYNC);
    owe(OWED_SYNC);
    hears("GCZZ");
    is_even();
}
END_TEST

TEST(two_copies_of_one_query_may_both_be_sent_ahead)
{
    begin();
    owe(OWED_QUERY);
    ledger_copy_ends(&ledger);
    ledger_copy_ends(&ledger);
    owe(OWED_SYNC);
    hears("GC");
    hears("GCZZ");
    is_even();
}
END_TEST

TEST(ends_of_copies_are_counted_beyond_255)
{
    begin();
    owe(OWED_QUERY);
    for (int i = 0; i < 300; i++)
        ledger_copy_ends(&ledger);
    owe(OWED_SYNC);
    for (int i = 0; i < 300; i++)
        hears("GC");
    ck_assert_uint_eq(ledger.count, 2);
    hears("ZZ");
    is_even();
}
END_TEST

TEST(a_sync_between_the_ends_of_two_copies_is_read_by_the_second)
{
    begin();
    owe(OWED_QUERY);
    ledger_copy_ends(&ledger);
    owe(OWED_SYNC);
    ledger_copy_ends(&ledger);
    owe(OWED_SYNC);
    hears("GCGC");
    ck_assert_uint_eq(ledger.count, 2);
    hears("ZZ");
    is_even();
}
END_TEST

TEST(syncs_that_a_copy_has_read_hand_on_the_ends_behind_them)
{
    begin();
    owe(OWED_QUERY);
    owe(OWED_SYNC);
    ledger_copy_ends(&ledger);
    ledger_copy_ends(&ledger); /* of a second COPY */
    owe(OWED_SYNC);
    hears("GCG");
    ck_assert(!ledger.copy_in);
    hears("CZZ");
    is_even();
}
END_TEST

TESTS("ledger_copy", a_copy_by_a_simple_query_ends_with_it,
      a_sync_that_was_sent_before_the_copy_began_is_read_by_it,
      a_synthetic_answer_before_the_end_of_a_copy_is_a_breach,
      the_end_of_a_copy_that_began_behind_one_that_failed, the_same_with_a_copy_that_fails,
      a_sync_into_a_copy_that_succeeds_is_not_answered,
      a_sync_into_a_copy_that_has_failed_may_be_answered,
      a_batch_behind_a_sync_that_a_copy_may_have_read_may_be_skipped,
      answers_taken_for_those_of_a_skipped_batch_count_in_the_next,
      queries_behind_a_sync_that_a_copy_may_have_read_may_be_skipped,
      a_skipped_batch_that_holds_a_query_is_a_breach,
      an_error_behind_syncs_that_a_copy_may_have_read_is_of_what_follows_them,
      a_copy_sent_in_one_go_keeps_the_sync_behind_its_end,
      syncs_before_and_behind_the_end_of_a_copy_sent_in_one_go_are_told_apart,
      two_copies_of_one_query_may_both_be_sent_ahead, ends_of_copies_are_counted_beyond_255,
      a_sync_between_the_ends_of_two_copies_is_read_by_the_second,
      syncs_that_a_copy_has_read_hand_on_the_ends_behind_them)
