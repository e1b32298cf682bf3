#include "link/link.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/sim/os_sim.h"
#include "model/model.h"
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
struct guest {
    struct stream stream;
    struct buffer in;
    struct buffer out;
    struct link_greeting greeting;
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
    bool calm;
} scene;

/* --- guests ----------------------------------------------------------------------------------- */

static fault guest_begin_as(struct guest *guest, const char *user, const char *password)
{
    struct link_target target = {.address = model_address(scene.model)};
    struct link_secret secret = {.password = span_text(password)};
    struct link_login login = {
        .target = &target, .user = span_text(user), .database = SPAN("app"), .secret = &secret};
    *guest = (struct guest){
        .stream = STREAM_INIT, .in = BUFFER_INIT(1 << 20), .out = BUFFER_INIT(1 << 20)};
    fault logged = link_login(&guest->stream, &login, &guest->greeting, SOON);
    if (logged == FAULT_UPSTREAM)
        snprintf(guest->sqlstate, sizeof(guest->sqlstate), "%s", fault_story_sqlstate(logged));
    return logged;
}

static fault guest_begin(struct guest *guest)
{
    return guest_begin_as(guest, "joe", NULL);
}

static void guest_end(struct guest *guest)
{
    stream_close(&guest->stream);
    buffer_fini(&guest->in);
    buffer_fini(&guest->out);
    buffer_fini(&guest->greeting.parameters);
}

static void guest_keep(struct guest *guest, const struct wire_frame *frame)
{
    struct wire_error error;
    struct wire_parameter parameter;
    if (frame->type == WIRE_ERROR && wire_read_error(frame->body, &error) == OK)
        snprintf(guest->sqlstate, sizeof(guest->sqlstate), "%.*s", SPAN_ARG(error.sqlstate));
    if (frame->type == WIRE_DATA_ROW && frame->body.size > 6)
        snprintf(guest->value, sizeof(guest->value), "%.*s", (int)wire_u32(frame->body.at + 2),
                 (const char *)frame->body.at + 6);
    if (frame->type == WIRE_PARAMETER_STATUS &&
        wire_read_parameter_status(frame->body, &parameter) == OK &&
        span_is(parameter.name, "in_hot_standby"))
        snprintf(guest->standby, sizeof(guest->standby), "%.*s", SPAN_ARG(parameter.value));
}

static fault guest_read(struct guest *guest)
{
    struct wire_frame frame;
    do {
        TRY(link_read_message(&guest->stream, &guest->in, 1 << 20, &frame, SOON));
        guest_keep(guest, &frame);
    } while (frame.type != WIRE_READY);
    guest->status = (enum wire_transaction)frame.body.at[0];
    return guest->sqlstate[0] == '\0' ? OK : FAULT_UPSTREAM;
}

static fault guest_send(struct guest *guest, const char *sql)
{
    guest->sqlstate[0] = guest->value[0] = '\0';
    wire_put_query(&guest->out, span_text(sql));
    return link_send(&guest->stream, &guest->out, SOON);
}

static fault guest_ask(struct guest *guest, const char *sql)
{
    TRY(guest_send(guest, sql));
    return guest_read(guest);
}

static void must(struct guest *guest, const char *sql)
{
    fault asked = guest_ask(guest, sql);
    ck_assert_msg(asked == OK, "%s: %s %s", sql, guest->sqlstate, fault_story(asked));
}

static void refused(struct guest *guest, const char *sql, const char *sqlstate)
{
    (void)!guest_ask(guest, sql);
    ck_assert_msg(strcmp(guest->sqlstate, sqlstate) == 0, "%s: '%s'", sql, guest->sqlstate);
}

/* --- the scene -------------------------------------------------------------------------------- */

static void tell_began(void *argument UNUSED, const struct model_session_view *session)
{
    scene.told[0] += session->ready;
}

static void tell_ended(void *argument UNUSED, const struct model_session_view *session UNUSED)
{
    scene.told[1] += 1;
}

static void tell_statement(void *argument UNUSED, const struct model_session_view *session,
                           struct span text)
{
    scene.told[2] += session->running && text.size > 0;
}

static void tell_finished(void *argument UNUSED, const struct model_session_view *session UNUSED,
                          const char *sqlstate UNUSED)
{
    scene.told[3] += 1;
}

