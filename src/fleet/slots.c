/* slots.c - the slots of a pool: connections that it may have to each backend. */
#include "base/probes.h"
#include "fleet/fleet_parts.h"

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
    list_init(&slots->all);
    slots->lag_max = NO_LIMIT;
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

void slots_moved(struct slots *slots, uint32_t count)
{
    slots->moves = count;
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

/* Whether the pool waits because the backend had no room for it. */
static bool slots_pause_at(const struct slots *slots, const struct backend *backend)
{
    return slots->crowded_at == backend->id && slots->crowded_releases == backend->releases;
}

static bool backend_full(const struct backend *backend)
{
    return backend->slots >= backend->service->limits.connections_max;
}

bool slots_blocked_by(const struct slots *slots, const struct slots *other)
{
    LIST_EACH (&other->all, it) {
        const struct backend *backend = LIST_ENTRY(it, struct slot, node)->backend;
        if (!backend_leaving(backend) && slots_may_use(slots, backend) &&
            slots_fitting(slots, backend) &&
            (backend_full(backend) || slots_pause_at(slots, backend)))
            return true;
    }
    return false;
}

/* Result of a walk over the backends. */
struct survey {
    struct backend *best; /* may log in now; NULL: none */
    uint32_t named;       /* not obsolete */
    uint32_t usable;      /* of these, not drained */
    uint32_t open;        /* of these, below connections_max */
    uint32_t full;        /* of the others, those that would serve the pool */
    uint32_t healthy;     /* of these, candidates of slots that spread */
    bool busy;            /* a healthy backend can't log in now: worth waiting for */
    deadline paced;       /* when the first of these can */
    deadline again;       /* when the first pause of a backend ends */
};

/* Lower ranks are better.  From RANK_DOUBTFUL on a backend is tried only if no healthy backend has
 * a permit, now or after a login in progress. */
enum {
    RANK_RIGHT,
    RANK_UNKNOWN,
    RANK_DOUBTFUL,
    RANK_WRONG = RANK_DOUBTFUL,
    RANK_NOT_READY,
    RANK_OFFLINE
};

static int slots_rank(const struct slots *slots, const struct backend *backend)
{
    static const int ranks[] = {[FIT_RIGHT] = RANK_RIGHT,
                                [FIT_UNKNOWN] = RANK_UNKNOWN,
                                [FIT_WRONG] = RANK_WRONG,
                                [FIT_LAGS] = RANK_WRONG};
    if (backend->state == BACKEND_OFFLINE)
        return RANK_OFFLINE;
    if (backend->state == BACKEND_NOT_READY)
        return RANK_NOT_READY;
    return ranks[slots_fit(slots, backend)];
}

static uint32_t slots_permits(const struct slots *slots, const struct backend *backend)
{
    bool serves = backend->state == BACKEND_ONLINE && slots_fitting(slots, backend);
    return serves ? backend->service->limits.logins_max : 1;
}

/* Returns when this pool may log in at a backend, if it has a permit.  `others`: see
 * slots_role_due(). */
static deadline slots_due(const struct slots *slots, const struct backend *backend, bool others)
{
    bool pauses = backend->state == BACKEND_NOT_READY || backend->state == BACKEND_OFFLINE;
    bool lags = slots_fit(slots, backend) == FIT_LAGS;
    deadline due = pauses && !lags ? backend_due(backend) : slots_role_due(slots, backend, others);
    if (backend->service->limits.logins_per_second > 0 && backend->pace.next.us > due.us)
        due = backend->pace.next;
    if (!slots_pause_at(slots, backend))
        return due;
    deadline pause = later(slots->crowded_since, backend->service->limits.retry_max);
    return pause.us > due.us ? pause : due;
}

/* Slots that spread: adds the backend to the candidates for fleet_choose(). */
static void survey_healthy(struct survey *survey, const struct slots *slots,
                           struct backend *backend, moment now)
{
    struct service *service = slots->service;
    bool permit = backend->logins < slots_permits(slots, backend);
    deadline due = slots_due(slots, backend, false);
    uint32_t at = survey->healthy++;
    invariant(at < SERVICE_BACKENDS_MAX);
    service->healthy[at] = backend;
    service->candidates[at] = (struct fleet_candidate){
        .priority = backend->priority,
        .weight = backend->weight,
        .near = backend->near,
        .ready = permit && due.us <= now.us,
        /* A move goes where the plan has it, and that counts connections of the pool only. */
        .load = slots->moves > 0 ? backend->own : backend->slots,
        .failures = slots->moves > 0 ? 0 : fleet_window_sum(&backend->window, now),
    };
    if (permit && due.us > now.us)
        survey->paced = earlier_of(survey->paced, due);
}

static bool survey_better(const struct slots *slots, const struct backend *a,
                          const struct backend *b)
{
    int rank = slots_rank(slots, a) - slots_rank(slots, b);
    if (rank == 0 && slots_spread(slots))
        rank = (int)a->priority - (int)b->priority;
    return rank == 0 ? a->slots < b->slots : rank < 0;
}

static void survey_backend(struct survey *survey, const struct slots *slots,
                           struct backend *backend, moment now)
{
    int rank = slots_rank(slots, backend);
    /* A suspect backend is not healthy: its single login may hang if the backend died silently, and
     * a role may have changed meanwhile. */
    bool healthy = rank < RANK_DOUBTFUL && backend->state == BACKEND_ONLINE;
    if (healthy && slots_spread(slots) && !slots_pause_at(slots, backend)) {
        survey_healthy(survey, slots, backend, now);
        return;
    }
    if (backend->logins >= slots_permits(slots, backend)) {
        survey->busy |= healthy;
        return;
    }
    deadline due = slots_due(slots, backend, false);
    if (due.us > now.us) {
        bool paced = healthy && !slots_pause_at(slots, backend);
        survey->busy |= paced;
        deadline *at = paced ? &survey->paced : &survey->again;
        *at = earlier_of(*at, due);
        return;
    }
    if (survey->best == NULL || survey_better(slots, backend, survey->best))
        survey->best = backend;
}

/* Counts the pool's slots at each backend. */
static void slots_count_own(const struct slots *slots)
{
    LIST_EACH (&slots->service->backends, it)
        LIST_ENTRY(it, struct backend, node)->own = 0;
    LIST_EACH (&slots->all, it)
        LIST_ENTRY(it, struct slot, node)->backend->own += 1;
}

static struct survey survey_service(const struct slots *slots, moment now)
{
    struct survey survey = {.paced = NEVER, .again = NEVER};
    if (slots->moves > 0)
        slots_count_own(slots);
    LIST_EACH (&slots->service->backends, it) {
        struct backend *backend = LIST_ENTRY(it, struct backend, node);
        if (backend->obsolete)
            continue;
        survey.named += 1;
        if (backend->drained || backend->foreign || !slots_may_use(slots, backend))
            continue;
        survey.usable += 1;
        if (backend_full(backend)) {
            survey.full += slots_served_by(slots, backend);
            continue;
        }
        survey.open += 1;
        survey_backend(&survey, slots, backend, now);
    }
    return survey;
}

/* Slots that spread: chooses among the healthy backends.  If it has some, the doubtful ones
 * are not asked. */
static void survey_choose(struct survey *survey, const struct slots *slots)
{
    struct service *service = slots->service;
    uint32_t chosen =
        fleet_choose(service->candidates, survey->healthy, service->limits.zone_min,
                     slots->moves > 0 ? FLEET_DRAW_ALL : FLEET_DRAW_TWO, &service->random);
    if (chosen == FLEET_CHOOSE_NONE)
        return;
    survey->best = chosen == FLEET_CHOOSE_WAIT ? NULL : service->healthy[chosen];
    survey->busy = survey->best == NULL;
}

static fault slot_start(struct slots *slots, struct backend *backend, moment now, struct slot **ret)
{
    struct slot *slot = calloc(1, sizeof(*slot));
    if (slot == NULL)
        return FAULT_MEMORY;
    *slot = (struct slot){.slots = slots,
                          .backend = backend,
                          .id = ++slot_ids,
                          .since = now,
                          .epoch = backend->epoch};
    fleet_pace_start(&backend->pace, slots->service->limits.logins_per_second,
                     &slots->service->random, now);
    slots->moves -= slots->moves > 0 ? 1 : 0;
    list_push(&slots->all, &slot->node);
    slots->count += 1;
    backend->slots += 1;
    backend->logins += 1;
    invariant(slots->count <= slots->max);
    invariant(backend->slots <= slots->service->limits.connections_max);
    invariant(backend->logins <= slots_permits(slots, backend) &&
              backend->logins <= backend->slots);
    PROBE4(connect__start, slots->service->name, slot->id, (const char *)backend->names->text,
           backend->logins);
    *ret = slot;
    return OK;
}

fault slots_ask(struct slots *slots, moment now, struct slot **ret, deadline *ret_again)
{
    struct service *service = slots->service;
    *ret_again = NEVER;
    service->latest = now;
    if (slots->count >= slots->max)
        return FAULT_FULL;

    struct survey survey = survey_service(slots, now);
    if (survey.named == 0) {
        service->wants_resolving = true;
        *ret_again = later(now, service->limits.retry_max);
        return FAULT_AGAIN;
    }
    if (survey.usable == 0) /* until the operator puts one back */
        return FAULT_AGAIN;
    if (survey.open == 0)
        return FAULT_LIMIT;
    if (slots_spread(slots))
        survey_choose(&survey, slots);
    if (survey.best != NULL && (!survey.busy || slots_rank(slots, survey.best) < RANK_DOUBTFUL))
        return slot_start(slots, survey.best, now, ret);
    /* While a healthy backend is busy, only the end of a login or of its pace changes the answer.
     */
    *ret_again = survey.busy ? survey.paced : survey.again;
    return survey.full > 0 && !survey.busy ? FAULT_LIMIT : FAULT_AGAIN;
}

/* Whether the backend is worth a login only to find out how it is. */
static bool slots_want_probe(const struct slots *slots, const struct backend *backend)
{
    return !backend_leaving(backend) && backend->logins == 0 && !backend_full(backend) &&
           (slots_rank(slots, backend) >= RANK_DOUBTFUL || backend->state == BACKEND_SUSPECT);
}

static struct backend *slots_to_probe(const struct slots *slots, moment now)
{
    struct backend *best = NULL;
    LIST_EACH (&slots->service->backends, it) {
        struct backend *backend = LIST_ENTRY(it, struct backend, node);
        if (!slots_may_use(slots, backend) || !slots_want_probe(slots, backend) ||
            slots_due(slots, backend, true).us > now.us)
            continue;
        if (best == NULL || slots_due(slots, backend, true).us < slots_due(slots, best, true).us)
            best = backend;
    }
    return best;
}

bool slots_probe_due(const struct slots *slots, moment now)
{
    return slots_to_probe(slots, now) != NULL;
}

fault slots_probe(struct slots *slots, moment now, struct slot **ret)
{
    slots->service->latest = now;
    if (slots->count >= slots->max)
        return FAULT_FULL;
    struct backend *backend = slots_to_probe(slots, now);
    return backend == NULL ? FAULT_AGAIN : slot_start(slots, backend, now, ret);
}

/* --- results of a login ----------------------------------------------------------------------- */

/* Removes the slot from its pool and its backend.  May free the backend. */
static void slot_free(struct slot **slot)
{
    struct slot *gone = TAKE(*slot);
    struct backend *backend = gone->backend;
    invariant(gone->slots->count > 0 && backend->slots > 0);
    list_remove(&gone->slots->all, &gone->node);
    gone->slots->count -= 1;
    backend->slots -= 1;
    if (!gone->connected) {
        invariant(backend->logins > 0);
        backend->logins -= 1;
    }
    free(gone);
    backend_settle(backend);
}

void slot_connected(struct slot *slot, enum backend_role role, moment now)
{
    struct backend *backend = slot->backend;
    invariant(!slot->connected && backend->logins > 0);
    slot->connected = true;
    backend->logins -= 1;
    backend->service->latest = now;
    PROBE4(connect__done, backend->service->name, slot->id, (const char *)backend->names->text,
           role);
    slot_found_right(slot, role, now);
}

static void slots_pause(struct slots *slots, const struct backend *crowded, moment now)
{
    slots->crowded_at = crowded->id;
    slots->crowded_releases = crowded->releases;
    slots->crowded_since = now;
}

/* Records why a login failed. */
static void slot_fail(struct slot *slot, enum slot_failure why, moment now)
{
    struct backend *backend = slot->backend;
    invariant(!slot->connected);
    PROBE4(connect__failed, backend->service->name, slot->id, (const char *)backend->names->text,
           why);
    backend->service->latest = now;
    /* A login that began before the backend's last failure or recovery does not count: of logins
     * that fail together only the first lengthens the pause, and a late failure does not undo a
     * recovery. */
    bool counts = slot->epoch == backend->epoch;

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
            slots_pause(slot->slots, backend, now);
        break;
    case SLOT_WRONG_ROLE:
        slot_found_wrong(slot, now);
        break;
    case SLOT_REJECTED:
        break;
    }
}

void slot_failed(struct slot **slot, enum slot_failure why, moment now)
{
    slot_fail(*slot, why, now);
    slot_free(slot);
}

void slot_failing(struct slot *slot, enum slot_failure why, moment now)
{
    slot_fail(slot, why, now);
    slot->connected = slot->useless = true;
    slot->backend->logins -= 1;
}

void slot_closed(struct slot **slot, enum slot_end how, moment now)
{
    struct backend *backend = (*slot)->backend;
    backend->service->latest = now;
    if ((*slot)->connected && !(*slot)->useless) {
        backend->releases += 1;
        if (backend->crowded)
            fleet_backoff_skip(&backend->backoff);
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

moment slot_since(const struct slot *slot)
{
    return slot->since;
}
