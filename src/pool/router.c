#include "pool/router.h"

#include "machine/clock.h"
#include "machine/log.h"
#include "pool/pool.h"
#include "pool/supply.h"

#include <inttypes.h>
#include <stdlib.h>

/* After a login that was refused though other servers of the pool stand: doubles, up to the most.
 */
#define PAUSE_LEAST ms(100)
#define PAUSE_MOST  sec(5)

#define KIN_MOST    1000000u
#define GROUPS_MOST 2000000u

/* --- kin -------------------------------------------------------------------------------------- */

static bool kin_is(const struct map_link *link, const void *key)
{
    const struct kin *kin = MAP_ENTRY(link, struct kin, link);
    const struct local_pool *local = key;
    return kin->replication == local->born_route->is_replication &&
           kin->lookup == local->born_route->is_lookup &&
           strcmp(kin->database, local->database) == 0 && strcmp(kin->user, local->user) == 0;
}

static uint64_t kin_hash(const struct local_pool *local)
{
    return hash_bytes(local->user, strlen(local->user), hash_span(span_text(local->database)));
}

static struct kin *kin_find(const struct router *router, const struct local_pool *local)
{
    struct map_link *link = map_find(&router->kin, kin_hash(local), kin_is, local);
    return link == NULL ? NULL : MAP_ENTRY(link, struct kin, link);
}

static void kin_free(struct kin *kin)
{
    census_unref(&kin->census);
    free(kin->database);
    free(kin->user);
    free(kin);
}

static struct kin *kin_new(struct router *router, const struct local_pool *local)
{
    struct kin *kin = calloc(1, sizeof(*kin));
    if (kin == NULL)
        return NULL;
    list_init(&kin->pools);
    kin->replication = local->born_route->is_replication;
    kin->lookup = local->born_route->is_lookup;
    kin->database = strdup(local->database);
    kin->user = strdup(local->user);
    kin->census = census_new();
    if (kin->database == NULL || kin->user == NULL || kin->census == NULL ||
        map_insert(&router->kin, &kin->link, kin_hash(local)) != OK) {
        kin_free(kin);
        return NULL;
    }
    return kin;
}

static void kin_leave(struct pool *pool)
{
    struct kin *kin = TAKE(pool->kin);
    if (kin == NULL)
        return;
    list_remove(&kin->pools, &pool->kin_node);
    if (!list_empty(&kin->pools))
        return;
    map_remove(&pool->router->kin, &kin->link);
    kin_free(kin);
}

/* --- pools ------------------------------------------------------------------------------------ */

static void pool_timer_fired(struct waker *waker)
{
    pool_balance(CONTAINER_OF(waker, struct pool, timer_waker));
}

static struct pool *pool_find(const struct kin *kin, const struct local_pool *local)
{
    LIST_EACH (&kin->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, kin_node);
        if (route_same_identity(pool->route, local->born_route))
            return pool;
    }
    return NULL;
}

/* The newest route that means the same; the local pool's own when there is none. */
static void pool_set_route(struct pool *pool, struct config *config,
                           const struct route_config *route)
{
    const struct config *latest = pool->router->config;
    const struct route_config *now_is = config_route_like(latest, span_text(pool->kin->database),
                                                          span_text(pool->kin->user), route);
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
    invariant(list_empty(&pool->leases) && list_empty(&pool->seats));
    timer_disarm(&pool->timer);
    if (node_linked(&pool->node))
        list_remove(&router->pools, &pool->node);
    pool_leave_caps(pool);
    kin_leave(pool);
    slots_free(&pool->slots);
    supply_leave(router->supplies, &pool->supply);
    config_unref(&pool->config);
    free(pool->greeting);
    free(pool);
}

/* Nobody sits in it and nothing of it is open. */
static bool pool_over(const struct pool *pool)
{
    return list_empty(&pool->seats) && slots_count(pool->slots) == 0;
}

static uint32_t pool_most(const struct pool *pool)
{
    return pool->route->pool_size + pool->route->pool_reserve;
}

static struct pool *pool_new(struct kin *kin, struct router *router, const struct local_pool *local)
{
    struct pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return NULL;
    pool->router = router;
    pool->kin = kin;
    list_push(&kin->pools, &pool->kin_node);
    pool->timer_waker.wake = pool_timer_fired;
    pool->timer = TIMER_INIT(&pool->timer_waker);
    list_init(&pool->seats);
    list_init(&pool->leases);
    pool_set_route(pool, local->born_config, local->born_route);
    pool->supply = supply_join(router->supplies, pool->route->service);
    if (pool->supply == NULL || pool_join_caps(pool) != OK ||
        slots_new(supply_service(pool->supply), pool_most(pool), &pool->slots) != OK) {
        pool_free(pool);
        return NULL;
    }
    list_push(&router->pools, &pool->node);
    return pool;
}

