#include "relay/flight/flight_runner.h"

#include "config/cache_worth.h"
#include "flight/flight_env.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "relay/flight/flight_check_parts.h"
#include "relay/flight/flight_judge.h"
#include "relay/flight/flight_kept_parts.h"
#include "relay/flight/flight_key.h"
#include "relay/flight/flight_lost_parts.h"
#include "relay/flight/flight_once_parts.h"
#include "relay/flight/flight_rule.h"
#include "relay/flight/flight_strict_parts.h"
#include "relay/flight/flight_tier_parts.h"
#include "relay/relay.h"
#include "session/signature.h"
#include "wire/messages.h"

#include <stdlib.h>
#include <string.h>

/* Executions of one flight. */
#define EXECUTIONS_MAX 3u
/* A RowDescription or an ErrorResponse. */
#define HELD_MAX (256u * 1024)
/* Percent of a ttl that is taken off at random. */
#define JITTER 10u
/* What one session sends at most, beside the text. */
#define BATCH_EXTRA 4096u
/* The analysis that decides which rule matches. */
#define RULE_MAX sec(1)
/* How long a strict answer is kept whose rule has no ttl. */
#define STRICT_TTL sec(3600)

static_assert(VERDICT_REASONS < CACHE_REASONS_MAX, "a rule counts each reason");
/* Bytes of rows after which the clients are told, though more has arrived. */
#define FRESH_MAX 65536u
/* Bytes of an answer up to which it does not wait for memory. */
#define PACED_MIN 262144u
/* Between two looks at the memory of answers while it is tight. */
#define PACE ms(5)

struct flight_run {
    struct relay *relay;
    struct flight *flight;
    struct config *config; /* counted: `rule` borrows from it */
    struct cache_rule rule;
    enum cache_count counts_as;
    bool judges; /* it only makes the verdict */
    const struct route_config *route;
    struct flight_kept *kept; /* the session */
    struct flight_batch batch;
    struct buffer judged_key; /* of the verdict */
    uint64_t database;        /* in generations */
    bool clean;               /* the session may be kept */
    bool unsure;              /* of what it has prepared */
    struct co *co;
    struct flight_sink sink;
    struct answer *answer;
    struct buffer told; /* what the server tells of the statement, until it is whole */
    bool telling;       /* a part of that has come */
    struct buffer held; /* a RowDescription or an ErrorResponse, whole at its end */
    enum flight_progress progress;
    uint64_t fresh; /* bytes that were not published yet */
    bool failed;    /* `held` is an ErrorResponse */
    bool complete;  /* a CommandComplete has come */
    bool reported;  /* a parameter's new value has come: the answer is not to be stored */
    struct generations_reads reads;
    uint64_t captured;
    uint64_t flushes;
    moment sent;

    /* Of the mode strict. */
    struct origin *origin; /* NULL: another mode */
    uint64_t epoch;        /* in which the verdict and the answer are good */
    uint64_t catalog;      /* the same of its generation */
    uint64_t suspicions;   /* from before it */
    struct verdict *verdict;
    struct flight_values values;
    struct flight_check check;
    bool alone;  /* the answer is only for those that wait already, and not stored */
    bool checks; /* the server says which one it is, in front of the statement */
    bool simple; /* the clients sent a simple query, and the execution is an extended one */
    bool named;  /* the statement may be executed as a named one */

    bool fetched; /* the answer has come from there */
    bool tiered;  /* the answer may come from the second tier, and go there */
    struct flight_tier_use tier;
};

/* --- the replies ------------------------------------------------------------------------------ */

static fault hold(struct flight_run *run, const struct flight_part *part)
{
    if (part->first)
        buffer_clear(&run->held);
    buffer_append_span(&run->held, part->bytes);
    return buffer_fault(&run->held);
}

