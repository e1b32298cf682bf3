/*
 * fleet_role_test.c - which backends the pools of a service use, by their roles and the pools'
 * targets.
 */
#include "fleet/fleet.h"
#include "fleet/lag.h"
#include "unit.h"

#define BACKENDS 4
#define POOLS    2

static const struct fleet_limits usual = {
    .logins_max = 4,
    .connections_max = 100,
    .retry_min = {.us = 10000},
    .retry_max = {.us = 80000},
};

/* A service whose backend i is at 10.0.0.i, the roles that logins find there, and pools. */
struct bench {
    struct service *service;
    struct slots *slots[POOLS];
    uint32_t count;
    bool replica[BACKENDS];
    bool read_only[BACKENDS];
    bool dead[BACKENDS];
    struct slot *held[1000];
    uint32_t holds;
    moment now;
    deadline again;
    uint32_t wrong; /* logins that found a wrong role */
};

static void bench_init(struct bench *bench, uint32_t count, enum fleet_target target)
{
    struct address addresses[BACKENDS];
    const char *hosts[BACKENDS] = {"a", "b", "c", "d"};
    *bench = (struct bench){.now = {.us = 1000000000}, .count = count};
    for (uint32_t i = 0; i < count; i++)
        addresses[i] =
            (struct address){.family = ADDRESS_IPV4, .port = 5432, .bytes = {10, 0, 0, (uint8_t)i}};
    ck_assert_int_eq(service_new("main", &usual, &bench->service), OK);
    ck_assert_int_eq(service_set_addresses(bench->service, addresses, hosts, count), OK);
    for (int i = 0; i < POOLS; i++)
        ck_assert_int_eq(slots_new(bench->service, 1000, &bench->slots[i]), OK);
    slots_set_target(bench->slots[0], target);
}

static void bench_fini(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->holds; i++)
        slot_closed(&bench->held[i], SLOT_ENDED, bench->now);
    for (int i = 0; i < POOLS; i++)
        slots_free(&bench->slots[i]);
    service_free(&bench->service);
}

/* Logs in under a slot as the pooler does.  Returns the backend; -1: the login failed. */
static int bench_login(struct bench *bench, enum fleet_target target, struct slot *slot)
{
    int at = backend_address(slot_backend(slot))->bytes[3];
    bool replica = bench->replica[at], fallback = slot_fallback(slot);
    if (bench->dead[at]) {
        slot_failed(&slot, SLOT_UNREACHABLE, bench->now);
        return -1;
    }
    slot_found(slot, replica ? ROLE_REPLICA : ROLE_PRIMARY, bench->read_only[at]);
    if (target_accepts(target, replica, bench->read_only[at], fallback)) {
        slot_connected(slot, replica ? ROLE_REPLICA : ROLE_PRIMARY, bench->now);
        bench->held[bench->holds++] = slot;
        return at;
    }
    slot_failed(&slot, SLOT_WRONG_ROLE, bench->now);
    bench->wrong += 1;
    return -1;
}

/* Asks for a slot of a pool and logs in, until that succeeds or there is none to be had now. */
static int bench_open(struct bench *bench, int pool, enum fleet_target target)
{
    struct slot *slot = NULL;
    int at = -1;
    while (at < 0) {
        fault asked = slots_ask(bench->slots[pool], bench->now, &slot, &bench->again);
        if (asked != OK) {
            ck_assert_int_eq(asked, FAULT_AGAIN);
            return -1;
        }
        at = bench_login(bench, target, slot);
    }
    return at;
}

static void bench_pass(struct bench *bench, duration by)
{
    bench->now = later(bench->now, by);
}

START_TEST(each_target_gets_the_backends_with_its_role)
{
    static const struct {
        enum fleet_target target;
        uint32_t allowed; /* a bit for each backend: 0 is the primary, 1 and 2 are replicas */
    } cases[] = {
        {TARGET_DEFAULT, 1}, {TARGET_ANY, 7},     {TARGET_READ_WRITE, 1},     {TARGET_READ_ONLY, 6},
        {TARGET_PRIMARY, 1}, {TARGET_STANDBY, 6}, {TARGET_PREFER_STANDBY, 6},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct bench bench;
        uint32_t used = 0;
        bench_init(&bench, 3, cases[i].target);
        bench.replica[1] = bench.replica[2] = true;
        for (int n = 0; n < 30; n++) {
            int at = bench_open(&bench, 0, cases[i].target);
            ck_assert_int_ge(at, 0);
            used |= 1u << at;
        }
        ck_assert_uint_eq(used, cases[i].allowed);
        ck_assert_uint_le(bench.wrong, 3); /* each backend is asked once */
        bench_fini(&bench);
    }
}
END_TEST

