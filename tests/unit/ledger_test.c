#include "session/ledger.h"
#include "unit.h"
#include "wire/message.h"

#include <string.h>

/* What was settled, in order: a letter of `what` and how. */
static char settled[256];

static void note(void *owner, const struct owed *owed, enum owed_end end)
{
    ck_assert_ptr_eq(owner, settled);
    size_t size = strlen(settled);
    ck_assert_uint_lt(size + 2, sizeof(settled));
    settled[size] = *(const char *)owed->what;
    settled[size + 1] = end == OWED_ANSWERED ? '+' : '-';
}

static struct ledger ledger;

static void begin(void)
{
    memset(settled, 0, sizeof(settled));
    ledger_init(&ledger, note, settled);
}

static void owe_about(enum owed_kind kind, enum owed_fate fate, const char *what)
{
    ck_assert(ledger_has_room(&ledger, 1));
    ledger_owe(&ledger, (struct owed){.kind = (uint8_t)kind,
                                      .fate = (uint8_t)fate,
                                      .about = what != NULL ? ABOUT_PARSE : ABOUT_NOTHING,
                                      .what = (void *)what});
}

static void owe(enum owed_kind kind)
{
    owe_about(kind, FATE_FORWARD, NULL);
}

/* The server says these types; each is for the client. */
static void hears(const char *types)
{
    for (; *types != '\0'; types++)
        ck_assert_msg(ledger_take(&ledger, (uint8_t)*types) == VERDICT_FORWARD, "at '%s'", types);
}

static void swallows(const char *types)
{
    for (; *types != '\0'; types++)
        ck_assert_msg(ledger_take(&ledger, (uint8_t)*types) == VERDICT_SWALLOW, "at '%s'", types);
}

static void is_breached_by(uint8_t type)
{
    ck_assert_int_eq(ledger_take(&ledger, type), VERDICT_BREACH);
}

static void is_even(void)
{
    ck_assert(ledger_empty(&ledger));
    ck_assert_ptr_null(ledger_head(&ledger));
    ck_assert(!ledger_needs_sync(&ledger) || ledger.skipping);
    ledger_fini(&ledger);
}

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

/* --- COPY FROM STDIN -------------------------------------------------------------------------- */

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
      no_mark_goes_into_a_transaction_that_only_a_sync_will_end, the_same_with_a_copy_that_fails,
      the_end_of_a_copy_that_began_behind_one_that_failed,
      a_sync_into_a_copy_that_has_failed_may_be_answered,
      a_batch_behind_a_sync_that_a_copy_may_have_read_may_be_skipped,
      answers_taken_for_those_of_a_skipped_batch_count_in_the_next,
      queries_behind_a_sync_that_a_copy_may_have_read_may_be_skipped,
      a_skipped_batch_that_holds_a_query_is_a_breach,
      an_error_behind_syncs_that_a_copy_may_have_read_is_of_what_follows_them,
      ends_of_copies_are_counted_beyond_255,
      a_sync_between_the_ends_of_two_copies_is_read_by_the_second,
      syncs_that_a_copy_has_read_hand_on_the_ends_behind_them, a_query_is_owed_until_ready,
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
      a_synthetic_answer_before_the_end_of_a_copy_is_a_breach,
      a_copy_by_a_simple_query_ends_with_it,
      a_sync_that_was_sent_before_the_copy_began_is_read_by_it,
      a_sync_into_a_copy_that_succeeds_is_not_answered,
      a_copy_sent_in_one_go_keeps_the_sync_behind_its_end,
      syncs_before_and_behind_the_end_of_a_copy_sent_in_one_go_are_told_apart,
      two_copies_of_one_query_may_both_be_sent_ahead, an_answer_to_nothing_is_a_breach,
      an_answer_out_of_turn_is_a_breach, types_that_no_server_sends_then_are_breaches,
      the_ring_grows_in_order_up_to_its_ceiling, the_end_drops_what_is_left,
      a_plain_answer_is_what_the_ledger_says_of_it)
