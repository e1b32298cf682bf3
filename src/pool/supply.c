#include "pool/supply.h"

#include "base/table.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/dns.h"
#include "machine/log.h"
#include "pool/pool.h"

#include <inttypes.h>
#include <stdlib.h>

#define ADDRESSES_MOST  64
#define RESOLVE_TIMEOUT sec(5)

struct supplies {
    struct router *router;
    struct list all;
};

struct supply {
    struct node node;
    struct supplies *supplies; /* NULL: given up, the resolver frees it */
    char *name;
    struct service *service;
    struct cap cap;        /* the pools that wait for its backends */
    struct config *config; /* counted: whose hosts these are */
    const struct service_config *settings;
    struct co *resolver; /* NULL: ended */
    struct map names;    /* struct known_name by host */
    uint32_t pools;
    bool named; /* by the latest configuration */
    bool again; /* resolve at once */
};

static struct fleet_limits limits_of(const struct service_config *settings)
{
    return (struct fleet_limits){
        .logins_most = settings->logins_most,
        .connections_most = settings->connections_most,
        .retry_least = settings->retry_least,
        .retry_most = settings->retry_most,
    };
}

/* --- what names resolved to ------------------------------------------------------------------- */

#define NAMES_MOST 64u /* hosts of one service */

struct known_name {
    struct map_link link; /* in supply->names */
    deadline until;       /* the answer's time to live; NEVER: without end */
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

static struct known_name *known_find(struct supply *supply, const char *host)
{
    uint64_t hash = hash_span(span_text(host));
    struct map_link *link = map_find(&supply->names, hash, known_is, host);
    if (link != NULL)
        return MAP_ENTRY(link, struct known_name, link);
    struct known_name *known = calloc(1, sizeof(*known) + strlen(host) + 1);
    if (known == NULL)
        return NULL;
    memcpy(known->host, host, strlen(host) + 1);
    if (map_insert(&supply->names, &known->link, hash) == OK)
        return known;
    free(known);
    return NULL;
}

/* For the console; what does not fit is not shown. */
static void supply_note(struct supply *supply, const char *host, const struct dns_answer *answer)
{
    struct known_name *known = host_is_name(host) ? known_find(supply, host) : NULL;
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

static void supply_forget_names(struct supply *supply)
{
    map_clear(&supply->names, known_end);
}

static void supply_show_host(struct supply *supply, const char *host, struct table_sink *sink)
{
    struct map_link *link = map_find(&supply->names, hash_span(span_text(host)), known_is, host);
    const struct known_name *known = link == NULL ? NULL : MAP_ENTRY(link, struct known_name, link);
    table_text(sink, host);
    if (known == NULL || known->until.us == INT64_MAX)
        table_null(sink);
    else
        table_int(sink, MAX_OF(between(now(), known->until).us, INT64_C(0)) / 1000000);
    table_text(sink, known == NULL || known->addresses == NULL ? "" : known->addresses);
    table_end_row(sink);
}

void supplies_show_hosts(struct supplies *supplies, struct table_sink *sink)
{
    LIST_EACH (&supplies->all, it) {
        struct supply *supply = LIST_ENTRY(it, struct supply, node);
        for (size_t i = 0; i < supply->settings->host_count; i++)
            if (host_is_name(supply->settings->hosts[i].host))
                supply_show_host(supply, supply->settings->hosts[i].host, sink);
    }
}

/* --- resolving -------------------------------------------------------------------------------- */

struct found {
    struct address addresses[ADDRESSES_MOST];
    const char *hosts[ADDRESSES_MOST];
    size_t count;
};

/* Adds what one host resolves to; a name that fails is logged, and the others still count. */
static fault resolve_host(struct supply *supply, const struct host_config *host,
                          struct found *found)
{
    struct dns_answer answer;
    fault result = dns_resolve(host->host, host->port, &answer, after(RESOLVE_TIMEOUT));
    if (result != OK) {
        log_event(LOG_WARNING, "service.unresolved", "host=%s reason=\"%s\"", host->host,
                  fault_story(result));
        return result;
    }
    supply_note(supply, host->host, &answer);
    for (size_t i = 0; i < answer.count && found->count < ADDRESSES_MOST; i++) {
        found->addresses[found->count] = answer.addresses[i];
        found->hosts[found->count++] = host->host;
    }
    return OK;
}

static fault supply_resolve(struct supply *supply)
{
    struct found *found = calloc(1, sizeof(*found));
    struct config *config = config_ref(supply->config);
    const struct service_config *settings = supply->settings;
    fault result = found == NULL ? FAULT_MEMORY : OK;
    bool all = true;
    for (size_t i = 0; found != NULL && i < settings->host_count; i++) {
        result = resolve_host(supply, &settings->hosts[i], found);
        if (result == FAULT_CANCELLED)
            break;
        all = all && result == OK;
    }
    /* A name that did not resolve just now takes no known backend away. */
    if (result != FAULT_CANCELLED && supply->supplies != NULL && found != NULL &&
        found->count > 0 && (all || !service_online(supply->service)))
        result =
            service_set_addresses(supply->service, found->addresses, found->hosts, found->count);
    free(found);
    config_unref(&config);
    return result == FAULT_CANCELLED ? result : all ? OK : FAULT_NAME;
}

static void supply_free(struct supply *supply)
{
    supply_forget_names(supply);
    service_free(&supply->service);
    config_unref(&supply->config);
    free(supply->name);
    free(supply);
}

static void supply_main(void *argument)
{
    struct supply *supply = argument;
    supply->resolver = co_self();
    while (supply->supplies != NULL) {
        supply->again = false;
        fault resolved = supply_resolve(supply);
        if (supply->supplies != NULL && resolved != FAULT_CANCELLED)
            router_supplied(supply->supplies->router, supply);
        duration pause = resolved == OK ? supply->settings->retry_most : sec(1);
        if (resolved == FAULT_CANCELLED || co_sleep(pause) == FAULT_CANCELLED)
            break;
        while (supply->supplies != NULL && !supply->again && resolved == OK)
            if (co_wait(NEVER) == FAULT_CANCELLED)
                break;
        if (co_cancelled())
            break;
    }
    supply->resolver = NULL;
    if (supply->supplies == NULL)
        supply_free(supply);
}

void supply_check(struct supply *supply)
{
    if (!service_wants_resolving(supply->service) || supply->resolver == NULL)
        return;
    supply->again = true;
    co_wake(supply->resolver);
}

/* --- life ------------------------------------------------------------------------------------- */

/* The resolver may be in the middle of a look-up: it frees the supply when it comes back. */
static void supply_give_up(struct supply *supply)
{
    list_remove(&supply->supplies->all, &supply->node);
    supply->supplies = NULL;
    if (supply->resolver != NULL)
        co_cancel(supply->resolver);
    else
        supply_free(supply);
}

static void supply_follow(struct supply *supply, struct config *config,
                          const struct service_config *settings)
{
    struct fleet_limits limits = limits_of(settings);
    config_ref(config);
    config_unref(&supply->config);
    supply->config = config;
    supply->settings = settings;
    supply->named = true;
    supply->again = true;
    service_set_limits(supply->service, &limits);
    if (supply->resolver != NULL)
        co_wake(supply->resolver);
}

static fault supply_new(struct supplies *supplies, struct config *config,
                        const struct service_config *settings)
{
    struct fleet_limits limits = limits_of(settings);
    struct supply *supply = calloc(1, sizeof(*supply));
    if (supply == NULL)
        return FAULT_MEMORY;
    supply->name = strdup(settings->name);
    supply->config = config_ref(config);
    supply->settings = settings;
    supply->names = MAP_INIT(NAMES_MOST);
    supply->named = true;
    cap_init(&supply->cap, CAP_SERVICE);
    fault result = supply->name == NULL ? FAULT_MEMORY
                                        : service_new(settings->name, &limits, &supply->service);
    if (result != OK) {
        supply_free(supply);
        return result;
    }
    supply->supplies = supplies;
    list_push(&supplies->all, &supply->node);
    return co_start(supply_main, supply, CO_LARGE);
}

static struct supply *supply_find(const struct supplies *supplies, const char *name)
{
    LIST_EACH (&supplies->all, it) {
        struct supply *supply = LIST_ENTRY(it, struct supply, node);
        if (strcmp(supply->name, name) == 0)
            return supply;
    }
    return NULL;
}

static void supplies_sweep(struct supplies *supplies)
{
    LIST_EACH_SAFE (&supplies->all, it) {
        struct supply *supply = LIST_ENTRY(it, struct supply, node);
        if (!supply->named && supply->pools == 0)
            supply_give_up(supply);
    }
}

fault supplies_reload(struct supplies *supplies, struct config *config)
{
    LIST_EACH (&supplies->all, it)
        LIST_ENTRY(it, struct supply, node)->named = false;
    for (size_t i = 0; i < config->service_count; i++) {
        struct supply *supply = supply_find(supplies, config->services[i].name);
        if (supply != NULL)
            supply_follow(supply, config, &config->services[i]);
        else
            TRY(supply_new(supplies, config, &config->services[i]));
    }
    supplies_sweep(supplies);
    return OK;
}

fault supplies_new(struct router *router, struct config *config, struct supplies **ret)
{
    struct supplies *supplies = calloc(1, sizeof(*supplies));
    if (supplies == NULL)
        return FAULT_MEMORY;
    supplies->router = router;
    list_init(&supplies->all);
    fault result = supplies_reload(supplies, config);
    if (result != OK) {
        supplies_free(&supplies);
        return result;
    }
    *ret = supplies;
    return OK;
}

void supplies_free(struct supplies **supplies)
{
    struct supplies *gone = TAKE(*supplies);
    if (gone == NULL)
        return;
    LIST_EACH_SAFE (&gone->all, it)
        supply_give_up(LIST_ENTRY(it, struct supply, node));
    free(gone);
}

struct supply *supply_join(struct supplies *supplies, const struct service_config *service)
{
    struct supply *supply = supply_find(supplies, service->name);
    if (supply != NULL)
        supply->pools += 1;
    return supply;
}

void supply_leave(struct supplies *supplies, struct supply **supply)
{
    struct supply *left = TAKE(*supply);
    if (left == NULL)
        return;
    invariant(left->pools > 0);
    left->pools -= 1;
    supplies_sweep(supplies);
}

struct cap *supply_cap(struct supply *supply)
{
    return &supply->cap;
}

struct service *supply_service(const struct supply *supply)
{
    return supply->service;
}

void supplies_show(struct supplies *supplies, struct table_sink *sink)
{
    struct service *services[256];
    size_t count = 0;
    LIST_EACH (&supplies->all, it)
        if (count < ARRAY_SIZE(services))
            services[count++] = LIST_ENTRY(it, struct supply, node)->service;
    fleet_show_backends(services, count, sink);
}
