#include "pooler/router.h"

#include "machine/clock.h"
#include "machine/log.h"
#include "pooler/lease.h"
#include "pooler/pooler.h"
#include "pooler/relay.h"
#include "pooler/supply.h"

#include <inttypes.h>
#include <stdlib.h>

struct router {
    struct pooler *pooler;
    struct config *config; /* the latest version */
    struct list pools;
    struct supplies *supplies;
};

/* One relay's share, as the router sees it. */
struct seat {
    struct node node; /* in pool->seats */
    struct pool *pool;
    struct share *share;
    uint32_t leases;  /* out there */
    uint32_t coming;  /* of these: not connected yet */
    uint32_t recalls; /* asked for and not given back yet */
};

struct pool {
    struct node node; /* in router->pools */
    struct router *router;
    struct config *config; /* counted: whose route it goes by */
    const struct route_config *route;
    const char *database;  /* of the first share's birth; copied */
    const char *user;
    struct supply *supply;
    struct slots *slots;
    struct list seats;
    bool obsolete;
    bool waiting;          /* for a permit, or for time to pass */
    struct timer timer;
    struct waker timer_waker;
};

static void pool_balance(struct pool *pool);

/* --- pools ------------------------------------------------------------------------------------------------ */

static void pool_timer_fired(struct waker *waker)
{
    pool_balance(CONTAINER_OF(waker, struct pool, timer_waker));
}

static struct pool *pool_find(struct router *router, const struct share *share)
{
    LIST_EACH (&router->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        if (strcmp(pool->database, share->database) == 0 && strcmp(pool->user, share->user) == 0 &&
            route_same_identity(pool->route, share->born_route))
            return pool;
    }
    return NULL;
}

/* The newest route that means the same; the share's own when there is none. */
static void pool_set_route(struct pool *pool, struct config *config,
                           const struct route_config *route)
{
    const struct config *latest = pool->router->config;
    const struct route_config *now_is =
        config_route(latest, span_text(pool->database), span_text(pool->user));
    bool same = now_is != NULL && route_same_identity(now_is, route);
    struct config *held = config_ref(same ? pool->router->config : config);
    config_unref(&pool->config);
    pool->config = held;
    pool->route = same ? now_is : route;
    pool->obsolete = !same;
}

static void pool_free(struct pool *pool)
{
    struct supplies *supplies = pool->router->supplies;
    timer_disarm(&pool->timer);
    if (node_linked(&pool->node))
        list_remove(&pool->router->pools, &pool->node);
    slots_free(&pool->slots);
    supply_leave(supplies, &pool->supply);
    config_unref(&pool->config);
    free((char *)pool->database);
    free((char *)pool->user);
    free(pool);
}

static struct pool *pool_new(struct router *router, const struct share *share)
{
    struct pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return NULL;
    pool->router = router;
    pool->timer_waker.wake = pool_timer_fired;
    pool->timer = TIMER_INIT(&pool->timer_waker);
    list_init(&pool->seats);
    pool->database = strdup(share->database);
    pool->user = strdup(share->user);
    if (pool->database != NULL && pool->user != NULL) {
        pool_set_route(pool, share->born_config, share->born_route);
        pool->supply = supply_join(router->supplies, pool->route->service);
    }
    if (pool->supply == NULL || slots_new(supply_service(pool->supply), pool->route->pool_size,
                                          &pool->slots) != OK) {
        pool_free(pool);
        return NULL;
    }
    list_push(&router->pools, &pool->node);
    return pool;
}

static struct seat *seat_new(struct router *router, struct share *share)
{
    struct pool *pool = pool_find(router, share);
    struct seat *seat = calloc(1, sizeof(*seat));
    if (pool == NULL)
        pool = pool_new(router, share);
    if (pool == NULL || seat == NULL) {
        free(seat);
        return NULL;
    }
    seat->pool = pool;
    seat->share = share;
    list_push(&pool->seats, &seat->node);
    share->seat = seat;
    return seat;
}

/* --- who needs one ------------------------------------------------------------------------------------------- */

static uint64_t seat_queued(const struct seat *seat)
{
    return hint_read(&seat->share->told.queued);
}

static uint64_t seat_oldest(const struct seat *seat)
{
    uint64_t oldest = hint_read(&seat->share->told.oldest);
    return oldest == 0 ? UINT64_MAX : oldest;
}

static bool seat_needs(const struct seat *seat)
{
    return seat_queued(seat) > seat->coming;
}

static uint32_t pool_leases(const struct pool *pool)
{
    uint32_t leases = 0;
    LIST_EACH (&pool->seats, it)
        leases += LIST_ENTRY(it, struct seat, node)->leases;
    return leases;
}

/* The seat whose claim has waited longest; else one with clients, while the pool is below its least. */
static struct seat *pool_neediest(struct pool *pool)
{
    struct seat *neediest = NULL, *populated = NULL;
    LIST_EACH (&pool->seats, it) {
        struct seat *seat = LIST_ENTRY(it, struct seat, node);
        if (seat_needs(seat) &&
            (neediest == NULL || seat_oldest(seat) < seat_oldest(neediest)))
            neediest = seat;
        if (hint_read(&seat->share->told.clients) > 0)
            populated = seat;
    }
    if (neediest == NULL && populated != NULL && !pool->obsolete &&
        pool->route->mode != POOL_SESSION && pool_leases(pool) < pool->route->pool_min)
        return populated;
    return neediest;
}

