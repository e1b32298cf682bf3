#include "pool/router_parts.h"

#include "machine/clock.h"
#include "machine/log.h"
#include "pool/failover_parts.h"
#include "pool/live_service.h"
#include "pool/pool_parts.h"
#include "session/accepted.h"

#include <stdlib.h>

/* The pause after a login that was rejected while other servers of the pool live.  Doubles from
 * PAUSE_MIN up to PAUSE_MAX. */
#define PAUSE_MIN ms(100)
#define PAUSE_MAX sec(5)

#define VERSIONS_MAX 1000000u
#define GROUPS_MAX   2000000u

/* --- versions of a pool ----------------------------------------------------------------------- */

static bool versions_is(const struct map_link *link, const void *key)
{
    const struct pool_versions *versions = MAP_ENTRY(link, struct pool_versions, link);
    const struct local_pool *local = key;
    return versions->replication == local->born_route->is_replication &&
           versions->lookup == local->born_route->is_lookup &&
           strcmp(versions->database, local->database) == 0 &&
           strcmp(versions->user, local->user) == 0 &&
           versions->target == local->born_route->target;
}

static uint64_t versions_hash(const struct local_pool *local)
{
    return hash_data(local->user, strlen(local->user), hash_span(span_text(local->database)));
}

static struct pool_versions *versions_find(const struct router *router,
                                           const struct local_pool *local)
{
    struct map_link *link = map_find(&router->versions, versions_hash(local), versions_is, local);
    return link == NULL ? NULL : MAP_ENTRY(link, struct pool_versions, link);
}

static void versions_free(struct pool_versions *versions)
{
    counts_unref(&versions->counts);
    free(versions->database);
    free(versions->user);
    free(versions);
}

static struct pool_versions *versions_new(struct router *router, const struct local_pool *local)
{
    struct pool_versions *versions = calloc(1, sizeof(*versions));
    if (versions == NULL)
        return NULL;
    list_init(&versions->pools);
    versions->replication = local->born_route->is_replication;
    versions->lookup = local->born_route->is_lookup;
    versions->target = local->born_route->target;
    versions->database = strdup(local->database);
    versions->user = strdup(local->user);
    versions->counts = counts_new();
    if (versions->database == NULL || versions->user == NULL || versions->counts == NULL ||
        map_insert(&router->versions, &versions->link, versions_hash(local)) != OK) {
        versions_free(versions);
        return NULL;
    }
    return versions;
}

static void versions_leave(struct pool *pool)
{
    struct pool_versions *versions = TAKE(pool->versions);
    if (versions == NULL)
        return;
    list_remove(&versions->pools, &pool->versions_node);
    if (!list_empty(&versions->pools))
        return;
    map_remove(&pool->router->versions, &versions->link);
    versions_free(versions);
}

/* --- pools ------------------------------------------------------------------------------------ */

static void pool_timer_fired(struct waker *waker)
{
    pool_balance_in_turn(CONTAINER_OF(waker, struct pool, timer_waker));
}

static struct pool *pool_find(const struct pool_versions *versions, const struct local_pool *local)
{
    LIST_EACH (&versions->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, versions_node);
        if (route_same_identity(pool->route, local->born_route))
            return pool;
    }
    return NULL;
}

/* Sets the latest version's route of the same identity; if there is none, the given one, and the
 * pool is obsolete. */
static void pool_set_route(struct pool *pool, struct config *config,
                           const struct route_config *route)
{
    const struct config *latest = pool->router->config;
    const struct route_config *now_is = config_route_like(
        latest, span_text(pool->versions->database), span_text(pool->versions->user), route);
    bool same = now_is != NULL && route_same_identity(now_is, route);
    struct config *held = config_ref(same ? pool->router->config : config);
    config_unref(&pool->config);
    pool->config = held;
    pool->route = same ? now_is : route;
    pool->obsolete = !same;
}

static void pool_free(struct pool *pool)
{
    struct router *router = pool->router;
    invariant(list_empty(&pool->leases) && list_empty(&pool->members));
    timer_disarm(&pool->timer);
    if (node_linked(&pool->node))
        list_remove(&router->pools, &pool->node);
    pool_leave_caps(pool);
    versions_leave(pool);
    slots_free(&pool->slots);
    live_service_leave(router->live_services, &pool->live);
    config_unref(&pool->config);
    free(pool->reported);
    buffer_fini(&pool->accepted);
    free(pool);
}

