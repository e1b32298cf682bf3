#include "turn_steps.h"

/* --- what passes ------------------------------------------------------------------------------ */

BODY(a_query_and_its_answer_pass_unchanged)
{
    struct talk client, server;
    begin(&client, &server);
    PUT(&client, 'Q', "SELECT 'x'");
    flush(&client);
    EXPECT(&server, 'Q', "SELECT 'x'");
    PUT_BARE(&server, 'T', "\0\0");
    PUT_BARE(&server, 'D', "\0\0");
    PUT(&server, 'C', "SELECT 1");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT_BARE(&client, 'T', "\0\0");
    EXPECT_BARE(&client, 'D', "\0\0");
    EXPECT(&client, 'C', "SELECT 1");
    EXPECT_BARE(&client, 'Z', "I");
    ask(&client, &server);
    finish(&client, &server);
}

BODY(messages_may_come_byte_by_byte_on_both_sides)
{
    struct talk client, server;
    begin(&client, &server);
    static const uint8_t query[] = {'Q', 0, 0, 0, 6, ';', 0};
    static const uint8_t answer[] = {'I', 0, 0, 0, 4, 'Z', 0, 0, 0, 5, 'I'};
    for (size_t i = 0; i < sizeof(query); i++)
        ck_assert_int_eq(stream_write(&client.stream, span_of(query + i, 1), soon()), OK);
    EXPECT(&server, 'Q', ";");
    for (size_t i = 0; i < sizeof(answer); i++)
        ck_assert_int_eq(stream_write(&server.stream, span_of(answer + i, 1), soon()), OK);
    EXPECT_BARE(&client, 'I', "");
    EXPECT_BARE(&client, 'Z', "I");
    ask(&client, &server);
    finish(&client, &server);
}

BODY(queries_need_not_wait_for_each_other)
{
    struct talk client, server;
    begin(&client, &server);
    for (int i = 0; i < 50; i++)
        PUT(&client, 'Q', "SELECT 1");
    flush(&client);
    for (int i = 0; i < 50; i++)
        EXPECT(&server, 'Q', "SELECT 1");
    for (int i = 0; i < 50; i++) {
        PUT(&server, 'C', "SELECT 1");
        PUT_BARE(&server, 'Z', "I");
    }
    flush(&server);
    for (int i = 0; i < 50; i++) {
        EXPECT(&client, 'C', "SELECT 1");
        EXPECT_BARE(&client, 'Z', "I");
    }
    finish(&client, &server);
}

BODY(a_message_longer_than_a_chunk_is_streamed)
{
    struct talk client, server;
    static char text[100000];
    begin(&client, &server);
    memset(text, 'x', sizeof(text) - 1);
    talk_put(&client, 'Q', text, sizeof(text));
    flush(&client);
    expect_bytes(&server, 'Q', text, sizeof(text));
    talk_put(&server, 'D', text, sizeof(text));
    PUT(&server, 'C', "SELECT 1");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    expect_bytes(&client, 'D', text, sizeof(text));
    EXPECT(&client, 'C', "SELECT 1");
    EXPECT_BARE(&client, 'Z', "I");
    finish(&client, &server);
}

BODY(a_client_that_waits_gets_the_server_when_it_is_free)
{
    struct talk one, two, server;
    begin(&one, &server);
    log_in(&two);
    PUT(&one, 'Q', "BEGIN");
    flush(&one);
    EXPECT(&server, 'Q', "BEGIN");
    PUT(&server, 'C', "BEGIN");
    PUT_BARE(&server, 'Z', "T");
    flush(&server);
    EXPECT(&one, 'C', "BEGIN");
    EXPECT_BARE(&one, 'Z', "T");
    PUT(&two, 'Q', "second");
    flush(&two);
    PUT(&one, 'Q', "COMMIT");
    flush(&one);
    EXPECT(&server, 'Q', "COMMIT");
    PUT(&server, 'C', "COMMIT");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT(&server, 'Q', "second");
    PUT(&server, 'C', "x");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT(&one, 'C', "COMMIT");
    EXPECT(&two, 'C', "x");
    talk_end(&two);
    finish(&one, &server);
}

