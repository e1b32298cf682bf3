/* When all that a snapshot shows has been told. */
#include "flight/feed_untold.h"
#include "unit.h"

#include <stdio.h>

static struct feed_untold untold;

static const struct feed_snapshot *snapshot(const char *text)
{
    static struct feed_snapshot result;
    ck_assert_int_eq(feed_read_snapshot(span_text(text), &result), OK);
    return &result;
}

static void probe(const char *text, uint64_t position)
{
    feed_untold_probe(&untold, snapshot(text), position);
}

static uint64_t passed(uint64_t position)
{
    return feed_untold_passed(&untold, position);
}

/* All that this snapshot shows has been told. */
static void based_on(const char *text)
{
    feed_untold_init(&untold);
    probe(text, 1);
    ck_assert_uint_eq(passed(1), 1);
}

TEST(the_first_probe_of_a_session_waits_for_its_position)
{
    feed_untold_init(&untold);
    probe("100:100:", 50);
    ck_assert_uint_eq(passed(49), 49);
    ck_assert_uint_eq(passed(50), 50);
}
END_TEST

TEST(nothing_is_waited_for_if_no_transaction_has_ended_since)
{
    based_on("100:110:105");
    probe("100:110:105", 900);
    ck_assert_uint_eq(passed(2), 900);
}
END_TEST

TEST(one_that_has_ended_is_waited_for)
{
    based_on("100:102:100");
    probe("102:104:102", 900); /* 100 and 103 have ended, and 102 has not */
    ck_assert_uint_eq(passed(2), 2);
    feed_untold_tell(&untold, 103);
    ck_assert_uint_eq(passed(3), 3);
    feed_untold_tell(&untold, 102);
    ck_assert_uint_eq(passed(3), 3);
    feed_untold_tell(&untold, 100);
    ck_assert_uint_eq(passed(3), 900);
    ck_assert_uint_eq(passed(4), 4);
}
END_TEST

TEST(one_that_was_told_before_it_was_seen_is_not_waited_for)
{
    based_on("100:100:");
    feed_untold_tell(&untold, 100);
    probe("100:101:100", 900);
    ck_assert_uint_eq(passed(2), 900);
    probe("101:101:", 901);
    ck_assert_uint_eq(passed(2), 901);
}
END_TEST

TEST(one_that_is_never_told_is_waited_for_until_the_position)
{
    based_on("100:100:");
    probe("102:102:", 900);
    feed_untold_tell(&untold, 101);
    ck_assert_uint_eq(passed(899), 899);
    ck_assert_uint_eq(passed(905), 905);
    probe("102:102:", 950); /* it is of the past now */
    ck_assert_uint_eq(passed(905), 950);
}
END_TEST

TEST(a_later_probe_does_not_replace_the_one_that_is_waited_for)
{
    based_on("100:100:");
    probe("101:101:", 900);
    probe("102:102:", 950);
    feed_untold_tell(&untold, 100);
    ck_assert_uint_eq(passed(2), 900);
    probe("102:102:", 950);
    ck_assert_uint_eq(passed(2), 2);
    feed_untold_tell(&untold, 101);
    ck_assert_uint_eq(passed(2), 950);
}
END_TEST

/* A commit was in the log before both, and became visible between them. */
TEST(a_later_probe_with_the_same_position_is_waited_for_too)
{
    based_on("100:100:");
    probe("101:102:101", 900);
    probe("102:102:", 900);
    feed_untold_tell(&untold, 100);
    ck_assert_uint_eq(passed(2), 2);
    feed_untold_tell(&untold, 101);
    ck_assert_uint_eq(passed(2), 900);
}
END_TEST

TEST(too_many_to_be_counted_are_waited_for_by_position)
{
    based_on("100:100:");
    probe("357:357:", 900);
    for (uint32_t id = 100; id < 357; id++)
        feed_untold_tell(&untold, id);
    ck_assert_uint_eq(passed(2), 2);
    ck_assert_uint_eq(passed(900), 900);
    probe("613:613:", 901);
    for (uint32_t id = 357; id < 613; id++)
        feed_untold_tell(&untold, id);
    ck_assert_uint_eq(passed(900), 901);
    probe("5000:5000:", 902); /* more than ids that are remembered */
    for (uint32_t id = 613; id < 5000; id++)
        feed_untold_tell(&untold, id);
    ck_assert_uint_eq(passed(901), 901);
}
END_TEST

/* An id that takes the place of another one in memory makes that one missing again, never told. */
TEST(ids_that_share_a_place_are_told_apart)
{
    based_on("100:100:");
    feed_untold_tell(&untold, 100);
    feed_untold_tell(&untold, 100 + FEED_TOLD_SLOTS);
    probe("101:101:", 900);
    ck_assert_uint_eq(passed(2), 2);
    feed_untold_init(&untold);
    probe("4294967396:4294967396:", 1);
    ck_assert_uint_eq(passed(1), 1);
    feed_untold_tell(&untold, 100); /* of this epoch of ids */
    probe("4294967397:4294967397:", 900);
    ck_assert_uint_eq(passed(2), 900);
}
END_TEST

/* Of a snapshot that is cut at least one transaction is not known to be running. */
TEST(a_snapshot_that_is_cut_counts_by_its_position)
{
    static char text[16384] = "100:9000:";
    size_t size = strlen(text);
    for (unsigned id = 100; id <= 100 + FEED_RUNNING_MAX; id++)
        size +=
            (size_t)snprintf(text + size, sizeof(text) - size, "%s%u", id == 100 ? "" : ",", id);
    based_on("100:100:");
    probe(text, 900);
    ck_assert_uint_eq(passed(2), 2);
    ck_assert_uint_eq(passed(900), 900);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        the_first_probe_of_a_session_waits_for_its_position,
        nothing_is_waited_for_if_no_transaction_has_ended_since,
        one_that_has_ended_is_waited_for,
        one_that_was_told_before_it_was_seen_is_not_waited_for,
        one_that_is_never_told_is_waited_for_until_the_position,
        a_later_probe_does_not_replace_the_one_that_is_waited_for,
        a_later_probe_with_the_same_position_is_waited_for_too,
        too_many_to_be_counted_are_waited_for_by_position,
        ids_that_share_a_place_are_told_apart,
        a_snapshot_that_is_cut_counts_by_its_position,
        NULL,
    };
    return unit_run("feed_untold", tests, NULL, NULL);
}
