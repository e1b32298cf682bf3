#include "base/buffer.h"
#include "base/table.h"
#include "fleet/fleet.h"
#include "unit.h"

#include <stdio.h>

static const struct fleet_limits usual = {
    .logins_max = 4,
    .connections_max = 100,
    .retry_min = {.us = 10000},
    .retry_max = {.us = 80000},
};

/* One service whose backend i is at 10.0.0.i, and the time. */
struct bench {
    struct service *service;
    struct slots *slots;
    moment now;
    deadline again;
};

static struct address address_of(uint8_t last)
{
    struct address address = {.family = ADDRESS_IPV4, .port = 5432, .bytes = {10, 0, 0, last}};
    return address;
}

static void bench_resolve(struct bench *bench, const char *text)
{
    struct address addresses[16];
    const char *hosts[16];
    size_t count = 0;
    for (; text[count] != '\0'; count++) {
        addresses[count] = address_of((uint8_t)(text[count] - '0'));
        hosts[count] = "db.example";
    }
    ck_assert_int_eq(service_set_addresses(bench->service, addresses, hosts, count), OK);
}

static struct bench bench_with(const char *addresses, struct fleet_limits limits, uint32_t max)
{
    struct bench bench = {.now = {.us = 1000000}};
    ck_assert_int_eq(service_new("main", &limits, &bench.service), OK);
    ck_assert_int_eq(slots_new(bench.service, max, &bench.slots), OK);
    bench_resolve(&bench, addresses);
    return bench;
}

static void bench_fini(struct bench *bench)
{
    ck_assert_uint_eq(slots_count(bench->slots), 0);
    slots_free(&bench->slots);
    service_free(&bench->service);
}

static fault bench_try(struct bench *bench, struct slot **ret)
{
    return slots_ask(bench->slots, bench->now, ret, &bench->again);
}

static struct slot *bench_ask(struct bench *bench)
{
    struct slot *slot = NULL;
    ck_assert_int_eq(bench_try(bench, &slot), OK);
    ck_assert_ptr_nonnull(slot);
    return slot;
}

static struct slot *bench_connect(struct bench *bench)
{
    struct slot *slot = bench_ask(bench);
    slot_connected(slot, ROLE_PRIMARY, bench->now);
    return slot;
}

static void bench_fail(struct bench *bench, enum slot_failure why)
{
    struct slot *slot = bench_ask(bench);
    slot_failed(&slot, why, bench->now);
    ck_assert_ptr_null(slot);
}

static void bench_close(struct bench *bench, struct slot **slot)
{
    slot_closed(slot, SLOT_ENDED, bench->now);
    ck_assert_ptr_null(*slot);
}

static void bench_expect(struct bench *bench, fault expected, int64_t again_after_us)
{
    struct slot *slot = NULL;
    ck_assert_int_eq(bench_try(bench, &slot), expected);
    if (again_after_us < 0)
        ck_assert(is_never(bench->again));
    else
        ck_assert_int_eq(bench->again.us - bench->now.us, again_after_us);
}

static void bench_pass(struct bench *bench, int64_t us)
{
    bench->now.us += us;
}

static uint8_t host_of(const struct slot *slot)
{
    return backend_address(slot_backend(slot))->bytes[3];
}

/* --- limits ----------------------------------------------------------------------------------- */

TEST(a_pool_gets_as_many_slots_as_its_size)
{
    struct bench bench = bench_with("1", usual, 3);
    struct slot *slots[3];
    for (int i = 0; i < 3; i++)
        slots[i] = bench_connect(&bench);
    bench_expect(&bench, FAULT_FULL, -1);
    bench_close(&bench, &slots[0]);
    slots[0] = bench_connect(&bench);
    ck_assert_uint_eq(backend_slots(slot_backend(slots[0])), 3);
    for (int i = 0; i < 3; i++)
        bench_close(&bench, &slots[i]);
    bench_fini(&bench);
}
END_TEST

TEST(a_lowered_size_makes_an_excess_and_no_new_slots)
{
    struct bench bench = bench_with("1", usual, 3);
    struct slot *slots[3];
    for (int i = 0; i < 3; i++)
        slots[i] = bench_connect(&bench);
    slots_set_max(bench.slots, 1);
    ck_assert_uint_eq(slots_excess(bench.slots), 2);
    for (int i = 0; i < 2; i++) {
        bench_expect(&bench, FAULT_FULL, -1);
        bench_close(&bench, &slots[i]);
    }
    ck_assert_uint_eq(slots_excess(bench.slots), 0);
    bench_expect(&bench, FAULT_FULL, -1);
    bench_close(&bench, &slots[2]);
    slots[2] = bench_connect(&bench);
    bench_close(&bench, &slots[2]);
    bench_fini(&bench);
}
END_TEST

