/* Flights: who joins what, who is told, and when an execution is given up. */
#include "flight/flights.h"
#include "machine/co.h"
#include "machine_body.h"

#include <string.h>

static struct answer_memory memory;
static struct generations_table *generations;
static struct flights *flights;
static struct l1 *l1;

static void setup(void)
{
    answer_memory_init(&memory, 64 << 20);
    generations = generations_table_new(GENERATIONS_SLOTS_MIN);
    flights = flights_new(generations);
    l1 = l1_new(L1_BYTES_MIN, generations);
    ck_assert(generations != NULL && flights != NULL && l1 != NULL);
}

/* No flight is left: flights_free() would fail, and the memory of answers is not freed. */
static void teardown(void)
{
    flights_free(&flights);
    l1_free(&l1);
    generations_table_free(&generations);
    ck_assert_uint_eq(answer_memory_bytes(&memory), 0);
}

struct listener {
    struct flight_waiter waiter;
    struct answer_reader reader;
    uint64_t read;
    uint32_t told;
    bool leaves;             /* at the next news */
    struct listener *takes;  /* leaves with it */
    enum flight_phase phase; /* as of the last news */
};

static void read_all(struct listener *listener)
{
    struct answer *answer = flight_answer(listener->waiter.flight);
    if (answer == NULL)
        return;
    if (listener->reader.answer == NULL)
        ck_assert(answer_open(answer, ANSWER_WHOLE, &listener->reader));
    for (struct span next; (next = answer_peek(&listener->reader)).size > 0;) {
        for (size_t i = 0; i < next.size; i++)
            ck_assert_uint_eq(next.at[i], (uint8_t)(listener->read + i));
        listener->read += next.size;
        answer_consume(&listener->reader, next.size);
    }
}

static void leave(struct listener *listener)
{
    answer_close(&listener->reader);
    flight_leave(&listener->waiter);
}

static void news(struct flight_waiter *waiter)
{
    struct listener *listener = CONTAINER_OF(waiter, struct listener, waiter);
    listener->told += 1;
    read_all(listener);
    listener->phase = flight_phase(waiter->flight);
    if (listener->takes != NULL)
        leave(listener->takes);
    if (listener->leaves || listener->phase >= FLIGHT_ENDED)
        leave(listener);
}

static struct l1_key key_of(const char *text)
{
    struct l1_key key;
    l1_key_init(l1, span_text(text), &key);
    return key;
}

static const struct flight_about about = {{(const uint8_t *)"select 1", 8}, {NULL, 0}, {NULL, 0}};

static enum flight_role join(struct listener *listener, const char *text)
{
    struct l1_key key = key_of(text);
    listener->waiter.news = news;
    return flights_join(flights, &key, &about, &listener->waiter);
}

struct echo {
    struct mail mail;
    struct co *waits;
};

static void echo_delivered(struct mail *mail)
{
    co_wake(CONTAINER_OF(mail, struct echo, mail)->waits);
}

/* Waits until the mail that is under way to this machine has arrived. */
static void settle(void)
{
    struct echo echo = {.mail.deliver = echo_delivered, .waits = co_self()};
    ck_assert(mail_send(machine_self(), &echo.mail));
    ck_assert_int_eq(co_wait(NEVER), OK);
}

static struct answer *begin(struct flight *flight, const struct generations_reads *reads,
                            uint64_t captured)
{
    struct answer *answer = answer_new(&memory, 1 << 20);
    ck_assert_ptr_nonnull(answer);
    flight_run(flight, answer, reads, captured);
    return answer;
}

/* Begins an execution that reads what nothing writes. */
static struct answer *begin_plain(struct flight *flight)
{
    struct generations_reads reads;
    uint64_t captured;
    generations_reads_init(generations, &reads, 77);
    ck_assert(generations_capture(generations, &reads, &captured));
    return begin(flight, &reads, captured);
}

static void publish(struct answer *answer, uint64_t from, size_t size)
{
    uint8_t bytes[256];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(from + i);
    ck_assert_int_eq(answer_append(answer, span_of(bytes, size)), OK);
    answer_publish(answer);
}