/* Takes a part of what the server tells of the statement: its parameters, then its columns. */
static fault take_told(struct flight_run *run, const struct flight_part *part)
{
    struct signature signature;
    struct answer_shape shape;
    run->telling = true;
    buffer_append_span(&run->told, part->bytes);
    TRY(buffer_fault(&run->told));
    if (!part->last || part->type == WIRE_PARAMETER_DESCRIPTION)
        return OK;
    run->telling = false;
    if (!signature_read(&run->told, &signature))
        return fault_raise(FAULT_PROTOCOL, "a malformed description of a statement");
    static_assert(sizeof(shape) == sizeof(signature.shape), "the digest fills it");
    memcpy(&shape, &signature.shape, sizeof(shape));
    answer_set_shape(run->answer, shape);
    return OK;
}

static fault take_description(struct flight_run *run, const struct flight_part *part)
{
    TRY(hold(run, part));
    return part->last ? answer_describe(run->answer, buffer_span(&run->held)) : OK;
}

static void publish(struct flight_sink *sink)
{
    struct flight_run *run = CONTAINER_OF(sink, struct flight_run, sink);
    run->fresh = 0;
    answer_publish(run->answer);
    flight_tell(run->flight);
}

/* Takes a part of a row.  Behind a whole one of a long answer, waits while answers take most of
 * their memory: the server is read no faster than the clients read. */
static fault take_row(struct flight_run *run, const struct flight_part *part)
{
    const struct answer_memory *memory = &run->relay->pools.env->flight->memory;
    TRY(answer_append(run->answer, part->bytes));
    run->fresh += part->bytes.size;
    if (!part->last)
        return OK;
    if (run->fresh >= FRESH_MAX)
        publish(&run->sink);
    while (answer_bytes(run->answer) + run->fresh > PACED_MIN && answer_memory_tight(memory)) {
        publish(&run->sink);
        TRY(co_sleep(PACE));
    }
    return OK;
}

static fault take_part(struct flight_sink *sink, const struct flight_part *part)
{
    struct flight_run *run = CONTAINER_OF(sink, struct flight_run, sink);
    bool tells = part->type == WIRE_ROW_DESCRIPTION || part->type == WIRE_NO_DATA;
    if (part->type == WIRE_PARAMETER_DESCRIPTION || (run->telling && tells))
        return take_told(run, part);
    switch (part->type) {
    case WIRE_PARSE_COMPLETE:
        run->progress = FLIGHT_AT_BIND;
        return OK;
    case WIRE_BIND_COMPLETE:
        run->progress = FLIGHT_AT_EXECUTE;
        return OK;
    case WIRE_ROW_DESCRIPTION:
        return take_description(run, part);
    case WIRE_COMMAND_COMPLETE:
        run->complete = true;
        return answer_append(run->answer, part->bytes);
    case WIRE_DATA_ROW:
        return take_row(run, part);
    case WIRE_ERROR:
        run->failed = true;
        return hold(run, part);
    case WIRE_PARAMETER_STATUS:
        run->reported = true;
        return OK;
    case WIRE_NOTICE:
    case WIRE_READY:
        return OK;
    default:
        return fault_raise(FAULT_PROTOCOL, "a '%c' message in an answer to be shared", part->type);
    }
}

/* --- strict ----------------------------------------------------------------------------------- */

/* Whether the session's settings are those with which the catalog was asked: another search_path
 * makes other tables of the text's names. */
static bool settings_agree(struct verdict *verdict, uint64_t settings)
{
    uint64_t first = 0;
    return __atomic_compare_exchange_n(&verdict->settings, &first, settings, false,
                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED) ||
           first == settings;
}

/* Whether it is the server that the answer is to come from. */
static bool is_origin(struct flight_run *run, const struct flight_check *check)
{
    if (origin_inside(run->origin) != NULL)
        return origin_confirm(run->origin, run->epoch, &check->server, run->suspicions);
    if (!origin_is(run->origin, run->epoch, &check->server) || origin_lacks(run->origin))
        flight_strict_follow(run->relay, run->route, run->origin, run->epoch, check);
    return origin_is(run->origin, run->epoch, &check->server);
}

