#include "turn_steps.h"

/*
 * Marks: before a server in doubt goes to another client, it is asked for a row that nothing else
 * can give.  The server here says what PostgreSQL may say: tests/integration/test_copy_facts.py.
 */

/* A COPY whose first row fails, with a Sync behind it, in one write: nobody can know whether the
 * COPY reads the Sync.  The answers up to the mark. */
static void copy_that_fails(struct talk *client, struct talk *server, char bits[33])
{
    PUT(client, 'Q', "copy ct from stdin");
    PUT_BARE(client, 'd', "bad\n");
    PUT_BARE(client, 'S', "");
    flush(client);
    EXPECT(server, 'Q', "copy ct from stdin");
    EXPECT_BARE(server, 'd', "bad\n");
    EXPECT_BARE(server, 'S', "");
    PUT(server, 'G', "\0\0");
    put_error(server, "ERROR", "22P02");
    PUT_BARE(server, 'Z', "I");
    flush(server);
    EXPECT(client, 'G', "\0\0");
    expect_error(client, "ERROR", "22P02");
    EXPECT_BARE(client, 'Z', "I");
    expect_mark(server, bits);
}

BODY(a_sync_that_a_copy_has_not_read_is_answered_to_its_client)
{
    struct talk client, next, server;
    char bits[33];
    begin(&client, &server);
    log_in(&next);
    PUT(&next, 'Q', "SELECT 2");
    copy_that_fails(&client, &server, bits);
    flush(&next);
    PUT_BARE(&server, 'Z', "I"); /* to the Sync */
    flush(&server);
    EXPECT_BARE(&client, 'Z', "I");
    answer_mark(&server, bits);
    EXPECT(&server, 'Q', "SELECT 2");
    PUT(&server, 'C', "SELECT 2");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT(&next, 'C', "SELECT 2");
    EXPECT_BARE(&next, 'Z', "I");
    ask(&client, &server);
    talk_end(&client);
    finish(&next, &server);
}

BODY(a_sync_that_a_copy_has_read_is_not_awaited)
{
    struct talk client, next, server;
    char bits[33];
    begin(&client, &server);
    log_in(&next);
    copy_that_fails(&client, &server, bits);
    answer_mark(&server, bits);
    ask(&next, &server);
    ask(&client, &server);
    talk_end(&client);
    finish(&next, &server);
}

/* The client's further input waits, and is answered in its turn. */
BODY(what_its_client_sends_meanwhile_waits_for_the_mark)
{
    struct talk client, server;
    char bits[33];
    begin(&client, &server);
    copy_that_fails(&client, &server, bits);
    PUT(&client, 'Q', "SELECT 1");
    flush(&client);
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT_BARE(&client, 'Z', "I");
    answer_mark(&server, bits);
    EXPECT(&server, 'Q', "SELECT 1");
    PUT(&server, 'C', "SELECT 1");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT(&client, 'C', "SELECT 1");
    EXPECT_BARE(&client, 'Z', "I");
    finish(&client, &server);
}

/* All of it, also what needs no server before what does. */
BODY(several_messages_that_come_during_a_mark_are_all_answered)
{
    struct talk client, server;
    char bits[33];
    begin(&client, &server);
    copy_that_fails(&client, &server, bits);
    PUT(&client, 'f', "enough");
    PUT_BARE(&client, 'S', "");
    PUT(&client, 'Q', "ROLLBACK");
    PUT(&client, 'Q', "");
    flush(&client);
    PUT_BARE(&server, 'Z', "I"); /* to the Sync before */
    flush(&server);
    EXPECT_BARE(&client, 'Z', "I");
    answer_mark(&server, bits);
    EXPECT_BARE(&client, 'Z', "I");
    EXPECT(&server, 'Q', "ROLLBACK");
    EXPECT(&server, 'Q', "");
    PUT(&server, 'C', "ROLLBACK");
    PUT_BARE(&server, 'Z', "I");
    PUT_BARE(&server, 'I', "");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT(&client, 'C', "ROLLBACK");
    EXPECT_BARE(&client, 'Z', "I");
    EXPECT_BARE(&client, 'I', "");
    EXPECT_BARE(&client, 'Z', "I");
    finish(&client, &server);
}

