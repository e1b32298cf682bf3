/* fleet_arbiter_test.c - what an arbiter changes: which primary is elected, which replica is read
 * from. */
#include "fleet/backoff.h"
#include "fleet/fleet.h"
#include "primary_world.h"

static void confirm(struct primary_candidate *claim, int64_t said)
{
    claim->word = PRIMARY_CONFIRMED;
    claim->said = at(said);
    claim->denials = 0;
}

static void deny(struct primary_candidate *claim, int64_t said)
{
    claim->word = PRIMARY_DENIED;
    claim->said = at(said);
    claim->denials += 1;
}

TEST(of_two_on_one_line_the_one_that_is_confirmed_is_elected)
{
    for (uint64_t leader = 1; leader <= 2; leader++) {
        struct primary primary = {0};
        struct primary_candidate all[] = {claimant(1, 2, 10), claimant(2, 2, 10), replica(3, 10)};
        ck_assert_int_eq(settle(&primary, all, 3, 20), PRIMARY_CONTESTED);
        confirm(&all[leader - 1], 30);
        ck_assert_int_eq(settle(&primary, all, 3, 40), PRIMARY_ELECTED);
        ck_assert_uint_eq(primary.backend, leader);
        deny(&all[2 - leader], 50);
        ck_assert_int_eq(settle(&primary, all, 3, 60), PRIMARY_ELECTED);
        ck_assert_uint_eq(primary.backend, leader);
    }
}
END_TEST

TEST(a_second_primary_takes_nothing_from_the_one_that_is_confirmed)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 2, 10), replica(2, 10)};
    confirm(&all[0], 10);
    (void)settle(&primary, all, 2, 20);
    uint64_t fences = primary.fence;
    all[1] = claimant(2, 2, 30);
    ck_assert_int_eq(settle(&primary, all, 2, 40), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 1);
    ck_assert_uint_eq(primary.fence, fences);
    ck_assert(primary_replaced(&primary, &all[1]));
    /* An old confirmation decides nothing. */
    ck_assert_int_eq(settle(&primary, all, 2, 3020), PRIMARY_CONTESTED);
}
END_TEST

TEST(both_or_none_confirmed_is_contested)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 2, 10), claimant(2, 2, 10)};
    confirm(&all[0], 10);
    confirm(&all[1], 10);
    ck_assert_int_eq(settle(&primary, all, 2, 20), PRIMARY_CONTESTED);
    deny(&all[0], 30);
    all[1].word = PRIMARY_UNSAID;
    ck_assert_int_eq(settle(&primary, all, 2, 40), PRIMARY_CONTESTED);
    deny(&all[1], 50);
    ck_assert_int_eq(settle(&primary, all, 2, 60), PRIMARY_NONE);
    ck_assert_uint_eq(primary.epoch, 0);
}
END_TEST

TEST(one_that_is_denied_is_not_elected_and_nothing_is_granted_by_roles)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 2, 10), replica(2, 10)};
    deny(&all[0], 10);
    ck_assert_int_eq(settle(&primary, all, 2, 20), PRIMARY_NONE);
    ck_assert(primary_replaced(&primary, &all[0]));
    confirm(&all[0], 30);
    ck_assert_int_eq(settle(&primary, all, 2, 40), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 1);
}
END_TEST

TEST(the_elected_one_is_given_up_after_three_denials_in_a_row)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 2, 10), replica(2, 10)};
    confirm(&all[0], 10);
    (void)settle(&primary, all, 2, 20);
    for (uint32_t i = 1; i < PRIMARY_DENIALS_MAX; i++) {
        deny(&all[0], 30);
        ck_assert_int_eq(settle(&primary, all, 2, 40), PRIMARY_ELECTED);
    }
    confirm(&all[0], 50);
    ck_assert_int_eq(settle(&primary, all, 2, 60), PRIMARY_ELECTED);
    for (uint32_t i = 0; i < PRIMARY_DENIALS_MAX; i++)
        deny(&all[0], 70);
    ck_assert_int_eq(settle(&primary, all, 2, 80), PRIMARY_NONE);
    /* The arbiter's silence gives it nothing back. */
    all[0].sample.asked = at(60000);
    ck_assert_int_eq(settle(&primary, all, 2, 60010), PRIMARY_NONE);
}
END_TEST

