/*
 * fleet_spread_test.c - services whose backends are alike: priorities, zones, weights, paces, and
 * backends that the operator takes out of service.
 */
#include "fleet/fleet.h"
#include "unit.h"

#include <stdio.h>

#define BACKENDS 10

static const struct fleet_limits usual = {
    .logins_max = 4,
    .connections_max = 100,
    .retry_min = {.us = 10000},
    .retry_max = {.us = 80000},
    .spread = true,
};

/* A service whose backend i is at 10.0.0.i, what the resolver says of it, and a pool. */
struct bench {
    struct service *service;
    struct slots *slots;
    struct backend_found found[BACKENDS];
    uint32_t count;
    struct slot *held[1000];
    uint32_t holds;
    moment now;
    deadline again;
};

static void bench_resolve(struct bench *bench)
{
    ck_assert_int_eq(service_set_backends(bench->service, bench->found, bench->count), OK);
}

static void bench_init(struct bench *bench, uint32_t count, struct fleet_limits limits)
{
    *bench = (struct bench){.now = {.us = 1000000000}, .count = count};
    for (uint32_t i = 0; i < count; i++)
        bench->found[i] = (struct backend_found){
            .target = "db.example",
            .address = {.family = ADDRESS_IPV4, .port = 5432, .bytes = {10, 0, 0, (uint8_t)i}},
            .weight = BACKEND_WEIGHT_PLAIN};
    ck_assert_int_eq(service_new("main", &limits, &bench->service), OK);
    ck_assert_int_eq(slots_new(bench->service, 1000, &bench->slots), OK);
    bench_resolve(bench);
}

static void bench_fini(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->holds; i++)
        if (bench->held[i] != NULL)
            slot_closed(&bench->held[i], SLOT_ENDED, bench->now);
    slots_free(&bench->slots);
    service_free(&bench->service);
}

static int at_of(const struct slot *slot)
{
    return backend_address(slot_backend(slot))->bytes[3];
}

/* Opens a slot; the backends in `dead` refuse the login.  Returns its backend; -1: none now. */
static int bench_open(struct bench *bench, uint32_t dead)
{
    struct slot *slot = NULL;
    fault got = slots_ask(bench->slots, bench->now, &slot, &bench->again);
    if (got != OK) {
        ck_assert_int_eq(got, FAULT_AGAIN);
        return -1;
    }
    int at = at_of(slot);
    if (dead >> at & 1) {
        slot_failed(&slot, SLOT_UNREACHABLE, bench->now);
        return -1;
    }
    slot_connected(slot, ROLE_PRIMARY, bench->now);
    bench->held[bench->holds++] = slot;
    return at;
}

/* Opens `times` slots and counts them by backend. */
static void bench_count(struct bench *bench, uint32_t times, uint32_t counts[BACKENDS])
{
    for (uint32_t i = 0; i < times; i++) {
        int at = bench_open(bench, 0);
        ck_assert_int_ge(at, 0);
        counts[at] += 1;
    }
}

TEST(slots_spread_over_backends_of_unknown_role_too)
{
    struct bench bench;
    uint32_t counts[BACKENDS] = {0};
    bench_init(&bench, 10, usual);
    bench_count(&bench, 200, counts);
    for (int i = 0; i < 10; i++) {
        ck_assert_uint_ge(counts[i], 15);
        ck_assert_uint_le(counts[i], 25);
    }
    bench_fini(&bench);
}
END_TEST

TEST(priorities_and_weights_of_the_resolver_are_followed)
{
    struct bench bench;
    struct fleet_limits limits = usual;
    uint32_t counts[BACKENDS] = {0};
    limits.spread = false; /* what the resolver gave is enough */
    bench_init(&bench, 3, limits);
    ck_assert(!service_spreads(bench.service));
    bench.found[0].priority = 5;
    bench.found[1].weight = 10;
    bench.found[2].weight = 30;
    bench_resolve(&bench);
    ck_assert(service_spreads(bench.service));
    bench_count(&bench, 80, counts);
    ck_assert_uint_eq(counts[0], 0);
    ck_assert_uint_ge(counts[1], 17);
    ck_assert_uint_le(counts[1], 23);
    bench_fini(&bench);
}
END_TEST

