#include "pool/live_service.h"

#include "base/table.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/ids.h"
#include "machine/log.h"
#include "pool/failover_parts.h"
#include "pool/finder_parts.h"
#include "pool/outage_parts.h"
#include "pool/pool_parts.h"
#include "pool/probe.h"
#include "pool/router.h"
#include "pool/router_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct live_services {
    struct router *router;
    struct list all;
};

struct live_service {
    struct node node;
    struct live_services *live_services; /* NULL: given up; freed by the resolver, if it runs */
    char *name;
    struct service *service;
    struct rebalance rebalance;
    struct failover failover;
    struct cap cap;        /* the pools that wait for its backends */
    struct config *config; /* counted: the version that `settings` belongs to */
    const struct service_config *settings;
    struct co *resolver;   /* NULL: ended */
    struct finder *finder; /* NULL: not made yet */
    struct probes *probes; /* NULL: no memory, or given up */
    moment looked;         /* when pools were last checked for servers that lag */
    uint32_t pools;
    struct outage outage;    /* `since` 0: logins succeed */
    uint64_t outage_changes; /* number of changes so far */
    bool named;              /* in the latest configuration */
    bool found_anew;         /* its backends are found in another way than those it has */
};

/* How long a sample is trusted: two more may fail or be late, and so may Patroni. */
static duration sample_fresh(const struct service_config *settings)
{
    const struct probe_config *probe = &settings->probe;
    int64_t patroni = settings->patroni.port == 0 ? 0 : settings->patroni.timeout.us;
    if (probe->user == NULL)
        return (duration){0};
    return (duration){.us = 3 * probe->interval.us + probe->timeout.us + patroni};
}

static struct fleet_limits limits_of(const struct service_config *settings)
{
    return (struct fleet_limits){
        .logins_max = settings->logins_max,
        .connections_max = settings->connections_max,
        .retry_min = settings->retry_min,
        .retry_max = settings->retry_max,
        .retry_jitter = settings->balance.retry_jitter,
        .logins_per_second = settings->balance.logins_per_second,
        .zone_min = settings->balance.zone_min,
        .sample_fresh = sample_fresh(settings),
    };
}

/* --- for the console: names ------------------------------------------------------------------- */

void live_services_show_hosts(struct live_services *live_services, struct table_sink *sink)
{
    LIST_EACH (&live_services->all, it) {
        const struct finder *finder = LIST_ENTRY(it, struct live_service, node)->finder;
        if (finder != NULL && finder->kind->show_hosts != NULL)
            finder->kind->show_hosts(finder, sink);
    }
}

static void live_service_show_resolver(const struct live_service *live, struct table_sink *sink)
{
    table_text(sink, live->name);
    table_text(sink, finder_text(live->settings));
    table_text(sink, live->settings->lookup_name);
    table_int(sink, service_backends(live->service));
    if (live->finder != NULL)
        live->finder->kind->show_state(live->finder, sink);
    for (int i = 0; live->finder == NULL && i < 6; i++)
        table_null(sink);
    table_end_row(sink);
}

void live_services_show_failed(struct live_services *live_services, struct table_sink *sink)
{
    LIST_EACH (&live_services->all, it)
        fleet_show_failed(LIST_ENTRY(it, struct live_service, node)->service, now(), sink);
}

void live_services_each(struct live_services *live_services,
                        void (*see)(void *argument, const struct router_service *service),
                        void *argument)
{
    LIST_EACH (&live_services->all, it) {
        const struct live_service *live = LIST_ENTRY(it, struct live_service, node);
        struct router_service service = {.name = live->name,
                                         .resolver = finder_text(live->settings),
                                         .lacks = service_refusal(live->service),
                                         .counts = service_count(live->service),
                                         .down = live->outage.since,
                                         .elections = live->failover.primary.epoch,
                                         .late = live->failover.late};
        if (live->failover.since.us != 0)
            service.primary = primary_state_text(live->failover.primary.state);
        snprintf(service.problem, sizeof(service.problem), "%s", live->outage.text);
        see(argument, &service);
    }
}

