#pragma once
/*
 * fleet_bench.h - a pool of fleet_pool.h over a scripted driver: connects and hooks succeed, fail
 * or stall.
 */
#include "fleet/fleet_pool.h"
#include "unit.h"

#define CLAIMS 64

enum answer { SUCCEEDS, FAILS, STALLS };

static const struct fleet_limits limits = {
    .logins_max = 100,
    .connections_max = 100,
    .retry_min = {.us = 20000},
    .retry_max = {.us = 30000000},
    .spread = true,
};
static const struct fleet_policy usual = {
    .max = 16,
    .connect_timeout = {.us = 5000000},
    .hook_timeout = {.us = 3000000},
    .rebalance_interval = {.us = 60000000},
    .moves_max = 1,
};

struct bench {
    struct service *service;
    struct fleet_pool *pool;
    struct backend_found found[20];
    uint32_t count;
    moment now;
    enum answer connect, acquire, check, recycle;
    uint32_t dead; /* backends that refuse, by the last byte of their address */
    struct fleet_claim claims[CLAIMS];
    enum fleet_refusal refused[CLAIMS];
    bool got[CLAIMS], no[CLAIMS];
    int connects, closes, hooks, calls; /* calls: of the connector */
    struct fleet_slot *stalled;
    uint32_t opened[20];
};

static inline void bench_resolve(struct bench *bench, uint32_t count)
{
    bench->count = count;
    ck_assert_int_eq(service_set_backends(bench->service, bench->found, count), OK);
    if (bench->pool != NULL)
        fleet_pool_changed(bench->pool, bench->now);
}

static inline void bench_init(struct bench *bench, uint32_t count, struct fleet_policy policy)
{
    *bench = (struct bench){.now = {.us = 1000000000}};
    for (uint8_t i = 0; i < 20; i++)
        bench->found[i] = (struct backend_found){
            .target = "db.example",
            .address = {.family = ADDRESS_IPV4, .port = 5432, .bytes = {10, 0, 0, i}},
            .weight = BACKEND_WEIGHT_PLAIN};
    ck_assert_int_eq(service_new("main", &limits, &bench->service), OK);
    bench_resolve(bench, count);
    ck_assert_int_eq(fleet_pool_new(bench->service, &policy, bench->now, &bench->pool), OK);
}

static inline int at_of(const struct fleet_slot *slot)
{
    return backend_address(fleet_slot_backend(slot))->bytes[3];
}

static inline void bench_connect(struct bench *bench, struct fleet_slot *slot)
{
    bench->connects += 1;
    bench->opened[at_of(slot)] += 1;
    if (bench->connect == FAILS || (bench->dead >> at_of(slot) & 1) != 0)
        fleet_slot_failed(slot, SLOT_UNREACHABLE, bench->now);
    else if (bench->connect == SUCCEEDS)
        fleet_slot_connected(slot, ROLE_PRIMARY, bench->now);
}

static inline void bench_hook(struct bench *bench, struct fleet_slot *slot, enum answer answer)
{
    bench->hooks += 1;
    if (answer == STALLS)
        bench->stalled = slot;
    else
        fleet_slot_checked(slot, answer == FAILS ? FLEET_INVALID : FLEET_VALID, bench->now);
}

static inline void bench_do(struct bench *bench, const struct fleet_step *step)
{
    bench->calls += step->order == FLEET_CONNECT || step->order == FLEET_ACQUIRE ||
                    step->order == FLEET_CHECK || step->order == FLEET_RECYCLE;
    switch (step->order) {
    case FLEET_CONNECT:
        bench_connect(bench, step->slot);
        break;
    case FLEET_ACQUIRE:
        bench_hook(bench, step->slot, bench->acquire);
        break;
    case FLEET_CHECK:
        bench_hook(bench, step->slot, bench->check);
        break;
    case FLEET_RECYCLE:
        bench_hook(bench, step->slot, bench->recycle);
        break;
    case FLEET_CLOSE:
        bench->closes += 1;
        fleet_slot_closed(step->slot, bench->now);
        break;
    case FLEET_GRANTED:
        bench->got[step->claim - bench->claims] = true;
        break;
    case FLEET_REFUSED:
        bench->no[step->claim - bench->claims] = true;
        bench->refused[step->claim - bench->claims] = step->refusal;
        break;
    case FLEET_NOTHING:
        break;
    }
}

static inline void bench_run(struct bench *bench)
{
    for (int i = 0; i < 10000; i++) {
        struct fleet_step step = fleet_pool_step(bench->pool, bench->now);
        ck_assert_uint_le(fleet_pool_slots(bench->pool), CLAIMS);
        if (step.order == FLEET_NOTHING)
            return;
        bench_do(bench, &step);
    }
    ck_abort_msg("the steps do not end");
}

/* Lets time pass until `us` later, from one due time to the next. */
static inline void bench_pass(struct bench *bench, int64_t us)
{
    moment end = {bench->now.us + us};
    for (;;) {
        bench_run(bench);
        deadline due = fleet_pool_due(bench->pool);
        if (due.us > end.us)
            break;
        ck_assert_int_gt(due.us, bench->now.us); /* or the driver would spin */
        bench->now = due;
    }
    bench->now = end;
    bench_run(bench);
}

static inline bool bench_claim(struct bench *bench, int number)
{
    bench->got[number] = bench->no[number] = false;
    fleet_claim(bench->pool, &bench->claims[number], bench->now, later(bench->now, sec(30)));
    bench_run(bench);
    return bench->got[number];
}

static inline void bench_release(struct bench *bench, int number)
{
    fleet_release(bench->pool, &bench->claims[number], FLEET_RETURNED, bench->now);
    bench_run(bench);
}

static inline uint32_t in_state(const struct bench *bench, enum fleet_slot_state state)
{
    return fleet_pool_counts(bench->pool)->slots[state];
}

static inline int host_of(const struct bench *bench, int number)
{
    return at_of(bench->claims[number].slot);
}

static inline void bench_fini(struct bench *bench)
{
    fleet_pool_end(bench->pool);
    bench_run(bench);
    for (int i = 0; i < CLAIMS; i++)
        if (bench->claims[i].state == FLEET_CLAIM_HELD)
            bench_release(bench, i);
    ck_assert(fleet_pool_over(bench->pool));
    fleet_pool_free(&bench->pool);
    service_free(&bench->service);
}
