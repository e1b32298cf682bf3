#include "machine/sim/os_sim.h"
#include "pooler/move.h"
#include "sim_postgres.h"

#include <inttypes.h>

/*
 * The whole pooler in the simulated world: relays, router, a model of PostgreSQL, and clients that
 * ask, fail, cancel and vanish.  The model and the clients know what must not happen:
 *
 *   each query is answered once, in order, by its own answer, on a server with its client's
 * settings; no two clients are on one server within one transaction, or in one session; a pool has
 * never more servers than its size, all pools together never more than the backend allows; a cancel
 * request meets nobody who did not ask for it; clients that rest are moved from relay to relay all
 * the time, and none notices; at the end nothing is left, and the same seed gives
 * the same history.
 */

/* --- clients
 * ---------------------------------------------------------------------------------------------------
 */

/* Who is connected now: each login is somebody else. */
struct person {
    uint64_t chance;
    bool is_session;
    bool connected;
    uint32_t id;
    uint32_t number; /* of its last query */
    struct talk talk;
    uint32_t pid;
    struct wire_secret secret;
    char name[TEXT];
    char next_name[TEXT];
    bool has[2]; /* prepared: ASK, FAIL */
    bool failed; /* its last query */
};

/* The connection was lost; that may be. */
static fault person_lost(struct person *person, fault why)
{
    ck_assert_msg(sim.crashes, "client %u lost its connection: %s", person->id, fault_story(why));
    sim.lost += 1;
    return FAULT_CLOSED;
}

static fault person_read(struct person *person)
{
    do {
        fault read = talk_read(&person->talk);
        if (read != OK)
            return person_lost(person, read);
    } while (person->talk.frame.type == WIRE_PARAMETER_STATUS);
    return OK;
}

static void person_end(struct person *person)
{
    talk_end(&person->talk);
    person->connected = false;
}

static void person_keep_key(struct person *person, struct span body)
{
    struct wire_key key;
    ck_assert_int_eq(wire_read_backend_key(body, &key), OK);
    person->pid = key.pid;
    wire_secret_keep(&person->secret, key.secret);
}

static fault person_begin(struct person *person)
{
    const char *database = person->is_session ? "session" : "app";
    struct talk *talk = &person->talk;
    *talk = TALK_INIT;
    person->id = ++sim.people;
    ck_assert_uint_lt(person->id, PEOPLE);
    person->number = 0;
    person->name[0] = '\0';
    person->has[0] = person->has[1] = false;
    person->connected = true;
    ck_assert_int_eq(talk_hello(talk, &sim.world, database, "joe"), OK);
    do {
        TRY(person_read(person));
        if (talk->frame.type == WIRE_ERROR)
            return person_lost(person, FAULT_UPSTREAM);
        if (talk->frame.type == WIRE_BACKEND_KEY)
            person_keep_key(person, talk->frame.body);
    } while (talk->frame.type != WIRE_READY);
    return OK;
}

static void person_text(const struct person *person, enum verb verb, uint32_t number, char *text)
{
    size_t size = (size_t)snprintf(text, TEXT, "%s %u %u", verbs[verb], person->id, number);
    if (verb == SETS)
        snprintf(text + size, TEXT - size, " '%s'", person->next_name);
}

static uint32_t person_says(struct person *person, enum verb verb)
{
    char text[TEXT];
    person->number += 1;
    if (verb == SETS)
        snprintf(person->next_name, TEXT, "name of %u.%u", person->id, person->number);
    person_text(person, verb, person->number, text);
    wire_put_query(&person->talk.out, span_text(text));
    return person->number;
}

static fault person_flush(struct person *person)
{
    fault sent = talk_flush(&person->talk);
    return sent == OK ? OK : person_lost(person, sent);
}

