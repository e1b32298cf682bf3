/* When a rule rests. */
#include "config/cache_worth.h"
#include "unit.h"

static struct cache_counts counts;
static const struct cache_rule rule = {.adaptive = true, .counts = &counts};
static moment at;
static struct cache_feed feed; /* one probe for ten tickets */

static void start(void)
{
    counts = (struct cache_counts){0};
    at = (moment){1000000};
    feed = (struct cache_feed){0};
}

/* A time of the rule's work: each execution takes this long, and each question 100 us. */
static void work(unsigned served, unsigned executed, unsigned changed, int64_t took)
{
    at = later(at, ms(600));
    for (unsigned i = 0; i < served; i++)
        cache_rules_count(&rule, CACHE_COUNT_HITS);
    for (unsigned i = 0; i < served + executed; i++) {
        feed.tickets += 1;
        feed.probes = feed.tickets / 10;
        cache_worth_asked(&rule, (duration){100}, &feed);
    }
    for (unsigned i = 0; i < changed; i++)
        cache_worth_changed(&rule);
    for (unsigned i = 0; i < executed; i++) {
        cache_rules_count(&rule, CACHE_COUNT_EXECUTED);
        cache_worth_executed(&rule, (duration){took}, at);
    }
}

TEST(a_rule_that_serves_much_does_not_rest)
{
    for (int i = 0; i < 100; i++) {
        work(1000, 60, 60, 130);
        ck_assert(!cache_worth_rests(&rule, at));
    }
}
END_TEST

TEST(a_rule_whose_reads_are_written_all_the_time_rests)
{
    work(100, 60, 60, 130); /* the first execution begins the time that is judged */
    ck_assert(!cache_worth_rests(&rule, at));
    work(100, 60, 60, 130);
    ck_assert(cache_worth_rests(&rule, at));
    ck_assert(cache_worth_rests(&rule, later(at, ms(3999))));
    ck_assert(!cache_worth_rests(&rule, later(at, ms(4000))));
}
END_TEST

TEST(expensive_statements_are_worth_it_even_if_few_are_served)
{
    for (int i = 0; i < 100; i++) {
        work(20, 100, 100, 5100);
        ck_assert(!cache_worth_rests(&rule, at));
    }
}
END_TEST

TEST(one_that_is_changed_each_time_rests_longer_and_longer)
{
    int64_t rest = 4000000;
    for (int i = 0; i < 8; i++) {
        while (!cache_worth_rests(&rule, at))
            work(1, 60, 60, 1000);
        ck_assert(cache_worth_rests(&rule, later(at, (duration){rest - 1})));
        ck_assert(!cache_worth_rests(&rule, later(at, (duration){rest})));
        at = later(at, (duration){rest});
        rest = MIN_OF(rest * 4, INT64_C(64000000));
    }
}
END_TEST

/* The cache is filled for the first time: that is no loss yet. */
TEST(first_executions_have_two_terms_to_pay)
{
    for (int i = 0; i < 34 + 34; i++) { /* 40 s */
        ck_assert(!cache_worth_rests(&rule, at));
        work(0, 60, 0, 130);
    }
    work(0, 60, 0, 130);
    ck_assert(cache_worth_rests(&rule, later(at, ms(63000))));
    at = later(at, sec(64));
    for (int i = 0; i < 4; i++) {
        ck_assert(!cache_worth_rests(&rule, at));
        work(0, 60, 0, 130);
    }
    ck_assert(cache_worth_rests(&rule, at));
}
END_TEST

TEST(first_executions_whose_share_falls_may_go_on)
{
    unsigned served = 10;
    for (int term = 0; term < 5; term++, served *= 3)
        for (int i = 0; i < 34; i++) {
            work(served, 60, 0, 130);
            ck_assert(!cache_worth_rests(&rule, at));
        }
}
END_TEST

/* The log is decoded for the feed. */
TEST(a_rule_rests_if_much_is_written_for_what_it_serves)
{
    for (int i = 0; i < 10; i++) {
        work(1000, 60, 55, 130);
        ck_assert(!cache_worth_rests(&rule, at));
    }
    feed.transactions += 300;
    work(1000, 60, 55, 130);
    ck_assert(!cache_worth_rests(&rule, at));
    feed.transactions += 10000;
    work(1000, 60, 55, 130);
    ck_assert(cache_worth_rests(&rule, at));
}
END_TEST

TEST(a_rule_that_is_not_adaptive_never_rests)
{
    const struct cache_rule fixed = {.counts = &counts};
    work(0, 60, 60, 1000);
    work(0, 60, 60, 1000);
    ck_assert(cache_worth_rests(&rule, at));
    ck_assert(!cache_worth_rests(&fixed, at));
}
END_TEST

/* A time without a feed: the question in front of each execution takes 140 us alone. */
static void work_inside(unsigned served, unsigned executed, int64_t took)
{
    at = later(at, ms(600));
    for (unsigned i = 0; i < served; i++)
        cache_rules_count(&rule, CACHE_COUNT_HITS);
    for (unsigned i = 0; i < executed; i++) {
        if (cache_worth_wants_time(&rule, at))
            cache_worth_timed(&rule, (duration){140});
        cache_worth_changed(&rule);
        cache_rules_count(&rule, CACHE_COUNT_EXECUTED);
        cache_worth_executed(&rule, (duration){took}, at);
    }
}

TEST(without_a_feed_executions_are_compared_with_their_question)
{
    work_inside(300, 60, 1140);
    ck_assert_uint_eq(counts.worth.timed, 2); /* one in 32, the first among them */
    for (int i = 0; i < 20; i++) {
        work_inside(20, 60, 1140);
        ck_assert(!cache_worth_rests(&rule, at));
    }
    work_inside(200, 60, 150);
    work_inside(200, 60, 150);
    ck_assert(cache_worth_rests(&rule, at));
    ck_assert(!cache_worth_wants_time(&rule, at));
}
END_TEST

TEST(few_executions_are_not_judged)
{
    for (int i = 0; i < 200; i++) {
        work(0, 2, 2, 1000);
        ck_assert(!cache_worth_rests(&rule, at));
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_rule_that_serves_much_does_not_rest,
        a_rule_whose_reads_are_written_all_the_time_rests,
        expensive_statements_are_worth_it_even_if_few_are_served,
        one_that_is_changed_each_time_rests_longer_and_longer,
        first_executions_have_two_terms_to_pay,
        first_executions_whose_share_falls_may_go_on,
        a_rule_rests_if_much_is_written_for_what_it_serves,
        a_rule_that_is_not_adaptive_never_rests,
        without_a_feed_executions_are_compared_with_their_question,
        few_executions_are_not_judged,
        NULL,
    };
    return unit_run("cache_worth", tests, start, NULL);
}
