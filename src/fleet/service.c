#include "fleet/fleet_types.h"

#include "base/table.h"
#include "machine/stream.h"

#include <stdlib.h>

/* --- names ------------------------------------------------------------------------------------ */

static struct backend_name *backend_name_new(const char *text)
{
    size_t size = strlen(text) + 1;
    struct backend_name *name = malloc(sizeof(*name) + size);
    if (name == NULL)
        return NULL;
    name->next = NULL;
    memcpy(name->text, text, size);
    return name;
}

static void backend_names_free(struct backend_name **names)
{
    while (*names != NULL) {
        struct backend_name *name = *names;
        *names = name->next;
        free(name);
    }
}

/* Moves the name to the front.  Allocates only when it is new. */
static fault backend_rename(struct backend *backend, const char *host)
{
    struct backend_name **at = &backend->names;
    while (*at != NULL && strcmp((*at)->text, host) != 0)
        at = &(*at)->next;
    struct backend_name *name = *at;
    if (name != NULL)
        *at = name->next;
    else
        name = backend_name_new(host);
    if (name == NULL)
        return FAULT_MEMORY;
    name->next = backend->names;
    backend->names = name;
    return OK;
}

/* --- a backend's state ------------------------------------------------------------------------ */

/*
 *              lost                      unreachable
 *   ONLINE ----------> SUSPECT ----------------------------> OFFLINE
 *     ^  \               |  \                                 ^   |
 *     |   \  not ready   |   `--------> NOT_READY <-----------|---'
 *     |    `-------------|-----------------^  |  unreachable  |
 *     |                  |                    `---------------'
 *     `--- success ------+---- of any login, in whatever state
 */
#define TO(state) (1u << (state))
static const uint8_t permitted[BACKEND_STATES] = {
    [BACKEND_ONLINE] =
        TO(BACKEND_ONLINE) | TO(BACKEND_SUSPECT) | TO(BACKEND_NOT_READY) | TO(BACKEND_OFFLINE),
    [BACKEND_SUSPECT] = TO(BACKEND_ONLINE) | TO(BACKEND_NOT_READY) | TO(BACKEND_OFFLINE),
    [BACKEND_NOT_READY] = TO(BACKEND_ONLINE) | TO(BACKEND_NOT_READY) | TO(BACKEND_OFFLINE),
    [BACKEND_OFFLINE] = TO(BACKEND_ONLINE) | TO(BACKEND_NOT_READY) | TO(BACKEND_OFFLINE),
};

static void backend_become(struct backend *backend, enum backend_state next)
{
    invariant((permitted[backend->state] & TO(next)) != 0);
    backend->state = next;
}

void backend_recover(struct backend *backend)
{
    if (backend->state != BACKEND_ONLINE)
        backend->epoch += 1;
    backend_become(backend, BACKEND_ONLINE);
    backend->backoff = ms(0);
    backend->crowded = false;
}

void backend_fail(struct backend *backend, enum backend_state state, deadline now)
{
    const struct fleet_limits *limits = &backend->service->limits;
    invariant(state == BACKEND_NOT_READY || state == BACKEND_OFFLINE);
    backend_become(backend, state);
    backend->epoch += 1;
    backend->crowded = false;
    backend->failed_at = now;
    if (backend->backoff.us < limits->retry_min.us)
        backend->backoff = limits->retry_min;
    else if (backend->backoff.us > limits->retry_max.us / 2)
        backend->backoff = limits->retry_max;
    else
        backend->backoff.us *= 2;
    invariant(backend->backoff.us > 0 && backend->backoff.us <= limits->retry_max.us);
}

void backend_suspect(struct backend *backend)
{
    /* The other states already allow no more than one login at a time.  The epoch stays, because a
     * failure of a login in progress still counts. */
    if (backend->state == BACKEND_ONLINE)
        backend_become(backend, BACKEND_SUSPECT);
}

deadline backend_due(const struct backend *backend)
{
    duration max = backend->service->limits.retry_max;
    if (backend->state == BACKEND_NOT_READY || backend->state == BACKEND_OFFLINE) {
        /* A limit that was lowered meanwhile counts at once. */
        return later(backend->failed_at, backend->backoff.us < max.us ? backend->backoff : max);
    }
    if (backend->role == ROLE_REPLICA)
        return later(backend->looked_at, max);
    return (deadline){.us = 0};
}

