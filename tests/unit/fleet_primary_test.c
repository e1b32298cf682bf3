#include "fleet/backoff.h"
#include "fleet/fleet.h"
#include "primary_world.h"

#define SERVERS 4u

TEST(the_only_primary_is_elected_when_all_have_been_asked)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 1, 10), {.backend = 2}};
    ck_assert_int_eq(settle(&primary, all, 2, 20), PRIMARY_UNPROVEN);
    all[1] = replica(2, 25);
    ck_assert_int_eq(settle(&primary, all, 2, 30), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 1);
    ck_assert_uint_eq(primary.epoch, 1);
}
END_TEST

TEST(a_backend_that_does_not_answer_delays_the_first_election_for_a_while_only)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 1, 2000), {.backend = 2}};
    ck_assert_int_eq(settle(&primary, all, 2, 2900), PRIMARY_UNPROVEN);
    ck_assert_int_eq(settle(&primary, all, 2, 3000), PRIMARY_ELECTED);
}
END_TEST

TEST(replicas_alone_elect_nobody)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {replica(1, 10), replica(2, 10)};
    ck_assert_int_eq(settle(&primary, all, 2, 20), PRIMARY_UNPROVEN);
    ck_assert_uint_eq(primary.fence, 0);
}
END_TEST

TEST(the_higher_line_wins_and_the_old_one_never_comes_back)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 1, 10), replica(2, 10)};
    (void)settle(&primary, all, 2, 20);
    all[1] = claimant(2, 2, 30);
    ck_assert_int_eq(judge(&primary, all, 2, 40), PRIMARY_FENCE);
    ck_assert_int_eq(primary.state, PRIMARY_FENCING);
    ck_assert_uint_eq(primary.backend, 2);
    ck_assert_int_eq(primary_await(&primary, 0), PRIMARY_SETTLED);
    ck_assert(primary_replaced(&primary, &all[0]));
    ck_assert(!primary_replaced(&primary, &all[1]));
    all[0] = claimant(1, 1, 50);
    ck_assert_int_eq(settle(&primary, all, 2, 60), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 2);
    all[1] = replica(2, 70); /* the new one is demoted: the old line does not return */
    ck_assert_int_eq(settle(&primary, all, 2, 80), PRIMARY_NONE);
    ck_assert_uint_eq(primary.backend, 0);
}
END_TEST

TEST(nothing_is_granted_before_the_last_acknowledgement)
{
    struct primary primary = {0};
    const struct primary_candidate all[] = {claimant(1, 1, 10), claimant(2, 2, 10)};
    ck_assert_int_eq(judge(&primary, all, 2, 20), PRIMARY_FENCE);
    ck_assert_int_eq(primary_await(&primary, 2), PRIMARY_GOES_ON);
    ck_assert_int_eq(primary_acknowledged(&primary, primary.fence), PRIMARY_GOES_ON);
    ck_assert_int_eq(primary.state, PRIMARY_FENCING);
    ck_assert_int_eq(primary_acknowledged(&primary, primary.fence), PRIMARY_SETTLED);
    ck_assert_int_eq(primary.state, PRIMARY_ELECTED);
}
END_TEST

TEST(an_acknowledgement_of_an_earlier_fence_counts_for_nothing)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 1, 10), replica(2, 10)};
    ck_assert_int_eq(judge(&primary, all, 2, 20), PRIMARY_FENCE);
    ck_assert_int_eq(primary_await(&primary, 1), PRIMARY_GOES_ON);
    uint64_t first = primary.fence;
    all[1] = claimant(2, 2, 30);
    ck_assert_int_eq(judge(&primary, all, 2, 40), PRIMARY_FENCE);
    ck_assert_int_eq(primary_await(&primary, 1), PRIMARY_GOES_ON);
    ck_assert_int_eq(primary_acknowledged(&primary, first), PRIMARY_GOES_ON);
    ck_assert_int_eq(primary.state, PRIMARY_FENCING);
    ck_assert_int_eq(primary_acknowledged(&primary, primary.fence), PRIMARY_SETTLED);
    ck_assert_uint_eq(primary.backend, 2);
    ck_assert_uint_eq(primary.epoch, 1);
}
END_TEST

TEST(an_old_sample_elects_nobody_and_takes_nothing_from_the_elected_one)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 1, 10), replica(2, 10)};
    (void)settle(&primary, all, 2, 20);
    ck_assert_int_eq(settle(&primary, all, 2, 60000), PRIMARY_ELECTED);
    all[1] = claimant(2, 2, 30);
    ck_assert_int_eq(settle(&primary, all, 2, 60000), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 1);
}
END_TEST

