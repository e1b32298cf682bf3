#include "admin/console.h"
#include "auth/auth_query.h"
#include "limits_play.h"
#include "machine/os.h"
#include "relay/relay.h"

#include <errno.h>

/* Bytes that a narrow socket holds: less than a login's last messages. */
#define NARROW 40u

/*
 * Limits of docs/LIMITS.md from both sides: times, and what a client may have under way.
 */

/* --- cleaning a server ------------------------------------------------------------------------ */

/* Its client has gone in a transaction, and it is asked to roll that back. */
static void is_left(struct talk *server)
{
    struct talk client;
    begin(&client, server);
    PUT(&client, 'Q', "BEGIN");
    flush(&client);
    EXPECT(server, 'Q', "BEGIN");
    PUT(server, 'C', "BEGIN");
    PUT_BARE(server, 'Z', "T");
    flush(server);
    EXPECT(&client, 'C', "BEGIN");
    EXPECT_BARE(&client, 'Z', "T");
    talk_end(&client);
    EXPECT(server, 'Q', "ROLLBACK");
}

PLAY(a_server_that_is_cleaned_just_in_time_serves_the_next)
{
    struct talk next, server;
    is_left(&server);
    pass(BEFORE(world.config->reset_timeout));
    PUT(&server, 'C', "ROLLBACK");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    log_in(&next);
    ask(&next, &server);
    finish(&next, &server);
}

PLAY(a_server_that_is_not_cleaned_in_time_is_closed)
{
    struct talk next = TALK_INIT, server, other;
    is_left(&server);
    deadline asked = now();
    expect_end(&server);
    is_at_limit(asked, world.config->reset_timeout);
    talk_end(&server);
    ck_assert_int_eq(talk_hello(&next, &world, "app", "joe"), OK);
    accept_server(&other, 101);
    ck_assert_int_eq(talk_await_ready(&next), OK);
    ask(&next, &other);
    finish(&next, &other);
}

/* --- cancel requests -------------------------------------------------------------------------- */

static void request_cancel(const struct busy *busy, struct talk *request)
{
    *request = TALK_INIT;
    ck_assert_int_eq(stream_connect(&request->stream, &world.at, NULL, soon()), OK);
    wire_put_cancel(&request->out, busy->pid, span_of(busy->secret, 4));
    flush(request);
}

/* It comes to the server, which does not end it yet. */
static void receive_cancel(uint32_t pid, struct talk *received)
{
    int handle;
    struct address from;
    uint32_t cancelled = 0;
    *received = TALK_INIT;
    ck_assert_int_eq(listener_accept(&world.backend, &handle, &from, soon()), OK);
    ck_assert_int_eq(stream_adopt(&received->stream, handle, false), OK);
    ck_assert_int_eq(talk_welcome(received, pid, &cancelled), FAULT_CLOSED);
    ck_assert_uint_eq(cancelled, pid);
}

static void request_ends(struct talk *request)
{
    expect_end(request);
    talk_end(request);
}

/* The query has been cancelled. */
static void is_cancelled(struct busy *busy)
{
    put_error(&busy->server, "ERROR", "57014");
    PUT_BARE(&busy->server, 'Z', "I");
    flush(&busy->server);
    expect_error(&busy->client, "ERROR", "57014");
    EXPECT_BARE(&busy->client, 'Z', "I");
}

PLAY(a_cancel_request_that_is_through_just_in_time_was_carried_out)
{
    struct busy busy;
    struct talk request, received;
    world_start(&world, 1, 1);
    busy_begin(&busy, 100);
    request_cancel(&busy, &request);
    receive_cancel(100, &received);
    pass(BEFORE(world.config->cancel_timeout));
    talk_end(&received);
    request_ends(&request);
    is_cancelled(&busy);
    be_marked(&busy.server);
    ask(&busy.client, &busy.server);
    finish(&busy.client, &busy.server);
}

/* Nobody knows when it will be carried out: the server serves nobody any more. */
PLAY(a_cancel_request_that_takes_too_long_is_given_up)
{
    struct busy busy;
    struct talk request, received, other;
    world_start(&world, 1, 1);
    busy_begin(&busy, 100);
    request_cancel(&busy, &request);
    receive_cancel(100, &received);
    moment since = now();
    request_ends(&request);
    is_at_limit(since, world.config->cancel_timeout);
    request_ends(&received);
    is_cancelled(&busy);
    PUT(&busy.client, 'Q', "SELECT 1");
    flush(&busy.client);
    accept_server(&other, 101);
    talk_end(&other);
    busy_end(&busy);
    world_stop(&world);
}