/* Compares the server that executes the statement, and its session, with what the feed follows and
 * the verdict is good for.  If they differ, the answer is only for the clients that asked before
 * the execution was sent; the execution fails if another one has joined. */
static fault server_found(struct flight_check *check)
{
    struct flight_run *run = CONTAINER_OF(check, struct flight_run, check);
    if (run->origin == NULL) {
        flight_tier_executes(run->relay, &run->tier, check);
        return OK;
    }
    bool as_judged = is_origin(run, check) && !check->temporary && !check->serializable &&
                     settings_agree(run->verdict, check->settings);
    if (run->alone || as_judged)
        return OK;
    run->alone = true;
    if (flight_close(run->flight))
        return OK;
    return fault_raise(FAULT_UNSUPPORTED, "another server or session has answered than was judged");
}

/* --- one execution ---------------------------------------------------------------------------- */

/* Whether an execution that ended with this error may succeed if it is repeated.  One of the pooler
 * itself, such as that no server became free, is not: the clients have waited for it as long as
 * they may.  Only the server's errors name a routine. */
static bool may_pass(const struct flight_run *run)
{
    static const char *const classes[] = {"08", "40001", "40P01", "53", "57P01", "57P02", "57P03"};
    struct wire_error error;
    if (wire_read_error(span_skip(buffer_span(&run->held), WIRE_HEADER), &error) != OK)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(classes) && error.routine.size > 0; i++)
        if (span_starts(error.sqlstate, span_text(classes[i])))
            return true;
    return false;
}

static void reset(struct flight_run *run, bool parses)
{
    run->progress = run->route->prepared_max == 0 ? FLIGHT_AT_EXECUTE
                    : parses                      ? FLIGHT_AT_PARSE
                                                  : FLIGHT_AT_BIND;
    run->failed = run->complete = run->reported = run->telling = false;
    buffer_clear(&run->told);
    buffer_clear(&run->held);
}

/* Whether the pool shares what its clients prepare. */
static bool can_name(const struct route_config *route)
{
    return route->prepared_max > 0 && route->prepared_max != PREPARED_PRIVATE;
}

static struct flight_name check_name(const struct flight_run *run)
{
    return can_name(run->route) ? flight_kept_name(run->kept, flight_check_parse())
                                : FLIGHT_UNNAMED;
}

/* Chooses names for the question and the statement.  One that was parsed earlier in this state of
 * the catalog means the same now, but not while changes are told that are not visible. */
static void choose_names(struct flight_run *run, struct flight_name *ret_check,
                         struct flight_name *ret_name)
{
    *ret_check = run->checks ? check_name(run) : FLIGHT_UNNAMED;
    *ret_name = FLIGHT_UNNAMED;
    if (run->named && !run->alone)
        *ret_name = flight_kept_name(run->kept, buffer_span(&run->batch.parse));
}

static fault ask_checked(struct flight_run *run, const struct flight_name *check,
                         struct span messages)
{
    flight_check_init(&run->check, check, &run->sink, server_found);
    fault asked = flight_session_ask(&run->kept->session, messages, &run->check.sink, NEVER);
    if (asked == OK && !run->failed && !flight_check_done(&run->check))
        asked = fault_raise(FAULT_UPSTREAM, "the server does not say what it is");
    flight_check_fini(&run->check);
    return asked;
}

