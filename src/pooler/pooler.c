#include "pooler/pooler.h"

#include "auth/auth_failures.h"
#include "base/map.h"
#include "flight/flight_env.h"
#include "flight/outlines.h"
#include "machine/clock.h"
#include "machine/ids.h"
#include "pool/router.h"
#include "pooler/listeners.h"
#include "pooler/load_parts.h"
#include "pooler/logbook.h"
#include "relay/preauth.h"
#include "relay/relay.h"
#include "stats/learned.h"
#include "stats/stats_calls.h"

#include <stdlib.h>
#include <string.h>

/* Memory of the outlines of SQL texts. */
#define OUTLINES_BYTES (16u << 20)

static_assert(RELAYS_MAX <= LOAD_RELAYS_MAX, "each relay has an entry");

struct pooler {
    struct pooler_env env;
    struct config *config; /* the latest version, counted */
    struct pooler_console console;
    uint32_t relays_ended;
    struct listeners *listeners;
    struct co *waiting; /* waits for relays to end; NULL: none */
    struct load *load;
};

/* --- parts that others read ------------------------------------------------------------------- */

uint32_t pooler_relays(const struct pooler *pooler)
{
    return pooler->env.relay_count;
}

struct relay *pooler_relay(struct pooler *pooler, uint32_t index)
{
    invariant(index < pooler->env.relay_count);
    return pooler->env.relays[index];
}

struct router *pooler_router(struct pooler *pooler)
{
    return pooler->env.router;
}

struct machine *pooler_machine(struct pooler *pooler)
{
    return pooler->env.machine;
}

const struct pooler_console *pooler_console(const struct pooler *pooler)
{
    return &pooler->console;
}

bool pooler_stopping(const struct pooler *pooler)
{
    return pooler->env.stopping;
}

void pooler_set_budget(struct pooler *pooler, const struct pooler_budget *budget)
{
    __atomic_store_n(&pooler->env.clients_max, budget->clients == 0 ? UINT32_MAX : budget->clients,
                     __ATOMIC_RELAXED);
    preauths_set_max(pooler->env.preauths,
                     budget->connections == 0 ? UINT32_MAX : budget->connections);
    router_set_budget(pooler->env.router, budget->servers);
}

uint32_t pooler_clients(const struct pooler *pooler)
{
    return env_clients(&pooler->env);
}

static void pooler_relay_ended(struct mail *mail)
{
    struct relay *relay = CONTAINER_OF(mail, struct relay, ended);
    struct pooler *pooler = CONTAINER_OF(relay->pools.env, struct pooler, env);
    pooler->relays_ended += 1;
    if (pooler->waiting != NULL)
        co_wake(pooler->waiting);
}

/* --- life ------------------------------------------------------------------------------------- */

static bool has_feeds(const struct config *config)
{
    for (size_t i = 0; i < config->service_count; i++)
        if (config->services[i].feed.user != NULL)
            return true;
    return false;
}

static bool has_feed(void *argument, struct span service)
{
    const struct config *config = argument;
    for (size_t i = 0; i < config->service_count; i++)
        if (span_is(service, config->services[i].name))
            return config->services[i].feed.user != NULL;
    return false;
}

/* A digest of which servers a service has. */
static uint64_t servers_of(const struct service_config *service)
{
    uint64_t digest = service->resolver;
    for (size_t i = 0; i < service->host_count; i++) {
        const struct host_config *host = &service->hosts[i];
        digest = hash_data(host->host, strlen(host->host), digest);
        digest = hash_data(&host->port, sizeof(host->port), digest);
    }
    if (service->lookup_name != NULL)
        digest = hash_data(service->lookup_name, strlen(service->lookup_name), digest);
    return hash_data(&service->lookup_port, sizeof(service->lookup_port), digest);
}

/* Tells which services have all of their writers inside. */
static fault declare_insides(struct flight_env *flight, const struct config *config, bool first)
{
    struct inside_service *all = calloc(config->service_count + 1, sizeof(*all));
    size_t count = 0;
    if (all == NULL)
        return FAULT_MEMORY;
    for (size_t i = 0; i < config->service_count; i++)
        if (config->services[i].writers == WRITERS_INSIDE)
            all[count++] = (struct inside_service){span_text(config->services[i].name),
                                                   servers_of(&config->services[i])};
    insides_declare(flight->insides, all, count, first);
    free(all);
    return OK;
}