/* --- statements ------------------------------------------------------------------------------- */

/* The name on the server of what was just parsed there. */
static void expect_parse(struct talk *server, char name[40], const char *query)
{
    struct wire_parse parse;
    ck_assert_int_eq(talk_read(server), OK);
    ck_assert_int_eq(server->frame.type, WIRE_PARSE);
    ck_assert_int_eq(wire_read_parse(server->frame.body, &parse), OK);
    ck_assert(span_is(parse.query, query));
    snprintf(name, 40, "%.*s", SPAN_ARG(parse.statement));
}

static void expect_bind(struct talk *server, const char *name)
{
    struct wire_bind_names names;
    ck_assert_int_eq(talk_read(server), OK);
    ck_assert_int_eq(server->frame.type, WIRE_BIND);
    ck_assert_int_eq(wire_read_bind_names(server->frame.body, &names), OK);
    ck_assert_msg(span_is(names.statement, name), "%.*s", SPAN_ARG(names.statement));
}

/* A Describe of a statement under its name on the server. */
static void expect_describe(struct talk *server, const char *name)
{
    struct wire_target target;
    ck_assert_int_eq(talk_read(server), OK);
    ck_assert_int_eq(server->frame.type, WIRE_DESCRIBE);
    ck_assert_int_eq(wire_read_target(server->frame.body, &target), OK);
    ck_assert_int_eq(target.kind, 'S');
    ck_assert_msg(span_is(target.name, name), "%.*s", SPAN_ARG(target.name));
}

static void expect_close(struct talk *server, const char *name)
{
    struct wire_target target;
    ck_assert_int_eq(talk_read(server), OK);
    ck_assert_int_eq(server->frame.type, WIRE_CLOSE);
    ck_assert_int_eq(wire_read_target(server->frame.body, &target), OK);
    ck_assert_msg(span_is(target.name, name), "%.*s", SPAN_ARG(target.name));
}

/* The answers to a Describe: one parameter, one column of this type. */
static void put_described(struct talk *server, char type)
{
    char row[] = "\0\1a\0\0\0\0\5\0\1\0\0\0\x17\0\4\xff\xff\xff\xff\0";
    row[13] = type;
    PUT_BARE(server, 't', "\0\1\0\0\0\x17");
    talk_put(server, 'T', row, sizeof(row));
}

static void play_parse(struct talk *client, struct talk *server, const char *text, char name[40])
{
    put_parse(client, "mine", text);
    PUT_BARE(client, 'S', "");
    flush(client);
    expect_parse(server, name, text);
    ck_assert_int_eq(strncmp(name, "tl_", 3), 0);
    expect_describe(server, name);
    EXPECT_BARE(server, 'S', "");
    PUT_BARE(server, '1', "");
    put_described(server, 0x17);
    PUT_BARE(server, 'Z', "I");
    flush(server);
    EXPECT_BARE(client, '1', "");
    EXPECT_BARE(client, 'Z', "I");
}

static void play_bind(struct talk *client, struct talk *server, const char *name)
{
    PUT_BARE(client, 'B', "\0mine\0\0\0\0\0\0\0");
    PUT_BARE(client, 'S', "");
    flush(client);
    expect_bind(server, name);
    EXPECT_BARE(server, 'S', "");
    PUT_BARE(server, '2', "");
    PUT_BARE(server, 'Z', "I");
    flush(server);
    EXPECT_BARE(client, '2', "");
    EXPECT_BARE(client, 'Z', "I");
}

BODY(a_text_is_parsed_for_each_client_and_shared_when_it_means_the_same)
{
    struct talk one, two, server;
    char old[40], new[40], other[40];
    begin(&one, &server);
    log_in(&two);
    play_parse(&one, &server, "SELECT $1", old);
    play_bind(&one, &server, old);
    play_parse(&two, &server, "SELECT $1", new);
    ck_assert_str_ne(old, new);
    play_bind(&two, &server, new);
    play_bind(&one, &server, new);
    /* The older one is closed by and by: behind the next Parse. */
    put_parse(&one, "other", "SELECT 2");
    PUT_BARE(&one, 'S', "");
    flush(&one);
    expect_parse(&server, other, "SELECT 2");
    expect_describe(&server, other);
    expect_close(&server, old);
    EXPECT_BARE(&server, 'S', "");
    talk_end(&two);
    finish(&one, &server);
}

