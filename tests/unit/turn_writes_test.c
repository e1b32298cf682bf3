/* Writes of a client of a service whose writers are all inside: when answers are held and changed.
 */
#include "flight/flight_env.h"
#include "turn_steps.h"

static struct flight_env *flight;
static struct inside *inside;
static struct generations_reads reads;
static uint64_t captured;

/* --- what an answer is ------------------------------------------------------------------------ */

static void store(void)
{
    inside_reads_init(inside, &reads, inside_database(inside, SPAN("app")));
    ck_assert(generations_reads_table(flight->generations, &reads, 7));
    ck_assert(generations_capture(flight->generations, &reads, &captured));
}

static enum generations_state state(void)
{
    return generations_check(flight->generations, reads.slots, reads.count, captured);
}

#define STATE(is) ck_assert_int_eq(state(), GENERATIONS_##is)

/* What the relay does behind its send may come a moment later. */
static void becomes(enum generations_state wanted)
{
    for (deadline by = soon(); state() != wanted && now().us < by.us;)
        ck_assert_int_eq(co_sleep(ms(1)), OK);
    ck_assert_int_eq(state(), wanted);
}

/* The pool's first client, its server, and a stored answer. */
static void begin_inside(struct talk *client, struct talk *server, enum pool_mode mode)
{
    world_prepare(&world, 1, 1);
    world.service.writers = WRITERS_INSIDE;
    world.config->cache_memory = 64u << 20;
    world.routes[1].mode = mode;
    world.routes[1].prepared_max = 0;
    world.routes[1].is_watched = world.routes[1].is_inside = true;
    world_open(&world);
    flight = pooler_relay(world.pooler, 0)->pools.env->flight;
    inside = insides_get(flight->insides, SPAN("main"));
    *client = TALK_INIT;
    ck_assert_int_eq(talk_hello(client, &world, "app", "joe"), OK);
    accept_server(server, 100);
    ck_assert_int_eq(talk_await_ready(client), OK);
    store();
}

/* --- steps ------------------------------------------------------------------------------------ */

#define SEND(text)                                                                                 \
    do {                                                                                           \
        PUT(&client, 'Q', text);                                                                   \
        flush(&client);                                                                            \
        EXPECT(&server, 'Q', text);                                                                \
    } while (0)

#define ANSWER(tag, status)                                                                        \
    do {                                                                                           \
        PUT(&server, 'C', tag);                                                                    \
        PUT_BARE(&server, 'Z', status);                                                            \
        flush(&server);                                                                            \
        EXPECT(&client, 'C', tag);                                                                 \
        EXPECT_BARE(&client, 'Z', status);                                                         \
    } while (0)

BODY(a_write_is_in_doubt_until_its_ready_for_query)
{
    struct talk client, server;
    begin_inside(&client, &server, POOL_TRANSACTION);
    STATE(CURRENT);
    SEND("insert into t values (1)");
    STATE(HELD);
    PUT(&server, 'C', "INSERT 0 1");
    flush(&server);
    EXPECT(&client, 'C', "INSERT 0 1");
    STATE(HELD);
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT_BARE(&client, 'Z', "I");
    ck_assert_int_ne(state(), GENERATIONS_CURRENT);
    becomes(GENERATIONS_CHANGED);
    finish(&client, &server);
}

BODY(an_open_transaction_is_in_doubt_from_its_commit_on)
{
    struct talk client, server;
    begin_inside(&client, &server, POOL_SESSION); /* the server is not released in between */
    SEND("begin");
    ANSWER("BEGIN", "T");
    SEND("insert into t values (1)");
    STATE(CURRENT);
    ANSWER("INSERT 0 1", "T");
    STATE(CURRENT);
    SEND("commit");
    STATE(HELD);
    ANSWER("COMMIT", "I");
    STATE(CHANGED);
    store();
    SEND("begin");
    ANSWER("BEGIN", "T");
    SEND("commit");
    STATE(CURRENT);
    ANSWER("COMMIT", "I");
    STATE(CURRENT);
    finish(&client, &server);
}

BODY(what_is_rolled_back_changes_nothing)
{
    struct talk client, server;
    begin_inside(&client, &server, POOL_SESSION);
    SEND("begin");
    ANSWER("BEGIN", "T");
    SEND("insert into t values (1)");
    ANSWER("INSERT 0 1", "T");
    SEND("rollback");
    STATE(HELD);
    ANSWER("ROLLBACK", "I");
    STATE(CURRENT);
    SEND("insert into t values (1)");
    STATE(HELD);
    put_error(&server, "ERROR", "23505");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    expect_error(&client, "ERROR", "23505");
    EXPECT_BARE(&client, 'Z', "I");
    STATE(CURRENT);
    finish(&client, &server);
}

