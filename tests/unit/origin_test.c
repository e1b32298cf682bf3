/* The primary that strict answers come from: epochs, what the feed follows, and what is released.
 * The feeds are real ones: at a listener that never answers, or at a port that refuses. */
#include "flight/origin.h"
#include "unit.h"

#include "machine/clock.h"
#include "machine/stream.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

static struct generations_table *table;
static struct origins *origins;
static struct origin *origin;
static int listener;
static struct link_target silent, refusing;
static unsigned given, released; /* atomic: sources */

static const struct origin_server one = {1, 1, 1000}, other = {1, 2, 2000};

/* --- the bench -------------------------------------------------------------------------------- */

/* Binds a port, and listens there if `listens`; the address of it is written to `target`. */
static int port_of(struct link_target *target, bool listens)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(made, 0);
    ck_assert_int_eq(bind(made, (struct sockaddr *)&at, size), 0);
    ck_assert_int_eq(listens ? listen(made, 64) : 0, 0);
    ck_assert_int_eq(getsockname(made, (struct sockaddr *)&at, &size), 0);
    *target = (struct link_target){.host = "127.0.0.1"};
    ck_assert(address_parse("127.0.0.1", ntohs(at.sin_port), &target->address));
    return made;
}

static int unused; /* bound, and does not listen */

static void setup(void)
{
    table = generations_table_new(GENERATIONS_SLOTS_DEFAULT);
    origins = origins_new(table);
    listener = port_of(&silent, true);
    unused = port_of(&refusing, false);
    ck_assert_int_eq(origins_begin(origins), OK);
    origin = origins_get(origins, SPAN("main"), SPAN("app"));
    ck_assert_ptr_nonnull(origin);
}

static void teardown(void)
{
    origins_free(&origins);
    ck_assert_uint_eq(__atomic_load_n(&released, __ATOMIC_ACQUIRE), given);
    generations_table_free(&table);
    close(listener);
    close(unused);
}

static void release(void *held)
{
    ck_assert_ptr_eq(held, &released);
    __atomic_fetch_add(&released, 1, __ATOMIC_RELEASE);
}

static fault follow_at(const struct link_target *target, struct origin *of, uint64_t epoch,
                       const struct origin_server *server, uint64_t version)
{
    struct origin_route route = {.target = target,
                                 .user = "feeder",
                                 .password = "secret",
                                 .version = version,
                                 .release = release,
                                 .held = &released};
    __atomic_fetch_add(&given, 1, __ATOMIC_RELAXED);
    return origin_follow(of, epoch, server, &route);
}

static fault follow(uint64_t epoch, const struct origin_server *server)
{
    return follow_at(&silent, origin, epoch, server, 1);
}

static void let_others_run(void)
{
    sched_yield();
}

static void note_view(void *argument, const struct origin_view *view)
{
    struct origin_view *ret = argument;
    if (span_is(view->service, "main") && span_is(view->database, "app"))
        *ret = *view;
}

static struct feed_view look(void)
{
    struct origin_view view = {.feed.state = FEED_STATES};
    origins_each(origins, note_view, &view);
    return view.feed;
}

static void await(enum feed_state state)
{
    while (look().state != state)
        let_others_run();
}

/* --- the table -------------------------------------------------------------------------------- */

TEST(an_origin_is_of_one_database_of_one_service)
{
    ck_assert_ptr_eq(origins_get(origins, SPAN("main"), SPAN("app")), origin);
    struct origin *elsewhere = origins_get(origins, SPAN("main"), SPAN("shop"));
    struct origin *foreign = origins_get(origins, SPAN("side"), SPAN("app"));
    ck_assert(elsewhere != origin && foreign != origin && foreign != elsewhere);
    ck_assert(origin_database(origin) != origin_database(elsewhere));
    ck_assert(origin_database(origin) != origin_database(foreign));
    ck_assert_ptr_nonnull(origin_keys(origin));
}
END_TEST

