#include "relay/flight/flight_warm.h"

#include "base/like.h"
#include "flight/flight_env.h"
#include "machine/clock.h"
#include "machine/log.h"
#include "relay/flight/flight_batch_parts.h"
#include "relay/flight/flight_judge.h"
#include "relay/flight/flight_key.h"
#include "relay/flight/flight_model.h"
#include "relay/flight/flight_rule.h"
#include "relay/flight/flight_runner.h"
#include "relay/flight/flight_strict_parts.h"
#include "relay/relay.h"
#include "relay/turn/turn_batch_parts.h"
#include "wire/messages.h"

#include <stdlib.h>

/* One of so many hits is counted. */
#define SAMPLE 8u
/* A server is asked for the parameters of a user. */
#define OPEN_MAX sec(10)
/* The analysis that decides which rule matches. */
#define RULE_MAX sec(1)
/* One statement, with the time until the feed follows the primary. */
#define STATEMENT_MAX sec(30)
/* Executions of a strict one: the first may have to find the server for the feed. */
#define EXECUTIONS_MAX 5u
/* Between two looks at an execution, and at a feed that is behind. */
#define LOOK      ms(2)
#define LOOK_FEED ms(100)
/* Of the relay's coroutine: looks for another primary; tries again while no statement succeeds. */
#define LOOK_EPOCH sec(1)
#define TRY_AGAIN  sec(5)
#define TRIES_MAX  12u

static struct flight_env *env_of(const struct relay *relay)
{
    return relay->pools.env->flight;
}

/* --- counting hits ---------------------------------------------------------------------------- */

static void remember(const struct client *client, const struct turn_batch *batch,
                     const struct l1_key *key)
{
    struct buffer messages = BUFFER_INIT(WARMS_BYTES_MAX), params = BUFFER_INIT(WARMS_BYTES_MAX);
    struct flight_batch copy;
    flight_batch_init(&copy, batch, false);
    flight_batch_put(&copy, &FLIGHT_UNNAMED, &messages);
    fault copied = flight_batch_fault(&copy);
    flight_batch_fini(&copy);
    params_write_flat(&params, client->params);
    struct warm about = {.database = span_text(client->pool->database),
                         .user = span_text(client->pool->user),
                         .params = buffer_span(&params),
                         .messages = buffer_span(&messages)};
    if (copied == OK && buffer_fault(&messages) == OK && buffer_fault(&params) == OK)
        warms_add(env_of(client->relay)->warms, key, &about);
    buffer_fini(&messages);
    buffer_fini(&params);
}

void flight_warm_hit(struct client *client, const struct turn_batch *batch,
                     const struct l1_key *key)
{
    if (client->pool->route->cache.warm_max == 0 || ++client->relay->hits % SAMPLE != 0)
        return;
    if (warms_hit(env_of(client->relay)->warms, key))
        remember(client, batch, key);
}

/* --- one statement ---------------------------------------------------------------------------- */

/* The statements of one pass, one after the other. */
struct pass {
    struct relay *relay;
    struct config *config; /* counted */
    struct span pattern;
    uint64_t *counts;
    struct flight_model *model; /* owned */
    bool open;                  /* `model`, for these */
    struct span database, user;
};

static void model_close(struct pass *pass)
{
    if (pass->open)
        flight_model_close(pass->model);
    pass->open = false;
}

/* Opens the model of a user, unless it is open. */
static fault model_open(struct pass *pass, struct span database, struct span user)
{
    if (pass->open && span_equal(pass->database, database) && span_equal(pass->user, user))
        return OK;
    model_close(pass);
    pass->database = database;
    pass->user = user;
    TRY(flight_model_open(pass->relay, database, user, after(OPEN_MAX), pass->model));
    pass->open = true;
    pass->database = span_text(pass->model->like.pool->database);
    pass->user = span_text(pass->model->like.pool->user);
    return OK;
}

/* Finds the rule.  False: none stores the answer. */
static bool find_rule(struct pass *pass, struct span text, struct cache_rule *ret)
{
    const struct client *like = &pass->model->like;
    enum flight_ruling ruling = flight_rule_find(like, text, ret);
    if (ruling == FLIGHT_RULE_LATER &&
        !flight_rule_decide(pass->relay, pass->model->config, &like->pool->route->cache, text,
                            after(RULE_MAX), ret))
        return false;
    return ruling != FLIGHT_RULE_NONE && (ret->mode == CACHE_TTL || ret->mode == CACHE_STRICT);
}

/* A statement with its rule and key. */
struct request {
    const struct client *like;
    const struct turn_batch *batch;
    struct cache_rule rule;
    struct origin *origin; /* of mode strict */
    struct l1_key key;
};

/* Whether an execution has ended in a way that another one may mend. */
static bool may_pass(const struct flight *flight)
{
    enum flight_phase phase = flight_phase(flight);
    return phase == FLIGHT_LOST ||
           (phase == FLIGHT_ENDED && answer_ended(flight_answer(flight)) == ANSWER_COMPLETE);
}