TEST(a_backends_cap_holds_over_all_pools_and_when_it_is_lowered)
{
    struct fleet_limits limits = usual;
    limits.connections_max = 2;
    struct bench bench = bench_with("1", limits, 9);
    struct slots *other = NULL;
    ck_assert_int_eq(slots_new(bench.service, 9, &other), OK);
    struct slot *mine = bench_connect(&bench);
    struct slot *theirs = NULL;
    ck_assert_int_eq(slots_ask(other, bench.now, &theirs, &bench.again), OK);
    bench_expect(&bench, FAULT_LIMIT, -1);
    limits.connections_max = 1;
    service_set_limits(bench.service, &limits);
    slot_closed(&theirs, SLOT_ENDED, bench.now);
    bench_expect(&bench, FAULT_LIMIT, -1);
    bench_close(&bench, &mine);
    mine = bench_connect(&bench);
    bench_close(&bench, &mine);
    slots_free(&other);
    bench_fini(&bench);
}
END_TEST

TEST(no_more_logins_than_permits_are_under_way_at_one_backend)
{
    struct bench bench = bench_with("1", usual, 9);
    struct slot *slots[5];
    for (int i = 0; i < 4; i++)
        slots[i] = bench_ask(&bench);
    bench_expect(&bench, FAULT_AGAIN, -1);
    slot_connected(slots[2], ROLE_PRIMARY, bench.now);
    slots[4] = bench_ask(&bench);
    bench_expect(&bench, FAULT_AGAIN, -1);
    slot_failed(&slots[0], SLOT_REJECTED, bench.now);
    slots[0] = bench_ask(&bench);
    bench_expect(&bench, FAULT_AGAIN, -1);
    for (int i = 0; i < 5; i++)
        bench_close(&bench, &slots[i]);
    bench_fini(&bench);
}
END_TEST

/* --- failures --------------------------------------------------------------------------------- */

TEST(an_unreachable_backend_is_probed_at_growing_distances_until_one_succeeds)
{
    static const int64_t pauses[] = {10000, 20000, 40000, 80000, 80000, 80000};
    struct bench bench = bench_with("1", usual, 9);
    for (size_t i = 0; i < ARRAY_SIZE(pauses); i++) {
        bench_fail(&bench, SLOT_UNREACHABLE);
        ck_assert(!service_online(bench.service));
        bench_expect(&bench, FAULT_AGAIN, pauses[i]);
        bench_pass(&bench, pauses[i] - 1);
        bench_expect(&bench, FAULT_AGAIN, 1);
        bench_pass(&bench, 1);
    }
    struct slot *probe = bench_ask(&bench);
    bench_expect(&bench, FAULT_AGAIN, -1); /* one probe only */
    slot_connected(probe, ROLE_PRIMARY, bench.now);
    ck_assert(service_online(bench.service));
    struct slot *second = bench_ask(&bench);
    struct slot *third = bench_ask(&bench);
    slot_failed(&second, SLOT_UNREACHABLE, bench.now);
    bench_expect(&bench, FAULT_AGAIN, -1); /* the third is still under way */
    slot_failed(&third, SLOT_UNREACHABLE, bench.now);
    bench_expect(&bench, FAULT_AGAIN, 10000); /* from the start again */
    bench_close(&bench, &probe);
    bench_fini(&bench);
}
END_TEST

TEST(logins_that_fail_together_count_as_one_failure)
{
    struct bench bench = bench_with("1", usual, 9);
    struct slot *slots[4];
    for (int i = 0; i < 4; i++)
        slots[i] = bench_ask(&bench);
    for (int i = 0; i < 4; i++)
        slot_failed(&slots[i], SLOT_UNREACHABLE, bench.now);
    bench_expect(&bench, FAULT_AGAIN, 10000);
    bench_fini(&bench);
}
END_TEST