START_TEST(replicas_share_the_slots_of_a_pool)
{
    struct bench bench;
    uint32_t counts[BACKENDS] = {0};
    bench_init(&bench, 4, TARGET_STANDBY);
    bench.replica[1] = bench.replica[2] = bench.replica[3] = true;
    for (int n = 0; n < 60; n++)
        counts[bench_open(&bench, 0, TARGET_STANDBY)] += 1;
    ck_assert_uint_eq(counts[0], 0);
    for (int i = 1; i < 4; i++)
        ck_assert_uint_ge(counts[i], 15);
    bench_fini(&bench);
}
END_TEST

START_TEST(a_pool_that_prefers_standbys_uses_the_primary_only_while_there_is_none)
{
    struct bench bench;
    bench_init(&bench, 2, TARGET_PREFER_STANDBY);
    bench.replica[1] = true;
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_PREFER_STANDBY), 1);
    bench.dead[1] = true;
    slot_closed(&bench.held[--bench.holds], SLOT_LOST, bench.now);
    bench_pass(&bench, ms(100));
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_PREFER_STANDBY), 0);
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_PREFER_STANDBY), 0);

    struct slot *slot = NULL;
    bench.dead[1] = false;
    bench_pass(&bench, ms(100));
    ck_assert(slots_probe_due(bench.slots[0], bench.now));
    ck_assert_int_eq(slots_probe(bench.slots[0], bench.now, &slot), OK);
    ck_assert_int_eq(bench_login(&bench, TARGET_PREFER_STANDBY, slot), 1);
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_PREFER_STANDBY), 1);
    bench_fini(&bench);
}
END_TEST

START_TEST(connections_at_the_fallback_are_moved_once_a_standby_is_back)
{
    struct bench bench;
    struct fleet_open open[4];
    bench_init(&bench, 2, TARGET_PREFER_STANDBY);
    bench.dead[1] = true;
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_PREFER_STANDBY), -1); /* 0 was asked first */
    bench_pass(&bench, usual.retry_max);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(bench_open(&bench, 0, TARGET_PREFER_STANDBY), 0);
        open[i].slot = bench.held[i];
    }
    const struct fleet_move_limits limits = {.moves_max = 4, .idle_max = 4};
    ck_assert_uint_eq(slots_plan_moves(bench.slots[0], open, 4, &limits), 0);
    bench.dead[1] = false;
    bench.replica[1] = true;
    struct slot *slot = NULL;
    bench_pass(&bench, ms(100));
    ck_assert_int_eq(slots_probe(bench.slots[0], bench.now, &slot), OK);
    ck_assert_int_eq(bench_login(&bench, TARGET_PREFER_STANDBY, slot), 1);
    ck_assert_uint_eq(slots_plan_moves(bench.slots[0], open, 4, &limits), 4);
    bench_fini(&bench);
}
END_TEST

START_TEST(a_role_that_one_pool_found_is_known_to_others)
{
    struct bench bench;
    bench_init(&bench, 2, TARGET_STANDBY);
    bench.replica[1] = true;
    ck_assert_int_eq(bench_open(&bench, 1, TARGET_DEFAULT), 0);
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_STANDBY), 1);
    ck_assert_uint_eq(bench.wrong, 0);
    ck_assert_int_eq(bench_open(&bench, 1, TARGET_DEFAULT), 0);
    bench_fini(&bench);
}
END_TEST

START_TEST(a_pool_without_a_backend_of_its_role_waits_and_says_so)
{
    struct bench bench;
    bench_init(&bench, 2, TARGET_STANDBY);
    ck_assert(!slots_lack_role(bench.slots[0]));
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_STANDBY), -1);
    ck_assert_uint_eq(bench.wrong, 2);
    ck_assert(slots_lack_role(bench.slots[0]));
    ck_assert_int_eq(bench.again.us, later(bench.now, usual.retry_max).us);
    bench.replica[1] = true;
    bench.now = bench.again;
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_STANDBY), 1);
    ck_assert(!slots_lack_role(bench.slots[0]));
    bench_fini(&bench);
}
END_TEST

