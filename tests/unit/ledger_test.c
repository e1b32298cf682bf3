#include "ledger_play.h"

/* --- each kind -------------------------------------------------------------------------------- */

TEST(a_query_is_owed_until_ready)
{
    begin();
    owe(OWED_QUERY);
    hears("TDDCINTDCE");
    ck_assert(!ledger_empty(&ledger));
    ck_assert(!ledger_needs_sync(&ledger));
    hears("Z");
    is_even();
}
END_TEST

TEST(a_function_call_is_owed_until_ready)
{
    begin();
    owe(OWED_FUNCTION);
    owe(OWED_FUNCTION);
    hears("VZ");
    hears("EZ");
    is_even();
}
END_TEST

TEST(each_message_of_a_batch_is_struck_out_by_its_own_answer)
{
    static const struct {
        enum owed_kind kind;
        const char *answer;
    } batch[] = {
        {OWED_PARSE, "1"},   {OWED_DESCRIBE, "tT"}, {OWED_DESCRIBE, "tn"},
        {OWED_BIND, "2"},    {OWED_DESCRIBE, "n"},  {OWED_EXECUTE, "DDC"},
        {OWED_EXECUTE, "I"}, {OWED_EXECUTE, "DDs"}, {OWED_EXECUTE, "HddcC"},
        {OWED_CLOSE, "3"},   {OWED_SYNC, "Z"},
    };
    begin();
    for (size_t i = 0; i < ARRAY_SIZE(batch); i++)
        owe(batch[i].kind);
    for (size_t i = 0; i < ARRAY_SIZE(batch); i++) {
        ck_assert_uint_eq(ledger.count, ARRAY_SIZE(batch) - i);
        hears(batch[i].answer);
    }
    is_even();
}
END_TEST

TEST(a_sync_is_needed_while_a_batch_is_open)
{
    begin();
    owe(OWED_PARSE);
    ck_assert(ledger_needs_sync(&ledger));
    owe(OWED_SYNC);
    ck_assert(!ledger_needs_sync(&ledger));
    owe(OWED_EXECUTE);
    ck_assert(ledger_needs_sync(&ledger));
    owe(OWED_QUERY); /* ReadyForQuery ends this too */
    ck_assert(!ledger_needs_sync(&ledger));
    hears("1ZCCZ");
    is_even();
}
END_TEST

TEST(what_comes_at_any_time_strikes_nothing_out)
{
    begin();
    hears("NSA");
    owe(OWED_QUERY);
    hears("NSANSTDNSA");
    ck_assert_uint_eq(ledger.count, 1);
    hears("CZNSA");
    is_even();
}
END_TEST

TEST(answers_to_what_trunkline_asked_are_swallowed_but_not_notifications)
{
    begin();
    owe_about(OWED_QUERY, FATE_SWALLOW, NULL);
    owe_about(OWED_PARSE, FATE_SWALLOW, NULL);
    owe(OWED_BIND);
    swallows("NSC");
    hears("A");
    swallows("Z1");
    hears("2");
    is_even();
}
END_TEST

/* --- errors ----------------------------------------------------------------------------------- */

TEST(an_error_drops_the_batch_up_to_its_sync_and_nothing_behind_it)
{
    begin();
    owe_about(OWED_PARSE, FATE_FORWARD, "a");
    owe_about(OWED_BIND, FATE_FORWARD, "b");
    owe_about(OWED_EXECUTE, FATE_FORWARD, "c");
    owe(OWED_SYNC);
    owe_about(OWED_PARSE, FATE_FORWARD, "d");
    owe(OWED_SYNC);
    hears("1E");
    ck_assert_str_eq(settled, "a+c-b-");
    hears("Z1Z");
    ck_assert_str_eq(settled, "a+c-b-d+");
    is_even();
}
END_TEST

TEST(while_the_server_skips_only_a_sync_is_owed)
{
    begin();
    owe_about(OWED_PARSE, FATE_FORWARD, "a");
    hears("E");
    ck_assert(ledger_empty(&ledger));
    ck_assert(ledger_needs_sync(&ledger));
    owe_about(OWED_BIND, FATE_FORWARD, "b");
    owe_about(OWED_PARSE, FATE_SYNTHETIC, "c");
    owe_about(OWED_QUERY, FATE_FORWARD, "d");
    ck_assert_str_eq(settled, "a-b-c-d-");
    ck_assert(ledger_empty(&ledger));
    owe(OWED_SYNC);
    ck_assert(!ledger_needs_sync(&ledger));
    owe_about(OWED_PARSE, FATE_FORWARD, "e");
    hears("Z1");
    owe(OWED_SYNC);
    hears("Z");
    ck_assert_str_eq(settled, "a-b-c-d-e+");
    is_even();
}
END_TEST

TEST(a_simple_query_behind_a_failed_batch_is_skipped_too)
{
    begin();
    owe(OWED_PARSE);
    owe_about(OWED_QUERY, FATE_FORWARD, "q");
    owe(OWED_SYNC);
    hears("EZ");
    ck_assert_str_eq(settled, "q-");
    is_even();
}
END_TEST