TEST(a_promotion_that_is_denied_takes_nothing_from_the_elected_one)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 1, 10), replica(2, 10)};
    confirm(&all[0], 10);
    (void)settle(&primary, all, 2, 20);
    all[1] = claimant(2, 2, 30);
    deny(&all[1], 30);
    ck_assert_int_eq(settle(&primary, all, 2, 40), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 1);
    ck_assert_uint_eq(primary.line, 1);
    confirm(&all[1], 50);
    ck_assert_int_eq(settle(&primary, all, 2, 60), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 2);
}
END_TEST

TEST(a_denied_one_on_a_higher_line_disputes_one_that_is_not_confirmed)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 2, 10), claimant(2, 3, 10)};
    deny(&all[1], 10);
    ck_assert_int_eq(settle(&primary, all, 2, 20), PRIMARY_CONTESTED);
    confirm(&all[0], 30);
    ck_assert_int_eq(settle(&primary, all, 2, 40), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 1);
}
END_TEST

TEST(a_higher_line_wins_without_a_word_of_the_arbiter)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 1, 10), replica(2, 10)};
    confirm(&all[0], 10);
    (void)settle(&primary, all, 2, 20);
    all[1] = claimant(2, 2, 30);
    ck_assert_int_eq(settle(&primary, all, 2, 40), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 2);
}
END_TEST

TEST(the_operators_choice_takes_precedence)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 2, 10), claimant(2, 2, 10)};
    confirm(&all[0], 10);
    for (uint32_t i = 0; i < PRIMARY_DENIALS_MAX; i++)
        deny(&all[1], 10);
    ck_assert_int_eq(settle(&primary, all, 2, 20), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 1);
    ck_assert_int_eq(primary_choose(&primary, &all[1], FRESH, at(30)), PRIMARY_CHOSEN);
    ck_assert_int_eq(settle(&primary, all, 2, 40), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 2);
}
END_TEST

TEST(two_confirmed_addresses_of_one_server_are_one)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 2, 10), claimant(2, 2, 10), claimant(3, 2, 10)};
    all[0].sample.instance = all[1].sample.instance = 5;
    confirm(&all[0], 10);
    confirm(&all[1], 10);
    ck_assert_int_eq(settle(&primary, all, 3, 20), PRIMARY_ELECTED);
    ck_assert_uint_le(primary.backend, 2);
}
END_TEST

/* --- random claims ---------------------------------------------------------------------------- */

#define SERVERS 4u

static struct primary_candidate claim_of(struct fleet_random *random, uint64_t backend)
{
    struct primary_candidate it =
        claimant(backend, 1 + (uint32_t)fleet_random_below(random, 2), 10000);
    it.sample.replica = fleet_random_below(random, 3) == 0;
    it.word = (enum primary_word)fleet_random_below(random, 3);
    it.said = at(fleet_random_below(random, 4) == 0 ? 100 : 10000);
    it.denials = it.word == PRIMARY_DENIED ? (uint32_t)fleet_random_below(random, 5) + 1 : 0;
    return it;
}

/* Counts primaries on this line that have been confirmed of late. */
static uint32_t confirmed_on(const struct primary_candidate *all, uint32_t line)
{
    uint32_t count = 0;
    for (size_t i = 0; i < SERVERS; i++)
        count += !all[i].sample.replica && all[i].sample.line == line &&
                 all[i].word == PRIMARY_CONFIRMED && all[i].said.us == at(10000).us;
    return count;
}