/* Makes the second tier of stored answers.  NULL: no memory. */
static struct l2 *make_tier(const struct redis_config *redis)
{
    struct l2_sentinel sentinels[REDIS_SENTINELS_MAX];
    for (size_t i = 0; i < redis->sentinel_count; i++)
        sentinels[i] = (struct l2_sentinel){redis->sentinels[i].host, redis->sentinels[i].port};
    const struct l2_settings tier = {.host = redis->host,
                                     .port = redis->port,
                                     .sentinels = sentinels,
                                     .sentinel_count = (uint32_t)redis->sentinel_count,
                                     .master = redis->master,
                                     .sentinel_password = redis->sentinel_password,
                                     .user = redis->user,
                                     .password = redis->password,
                                     .database = redis->database,
                                     .prefix = redis->prefix,
                                     .budget = redis->budget,
                                     .compress_min = redis->compress_min,
                                     .tls_mode = redis->tls.mode,
                                     .tls = redis->tls.context};
    return l2_new(&tier);
}

static fault make_flight(struct pooler_env *env, const struct config *config)
{
    const struct redis_config *redis = &config->redis;
    env->flight = flight_env_new(config->cache_memory);
    if (env->flight == NULL)
        return FAULT_MEMORY;
    if (redis->host == NULL && redis->sentinel_count == 0)
        return OK;
    env->flight->l2 = make_tier(redis);
    return env->flight->l2 == NULL ? FAULT_MEMORY : OK;
}

/* Makes the tables for shared answers when the first version comes whose routes have cache rules;
 * the relays get that version later. */
static fault prepare_flight(struct pooler *pooler, const struct config *config, bool first)
{
    bool wanted = false;
    stats_calls_bound(pooler->env.calls, config->statements_max);
    for (size_t i = 0; i < config->route_count; i++)
        wanted = wanted || config->routes[i].is_watched;
    if (pooler->env.flight != NULL)
        flight_env_bound(pooler->env.flight, config->cache_memory, now());
    else if (wanted)
        TRY(make_flight(&pooler->env, config));
    struct flight_env *flight = pooler->env.flight;
    if (flight == NULL)
        return OK;
    TRY(declare_insides(flight, config, first));
    origins_prune(flight->origins, has_feed, (void *)(uintptr_t)config);
    return wanted && has_feeds(config) ? origins_begin(flight->origins) : OK;
}

static fault pooler_begin(struct pooler *pooler)
{
    struct config *config = pooler->config;
    uint32_t relays = MIN_OF(MAX_OF(config->relays, 1u), (uint32_t)RELAYS_MAX);
    TRY(prepare_flight(pooler, config, true));
    TRY(listeners_prepare(pooler->listeners, config));
    if (pooler->console.bound != NULL)
        TRY(pooler->console.bound(pooler->console.argument));
    TRY(router_new(&pooler->env, config, &pooler->env.router));
    /* Relays are counted before clients can come. */
    for (uint32_t i = 0; i < relays; i++) {
        TRY(relay_start(&pooler->env, i, config, &pooler->env.relays[i]));
        pooler->env.relay_count += 1;
    }
    load_set(pooler->load, config->hot_relay);
    return listeners_commit(pooler->listeners, config);
}

fault pooler_start(struct config *config, const struct pooler_console *console, struct pooler **ret)
{
    struct pooler *pooler = calloc(1, sizeof(*pooler));
    if (pooler == NULL)
        return FAULT_MEMORY;
    pooler->env.machine = machine_self();
    pooler->config = config_ref(config);
    pooler->console = *console;
    pooler->env.console = (struct console_target){console->serve, pooler};
    pooler->env.relay_ended = pooler_relay_ended;
    pooler->env.clients_max = UINT32_MAX;
    pooler->listeners = listeners_new(pooler);
    random_bytes(pooler->env.mock_secret, sizeof(pooler->env.mock_secret));
    pooler->env.failures = auth_failures_new();
    pooler->env.outlines = outlines_new(OUTLINES_BYTES);
    pooler->env.calls = stats_calls_new();
    pooler->env.learned = learned_new();
    pooler->env.preauths = preauths_new();
    pooler->load = load_new(pooler);
    bool whole = pooler->listeners != NULL && pooler->env.failures != NULL &&
                 pooler->env.outlines != NULL && pooler->env.calls != NULL &&
                 pooler->env.learned != NULL && pooler->env.preauths != NULL &&
                 pooler->load != NULL;
    *ret = pooler; /* the console of a client that is accepted first finds it */
    fault result = whole ? pooler_begin(pooler) : FAULT_MEMORY;
    if (result != OK) {
        pooler_stop(pooler, after(sec(1)));
        pooler_free(&pooler);
        *ret = NULL;
        return result;
    }
    return OK;
}

fault pooler_reload(struct pooler *pooler, struct config *config)
{
    TRY(prepare_flight(pooler, config, false));
    TRY(listeners_prepare(pooler->listeners, config));
    fault taken = router_reload(pooler->env.router, config);
    if (taken != OK) {
        listeners_abort(pooler->listeners);
        return taken;
    }
    config_ref(config);
    config_unref(&pooler->config);
    pooler->config = config;
    /* Relays come before the listeners, so that they know the listener of each new client. */
    for (uint32_t i = 0; i < pooler->env.relay_count; i++)
        relay_reload(pooler->env.relays[i], config);
    load_set(pooler->load, config->hot_relay);
    fault committed = listeners_commit(pooler->listeners, config);
    struct fault_detail detail = fault_detail_save();
    logbook_tell_obsolete(pooler);
    fault_detail_restore(&detail);
    return committed;
}

