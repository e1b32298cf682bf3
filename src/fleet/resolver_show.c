/* resolver_show.c - what name servers said, for the console. */
#include "base/table.h"
#include "fleet/resolver_parts.h"
#include "machine/stream.h"

#include <stdio.h>

static void show_address(struct table_sink *sink, const struct address *address)
{
    char text[ADDRESS_TEXT_SIZE];
    if (address->family == ADDRESS_NONE)
        table_null(sink);
    else
        table_text(sink, address_text(address, text, sizeof(text)));
}

/* Seconds that are left of a time to live; negative: it is over. */
static void show_ttl(struct table_sink *sink, const struct lookup_known *known, moment now)
{
    if (!known->good || known->ttl == UINT32_MAX)
        table_null(sink);
    else
        table_int(sink, known->ttl - between(known->good_at, now).us / 1000000);
}

static void show_next_refresh(const struct resolver *resolver, moment now, struct table_sink *sink)
{
    deadline due = resolver_due(resolver);
    if (is_never(due))
        table_null(sink);
    else
        table_int(sink, MAX_OF(between(now, due).us, INT64_C(0)) / 1000);
}

void resolver_show_state(const struct resolver *resolver, moment now, struct table_sink *sink)
{
    table_int(sink, (int64_t)resolver->rounds);
    table_int(sink, (int64_t)resolver->failures);
    table_int(sink, (int64_t)resolver->numbers);
    table_int(sink, (int64_t)resolver->version);
    show_next_refresh(resolver, now, sink);
    table_text(sink, resolver->wrong[0] == '\0' ? NULL : resolver->wrong);
}

/* The cells behind the record: ttl, said, by, stale, next_refresh_ms. */
static void show_known(const struct resolver *resolver, const struct lookup_known *known,
                       moment now, struct table_sink *sink)
{
    show_ttl(sink, known, now);
    table_text(sink, known->asked ? dns_said_text(known->said) : NULL);
    show_address(sink, &known->by);
    table_bool(sink, lookup_is_stale(known));
    show_next_refresh(resolver, now, sink);
    table_end_row(sink);
}

/* The cells before those of show_known: service, record, name, target, addr, priority, weight. */
static void show_record(struct table_sink *sink, const char *service, const char *record,
                        const char *name)
{
    table_text(sink, service);
    table_text(sink, record);
    table_text(sink, name);
}

static void show_none(struct table_sink *sink, int cells)
{
    while (cells-- > 0)
        table_null(sink);
}

static void show_services(const struct resolver *resolver, const struct lookup *lookup,
                          const char *service, moment now, struct table_sink *sink)
{
    if (lookup->count == 0) {
        show_record(sink, service, "srv", lookup->name);
        show_none(sink, 4);
        show_known(resolver, &lookup->known, now, sink);
    }
    for (size_t i = 0; i < lookup->count; i++) {
        const struct lookup_service *one = &lookup->services[i];
        char target[DNS_NAME_SIZE + 8];
        snprintf(target, sizeof(target), "%s:%u", one->target->name, one->port);
        show_record(sink, service, "srv", lookup->name);
        table_text(sink, target);
        table_null(sink);
        table_int(sink, one->priority);
        table_int(sink, one->weight);
        show_known(resolver, &lookup->known, now, sink);
    }
}

static void show_family(const struct resolver *resolver, const struct lookup_target *target,
                        int which, const char *service, moment now, struct table_sink *sink)
{
    static const char *const records[FAMILIES] = {"a", "aaaa"};
    const struct lookup_family *family = &target->families[which];
    for (size_t i = 0; i < MAX_OF(family->count, (size_t)1); i++) {
        char text[ADDRESS_TEXT_SIZE];
        show_record(sink, service, records[which], target->name);
        table_null(sink);
        if (family->count == 0)
            table_null(sink);
        else
            table_text(sink, address_host_text(&family->addresses[i], text, sizeof(text)));
        show_none(sink, 2);
        show_known(resolver, &family->known, now, sink);
    }
}

static void show_lookup(const struct resolver *resolver, const struct lookup *lookup,
                        const char *service, moment now, struct table_sink *sink)
{
    if (lookup->is_srv)
        show_services(resolver, lookup, service, now, sink);
    LIST_EACH (&lookup->targets, it)
        for (int i = 0; i < FAMILIES; i++)
            show_family(resolver, LIST_ENTRY(it, struct lookup_target, node), i, service, now,
                        sink);
}

static void show_server(const struct resolver *resolver, const struct name_server *server,
                        const char *service, moment now, struct table_sink *sink)
{
    bool listed = server->source == NAME_SERVER_LISTED;
    show_record(sink, service, "server", listed ? resolver->listing.name : NULL);
    table_null(sink);
    show_address(sink, &server->at);
    show_none(sink, 3);
    table_text(sink, server->answers > 0 ? dns_said_text(server->said) : NULL);
    table_null(sink);
    table_bool(sink, server->held_until.us > now.us);
    table_null(sink);
    table_end_row(sink);
}

void resolver_show(const struct resolver *resolver, const char *service, moment now,
                   struct table_sink *sink)
{
    show_lookup(resolver, &resolver->backends, service, now, sink);
    if (resolver->settings.server_service != NULL)
        show_lookup(resolver, &resolver->listing, service, now, sink);
    for (size_t i = 0; i < resolver->servers.count; i++)
        show_server(resolver, &resolver->servers.all[i], service, now, sink);
}

/* --- PgBouncer's views ------------------------------------------------------------------------ */

static void show_host(const struct lookup_target *target, moment now, struct table_sink *sink)
{
    struct buffer texts = BUFFER_INIT(32 * 1024);
    char text[ADDRESS_TEXT_SIZE];
    struct lookup_known soonest = {.ttl = UINT32_MAX};
    for (int i = 0; i < FAMILIES; i++) {
        const struct lookup_family *family = &target->families[i];
        for (size_t k = 0; k < family->count; k++)
            buffer_printf(&texts, "%s%s", texts.size > 0 ? "," : "",
                          address_host_text(&family->addresses[k], text, sizeof(text)));
        if (family->known.good && family->known.ttl < soonest.ttl)
            soonest = family->known;
    }
    table_text(sink, target->name);
    show_ttl(sink, &soonest, now);
    table_span(sink, buffer_span(&texts));
    table_end_row(sink);
    buffer_fini(&texts);
}

void resolver_show_hosts(const struct resolver *resolver, moment now, struct table_sink *sink)
{
    LIST_EACH (&resolver->backends.targets, it)
        show_host(LIST_ENTRY(it, struct lookup_target, node), now, sink);
    LIST_EACH (&resolver->listing.targets, it)
        show_host(LIST_ENTRY(it, struct lookup_target, node), now, sink);
}

static void show_zone(const struct lookup *lookup, struct table_sink *sink)
{
    table_text(sink, lookup->name);
    table_null(sink);
    table_int(sink, (int64_t)lookup->count);
    table_end_row(sink);
}

void resolver_show_zones(const struct resolver *resolver, struct table_sink *sink)
{
    if (resolver->backends.is_srv)
        show_zone(&resolver->backends, sink);
    if (resolver->settings.server_service != NULL)
        show_zone(&resolver->listing, sink);
}