static fault person_expects(struct person *person, char type)
{
    struct wire_error error;
    TRY(person_read(person));
    if (person->talk.frame.type == WIRE_ERROR && type != WIRE_ERROR &&
        wire_read_error(person->talk.frame.body, &error) == OK && span_is(error.severity, "FATAL"))
        return person_lost(person, fault_raise(FAULT_UPSTREAM, "%.*s", SPAN_ARG(error.message)));
    ck_assert_msg(person->talk.frame.type == (uint8_t)type, "client %u: '%c' came instead of '%c'",
                  person->id, person->talk.frame.type, type);
    return OK;
}

static fault person_row(struct person *person, enum verb verb, const char *text)
{
    char row[2 * TEXT + 8];
    if (verb == SETS)
        memcpy(person->name, person->next_name, TEXT);
    ck_assert_int_ne(verb, FAIL);
    snprintf(row, sizeof(row), "%s|%s", text, person->name);
    struct span got = span_skip(person->talk.frame.body, 6);
    ck_assert_msg(span_is(got, row), "'%.*s' came instead of '%s'", SPAN_ARG(got), row);
    sim.answered += 1;
    return person_expects(person, WIRE_COMMAND_COMPLETE);
}

static fault person_error(struct person *person, enum verb verb, const char *text)
{
    struct wire_error error;
    ck_assert_int_eq(wire_read_error(person->talk.frame.body, &error), OK);
    if (span_is(error.severity, "FATAL"))
        return person_lost(person, fault_raise(FAULT_UPSTREAM, "%.*s", SPAN_ARG(error.message)));
    if (span_is(error.sqlstate, "57014")) {
        bool waited = span_is(error.message, "canceling statement due to user request");
        ck_assert(waited || span_is(error.message, text));
        ck_assert(sim.wants_cancel[person->id]);
        sim.cancelled += 1;
        return OK;
    }
    ck_assert_msg(span_is(error.message, text), "'%.*s' came as the error of '%s'",
                  SPAN_ARG(error.message), text);
    ck_assert_int_eq(verb, FAIL);
    ck_assert(span_is(error.sqlstate, "22012"));
    sim.answered += 1;
    return OK;
}

/* A row or an error, which must be this query's. */
static fault person_outcome(struct person *person, enum verb verb, uint32_t number)
{
    char text[TEXT];
    person_text(person, verb, number, text);
    TRY(person_read(person));
    person->failed = person->talk.frame.type == WIRE_ERROR;
    if (person->talk.frame.type == WIRE_DATA_ROW)
        return person_row(person, verb, text);
    ck_assert_msg(person->talk.frame.type == WIRE_ERROR, "'%c' came instead of a row",
                  person->talk.frame.type);
    return person_error(person, verb, text);
}

static fault person_hears(struct person *person, enum verb verb, uint32_t number)
{
    TRY(person_outcome(person, verb, number));
    return person_expects(person, WIRE_READY);
}

static fault person_asks(struct person *person, enum verb verb)
{
    uint32_t number = person_says(person, verb);
    TRY(person_flush(person));
    return person_hears(person, verb, number);
}

/* --- what they do
 * ------------------------------------------------------------------------------------------------
 */

static fault do_transaction(struct person *person)
{
    uint32_t queries = draw(&person->chance, 4);
    TRY(person_asks(person, BEGIN));
    for (uint32_t i = 0; i < queries; i++) {
        TRY(person_asks(person, draw(&person->chance, 6) == 0 ? FAIL : ASK));
        if (draw(&person->chance, 3) == 0)
            TRY(co_sleep((duration){.us = draw(&person->chance, 5000)}));
    }
    return person_asks(person, COMMIT);
}

static fault do_pipeline(struct person *person)
{
    enum verb said[40];
    uint32_t count = 1 + draw(&person->chance, ARRAY_SIZE(said));
    uint32_t first = person->number + 1;
    for (uint32_t i = 0; i < count; i++) {
        said[i] = draw(&person->chance, 5) == 0 ? FAIL : ASK;
        person_says(person, said[i]);
    }
    TRY(person_flush(person));
    for (uint32_t i = 0; i < count; i++)
        TRY(person_hears(person, said[i], first + i));
    return OK;
}