/* Executes once.  After an error it is not known what the session has prepared. */
static fault ask(struct flight_run *run, bool first)
{
    struct flight_name check = FLIGHT_UNNAMED, name = FLIGHT_UNNAMED;
    struct buffer messages =
        BUFFER_INIT(run->batch.parse.size + run->batch.bind.size + BATCH_EXTRA);
    if (first)
        choose_names(run, &check, &name);
    if (run->checks)
        flight_check_put(&messages, &check);
    flight_batch_put(&run->batch, &name, &messages);
    fault asked = buffer_fault(&messages);
    reset(run, name.parses);
    if (asked == OK && run->checks)
        asked = ask_checked(run, &check, buffer_span(&messages));
    else if (asked == OK)
        asked = flight_session_ask(&run->kept->session, buffer_span(&messages), &run->sink, NEVER);
    buffer_fini(&messages);
    if (asked == OK && run->origin != NULL)
        cache_worth_executed(&run->rule, between(run->sent, now()), now());
    run->clean = first && asked == OK && !run->failed && !run->reported && !run->unsure;
    return asked;
}

/* *ret_again: it failed, nothing was published, and another try may succeed. */
static fault execute(struct flight_run *run, bool first, bool *ret_again)
{
    fault asked = ask(run, first);
    *ret_again = asked == OK && run->failed && answer_bytes(run->answer) == 0 && may_pass(run);
    return asked;
}

static struct flight_strict_of strict_of(const struct flight_run *run)
{
    const struct flight_env *env = run->relay->pools.env->flight;
    return (struct flight_strict_of){env->generations, run->origin, run->catalog};
}

/* Captures what writes have been, before an execution is sent.  False: one is in doubt, or the set
 * is too large. */
static bool capture(struct flight_run *run)
{
    struct flight_env *env = run->relay->pools.env->flight;
    if (run->origin == NULL)
        generations_reads_init(env->generations, &run->reads, run->database);
    run->flushes = l1_flushes(env->l1);
    run->sent = now();
    if (run->origin == NULL)
        return generations_capture(env->generations, &run->reads, &run->captured);
    struct flight_strict_of of = strict_of(run);
    return flight_strict_capture(&of, run->verdict, &run->values, &run->reads, &run->captured);
}

/* Whether each client gets the error of its own query: the extended protocol has told the server
 * less, or more, than the clients' simple one; and an error of the check is given to no client. */
static bool is_own(const struct flight_run *run)
{
    bool checking = run->checks && !flight_check_done(&run->check);
    return (run->simple || checking) && run->failed && answer_bytes(run->answer) == 0;
}

/* Measures how long the question in front of the statement takes the server, now and then. */
static fault time_question(struct flight_run *run)
{
    struct flight_check check;
    moment sent = now();
    bool said;
    if (run->origin == NULL || origin_inside(run->origin) == NULL ||
        !cache_worth_wants_time(&run->rule, sent))
        return OK;
    struct flight_name name = check_name(run);
    TRY(flight_check_alone(&run->kept->session, &name, &check, &said));
    if (said)
        cache_worth_timed(&run->rule, between(sent, now()));
    run->unsure = !said;
    return OK;
}

/* Executes the statement, again if that may help.  OK: the answer has its last message. */
static fault execute_often(struct flight_run *run)
{
    TRY(time_question(run));
    for (uint32_t i = 0; i < EXECUTIONS_MAX; i++) {
        bool again;
        run->alone = run->alone || !capture(run);
        flight_run(run->flight, run->answer, run->alone ? NULL : &run->reads, run->captured);
        flight_tell(run->flight); /* they begin to read before the answer may be too long for it */
        TRY(execute(run, i == 0, &again));
        if (!again)
            break;
    }
    return run->failed && !is_own(run) ? answer_append(run->answer, buffer_span(&run->held)) : OK;
}

/* --- the end of an answer --------------------------------------------------------------------- */