/* Another one comes in the place of the pool's server, which has gone. */
static void asks_another(struct talk *client)
{
    struct talk other;
    PUT(client, 'Q', "SELECT 1");
    flush(client);
    accept_server(&other, 101);
    EXPECT(&other, 'Q', "SELECT 1");
    PUT(&other, 'C', "SELECT 1");
    PUT_BARE(&other, 'Z', "I");
    flush(&other);
    EXPECT(client, 'C', "SELECT 1");
    EXPECT_BARE(client, 'Z', "I");
    finish(client, &other);
}

static void is_replaced(struct talk *client, struct talk *server)
{
    expect_end(server);
    talk_end(server);
    asks_another(client);
}

BODY(a_server_that_answers_a_mark_by_an_error_is_closed_and_its_client_goes_on)
{
    struct talk client, server;
    char bits[33];
    begin(&client, &server);
    copy_that_fails(&client, &server, bits);
    put_error(&server, "ERROR", "25P02");
    flush(&server);
    is_replaced(&client, &server);
}

/* Was its Sync answered?  A direct connection would have ended, too. */
BODY(the_end_of_a_server_before_its_mark_is_told_to_its_client)
{
    struct talk client, next, server;
    char bits[33];
    begin(&client, &server);
    log_in(&next);
    copy_that_fails(&client, &server, bits);
    talk_end(&server);
    expect_error(&client, "FATAL", "08007");
    expect_end(&client);
    talk_end(&client);
    asks_another(&next);
}

/* The same: its last word is no answer to the mark. */
BODY(the_last_word_of_a_server_before_its_mark_is_told_to_its_client)
{
    struct talk client, server;
    char bits[33];
    begin(&client, &server);
    copy_that_fails(&client, &server, bits);
    put_error(&server, "FATAL", "57P01");
    flush(&server);
    talk_end(&server);
    expect_error(&client, "FATAL", "08007");
    expect_end(&client);
    talk_end(&client);
    world_stop(&world);
}

/* The Parse behind the first Sync was skipped with that, or is still to be answered. */
BODY(who_has_sent_more_behind_a_sync_in_a_copy_that_fails_is_ended_in_time)
{
    struct talk client = TALK_INIT, server;
    char bits[33];
    world_prepare(&world, 1, 1);
    world.config->reset_timeout = ms(200);
    world_open(&world);
    ck_assert_int_eq(talk_hello(&client, &world, "app", "joe"), OK);
    accept_server(&server, 100);
    ck_assert_int_eq(talk_await_ready(&client), OK);
    PUT(&client, 'Q', "copy ct from stdin");
    PUT_BARE(&client, 'S', "");
    PUT_BARE(&client, 'd', "bad\n");
    PUT(&client, 'P', "\0SELECT 1\0\0");
    PUT_BARE(&client, 'S', "");
    flush(&client);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(talk_read(&server), OK);
    PUT(&server, 'G', "\0\0");
    put_error(&server, "ERROR", "22P02");
    PUT_BARE(&server, 'Z', "I");
    PUT_BARE(&server, 'Z', "I"); /* to the first Sync, or to the second */
    flush(&server);
    EXPECT(&client, 'G', "\0\0");
    expect_error(&client, "ERROR", "22P02");
    EXPECT_BARE(&client, 'Z', "I");
    EXPECT_BARE(&client, 'Z', "I");
    expect_error(&client, "FATAL", "08006");
    expect_end(&client);
    accept_cancel(100);
    expect_abandon(&server, true);
    expect_mark(&server, bits);
    finish(&client, &server);
}

/* The server has read both Syncs, and skips up to one that nobody sends. */
BODY(a_client_that_terminates_behind_a_copy_that_failed_leaves_its_server)
{
    struct talk client, next, server;
    char bits[33];
    begin(&client, &server);
    PUT(&client, 'P', "\0COPY t FROM STDIN\0\0");
    PUT(&client, 'B', "\0\0\0\0\0\0\0");
    PUT(&client, 'E', "\0\0\0\0");
    PUT_BARE(&client, 'S', "");
    PUT_BARE(&client, 'd', "bad\n");
    PUT_BARE(&client, 'X', "");
    flush(&client);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(talk_read(&server), OK);
    PUT_BARE(&server, '1', "");
    PUT_BARE(&server, '2', "");
    PUT(&server, 'G', "\0\0");
    put_error(&server, "ERROR", "22P02");
    flush(&server);
    accept_cancel(100);
    expect_abandon(&server, true);
    expect_mark(&server, bits);
    PUT_BARE(&server, 'Z', "I");
    PUT(&server, 'C', "ROLLBACK");
    PUT_BARE(&server, 'Z', "I");
    answer_mark(&server, bits);
    talk_end(&client);
    log_in(&next);
    ask(&next, &server);
    finish(&next, &server);
}