TEST(a_changed_weight_or_priority_counts_at_once_and_keeps_the_backend)
{
    struct bench bench;
    uint32_t counts[BACKENDS] = {0};
    bench_init(&bench, 2, usual);
    bench_count(&bench, 20, counts);
    const struct backend *first = slot_backend(bench.held[0]);
    bench.found[at_of(bench.held[0])].priority = 7;
    bench_resolve(&bench);
    ck_assert_ptr_eq(slot_backend(bench.held[0]), first);
    ck_assert(!backend_obsolete(first));
    uint32_t more[BACKENDS] = {0};
    bench_count(&bench, 20, more);
    ck_assert_uint_eq(more[at_of(bench.held[0])], 0);
    bench_fini(&bench);
}
END_TEST

/* Defect A3.5: an address or a port that changes under an unchanged name is seen. */
TEST(a_new_address_or_port_under_an_old_name_is_another_backend)
{
    struct bench bench;
    bench_init(&bench, 1, usual);
    ck_assert_int_eq(bench_open(&bench, 0), 0);
    bench.found[0].address.port = 5433;
    bench_resolve(&bench);
    ck_assert(backend_obsolete(slot_backend(bench.held[0])));
    ck_assert_int_eq(bench_open(&bench, 0), 0);
    ck_assert_uint_eq(backend_address(slot_backend(bench.held[1]))->port, 5433);
    bench.found[0].address.bytes[3] = 9;
    bench_resolve(&bench);
    ck_assert(backend_obsolete(slot_backend(bench.held[1])));
    ck_assert_int_eq(bench_open(&bench, 0), 9);
    bench_fini(&bench);
}
END_TEST

TEST(another_target_at_the_same_address_is_another_backend)
{
    struct bench bench;
    bench_init(&bench, 1, usual);
    ck_assert_int_eq(bench_open(&bench, 0), 0);
    bench.found[0].target = "other.example";
    bench_resolve(&bench);
    ck_assert(backend_obsolete(slot_backend(bench.held[0])));
    ck_assert_int_eq(bench_open(&bench, 0), 0);
    ck_assert_str_eq(backend_host(slot_backend(bench.held[1])), "other.example");
    bench_fini(&bench);
}
END_TEST

/* Assertion A8 "claim_after_backend_swap": after the swap only the new backend is handed out. */
TEST(after_a_swap_only_the_new_backend_gets_slots)
{
    struct bench bench;
    bench_init(&bench, 1, usual);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(bench_open(&bench, 0), 0);
    bench.found[0].address.bytes[3] = 1;
    bench.found[0].target = "bbb.example";
    bench_resolve(&bench);
    for (int i = 0; i < 16; i++)
        ck_assert_int_eq(bench_open(&bench, 0), 1);
    bench_fini(&bench);
}
END_TEST

/* Defect A9.4: one that is removed and comes back is listed once. */
TEST(a_backend_that_left_and_came_back_is_there_once)
{
    struct bench bench;
    bench_init(&bench, 2, usual);
    for (int i = 0; i < 5; i++) {
        bench.count = 1;
        bench_resolve(&bench);
        bench.count = 2;
        bench_resolve(&bench);
    }
    ck_assert_uint_eq(service_backends(bench.service), 2);
    uint32_t counts[BACKENDS] = {0};
    bench_count(&bench, 20, counts);
    ck_assert_uint_eq(counts[0], 10);
    bench_fini(&bench);
}
END_TEST

