/*
 * finder_records.c - finds the backends of a name by its records: the driver of struct resolver
 * (fleet/).  Sends its queries, reads the machine's files, logs what fails.
 *
 * Nothing here suspends: the live service's coroutine is woken when an answer has come.
 */
#include "base/list.h"
#include "base/table.h"
#include "fleet/resolver.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/dns.h"
#include "machine/log.h"
#include "pool/finder_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct records_finder {
    struct finder finder;
    struct config *config; /* counted: the version that `settings` belongs to */
    struct resolver *resolver;
    const struct service_config *settings;
    struct co *waiting;  /* NULL: nobody */
    struct list queries; /* struct record_query, under way */
    uint64_t version;    /* the latest that was told */
    uint64_t rounds;     /* the latest that was told */
    char *wrong;         /* what was logged of the latest round; NULL: nothing */
};

/* A query under way.  On the heap, because it may outlive the resolver. */
struct record_query {
    struct node node;
    struct records_finder *live; /* NULL: the resolver is gone */
    uint64_t number;
};

static struct resolver_settings settings_of(const struct service_config *settings)
{
    return (struct resolver_settings){
        .kind = (enum resolver_kind)settings->resolver,
        .name = settings->lookup_name,
        .port = settings->lookup_port,
        .servers = settings->name_servers,
        .server_count = settings->name_server_count,
        .server_service = settings->resolver_service,
        .timeout = settings->name_server_timeout,
        .at_once = settings->name_servers_at_once,
        .empty_after = settings->empty_after,
        .refresh_min = settings->refresh_min,
        .refresh_max = settings->refresh_max,
        .stale_for = settings->stale_for,
    };
}

static struct records_finder *records_of(struct finder *finder)
{
    return CONTAINER_OF(finder, struct records_finder, finder);
}

static const struct records_finder *records_seen(const struct finder *finder)
{
    return CONTAINER_OF(finder, struct records_finder, finder);
}

static fault records_make(struct config *config, const struct service_config *settings,
                          struct finder **ret)
{
    struct records_finder *live = calloc(1, sizeof(*live));
    struct resolver_settings own = settings_of(settings);
    uint64_t seed;
    if (live == NULL)
        return FAULT_MEMORY;
    os->random(&seed, sizeof(seed));
    live->finder.kind = &finder_records;
    live->settings = settings;
    list_init(&live->queries);
    fault result = resolver_new(&own, seed, &live->resolver);
    if (result != OK) {
        free(live);
        return result;
    }
    live->config = config_ref(config);
    *ret = &live->finder;
    return OK;
}

static void records_end(struct finder *finder)
{
    struct records_finder *gone = records_of(finder);
    LIST_EACH_SAFE (&gone->queries, it) {
        LIST_ENTRY(it, struct record_query, node)->live = NULL;
        list_remove(&gone->queries, it);
    }
    resolver_free(&gone->resolver);
    config_unref(&gone->config);
    free(gone->wrong);
    free(gone);
}

static void records_set(struct finder *finder, struct config *config,
                        const struct service_config *settings)
{
    struct records_finder *live = records_of(finder);
    struct resolver_settings own = settings_of(settings);
    config_ref(config);
    live->settings = settings;
    resolver_set(live->resolver, &own);
    config_unref(&live->config);
    live->config = config;
}

static void query_done(void *argument, int status, const uint8_t *answer, size_t size)
{
    struct record_query *query = argument;
    struct records_finder *live = query->live;
    if (live != NULL) {
        list_remove(&live->queries, &query->node);
        resolver_answer(live->resolver, now(), query->number, status, span_of(answer, size));
        if (live->waiting != NULL)
            co_wake(live->waiting);
    }
    free(query);
}

static void query_send(struct records_finder *live, const struct resolver_query *wanted)
{
    struct record_query *query = calloc(1, sizeof(*query));
    int status = -ENOMEM;
    if (query != NULL) {
        *query = (struct record_query){.live = live, .number = wanted->number};
        list_push(&live->queries, &query->node);
        status = dns_ask(&wanted->server, wanted->name, wanted->type, wanted->timeout, query_done,
                         query);
    }
    if (status == 0)
        return;
    if (query != NULL)
        list_remove(&live->queries, &query->node);
    free(query);
    resolver_answer(live->resolver, now(), wanted->number, status, SPAN_NONE);
}

/* Logs a failure when it begins or changes, and its end. */
static void records_log(struct records_finder *live)
{
    const char *wrong;
    bool succeeded = resolver_succeeded(live->resolver, &wrong);
    size_t count;
    resolver_found(live->resolver, &count);
    if (!succeeded && (live->wrong == NULL || strcmp(live->wrong, wrong) != 0))
        log_event(LOG_WARNING, "service.unresolved", log_text("host", live->settings->lookup_name),
                  log_text("service", live->settings->name), log_quote("reason", wrong),
                  log_number("backends", count));
    if (succeeded && live->wrong != NULL)
        log_event(LOG_NOTICE, "service.resolved", log_text("service", live->settings->name),
                  log_number("backends", count));
    free(live->wrong);
    live->wrong = succeeded ? NULL : strdup(wrong);
}

static void records_ask(struct records_finder *live)
{
    struct resolver_query query;
    struct dns_system system;
    if (resolver_begins(live->resolver, now()) && dns_system_read(&system) == OK)
        resolver_set_system(live->resolver, &system);
    while (resolver_ask(live->resolver, now(), &query))
        query_send(live, &query);
}

static fault records_step(struct finder *finder, struct co *waiting, struct finder_news *ret)
{
    struct records_finder *live = records_of(finder);
    live->waiting = waiting;
    records_ask(live);
    uint64_t rounds = resolver_rounds(live->resolver), version = resolver_version(live->resolver);
    ret->next = resolver_due(live->resolver);
    ret->ended = rounds != live->rounds;
    ret->changed = version != live->version;
    ret->found = resolver_found(live->resolver, &ret->count);
    live->rounds = rounds;
    live->version = version;
    if (!ret->ended)
        return OK;
    records_log(live);
    if (!resolver_succeeded(live->resolver, &ret->wrong))
        ret->where = live->settings->lookup_name;
    return OK;
}

static void records_demand(struct finder *finder)
{
    resolver_demand(records_of(finder)->resolver);
}

static uint64_t records_begun(const struct finder *finder)
{
    return resolver_begun(records_seen(finder)->resolver);
}

static uint64_t records_ended(const struct finder *finder)
{
    return resolver_rounds(records_seen(finder)->resolver);
}

static void records_show(const struct finder *finder, struct table_sink *sink)
{
    const struct records_finder *live = records_seen(finder);
    resolver_show(live->resolver, live->settings->name, now(), sink);
}

static void records_show_state(const struct finder *finder, struct table_sink *sink)
{
    resolver_show_state(records_seen(finder)->resolver, now(), sink);
}

static void records_show_hosts(const struct finder *finder, struct table_sink *sink)
{
    resolver_show_hosts(records_seen(finder)->resolver, now(), sink);
}

static void records_show_zones(const struct finder *finder, struct table_sink *sink)
{
    resolver_show_zones(records_seen(finder)->resolver, sink);
}

const struct finder_kind finder_records = {
    .make = records_make,
    .end = records_end,
    .set = records_set,
    .step = records_step,
    .demand = records_demand,
    .begun = records_begun,
    .ended = records_ended,
    .show = records_show,
    .show_state = records_show_state,
    .show_hosts = records_show_hosts,
    .show_zones = records_show_zones,
};