void live_services_show_resolvers(struct live_services *live_services, struct table_sink *sink)
{
    LIST_EACH (&live_services->all, it)
        live_service_show_resolver(LIST_ENTRY(it, struct live_service, node), sink);
}

void live_services_show_zones(struct live_services *live_services, struct table_sink *sink)
{
    LIST_EACH (&live_services->all, it) {
        const struct finder *finder = LIST_ENTRY(it, struct live_service, node)->finder;
        if (finder != NULL && finder->kind->show_zones != NULL)
            finder->kind->show_zones(finder, sink);
    }
}

/* --- outages: no login succeeds --------------------------------------------------------------- */

/* Notes the latest failure; `where` is a backend's address or a host name. */
static void live_service_fail(struct live_service *live, const char *sqlstate, const char *where,
                              const char *detail)
{
    struct outage *outage = &live->outage;
    struct outage before = *outage;
    if (outage->since.us == 0)
        outage->since = now();
    snprintf(outage->sqlstate, sizeof(outage->sqlstate), "%s", sqlstate);
    snprintf(outage->text, sizeof(outage->text), "%s: %s", where, detail);
    if (before.since.us == 0 || strcmp(before.text, outage->text) != 0)
        live->outage_changes += 1;
}

void live_service_login_succeeded(struct live_service *live)
{
    if (live->outage.since.us == 0)
        return;
    live->outage.since.us = 0;
    live->outage_changes += 1;
}

void live_service_login_failed(struct live_service *live, const struct lease *lease)
{
    char at[ADDRESS_TEXT_SIZE];
    const char *detail = lease->detail != NULL ? lease->detail : "out of memory";
    address_text(&lease->target.address, at, sizeof(at));
    switch (lease->failure) {
    case SLOT_UNREACHABLE:
        live_service_fail(live, "08006", at, detail);
        return;
    case SLOT_WRONG_ROLE:
        if (lease->pool->route->target != TARGET_DEFAULT)
            return; /* the backend works; the pool lacks the role, see FULL_ROLE */
        live_service_fail(live, "57P03", at, detail);
        return;
    case SLOT_NOT_READY:
        live_service_fail(live, "57P03", at, detail);
        return;
    case SLOT_CROWDED: /* the backend works; its error concerns this pool only */
        live_service_login_succeeded(live);
        return;
    case SLOT_REJECTED: /* says nothing about the backend */
        return;
    }
}

const struct outage *live_service_outage(const struct live_service *live, uint64_t *ret_number)
{
    *ret_number = live->outage_changes;
    return live->outage.since.us == 0 ? NULL : &live->outage;
}

/* --- resolving -------------------------------------------------------------------------------- */

static void live_service_end_finder(struct live_service *live)
{
    struct finder *gone = TAKE(live->finder);
    if (gone != NULL)
        gone->kind->end(gone);
}

/* Gives the backends that were found to the service.  Names that failed remove no backend while the
 * service has one online. */
static fault live_service_set(struct live_service *live, const struct finder_news *news)
{
    const struct backend_found *found = news->found;
    struct address addresses[BACKENDS_FOUND_MAX];
    const char *hosts[BACKENDS_FOUND_MAX];
    if (!news->changed || (news->partial && service_online(live->service)))
        return OK;
    if (!news->by_address && live->found_anew)
        return service_adopt_backends(live->service, found, news->count);
    if (!news->by_address)
        return service_set_backends(live->service, found, news->count);
    for (size_t i = 0; i < news->count; i++) {
        addresses[i] = found[i].address;
        hosts[i] = found[i].target;
    }
    return service_set_addresses(live->service, addresses, hosts, news->count);
}

static void live_service_take(struct live_service *live, const struct finder_news *news)
{
    fault set = live_service_set(live, news);
    if (set == OK && news->changed && service_backends(live->service) > 0)
        live->found_anew = false;
    if (set != OK)
        log_event(LOG_WARNING, "service.unresolved", log_text("service", live->name),
                  log_quote("reason", "out of memory"));
    if (news->ended && news->where != NULL && service_backends(live->service) == 0)
        live_service_fail(live, "08006", news->where, news->wrong);
    if (news->changed || news->ended)
        router_resolved(live->live_services->router, live);
}

