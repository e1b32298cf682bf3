#include "fleet/codel.h"
#include "unit.h"

static const struct fleet_codel_limits usual = {.target = {5000}, .interval = {100000}};

/* Serves one claim each `step` us that has waited `wait` us, for `length` us.  Returns how many are
 * shed. */
static uint32_t serve(struct fleet_codel *codel, moment *now, int64_t wait, int64_t length)
{
    uint32_t shed = 0;
    for (moment end = {now->us + length}; now->us < end.us; now->us += 1000)
        shed += fleet_codel_sheds(codel, &usual, (moment){now->us - wait}, *now);
    return shed;
}

/* Assertions of A8 "codel": four. */
TEST(short_waits_shed_nothing)
{
    struct fleet_codel codel = {0};
    moment now = {sec(1000).us};
    ck_assert_uint_eq(serve(&codel, &now, 4999, 10000000), 0);
    ck_assert_uint_eq(codel.shed, 0);
}
END_TEST

TEST(a_burst_shorter_than_the_interval_sheds_nothing)
{
    struct fleet_codel codel = {0};
    moment now = {sec(1000).us};
    for (int i = 0; i < 50; i++) {
        ck_assert_uint_eq(serve(&codel, &now, 90000, 99000), 0);
        ck_assert_uint_eq(serve(&codel, &now, 1000, 1000), 0);
    }
}
END_TEST

TEST(a_lasting_queue_sheds_more_and_more)
{
    struct fleet_codel codel = {0};
    moment now = {sec(1000).us};
    ck_assert_uint_eq(serve(&codel, &now, 50000, 100000), 0);
    ck_assert_uint_eq(serve(&codel, &now, 50000, 1000), 1);
    uint32_t first = serve(&codel, &now, 50000, 1000000);
    uint32_t second = serve(&codel, &now, 50000, 1000000);
    ck_assert_uint_ge(first, 20);
    ck_assert_uint_gt(second, first);
}
END_TEST

TEST(the_spacing_is_the_interval_by_the_root_of_the_count)
{
    struct fleet_codel codel = {0};
    moment now = {sec(1000).us};
    int64_t times[4];
    int count = 0;
    for (; count < 4; now.us += 100)
        if (fleet_codel_sheds(&codel, &usual, (moment){now.us - 50000}, now))
            times[count++] = now.us;
    ck_assert_int_le(llabs(times[1] - times[0] - 100000), 200);
    ck_assert_int_le(llabs(times[2] - times[1] - 70711), 200);
    ck_assert_int_le(llabs(times[3] - times[2] - 57735), 200);
}
END_TEST

TEST(one_short_wait_or_an_empty_queue_ends_the_shedding)
{
    struct fleet_codel codel = {0};
    moment now = {sec(1000).us};
    (void)serve(&codel, &now, 50000, 500000);
    ck_assert(codel.shedding);
    ck_assert(!fleet_codel_sheds(&codel, &usual, (moment){now.us - 1000}, now));
    ck_assert(!codel.shedding);
    ck_assert_uint_eq(serve(&codel, &now, 50000, 100000), 0);
    (void)serve(&codel, &now, 50000, 500000);
    fleet_codel_empty(&codel);
    ck_assert_uint_eq(serve(&codel, &now, 50000, 100000), 0);
}
END_TEST

TEST(shedding_that_begins_again_soon_goes_on_at_its_rate)
{
    struct fleet_codel codel = {0};
    moment now = {sec(1000).us};
    (void)serve(&codel, &now, 50000, 3000000);
    (void)serve(&codel, &now, 1000, 1000);
    uint32_t again = serve(&codel, &now, 50000, 400000);
    struct fleet_codel fresh = {0};
    now.us += sec(100).us;
    uint32_t first = serve(&fresh, &now, 50000, 400000);
    ck_assert_uint_gt(again, 2 * first);
}
END_TEST

TEST(a_target_of_zero_is_off)
{
    struct fleet_codel codel = {0};
    const struct fleet_codel_limits off = {.interval = {100000}};
    for (int64_t now = 1; now < 10000000; now += 1000)
        ck_assert(!fleet_codel_sheds(&codel, &off, (moment){0}, (moment){now}));
}
END_TEST

TESTS("fleet_codel", short_waits_shed_nothing, a_burst_shorter_than_the_interval_sheds_nothing,
      a_lasting_queue_sheds_more_and_more, the_spacing_is_the_interval_by_the_root_of_the_count,
      one_short_wait_or_an_empty_queue_ends_the_shedding,
      shedding_that_begins_again_soon_goes_on_at_its_rate, a_target_of_zero_is_off)