TEST(equal_lines_are_contested_until_one_is_a_replica)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 1, 10), replica(2, 10), replica(3, 10)};
    (void)settle(&primary, all, 3, 20);
    all[1] = claimant(2, 2, 30);
    all[2] = claimant(3, 2, 30);
    ck_assert_int_eq(settle(&primary, all, 3, 40), PRIMARY_CONTESTED);
    ck_assert_uint_eq(primary.backend, 0);
    /* Neither time nor silence decides. */
    all[2] = claimant(3, 2, 60000);
    ck_assert_int_eq(settle(&primary, all, 3, 60010), PRIMARY_CONTESTED);
    all[1] = replica(2, 60020);
    ck_assert_int_eq(settle(&primary, all, 3, 60030), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 3);
}
END_TEST

TEST(a_second_primary_on_the_line_of_the_elected_one_stops_the_writes)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 2, 10), replica(2, 10)};
    (void)settle(&primary, all, 2, 20);
    all[1] = claimant(2, 2, 30);
    ck_assert_int_eq(settle(&primary, all, 2, 40), PRIMARY_CONTESTED);
    all[1] = claimant(2, 3, 50);
    ck_assert_int_eq(settle(&primary, all, 2, 60), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 2);
}
END_TEST

TEST(the_operator_decides_a_contest_for_its_line_only)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 2, 10), claimant(2, 2, 10), replica(3, 10)};
    ck_assert_int_eq(settle(&primary, all, 3, 20), PRIMARY_CONTESTED);
    ck_assert_int_eq(primary_choose(&primary, &all[2], FRESH, at(30)), PRIMARY_NOT_PRIMARY);
    ck_assert_int_eq(primary_choose(&primary, &all[1], FRESH, at(9000)), PRIMARY_NOT_PRIMARY);
    ck_assert_int_eq(primary_choose(&primary, &all[1], FRESH, at(30)), PRIMARY_CHOSEN);
    ck_assert_int_eq(settle(&primary, all, 3, 40), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 2);
    all[0] = claimant(1, 3, 50);
    ck_assert_int_eq(settle(&primary, all, 3, 60), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 1);
    ck_assert_int_eq(primary_choose(&primary, &all[1], FRESH, at(70)), PRIMARY_BEHIND);
}
END_TEST

TEST(a_choice_that_has_left_the_service_decides_nothing)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 2, 10), claimant(2, 2, 10)};
    (void)settle(&primary, all, 2, 20);
    ck_assert_int_eq(primary_choose(&primary, &all[1], FRESH, at(30)), PRIMARY_CHOSEN);
    ck_assert_int_eq(settle(&primary, all, 2, 40), PRIMARY_ELECTED);
    all[1] = replica(3, 50);
    ck_assert_int_eq(settle(&primary, all, 2, 60), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 1);
}
END_TEST

TEST(two_addresses_of_one_server_contest_nothing)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 1, 10), claimant(2, 1, 10)};
    all[0].sample.instance = all[1].sample.instance = 5;
    ck_assert_int_eq(settle(&primary, all, 2, 20), PRIMARY_ELECTED);
    uint64_t first = primary.backend;
    const struct primary_candidate swapped[] = {all[1], all[0]};
    ck_assert_int_eq(settle(&primary, swapped, 2, 30), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, first);
    all[1].sample.instance = 6;
    ck_assert_int_eq(settle(&primary, all, 2, 40), PRIMARY_CONTESTED);
}
END_TEST

TEST(a_backend_of_another_system_is_foreign)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 1, 10), replica(2, 10)};
    (void)settle(&primary, all, 2, 20);
    all[1] = claimant(2, 9, 30);
    all[1].sample.system = SYSTEM + 1;
    ck_assert_int_eq(settle(&primary, all, 2, 40), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 1);
    ck_assert_int_eq(primary_choose(&primary, &all[1], FRESH, at(50)), PRIMARY_CHOSEN);
    ck_assert_int_eq(settle(&primary, all, 2, 60), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 2);
}
END_TEST