static void put_bind(struct person *person, const char *statement)
{
    char portal[TEXT];
    struct buffer *out = &person->talk.out;
    person->number += 1;
    snprintf(portal, sizeof(portal), "%u %u", person->id, person->number);
    size_t start = wire_begin(out, WIRE_BIND);
    wire_put_text(out, portal);
    wire_put_text(out, statement);
    wire_put_bytes(out, span_of("\0\0\0\0\0\0", 6));
    wire_end(out, start);
    start = wire_begin(out, WIRE_EXECUTE);
    wire_put_text(out, portal);
    wire_put_u32(out, 0);
    wire_end(out, start);
}

static void put_parse(struct person *person, const char *statement, const char *text)
{
    size_t start = wire_begin(&person->talk.out, WIRE_PARSE);
    wire_put_text(&person->talk.out, statement);
    wire_put_text(&person->talk.out, text);
    wire_put_u16(&person->talk.out, 0);
    wire_end(&person->talk.out, start);
}

/* Prepared when it is not yet, used, now and then closed. */
static fault do_prepared(struct person *person)
{
    static const char *const names[] = {"a", "f"};
    enum verb verb = draw(&person->chance, 4) == 0 ? FAIL : ASK;
    bool prepare = !person->has[verb];
    bool close = draw(&person->chance, 4) == 0 && verb == ASK;
    if (prepare)
        put_parse(person, names[verb], verbs[verb]);
    put_bind(person, names[verb]);
    if (close)
        talk_put(&person->talk, WIRE_CLOSE, "Sa", 3);
    wire_put_empty(&person->talk.out, WIRE_SYNC);
    TRY(person_flush(person));
    if (prepare)
        TRY(person_expects(person, WIRE_PARSE_COMPLETE));
    person->has[verb] = true;
    TRY(person_expects(person, WIRE_BIND_COMPLETE));
    TRY(person_outcome(person, verb, person->number));
    if (close && !person->failed) {
        TRY(person_expects(person, WIRE_CLOSE_COMPLETE));
        person->has[verb] = false;
    }
    return person_expects(person, WIRE_READY);
}

/* An unnamed statement that fails: the rest of its batch is skipped, the next one is not. */
static fault do_failing_batch(struct person *person)
{
    put_parse(person, "", "FAIL");
    put_bind(person, "");
    uint32_t number = person->number;
    put_bind(person, "");
    wire_put_empty(&person->talk.out, WIRE_SYNC);
    put_parse(person, "", "ASK");
    put_bind(person, "");
    wire_put_empty(&person->talk.out, WIRE_SYNC);
    TRY(person_flush(person));
    TRY(person_expects(person, WIRE_PARSE_COMPLETE));
    TRY(person_expects(person, WIRE_BIND_COMPLETE));
    TRY(person_hears(person, FAIL, number));
    TRY(person_expects(person, WIRE_PARSE_COMPLETE));
    TRY(person_expects(person, WIRE_BIND_COMPLETE));
    return person_hears(person, ASK, person->number);
}

static fault do_cancel(struct person *person)
{
    struct talk talk = TALK_INIT;
    uint32_t number = person_says(person, LONG);
    TRY(person_flush(person));
    TRY(co_sleep((duration){.us = draw(&person->chance, 250000)}));
    sim.wants_cancel[person->id] = true;
    ck_assert_int_eq(stream_connect(&talk.stream, &sim.world.at, NULL, soon()), OK);
    wire_put_cancel(&talk.out, person->pid, wire_secret_span(&person->secret));
    ck_assert_int_eq(talk_flush(&talk), OK);
    ck_assert_int_eq(talk_read(&talk), FAULT_CLOSED);
    talk_end(&talk);
    return person_hears(person, LONG, number);
}

