#include "machine/clock.h"
#include "machine/co.h"
#include "machine/dns.h"
#include "machine/signals.h"
#include "machine/sim/os_sim.h"
#include "machine/sim/world.h"
#include "machine/stream.h"
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

/* The simulated world itself: what it promises to those who test in it. */
#define SOON after(sec(5))

static const struct address here = {.family = ADDRESS_IPV4, .port = 5432, .bytes = {127, 0, 0, 1}};

/* Two ends of one connection. */
struct pair {
    struct listener listener;
    struct stream client;
    struct stream server;
};

static struct {
    void (*part)(void);
    uint64_t history;
} scene;

static void scene_main(void *argument UNUSED)
{
    scene.part();
    machine_stop();
}

static void play_with(uint64_t seed, const struct sim_rates *rates, void (*part)(void))
{
    os_sim_start(seed);
    if (rates != NULL)
        sim_set_rates(rates);
    scene.part = part;
    ck_assert_int_eq(machine_run("scene", scene_main, NULL), OK);
    scene.history = os_sim_history();
    os_sim_finish();
}

static void play(void (*part)(void))
{
    static const struct sim_rates calm;
    play_with(1, &calm, part);
}

static void pair_open(struct pair *pair)
{
    int handle;
    struct address peer;
    pair->client = pair->server = STREAM_INIT;
    ck_assert_int_eq(listener_open(&pair->listener, &here, 8, 0), OK);
    ck_assert_int_eq(stream_connect(&pair->client, &here, NULL, SOON), OK);
    ck_assert_int_eq(listener_accept(&pair->listener, &handle, &peer, SOON), OK);
    ck_assert_int_eq(stream_adopt(&pair->server, handle, false), OK);
}

static void pair_close(struct pair *pair)
{
    stream_close(&pair->client);
    stream_close(&pair->server);
    listener_close(&pair->listener);
}

static void put(struct stream *stream, const char *text)
{
    ck_assert_int_eq(stream_write(stream, span_text(text), SOON), OK);
}

static void expect(struct stream *stream, const char *text)
{
    char bytes[64];
    ck_assert_int_eq(stream_read_all(stream, bytes, strlen(text), SOON), OK);
    ck_assert_mem_eq(bytes, text, strlen(text));
}

static fault read_one(struct stream *stream, duration wait)
{
    char byte;
    size_t got;
    return stream_read(stream, &byte, 1, &got, after(wait));
}

/* --- the network ------------------------------------------------------------------------------ */

static void part_blackhole(void)
{
    struct pair pair;
    struct stream other = STREAM_INIT;
    pair_open(&pair);
    sim_net_blackhole(&here, true);
    put(&pair.client, "held");
    ck_assert_int_eq(read_one(&pair.server, sec(60)), FAULT_TIMEOUT);
    ck_assert_int_eq(stream_connect(&other, &here, NULL, SOON), FAULT_TIMEOUT);
    stream_close(&other);
    sim_net_heal();
    expect(&pair.server, "held");
    pair_close(&pair);
}

TEST(a_black_hole_takes_everything_and_gives_it_back)
{
    play(part_blackhole);
}
END_TEST

static void part_keepalive(void)
{
    struct pair pair;
    static const struct socket_options options = {
        .keepalive = true, .keep_idle = 10, .keep_interval = 2, .keep_count = 3};
    pair_open(&pair);
    stream_set_options(&pair.server, &options);
    sim_net_blackhole(&here, true);
    ck_assert_int_eq(read_one(&pair.server, sec(15)), FAULT_TIMEOUT);
    ck_assert_int_eq(read_one(&pair.server, sec(2)), FAULT_CLOSED);
    ck_assert_int_eq(read_one(&pair.client, sec(3600)), FAULT_TIMEOUT);
    pair_close(&pair);
}

TEST(an_end_with_keepalive_gives_up_in_its_time_and_the_other_does_not)
{
    play(part_keepalive);
}
END_TEST

/* Sent once more, it is answered by a reset. */
static void part_unheard(void)
{
    struct pair pair;
    static const struct socket_options options = {
        .keepalive = true, .keep_idle = 10, .keep_interval = 2, .keep_count = 3};
    pair_open(&pair);
    stream_set_options(&pair.server, &options);
    sim_net_blackhole(&here, true);
    put(&pair.client, "not heard");
    ck_assert_int_eq(read_one(&pair.server, sec(60)), FAULT_CLOSED);
    stream_close(&pair.server);
    ck_assert_int_eq(read_one(&pair.client, sec(5)), FAULT_TIMEOUT);
    sim_net_heal();
    ck_assert_int_eq(read_one(&pair.client, sec(2)), FAULT_CLOSED);
    pair_close(&pair);
}

TEST(who_has_sent_into_silence_hears_once_it_ends_that_nobody_is_there)
{
    play(part_unheard);
}
END_TEST

