#include "fleet/backoff.h"
#include "fleet/share.h"
#include "unit.h"

#include <stdio.h>

static struct fleet_share serving(uint32_t open, uint32_t idle)
{
    return (struct fleet_share){
        .weight = 100, .serves = true, .max = 100, .open = open, .idle = idle};
}

static uint32_t sum_of(const struct fleet_share *shares, uint32_t count)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += shares[i].share;
    return sum;
}

TEST(spares_are_kept_beside_what_is_in_use)
{
    struct fleet_wants wants = {.spares = 4, .min = 2, .max = 16};
    ck_assert_uint_eq(fleet_wanted(&wants), 4);
    wants.claimed = 5;
    ck_assert_uint_eq(fleet_wanted(&wants), 9);
    wants.claimed = 14;
    ck_assert_uint_eq(fleet_wanted(&wants), 16);
    wants = (struct fleet_wants){.claimed = 1, .min = 6, .max = 16};
    ck_assert_uint_eq(fleet_wanted(&wants), 6);
    wants = (struct fleet_wants){.claimed = UINT32_MAX, .spares = UINT32_MAX, .max = 7};
    ck_assert_uint_eq(fleet_wanted(&wants), 7);
}
END_TEST

/* Defect A9.2: division that rounds up makes 20 of 16 over 5 backends. */
TEST(sixteen_over_five_backends_are_sixteen)
{
    struct fleet_share shares[5];
    for (int i = 0; i < 5; i++)
        shares[i] = serving(0, 0);
    fleet_divide(shares, 5, 16);
    ck_assert_uint_eq(sum_of(shares, 5), 16);
    for (int i = 0; i < 5; i++)
        ck_assert(shares[i].share == 3 || shares[i].share == 4);
}
END_TEST

/* Defect A9.1: the share of the only healthy backend is not reduced by the number of dead ones. */
TEST(one_healthy_backend_among_nine_dead_ones_keeps_all)
{
    struct fleet_share shares[10];
    for (int i = 0; i < 10; i++) {
        shares[i] = serving(0, 0);
        shares[i].serves = i == 4;
    }
    shares[4].open = shares[4].idle = 8;
    fleet_divide(shares, 10, 8);
    ck_assert_uint_eq(shares[4].share, 8);
    ck_assert_uint_eq(fleet_moves(shares, 10, 100, 0), 0);
}
END_TEST

TEST(without_a_serving_backend_nothing_is_divided_or_moved)
{
    struct fleet_share shares[2] = {serving(4, 4), serving(0, 0)};
    shares[0].serves = shares[1].serves = false;
    fleet_divide(shares, 2, 4);
    ck_assert_uint_eq(sum_of(shares, 2), 0);
    ck_assert_uint_eq(fleet_moves(shares, 2, 4, 0), 0);
}
END_TEST

TEST(shares_follow_weights_and_respect_the_limit_of_each_backend)
{
    struct fleet_share shares[3] = {serving(0, 0), serving(0, 0), serving(0, 0)};
    shares[0].weight = 200;
    fleet_divide(shares, 3, 40);
    ck_assert_uint_eq(shares[0].share, 20);
    ck_assert_uint_eq(shares[1].share, 10);
    shares[0].max = 5;
    fleet_divide(shares, 3, 40);
    ck_assert_uint_eq(shares[0].share, 5);
    ck_assert_uint_eq(sum_of(shares, 3), 40);
    for (int i = 0; i < 3; i++)
        shares[i].max = 5;
    fleet_divide(shares, 3, 40);
    ck_assert_uint_eq(sum_of(shares, 3), 15);
}
END_TEST

TEST(a_new_backend_gets_its_share_a_few_connections_at_a_time)
{
    struct fleet_share shares[3] = {serving(6, 6), serving(6, 6), serving(0, 0)};
    int rounds = 0;
    for (; rounds < 10; rounds++) {
        fleet_divide(shares, 3, 12);
        uint32_t moves = fleet_moves(shares, 3, 2, 0);
        ck_assert_uint_le(moves, 2);
        if (moves == 0)
            break;
        for (int i = 0; i < 3; i++) {
            shares[i].open -= shares[i].move;
            shares[i].idle -= shares[i].move;
        }
        shares[2].open += moves;
        shares[2].idle += moves;
    }
    ck_assert_int_eq(rounds, 2);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(shares[i].open, 4);
}
END_TEST