TEST(a_late_failure_does_not_undo_a_recovery)
{
    struct bench bench = bench_with("1", usual, 9);
    struct slot *slow = bench_ask(&bench);
    struct slot *sound = bench_ask(&bench);
    bench_fail(&bench, SLOT_UNREACHABLE);
    ck_assert(!backend_online(slot_backend(slow)));
    slot_connected(sound, ROLE_PRIMARY, bench.now);
    slot_failed(&slow, SLOT_UNREACHABLE, bench.now);
    ck_assert(backend_online(slot_backend(sound)));
    struct slot *next = bench_connect(&bench);
    bench_close(&bench, &next);
    bench_close(&bench, &sound);
    bench_fini(&bench);
}
END_TEST

TEST(a_backend_that_is_not_ready_pauses_without_being_offline)
{
    struct bench bench = bench_with("1", usual, 9);
    struct slot *old = bench_connect(&bench);
    bench_fail(&bench, SLOT_NOT_READY);
    ck_assert(backend_online(slot_backend(old)));
    ck_assert(service_online(bench.service));
    bench_expect(&bench, FAULT_AGAIN, 10000);
    bench_pass(&bench, 10000);
    bench_fail(&bench, SLOT_NOT_READY);
    bench_expect(&bench, FAULT_AGAIN, 20000);
    bench_pass(&bench, 20000);
    struct slot *probe = bench_ask(&bench);
    bench_expect(&bench, FAULT_AGAIN, -1);
    slot_connected(probe, ROLE_PRIMARY, bench.now);
    bench_close(&bench, &probe);
    bench_close(&bench, &old);
    bench_fini(&bench);
}
END_TEST

TEST(a_backend_without_room_waits_for_a_release_or_the_longest_pause)
{
    struct bench bench = bench_with("1", usual, 9);
    struct slot *first = bench_connect(&bench);
    struct slot *second = bench_connect(&bench);
    bench_fail(&bench, SLOT_CROWDED);
    bench_expect(&bench, FAULT_AGAIN, 80000);
    bench_close(&bench, &second);
    second = bench_connect(&bench);
    bench_fail(&bench, SLOT_CROWDED);
    bench_pass(&bench, 80000);
    struct slot *third = bench_connect(&bench);
    bench_close(&bench, &first);
    bench_close(&bench, &second);
    bench_close(&bench, &third);
    bench_fini(&bench);
}
END_TEST

TEST(a_pool_at_a_limit_of_its_own_leaves_the_probes_to_others)
{
    struct bench bench = bench_with("1", usual, 9);
    struct slots *other = NULL;
    struct slot *slot = NULL;
    ck_assert_int_eq(slots_new(bench.service, 9, &other), OK);
    bench_fail(&bench, SLOT_CROWDED);
    bench_pass(&bench, 10000);
    bench_expect(&bench, FAULT_AGAIN, 70000);
    ck_assert_int_eq(slots_ask(other, bench.now, &slot, &bench.again), OK);
    slot_connected(slot, ROLE_PRIMARY, bench.now);
    bench_expect(&bench, FAULT_AGAIN, 70000);
    slot_closed(&slot, SLOT_ENDED, bench.now);
    slot = bench_connect(&bench);
    bench_close(&bench, &slot);
    slots_free(&other);
    bench_fini(&bench);
}
END_TEST

TEST(a_rejected_login_says_nothing_of_its_backend)
{
    struct bench bench = bench_with("1", usual, 9);
    bench_fail(&bench, SLOT_REJECTED);
    ck_assert(service_online(bench.service));
    ck_assert(!service_wants_resolving(bench.service));
    bench_fail(&bench, SLOT_UNREACHABLE);
    bench_pass(&bench, 10000);
    bench_fail(&bench, SLOT_REJECTED);
    ck_assert(!service_online(bench.service));
    struct slot *probe = bench_ask(&bench); /* nothing was learnt: the probe is still to be made */
    bench_expect(&bench, FAULT_AGAIN, -1);
    bench_close(&bench, &probe);
    bench_fini(&bench);
}
END_TEST

TEST(a_login_that_is_given_up_returns_its_permit)
{
    struct bench bench = bench_with("1", usual, 9);
    bench_fail(&bench, SLOT_UNREACHABLE);
    bench_pass(&bench, 10000);
    struct slot *probe = bench_ask(&bench);
    bench_close(&bench, &probe);
    probe = bench_connect(&bench);
    bench_close(&bench, &probe);
    bench_fini(&bench);
}
END_TEST