TEST(there_is_no_origin_before_the_thread_of_the_feeds)
{
    struct origins *early = origins_new(table);
    ck_assert_ptr_null(origins_get(early, SPAN("main"), SPAN("app")));
    ck_assert_int_eq(origins_begin(early), OK);
    ck_assert_int_eq(origins_begin(early), OK);
    ck_assert_ptr_nonnull(origins_get(early, SPAN("main"), SPAN("app")));
    origins_free(&early);
    origins_free(&early);
}
END_TEST

TEST(the_number_of_an_origin_is_not_that_of_other_modes)
{
    ck_assert(origin_database(origin) != generations_database(table, SPAN("main"), SPAN("app")));
}
END_TEST

TEST(services_that_differ_in_the_last_byte_of_a_long_name_have_two_numbers)
{
    char name[1000];
    memset(name, 'x', sizeof(name));
    struct origin *first = origins_get(origins, span_of(name, sizeof(name)), SPAN("app"));
    name[sizeof(name) - 1] = 'y';
    struct origin *second = origins_get(origins, span_of(name, sizeof(name)), SPAN("app"));
    ck_assert(first != second && origin_database(first) != origin_database(second));
    struct origin *joined = origins_get(origins, SPAN("mai"), SPAN("napp"));
    ck_assert(origin_database(joined) != origin_database(origin));
}
END_TEST

TEST(a_database_is_in_doubt_while_its_feed_does_not_stream)
{
    struct generations_reads reads;
    uint64_t captured;
    generations_reads_init(table, &reads, origin_database(origin));
    ck_assert(!generations_capture(table, &reads, &captured));
    ck_assert_int_eq(follow(1, &one), OK);
    await(FEED_CONNECTING);
    ck_assert(!generations_capture(table, &reads, &captured));
    generations_reads_init(table, &reads, generations_database(table, SPAN("main"), SPAN("app")));
    ck_assert(generations_capture(table, &reads, &captured));
}
END_TEST

/* --- epochs ----------------------------------------------------------------------------------- */

TEST(a_change_begins_an_epoch_of_each_database_of_the_service)
{
    struct origin *shop = origins_get(origins, SPAN("main"), SPAN("shop"));
    struct origin *side = origins_get(origins, SPAN("side"), SPAN("app"));
    ck_assert_uint_eq(origin_epoch(origin), 1);
    origins_change(origins, SPAN("main"));
    ck_assert_uint_eq(origin_epoch(origin), 2);
    ck_assert_uint_eq(origin_epoch(shop), 2);
    ck_assert_uint_eq(origin_epoch(side), 1);
    origins_change(origins, SPAN("unknown"));
    ck_assert_uint_eq(origin_epoch(origin), 2);
}
END_TEST

TEST(an_answer_is_of_the_server_that_the_feed_follows_in_its_epoch)
{
    ck_assert(!origin_is(origin, 1, &one));
    ck_assert_int_eq(follow(1, &one), OK);
    ck_assert(origin_is(origin, 1, &one));
    ck_assert(!origin_is(origin, 0, &one) && !origin_is(origin, 2, &one));
    struct origin_server system = one, timeline = one, instance = one;
    system.system += 1;
    timeline.timeline += 1;
    instance.instance += 1;
    ck_assert(!origin_is(origin, 1, &system));
    ck_assert(!origin_is(origin, 1, &timeline));
    ck_assert(!origin_is(origin, 1, &instance));
}
END_TEST

TEST(after_a_change_no_server_is_the_feeds_until_an_execution_finds_one)
{
    ck_assert_int_eq(follow(1, &one), OK);
    origins_change(origins, SPAN("main"));
    ck_assert(!origin_is(origin, 1, &one) && !origin_is(origin, 2, &one));
    ck_assert_int_eq(follow(1, &one), FAULT_AGAIN); /* found before the change */
    ck_assert(!origin_is(origin, 2, &one));
    ck_assert_int_eq(follow(2, &one), OK);
    ck_assert(origin_is(origin, 2, &one));
    ck_assert_uint_eq(origin_epoch(origin), 2);
}
END_TEST