TEST(two_systems_at_the_start_are_contested_in_any_order)
{
    struct primary_candidate all[] = {claimant(1, 2, 10), claimant(2, 1, 10), claimant(3, 3, 10)};
    all[1].sample.system = SYSTEM + 1;
    for (int turn = 0; turn < 3; turn++) {
        struct primary primary = {0};
        ck_assert_int_eq(settle(&primary, all, 3, 20), PRIMARY_CONTESTED);
        struct primary_candidate first = all[0];
        memmove(all, all + 1, 2 * sizeof(first));
        all[2] = first;
    }
}
END_TEST

TEST(an_elected_one_that_leaves_the_service_stays_until_another_is_known)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 1, 10), replica(2, 10)};
    (void)settle(&primary, all, 2, 20);
    ck_assert_int_eq(judge(&primary, &all[1], 1, 40), PRIMARY_GOES_ON);
    ck_assert_int_eq(primary.state, PRIMARY_ELECTED);
    all[1] = claimant(2, 1, 50); /* the same server at another address */
    ck_assert_int_eq(settle(&primary, &all[1], 1, 60), PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.backend, 2);
}
END_TEST

TEST(an_address_that_moves_to_a_higher_line_is_fenced_once)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 1, 10)};
    (void)settle(&primary, all, 1, 20);
    all[0] = claimant(1, 2, 30);
    all[0].moved = at(25);
    ck_assert_int_eq(judge(&primary, all, 1, 40), PRIMARY_FENCE);
    ck_assert_uint_eq(primary.backend, 1);
    ck_assert_int_eq(primary_await(&primary, 1), PRIMARY_GOES_ON);
    ck_assert_int_eq(judge(&primary, all, 1, 50), PRIMARY_GOES_ON);
    ck_assert_int_eq(primary_acknowledged(&primary, primary.fence), PRIMARY_SETTLED);
    ck_assert_int_eq(primary.state, PRIMARY_ELECTED);
    ck_assert_uint_eq(primary.epoch, 2);
    ck_assert_int_eq(judge(&primary, all, 1, 60), PRIMARY_GOES_ON);
    all[0] = claimant(1, 3, 70); /* promoted by its own restart, or once more */
    all[0].moved = at(25);
    ck_assert_int_eq(judge(&primary, all, 1, 80), PRIMARY_GOES_ON);
    ck_assert_uint_eq(primary.line, 3);
}
END_TEST

TEST(an_address_that_moves_during_its_fence_is_fenced_again)
{
    struct primary primary = {0};
    struct primary_candidate all[] = {claimant(1, 1, 10)};
    ck_assert_int_eq(judge(&primary, all, 1, 20), PRIMARY_FENCE);
    ck_assert_int_eq(primary_await(&primary, 1), PRIMARY_GOES_ON);
    uint64_t first = primary.fence;
    all[0] = claimant(1, 2, 30);
    all[0].moved = at(25);
    ck_assert_int_eq(judge(&primary, all, 1, 40), PRIMARY_FENCE);
    ck_assert_int_eq(primary_await(&primary, 1), PRIMARY_GOES_ON);
    ck_assert_int_eq(primary_acknowledged(&primary, first), PRIMARY_GOES_ON);
    ck_assert_int_eq(primary_acknowledged(&primary, primary.fence), PRIMARY_SETTLED);
}
END_TEST

/* --- slots ------------------------------------------------------------------------------------ */

static struct service *service_with(uint32_t backends)
{
    static const struct fleet_limits limits = {.logins_max = 4,
                                               .connections_max = 100,
                                               .retry_min = {100000},
                                               .retry_max = {1000000},
                                               .zone_min = 1};
    const char *hosts[SERVERS];
    struct address addresses[SERVERS];
    struct service *service;
    for (uint32_t i = 0; i < backends; i++) {
        hosts[i] = "server";
        ck_assert(address_parse_number("127.0.0.1", (uint16_t)(5000 + i), &addresses[i]));
    }
    ck_assert_int_eq(service_new("main", &limits, &service), OK);
    ck_assert_int_eq(service_set_addresses(service, addresses, hosts, backends), OK);
    return service;
}

static uint64_t granted(struct slots *slots, fault expected)
{
    struct slot *slot = NULL;
    deadline again;
    ck_assert_int_eq(slots_ask(slots, at(0), &slot, &again), expected);
    if (slot == NULL)
        return 0;
    uint64_t where = backend_id(slot_backend(slot));
    slot_closed(&slot, SLOT_ENDED, at(0));
    return where;
}

/* What one address said, and how many of the slots asked for at 10, 30, 50 ms are then from before
 * it moved. */
