#include "pool/live_service.h"

#include "base/table.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/dns.h"
#include "machine/log.h"
#include "pool/pool.h"

#include <inttypes.h>
#include <stdlib.h>

#define ADDRESSES_MAX   64
#define RESOLVE_TIMEOUT sec(5)

struct live_services {
    struct router *router;
    struct list all;
};

struct live_service {
    struct node node;
    struct live_services *live_services; /* NULL: given up; freed by the resolver, if it runs */
    char *name;
    struct service *service;
    struct cap cap;        /* the pools that wait for its backends */
    struct config *config; /* counted: the version that `settings` belongs to */
    const struct service_config *settings;
    struct co *resolver; /* NULL: ended */
    struct map names;    /* struct known_name by host */
    uint32_t pools;
    bool named; /* in the latest configuration */
    bool again; /* resolve at once */
};

static struct fleet_limits limits_of(const struct service_config *settings)
{
    return (struct fleet_limits){
        .logins_max = settings->logins_max,
        .connections_max = settings->connections_max,
        .retry_min = settings->retry_min,
        .retry_max = settings->retry_max,
    };
}

/* --- resolved names --------------------------------------------------------------------------- */

#define NAMES_MAX 64u /* hosts of one service */

struct known_name {
    struct map_link link; /* in live service->names */
    deadline until;       /* end of the answer's time to live; NEVER: no end */
    char *addresses;
    char host[];
};

static bool known_is(const struct map_link *link, const void *host)
{
    return strcmp(MAP_ENTRY(link, struct known_name, link)->host, host) == 0;
}

static bool host_is_name(const char *host)
{
    struct address number;
    return !address_host_is_unix(host) && !address_parse_number(host, 0, &number);
}

static struct known_name *known_find(struct live_service *live, const char *host)
{
    uint64_t hash = hash_span(span_text(host));
    struct map_link *link = map_find(&live->names, hash, known_is, host);
    if (link != NULL)
        return MAP_ENTRY(link, struct known_name, link);
    struct known_name *known = calloc(1, sizeof(*known) + strlen(host) + 1);
    if (known == NULL)
        return NULL;
    memcpy(known->host, host, strlen(host) + 1);
    if (map_insert(&live->names, &known->link, hash) == OK)
        return known;
    free(known);
    return NULL;
}

/* Keeps the answer for the console; addresses that do not fit are not shown. */
static void live_service_note(struct live_service *live, const char *host,
                              const struct dns_answer *answer)
{
    struct known_name *known = host_is_name(host) ? known_find(live, host) : NULL;
    struct buffer texts = BUFFER_INIT(4096);
    char text[ADDRESS_TEXT_SIZE];
    if (known == NULL)
        return;
    for (size_t i = 0; i < answer->count; i++)
        buffer_printf(&texts, "%s%s", i > 0 ? "," : "",
                      address_text(&answer->addresses[i], text, sizeof(text)));
    free(known->addresses);
    known->addresses = strndup(texts.size == 0 ? "" : (const char *)texts.at, texts.size);
    known->until = answer->ttl.us == NO_LIMIT.us ? NEVER : after(answer->ttl);
    buffer_fini(&texts);
}

static void known_end(struct map_link *link)
{
    struct known_name *known = MAP_ENTRY(link, struct known_name, link);
    free(known->addresses);
    free(known);
}

static void live_service_forget_names(struct live_service *live)
{
    map_clear(&live->names, known_end);
}

static void live_service_show_host(struct live_service *live, const char *host,
                                   struct table_sink *sink)
{
    struct map_link *link = map_find(&live->names, hash_span(span_text(host)), known_is, host);
    const struct known_name *known = link == NULL ? NULL : MAP_ENTRY(link, struct known_name, link);
    table_text(sink, host);
    if (known == NULL || known->until.us == INT64_MAX)
        table_null(sink);
    else
        table_int(sink, MAX_OF(between(now(), known->until).us, INT64_C(0)) / 1000000);
    table_text(sink, known == NULL || known->addresses == NULL ? "" : known->addresses);
    table_end_row(sink);
}