static void store(struct flight_run *run)
{
    struct flight_env *env = run->relay->pools.env->flight;
    const struct cache_rule *rule = &run->rule;
    const struct l1_key *key = flight_key(run->flight);
    bool ages = run->origin == NULL || rule->ttl.us > 0;
    deadline expires = later(run->sent, ages ? l1_jitter(rule->ttl, JITTER) : STRICT_TTL);
    if (run->tier.found.answered && !run->fetched)
        flight_tier_store(run->relay, &run->tier, key->bytes, run->answer, between(now(), expires));
    struct l1_offer offer = {
        .key = *key,
        .answer = run->answer,
        .text = flight_key_text(key->bytes),
        .tags = rule->tag == NULL ? SPAN_NONE : span_text(rule->tag),
        .made = run->sent,
        .expires = expires,
        .stale_until = {expires.us + rule->stale.us},
        .reads = run->origin == NULL ? NULL : &run->reads,
        .captured = run->origin == NULL ? 0 : run->captured,
        .flushes = run->flushes,
    };
    if (l1_store(env->l1, &offer, now()) == L1_STORED && !run->fetched)
        cache_rules_count(rule, CACHE_COUNT_STORED);
}

static bool is_stored(const struct flight_run *run)
{
    return (run->rule.mode == CACHE_TTL || run->rule.mode == CACHE_STRICT) && !run->reported &&
           !run->alone;
}

/* Ends the flight with what its execution came to. */
static void settle(struct flight_run *run, fault executed)
{
    bool complete = executed == OK && run->complete && !run->failed;
    enum answer_end end = complete                        ? ANSWER_COMPLETE
                          : executed == OK && run->failed ? ANSWER_ERROR
                                                          : ANSWER_BROKEN;
    if (executed == OK && is_own(run))
        end = ANSWER_BROKEN;
    answer_end(run->answer, end);
    flight_set_progress(run->flight, run->progress);
    if (complete && is_stored(run) && answer_storable(run->answer))
        store(run);
    flight_end(run->flight, executed == FAULT_CLOSED ? FLIGHT_LOST : FLIGHT_ENDED);
}

/* Ends the flight with an answer of the second tier.  All that wait have a rule that allows its
 * age: that is a part of the key. */
static void settle_fetched(struct flight_run *run)
{
    struct l2_found *found = &run->tier.found;
    run->fetched = run->clean = true;
    run->answer = TAKE(found->answer);
    run->sent = (moment){found->asked.us - found->age.us};
    flight_run(run->flight, run->answer, NULL, 0);
    flight_set_progress(run->flight, FLIGHT_AT_EXECUTE);
    cache_rules_count(&run->rule, CACHE_COUNT_FETCHED);
    store(run);
    flight_end(run->flight, FLIGHT_ENDED);
}

/* --- the coroutine ---------------------------------------------------------------------------- */

static void run_free(struct flight_run *run)
{
    flight_kept_close(&run->kept);
    flight_batch_fini(&run->batch);
    buffer_fini(&run->judged_key);
    flight_values_fini(&run->values);
    buffer_fini(&run->held);
    buffer_fini(&run->told);
    answer_unref(&run->answer);
    verdict_unref(&run->verdict);
    flight_unref(&run->flight);
    config_unref(&run->config);
    free(run);
}

/* Whether there is a rule, which may have to be found by the text's analysis first. */
static bool has_rule(struct flight_run *run, struct span text)
{
    return run->rule.counts != NULL ||
           flight_rule_decide(run->relay, run->config, &run->route->cache, text, after(RULE_MAX),
                              &run->rule);
}

/* Returns where the verdict is kept.  NULL: changes of the catalog were told that the server may
 * not show yet, so the verdict is good for those only that wait already. */
static struct verdicts *verdicts_for(struct flight_run *run)
{
    if (run->origin != NULL) {
        struct flight_strict_of of = strict_of(run);
        run->alone = run->alone || !flight_strict_settled(&of);
    }
    return run->alone ? NULL : run->relay->pools.env->flight->verdicts;
}

static fault make_verdict(struct flight_run *run, struct span text, struct verdicts *keep)
{
    return flight_judge(&run->kept->session, run->config, keep, buffer_span(&run->judged_key), text,
                        &run->verdict);
}

