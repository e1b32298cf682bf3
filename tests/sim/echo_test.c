#include "machine/clock.h"
#include "machine/co.h"
#include "machine/sim/os_sim.h"
#include "machine/stream.h"
#include "unit.h"

#include <string.h>

/*
 * An echo server with its clients: a listener hands connections to two workers by mail, clients on
 * two machines talk and sleep, results go to the main machine by mail.  The same program runs in
 * both worlds; what the clients saw must be the same.
 */
#define WORKERS         2
#define CLIENT_MACHINES 2
#define CLIENTS         6 /* on each of them */
#define MESSAGES        12
/* A client sends it whole before it reads: it must fit into the two smallest rings. */
#define MESSAGE_MAX 4000
#define SOON        after(sec(30))

struct worker {
    struct machine *machine;
    struct co *main;
    struct co_group sessions;
    uint64_t echoed; /* hint: bytes */
    struct mail stop;
};

struct world {
    struct machine *home;
    struct co *main;
    struct machine *acceptor;
    struct co *acceptor_main;
    struct address at;
    struct mail listening; /* to home */
    struct mail acceptor_stop;
    struct worker workers[WORKERS];
    struct machine *dialers[CLIENT_MACHINES];
    bool is_listening;
    uint32_t finished;
    uint64_t transcript; /* the sum over all clients, so that their order does not matter */
};

static struct world world;

/* --- the workers ------------------------------------------------------------------------------ */

struct arrival {
    struct mail mail;
    struct worker *worker;
    int handle;
};

static void session_echo(struct worker *worker, struct stream *stream)
{
    uint8_t bytes[3000];
    size_t got;
    while (stream_read(stream, bytes, sizeof(bytes), &got, SOON) == OK) {
        for (size_t i = 0; i < got; i++)
            bytes[i] ^= 0x5a;
        if (stream_write(stream, span_of(bytes, got), SOON) != OK)
            return;
        hint_add(&worker->echoed, got);
    }
}

static void session(void *argument)
{
    struct arrival *arrival = argument;
    struct stream stream = STREAM_INIT;
    ck_assert_int_eq(stream_adopt(&stream, arrival->handle, false), OK);
    session_echo(arrival->worker, &stream);
    stream_close(&stream);
    free(arrival);
}

static void arrival_delivered(struct mail *mail)
{
    struct arrival *arrival = CONTAINER_OF(mail, struct arrival, mail);
    ck_assert_int_eq(co_group_start(&arrival->worker->sessions, session, arrival, CO_SMALL), OK);
}

static void worker_stop_delivered(struct mail *mail)
{
    co_cancel(CONTAINER_OF(mail, struct worker, stop)->main);
}

static void worker_main(void *argument)
{
    struct worker *worker = argument;
    worker->main = co_self();
    while (!co_cancelled())
        ck_assert_int_ne(co_wait(NEVER), FAULT_TIMEOUT);
    co_group_join(&worker->sessions);
    machine_stop();
}

/* --- the acceptor ----------------------------------------------------------------------------- */

static void listening_delivered(struct mail *mail)
{
    world.is_listening = true;
    co_wake(world.main);
}

static void acceptor_stop_delivered(struct mail *mail)
{
    co_cancel(world.acceptor_main);
}

static void acceptor_main(void *argument UNUSED)
{
    world.acceptor_main = co_self();
    struct listener listener;
    struct address at;
    ck_assert(address_parse("127.0.0.1", 0, &at));
    ck_assert_int_eq(listener_open(&listener, &at, 64, 0), OK);
    world.at = listener.address;
    mail_send(world.home, &world.listening);
    for (uint32_t count = 0;; count++) {
        int handle;
        struct address peer;
        if (listener_accept(&listener, &handle, &peer, NEVER) != OK)
            break;
        struct arrival *arrival = calloc(1, sizeof(*arrival));
        ck_assert_ptr_nonnull(arrival);
        struct worker *worker = &world.workers[count % WORKERS];
        *arrival = (struct arrival){{.deliver = arrival_delivered}, worker, handle};
        mail_send(worker->machine, &arrival->mail);
    }
    listener_close(&listener);
    machine_stop();
}

/* --- the clients ------------------------------------------------------------------------------ */

struct result {
    struct mail mail;
    uint64_t transcript;
};

static void result_delivered(struct mail *mail)
{
    struct result *result = CONTAINER_OF(mail, struct result, mail);
    world.transcript += result->transcript;
    world.finished += 1;
    co_wake(world.main);
    free(result);
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15;
    return hash ^ (hash >> 29);
}

/* One message there and back.  Sent in two parts, or all at once. */
static uint64_t client_talk(struct stream *stream, uint64_t hash)
{
    uint8_t bytes[MESSAGE_MAX];
    size_t size = 1 + hash % MESSAGE_MAX;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(hash >> (i % 57));
    size_t first = hash % 3 == 0 ? size / 2 : size;
    ck_assert_int_eq(stream_write(stream, span_of(bytes, first), SOON), OK);
    if (hash % 5 == 0)
        ck_assert_int_eq(co_sleep(ms(1)), OK);
    ck_assert_int_eq(stream_write(stream, span_of(bytes + first, size - first), SOON), OK);
    ck_assert_int_eq(stream_read_all(stream, bytes, size, SOON), OK);
    for (size_t i = 0; i < size; i++)
        hash = mix(hash, bytes[i]);
    return hash;
}