/* Goes without a word in the middle of something. */
static fault do_vanish(struct person *person)
{
    uint8_t part[] = {'Q', 0, 0, 0, 200, 'x'};
    sim.wants_cancel[person->id] = true;
    switch (draw(&person->chance, 5)) {
    case 0:
        TRY(person_asks(person, BEGIN));
        break;
    case 1:
        person_says(person, LONG);
        break;
    case 2:
        put_parse(person, "x", "ASK");
        break;
    case 3:
        buffer_append(&person->talk.out, part, sizeof(part));
        break;
    default:
        for (int i = 0; i < 30; i++)
            person_says(person, ASK);
    }
    if (person->talk.out.size > 0)
        TRY(person_flush(person));
    uint32_t most = sim.clients < CLIENTS ? 100 : 3000;
    TRY(co_sleep((duration){.us = draw(&person->chance, most)}));
    person_end(person);
    return OK;
}

static fault do_leave(struct person *person)
{
    wire_put_empty(&person->talk.out, WIRE_TERMINATE);
    TRY(person_flush(person));
    person_end(person);
    return OK;
}

static fault person_acts(struct person *person)
{
    if (sim.clients < CLIENTS && draw(&person->chance, 2) == 0)
        return do_vanish(person);
    switch (draw(&person->chance, 14)) {
    case 0:
        return person_asks(person, FAIL);
    case 1:
    case 2:
        return do_transaction(person);
    case 3:
        return do_pipeline(person);
    case 4:
    case 5:
    case 6:
        return do_prepared(person);
    case 7:
        return do_failing_batch(person);
    case 8:
        return do_cancel(person);
    case 9:
        return do_vanish(person);
    case 10:
        return do_leave(person);
    case 11:
        return person_asks(person, SETS);
    case 12:
        return co_sleep((duration){.us = draw(&person->chance, 30000)});
    default:
        return person_asks(person, ASK);
    }
}

static void client_done(struct mail *mail UNUSED)
{
    sim.finished += 1;
    co_wake(sim.main);
}

static void client_main(void *argument)
{
    uintptr_t number = (uintptr_t)argument;
    struct person person = {.chance = sim.chance ^ (number * 0x9e3779b97f4a7c15),
                            .is_session = number % 3 == 0};
    for (int i = 0; i < ROUNDS; i++) {
        fault done = person.connected ? OK : person_begin(&person);
        if (done == OK)
            done = person_acts(&person);
        if (done != OK)
            person_end(&person);
    }
    if (person.connected)
        person_end(&person);
    mail_send(sim.home, &sim.done[number]);
}

static void dialer_main(void *argument)
{
    uintptr_t number = (uintptr_t)argument;
    struct co_group clients;
    co_group_init(&clients);
    for (uintptr_t i = 0; i < sim.clients; i++)
        ck_assert_int_eq(
            co_group_start(&clients, client_main, (void *)(number * CLIENTS + i), CO_LARGE), OK);
    co_group_join(&clients);
    machine_stop();
}

/* --- the world
 * -----------------------------------------------------------------------------------------------------
 */

/* Clients go to and fro while the others act; some seeds leave them in peace. */
static void await_clients(void)
{
    deadline end = after(sec(600));
    while (sim.finished < DIALERS * sim.clients) {
        deadline next = sim.moves ? after((duration){.us = draw(&sim.chance, 20000)}) : end;
        if (co_wait(next) == OK)
            continue;
        ck_assert_int_lt(now().us, end.us);
        uint32_t from = draw(&sim.chance, RELAYS);
        struct relay *relay = pooler_relay(sim.world.pooler, from);
        struct relay *other = pooler_relay(sim.world.pooler, (from + 1) % RELAYS);
        ck_assert_int_eq(move_some(relay, other, draw(&sim.chance, 1001), true), OK);
    }
    for (uint32_t i = 0; i < RELAYS; i++)
        sim.moved += hint_read(&pooler_relay(sim.world.pooler, i)->told.came);
}

