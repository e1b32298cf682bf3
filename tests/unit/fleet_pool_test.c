/* fleet_pool_test.c - claims, slots and the end of a pool over a scripted driver. */
#include "base/buffer.h"
#include "base/table.h"
#include "fleet_bench.h"

#include <stdio.h>

/* --- claims ----------------------------------------------------------------------------------- */

/* A8 "get_claim_from_one_backend", "one_claim". */
TEST(a_claim_gets_the_first_connection_of_its_backend)
{
    struct bench bench;
    bench_init(&bench, 1, usual);
    ck_assert(bench_claim(&bench, 0));
    ck_assert_int_eq(host_of(&bench, 0), 0);
    ck_assert_int_eq(bench.connects, 1);
    ck_assert_uint_eq(in_state(&bench, FLEET_CLAIMED), 1);
    bench_fini(&bench);
}
END_TEST

/* A8 "get_claim_before_backend_appears". */
TEST(a_claim_waits_for_the_first_backend)
{
    struct bench bench;
    bench_init(&bench, 0, usual);
    ck_assert(!bench_claim(&bench, 0));
    bench_pass(&bench, 1000000);
    ck_assert(!bench.got[0] && !bench.no[0]);
    bench_resolve(&bench, 1);
    bench_run(&bench);
    ck_assert(bench.got[0]);
    bench_fini(&bench);
}
END_TEST

/* A8 "get_more_claims_than_slots", "all_claims". */
TEST(a_claim_beyond_the_size_gets_the_connection_that_comes_back)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.max = 5;
    bench_init(&bench, 1, policy);
    for (int i = 0; i < 5; i++)
        ck_assert(bench_claim(&bench, i));
    uint64_t first = fleet_slot_id(bench.claims[0].slot);
    ck_assert(!bench_claim(&bench, 5));
    bench_pass(&bench, 50000);
    ck_assert(!bench.got[5]);
    ck_assert_uint_eq(fleet_pool_counts(bench.pool)->waiting, 1);
    bench_release(&bench, 0);
    ck_assert(bench.got[5]);
    ck_assert_uint_eq(fleet_pool_counts(bench.pool)->waiting, 0);
    ck_assert_uint_eq(fleet_slot_id(bench.claims[5].slot), first);
    ck_assert_int_eq(bench.connects, 5);
    bench_fini(&bench);
}
END_TEST

/* Defect A9.7: a new claim tries first, and so overtakes the queue. */
TEST(no_claim_overtakes_another)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.max = 1;
    bench_init(&bench, 1, policy);
    ck_assert(bench_claim(&bench, 0));
    for (int i = 1; i < 10; i++)
        fleet_claim(bench.pool, &bench.claims[i], bench.now, later(bench.now, sec(30)));
    for (int i = 0; i < 9; i++) {
        bench_release(&bench, i);
        ck_assert(bench.got[i + 1] && !bench.got[i + 2]);
        fleet_claim(bench.pool, &bench.claims[20 + i], bench.now, later(bench.now, sec(30)));
        bench_run(&bench);
        ck_assert(!bench.got[20 + i]);
    }
    bench_fini(&bench);
}
END_TEST

/* A8 "better_errors". */
TEST(the_three_refusals_are_told_apart)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.max = 1;
    bench_init(&bench, 0, policy);
    ck_assert(!bench_claim(&bench, 0));
    bench_pass(&bench, 31000000);
    ck_assert(bench.no[0]);
    ck_assert_int_eq(bench.refused[0], FLEET_NO_BACKENDS);
    bench_resolve(&bench, 1);
    ck_assert(bench_claim(&bench, 0));
    ck_assert(!bench_claim(&bench, 1));
    bench_pass(&bench, 31000000);
    ck_assert_int_eq(bench.refused[1], FLEET_ALL_USED);
    bench.connect = FAILS;
    fleet_release(bench.pool, &bench.claims[0], FLEET_BROKEN, bench.now);
    ck_assert(!bench_claim(&bench, 2));
    bench_pass(&bench, 31000000);
    ck_assert(bench.no[2]);
    ck_assert_int_eq(bench.refused[2], FLEET_NONE_ONLINE);
    for (int i = 0; i < FLEET_REFUSALS; i++)
        ck_assert_str_ne(fleet_refusal_text((enum fleet_refusal)i), "");
    bench_fini(&bench);
}
END_TEST