START_TEST(sessions_that_begin_read_only_are_a_matter_of_the_pool)
{
    struct bench bench;
    bench_init(&bench, 1, TARGET_READ_WRITE);
    bench.read_only[0] = true;
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_READ_WRITE), -1);
    ck_assert(slots_lack_role(bench.slots[0]));
    ck_assert(!slots_lack_role(bench.slots[1]));
    ck_assert_int_eq(bench_open(&bench, 1, TARGET_DEFAULT), 0);
    bench.read_only[0] = false;
    bench_pass(&bench, usual.retry_max);
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_READ_WRITE), 0);
    bench_fini(&bench);
}
END_TEST

START_TEST(a_read_only_pool_uses_a_primary_whose_sessions_begin_read_only)
{
    struct bench bench;
    bench_init(&bench, 1, TARGET_READ_ONLY);
    bench.read_only[0] = true;
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_READ_ONLY), 0);
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_READ_ONLY), 0);
    bench_fini(&bench);
}
END_TEST

/* A replica among the records of a name would demand a resolution with every try, for ever. */
START_TEST(a_wrong_role_that_is_known_demands_resolutions_with_growing_pauses)
{
    struct bench bench;
    uint32_t demands = 0;
    bench_init(&bench, 2, TARGET_PRIMARY);
    bench.replica[0] = bench.replica[1] = true;
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_PRIMARY), -1);
    ck_assert(service_wants_resolving(bench.service));
    for (int i = 0; i < 3600; i++) {
        bench_pass(&bench, sec(1));
        ck_assert_int_eq(bench_open(&bench, 0, TARGET_PRIMARY), -1);
        demands += service_wants_resolving(bench.service);
    }
    ck_assert_uint_ge(demands, 60);
    ck_assert_uint_le(demands, 2 * 75);
    bench.replica[0] = false; /* a promotion, and back: that is news */
    bench_pass(&bench, sec(1));
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_PRIMARY), 0);
    (void)service_wants_resolving(bench.service);
    bench.replica[0] = true;
    slot_closed(&bench.held[--bench.holds], SLOT_LOST, bench.now);
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_PRIMARY), -1);
    ck_assert(service_wants_resolving(bench.service));
    bench_fini(&bench);
}
END_TEST

START_TEST(a_lone_standby_is_used_as_fast_as_a_primary_unless_a_login_refuses_it)
{
    struct bench bench;
    bench_init(&bench, 1, TARGET_DEFAULT);
    bench.replica[0] = true;
    struct slot *slots[4];
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_DEFAULT), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(slots_ask(bench.slots[0], bench.now, &slots[i], &bench.again), OK);
    for (int i = 0; i < 4; i++)
        slot_failed(&slots[i], SLOT_WRONG_ROLE, bench.now);
    ck_assert_int_eq(slots_ask(bench.slots[0], bench.now, &slots[0], &bench.again), FAULT_AGAIN);
    ck_assert_int_eq(slots_ask(bench.slots[1], bench.now, &slots[0], &bench.again), FAULT_AGAIN);
    bench_pass(&bench, usual.retry_max);
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_DEFAULT), 0);
    bench_fini(&bench);
}
END_TEST

static moment at_second(int64_t second)
{
    return (moment){.us = second * 1000000};
}

/* --- samples of probes ------------------------------------------------------------------------ */

static struct backend *bench_backend(const struct bench *bench, int at)
{
    struct backend *backend = NULL;
    do
        backend = service_next(bench->service, backend);
    while (backend != NULL && backend_address(backend)->bytes[3] != at);
    ck_assert_ptr_nonnull(backend);
    return backend;
}

static void bench_set_fresh(struct bench *bench, duration fresh)
{
    struct fleet_limits limits = usual;
    limits.sample_fresh = fresh;
    service_set_limits(bench->service, &limits);
}

/* A probe of backend `at` finds this position; returns what service_judge() says. */
static bool bench_sample(struct bench *bench, int at, uint64_t position)
{
    const struct backend_sample sample = {.asked = bench->now,
                                          .answered = bench->now,
                                          .replica = bench->replica[at],
                                          .system = 7,
                                          .line = 1,
                                          .position = position};
    backend_sampled(bench_backend(bench, at), &sample, bench->now);
    return service_judge(bench->service, bench->now);
}