TEST(only_idle_connections_move)
{
    struct fleet_share shares[2] = {serving(8, 1), serving(0, 0)};
    fleet_divide(shares, 2, 8);
    ck_assert_uint_eq(fleet_moves(shares, 2, 100, 0), 1);
    ck_assert_uint_eq(shares[0].move, 1);
}
END_TEST

TEST(moves_leave_the_spares)
{
    struct fleet_share shares[2] = {serving(8, 5), serving(0, 0)};
    fleet_divide(shares, 2, 8);
    ck_assert_uint_eq(fleet_moves(shares, 2, 100, 3), 2);
    ck_assert_uint_eq(fleet_moves(shares, 2, 100, 5), 0);
    ck_assert_uint_eq(fleet_moves(shares, 2, 100, 9), 0);
}
END_TEST

TEST(an_uneven_rest_does_not_move_to_and_fro)
{
    struct fleet_share shares[3] = {serving(3, 3), serving(4, 4), serving(3, 3)};
    fleet_divide(shares, 3, 10);
    ck_assert_uint_eq(fleet_moves(shares, 3, 100, 0), 0);
}
END_TEST

/* Any state: sums hold, and moves end within as many rounds as there are connections. */
static void live(uint64_t seed)
{
    struct fleet_random random = {seed};
    struct fleet_share shares[12];
    uint32_t count = 1 + (uint32_t)fleet_random_below(&random, 12), total = 0, room = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t open = (uint32_t)fleet_random_below(&random, 20);
        shares[i] = serving(open, (uint32_t)fleet_random_below(&random, open + 1));
        shares[i].weight = (uint16_t)fleet_random_below(&random, 5);
        shares[i].serves = fleet_random_below(&random, 4) > 0;
        shares[i].max = 1 + (uint32_t)fleet_random_below(&random, 30);
        total += open;
        room += shares[i].serves ? shares[i].max : 0;
    }
    for (int round = 0;; round++) {
        ck_assert_int_le(round, 300);
        fleet_divide(shares, count, total);
        ck_assert_uint_eq(sum_of(shares, count), MIN_OF(total, room));
        uint32_t idle = 0, left = fleet_moves(shares, count, 3, 2);
        ck_assert_uint_le(left, 3);
        if (left == 0)
            break;
        for (uint32_t i = 0; i < count; i++) {
            ck_assert_uint_le(shares[i].share, shares[i].serves ? shares[i].max : 0);
            ck_assert_uint_le(shares[i].move, shares[i].idle);
            shares[i].open -= shares[i].move;
            shares[i].idle -= shares[i].move;
            idle += shares[i].idle;
        }
        ck_assert_uint_ge(idle, 2);
        for (uint32_t i = 0; i < count; i++) {
            while (left > 0 && shares[i].open < shares[i].share) {
                shares[i].open += 1;
                shares[i].idle += 1;
                left -= 1;
            }
        }
        ck_assert_uint_eq(left, 0);
    }
}

TEST(in_every_state_the_sums_hold_and_the_moves_end)
{
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        if (seed % 500 == 0)
            fprintf(stderr, "seed %d\n", (int)seed);
        live(seed);
    }
}
END_TEST

TESTS("fleet_share", spares_are_kept_beside_what_is_in_use, sixteen_over_five_backends_are_sixteen,
      one_healthy_backend_among_nine_dead_ones_keeps_all,
      without_a_serving_backend_nothing_is_divided_or_moved,
      shares_follow_weights_and_respect_the_limit_of_each_backend,
      a_new_backend_gets_its_share_a_few_connections_at_a_time, only_idle_connections_move,
      moves_leave_the_spares, an_uneven_rest_does_not_move_to_and_fro,
      in_every_state_the_sums_hold_and_the_moves_end)