static void sim_main(void *argument UNUSED)
{
    struct co_group listening;
    sim.home = machine_self();
    sim.main = co_self();
    list_init(&sim.alive);
    co_group_init(&sim.sessions);
    co_group_init(&listening);
    world_prepare(&sim.world, RELAYS, POOL_SIZE);
    sim.world.routes[1].prepared_most = sim.evicts ? 1 : 100;
    sim.world.service.connections_most = sim.crowded ? POOL_SIZE + 1 : 100;
    sim.world.config->servers_most = sim.capped ? POOL_SIZE + 1 : 0;
    for (size_t i = 0; i < ARRAY_SIZE(sim.world.routes); i++) {
        struct route_config *route = &sim.world.routes[i];
        route->check_delay = sim.rests ? ms(1) : NO_LIMIT;
        route->server_lifetime = sim.once ? ms(0) : NO_LIMIT;
        route->pool_reserve = sim.reserve;
        route->reserve_after = ms(2);
    }
    world_open(&sim.world);
    ck_assert_int_eq(co_group_start(&listening, postgres, NULL, CO_LARGE), OK);
    for (int i = 0; i < DIALERS * CLIENTS; i++)
        sim.done[i].deliver = client_done;
    for (uintptr_t i = 0; i < DIALERS; i++)
        ck_assert_int_eq(machine_new("dialer", dialer_main, (void *)i, &sim.dialers[i]), OK);
    await_clients();
    for (int i = 0; i < DIALERS; i++)
        machine_join(&sim.dialers[i]);
    world_stop_pooler(&sim.world);
    co_group_cancel(&listening);
    co_group_join(&listening);
    co_group_join(&sim.sessions); /* the pooler has closed them all */
    ck_assert(list_empty(&sim.alive));
    world_stop(&sim.world);
}

static uint64_t run(uint64_t seed)
{
    sim = (struct sim){.chance = seed * 0x2545f4914f6cdd1d + 1,
                       .crashes = seed % 2 == 1,
                       .evicts = seed % 3 == 0,
                       .crowded = seed % 5 == 0,
                       .capped = seed % 5 == 1,
                       .rests = seed % 4 == 2,
                       .once = seed % 7 == 3,
                       .clients = seed % 9 == 2 ? 2 : CLIENTS,
                       .reserve = seed % 6 == 4 ? 1 : 0,
                       .moves = seed % 4 != 3};
    os_sim_start(seed);
    ck_assert_int_eq(machine_run("main", sim_main, NULL), OK);
    uint64_t history = os_sim_history();
    os_sim_finish();
    return history;
}

/* SIM_SEED=n plays one seed, SIM_SEEDS=n so many of them, from SIM_FIRST=n on. */
static uint64_t asked(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

TEST(clients_of_a_pooler_never_notice_each_other)
{
    uint32_t answered = 0, cancelled = 0, lost = 0;
    uint64_t moved = 0;
    uint64_t only = asked("SIM_SEED", 0);
    if (only != 0) {
        run(only);
        return;
    }
    uint64_t first = asked("SIM_FIRST", 1), beyond = first + asked("SIM_SEEDS", SEEDS);
    for (uint64_t seed = first; seed < beyond; seed++) {
        if (getenv("SIM_SEEDS") != NULL)
            fprintf(stderr, "seed %" PRIu64 "\n", seed);
        run(seed);
        answered += sim.answered;
        cancelled += sim.cancelled;
        lost += sim.lost;
        moved += sim.moved;
        ck_assert(sim.crashes || sim.lost == 0);
    }
    if (getenv("SIM_SEEDS") != NULL)
        return;
    ck_assert_uint_gt(answered, 100 * SEEDS);
    ck_assert_uint_gt(cancelled, SEEDS / 2);
    ck_assert_uint_gt(lost, SEEDS / 2);
    ck_assert_uint_gt(moved, SEEDS / 2);
}
END_TEST

TEST(a_seed_gives_one_history)
{
    if (getenv("SIM_SEEDS") != NULL)
        return;
    for (uint64_t seed = 1000; seed < 1004; seed++)
        ck_assert_uint_eq(run(seed), run(seed));
}
END_TEST

TESTS("sim_pooler", clients_of_a_pooler_never_notice_each_other, a_seed_gives_one_history)
