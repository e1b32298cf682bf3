/* service.c - the backends of a service and their states. */
#include "base/probes.h"
#include "fleet/fleet_parts.h"

#include "base/table.h"
#include "machine/stream.h"

#include <stdio.h>
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
    if (backend->state != BACKEND_ONLINE) {
        backend->epoch += 1;
        PROBE3(slot__set__online, backend->service->name, (const char *)backend->names->text,
               backend->slots);
    }
    backend_become(backend, BACKEND_ONLINE);
    fleet_backoff_reset(&backend->backoff);
    backend->crowded = false;
}

void backend_fail(struct backend *backend, enum backend_state state, moment now)
{
    const struct fleet_limits *limits = &backend->service->limits;
    const struct fleet_pauses pauses = {limits->retry_min, limits->retry_max, limits->retry_jitter};
    invariant(state == BACKEND_NOT_READY || state == BACKEND_OFFLINE);
    PROBE3(slot__set__offline, backend->service->name, (const char *)backend->names->text, state);
    backend_become(backend, state);
    backend->epoch += 1;
    backend->crowded = false;
    backend->failed_at = now;
    fleet_backoff_fail(&backend->backoff, &pauses, &backend->service->random);
    fleet_window_add(&backend->window, now);
}

void backend_useless(struct backend *backend, moment now)
{
    if (backend->state != BACKEND_SUSPECT && backend->state != BACKEND_ONLINE)
        return;
    backend->backoff = backend->trouble;
    backend_fail(backend, BACKEND_NOT_READY, now);
    backend->trouble = backend->backoff;
}

void backend_useful(struct backend *backend)
{
    fleet_backoff_reset(&backend->trouble);
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
        duration pause = backend->backoff.pause;
        return later(backend->failed_at, pause.us < max.us ? pause : max);
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
    backend->weight = BACKEND_WEIGHT_PLAIN;
    backend->window.length = FAILURES_WINDOW;
    return backend;
}

void backend_settle(struct backend *backend)
{
    if (backend->slots > 0)
        return;
    backend_names_free(&backend->names->next);
    if (!backend->obsolete || backend->drained)
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

bool backend_leaving(const struct backend *backend)
{
    return backend->obsolete || backend->drained || backend->foreign;
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
    LIST_EACH (&gone->backends, it)
        LIST_ENTRY(it, struct backend, node)->drained = false;
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
    service->limits.retry_jitter = MIN_OF(limits->retry_jitter, 100u);
    service->limits.zone_min = MAX_OF(limits->zone_min, 1u);
}

void service_seed(struct service *service, uint64_t seed)
{
    service->random.state = seed;
}

bool service_spreads(const struct service *service)
{
    return service->limits.spread || service->graded;
}

static void zone_set(char *zone, const char *text)
{
    (void)snprintf(zone, FLEET_ZONE_SIZE, "%s", text);
}

static void backend_locate(struct backend *backend)
{
    const char *zone = backend->service->zone;
    backend->near = *zone != '\0' && strcmp(backend->zone, zone) == 0;
}

void service_set_zone(struct service *service, const char *zone)
{
    zone_set(service->zone, zone);
    LIST_EACH (&service->backends, it)
        backend_locate(LIST_ENTRY(it, struct backend, node));
}

/* Returns whether the backend is the one that was found.  Without a target: at its address. */
static bool backend_is(const struct backend *backend, const struct backend_found *found,
                       const char *target)
{
    return address_equal(&backend->address, &found->address) &&
           (target == NULL || strcmp(backend->names->text, target) == 0);
}

static struct backend *service_find(const struct service *service,
                                    const struct backend_found *found, const char *target)
{
    LIST_EACH (&service->backends, it) {
        struct backend *backend = LIST_ENTRY(it, struct backend, node);
        if (backend_is(backend, found, target))
            return backend;
    }
    return NULL;
}

/* Returns whether an address occurred before.  An address of two names belongs to the first, so
 * that connections_max holds for it. */
static bool found_repeats(const struct backend_found *found, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (address_equal(&found[i].address, &found[at].address))
            return true;
    }
    return false;
}

static void backend_grade(struct backend *backend, const struct backend_found *found)
{
    backend->priority = found->priority;
    backend->weight = found->weight;
    zone_set(backend->zone, found->zone == NULL ? "" : found->zone);
    backend_locate(backend);
}