/* Executes a statement once, or waits for the feed.  *left: how often it may be executed. */
static fault execute(const struct request *request, uint32_t *left)
{
    const struct client *like = request->like;
    bool may = request->origin == NULL || flight_strict_may_lead(like, request->origin);
    struct flight *flight =
        may ? flight_runner_warm(like, &request->rule, request->batch, &request->key) : NULL;
    fault slept = flight == NULL ? co_sleep(LOOK_FEED) : OK;
    while (slept == OK && flight != NULL && flight_phase(flight) < FLIGHT_ENDED)
        slept = co_sleep(LOOK);
    if (flight != NULL)
        *left = slept == OK && may_pass(flight) ? *left - 1 : 0;
    flight_unref(&flight);
    return slept;
}

/* Executes it until its answer is stored. */
static fault execute_stored(const struct request *request, enum warms_count *ret)
{
    const struct flight_env *env = env_of(request->like->relay);
    deadline by = after(STATEMENT_MAX);
    uint32_t left = request->origin == NULL ? 1 : EXECUTIONS_MAX;
    *ret = WARMS_PRESENT;
    bool changed;
    while (!l1_has(env->l1, &request->key, now(), &changed)) {
        bool again = *ret != WARMS_PRESENT;
        *ret = WARMS_REFUSED;
        if (flight_judge_known(request->like, request->batch, request->origin) != VERDICT_REASONS)
            return OK;
        *ret = WARMS_FAILED;
        if (left == 0 || by.us <= now().us)
            return OK;
        if (again)
            TRY(co_sleep(LOOK_FEED));
        TRY(execute(request, &left));
    }
    *ret = *ret == WARMS_PRESENT ? WARMS_PRESENT : WARMS_STORED;
    return OK;
}

static fault warm_request(struct pass *pass, const struct turn_batch *batch, enum warms_count *ret)
{
    struct request request = {.like = &pass->model->like, .batch = batch};
    struct buffer key = BUFFER_INIT(L1_KEY_MAX);
    *ret = WARMS_REFUSED;
    if (!flight_key_stands_alone(request.like, batch) ||
        !find_rule(pass, flight_key_text_of(batch), &request.rule))
        return OK;
    if (request.rule.mode == CACHE_STRICT)
        request.origin = flight_strict_origin(request.like);
    if (request.rule.mode == CACHE_STRICT && request.origin == NULL)
        return FAULT_MEMORY;
    flight_key_of_rule(request.like, batch, &request.rule, false, &key);
    fault warmed = buffer_fault(&key);
    if (warmed == OK) {
        l1_key_init(env_of(pass->relay)->l1, buffer_span(&key), &request.key);
        warmed = execute_stored(&request, ret);
    }
    buffer_fini(&key);
    return warmed;
}

/* Warms what a client of the model would send.  *ret WARMS_COUNTS: it is not like the pattern. */
static fault warm_messages(struct pass *pass, struct span messages, enum warms_count *ret)
{
    struct turn_batch batch;
    *ret = WARMS_REFUSED;
    if (!turn_batch_read(&pass->model->like, &messages, &batch) || messages.size > 0)
        return OK;
    if (pass->pattern.size > 0 && !span_like(flight_key_text_of(&batch), pass->pattern)) {
        *ret = WARMS_COUNTS;
        return OK;
    }
    return warm_request(pass, &batch, ret);
}

/* --- a pass ----------------------------------------------------------------------------------- */

/* Takes the outcome of a statement, and waits so that no more than the route allows are executed.
 * Only a cancellation ends the pass. */
static fault settle(struct pass *pass, const struct cache_config *cache, fault warmed,
                    enum warms_count what)
{
    struct warms *warms = env_of(pass->relay)->warms;
    warms_left(warms, -1);
    if (warmed == FAULT_CANCELLED)
        return warmed;
    if (warmed != OK) {
        what = WARMS_FAILED;
        log_event(LOG_WARNING, "cache.warm_failed", log_span("database", pass->database),
                  log_span("user", pass->user), log_quote("reason", fault_detail(warmed)));
    }
    if (what == WARMS_COUNTS)
        return OK;
    pass->counts[what] += 1;
    warms_count(warms, what);
    return what == WARMS_PRESENT ? OK : co_sleep((duration){1000000 / cache->warm_rate});
}

static fault warm_listed(struct pass *pass, const struct route_config *route,
                         const struct cache_warm *warm)
{
    struct buffer query = BUFFER_INIT(strlen(warm->text) + 64);
    enum warms_count what = WARMS_FAILED;
    struct span options = warm->options == NULL ? SPAN_NONE : span_text(warm->options);
    fault warmed =
        model_open(pass, span_text(warm->database != NULL ? warm->database : route->database),
                   span_text(warm->user != NULL ? warm->user : route->user));
    if (warmed == OK)
        warmed = flight_model_take_options(pass->model, options, after(OPEN_MAX));
    wire_put_query(&query, span_text(warm->text));
    if (warmed == OK)
        warmed = buffer_fault(&query);
    if (warmed == OK)
        warmed = warm_messages(pass, buffer_span(&query), &what);
    buffer_fini(&query);
    return settle(pass, &route->cache, warmed, what);
}

