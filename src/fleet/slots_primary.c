/* slots_primary.c - where pools that need the primary may have slots: see primary.h. */
#include "fleet/fleet_parts.h"
#include "fleet/primary.h"

struct backend *service_backend(const struct service *service, uint64_t id)
{
    LIST_EACH (&service->backends, it)
        if (LIST_ENTRY(it, struct backend, node)->id == id)
            return LIST_ENTRY(it, struct backend, node);
    return NULL;
}

void service_set_primary(struct service *service, uint64_t id, moment now)
{
    struct backend *backend = service_backend(service, id);
    service->guarded = true;
    service->primary = id;
    if (backend == NULL)
        return;
    /* It has just answered that it is the primary, whatever logins found before. */
    backend->role = ROLE_PRIMARY;
    backend->looked_at = now;
    backend->refused = 0;
    backend_recover(backend);
}

void service_release_primary(struct service *service)
{
    service->guarded = false;
    service->primary = 0;
}

void service_set_held(struct service *service, bool held)
{
    service->held = held;
}

void backend_set_replaced(struct backend *backend, bool replaced)
{
    backend->replaced = replaced;
}

bool backend_replaced(const struct backend *backend)
{
    return backend->replaced;
}

bool backend_claim(const struct backend *backend, struct primary_candidate *ret)
{
    *ret = (struct primary_candidate){
        .backend = backend->id,
        .tried = backend->sampled || backend->unanswered > 0,
        .sampled = backend->sampled,
        .sample = backend->sample,
        .moved = backend->moved,
        .denials = backend->denials,
    };
    if (backend->ruled && backend->ruling.question == RULING_PRIMARY) {
        ret->word = backend->ruling.yes ? PRIMARY_CONFIRMED : PRIMARY_DENIED;
        ret->said = backend->ruling.asked;
    }
    return !backend->obsolete;
}

bool backend_take_move(struct backend *backend)
{
    bool moved = backend->moved_lately;
    backend->moved_lately = false;
    return moved;
}

bool slot_before_move(const struct slot *slot)
{
    return slot->since.us < slot->backend->moved.us;
}

bool slots_need_primary(const struct slots *slots)
{
    return target_needs_primary(slots->target);
}

bool slots_may_use(const struct slots *slots, const struct backend *backend)
{
    const struct service *service = slots->service;
    if (backend->replaced || (service->held && slots_need_primary(slots)))
        return false;
    return !service->guarded || !slots_need_primary(slots) || backend->id == service->primary;
}

bool slots_lack_primary(const struct slots *slots)
{
    const struct service *service = slots->service;
    return service->guarded && service->primary == 0 && slots_need_primary(slots);
}