/* What the identity of a backend is made of. */
enum identity { BY_ADDRESS, BY_TARGET };

/* Moves the backends that were found to the end of the list, in their order.  On a fault the
 * backends that are new so far stay, and the next resolving continues from there. */
static fault service_take(struct service *service, const struct backend_found *found, size_t count,
                          enum identity identity)
{
    for (size_t i = 0; i < count; i++) {
        const char *target = found[i].target;
        if (found_repeats(found, i))
            continue;
        struct backend *backend =
            service_find(service, &found[i], identity == BY_TARGET ? target : NULL);
        if (backend == NULL)
            backend = backend_new(service, &found[i].address, target);
        else
            list_remove(&service->backends, &backend->node);
        if (backend == NULL)
            return FAULT_MEMORY;
        backend->obsolete = false;
        backend_grade(backend, &found[i]);
        list_push(&service->backends, &backend->node);
        TRY(backend_rename(backend, target));
    }
    return OK;
}

static fault service_set(struct service *service, const struct backend_found *found, size_t count,
                         enum identity identity)
{
    if (count > SERVICE_BACKENDS_MAX)
        return fault_raise(FAULT_LIMIT, "service %s has %zu addresses, the limit is %u",
                           service->name, count, SERVICE_BACKENDS_MAX);
    TRY(service_take(service, found, count, identity));

    uint32_t named = 0;
    service->graded = false;
    for (size_t i = 0; i < count; i++) {
        named += found_repeats(found, i) ? 0 : 1;
        service->graded |= found[i].priority != 0 || found[i].weight != BACKEND_WEIGHT_PLAIN ||
                           (found[i].zone != NULL && *found[i].zone != '\0');
    }
    invariant(named <= service->backends.count);
    service_retire(service, service->backends.count - named); /* these are at the front now */
    return OK;
}

fault service_set_backends(struct service *service, const struct backend_found *found, size_t count)
{
    return service_set(service, found, count, BY_TARGET);
}

fault service_adopt_backends(struct service *service, const struct backend_found *found,
                             size_t count)
{
    return service_set(service, found, count, BY_ADDRESS);
}

fault service_set_addresses(struct service *service, const struct address *addresses,
                            const char *const *hosts, size_t count)
{
    struct backend_found *found = calloc(MAX_OF(count, (size_t)1), sizeof(*found));
    if (found == NULL)
        return FAULT_MEMORY;
    for (size_t i = 0; i < count; i++)
        found[i] = (struct backend_found){
            .target = hosts[i], .address = addresses[i], .weight = BACKEND_WEIGHT_PLAIN};
    fault result = service_set(service, found, count, BY_ADDRESS);
    free(found);
    return result;
}

/* --- taking backends out of service ----------------------------------------------------------- */

bool backend_named(const struct backend *backend, const char *name)
{
    char address[ADDRESS_TEXT_SIZE], port[8];
    size_t host = strlen(backend->names->text);
    (void)snprintf(port, sizeof(port), ":%u", backend->address.port);
    if (strcmp(address_text(&backend->address, address, sizeof(address)), name) == 0)
        return true;
    return strncmp(backend->names->text, name, host) == 0 &&
           (name[host] == '\0' || strcmp(name + host, port) == 0);
}

enum backend_mark { BACKEND_SERVES, BACKEND_DRAINED };

static uint32_t service_mark(struct service *service, const char *name, enum backend_mark mark)
{
    uint32_t count = 0;
    LIST_EACH_SAFE (&service->backends, it) {
        struct backend *backend = LIST_ENTRY(it, struct backend, node);
        if (!backend_named(backend, name))
            continue;
        backend->drained = mark == BACKEND_DRAINED;
        count += 1;
        backend_settle(backend);
    }
    return count;
}

uint32_t service_drain(struct service *service, const char *name)
{
    return service_mark(service, name, BACKEND_DRAINED);
}

uint32_t service_undrain(struct service *service, const char *name)
{
    return service_mark(service, name, BACKEND_SERVES);
}

enum fleet_refusal service_refusal(const struct service *service)
{
    enum fleet_refusal refusal = FLEET_NO_BACKENDS;
    LIST_EACH (&service->backends, it) {
        const struct backend *backend = LIST_ENTRY(it, struct backend, node);
        if (backend_leaving(backend))
            continue;
        if (backend->state == BACKEND_ONLINE || backend->state == BACKEND_SUSPECT)
            return FLEET_ALL_USED;
        refusal = FLEET_NONE_ONLINE;
    }
    return refusal;
}

