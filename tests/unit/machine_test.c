#include "machine/clock.h"
#include "machine/co.h"
#include "machine/ids.h"
#include "machine_body.h"
#include "unit.h"

/* --- timers ----------------------------------------------------------------------------------- */

struct alarm {
    struct waker waker;
    struct timer timer;
    deadline rang; /* the first time */
    int times;
    struct co *sleeper;
};

static void alarm_rings(struct waker *waker)
{
    struct alarm *alarm = CONTAINER_OF(waker, struct alarm, waker);
    if (alarm->times++ == 0)
        alarm->rang = now();
    if (alarm->sleeper != NULL)
        co_wake(alarm->sleeper);
}

static void alarm_init(struct alarm *alarm, struct co *sleeper)
{
    *alarm = (struct alarm){.waker = {alarm_rings}, .sleeper = sleeper};
    alarm->timer = TIMER_INIT(&alarm->waker);
}

BODY(timers_ring_in_the_order_of_their_times)
{
    enum { MANY = 200 };
    static struct alarm alarms[MANY];
    deadline start = now();
    for (int i = 0; i < MANY; i++) {
        alarm_init(&alarms[i], NULL);
        int place = i * 73 % MANY;
        timer_set(&alarms[i].timer, later(start, (duration){place * 50}));
    }
    for (int i = 0; i < MANY; i += 10)
        timer_disarm(&alarms[i].timer);
    ck_assert_int_eq(co_sleep(ms(20)), OK);
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(alarms[i].times, i % 10 == 0 ? 0 : 1);
        if (i % 10 != 0)
            ck_assert_int_ge(alarms[i].rang.us, start.us + i * 73 % MANY * 50);
    }
    machine_stop();
}

BODY(a_later_time_is_stored_and_kept_without_touching_the_queue)
{
    struct alarm alarm;
    alarm_init(&alarm, co_self());
    deadline start = now();
    timer_set(&alarm.timer, later(start, ms(2)));
    int64_t armed = alarm.timer.armed;
    timer_set(&alarm.timer, later(start, ms(6)));
    ck_assert_int_eq(alarm.timer.armed, armed);
    ck_assert_int_eq(co_wait(NEVER), OK);
    ck_assert_int_eq(alarm.times, 1);
    ck_assert_int_ge(alarm.rang.us, start.us + 6000);
    ck_assert_int_eq(alarm.timer.armed, INT64_MAX);
    machine_stop();
}

BODY(an_earlier_time_is_kept_too)
{
    struct alarm alarm;
    alarm_init(&alarm, co_self());
    deadline start = now();
    timer_set(&alarm.timer, later(start, sec(100)));
    timer_set(&alarm.timer, later(start, ms(1)));
    ck_assert_int_eq(co_wait(after(sec(10))), OK);
    ck_assert_int_eq(alarm.times, 1);
    machine_stop();
}

BODY(a_timer_that_was_set_to_never_does_not_ring)
{
    struct alarm alarm;
    alarm_init(&alarm, co_self());
    timer_set(&alarm.timer, after(ms(1)));
    timer_set(&alarm.timer, NEVER);
    ck_assert_int_eq(co_wait(after(ms(4))), FAULT_TIMEOUT);
    ck_assert_int_eq(alarm.times, 0);
    ck_assert_int_eq(alarm.timer.armed, INT64_MAX);
    machine_stop();
}

BODY(stale_times_wake_an_idle_machine_once_at_max)
{
    static struct alarm alarms[50];
    for (int i = 0; i < 50; i++) {
        alarm_init(&alarms[i], NULL);
        timer_set(&alarms[i].timer, after((duration){1000 + i * 100}));
        timer_set(&alarms[i].timer, NEVER);
    }
    uint64_t before = machine_stats(machine_self()).wakeups;
    ck_assert_int_eq(co_wait(after(ms(20))), FAULT_TIMEOUT);
    ck_assert_uint_le(machine_stats(machine_self()).wakeups - before, 2);
    machine_stop();
}

