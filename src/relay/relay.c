#include "relay/relay.h"

#include "auth/auth_query.h"
#include "machine/clock.h"
#include "machine/log.h"
#include "pool/closing.h"
#include "pool/counts.h"
#include "pool/router.h"
#include "relay/flight/flight_keep.h"
#include "relay/flight/flight_rule.h"
#include "relay/flight/flight_tier.h"
#include "relay/flight/flight_warm.h"
#include "session/counted.h"

#include <stdio.h>
#include <stdlib.h>

/* Between checks whether only console clients are left. */
#define DRAIN_LOOK     ms(20)
#define STATEMENTS_MAX 1000000u

/* Time after a halt for servers to be cleaned up, before that is cancelled too. */
#define HALT_MAX sec(2)

/* Steps per second, at most, in which a stopping relay disconnects its clients. */
#define DISMISS_STEPS 100

/* An accepted socket, mailed from one relay to another. */
struct feed {
    struct mail mail;
    struct relay *relay;
    int handle;
    uint32_t listen;
    struct preauth *preauth;
    struct address peer;
};

/* --- the machine ------------------------------------------------------------------------------ */

static bool local_pool_quiet(const struct local_pool *pool)
{
    return list_empty(&pool->busy) && list_empty(&pool->idle) && !pool->membership.retiring &&
           !pool->membership.enrolling;
}

static bool relay_done(const struct relay *relay)
{
    if (!relay->pools.stopping || !list_empty(&relay->clients) || relay->cancels > 0 ||
        relay->requests > 0 || relay->runs > 0)
        return false;
    LIST_EACH (&relay->pools.all, it)
        if (!local_pool_quiet(LIST_ENTRY(it, struct local_pool, node)))
            return false;
    return true;
}

void relay_check_end(struct relay *relay)
{
    if (relay->pools.stopping && relay->main != NULL)
        co_wake(relay->main);
}

static void relay_trim(struct relay *relay)
{
    LIST_EACH_SAFE (&relay->pools.all, it)
        local_pool_trim(LIST_ENTRY(it, struct local_pool, node));
}

/* Frees what the relay has.  Its local pools can be freed now: the router has seen the last mail
 * about them, which precedes `ended`. */
static void relay_fini(struct relay *relay)
{
    invariant(list_empty(&relay->pools.closings));
    costly_invariant(list_empty(&relay->clients) && relay->keys.count == 0);
    costly_invariant(relay->statements.count == 0 && relay->cancels == 0);
    counted_in(&relay->chunks);
    LIST_EACH_SAFE (&relay->pools.all, it) {
        struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        local_pool_free_now(&pool);
    }
    route_times_clear(&relay->pools.route_times);
    stats_departed_clear(&relay->pools.departed);
    stats_services_clear(&relay->pools.services);
    auth_cache_free(&relay->auth.cache);
    auth_plain_clear(&relay->auth.verifiers);
    map_fini(&relay->auth.verifiers);
    client_free_stashes(relay);
    flight_rule_forget(&relay->flight_texts);
    flight_keep_free(&relay->flight_keep);
    orders_fini(&relay->pools.orders);
    map_fini(&relay->pools.by_name);
    map_fini(&relay->keys);
    map_fini(&relay->statements);
    params_store_fini(&relay->pools.params);
    counted_in(NULL);
    chunk_store_fini(&relay->chunks);
    config_unref(&relay->config_next);
    config_unref(&relay->pools.config);
}

static void relay_main(void *argument)
{
    struct relay *relay = argument;
    relay->main = co_self();
    counted_in(&relay->chunks);
    flight_warm_start(relay);
    while (!relay_done(relay)) {
        if (relay->pools.stopping && list_empty(&relay->clients))
            relay_trim(relay);
        if (relay_done(relay))
            break;
        if (co_wait(NEVER) == FAULT_CANCELLED)
            break;
    }
    flight_tier_free(&relay->flight_tier);
    mail_send(relay->pools.env->machine, &relay->ended);
    while (!relay->released)
        if (co_wait(NEVER) == FAULT_CANCELLED)
            break;
    relay->main = NULL;
    timer_disarm(&relay->dismissal);
    LIST_EACH (&relay->pools.all, it)
        timer_disarm(&LIST_ENTRY(it, struct local_pool, node)->timer);
    mail_send(relay->pools.env->machine, &relay->ended); /* behind all mail to the router */
    machine_stop();
}

/* --- mail ------------------------------------------------------------------------------------- */