START_TEST(probes_tell_roles_before_any_login)
{
    struct bench bench;
    bench_init(&bench, 3, TARGET_STANDBY);
    bench_set_fresh(&bench, sec(4));
    bench.replica[1] = bench.replica[2] = true;
    for (int i = 0; i < 3; i++)
        ck_assert(bench_sample(&bench, i, 100));
    ck_assert(!bench_sample(&bench, 2, 101)); /* nothing new */
    for (int i = 0; i < 20; i++) {
        ck_assert_int_ge(bench_open(&bench, 0, TARGET_STANDBY), 1);
        ck_assert_int_eq(bench_open(&bench, 1, TARGET_DEFAULT), 0);
    }
    ck_assert_uint_eq(bench.wrong, 0);
    bench.replica[1] = false; /* promoted */
    ck_assert(bench_sample(&bench, 1, 102));
    for (uint32_t i = 0; i < bench.holds; i++) {
        bool unwanted = slot_slots(bench.held[i]) == bench.slots[0] &&
                        backend_address(slot_backend(bench.held[i]))->bytes[3] == 1;
        ck_assert_int_eq(slot_unwanted(bench.held[i]), unwanted);
    }
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_STANDBY), 2);
    bench_fini(&bench);
}
END_TEST

START_TEST(a_login_that_began_after_the_probe_knows_better)
{
    struct bench bench;
    bench_init(&bench, 1, TARGET_ANY);
    bench_set_fresh(&bench, sec(4));
    bench.replica[0] = true;
    const struct backend_sample late = {.asked = bench.now, .replica = true, .position = 1};
    bench_pass(&bench, ms(1));
    bench.replica[0] = false;
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_ANY), 0);
    backend_sampled(bench_backend(&bench, 0), &late, bench.now);
    ck_assert_int_eq(backend_role(bench_backend(&bench, 0)), ROLE_PRIMARY);
    bench_fini(&bench);
}
END_TEST

START_TEST(a_replica_beyond_the_lag_limit_gets_no_slots_until_it_catches_up)
{
    struct bench bench;
    bench_init(&bench, 3, TARGET_STANDBY);
    bench_set_fresh(&bench, sec(4));
    slots_set_lag_max(bench.slots[0], sec(2));
    bench.replica[1] = bench.replica[2] = true;
    uint64_t position = 1000;
    for (int i = 0; i < 2; i++)
        (void)bench_sample(&bench, 1 + i, position);
    (void)bench_sample(&bench, 0, position);
    ck_assert_int_ge(bench_open(&bench, 0, TARGET_STANDBY), 1);
    for (int second = 1; second <= 5; second++) {
        bench_pass(&bench, sec(1));
        position += 10;
        (void)bench_sample(&bench, 0, position);
        (void)bench_sample(&bench, 1, position);
        (void)bench_sample(&bench, 2, 1005); /* it hangs */
        /* It has lacked 1010 since second 1. */
        ck_assert_int_eq(backend_lag(bench_backend(&bench, 2)).us, sec(second - 1).us);
        ck_assert_int_eq(backend_lag(bench_backend(&bench, 1)).us, 0);
    }
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(bench_open(&bench, 0, TARGET_STANDBY), 1);
    bench.dead[1] = true; /* nothing else is left, but it is not asked */
    for (uint32_t i = 0; i < bench.holds; i++) {
        bool behind = backend_address(slot_backend(bench.held[i]))->bytes[3] == 2;
        ck_assert_int_eq(slot_unwanted(bench.held[i]), behind);
    }
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_STANDBY), -1);
    ck_assert(slots_lack_role(bench.slots[0]));
    (void)bench_sample(&bench, 2, position);
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_STANDBY), 2);
    bench_fini(&bench);
}
END_TEST

/* At a limit of 10 s: the replica replays as fast as the primary writes, and is just behind the
 * limit or just within it. */