/* Finds the verdict, or makes it; of several runners that need one that is kept, one asks. */
static fault judge(struct flight_run *run, struct span text)
{
    struct verdicts *verdicts = run->relay->pools.env->flight->verdicts;
    struct list *judging = &run->relay->judging;
    struct span key = buffer_span(&run->judged_key);
    struct flight_once once;
    run->verdict = verdicts_find(verdicts, key);
    if (run->verdict != NULL)
        return OK;
    if (verdicts_for(run) == NULL)
        return make_verdict(run, text, NULL);
    TRY(flight_once_enter(judging, &once, key));
    fault judged = OK;
    run->verdict = verdicts_find(verdicts, key);
    if (run->verdict == NULL)
        judged = make_verdict(run, text, verdicts_for(run));
    flight_once_leave(judging, &once);
    return judged;
}

/* Whether the statement's answer may be shared. */
static bool is_allowed(struct flight_run *run)
{
    struct span text = flight_key_text(flight_key(run->flight)->bytes);
    bool decided = run->rule.counts != NULL;
    if (!has_rule(run, text) || (!decided && run->rule.mode >= CACHE_STRICT))
        return false; /* strict and shadow from the next time on: their clients begin otherwise */
    if (judge(run, text) != OK) {
        cache_rules_count(&run->rule, CACHE_COUNT_FAILED);
        return false;
    }
    bool allowed = run->verdict->reason == VERDICT_REASONS;
    if (!allowed)
        cache_rules_count_refused(&run->rule, run->verdict->reason);
    return allowed;
}

/* Looks for the answer in the second tier. */
static fault fetch(struct flight_run *run)
{
    struct span key = flight_key(run->flight)->bytes;
    run->flushes = l1_flushes(run->relay->pools.env->flight->l1);
    run->tier.database = run->database;
    TRY(flight_tier_find(run->relay, &run->kept->session, &run->rule, key, &run->tier));
    run->checks = run->tier.found.answered;
    return OK;
}

static void execute_and_settle(struct flight_run *run)
{
    struct answer_memory *memory = &run->relay->pools.env->flight->memory;
    cache_rules_count(&run->rule, run->counts_as);
    run->answer = answer_new(memory, run->rule.result_max);
    if (run->answer != NULL)
        settle(run, execute_often(run));
    else
        flight_end(run->flight, FLIGHT_DECLINED);
}

static void on_abandoned(struct flight *flight UNUSED, void *context)
{
    struct flight_run *run = context;
    co_cancel(run->co);
}

static void run_main(void *argument)
{
    struct flight_run *run = argument;
    struct relay *relay = run->relay;
    run->co = co_self();
    flight_set_runner(run->flight, relay->pools.machine, on_abandoned, run);
    if (run->origin != NULL)
        flight_lost_ask(&run->kept->session, run->origin, run->epoch);
    bool allowed = is_allowed(run) && !run->judges && !co_cancelled();
    if (allowed && UNLIKELY(run->tiered))
        allowed = fetch(run) == OK;
    if (run->tier.found.answer != NULL)
        settle_fetched(run);
    else if (allowed)
        execute_and_settle(run);
    else
        flight_end(run->flight, FLIGHT_DECLINED);
    if (run->clean)
        flight_kept_return(&run->kept);
    run_free(run);
    relay->runs -= 1;
    relay_check_end(relay);
}

/* --- starting it ------------------------------------------------------------------------------ */