/* Whether the pool has neither members nor slots. */
static bool pool_over(const struct pool *pool)
{
    return list_empty(&pool->members) && slots_count(pool->slots) == 0;
}

static uint32_t pool_max(const struct pool *pool)
{
    return pool->route->pool_size + pool->route->pool_reserve;
}

static void pool_set_lag_max(struct pool *pool)
{
    duration own = pool->route->lag_max;
    slots_set_lag_max(pool->slots, own.us != 0 ? own : live_service_settings(pool->live)->lag_max);
}

static struct pool *pool_new(struct pool_versions *versions, struct router *router,
                             const struct local_pool *local)
{
    struct pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return NULL;
    pool->router = router;
    pool->versions = versions;
    list_push(&versions->pools, &pool->versions_node);
    pool->timer_waker.wake = pool_timer_fired;
    pool->timer = TIMER_INIT(&pool->timer_waker);
    list_init(&pool->members);
    list_init(&pool->leases);
    pool->accepted = BUFFER_INIT(ACCEPTED_SHARED_MAX);
    pool_set_route(pool, local->born_config, local->born_route);
    pool->live = live_service_join(router->live_services, pool->route->service);
    if (pool->live == NULL || pool_join_caps(pool) != OK ||
        slots_new(live_service_service(pool->live), pool_max(pool), &pool->slots) != OK) {
        pool_free(pool);
        return NULL;
    }
    slots_set_target(pool->slots, pool->route->target);
    pool_set_lag_max(pool);
    list_push(&router->pools, &pool->node);
    if (slots_spread(pool->slots))
        rebalance_soon(live_service_rebalance(pool->live));
    return pool;
}

static struct pool *pool_of(struct router *router, const struct local_pool *local)
{
    struct pool_versions *versions = versions_find(router, local);
    struct pool *pool = versions == NULL ? NULL : pool_find(versions, local);
    if (pool != NULL)
        return pool;
    if (versions == NULL)
        versions = versions_new(router, local);
    return versions == NULL ? NULL : pool_new(versions, router, local);
}

static struct member *member_new(struct router *router, struct local_pool *local)
{
    struct member *member = calloc(1, sizeof(*member));
    struct pool *pool = member == NULL ? NULL : pool_of(router, local);
    if (pool == NULL) {
        free(member);
        return NULL;
    }
    member->pool = pool;
    member->local = local;
    /* Exact, unlike a hint: servers that came to this local pool came before this mail was sent. */
    member->sent = __atomic_load_n(&local->hints.arrived, __ATOMIC_RELAXED);
    list_push(&pool->members, &member->node);
    local->membership.member = member;
    return member;
}

/* --- parameters that servers report, and accept ----------------------------------------------- */

static void member_tell(struct member *member, struct span bytes,
                        void (*deliver)(struct mail *mail))
{
    struct reported *reported = malloc(sizeof(*reported) + bytes.size);
    if (reported == NULL)
        return; /* the relay learns them from a server of its own */
    *reported = (struct reported){
        .mail = {.deliver = deliver}, .local = member->local, .size = (uint32_t)bytes.size};
    memcpy(reported->bytes, bytes.at, bytes.size);
    mail_send(member->local->pools->machine, &reported->mail);
}

static void member_tell_reported(struct member *member)
{
    const struct pool *pool = member->pool;
    member_tell(member, span_of(pool->reported, pool->reported_size), local_pool_reported);
}

void router_accepted(struct mail *mail)
{
    struct reported *reported = CONTAINER_OF(mail, struct reported, mail);
    struct member *from = reported->local->membership.member;
    struct span flat = span_of(reported->bytes, reported->size);
    if (from != NULL && accepted_share(&from->pool->accepted, flat)) {
        LIST_EACH (&from->pool->members, it) {
            struct member *member = LIST_ENTRY(it, struct member, node);
            if (member != from)
                member_tell(member, flat, local_pool_accepted_came);
        }
    }
    free(reported);
}

static void pool_greet(struct pool *pool, struct lease *lease)
{
    if (lease->reported == NULL)
        return;
    free(pool->reported);
    pool->reported = TAKE(lease->reported);
    pool->reported_size = lease->reported_size;
    LIST_EACH (&pool->members, it) {
        struct member *member = LIST_ENTRY(it, struct member, node);
        if (member->local != lease->local)
            member_tell_reported(member);
    }
}