void live_services_show_hosts(struct live_services *live_services, struct table_sink *sink)
{
    LIST_EACH (&live_services->all, it) {
        struct live_service *live = LIST_ENTRY(it, struct live_service, node);
        for (size_t i = 0; i < live->settings->host_count; i++)
            if (host_is_name(live->settings->hosts[i].host))
                live_service_show_host(live, live->settings->hosts[i].host, sink);
    }
}

/* --- resolving -------------------------------------------------------------------------------- */

struct found {
    struct address addresses[ADDRESSES_MAX];
    const char *hosts[ADDRESSES_MAX];
    size_t count;
};

/* Adds the addresses that one host resolves to.  A failure is logged and returned. */
static fault resolve_host(struct live_service *live, const struct host_config *host,
                          struct found *found)
{
    struct dns_answer answer;
    fault result = dns_resolve(host->host, host->port, &answer, after(RESOLVE_TIMEOUT));
    if (result != OK) {
        log_event(LOG_WARNING, "service.unresolved", "host=%s reason=\"%s\"", host->host,
                  fault_story(result));
        return result;
    }
    live_service_note(live, host->host, &answer);
    for (size_t i = 0; i < answer.count && found->count < ADDRESSES_MAX; i++) {
        found->addresses[found->count] = answer.addresses[i];
        found->hosts[found->count++] = host->host;
    }
    return OK;
}

static fault live_service_resolve(struct live_service *live)
{
    struct found *found = calloc(1, sizeof(*found));
    struct config *config = config_ref(live->config);
    const struct service_config *settings = live->settings;
    fault result = found == NULL ? FAULT_MEMORY : OK;
    bool all = true;
    for (size_t i = 0; found != NULL && i < settings->host_count; i++) {
        result = resolve_host(live, &settings->hosts[i], found);
        if (result == FAULT_CANCELLED)
            break;
        all = all && result == OK;
    }
    /* A name that fails to resolve removes no backend while the service has one online. */
    if (result != FAULT_CANCELLED && live->live_services != NULL && found != NULL &&
        found->count > 0 && (all || !service_online(live->service)))
        result = service_set_addresses(live->service, found->addresses, found->hosts, found->count);
    free(found);
    config_unref(&config);
    return result == FAULT_CANCELLED ? result : all ? OK : FAULT_NAME;
}

static void live_service_free(struct live_service *live)
{
    live_service_forget_names(live);
    service_free(&live->service);
    config_unref(&live->config);
    free(live->name);
    free(live);
}

static void live_service_main(void *argument)
{
    struct live_service *live = argument;
    live->resolver = co_self();
    while (live->live_services != NULL) {
        live->again = false;
        fault resolved = live_service_resolve(live);
        if (live->live_services != NULL && resolved != FAULT_CANCELLED)
            router_resolved(live->live_services->router, live);
        duration pause = resolved == OK ? live->settings->retry_max : sec(1);
        if (resolved == FAULT_CANCELLED || co_sleep(pause) == FAULT_CANCELLED)
            break;
        while (live->live_services != NULL && !live->again && resolved == OK)
            if (co_wait(NEVER) == FAULT_CANCELLED)
                break;
        if (co_cancelled())
            break;
    }
    live->resolver = NULL;
    if (live->live_services == NULL)
        live_service_free(live);
}

void live_service_check(struct live_service *live)
{
    if (!service_wants_resolving(live->service) || live->resolver == NULL)
        return;
    live->again = true;
    co_wake(live->resolver);
}

/* --- life ------------------------------------------------------------------------------------- */

/* Leaves the live service to its resolver, which may be in a look-up and frees it when it ends. */
static void live_service_give_up(struct live_service *live)
{
    list_remove(&live->live_services->all, &live->node);
    live->live_services = NULL;
    if (live->resolver != NULL)
        co_cancel(live->resolver);
    else
        live_service_free(live);
}