BODY(an_execution_without_generations_is_joined_by_none)
{
    struct listener first = {0}, early = {0}, late = {0};
    ck_assert_int_eq(join(&first, "a"), FLIGHT_LED);
    struct flight *flight = flight_ref(first.waiter.flight);
    ck_assert_int_eq(join(&early, "a"), FLIGHT_JOINED);
    struct l1_key key = key_of("a");
    ck_assert(!flights_runs(flights, &key));
    struct answer *answer = begin(flight, NULL, 0);
    ck_assert(!flights_runs(flights, &key));
    ck_assert_int_eq(join(&late, "a"), FLIGHT_LED);
    struct flight *other = flight_ref(late.waiter.flight);
    struct answer *others = begin_plain(other);
    ck_assert(flights_runs(flights, &key));
    answer_end(answer, ANSWER_BROKEN);
    flight_end(flight, FLIGHT_ENDED);
    answer_end(others, ANSWER_BROKEN);
    flight_end(other, FLIGHT_ENDED);
    settle();
    leave(&first);
    leave(&early);
    leave(&late);
    answer_unref(&answer);
    answer_unref(&others);
    flight_unref(&flight);
    flight_unref(&other);
    machine_stop();
}

BODY(all_that_ask_for_one_key_get_the_answer_of_one_execution)
{
    struct listener all[5] = {0}, other = {0};
    ck_assert_int_eq(join(&all[0], "a"), FLIGHT_LED);
    struct flight *flight = flight_ref(all[0].waiter.flight);
    ck_assert_int_eq(join(&all[1], "a"), FLIGHT_JOINED);
    struct answer *answer = begin_plain(flight);
    ck_assert_int_eq(join(&all[2], "a"), FLIGHT_JOINED);
    publish(answer, 0, 100);
    flight_tell(flight);
    ck_assert_int_eq(join(&all[3], "a"), FLIGHT_JOINED);
    read_all(&all[3]); /* a client that joins looks at once */
    ck_assert_uint_eq(all[3].read, 100);
    settle();
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(all[i].read, 100);
    ck_assert_int_eq(join(&other, "b"), FLIGHT_LED);
    publish(answer, 100, 50);
    answer_end(answer, ANSWER_COMPLETE);
    flight_end(flight, FLIGHT_ENDED);
    settle();
    for (int i = 0; i < 4; i++) {
        ck_assert_uint_eq(all[i].read, 150);
        ck_assert_int_eq(all[i].phase, FLIGHT_ENDED);
    }
    ck_assert_int_eq(join(&all[4], "a"), FLIGHT_LED); /* the ended one is in the table no more */
    flight_end(all[4].waiter.flight, FLIGHT_DECLINED);
    flight_end(other.waiter.flight, FLIGHT_DECLINED);
    settle();
    ck_assert_int_eq(all[4].phase, FLIGHT_DECLINED);
    answer_unref(&answer);
    flight_unref(&flight);
    machine_stop();
}

BODY(a_write_to_its_tables_ends_joining_and_not_the_execution)
{
    struct listener first = {0}, second = {0}, third = {0};
    struct generations_reads reads;
    struct generations_writes writes;
    uint64_t captured;
    uint64_t database = generations_database(generations, SPAN("s"), SPAN("d"));
    generations_reads_init(generations, &reads, database);
    ck_assert(generations_reads_table(generations, &reads, 1));
    ck_assert(generations_capture(generations, &reads, &captured));
    ck_assert_int_eq(join(&first, "a"), FLIGHT_LED);
    struct flight *flight = flight_ref(first.waiter.flight);
    struct answer *answer = begin(flight, &reads, captured);
    generations_writes_init(&writes, database);
    generations_writes_table(generations, &writes, 1);
    generations_doubt(generations, &writes);
    ck_assert_int_eq(join(&second, "a"), FLIGHT_LED); /* already in doubt */
    generations_raise(generations, &writes);
    generations_doubt_end(generations, &writes);
    ck_assert_ptr_ne(second.waiter.flight, flight);
    ck_assert_int_eq(join(&third, "a"), FLIGHT_JOINED);
    ck_assert_ptr_eq(third.waiter.flight, second.waiter.flight);
    publish(answer, 0, 10);
    answer_end(answer, ANSWER_COMPLETE);
    flight_end(flight, FLIGHT_ENDED);
    flight_end(second.waiter.flight, FLIGHT_DECLINED);
    settle();
    ck_assert_uint_eq(first.read, 10);
    ck_assert_uint_eq(third.read, 0);
    ck_assert_int_eq(third.phase, FLIGHT_DECLINED);
    answer_unref(&answer);
    flight_unref(&flight);
    machine_stop();
}