TEST(after_lost_connections_one_login_goes_first)
{
    struct bench bench = bench_with("1", usual, 9);
    struct slot *slots[4];
    for (int i = 0; i < 4; i++)
        slots[i] = bench_connect(&bench);
    for (int i = 0; i < 3; i++)
        slot_closed(&slots[i], SLOT_LOST, bench.now);
    ck_assert(backend_online(slot_backend(slots[3])));
    slots[0] = bench_ask(&bench);
    bench_expect(&bench, FAULT_AGAIN, -1);
    slot_connected(slots[0], ROLE_PRIMARY, bench.now);
    slots[1] = bench_ask(&bench);
    slots[2] = bench_ask(&bench);
    for (int i = 0; i < 4; i++)
        bench_close(&bench, &slots[i]);
    bench_fini(&bench);
}
END_TEST

TEST(a_restart_is_met_by_one_login_at_a_time)
{
    struct bench bench = bench_with("1", usual, 9);
    struct slot *slots[9];
    for (int i = 0; i < 9; i++)
        slots[i] = bench_connect(&bench);
    for (int i = 0; i < 9; i++)
        slot_closed(&slots[i], SLOT_LOST, bench.now);
    bench_fail(&bench, SLOT_UNREACHABLE);
    bench_expect(&bench, FAULT_AGAIN, 10000);
    bench_pass(&bench, 10000);
    bench_fail(&bench, SLOT_NOT_READY);
    bench_expect(&bench, FAULT_AGAIN, 20000);
    bench_pass(&bench, 20000);
    slots[0] = bench_ask(&bench);
    bench_expect(&bench, FAULT_AGAIN, -1);
    slot_connected(slots[0], ROLE_PRIMARY, bench.now);
    for (int i = 1; i < 5; i++)
        slots[i] = bench_ask(&bench);
    bench_expect(&bench, FAULT_AGAIN, -1);
    for (int i = 0; i < 5; i++)
        bench_close(&bench, &slots[i]);
    bench_fini(&bench);
}
END_TEST

/* --- choosing --------------------------------------------------------------------------------- */

TEST(slots_spread_evenly_in_the_order_of_addresses)
{
    struct bench bench = bench_with("312", usual, 9);
    static const uint8_t expected[] = {3, 1, 2, 3, 1, 2};
    struct slot *slots[6];
    for (int i = 0; i < 6; i++) {
        slots[i] = bench_ask(&bench);
        ck_assert_uint_eq(host_of(slots[i]), expected[i]);
    }
    for (int i = 0; i < 6; i++)
        slot_connected(slots[i], ROLE_PRIMARY, bench.now);
    bench_close(&bench, &slots[4]);
    slots[4] = bench_connect(&bench);
    ck_assert_uint_eq(host_of(slots[4]), 1);
    for (int i = 0; i < 6; i++)
        bench_close(&bench, &slots[i]);
    bench_fini(&bench);
}
END_TEST

TEST(a_replica_is_passed_over_and_looked_at_again_when_no_primary_is_there)
{
    struct bench bench = bench_with("12", usual, 9);
    bench_fail(&bench, SLOT_WRONG_ROLE);
    ck_assert(service_wants_resolving(bench.service));
    struct slot *first = bench_connect(&bench);
    struct slot *second = bench_connect(&bench);
    ck_assert_uint_eq(host_of(first), 2);
    ck_assert_uint_eq(host_of(second), 2);
    bench_pass(&bench, 80000);
    bench_fail(&bench, SLOT_UNREACHABLE); /* the primary */
    bench_fail(&bench, SLOT_WRONG_ROLE);  /* so the replica is looked at: not promoted yet */
    bench_expect(&bench, FAULT_AGAIN, 10000);
    bench_pass(&bench, 10000);
    bench_fail(&bench, SLOT_UNREACHABLE);
    for (int64_t pause = 20000; pause <= 40000; pause *= 2) {
        bench_expect(&bench, FAULT_AGAIN, pause);
        bench_pass(&bench, pause);
        bench_fail(&bench, SLOT_UNREACHABLE);
    }
    bench_expect(&bench, FAULT_AGAIN, 10000); /* the replica's turn */
    bench_pass(&bench, 10000);
    struct slot *promoted = bench_connect(&bench);
    ck_assert_uint_eq(host_of(promoted), 1);
    bench_close(&bench, &first);
    bench_close(&bench, &second);
    bench_close(&bench, &promoted);
    bench_fini(&bench);
}
END_TEST