START_TEST(a_replica_near_the_lag_limit_does_not_come_and_go)
{
    struct bench bench;
    bench_init(&bench, 2, TARGET_STANDBY);
    bench_set_fresh(&bench, sec(60));
    slots_set_lag_max(bench.slots[0], sec(10));
    bench.replica[1] = true;
    static const uint8_t lags[] = {9, 11, 9, 10, 9, 11, 9};
    for (uint64_t second = 1; second <= 20; second++) {
        bench_pass(&bench, sec(1));
        (void)bench_sample(&bench, 0, 1000 + second);
    }
    (void)bench_sample(&bench, 1, 1020 - 9);
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_STANDBY), 1);
    uint64_t second = 20;
    for (size_t i = 1; i < sizeof(lags); i++) {
        bench_pass(&bench, sec(1));
        (void)bench_sample(&bench, 0, 1000 + ++second);
        (void)bench_sample(&bench, 1, 1000 + second - lags[i] - 1);
        ck_assert_int_eq(backend_lag(bench_backend(&bench, 1)).us, sec(lags[i]).us);
        ck_assert(slot_unwanted(bench.held[0]));
        ck_assert_int_eq(bench_open(&bench, 0, TARGET_STANDBY), -1);
    }
    bench_pass(&bench, sec(1));
    (void)bench_sample(&bench, 0, 1000 + ++second);
    (void)bench_sample(&bench, 1, 1000 + second - 8 - 1);
    ck_assert(!slot_unwanted(bench.held[0]));
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_STANDBY), 1);
    bench_fini(&bench);
}
END_TEST

/* One number stands for all limits: it is compared with one state for each of them. */
START_TEST(each_limit_is_exceeded_until_four_fifths_of_it)
{
    bool out[100] = {false};
    duration counts = {0};
    uint64_t random = 1;
    for (int step = 0; step < 10000; step++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        int64_t lag = (int64_t)(random >> 33) % (step % 100 < 50 ? 100 : 20);
        counts = fleet_lag_counts(ms(lag), counts);
        for (int64_t limit = 1; limit < 100; limit++) {
            out[limit] = lag > limit || (out[limit] && lag * 5 > limit * 4);
            ck_assert_int_eq(counts.us > ms(limit).us, out[limit]);
        }
    }
    ck_assert_int_eq(fleet_lag_counts(FLEET_LAG_UNKNOWN, counts).us, counts.us);
    ck_assert_int_eq(fleet_lag_counts(NO_LIMIT, counts).us, INT64_MAX);
}
END_TEST

START_TEST(a_replica_without_a_fresh_sample_counts_as_beyond_the_lag_limit)
{
    struct bench bench;
    bench_init(&bench, 2, TARGET_PREFER_STANDBY);
    bench_set_fresh(&bench, sec(4));
    slots_set_lag_max(bench.slots[0], sec(60));
    bench.replica[1] = true;
    (void)bench_sample(&bench, 0, 10);
    (void)bench_sample(&bench, 1, 10);
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_PREFER_STANDBY), 1);
    bench_pass(&bench, ms(4001));
    ck_assert_ptr_nonnull(backend_sample(bench_backend(&bench, 1)));
    ck_assert(bench_sample(&bench, 0, 10));
    ck_assert_ptr_null(backend_sample(bench_backend(&bench, 1)));
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_PREFER_STANDBY), 0);
    bench_fini(&bench);
}
END_TEST

START_TEST(three_unanswered_probes_set_a_backend_offline_unless_a_login_succeeds)
{
    struct bench bench;
    bench_init(&bench, 2, TARGET_ANY);
    bench_set_fresh(&bench, sec(4));
    struct backend *backend = bench_backend(&bench, 0);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 5; i++) {
            moment asked = bench.now;
            ck_assert(backend_online(backend));
            bench_pass(&bench, sec(1));
            if (round == 0 && i == 1)
                while (bench_open(&bench, 0, TARGET_ANY) != 0)
                    continue;
            backend_unsampled(backend, asked, bench.now);
            bool offline = round == 1 && i >= 2;
            ck_assert_int_eq(backend_online(backend), !offline);
            ck_assert_int_eq(service_judge(bench.service, bench.now), round == 1 && i == 2);
            if (offline)
                break;
        }
        (void)bench_sample(&bench, 0, 1);
        ck_assert(backend_online(backend));
    }
    bench_fini(&bench);
}
END_TEST