BODY(a_closed_execution_is_joined_by_none_and_says_whether_one_has_joined)
{
    for (int joins = 0; joins < 2; joins++) {
        struct listener first = {0}, early = {0}, late = {0}, other = {0};
        ck_assert_int_eq(join(&first, "a"), FLIGHT_LED);
        struct flight *flight = flight_ref(first.waiter.flight);
        ck_assert_int_eq(join(&early, "a"), FLIGHT_JOINED);
        struct answer *answer = begin_plain(flight);
        if (joins > 0)
            ck_assert_int_eq(join(&late, "a"), FLIGHT_JOINED);
        ck_assert(flight_close(flight) == (joins == 0));
        ck_assert_int_eq(join(&other, "a"), FLIGHT_LED);
        answer_end(answer, ANSWER_BROKEN);
        flight_end(flight, FLIGHT_ENDED);
        flight_end(other.waiter.flight, FLIGHT_DECLINED);
        settle();
        answer_unref(&answer);
        flight_unref(&flight);
    }
    machine_stop();
}

static void on_abandoned(struct flight *flight UNUSED, void *context)
{
    *(uint32_t *)context += 1;
}

BODY(the_last_to_leave_abandons_the_execution_and_nobody_joins_it_any_more)
{
    struct listener first = {0}, second = {0}, third = {0};
    uint32_t abandoned = 0;
    ck_assert_int_eq(join(&first, "a"), FLIGHT_LED);
    struct flight *flight = flight_ref(first.waiter.flight);
    flight_set_runner(flight, machine_self(), on_abandoned, &abandoned);
    struct answer *answer = begin_plain(flight);
    ck_assert_int_eq(join(&second, "a"), FLIGHT_JOINED);
    leave(&first);
    settle();
    ck_assert_uint_eq(abandoned, 0);
    ck_assert(flight_wanted(flight));
    leave(&second);
    ck_assert(!flight_wanted(flight));
    ck_assert_int_eq(join(&third, "a"), FLIGHT_LED);
    settle();
    ck_assert_uint_eq(abandoned, 1);
    answer_end(answer, ANSWER_BROKEN);
    flight_end(flight, FLIGHT_ENDED);
    flight_end(third.waiter.flight, FLIGHT_DECLINED);
    settle();
    answer_unref(&answer);
    flight_unref(&flight);
    machine_stop();
}

BODY(a_runner_that_comes_late_is_told_that_no_client_waits)
{
    struct listener only = {0};
    uint32_t abandoned = 0;
    ck_assert_int_eq(join(&only, "a"), FLIGHT_LED);
    struct flight *flight = flight_ref(only.waiter.flight);
    leave(&only);
    flight_set_runner(flight, machine_self(), on_abandoned, &abandoned);
    settle();
    ck_assert_uint_eq(abandoned, 1);
    flight_end(flight, FLIGHT_DECLINED);
    flight_unref(&flight);
    machine_stop();
}

BODY(a_waiter_that_is_told_may_leave_with_its_neighbours)
{
    struct listener all[6] = {0};
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(join(&all[i], "a"), i == 0 ? FLIGHT_LED : FLIGHT_JOINED);
    struct flight *flight = flight_ref(all[0].waiter.flight);
    all[0].leaves = true;
    all[2].takes = &all[3]; /* the next one */
    all[4].takes = &all[5]; /* the last one */
    flight_tell(flight);
    settle();
    ck_assert_ptr_null(all[0].waiter.flight);
    ck_assert_ptr_null(all[3].waiter.flight);
    ck_assert_ptr_null(all[5].waiter.flight);
    const uint32_t told[] = {1, 1, 1, 0, 1, 0};
    for (int i = 0; i < 6; i++)
        ck_assert_uint_eq(all[i].told, told[i]);
    all[2].takes = all[4].takes = NULL;
    flight_end(flight, FLIGHT_DECLINED);
    settle();
    for (int i = 0; i < 6; i++)
        ck_assert_ptr_null(all[i].waiter.flight);
    flight_unref(&flight);
    machine_stop();
}

BODY(a_refresh_needs_no_waiter_and_there_is_one_at_a_time)
{
    struct l1_key key = key_of("a");
    struct listener joins = {0};
    struct flight *flight = flights_refresh(flights, &key, &about);
    ck_assert_ptr_nonnull(flight);
    ck_assert(flight_wanted(flight));
    ck_assert_ptr_null(flights_refresh(flights, &key, &about));
    ck_assert_int_eq(join(&joins, "a"), FLIGHT_JOINED);
    leave(&joins);
    ck_assert(flight_wanted(flight));
    flight_end(flight, FLIGHT_DECLINED);
    flight_unref(&flight);
    machine_stop();
}

