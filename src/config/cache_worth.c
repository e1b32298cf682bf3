#include "config/cache_worth.h"

#include "base/check.h"

/* A judgement looks at so many executions that a write has made necessary, and so long, at least.
 */
#define EXECUTIONS_MIN 50u
#define WINDOW         ms(500)
/* One that takes longer for so many executions is left alone. */
#define WINDOW_MAX sec(10)
/* The time after which first executions have to have paid; less for a rule that was found so. */
#define TERM       sec(20)
#define TERM_AGAIN sec(2)
#define TERM_RATE  50u /* of them per second; fewer are no burden */
#define IMPROVES   80u /* percent: their share is that of the term before, or less */
/* How long a rule rests; longer by this factor each time that it is found to cost too much again.
 * The feed of a rule that is tried again costs about half of what a write costs. */
#define REST_MIN    sec(4)
#define REST_MAX    sec(64)
#define REST_FACTOR 4

/* In tenths of the cheapest statement's cost, measured: bench/RESULTS.md. */
#define EXECUTION_COST   50u /* of an execution for memory, beyond the statement itself */
#define PROBE_COST       20u /* of a question to the feed's server */
#define TRANSACTION_COST 15u /* of one that the feed's server decodes and tells */
#define READ_COST        10u
/* The quickest execution of the cheapest statement, with its question, takes longer than a question
 * alone by about this; and the server's processor is busy so long for the statement. */
#define READ_MORE       250 /* microseconds */
#define READ_MORE_TIMED 0   /* the same, beyond the question that is timed alone */
#define READ_TIME       25
#define TIME_ONE_IN     32 /* executions whose question is timed alone */

static int64_t load(const int64_t *from)
{
    return __atomic_load_n(from, __ATOMIC_RELAXED);
}

static void store(int64_t *to, int64_t value)
{
    __atomic_store_n(to, value, __ATOMIC_RELAXED);
}