BODY(a_statement_that_means_something_else_is_not_shared)
{
    struct talk one, two, server;
    char old[40], new[40];
    begin(&one, &server);
    log_in(&two);
    play_parse(&one, &server, "SELECT $1", old);
    put_parse(&two, "mine", "SELECT $1");
    PUT_BARE(&two, 'S', "");
    flush(&two);
    expect_parse(&server, new, "SELECT $1");
    expect_describe(&server, new);
    EXPECT_BARE(&server, 'S', "");
    PUT_BARE(&server, '1', "");
    put_described(&server, 0x19);
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT_BARE(&two, '1', "");
    EXPECT_BARE(&two, 'Z', "I");
    play_bind(&one, &server, old);
    play_bind(&two, &server, new);
    talk_end(&two);
    finish(&one, &server);
}

BODY(a_change_of_the_schema_ends_what_is_shared_before_its_client_hears_of_it)
{
    struct talk one, two, server;
    char old[40], new[40];
    begin(&one, &server);
    log_in(&two);
    play_parse(&one, &server, "SELECT $1", old);
    PUT(&two, 'Q', "CREATE TABLE t ()");
    flush(&two);
    EXPECT(&server, 'Q', "CREATE TABLE t ()");
    PUT(&server, 'C', "CREATE TABLE");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT(&two, 'C', "CREATE TABLE");
    EXPECT_BARE(&two, 'Z', "I");
    play_parse(&two, &server, "SELECT $1", new);
    play_bind(&two, &server, new);
    play_bind(&one, &server, old);
    talk_end(&two);
    finish(&one, &server);
}

/* A description that comes in two parts, and one that is longer than a chunk. */
BODY(a_description_may_come_in_parts)
{
    struct talk client, server;
    char name[40];
    begin(&client, &server);
    put_parse(&client, "mine", "SELECT");
    PUT_BARE(&client, 'S', "");
    flush(&client);
    expect_parse(&server, name, "SELECT");
    expect_describe(&server, name);
    EXPECT_BARE(&server, 'S', "");
    PUT_BARE(&server, '1', "");
    PUT_BARE(&server, 't', "\0\0");
    flush(&server);
    EXPECT_BARE(&client, '1', "");
    size_t start = wire_begin(&server.out, WIRE_ROW_DESCRIPTION);
    wire_put_u16(&server.out, 1600);
    for (int i = 0; i < 1600; i++)
        buffer_append(&server.out,
                      "a column of some length\0\0\0\0\5\0\1\0\0\0\x17\0\4\xff\xff\xff\xff\0", 42);
    wire_end(&server.out, start);
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT_BARE(&client, 'Z', "I");
    play_bind(&client, &server, name);
    finish(&client, &server);
}

BODY(a_failed_batch_leaves_its_statement_unprepared)
{
    struct talk client, server;
    char name[40], again[40];
    begin(&client, &server);
    for (int i = 0; i < 2; i++) {
        PUT_BARE(&client, 'P', "s\0SELEC 1\0\0\0");
        PUT_BARE(&client, 'B', "\0s\0\0\0\0\0\0\0");
        PUT_BARE(&client, 'E', "\0\0\0\0\0");
        PUT_BARE(&client, 'S', "");
        flush(&client);
        expect_parse(&server, i == 0 ? name : again, "SELEC 1");
        expect_describe(&server, i == 0 ? name : again);
        expect_bind(&server, i == 0 ? name : again);
        EXPECT_BARE(&server, 'E', "\0\0\0\0\0");
        EXPECT_BARE(&server, 'S', "");
        put_error(&server, "ERROR", "42601");
        PUT_BARE(&server, 'Z', "I");
        flush(&server);
        expect_error(&client, "ERROR", "42601");
        EXPECT_BARE(&client, 'Z', "I");
    }
    ck_assert_str_ne(name, again);
    finish(&client, &server);
}

/* --- parameters ------------------------------------------------------------------------------- */