/* Defect A9.11: a claim that is given up does not stay in the queue. */
TEST(a_claim_that_is_withdrawn_gets_nothing)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.max = 1;
    bench_init(&bench, 1, policy);
    ck_assert(bench_claim(&bench, 0));
    ck_assert(!bench_claim(&bench, 1));
    ck_assert(!bench_claim(&bench, 2));
    fleet_claim_withdraw(bench.pool, &bench.claims[1], bench.now);
    bench_release(&bench, 0);
    ck_assert(!bench.got[1] && bench.got[2]);
    bench_fini(&bench);
}
END_TEST

/* A8 "claim_with_slow_connector": on_acquire of some does not block the others. */
TEST(a_slow_on_acquire_blocks_only_its_own_claim)
{
    struct bench bench;
    bench_init(&bench, 1, usual);
    for (int i = 0; i < 16; i++) {
        bench.acquire = i % 2 == 0 ? STALLS : SUCCEEDS;
        ck_assert(bench_claim(&bench, i) == (i % 2 == 1));
    }
    ck_assert_uint_eq(in_state(&bench, FLEET_ACQUIRING), 8);
    bench_fini(&bench);
}
END_TEST

/* Defect A9.7: the claim has one deadline, however often on_acquire fails. */
TEST(a_failing_on_acquire_ends_with_the_claims_deadline)
{
    struct bench bench;
    bench_init(&bench, 1, usual);
    bench.acquire = FAILS;
    ck_assert(!bench_claim(&bench, 0));
    bench_pass(&bench, 29999999);
    ck_assert(!bench.no[0]);
    bench_pass(&bench, 1);
    ck_assert(bench.no[0]);
    /* The pauses grow although every login succeeds: 20 ms, 40 ms and so on make 11 in 30 s. */
    ck_assert_int_ge(bench.connects, 10);
    ck_assert_int_le(bench.connects, 12);
    bench.acquire = STALLS;
    ck_assert(!bench_claim(&bench, 1));
    bench_pass(&bench, 31000000);
    ck_assert(bench.no[1]);
    bench.acquire = SUCCEEDS;
    bench_fini(&bench);
}
END_TEST

TEST(a_failed_on_acquire_leaves_the_claim_first_in_the_queue)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.max = 1;
    bench_init(&bench, 1, policy);
    bench.acquire = STALLS;
    ck_assert(!bench_claim(&bench, 0));
    ck_assert(!bench_claim(&bench, 1));
    bench.acquire = SUCCEEDS;
    fleet_slot_checked(bench.stalled, FLEET_INVALID, bench.now);
    bench_run(&bench);
    ck_assert(!bench.got[0]); /* the backend pauses */
    bench_pass(&bench, 20000);
    ck_assert(bench.got[0] && !bench.got[1]);
    bench_fini(&bench);
}
END_TEST

TEST(a_claimer_gets_its_last_connection_again_if_that_is_idle)
{
    struct bench bench;
    bench_init(&bench, 4, usual);
    for (int i = 0; i < 8; i++)
        ck_assert(bench_claim(&bench, i));
    uint64_t mine = fleet_slot_id(bench.claims[3].slot);
    for (int i = 0; i < 8; i++)
        bench_release(&bench, i);
    ck_assert(bench_claim(&bench, 3));
    ck_assert_uint_eq(fleet_slot_id(bench.claims[3].slot), mine);
    bench_fini(&bench);
}
END_TEST

TEST(a_lasting_overload_is_shed_and_says_so)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.max = 1;
    policy.codel = (struct fleet_codel_limits){.target = ms(5), .interval = ms(100)};
    bench_init(&bench, 1, policy);
    int shed = 0, holder = -1;
    for (int i = 0; i < 2000; i++) {
        int number = i % CLAIMS;
        for (int j = 0; j < CLAIMS && holder < 0; j++)
            holder = bench.claims[j].state == FLEET_CLAIM_HELD ? j : -1;
        if (i % 2 == 1 && holder >= 0) {
            bench_release(&bench, holder);
            holder = -1;
        }
        if (bench.claims[number].state == FLEET_CLAIM_NONE) {
            shed += bench.no[number] && bench.refused[number] == FLEET_OVERLOADED;
            (void)bench_claim(&bench, number);
        }
        bench.now.us += 1000;
    }
    ck_assert_int_gt(shed, 5);
    ck_assert_uint_gt(fleet_pool_counts(bench.pool)->refused[FLEET_OVERLOADED], 5);
    bench_fini(&bench);
}
END_TEST