PLAY(so_many_cancel_requests_are_under_way_and_one_more_does_nothing)
{
    struct busy busy[3];
    struct talk requests[3], received[3];
    world_prepare(&world, 1, 3);
    world.config->cancels_max = 2;
    world_open(&world);
    for (uint32_t i = 0; i < 3; i++)
        busy_begin(&busy[i], 100 + i);
    for (uint32_t i = 0; i < 2; i++) {
        request_cancel(&busy[i], &requests[i]);
        receive_cancel(100 + i, &received[i]);
    }
    request_cancel(&busy[2], &requests[2]);
    moment since = now();
    request_ends(&requests[2]);
    is_at_limit(since, ms(0));
    nobody_connects();
    talk_end(&received[0]);
    request_ends(&requests[0]);
    request_cancel(&busy[2], &requests[2]);
    receive_cancel(102, &received[2]);
    for (int i = 1; i < 3; i++) {
        talk_end(&received[i]);
        request_ends(&requests[i]);
    }
    for (int i = 0; i < 3; i++)
        busy_end(&busy[i]);
    world_stop(&world);
}

/* --- a server that was told to end ------------------------------------------------------------ */

/* It has rested for too long, and another one is wanted. */
static deadline is_told_to_end(struct talk *client, struct talk *server)
{
    *client = TALK_INIT;
    world_prepare(&world, 1, 1);
    world.routes[1].idle_timeout = sec(5);
    world_open(&world);
    ck_assert_int_eq(talk_hello(client, &world, "app", "joe"), OK);
    accept_server(server, 100);
    ck_assert_int_eq(talk_await_ready(client), OK);
    EXPECT_BARE(server, 'X', "");
    moment told = now();
    PUT(client, 'Q', "SELECT 1");
    flush(client);
    return told;
}

PLAY(a_server_that_was_told_to_end_keeps_its_slot_until_it_ends)
{
    struct talk client, server, other;
    moment told = is_told_to_end(&client, &server);
    pass(BEFORE(sec(1)));
    talk_end(&server);
    accept_server(&other, 101);
    ck_assert_int_lt(between(told, now()).us, sec(1).us);
    EXPECT(&other, 'Q', "SELECT 1");
    finish(&client, &other);
}

PLAY(the_slot_of_a_server_that_does_not_end_is_free_after_its_time)
{
    struct talk client, server, other;
    moment told = is_told_to_end(&client, &server);
    accept_server(&other, 101);
    is_at_limit(told, sec(1));
    EXPECT(&other, 'Q', "SELECT 1");
    talk_end(&server);
    finish(&client, &other);
}

/* --- shutting down ---------------------------------------------------------------------------- */

static void stop_pooler(void *argument UNUSED)
{
    ck_assert(pooler_stop(world.pooler, after(sec(60))));
}

PLAY(so_many_clients_are_told_to_leave_in_a_second)
{
    static struct talk clients[60];
    struct talk server;
    struct co_group group;
    co_group_init(&group);
    world_prepare(&world, 1, 1);
    world.config->shutdown_rate = 20;
    world_open(&world);
    for (int i = 0; i < 60; i++) {
        clients[i] = TALK_INIT;
        ck_assert_int_eq(talk_hello(&clients[i], &world, "app", "joe"), OK);
        if (i == 0)
            accept_server(&server, 100);
        ck_assert_int_eq(talk_await_ready(&clients[i]), OK);
    }
    moment since = now();
    ck_assert_int_eq(co_group_start(&group, stop_pooler, NULL, CO_LARGE), OK);
    for (int i = 0; i < 60; i++) {
        expect_error(&clients[i], "FATAL", "57P01");
        is_at_limit(since, ms(50 * i));
        if (i < 59)
            ask(&clients[59], &server);
        talk_end(&clients[i]);
    }
    talk_end(&server);
    co_group_join(&group);
    pooler_free(&world.pooler);
    world_stop(&world);
}

/* --- ending a client in the middle of a message ----------------------------------------------- */

/* Stops the pooler when the client takes the first bytes of a reply: at once its relay hears of the
 * end and that there is room again.  The client sees no error in the middle of a message. */
