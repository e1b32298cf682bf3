#include "fleet/fleet_types.h"

#include <stdlib.h>

/* Ids are for logs and messages, so they are unique over all services. */
static uint64_t slot_ids;

fault slots_new(struct service *service, uint32_t max, struct slots **ret)
{
    struct slots *slots = calloc(1, sizeof(*slots));
    if (slots == NULL)
        return FAULT_MEMORY;
    service->references += 1;
    slots->service = service;
    slots->max = max;
    *ret = slots;
    return OK;
}

void slots_free(struct slots **slots)
{
    if (*slots == NULL)
        return;
    invariant((*slots)->count == 0);
    service_unref(&(*slots)->service);
    free(*slots);
    *slots = NULL;
}

void slots_set_max(struct slots *slots, uint32_t max)
{
    slots->max = max;
}

uint32_t slots_count(const struct slots *slots)
{
    return slots->count;
}

uint32_t slots_excess(const struct slots *slots)
{
    return slots->count > slots->max ? slots->count - slots->max : 0;
}

bool slots_paused(const struct slots *slots)
{
    LIST_EACH (&slots->service->backends, it) {
        const struct backend *backend = LIST_ENTRY(it, struct backend, node);
        if (slots->crowded_at == backend->id && slots->crowded_releases == backend->releases)
            return true;
    }
    return false;
}

/* --- asking ----------------------------------------------------------------------------------- */

/* Result of a walk over the backends. */
struct survey {
    struct backend *best; /* may log in now; NULL: none */
    uint32_t usable;      /* not obsolete */
    uint32_t open;        /* of these, below connections_max */
    bool busy;            /* a healthy backend has no permit left: worth waiting for */
    deadline again;       /* when the first pause of a backend ends */
};

/* Lower ranks are better.  From RANK_DOUBTFUL on a backend is tried only if no healthy backend has
 * a permit, now or after a login in progress. */
enum {
    RANK_PRIMARY,
    RANK_UNKNOWN,
    RANK_DOUBTFUL,
    RANK_REPLICA = RANK_DOUBTFUL,
    RANK_NOT_READY,
    RANK_OFFLINE
};

static int backend_rank(const struct backend *backend)
{
    if (backend->state == BACKEND_OFFLINE)
        return RANK_OFFLINE;
    if (backend->state == BACKEND_NOT_READY)
        return RANK_NOT_READY;
    if (backend->role == ROLE_REPLICA)
        return RANK_REPLICA;
    return backend->role == ROLE_PRIMARY ? RANK_PRIMARY : RANK_UNKNOWN;
}

static uint32_t backend_permits(const struct backend *backend)
{
    bool serves = backend->state == BACKEND_ONLINE && backend->role != ROLE_REPLICA;
    return serves ? backend->service->limits.logins_max : 1;
}

/* Returns when this pool may log in at a backend, if it has a permit. */
static deadline slots_due(const struct slots *slots, const struct backend *backend)
{
    deadline due = backend_due(backend);
    if (slots->crowded_at != backend->id || slots->crowded_releases != backend->releases)
        return due;
    deadline pause = later(slots->crowded_since, backend->service->limits.retry_max);
    return pause.us > due.us ? pause : due;
}

static void survey_backend(struct survey *survey, const struct slots *slots,
                           struct backend *backend, deadline now)
{
    int rank = backend_rank(backend);
    /* A suspect backend is not healthy: its single login may hang if the backend died silently, and
     * a replica may have been promoted meanwhile. */
    bool healthy = rank < RANK_DOUBTFUL && backend->state == BACKEND_ONLINE;
    if (backend->logins >= backend_permits(backend)) {
        survey->busy |= healthy;
        return;
    }
    deadline due = slots_due(slots, backend);
    if (due.us > now.us) {
        survey->again = earlier_of(survey->again, due);
        return;
    }
    if (survey->best != NULL && backend_rank(survey->best) < rank)
        return;
    if (survey->best != NULL && backend_rank(survey->best) == rank &&
        survey->best->slots <= backend->slots)
        return;
    survey->best = backend;
}

static struct survey survey_service(const struct slots *slots, deadline now)
{
    struct survey survey = {.again = NEVER};
    LIST_EACH (&slots->service->backends, it) {
        struct backend *backend = LIST_ENTRY(it, struct backend, node);
        if (backend->obsolete)
            continue;
        survey.usable += 1;
        if (backend->slots >= slots->service->limits.connections_max)
            continue;
        survey.open += 1;
        survey_backend(&survey, slots, backend, now);
    }
    return survey;
}

