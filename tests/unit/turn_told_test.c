#include "pool/counts.h"
#include "session/pin.h"
#include "turn_steps.h"

/*
 * What a server says unasked reaches its client, and a server stays with its client until its
 * transaction has ended: each byte in its place, and nobody else in between.
 */

/* All that was sent to the relay before is dealt with when it has let in somebody else. */
static void relay_catches_up(void)
{
    struct talk somebody;
    log_in(&somebody);
    talk_end(&somebody);
}

/* One query, and an answer that leaves the transaction in this state. */
static void ask_for(struct talk *client, struct talk *server, const char *text, char status)
{
    wire_put_query(&client->out, span_text(text));
    flush(client);
    expect_bytes(server, 'Q', text, strlen(text) + 1);
    PUT(server, 'C', "DONE");
    talk_put(server, 'Z', &status, 1);
    flush(server);
    EXPECT(client, 'C', "DONE");
    expect_bytes(client, 'Z', &status, 1);
}

/* --- whose server it is ----------------------------------------------------------------------- */

static void keeps_its_server(char status)
{
    struct talk first, second, server;
    begin(&first, &server);
    log_in(&second);
    ask_for(&first, &server, "BEGIN", status);
    PUT(&second, 'Q', "SELECT 2");
    flush(&second);
    relay_catches_up();
    ask_for(&first, &server, "ROLLBACK", 'I');
    EXPECT(&server, 'Q', "SELECT 2");
    PUT(&server, 'C', "SELECT 1");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT(&second, 'C', "SELECT 1");
    EXPECT_BARE(&second, 'Z', "I");
    talk_end(&second);
    finish(&first, &server);
}

BODY(a_server_in_a_transaction_is_nobody_elses)
{
    keeps_its_server('T');
}

BODY(a_server_in_a_failed_transaction_is_nobody_elses)
{
    keeps_its_server('E');
}

/* --- what is said unasked --------------------------------------------------------------------- */

/* Between the command and the end of its answer, in the order in which it was said. */
static void tells_all(struct talk *client, struct talk *server, char status)
{
    PUT(client, 'Q', "SELECT 3");
    flush(client);
    EXPECT(server, 'Q', "SELECT 3");
    PUT(server, 'N', "SNOTICE\0C00000\0Mone\0");
    PUT(server, 'S', "application_name\0mine");
    PUT(server, 'N', "SNOTICE\0C00000\0Mtwo\0");
    PUT(server, 'C', "SELECT 1");
    PUT(server, 'S', "client_encoding\0LATIN1");
    PUT(server, 'A', "\0\0\0\007news\0three");
    talk_put(server, 'Z', &status, 1);
    flush(server);
    EXPECT(client, 'N', "SNOTICE\0C00000\0Mone\0");
    EXPECT(client, 'S', "application_name\0mine");
    EXPECT(client, 'N', "SNOTICE\0C00000\0Mtwo\0");
    EXPECT(client, 'C', "SELECT 1");
    EXPECT(client, 'S', "client_encoding\0LATIN1");
    EXPECT(client, 'A', "\0\0\0\007news\0three");
    expect_bytes(client, 'Z', &status, 1);
}

BODY(what_is_said_unasked_arrives_once_and_in_order)
{
    struct talk client, server;
    begin(&client, &server);
    tells_all(&client, &server, 'I');
    ask_for(&client, &server, "SELECT 4", 'I'); /* nothing came twice */
    finish(&client, &server);
}

BODY(so_it_does_within_a_transaction)
{
    struct talk client, server;
    begin(&client, &server);
    ask_for(&client, &server, "BEGIN", 'T');
    tells_all(&client, &server, 'T');
    tells_all(&client, &server, 'E');
    ask_for(&client, &server, "ROLLBACK", 'I');
    finish(&client, &server);
}

/* A session's server says it to its client between two queries, when that is parked. */
BODY(what_is_said_while_a_client_is_parked_arrives)
{
    struct talk client, server, other, other_server;
    begin(&other, &other_server);
    client = TALK_INIT;
    ck_assert_int_eq(talk_hello(&client, &world, "session", "joe"), OK);
    accept_server(&server, 101);
    ck_assert_int_eq(talk_await_ready(&client), OK);
    ask_for(&client, &server, "LISTEN news", 'I');
    for (unsigned i = 0; i < 3; i++) {
        relay_catches_up(); /* it is parked */
        PUT(&server, 'A', "\0\0\0\007news\0late");
        PUT(&server, 'N', "SNOTICE\0C00000\0Mlate\0");
        flush(&server);
        EXPECT(&client, 'A', "\0\0\0\007news\0late");
        EXPECT(&client, 'N', "SNOTICE\0C00000\0Mlate\0");
    }
    ask_for(&client, &server, "SELECT 4", 'I');
    talk_end(&other);
    talk_end(&other_server);
    finish(&client, &server);
}

/* A length that no message has: what comes behind it can't be read, and the server is not asked
 * anything any more. */