BODY(the_console_sees_each_flight_once)
{
    struct listener all[3] = {0};
    const char *keys[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(join(&all[i], keys[i]), FLIGHT_LED);
    struct flight_view views[2];
    uint32_t cursor = 0;
    ck_assert_uint_eq(flights_views(flights, &cursor, views, 2), 2);
    ck_assert_str_eq(views[0].text, "select 1");
    ck_assert_uint_eq(views[0].waiters, 1);
    ck_assert_int_eq(views[0].phase, FLIGHT_ASKING);
    ck_assert_uint_eq(flights_views(flights, &cursor, views, 2), 1);
    ck_assert_uint_eq(flights_views(flights, &cursor, views, 2), 0);
    for (int i = 0; i < 3; i++)
        flight_end(all[i].waiter.flight, FLIGHT_DECLINED);
    settle();
    machine_stop();
}

/* --- threads ---------------------------------------------------------------------------------- */

#define THREADS 3
#define ROUNDS  400

struct crowd {
    uint32_t led, joined, done; /* atomic */
};

static struct crowd crowd;

/* Runs what it leads in small steps, and reads what it joins; leaves some before their end. */
static void crowd_main(void *argument)
{
    uintptr_t number = (uintptr_t)argument;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct listener listener = {0};
        uint32_t abandoned = 0;
        enum flight_role role = join(&listener, round % 3 == 0 ? "a" : "b");
        struct flight *flight = flight_ref(listener.waiter.flight);
        if (role == FLIGHT_LED) {
            __atomic_add_fetch(&crowd.led, 1, __ATOMIC_RELAXED);
            flight_set_runner(flight, machine_self(), on_abandoned, &abandoned);
            struct answer *answer = begin_plain(flight);
            if ((round + number) % 5 == 0)
                leave(&listener);
            for (int i = 0; i < 4; i++) {
                publish(answer, 100 * i, 100);
                flight_tell(flight);
                co_yield ();
            }
            answer_end(answer, ANSWER_COMPLETE);
            flight_end(flight, FLIGHT_ENDED);
            answer_unref(&answer);
            settle();
        } else {
            __atomic_add_fetch(&crowd.joined, 1, __ATOMIC_RELAXED);
            read_all(&listener);
            if (flight_phase(flight) == FLIGHT_ENDED || (round + number) % 7 == 0)
                leave(&listener);
        }
        while (listener.waiter.flight != NULL)
            ck_assert_int_eq(co_sleep((duration){20}), OK);
        if (listener.phase == FLIGHT_ENDED)
            ck_assert_uint_eq(listener.read, 400);
        flight_unref(&flight);
        settle(); /* the runner's own mail */
    }
    __atomic_add_fetch(&crowd.done, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&crowd.done, __ATOMIC_ACQUIRE) < THREADS) /* others send mail to it */
        ck_assert_int_eq(co_sleep((duration){100}), OK);
    settle();
    machine_stop();
}

BODY(waiters_of_all_threads_read_whole_answers)
{
    struct machine *machines[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(machine_new("crowd", crowd_main, (void *)i, &machines[i]), OK);
    for (int i = 0; i < THREADS; i++)
        machine_join(&machines[i]);
    ck_assert_uint_eq(crowd.led + crowd.joined, THREADS * ROUNDS);
    ck_assert_uint_gt(crowd.joined, 0);
    machine_stop();
}

int main(void)
{
    const TTest *const tests[] = {
        an_execution_without_generations_is_joined_by_none,
        all_that_ask_for_one_key_get_the_answer_of_one_execution,
        a_write_to_its_tables_ends_joining_and_not_the_execution,
        a_closed_execution_is_joined_by_none_and_says_whether_one_has_joined,
        the_last_to_leave_abandons_the_execution_and_nobody_joins_it_any_more,
        a_runner_that_comes_late_is_told_that_no_client_waits,
        a_waiter_that_is_told_may_leave_with_its_neighbours,
        a_refresh_needs_no_waiter_and_there_is_one_at_a_time,
        the_console_sees_each_flight_once,
        waiters_of_all_threads_read_whole_answers,
        NULL,
    };
    return unit_run("flights", tests, setup, teardown);
}