static void part_refuse(void)
{
    struct pair pair;
    struct stream other = STREAM_INIT;
    struct address host = here;
    pair_open(&pair);
    host.port = 0;
    sim_net_refuse(&host, true);
    ck_assert_int_eq(stream_connect(&other, &here, NULL, SOON), FAULT_REFUSED);
    put(&pair.client, "still there");
    expect(&pair.server, "still there");
    sim_net_refuse(&host, false);
    ck_assert_int_eq(stream_connect(&other, &here, NULL, SOON), OK);
    stream_close(&other);
    sim_net_reset_all(&here);
    ck_assert_int_eq(read_one(&pair.client, sec(1)), FAULT_CLOSED);
    ck_assert_int_eq(read_one(&pair.server, sec(1)), FAULT_CLOSED);
    pair_close(&pair);
}

TEST(an_address_refuses_connections_and_resets_them)
{
    play(part_refuse);
}
END_TEST

static void part_half(void)
{
    struct pair pair;
    pair_open(&pair);
    put(&pair.client, "last");
    sim_net_end(&pair.client);
    expect(&pair.server, "last");
    ck_assert_int_eq(read_one(&pair.server, sec(1)), FAULT_CLOSED);
    put(&pair.server, "answer");
    expect(&pair.client, "answer");
    pair_close(&pair);
}

TEST(who_has_ended_its_half_still_reads)
{
    play(part_half);
}
END_TEST

static void part_low_water(void)
{
    struct pair pair;
    pair_open(&pair);
    stream_set_low_water(&pair.server, 6);
    put(&pair.client, "four");
    ck_assert_int_eq(read_one(&pair.server, sec(1)), FAULT_TIMEOUT);
    put(&pair.client, "six");
    expect(&pair.server, "foursix");
    put(&pair.client, "end");
    stream_close(&pair.client);
    expect(&pair.server, "end");
    ck_assert_int_eq(read_one(&pair.server, sec(1)), FAULT_CLOSED);
    pair_close(&pair);
}

TEST(few_bytes_are_not_announced_below_the_low_water_mark)
{
    play(part_low_water);
}
END_TEST

static void part_from(void)
{
    struct pair pair;
    int handle;
    struct address peer, elsewhere = {.family = ADDRESS_IPV4, .bytes = {192, 0, 2, 7}};
    pair_open(&pair);
    stream_close(&pair.client);
    sim_net_from(&elsewhere);
    ck_assert_int_eq(stream_connect(&pair.client, &here, NULL, SOON), OK);
    ck_assert_int_eq(listener_accept(&pair.listener, &handle, &peer, SOON), OK);
    ck_assert_mem_eq(peer.bytes, elsewhere.bytes, 4);
    os->close(handle);
    pair_close(&pair);
}

TEST(connections_come_from_where_the_test_says)
{
    play(part_from);
}
END_TEST

/* --- names, files, signals -------------------------------------------------------------------- */

static void part_names(void)
{
    struct address both[2] = {here, {.family = ADDRESS_IPV6, .bytes = {[15] = 1}}};
    struct dns_answer answer;
    char name[DNS_NAME_SIZE];
    sim_dns_set("db.example", both, 2, 17);
    ck_assert_int_eq(dns_resolve("DB.example", 5432, &answer, SOON), OK);
    ck_assert_uint_eq(answer.count, 2);
    ck_assert_int_eq(answer.ttl.us, sec(17).us);
    ck_assert(address_equal(&answer.addresses[0], &here));
    sim_dns_set("db.example", both + 1, 1, 17);
    ck_assert_int_eq(dns_resolve("db.example", 5432, &answer, SOON), OK);
    ck_assert_uint_eq(answer.count, 1);
    sim_dns_fail("db.example", -ECONNREFUSED);
    ck_assert_int_eq(dns_resolve("db.example", 5432, &answer, SOON), FAULT_NAME);
    ck_assert_int_eq(dns_resolve("no.example", 5432, &answer, SOON), FAULT_NAME);
    sim_dns_reverse(&here, "one.example");
    ck_assert_int_eq(dns_reverse(&here, name, SOON), OK);
    ck_assert_str_eq(name, "one.example");
}

TEST(names_have_the_addresses_that_they_are_given)
{
    play(part_names);
}
END_TEST

static uint32_t listed;

static void count_name(void *argument UNUSED, const char *name)
{
    listed += strcmp(name, "b") == 0 || strcmp(name, "c") == 0;
}

static void part_files(void)
{
    char bytes[8];
    uint32_t owner = 0;
    struct sim_rates rates = {.file_fails = SIM_MILLION};
    sim_file_put_text("/a/b", "text");
    sim_file_put_text("/a/c", "");
    sim_file_put_text("/a/d/e", "");
    ck_assert_int_eq(os->file_read("/a/b", bytes, sizeof(bytes)), 4);
    ck_assert_int_eq(os->file_mode("/a/b", &owner), 0640);
    sim_file_own("/a/b", 7);
    ck_assert_int_eq(os->file_mode("/a/b", &owner), 0640);
    ck_assert_uint_eq(owner, 7);
    ck_assert_int_eq(os->file_list("/a", count_name, NULL), 0);
    ck_assert_uint_eq(listed, 2);
    sim_file_remove("/a/b");
    ck_assert_int_eq(os->file_read("/a/b", bytes, sizeof(bytes)), -ENOENT);
    sim_set_rates(&rates);
    ck_assert_int_eq(os->file_read("/a/c", bytes, sizeof(bytes)), -EIO);
}