/* Slots of the versions of one pool share one budget. */
static bool pool_over_budget(const struct pool *pool)
{
    uint32_t leases = 0;
    LIST_EACH (&pool->router->pools, it) {
        const struct pool *other = LIST_ENTRY(it, struct pool, node);
        if (strcmp(other->database, pool->database) == 0 && strcmp(other->user, pool->user) == 0)
            leases += slots_count(other->slots);
    }
    return leases >= pool->route->pool_size;
}

/* --- giving leases --------------------------------------------------------------------------------------------- */

static void lease_send(struct lease *lease, struct seat *seat)
{
    lease->share = seat->share;
    seat->leases += 1;
    mail_send(seat->share->relay->machine, &lease->to_relay);
}

static fault pool_grant(struct pool *pool, struct seat *seat, deadline *again)
{
    struct lease *lease = calloc(1, sizeof(*lease));
    if (lease == NULL)
        return FAULT_MEMORY;
    fault asked = pool_over_budget(pool) ? FAULT_FULL
                                         : slots_ask(pool->slots, now(), &lease->slot, again);
    if (asked != OK) {
        free(lease);
        return asked;
    }
    struct backend *backend = slot_backend(lease->slot);
    lease->pool = pool;
    lease->target.address = *backend_address(backend);
    lease->target.host = backend_host(backend);
    lease->to_relay.deliver = relay_lease;
    lease->to_router.deliver = router_lease_back;
    lease->report.deliver = router_lease_report;
    seat->coming += 1;
    lease_send(lease, seat);
    return OK;
}

/* --- recalling leases -------------------------------------------------------------------------------------------- */

static bool seat_may_give(const struct seat *victim, const struct seat *needy, duration bound)
{
    if (victim == needy || victim->leases <= victim->recalls + victim->coming)
        return false;
    if (hint_read(&victim->share->told.idle) > victim->recalls)
        return true;
    uint64_t theirs = seat_oldest(victim), ours = seat_oldest(needy);
    return theirs == UINT64_MAX || (theirs > ours && theirs - ours > (uint64_t)bound.us);
}

static void seat_recall(struct seat *seat)
{
    seat->recalls += 1;
    __atomic_fetch_add(&seat->share->told.recall, 1, __ATOMIC_ACQ_REL);
    mail_send(seat->share->relay->machine, &seat->share->recall);
}

static uint32_t pool_recalls(const struct pool *pool)
{
    uint32_t recalls = 0;
    LIST_EACH (&pool->seats, it)
        recalls += LIST_ENTRY(it, struct seat, node)->recalls;
    return recalls;
}

/* For each claim that no coming lease will serve, at most one lease is called back. */
static void pool_recall(struct pool *pool)
{
    struct seat *needy = pool_neediest(pool);
    duration bound = {.us = pool->config->overtake_most.us / 2};
    if (needy == NULL || !seat_needs(needy))
        return;
    uint64_t wanted = seat_queued(needy) - needy->coming;
    uint32_t under_way = pool_recalls(pool);
    LIST_EACH (&pool->seats, it) {
        struct seat *seat = LIST_ENTRY(it, struct seat, node);
        while (under_way < wanted && seat_may_give(seat, needy, bound)) {
            seat_recall(seat);
            under_way += 1;
        }
    }
}

/* More slots than a lowered limit allows: called back to be closed. */
static void pool_recall_excess(struct pool *pool)
{
    uint32_t excess = slots_excess(pool->slots);
    uint32_t under_way = pool_recalls(pool);
    LIST_EACH (&pool->seats, it) {
        struct seat *seat = LIST_ENTRY(it, struct seat, node);
        while (under_way < excess && seat->leases > seat->recalls + seat->coming) {
            seat_recall(seat);
            under_way += 1;
        }
    }
}

/* --- balance ------------------------------------------------------------------------------------------------------ */

static void pool_tell_full(struct pool *pool, bool full)
{
    LIST_EACH (&pool->seats, it)
        hint_write(&LIST_ENTRY(it, struct seat, node)->share->told.full, full);
}

static void pool_balance(struct pool *pool)
{
    deadline again = NEVER;
    fault asked = OK;
    struct seat *needy;
    if (pooler_stopping(pool->router->pooler))
        return;
    while (asked == OK && (needy = pool_neediest(pool)) != NULL)
        asked = pool_grant(pool, needy, &again);
    pool->waiting = asked != OK;
    pool_tell_full(pool, asked == FAULT_FULL || asked == FAULT_LIMIT);
    pool_recall_excess(pool);
    if (asked == FAULT_FULL || asked == FAULT_LIMIT) {
        pool_recall(pool);
        /* While relays compete, ages are compared again and again; a lone relay needs nobody. */
        if (pool->seats.count > 1)
            again = after((duration){.us = pool->config->overtake_most.us / 2});
    }
    if (asked == FAULT_MEMORY)
        again = after(ms(100));
    timer_set(&pool->timer, pool->waiting ? again : NEVER);
    supply_check(pool->supply);
}

