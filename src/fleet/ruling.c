/* ruling.c - what an arbiter says of backends: see ruling.h. */
#include "fleet/fleet_parts.h"

/* Whether the ruling is about the role that a probe has found. */
static bool ruling_fits(const struct backend *backend)
{
    bool about_replica = backend->ruling.question == RULING_READS;
    return !backend->sampled || backend->sample.replica == about_replica;
}

bool backend_barred(const struct backend *backend)
{
    return backend->ruled && backend->ruling.question == RULING_READS && !backend->ruling.yes;
}

void backend_fit_ruling(struct backend *backend)
{
    if (!backend->ruled || ruling_fits(backend))
        return;
    backend->service->judged |= backend_barred(backend);
    backend->ruled = false;
    backend->denials = 0;
}

void backend_ruled(struct backend *backend, const struct backend_ruling *ruling, moment now)
{
    bool barred = backend_barred(backend);
    bool denies = ruling->question == RULING_PRIMARY && !ruling->yes;
    backend->service->latest = now;
    backend->ruling = *ruling;
    backend->ruled = true;
    backend->silent = false;
    backend->denials = denies ? backend->denials + 1 : 0;
    backend->service->judged |= barred != backend_barred(backend);
}

void backend_unruled(struct backend *backend, moment now)
{
    backend->service->latest = now;
    backend->silent = true;
    backend->unanswered_rulings += 1;
}

void service_forget_rulings(struct service *service)
{
    LIST_EACH (&service->backends, it) {
        struct backend *backend = LIST_ENTRY(it, struct backend, node);
        service->judged |= backend_barred(backend);
        backend->ruled = backend->silent = false;
        backend->denials = 0;
    }
}

const char *backend_ruling_text(const struct backend *backend)
{
    static const char *const texts[][2][2] = {
        [RULING_PRIMARY] = {{"not_leader", "not_leader, silent"}, {"leader", "leader, silent"}},
        [RULING_READS] = {{"no_reads", "no_reads, silent"}, {"reads", "reads, silent"}},
    };
    if (backend->ruled)
        return texts[backend->ruling.question][backend->ruling.yes][backend->silent];
    return backend->silent ? "silent" : NULL;
}