struct answer {
    int64_t reached;
    uint64_t instance;
    uint32_t line;
    bool replica;
    uint32_t before;
};

static void play(const struct answer *answers, size_t count)
{
    struct service *service = service_with(1);
    struct backend *backend = service_next(service, NULL);
    struct slots *slots;
    struct slot *all[3];
    deadline again;
    ck_assert_int_eq(slots_new(service, 10, &slots), OK);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(slots_ask(slots, at(10 + 20 * (int64_t)i), &all[i], &again), OK);
        slot_connected(all[i], ROLE_PRIMARY, at(20 + 20 * (int64_t)i));
    }
    ck_assert_int_eq(backend_latest_login(backend).us, at(60).us);
    uint32_t known = 0;
    for (size_t i = 0; i < count; i++) {
        const struct answer *it = &answers[i];
        backend_sampled(backend,
                        &(struct backend_sample){.asked = at(100 + (int64_t)i),
                                                 .reached = at(it->reached),
                                                 .instance = it->instance,
                                                 .line = it->line,
                                                 .replica = it->replica},
                        at(101 + (int64_t)i));
        uint32_t before = 0;
        for (size_t at_slot = 0; at_slot < 3; at_slot++)
            before += slot_before_move(all[at_slot]);
        ck_assert_msg(before == it->before, "answer %zu: %u, not %u", i, before, it->before);
        ck_assert(backend_take_move(backend) == (before != known));
        known = before;
    }
    for (size_t i = 0; i < 3; i++)
        slot_closed(&all[i], SLOT_ENDED, at(200));
    slots_free(&slots);
    service_free(&service);
}

TEST(another_server_on_a_higher_line_is_a_move_and_a_restart_is_none)
{
    static const struct answer moves[] = {{5, 1, 1, false, 0}, {40, 2, 2, false, 2}};
    static const struct answer restarts[] = {
        {5, 1, 1, false, 0}, {40, 2, 1, false, 0}, {60, 3, 1, false, 0}};
    static const struct answer unknown[] = {{5, 0, 1, false, 0}, {40, 2, 2, false, 0}};
    static const struct answer promoted[] = {{5, 1, 1, true, 0}, {5, 1, 2, false, 0}};
    /* The old primary's address leads to a standby, which is promoted afterwards. */
    static const struct answer then[] = {
        {5, 1, 1, false, 0}, {20, 2, 1, true, 0}, {60, 2, 2, false, 1}};
    /* A standby is rewound and follows the new primary. */
    static const struct answer follows[] = {{5, 1, 1, false, 0}, {40, 2, 2, true, 0}};
    play(moves, ARRAY_SIZE(moves));
    play(restarts, ARRAY_SIZE(restarts));
    play(unknown, ARRAY_SIZE(unknown));
    play(promoted, ARRAY_SIZE(promoted));
    play(then, ARRAY_SIZE(then));
    play(follows, ARRAY_SIZE(follows));
}
END_TEST

TEST(slots_of_pools_that_write_are_granted_at_the_primary_only)
{
    struct service *service = service_with(3);
    struct slots *writes, *reads;
    ck_assert_int_eq(slots_new(service, 10, &writes), OK);
    ck_assert_int_eq(slots_new(service, 10, &reads), OK);
    slots_set_target(reads, TARGET_ANY);
    ck_assert_uint_eq(granted(writes, OK), 1);
    for (uint64_t primary = 1; primary <= 3; primary++) {
        service_set_primary(service, primary, at(0));
        ck_assert_uint_eq(granted(writes, OK), primary);
        ck_assert(!slots_lack_primary(writes));
    }
    service_set_primary(service, 0, at(0));
    ck_assert_uint_eq(granted(writes, FAULT_AGAIN), 0);
    ck_assert(slots_lack_primary(writes) && !slots_lack_primary(reads));
    for (uint64_t i = 1; i <= 2; i++)
        backend_set_replaced(service_backend(service, i), true);
    for (int i = 0; i < 10; i++)
        ck_assert_uint_eq(granted(reads, OK), 3);
    slots_free(&writes);
    slots_free(&reads);
    service_free(&service);
}
END_TEST