static struct pool *pool_of(struct router *router, const struct local_pool *local)
{
    struct kin *kin = kin_find(router, local);
    struct pool *pool = kin == NULL ? NULL : pool_find(kin, local);
    if (pool != NULL)
        return pool;
    if (kin == NULL)
        kin = kin_new(router, local);
    return kin == NULL ? NULL : pool_new(kin, router, local);
}

static struct seat *seat_new(struct router *router, struct local_pool *local)
{
    struct seat *seat = calloc(1, sizeof(*seat));
    struct pool *pool = seat == NULL ? NULL : pool_of(router, local);
    if (pool == NULL) {
        free(seat);
        return NULL;
    }
    seat->pool = pool;
    seat->local = local;
    /* No hint: all that came to this local pool came before the mail that we are in. */
    seat->sent = __atomic_load_n(&local->told.arrived, __ATOMIC_RELAXED);
    list_push(&pool->seats, &seat->node);
    local->membership.seat = seat;
    return seat;
}

/* --- what servers tell at login --------------------------------------------------------------- */

static void seat_hello(struct seat *seat)
{
    struct pool *pool = seat->pool;
    struct hello *hello = malloc(sizeof(*hello) + pool->greeting_size);
    if (hello == NULL)
        return; /* it learns from a login of its own */
    *hello = (struct hello){
        .mail = {.deliver = local_pool_hello}, .local = seat->local, .size = pool->greeting_size};
    memcpy(hello->bytes, pool->greeting, pool->greeting_size);
    mail_send(seat->local->pools->machine, &hello->mail);
}

