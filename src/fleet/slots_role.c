/* slots_role.c - which backends a pool may use, by their role and the pool's target. */
#include "fleet/fleet_parts.h"

/* While other backends serve, one with a wrong role is asked for its role no more often than this:
 * it may have changed. */
#define ROLE_LOOK sec(10)

/* A wrong role that is known asks for a resolution of names after retry_max, after twice that, and
 * so on up to this. */
#define DOUBT_MAX sec(60)

void slots_set_target(struct slots *slots, enum fleet_target target)
{
    invariant(target < TARGETS && slots->count == 0);
    slots->target = target;
}

void slots_set_lag_max(struct slots *slots, duration lag_max)
{
    slots->lag_max = lag_max;
}

/* With these targets the replicas are used, or all backends: there may be several. */
static bool target_has_several(enum fleet_target target)
{
    return !target_needs_primary(target);
}

bool slots_spread(const struct slots *slots)
{
    return service_spreads(slots->service) || target_has_several(slots->target);
}

/* --- the role of a backend -------------------------------------------------------------------- */

/* Whether the service has no other backend. */
static bool backend_alone(const struct backend *backend)
{
    LIST_EACH (&backend->service->backends, it) {
        const struct backend *other = LIST_ENTRY(it, struct backend, node);
        if (other != backend && !other->obsolete)
            return false;
    }
    return true;
}

/* Whether the backend is a replica that the pool may not read from now: it lags too much, or the
 * arbiter says so. */
static bool slots_shut_out(const struct slots *slots, const struct backend *backend)
{
    if (!target_has_several(slots->target) || backend->role != ROLE_REPLICA)
        return false;
    if (backend_barred(backend))
        return true;
    if (slots->lag_max.us == INT64_MAX)
        return false;
    if (!backend->trusted)
        return true;
    /* Before a primary was sampled no replica is known to lag. */
    return backend->lag_counts.us > slots->lag_max.us ||
           (backend->lag.us < 0 && backend->service->lag.count > 0);
}

/* Whether another backend is a standby that can be used, or may turn out to be one. */
static bool slots_have_standby_beside(const struct slots *slots, const struct backend *backend)
{
    LIST_EACH (&backend->service->backends, it) {
        const struct backend *other = LIST_ENTRY(it, struct backend, node);
        bool accepts = other->state == BACKEND_ONLINE || other->state == BACKEND_SUSPECT;
        if (other != backend && !backend_leaving(other) && accepts && other->role != ROLE_PRIMARY &&
            !slots_shut_out(slots, other))
            return true;
    }
    return false;
}

static bool slots_fallback(const struct slots *slots, const struct backend *backend)
{
    if (slots->target == TARGET_DEFAULT)
        return backend_alone(backend);
    return slots->target == TARGET_PREFER_STANDBY && !slots_have_standby_beside(slots, backend);
}

bool slot_fallback(const struct slot *slot)
{
    return slots_fallback(slot->slots, slot->backend);
}

enum fleet_fit slots_fit(const struct slots *slots, const struct backend *backend)
{
    bool replica = backend->role == ROLE_REPLICA;
    bool read_only = !replica && slots->read_only;
    if (backend->role == ROLE_UNKNOWN)
        return FIT_UNKNOWN;
    if (slots_shut_out(slots, backend))
        return FIT_LAGS;
    if (target_accepts(slots->target, replica, read_only, false))
        return FIT_RIGHT;
    /* A login that was refused nevertheless is not repeated at once. */
    bool refused = (backend->refused >> slots->target & 1) != 0;
    bool fallback = !refused && slots_fallback(slots, backend);
    return target_accepts(slots->target, replica, read_only, fallback) ? FIT_RIGHT : FIT_WRONG;
}

bool slots_fitting(const struct slots *slots, const struct backend *backend)
{
    return slots_fit(slots, backend) <= FIT_UNKNOWN;
}

bool slot_unwanted(const struct slot *slot)
{
    const struct slots *slots = slot->slots;
    if (backend_leaving(slot->backend))
        return true;
    /* Whether sessions begin read-only is not the backend's alone to say. */
    bool sure = slots->target != TARGET_DEFAULT && slot->backend->trusted &&
                (slot->backend->role == ROLE_REPLICA || slots->target == TARGET_STANDBY ||
                 slots->target == TARGET_PREFER_STANDBY);
    return sure && !slots_fitting(slots, slot->backend);
}

deadline slots_role_due(const struct slots *slots, const struct backend *backend, bool others)
{
    duration pause = backend->service->limits.retry_max;
    enum fleet_fit fit = slots_fit(slots, backend);
    if (fit == FIT_LAGS || (fit == FIT_WRONG && others && backend->trusted))
        return NEVER; /* a login finds nothing that a probe does not find */
    if (fit != FIT_WRONG)
        return (deadline){.us = 0};
    if (others && slots->target != TARGET_DEFAULT)
        pause.us = MAX_OF(pause.us, ROLE_LOOK.us);
    return later(backend->looked_at, pause);
}

bool slots_served_by(const struct slots *slots, const struct backend *backend)
{
    return !backend_leaving(backend) && backend->state == BACKEND_ONLINE &&
           slots_fitting(slots, backend);
}

bool slots_all_healthy(const struct slots *slots)
{
    LIST_EACH (&slots->service->backends, it) {
        const struct backend *backend = LIST_ENTRY(it, struct backend, node);
        if (!backend_leaving(backend) && !slots_served_by(slots, backend))
            return false;
    }
    return true;
}

bool slots_lack_role(const struct slots *slots)
{
    bool accepting = false;
    LIST_EACH (&slots->service->backends, it) {
        const struct backend *backend = LIST_ENTRY(it, struct backend, node);
        if (backend_leaving(backend) || backend->state == BACKEND_OFFLINE)
            continue;
        if (slots_fitting(slots, backend))
            return false;
        accepting = true;
    }
    return accepting;
}

/* --- what logins find ------------------------------------------------------------------------- */

/* Asks for a resolution, because the backend has a role that a pool did not expect there: at once
 * if that is news, else after pauses that grow. */
static void backend_doubt(struct backend *backend, bool news, moment now)
{
    const struct fleet_limits *limits = &backend->service->limits;
    const struct fleet_pauses pauses = {
        limits->retry_max,
        {.us = MAX_OF(limits->retry_max.us, DOUBT_MAX.us)},
        limits->retry_jitter,
    };
    if (news)
        fleet_backoff_reset(&backend->doubt);
    else if (later(backend->doubted_at, backend->doubt.pause).us > now.us)
        return;
    backend->service->wants_resolving = true;
    backend->doubted_at = now;
    fleet_backoff_fail(&backend->doubt, &pauses, &backend->service->random);
}

void slot_found(struct slot *slot, enum backend_role role, bool read_only)
{
    invariant(!slot->connected);
    slot->found = true;
    slot->role = role;
    if (role == ROLE_PRIMARY)
        slot->slots->read_only = read_only;
}

void slot_found_right(struct slot *slot, enum backend_role role, moment now)
{
    struct backend *backend = slot->backend;
    backend->refused &= (uint8_t) ~(1u << slot->slots->target);
    backend->role = role;
    backend->looked_at = backend->logged_in = now;
    backend_recover(backend);
}

void slot_found_wrong(struct slot *slot, moment now)
{
    struct backend *backend = slot->backend;
    enum backend_role role = slot->found ? slot->role : ROLE_REPLICA;
    backend_doubt(backend, backend->role != role, now);
    backend->role = role;
    backend->looked_at = backend->logged_in = now;
    backend->refused |= (uint8_t)(1u << slot->slots->target);
    backend_recover(backend);
}