/* --- slots ------------------------------------------------------------------------------------ */

/* A8 "claim_after_backend_swap": claimed connections go on, and end when they are released. */
TEST(after_a_swap_only_the_new_backend_is_handed_out)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.spares = 4;
    bench_init(&bench, 1, policy);
    ck_assert(bench_claim(&bench, 0));
    bench.found[0].address.bytes[3] = 7;
    bench_resolve(&bench, 1);
    bench_run(&bench);
    ck_assert_int_eq(host_of(&bench, 0), 0);
    for (int i = 1; i < 16; i++) {
        ck_assert(bench_claim(&bench, i));
        ck_assert_int_eq(host_of(&bench, i), 7);
    }
    ck_assert(!bench_claim(&bench, 16)); /* exactly `max`, with the old one */
    bench_release(&bench, 0);
    ck_assert(bench.got[16]);
    ck_assert_int_eq(host_of(&bench, 16), 7);
    bench_fini(&bench);
}
END_TEST

/* A8 "drain_slots": what is in use goes on; the rest closes; nothing is left after the release. */
TEST(a_drained_backend_keeps_only_what_is_in_use)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.spares = 3;
    bench_init(&bench, 1, policy);
    ck_assert(bench_claim(&bench, 0));
    ck_assert_uint_eq(fleet_pool_slots(bench.pool), 4);
    ck_assert_uint_eq(service_drain(bench.service, "db.example"), 1);
    bench_run(&bench);
    ck_assert_uint_eq(fleet_pool_slots(bench.pool), 1);
    bench_release(&bench, 0);
    ck_assert_uint_eq(fleet_pool_slots(bench.pool), 0);
    ck_assert_uint_eq(service_undrain(bench.service, "db.example"), 1);
    fleet_pool_changed(bench.pool, bench.now);
    bench_run(&bench);
    ck_assert_uint_eq(fleet_pool_slots(bench.pool), 3);
    bench_fini(&bench);
}
END_TEST

/* A8 "no_slots_add_some_later". */
TEST(a_pool_of_size_none_opens_connections_when_it_grows)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.max = 0;
    bench_init(&bench, 1, policy);
    ck_assert(!bench_claim(&bench, 0));
    policy.max = 3;
    fleet_pool_set_policy(bench.pool, &policy);
    bench_run(&bench);
    ck_assert(bench.got[0]);
    bench_fini(&bench);
}
END_TEST

/* Makes a pool with so many connections in each of three states. */
static void make_mixed(struct bench *bench, uint32_t claimed, uint32_t idle, uint32_t connecting)
{
    struct fleet_policy policy = usual;
    policy.spares = idle;
    bench_init(bench, 2, policy);
    for (uint32_t i = 0; i < claimed; i++)
        ck_assert(bench_claim(bench, (int)i));
    bench_run(bench);
    bench->connect = STALLS;
    policy.spares = idle + connecting;
    fleet_pool_set_policy(bench->pool, &policy);
    bench_run(bench);
    ck_assert_uint_eq(in_state(bench, FLEET_CLAIMED), claimed);
    ck_assert_uint_eq(in_state(bench, FLEET_IDLE), idle);
    ck_assert_uint_eq(in_state(bench, FLEET_CONNECTING), connecting);
}

/* Defect A9.3: of connections in several states too few were removed.  Those that are not connected
 * go first, those in use stay until they are released. */
