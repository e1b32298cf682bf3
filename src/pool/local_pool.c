#include "pool/local_pool.h"

#include "machine/clock.h"
#include "pool/counts.h"
#include "pool/local_pool_parts.h"
#include "pool/router_parts.h"
#include "session/accepted.h"
#include "session/counted.h"

#include <stdlib.h>

#define REPORTED_MAX 65536u

/* --- life ------------------------------------------------------------------------------------- */

static bool local_pool_is(const struct map_link *link, const void *wanted)
{
    const struct local_pool *pool = MAP_ENTRY(link, struct local_pool, link);
    const struct local_pool_key *key = wanted;
    return pool->route == key->route && span_is(key->database, pool->database) &&
           span_is(key->user, pool->user);
}

static uint64_t local_pool_hash(const struct local_pool_key *key)
{
    return hash_data(key->user.at, key->user.size, hash_span(key->database));
}

static struct local_pool *local_pool_find(struct local_pools *pools,
                                          const struct local_pool_key *key)
{
    struct map_link *link = map_find(&pools->by_name, local_pool_hash(key), local_pool_is, key);
    return link == NULL ? NULL : MAP_ENTRY(link, struct local_pool, link);
}

/* Takes the local pool out of the map, so that new clients do not find it. */
static void local_pool_unmap(struct local_pool *pool)
{
    if (!pool->mapped)
        return;
    pool->mapped = false;
    map_remove(&pool->pools->by_name, &pool->link);
}

/* Bytes to count for a local pool: clients make one by naming a database and a user, before they
 * have authenticated. */
static uint64_t local_pool_bytes(size_t database, size_t user)
{
    return sizeof(struct local_pool) + database + user;
}

static struct local_pool *local_pool_alloc(const struct local_pool_key *key)
{
    uint64_t bytes = local_pool_bytes(key->database.size, key->user.size);
    if (!counted_add(bytes))
        return NULL;
    struct local_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL) {
        counted_remove(bytes);
        return NULL;
    }
    pool->hints.ordinary = ORDINARY_ALL;
    return pool;
}

static void local_pool_drop(struct local_pool *pool, uint64_t bytes)
{
    free(pool->database);
    free(pool->user);
    free(pool);
    counted_remove(bytes);
}

/* Sets the route, and what it says about state that clients leave in sessions. */
static void local_pool_set_route(struct local_pool *pool, const struct route_config *route)
{
    struct pin_rules rules = {.counts = &pool->pools->pins};
    for (unsigned kind = 0; kind < QUERY_KINDS; kind++) {
        uint16_t bit = QUERY_KIND(kind);
        switch (route->session.policy[kind]) {
        case PIN_ALLOW:
            rules.allowed |= bit;
            break;
        case PIN_REJECT:
            rules.rejected |= bit;
            break;
        case PIN_PIN:
            rules.pinning |= bit;
            break;
        default: /* cleaned at the end of the transaction */
            break;
        }
    }
    pool->route = route;
    pool->pin_rules = rules;
    pool->service_stats = stats_service_of(&pool->pools->services, route->service->name);
}

uint32_t local_pool_pin_max(const struct route_config *route)
{
    uint64_t max = (uint64_t)route->pool_size * route->session.pin_share / 100;
    return max == 0 ? 1 : (uint32_t)max;
}

static void local_pool_set_looks(struct local_pool *pool)
{
    pool->looks =
        (pool->log.noted > 0 ? POOL_LOOKS_LOG : 0) |
        (pool->route->is_watched ? POOL_LOOKS_WRITES : 0) |
        (pool->config->statements_max > 0 || pool->route->audit != AUDIT_OFF ? POOL_LOOKS_CALLS
                                                                             : 0) |
        (pool->route->firewall.mode != FIREWALL_OFF ? POOL_LOOKS_FIREWALL : 0);
}

static struct local_pool *local_pool_new(struct local_pools *pools, struct config *config,
                                         const struct local_pool_key *key)
{
    const struct route_config *route = key->route;
    struct local_pool *pool = local_pool_alloc(key);
    if (pool == NULL)
        return NULL;
    hint_begin(pool, sizeof(*pool));
    pool->database = strndup((const char *)key->database.at, key->database.size);
    pool->user = strndup((const char *)key->user.at, key->user.size);
    if (pool->database == NULL || pool->user == NULL ||
        map_insert(&pools->by_name, &pool->link, local_pool_hash(key)) != OK) {
        local_pool_drop(pool, local_pool_bytes(key->database.size, key->user.size));
        return NULL;
    }
    pool->mapped = true;
    pool->pools = pools;
    pool->config = config_ref(config);
    local_pool_set_route(pool, route);
    pool->born_config = config_ref(config);
    pool->born_route = route;
    pool->shown = (struct shown){config_ref(config), config_ref(config), route};
    pool->drain_by = NEVER;
    pool->window.older_at = pool->window.newer_at = now();
    pool->accepted = MAP_INIT(ACCEPTED_MAX);
    pool->reported.parameters = BUFFER_INIT(REPORTED_MAX);
    pool->reported.messages = BUFFER_INIT(2 * REPORTED_MAX);
    pool->timer_waker.wake = local_pool_timer_fired;
    pool->timer = TIMER_INIT(&pool->timer_waker);
    list_init(&pool->idle);
    list_init(&pool->busy);
    list_init(&pool->claims);
    list_init(&pool->membership.arriving);
    pool->membership.want.deliver = router_want;
    pool->membership.recall.deliver = local_pool_recalled;
    list_push(&pools->all, &pool->node);
    local_pool_set_times(pool);
    if (orders_hold(&pools->orders, pool->database))
        local_pool_hold(pool, true);
    if (local_pool_set_secret(pool) == OK && local_pool_log_enter(pool) == OK) {
        local_pool_set_looks(pool);
        return pool;
    }
    local_pool_free_now(&pool);
    return NULL;
}