struct service_counts service_count(const struct service *service)
{
    struct service_counts counts = {.backends = 0};
    LIST_EACH (&service->backends, it) {
        const struct backend *backend = LIST_ENTRY(it, struct backend, node);
        bool up = backend->state == BACKEND_ONLINE || backend->state == BACKEND_SUSPECT;
        counts.slots += backend->slots;
        counts.logins += backend->logins;
        counts.drained += backend->drained ? 1 : 0;
        if (backend->obsolete)
            continue;
        counts.backends += 1;
        counts.online += up && !backend->drained && backend->role != ROLE_REPLICA ? 1 : 0;
    }
    return counts;
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
    if (backend->drained)
        return "drained";
    if (backend->foreign)
        return "foreign";
    if (backend->replaced)
        return "replaced";
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

/* In the words of a circuit breaker: closed, logins go through; open, none does; half-open, one
 * does as a trial. */
static const char *backend_breaker_text(const struct backend *backend)
{
    if (backend->state == BACKEND_ONLINE)
        return "closed";
    bool trial = backend->state == BACKEND_SUSPECT || backend->logins > 0 ||
                 backend_due(backend).us <= backend->service->latest.us;
    return trial ? "half-open" : "open";
}

static void int_or_null(struct table_sink *sink, int64_t value, bool known)
{
    if (known)
        table_int(sink, value);
    else
        table_null(sink);
}

static void backend_show_sample(const struct backend *backend, struct table_sink *sink)
{
    const struct backend_sample *sample = &backend->sample;
    int_or_null(sink, sample->line, backend->trusted && sample->line != 0);
    int_or_null(sink, backend->lag.us / 1000,
                backend->trusted && sample->replica && backend->lag.us >= 0);
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
    table_int(sink, backend->priority);
    table_int(sink, backend->weight);
    table_text(sink, backend->zone);
    backend_show_sample(backend, sink);
    table_text(sink, backend_breaker_text(backend));
    table_text(sink, backend_ruling_text(backend));
    table_int(sink, (int64_t)backend->unanswered_rulings);
    table_end_row(sink);
}

void fleet_show_backends(struct service *const *services, size_t count, struct table_sink *sink)
{
    static const struct column columns[] = {
        {"service", COLUMN_TEXT},
        {"host", COLUMN_TEXT},
        {"addr", COLUMN_TEXT},
        {"role", COLUMN_TEXT},
        {"state", COLUMN_TEXT},
        {"slots", COLUMN_INT4},
        {"logins", COLUMN_INT4},
        {"failures", COLUMN_INT8},
        {"retry_in_ms", COLUMN_INT8},
        {"priority", COLUMN_INT4},
        {"weight", COLUMN_INT4},
        {"zone", COLUMN_TEXT},
        {"timeline", COLUMN_INT8},
        {"lag_ms", COLUMN_INT8},
        {"breaker", COLUMN_TEXT},
        {"arbiter", COLUMN_TEXT},
        {"arbiter_failures", COLUMN_INT8},
    };
    table_begin(sink, columns, ARRAY_SIZE(columns));
    for (size_t i = 0; i < count; i++) {
        LIST_EACH (&services[i]->backends, it)
            backend_show(LIST_ENTRY(it, struct backend, node), sink);
    }
}

static void backend_show_failed(const struct backend *backend, moment now, struct table_sink *sink)
{
    char address[ADDRESS_TEXT_SIZE];
    duration wait = between(now, backend_due(backend));
    table_null(sink);
    table_text(sink, backend->service->name);
    table_text(sink, address_text(&backend->address, address, sizeof(address)));
    for (int i = 0; i < 3; i++)
        table_null(sink);
    table_text(sink, "failed");
    table_int(sink, between(backend->failed_at, now).us / 1000);
    table_null(sink);
    table_int(sink, wait.us > 0 ? (wait.us + 999) / 1000 : 0);
    table_end_row(sink);
}

void fleet_show_failed(const struct service *service, moment now, struct table_sink *sink)
{
    LIST_EACH (&service->backends, it) {
        const struct backend *backend = LIST_ENTRY(it, struct backend, node);
        bool failed = backend->state == BACKEND_NOT_READY || backend->state == BACKEND_OFFLINE;
        if (failed && !backend->obsolete)
            backend_show_failed(backend, now, sink);
    }
}