TEST(when_all_are_replicas_the_next_look_has_its_time)
{
    struct bench bench = bench_with("12", usual, 9);
    bench_fail(&bench, SLOT_WRONG_ROLE);
    bench_pass(&bench, 1000);
    bench_fail(&bench, SLOT_WRONG_ROLE);
    bench_expect(&bench, FAULT_AGAIN, 79000);
    ck_assert(service_online(bench.service));
    bench_pass(&bench, 79000);
    struct slot *look = bench_ask(&bench);
    ck_assert_uint_eq(host_of(look), 1);
    bench_expect(&bench, FAULT_AGAIN, 1000);
    slot_failed(&look, SLOT_WRONG_ROLE, bench.now);
    bench_fini(&bench);
}
END_TEST

TEST(a_busy_primary_is_waited_for_rather_than_probing_the_dead)
{
    struct bench bench = bench_with("12", usual, 9);
    struct slot *slots[5];
    bench_fail(&bench, SLOT_UNREACHABLE);
    bench_pass(&bench, 20000);
    for (int i = 0; i < 4; i++) {
        slots[i] = bench_ask(&bench);
        ck_assert_uint_eq(host_of(slots[i]), 2);
    }
    bench_expect(&bench, FAULT_AGAIN, -1);
    slot_closed(&slots[3], SLOT_LOST,
                bench.now); /* its last login may hang: now the dead one too */
    slots[3] = bench_ask(&bench);
    ck_assert_uint_eq(host_of(slots[3]), 1);
    for (int i = 0; i < 4; i++)
        bench_close(&bench, &slots[i]);
    bench_fini(&bench);
}
END_TEST

TEST(room_at_a_standby_is_none_for_a_pool_that_writes)
{
    struct fleet_limits limits = usual;
    limits.connections_max = 1;
    struct bench bench = bench_with("12", limits, 9);
    struct slots *writer = NULL, *reader = NULL;
    struct slot *none = NULL, *read = NULL;
    deadline again;
    bench_fail(&bench, SLOT_WRONG_ROLE);
    struct slot *write = bench_connect(&bench);
    ck_assert_uint_eq(host_of(write), 2);
    ck_assert_int_eq(slots_new(bench.service, 9, &writer), OK);
    ck_assert_int_eq(slots_new(bench.service, 9, &reader), OK);
    slots_set_target(reader, TARGET_STANDBY);
    ck_assert_int_eq(slots_ask(reader, bench.now, &read, &again), OK);
    ck_assert_uint_eq(host_of(read), 1);
    slot_connected(read, ROLE_REPLICA, bench.now);
    slot_closed(&read, SLOT_ENDED, bench.now);
    ck_assert_int_eq(slots_ask(writer, bench.now, &none, &again), FAULT_LIMIT);
    ck_assert(slots_blocked_by(writer, bench.slots));
    ck_assert_int_eq(slots_ask(reader, bench.now, &read, &again), OK);
    slot_connected(read, ROLE_REPLICA, bench.now);
    ck_assert_int_eq(slots_ask(writer, bench.now, &none, &again), FAULT_LIMIT);
    ck_assert(!slots_blocked_by(writer, reader));
    ck_assert(!slots_blocked_by(reader, writer));
    slot_closed(&read, SLOT_ENDED, bench.now);
    bench_close(&bench, &write);
    slots_free(&writer);
    slots_free(&reader);
    bench_fini(&bench);
}
END_TEST

TEST(a_full_primary_is_a_limit_and_the_dead_are_probed_still)
{
    struct fleet_limits limits = usual;
    limits.connections_max = 1;
    struct bench bench = bench_with("12", limits, 9);
    bench_fail(&bench, SLOT_UNREACHABLE);
    struct slot *first = bench_connect(&bench);
    ck_assert_uint_eq(host_of(first), 2);
    bench_expect(&bench, FAULT_LIMIT, 10000);
    bench_pass(&bench, 10000);
    struct slot *second = bench_connect(&bench);
    ck_assert_uint_eq(host_of(second), 1);
    bench_expect(&bench, FAULT_LIMIT, -1);
    bench_close(&bench, &first);
    bench_close(&bench, &second);
    bench_fini(&bench);
}
END_TEST

/* --- resolving -------------------------------------------------------------------------------- */