static void feed_arrive(struct mail *mail)
{
    struct feed *feed = CONTAINER_OF(mail, struct feed, mail);
    client_accept(feed->relay, feed->handle, &feed->peer, feed->listen, feed->preauth);
    free(feed);
}

fault relay_feed(struct relay *relay, int handle, const struct address *peer, uint32_t listen,
                 struct preauth *take_preauth)
{
    struct feed *feed = calloc(1, sizeof(*feed));
    invariant(relay->pools.env->relay_count > 1); /* the only relay has handles of its own */
    if (feed == NULL)
        return FAULT_MEMORY;
    feed->mail.deliver = feed_arrive;
    feed->relay = relay;
    feed->handle = handle;
    feed->listen = listen;
    feed->preauth = take_preauth;
    feed->peer = *peer;
    mail_send(relay->pools.machine, &feed->mail);
    return OK;
}

/* Returns a relay's part of memory_limit, in chunks. */
static uint32_t relay_chunks_max(const struct config *config)
{
    size_t max = config->memory_max / config->relays / config->chunk;
    return (uint32_t)MIN_OF(max, 1u << 20);
}

void relay_take_config(struct relay *relay)
{
    struct config *next = __atomic_exchange_n(&relay->config_next, NULL, __ATOMIC_ACQ_REL);
    if (next == NULL) /* taken already */
        return;
    config_unref(&relay->pools.config);
    relay->pools.config = next;
    auth_plain_clear(&relay->auth.verifiers);
    chunk_store_bound(&relay->chunks, relay_chunks_max(next));
    LIST_EACH_SAFE (&relay->pools.all, it)
        local_pool_reload(LIST_ENTRY(it, struct local_pool, node), relay->pools.config);
    flight_warm_start(relay);
}

static void relay_config_came(struct mail *mail)
{
    relay_take_config(CONTAINER_OF(mail, struct relay, config_mail));
}

void relay_reload(struct relay *relay, struct config *config)
{
    /* The relay skips a version that it has not taken yet. */
    struct config *skipped =
        __atomic_exchange_n(&relay->config_next, config_ref(config), __ATOMIC_ACQ_REL);
    config_unref(&skipped);
    mail_send(relay->pools.machine, &relay->config_mail);
}

/* Returns how many clients to disconnect per second: this relay's part of `shutdown_rate`, but at
 * least so many that all are told within half of shutdown_timeout. */
static uint64_t relay_dismiss_rate(const struct relay *relay)
{
    const struct config *config = relay->pools.config;
    uint64_t half = (uint64_t)MAX_OF(config->shutdown_timeout.us / 2, INT64_C(1));
    uint64_t min = relay->clients.count * UINT64_C(1000000) / half + 1;
    return MAX_OF((uint64_t)(config->shutdown_rate / config->relays), min);
}

/* Disconnects the next clients of a stopping relay: at a limited rate, so that they do not all
 * reconnect to another pooler at the same time. */
static void relay_dismiss(struct relay *relay)
{
    uint64_t rate = relay->dismiss_rate;
    uint64_t left = MAX_OF(rate / DISMISS_STEPS, UINT64_C(1));
    bool paced = relay->pools.config->shutdown_rate > 0;
    bool watched = env_clients(relay->pools.env) > 0; /* console clients go last */
    duration step = DRAIN_LOOK;
    bool again = false;
    LIST_EACH_SAFE (&relay->clients, it) {
        struct client *client = LIST_ENTRY(it, struct client, node);
        again = again || (watched && client->console);
        if (client->leaving || (watched && client->console))
            continue;
        if (paced && left-- == 0) {
            step.us = (int64_t)(1000000 / MIN_OF(rate, (uint64_t)DISMISS_STEPS));
            again = true;
            break;
        }
        client_leave(client);
    }
    if (again)
        timer_set(&relay->dismissal, after(step));
    relay_trim(relay);
    relay_check_end(relay);
}

/* Cancels logins, cleaning and checks of servers, and cancel requests: what they wait for may never
 * come. */
static void relay_halt_servers(struct relay *relay)
{
    co_group_cancel(&relay->cancelling);
    co_group_cancel(&relay->runners);
    LIST_EACH (&relay->pools.all, it) {
        LIST_EACH (&LIST_ENTRY(it, struct local_pool, node)->busy, at) {
            struct server *server = LIST_ENTRY(at, struct server, node);
            if (server->keeper != NULL)
                co_cancel(server->keeper);
        }
    }
}

/* Disconnects all clients now.  Repeated until the relay has ended, because some clients are about
 * to begin something. */