TEST(a_smaller_size_closes_exactly_the_excess_in_every_mix)
{
    for (uint32_t how = 0; how < 64; how++) {
        uint32_t claimed = how % 4, idle = how / 4 % 4, connecting = how / 16;
        uint32_t sum = claimed + idle + connecting;
        for (uint32_t max = 0; max <= sum; max++) {
            struct bench bench;
            struct fleet_policy policy = usual;
            make_mixed(&bench, claimed, idle, connecting);
            policy.max = max;
            policy.spares = idle + connecting;
            fleet_pool_set_policy(bench.pool, &policy);
            bench_run(&bench);
            uint32_t excess = sum - max, idle_goes = excess > connecting ? excess - connecting : 0;
            ck_assert_uint_eq(fleet_pool_slots(bench.pool), MAX_OF(max, claimed));
            ck_assert_uint_eq(in_state(&bench, FLEET_CLAIMED), claimed);
            ck_assert_uint_eq(in_state(&bench, FLEET_IDLE),
                              idle > idle_goes ? idle - idle_goes : 0);
            for (uint32_t i = 0; i < claimed; i++)
                bench_release(&bench, (int)i);
            ck_assert_uint_eq(fleet_pool_slots(bench.pool), max);
            bench_fini(&bench);
        }
    }
}
END_TEST

/* A8 "new_unclaimed_slots_change_state". */
TEST(a_release_is_seen_at_once)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.max = 3;
    bench_init(&bench, 1, policy);
    for (int i = 0; i < 3; i++)
        ck_assert(bench_claim(&bench, i));
    ck_assert_uint_eq(in_state(&bench, FLEET_IDLE), 0);
    bench_release(&bench, 1);
    ck_assert_uint_eq(in_state(&bench, FLEET_IDLE), 1);
    bench_fini(&bench);
}
END_TEST

/* A8 "monitor_state": offline while nothing connects, online, offline again after failed checks. */
TEST(the_service_goes_on_and_off_line_with_its_connections)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.spares = 3;
    policy.health_interval = sec(30);
    bench_init(&bench, 1, policy);
    bench.connect = FAILS;
    bench_run(&bench);
    ck_assert_int_eq(service_refusal(bench.service), FLEET_NONE_ONLINE);
    bench.connect = SUCCEEDS;
    bench_pass(&bench, 1000000);
    ck_assert_int_eq(service_refusal(bench.service), FLEET_ALL_USED);
    ck_assert_uint_eq(in_state(&bench, FLEET_IDLE), 3);
    bench.connect = bench.check = FAILS;
    bench_pass(&bench, 31000000);
    ck_assert_int_eq(service_refusal(bench.service), FLEET_NONE_ONLINE);
    ck_assert_uint_eq(in_state(&bench, FLEET_IDLE), 0);
    bench_fini(&bench);
}
END_TEST

/* A8 "on_recycle". */
TEST(a_failed_on_recycle_replaces_the_connection)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.spares = 1;
    bench_init(&bench, 1, policy);
    ck_assert(bench_claim(&bench, 0));
    uint64_t old = fleet_slot_id(bench.claims[0].slot);
    bench_release(&bench, 0);
    ck_assert(bench_claim(&bench, 0));
    ck_assert_uint_eq(fleet_slot_id(bench.claims[0].slot), old);
    bench.recycle = FAILS;
    bench_release(&bench, 0);
    ck_assert_uint_ge(fleet_pool_counts(bench.pool)->invalid, 1);
    ck_assert(bench_claim(&bench, 0));
    ck_assert_uint_ne(fleet_slot_id(bench.claims[0].slot), old);
    bench_fini(&bench);
}
END_TEST

/* A8 "health_monitoring". */
TEST(idle_connections_are_checked_at_their_interval_and_others_never)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.min = 4;
    policy.health_interval = sec(30);
    bench_init(&bench, 1, policy);
    ck_assert(bench_claim(&bench, 0));
    ck_assert_uint_eq(in_state(&bench, FLEET_IDLE), 3);
    bench_pass(&bench, 26000000);
    ck_assert_uint_eq(fleet_pool_counts(bench.pool)->checks, 0);
    bench_pass(&bench, 5000000);
    ck_assert_uint_eq(fleet_pool_counts(bench.pool)->checks, 3);
    bench_pass(&bench, 60000000);
    ck_assert_uint_ge(fleet_pool_counts(bench.pool)->checks, 8);
    ck_assert_uint_le(fleet_pool_counts(bench.pool)->checks, 12);
    bench_fini(&bench);
}
END_TEST