TEST(a_simple_query_behind_a_good_batch_is_answered_with_it)
{
    begin();
    owe(OWED_PARSE);
    owe(OWED_BIND);
    owe(OWED_EXECUTE);
    owe(OWED_QUERY);
    owe(OWED_SYNC);
    hears("12CTDCZZ");
    is_even();
}
END_TEST

TEST(an_error_of_a_query_or_a_sync_drops_nothing)
{
    begin();
    owe(OWED_QUERY);
    owe_about(OWED_PARSE, FATE_FORWARD, "a");
    owe(OWED_SYNC);
    hears("EZ1");
    hears("EZ"); /* a deferred constraint */
    ck_assert_str_eq(settled, "a+");
    is_even();
}
END_TEST

TEST(an_error_to_nothing_is_for_the_client)
{
    begin();
    hears("E"); /* 57P01 */
    ck_assert(!ledger.skipping);
    is_even();
}
END_TEST

TEST(the_verdict_of_an_error_is_that_of_the_message_that_failed)
{
    begin();
    owe_about(OWED_PARSE, FATE_SWALLOW, "a");
    owe(OWED_BIND);
    owe(OWED_SYNC);
    swallows("E");
    ck_assert_str_eq(settled, "a-");
    hears("Z");
    is_even();
}
END_TEST

/* --- answers of our own ----------------------------------------------------------------------- */

TEST(synthetic_answers_come_in_their_turn)
{
    begin();
    owe_about(OWED_PARSE, FATE_SYNTHETIC, "a");
    ck_assert_int_eq(ledger_head(&ledger)->fate, FATE_SYNTHETIC);
    ledger_give(&ledger);
    ck_assert(!ledger_needs_sync(&ledger)); /* the server has seen nothing of this batch */
    owe(OWED_BIND);
    owe_about(OWED_CLOSE, FATE_SYNTHETIC, "b");
    owe(OWED_SYNC);
    ck_assert_int_eq(ledger_head(&ledger)->kind, OWED_BIND);
    hears("2");
    ck_assert_int_eq(ledger_head(&ledger)->fate, FATE_SYNTHETIC);
    ledger_give(&ledger);
    hears("Z");
    ck_assert_str_eq(settled, "a+b+");
    is_even();
}
END_TEST

TEST(synthetic_answers_behind_an_error_are_never_given)
{
    begin();
    owe(OWED_BIND);
    owe_about(OWED_CLOSE, FATE_SYNTHETIC, "a");
    owe_about(OWED_PARSE, FATE_SYNTHETIC, "b");
    owe(OWED_SYNC);
    hears("E");
    ck_assert_str_eq(settled, "b-a-");
    hears("Z");
    is_even();
}
END_TEST

/* --- a server that can't be trusted ----------------------------------------------------------- */

TEST(an_answer_to_nothing_is_a_breach)
{
    for (const char *type = "1 2 3 C I s T n t D d c H W V G Z"; *type != '\0'; type++) {
        if (*type == ' ')
            continue;
        begin();
        is_breached_by((uint8_t)*type);
        ledger_fini(&ledger);
    }
}
END_TEST

