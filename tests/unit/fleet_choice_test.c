#include "fleet/choice.h"
#include "unit.h"

/* --- failures in a window (A8: the five tests of the windowed counter) ------------------------ */

static moment at_second(int64_t seconds)
{
    return (moment){.us = 1000000000 + seconds * 1000000};
}

TEST(a_window_that_nothing_was_added_to_is_empty)
{
    struct fleet_window window = {.length = sec(60)};
    ck_assert_uint_eq(fleet_window_sum(&window, at_second(0)), 0);
    ck_assert_uint_eq(fleet_window_sum(&window, (moment){0}), 0);
}
END_TEST

TEST(a_window_counts_the_events_of_its_length)
{
    struct fleet_window window = {.length = sec(60)};
    for (int i = 0; i < 3; i++)
        fleet_window_add(&window, at_second(i * 10));
    ck_assert_uint_eq(fleet_window_sum(&window, at_second(20)), 3);
    ck_assert_uint_eq(fleet_window_sum(&window, at_second(53)), 3);
}
END_TEST

TEST(events_leave_a_window_one_part_after_another)
{
    struct fleet_window window = {.length = sec(60)};
    fleet_window_add(&window, at_second(0));
    fleet_window_add(&window, at_second(30));
    ck_assert_uint_eq(fleet_window_sum(&window, at_second(62)), 1);
    ck_assert_uint_eq(fleet_window_sum(&window, at_second(92)), 0);
}
END_TEST

TEST(an_event_after_a_long_silence_is_the_only_one)
{
    struct fleet_window window = {.length = sec(60)};
    for (int i = 0; i < 100; i++)
        fleet_window_add(&window, at_second(i));
    fleet_window_add(&window, at_second(100000));
    ck_assert_uint_eq(fleet_window_sum(&window, at_second(100000)), 1);
}
END_TEST

TEST(a_window_agrees_with_a_list_of_all_events)
{
    struct fleet_random random = {11};
    struct fleet_window window = {.length = sec(60)};
    int64_t events[2000], now = 0;
    for (int i = 0; i < 2000; i++) {
        now += (int64_t)fleet_random_below(&random, 9);
        events[i] = now;
        fleet_window_add(&window, at_second(now));
        uint32_t surely = 0, at_most = 0;
        for (int j = 0; j <= i; j++) {
            surely += now - events[j] < 54;
            at_most += now - events[j] < 60;
        }
        ck_assert_uint_ge(fleet_window_sum(&window, at_second(now)), surely);
        ck_assert_uint_le(fleet_window_sum(&window, at_second(now)), at_most);
    }
}
END_TEST

/* --- choice ----------------------------------------------------------------------------------- */

static struct fleet_candidate plain(uint32_t load)
{
    return (struct fleet_candidate){.weight = 100, .near = true, .ready = true, .load = load};
}

/* Chooses `times` times; each choice adds to the load of the candidate. */
static void choose_often(struct fleet_candidate *candidates, uint32_t count, uint32_t times)
{
    struct fleet_random random = {1};
    for (uint32_t i = 0; i < times; i++) {
        uint32_t chosen = fleet_choose(candidates, count, 1, FLEET_DRAW_TWO, &random);
        ck_assert_uint_lt(chosen, count);
        candidates[chosen].load += 1;
    }
}

TEST(without_candidates_none_is_chosen)
{
    struct fleet_random random = {1};
    struct fleet_candidate busy = plain(0);
    busy.ready = false;
    ck_assert_uint_eq(fleet_choose(NULL, 0, 1, FLEET_DRAW_TWO, &random), FLEET_CHOOSE_NONE);
    ck_assert_uint_eq(fleet_choose(&busy, 1, 1, FLEET_DRAW_TWO, &random), FLEET_CHOOSE_WAIT);
}
END_TEST

/* Assertion A8 "priority_list": the backend to prefer comes first.  RFC 2782: the lowest number. */
TEST(the_lowest_priority_is_used_alone)
{
    struct fleet_candidate candidates[3] = {plain(0), plain(50), plain(0)};
    candidates[0].priority = 20;
    candidates[1].priority = 10;
    candidates[2].priority = 65535;
    choose_often(candidates, 3, 100);
    ck_assert_uint_eq(candidates[1].load, 150);
}
END_TEST

TEST(a_better_priority_without_a_permit_is_waited_for)
{
    struct fleet_random random = {1};
    struct fleet_candidate candidates[2] = {plain(0), plain(0)};
    candidates[0].priority = 1;
    candidates[1].ready = false;
    ck_assert_uint_eq(fleet_choose(candidates, 2, 1, FLEET_DRAW_TWO, &random), FLEET_CHOOSE_WAIT);
}
END_TEST