TEST(files_are_what_the_test_has_put_there)
{
    play(part_files);
}
END_TEST

static void part_signals(void)
{
    struct signals signals;
    static const int numbers[] = {SIGHUP, SIGTERM};
    int number;
    ck_assert(!sim_signal(SIGHUP));
    ck_assert_int_eq(signals_open(&signals, numbers, 2), OK);
    ck_assert(!sim_signal(SIGINT));
    ck_assert(sim_signal(SIGTERM));
    ck_assert_int_eq(signals_next(&signals, &number, SOON), OK);
    ck_assert_int_eq(number, SIGTERM);
    ck_assert_int_eq(signals_next(&signals, &number, SOON), FAULT_TIMEOUT);
    signals_close(&signals);
}

TEST(a_signal_goes_to_who_listens)
{
    play(part_signals);
}
END_TEST

/* --- what can be seen ------------------------------------------------------------------------- */

static char leak[256];

static void note_leak(void *argument UNUSED, const char *what)
{
    strncpy(leak, what, sizeof(leak) - 1);
}

TEST(what_is_left_open_is_named)
{
    os_sim_start(1);
    int handle = os->listen(&here, 1, 0);
    ck_assert_uint_eq(sim_leaks(note_leak, NULL), 1);
    ck_assert_ptr_nonnull(strstr(leak, "127.0.0.1:5432"));
    os->close(handle);
    os_sim_finish();
}
END_TEST

/* As much of the world as fits into a page, over every kind of fault. */
static void part_everything(void)
{
    struct sim_rates rates = sim_rates_drawn();
    struct pair pair;
    char bytes[1000] = {1};
    size_t done;
    pair_open(&pair);
    sim_dns_set("db.example", &here, 1, 17);
    sim_set_rates(&rates);
    for (int i = 0; i < 100; i++) {
        struct iovec part = {bytes, 1 + (size_t)i * 9};
        (void)!stream_write_some(&pair.client, &part, 1, &done);
        (void)!stream_write_some(&pair.server, &part, 1, &done);
        (void)!stream_read(&pair.server, bytes, sizeof(bytes), &done, after(ms(20)));
        (void)!stream_read(&pair.client, bytes, sizeof(bytes), &done, after(ms(20)));
        os->random(bytes, sizeof(bytes));
        sim_remark("round %d at %lld", i, (long long)wall_now().us);
    }
    struct dns_answer answer;
    (void)!dns_resolve("db.example", 1, &answer, after(sec(20)));
    pair_close(&pair);
}

static void add_line(void *argument, const char *text, size_t size)
{
    uint64_t *sum = argument;
    for (size_t i = 0; i < size; i++)
        *sum = (*sum ^ (uint8_t)text[i]) * 0x100000001b3;
}

static uint64_t trace_of(uint64_t seed)
{
    uint64_t sum = 1;
    os_sim_start(seed);
    sim_trace(add_line, &sum);
    scene.part = part_everything;
    ck_assert_int_eq(machine_run("scene", scene_main, NULL), OK);
    os_sim_finish();
    return sum;
}

TEST(a_trace_is_the_same_for_a_seed_down_to_the_byte)
{
    for (uint64_t seed = 1; seed < 20; seed++)
        ck_assert_uint_eq(trace_of(seed), trace_of(seed));
    ck_assert_uint_ne(trace_of(1), trace_of(2));
}
END_TEST

/* Changes with the simulated world only; the same in every build and on every machine. */
#define HISTORY_OF_ALL 0xd0c970314361f7b2u

TEST(histories_are_the_same_in_every_build)
{
    uint64_t all = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        play_with(seed, NULL, part_everything);
        all = all * 31 + scene.history;
    }
    ck_assert_uint_eq(all, HISTORY_OF_ALL);
}
END_TEST

TESTS("sim_world", a_black_hole_takes_everything_and_gives_it_back,
      an_end_with_keepalive_gives_up_in_its_time_and_the_other_does_not,
      who_has_sent_into_silence_hears_once_it_ends_that_nobody_is_there,
      an_address_refuses_connections_and_resets_them, who_has_ended_its_half_still_reads,
      few_bytes_are_not_announced_below_the_low_water_mark,
      connections_come_from_where_the_test_says, names_have_the_addresses_that_they_are_given,
      files_are_what_the_test_has_put_there, a_signal_goes_to_who_listens,
      what_is_left_open_is_named, a_trace_is_the_same_for_a_seed_down_to_the_byte,
      histories_are_the_same_in_every_build)