static void client(void *argument)
{
    uint64_t hash = mix(1, (uint64_t)(uintptr_t)argument);
    struct stream stream = STREAM_INIT;
    struct socket_options options = {.nodelay = true};
    ck_assert_int_eq(stream_connect(&stream, &world.at, &options, SOON), OK);
    for (int i = 0; i < MESSAGES; i++)
        hash = client_talk(&stream, hash);
    char byte;
    size_t got;
    ck_assert_int_eq(stream_read(&stream, &byte, 1, &got, after(ms(2))), FAULT_TIMEOUT);
    stream_close(&stream);
    struct result *result = calloc(1, sizeof(*result));
    ck_assert_ptr_nonnull(result);
    *result = (struct result){{.deliver = result_delivered}, hash};
    mail_send(world.home, &result->mail);
}

static void dialer_main(void *argument)
{
    uintptr_t number = (uintptr_t)argument;
    struct co_group clients;
    co_group_init(&clients);
    for (uintptr_t i = 0; i < CLIENTS; i++)
        ck_assert_int_eq(co_group_start(&clients, client, (void *)(number * CLIENTS + i), CO_LARGE),
                         OK);
    co_group_join(&clients);
    machine_stop();
}

/* --- the world -------------------------------------------------------------------------------- */

static uint64_t world_echoed(void)
{
    uint64_t bytes = 0;
    for (int i = 0; i < WORKERS; i++)
        bytes += hint_read(&world.workers[i].echoed);
    return bytes;
}

static void world_stop(void)
{
    world.acceptor_stop.deliver = acceptor_stop_delivered;
    mail_send(world.acceptor, &world.acceptor_stop);
    machine_join(&world.acceptor);
    for (int i = 0; i < WORKERS; i++) {
        world.workers[i].stop.deliver = worker_stop_delivered;
        mail_send(world.workers[i].machine, &world.workers[i].stop);
        machine_join(&world.workers[i].machine);
    }
}

static void world_main(void *argument UNUSED)
{
    world.home = machine_self();
    world.main = co_self();
    world.listening.deliver = listening_delivered;
    for (int i = 0; i < WORKERS; i++) {
        struct worker *worker = &world.workers[i];
        co_group_init(&worker->sessions);
        ck_assert_int_eq(machine_new("worker", worker_main, worker, &worker->machine), OK);
    }
    ck_assert_int_eq(machine_new("acceptor", acceptor_main, NULL, &world.acceptor), OK);
    while (!world.is_listening)
        ck_assert_int_eq(co_wait(SOON), OK);
    for (uintptr_t i = 0; i < CLIENT_MACHINES; i++)
        ck_assert_int_eq(machine_new("dialer", dialer_main, (void *)i, &world.dialers[i]), OK);
    uint64_t before = 0;
    while (world.finished < CLIENT_MACHINES * CLIENTS) {
        ck_assert_int_eq(co_wait(SOON), OK);
        before += world_echoed();
    }
    for (int i = 0; i < CLIENT_MACHINES; i++)
        machine_join(&world.dialers[i]);
    world_stop();
    ck_assert_uint_gt(before + world_echoed(), 0);
    machine_stop();
}

/* What the clients saw. */
static uint64_t run(void)
{
    world = (struct world){0};
    ck_assert_int_eq(machine_run("main", world_main, NULL), OK);
    ck_assert_uint_eq(world.finished, CLIENT_MACHINES * CLIENTS);
    return world.transcript;
}

static uint64_t run_simulated(uint64_t seed, uint64_t *history)
{
    os_sim_start(seed);
    uint64_t transcript = run();
    *history = os_sim_history();
    os_sim_finish();
    return transcript;
}

TEST(a_seed_gives_one_history_and_another_seed_another)
{
    uint64_t histories[8];
    for (uint64_t seed = 0; seed < ARRAY_SIZE(histories); seed++) {
        uint64_t again;
        run_simulated(seed, &histories[seed]);
        run_simulated(seed, &again);
        ck_assert_uint_eq(histories[seed], again);
        for (uint64_t other = 0; other < seed; other++)
            ck_assert_uint_ne(histories[seed], histories[other]);
    }
}
END_TEST

TEST(the_clients_see_the_same_in_both_worlds)
{
    uint64_t real = run();
    for (uint64_t seed = 100; seed < 120; seed++) {
        uint64_t history;
        ck_assert_uint_eq(run_simulated(seed, &history), real);
    }
    ck_assert_uint_eq(run(), real);
}
END_TEST

TESTS("sim_echo", a_seed_gives_one_history_and_another_seed_another,
      the_clients_see_the_same_in_both_worlds)