TEST(an_elected_backend_that_logins_found_to_be_a_replica_or_dead_is_used_at_once)
{
    struct service *service = service_with(2);
    struct slots *writes;
    struct slot *slot;
    deadline again;
    ck_assert_int_eq(slots_new(service, 10, &writes), OK);
    for (int i = 0; i < 2; i++) {
        service_set_primary(service, 2, at(i));
        ck_assert_int_eq(slots_ask(writes, at(i), &slot, &again), OK);
        ck_assert_uint_eq(backend_id(slot_backend(slot)), 2);
        slot_failed(&slot, i == 0 ? SLOT_WRONG_ROLE : SLOT_UNREACHABLE, at(i));
        ck_assert_int_eq(slots_ask(writes, at(i), &slot, &again), FAULT_AGAIN);
        service_set_primary(service, 2, at(i));
        ck_assert_uint_eq(granted(writes, OK), 2);
    }
    slots_free(&writes);
    service_free(&service);
}
END_TEST

/* --- random worlds: servers are promoted, demoted, cut off; mail takes its time --------------- */

#define RELAYS 3
#define MAILS  64

struct letter {
    uint64_t fence; /* 0: a grant */
    uint64_t backend;
    uint64_t epoch;
};

struct model_relay {
    struct letter mails[MAILS]; /* from the router, in order */
    size_t sent, taken;
    uint64_t epochs[SERVERS + 1]; /* of its connection to each server; 0: none */
    uint64_t acknowledges;        /* a fence; 0: none */
};

struct model {
    struct fleet_random random;
    struct primary primary;
    struct primary_candidate all[SERVERS];
    struct backend_sample truth[SERVERS];
    bool cut[SERVERS];
    struct model_relay relays[RELAYS];
    int64_t now;
    uint32_t highest;  /* line of any server */
    uint32_t line;     /* of the latest elected one */
    uint64_t heard;    /* the server that got the latest statement */
    uint64_t heard_in; /* the epoch of its connection */
    uint64_t elections;
    uint64_t contests;
};

static uint64_t below(struct model *model, uint64_t bound)
{
    return fleet_random_below(&model->random, bound);
}

static void relay_post(struct model_relay *relay, struct letter letter)
{
    ck_assert_uint_lt(relay->sent - relay->taken, MAILS);
    relay->mails[relay->sent++ % MAILS] = letter;
}

static void model_settled(struct model *model)
{
    const struct primary *primary = &model->primary;
    model->contests += primary->state == PRIMARY_CONTESTED;
    if (primary->state != PRIMARY_ELECTED)
        return;
    ck_assert_uint_ge(primary->line, model->line);
    model->line = primary->line;
    model->elections += 1;
}

static void model_judge(struct model *model)
{
    struct primary *primary = &model->primary;
    enum primary_order order = judge(primary, model->all, SERVERS, model->now);
    if (order != PRIMARY_FENCE)
        return;
    if (primary->backend != 0) { /* elected by proof only */
        const struct primary_candidate *winner = &model->all[primary->backend - 1];
        ck_assert(winner->sampled && !winner->sample.replica);
        ck_assert_int_le(at(model->now).us - winner->sample.asked.us, FRESH.us);
    }
    for (int i = 0; i < RELAYS; i++)
        relay_post(&model->relays[i], (struct letter){primary->fence, primary->backend, 0});
    if (primary_await(primary, RELAYS) == PRIMARY_SETTLED)
        model_settled(model);
}

static void model_probe(struct model *model)
{
    size_t i = below(model, SERVERS);
    model->all[i].tried = true;
    if (!model->cut[i]) {
        model->all[i].sampled = true;
        model->all[i].sample = model->truth[i];
        model->all[i].sample.asked = at(model->now);
    }
    model_judge(model);
}

static void model_harm(struct model *model)
{
    size_t i = below(model, SERVERS);
    struct backend_sample *server = &model->truth[i];
    switch (below(model, 4)) {
    case 0: /* promoted; of two in short order both may get the same line */
        if (!server->replica)
            break;
        server->replica = false;
        server->line = below(model, 4) == 0 ? model->highest : model->highest + 1;
        model->highest = server->line > model->highest ? server->line : model->highest;
        break;
    case 1: /* rewound */
        server->replica = true;
        break;
    default:
        model->cut[i] = !model->cut[i];
    }
}

static void model_relay_works(struct model *model, struct model_relay *relay)
{
    if (relay->taken == relay->sent)
        return;
    struct letter letter = relay->mails[relay->taken++ % MAILS];
    if (letter.fence == 0) {
        relay->epochs[letter.backend] = letter.epoch;
        return;
    }
    for (uint64_t i = 1; i <= SERVERS; i++)
        if (i != letter.backend)
            relay->epochs[i] = 0;
    if (primary_acknowledged(&model->primary, letter.fence) == PRIMARY_SETTLED)
        model_settled(model);
}