static void is_cut(struct talk *client)
{
    struct co_group group;
    uint8_t bytes[1024];
    size_t got = 0, more = 0;
    pass(sec(1));
    ck_assert_int_eq(stream_read_some(&client->stream, bytes, sizeof(bytes), &got), OK);
    ck_assert_uint_eq(got, NARROW);
    co_group_init(&group);
    ck_assert_int_eq(co_group_start(&group, stop_pooler, NULL, CO_LARGE), OK);
    while (stream_read(&client->stream, bytes + got, sizeof(bytes) - got, &more, soon()) == OK)
        got += more;
    ck_assert_ptr_null(memmem(bytes, got, "57P01", 5));
    talk_end(client);
    co_group_join(&group);
    pooler_free(&world.pooler);
}

PLAY(a_login_that_ends_within_its_last_messages_is_sent_no_error)
{
    static const struct sim_rates calm, narrow = {.ring_min = NARROW, .ring_max = NARROW};
    struct talk first, server, client = TALK_INIT;
    begin(&first, &server);
    sim_set_rates(&narrow);
    ck_assert_int_eq(talk_hello(&client, &world, "app", "joe"), OK);
    sim_set_rates(&calm);
    is_cut(&client);
    finish(&first, &server);
}

PLAY(a_console_session_that_ends_within_a_message_is_sent_no_error)
{
    static const struct sim_rates narrow = {.ring_min = NARROW, .ring_max = NARROW};
    static const struct pooler_console console = {.serve = console_serve};
    static const char *name = "trunkline";
    struct talk client = TALK_INIT;
    world_prepare(&world, 1, 1);
    world.listen.host = "/run/trunkline";
    ck_assert(address_parse(world.listen.host, world.listen.port, &world.at));
    world.config->console_databases = &name;
    world.config->console_database_count = 1;
    ck_assert_int_eq(pooler_start(world.config, &console, &world.pooler), OK);
    sim_set_rates(&narrow);
    ck_assert_int_eq(talk_hello(&client, &world, name, name), OK);
    is_cut(&client);
    world_stop(&world);
}

/* --- memory that somebody else gives up ------------------------------------------------------- */

static struct poor {
    struct relay relay;
    struct config config;
    struct client asking;
    uint64_t held;
} poor;

/* All is in use. */
static void poor_init(void)
{
    poor = (struct poor){.config.memory_max = 8192};
    poor.relay.pools.config = &poor.config;
    list_init(&poor.relay.clients);
    list_init(&poor.relay.pools.all);
    chunk_store_init(&poor.relay.chunks, 8192, 1);
    poor.held = (uint64_t)poor.relay.chunks.max * poor.relay.chunks.size;
    ck_assert(chunk_hold(&poor.relay.chunks, poor.held));
    poor.asking.relay = &poor.relay;
}

static void poor_gives(void *argument)
{
    pass(*(const duration *)argument);
    chunk_unhold(&poor.relay.chunks, poor.held);
}

/* How long it takes until it is refused. */
static duration poor_asks_in_vain(void)
{
    poor_init();
    poor.relay.shedding.under_way = 1; /* somebody is about to go */
    moment since = now();
    uint64_t tries = machine_stats(machine_self()).switches;
    ck_assert_int_eq(client_room(&poor.asking, 1), FAULT_MEMORY);
    is_at_limit(since, sec(1));
    ck_assert_uint_eq(machine_stats(machine_self()).switches - tries, 1000);
    return between(since, now());
}

static fault poor_asks_until(duration given)
{
    struct co_group group;
    co_group_init(&group);
    poor_init();
    poor.relay.shedding.under_way = 1;
    ck_assert_int_eq(co_group_start(&group, poor_gives, &given, CO_SMALL), OK);
    fault room = client_room(&poor.asking, 1);
    co_group_join(&group);
    return room;
}

PLAY(who_wants_memory_waits_for_so_long_until_somebody_gives_it_up)
{
    duration all = poor_asks_in_vain();
    ck_assert_int_eq(poor_asks_until((duration){all.us - 1500}), OK);
    ck_assert_int_eq(poor_asks_until((duration){all.us + 1500}), FAULT_MEMORY);
    machine_stop();
}

static void sleeps(void *argument)
{
    struct client *client = argument;
    client->co = co_self();
    ck_assert_int_eq(co_sleep(sec(60)), FAULT_CANCELLED);
}

