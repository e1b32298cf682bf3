/* fleet_rebalance.c - how a pool's connections are levelled out among the backends. */
#include "base/probes.h"
#include "fleet/fleet_pool_parts.h"

/* A rebalancing that moved something is repeated after this part of the interval, and each moves at
 * least this part of the connections, so that a new backend has its share within one interval. */
#define ROUNDS 20

void slots_share(const struct slots *slots)
{
    struct service *service = slots->service;
    uint32_t count = 0, near = 0;
    uint16_t priority = UINT16_MAX;
    LIST_EACH (&service->backends, it) {
        struct backend *backend = LIST_ENTRY(it, struct backend, node);
        if (count == SERVICE_BACKENDS_MAX)
            break;
        backend->seen = count;
        service->shared[count] = backend;
        bool serves = slots_served_by(slots, backend);
        service->shares[count++] =
            (struct fleet_share){.weight = backend->weight, .serves = serves};
        if (serves)
            priority = MIN_OF(priority, backend->priority);
    }
    for (uint32_t i = 0; i < count; i++)
        near += service->shares[i].serves && service->shared[i]->priority == priority &&
                service->shared[i]->near;
    bool near_only = near > 0 && near >= service->limits.zone_min;
    for (uint32_t i = 0; i < count; i++)
        service->shares[i].serves &=
            service->shared[i]->priority == priority && (!near_only || service->shared[i]->near);
    service->share_count = count;
}

struct fleet_share *backend_share(const struct backend *backend)
{
    struct service *service = backend->service;
    bool shared = backend->seen < service->share_count && service->shared[backend->seen] == backend;
    return shared ? &service->shares[backend->seen] : NULL;
}

/* Divides `total` connections.  What other pools have at a backend leaves less room there. */
static void service_divide(struct service *service, uint32_t total)
{
    for (uint32_t i = 0; i < service->share_count; i++) {
        struct fleet_share *share = &service->shares[i];
        uint32_t slots = service->shared[i]->slots, max = service->limits.connections_max;
        uint32_t others = slots - MIN_OF(share->open, slots);
        share->max = max > others ? max - others : 0;
    }
    fleet_divide(service->shares, service->share_count, total);
}

static uint32_t round_moves(uint32_t open, uint32_t moves_max)
{
    return MAX_OF((open + ROUNDS - 1) / ROUNDS, moves_max);
}

uint32_t slots_plan_moves(struct slots *slots, struct fleet_open *open, uint32_t count,
                          const struct fleet_move_limits *limits)
{
    struct service *service = slots->service;
    uint32_t moves_max = MIN_OF(round_moves(count, limits->moves_max), limits->idle_max);
    slots_share(slots);
    for (uint32_t i = 0; i < count; i++) {
        struct fleet_share *share = backend_share(open[i].slot->backend);
        open[i].move = false;
        if (share == NULL)
            continue;
        share->open += 1;
        share->idle += 1;
    }
    service_divide(service, count);
    uint32_t moves = fleet_moves(service->shares, service->share_count, moves_max, 0);
    for (uint32_t i = 0; i < count; i++) {
        const struct fleet_share *share = backend_share(open[i].slot->backend);
        open[i].move = share != NULL && share->move > 0;
    }
    return moves;
}

duration fleet_round(duration interval)
{
    return (duration){.us = MAX_OF(interval.us / ROUNDS, INT64_C(1))};
}

/* Closes idle connections of backends above their shares until only `total` are open. */
static void pool_shrink(struct fleet_pool *pool, uint32_t total, moment now)
{
    LIST_EACH_SAFE (&pool->slots, it) {
        struct fleet_slot *slot = LIST_ENTRY(it, struct fleet_slot, node);
        struct fleet_share *share = backend_share(slot_backend(slot->slot));
        if (fleet_pool_open(pool) <= total)
            return;
        if (slot->state != FLEET_IDLE || share == NULL || share->open <= share->share)
            continue;
        share->open -= 1;
        share->idle -= 1;
        fleet_slot_close(slot, SLOT_ENDED, now);
    }
}

static uint32_t pool_move(struct fleet_pool *pool, moment now)
{
    struct service *service = pool->slots_at->service;
    uint32_t moves = fleet_moves(service->shares, service->share_count,
                                 round_moves(fleet_pool_open(pool), pool->policy.moves_max),
                                 pool->policy.spares);
    LIST_EACH_SAFE (&pool->slots, it) {
        struct fleet_slot *slot = LIST_ENTRY(it, struct fleet_slot, node);
        struct fleet_share *share = backend_share(slot_backend(slot->slot));
        if (slot->state != FLEET_IDLE || share == NULL || share->move == 0)
            continue;
        share->move -= 1;
        fleet_slot_close(slot, SLOT_ENDED, now);
    }
    return moves;
}

void fleet_pool_rebalance(struct fleet_pool *pool, moment now)
{
    struct service *service = pool->slots_at->service;
    uint32_t total = MIN_OF(fleet_pool_open(pool), fleet_pool_wanted(pool)), moves = 0;
    PROBE1(rebalance__start, service->name);
    slots_share(pool->slots_at);
    LIST_EACH (&pool->slots, it) {
        const struct fleet_slot *slot = LIST_ENTRY(it, struct fleet_slot, node);
        struct fleet_share *share = backend_share(slot_backend(slot->slot));
        if (share == NULL || slot->state == FLEET_CLOSING)
            continue;
        share->open += 1;
        share->idle += slot->state == FLEET_IDLE;
    }
    service_divide(service, total);
    pool_shrink(pool, total, now);
    if (slots_spread(pool->slots_at))
        moves = pool_move(pool, now);
    pool->counts.moves += moves;
    slots_moved(pool->slots_at, moves);
    duration interval = pool->policy.rebalance_interval;
    pool->rebalance = later(now, moves > 0 ? fleet_round(interval) : interval);
    PROBE2(rebalance__done, service->name, moves);
}
