#include "machine/acceptor.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/signals.h"
#include "machine/stream.h"
#include "machine_body.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define SOON after(sec(20))

/* --- pairs of streams ------------------------------------------------------------------------- */

struct dialer {
    struct stream *stream;
    const struct address *to;
    fault end;
};

static void dials(void *argument)
{
    struct dialer *dialer = argument;
    struct socket_options options = {.nodelay = true, .keepalive = true, .keep_idle = 60};
    dialer->end = stream_connect(dialer->stream, dialer->to, &options, SOON);
}

struct pair {
    struct listener listener;
    struct stream client;
    struct stream server;
};

static void pair_open_at(struct pair *pair, const struct address *at)
{
    pair->client = pair->server = STREAM_INIT;
    ck_assert_int_eq(listener_open(&pair->listener, at, 16, 0600), OK);
    struct dialer dialer = {&pair->client, &pair->listener.address, OK};
    struct co_group group;
    co_group_init(&group);
    ck_assert_int_eq(co_group_start(&group, dials, &dialer, CO_SMALL), OK);
    int handle;
    struct address peer;
    ck_assert_int_eq(listener_accept(&pair->listener, &handle, &peer, SOON), OK);
    ck_assert_int_eq(stream_adopt(&pair->server, handle, at->family == ADDRESS_UNIX), OK);
    co_group_join(&group);
    ck_assert_int_eq(dialer.end, OK);
}

static void pair_open(struct pair *pair)
{
    struct address at;
    ck_assert(address_parse("127.0.0.1", 0, &at));
    pair_open_at(pair, &at);
}

static void pair_close(struct pair *pair)
{
    stream_close(&pair->client);
    stream_close(&pair->server);
    listener_close(&pair->listener);
}

static void say(struct stream *stream, const char *text)
{
    ck_assert_int_eq(stream_write(stream, span_text(text), SOON), OK);
}

static void expect(struct stream *stream, const char *text)
{
    char bytes[256];
    ck_assert_int_eq(stream_read_all(stream, bytes, strlen(text), SOON), OK);
    ck_assert_int_eq(memcmp(bytes, text, strlen(text)), 0);
}

static void expect_end(struct stream *stream)
{
    char byte;
    size_t got;
    ck_assert_int_eq(stream_read(stream, &byte, 1, &got, SOON), FAULT_CLOSED);
    ck_assert(stream_hung_up(stream));
}

/* --- connecting ------------------------------------------------------------------------------- */

BODY(the_two_ends_of_a_pair_read_what_the_other_writes)
{
    struct stream one, other;
    char text[8] = {0};
    ck_assert_int_eq(stream_pair(&one, &other), OK);
    ck_assert_int_eq(stream_write(&one, SPAN("here"), SOON), OK);
    ck_assert_int_eq(stream_read_all(&other, text, 4, SOON), OK);
    ck_assert_str_eq(text, "here");
    ck_assert_int_eq(stream_write(&other, SPAN("back"), SOON), OK);
    ck_assert_int_eq(stream_read_all(&one, text, 4, SOON), OK);
    ck_assert_str_eq(text, "back");
    stream_close(&one);
    ck_assert_int_eq(stream_read_all(&other, text, 1, SOON), FAULT_CLOSED);
    stream_close(&other);
    machine_stop();
}

BODY(a_connection_carries_bytes_both_ways)
{
    struct pair pair;
    pair_open(&pair);
    say(&pair.client, "hello");
    expect(&pair.server, "hello");
    say(&pair.server, "world");
    expect(&pair.client, "world");
    char byte;
    size_t got;
    ck_assert_int_eq(stream_read_some(&pair.client, &byte, 1, &got), FAULT_AGAIN);
    ck_assert(!stream_may_read(&pair.client));
    ck_assert(stream_may_write(&pair.client));
    ck_assert(stream_quiet(&pair.client));
    ck_assert_int_eq(stream_read(&pair.client, &byte, 1, &got, after(ms(2))), FAULT_TIMEOUT);
    pair_close(&pair);
    machine_stop();
}

