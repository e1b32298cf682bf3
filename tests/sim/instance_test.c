#include "instance/instance.h"
#include "machine/sim/os_sim.h"
#include "machine/sim/world.h"
#include "pooler_world.h"
#include "sim_certificate.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

/*
 * The whole instance in the simulated world: it starts from a file, serves a client from a small
 * model of a server, is reloaded by a signal, and stops by another; nothing is left open.
 */
#define CONFIG "/etc/trunkline/trunkline.yaml"
#define LOG    "/var/log/trunkline.log"

static const char first_config[] = "listen:\n"
                                   "  - host: 127.0.0.1\n"
                                   "    tls: {mode: allow, cert: server.crt, key: server.key}\n"
                                   "  - {host: /run/trunkline, port: 6432, unix_mode: 700}\n"
                                   "relays: 2\n"
                                   "services: {main: {hosts: [\"db.example:5432\"]}}\n"
                                   "routes:\n"
                                   "  - {service: main, pool_size: 3, auth: trust}\n"
                                   "console: {users: [admin]}\n"
                                   "log: {file: " LOG "}\n";

static struct act {
    struct world world; /* only its `at` */
    struct listener backend;
    struct machine *home;
    struct co *director;
    struct co_group sessions;
    struct co *postgres;
    uint32_t pid;
    uint32_t reloads;
    uint32_t failed_reloads;
    bool ready;
    bool over_tls;
} act;

/* --- the server ------------------------------------------------------------------------------- */

static fault session_serve(struct talk *talk)
{
    uint32_t cancelled;
    TRY(talk_welcome(talk, ++act.pid, &cancelled));
    for (;;) {
        TRY(talk_read(talk));
        if (talk->frame.type != WIRE_QUERY)
            return FAULT_CLOSED;
        PUT(talk, WIRE_COMMAND_COMPLETE, "SELECT 0");
        wire_put_ready(&talk->out, WIRE_TX_IDLE);
        TRY(talk_flush(talk));
    }
}

static void session_main(void *argument)
{
    struct talk talk = TALK_INIT;
    int handle = (int)(intptr_t)argument;
    ck_assert_int_eq(stream_adopt(&talk.stream, handle, false), OK);
    (void)!session_serve(&talk);
    talk_end(&talk);
}

static void postgres(void *argument UNUSED)
{
    int handle;
    struct address from;
    act.postgres = co_self();
    while (listener_accept(&act.backend, &handle, &from, NEVER) == OK)
        ck_assert_int_eq(
            co_group_start(&act.sessions, session_main, (void *)(intptr_t)handle, CO_LARGE), OK);
}

/* --- the director ----------------------------------------------------------------------------- */

static void hear(void *argument UNUSED, int sink UNUSED, const char *text, size_t size)
{
    act.ready |= memmem(text, size, " ready ", 7) != NULL;
    act.reloads += memmem(text, size, "config.reloaded", 15) != NULL;
    act.failed_reloads += memmem(text, size, "config.reload_failed", 20) != NULL;
}

/* By polling: the log is written on other threads. */
static void await(const bool *flag)
{
    while (!*flag)
        ck_assert_int_eq(co_sleep(ms(5)), OK);
}

static void await_count(const uint32_t *count, uint32_t wanted)
{
    while (*count < wanted)
        ck_assert_int_eq(co_sleep(ms(5)), OK);
}

/* Where every byte that OpenSSL draws is the seed's, too. */
static fault hello_over_tls(struct talk *talk, struct tls_context *tls)
{
    static const uint8_t request[] = {0, 0, 0, 8, 4, 210, 22, 47}; /* SSLRequest */
    char answer;
    size_t start;
    TRY(stream_connect(&talk->stream, &act.world.at, NULL, soon()));
    TRY(stream_write(&talk->stream, span_of(request, sizeof(request)), soon()));
    TRY(stream_read_all(&talk->stream, &answer, 1, soon()));
    ck_assert_int_eq(answer, 'S');
    TRY(stream_tls_connect(&talk->stream, tls, "localhost", soon()));
    wire_put_startup_begin(&talk->out, WIRE_PROTOCOL_3_0, &start);
    wire_put_startup_parameter(&talk->out, SPAN("user"), SPAN("ann"));
    wire_put_startup_parameter(&talk->out, SPAN("database"), SPAN("app"));
    wire_put_startup_end(&talk->out, start);
    return talk_flush(talk);
}

static void greet(struct talk *talk)
{
    struct tls_context *tls = NULL;
    struct tls_settings settings = {.mode = TLS_MODE_VERIFY_FULL, .authorities = SIM_CERTIFICATE};
    if (!act.over_tls) {
        ck_assert_int_eq(talk_hello(talk, &act.world, "app", "ann"), OK);
    } else {
        ck_assert_int_eq(tls_context_new(&settings, &tls), OK);
        ck_assert_int_eq(hello_over_tls(talk, tls), OK);
        tls_context_unref(&tls);
    }
    ck_assert_int_eq(talk_await_ready(talk), OK);
}

static void ask(struct talk *talk, const char *text)
{
    talk_put(talk, WIRE_QUERY, text, strlen(text) + 1);
    ck_assert_int_eq(talk_flush(talk), OK);
    ck_assert_int_eq(talk_await_ready(talk), OK);
}