static void model_grant(struct model *model, struct model_relay *relay)
{
    const struct primary *primary = &model->primary;
    if (primary->state == PRIMARY_ELECTED && relay->sent - relay->taken < MAILS / 2)
        relay_post(relay, (struct letter){0, primary->backend, primary->epoch});
}

/* A client's statement goes out on a connection that the relay has. */
static void model_statement(struct model *model, const struct model_relay *relay)
{
    uint64_t i = 1 + below(model, SERVERS);
    uint64_t epoch = relay->epochs[i];
    if (epoch == 0)
        return;
    if (i != model->heard)
        ck_assert_uint_gt(epoch, model->heard_in);
    model->heard = i;
    model->heard_in = epoch > model->heard_in ? epoch : model->heard_in;
}

static void model_step(struct model *model)
{
    struct model_relay *relay = &model->relays[below(model, RELAYS)];
    model->now += (int64_t)below(model, 50);
    switch (below(model, 16)) {
    case 0:
        if (below(model, 8) == 0)
            model_harm(model);
        break;
    case 1:
        if (model->primary.state == PRIMARY_CONTESTED && below(model, 20) == 0)
            (void)!primary_choose(&model->primary, &model->all[below(model, SERVERS)], FRESH,
                                  at(model->now));
        break;
    case 2 ... 5:
        model_probe(model);
        break;
    case 6 ... 9:
        model_relay_works(model, relay);
        break;
    case 10 ... 11:
        model_grant(model, relay);
        break;
    default:
        model_statement(model, relay);
    }
}

/* Ends all harm with one server on the highest line: that one must be elected. */
static void model_calm(struct model *model)
{
    size_t best = below(model, SERVERS);
    for (size_t i = 0; i < SERVERS; i++) {
        model->cut[i] = false;
        model->truth[i].replica = i != best;
    }
    model->truth[best].line = model->highest + 1;
    for (int round = 0; round < 400; round++) {
        model->now += 10;
        model_probe(model);
        for (int i = 0; i < RELAYS; i++)
            model_relay_works(model, &model->relays[i]);
    }
    ck_assert_int_eq(model->primary.state, PRIMARY_ELECTED);
    ck_assert_uint_eq(model->primary.backend, best + 1);
}

TEST(in_random_worlds_no_statement_follows_one_to_a_later_primary)
{
    uint64_t elections = 0, contests = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct model model = {.random = {seed}, .highest = 1};
        for (size_t i = 0; i < SERVERS; i++) {
            model.all[i].backend = i + 1;
            model.truth[i] = (struct backend_sample){.system = SYSTEM, .line = 1, .replica = i > 0};
        }
        for (int step = 0; step < 4000; step++)
            model_step(&model);
        model_calm(&model);
        elections += model.elections;
        contests += model.contests;
    }
    ck_assert_uint_gt(elections, 1000);
    ck_assert_uint_gt(contests, 100);
}
END_TEST

TESTS("fleet_primary", the_only_primary_is_elected_when_all_have_been_asked,
      a_backend_that_does_not_answer_delays_the_first_election_for_a_while_only,
      replicas_alone_elect_nobody, the_higher_line_wins_and_the_old_one_never_comes_back,
      nothing_is_granted_before_the_last_acknowledgement,
      an_acknowledgement_of_an_earlier_fence_counts_for_nothing,
      an_old_sample_elects_nobody_and_takes_nothing_from_the_elected_one,
      equal_lines_are_contested_until_one_is_a_replica,
      a_second_primary_on_the_line_of_the_elected_one_stops_the_writes,
      the_operator_decides_a_contest_for_its_line_only,
      a_choice_that_has_left_the_service_decides_nothing,
      two_addresses_of_one_server_contest_nothing, a_backend_of_another_system_is_foreign,
      two_systems_at_the_start_are_contested_in_any_order,
      an_elected_one_that_leaves_the_service_stays_until_another_is_known,
      an_address_that_moves_to_a_higher_line_is_fenced_once,
      an_address_that_moves_during_its_fence_is_fenced_again,
      another_server_on_a_higher_line_is_a_move_and_a_restart_is_none,
      slots_of_pools_that_write_are_granted_at_the_primary_only,
      an_elected_backend_that_logins_found_to_be_a_replica_or_dead_is_used_at_once,
      in_random_worlds_no_statement_follows_one_to_a_later_primary)
