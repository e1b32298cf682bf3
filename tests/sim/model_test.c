#include "link/link.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/sim/os_sim.h"
#include "model/model.h"
#include "pool/probe.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

/*
 * The model PostgreSQL in the simulated world: what its director can do to it, and what it keeps
 * whatever happens.  That it speaks as PostgreSQL does is held elsewhere, by conversations.
 */
#define SOON    after(sec(60))
#define WRITERS 5
#define ROUNDS  12
#define SEEDS   40

static const struct model_user users[] = {{.name = "joe"}, {.name = "ann", .password = "secret"}};
static const char *const databases[] = {"app", NULL};

/* A client of the model. */
struct conn {
    struct stream stream;
    struct buffer in;
    struct buffer out;
    struct link_reported reported;
    char sqlstate[6]; /* of the last error */
    char value[64];   /* the first column of the last row */
    char standby[8];  /* in_hot_standby, as reported last */
    enum wire_transaction status;
};

static struct {
    struct model *model;
    void (*part)(void);
    uint64_t seed;
    bool standby;
    uint32_t told[6];
    struct co_group group;
    bool acknowledged[WRITERS][ROUNDS];
    bool quiet;
} test;

/* --- clients ---------------------------------------------------------------------------------- */

static fault conn_begin_as(struct conn *conn, const char *user, const char *password)
{
    struct link_target target = {.address = model_address(test.model)};
    struct link_secret secret = {.password = span_text(password)};
    struct link_login login = {
        .target = &target, .user = span_text(user), .database = SPAN("app"), .secret = &secret};
    *conn = (struct conn){
        .stream = STREAM_INIT, .in = BUFFER_INIT(1 << 20), .out = BUFFER_INIT(1 << 20)};
    fault logged = link_login(&conn->stream, &login, &conn->reported, SOON);
    if (logged == FAULT_UPSTREAM)
        snprintf(conn->sqlstate, sizeof(conn->sqlstate), "%s", fault_detail_sqlstate(logged));
    return logged;
}

static fault conn_begin(struct conn *conn)
{
    return conn_begin_as(conn, "joe", NULL);
}

static void conn_end(struct conn *conn)
{
    stream_close(&conn->stream);
    buffer_fini(&conn->in);
    buffer_fini(&conn->out);
    buffer_fini(&conn->reported.parameters);
}

static void conn_keep(struct conn *conn, const struct wire_frame *frame)
{
    struct wire_error error;
    struct wire_parameter parameter;
    if (frame->type == WIRE_ERROR && wire_read_error(frame->body, &error) == OK)
        snprintf(conn->sqlstate, sizeof(conn->sqlstate), "%.*s", SPAN_ARG(error.sqlstate));
    if (frame->type == WIRE_DATA_ROW && frame->body.size > 6)
        snprintf(conn->value, sizeof(conn->value), "%.*s", (int)wire_u32(frame->body.at + 2),
                 (const char *)frame->body.at + 6);
    if (frame->type == WIRE_PARAMETER_STATUS &&
        wire_read_parameter_status(frame->body, &parameter) == OK &&
        span_is(parameter.name, "in_hot_standby"))
        snprintf(conn->standby, sizeof(conn->standby), "%.*s", SPAN_ARG(parameter.value));
}

static fault conn_read(struct conn *conn)
{
    struct wire_frame frame;
    do {
        TRY(link_read_message(&conn->stream, &conn->in, 1 << 20, &frame, SOON));
        conn_keep(conn, &frame);
    } while (frame.type != WIRE_READY);
    conn->status = (enum wire_transaction)frame.body.at[0];
    return conn->sqlstate[0] == '\0' ? OK : FAULT_UPSTREAM;
}

static fault conn_send(struct conn *conn, const char *sql)
{
    conn->sqlstate[0] = conn->value[0] = '\0';
    wire_put_query(&conn->out, span_text(sql));
    return link_send(&conn->stream, &conn->out, SOON);
}

static fault conn_ask(struct conn *conn, const char *sql)
{
    TRY(conn_send(conn, sql));
    return conn_read(conn);
}