static void pool_greet(struct pool *pool, struct lease *lease)
{
    if (lease->greeting == NULL)
        return;
    free(pool->greeting);
    pool->greeting = TAKE(lease->greeting);
    pool->greeting_size = lease->greeting_size;
    LIST_EACH (&pool->seats, it) {
        struct seat *seat = LIST_ENTRY(it, struct seat, node);
        if (seat->local != lease->local)
            seat_hello(seat);
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
    struct seat *seat = seat_new(local_pool_router(local), local);
    if (seat == NULL) {
        log_event(LOG_ERR, "router.memory", "database=%s user=%s", local->database, local->user);
    } else {
        struct pool *pool = seat->pool;
        local->membership.census[CENSUS_POOL] = census_ref(pool->kin->census);
        local->membership.census[CENSUS_DATABASE] =
            census_ref(pool->groups[GROUP_DATABASE]->census);
        local->membership.census[CENSUS_USER] = census_ref(pool->groups[GROUP_USER]->census);
        if (seat->pool->greeting != NULL)
            seat_hello(seat);
    }
    local->membership.enroll.deliver = local_pool_enrolled;
    mail_send(local->pools->machine, &local->membership.enroll);
}

/* Recalls that the relay has no server for. */
static void seat_take_unmet(struct seat *seat)
{
    uint64_t unmet = __atomic_exchange_n(&seat->local->told.unmet, 0, __ATOMIC_ACQ_REL);
    invariant(unmet <= seat->recalls);
    seat->recalls -= (uint32_t)unmet;
}

void router_want(struct mail *mail)
{
    struct local_pool *local = CONTAINER_OF(mail, struct local_pool, membership.want);
    struct seat *seat = local->membership.seat;
    if (seat == NULL || seat->pool->router->env->stopping)
        return;
    seat_take_unmet(seat);
    pool_balance(seat->pool);
    if (hint_read(&local->told.idle) > 0)
        router_balance(seat->pool->router, seat->pool);
}

void router_retire(struct mail *mail)
{
    struct local_pool *local = CONTAINER_OF(mail, struct local_pool, membership.retire);
    struct seat *seat = local->membership.seat;
    /* A recall that is under way would find another seat, or nobody. */
    local->membership.retired = seat == NULL || (seat->leases == 0 && seat->recalls == 0);
    if (seat != NULL && local->membership.retired) {
        struct pool *pool = seat->pool;
        list_remove(&pool->seats, &seat->node);
        free(seat);
        local->membership.seat = NULL;
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
    struct seat *seat = lease->local->membership.seat;
    slot_connected(lease->slot, lease->role, now());
    lease->connected = true;
    lease->since = now();
    seat->coming -= 1;
    pool->pause = ms(0);
    pool->paused = now();
    pool->crowded = false;
    pool_greet(pool, lease);
    router_balance(pool->router, pool);
}

void lease_end(struct lease *lease)
{
    struct pool *pool = lease->pool;
    struct router *router = pool->router;
    list_remove(&pool->leases, &lease->node);
    if (lease->how == LEASE_FAILED)
        slot_failed(&lease->slot, lease->failure, now());
    else
        slot_closed(&lease->slot, lease->end, now());
    pool_let_go(pool);
    free(lease->greeting);
    free(lease);
    if (router->env->stopping)
        return;
    router_balance(router, pool);
    if (pool_over(pool))
        pool_free(pool);
}

/* The backend refused this login for good, and yet others of the pool stand: not again at once. */
static void pool_pause(struct pool *pool)
{
    int64_t longer = MAX_OF(2 * pool->pause.us, PAUSE_LEAST.us);
    pool->pause.us = MIN_OF(longer, PAUSE_MOST.us);
    pool->paused = after(pool->pause);
}

void router_lease_back(struct mail *mail)
{
    struct lease *lease = CONTAINER_OF(mail, struct lease, to_router);
    struct pool *pool = lease->pool;
    struct seat *seat = lease->local->membership.seat;
    invariant(seat->leases > 0);
    seat->leases -= 1;
    seat_take_unmet(seat);
    if (lease->how == LEASE_GIVEN) {
        lease_pass_on(lease, seat);
        return;
    }
    if (!lease->connected)
        seat->coming -= 1;
    if (lease->how == LEASE_FAILED)
        pool->crowded = lease->failure == SLOT_CROWDED;
    if (lease->how == LEASE_FAILED && lease->failure == SLOT_REJECTED && pool_leases(pool) > 0)
        pool_pause(pool);
    if (lease->server != NULL)
        goodbye_begin(pool->router, lease);
    else
        lease_end(lease);
}

/* --- versions --------------------------------------------------------------------------------- */

/* Servers of backends that are no longer the service's, or all, end as soon as they are free. */
static void pool_doom(struct pool *pool, bool all)
{
    bool any = false;
    LIST_EACH (&pool->leases, it) {
        struct lease *lease = LIST_ENTRY(it, struct lease, node);
        if (!all && !backend_obsolete(slot_backend(lease->slot)))
            continue;
        __atomic_store_n(&lease->doomed, true, __ATOMIC_RELAXED);
        any = true;
    }
    if (!any)
        return;
    LIST_EACH (&pool->seats, it) {
        struct seat *seat = LIST_ENTRY(it, struct seat, node);
        mail_send(seat->local->pools->machine, &seat->local->membership.recall);
    }
}

static bool pool_is_of(const struct pool *pool, const char *database)
{
    return database == NULL || strcmp(pool->kin->database, database) == 0;
}

void router_doom(struct router *router, const char *database)
{
    LIST_EACH (&router->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        if (pool_is_of(pool, database))
            pool_doom(pool, true);
    }
}

uint64_t router_servers(const struct router *router, const char *database, bool doomed)
{
    uint64_t count = 0;
    LIST_EACH (&router->pools, it) {
        const struct pool *pool = LIST_ENTRY(it, struct pool, node);
        if (!pool_is_of(pool, database))
            continue;
        LIST_EACH (&pool->leases, at)
            count += !doomed || pool->obsolete || LIST_ENTRY(at, struct lease, node)->doomed;
    }
    return count;
}

void router_supplied(struct router *router, struct supply *supply)
{
    LIST_EACH (&router->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        if (pool->supply == supply)
            pool_doom(pool, false);
    }
    cap_balance(supply_cap(supply));
}

fault router_reload(struct router *router, struct config *config)
{
    TRY(supplies_reload(router->supplies, config));
    config_ref(config);
    config_unref(&router->config);
    router->config = config;
    router_set_caps(router);
    LIST_EACH (&router->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        pool_set_route(pool, pool->config, pool->route);
        pool->pause = ms(0); /* what servers are shown may be right now */
        pool->paused = now();
        slots_set_most(pool->slots, pool_most(pool));
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
    router->kin = MAP_INIT(KIN_MOST);
    list_init(&router->pools);
    router->groups = MAP_INIT(GROUPS_MOST);
    cap_init(&router->all, CAP_ALL);
    router->all.most = config->servers_most;
    list_init(&router->contests);
    list_init(&router->goodbyes);
    router->contest_waker.wake = router_contest;
    router->contest = TIMER_INIT(&router->contest_waker);
    fault result = supplies_new(router, config, &router->supplies);
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
    goodbye_end_all(gone);
    LIST_EACH_SAFE (&gone->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        for (struct node *node; (node = list_pop(&pool->seats)) != NULL;)
            free(LIST_ENTRY(node, struct seat, node));
        if (pool_over(pool))
            pool_free(pool);
    }
    costly_invariant(list_empty(&gone->pools) && gone->kin.count == 0);
    map_fini(&gone->kin);
    map_fini(&gone->groups);
    timer_disarm(&gone->contest);
    supplies_free(&gone->supplies);
    config_unref(&gone->config);
    free(gone);
}

void router_show_backends(struct router *router, struct table_sink *sink)
{
    supplies_show(router->supplies, sink);
}

void router_show_hosts(struct router *router, struct table_sink *sink)
{
    supplies_show_hosts(router->supplies, sink);
}