TEST(a_service_without_addresses_asks_for_them)
{
    struct bench bench = bench_with("", usual, 9);
    ck_assert(service_online(bench.service));
    bench_expect(&bench, FAULT_AGAIN, 80000);
    ck_assert(service_wants_resolving(bench.service));
    ck_assert(!service_wants_resolving(bench.service));
    bench_resolve(&bench, "1");
    struct slot *slot = bench_connect(&bench);
    bench_close(&bench, &slot);
    bench_fini(&bench);
}
END_TEST

TEST(an_address_that_went_keeps_its_slots_until_they_end_and_gets_no_new_ones)
{
    struct bench bench = bench_with("12", usual, 2);
    struct slot *first = bench_connect(&bench);
    struct slot *second = bench_ask(&bench);
    bench_resolve(&bench, "3");
    ck_assert(backend_obsolete(slot_backend(first)));
    slot_connected(second, ROLE_PRIMARY, bench.now);
    ck_assert(backend_obsolete(slot_backend(second)));
    bench_expect(&bench, FAULT_FULL, -1); /* they count */
    bench_close(&bench, &first);
    first = bench_connect(&bench);
    ck_assert_uint_eq(host_of(first), 3);
    slot_closed(&second, SLOT_LOST, bench.now);
    bench_close(&bench, &first);
    bench_fini(&bench);
}
END_TEST

TEST(an_address_that_comes_back_is_the_same_backend)
{
    struct bench bench = bench_with("12", usual, 9);
    struct slot *first = bench_connect(&bench);
    struct backend *backend = slot_backend(first);
    ck_assert_uint_eq(service_backends(bench.service), 2);
    bench_resolve(&bench, "2");
    ck_assert(backend_obsolete(backend));
    ck_assert_uint_eq(service_backends(bench.service), 1);
    bench_resolve(&bench, "211");
    ck_assert_uint_eq(service_backends(bench.service), 2);
    ck_assert_ptr_eq(slot_backend(first), backend);
    ck_assert(!backend_obsolete(backend));
    struct slot *second = bench_connect(&bench); /* the one known as primary, although not first */
    ck_assert_ptr_eq(slot_backend(second), backend);
    bench_close(&bench, &first);
    bench_close(&bench, &second);
    bench_fini(&bench);
}
END_TEST

TEST(a_new_name_for_an_address_leaves_the_old_name_readable)
{
    struct bench bench = bench_with("1", usual, 9);
    struct address address = address_of(1);
    const char *renamed = "renamed.example";
    struct slot *slot = bench_connect(&bench);
    const char *old = backend_host(slot_backend(slot));
    ck_assert_int_eq(service_set_addresses(bench.service, &address, &renamed, 1), OK);
    ck_assert_str_eq(old, "db.example");
    ck_assert_str_eq(backend_host(slot_backend(slot)), "renamed.example");
    bench_resolve(&bench, "1");
    ck_assert_ptr_eq(backend_host(slot_backend(slot)), old);
    bench_close(&bench, &slot);
    bench_fini(&bench);
}
END_TEST

TEST(too_many_addresses_are_refused_and_change_nothing)
{
    static struct address addresses[257];
    static const char *hosts[257];
    for (size_t i = 0; i < 257; i++) {
        addresses[i] = address_of((uint8_t)i);
        addresses[i].port = (uint16_t)(i + 1);
        hosts[i] = "many.example";
    }
    struct bench bench = bench_with("1", usual, 9);
    ck_assert_int_eq(service_set_addresses(bench.service, addresses, hosts, 257), FAULT_LIMIT);
    struct slot *slot = bench_ask(&bench);
    ck_assert_uint_eq(host_of(slot), 1);
    bench_close(&bench, &slot);
    bench_fini(&bench);
}
END_TEST

TEST(a_service_that_is_freed_stays_until_its_pools_went)
{
    struct bench bench = bench_with("12", usual, 9);
    struct slot *slot = bench_connect(&bench);
    service_free(&bench.service);
    ck_assert_ptr_null(bench.service);
    ck_assert(backend_obsolete(slot_backend(slot)));
    bench_expect(&bench, FAULT_AGAIN, 80000);
    slot_closed(&slot, SLOT_ENDED, bench.now);
    slots_free(&bench.slots);
    service_free(&bench.service);
}
END_TEST