/* --- deliveries ------------------------------------------------------------------------------- */

static struct router *local_pool_router(const struct local_pool *local)
{
    return local->pools->env->router;
}

void router_enroll(struct mail *mail)
{
    struct local_pool *local = CONTAINER_OF(mail, struct local_pool, membership.enroll);
    struct member *member = member_new(local_pool_router(local), local);
    if (member == NULL) {
        log_event(LOG_ERR, "router.memory", log_text("database", local->database),
                  log_text("user", local->user));
    } else {
        struct pool *pool = member->pool;
        local->membership.counts[COUNTS_POOL] = counts_ref(pool->versions->counts);
        local->membership.counts[COUNTS_DATABASE] =
            counts_ref(pool->groups[GROUP_DATABASE]->counts);
        local->membership.counts[COUNTS_USER] = counts_ref(pool->groups[GROUP_USER]->counts);
        if (pool->reported != NULL)
            member_tell_reported(member);
        if (pool->accepted.size > 0)
            member_tell(member, buffer_span(&pool->accepted), local_pool_accepted_came);
    }
    local->membership.enroll.deliver = local_pool_enrolled;
    mail_send(local->pools->machine, &local->membership.enroll);
}

/* Takes back recalls that the relay has no server for. */
static void member_take_unmet(struct member *member)
{
    uint64_t unmet = __atomic_exchange_n(&member->local->hints.unmet, 0, __ATOMIC_ACQ_REL);
    invariant(unmet <= member->recalls);
    member->recalls -= (uint32_t)unmet;
}

void router_want(struct mail *mail)
{
    struct local_pool *local = CONTAINER_OF(mail, struct local_pool, membership.want);
    struct member *member = local->membership.member;
    if (member == NULL || member->pool->router->env->stopping)
        return;
    member_take_unmet(member);
    if (UNLIKELY(__atomic_exchange_n(&local->hints.doubtful, 0, __ATOMIC_RELAXED) != 0))
        failover_doubt(live_service_failover(member->pool->live));
    pool_balance_in_turn(member->pool);
    if (hint_read(&local->hints.idle) > 0)
        router_balance(member->pool->router, member->pool);
}

void router_retire(struct mail *mail)
{
    struct local_pool *local = CONTAINER_OF(mail, struct local_pool, membership.retire);
    struct member *member = local->membership.member;
    /* A member with a recall or a fence under way stays: its answer would find another member, or
     * none. */
    local->membership.retired =
        member == NULL || (member->leases == 0 && member->recalls == 0 && member->fence == 0);
    if (member != NULL && local->membership.retired) {
        struct pool *pool = member->pool;
        failover_leave(live_service_failover(pool->live), member);
        list_remove(&pool->members, &member->node);
        free(member);
        local->membership.member = NULL;
        if (pool_over(pool))
            pool_free(pool);
    }
    local->membership.retire.deliver = local_pool_retired;
    mail_send(local->pools->machine, &local->membership.retire);
}

void router_lease_report(struct mail *mail)
{
    struct lease *lease = CONTAINER_OF(mail, struct lease, report);
    struct pool *pool = lease->pool;
    struct member *member = lease->local->membership.member;
    slot_found(lease->slot, lease->role, lease->read_only);
    slot_connected(lease->slot, lease->role, now());
    lease->connected = true;
    lease->since = now();
    member->coming -= 1;
    pool->pause = ms(0);
    pool->paused = now();
    pool->crowded = false;
    live_service_login_succeeded(pool->live);
    pool_greet(pool, lease);
    router_balance(pool->router, pool);
}

void lease_end(struct lease *lease)
{
    struct pool *pool = lease->pool;
    struct router *router = pool->router;
    list_remove(&pool->leases, &lease->node);
    if (lease->how == LEASE_FAILED && !lease->ending)
        slot_failed(&lease->slot, lease->failure, now());
    else
        slot_closed(&lease->slot, lease->end, now());
    pool_let_go(pool);
    if (lease->moved && !pool->obsolete) {
        pool->moving += 1;
        slots_moved(pool->slots, pool->moving);
    }
    free(lease->reported);
    free(lease->detail);
    free(lease);
    if (router->env->stopping)
        return;
    router_balance(router, pool);
    if (pool_over(pool))
        pool_free(pool);
}