BODY(an_error_behind_what_may_commit_changes_all)
{
    static const char *const texts[] = {"insert into t values (1); commit; select 1/0", "call f()"};
    struct talk client, server;
    begin_inside(&client, &server, POOL_SESSION);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        store();
        talk_put(&client, 'Q', texts[i], strlen(texts[i]) + 1);
        flush(&client);
        expect_bytes(&server, 'Q', texts[i], strlen(texts[i]) + 1);
        if (i == 0) {
            PUT(&server, 'C', "INSERT 0 1");
            PUT(&server, 'C', "COMMIT");
        }
        put_error(&server, "ERROR", "22012");
        PUT_BARE(&server, 'Z', "I");
        flush(&server);
        if (i == 0) {
            EXPECT(&client, 'C', "INSERT 0 1");
            EXPECT(&client, 'C', "COMMIT");
        }
        expect_error(&client, "ERROR", "22012");
        EXPECT_BARE(&client, 'Z', "I");
        STATE(CHANGED);
    }
    finish(&client, &server);
}

BODY(what_is_pipelined_behind_the_end_of_a_transaction_is_outside_of_it)
{
    struct talk client, server;
    begin_inside(&client, &server, POOL_SESSION);
    SEND("begin");
    ANSWER("BEGIN", "T");
    SEND("rollback");
    STATE(CURRENT);
    SEND("insert into t values (1)");
    STATE(HELD);
    ANSWER("ROLLBACK", "I");
    STATE(HELD);
    ANSWER("INSERT 0 1", "I");
    STATE(CHANGED);
    finish(&client, &server);
}

BODY(a_statement_that_is_not_known_changes_all)
{
    struct talk client, server;
    begin_inside(&client, &server, POOL_SESSION);
    uint64_t catalog = inside_catalog(inside);
    PUT_BARE(&client, 'B', "\0x\0\0\0\0\0\0\0");
    PUT_BARE(&client, 'E', "\0\0\0\0\0");
    PUT_BARE(&client, 'S', "");
    flush(&client);
    EXPECT_BARE(&server, 'B', "\0x\0\0\0\0\0\0\0");
    EXPECT_BARE(&server, 'E', "\0\0\0\0\0");
    EXPECT_BARE(&server, 'S', "");
    STATE(HELD);
    PUT_BARE(&server, '2', "");
    PUT(&server, 'C', "UPDATE 1");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT_BARE(&client, '2', "");
    EXPECT(&client, 'C', "UPDATE 1");
    EXPECT_BARE(&client, 'Z', "I");
    STATE(CHANGED);
    ck_assert_uint_eq(inside_catalog(inside), catalog); /* no Parse was of DDL */
    finish(&client, &server);
}

BODY(ddl_changes_the_catalog)
{
    struct talk client, server;
    begin_inside(&client, &server, POOL_SESSION);
    uint64_t catalog = inside_catalog(inside), settings = inside_settings(inside);
    SEND("create table t (n int)");
    STATE(HELD);
    ANSWER("CREATE TABLE", "I");
    STATE(CHANGED);
    ck_assert_uint_gt(inside_catalog(inside), catalog);
    ck_assert_uint_eq(inside_settings(inside), settings);
    SEND("alter role joe set search_path = x");
    ANSWER("ALTER ROLE", "I");
    ck_assert_uint_gt(inside_settings(inside), settings);
    finish(&client, &server);
}

BODY(a_lost_server_stays_in_doubt)
{
    struct talk client, server;
    uint32_t pids[INSIDE_LOST_MAX];
    begin_inside(&client, &server, POOL_TRANSACTION);
    uint64_t suspicions = inside_suspicions(inside);
    SEND("insert into t values (1)");
    talk_end(&server);
    expect_error(&client, "FATAL", "08007");
    expect_end(&client);
    for (deadline by = soon(); !inside_has_lost(inside) && now().us < by.us;) {
        STATE(HELD);
        ck_assert_int_eq(co_sleep(ms(1)), OK);
    }
    STATE(HELD);
    ck_assert_uint_eq(inside_lost_pids(inside, pids), 1);
    ck_assert_uint_eq(pids[0], 100);
    ck_assert_uint_gt(inside_suspicions(inside), suspicions);
    inside_gone(inside, 100);
    STATE(CHANGED);
    finish(&client, &server);
}

BODY(a_server_that_is_lost_while_idle_leaves_no_doubt)
{
    struct talk client, server;
    begin_inside(&client, &server, POOL_TRANSACTION);
    uint64_t suspicions = inside_suspicions(inside);
    SEND("insert into t values (1)");
    ANSWER("INSERT 0 1", "I");
    becomes(GENERATIONS_CHANGED);
    store();
    talk_end(&server);
    for (deadline by = soon(); inside_suspicions(inside) == suspicions && now().us < by.us;)
        ck_assert_int_eq(co_sleep(ms(1)), OK);
    ck_assert_uint_gt(inside_suspicions(inside), suspicions);
    STATE(CURRENT);
    ck_assert(!inside_has_lost(inside));
    finish(&client, &server);
}

TESTS("turn_writes", a_write_is_in_doubt_until_its_ready_for_query,
      an_open_transaction_is_in_doubt_from_its_commit_on, what_is_rolled_back_changes_nothing,
      an_error_behind_what_may_commit_changes_all,
      what_is_pipelined_behind_the_end_of_a_transaction_is_outside_of_it,
      a_statement_that_is_not_known_changes_all, ddl_changes_the_catalog,
      a_lost_server_stays_in_doubt, a_server_that_is_lost_while_idle_leaves_no_doubt)
