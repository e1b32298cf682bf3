/* fleet_rebalance_test.c - spares of a pool, and how it levels out its connections. */
#include "fleet_bench.h"

TEST(spares_are_opened_before_anything_is_claimed_and_kept_beside_it)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.spares = 4;
    bench_init(&bench, 2, policy);
    bench_run(&bench);
    ck_assert_uint_eq(in_state(&bench, FLEET_IDLE), 4);
    for (int i = 0; i < 12; i++) {
        ck_assert(bench_claim(&bench, i));
        ck_assert_uint_eq(in_state(&bench, FLEET_IDLE), 4);
    }
    ck_assert(bench_claim(&bench, 12));
    ck_assert_uint_eq(in_state(&bench, FLEET_IDLE), 3); /* max */
    for (int i = 0; i < 13; i++)
        bench_release(&bench, i);
    bench_pass(&bench, 61000000);
    ck_assert_uint_eq(fleet_pool_slots(bench.pool), 4);
    bench_fini(&bench);
}
END_TEST

/* Defects A9.1 and A9.2: nine of ten are down; the tenth keeps its connections, and no cap breaks.
 */
TEST(one_healthy_backend_among_nine_dead_ones_keeps_its_connections)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.spares = 4;
    policy.rebalance_interval = sec(1);
    bench_init(&bench, 10, policy);
    bench.dead = 0x3ff & ~(1u << 3);
    for (int i = 0; i < 4; i++) {
        (void)bench_claim(&bench, i);
        bench_pass(&bench, 1000000);
        ck_assert(bench.got[i]);
    }
    uint32_t before = bench.opened[3];
    for (int i = 0; i < 60; i++) {
        bench_pass(&bench, 1000000);
        ck_assert_uint_eq(in_state(&bench, FLEET_CLAIMED), 4);
        ck_assert_uint_eq(in_state(&bench, FLEET_IDLE), 4);
    }
    ck_assert_uint_eq(bench.opened[3], before);
    ck_assert_int_eq(bench.closes, 0);
    bench_fini(&bench);
}
END_TEST

TEST(a_new_backend_gets_its_share_within_one_interval_a_few_at_a_time)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.max = 60;
    policy.min = 60;
    bench_init(&bench, 5, policy);
    bench_run(&bench);
    ck_assert_uint_eq(fleet_pool_slots(bench.pool), 60);
    bench_resolve(&bench, 6);
    uint32_t before = 0;
    for (int i = 0; i < 60; i++) {
        bench_pass(&bench, 1000000);
        ck_assert_uint_le(bench.opened[5] - before, 3);
        before = bench.opened[5];
        ck_assert_uint_eq(fleet_pool_slots(bench.pool), 60);
    }
    ck_assert_uint_eq(bench.opened[5], 10);
    int connects = bench.connects;
    bench_pass(&bench, 600000000);
    ck_assert_int_eq(bench.connects, connects); /* nothing moves to and fro */
    bench_fini(&bench);
}
END_TEST

TEST(connections_in_use_do_not_move_and_spares_stay)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.spares = 2;
    bench_init(&bench, 1, policy);
    for (int i = 0; i < 6; i++)
        ck_assert(bench_claim(&bench, i));
    bench_resolve(&bench, 2);
    bench_pass(&bench, 120000000);
    ck_assert_int_eq(bench.closes, 0);
    ck_assert_uint_eq(in_state(&bench, FLEET_CLAIMED), 6);
    bench_fini(&bench);
}
END_TEST

TEST(a_backend_that_recovers_gets_connections_again)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.min = 10;
    bench_init(&bench, 2, policy);
    bench.dead = 1u << 1;
    bench_pass(&bench, 10000000);
    ck_assert_uint_eq(bench.opened[0], 10);
    bench.dead = 0;
    bench_pass(&bench, 180000000);
    ck_assert_uint_ge(bench.opened[1], 5);
    ck_assert_uint_eq(fleet_pool_slots(bench.pool), 10);
    bench_fini(&bench);
}
END_TEST

TESTS("fleet_rebalance", spares_are_opened_before_anything_is_claimed_and_kept_beside_it,
      one_healthy_backend_among_nine_dead_ones_keeps_its_connections,
      a_new_backend_gets_its_share_within_one_interval_a_few_at_a_time,
      connections_in_use_do_not_move_and_spares_stay,
      a_backend_that_recovers_gets_connections_again)