/* Lets the finder do what is due, and waits.  Faults: CANCELLED, MEMORY. */
static fault live_service_follow_names(struct live_service *live)
{
    const struct finder_kind *kind = finder_kind_of(live->settings);
    struct finder_news news = {.next = NEVER};
    if (live->finder != NULL && live->finder->kind != kind)
        live_service_end_finder(live);
    if (live->finder == NULL)
        TRY(kind->make(live->config, live->settings, &live->finder));
    TRY(kind->step(live->finder, co_self(), &news));
    if (live->live_services == NULL)
        return FAULT_CANCELLED;
    if (kind == finder_kind_of(live->settings)) /* no reload has come during the step */
        live_service_take(live, &news);
    fault waited = co_wait(news.next);
    return waited == FAULT_CANCELLED ? waited : OK;
}

static void live_service_free(struct live_service *live)
{
    rebalance_fini(&live->rebalance);
    probes_free(&live->probes);
    live_service_end_finder(live);
    service_free(&live->service);
    config_unref(&live->config);
    free(live->name);
    free(live);
}

static void live_service_main(void *argument)
{
    struct live_service *live = argument;
    fault followed = OK;
    live->resolver = co_self();
    while (live->live_services != NULL && followed != FAULT_CANCELLED) {
        followed = live_service_follow_names(live);
        if (followed == FAULT_MEMORY)
            followed = co_sleep(sec(1));
    }
    live->resolver = NULL;
    if (live->live_services == NULL)
        live_service_free(live);
    else
        live_service_end_finder(live);
}

static void live_service_demand(struct live_service *live)
{
    if (live->finder != NULL)
        live->finder->kind->demand(live->finder);
    if (live->resolver != NULL)
        co_wake(live->resolver);
}

void live_service_check(struct live_service *live)
{
    if (service_wants_resolving(live->service) && live->resolver != NULL)
        live_service_demand(live);
}

/* --- probes ----------------------------------------------------------------------------------- */

void live_service_follow_backends(struct live_service *live)
{
    if (live->probes != NULL)
        probes_follow(live->probes, live->config, live->settings);
}

static void live_service_log_role(const struct live_service *live, const struct backend *backend,
                                  enum backend_role before, bool foreign)
{
    static const char *const names[] = {
        [ROLE_UNKNOWN] = "unknown", [ROLE_PRIMARY] = "primary", [ROLE_REPLICA] = "replica"};
    char at[ADDRESS_TEXT_SIZE];
    address_text(backend_address(backend), at, sizeof(at));
    if (backend_role(backend) != before)
        log_event(LOG_NOTICE, "backend.role", log_text("service", live->name),
                  log_text("backend", at), log_text("role", names[backend_role(backend)]),
                  log_text("before", names[before]));
    if (backend_foreign(backend) && !foreign)
        log_event(LOG_WARNING, "backend.foreign", log_text("service", live->name),
                  log_text("backend", at));
}

/* Judges anew what probes and Patroni have told. */
static bool live_service_judge(struct live_service *live)
{
    bool changed = service_judge(live->service, now());
    failover_judge(&live->failover, sample_fresh(live->settings));
    return changed;
}

/* Has pools follow. */
static void live_service_lead(struct live_service *live, bool changed)
{
    /* Lag changes with every sample; pools need not follow each. */
    if (!changed && later(live->looked, ms(200)).us > now().us)
        return;
    live->looked = now();
    router_judged(live->live_services->router, live, changed);
}

void live_service_sampled(struct live_service *live, uint64_t id,
                          const struct backend_sample *sample, moment asked, bool silent)
{
    struct backend *backend = service_backend(live->service, id);
    if (backend == NULL)
        return;
    enum backend_role before = backend_role(backend);
    bool foreign = backend_foreign(backend);
    if (sample != NULL)
        router_sampled(live->live_services->router, live, backend, sample);
    if (sample != NULL)
        backend_sampled(backend, sample, now());
    else if (silent)
        backend_unsampled(backend, asked, now());
    else
        backend_rejected(backend);
    bool changed = live_service_judge(live);
    live_service_log_role(live, backend, before, foreign);
    live_service_check(live);
    live_service_lead(live, changed);
}