/* The COPY has read the Sync, so the server keeps its CommandComplete until another one comes. */
BODY(a_client_that_terminates_behind_a_copy_without_a_sync_leaves_its_server)
{
    struct talk client, next, server;
    char bits[33];
    begin(&client, &server);
    PUT(&client, 'P', "\0COPY t FROM STDIN\0\0");
    PUT(&client, 'B', "\0\0\0\0\0\0\0");
    PUT(&client, 'E', "\0\0\0\0");
    PUT_BARE(&client, 'S', "");
    PUT_BARE(&client, 'c', "");
    PUT_BARE(&client, 'X', "");
    flush(&client);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(talk_read(&server), OK);
    PUT_BARE(&server, '1', "");
    PUT_BARE(&server, '2', "");
    PUT(&server, 'G', "\0\0");
    flush(&server);
    talk_end(&client);
    accept_cancel(100);
    expect_abandon(&server, true);
    expect_mark(&server, bits);
    PUT(&server, 'C', "COPY 0");
    put_error(&server, "ERROR", "34000");
    PUT_BARE(&server, 'Z', "I");
    PUT(&server, 'C', "ROLLBACK");
    PUT_BARE(&server, 'Z', "I");
    answer_mark(&server, bits);
    log_in(&next);
    ask(&next, &server);
    finish(&next, &server);
}

BODY(a_row_with_other_bits_is_no_answer_to_a_mark)
{
    struct talk client, server;
    char bits[33];
    world_prepare(&world, 1, 1);
    world.config->reset_timeout = ms(200);
    world_open(&world);
    client = TALK_INIT;
    ck_assert_int_eq(talk_hello(&client, &world, "app", "joe"), OK);
    accept_server(&server, 100);
    ck_assert_int_eq(talk_await_ready(&client), OK);
    copy_that_fails(&client, &server, bits);
    bits[31] = bits[31] == '0' ? '1' : '0';
    answer_mark(&server, bits);
    is_replaced(&client, &server); /* once reset_timeout has passed */
}

BODY(a_copy_that_is_done_is_followed_by_a_mark)
{
    struct talk client, server;
    begin(&client, &server);
    PUT(&client, 'Q', "copy ct from stdin");
    flush(&client);
    EXPECT(&server, 'Q', "copy ct from stdin");
    PUT(&server, 'G', "\0\0");
    flush(&server);
    EXPECT(&client, 'G', "\0\0");
    PUT_BARE(&client, 'c', "");
    flush(&client);
    EXPECT_BARE(&server, 'c', "");
    PUT(&server, 'C', "COPY 0");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT(&client, 'C', "COPY 0");
    EXPECT_BARE(&client, 'Z', "I");
    be_marked(&server);
    ask(&client, &server);
    finish(&client, &server);
}

/* libpq sends its Sync before it knows of the COPY, and PostgreSQL raises before it has read it. */
BODY(a_trigger_that_raises_before_a_copy_reads_has_two_answers)
{
    struct talk client, server;
    char bits[33];
    begin(&client, &server);
    PUT(&client, 'P', "\0COPY t FROM STDIN\0\0");
    PUT(&client, 'B', "\0\0\0\0\0\0\0");
    PUT(&client, 'E', "\0\0\0\0");
    PUT_BARE(&client, 'S', "");
    PUT_BARE(&client, 'c', "");
    PUT_BARE(&client, 'S', "");
    flush(&client);
    EXPECT(&server, 'P', "\0COPY t FROM STDIN\0\0");
    EXPECT(&server, 'B', "\0\0\0\0\0\0\0");
    EXPECT(&server, 'E', "\0\0\0\0");
    EXPECT_BARE(&server, 'S', "");
    EXPECT_BARE(&server, 'c', "");
    EXPECT_BARE(&server, 'S', "");
    PUT_BARE(&server, '1', "");
    PUT_BARE(&server, '2', "");
    PUT(&server, 'G', "\0\0");
    put_error(&server, "ERROR", "P0001");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT_BARE(&client, '1', "");
    EXPECT_BARE(&client, '2', "");
    EXPECT(&client, 'G', "\0\0");
    expect_error(&client, "ERROR", "P0001");
    EXPECT_BARE(&client, 'Z', "I");
    expect_mark(&server, bits);
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT_BARE(&client, 'Z', "I");
    answer_mark(&server, bits);
    ask(&client, &server);
    finish(&client, &server);
}

