#include "fleet/backoff.h"
#include "unit.h"

static const struct fleet_pauses usual = {.min = {.us = 10000}, .max = {.us = 80000}, .jitter = 25};

TEST(pauses_double_up_to_the_cap)
{
    static const int64_t steps[] = {10000, 20000, 40000, 80000, 80000, 80000};
    struct fleet_pauses pauses = usual;
    struct fleet_random random = {1};
    struct fleet_backoff backoff = {0};
    pauses.jitter = 0;
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        fleet_backoff_fail(&backoff, &pauses, &random);
        ck_assert_int_eq(backoff.pause.us, steps[i]);
    }
    fleet_backoff_reset(&backoff);
    fleet_backoff_fail(&backoff, &pauses, &random);
    ck_assert_int_eq(backoff.pause.us, 10000);
}
END_TEST

/* Defect A4: the forerunner draws its jitter once, and has none at the cap. */
TEST(every_pause_has_a_jitter_of_its_own_also_at_the_cap)
{
    struct fleet_random random = {1};
    struct fleet_backoff backoff = {0};
    int different = 0;
    for (int i = 0; i < 100; i++) {
        int64_t before = backoff.pause.us;
        fleet_backoff_fail(&backoff, &usual, &random);
        ck_assert_int_le(backoff.pause.us, backoff.step.us);
        ck_assert_int_ge(backoff.pause.us, backoff.step.us * 3 / 4);
        different += i > 5 && backoff.pause.us != before;
    }
    ck_assert_int_eq(backoff.step.us, usual.max.us);
    ck_assert_int_gt(different, 90);
}
END_TEST

TEST(two_backends_that_fail_together_are_tried_apart)
{
    struct fleet_random random = {7};
    struct fleet_backoff one = {0}, other = {0};
    int64_t first = 0, second = 0;
    for (int i = 0; i < 10; i++) {
        fleet_backoff_fail(&one, &usual, &random);
        fleet_backoff_fail(&other, &usual, &random);
        first += one.pause.us;
        second += other.pause.us;
    }
    ck_assert_int_ne(first, second);
}
END_TEST

TEST(the_same_seed_gives_the_same_pauses)
{
    struct fleet_random a = {42}, b = {42};
    struct fleet_backoff one = {0}, other = {0};
    for (int i = 0; i < 20; i++) {
        fleet_backoff_fail(&one, &usual, &a);
        fleet_backoff_fail(&other, &usual, &b);
        ck_assert_int_eq(one.pause.us, other.pause.us);
    }
}
END_TEST

TEST(a_pause_that_is_skipped_keeps_its_length_for_the_next_failure)
{
    struct fleet_pauses pauses = usual;
    struct fleet_random random = {1};
    struct fleet_backoff backoff = {0};
    pauses.jitter = 0;
    fleet_backoff_fail(&backoff, &pauses, &random);
    fleet_backoff_skip(&backoff);
    ck_assert_int_eq(backoff.pause.us, 0);
    fleet_backoff_fail(&backoff, &pauses, &random);
    ck_assert_int_eq(backoff.pause.us, 20000);
}
END_TEST

TEST(a_whole_jitter_and_the_longest_times_do_not_overflow)
{
    struct fleet_random random = {3};
    for (int i = 0; i < 1000; i++) {
        duration long_one = fleet_random_shorten(&random, (duration){INT64_MAX - 1}, 100);
        ck_assert_int_ge(long_one.us, 0);
        ck_assert_int_le(fleet_random_shorten(&random, ms(1), 100).us, 1000);
    }
    ck_assert_int_eq(fleet_random_shorten(&random, NO_LIMIT, 50).us, NO_LIMIT.us);
}
END_TEST

TEST(a_pace_bounds_the_starts_of_every_second)
{
    struct fleet_random random = {5};
    struct fleet_pace pace = {{0}};
    moment starts[1000], now = {.us = 1000000};
    for (int i = 0; i < 1000; i++) {
        now.us = MAX_OF(now.us, pace.next.us);
        starts[i] = now;
        fleet_pace_start(&pace, 10, &random, now);
        ck_assert_int_ge(pace.next.us - now.us, 100000);
        ck_assert_int_le(pace.next.us - now.us, 125000);
        if (i >= 10)
            ck_assert_int_ge(starts[i].us - starts[i - 10].us, 1000000);
    }
    fleet_pace_start(&pace, 0, &random, now);
    ck_assert_int_ge(pace.next.us, now.us);
}
END_TEST

TESTS("fleet_backoff", pauses_double_up_to_the_cap,
      every_pause_has_a_jitter_of_its_own_also_at_the_cap,
      two_backends_that_fail_together_are_tried_apart, the_same_seed_gives_the_same_pauses,
      a_pause_that_is_skipped_keeps_its_length_for_the_next_failure,
      a_whole_jitter_and_the_longest_times_do_not_overflow,
      a_pace_bounds_the_starts_of_every_second)