BODY(a_refused_connection_says_why)
{
    struct pair pair;
    pair_open(&pair);
    struct address to = pair.listener.address;
    pair_close(&pair);
    struct stream stream = STREAM_INIT;
    ck_assert_int_eq(stream_connect(&stream, &to, NULL, SOON), FAULT_REFUSED);
    ck_assert_ptr_nonnull(strstr(fault_detail(FAULT_REFUSED), "refused"));
    ck_assert(!stream_open(&stream));
    machine_stop();
}

BODY(an_address_in_use_is_named_in_the_story)
{
    struct pair pair;
    pair_open(&pair);
    struct listener second;
    ck_assert_int_eq(listener_open(&second, &pair.listener.address, 16, 0), FAULT_SYSTEM);
    char text[ADDRESS_TEXT_SIZE];
    address_text(&pair.listener.address, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(fault_detail(FAULT_SYSTEM), text));
    ck_assert_ptr_nonnull(strstr(fault_detail(FAULT_SYSTEM), "in use"));
    pair_close(&pair);
    machine_stop();
}

static void reads_one(void *argument)
{
    struct stream *stream = argument;
    char byte;
    size_t got;
    ck_assert_int_eq(stream_read(stream, &byte, 1, &got, NEVER), FAULT_CANCELLED);
}

BODY(a_cancelled_read_ends_and_leaves_the_stream_usable)
{
    struct pair pair;
    pair_open(&pair);
    struct co_group group;
    co_group_init(&group);
    ck_assert_int_eq(co_group_start(&group, reads_one, &pair.server, CO_SMALL), OK);
    co_yield ();
    co_group_cancel(&group);
    co_group_join(&group);
    say(&pair.client, "x");
    expect(&pair.server, "x");
    pair_close(&pair);
    machine_stop();
}

/* --- ends ------------------------------------------------------------------------------------- */

BODY(an_end_that_comes_with_the_last_bytes_is_seen)
{
    for (int i = 0; i < 50; i++) {
        struct pair pair;
        pair_open(&pair);
        say(&pair.client, "last words");
        stream_close(&pair.client);
        expect(&pair.server, "last words");
        expect_end(&pair.server);
        pair_close(&pair);
    }
    machine_stop();
}

BODY(a_side_that_ended_can_still_be_written_to)
{
    struct pair pair;
    pair_open(&pair);
    say(&pair.client, "query");
    ck_assert_int_eq(shutdown(pair.client.handle, SHUT_WR), 0);
    expect(&pair.server, "query");
    expect_end(&pair.server);
    say(&pair.server, "answer");
    stream_close(&pair.server);
    expect(&pair.client, "answer");
    expect_end(&pair.client);
    pair_close(&pair);
    machine_stop();
}