TEST(another_server_in_the_same_epoch_begins_a_new_one)
{
    ck_assert_int_eq(follow(1, &one), OK);
    ck_assert_int_eq(follow(1, &other), OK);
    ck_assert_uint_eq(origin_epoch(origin), 2);
    ck_assert(origin_is(origin, 2, &other));
    ck_assert(!origin_is(origin, 1, &one) && !origin_is(origin, 2, &one));
    ck_assert_int_eq(follow(1, &one), FAULT_AGAIN);
    ck_assert(origin_is(origin, 2, &other));
}
END_TEST

TEST(the_server_that_is_followed_already_gives_no_new_source)
{
    ck_assert_int_eq(follow(1, &one), OK);
    await(FEED_CONNECTING);
    unsigned before = __atomic_load_n(&released, __ATOMIC_ACQUIRE);
    ck_assert_int_eq(follow(1, &one), OK);
    ck_assert_int_eq(follow_at(&silent, origin, 1, &one, 2), OK); /* it has not failed */
    ck_assert_uint_eq(__atomic_load_n(&released, __ATOMIC_ACQUIRE), before + 2);
    ck_assert_uint_eq(origin_epoch(origin), 1);
}
END_TEST

TEST(a_feed_that_fails_gets_newer_settings_in_a_new_epoch)
{
    ck_assert_int_eq(follow_at(&refusing, origin, 1, &one, 1), OK);
    await(FEED_FAILED);
    ck_assert_int_eq(follow_at(&refusing, origin, 1, &one, 1), OK); /* the same settings */
    ck_assert_uint_eq(origin_epoch(origin), 1);
    ck_assert_int_eq(follow_at(&silent, origin, 1, &one, 2), OK);
    ck_assert_uint_eq(origin_epoch(origin), 2);
    ck_assert(origin_is(origin, 2, &one));
    await(FEED_CONNECTING);
    ck_assert_uint_eq(look().epoch, 2);
}
END_TEST

/* --- what executions look for ----------------------------------------------------------------- */

TEST(a_feed_lacks_a_server_until_it_follows_one_and_while_it_fails)
{
    ck_assert(origin_lacks(origin));
    ck_assert_int_eq(follow(1, &one), OK);
    await(FEED_CONNECTING);
    ck_assert(!origin_lacks(origin) && !origin_is_due(origin));
    origins_change(origins, SPAN("main"));
    ck_assert(origin_lacks(origin));
    ck_assert_int_eq(follow_at(&refusing, origin, 2, &other, 1), OK);
    await(FEED_FAILED);
    ck_assert(origin_lacks(origin));
}
END_TEST

TEST(one_execution_at_a_time_looks_for_a_server)
{
    moment begin = now_exact();
    ck_assert(origin_is_due(origin));
    ck_assert(!origin_is_due(origin));
    while (!origin_is_due(origin))
        let_others_run();
    ck_assert_int_ge(between(begin, now_exact()).us, 190000);
    ck_assert(!origin_is_due(origin));
}
END_TEST

/* --- reloads ---------------------------------------------------------------------------------- */

static bool has_feed(void *argument, struct span service)
{
    return span_is(service, argument);
}

TEST(a_service_without_a_feed_gives_it_up_until_a_server_is_found_again)
{
    struct origin *side = origins_get(origins, SPAN("side"), SPAN("app"));
    ck_assert_int_eq(follow(1, &one), OK);
    ck_assert_int_eq(follow_at(&silent, side, 1, &one, 1), OK);
    origins_prune(origins, has_feed, (void *)(uintptr_t) "side");
    await(FEED_PAUSED);
    ck_assert(!origin_is(origin, 1, &one) && origin_lacks(origin));
    ck_assert(origin_is(side, 1, &one));
    ck_assert_int_eq(follow(origin_epoch(origin), &one), OK);
    await(FEED_CONNECTING);
    ck_assert(origin_is(origin, 2, &one));
}
END_TEST