static void must(struct conn *conn, const char *sql)
{
    fault asked = conn_ask(conn, sql);
    ck_assert_msg(asked == OK, "%s: %s %s", sql, conn->sqlstate, fault_detail(asked));
}

static void refused(struct conn *conn, const char *sql, const char *sqlstate)
{
    (void)!conn_ask(conn, sql);
    ck_assert_msg(strcmp(conn->sqlstate, sqlstate) == 0, "%s: '%s'", sql, conn->sqlstate);
}

/* --- the test --------------------------------------------------------------------------------- */

static void tell_began(void *argument UNUSED, const struct model_session_view *session)
{
    test.told[0] += session->ready;
}

static void tell_ended(void *argument UNUSED, const struct model_session_view *session UNUSED)
{
    test.told[1] += 1;
}

static void tell_statement(void *argument UNUSED, const struct model_session_view *session,
                           struct span text)
{
    test.told[2] += session->running && text.size > 0;
}

static void tell_finished(void *argument UNUSED, const struct model_session_view *session UNUSED,
                          const char *sqlstate UNUSED)
{
    test.told[3] += 1;
}

static void tell_cancelled(void *argument UNUSED, const struct model_session_view *session UNUSED,
                           struct span text)
{
    test.told[4] += text.size > 0;
}

static void tell_decided(void *argument UNUSED, const struct model_session_view *session UNUSED,
                         bool committed UNUSED)
{
    test.told[5] += 1;
}

static const struct model_watch watch = {
    .session_began = tell_began,
    .session_ended = tell_ended,
    .statement = tell_statement,
    .finished = tell_finished,
    .cancelled = tell_cancelled,
    .decided = tell_decided,
};

static void scene_main(void *argument UNUSED)
{
    struct model_options options = {.users = users,
                                    .user_count = ARRAY_SIZE(users),
                                    .databases = databases,
                                    .connections_max = WRITERS + 2,
                                    .standby = test.standby,
                                    .seed = test.seed,
                                    .watch = watch};
    ck_assert(address_parse("127.0.0.1", 0, &options.address));
    ck_assert_int_eq(model_new(&options, &test.model), OK);
    ck_assert_int_eq(model_start(test.model), OK);
    test.part();
    model_stop(test.model, after(sec(5)));
    ck_assert_ptr_null(model_session_next(test.model, NULL));
    ck_assert_uint_eq(test.told[0], test.told[1]);
    model_free(&test.model);
    machine_stop();
}

static uint64_t play(uint64_t seed, void (*part)(void))
{
    os_sim_start(seed);
    test.part = part;
    test.seed = seed;
    memset(test.told, 0, sizeof(test.told));
    memset(test.acknowledged, 0, sizeof(test.acknowledged));
    ck_assert_int_eq(machine_run("test", scene_main, NULL), OK);
    uint64_t history = os_sim_history();
    os_sim_finish();
    test.standby = false;
    return history;
}

/* --- what is committed ------------------------------------------------------------------------ */

/* Each round writes two rows in one transaction. */
static int32_t key_of(uint32_t writer, uint32_t round, uint32_t which)
{
    return (int32_t)(1 + (writer * ROUNDS + round) * 2 + which);
}

static fault write_round(struct conn *conn, uint32_t writer, uint32_t round)
{
    char sql[128];
    TRY(conn_ask(conn, "begin"));
    for (uint32_t which = 0; which < 2; which++) {
        snprintf(sql, sizeof(sql), "insert into kv values (%d, 'w%u.%u')",
                 key_of(writer, round, which), writer, round);
        TRY(conn_ask(conn, sql));
    }
    TRY(conn_ask(conn, "update kv set v = v || '!' where k = 0"));
    TRY(conn_ask(conn, "commit"));
    test.acknowledged[writer][round] = conn->status == WIRE_TX_IDLE;
    return OK;
}