/* --- mail ------------------------------------------------------------------------------------- */

struct counter {
    struct mail mail;
    struct co *reader;
    uint64_t written; /* by the sender before mail_send */
    uint64_t seen;
    uint64_t deliveries;
};

static void counter_delivered(struct mail *mail)
{
    struct counter *counter = CONTAINER_OF(mail, struct counter, mail);
    counter->seen = __atomic_load_n(&counter->written, __ATOMIC_RELAXED);
    counter->deliveries += 1;
    if (counter->reader != NULL)
        co_wake(counter->reader);
}

BODY(mail_that_is_still_under_way_is_coalesced)
{
    struct counter counter = {.mail.deliver = counter_delivered, .reader = co_self()};
    counter.written = 1;
    ck_assert(mail_send(machine_self(), &counter.mail));
    counter.written = 2;
    ck_assert(!mail_send(machine_self(), &counter.mail));
    ck_assert_int_eq(co_wait(NEVER), OK);
    ck_assert_uint_eq(counter.deliveries, 1);
    ck_assert_uint_eq(counter.seen, 2);
    ck_assert(mail_send(machine_self(), &counter.mail));
    ck_assert_int_eq(co_wait(NEVER), OK);
    ck_assert_uint_eq(counter.deliveries, 2);
    machine_stop();
}

struct numbered {
    struct mail mail;
    int number;
    int *next;
};

static void numbered_delivered(struct mail *mail)
{
    struct numbered *numbered = CONTAINER_OF(mail, struct numbered, mail);
    ck_assert_int_eq(numbered->number, *numbered->next);
    *numbered->next += 1;
}

BODY(mail_of_one_sender_arrives_in_its_order)
{
    struct numbered mails[20];
    int next = 0;
    for (int i = 0; i < 20; i++) {
        mails[i] = (struct numbered){{.deliver = numbered_delivered}, i, &next};
        ck_assert(mail_send(machine_self(), &mails[i].mail));
    }
    while (next < 20)
        co_yield ();
    machine_stop();
}

/* --- several threads -------------------------------------------------------------------------- */

#define SENDERS 3
#define ROUNDS  4000

struct office {
    struct machine *receiver;
    struct counter counters[SENDERS];
    uint64_t answers[SENDERS]; /* atomic: the last number seen, per sender */
    struct {
        struct mail mail;
        struct machine *home;
        struct co *sender;
    } acks[SENDERS];
    uint32_t finished;
    struct co *main;
};

struct sender {
    struct office *office;
    int index;
};

static void ack_delivered(struct mail *mail)
{
    struct co *sender = CONTAINER_OF(mail, __typeof__(((struct office *)0)->acks[0]), mail)->sender;
    if (sender != NULL)
        co_wake(sender);
}

static struct office office;

static void office_counter_delivered(struct mail *mail)
{
    struct counter *counter = CONTAINER_OF(mail, struct counter, mail);
    size_t index = (size_t)(counter - office.counters);
    uint64_t seen = __atomic_load_n(&counter->written, __ATOMIC_RELAXED);
    ck_assert_uint_ge(seen, counter->seen);
    counter->seen = seen;
    counter->deliveries += 1;
    __atomic_store_n(&office.answers[index], seen, __ATOMIC_RELEASE);
    mail_send(office.acks[index].home, &office.acks[index].mail);
    if (seen == ROUNDS && ++office.finished == SENDERS)
        co_wake(office.main);
}

/* Writes numbers and mails; sometimes waits until the last one was seen, so that both ends sleep.
 */
static void sender_main(void *argument)
{
    struct sender *sender = argument;
    struct counter *counter = &office.counters[sender->index];
    office.acks[sender->index].home = machine_self();
    office.acks[sender->index].sender = co_self();
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        __atomic_store_n(&counter->written, i, __ATOMIC_RELAXED);
        mail_send(office.receiver, &counter->mail);
        if (i % 64 != 0 && i != ROUNDS)
            continue;
        while (__atomic_load_n(&office.answers[sender->index], __ATOMIC_ACQUIRE) < i)
            ck_assert_int_eq(co_wait(after(sec(30))), OK);
    }
    office.acks[sender->index].sender = NULL;
    machine_stop();
}