static void live_service_log_ruling(const struct live_service *live, const struct backend *backend,
                                    const char *before)
{
    char at[ADDRESS_TEXT_SIZE];
    const char *says = backend_ruling_text(backend);
    if (says == NULL || (before != NULL && strcmp(before, says) == 0))
        return;
    log_event(LOG_NOTICE, "patroni.says", log_text("service", live->name),
              log_text("backend", address_text(backend_address(backend), at, sizeof(at))),
              log_text("says", says), log_text("before", before == NULL ? "" : before));
}

void live_service_ruled(struct live_service *live, uint64_t id, const struct backend_ruling *ruling)
{
    struct backend *backend = service_backend(live->service, id);
    if (backend == NULL)
        return;
    const char *before = backend_ruling_text(backend);
    if (ruling != NULL)
        backend_ruled(backend, ruling, now());
    else
        backend_unruled(backend, now());
    live_service_log_ruling(live, backend, before);
    live_service_lead(live, live_service_judge(live));
}

void live_service_probe(struct live_service *live, const struct address *address)
{
    struct backend *backend = NULL;
    while ((backend = service_next(live->service, backend)) != NULL)
        if (live->probes != NULL && address_equal(backend_address(backend), address))
            probes_ask(live->probes, backend_id(backend));
}

/* --- life ------------------------------------------------------------------------------------- */

/* Leaves the live service to its resolver, which may be in a look-up and frees it when it ends. */
static void live_service_give_up(struct live_service *live)
{
    list_remove(&live->live_services->all, &live->node);
    rebalance_fini(&live->rebalance);
    probes_free(&live->probes);
    live->live_services = NULL;
    if (live->resolver != NULL)
        co_cancel(live->resolver);
    else
        live_service_free(live);
}

/* Whether two versions of a service ask for the same records. */
static bool is_found_alike(const struct service_config *a, const struct service_config *b)
{
    const char *one = a->lookup_name, *other = b->lookup_name;
    return a->resolver == b->resolver && (one == NULL) == (other == NULL) &&
           (one == NULL || strcmp(one, other) == 0);
}