static void tell_cancelled(void *argument UNUSED, const struct model_session_view *session UNUSED,
                           struct span text)
{
    scene.told[4] += text.size > 0;
}

static void tell_decided(void *argument UNUSED, const struct model_session_view *session UNUSED,
                         bool committed UNUSED)
{
    scene.told[5] += 1;
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
                                    .standby = scene.standby,
                                    .seed = scene.seed,
                                    .watch = watch};
    ck_assert(address_parse("127.0.0.1", 0, &options.address));
    ck_assert_int_eq(model_new(&options, &scene.model), OK);
    ck_assert_int_eq(model_start(scene.model), OK);
    scene.part();
    model_stop(scene.model, after(sec(5)));
    ck_assert_ptr_null(model_session_next(scene.model, NULL));
    ck_assert_uint_eq(scene.told[0], scene.told[1]);
    model_free(&scene.model);
    machine_stop();
}

static uint64_t play(uint64_t seed, void (*part)(void))
{
    os_sim_start(seed);
    scene.part = part;
    scene.seed = seed;
    memset(scene.told, 0, sizeof(scene.told));
    memset(scene.acknowledged, 0, sizeof(scene.acknowledged));
    ck_assert_int_eq(machine_run("scene", scene_main, NULL), OK);
    uint64_t history = os_sim_history();
    os_sim_finish();
    scene.standby = false;
    return history;
}

/* --- what is committed ------------------------------------------------------------------------ */

/* Each round writes two rows in one transaction. */
static int32_t key_of(uint32_t writer, uint32_t round, uint32_t which)
{
    return (int32_t)(1 + (writer * ROUNDS + round) * 2 + which);
}

static fault write_round(struct guest *guest, uint32_t writer, uint32_t round)
{
    char sql[128];
    TRY(guest_ask(guest, "begin"));
    for (uint32_t which = 0; which < 2; which++) {
        snprintf(sql, sizeof(sql), "insert into kv values (%d, 'w%u.%u')",
                 key_of(writer, round, which), writer, round);
        TRY(guest_ask(guest, sql));
    }
    TRY(guest_ask(guest, "update kv set v = v || '!' where k = 0"));
    TRY(guest_ask(guest, "commit"));
    scene.acknowledged[writer][round] = guest->status == WIRE_TX_IDLE;
    return OK;
}

static void writer_main(void *argument)
{
    uint32_t writer = (uint32_t)(uintptr_t)argument, round = 0;
    while (round < ROUNDS) {
        struct guest guest;
        fault wrote = guest_begin(&guest);
        while (wrote == OK && round < ROUNDS)
            wrote = write_round(&guest, writer, round++);
        guest_end(&guest);
        if (wrote != OK && round < ROUNDS)
            ck_assert_int_eq(co_sleep(ms(1)), OK);
    }
}