/* Whether SHOW CONFIG says that a key has this value. */
static bool config_says(const char *key, const char *value)
{
    struct world world = {.at = {.family = ADDRESS_UNIX, .path = "/run/trunkline/.s.PGSQL.6432"}};
    struct talk talk = TALK_INIT;
    bool found = false;
    ck_assert_int_eq(talk_hello(&talk, &world, "trunkline", "trunkline"), OK);
    ck_assert_int_eq(talk_await_ready(&talk), OK);
    PUT(&talk, WIRE_QUERY, "SHOW CONFIG");
    ck_assert_int_eq(talk_flush(&talk), OK);
    do {
        ck_assert_int_eq(talk_read(&talk), OK);
        struct span row = talk.frame.body;
        found |= talk.frame.type == WIRE_DATA_ROW &&
                 memmem(row.at, row.size, key, strlen(key)) != NULL &&
                 memmem(row.at, row.size, value, strlen(value)) != NULL;
    } while (talk.frame.type != WIRE_READY);
    talk_end(&talk);
    return found;
}

static void put_config(const char *more)
{
    char text[sizeof(first_config) + 256];
    int size = snprintf(text, sizeof(text), "%s%s", first_config, more);
    sim_file_put(CONFIG, text, (size_t)size, 0640);
}

static void play(void)
{
    struct talk talk = TALK_INIT;
    await(&act.ready);
    greet(&talk);
    ask(&talk, "select 1");
    ck_assert(config_says("cancel_timeout", "10s"));
    put_config("cancel_timeout: 7s\n");
    ck_assert(sim_signal(SIGHUP));
    await_count(&act.reloads, 1);
    ck_assert(config_says("cancel_timeout", "7s"));
    put_config("no_such_key: 1\n");
    ck_assert(sim_signal(SIGHUP));
    await_count(&act.failed_reloads, 1);
    ck_assert(config_says("cancel_timeout", "7s"));
    ask(&talk, "select 2");
    ck_assert(sim_signal(SIGTERM));
    while (talk_read(&talk) == OK)
        ;
    talk_end(&talk);
}

/* The server outlives the instance. */
static void home_main(void *argument UNUSED)
{
    struct address at = {.family = ADDRESS_IPV4, .port = 5432, .bytes = {127, 0, 0, 1}};
    act.director = co_self();
    co_group_init(&act.sessions);
    ck_assert_int_eq(listener_open(&act.backend, &at, 64, 0), OK);
    ck_assert_int_eq(co_start(postgres, NULL, CO_LARGE), OK);
    play();
    co_group_join(&act.sessions);
    co_cancel(act.postgres);
    co_yield ();
    listener_close(&act.backend);
    machine_stop();
}

static void check_log(void)
{
    size_t size;
    const char *log = sim_file_get(LOG, &size);
    ck_assert_ptr_nonnull(log);
    ck_assert_ptr_nonnull(memmem(log, size, "shutdown.done", 13));
    ck_assert_ptr_nonnull(memmem(log, size, "no_such_key", 11));
}

/* Slow, late, in pieces, interleaved; but nothing is lost. */
static void draw_rates(void)
{
    struct sim_rates rates = sim_rates_drawn();
    rates.refused = rates.unanswered = rates.reset = rates.silenced = rates.ended = 0;
    rates.file_fails = rates.dns_fails = rates.dns_silent = 0;
    sim_set_rates(&rates);
}

static uint64_t run(uint64_t seed)
{
    struct address db = {.family = ADDRESS_IPV4, .bytes = {127, 0, 0, 1}};
    os_sim_start(seed);
    act = (struct act){.world.at = {.family = ADDRESS_IPV4, .port = 6432, .bytes = {127, 0, 0, 1}}};
    act.over_tls = seed % 2 == 0;
    if (seed % 4 > 1)
        draw_rates();
    sim_put_certificate();
    sim_log_to(hear, NULL);
    sim_dns_set("db.example", &db, 1, 30);
    put_config("");
    ck_assert_int_eq(machine_new("home", home_main, NULL, &act.home), OK);
    ck_assert_int_eq(instance_run(CONFIG), 0);
    machine_join(&act.home);
    check_log();
    uint64_t history = os_sim_history();
    os_sim_finish();
    return history;
}

TEST(a_whole_instance_lives_and_ends_in_the_simulated_world)
{
    for (uint64_t seed = 1; seed <= 40; seed++)
        run(seed);
}
END_TEST

TEST(an_instance_has_one_history_for_each_seed)
{
    uint64_t all = 0;
    for (uint64_t seed = 100; seed < 104; seed++) {
        uint64_t history = run(seed);
        ck_assert_uint_eq(run(seed), history);
        ck_assert_uint_ne(history, all);
        all = all * 31 + history;
    }
    /* The same in every build. */
    printf("# histories of four seeds: %016" PRIx64 "\n", all);
}
END_TEST

TESTS("sim_instance", a_whole_instance_lives_and_ends_in_the_simulated_world,
      an_instance_has_one_history_for_each_seed)
