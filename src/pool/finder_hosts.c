/*
 * finder_hosts.c - finds the backends of a list of hosts: their names are resolved at the start,
 * after failures and after a reload.
 */
#include "base/table.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/dns.h"
#include "machine/log.h"
#include "machine/stream.h"
#include "pool/finder_parts.h"

#include <stdio.h>
#include <stdlib.h>

#define ADDRESSES_MAX   64
#define RESOLVE_TIMEOUT sec(5)
#define NAMES_MAX       64u /* hosts of one service */

struct hosts_finder {
    struct finder finder;
    struct config *config; /* counted: the version that `settings` belongs to */
    const struct service_config *settings;
    struct map names;  /* struct known_name by host */
    deadline earliest; /* not resolved again before */
    bool again;        /* to be resolved: at first, on demand, after a reload */
    bool failed;       /* as the latest resolution has failed */
    struct backend_found found[ADDRESSES_MAX];
    size_t count;
    char where[256]; /* the latest host that failed; "": none, and why */
    char wrong[FAULT_STORY_MAX];
};

static struct hosts_finder *hosts_of(struct finder *finder)
{
    return CONTAINER_OF(finder, struct hosts_finder, finder);
}

static const struct hosts_finder *hosts_seen(const struct finder *finder)
{
    return CONTAINER_OF(finder, struct hosts_finder, finder);
}

/* --- resolved names --------------------------------------------------------------------------- */