BODY(what_one_client_has_set_is_undone_for_the_next_and_set_again_for_itself)
{
    struct talk one, two, server;
    begin(&one, &server);
    log_in(&two);
    PUT(&one, 'Q', "SET application_name TO 'me'");
    flush(&one);
    EXPECT(&server, 'Q', "SET application_name TO 'me'");
    PUT(&server, 'C', "SET");
    PUT(&server, 'S', "application_name\0me");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT(&one, 'C', "SET");
    EXPECT(&one, 'S', "application_name\0me");
    EXPECT_BARE(&one, 'Z', "I");
    ask(&one, &server); /* its own server: nothing is said */
    PUT(&two, 'Q', "SELECT 2");
    flush(&two);
    EXPECT(&server, 'Q', "RESET \"application_name\";");
    EXPECT(&server, 'Q', "SELECT 2");
    PUT(&server, 'C', "RESET");
    PUT(&server, 'S', "application_name\0");
    PUT_BARE(&server, 'Z', "I");
    PUT(&server, 'C', "SELECT 1");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    ck_assert_int_eq(talk_read(&two), OK);
    if (two.frame.type == 'S') /* harmless: its own value */
        ck_assert_int_eq(talk_read(&two), OK);
    ck_assert_int_eq(two.frame.type, 'C');
    EXPECT_BARE(&two, 'Z', "I");
    PUT(&one, 'Q', "SELECT 3");
    flush(&one);
    EXPECT(&server, 'Q', "SET \"application_name\"='me';");
    EXPECT(&server, 'Q', "SELECT 3");
    PUT(&server, 'C', "SET");
    PUT_BARE(&server, 'Z', "I");
    put_error(&server, "ERROR", "42601");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    expect_error(&one, "ERROR", "42601");
    EXPECT_BARE(&one, 'Z', "I");
    talk_end(&two);
    finish(&one, &server);
}

/* --- ends ------------------------------------------------------------------------------------- */

BODY(the_end_of_a_server_is_told_to_its_client)
{
    struct talk client, server;
    begin(&client, &server);
    PUT(&client, 'Q', "SELECT 1");
    flush(&client);
    EXPECT(&server, 'Q', "SELECT 1");
    PUT_BARE(&server, 'T', "\0\0");
    flush(&server);
    stream_close(&server.stream);
    EXPECT_BARE(&client, 'T', "\0\0");
    expect_error(&client, "FATAL", "08006");
    expect_end(&client);
    finish(&client, &server);
}

BODY(the_last_words_of_a_server_are_the_clients)
{
    struct talk client, server;
    begin(&client, &server);
    PUT(&client, 'Q', "SELECT 1");
    flush(&client);
    EXPECT(&server, 'Q', "SELECT 1");
    put_error(&server, "FATAL", "57P01");
    flush(&server);
    stream_close(&server.stream);
    expect_error(&client, "FATAL", "57P01");
    expect_end(&client);
    finish(&client, &server);
}

BODY(the_end_of_a_server_that_is_free_again_is_nobodys)
{
    struct talk client, server, next;
    begin(&client, &server);
    PUT(&client, 'Q', "SELECT 1");
    flush(&client);
    EXPECT(&server, 'Q', "SELECT 1");
    PUT(&server, 'C', "SELECT 1");
    PUT_BARE(&server, 'Z', "I");
    put_error(&server, "FATAL", "57P01");
    flush(&server);
    EXPECT(&client, 'C', "SELECT 1");
    EXPECT_BARE(&client, 'Z', "I");
    expect_end(&server);
    PUT(&client, 'Q', "SELECT 2");
    flush(&client);
    accept_server(&next, 101);
    EXPECT(&next, 'Q', "SELECT 2");
    PUT(&next, 'C', "SELECT 1");
    PUT_BARE(&next, 'Z', "I");
    flush(&next);
    EXPECT(&client, 'C', "SELECT 1");
    talk_end(&next);
    finish(&client, &server);
}

