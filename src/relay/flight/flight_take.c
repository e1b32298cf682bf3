/* flight_take.c - decides how a client's statement is answered: from memory, by a flight, or not.
 */
#include "config/cache_worth.h"
#include "fleet/target.h"
#include "flight/flight_env.h"
#include "machine/clock.h"
#include "relay/client.h"
#include "relay/flight/flight_judge.h"
#include "relay/flight/flight_key.h"
#include "relay/flight/flight_rule.h"
#include "relay/flight/flight_runner.h"
#include "relay/flight/flight_shadow.h"
#include "relay/flight/flight_strict_parts.h"
#include "relay/flight/flight_wait.h"
#include "relay/flight/flight_wait_parts.h"
#include "relay/flight/flight_warm.h"
#include "relay/relay.h"
#include "relay/relay_calls.h"

/* A refresh that takes longer is given to another client. */
#define REFRESH_MAX sec(10)

static struct flight_env *env_of(const struct client *client)
{
    return client->relay->pools.env->flight;
}

/* A statement of a client, for which there is a rule. */
struct request {
    struct client *client;
    const struct turn_batch *batch;
    const struct cache_rule *rule;
    struct buffer bytes; /* of `key` */
    struct l1_key key;
    const uint8_t *at; /* the message; NULL: the client waits with a copy */
    uint32_t size;
};

/* Counts a statement that is executed by itself. */
static void bypass(const struct request *request, enum cache_count what, const char *why)
{
    cache_rules_count(request->rule, what);
    relay_calls_share(request->client, flight_key_text_of(request->batch), STATS_BYPASS, NULL, why);
}

/* Whether the statement may be executed by a plan that was made before, as the client's own is: the
 * feed then has to tell first whether the state of the catalog is that of the plan. */
static bool is_named(const struct request *request)
{
    const struct route_config *route = request->client->pool->route;
    return request->batch->named && !route->is_inside && route->prepared_max != PREPARED_PRIVATE &&
           flight_strict_is_current(request->client);
}

/* Makes the key.  False: it has no room. */
static bool request_key(struct request *request)
{
    request->bytes = BUFFER_INIT(L1_KEY_MAX);
    bool named = request->rule->mode == CACHE_STRICT && is_named(request);
    flight_key_of_rule(request->client, request->batch, request->rule, named, &request->bytes);
    if (buffer_fault(&request->bytes) != OK)
        return false;
    l1_key_init(env_of(request->client)->l1, buffer_span(&request->bytes), &request->key);
    return true;
}

/* --- stored answers --------------------------------------------------------------------------- */

/* How long a client has waited for the word that its answer in memory is current. */
static struct stats_call hit_call(const struct client *client)
{
    const struct flight_wait *wait = client->flight;
    return (struct stats_call){.took_us = wait == NULL ? 0 : between(wait->began, now()).us};
}

/* Counts an answer from memory that the client gets. */
static void count_hit(const struct request *request, bool stale)
{
    cache_rules_count(request->rule, CACHE_COUNT_HITS);
    if (relay_calls_wanted(request->client->pool)) {
        struct stats_call call = hit_call(request->client);
        relay_calls_share(request->client, flight_key_text_of(request->batch), STATS_HIT, &call,
                          NULL);
    }
    flight_warm_hit(request->client, request->batch, &request->key);
    if (stale)
        cache_rules_count(request->rule, CACHE_COUNT_STALE);
}

/* Answers from an answer that is stored. */
static enum flight_taken serve_stored(const struct request *request, struct answer *take_stored,
                                      bool stale)
{
    struct client *client = request->client;
    struct flight_wait *wait = flight_wait_new(client, request->batch);
    bool open = wait != NULL && flight_wait_open(wait, take_stored, FLIGHT_AT_EXECUTE);
    answer_unref(&take_stored);
    if (!open) {
        flight_wait_free(client);
        return FLIGHT_PASSES;
    }
    count_hit(request, stale);
    fault sent = flight_wait_send(wait);
    if (sent == OK) {
        flight_wait_settle(client, request->batch, false);
        flight_wait_free(client);
        client->silent = (moment){0};
        client_arm_idle(client);
        return FLIGHT_SERVED;
    }
    if (sent == FAULT_AGAIN && flight_wait_begin(client, request->at, request->size))
        return FLIGHT_TAKEN;
    flight_wait_free(client);
    client_close(&client, sent == FAULT_AGAIN ? "no memory to wait in" : fault_detail(sent));
    return FLIGHT_TAKEN;
}

/* Whether a stored answer is one that the rule allows: another rule may have stored it, or this one
 * before a reload. */
static bool is_allowed(const struct cache_rule *rule, const struct l1_found *found)
{
    bool ages = rule->mode != CACHE_STRICT || rule->ttl.us > 0;
    return !ages || between(found->made, now()).us <= rule->ttl.us + rule->stale.us;
}