TEST(a_feed_that_was_not_asked_for_long_is_given_up_while_a_rule_rests)
{
    ck_assert_int_eq(follow(1, &one), OK);
    moment followed = now();
    origin_rest(origin, later(followed, ms(1900)));
    ck_assert_uint_eq(origin_epoch(origin), 1);
    origin_rest(origin, later(followed, ms(2500)));
    ck_assert_uint_eq(origin_epoch(origin), 2);
    await(FEED_PAUSED);
    origin_rest(origin, later(followed, ms(2600)));
    ck_assert_uint_eq(origin_epoch(origin), 2);
    ck_assert(!origin_is(origin, 1, &one) && origin_lacks(origin));
    ck_assert_int_eq(follow(2, &one), OK);
    await(FEED_CONNECTING);
}
END_TEST

/* --- tickets ---------------------------------------------------------------------------------- */

struct asked {
    struct feed_ticket ticket;
    bool answered; /* atomic */
};

static void answered(struct feed_ticket *ticket)
{
    __atomic_store_n(&CONTAINER_OF(ticket, struct asked, ticket)->answered, true, __ATOMIC_RELEASE);
}

TEST(a_feed_that_does_not_stream_lets_statements_be_executed)
{
    static struct asked asked = {.ticket = {.answered = answered, .timeout = {10000}}};
    ck_assert_int_eq(follow(1, &one), OK);
    origin_ask(origin, &asked.ticket);
    while (!__atomic_load_n(&asked.answered, __ATOMIC_ACQUIRE))
        let_others_run();
    ck_assert_int_eq(asked.ticket.verdict, FEED_BYPASS);
}
END_TEST

/* --- threads ---------------------------------------------------------------------------------- */

static bool ends; /* atomic */

/* What executions of a relay do. */
static void *execute(void *argument)
{
    const struct origin_server *found = argument;
    for (int i = 0; i < 300; i++) {
        uint64_t epoch = origin_epoch(origin);
        if (origin_is(origin, epoch, found) && !origin_is_due(origin))
            continue;
        (void)!follow(epoch, found);
    }
    return NULL;
}

static void *change(void *argument)
{
    while (!__atomic_load_n(&ends, __ATOMIC_ACQUIRE)) {
        uint64_t before = origin_epoch(origin);
        origins_change(origins, SPAN("main"));
        ck_assert_uint_gt(origin_epoch(origin), before);
        (void)look();
        let_others_run();
    }
    return argument;
}

TEST(each_source_is_released_once_whatever_threads_do)
{
    pthread_t finders[4], changer;
    ck_assert_int_eq(pthread_create(&changer, NULL, change, NULL), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&finders[i], NULL, execute,
                                        (void *)(uintptr_t)(i % 2 == 0 ? &one : &other)),
                         0);
    for (int i = 0; i < 4; i++)
        pthread_join(finders[i], NULL);
    __atomic_store_n(&ends, true, __ATOMIC_RELEASE);
    pthread_join(changer, NULL);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        an_origin_is_of_one_database_of_one_service,
        there_is_no_origin_before_the_thread_of_the_feeds,
        the_number_of_an_origin_is_not_that_of_other_modes,
        services_that_differ_in_the_last_byte_of_a_long_name_have_two_numbers,
        a_database_is_in_doubt_while_its_feed_does_not_stream,
        a_change_begins_an_epoch_of_each_database_of_the_service,
        an_answer_is_of_the_server_that_the_feed_follows_in_its_epoch,
        after_a_change_no_server_is_the_feeds_until_an_execution_finds_one,
        another_server_in_the_same_epoch_begins_a_new_one,
        the_server_that_is_followed_already_gives_no_new_source,
        a_feed_that_fails_gets_newer_settings_in_a_new_epoch,
        a_feed_lacks_a_server_until_it_follows_one_and_while_it_fails,
        one_execution_at_a_time_looks_for_a_server,
        a_service_without_a_feed_gives_it_up_until_a_server_is_found_again,
        a_feed_that_was_not_asked_for_long_is_given_up_while_a_rule_rests,
        a_feed_that_does_not_stream_lets_statements_be_executed,
        each_source_is_released_once_whatever_threads_do,
        NULL,
    };
    return unit_run("origin", tests, setup, teardown);
}