static void relay_halt_step(struct relay *relay)
{
    LIST_EACH_SAFE (&relay->clients, it)
        client_end(LIST_ENTRY(it, struct client, node));
    if (relay->halts_all.us <= now().us)
        relay_halt_servers(relay);
    if (!relay_done(relay))
        timer_set(&relay->dismissal, after(DRAIN_LOOK));
}

static void relay_dismissal_due(struct waker *waker)
{
    struct relay *relay = CONTAINER_OF(waker, struct relay, dismisser);
    if (relay->halted)
        relay_halt_step(relay);
    else
        relay_dismiss(relay);
}

static void relay_do_stop(struct mail *mail)
{
    struct relay *relay = CONTAINER_OF(mail, struct relay, stop);
    relay->pools.stopping = true;
    flight_warm_stop(relay);
    closing_end_all(&relay->pools);
    flight_keep_end(relay->flight_keep);
    relay->dismiss_rate = relay_dismiss_rate(relay);
    relay_dismiss(relay);
}

static void relay_do_release(struct mail *mail)
{
    struct relay *relay = CONTAINER_OF(mail, struct relay, release);
    relay->released = true;
    co_wake(relay->main);
}

static void relay_do_halt(struct mail *mail)
{
    struct relay *relay = CONTAINER_OF(mail, struct relay, halt);
    if (!relay->halted)
        relay->halts_all = after(HALT_MAX);
    relay->halted = true;
    flight_warm_stop(relay);
    relay_halt_step(relay);
}

void relay_stop(struct relay *relay)
{
    mail_send(relay->pools.machine, &relay->stop);
}

void relay_release(struct relay *relay)
{
    mail_send(relay->pools.machine, &relay->release);
}

void relay_halt(struct relay *relay)
{
    mail_send(relay->pools.machine, &relay->halt);
}

/* --- life ------------------------------------------------------------------------------------- */

static fault relay_init(struct relay *relay)
{
    const struct config *config = relay->pools.config;
    orders_init(&relay->pools.orders);
    list_init(&relay->clients);
    list_init(&relay->listeners);
    list_init(&relay->pools.all);
    list_init(&relay->pools.closings);
    co_group_init(&relay->cancelling);
    co_group_init(&relay->runners);
    list_init(&relay->judging);
    relay->pools.by_name = MAP_INIT(UINT32_MAX);
    relay->keys = MAP_INIT(UINT32_MAX);
    relay->statements = MAP_INIT(STATEMENTS_MAX);
    relay->pools.route_times = MAP_INIT(ROUTE_TIMES_MAX);
    relay->auth.verifiers = MAP_INIT(UINT32_MAX);
    relay->pools.departed = MAP_INIT(STATS_DEPARTED_MAX);
    relay->pools.services = MAP_INIT(STATS_SERVICES_MAX);
    relay->dismisser.wake = relay_dismissal_due;
    relay->dismissal = TIMER_INIT(&relay->dismisser);
    relay->stop.deliver = relay_do_stop;
    relay->halt.deliver = relay_do_halt;
    relay->release.deliver = relay_do_release;
    relay->config_mail.deliver = relay_config_came;
    relay->ended.deliver = relay->pools.env->relay_ended;
    chunk_store_init(&relay->chunks, config->chunk, relay_chunks_max(config));
    counted_in(&relay->chunks);
    fault result = params_store_init(&relay->pools.params);
    counted_in(NULL);
    return result == OK ? flight_keep_new(&relay->flight_keep) : result;
}

fault relay_start(struct pooler_env *env, uint32_t index, struct config *config, struct relay **ret)
{
    char name[16];
    struct relay *relay = calloc(1, sizeof(*relay));
    if (relay == NULL)
        return FAULT_MEMORY;
    hint_begin(relay, sizeof(*relay));
    relay->pools.env = env;
    relay->index = index;
    relay->pools.does = &turn_operations;
    relay->auth.pools = &relay->pools;
    relay->pools.config = config_ref(config);
    fault result = relay_init(relay);
    snprintf(name, sizeof(name), "relay%u", index);
    if (result == OK && config->relays <= 1) /* exchanges no connection with another */
        result = machine_new_apart(name, relay_main, relay, &relay->pools.machine);
    else if (result == OK)
        result = machine_new(name, relay_main, relay, &relay->pools.machine);
    if (result != OK) {
        relay_fini(relay);
        free(relay);
        return result;
    }
    *ret = relay;
    return OK;
}

void relay_join(struct relay **relay)
{
    struct relay *gone = TAKE(*relay);
    if (gone == NULL)
        return;
    machine_join(&gone->pools.machine);
    relay_fini(gone);
    free(gone);
}