/* Finds the stored answer; the caller owns it.  NULL: there is none that may be given now. */
static struct answer *find_stored(const struct request *request, bool *ret_stale)
{
    struct l1_found found;
    const struct cache_rule *rule = request->rule;
    enum l1_outcome outcome =
        l1_find(env_of(request->client)->l1, &request->key, now(), after(REFRESH_MAX), &found);
    if (found.changed)
        cache_worth_changed(rule);
    if (outcome == L1_MISS || outcome == L1_HELD)
        return NULL;
    if (outcome == L1_REFRESH)
        flight_runner_refresh(request->client, rule, request->batch, &request->key);
    if (!is_allowed(rule, &found)) {
        answer_unref(&found.answer);
        return NULL;
    }
    *ret_stale = outcome != L1_HIT;
    return found.answer;
}

/* --- flights ---------------------------------------------------------------------------------- */

/* Joins the flight of the key, or begins it, for a client in FLIGHT. */
static void enter_flight(const struct request *request)
{
    struct client *client = request->client;
    struct flight_wait *wait = client->flight;
    struct flight_about about = {flight_key_text(request->key.bytes),
                                 span_text(client->pool->database), span_text(client->pool->user)};
    switch (flights_join(env_of(client)->flights, &request->key, &about, &wait->waiter)) {
    case FLIGHT_NONE:
        bypass(request, CACHE_COUNT_FAILED, "failed");
        flight_wait_pass(client);
        return;
    case FLIGHT_LED:
        flight_runner_start(client, wait->waiter.flight, request->rule, request->batch);
        return;
    case FLIGHT_JOINED:
        cache_rules_count(request->rule, CACHE_COUNT_JOINED);
        wait->joins = true;
        wait->late = flight_phase(wait->waiter.flight) != FLIGHT_ASKING;
        if (flight_wait_has_answer(wait))
            flight_wait_go_on(client);
        return;
    }
}

/* Makes the client wait.  False: no memory. */
static bool begin_wait(const struct request *request)
{
    struct client *client = request->client;
    if (flight_wait_new(client, request->batch) != NULL &&
        flight_wait_begin(client, request->at, request->size))
        return true;
    bypass(request, CACHE_COUNT_FAILED, "failed");
    flight_wait_free(client);
    return false;
}

/* Whether it is known already that the answer may not be shared. */
static bool is_refused(const struct request *request, const struct origin *origin)
{
    uint32_t reason = flight_judge_known(request->client, request->batch, origin);
    if (reason != VERDICT_REASONS) {
        cache_rules_count_refused(request->rule, reason);
        relay_calls_share(request->client, flight_key_text_of(request->batch), STATS_BYPASS, NULL,
                          verdict_reason_word(reason));
    }
    return reason != VERDICT_REASONS;
}

static enum flight_taken join_allowed(const struct request *request, const struct origin *origin)
{
    if (is_refused(request, origin) || !begin_wait(request))
        return FLIGHT_PASSES;
    enter_flight(request);
    return FLIGHT_TAKEN;
}

/* --- strict ----------------------------------------------------------------------------------- */

/* The feed has answered whether an answer from memory is current.  One that is found now, and that
 * no write has changed, is as good as an execution that begins now. */
static void answer_current(const struct request *request)
{
    struct client *client = request->client;
    bool stale;
    struct answer *stored = find_stored(request, &stale);
    if (stored == NULL) {
        enter_flight(request);
        return;
    }
    bool open = flight_wait_open(client->flight, stored, FLIGHT_AT_EXECUTE);
    answer_unref(&stored);
    if (open)
        count_hit(request, stale);
    if (open)
        flight_wait_go_on(client);
    else
        flight_wait_pass(client);
}

static void note_asked(const struct client *client, const struct cache_rule *rule)
{
    struct feed_view view;
    origin_look(flight_strict_origin(client), &view);
    struct cache_feed feed = {view.probes + view.markers, view.transactions, view.tickets};
    cache_worth_asked(rule, between(client->flight->asked, now()), &feed);
}

static void on_asked(struct client *client, bool current)
{
    struct turn_batch batch;
    struct span rest = span_of(client->stash, client->stash_size);
    struct request request = {.client = client, .batch = &batch, .rule = &client->flight->rule};
    client->flight->ask = NULL;
    note_asked(client, request.rule);
    /* A reload meanwhile has replaced the rule: a flight would outlive its configuration. */
    current = current && client->flight->config == client->pool->config;
    bool whole = turn_batch_read(client, &rest, &batch);
    invariant(whole);
    if (!current)
        bypass(&request, CACHE_COUNT_BYPASSED, "bypassed");
    if (current && request_key(&request))
        answer_current(&request);
    else
        flight_wait_pass(client);
    buffer_fini(&request.bytes);
}