BODY(a_server_that_sends_an_invalid_length_is_closed_at_once)
{
    struct talk client, server;
    struct wire_error error;
    begin(&client, &server);
    PUT(&client, 'Q', "SELECT 5");
    flush(&client);
    EXPECT(&server, 'Q', "SELECT 5");
    wire_put_u8(&server.out, 'D');
    wire_put_u32(&server.out, 3);
    flush(&server);
    ck_assert_int_eq(talk_read(&client), OK);
    ck_assert_int_eq(client.frame.type, WIRE_ERROR);
    ck_assert_int_eq(wire_read_error(client.frame.body, &error), OK);
    ck_assert(span_is(error.sqlstate, "08P01"));
    ck_assert_int_eq(talk_read(&server), FAULT_CLOSED);
    finish(&client, &server);
}

/* A client has set a parameter of its startup to the server's default.  That the server tells this
 * value again, while the client's text may have reset the parameter, is no reset. */
BODY(a_value_that_is_told_again_is_no_reset)
{
    struct talk other, client, server;
    begin(&other, &server);
    client = TALK_INIT;
    ck_assert_int_eq(talk_hello_with(&client, &world, "app", "joe", "application_name", "mine"),
                     OK);
    ck_assert_int_eq(talk_await_ready(&client), OK);
    PUT(&client, 'Q', "SET application_name = ''");
    flush(&client);
    EXPECT(&server, 'Q', "SET \"application_name\"='mine';");
    PUT(&server, 'C', "SET");
    PUT(&server, 'S', "application_name\0mine");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT(&server, 'Q', "SET application_name = ''");
    PUT(&server, 'C', "SET");
    PUT(&server, 'S', "application_name\0");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT(&client, 'C', "SET");
    EXPECT(&client, 'S', "application_name\0");
    EXPECT_BARE(&client, 'Z', "I");
    PUT(&client, 'Q', "DO $$begin reset application_name; end$$");
    flush(&client);
    EXPECT(&server, 'Q', "DO $$begin reset application_name; end$$");
    PUT(&server, 'C', "DO");
    PUT(&server, 'S', "application_name\0");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT(&client, 'C', "DO");
    EXPECT(&client, 'S', "application_name\0");
    EXPECT_BARE(&client, 'Z', "I"); /* the server is not asked for it again */
    talk_end(&other);
    finish(&client, &server);
}

/* --- what is refused -------------------------------------------------------------------------- */

/* What a route does not allow is not sent: something that must fail is, in its place. */
BODY(what_a_route_does_not_allow_is_refused_in_its_turn)
{
    struct talk client, server;
    struct wire_error error;
    world_prepare(&world, 1, 1);
    world.routes[1].session.policy[QUERY_LISTEN] = PIN_REJECT;
    world_open(&world);
    client = TALK_INIT;
    ck_assert_int_eq(talk_hello(&client, &world, "app", "joe"), OK);
    accept_server(&server, 100);
    ck_assert_int_eq(talk_await_ready(&client), OK);
    PUT(&client, 'Q', "LISTEN news");
    flush(&client);
    EXPECT(&server, 'Q', "trunkline: refused");
    wire_put_report(&server.out, &(struct wire_report){"ERROR", "42601", "said so", NULL, NULL});
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    ck_assert_int_eq(talk_read(&client), OK);
    ck_assert_int_eq(client.frame.type, WIRE_ERROR);
    ck_assert_int_eq(wire_read_error(client.frame.body, &error), OK);
    ck_assert(span_is(error.sqlstate, "0A000"));
    EXPECT_BARE(&client, 'Z', "I");
    ask_for(&client, &server, "SELECT 4", 'I');
    finish(&client, &server);
}

/* --- how many may be kept --------------------------------------------------------------------- */

TEST(pin_share_is_met_exactly)
{
    static const struct {
        uint32_t pool_size, pool, max;
    } cases[] = {{1, 1, 1},   {1, 100, 1},   {2, 49, 1}, {2, 50, 1},       {2, 99, 1},
                 {2, 100, 2}, {4, 50, 2},    {4, 74, 2}, {4, 75, 3},       {10, 90, 9},
                 {10, 89, 8}, {20, 90, 18},  {99, 1, 1}, {100, 1, 1},      {199, 1, 1},
                 {200, 1, 2}, {100, 99, 99}, {3, 67, 2}, {10000, 90, 9000}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct route_config route = {.pool_size = cases[i].pool_size};
        route.session.pin_share = cases[i].pool;
        ck_assert_uint_eq(local_pool_pin_max(&route), cases[i].max);
        struct counts *counts = counts_new();
        ck_assert_ptr_nonnull(counts);
        for (uint32_t pins = 0; pins < cases[i].max; pins++)
            ck_assert(counts_pin(counts, cases[i].max));
        ck_assert(!counts_pin(counts, cases[i].max));
        counts_unpin(counts);
        ck_assert(counts_pin(counts, cases[i].max));
        ck_assert(!counts_pin(counts, cases[i].max));
        counts_unref(&counts);
    }
}
END_TEST

TESTS("turn_told", a_server_in_a_transaction_is_nobody_elses,
      a_server_in_a_failed_transaction_is_nobody_elses,
      what_is_said_unasked_arrives_once_and_in_order, so_it_does_within_a_transaction,
      a_server_that_sends_an_invalid_length_is_closed_at_once,
      a_value_that_is_told_again_is_no_reset, what_a_route_does_not_allow_is_refused_in_its_turn,
      what_is_said_while_a_client_is_parked_arrives, pin_share_is_met_exactly)