TEST(a_check_that_stalls_ends_with_its_deadline_and_its_connection)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.min = 1;
    policy.health_interval = sec(30);
    bench_init(&bench, 1, policy);
    bench.check = STALLS;
    bench_pass(&bench, 30500000);
    ck_assert_uint_eq(in_state(&bench, FLEET_CHECKING), 1);
    bench_pass(&bench, 3000000);
    ck_assert_int_ge(bench.closes, 1);
    ck_assert_uint_eq(in_state(&bench, FLEET_IDLE), 1); /* a new one */
    bench_fini(&bench);
}
END_TEST

/* Defect A9.5: a connect has a deadline. */
TEST(a_connect_that_stalls_ends_with_its_deadline)
{
    struct bench bench;
    bench_init(&bench, 1, usual);
    bench.connect = STALLS;
    ck_assert(!bench_claim(&bench, 0));
    ck_assert_uint_eq(in_state(&bench, FLEET_CONNECTING), 1);
    bench_pass(&bench, 4999999);
    ck_assert_int_eq(bench.closes, 0);
    bench_pass(&bench, 1);
    ck_assert_int_eq(bench.closes, 1);
    ck_assert_int_eq(service_refusal(bench.service), FLEET_NONE_ONLINE);
    bench.connect = SUCCEEDS;
    bench_pass(&bench, 100000);
    ck_assert(bench.got[0]);
    bench_fini(&bench);
}
END_TEST

TEST(a_lost_idle_connection_is_replaced)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.min = 2;
    bench_init(&bench, 1, policy);
    ck_assert(bench_claim(&bench, 0));
    struct fleet_slot *slot = bench.claims[0].slot;
    bench_release(&bench, 0);
    fleet_slot_lost(slot, bench.now);
    bench_run(&bench);
    ck_assert_int_eq(bench.connects, 3);
    ck_assert_uint_eq(in_state(&bench, FLEET_IDLE), 2);
    bench_fini(&bench);
}
END_TEST

/* --- the end ---------------------------------------------------------------------------------- */

/* A8 "terminate" of pools and of slots. */
TEST(after_the_end_claims_are_refused_and_a_second_end_does_nothing)
{
    struct bench bench;
    bench_init(&bench, 1, usual);
    ck_assert(bench_claim(&bench, 0));
    bench_release(&bench, 0);
    fleet_pool_end(bench.pool);
    bench_run(&bench);
    ck_assert(fleet_pool_over(bench.pool));
    fleet_pool_end(bench.pool);
    ck_assert(!bench_claim(&bench, 1));
    ck_assert(bench.no[1]);
    ck_assert_int_eq(bench.refused[1], FLEET_ENDED);
    bench_fini(&bench);
}
END_TEST

/* A8 "terminate_with_slow_active_claim", "_slow_setup", "terminate_while_rebalancing"; defect A9.6:
 * the end waits for no connect, no hook and no back-off, and calls the connector no more. */
TEST(the_end_waits_for_nothing_that_stalls)
{
    static const enum answer all[] = {SUCCEEDS, FAILS, STALLS};
    for (int how = 0; how < 81; how++) {
        struct bench bench;
        struct fleet_policy policy = usual;
        policy.spares = 4;
        policy.health_interval = sec(10);
        bench_init(&bench, 3, policy);
        bench_run(&bench);
        bench.connect = all[how % 3];
        bench.acquire = all[how / 3 % 3];
        bench.recycle = all[how / 9 % 3];
        bench.check = all[how / 27 % 3];
        for (int i = 0; i < 6; i++)
            (void)bench_claim(&bench, i);
        for (int i = 0; i < 2; i++)
            if (bench.claims[i].state == FLEET_CLAIM_HELD)
                bench_release(&bench, i);
        bench_pass(&bench, 11000000);
        fleet_pool_end(bench.pool);
        int calls = bench.calls;
        moment before = bench.now;
        bench_run(&bench);
        for (int i = 0; i < 6; i++)
            if (bench.claims[i].state == FLEET_CLAIM_HELD)
                fleet_release(bench.pool, &bench.claims[i], FLEET_RETURNED, bench.now);
        bench_run(&bench);
        ck_assert(fleet_pool_over(bench.pool));
        ck_assert_int_eq(bench.calls, calls);
        ck_assert_int_eq(bench.now.us, before.us);
        ck_assert(is_never(fleet_pool_due(bench.pool)));
        bench_fini(&bench);
    }
}
END_TEST