/* Delays the next login: the backend rejected one for good while other servers of the pool live. */
static void pool_pause(struct pool *pool)
{
    int64_t longer = MAX_OF(2 * pool->pause.us, PAUSE_MIN.us);
    pool->pause.us = MIN_OF(longer, PAUSE_MAX.us);
    pool->paused = after(pool->pause);
}

static void router_login_failed(struct lease *lease)
{
    struct pool *pool = lease->pool;
    pool->crowded = lease->failure == SLOT_CROWDED;
    if (lease->failure == SLOT_WRONG_ROLE)
        slot_found(lease->slot, lease->role, lease->read_only);
    live_service_login_failed(pool->live, lease);
}

void router_lease_back(struct mail *mail)
{
    struct lease *lease = CONTAINER_OF(mail, struct lease, to_router);
    struct pool *pool = lease->pool;
    struct member *member = lease->local->membership.member;
    invariant(member->leases > 0);
    member->leases -= 1;
    member_take_unmet(member);
    if (lease->how == LEASE_GIVEN) {
        lease_pass_on(lease, member);
        return;
    }
    if (!lease->connected)
        member->coming -= 1;
    if (lease->how == LEASE_FAILED)
        router_login_failed(lease);
    if (lease->how == LEASE_FAILED && lease->failure == SLOT_REJECTED && pool_leases(pool) > 0)
        pool_pause(pool);
    if (!lease->ending) {
        lease_end(lease);
        return;
    }
    pool->ending += 1;
    if (lease->how != LEASE_FAILED)
        return;
    /* The slot is counted until the server has ended; its permit is free for the next login. */
    slot_failing(lease->slot, lease->failure, now());
    router_balance(pool->router, pool);
}

void router_lease_ended(struct mail *mail)
{
    struct lease *lease = CONTAINER_OF(mail, struct lease, ended);
    invariant(lease->ending || lease->how == LEASE_CLOSED);
    invariant(lease->server == NULL && lease->pool->ending > 0);
    lease->pool->ending -= 1;
    lease_end(lease);
}

/* --- versions of the configuration ------------------------------------------------------------ */

/* Has servers of obsolete and drained backends, or all servers, closed as soon as they are free. */
static void pool_doom(struct pool *pool, bool all)
{
    bool any = false;
    LIST_EACH (&pool->leases, it) {
        struct lease *lease = LIST_ENTRY(it, struct lease, node);
        if (!all && !slot_unwanted(lease->slot))
            continue;
        __atomic_store_n(&lease->to_close, true, __ATOMIC_RELAXED);
        any = true;
    }
    if (!any)
        return;
    LIST_EACH (&pool->members, it) {
        struct member *member = LIST_ENTRY(it, struct member, node);
        mail_send(member->local->pools->machine, &member->local->membership.recall);
    }
}

void pool_doom_all(struct pool *pool)
{
    pool_doom(pool, true);
}

static bool pool_is_of(const struct pool *pool, const char *database)
{
    return database == NULL || strcmp(pool->versions->database, database) == 0;
}

void router_doom(struct router *router, const char *database)
{
    LIST_EACH (&router->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        if (pool_is_of(pool, database))
            pool_doom(pool, true);
    }
}

uint64_t router_servers(const struct router *router, const char *database, bool to_close)
{
    uint64_t count = 0;
    LIST_EACH (&router->pools, it) {
        const struct pool *pool = LIST_ENTRY(it, struct pool, node);
        if (!pool_is_of(pool, database))
            continue;
        LIST_EACH (&pool->leases, at)
            count += !to_close || pool->obsolete || LIST_ENTRY(at, struct lease, node)->to_close;
    }
    return count;
}

void router_resolved(struct router *router, struct live_service *live)
{
    LIST_EACH (&router->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        if (pool->live == live)
            pool_doom(pool, false);
    }
    live_service_follow_backends(live);
    rebalance_soon(live_service_rebalance(live));
    cap_balance(live_service_cap(live));
}

void router_judged(struct router *router, struct live_service *live, bool changed)
{
    if (router->env->stopping)
        return;
    LIST_EACH (&router->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        if (pool->live == live && (changed || pool->route->target != TARGET_DEFAULT))
            pool_doom(pool, false);
    }
    if (changed)
        rebalance_soon(live_service_rebalance(live));
    cap_balance(live_service_cap(live));
}