TEST(limits_without_sense_are_made_sensible)
{
    struct fleet_limits limits = {.connections_max = 9};
    struct bench bench = bench_with("1", limits, 9);
    bench_fail(&bench, SLOT_UNREACHABLE);
    bench_expect(&bench, FAULT_AGAIN, 1000);
    bench_pass(&bench, 1000);
    bench_fail(&bench, SLOT_UNREACHABLE);
    bench_expect(&bench, FAULT_AGAIN, 1000);
    bench_fini(&bench);
}
END_TEST

TEST(a_pause_shrinks_with_a_lowered_limit)
{
    struct bench bench = bench_with("1", usual, 9);
    struct fleet_limits limits = usual;
    for (int i = 0; i < 5; i++) {
        bench_fail(&bench, SLOT_UNREACHABLE);
        bench_pass(&bench, 80000);
    }
    bench_fail(&bench, SLOT_UNREACHABLE);
    bench_expect(&bench, FAULT_AGAIN, 80000);
    limits.retry_max = ms(30);
    service_set_limits(bench.service, &limits);
    bench_expect(&bench, FAULT_AGAIN, 30000);
    bench_fini(&bench);
}
END_TEST

/* --- the console ------------------------------------------------------------------------------ */

struct text_sink {
    struct table_sink sink;
    struct buffer text;
};

static void text_begin(struct table_sink *sink, const struct column *columns, size_t count)
{
    struct text_sink *self = CONTAINER_OF(sink, struct text_sink, sink);
    for (size_t i = 0; i < count; i++)
        buffer_printf(&self->text, "%s ", columns[i].name);
    buffer_append_byte(&self->text, '\n');
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

TEST(the_console_sees_every_backend)
{
    struct text_sink text = {{text_begin, text_cell, text_end_row}, BUFFER_INIT(10000)};
    struct bench bench = bench_with("12", usual, 9);
    bench_fail(&bench, SLOT_UNREACHABLE);
    struct slot *open = bench_connect(&bench);
    struct slot *login = bench_ask(&bench);
    fleet_show_backends(&bench.service, 1, &text.sink);
    buffer_append_byte(&text.text, 0);
    ck_assert_str_eq((const char *)text.text.at,
                     "service host addr role state slots logins failures retry_in_ms "
                     "priority weight zone timeline lag_ms breaker arbiter arbiter_failures \n"
                     "main db.example 10.0.0.1:5432 unknown offline 0 0 1 10 0 100    open  0 \n"
                     "main db.example 10.0.0.2:5432 primary online 2 1 0 0 0 100    closed  0 \n");
    buffer_fini(&text.text);
    bench_close(&bench, &open);
    bench_close(&bench, &login);
    bench_fini(&bench);
}
END_TEST

TESTS("fleet", a_pool_gets_as_many_slots_as_its_size,
      a_lowered_size_makes_an_excess_and_no_new_slots,
      a_backends_cap_holds_over_all_pools_and_when_it_is_lowered,
      no_more_logins_than_permits_are_under_way_at_one_backend,
      an_unreachable_backend_is_probed_at_growing_distances_until_one_succeeds,
      logins_that_fail_together_count_as_one_failure, a_late_failure_does_not_undo_a_recovery,
      a_backend_that_is_not_ready_pauses_without_being_offline,
      a_backend_without_room_waits_for_a_release_or_the_longest_pause,
      a_pool_at_a_limit_of_its_own_leaves_the_probes_to_others,
      a_rejected_login_says_nothing_of_its_backend, a_login_that_is_given_up_returns_its_permit,
      after_lost_connections_one_login_goes_first, a_restart_is_met_by_one_login_at_a_time,
      slots_spread_evenly_in_the_order_of_addresses,
      a_replica_is_passed_over_and_looked_at_again_when_no_primary_is_there,
      when_all_are_replicas_the_next_look_has_its_time,
      a_busy_primary_is_waited_for_rather_than_probing_the_dead,
      a_full_primary_is_a_limit_and_the_dead_are_probed_still,
      room_at_a_standby_is_none_for_a_pool_that_writes, a_service_without_addresses_asks_for_them,
      an_address_that_went_keeps_its_slots_until_they_end_and_gets_no_new_ones,
      an_address_that_comes_back_is_the_same_backend,
      a_new_name_for_an_address_leaves_the_old_name_readable,
      too_many_addresses_are_refused_and_change_nothing,
      a_service_that_is_freed_stays_until_its_pools_went, limits_without_sense_are_made_sensible,
      a_pause_shrinks_with_a_lowered_limit, the_console_sees_every_backend)