fault local_pool_of(struct local_pools *pools, const struct route_config *route,
                    struct span database, struct span user, struct local_pool **ret)
{
    struct local_pool_key key = {route, database, user};
    struct local_pool *pool = local_pool_find(pools, &key);
    if (pool == NULL)
        pool = local_pool_new(pools, pools->config, &key);
    if (pool == NULL)
        return FAULT_MEMORY;
    *ret = pool;
    return OK;
}

fault local_pool_of_version(struct local_pools *pools, struct config *config,
                            const struct local_pool_key *key, struct local_pool **ret)
{
    LIST_EACH (&pools->all, it) {
        *ret = LIST_ENTRY(it, struct local_pool, node);
        if (local_pool_is(&(*ret)->link, key))
            return OK;
    }
    struct local_pool *pool = local_pool_new(pools, config, key);
    if (pool == NULL)
        return FAULT_MEMORY;
    if (pools->config->version > config->version)
        local_pool_reload(pool, pools->config);
    *ret = pool;
    pool->outdated = false; /* logged when its version became obsolete */
    return OK;
}

void local_pool_join(struct local_pool *pool)
{
    pool->clients += 1;
    local_pool_tell(pool);
    if (UNLIKELY(pool->obsolete)) /* its drain may be over */
        local_pool_arm(pool);
}

void local_pool_leave(struct local_pool *pool)
{
    invariant(pool->clients > 0);
    pool->clients -= 1;
    local_pool_tell(pool);
    if (pool->clients == 0)
        local_pool_trim(pool);
}

bool local_pool_unused(const struct local_pool *pool)
{
    return pool->clients == 0 && list_empty(&pool->idle) && list_empty(&pool->busy) &&
           list_empty(&pool->claims);
}

void local_pool_maybe_retire(struct local_pool *pool)
{
    if (!local_pool_unused(pool) || pool->membership.retiring || pool->membership.enrolling ||
        pool->pools->stopping)
        return;
    pool->membership.retiring = true;
    pool->membership.asked = false;
    pool->membership.retire.deliver = router_retire;
    mail_send(pool->pools->env->machine, &pool->membership.retire);
}

/* --- versions --------------------------------------------------------------------------------- */

/* Sets when the clients of an obsolete local pool are disconnected: also clients that are still
 * logging in or on their way from another relay, and by the latest version's drain_timeout. */
static void local_pool_set_drain(struct local_pool *pool, const struct config *config)
{
    pool->drain_limit = config->drain_timeout;
    pool->drain_by = later(pool->obsolete_since, config->drain_timeout);
    local_pool_arm(pool);
}

void local_pool_reload(struct local_pool *pool, struct config *config)
{
    const struct route_config *route =
        config_route_like(config, span_text(pool->database), span_text(pool->user), pool->route);
    if (pool->obsolete) {
        local_pool_set_drain(pool, config);
        local_pool_show(pool, config);
        return;
    }
    if (route == NULL || !route_same_identity(route, pool->route)) {
        pool->obsolete = true;
        local_pool_unmap(pool);
        pool->obsolete_since = now();
        local_pool_set_drain(pool, config);
        pool->outdated = true;
        local_pool_log_outdate(pool);
    } else {
        config_ref(config);
        config_unref(&pool->config);
        pool->config = config;
        local_pool_set_route(pool, route);
        local_pool_log_renew(pool);
        local_pool_set_looks(pool);
        local_pool_set_times(pool);
        pool->look_due = now();
    }
    local_pool_show(pool, config);
    local_pool_trim(pool);
    local_pool_arm(pool);
}

/* --- freeing ---------------------------------------------------------------------------------- */

void local_pool_free_now(struct local_pool **pool)
{
    struct local_pool *gone = TAKE(*pool);
    invariant(local_pool_unused(gone) && list_empty(&gone->membership.arriving));
    timer_disarm(&gone->timer);
    local_pool_unmap(gone);
    list_remove(&gone->pools->all, &gone->node);
    if (gone->log.times != NULL)
        local_pool_log_leave(gone);
    stats_depart(&gone->pools->departed, gone->database, &gone->stats);
    accepted_clear(&gone->accepted);
    free(gone->outage);
    local_pool_reads_forget(gone);
    buffer_fini(&gone->reported.parameters);
    buffer_fini(&gone->reported.messages);
    params_unref(&gone->reported.defaults);
    for (int i = 0; i < COUNTS; i++) {
        counts_unref(&gone->counts[i]);
        counts_unref(&gone->membership.counts[i]);
    }
    config_unref(&gone->config);
    config_unref(&gone->born_config);
    local_pool_show_none(gone);
    explicit_bzero(&gone->credentials, sizeof(gone->credentials));
    local_pool_drop(gone, local_pool_bytes(strlen(gone->database), strlen(gone->user)));
}