START_TEST(a_backend_of_another_system_is_refused)
{
    struct bench bench;
    bench_init(&bench, 3, TARGET_ANY);
    bench_set_fresh(&bench, sec(4));
    for (int i = 0; i < 3; i++) {
        const struct backend_sample sample = {
            .asked = bench.now, .system = i == 0 ? 99 : 7, .line = 1, .position = 1};
        backend_sampled(bench_backend(&bench, i), &sample, bench.now);
        (void)service_judge(bench.service, bench.now);
        ck_assert_int_eq(backend_foreign(bench_backend(&bench, 0)), i == 2);
        ck_assert_int_eq(backend_foreign(bench_backend(&bench, 1)), i == 1);
    }
    for (int i = 0; i < 20; i++)
        ck_assert_int_ge(bench_open(&bench, 0, TARGET_ANY), 1);
    const struct backend_sample mended = {
        .asked = bench.now, .system = 7, .line = 1, .position = 1};
    backend_sampled(bench_backend(&bench, 0), &mended, bench.now);
    ck_assert(service_judge(bench.service, bench.now));
    ck_assert(!backend_foreign(bench_backend(&bench, 0)));
    bench_fini(&bench);
}
END_TEST

START_TEST(lag_is_the_age_of_the_oldest_position_that_was_not_replayed)
{
    struct fleet_lag lag = {.count = 0};
    struct backend_sample replica = {.replica = true, .system = 7, .line = 1, .position = 5};
    struct backend_sample primary = {.system = 7, .line = 1, .position = 10};
    moment now = at_second(100);
    ck_assert_int_lt(fleet_lag_of(&lag, &replica, now).us, 0);
    fleet_lag_note(&lag, &replica); /* no primary */
    ck_assert_uint_eq(lag.count, 0);
    for (int i = 0; i < 3000; i++) { /* one position in a second: old ones are thinned out */
        primary.asked = at_second(100 + i);
        primary.position = 10 + (uint64_t)i;
        fleet_lag_note(&lag, &primary);
        ck_assert_uint_le(lag.count, FLEET_LAG_POSITIONS);
    }
    now = at_second(3100);
    ck_assert_int_eq(fleet_lag_of(&lag, &replica, now).us, sec(3000).us); /* as far as is known */
    replica.position = 10 + 2998;
    ck_assert_int_eq(fleet_lag_of(&lag, &replica, now).us, sec(1).us);
    replica.position = 10 + 2899;
    ck_assert_int_eq(fleet_lag_of(&lag, &replica, now).us, sec(100).us);
    replica.position = 10 + 1000;
    ck_assert_int_le(fleet_lag_of(&lag, &replica, now).us, sec(1999).us);
    ck_assert_int_ge(fleet_lag_of(&lag, &replica, now).us, sec(1900).us);
    replica.position = 10 + 2999;
    ck_assert_int_eq(fleet_lag_of(&lag, &replica, now).us, 0);
    primary.asked = now; /* it writes nothing: the replica does not lag */
    fleet_lag_note(&lag, &primary);
    ck_assert_int_eq(fleet_lag_of(&lag, &replica, at_second(9000)).us, 0);
    replica.line = 2;
    ck_assert_int_lt(fleet_lag_of(&lag, &replica, now).us, 0);
    primary.line = 2;
    fleet_lag_note(&lag, &primary);
    ck_assert_int_eq(fleet_lag_of(&lag, &replica, now).us, 0);
    primary.line = 1; /* the old primary, still there */
    fleet_lag_note(&lag, &primary);
    ck_assert_int_eq(fleet_lag_of(&lag, &replica, now).us, 0);
}
END_TEST

START_TEST(a_replica_that_was_behind_is_behind_when_another_one_is_promoted)
{
    struct fleet_lag lag = {.count = 0};
    struct backend_sample replica = {.replica = true, .system = 7, .line = 2, .position = 12};
    struct backend_sample primary = {.system = 7, .line = 1};
    for (int i = 0; i < 10; i++) { /* 10 to 19 */
        primary.asked = at_second(100 + i);
        primary.position = 10 + (uint64_t)i;
        fleet_lag_note(&lag, &primary);
    }
    primary.line = 2; /* 18 and 19 were never there */
    primary.position = 17;
    primary.asked = at_second(150);
    fleet_lag_note(&lag, &primary);
    moment now = at_second(200);
    ck_assert_int_eq(fleet_lag_of(&lag, &replica, now).us, sec(97).us);
    replica.position = 17;
    ck_assert_int_eq(fleet_lag_of(&lag, &replica, now).us, 0);
    primary.position = 18;
    primary.asked = at_second(190);
    fleet_lag_note(&lag, &primary);
    ck_assert_int_eq(fleet_lag_of(&lag, &replica, now).us, sec(10).us);
    primary.line = 3;
    primary.system = 8; /* another one: nothing is known of its past */
    fleet_lag_note(&lag, &primary);
    replica = (struct backend_sample){.replica = true, .system = 8, .line = 3, .position = 1};
    ck_assert_int_eq(fleet_lag_of(&lag, &replica, now).us, sec(10).us);
    ck_assert_uint_eq(lag.count, 1);
}
END_TEST