static void keep_least(int64_t *least, int64_t value)
{
    int64_t seen = load(least);
    while (
        (seen == 0 || value < seen) &&
        !__atomic_compare_exchange_n(least, &seen, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        continue;
}

static uint64_t count_of(const uint64_t *count)
{
    return __atomic_load_n(count, __ATOMIC_RELAXED);
}

bool cache_worth_rests(const struct cache_rule *rule, moment at)
{
    return rule->adaptive && rule->counts != NULL && at.us < load(&rule->counts->worth.rests_until);
}

void cache_worth_asked(const struct cache_rule *rule, duration took, const struct cache_feed *feed)
{
    if (rule->counts == NULL)
        return;
    struct cache_worth *worth = &rule->counts->worth;
    __atomic_fetch_add(&worth->asks, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&worth->feed.probes, feed->probes, __ATOMIC_RELAXED);
    __atomic_store_n(&worth->feed.transactions, feed->transactions, __ATOMIC_RELAXED);
    __atomic_store_n(&worth->feed.tickets, feed->tickets, __ATOMIC_RELAXED);
    keep_least(&worth->least_ask, MAX_OF(took.us, INT64_C(1)));
}

bool cache_worth_wants_time(const struct cache_rule *rule, moment at)
{
    if (!rule->adaptive || rule->counts == NULL || cache_worth_rests(rule, at))
        return false;
    const struct cache_worth *worth = &rule->counts->worth;
    uint64_t executed = count_of(&rule->counts->all[CACHE_COUNT_EXECUTED]);
    uint64_t before = count_of(&worth->executed_before);
    uint32_t due = (uint32_t)((executed - MIN_OF(before, executed)) / TIME_ONE_IN) + 1;
    uint32_t timed = __atomic_load_n(&worth->timed, __ATOMIC_RELAXED);
    return timed < due && __atomic_compare_exchange_n(&rule->counts->worth.timed, &timed, timed + 1,
                                                      false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

void cache_worth_timed(const struct cache_rule *rule, duration took)
{
    struct cache_worth *worth = &rule->counts->worth;
    keep_least(&worth->least_ask, MAX_OF(took.us, INT64_C(1)));
}

void cache_worth_changed(const struct cache_rule *rule)
{
    if (rule->counts != NULL)
        __atomic_fetch_add(&rule->counts->worth.changes, 1, __ATOMIC_RELAXED);
}

/* --- judging ---------------------------------------------------------------------------------- */

static struct cache_sums sums_now(const struct cache_counts *counts)
{
    return (struct cache_sums){
        .served =
            count_of(&counts->all[CACHE_COUNT_HITS]) + count_of(&counts->all[CACHE_COUNT_JOINED]),
        .executed = count_of(&counts->all[CACHE_COUNT_EXECUTED]),
        .changed = count_of(&counts->worth.changes),
        .asked = count_of(&counts->worth.asks),
        .feed = {count_of(&counts->worth.feed.probes), count_of(&counts->worth.feed.transactions),
                 count_of(&counts->worth.feed.tickets)},
    };
}

static struct cache_sums difference(const struct cache_sums *now, const struct cache_sums *before)
{
    return (struct cache_sums){
        .served = now->served - before->served,
        .executed = now->executed - before->executed,
        .changed = now->changed - before->changed,
        .asked = now->asked - before->asked,
        .feed = {now->feed.probes - before->feed.probes,
                 now->feed.transactions - before->feed.transactions,
                 now->feed.tickets - before->feed.tickets},
    };
}

/* What the feed has cost; other rules that ask it have their part. */
static uint64_t feed_cost(const struct cache_sums *since)
{
    uint64_t all = since->feed.probes * PROBE_COST + since->feed.transactions * TRANSACTION_COST;
    uint64_t tickets = MAX_OF(MAX_OF(since->feed.tickets, since->asked), UINT64_C(1));
    return all * since->asked / tickets;
}

/* What one execution takes the server, beyond a question to it: both go over the same network, and
 * the quickest of many have not waited. */
static uint64_t read_cost(const struct cache_worth *worth)
{
    bool timed = __atomic_load_n(&worth->timed, __ATOMIC_RELAXED) > 0;
    int64_t more = load(&worth->least_execution) - load(&worth->least_ask);
    more -= timed ? READ_MORE_TIMED : READ_MORE;
    return READ_COST * (uint64_t)MAX_OF(more / READ_TIME, INT64_C(1));
}

static bool costs_too_much(const struct cache_worth *worth, const struct cache_sums *since,
                           uint64_t executed)
{
    uint64_t saved = since->served * read_cost(worth);
    return executed * EXECUTION_COST + feed_cost(since) > saved;
}

static void begin(struct cache_worth *worth, const struct cache_sums *now, moment at)
{
    worth->since = at;
    worth->sums = *now;
    store(&worth->least_execution, 0);
    if (__atomic_load_n(&worth->timed, __ATOMIC_RELAXED) == 0) /* else it is measured seldom */
        store(&worth->least_ask, 0);
    __atomic_store_n(&worth->executed_before, now->executed, __ATOMIC_RELAXED);
    __atomic_store_n(&worth->timed, 0, __ATOMIC_RELAXED);
}

static void begin_term(struct cache_worth *worth, const struct cache_sums *now, moment at)
{
    worth->term = at;
    worth->term_sums = *now;
}

static void rest(struct cache_worth *worth, const struct cache_sums *now, moment at)
{
    const duration least = REST_MIN, most = REST_MAX;
    worth->rest.us = MIN_OF(MAX_OF(worth->rest.us * REST_FACTOR, least.us), most.us);
    if (worth->hardly_hit)
        worth->rest = most;
    moment ends = later(at, worth->rest);
    store(&worth->rests_until, ends.us);
    begin(worth, now, ends);
    begin_term(worth, now, ends);
}

/* Executions that a write has made necessary have to pay soon. */
static bool is_changed_too_often(struct cache_worth *worth, const struct cache_sums *now, moment at)
{
    struct cache_sums since = difference(now, &worth->sums);
    duration lasts = between(worth->since, at);
    if (lasts.us < WINDOW.us || (lasts.us <= WINDOW_MAX.us && since.changed < EXECUTIONS_MIN))
        return false;
    bool judged = lasts.us <= WINDOW_MAX.us;
    if (judged && costs_too_much(worth, &since, since.changed))
        return true;
    if (judged)
        worth->rest.us = 0;
    begin(worth, now, at);
    return false;
}

/* First executions have to pay in the end, but not while their share falls. */
static bool is_hardly_hit(struct cache_worth *worth, const struct cache_sums *now, moment at)
{
    int64_t term = worth->hardly_hit ? TERM_AGAIN.us : TERM.us;
    if (between(worth->term, at).us < term)
        return false;
    struct cache_sums since = difference(now, &worth->term_sums);
    uint64_t share = since.executed * 1000 / MAX_OF(since.executed + since.served, UINT64_C(1));
    bool falls = worth->term_share == 0 || share * 100 <= worth->term_share * IMPROVES;
    bool many = since.executed >= TERM_RATE * (uint64_t)(term / 1000000);
    worth->term_share = share;
    worth->hardly_hit = many && !falls && costs_too_much(worth, &since, since.executed);
    begin_term(worth, now, at);
    return worth->hardly_hit;
}

static void judge(struct cache_counts *counts, moment at)
{
    struct cache_worth *worth = &counts->worth;
    struct cache_sums now = sums_now(counts);
    if (worth->since.us == 0) {
        begin(worth, &now, at);
        begin_term(worth, &now, at);
    } else if (is_hardly_hit(worth, &now, at) || is_changed_too_often(worth, &now, at)) {
        rest(worth, &now, at);
    }
}

void cache_worth_executed(const struct cache_rule *rule, duration took, moment at)
{
    bool judging = false;
    if (rule->counts == NULL || !rule->adaptive || cache_worth_rests(rule, at))
        return;
    struct cache_worth *worth = &rule->counts->worth;
    keep_least(&worth->least_execution, MAX_OF(took.us, INT64_C(1)));
    if (!__atomic_compare_exchange_n(&worth->judging, &judging, true, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED))
        return;
    judge(rule->counts, at);
    __atomic_store_n(&worth->judging, false, __ATOMIC_RELEASE);
}