static void check_elected(const struct primary_candidate *all, const struct primary_candidate *who,
                          uint64_t before)
{
    ck_assert(!who->sample.replica);
    ck_assert(who->word != PRIMARY_DENIED ||
              (who->backend == before && who->denials < PRIMARY_DENIALS_MAX));
    bool confirmed = who->word == PRIMARY_CONFIRMED && who->said.us == at(10000).us;
    for (size_t i = 0; i < SERVERS; i++) {
        if (all[i].sample.replica || &all[i] == who || all[i].sample.line < who->sample.line)
            continue;
        /* Another claim, not lower: it is denied, or this one is confirmed alone. */
        ck_assert(confirmed || all[i].word == PRIMARY_DENIED);
        ck_assert(all[i].word == PRIMARY_DENIED || all[i].sample.line == who->sample.line);
    }
    ck_assert_uint_le(confirmed ? confirmed_on(all, who->sample.line) : 0, 1);
}

TEST(whatever_is_said_the_elected_one_is_not_denied_and_alone)
{
    struct fleet_random random = {7};
    uint32_t elected = 0, contested = 0, none = 0;
    for (int turn = 0; turn < 20000; turn++) {
        struct primary primary = {0};
        struct primary_candidate all[SERVERS];
        for (int round = 0; round < 3; round++) {
            uint64_t before = primary.backend;
            for (size_t i = 0; i < SERVERS; i++)
                all[i] = claim_of(&random, i + 1);
            enum primary_state state = settle(&primary, all, SERVERS, 10010);
            elected += state == PRIMARY_ELECTED;
            contested += state == PRIMARY_CONTESTED;
            none += state == PRIMARY_NONE;
            if (state == PRIMARY_ELECTED)
                check_elected(all, &all[primary.backend - 1], before);
        }
    }
    ck_assert_uint_gt(elected, 10000);
    ck_assert_uint_gt(contested, 1000);
    ck_assert_uint_gt(none, 1000);
}
END_TEST

/* --- slots ------------------------------------------------------------------------------------ */

static struct service *service_of_two(void)
{
    static const struct fleet_limits limits = {.logins_max = 4,
                                               .connections_max = 100,
                                               .retry_min = {100000},
                                               .retry_max = {1000000},
                                               .sample_fresh = {3000000},
                                               .zone_min = 1};
    const char *hosts[] = {"a", "b"};
    struct address addresses[2];
    struct service *service;
    ck_assert(address_parse_number("127.0.0.1", 5000, &addresses[0]));
    ck_assert(address_parse_number("127.0.0.1", 5001, &addresses[1]));
    ck_assert_int_eq(service_new("main", &limits, &service), OK);
    ck_assert_int_eq(service_set_addresses(service, addresses, hosts, 2), OK);
    return service;
}

static void sample_at(struct service *service, uint64_t backend, bool is_replica, int64_t asked)
{
    struct backend_sample sample = {.asked = at(asked),
                                    .answered = at(asked),
                                    .replica = is_replica,
                                    .system = SYSTEM,
                                    .line = 1,
                                    .position = 100};
    backend_sampled(service_backend(service, backend), &sample, at(asked));
    (void)service_judge(service, at(asked));
}

static bool rule(struct service *service, uint64_t backend, enum ruling_question question, bool yes)
{
    struct backend_ruling ruling = {.asked = at(10), .question = question, .yes = yes};
    backend_ruled(service_backend(service, backend), &ruling, at(10));
    return service_judge(service, at(10));
}

static uint64_t granted(struct slots *slots)
{
    struct slot *slot = NULL;
    deadline again;
    if (slots_ask(slots, at(20), &slot, &again) != OK)
        return 0;
    uint64_t where = backend_id(slot_backend(slot));
    slot_connected(slot, backend_role(slot_backend(slot)), at(20));
    slot_closed(&slot, SLOT_ENDED, at(20));
    return where;
}