/* A8 "dropping_pool_closes_all_connections". */
TEST(the_end_closes_idle_connections_at_once)
{
    struct bench bench;
    struct fleet_policy policy = usual;
    policy.spares = 4;
    bench_init(&bench, 1, policy);
    bench_run(&bench);
    ck_assert_uint_eq(in_state(&bench, FLEET_IDLE), 4);
    fleet_pool_end(bench.pool);
    bench_run(&bench);
    ck_assert_int_eq(bench.closes, 4);
    bench_fini(&bench);
}
END_TEST

/* --- what is shown ---------------------------------------------------------------------------- */

struct text_sink {
    struct table_sink sink;
    struct buffer text;
};

static void text_begin(struct table_sink *sink, const struct column *columns, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buffer_printf(&CONTAINER_OF(sink, struct text_sink, sink)->text, "%s ", columns[i].name);
    buffer_append_byte(&CONTAINER_OF(sink, struct text_sink, sink)->text, '\n');
}

static void text_cell(struct table_sink *sink, struct span text, bool null)
{
    struct text_sink *self = CONTAINER_OF(sink, struct text_sink, sink);
    buffer_append_span(&self->text, text);
    buffer_append_byte(&self->text, ' ');
}

static void text_end_row(struct table_sink *sink)
{
    buffer_append_byte(&CONTAINER_OF(sink, struct text_sink, sink)->text, '\n');
}

TEST(slots_are_shown_with_their_states_and_times)
{
    struct text_sink text = {{text_begin, text_cell, text_end_row}, BUFFER_INIT(10000)};
    struct bench bench;
    struct fleet_policy policy = usual;
    char expected[200];
    policy.min = 2;
    bench_init(&bench, 1, policy);
    ck_assert(bench_claim(&bench, 0));
    uint64_t claimed = fleet_slot_id(bench.claims[0].slot);
    bench.now.us += 1500000;
    fleet_pool_show(bench.pool, bench.now, &text.sink);
    buffer_append_byte(&text.text, 0);
    snprintf(expected, sizeof(expected), "%llu 10.0.0.0:5432 claimed 1500 \n",
             (unsigned long long)claimed);
    ck_assert_ptr_nonnull(strstr((const char *)text.text.at, expected));
    ck_assert_ptr_nonnull(strstr((const char *)text.text.at, "idle 1500 \n"));
    buffer_fini(&text.text);
    bench_fini(&bench);
}
END_TEST

TESTS("fleet_pool", a_claim_gets_the_first_connection_of_its_backend,
      a_claim_waits_for_the_first_backend,
      a_claim_beyond_the_size_gets_the_connection_that_comes_back, no_claim_overtakes_another,
      the_three_refusals_are_told_apart, a_claim_that_is_withdrawn_gets_nothing,
      a_slow_on_acquire_blocks_only_its_own_claim,
      a_failing_on_acquire_ends_with_the_claims_deadline,
      a_failed_on_acquire_leaves_the_claim_first_in_the_queue,
      a_claimer_gets_its_last_connection_again_if_that_is_idle,
      a_lasting_overload_is_shed_and_says_so, after_a_swap_only_the_new_backend_is_handed_out,
      a_drained_backend_keeps_only_what_is_in_use,
      a_pool_of_size_none_opens_connections_when_it_grows,
      a_smaller_size_closes_exactly_the_excess_in_every_mix, a_release_is_seen_at_once,
      the_service_goes_on_and_off_line_with_its_connections,
      a_failed_on_recycle_replaces_the_connection,
      idle_connections_are_checked_at_their_interval_and_others_never,
      a_check_that_stalls_ends_with_its_deadline_and_its_connection,
      a_connect_that_stalls_ends_with_its_deadline, a_lost_idle_connection_is_replaced,
      after_the_end_claims_are_refused_and_a_second_end_does_nothing,
      the_end_waits_for_nothing_that_stalls, the_end_closes_idle_connections_at_once,
      slots_are_shown_with_their_states_and_times)