TEST(a_wrong_role_puts_a_backend_that_was_offline_back_online)
{
    struct bench bench;
    bench_init(&bench, 1, TARGET_PRIMARY);
    bench.dead[0] = true;
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_PRIMARY), -1);
    ck_assert(!service_online(bench.service));
    bench.dead[0] = false;
    bench.replica[0] = true;
    bench.now = later(bench.now, sec(60));
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_PRIMARY), -1);
    ck_assert(service_online(bench.service));
    bench_fini(&bench);
}
END_TEST

TEST(a_wrong_role_is_known_while_the_slot_counts_until_its_connection_ends)
{
    struct bench bench;
    struct slot *slot, *other;
    bench_init(&bench, 2, TARGET_STANDBY);
    bench.replica[1] = true;
    slots_set_max(bench.slots[0], 1);
    do { /* which of the two is asked first is a matter of chance */
        ck_assert_int_eq(slots_ask(bench.slots[0], bench.now, &slot, &bench.again), OK);
        if (backend_address(slot_backend(slot))->bytes[3] != 0)
            slot_closed(&slot, SLOT_ENDED, bench.now);
    } while (slot == NULL);
    struct backend *backend = slot_backend(slot);
    slot_found(slot, ROLE_PRIMARY, false);
    slot_failing(slot, SLOT_WRONG_ROLE, bench.now);
    ck_assert_int_eq(backend_role(backend), ROLE_PRIMARY);
    ck_assert_uint_eq(backend_slots(backend), 1);
    ck_assert_uint_eq(service_count(bench.service).logins, 0);
    ck_assert_int_eq(slots_ask(bench.slots[0], bench.now, &other, &bench.again), FAULT_FULL);
    slot_closed(&slot, SLOT_ENDED, bench.now);
    ck_assert_uint_eq(backend_slots(backend), 0);
    ck_assert_int_eq(bench_open(&bench, 0, TARGET_STANDBY), 1);
    bench_fini(&bench);
}
END_TEST

TESTS("fleet_role", a_wrong_role_puts_a_backend_that_was_offline_back_online,
      a_wrong_role_is_known_while_the_slot_counts_until_its_connection_ends,
      each_target_gets_the_backends_with_its_role, replicas_share_the_slots_of_a_pool,
      a_pool_that_prefers_standbys_uses_the_primary_only_while_there_is_none,
      connections_at_the_fallback_are_moved_once_a_standby_is_back,
      a_role_that_one_pool_found_is_known_to_others,
      a_pool_without_a_backend_of_its_role_waits_and_says_so,
      sessions_that_begin_read_only_are_a_matter_of_the_pool,
      a_read_only_pool_uses_a_primary_whose_sessions_begin_read_only,
      a_wrong_role_that_is_known_demands_resolutions_with_growing_pauses,
      a_lone_standby_is_used_as_fast_as_a_primary_unless_a_login_refuses_it,
      probes_tell_roles_before_any_login, a_login_that_began_after_the_probe_knows_better,
      a_replica_beyond_the_lag_limit_gets_no_slots_until_it_catches_up,
      a_replica_near_the_lag_limit_does_not_come_and_go,
      each_limit_is_exceeded_until_four_fifths_of_it,
      a_replica_without_a_fresh_sample_counts_as_beyond_the_lag_limit,
      three_unanswered_probes_set_a_backend_offline_unless_a_login_succeeds,
      a_backend_of_another_system_is_refused,
      lag_is_the_age_of_the_oldest_position_that_was_not_replayed,
      a_replica_that_was_behind_is_behind_when_another_one_is_promoted)