/* What was for it is for nobody, and the next one waits for the mark as before. */
BODY(a_client_that_goes_while_its_server_is_marked_leaves_it_to_the_next)
{
    struct talk client, next, server;
    char bits[33];
    begin(&client, &server);
    log_in(&next);
    copy_that_fails(&client, &server, bits);
    talk_end(&client);
    PUT(&next, 'Q', "SELECT 2");
    flush(&next);
    PUT_BARE(&server, 'Z', "I");
    answer_mark(&server, bits);
    EXPECT(&server, 'Q', "SELECT 2");
    PUT(&server, 'C', "SELECT 2");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT(&next, 'C', "SELECT 2");
    EXPECT_BARE(&next, 'Z', "I");
    finish(&next, &server);
}

/* Nobody else will get the server: the answer is awaited without a mark, also while the client
 * idles. */
BODY(in_a_session_pool_the_client_hears_what_comes_of_its_syncs)
{
    struct talk client = TALK_INIT, server;
    world_start(&world, 1, 1);
    ck_assert_int_eq(talk_hello(&client, &world, "session", "joe"), OK);
    accept_server(&server, 200);
    ck_assert_int_eq(talk_await_ready(&client), OK);
    for (int read = 0; read < 2; read++) {
        PUT(&client, 'Q', "copy ct from stdin");
        PUT_BARE(&client, 'd', "bad\n");
        PUT_BARE(&client, 'S', "");
        flush(&client);
        EXPECT(&server, 'Q', "copy ct from stdin");
        EXPECT_BARE(&server, 'd', "bad\n");
        EXPECT_BARE(&server, 'S', "");
        PUT(&server, 'G', "\0\0");
        put_error(&server, "ERROR", "22P02");
        PUT_BARE(&server, 'Z', "I");
        flush(&server);
        EXPECT(&client, 'G', "\0\0");
        expect_error(&client, "ERROR", "22P02");
        EXPECT_BARE(&client, 'Z', "I");
        PUT(&client, 'Q', "SELECT 1");
        flush(&client);
        EXPECT(&server, 'Q', "SELECT 1");
        if (read == 0)
            PUT_BARE(&server, 'Z', "I"); /* to the Sync, when something else is owed already */
        PUT(&server, 'C', "SELECT 1");
        PUT_BARE(&server, 'Z', "I");
        flush(&server);
        if (read == 0)
            EXPECT_BARE(&client, 'Z', "I");
        EXPECT(&client, 'C', "SELECT 1");
        EXPECT_BARE(&client, 'Z', "I");
    }
    PUT_BARE(&client, 'X', "");
    flush(&client);
    be_marked(&server);
    EXPECT(&server, 'Q', "DISCARD ALL");
    finish(&client, &server);
}

/* No doubt, no cost. */
BODY(a_server_in_no_doubt_is_asked_nothing)
{
    struct talk client, next, server;
    begin(&client, &server);
    log_in(&next);
    for (int i = 0; i < 3; i++) {
        ask(&client, &server);
        ask(&next, &server);
    }
    talk_end(&client);
    finish(&next, &server);
}

TESTS("mark", who_has_sent_more_behind_a_sync_in_a_copy_that_fails_is_ended_in_time,
      a_client_that_terminates_behind_a_copy_without_a_sync_leaves_its_server,
      the_end_of_a_server_before_its_mark_is_told_to_its_client,
      the_last_word_of_a_server_before_its_mark_is_told_to_its_client,
      a_client_that_terminates_behind_a_copy_that_failed_leaves_its_server,
      a_sync_that_a_copy_has_not_read_is_answered_to_its_client,
      a_sync_that_a_copy_has_read_is_not_awaited,
      what_its_client_sends_meanwhile_waits_for_the_mark,
      several_messages_that_come_during_a_mark_are_all_answered,
      a_server_that_answers_a_mark_by_an_error_is_closed_and_its_client_goes_on,
      a_row_with_other_bits_is_no_answer_to_a_mark, a_copy_that_is_done_is_followed_by_a_mark,
      a_trigger_that_raises_before_a_copy_reads_has_two_answers,
      a_client_that_goes_while_its_server_is_marked_leaves_it_to_the_next,
      in_a_session_pool_the_client_hears_what_comes_of_its_syncs,
      a_server_in_no_doubt_is_asked_nothing)
