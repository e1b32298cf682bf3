#include "relay/flight/flight_model.h"

#include "relay/flight/flight_judge.h"
#include "relay/relay.h"
#include "session/accepted.h"
#include "wire/messages.h"
#include "wire/startup.h"

#include <stdlib.h>
#include <string.h>

/* An ErrorResponse of the server, or of the pool. */
#define ERROR_MAX 4096u

static const struct statement_catalog none;
static const struct address nowhere = {.family = ADDRESS_UNIX};

/* --- asking a server -------------------------------------------------------------------------- */

struct probe {
    struct flight_sink sink;
    struct buffer error; /* an ErrorResponse */
};

static fault probe_part(struct flight_sink *sink, const struct flight_part *part)
{
    struct probe *probe = CONTAINER_OF(sink, struct probe, sink);
    if (part->type == WIRE_ERROR)
        buffer_append_span(&probe->error, part->bytes);
    return OK;
}

static void probe_drained(struct flight_sink *sink UNUSED)
{
}

static fault probe_outcome(const struct probe *probe)
{
    struct wire_error error;
    if (probe->error.size == 0)
        return OK;
    if (probe->error.size < WIRE_HEADER ||
        wire_read_error(span_skip(buffer_span(&probe->error), WIRE_HEADER), &error) != OK)
        return fault_raise(FAULT_UPSTREAM, "the server refuses a query");
    return fault_raise(FAULT_UPSTREAM, "%.*s", (int)MIN_OF(error.message.size, (size_t)200),
                       (const char *)error.message.at);
}

/* Asks a server something, so that the pool knows what its servers report. */
static fault ask_something(struct flight_model *model, deadline by)
{
    struct flight_session session;
    struct probe probe = {.sink = {probe_part, probe_drained}, .error = BUFFER_INIT(ERROR_MAX)};
    struct buffer query = BUFFER_INIT(64);
    TRY(flight_session_open(&session, &model->like, &none));
    wire_put_query(&query, SPAN("SELECT 1"));
    fault asked = buffer_fault(&query);
    if (asked == OK)
        asked = flight_session_ask(&session, buffer_span(&query), &probe.sink, by);
    if (probe.error.size > 0)
        asked = probe_outcome(&probe);
    flight_session_close(&session);
    buffer_fini(&query);
    buffer_fini(&probe.error);
    return asked;
}

/* --- models ----------------------------------------------------------------------------------- */

static fault find_route(const struct config *config, struct span database, struct span user,
                        const struct route_config **ret)
{
    const struct route_config *route = config_route(config, database, user);
    if (route == NULL || route->auth == AUTH_BLOCK)
        return fault_raise(FAULT_ROUTE, "no route lets user \"%.*s\" into database \"%.*s\"",
                           SPAN_ARG(user), SPAN_ARG(database));
    if (route->mode == POOL_SESSION)
        return fault_raise(FAULT_ROUTE, "the route has a session pool, which shares no answers");
    *ret = route;
    return OK;
}

/* Takes over what the pool's servers report. */
static void take_defaults(struct client *like)
{
    struct params *defaults = like->pool->reported.defaults;
    if (defaults != NULL)
        params_assign(&like->defaults, params_ref(defaults));
}

static fault enter(struct flight_model *model, deadline by)
{
    struct client *like = &model->like;
    TRY(local_pool_enter(like->pool, by));
    TRY(orders_admit(&like->relay->pools.orders, like->pool->database));
    take_defaults(like);
    TRY(ask_something(model, by));
    take_defaults(like);
    return OK;
}

fault flight_model_open(struct relay *relay, struct span database, struct span user, deadline by,
                        struct flight_model *ret)
{
    const struct route_config *route = NULL;
    struct client *like = &ret->like;
    memset(ret, 0, sizeof(*ret));
    TRY(find_route(relay->pools.config, database, user, &route));
    TRY(local_pool_of(&relay->pools, route, database, user, &like->pool));
    local_pool_join(like->pool);
    ret->config = config_ref(relay->pools.config);
    like->relay = relay;
    like->peer = (struct address *)(uintptr_t)&nowhere;
    like->params = params_ref(relay->pools.params.none);
    like->defaults = params_ref(relay->pools.params.none);
    fault entered = enter(ret, by);
    if (entered != OK)
        flight_model_close(ret);
    return entered;
}

void flight_model_close(struct flight_model *model)
{
    struct client *like = &model->like;
    params_unref(&like->params);
    params_unref(&like->defaults);
    local_pool_leave(like->pool);
    config_unref(&model->config);
}

/* --- session parameters ----------------------------------------------------------------------- */

struct options {
    size_t count;
    struct param all[PARAMS_STARTUP];
};

static fault take_option(void *argument, struct span name, struct span value)
{
    struct options *options = argument;
    if (options->count == PARAMS_STARTUP)
        return fault_raise(FAULT_LIMIT, "more than %d session parameters", PARAMS_STARTUP);
    options->all[options->count++] = (struct param){name, value};
    return OK;
}

/* Makes the set as a login does: in the spelling of the servers, without their defaults. */
static fault intern(struct client *like, const struct options *options)
{
    struct param all[PARAMS_STARTUP];
    struct params *params;
    size_t count = 0;
    for (size_t i = 0; i < options->count; i++) {
        struct param param = options->all[i];
        (void)!accepted_find(&like->pool->accepted, &param, &param.value);
        if (!params_has(like->defaults, &param))
            all[count++] = param;
    }
    TRY(params_intern(&like->relay->pools.params, all, count, &params));
    params_assign(&like->params, params);
    return OK;
}

/* A server that gets the parameters tells how it spells them. */
static fault take_read(struct flight_model *model, const struct options *options, deadline by)
{
    TRY(intern(&model->like, options));
    TRY(ask_something(model, by));
    return intern(&model->like, options);
}

fault flight_model_take_options(struct flight_model *model, struct span text, deadline by)
{
    struct span wrong = SPAN_NONE;
    struct options *options = calloc(1, sizeof(*options) + text.size + 1);
    if (options == NULL)
        return FAULT_MEMORY;
    fault taken = wire_read_options(text, (uint8_t *)(options + 1), take_option, options, &wrong);
    if (taken == OK)
        taken = take_read(model, options, by);
    free(options);
    return taken;
}

fault flight_model_take_params(struct flight_model *model, struct span flat)
{
    struct params *params;
    TRY(params_read_flat(&model->like.relay->pools.params, flat, &params));
    params_assign(&model->like.params, params);
    return OK;
}

/* --- verdicts --------------------------------------------------------------------------------- */

fault flight_model_judge(struct flight_model *model, struct span text, struct verdict **ret)
{
    struct flight_session session;
    TRY(flight_session_open(&session, &model->like, &none));
    fault judged = flight_judge(&session, model->config, NULL, SPAN_NONE, text, ret);
    flight_session_close(&session);
    return judged;
}