TEST(the_own_zone_is_preferred_and_spills_over_when_too_few_are_online)
{
    struct bench bench;
    struct fleet_limits limits = usual;
    limits.zone_min = 2;
    bench_init(&bench, 4, limits);
    for (int i = 0; i < 4; i++)
        bench.found[i].zone = i < 2 ? "eu-1" : "eu-2";
    bench_resolve(&bench);
    service_set_zone(bench.service, "eu-1");
    uint32_t counts[BACKENDS] = {0};
    bench_count(&bench, 20, counts);
    ck_assert_uint_eq(counts[0] + counts[1], 20);
    /* One of the two fails: fewer than zone_min are healthy. */
    while (bench_open(&bench, 1u << 0) >= 0)
        bench.now.us += 1;
    uint32_t after[BACKENDS] = {0};
    bench_count(&bench, 20, after);
    ck_assert_uint_eq(after[0], 0);
    ck_assert_uint_ge(after[2] + after[3], 18);
    service_set_zone(bench.service, "");
    bench_fini(&bench);
}
END_TEST

/* Defect A9.1: one backend up and nine down; what is open stays open, and more can be had. */
TEST(one_healthy_backend_among_nine_dead_ones_serves)
{
    struct bench bench;
    bench_init(&bench, 10, usual);
    uint32_t dead = 0x3ff & ~(1u << 6), failed = 0;
    for (int i = 0; i < 100; i++, bench.now.us += 20000)
        failed += bench_open(&bench, dead) != 6;
    ck_assert_uint_eq(failed, 9); /* each dead one was met once, then no more */
    ck_assert_uint_eq(bench.holds, 91);
    bench_fini(&bench);
}
END_TEST

TEST(a_dead_backend_is_looked_at_by_a_probe_and_serves_again)
{
    struct bench bench;
    struct slot *probe = NULL;
    bench_init(&bench, 2, usual);
    while (bench_open(&bench, 1u << 0) >= 0)
        continue;
    ck_assert_int_eq(slots_probe(bench.slots, bench.now, &probe), FAULT_AGAIN); /* its pause */
    bench.now.us += 10000;
    ck_assert_int_eq(slots_probe(bench.slots, bench.now, &probe), OK);
    ck_assert_int_eq(at_of(probe), 0);
    struct slot *second = NULL;
    ck_assert_int_eq(slots_probe(bench.slots, bench.now, &second), FAULT_AGAIN); /* one at a time */
    slot_connected(probe, ROLE_PRIMARY, bench.now);
    ck_assert_int_eq(slots_probe(bench.slots, bench.now, &second), FAULT_AGAIN); /* all healthy */
    uint32_t counts[BACKENDS] = {0};
    bench_count(&bench, 20, counts);
    ck_assert_uint_ge(counts[0], 1);
    slot_closed(&probe, SLOT_ENDED, bench.now);
    bench_fini(&bench);
}
END_TEST

TEST(a_drained_backend_gets_no_slots_until_it_is_put_back)
{
    struct bench bench;
    bench_init(&bench, 2, usual);
    uint32_t counts[BACKENDS] = {0};
    bench_count(&bench, 20, counts);
    ck_assert_uint_eq(service_drain(bench.service, "10.0.0.0:5432"), 1);
    uint32_t drained[BACKENDS] = {0};
    bench_count(&bench, 20, drained);
    ck_assert_uint_eq(drained[1], 20);
    for (int i = 0; i < 20; i++)
        ck_assert(backend_leaving(slot_backend(bench.held[i])) == (at_of(bench.held[i]) == 0));
    bench_resolve(&bench); /* a resolver does not put it back */
    uint32_t still[BACKENDS] = {0};
    bench_count(&bench, 20, still);
    ck_assert_uint_eq(still[0], 0);
    ck_assert_uint_eq(service_undrain(bench.service, "10.0.0.0:5432"), 1);
    uint32_t after[BACKENDS] = {0};
    bench_count(&bench, 20, after);
    ck_assert_uint_eq(after[0], 20);
    bench_fini(&bench);
}
END_TEST

