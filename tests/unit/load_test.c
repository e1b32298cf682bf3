#include "pooler/load_parts.h"
#include "unit.h"

static struct load_order step(struct load_past *past, uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t busy[] = {a, b, c};
    return load_step(past, busy, 3, 600);
}

TEST(a_relay_that_stays_hot_gives_half_of_what_it_has_more)
{
    struct load_past past = {0};
    ck_assert_uint_eq(step(&past, 900, 300, 500).portion, 0);
    struct load_order order = step(&past, 900, 300, 500);
    ck_assert_uint_eq(order.from, 0);
    ck_assert_uint_eq(order.to, 1);
    ck_assert_uint_eq(order.portion, 333);
}
END_TEST

TEST(after_an_order_some_periods_pass_before_the_next)
{
    struct load_past past = {0};
    uint32_t orders = 0;
    for (int i = 0; i < 16; i++)
        orders += step(&past, 100, 900, 100).portion > 0;
    ck_assert_uint_eq(orders, 4);
}
END_TEST

TEST(who_is_hot_by_turns_keeps_its_clients)
{
    struct load_past past = {0};
    for (int i = 0; i < 20; i++) {
        ck_assert_uint_eq(step(&past, 900, 100, 100).portion, 0);
        ck_assert_uint_eq(step(&past, 100, 900, 100).portion, 0);
    }
}
END_TEST

TEST(neither_heat_nor_difference_is_enough_alone)
{
    struct load_past past = {0};
    for (int i = 0; i < 5; i++) {
        ck_assert_uint_eq(step(&past, 600, 0, 0).portion, 0);
        ck_assert_uint_eq(step(&past, 950, 700, 800).portion, 0);
        ck_assert_uint_eq(step(&past, 1000, 1000, 1000).portion, 0);
        ck_assert_uint_eq(step(&past, 0, 0, 0).portion, 0);
    }
}
END_TEST

TEST(no_order_is_for_more_than_half)
{
    for (uint32_t hot = 11; hot <= 1000; hot++) {
        struct load_past past = {0};
        const uint32_t busy[] = {0, hot};
        (void)load_step(&past, busy, 2, 10);
        ck_assert_uint_eq(load_step(&past, busy, 2, 10).portion, 500);
    }
}
END_TEST

TEST(a_relay_is_hot_beyond_the_setting_and_not_at_it)
{
    struct load_past past = {0};
    for (int i = 0; i < 5; i++)
        ck_assert_uint_eq(step(&past, 600, 0, 0).portion, 0);
    ck_assert_uint_eq(step(&past, 601, 0, 0).portion, 0);
    ck_assert_uint_eq(step(&past, 601, 0, 0).portion, 500);
}
END_TEST

TESTS("heat", a_relay_that_stays_hot_gives_half_of_what_it_has_more,
      after_an_order_some_periods_pass_before_the_next, who_is_hot_by_turns_keeps_its_clients,
      neither_heat_nor_difference_is_enough_alone, no_order_is_for_more_than_half,
      a_relay_is_hot_beyond_the_setting_and_not_at_it)