static fault warm_remembered(struct pass *pass, const struct route_config *route,
                             const struct warm *warm)
{
    enum warms_count what = WARMS_FAILED;
    fault warmed = model_open(pass, warm->database, warm->user);
    if (warmed == OK)
        warmed = flight_model_take_params(pass->model, warm->params);
    if (warmed == OK)
        warmed = warm_messages(pass, warm->messages, &what);
    return settle(pass, &route->cache, warmed, what);
}

/* Keeps those of the list that are the route's, at most as many as it wants. */
static uint32_t pick(const struct pass *pass, const struct route_config *route,
                     struct warm *list[WARMS_MAX], uint32_t count)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (kept < route->cache.warm_max &&
            config_route(pass->config, list[i]->database, list[i]->user) == route)
            list[kept++] = list[i];
        else
            warm_unref(&list[i]);
    }
    return kept;
}

static fault warm_often_hit(struct pass *pass, const struct route_config *route,
                            struct warm *list[WARMS_MAX])
{
    struct warms *warms = env_of(pass->relay)->warms;
    fault warmed = OK;
    uint32_t count = pick(pass, route, list, warms_list(warms, list));
    warms_left(warms, count);
    for (uint32_t i = 0; i < count; i++) {
        if (warmed == OK)
            warmed = warm_remembered(pass, route, list[i]);
        else
            warms_left(warms, -1);
        warm_unref(&list[i]);
    }
    return warmed;
}

static fault warm_route(struct pass *pass, const struct route_config *route)
{
    struct warms *warms = env_of(pass->relay)->warms;
    const struct cache_config *cache = &route->cache;
    fault warmed = OK;
    warms_left(warms, (int64_t)cache->warm_count);
    for (size_t i = 0; i < cache->warm_count; i++) {
        if (warmed == OK)
            warmed = warm_listed(pass, route, &cache->warms[i]);
        else
            warms_left(warms, -1);
    }
    struct warm **list =
        warmed == OK && cache->warm_max > 0 ? calloc(WARMS_MAX, sizeof(*list)) : NULL;
    if (list != NULL)
        warmed = warm_often_hit(pass, route, list);
    free(list);
    return warmed;
}

fault flight_warm_all(struct relay *relay, struct span pattern, uint64_t ret[WARMS_COUNTS])
{
    struct pass pass = {.relay = relay, .pattern = pattern, .counts = ret};
    fault warmed = OK;
    memset(ret, 0, WARMS_COUNTS * sizeof(*ret));
    pass.model = malloc(sizeof(*pass.model));
    if (pass.model == NULL)
        return FAULT_MEMORY;
    pass.config = config_ref(relay->pools.config);
    for (size_t i = 0; warmed == OK && i < pass.config->route_count; i++) {
        const struct route_config *route = &pass.config->routes[i];
        if (!route->is_reads && !route->is_targeted && !route->is_replication)
            warmed = warm_route(&pass, route);
    }
    model_close(&pass);
    config_unref(&pass.config);
    free(pass.model);
    return warmed;
}

/* --- the relay's coroutine -------------------------------------------------------------------- */

static void warm_main(void *argument)
{
    struct relay *relay = argument;
    uint64_t counts[WARMS_COUNTS], seen = 0;
    uint32_t tries = TRIES_MAX;
    fault slept = OK;
    relay->warmer = co_self();
    while (slept == OK && !relay->pools.stopping && relay->pools.config->warms) {
        uint64_t present = origins_epochs(env_of(relay)->origins);
        if (present != seen)
            tries = TRIES_MAX;
        seen = present;
        if (tries > 0)
            slept =
                flight_warm_all(relay, SPAN_NONE, counts) == FAULT_CANCELLED ? FAULT_CANCELLED : OK;
        bool done = tries == 0 || counts[WARMS_FAILED] == 0;
        tries = done ? 0 : tries - 1;
        if (slept == OK)
            slept = co_sleep(done ? LOOK_EPOCH : TRY_AGAIN);
    }
    relay->warmer = NULL;
    relay->warms = false;
    relay->runs -= 1;
    relay_check_end(relay);
}

void flight_warm_start(struct relay *relay)
{
    if (relay->index != 0 || relay->warms || relay->pools.stopping || !relay->pools.config->warms)
        return;
    relay->runs += 1;
    relay->warms = co_group_start(&relay->runners, warm_main, relay, CO_LARGE) == OK;
    if (!relay->warms)
        relay->runs -= 1;
}

void flight_warm_stop(struct relay *relay)
{
    if (relay->warmer != NULL)
        co_cancel(relay->warmer);
}