BODY(a_server_that_answers_what_was_not_asked_is_closed)
{
    struct talk client, server;
    begin(&client, &server);
    PUT(&client, 'Q', "SELECT 1");
    flush(&client);
    EXPECT(&server, 'Q', "SELECT 1");
    PUT_BARE(&server, '1', "");
    flush(&server);
    expect_error(&client, "FATAL", "08P01");
    expect_end(&client);
    expect_end(&server);
    finish(&client, &server);
}

BODY(a_client_that_goes_in_mid_transaction_is_rolled_back)
{
    struct talk client, next, server;
    begin(&client, &server);
    PUT(&client, 'Q', "BEGIN");
    flush(&client);
    EXPECT(&server, 'Q', "BEGIN");
    PUT(&server, 'C', "BEGIN");
    PUT_BARE(&server, 'Z', "T");
    flush(&server);
    EXPECT(&client, 'C', "BEGIN");
    talk_end(&client);
    EXPECT(&server, 'Q', "ROLLBACK");
    PUT(&server, 'C', "ROLLBACK");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    log_in(&next);
    ask(&next, &server);
    finish(&next, &server);
}

BODY(a_client_that_goes_in_mid_query_is_cancelled_first)
{
    struct talk client, next, server;
    begin(&client, &server);
    PUT(&client, 'Q', "SELECT pg_sleep(100)");
    flush(&client);
    EXPECT(&server, 'Q', "SELECT pg_sleep(100)");
    talk_end(&client);
    accept_cancel(100);
    put_error(&server, "ERROR", "57014");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    be_marked(&server);
    log_in(&next);
    ask(&next, &server);
    finish(&next, &server);
}

/* A COPY that was cancelled before it had read the Sync behind it: the answers that this makes come
 * when nothing seems to be owed any more. */
BODY(a_server_that_is_out_of_step_is_not_handed_on_before_it_is_in_step_again)
{
    struct talk client, next, server;
    begin(&client, &server);
    PUT(&client, 'P', "\0COPY t FROM STDIN\0\0");
    PUT(&client, 'B', "\0\0\0\0\0\0\0");
    PUT(&client, 'E', "\0\0\0\0");
    PUT_BARE(&client, 'S', "");
    flush(&client);
    EXPECT(&server, 'P', "\0COPY t FROM STDIN\0\0");
    EXPECT(&server, 'B', "\0\0\0\0\0\0\0");
    EXPECT(&server, 'E', "\0\0\0\0");
    EXPECT_BARE(&server, 'S', "");
    PUT_BARE(&server, '1', "");
    PUT_BARE(&server, '2', "");
    PUT(&server, 'G', "\0\0");
    flush(&server);
    EXPECT_BARE(&client, '1', "");
    EXPECT_BARE(&client, '2', "");
    EXPECT(&client, 'G', "\0\0");
    talk_end(&client);
    accept_cancel(100);
    put_error(&server, "ERROR", "57014");
    PUT_BARE(&server, 'Z', "I"); /* to the Sync */
    flush(&server);
    expect_abandon(&server, true);
    char bits[33];
    expect_mark(&server, bits);
    put_error(&server, "ERROR", "34000");
    PUT_BARE(&server, 'Z', "I");
    PUT(&server, 'C', "ROLLBACK");
    PUT_BARE(&server, 'Z', "I");
    answer_mark(&server, bits);
    log_in(&next);
    ask(&next, &server);
    finish(&next, &server);
}

/* The cancel request for its query has hit our change of parameters in front of it. */
BODY(a_server_whose_parameters_were_not_changed_is_not_used_again)
{
    struct talk one, two, next, server, other;
    begin(&one, &server);
    log_in(&two);
    PUT(&one, 'Q', "SET application_name TO 'me'");
    flush(&one);
    EXPECT(&server, 'Q', "SET application_name TO 'me'");
    PUT(&server, 'S', "application_name\0me");
    PUT(&server, 'C', "SET");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT(&one, 'S', "application_name\0me");
    EXPECT(&one, 'C', "SET");
    EXPECT_BARE(&one, 'Z', "I");
    PUT(&two, 'Q', "SELECT 2");
    flush(&two);
    EXPECT(&server, 'Q', "RESET \"application_name\";");
    EXPECT(&server, 'Q', "SELECT 2");
    talk_end(&two);
    /* The query is cancelled, and not what goes in front of it. */
    put_error(&server, "ERROR", "57014");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    accept_cancel(100);
    PUT(&server, 'C', "SELECT 1");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    expect_end(&server);
    talk_end(&server);
    log_in(&next);
    PUT(&next, 'Q', "SELECT 1");
    flush(&next);
    accept_server(&other, 101);
    EXPECT(&other, 'Q', "SELECT 1");
    PUT(&other, 'C', "SELECT 1");
    PUT_BARE(&other, 'Z', "I");
    flush(&other);
    EXPECT(&next, 'C', "SELECT 1");
    EXPECT_BARE(&next, 'Z', "I");
    talk_end(&one);
    finish(&next, &other);
}