static void writer_main(void *argument)
{
    uint32_t writer = (uint32_t)(uintptr_t)argument, round = 0;
    while (round < ROUNDS) {
        struct conn conn;
        fault wrote = conn_begin(&conn);
        while (wrote == OK && round < ROUNDS)
            wrote = write_round(&conn, writer, round++);
        conn_end(&conn);
        if (wrote != OK && round < ROUNDS)
            ck_assert_int_eq(co_sleep(ms(1)), OK);
    }
}

static void check_rows(void)
{
    for (uint32_t writer = 0; writer < WRITERS; writer++) {
        for (uint32_t round = 0; round < ROUNDS; round++) {
            struct span first, second;
            bool one = model_table_read(test.model, key_of(writer, round, 0), &first);
            bool two = model_table_read(test.model, key_of(writer, round, 1), &second);
            ck_assert_msg(one == two, "half of a transaction: seed %u", (unsigned)test.seed);
            ck_assert(one || !test.acknowledged[writer][round]);
            ck_assert(!one || span_equal(first, second));
        }
    }
}

static void writers_write(void)
{
    static const struct model_faults faults = {.crash = 60,
                                               .terminate = 60,
                                               .slow = 5,
                                               .slow_login = 4,
                                               .slow_max = {.us = 3000},
                                               .notice = 9,
                                               .parameter = 9,
                                               .refuse = 9,
                                               .crowded = 9,
                                               .fail = 30,
                                               .flush_oddly = 5};
    if (!test.quiet)
        model_set_faults(test.model, &faults);
    ck_assert_int_eq(model_table_put(test.model, 0, SPAN("shared")), OK);
    co_group_init(&test.group);
    for (uintptr_t i = 0; i < WRITERS; i++)
        ck_assert_int_eq(co_group_start(&test.group, writer_main, (void *)i, CO_LARGE), OK);
    if (!test.quiet) {
        ck_assert_int_eq(co_sleep(ms(4)), OK);
        model_crash(test.model);
        ck_assert_int_eq(co_sleep(ms(2)), OK);
        model_set_state(test.model, MODEL_READY);
    }
    co_group_join(&test.group);
    check_rows();
}

TEST(transactions_are_whole_or_not_there_whatever_goes_wrong)
{
    uint32_t acknowledged = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        play(seed, writers_write);
        for (uint32_t i = 0; i < WRITERS * ROUNDS; i++)
            acknowledged += (&test.acknowledged[0][0])[i];
    }
    /* The faults are felt, and leave something to be seen. */
    ck_assert_uint_gt(acknowledged, SEEDS * WRITERS * ROUNDS / 5);
    ck_assert_uint_lt(acknowledged, SEEDS * WRITERS * ROUNDS * 19 / 20);
}
END_TEST

TEST(without_faults_every_transaction_is_committed)
{
    test.quiet = true;
    play(1, writers_write);
    test.quiet = false;
    for (uint32_t writer = 0; writer < WRITERS; writer++)
        for (uint32_t round = 0; round < ROUNDS; round++)
            ck_assert(test.acknowledged[writer][round]);
    ck_assert_uint_ge(test.told[5], WRITERS * ROUNDS);
    ck_assert_uint_eq(test.told[2], test.told[3]);
}
END_TEST

TEST(a_seed_gives_one_history)
{
    for (uint64_t seed = 100; seed < 106; seed++)
        ck_assert_uint_eq(play(seed, writers_write), play(seed, writers_write));
    ck_assert_uint_ne(play(106, writers_write), play(107, writers_write));
}
END_TEST

/* --- what a director does --------------------------------------------------------------------- */

static void newcomer_hears(const char *sqlstate)
{
    struct conn conn;
    ck_assert_int_eq(conn_begin(&conn), FAULT_UPSTREAM);
    ck_assert_str_eq(conn.sqlstate, sqlstate);
    conn_end(&conn);
}