static fault slot_start(struct slots *slots, struct backend *backend, deadline now,
                        struct slot **ret)
{
    struct slot *slot = calloc(1, sizeof(*slot));
    if (slot == NULL)
        return FAULT_MEMORY;
    *slot = (struct slot){.slots = slots,
                          .backend = backend,
                          .id = ++slot_ids,
                          .since = now,
                          .epoch = backend->epoch};
    slots->count += 1;
    backend->slots += 1;
    backend->logins += 1;
    invariant(slots->count <= slots->max);
    invariant(backend->slots <= slots->service->limits.connections_max);
    invariant(backend->logins <= backend_permits(backend) && backend->logins <= backend->slots);
    *ret = slot;
    return OK;
}

fault slots_ask(struct slots *slots, deadline now, struct slot **ret, deadline *ret_again)
{
    struct service *service = slots->service;
    *ret_again = NEVER;
    service->latest = now;
    if (slots->count >= slots->max)
        return FAULT_FULL;

    struct survey survey = survey_service(slots, now);
    if (survey.usable == 0) {
        service->wants_resolving = true;
        *ret_again = later(now, service->limits.retry_max);
        return FAULT_AGAIN;
    }
    if (survey.open == 0)
        return FAULT_LIMIT;
    if (survey.best != NULL && (!survey.busy || backend_rank(survey.best) < RANK_DOUBTFUL))
        return slot_start(slots, survey.best, now, ret);
    /* While a healthy backend is busy, only the end of a login changes the answer. */
    *ret_again = survey.busy ? NEVER : survey.again;
    return FAULT_AGAIN;
}

/* --- results of a login ----------------------------------------------------------------------- */

/* Removes the slot from its pool and its backend.  May free the backend. */
static void slot_free(struct slot **slot)
{
    struct slot *gone = TAKE(*slot);
    struct backend *backend = gone->backend;
    invariant(gone->slots->count > 0 && backend->slots > 0);
    gone->slots->count -= 1;
    backend->slots -= 1;
    if (!gone->connected) {
        invariant(backend->logins > 0);
        backend->logins -= 1;
    }
    free(gone);
    backend_settle(backend);
}

void slot_connected(struct slot *slot, enum backend_role role, deadline now)
{
    struct backend *backend = slot->backend;
    invariant(!slot->connected && backend->logins > 0);
    slot->connected = true;
    backend->logins -= 1;
    backend->role = role;
    backend->looked_at = now;
    backend->service->latest = now;
    backend_recover(backend);
}

static void slots_pause(struct slots *slots, const struct backend *crowded, deadline now)
{
    slots->crowded_at = crowded->id;
    slots->crowded_releases = crowded->releases;
    slots->crowded_since = now;
}

void slot_failed(struct slot **slot, enum slot_failure why, deadline now)
{
    struct backend *backend = (*slot)->backend;
    invariant(!(*slot)->connected);
    backend->service->latest = now;
    /* A login that began before the backend's last failure or recovery does not count: of logins
     * that fail together only the first lengthens the pause, and a late failure does not undo a
     * recovery. */
    bool counts = (*slot)->epoch == backend->epoch;

    switch (why) {
    case SLOT_UNREACHABLE:
        backend->failures += 1;
        backend->service->wants_resolving = true;
        if (counts)
            backend_fail(backend, BACKEND_OFFLINE, now);
        break;
    case SLOT_NOT_READY:
    case SLOT_CROWDED:
        backend->failures += 1;
        if (counts) {
            backend_fail(backend, BACKEND_NOT_READY, now);
            backend->crowded = why == SLOT_CROWDED;
        }
        if (why == SLOT_CROWDED)
            slots_pause((*slot)->slots, backend, now);
        break;
    case SLOT_WRONG_ROLE:
        backend->role = ROLE_REPLICA;
        backend->looked_at = now;
        backend->service->wants_resolving = true;
        backend_recover(backend);
        break;
    case SLOT_REJECTED:
        break;
    }
    slot_free(slot);
}

void slot_closed(struct slot **slot, enum slot_end how, deadline now)
{
    struct backend *backend = (*slot)->backend;
    backend->service->latest = now;
    if ((*slot)->connected) {
        backend->releases += 1;
        if (backend->crowded)
            backend->backoff = ms(0);
    }
    if (how == SLOT_LOST)
        backend_suspect(backend);
    slot_free(slot);
}

struct backend *slot_backend(const struct slot *slot)
{
    return slot->backend;
}

struct slots *slot_slots(const struct slot *slot)
{
    return slot->slots;
}

uint64_t slot_id(const struct slot *slot)
{
    return slot->id;
}

deadline slot_since(const struct slot *slot)
{
    return slot->since;
}