BODY(a_client_that_goes_inside_a_batch_has_it_ended_for_it)
{
    struct talk client, next, server;
    begin(&client, &server);
    PUT_BARE(&client, 'P', "\0SELECT 1\0\0\0");
    PUT_BARE(&client, 'H', "");
    flush(&client);
    ck_assert_int_eq(talk_read(&server), OK);
    EXPECT_BARE(&server, 'H', "");
    PUT_BARE(&server, '1', "");
    flush(&server);
    EXPECT_BARE(&client, '1', "");
    talk_end(&client);
    expect_abandon(&server, false); /* or the Sync would commit */
    put_error(&server, "ERROR", "34000");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    log_in(&next);
    ask(&next, &server);
    finish(&next, &server);
}

BODY(a_client_that_breaks_the_protocol_is_told_and_costs_no_server)
{
    struct talk client, next, server;
    begin(&client, &server);
    PUT_BARE(&client, '!', "what");
    flush(&client);
    expect_error(&client, "FATAL", "08P01");
    expect_end(&client);
    talk_end(&client);
    log_in(&next);
    ask(&next, &server);
    finish(&next, &server);
}

BODY(a_session_pool_cleans_up_behind_its_client)
{
    struct talk client = TALK_INIT, next = TALK_INIT, server;
    world_start(&world, 1, 1);
    ck_assert_int_eq(talk_hello(&client, &world, "session", "joe"), OK);
    accept_server(&server, 200);
    ck_assert_int_eq(talk_await_ready(&client), OK);
    ask(&client, &server);
    ask(&client, &server);
    PUT_BARE(&client, 'X', "");
    flush(&client);
    EXPECT(&server, 'Q', "DISCARD ALL");
    PUT(&server, 'C', "DISCARD ALL");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    ck_assert_int_eq(talk_hello(&next, &world, "session", "joe"), OK);
    ck_assert_int_eq(talk_await_ready(&next), OK);
    ask(&next, &server);
    talk_end(&next);
    finish(&client, &server);
}

TESTS("turn", a_query_and_its_answer_pass_unchanged, messages_may_come_byte_by_byte_on_both_sides,
      queries_need_not_wait_for_each_other, a_message_longer_than_a_chunk_is_streamed,
      a_client_that_waits_gets_the_server_when_it_is_free,
      a_text_is_parsed_for_each_client_and_shared_when_it_means_the_same,
      a_statement_that_means_something_else_is_not_shared,
      a_change_of_the_schema_ends_what_is_shared_before_its_client_hears_of_it,
      a_description_may_come_in_parts, a_failed_batch_leaves_its_statement_unprepared,
      what_one_client_has_set_is_undone_for_the_next_and_set_again_for_itself,
      the_end_of_a_server_is_told_to_its_client, the_last_words_of_a_server_are_the_clients,
      the_end_of_a_server_that_is_free_again_is_nobodys,
      a_server_that_answers_what_was_not_asked_is_closed,
      a_client_that_goes_in_mid_transaction_is_rolled_back,
      a_client_that_goes_in_mid_query_is_cancelled_first,
      a_server_that_is_out_of_step_is_not_handed_on_before_it_is_in_step_again,
      a_server_whose_parameters_were_not_changed_is_not_used_again,
      a_client_that_goes_inside_a_batch_has_it_ended_for_it,
      a_client_that_breaks_the_protocol_is_told_and_costs_no_server,
      a_session_pool_cleans_up_behind_its_client)