static bool pooler_await_relays(struct pooler *pooler, deadline by)
{
    pooler->waiting = co_self();
    while (pooler->relays_ended < pooler->env.relay_count)
        if (co_wait(by) == FAULT_TIMEOUT)
            break;
    pooler->waiting = NULL;
    return pooler->relays_ended == pooler->env.relay_count;
}

void pooler_hurry(struct pooler *pooler)
{
    for (uint32_t i = 0; i < pooler->env.relay_count; i++)
        relay_halt(pooler->env.relays[i]);
}

bool pooler_stop(struct pooler *pooler, deadline by)
{
    pooler->env.stopping = true;
    if (pooler->load != NULL)
        load_stop(pooler->load);
    listeners_close(pooler->listeners);
    for (uint32_t i = 0; i < pooler->env.relay_count; i++)
        relay_stop(pooler->env.relays[i]);
    if (!pooler_await_relays(pooler, by)) {
        pooler_hurry(pooler);
        if (!pooler_await_relays(pooler, after(sec(5))))
            return false;
    }
    /* Leases that were on their way come back to the router before the relays are gone. */
    pooler->relays_ended = 0;
    for (uint32_t i = 0; i < pooler->env.relay_count; i++)
        relay_release(pooler->env.relays[i]);
    (void)pooler_await_relays(pooler, NEVER);
    for (uint32_t i = 0; i < pooler->env.relay_count; i++)
        relay_join(&pooler->env.relays[i]);
    pooler->env.relay_count = 0;
    return true;
}

void pooler_free(struct pooler **pooler)
{
    struct pooler *gone = TAKE(*pooler);
    if (gone == NULL)
        return;
    invariant(gone->env.relay_count == 0);
    listeners_free(&gone->listeners);
    router_free(&gone->env.router);
    config_unref(&gone->config);
    auth_failures_free(&gone->env.failures);
    outlines_free(&gone->env.outlines);
    stats_calls_free(&gone->env.calls);
    learned_free(&gone->env.learned);
    preauths_free(&gone->env.preauths);
    flight_env_free(&gone->env.flight);
    load_free(&gone->load);
    free(gone);
}

/* --- visits to all machines ------------------------------------------------------------------- */

struct look {
    struct mail mail;
    struct pooler *pooler;
    bool (*look)(struct relay *relay, void *argument); /* true: visit this machine again */
    void *argument;
    struct machine *home; /* the caller's */
    struct co *asker;     /* the caller */
    uint32_t at;          /* number of relays visited */
    bool done;
};

static void look_home(struct mail *mail)
{
    struct look *look = CONTAINER_OF(mail, struct look, mail);
    look->done = true;
    co_wake(look->asker);
}

static void look_next(struct mail *mail)
{
    struct look *look = CONTAINER_OF(mail, struct look, mail);
    struct pooler *pooler = look->pooler;
    if (!look->look(look->at < pooler->env.relay_count ? pooler->env.relays[look->at] : NULL,
                    look->argument))
        look->at += 1;
    if (look->at < pooler->env.relay_count) {
        mail_send(pooler->env.relays[look->at]->pools.machine, mail);
    } else if (look->at == pooler->env.relay_count) {
        mail_send(pooler->env.machine, mail);
    } else {
        mail->deliver = look_home;
        mail_send(look->home, mail);
    }
}

void pooler_look_on(struct pooler *pooler, bool (*visit)(struct relay *relay, void *argument),
                    void *argument)
{
    struct look look = {.mail = {.deliver = look_next},
                        .pooler = pooler,
                        .look = visit,
                        .argument = argument,
                        .home = machine_self(),
                        .asker = co_self()};
    mail_send(pooler->env.relay_count > 0 ? pooler->env.relays[0]->pools.machine
                                          : pooler->env.machine,
              &look.mail);
    /* Waits also when cancelled: the visits use this stack.  Machines never block: it is short. */
    while (!look.done)
        if (co_wait(NEVER) == FAULT_CANCELLED && !look.done)
            co_yield ();
}

struct look_once {
    void (*visit)(struct relay *relay, void *argument);
    void *argument;
};

static bool look_only_once(struct relay *relay, void *argument)
{
    const struct look_once *once = argument;
    once->visit(relay, once->argument);
    return false;
}

void pooler_look(struct pooler *pooler, void (*visit)(struct relay *relay, void *argument),
                 void *argument)
{
    struct look_once once = {visit, argument};
    pooler_look_on(pooler, look_only_once, &once);
}