struct known_name {
    struct map_link link; /* in hosts->names */
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

/* Finds or adds a name.  NULL: no memory, or too many names. */
static struct known_name *known_make(struct hosts_finder *hosts, const char *host)
{
    uint64_t hash = hash_span(span_text(host));
    struct map_link *link = map_find(&hosts->names, hash, known_is, host);
    if (link != NULL)
        return MAP_ENTRY(link, struct known_name, link);
    struct known_name *known = calloc(1, sizeof(*known) + strlen(host) + 1);
    if (known == NULL)
        return NULL;
    memcpy(known->host, host, strlen(host) + 1);
    if (map_insert(&hosts->names, &known->link, hash) == OK)
        return known;
    free(known);
    return NULL;
}

/* Keeps the answer for the console; addresses that do not fit are not shown. */
static void hosts_note(struct hosts_finder *hosts, const char *host,
                       const struct dns_answer *answer)
{
    struct known_name *known = host_is_name(host) ? known_make(hosts, host) : NULL;
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

static void show_seconds_left(const struct known_name *known, struct table_sink *sink)
{
    if (known == NULL || known->until.us == INT64_MAX)
        table_null(sink);
    else
        table_int(sink, MAX_OF(between(now(), known->until).us, INT64_C(0)) / 1000000);
}

static const struct known_name *hosts_known(const struct hosts_finder *hosts, const char *host)
{
    struct map_link *link = map_find(&hosts->names, hash_span(span_text(host)), known_is, host);
    return link == NULL ? NULL : MAP_ENTRY(link, struct known_name, link);
}

static void hosts_show_host(const struct hosts_finder *hosts, const char *host,
                            struct table_sink *sink)
{
    const struct known_name *known = hosts_known(hosts, host);
    table_text(sink, host);
    show_seconds_left(known, sink);
    table_text(sink, known == NULL || known->addresses == NULL ? "" : known->addresses);
    table_end_row(sink);
}

/* Adds a row of RESOLVE for each host; the columns are those of resolver_show(). */
static void hosts_show(const struct finder *finder, struct table_sink *sink)
{
    const struct hosts_finder *hosts = hosts_seen(finder);
    for (size_t i = 0; i < hosts->settings->host_count; i++) {
        const struct known_name *known = hosts_known(hosts, hosts->settings->hosts[i].host);
        table_text(sink, hosts->settings->name);
        table_text(sink, "host");
        table_text(sink, hosts->settings->hosts[i].host);
        table_null(sink);
        table_text(sink, known == NULL ? NULL : known->addresses);
        table_null(sink);
        table_null(sink);
        show_seconds_left(known, sink);
        table_null(sink);
        table_null(sink);
        table_bool(sink, false);
        table_null(sink);
        table_end_row(sink);
    }
}

static void hosts_show_state(const struct finder *finder, struct table_sink *sink)
{
    (void)finder;
    for (int i = 0; i < 6; i++)
        table_null(sink);
}

static void hosts_show_hosts(const struct finder *finder, struct table_sink *sink)
{
    const struct hosts_finder *hosts = hosts_seen(finder);
    for (size_t i = 0; i < hosts->settings->host_count; i++)
        if (host_is_name(hosts->settings->hosts[i].host))
            hosts_show_host(hosts, hosts->settings->hosts[i].host, sink);
}

/* --- resolving -------------------------------------------------------------------------------- */

/* Whether a host has a priority, a weight or a zone. */
static bool hosts_graded(const struct service_config *settings)
{
    for (size_t i = 0; i < settings->host_count; i++)
        if (settings->hosts[i].priority != 0 || settings->hosts[i].zone != NULL ||
            settings->hosts[i].weight != BACKEND_WEIGHT_PLAIN)
            return true;
    return false;
}

/* Adds the addresses that one host resolves to.  A failure is logged and returned. */
static fault hosts_resolve_one(struct hosts_finder *hosts, const struct host_config *host)
{
    struct dns_answer answer;
    fault result = dns_resolve(host->host, host->port, &answer, after(RESOLVE_TIMEOUT));
    if (result != OK) {
        log_event(LOG_WARNING, "service.unresolved", log_text("host", host->host),
                  log_quote("reason", fault_detail(result)));
        snprintf(hosts->where, sizeof(hosts->where), "%s", host->host);
        snprintf(hosts->wrong, sizeof(hosts->wrong), "%s", fault_detail(result));
        return result;
    }
    hosts_note(hosts, host->host, &answer);
    for (size_t i = 0; i < answer.count && hosts->count < ADDRESSES_MAX; i++)
        hosts->found[hosts->count++] = (struct backend_found){.target = host->host,
                                                              .address = answer.addresses[i],
                                                              .priority = host->priority,
                                                              .weight = host->weight,
                                                              .zone = host->zone};
    return OK;
}

/* Resolves all hosts.  Suspends.  Returns CANCELLED, NAME if a host has failed, or OK. */
static fault hosts_resolve(struct hosts_finder *hosts, const struct service_config *settings)
{
    bool all = true;
    hosts->count = 0;
    hosts->where[0] = '\0';
    for (size_t i = 0; i < settings->host_count; i++) {
        fault result = hosts_resolve_one(hosts, &settings->hosts[i]);
        if (result == FAULT_CANCELLED)
            return result;
        all = all && result == OK;
    }
    return all ? OK : FAULT_NAME;
}

/* The version is kept for the time of the resolution: a reload may set another one meanwhile. */
static fault hosts_round(struct hosts_finder *hosts, struct finder_news *ret)
{
    struct config *config = config_ref(hosts->config);
    const struct service_config *settings = hosts->settings;
    hosts->again = false;
    fault resolved = hosts_resolve(hosts, settings);
    hosts->failed = resolved != OK;
    hosts->earliest = after(resolved == OK ? settings->retry_max : sec(1));
    ret->by_address = !hosts_graded(settings);
    /* The names are borrowed by the finder's own version only. */
    ret->changed = hosts->count > 0 && hosts->settings == settings;
    config_unref(&config);
    if (resolved == FAULT_CANCELLED)
        return resolved;
    ret->found = hosts->found;
    ret->count = hosts->count;
    ret->partial = resolved != OK;
    ret->ended = true;
    ret->where = hosts->where[0] == '\0' ? NULL : hosts->where;
    ret->wrong = hosts->wrong;
    return OK;
}

static fault hosts_step(struct finder *finder, struct co *waiting, struct finder_news *ret)
{
    struct hosts_finder *hosts = hosts_of(finder);
    (void)waiting;
    if ((hosts->again || hosts->failed) && hosts->earliest.us <= now().us)
        TRY(hosts_round(hosts, ret));
    ret->next = hosts->again || hosts->failed ? hosts->earliest : NEVER;
    return OK;
}

static void hosts_demand(struct finder *finder)
{
    hosts_of(finder)->again = true;
}

/* --- life ------------------------------------------------------------------------------------- */

static fault hosts_make(struct config *config, const struct service_config *settings,
                        struct finder **ret)
{
    struct hosts_finder *hosts = calloc(1, sizeof(*hosts));
    if (hosts == NULL)
        return FAULT_MEMORY;
    hosts->finder.kind = &finder_hosts;
    hosts->config = config_ref(config);
    hosts->settings = settings;
    hosts->names = MAP_INIT(NAMES_MAX);
    hosts->again = true;
    *ret = &hosts->finder;
    return OK;
}

static void hosts_end(struct finder *finder)
{
    struct hosts_finder *hosts = hosts_of(finder);
    map_clear(&hosts->names, known_end);
    config_unref(&hosts->config);
    free(hosts);
}

static void hosts_set(struct finder *finder, struct config *config,
                      const struct service_config *settings)
{
    struct hosts_finder *hosts = hosts_of(finder);
    config_ref(config);
    config_unref(&hosts->config);
    hosts->config = config;
    hosts->settings = settings;
    hosts->again = true;
}

const struct finder_kind finder_hosts = {
    .make = hosts_make,
    .end = hosts_end,
    .set = hosts_set,
    .step = hosts_step,
    .demand = hosts_demand,
    .show = hosts_show,
    .show_state = hosts_show_state,
    .show_hosts = hosts_show_hosts,
};
