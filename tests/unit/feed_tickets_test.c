/* Which probe serves a ticket, and when it is answered. */
#include "flight/feed_tickets.h"
#include "unit.h"

static struct feed_tickets tickets;
static struct feed_ticket all[8];
static char answers[9]; /* of all[i]: '-', 'R' or 'B' */

static void answered(struct feed_ticket *ticket)
{
    size_t i = (size_t)(ticket - all);
    ck_assert_int_eq(answers[i], '-');
    answers[i] = ticket->verdict == FEED_READY ? 'R' : 'B';
}

static void start(void)
{
    feed_tickets_init(&tickets);
    memset(answers, '-', 8);
    for (int i = 0; i < 8; i++)
        all[i] = (struct feed_ticket){.answered = answered, .asked = {1000 * i}, .timeout = ms(20)};
}

static void arrive(int from, int to)
{
    for (int i = from; i <= to; i++)
        feed_tickets_arrive(&tickets, &all[i]);
}

TEST(a_probe_serves_what_arrived_before_it_was_sent_and_nothing_else)
{
    arrive(0, 2);
    feed_tickets_send(&tickets);
    arrive(3, 4); /* while it is under way */
    feed_tickets_place(&tickets, 100);
    ck_assert_uint_eq(feed_tickets_pass(&tickets, 1000, 7), 3);
    ck_assert_str_eq(answers, "RRR-----");
    ck_assert_uint_eq(all[0].epoch, 7);
    feed_tickets_send(&tickets);
    feed_tickets_place(&tickets, 100);
    ck_assert_uint_eq(feed_tickets_pass(&tickets, 1000, 7), 2);
    ck_assert_str_eq(answers, "RRRRR---");
}
END_TEST

TEST(a_ticket_waits_until_the_feed_has_passed_its_position)
{
    arrive(0, 0);
    feed_tickets_send(&tickets);
    feed_tickets_place(&tickets, 100);
    arrive(1, 1);
    feed_tickets_send(&tickets);
    feed_tickets_place(&tickets, 101);
    ck_assert_uint_eq(feed_tickets_pass(&tickets, 99, 1), 0);
    ck_assert_uint_eq(feed_tickets_pass(&tickets, 100, 1), 1);
    ck_assert_str_eq(answers, "R-------");
    ck_assert_uint_eq(feed_tickets_pass(&tickets, 101, 1), 1);
}
END_TEST

TEST(positions_do_not_go_back)
{
    arrive(0, 0);
    feed_tickets_send(&tickets);
    feed_tickets_place(&tickets, 100);
    arrive(1, 1);
    feed_tickets_send(&tickets);
    feed_tickets_place(&tickets, 50);
    ck_assert_uint_eq(feed_tickets_pass(&tickets, 99, 1), 0);
    ck_assert_uint_eq(feed_tickets_pass(&tickets, 100, 1), 2);
}
END_TEST

TEST(a_ticket_that_no_probe_has_served_is_never_ready)
{
    arrive(0, 1);
    ck_assert_uint_eq(feed_tickets_pass(&tickets, UINT64_MAX, 1), 0);
    feed_tickets_send(&tickets);
    ck_assert_uint_eq(feed_tickets_pass(&tickets, UINT64_MAX, 1), 0);
    ck_assert_uint_eq(feed_tickets_refuse(&tickets), 2);
    ck_assert_str_eq(answers, "BB------");
}
END_TEST

TEST(time_ends_a_ticket_wherever_it_waits)
{
    ck_assert(is_never(feed_tickets_due(&tickets)));
    arrive(0, 0);
    feed_tickets_send(&tickets);
    feed_tickets_place(&tickets, 100);
    arrive(1, 1);
    feed_tickets_send(&tickets);
    arrive(2, 3);
    ck_assert_int_eq(feed_tickets_due(&tickets).us, 20000);
    ck_assert_uint_eq(feed_tickets_expire(&tickets, (moment){19999}), 0);
    ck_assert_uint_eq(feed_tickets_expire(&tickets, (moment){20000}), 1);
    ck_assert_int_eq(feed_tickets_due(&tickets).us, 21000);
    ck_assert_uint_eq(feed_tickets_expire(&tickets, (moment){22000}), 2);
    ck_assert_str_eq(answers, "BBB-----");
    /* The probe's answer comes after its tickets have gone. */
    feed_tickets_place(&tickets, 100);
    ck_assert_uint_eq(feed_tickets_pass(&tickets, UINT64_MAX, 1), 0);
    ck_assert_int_eq(feed_tickets_due(&tickets).us, 23000);
}
END_TEST

TEST(a_refusal_answers_each_ticket_once)
{
    arrive(0, 1);
    feed_tickets_send(&tickets);
    feed_tickets_place(&tickets, 5);
    arrive(2, 3);
    feed_tickets_send(&tickets);
    arrive(4, 5);
    ck_assert_uint_eq(feed_tickets_refuse(&tickets), 6);
    ck_assert_str_eq(answers, "BBBBBB--");
    ck_assert_uint_eq(feed_tickets_refuse(&tickets), 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_probe_serves_what_arrived_before_it_was_sent_and_nothing_else,
        a_ticket_waits_until_the_feed_has_passed_its_position,
        positions_do_not_go_back,
        a_ticket_that_no_probe_has_served_is_never_ready,
        time_ends_a_ticket_wherever_it_waits,
        a_refusal_answers_each_ticket_once,
        NULL,
    };
    return unit_run("feed_tickets", tests, start, NULL);
}