static void live_service_follow(struct live_service *live, struct config *config,
                                const struct service_config *settings)
{
    struct fleet_limits limits = limits_of(settings);
    config_ref(config);
    config_unref(&live->config);
    live->config = config;
    live->settings = settings;
    live->named = true;
    live->again = true;
    service_set_limits(live->service, &limits);
    if (live->resolver != NULL)
        co_wake(live->resolver);
}

static fault live_service_new(struct live_services *live_services, struct config *config,
                              const struct service_config *settings)
{
    struct fleet_limits limits = limits_of(settings);
    struct live_service *live = calloc(1, sizeof(*live));
    if (live == NULL)
        return FAULT_MEMORY;
    live->name = strdup(settings->name);
    live->config = config_ref(config);
    live->settings = settings;
    live->names = MAP_INIT(NAMES_MAX);
    live->named = true;
    cap_init(&live->cap, CAP_SERVICE);
    fault result =
        live->name == NULL ? FAULT_MEMORY : service_new(settings->name, &limits, &live->service);
    if (result != OK) {
        live_service_free(live);
        return result;
    }
    live->live_services = live_services;
    list_push(&live_services->all, &live->node);
    return co_start(live_service_main, live, CO_LARGE);
}

static struct live_service *live_service_find(const struct live_services *live_services,
                                              const char *name)
{
    LIST_EACH (&live_services->all, it) {
        struct live_service *live = LIST_ENTRY(it, struct live_service, node);
        if (strcmp(live->name, name) == 0)
            return live;
    }
    return NULL;
}

static void live_services_sweep(struct live_services *live_services)
{
    LIST_EACH_SAFE (&live_services->all, it) {
        struct live_service *live = LIST_ENTRY(it, struct live_service, node);
        if (!live->named && live->pools == 0)
            live_service_give_up(live);
    }
}

fault live_services_reload(struct live_services *live_services, struct config *config)
{
    LIST_EACH (&live_services->all, it)
        LIST_ENTRY(it, struct live_service, node)->named = false;
    for (size_t i = 0; i < config->service_count; i++) {
        struct live_service *live = live_service_find(live_services, config->services[i].name);
        if (live != NULL)
            live_service_follow(live, config, &config->services[i]);
        else
            TRY(live_service_new(live_services, config, &config->services[i]));
    }
    live_services_sweep(live_services);
    return OK;
}

fault live_services_new(struct router *router, struct config *config, struct live_services **ret)
{
    struct live_services *live_services = calloc(1, sizeof(*live_services));
    if (live_services == NULL)
        return FAULT_MEMORY;
    live_services->router = router;
    list_init(&live_services->all);
    fault result = live_services_reload(live_services, config);
    if (result != OK) {
        live_services_free(&live_services);
        return result;
    }
    *ret = live_services;
    return OK;
}

void live_services_free(struct live_services **live_services)
{
    struct live_services *gone = TAKE(*live_services);
    if (gone == NULL)
        return;
    LIST_EACH_SAFE (&gone->all, it)
        live_service_give_up(LIST_ENTRY(it, struct live_service, node));
    free(gone);
}

struct live_service *live_service_join(struct live_services *live_services,
                                       const struct service_config *service)
{
    struct live_service *live = live_service_find(live_services, service->name);
    if (live != NULL)
        live->pools += 1;
    return live;
}

void live_service_leave(struct live_services *live_services, struct live_service **live)
{
    struct live_service *left = TAKE(*live);
    if (left == NULL)
        return;
    invariant(left->pools > 0);
    left->pools -= 1;
    live_services_sweep(live_services);
}

struct cap *live_service_cap(struct live_service *live)
{
    return &live->cap;
}

struct service *live_service_service(const struct live_service *live)
{
    return live->service;
}

void live_services_show(struct live_services *live_services, struct table_sink *sink)
{
    struct service *services[256];
    size_t count = 0;
    LIST_EACH (&live_services->all, it)
        if (count < ARRAY_SIZE(services))
            services[count++] = LIST_ENTRY(it, struct live_service, node)->service;
    fleet_show_backends(services, count, sink);
}