/* --- a backend's life ------------------------------------------------------------------------- */

static void backend_free(struct backend **backend)
{
    if (*backend == NULL)
        return;
    invariant((*backend)->slots == 0 && (*backend)->logins == 0);
    invariant(!node_linked(&(*backend)->node));
    backend_names_free(&(*backend)->names);
    free(*backend);
    *backend = NULL;
}

static struct backend *backend_new(struct service *service, const struct address *address,
                                   const char *host)
{
    struct backend *backend = calloc(1, sizeof(*backend));
    struct backend_name *name = backend_name_new(host);
    if (backend == NULL || name == NULL) {
        free(backend);
        free(name);
        return NULL;
    }
    backend->service = service;
    backend->address = *address;
    backend->names = name;
    backend->id = ++service->ids;
    return backend;
}

void backend_settle(struct backend *backend)
{
    if (backend->slots > 0)
        return;
    backend_names_free(&backend->names->next);
    if (!backend->obsolete)
        return;
    list_remove(&backend->service->backends, &backend->node);
    backend_free(&backend);
}

const struct address *backend_address(const struct backend *backend)
{
    return &backend->address;
}

const char *backend_host(const struct backend *backend)
{
    return backend->names->text;
}

enum backend_role backend_role(const struct backend *backend)
{
    return backend->role;
}

bool backend_online(const struct backend *backend)
{
    return backend->state != BACKEND_OFFLINE;
}

bool backend_obsolete(const struct backend *backend)
{
    return backend->obsolete;
}

uint32_t backend_slots(const struct backend *backend)
{
    return backend->slots;
}

/* --- a service -------------------------------------------------------------------------------- */

fault service_new(const char *name, const struct fleet_limits *limits, struct service **ret)
{
    struct service *service = calloc(1, sizeof(*service));
    char *copy = strdup(name);
    if (service == NULL || copy == NULL) {
        free(service);
        free(copy);
        return FAULT_MEMORY;
    }
    service->name = copy;
    service->references = 1;
    list_init(&service->backends);
    service_set_limits(service, limits);
    *ret = service;
    return OK;
}

/* Makes the first `count` backends of the list obsolete and moves them to its end. */
static void service_retire(struct service *service, uint32_t count)
{
    invariant(count <= service->backends.count);
    for (; count > 0; count--) {
        struct node *first = list_pop(&service->backends);
        LIST_ENTRY(first, struct backend, node)->obsolete = true;
        list_push(&service->backends, first);
    }
    /* The analyzer does not see that a freed backend has left the ring. */
    LIST_EACH_SAFE (&service->backends, it) /* NOLINT(clang-analyzer-unix.Malloc) */
        backend_settle(LIST_ENTRY(it, struct backend, node));
}

void service_unref(struct service **service)
{
    struct service *gone = TAKE(*service);
    invariant(gone->references > 0);
    gone->references -= 1;
    if (gone->references > 0)
        return;
    service_retire(gone, gone->backends.count);
    invariant(list_empty(&gone->backends)); /* no pool is left, so no slot either */
    free(gone->name);
    free(gone);
}

void service_free(struct service **service)
{
    if (*service == NULL)
        return;
    service_retire(*service, (*service)->backends.count);
    service_unref(service);
}

void service_set_limits(struct service *service, const struct fleet_limits *limits)
{
    service->limits = *limits;
    /* Decisions rely on these: at least one login is permitted, and a pause is not 0. */
    service->limits.logins_max = MAX_OF(limits->logins_max, 1u);
    service->limits.retry_min.us = MAX_OF(limits->retry_min.us, ms(1).us);
    service->limits.retry_max.us = MAX_OF(limits->retry_max.us, service->limits.retry_min.us);
}

static struct backend *service_find(const struct service *service, const struct address *address)
{
    LIST_EACH (&service->backends, it) {
        struct backend *backend = LIST_ENTRY(it, struct backend, node);
        if (address_equal(&backend->address, address))
            return backend;
    }
    return NULL;
}

/* Returns whether an address occurred before.  An address of two names belongs to the first. */
static bool address_repeats(const struct address *addresses, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (address_equal(&addresses[i], &addresses[at]))
            return true;
    }
    return false;
}

/* Moves the backends of all addresses to the end of the list, in their order.  On a fault the
 * backends that are new so far stay, and the next resolving continues from there. */