static void live_service_follow(struct live_service *live, struct config *config,
                                const struct service_config *settings)
{
    struct fleet_limits limits = limits_of(settings);
    config_ref(config);
    if (live->finder != NULL && live->finder->kind == finder_kind_of(settings))
        live->finder->kind->set(live->finder, config, settings);
    live->found_anew = live->found_anew || !is_found_alike(live->settings, settings);
    config_unref(&live->config);
    live->config = config;
    live->settings = settings;
    live->named = true;
    service_set_limits(live->service, &limits);
    service_set_zone(live->service, config->zone == NULL ? "" : config->zone);
    live_service_follow_backends(live);
    if (settings->probe.user == NULL) {
        service_forget_samples(live->service);
        failover_release(&live->failover);
    }
    if (settings->patroni.port == 0)
        service_forget_rulings(live->service);
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
    live->named = true;
    cap_init(&live->cap, CAP_SERVICE);
    rebalance_init(&live->rebalance, live_services->router, live);
    failover_init(&live->failover, live_services->router, live);
    fault result =
        live->name == NULL ? FAULT_MEMORY : service_new(settings->name, &limits, &live->service);
    if (result != OK) {
        live_service_free(live);
        return result;
    }
    uint64_t seed;
    random_bytes(&seed, sizeof(seed));
    service_seed(live->service, seed);
    service_set_zone(live->service, config->zone == NULL ? "" : config->zone);
    live->live_services = live_services;
    live->probes = probes_new(live);
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

struct failover *live_services_failover(struct live_services *live_services, const char *name)
{
    struct live_service *live = live_service_find(live_services, name);
    return live == NULL ? NULL : &live->failover;
}

/* Returns how many backends of the service have this host or address, and the last of them. */
static uint32_t live_service_named(const struct live_service *live, const char *name,
                                   struct backend **ret)
{
    struct backend *backend = NULL;
    uint32_t count = 0;
    while ((backend = service_next(live->service, backend)) != NULL) {
        if (backend_obsolete(backend) || !backend_named(backend, name))
            continue;
        *ret = backend;
        count += 1;
    }
    return count;
}

/* Adds a service's name to the list of those that have the backend; NUL-terminated, cut if full. */
static void election_add_service(struct router_election *election, const char *name)
{
    size_t at = strlen(election->services);
    snprintf(election->services + at, sizeof(election->services) - at, "%s\"%s\"",
             at > 0 ? ", " : "", name);
}

void live_services_elect(struct live_services *live_services, const char *name, const char *service,
                         struct router_election *ret)
{
    static const enum router_choice choices[] = {[PRIMARY_CHOSEN] = ROUTER_CHOSEN,
                                                 [PRIMARY_NOT_PRIMARY] = ROUTER_NOT_PRIMARY,
                                                 [PRIMARY_BEHIND] = ROUTER_BEHIND};
    struct live_service *found = NULL;
    struct backend *backend = NULL;
    uint32_t most = 0, services = 0;
    *ret = (struct router_election){.choice = ROUTER_NO_BACKEND};
    if (service[0] != '\0' && live_service_find(live_services, service) == NULL)
        ret->choice = ROUTER_NO_SERVICE;
    LIST_EACH (&live_services->all, it) {
        struct live_service *live = LIST_ENTRY(it, struct live_service, node);
        bool meant = service[0] == '\0' || strcmp(live->name, service) == 0;
        uint32_t count = meant ? live_service_named(live, name, &backend) : 0;
        if (count == 0)
            continue;
        found = live;
        most = MAX_OF(most, count);
        services += 1;
        election_add_service(ret, live->name);
    }
    if (found == NULL)
        return;
    ret->choice = services > 1 ? ROUTER_SERVICES : ROUTER_SEVERAL;
    if (services > 1 || most > 1)
        return;
    duration fresh = sample_fresh(found->settings);
    ret->choice = choices[failover_elect(&found->failover, backend, fresh)];
}

uint32_t live_services_mark(struct live_services *live_services, const char *backend,
                            uint32_t (*mark)(struct service *service, const char *name))
{
    uint32_t sum = 0;
    LIST_EACH (&live_services->all, it) {
        struct live_service *live = LIST_ENTRY(it, struct live_service, node);
        uint32_t count = mark(live->service, backend);
        sum += count;
        if (count == 0)
            continue;
        if (mark == service_drain && service_refusal(live->service) == FLEET_NO_BACKENDS)
            live_service_fail(live, "57P03", live->name, "all of its servers are drained");
        else if (mark == service_undrain)
            live_service_login_succeeded(live);
        router_resolved(live_services->router, live);
    }
    return sum;
}

bool live_services_demand(struct live_services *live_services, const char *name,
                          uint64_t *ret_rounds)
{
    struct live_service *live = live_service_find(live_services, name);
    if (live == NULL)
        return false;
    live_service_demand(live);
    const struct finder *finder = live->finder;
    *ret_rounds = finder == NULL || finder->kind->begun == NULL ? 0 : finder->kind->begun(finder);
    return true;
}

bool live_services_resolved(struct live_services *live_services, const char *name, uint64_t rounds)
{
    const struct live_service *live = live_service_find(live_services, name);
    const struct finder *finder = live == NULL ? NULL : live->finder;
    return finder == NULL || finder->kind->ended == NULL || finder->kind->ended(finder) > rounds;
}

void live_services_show_resolver(struct live_services *live_services, const char *name,
                                 struct table_sink *sink)
{
    struct live_service *live = live_service_find(live_services, name);
    if (live != NULL && live->finder != NULL)
        live->finder->kind->show(live->finder, sink);
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

const struct service_config *live_service_settings(const struct live_service *live)
{
    return live->settings;
}

struct rebalance *live_service_rebalance(struct live_service *live)
{
    return &live->rebalance;
}

struct failover *live_service_failover(struct live_service *live)
{
    return &live->failover;
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