/* Of so many clients the last one holds something: how many looks until it is told to go. */
static uint32_t looks_for_the_last_of(uint32_t count)
{
    struct client *clients = calloc(count, sizeof(*clients));
    struct co_group group;
    uint32_t looks = 0;
    co_group_init(&group);
    poor_init();
    ck_assert_ptr_nonnull(clients);
    for (uint32_t i = 0; i < count; i++) {
        clients[i].relay = &poor.relay;
        clients[i].serial = i + 1;
        list_push(&poor.relay.clients, &clients[i].node);
    }
    struct client *last = &clients[count - 1];
    last->stash_size = 100;
    ck_assert_int_eq(co_group_start(&group, sleeps, last, CO_SMALL), OK);
    for (pass(ms(1)); !last->shed; looks++)
        ck_assert_int_eq(relay_relieve(&poor.relay, &poor.asking, 1), RELIEF_SOON);
    co_group_join(&group);
    chunk_unhold(&poor.relay.chunks, poor.held);
    free(clients);
    return looks;
}

PLAY(so_many_clients_are_looked_at_in_one_go)
{
    ck_assert_uint_eq(looks_for_the_last_of(4096), 1);
    ck_assert_uint_eq(looks_for_the_last_of(4097), 2);
    ck_assert_uint_eq(looks_for_the_last_of(8192), 2);
    ck_assert_uint_eq(looks_for_the_last_of(8193), 3);
    machine_stop();
}

/* --- users who are asked for ------------------------------------------------------------------ */

/* Users stand in no file: a server is asked, which knows only "ann". */
static void asking_start(void)
{
    static struct route_config lookup;
    world_prepare(&world, 1, 1);
    world.routes[1].auth = world.routes[1].how.method = AUTH_PASSWORD;
    world.routes[1].query = true;
    lookup = world.routes[0];
    lookup.database = NULL;
    lookup.mode = POOL_TRANSACTION;
    lookup.is_lookup = true;
    lookup.claim_timeout = sec(3);
    world.config->lookups = &lookup;
    world.config->lookup_count = 1;
    world.config->query.sql = "select the secret of $1";
    world.config->query.user = "looker";
    world.config->query.database = "app";
    world.config->query.pool_size = 1;
    world.config->query.refresh = sec(3600);
    world.config->query.timeout = sec(3);
    world_open(&world);
}

/* Its server is the pool's own. */
static void user_hello(struct talk *client, const char *user)
{
    *client = TALK_INIT;
    ck_assert_int_eq(talk_hello(client, &world, "app", user), OK);
}

static void user_says_password(struct talk *client)
{
    ck_assert_int_eq(talk_read(client), OK);
    ck_assert_int_eq(client->frame.type, WIRE_AUTHENTICATION);
    PUT(client, 'p', "secret");
    flush(client);
}

static void expect_question(struct talk *looker)
{
    static const char kinds[] = "PBES";
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(talk_read(looker), OK);
        ck_assert_int_eq(looker->frame.type, kinds[i]);
    }
}

static void answer_question(struct talk *looker, bool known)
{
    PUT_BARE(looker, '1', "");
    PUT_BARE(looker, '2', "");
    if (known)
        PUT_BARE(looker, 'D', "\0\1\0\0\0\6secret");
    PUT(looker, 'C', "SELECT");
    PUT_BARE(looker, 'Z', "I");
    flush(looker);
}

PLAY(a_question_about_a_user_that_is_answered_just_in_time_lets_it_in)
{
    struct talk client, looker, server;
    asking_start();
    user_hello(&client, "ann");
    accept_server(&looker, 99);
    expect_question(&looker);
    pass(BEFORE(world.config->query.timeout));
    answer_question(&looker, true);
    user_says_password(&client);
    accept_server(&server, 100);
    ck_assert_int_eq(talk_await_ready(&client), OK);
    ask(&client, &server);
    talk_end(&looker);
    finish(&client, &server);
}

PLAY(a_question_about_a_user_that_is_not_answered_in_time_is_an_error)
{
    struct talk client, looker;
    asking_start();
    moment since = now();
    user_hello(&client, "ann");
    accept_server(&looker, 99);
    expect_question(&looker);
    expect_error(&client, "FATAL", "58000");
    is_at_limit(since, world.config->query.timeout);
    expect_end(&client);
    talk_end(&looker);
    talk_end(&client);
    world_stop(&world);
}

/* Nobody knows this one, and that is remembered as well. */
static void stranger_comes(struct talk *looker, unsigned number)
{
    struct talk client;
    char name[16];
    snprintf(name, sizeof(name), "u%u", number);
    user_hello(&client, name);
    expect_question(looker);
    answer_question(looker, false);
    ck_assert_int_eq(talk_read(&client), OK);
    ck_assert_int_eq(client.frame.type, WIRE_AUTHENTICATION);
    talk_end(&client); /* it does not guess: to check a password takes long */
}

