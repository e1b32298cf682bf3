/* sampled.c - what probes find, and what the fleet makes of it: roles, lag, foreign backends. */
#include "fleet/fleet_parts.h"

/* A backend that answers no probe, this many times in a row, is offline, unless a login succeeded
 * since the first of them. */
#define UNANSWERED_MAX 3u

struct backend *service_next(const struct service *service, const struct backend *after)
{
    const struct node *it = after == NULL ? list_first(&service->backends) : after->node.next;
    bool none = it == NULL || it == &service->backends.head;
    return none ? NULL : LIST_ENTRY(it, struct backend, node);
}

uint64_t backend_id(const struct backend *backend)
{
    return backend->id;
}

const struct backend_sample *backend_sample(const struct backend *backend)
{
    return backend->trusted ? &backend->sample : NULL;
}

duration backend_lag(const struct backend *backend)
{
    return backend->trusted && backend->sample.replica ? backend->lag : FLEET_LAG_UNKNOWN;
}

bool backend_foreign(const struct backend *backend)
{
    return backend->foreign;
}

/* --- samples ---------------------------------------------------------------------------------- */

/* The server accepts logins: a probe is one. */
static void backend_answered(struct backend *backend)
{
    backend->unanswered = 0;
    if (backend->state != BACKEND_ONLINE && !backend->crowded) {
        backend_recover(backend);
        backend->service->judged = true;
    }
}

/* Notes which server has answered.  An address moves from one server to another when another
 * instance answers on a higher line than the one before: at once, or when it is promoted.  The
 * restart of a server on its line is none; its connections have ended with it. */
static void backend_note_instance(struct backend *backend, const struct backend_sample *sample)
{
    if (sample->instance == 0)
        return;
    if (sample->instance != backend->instance) {
        backend->followed = backend->instance != 0;
        backend->line_before = backend->sample.line;
        backend->instance = sample->instance;
        backend->instance_since = sample->reached;
    }
    if (!backend->followed || sample->replica || sample->line <= backend->line_before)
        return;
    backend->followed = false;
    backend->moved = backend->instance_since;
    backend->moved_lately = true;
}

bool backend_same_server(const struct backend *a, const struct backend *b)
{
    return a->sampled && b->sampled && sample_same_server(&a->sample, &b->sample);
}

moment backend_latest_login(const struct backend *backend)
{
    return backend->logged_in;
}

void backend_sampled(struct backend *backend, const struct backend_sample *sample, moment now)
{
    struct service *service = backend->service;
    enum backend_role role = sample->replica ? ROLE_REPLICA : ROLE_PRIMARY;
    service->latest = now;
    backend_note_instance(backend, sample);
    backend->sample = *sample;
    backend->sampled = true;
    backend_fit_ruling(backend);
    backend_answered(backend);
    if (!sample->replica && !backend->foreign)
        fleet_lag_note(&service->lag, sample);
    /* A login that began later has found the role of later. */
    if (backend->role != ROLE_UNKNOWN && sample->asked.us < backend->looked_at.us)
        return;
    service->judged |= backend->role != role;
    if (backend->role != role)
        backend->refused = 0;
    backend->role = role;
    backend->looked_at = sample->asked;
}

void backend_unsampled(struct backend *backend, moment asked, moment now)
{
    backend->service->latest = now;
    if (backend->unanswered++ == 0)
        backend->unanswered_since = asked;
    bool accepts = backend->state == BACKEND_ONLINE || backend->state == BACKEND_SUSPECT;
    if (backend->unanswered < UNANSWERED_MAX || !accepts ||
        (backend->role != ROLE_UNKNOWN && backend->looked_at.us > backend->unanswered_since.us))
        return;
    backend->failures += 1;
    backend_fail(backend, BACKEND_OFFLINE, now);
    backend->service->wants_resolving = true;
    backend->service->judged = true;
}

void backend_rejected(struct backend *backend)
{
    backend->unanswered = 0;
}

void service_forget_samples(struct service *service)
{
    LIST_EACH (&service->backends, it) {
        struct backend *backend = LIST_ENTRY(it, struct backend, node);
        backend->sampled = backend->trusted = backend->foreign = false;
        backend->unanswered = 0;
        backend->instance = 0;
        backend->followed = backend->moved_lately = false;
        backend->lag = FLEET_LAG_UNKNOWN;
        backend->lag_counts = (duration){0};
    }
    service->system = 0;
}

/* --- judgement -------------------------------------------------------------------------------- */

static uint32_t service_of_system(const struct service *service, uint64_t system)
{
    uint32_t count = 0;
    LIST_EACH (&service->backends, it) {
        const struct backend *backend = LIST_ENTRY(it, struct backend, node);
        count += !backend->obsolete && backend->trusted && backend->sample.system == system;
    }
    return count;
}

/* Whether a backend with a fresh sample is of another system than the service, or of the first one
 * that is known. */
static bool service_has_strangers(const struct service *service)
{
    LIST_EACH (&service->backends, it) {
        const struct backend *backend = LIST_ENTRY(it, struct backend, node);
        uint64_t system = backend->trusted && !backend->obsolete ? backend->sample.system : 0;
        if (system != 0 && system != service->system)
            return true;
    }
    return false;
}

/* Finds the system that most backends are of; of equals the one that was found before, then the
 * first in the list. */
static void service_judge_system(struct service *service)
{
    if (!service_has_strangers(service))
        return;
    uint32_t most = service->system == 0 ? 0 : service_of_system(service, service->system);
    LIST_EACH (&service->backends, it) {
        const struct backend *backend = LIST_ENTRY(it, struct backend, node);
        if (backend->obsolete || !backend->trusted || backend->sample.system == 0)
            continue;
        uint32_t count = service_of_system(service, backend->sample.system);
        if (count > most) {
            most = count;
            service->system = backend->sample.system;
        }
    }
}

static void backend_judge(struct backend *backend, moment now)
{
    struct service *service = backend->service;
    const struct backend_sample *sample = &backend->sample;
    bool trusted = backend->trusted, foreign = backend->foreign;
    if (trusted && sample->system != 0)
        foreign = sample->system != service->system;
    service->judged |= foreign != backend->foreign;
    backend->foreign = foreign;
    backend->lag = sample->replica ? fleet_lag_of(&service->lag, sample, now) : FLEET_LAG_UNKNOWN;
    backend->lag_counts = fleet_lag_counts(backend->lag, backend->lag_counts);
}

bool service_judge(struct service *service, moment now)
{
    service->latest = now;
    LIST_EACH (&service->backends, it) {
        struct backend *backend = LIST_ENTRY(it, struct backend, node);
        duration fresh = service->limits.sample_fresh;
        bool trusted =
            backend->sampled && fresh.us > 0 && later(backend->sample.asked, fresh).us >= now.us;
        service->judged |= trusted != backend->trusted;
        backend->trusted = trusted;
    }
    service_judge_system(service);
    LIST_EACH (&service->backends, it)
        backend_judge(LIST_ENTRY(it, struct backend, node), now);
    bool changed = service->judged;
    service->judged = false;
    return changed;
}