BODY(a_reset_is_an_end_with_a_reason)
{
    struct pair pair;
    pair_open(&pair);
    struct linger hard = {.l_onoff = 1};
    ck_assert_int_eq(setsockopt(pair.client.handle, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    stream_close(&pair.client);
    expect_end(&pair.server);
    ck_assert_ptr_nonnull(strstr(fault_detail(FAULT_CLOSED), "reset"));
    pair_close(&pair);
    machine_stop();
}

struct watcher {
    struct waker waker;
    int woken;
};

static void watcher_wakes(struct waker *waker)
{
    CONTAINER_OF(waker, struct watcher, waker)->woken += 1;
}

BODY(a_parked_stream_calls_its_waker_for_bytes_and_for_the_end)
{
    struct pair pair;
    pair_open(&pair);
    struct watcher watcher = {{watcher_wakes}, 0};
    pair.server.waker = &watcher.waker;
    say(&pair.client, "x");
    while (watcher.woken == 0)
        ck_assert_int_eq(co_sleep(ms(1)), OK);
    expect(&pair.server, "x");
    watcher.woken = 0;
    stream_close(&pair.client);
    while (watcher.woken == 0)
        ck_assert_int_eq(co_sleep(ms(1)), OK);
    ck_assert(stream_hung_up(&pair.server));
    pair_close(&pair);
    machine_stop();
}

BODY(urgent_bytes_stay_in_line)
{
    struct pair pair;
    pair_open(&pair);
    ck_assert_int_eq(send(pair.client.handle, "ab", 2, MSG_OOB), 2);
    expect(&pair.server, "ab");
    /* The mark comes after bytes that are read first, and more follow. */
    say(&pair.server, "123");
    ck_assert_int_eq(send(pair.server.handle, "cd", 2, MSG_OOB), 2);
    say(&pair.server, "456");
    expect(&pair.client, "123cd456");
    ck_assert(!stream_hung_up(&pair.client));
    pair_close(&pair);
    machine_stop();
}

/* --- bulk ------------------------------------------------------------------------------------- */

#define BULK ((size_t)8 << 20)

static uint8_t bulk_byte(size_t at)
{
    return (uint8_t)(at * 2654435761u >> 13);
}

/* One end: writes its megabytes and checks the peer's, whichever is possible. */
struct bulk {
    struct stream *stream;
    size_t sent;
    size_t received;
};

static bool bulk_send(struct bulk *bulk)
{
    uint8_t chunk[9000];
    size_t size = MIN_OF(sizeof(chunk), BULK - bulk->sent);
    if (size == 0 || !stream_may_write(bulk->stream))
        return false;
    for (size_t i = 0; i < size; i++)
        chunk[i] = bulk_byte(bulk->sent + i);
    struct iovec parts[2] = {{chunk, size / 3}, {chunk + size / 3, size - size / 3}};
    size_t sent;
    fault end = stream_write_some(bulk->stream, parts, 2, &sent);
    if (end == FAULT_AGAIN)
        return false;
    ck_assert_int_eq(end, OK);
    bulk->sent += sent;
    return true;
}

static bool bulk_receive(struct bulk *bulk)
{
    uint8_t chunk[7000];
    size_t size = MIN_OF(sizeof(chunk), BULK - bulk->received);
    size_t got;
    if (size == 0 || !stream_may_read(bulk->stream))
        return false;
    fault end = stream_read_some(bulk->stream, chunk, size, &got);
    if (end == FAULT_AGAIN)
        return false;
    ck_assert_int_eq(end, OK);
    for (size_t i = 0; i < got; i++) {
        if (chunk[i] != bulk_byte(bulk->received + i))
            ck_abort_msg("byte %zu differs", bulk->received + i);
    }
    bulk->received += got;
    return true;
}

static void pumps_bulk(void *argument)
{
    struct bulk *bulk = argument;
    while (bulk->sent < BULK || bulk->received < BULK) {
        bool sent = bulk_send(bulk);
        bool received = bulk_receive(bulk);
        if (sent || received)
            continue;
        uint32_t what =
            (bulk->sent < BULK ? POLL_WRITE : 0) | (bulk->received < BULK ? POLL_READ : 0);
        ck_assert_int_eq(stream_wait(bulk->stream, what, SOON), OK);
    }
}

static void bulk_both_ways(struct pair *pair)
{
    struct bulk bulks[2] = {{.stream = &pair->client}, {.stream = &pair->server}};
    struct co_group group;
    co_group_init(&group);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(co_group_start(&group, pumps_bulk, &bulks[i], CO_LARGE), OK);
    co_group_join(&group);
}

BODY(megabytes_pass_both_ways_over_tcp)
{
    struct pair pair;
    pair_open(&pair);
    bulk_both_ways(&pair);
    pair_close(&pair);
    machine_stop();
}

static void unix_address(struct address *ret)
{
    char directory[] = "/tmp/stream-test-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert(address_parse(directory, 5432, ret));
}

static void unix_address_remove(struct address *address)
{
    ck_assert_int_eq(access(address->path, F_OK), -1);
    *strrchr(address->path, '/') = '\0';
    ck_assert_int_eq(rmdir(address->path), 0);
}

BODY(megabytes_pass_both_ways_over_a_unix_socket)
{
    struct address at;
    unix_address(&at);
    struct pair pair;
    pair_open_at(&pair, &at);
    bulk_both_ways(&pair);
    say(&pair.client, "bye");
    stream_close(&pair.client);
    expect(&pair.server, "bye");
    expect_end(&pair.server);
    pair_close(&pair);
    unix_address_remove(&at);
    machine_stop();
}

BODY(a_socket_file_left_by_the_dead_is_taken_over_and_a_live_one_is_not)
{
    struct address at;
    unix_address(&at);
    int dead = os->listen(&at, 5, 0777);
    ck_assert_int_ge(dead, 0);
    struct listener listener;
    ck_assert_int_eq(listener_open(&listener, &at, 5, 0777), FAULT_SYSTEM);
    os->close(dead);
    ck_assert_int_eq(access(at.path, F_OK), 0);
    ck_assert_int_eq(listener_open(&listener, &at, 5, 0777), OK);
    listener_close(&listener);
    unix_address_remove(&at);
    machine_stop();
}

/* --- moving ----------------------------------------------------------------------------------- */

#define MOVES 300

/* A stream that travels between two machines while its peer keeps sending numbers. */
struct traveller {
    struct mail mail;
    struct stream stream;
    struct machine *machines[2];
    uint32_t expected;
    int moves;
    struct co *main;
};

static void traveller_arrives(void *argument)
{
    struct traveller *traveller = argument;
    ck_assert_int_eq(stream_attach(&traveller->stream), OK);
    for (int i = 0; i < 3; i++) {
        uint32_t number;
        ck_assert_int_eq(stream_read_all(&traveller->stream, &number, sizeof(number), SOON), OK);
        ck_assert_uint_eq(number, traveller->expected++);
    }
    if (traveller->moves == MOVES) {
        stream_close(&traveller->stream);
        return;
    }
    stream_detach(&traveller->stream);
    mail_send(traveller->machines[traveller->moves++ % 2], &traveller->mail);
}

static void traveller_delivered(struct mail *mail)
{
    struct traveller *traveller = CONTAINER_OF(mail, struct traveller, mail);
    ck_assert_int_eq(co_run_now(traveller_arrives, traveller, CO_SMALL), OK);
}

struct idler {
    struct co *co; /* atomic */
};

static void idles_until_cancelled(void *argument)
{
    __atomic_store_n(&((struct idler *)argument)->co, co_self(), __ATOMIC_RELEASE);
    while (!co_cancelled())
        ck_assert_int_ne(co_wait(NEVER), FAULT_TIMEOUT);
    machine_stop();
}

struct ending {
    struct mail mail;
    struct idler *idler;
};

static void ending_delivered(struct mail *mail)
{
    co_cancel(CONTAINER_OF(mail, struct ending, mail)->idler->co);
}

static void sends_numbers(void *argument)
{
    struct stream *stream = argument;
    for (uint32_t number = 0;; number++) {
        if (stream_write(stream, span_of(&number, sizeof(number)), SOON) != OK)
            return;
        if (number % 7 == 0)
            co_yield ();
    }
}

BODY(nothing_is_lost_when_a_stream_moves_between_machines)
{
    static struct traveller traveller;
    struct pair pair;
    pair_open(&pair);
    struct idler idlers[2] = {0};
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(
            machine_new("relay", idles_until_cancelled, &idlers[i], &traveller.machines[i]), OK);
        while (__atomic_load_n(&idlers[i].co, __ATOMIC_ACQUIRE) == NULL)
            ck_assert_int_eq(co_sleep(ms(1)), OK);
    }
    traveller.mail.deliver = traveller_delivered;
    stream_detach(&pair.server);
    traveller.stream = pair.server;
    pair.server = STREAM_INIT;
    struct co_group group;
    co_group_init(&group);
    ck_assert_int_eq(co_group_start(&group, sends_numbers, &pair.client, CO_SMALL), OK);
    ck_assert(mail_send(traveller.machines[1], &traveller.mail));
    co_group_join(&group);
    for (int i = 0; i < 2; i++) {
        struct ending ending = {{.deliver = ending_delivered}, &idlers[i]};
        ck_assert(mail_send(traveller.machines[i], &ending.mail));
        machine_join(&traveller.machines[i]);
    }
    ck_assert_uint_eq(traveller.expected, (MOVES + 1) * 3);
    pair_close(&pair);
    machine_stop();
}

/* --- running out, signals --------------------------------------------------------------------- */

/* How many of the next calls fail. */
static unsigned accepts_fail, adds_fail;
static const struct os *true_os;

static int accept_may_fail(int listener, struct address *ret_peer)
{
    if (accepts_fail == 0)
        return true_os->accept(listener, ret_peer);
    accepts_fail -= 1;
    return -EMFILE;
}

static int add_may_fail(int poller, int handle, uint64_t tag)
{
    if (adds_fail == 0)
        return true_os->poll_add_shared(poller, handle, tag);
    adds_fail -= 1;
    return -ENOMEM;
}

static int taken;

static void take(struct acceptor *acceptor, int handle, const struct address *peer UNUSED)
{
    ck_assert(acceptor->stream.machine != NULL);
    taken = handle;
}

BODY(an_acceptor_accepts_again_once_there_is_memory)
{
    struct address at;
    struct listener listener;
    struct acceptor acceptor;
    struct stream client = STREAM_INIT;
    struct os failing = *os;
    ck_assert(address_parse("127.0.0.1", 0, &at));
    ck_assert_int_eq(listener_open(&listener, &at, 16, 0), OK);
    ck_assert_int_eq(listener_give(&listener), OK);
    ck_assert_int_eq(acceptor_open(&acceptor, &listener, take), OK);
    failing.accept = accept_may_fail;
    failing.poll_add_shared = add_may_fail;
    true_os = os;
    os = &failing;
    taken = -1;
    accepts_fail = 1;
    adds_fail = 2;
    struct dialer dialer = {&client, &listener.address, OK};
    dials(&dialer);
    ck_assert_int_eq(dialer.end, OK);
    for (deadline by = SOON; taken < 0 && now_exact().us < by.us;)
        ck_assert_int_eq(co_sleep(ms(5)), OK);
    os = true_os;
    ck_assert_int_ge(taken, 0);
    ck_assert_uint_eq(accepts_fail + adds_fail, 0);
    os->close(taken);
    stream_close(&client);
    acceptor_close(&acceptor);
    listener_close(&listener);
    machine_stop();
}

BODY(accepting_without_descriptors_is_a_fault_that_passes)
{
    struct pair pair;
    pair_open(&pair);
    int dialed = os->connect(&pair.listener.address);
    ck_assert_int_ge(dialed, 0);
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int spare = dup(0);
    struct rlimit few = {.rlim_cur = (rlim_t)spare, .rlim_max = limit.rlim_max};
    close(spare);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    int handle;
    struct address peer;
    ck_assert_int_eq(listener_accept(&pair.listener, &handle, &peer, SOON), FAULT_SYSTEM);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(listener_accept(&pair.listener, &handle, &peer, SOON), OK);
    ck_assert_int_eq(peer.family, ADDRESS_IPV4);
    os->close(handle);
    os->close(dialed);
    ck_assert_int_eq(listener_accept(&pair.listener, &handle, &peer, after(ms(1))), FAULT_TIMEOUT);
    pair_close(&pair);
    machine_stop();
}

BODY(signals_are_events_of_the_machine_that_asked_for_them)
{
    struct signals signals;
    ck_assert_int_eq(signals_open(&signals, (int[]){SIGHUP, SIGUSR1}, 2), OK);
    raise(SIGHUP);
    int number;
    ck_assert_int_eq(signals_next(&signals, &number, SOON), OK);
    ck_assert_int_eq(number, SIGHUP);
    ck_assert_int_eq(signals_next(&signals, &number, after(ms(1))), FAULT_TIMEOUT);
    raise(SIGUSR1);
    ck_assert_int_eq(signals_next(&signals, &number, SOON), OK);
    ck_assert_int_eq(number, SIGUSR1);
    signals_close(&signals);
    machine_stop();
}

/* --- addresses -------------------------------------------------------------------------------- */

TEST(addresses_are_read_and_written_as_people_write_them)
{
    static const struct {
        const char *host;
        const char *text;
        const char *host_text;
    } rows[] = {
        {"127.0.0.1", "127.0.0.1:5432", "127.0.0.1"},
        {"::1", "[::1]:5432", "::1"},
        {"2001:DB8::7", "[2001:db8::7]:5432", "2001:db8::7"},
        {"fe80::1%3", "[fe80::1%3]:5432", "fe80::1%3"},
        {"/run/postgresql", "/run/postgresql/.s.PGSQL.5432", "unix"},
        {"localhost", NULL, NULL},
        {"127.1", NULL, NULL},
        {"fe80::1%", NULL, NULL},
        {"", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct address address;
        char text[ADDRESS_TEXT_SIZE];
        ck_assert_int_eq(address_parse(rows[i].host, 5432, &address), rows[i].text != NULL);
        if (rows[i].text == NULL)
            continue;
        ck_assert_str_eq(address_text(&address, text, sizeof(text)), rows[i].text);
        ck_assert_str_eq(address_host_text(&address, text, sizeof(text)), rows[i].host_text);
        struct address other = address;
        ck_assert(address_equal(&address, &other));
        ck_assert(address_parse(rows[i].host, 5433, &other));
        ck_assert(!address_equal(&address, &other));
    }
    char directory[200];
    memset(directory, 'x', sizeof(directory));
    directory[0] = '/';
    directory[199] = '\0';
    struct address address;
    ck_assert(!address_parse(directory, 5432, &address));
}
END_TEST

/* A dead peer is given up as soon while bytes are under way as while it is silent. */
BODY(the_users_timeout_follows_from_the_probes)
{
    struct pair pair;
    pair_open(&pair);
    int timeout = 0;
    socklen_t size = sizeof(timeout);
    struct socket_options options = {
        .keepalive = true, .keep_idle = 60, .keep_interval = 10, .keep_count = 3};
    stream_set_options(&pair.client, &options);
    ck_assert_int_eq(getsockopt(pair.client.handle, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, &size),
                     0);
    ck_assert_int_eq(timeout, 90000);
    options.user_timeout = 7000;
    stream_set_options(&pair.client, &options);
    ck_assert_int_eq(getsockopt(pair.client.handle, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, &size),
                     0);
    ck_assert_int_eq(timeout, 7000);
    pair_close(&pair);
    machine_stop();
}

TESTS("stream", the_users_timeout_follows_from_the_probes,
      the_two_ends_of_a_pair_read_what_the_other_writes, a_connection_carries_bytes_both_ways,
      a_refused_connection_says_why, an_address_in_use_is_named_in_the_story,
      a_cancelled_read_ends_and_leaves_the_stream_usable,
      an_end_that_comes_with_the_last_bytes_is_seen, a_side_that_ended_can_still_be_written_to,
      a_reset_is_an_end_with_a_reason, a_parked_stream_calls_its_waker_for_bytes_and_for_the_end,
      urgent_bytes_stay_in_line, megabytes_pass_both_ways_over_tcp,
      megabytes_pass_both_ways_over_a_unix_socket,
      a_socket_file_left_by_the_dead_is_taken_over_and_a_live_one_is_not,
      nothing_is_lost_when_a_stream_moves_between_machines,
      accepting_without_descriptors_is_a_fault_that_passes,
      an_acceptor_accepts_again_once_there_is_memory,
      signals_are_events_of_the_machine_that_asked_for_them,
      addresses_are_read_and_written_as_people_write_them)