PLAY(so_many_answers_about_users_are_kept_and_then_all_are_forgotten)
{
    struct talk client, looker, server;
    asking_start();
    user_hello(&client, "ann");
    accept_server(&looker, 99);
    expect_question(&looker);
    answer_question(&looker, true);
    user_says_password(&client);
    accept_server(&server, 100);
    ck_assert_int_eq(talk_await_ready(&client), OK);
    for (unsigned i = 0; i < 9999; i++)
        stranger_comes(&looker, i);
    struct talk again;
    user_hello(&again, "ann"); /* nothing is asked */
    user_says_password(&again);
    ck_assert_int_eq(talk_await_ready(&again), OK);
    talk_end(&again);
    stranger_comes(&looker, 9999);
    user_hello(&again, "ann");
    expect_question(&looker);
    answer_question(&looker, true);
    user_says_password(&again);
    ck_assert_int_eq(talk_await_ready(&again), OK);
    talk_end(&again);
    talk_end(&looker);
    finish(&client, &server);
}

/* --- a command that gives a password ---------------------------------------------------------- */

static duration command_takes;

/* Instead of a process: ends in its time, or at the deadline. */
static int command_run(void *argument UNUSED, const char *const *words UNUSED, deadline by,
                       struct os_output *output)
{
    if (between(now_exact(), by).us < command_takes.us)
        return -ETIMEDOUT;
    memcpy(output->at, "secret\n", 7);
    output->size = 7;
    return 0;
}

/* For a login to the server. */
static void want_password(duration takes, struct talk *client)
{
    world_prepare(&world, 1, 1);
    world.routes[1].password_command = "give";
    world.service.connect_timeout = sec(60);
    command_takes = takes;
    sim_run_by(command_run, NULL);
    world_open(&world);
    *client = TALK_INIT;
    ck_assert_int_eq(talk_hello(client, &world, "app", "joe"), OK);
}

PLAY(a_command_that_gives_a_password_just_in_time_is_good)
{
    static const struct link_accept plain = {.tls_mode = TLS_MODE_DISABLE};
    static uint8_t bytes[WIRE_STARTUP_MAX];
    struct talk client, server = TALK_INIT;
    struct wire_startup startup;
    struct address from;
    int handle;
    want_password(sec(30), &client);
    ck_assert_int_eq(listener_accept(&world.backend, &handle, &from, soon()), OK);
    ck_assert_int_eq(stream_adopt(&server.stream, handle, false), OK);
    ck_assert_int_eq(link_read_startup(&server.stream, &plain, bytes, &startup, soon()), OK);
    wire_put_authentication(&server.out, WIRE_AUTH_PASSWORD, SPAN_NONE);
    flush(&server);
    EXPECT(&server, 'p', "secret");
    talk_greet(&server, 100);
    flush(&server);
    ck_assert_int_eq(talk_await_ready(&client), OK);
    ask(&client, &server);
    finish(&client, &server);
}

PLAY(a_command_that_takes_longer_is_ended_and_the_login_fails)
{
    struct talk client;
    want_password((duration){sec(30).us + 1}, &client);
    expect_error(&client, "FATAL", "28000");
    expect_end(&client);
    nobody_connects();
    talk_end(&client);
    world_stop(&world);
}

TESTS("sim_limits", a_server_that_is_cleaned_just_in_time_serves_the_next,
      a_server_that_is_not_cleaned_in_time_is_closed,
      a_cancel_request_that_is_through_just_in_time_was_carried_out,
      a_cancel_request_that_takes_too_long_is_given_up,
      so_many_cancel_requests_are_under_way_and_one_more_does_nothing,
      a_server_that_was_told_to_end_keeps_its_slot_until_it_ends,
      the_slot_of_a_server_that_does_not_end_is_free_after_its_time,
      so_many_clients_are_told_to_leave_in_a_second,
      a_login_that_ends_within_its_last_messages_is_sent_no_error,
      a_console_session_that_ends_within_a_message_is_sent_no_error,
      who_wants_memory_waits_for_so_long_until_somebody_gives_it_up,
      so_many_clients_are_looked_at_in_one_go,
      a_question_about_a_user_that_is_answered_just_in_time_lets_it_in,
      a_question_about_a_user_that_is_not_answered_in_time_is_an_error,
      so_many_answers_about_users_are_kept_and_then_all_are_forgotten,
      a_command_that_gives_a_password_just_in_time_is_good,
      a_command_that_takes_longer_is_ended_and_the_login_fails)