/* Asks the feed whether the answer that is in memory, or under way, is current. */
static enum flight_taken ask_first(const struct request *request, struct origin *origin)
{
    struct client *client = request->client;
    if (!begin_wait(request))
        return FLIGHT_PASSES;
    struct flight_wait *wait = client->flight;
    wait->rule = *request->rule;
    wait->config = config_ref(client->pool->config);
    wait->asked = now();
    wait->ask = flight_ask_begin(client, origin, on_asked);
    if (wait->ask == NULL)
        flight_wait_pass(client);
    return FLIGHT_TAKEN;
}

/* Nothing writes but what this daemon has noted: what is in memory is as good as the database, if
 * no write has changed it or is in doubt. */
static enum flight_taken take_inside(const struct request *request, struct origin *origin)
{
    if (inside_counts(origin_inside(origin)) && !origin_is_suspected(origin)) {
        bool stale;
        struct answer *stored = find_stored(request, &stale);
        if (stored != NULL) {
            enum flight_taken taken = serve_stored(request, stored, stale);
            if (taken != FLIGHT_PASSES)
                return taken;
        }
    }
    if (flight_strict_may_lead(request->client, origin))
        return join_allowed(request, origin);
    bypass(request, CACHE_COUNT_BYPASSED, "bypassed");
    return FLIGHT_PASSES;
}

/* An execution that has not been sent when the request comes is as good as its own, so only what
 * is in memory, or was sent before, needs the feed's word. */
static enum flight_taken take_strict(const struct request *request)
{
    const struct flight_env *env = env_of(request->client);
    if (!target_needs_primary(request->client->pool->route->target)) {
        bypass(request, CACHE_COUNT_OFF, "off");
        return FLIGHT_PASSES;
    }
    struct origin *origin = flight_strict_origin(request->client);
    if (origin == NULL) {
        bypass(request, CACHE_COUNT_FAILED, "failed");
        return FLIGHT_PASSES;
    }
    if (cache_worth_rests(request->rule, now())) {
        bypass(request, CACHE_COUNT_RESTED, "rested");
        origin_rest(origin, now());
        return FLIGHT_PASSES;
    }
    if (origin_inside(origin) != NULL)
        return take_inside(request, origin);
    bool changed;
    if (l1_has(env->l1, &request->key, now(), &changed) ||
        flights_runs(env->flights, &request->key))
        return ask_first(request, origin);
    if (changed)
        cache_worth_changed(request->rule);
    if (flight_key_named(request->key.bytes))
        return is_refused(request, origin) ? FLIGHT_PASSES : ask_first(request, origin);
    if (flight_strict_may_lead(request->client, origin))
        return join_allowed(request, origin);
    bypass(request, CACHE_COUNT_BYPASSED, "bypassed");
    return FLIGHT_PASSES;
}

/* --- the beginning ---------------------------------------------------------------------------- */

static enum flight_taken take_by_mode(const struct request *request)
{
    if (request->rule->mode == CACHE_SHADOW) {
        flight_shadow_begin(request->client, request->batch, request->rule, &request->key);
        return FLIGHT_PASSES;
    }
    if (request->rule->mode == CACHE_STRICT)
        return take_strict(request);
    bool stale = false;
    struct answer *stored = request->rule->mode == CACHE_TTL ? find_stored(request, &stale) : NULL;
    if (stored != NULL) {
        enum flight_taken taken = serve_stored(request, stored, stale);
        if (taken != FLIGHT_PASSES)
            return taken;
    }
    return join_allowed(request, NULL);
}

enum flight_taken flight_take(struct client *client, const uint8_t *at, uint32_t size)
{
    struct span rest = span_of(at, size);
    struct turn_batch batch;
    struct cache_rule rule;
    bool passes = client->passes;
    client->passes = false;
    if (passes || client->internal || !turn_batch_read(client, &rest, &batch) || rest.size > 0 ||
        flight_rule_find(client, flight_key_text_of(&batch), &rule) == FLIGHT_RULE_NONE)
        return FLIGHT_PASSES;
    struct request request = {
        .client = client, .batch = &batch, .rule = &rule, .at = at, .size = size};
    enum flight_taken taken = FLIGHT_PASSES;
    if (!flight_key_stands_alone(client, &batch))
        bypass(&request, CACHE_COUNT_STATE, "state");
    else if (request_key(&request))
        taken = take_by_mode(&request);
    else
        bypass(&request, CACHE_COUNT_FAILED, "failed");
    buffer_fini(&request.bytes);
    if (taken == FLIGHT_PASSES)
        client->lost = 0;
    return taken;
}