fault router_reload(struct router *router, struct config *config)
{
    TRY(live_services_reload(router->live_services, config));
    config_ref(config);
    config_unref(&router->config);
    router->config = config;
    router_set_caps(router);
    LIST_EACH (&router->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        pool_set_route(pool, pool->config, pool->route);
        pool->pause = ms(0); /* the credentials may have been corrected */
        pool->paused = now();
        slots_set_max(pool->slots, pool_max(pool));
        pool_set_lag_max(pool);
        pool_balance(pool);
    }
    return OK;
}

/* --- life ------------------------------------------------------------------------------------- */

fault router_new(struct pooler_env *env, struct config *config, struct router **ret)
{
    struct router *router = calloc(1, sizeof(*router));
    if (router == NULL)
        return FAULT_MEMORY;
    router->env = env;
    router->versions = MAP_INIT(VERSIONS_MAX);
    list_init(&router->pools);
    router->groups = MAP_INIT(GROUPS_MAX);
    cap_init(&router->all, CAP_ALL);
    router->all.max = config->servers_max;
    list_init(&router->reclaims);
    router->reclaim_waker.wake = router_reclaim;
    router->reclaim = TIMER_INIT(&router->reclaim_waker);
    fault result = live_services_new(router, config, &router->live_services);
    if (result != OK) {
        free(router);
        return result;
    }
    router->config = config_ref(config);
    *ret = router;
    return OK;
}

void router_free(struct router **router)
{
    struct router *gone = TAKE(*router);
    if (gone == NULL)
        return;
    LIST_EACH_SAFE (&gone->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        for (struct node *node; (node = list_pop(&pool->members)) != NULL;)
            free(LIST_ENTRY(node, struct member, node));
        if (pool_over(pool))
            pool_free(pool);
    }
    costly_invariant(list_empty(&gone->pools) && gone->versions.count == 0);
    map_fini(&gone->versions);
    map_fini(&gone->groups);
    timer_disarm(&gone->reclaim);
    live_services_free(&gone->live_services);
    config_unref(&gone->config);
    free(gone);
}

uint32_t router_drain(struct router *router, const char *backend)
{
    return live_services_mark(router->live_services, backend, service_drain);
}

uint32_t router_undrain(struct router *router, const char *backend)
{
    return live_services_mark(router->live_services, backend, service_undrain);
}

bool router_look_at_switch(struct router *router, const char *service, struct router_switch *ret)
{
    struct failover *failover = live_services_failover(router->live_services, service);
    if (failover == NULL)
        return false;
    *ret = (struct router_switch){
        .elected = failover->primary.state == PRIMARY_ELECTED,
        .held = failover->held.us != 0,
        .epoch = failover->primary.epoch,
        .servers = failover_servers(failover),
        .timeout = live_service_settings(failover->live)->switchover_timeout,
    };
    return true;
}

void router_hold(struct router *router, const char *service, deadline until)
{
    struct failover *failover = live_services_failover(router->live_services, service);
    if (failover != NULL)
        failover_hold(failover, until);
}

void router_elect(struct router *router, const char *backend, const char *service,
                  struct router_election *ret)
{
    live_services_elect(router->live_services, backend, service, ret);
}

void router_show_backends(struct router *router, struct table_sink *sink)
{
    live_services_show(router->live_services, sink);
}

void router_show_failed(struct router *router, struct table_sink *sink)
{
    live_services_show_failed(router->live_services, sink);
}

void router_each_service(struct router *router,
                         void (*see)(void *argument, const struct router_service *service),
                         void *argument)
{
    live_services_each(router->live_services, see, argument);
}

void router_show_resolvers(struct router *router, struct table_sink *sink)
{
    live_services_show_resolvers(router->live_services, sink);
}

void router_show_zones(struct router *router, struct table_sink *sink)
{
    live_services_show_zones(router->live_services, sink);
}

bool router_resolve(struct router *router, const char *service, uint64_t *ret_rounds)
{
    return live_services_demand(router->live_services, service, ret_rounds);
}

bool router_has_resolved(struct router *router, const char *service, uint64_t rounds)
{
    return live_services_resolved(router->live_services, service, rounds);
}

void router_show_resolver(struct router *router, const char *service, struct table_sink *sink)
{
    live_services_show_resolver(router->live_services, service, sink);
}

void router_show_hosts(struct router *router, struct table_sink *sink)
{
    live_services_show_hosts(router->live_services, sink);
}