TEST(a_drained_backend_that_leaves_and_returns_is_still_drained)
{
    struct bench bench;
    bench_init(&bench, 2, usual);
    ck_assert_uint_eq(service_drain(bench.service, "db.example:5432"), 2);
    ck_assert_int_eq(bench_open(&bench, 0), -1);
    ck_assert(is_never(bench.again));
    ck_assert_int_eq(service_refusal(bench.service), FLEET_NO_BACKENDS);
    ck_assert(!service_wants_resolving(bench.service));
    bench.count = 0;
    bench_resolve(&bench);
    bench.count = 2;
    bench_resolve(&bench);
    ck_assert_int_eq(bench_open(&bench, 0), -1);
    ck_assert_uint_eq(service_undrain(bench.service, "db.example"), 2);
    ck_assert_int_ge(bench_open(&bench, 0), 0);
    ck_assert_uint_eq(service_drain(bench.service, "db.example:1"), 0);
    ck_assert_uint_eq(service_drain(bench.service, "db"), 0);
    bench_fini(&bench);
}
END_TEST

/* Assertion A8 "better_errors": the three refusals are told apart. */
TEST(no_backends_none_online_and_all_used_are_three_refusals)
{
    struct bench bench;
    bench_init(&bench, 1, usual);
    ck_assert_int_eq(service_refusal(bench.service), FLEET_ALL_USED);
    ck_assert_int_eq(bench_open(&bench, 1), -1);
    ck_assert_int_eq(service_refusal(bench.service), FLEET_NONE_ONLINE);
    bench.count = 0;
    bench_resolve(&bench);
    ck_assert_int_eq(service_refusal(bench.service), FLEET_NO_BACKENDS);
    bench_fini(&bench);
}
END_TEST

TEST(logins_per_second_of_each_backend_are_bounded_and_apart)
{
    struct bench bench;
    struct fleet_limits limits = usual;
    limits.logins_per_second = 10;
    bench_init(&bench, 2, limits);
    moment start = bench.now, last[2] = {{0}, {0}};
    uint32_t counts[2] = {0};
    while (between(start, bench.now).us < 2000000) {
        int at = bench_open(&bench, 0);
        if (at < 0) {
            ck_assert_int_gt(bench.again.us, bench.now.us);
            bench.now = bench.again;
            continue;
        }
        counts[at] += 1;
        ck_assert_int_ge(between(last[at], bench.now).us, 100000);
        last[at] = bench.now;
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_ge(counts[i], 16);
        ck_assert_uint_le(counts[i], 21);
    }
    bench_fini(&bench);
}
END_TEST

TEST(a_pace_also_bounds_the_only_primary)
{
    struct bench bench;
    struct fleet_limits limits = usual;
    limits.logins_per_second = 10;
    limits.spread = false;
    bench_init(&bench, 1, limits);
    ck_assert_int_eq(bench_open(&bench, 0), 0);
    ck_assert_int_eq(bench_open(&bench, 0), -1);
    ck_assert_int_ge(bench.again.us - bench.now.us, 100000);
    ck_assert_int_le(bench.again.us - bench.now.us, 125000);
    bench.now = bench.again;
    ck_assert_int_eq(bench_open(&bench, 0), 0);
    bench_fini(&bench);
}
END_TEST

TEST(backends_that_fail_together_are_tried_apart)
{
    struct bench bench;
    struct fleet_limits limits = usual;
    limits.retry_jitter = 50;
    limits.retry_max = sec(10);
    limits.retry_min = sec(10);
    bench_init(&bench, 10, limits);
    service_seed(bench.service, 99);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(bench_open(&bench, 0x3ff), -1);
    int tries = 0;
    moment first = bench.now;
    for (; between(first, bench.now).us < sec(10).us; bench.now.us += 100000) {
        struct slot *probe = NULL;
        while (slots_probe(bench.slots, bench.now, &probe) == OK) {
            tries += 1;
            ck_assert_int_ge(between(first, bench.now).us, sec(5).us);
            slot_failed(&probe, SLOT_UNREACHABLE, bench.now);
        }
    }
    ck_assert_int_ge(tries, 9);
    ck_assert_int_eq(bench_open(&bench, 0x3ff), -1);
    bench_fini(&bench);
}
END_TEST