TEST(an_answer_out_of_turn_is_a_breach)
{
    static const struct {
        enum owed_kind kind;
        const char *wrong;
    } rows[] = {
        {OWED_PARSE, "23CZG"},  {OWED_BIND, "13CIsZG"},    {OWED_CLOSE, "12CZG"},
        {OWED_EXECUTE, "123Z"}, {OWED_DESCRIBE, "123CZG"}, {OWED_SYNC, "123CIsG"},
        {OWED_QUERY, "123"},    {OWED_FUNCTION, "123CG"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        for (const char *type = rows[i].wrong; *type != '\0'; type++) {
            begin();
            owe(rows[i].kind);
            is_breached_by((uint8_t)*type);
            ledger_fini(&ledger);
        }
}
END_TEST

TEST(types_that_no_server_sends_then_are_breaches)
{
    begin();
    owe(OWED_QUERY);
    for (const char *type = "RKvXQPBLx\001"; *type != '\0'; type++)
        is_breached_by((uint8_t)*type);
    ledger_fini(&ledger);
}
END_TEST

/* --- room ------------------------------------------------------------------------------------- */

TEST(the_ring_grows_in_order_up_to_its_ceiling)
{
    begin();
    for (int i = 0; i < 11; i++) { /* the head is somewhere in the middle */
        owe(OWED_PARSE);
        hears("1");
    }
    for (uint32_t i = 0; i < LEDGER_MAX; i++) {
        ck_assert(ledger_has_room(&ledger, 1));
        owe(i % 3 == 0 ? OWED_PARSE : i % 3 == 1 ? OWED_BIND : OWED_SYNC);
    }
    ck_assert(!ledger_has_room(&ledger, 1));
    for (uint32_t i = 0; i < LEDGER_MAX; i++)
        hears(i % 3 == 0 ? "1" : i % 3 == 1 ? "2" : "Z");
    ck_assert(ledger_has_room(&ledger, LEDGER_MAX));
    is_even();
}
END_TEST

TEST(the_end_drops_what_is_left)
{
    begin();
    owe_about(OWED_PARSE, FATE_FORWARD, "a");
    owe(OWED_SYNC);
    owe_about(OWED_PARSE, FATE_SYNTHETIC, "b");
    ledger_fini(&ledger);
    ck_assert_str_eq(settled, "a-b-");
    ck_assert(ledger_empty(&ledger));
    ledger_fini(&ledger);
}
END_TEST

/* The short way and the long way come to the same. */
TEST(a_plain_answer_is_what_the_ledger_says_of_it)
{
    uint32_t plain = 0;
    for (int kind = OWED_QUERY; kind <= OWED_CLOSE; kind++) {
        for (int fate = FATE_FORWARD; fate <= FATE_SYNTHETIC; fate++) {
            for (int type = 0; type < 256; type++) {
                begin();
                owe_about((enum owed_kind)kind, (enum owed_fate)fate, "a");
                owe(OWED_SYNC);
                enum ledger_plain said = ledger_plain(&ledger, (uint8_t)type);
                if (said != PLAIN_NOT) {
                    plain += 1;
                    ck_assert_int_eq(ledger_take(&ledger, (uint8_t)type), VERDICT_FORWARD);
                    ck_assert_uint_eq(ledger.count, said == PLAIN_ANSWER ? 1 : 2);
                    ck_assert_str_eq(settled, said == PLAIN_ANSWER ? "a+" : "");
                }
                ledger_fini(&ledger);
            }
        }
    }
    ck_assert_uint_eq(plain, 9);
}
END_TEST

/* --- marks ------------------------------------------------------------------------------------ */

TEST(what_comes_before_a_mark_is_told_apart_from_it)
{
    begin();
    ledger.doubt = DOUBT_CANCEL;
    owe_about(OWED_MARK, FATE_SWALLOW, NULL);
    hears("ZSAZ"); /* the client's, as nothing of the mark has come */
    swallows("N");
    swallows("CT");
    hears("A");
    ck_assert(ledger.mark_begun && ledger_marking(&ledger));
    swallows("DCZ"); /* another's row, and its end */
    ck_assert(!ledger_empty(&ledger));
    ledger_mark_shown(&ledger);
    swallows("DCCZ");
    is_even();
}
END_TEST

TEST(all_is_dropped_in_front_of_the_mark_of_who_has_gone)
{
    begin();
    owe_about(OWED_PARSE, FATE_FORWARD, "a");
    owe_about(OWED_EXECUTE, FATE_FORWARD, "b");
    owe(OWED_SYNC);
    hears("1G");
    owe_about(OWED_CLOSE, FATE_SYNTHETIC, "c");
    ledger_drop_all(&ledger);
    ck_assert_str_eq(settled, "a+c-b-");
    owe_about(OWED_MARK, FATE_SWALLOW, NULL);
    swallows("EEZCZ");
    swallows("CT");
    ledger_mark_shown(&ledger);
    swallows("DCCZ");
    is_even();
}
END_TEST

TEST(no_mark_goes_into_a_transaction_that_only_a_sync_will_end)
{
    begin();
    ledger.doubt = DOUBT_CANCEL;
    owe(OWED_EXECUTE);
    owe(OWED_SYNC);
    hears("C");
    ck_assert(!ledger_may_mark(&ledger)); /* ReadyForQuery has not come */
    hears("Z");
    ck_assert(ledger_may_mark(&ledger));
    owe(OWED_BIND);
    ck_assert(!ledger_may_mark(&ledger));
    hears("E");
    ck_assert(!ledger_may_mark(&ledger)); /* skipping: it would be lost */
    owe(OWED_SYNC);
    hears("Z");
    ck_assert(ledger_may_mark(&ledger));
    is_even();
}
END_TEST

TESTS("ledger", what_comes_before_a_mark_is_told_apart_from_it,
      all_is_dropped_in_front_of_the_mark_of_who_has_gone,
      no_mark_goes_into_a_transaction_that_only_a_sync_will_end, a_query_is_owed_until_ready,
      a_function_call_is_owed_until_ready, each_message_of_a_batch_is_struck_out_by_its_own_answer,
      a_sync_is_needed_while_a_batch_is_open, what_comes_at_any_time_strikes_nothing_out,
      answers_to_what_trunkline_asked_are_swallowed_but_not_notifications,
      an_error_drops_the_batch_up_to_its_sync_and_nothing_behind_it,
      while_the_server_skips_only_a_sync_is_owed,
      a_simple_query_behind_a_failed_batch_is_skipped_too,
      a_simple_query_behind_a_good_batch_is_answered_with_it,
      an_error_of_a_query_or_a_sync_drops_nothing, an_error_to_nothing_is_for_the_client,
      the_verdict_of_an_error_is_that_of_the_message_that_failed,
      synthetic_answers_come_in_their_turn, synthetic_answers_behind_an_error_are_never_given,
      an_answer_to_nothing_is_a_breach, an_answer_out_of_turn_is_a_breach,
      types_that_no_server_sends_then_are_breaches, the_ring_grows_in_order_up_to_its_ceiling,
      the_end_drops_what_is_left, a_plain_answer_is_what_the_ledger_says_of_it)