static fault service_take(struct service *service, const struct address *addresses,
                          const char *const *hosts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (address_repeats(addresses, i))
            continue;
        struct backend *backend = service_find(service, &addresses[i]);
        if (backend == NULL)
            backend = backend_new(service, &addresses[i], hosts[i]);
        else
            list_remove(&service->backends, &backend->node);
        if (backend == NULL)
            return FAULT_MEMORY;
        backend->obsolete = false;
        list_push(&service->backends, &backend->node);
        TRY(backend_rename(backend, hosts[i]));
    }
    return OK;
}

fault service_set_addresses(struct service *service, const struct address *addresses,
                            const char *const *hosts, size_t count)
{
    if (count > SERVICE_BACKENDS_MAX)
        return fault_raise(FAULT_LIMIT, "service %s has %zu addresses, the limit is %u",
                           service->name, count, SERVICE_BACKENDS_MAX);
    TRY(service_take(service, addresses, hosts, count));

    uint32_t named = 0;
    for (size_t i = 0; i < count; i++)
        named += address_repeats(addresses, i) ? 0 : 1;
    invariant(named <= service->backends.count);
    service_retire(service, service->backends.count - named); /* these are at the front now */
    return OK;
}

bool service_wants_resolving(struct service *service)
{
    bool wants = service->wants_resolving;
    service->wants_resolving = false;
    return wants;
}

uint32_t service_backends(const struct service *service)
{
    uint32_t count = 0;
    LIST_EACH (&service->backends, it)
        count += LIST_ENTRY(it, struct backend, node)->obsolete ? 0 : 1;
    return count;
}

bool service_online(const struct service *service)
{
    bool any = false;
    LIST_EACH (&service->backends, it) {
        const struct backend *backend = LIST_ENTRY(it, struct backend, node);
        if (backend->obsolete)
            continue;
        if (backend_online(backend))
            return true;
        any = true;
    }
    return !any;
}

/* --- for the console -------------------------------------------------------------------------- */

static const char *backend_state_text(const struct backend *backend)
{
    static const char *const texts[] = {
        [BACKEND_ONLINE] = "online",
        [BACKEND_SUSPECT] = "suspect",
        [BACKEND_NOT_READY] = "not_ready",
        [BACKEND_OFFLINE] = "offline",
    };
    static_assert(ARRAY_SIZE(texts) == BACKEND_STATES, "every state has a text");
    return backend->obsolete ? "obsolete" : texts[backend->state];
}

static const char *backend_role_text(const struct backend *backend)
{
    static const char *const texts[] = {
        [ROLE_UNKNOWN] = "unknown",
        [ROLE_PRIMARY] = "primary",
        [ROLE_REPLICA] = "replica",
    };
    invariant(backend->role < ARRAY_SIZE(texts));
    return texts[backend->role];
}

static void backend_show(const struct backend *backend, struct table_sink *sink)
{
    char address[ADDRESS_TEXT_SIZE];
    duration wait = between(backend->service->latest, backend_due(backend));
    table_text(sink, backend->service->name);
    table_text(sink, backend_host(backend));
    table_text(sink, address_text(&backend->address, address, sizeof(address)));
    table_text(sink, backend_role_text(backend));
    table_text(sink, backend_state_text(backend));
    table_int(sink, backend->slots);
    table_int(sink, backend->logins);
    table_int(sink, (int64_t)backend->failures);
    table_int(sink, wait.us > 0 ? (wait.us + 999) / 1000 : 0);
    table_end_row(sink);
}

void fleet_show_backends(struct service *const *services, size_t count, struct table_sink *sink)
{
    static const struct column columns[] = {
        {"service", COLUMN_TEXT}, {"host", COLUMN_TEXT},     {"addr", COLUMN_TEXT},
        {"role", COLUMN_TEXT},    {"state", COLUMN_TEXT},    {"slots", COLUMN_INT4},
        {"logins", COLUMN_INT4},  {"failures", COLUMN_INT8}, {"retry_in_ms", COLUMN_INT8},
    };
    table_begin(sink, columns, ARRAY_SIZE(columns));
    for (size_t i = 0; i < count; i++) {
        LIST_EACH (&services[i]->backends, it)
            backend_show(LIST_ENTRY(it, struct backend, node), sink);
    }
}