/* Takes over a reference to the flight.  NULL: no memory. */
static struct flight_run *run_new(const struct client *client, struct flight *take_flight,
                                  const struct cache_rule *rule, const struct turn_batch *batch)
{
    struct flight_run *run = calloc(1, sizeof(*run));
    if (run == NULL)
        return NULL;
    const struct route_config *route = client->pool->route;
    struct flight_env *env = client->relay->pools.env->flight;
    run->relay = client->relay;
    run->flight = take_flight;
    run->config = config_ref(client->pool->config);
    run->rule = *rule;
    run->route = route;
    run->tiered = flight_tier_is_for(client->relay, rule);
    run->checks = rule->mode == CACHE_STRICT;
    run->simple = !batch->extended && (run->checks || run->tiered);
    flight_batch_init(&run->batch, batch, run->simple);
    run->judged_key = BUFFER_INIT(VERDICTS_KEY_MAX);
    run->held = BUFFER_INIT(HELD_MAX);
    run->told = BUFFER_INIT(SIGNATURE_MAX);
    run->batch.tells = batch->extended;
    run->sink = (struct flight_sink){take_part, publish};
    run->database = flight_key_database(env->generations, client);
    if (rule->mode == CACHE_STRICT) {
        run->origin = flight_strict_origin(client);
        run->epoch = origin_epoch(run->origin);
        run->catalog = origin_catalog(run->origin);
        if (origin_inside(run->origin) != NULL)
            run->suspicions = inside_suspicions(origin_inside(run->origin));
        flight_values_init(&run->values, batch);
        run->named = flight_key_named(flight_key(run->flight)->bytes);
    }
    flight_judge_key(client, batch, run->origin, &run->judged_key);
    return run;
}

static fault run_begin(struct flight_run *run, const struct client *client)
{
    struct statement_catalog catalog = {run->epoch, run->catalog};
    TRY(flight_batch_fault(&run->batch));
    TRY(buffer_fault(&run->judged_key));
    TRY(buffer_fault(&run->values.bytes));
    TRY(flight_kept_take(client, &catalog, &run->kept));
    return co_group_start(&run->relay->runners, run_main, run, CO_SMALL);
}

static void start(const struct client *client, struct flight *take_flight,
                  const struct cache_rule *rule, const struct turn_batch *batch,
                  enum cache_count counts_as, bool judges)
{
    struct flight_run *run = run_new(client, take_flight, rule, batch);
    if (run == NULL) {
        flight_end(take_flight, FLIGHT_DECLINED);
        flight_unref(&take_flight);
        return;
    }
    run->counts_as = counts_as;
    run->judges = judges && (run->origin == NULL || !origin_lacks(run->origin));
    client->relay->runs += 1;
    if (run_begin(run, client) == OK)
        return;
    client->relay->runs -= 1;
    flight_end(run->flight, FLIGHT_DECLINED);
    run_free(run);
}

void flight_runner_start(const struct client *client, struct flight *flight,
                         const struct cache_rule *rule, const struct turn_batch *batch)
{
    start(client, flight_ref(flight), rule, batch, CACHE_COUNT_EXECUTED, false);
}

/* A flight for which no client waits.  NULL: there is one already, or no memory. */
static struct flight *flight_alone(const struct client *client, const struct l1_key *key)
{
    struct flight_env *env = client->relay->pools.env->flight;
    struct flight_about about = {flight_key_text(key->bytes), span_text(client->pool->database),
                                 span_text(client->pool->user)};
    return flights_refresh(env->flights, key, &about);
}

void flight_runner_refresh(const struct client *client, const struct cache_rule *rule,
                           const struct turn_batch *batch, const struct l1_key *key)
{
    struct flight *flight = flight_alone(client, key);
    if (flight != NULL)
        start(client, flight, rule, batch, CACHE_COUNT_REFRESHED, false);
}

void flight_runner_judge(const struct client *client, const struct cache_rule *rule,
                         const struct turn_batch *batch, const struct l1_key *key)
{
    struct flight *flight = flight_alone(client, key);
    if (flight != NULL)
        start(client, flight, rule, batch, CACHE_COUNT_REFRESHED, true);
}

struct flight *flight_runner_warm(const struct client *client, const struct cache_rule *rule,
                                  const struct turn_batch *batch, const struct l1_key *key)
{
    struct flight *flight = flight_alone(client, key);
    if (flight != NULL)
        start(client, flight_ref(flight), rule, batch, CACHE_COUNT_WARMED, false);
    return flight;
}