TEST(equal_backends_get_equal_loads)
{
    struct fleet_candidate candidates[10];
    for (int i = 0; i < 10; i++)
        candidates[i] = plain(0);
    choose_often(candidates, 10, 1000);
    for (int i = 0; i < 10; i++) {
        ck_assert_uint_ge(candidates[i].load, 95);
        ck_assert_uint_le(candidates[i].load, 105);
    }
}
END_TEST

TEST(loads_follow_the_weights)
{
    struct fleet_candidate candidates[3] = {plain(0), plain(0), plain(0)};
    candidates[0].weight = 10;
    candidates[1].weight = 20;
    candidates[2].weight = 70;
    choose_often(candidates, 3, 1000);
    ck_assert_uint_ge(candidates[0].load, 90);
    ck_assert_uint_le(candidates[0].load, 110);
    ck_assert_uint_ge(candidates[1].load, 190);
    ck_assert_uint_le(candidates[1].load, 210);
}
END_TEST

/* RFC 2782: a weight of 0 has a very small chance, and none of them is divided by zero. */
TEST(a_weight_of_zero_is_a_very_small_share)
{
    struct fleet_candidate candidates[3] = {plain(0), plain(0), plain(0)};
    candidates[0].weight = 0;
    choose_often(candidates, 3, 20000);
    ck_assert_uint_lt(candidates[0].load, 20);
    struct fleet_candidate zeros[2] = {plain(0), plain(0)};
    zeros[0].weight = zeros[1].weight = 0;
    choose_often(zeros, 2, 100);
    ck_assert_uint_eq(zeros[0].load, 50);
}
END_TEST

TEST(a_new_backend_is_preferred_until_it_has_its_share)
{
    struct fleet_candidate candidates[2] = {plain(10), plain(0)};
    choose_often(candidates, 2, 10);
    ck_assert_uint_eq(candidates[1].load, 10);
}
END_TEST

TEST(to_level_out_the_least_loaded_of_all_is_chosen)
{
    struct fleet_random random = {1};
    struct fleet_candidate candidates[10];
    for (int i = 0; i < 10; i++)
        candidates[i] = plain(i == 7 ? 3 : 9);
    for (int i = 0; i < 6; i++) {
        ck_assert_uint_eq(fleet_choose(candidates, 10, 1, FLEET_DRAW_ALL, &random), 7);
        candidates[7].load += 1;
    }
}
END_TEST

TEST(failures_in_the_window_count_like_load)
{
    struct fleet_candidate candidates[2] = {plain(0), plain(0)};
    candidates[0].failures = 3;
    choose_often(candidates, 2, 100);
    ck_assert_uint_ge(candidates[0].load, 18);
    ck_assert_uint_le(candidates[0].load, 22);
}
END_TEST

TEST(the_own_zone_is_used_alone_while_enough_of_it_is_online)
{
    struct fleet_candidate candidates[4] = {plain(50), plain(50), plain(0), plain(0)};
    struct fleet_random random = {1};
    candidates[2].near = candidates[3].near = false;
    for (int i = 0; i < 100; i++)
        ck_assert_uint_lt(fleet_choose(candidates, 4, 2, FLEET_DRAW_TWO, &random), 2);
    /* One of two: below the two that are wanted, so all zones count. */
    uint32_t spilled = 0;
    for (int i = 0; i < 100; i++)
        spilled += fleet_choose(candidates + 1, 3, 2, FLEET_DRAW_TWO, &random) > 0;
    ck_assert_uint_gt(spilled, 50);
}
END_TEST

TEST(without_backends_of_the_own_zone_the_others_serve)
{
    struct fleet_candidate candidates[2] = {plain(0), plain(0)};
    candidates[0].near = candidates[1].near = false;
    choose_often(candidates, 2, 10);
    ck_assert_uint_eq(candidates[0].load, 5);
}
END_TEST

TEST(priority_goes_before_the_zone)
{
    struct fleet_candidate candidates[2] = {plain(0), plain(0)};
    candidates[0].near = false;
    candidates[1].priority = 1;
    choose_often(candidates, 2, 10);
    ck_assert_uint_eq(candidates[0].load, 10);
}
END_TEST

TESTS("fleet_choice", a_window_that_nothing_was_added_to_is_empty,
      a_window_counts_the_events_of_its_length, events_leave_a_window_one_part_after_another,
      an_event_after_a_long_silence_is_the_only_one, a_window_agrees_with_a_list_of_all_events,
      without_candidates_none_is_chosen, the_lowest_priority_is_used_alone,
      a_better_priority_without_a_permit_is_waited_for, equal_backends_get_equal_loads,
      loads_follow_the_weights, a_weight_of_zero_is_a_very_small_share,
      a_new_backend_is_preferred_until_it_has_its_share,
      to_level_out_the_least_loaded_of_all_is_chosen, failures_in_the_window_count_like_load,
      the_own_zone_is_used_alone_while_enough_of_it_is_online,
      without_backends_of_the_own_zone_the_others_serve, priority_goes_before_the_zone)