static void check_rows(void)
{
    for (uint32_t writer = 0; writer < WRITERS; writer++) {
        for (uint32_t round = 0; round < ROUNDS; round++) {
            struct span first, second;
            bool one = model_table_read(scene.model, key_of(writer, round, 0), &first);
            bool two = model_table_read(scene.model, key_of(writer, round, 1), &second);
            ck_assert_msg(one == two, "half of a transaction: seed %u", (unsigned)scene.seed);
            ck_assert(one || !scene.acknowledged[writer][round]);
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
    if (!scene.calm)
        model_set_faults(scene.model, &faults);
    ck_assert_int_eq(model_table_put(scene.model, 0, SPAN("shared")), OK);
    co_group_init(&scene.group);
    for (uintptr_t i = 0; i < WRITERS; i++)
        ck_assert_int_eq(co_group_start(&scene.group, writer_main, (void *)i, CO_LARGE), OK);
    if (!scene.calm) {
        ck_assert_int_eq(co_sleep(ms(4)), OK);
        model_crash(scene.model);
        ck_assert_int_eq(co_sleep(ms(2)), OK);
        model_set_state(scene.model, MODEL_READY);
    }
    co_group_join(&scene.group);
    check_rows();
}

TEST(transactions_are_whole_or_not_there_whatever_goes_wrong)
{
    uint32_t acknowledged = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        play(seed, writers_write);
        for (uint32_t i = 0; i < WRITERS * ROUNDS; i++)
            acknowledged += (&scene.acknowledged[0][0])[i];
    }
    /* The faults are felt, and leave something to be seen. */
    ck_assert_uint_gt(acknowledged, SEEDS * WRITERS * ROUNDS / 5);
    ck_assert_uint_lt(acknowledged, SEEDS * WRITERS * ROUNDS * 19 / 20);
}
END_TEST

TEST(without_faults_every_transaction_is_committed)
{
    scene.calm = true;
    play(1, writers_write);
    scene.calm = false;
    for (uint32_t writer = 0; writer < WRITERS; writer++)
        for (uint32_t round = 0; round < ROUNDS; round++)
            ck_assert(scene.acknowledged[writer][round]);
    ck_assert_uint_ge(scene.told[5], WRITERS * ROUNDS);
    ck_assert_uint_eq(scene.told[2], scene.told[3]);
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
    struct guest guest;
    ck_assert_int_eq(guest_begin(&guest), FAULT_UPSTREAM);
    ck_assert_str_eq(guest.sqlstate, sqlstate);
    guest_end(&guest);
}

static void states_are_told(void)
{
    struct guest guests[WRITERS + 2], one;
    model_set_state(scene.model, MODEL_STARTING);
    newcomer_hears("57P03");
    model_set_state(scene.model, MODEL_READY);
    for (size_t i = 0; i < ARRAY_SIZE(guests); i++)
        ck_assert_int_eq(guest_begin(&guests[i]), OK);
    newcomer_hears("53300");
    ck_assert_uint_eq(model_counts(scene.model).sessions, WRITERS + 2);
    model_set_connections(scene.model, WRITERS + 3);
    ck_assert_int_eq(guest_begin_as(&one, "ann", "secret"), OK);
    must(&one, "select current_user");
    ck_assert_str_eq(one.value, "ann");
    guest_end(&one);
    for (size_t i = 0; i < ARRAY_SIZE(guests); i++)
        guest_end(&guests[i]);
}

TEST(newcomers_hear_what_state_the_server_is_in)
{
    play(3, states_are_told);
}
END_TEST

static void standby_is_promoted(void)
{
    struct guest guest;
    ck_assert_int_eq(guest_begin(&guest), OK);
    ck_assert(guest.greeting.in_hot_standby);
    must(&guest, "show transaction_read_only");
    ck_assert_str_eq(guest.value, "on");
    refused(&guest, "insert into kv values (1, 'a')", "25006");
    model_promote(scene.model);
    must(&guest, "insert into kv values (1, 'a')");
    ck_assert_str_eq(guest.standby, "off");
    guest_end(&guest);
}

TEST(a_promoted_standby_says_so)
{
    scene.standby = true;
    play(4, standby_is_promoted);
}
END_TEST

static void sessions_are_ended(void)
{
    struct guest guest;
    struct span found;
    ck_assert_int_eq(guest_begin(&guest), OK);
    must(&guest, "insert into kv values (1, 'kept')");
    must(&guest, "begin; insert into kv values (2, 'lost')");
    ck_assert(model_terminate(scene.model, guest.greeting.pid));
    ck_assert_int_ne(guest_ask(&guest, "commit"), OK);
    guest_end(&guest);
    ck_assert_int_eq(guest_begin(&guest), OK);
    must(&guest, "begin; insert into kv values (2, 'lost')");
    ck_assert(model_crash_session(scene.model, guest.greeting.pid));
    ck_assert_int_eq(guest_ask(&guest, "commit"), FAULT_CLOSED);
    ck_assert(!model_terminate(scene.model, guest.greeting.pid));
    guest_end(&guest);
    model_stop(scene.model, SOON);
    ck_assert_int_eq(guest_begin(&guest), FAULT_REFUSED);
    guest_end(&guest);
    ck_assert_int_eq(model_start(scene.model), OK);
    ck_assert(model_table_read(scene.model, 1, &found) && span_is(found, "kept"));
    ck_assert(!model_table_read(scene.model, 2, &found));
    ck_assert_int_eq(guest_begin(&guest), OK);
    must(&guest, "select v from kv where k = 1");
    ck_assert_str_eq(guest.value, "kept");
    guest_end(&guest);
}

TEST(what_was_committed_outlives_sessions_and_restarts)
{
    for (uint64_t seed = 0; seed < 8; seed++)
        play(seed, sessions_are_ended);
}
END_TEST

static void query_is_cancelled(void)
{
    struct link_target target = {.address = model_address(scene.model)};
    struct guest guest;
    ck_assert_int_eq(guest_begin(&guest), OK);
    struct span secret = wire_secret_span(&guest.greeting.secret);
    ck_assert_int_eq(link_cancel(&target, guest.greeting.pid, secret, SOON), OK);
    must(&guest, "select 1");
    ck_assert_uint_eq(scene.told[4], 0);
    ck_assert_int_eq(guest_send(&guest, "select pg_sleep(3600)"), OK);
    ck_assert_int_eq(co_sleep(sec(1)), OK);
    ck_assert_int_eq(link_cancel(&target, guest.greeting.pid, SPAN("none"), SOON), OK);
    ck_assert_uint_eq(scene.told[4], 0);
    ck_assert_int_eq(link_cancel(&target, guest.greeting.pid, secret, SOON), OK);
    ck_assert_int_eq(guest_read(&guest), FAULT_UPSTREAM);
    ck_assert_str_eq(guest.sqlstate, "57014");
    ck_assert_uint_eq(scene.told[4], 1);
    ck_assert_uint_eq(model_counts(scene.model).cancels, 2);
    guest_end(&guest);
}

TEST(a_cancel_request_hits_what_runs_and_nothing_else)
{
    for (uint64_t seed = 0; seed < 8; seed++)
        play(seed, query_is_cancelled);
}
END_TEST

static void two_wait_for_each_other(void)
{
    struct guest a, b;
    ck_assert_int_eq(guest_begin(&a), OK);
    ck_assert_int_eq(guest_begin(&b), OK);
    must(&a, "insert into kv values (1, 'a'), (2, 'b')");
    must(&a, "begin; update kv set v = 'A' where k = 1");
    must(&b, "begin; update kv set v = 'B' where k = 2");
    ck_assert_int_eq(guest_send(&a, "update kv set v = 'A' where k = 2"), OK);
    ck_assert_int_eq(guest_send(&b, "update kv set v = 'B' where k = 1"), OK);
    fault first = guest_read(&a), second;
    if (first != OK)
        must(&a, "rollback");
    second = guest_read(&b);
    ck_assert(first == OK || second == OK);
    ck_assert(first != OK || second != OK);
    ck_assert_str_eq(first != OK ? "40P01" : b.sqlstate, "40P01");
    guest_end(&a);
    guest_end(&b);
}

TEST(a_deadlock_has_one_victim)
{
    for (uint64_t seed = 0; seed < 8; seed++)
        play(seed, two_wait_for_each_other);
}
END_TEST

static void look_at_session(void)
{
    struct guest guest;
    ck_assert_int_eq(guest_begin(&guest), OK);
    must(&guest, "set application_name = 'me'; prepare s as select 1");
    must(&guest, "listen news; select pg_advisory_lock(7)");
    must(&guest, "create temp table t (k int, v text)");
    must(&guest, "begin; declare c cursor for select 1");
    const struct model_session *session = model_session_find(scene.model, guest.greeting.pid);
    struct model_session_view view = model_session_look(session);
    ck_assert(span_is(view.application_name, "me") && span_is(view.user, "joe"));
    ck_assert_uint_eq(view.statements, 1);
    ck_assert_uint_eq(view.portals, 1);
    ck_assert_uint_eq(view.locks, 1);
    ck_assert_uint_eq(view.channels, 1);
    ck_assert_uint_eq(view.temporary, 1);
    ck_assert_int_eq(view.status, WIRE_TX_ACTIVE);
    must(&guest, "rollback");
    must(&guest, "discard all");
    view = model_session_look(session);
    ck_assert_uint_eq(view.statements + view.portals + view.locks + view.channels, 0);
    ck_assert_uint_eq(view.temporary, 0);
    ck_assert(model_set_default(scene.model, "work_mem", "8192"));
    must(&guest, "show work_mem");
    ck_assert_str_eq(guest.value, "8MB");
    guest_end(&guest);
}

TEST(a_session_can_be_looked_at)
{
    play(5, look_at_session);
}
END_TEST

TESTS("sim_model", transactions_are_whole_or_not_there_whatever_goes_wrong,
      without_faults_every_transaction_is_committed, a_seed_gives_one_history,
      newcomers_hear_what_state_the_server_is_in, a_promoted_standby_says_so,
      what_was_committed_outlives_sessions_and_restarts,
      a_cancel_request_hits_what_runs_and_nothing_else, a_deadlock_has_one_victim,
      a_session_can_be_looked_at)