/* A permit or a slot has come back: others may have waited for it. */
static void router_balance(struct router *router, const struct supply *supply)
{
    LIST_EACH_SAFE (&router->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        if (pool->supply == supply && (pool->waiting || !list_empty(&pool->seats)))
            pool_balance(pool);
    }
}

void router_supplied(struct router *router, const struct supply *supply)
{
    router_balance(router, supply);
}

/* --- deliveries ---------------------------------------------------------------------------------------------------- */

static struct router *share_router(const struct share *share)
{
    return pooler_router(share->relay->pooler);
}

void router_want(struct mail *mail)
{
    struct share *share = CONTAINER_OF(mail, struct share, want);
    struct router *router = share_router(share);
    struct seat *seat = share->seat;
    if (pooler_stopping(router->pooler))
        return;
    if (seat == NULL)
        seat = seat_new(router, share);
    if (seat == NULL) {
        log_event(LOG_ERR, "router.memory", "database=%s user=%s", share->database, share->user);
        return;
    }
    pool_balance(seat->pool);
}

void router_retire(struct mail *mail)
{
    struct share *share = CONTAINER_OF(mail, struct share, retire);
    struct seat *seat = share->seat;
    share->retired = seat == NULL || seat->leases == 0;
    if (seat != NULL && share->retired) {
        struct pool *pool = seat->pool;
        list_remove(&pool->seats, &seat->node);
        free(seat);
        share->seat = NULL;
        if (list_empty(&pool->seats) && slots_count(pool->slots) == 0)
            pool_free(pool);
    }
    share->retire.deliver = relay_retired;
    mail_send(share->relay->machine, &share->retire);
}

void router_lease_report(struct mail *mail)
{
    struct lease *lease = CONTAINER_OF(mail, struct lease, report);
    struct seat *seat = lease->share->seat;
    struct router *router = lease->pool->router;
    slot_connected(lease->slot, (enum backend_role)hint_read(&lease->role), now());
    lease->connected = true;
    seat->coming -= 1;
    router_balance(router, lease->pool->supply);
}

/* A live server that was called back: to whoever waits longest, else to where most clients are. */
static void lease_pass_on(struct lease *lease, struct seat *from)
{
    struct pool *pool = lease->pool;
    struct seat *to = pool_neediest(pool);
    invariant(from->recalls > 0);
    from->recalls -= 1;
    if (slots_excess(pool->slots) > 0 || pooler_stopping(pool->router->pooler)) {
        server_discard(&lease->server);
        slot_closed(&lease->slot, SLOT_ENDED, now());
        free(lease);
        pool_balance(pool);
        return;
    }
    lease_send(lease, to != NULL && seat_needs(to) ? to : from);
    pool_balance(pool);
}

void router_lease_back(struct mail *mail)
{
    struct lease *lease = CONTAINER_OF(mail, struct lease, to_router);
    struct pool *pool = lease->pool;
    struct seat *seat = lease->share->seat;
    struct router *router = pool->router;
    invariant(seat->leases > 0);
    seat->leases -= 1;
    if (lease->how == LEASE_GIVEN) {
        lease_pass_on(lease, seat);
        return;
    }
    if (!lease->connected)
        seat->coming -= 1;
    if (lease->how == LEASE_FAILED || !lease->connected)
        slot_failed(&lease->slot, lease->how == LEASE_FAILED ? lease->failure : SLOT_REJECTED, now());
    else
        slot_closed(&lease->slot, lease->end, now());
    free(lease);
    router_balance(router, pool->supply);
}

/* --- versions, life --------------------------------------------------------------------------------------------------- */

fault router_reload(struct router *router, struct config *config)
{
    TRY(supplies_reload(router->supplies, config));
    config_ref(config);
    config_unref(&router->config);
    router->config = config;
    LIST_EACH_SAFE (&router->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        pool_set_route(pool, pool->config, pool->route);
        slots_set_most(pool->slots, pool->route->pool_size);
        pool_balance(pool);
    }
    return OK;
}

fault router_new(struct pooler *pooler, struct config *config, struct router **ret)
{
    struct router *router = calloc(1, sizeof(*router));
    if (router == NULL)
        return FAULT_MEMORY;
    router->pooler = pooler;
    list_init(&router->pools);
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
    LIST_EACH_SAFE (&gone->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        for (struct node *node; (node = list_pop(&pool->seats)) != NULL;)
            free(LIST_ENTRY(node, struct seat, node));
        if (slots_count(pool->slots) == 0)
            pool_free(pool);
    }
    supplies_free(&gone->supplies);
    config_unref(&gone->config);
    free(gone);
}

struct machine *router_machine(struct pooler *pooler)
{
    return pooler_machine(pooler);
}

void router_show_backends(struct router *router, struct table_sink *sink)
{
    supplies_show(router->supplies, sink);
}