/* Moves connections of a pool as the plan says, until none moves.  Returns how many have moved. */
static uint32_t level_out(struct slots *slots, struct slot **held, uint32_t count, moment now)
{
    struct fleet_open open[16];
    const struct fleet_move_limits limits = {.moves_max = 1, .idle_max = count};
    uint32_t moved = 0;
    for (uint32_t rounds = 0; rounds < 100; rounds++) {
        uint32_t at = 0;
        deadline again;
        for (uint32_t i = 0; i < count; i++)
            open[i].slot = held[i];
        if (slots_plan_moves(slots, open, count, &limits) == 0)
            return moved;
        while (!open[at].move)
            at++;
        slot_closed(&held[at], SLOT_ENDED, now);
        slots_moved(slots, 1);
        ck_assert_int_eq(slots_ask(slots, now, &held[at], &again), OK);
        slot_connected(held[at], ROLE_PRIMARY, now);
        moved += 1;
    }
    return moved;
}

/* Another pool's connections make its weighty backend look loaded, but the plan does not count
 * them. */
TEST(moves_of_a_pool_end_although_another_pool_is_at_one_backend)
{
    struct bench bench;
    struct slots *other;
    struct slot *held[2];
    deadline again;
    bench_init(&bench, 2, usual);
    bench.found[0].weight = 10;
    bench.found[1].weight = 3;
    bench_resolve(&bench);
    (void)service_drain(bench.service, "10.0.0.1:5432");
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(bench_open(&bench, 0), 0);
    (void)service_undrain(bench.service, "10.0.0.1:5432");
    ck_assert_int_eq(slots_new(bench.service, 2, &other), OK);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(slots_ask(other, bench.now, &held[i], &again), OK);
        slot_connected(held[i], ROLE_PRIMARY, bench.now);
    }
    ck_assert_uint_le(level_out(other, held, 2, bench.now), 2);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(at_of(held[i]), 0);
        slot_closed(&held[i], SLOT_ENDED, bench.now);
    }
    slots_free(&other);
    bench_fini(&bench);
}
END_TEST

/* The other backend has a better share, but another pool has taken all of its connections. */
TEST(nothing_moves_to_a_backend_that_other_pools_fill)
{
    struct bench bench;
    struct fleet_limits limits = usual;
    struct slots *other;
    struct slot *held[2];
    deadline again;
    limits.connections_max = 4;
    bench_init(&bench, 2, limits);
    (void)service_drain(bench.service, "10.0.0.1:5432");
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(bench_open(&bench, 0), 0);
    (void)service_undrain(bench.service, "10.0.0.1:5432");
    ck_assert_int_eq(slots_new(bench.service, 2, &other), OK);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(slots_ask(other, bench.now, &held[i], &again), OK);
        slot_connected(held[i], ROLE_PRIMARY, bench.now);
    }
    ck_assert_uint_eq(level_out(other, held, 2, bench.now), 0);
    for (int i = 0; i < 2; i++)
        slot_closed(&held[i], SLOT_ENDED, bench.now);
    slots_free(&other);
    bench_fini(&bench);
}
END_TEST

TESTS("fleet_spread", slots_spread_over_backends_of_unknown_role_too,
      priorities_and_weights_of_the_resolver_are_followed,
      a_changed_weight_or_priority_counts_at_once_and_keeps_the_backend,
      a_new_address_or_port_under_an_old_name_is_another_backend,
      another_target_at_the_same_address_is_another_backend,
      after_a_swap_only_the_new_backend_gets_slots, a_backend_that_left_and_came_back_is_there_once,
      the_own_zone_is_preferred_and_spills_over_when_too_few_are_online,
      one_healthy_backend_among_nine_dead_ones_serves,
      a_dead_backend_is_looked_at_by_a_probe_and_serves_again,
      a_drained_backend_gets_no_slots_until_it_is_put_back,
      a_drained_backend_that_leaves_and_returns_is_still_drained,
      no_backends_none_online_and_all_used_are_three_refusals,
      logins_per_second_of_each_backend_are_bounded_and_apart, a_pace_also_bounds_the_only_primary,
      backends_that_fail_together_are_tried_apart,
      moves_of_a_pool_end_although_another_pool_is_at_one_backend,
      nothing_moves_to_a_backend_that_other_pools_fill)