static void states_are_told(void)
{
    struct conn clients[WRITERS + 2], one;
    model_set_state(test.model, MODEL_STARTING);
    newcomer_hears("57P03");
    model_set_state(test.model, MODEL_READY);
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
        ck_assert_int_eq(conn_begin(&clients[i]), OK);
    newcomer_hears("53300");
    ck_assert_uint_eq(model_counts(test.model).sessions, WRITERS + 2);
    model_set_connections(test.model, WRITERS + 3);
    ck_assert_int_eq(conn_begin_as(&one, "ann", "secret"), OK);
    must(&one, "select current_user");
    ck_assert_str_eq(one.value, "ann");
    conn_end(&one);
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
        conn_end(&clients[i]);
}

TEST(newcomers_hear_what_state_the_server_is_in)
{
    play(3, states_are_told);
}
END_TEST

static void standby_is_promoted(void)
{
    struct conn conn;
    ck_assert_int_eq(conn_begin(&conn), OK);
    ck_assert(conn.reported.in_hot_standby);
    must(&conn, "show transaction_read_only");
    ck_assert_str_eq(conn.value, "on");
    refused(&conn, "insert into kv values (1, 'a')", "25006");
    model_promote(test.model);
    must(&conn, "insert into kv values (1, 'a')");
    ck_assert_str_eq(conn.standby, "off");
    conn_end(&conn);
}

TEST(a_promoted_standby_says_so)
{
    test.standby = true;
    play(4, standby_is_promoted);
}
END_TEST

static void server_is_probed(void)
{
    struct conn conn;
    struct address at = model_address(test.model);
    ck_assert_int_eq(conn_begin(&conn), OK);
    must(&conn, PROBE_QUERY);
    ck_assert_str_eq(conn.value, "f");
    must(&conn, "insert into kv values (1, 'a')");
    model_set_timeline(test.model, &at, 3);
    model_set_standby(test.model, &at, true);
    must(&conn, PROBE_QUERY);
    ck_assert_str_eq(conn.value, "t");
    refused(&conn, "insert into kv values (2, 'a')", "25006");
    ck_assert_str_eq(conn.standby, "on");
    conn_end(&conn);
}

TEST(a_probe_is_told_the_role)
{
    play(5, server_is_probed);
}
END_TEST

static void sessions_are_ended(void)
{
    struct conn conn;
    struct span found;
    ck_assert_int_eq(conn_begin(&conn), OK);
    must(&conn, "insert into kv values (1, 'kept')");
    must(&conn, "begin; insert into kv values (2, 'lost')");
    ck_assert(model_terminate(test.model, conn.reported.pid));
    ck_assert_int_ne(conn_ask(&conn, "commit"), OK);
    conn_end(&conn);
    ck_assert_int_eq(conn_begin(&conn), OK);
    must(&conn, "begin; insert into kv values (2, 'lost')");
    ck_assert(model_crash_session(test.model, conn.reported.pid));
    ck_assert_int_eq(conn_ask(&conn, "commit"), FAULT_CLOSED);
    ck_assert(!model_terminate(test.model, conn.reported.pid));
    conn_end(&conn);
    model_stop(test.model, SOON);
    ck_assert_int_eq(conn_begin(&conn), FAULT_REFUSED);
    conn_end(&conn);
    ck_assert_int_eq(model_start(test.model), OK);
    ck_assert(model_table_read(test.model, 1, &found) && span_is(found, "kept"));
    ck_assert(!model_table_read(test.model, 2, &found));
    ck_assert_int_eq(conn_begin(&conn), OK);
    must(&conn, "select v from kv where k = 1");
    ck_assert_str_eq(conn.value, "kept");
    conn_end(&conn);
}

TEST(what_was_committed_outlives_sessions_and_restarts)
{
    for (uint64_t seed = 0; seed < 8; seed++)
        play(seed, sessions_are_ended);
}
END_TEST