BODY(no_mail_is_lost_between_threads_that_sleep_and_wake)
{
    office = (struct office){.receiver = machine_self(), .main = co_self()};
    struct sender senders[SENDERS];
    struct machine *machines[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        office.counters[i].mail.deliver = office_counter_delivered;
        office.acks[i].mail.deliver = ack_delivered;
        senders[i] = (struct sender){&office, i};
        ck_assert_int_eq(machine_new("sender", sender_main, &senders[i], &machines[i]), OK);
    }
    while (office.finished < SENDERS)
        ck_assert_int_eq(co_wait(after(sec(30))), OK);
    for (int i = 0; i < SENDERS; i++) {
        ck_assert_uint_eq(office.counters[i].seen, ROUNDS);
        machine_join(&machines[i]);
        ck_assert_ptr_null(machines[i]);
    }
    machine_stop();
}

struct farewell {
    struct mail mail;
    struct co *waiting;
};

static void farewell_delivered(struct mail *mail)
{
    co_wake(CONTAINER_OF(mail, struct farewell, mail)->waiting);
}

static void waits_for_farewell(void *argument)
{
    struct farewell *farewell = argument;
    __atomic_store_n(&farewell->waiting, co_self(), __ATOMIC_RELEASE);
    ck_assert_int_eq(co_wait(NEVER), OK);
    machine_stop();
}

BODY(a_machine_may_end_by_the_mail_that_wakes_it)
{
    for (int i = 0; i < 200; i++) {
        struct farewell farewell = {.mail.deliver = farewell_delivered};
        struct machine *machine;
        ck_assert_int_eq(machine_new("brief", waits_for_farewell, &farewell, &machine), OK);
        while (__atomic_load_n(&farewell.waiting, __ATOMIC_ACQUIRE) == NULL)
            ck_assert_int_eq(co_sleep((duration){20}), OK);
        ck_assert(mail_send(machine, &farewell.mail));
        machine_join(&machine);
    }
    machine_stop();
}

/* --- small things ----------------------------------------------------------------------------- */

BODY(the_clock_stands_still_within_a_turn)
{
    deadline before = now();
    while (now_exact().us < before.us + 100)
        continue;
    ck_assert_int_eq(now().us, before.us);
    co_yield ();
    ck_assert_int_eq(co_sleep(ms(1)), OK);
    ck_assert_int_gt(now().us, before.us);
    ck_assert_ptr_nonnull(machine_self());
    ck_assert_str_eq(machine_name(machine_self()), "test");
    machine_stop();
}

TEST(ids_differ_and_a_thread_that_is_no_machine_has_a_clock_too)
{
    struct uuid a = uuid_new();
    struct uuid b = uuid_new();
    ck_assert_mem_ne(a.bytes, b.bytes, sizeof(a.bytes));
    ck_assert_int_eq(a.bytes[6] >> 4, 7);
    ck_assert_ptr_null(machine_self());
    ck_assert_ptr_null(co_self());
    ck_assert_int_gt(now().us, 0);
    ck_assert_int_gt(wall_now().us, INT64_C(1577836800000000));
}
END_TEST

TESTS("machine", timers_ring_in_the_order_of_their_times,
      a_later_time_is_stored_and_kept_without_touching_the_queue, an_earlier_time_is_kept_too,
      a_timer_that_was_set_to_never_does_not_ring, stale_times_wake_an_idle_machine_once_at_max,
      mail_that_is_still_under_way_is_coalesced, mail_of_one_sender_arrives_in_its_order,
      no_mail_is_lost_between_threads_that_sleep_and_wake,
      a_machine_may_end_by_the_mail_that_wakes_it, the_clock_stands_still_within_a_turn,
      ids_differ_and_a_thread_that_is_no_machine_has_a_clock_too)