TEST(a_replica_that_the_arbiter_keeps_from_reads_gets_none)
{
    struct service *service = service_of_two();
    struct slots *reads, *preferring, *writes;
    struct slot *slot;
    deadline again;
    ck_assert_int_eq(slots_new(service, 10, &reads), OK);
    ck_assert_int_eq(slots_new(service, 10, &preferring), OK);
    ck_assert_int_eq(slots_new(service, 10, &writes), OK);
    slots_set_target(reads, TARGET_STANDBY);
    slots_set_target(preferring, TARGET_PREFER_STANDBY);
    sample_at(service, 1, false, 0);
    sample_at(service, 2, true, 0);
    ck_assert_int_eq(slots_ask(reads, at(5), &slot, &again), OK);
    slot_connected(slot, ROLE_REPLICA, at(5));
    ck_assert(!slot_unwanted(slot));
    ck_assert_str_eq(backend_host(slot_backend(slot)), "b");

    ck_assert(rule(service, 2, RULING_READS, false));
    ck_assert(slot_unwanted(slot));
    slot_closed(&slot, SLOT_ENDED, at(10));
    ck_assert_uint_eq(granted(reads), 0);
    ck_assert_uint_eq(granted(preferring), 1);
    ck_assert_uint_eq(granted(writes), 1);
    ck_assert(!rule(service, 2, RULING_READS, false)); /* no news */
    backend_unruled(service_backend(service, 2), at(10));
    ck_assert(!service_judge(service, at(10)));
    ck_assert_uint_eq(granted(reads), 0); /* silence changes nothing */
    ck_assert_str_eq(backend_ruling_text(service_backend(service, 2)), "no_reads, silent");

    ck_assert(rule(service, 2, RULING_READS, true));
    ck_assert_uint_eq(granted(reads), 2);
    ck_assert_uint_eq(granted(preferring), 2);
    slots_free(&reads);
    slots_free(&preferring);
    slots_free(&writes);
    service_free(&service);
}
END_TEST

TEST(a_ruling_ends_with_the_role_that_it_is_about)
{
    struct service *service = service_of_two();
    struct backend *second = service_backend(service, 2);
    struct primary_candidate claim;
    sample_at(service, 1, false, 0);
    sample_at(service, 2, true, 0);
    ck_assert_ptr_null(backend_ruling_text(second));
    (void)rule(service, 2, RULING_READS, false);
    ck_assert_str_eq(backend_ruling_text(second), "no_reads");
    sample_at(service, 2, false, 20);
    ck_assert_ptr_null(backend_ruling_text(second));
    ck_assert(backend_claim(second, &claim));
    ck_assert_int_eq(claim.word, PRIMARY_UNSAID);

    for (uint32_t i = 1; i <= 2; i++) {
        (void)rule(service, 2, RULING_PRIMARY, false);
        ck_assert(backend_claim(second, &claim));
        ck_assert_int_eq(claim.word, PRIMARY_DENIED);
        ck_assert_uint_eq(claim.denials, i);
    }
    (void)rule(service, 2, RULING_PRIMARY, true);
    ck_assert(backend_claim(second, &claim));
    ck_assert_int_eq(claim.word, PRIMARY_CONFIRMED);
    ck_assert_uint_eq(claim.denials, 0);
    (void)rule(service, 2, RULING_PRIMARY, false);
    sample_at(service, 2, true, 30);
    ck_assert(backend_claim(second, &claim));
    ck_assert_int_eq(claim.word, PRIMARY_UNSAID);
    ck_assert_uint_eq(claim.denials, 0);

    (void)rule(service, 2, RULING_READS, false);
    service_forget_rulings(service);
    ck_assert(service_judge(service, at(40)));
    ck_assert_ptr_null(backend_ruling_text(second));
    service_free(&service);
}
END_TEST

TESTS("fleet_arbiter", of_two_on_one_line_the_one_that_is_confirmed_is_elected,
      a_second_primary_takes_nothing_from_the_one_that_is_confirmed,
      both_or_none_confirmed_is_contested,
      one_that_is_denied_is_not_elected_and_nothing_is_granted_by_roles,
      the_elected_one_is_given_up_after_three_denials_in_a_row,
      a_promotion_that_is_denied_takes_nothing_from_the_elected_one,
      a_denied_one_on_a_higher_line_disputes_one_that_is_not_confirmed,
      a_higher_line_wins_without_a_word_of_the_arbiter, the_operators_choice_takes_precedence,
      two_confirmed_addresses_of_one_server_are_one,
      whatever_is_said_the_elected_one_is_not_denied_and_alone,
      a_replica_that_the_arbiter_keeps_from_reads_gets_none,
      a_ruling_ends_with_the_role_that_it_is_about)