static void query_is_cancelled(void)
{
    struct link_target target = {.address = model_address(test.model)};
    struct conn conn;
    ck_assert_int_eq(conn_begin(&conn), OK);
    struct span secret = wire_secret_span(&conn.reported.secret);
    ck_assert_int_eq(link_cancel(&target, conn.reported.pid, secret, SOON), OK);
    must(&conn, "select 1");
    ck_assert_uint_eq(test.told[4], 0);
    ck_assert_int_eq(conn_send(&conn, "select pg_sleep(3600)"), OK);
    ck_assert_int_eq(co_sleep(sec(1)), OK);
    ck_assert_int_eq(link_cancel(&target, conn.reported.pid, SPAN("none"), SOON), OK);
    ck_assert_uint_eq(test.told[4], 0);
    ck_assert_int_eq(link_cancel(&target, conn.reported.pid, secret, SOON), OK);
    ck_assert_int_eq(conn_read(&conn), FAULT_UPSTREAM);
    ck_assert_str_eq(conn.sqlstate, "57014");
    ck_assert_uint_eq(test.told[4], 1);
    ck_assert_uint_eq(model_counts(test.model).cancels, 2);
    conn_end(&conn);
}

TEST(a_cancel_request_hits_what_runs_and_nothing_else)
{
    for (uint64_t seed = 0; seed < 8; seed++)
        play(seed, query_is_cancelled);
}
END_TEST

static void two_wait_for_each_other(void)
{
    struct conn a, b;
    ck_assert_int_eq(conn_begin(&a), OK);
    ck_assert_int_eq(conn_begin(&b), OK);
    must(&a, "insert into kv values (1, 'a'), (2, 'b')");
    must(&a, "begin; update kv set v = 'A' where k = 1");
    must(&b, "begin; update kv set v = 'B' where k = 2");
    ck_assert_int_eq(conn_send(&a, "update kv set v = 'A' where k = 2"), OK);
    ck_assert_int_eq(conn_send(&b, "update kv set v = 'B' where k = 1"), OK);
    fault first = conn_read(&a), second;
    if (first != OK)
        must(&a, "rollback");
    second = conn_read(&b);
    ck_assert(first == OK || second == OK);
    ck_assert(first != OK || second != OK);
    ck_assert_str_eq(first != OK ? "40P01" : b.sqlstate, "40P01");
    conn_end(&a);
    conn_end(&b);
}

TEST(a_deadlock_has_one_victim)
{
    for (uint64_t seed = 0; seed < 8; seed++)
        play(seed, two_wait_for_each_other);
}
END_TEST

static void look_at_session(void)
{
    struct conn conn;
    ck_assert_int_eq(conn_begin(&conn), OK);
    must(&conn, "set application_name = 'me'; prepare s as select 1");
    must(&conn, "listen news; select pg_advisory_lock(7)");
    must(&conn, "create temp table t (k int, v text)");
    must(&conn, "begin; declare c cursor for select 1");
    const struct model_session *session = model_session_find(test.model, conn.reported.pid);
    struct model_session_view view = model_session_look(session);
    ck_assert(span_is(view.application_name, "me") && span_is(view.user, "joe"));
    ck_assert_uint_eq(view.statements, 1);
    ck_assert_uint_eq(view.portals, 1);
    ck_assert_uint_eq(view.locks, 1);
    ck_assert_uint_eq(view.channels, 1);
    ck_assert_uint_eq(view.temporary, 1);
    ck_assert_int_eq(view.status, WIRE_TX_ACTIVE);
    must(&conn, "rollback");
    must(&conn, "discard all");
    view = model_session_look(session);
    ck_assert_uint_eq(view.statements + view.portals + view.locks + view.channels, 0);
    ck_assert_uint_eq(view.temporary, 0);
    ck_assert(model_set_default(test.model, "work_mem", "8192"));
    must(&conn, "show work_mem");
    ck_assert_str_eq(conn.value, "8MB");
    conn_end(&conn);
}

TEST(a_session_can_be_looked_at)
{
    play(5, look_at_session);
}
END_TEST

TESTS("sim_model", transactions_are_whole_or_not_there_whatever_goes_wrong,
      without_faults_every_transaction_is_committed, a_seed_gives_one_history,
      newcomers_hear_what_state_the_server_is_in, a_promoted_standby_says_so,
      a_probe_is_told_the_role, what_was_committed_outlives_sessions_and_restarts,
      a_cancel_request_hits_what_runs_and_nothing_else, a_deadlock_has_one_victim,
      a_session_can_be_looked_at)
