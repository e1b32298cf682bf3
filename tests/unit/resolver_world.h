#pragma once
/*
 * resolver_world.h - a resolver among scripted name servers, with a clock of its own; for tests.
 */
#include "fleet/resolver.h"

#include "dns_packet.h"
#include "machine/stream.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* --- the world -------------------------------------------------------------------------------- */

#define SERVERS 4
#define LATENCY ms(5)

/* A record, and the name servers that have it. */
struct record {
    unsigned servers; /* a bit for each server that has it */
    char name[64];
    int type;
    uint32_t ttl;
    unsigned priority, weight, port;
    char target[64]; /* SRV; an address as text for the others */
    bool additional; /* SRV: the target's addresses are sent with the answer */
};

struct pending {
    moment at;
    struct resolver_query query;
};

static struct {
    struct resolver *resolver;
    moment now;
    struct record records[512];
    size_t record_count;
    enum dns_said faults[SERVERS + 1]; /* DNS_RECORDS: answers */
    enum dns_said aaaa_fault;          /* of all servers */
    enum dns_said address_fault;       /* of all servers, to A and AAAA */
    uint32_t asked[SERVERS + 1];
    uint32_t asked_type[64]; /* by type */
    uint32_t at_once_max;
    struct pending pending[256];
    size_t pending_count;
    size_t pending_max;
    const char *hosts;
    const char *resolv_conf;
    struct address given[SERVERS];
} world;

static struct resolver_settings settings_for(enum resolver_kind kind, const char *name, int servers)
{
    for (int i = 0; i < servers; i++)
        world.given[i] = (struct address){
            .family = ADDRESS_IPV4, .port = 53, .bytes = {192, 0, 2, (uint8_t)(i + 1)}};
    return (struct resolver_settings){.kind = kind,
                                      .name = name,
                                      .port = 5432,
                                      .servers = world.given,
                                      .server_count = (size_t)servers,
                                      .timeout = sec(2),
                                      .at_once = 2,
                                      .empty_after = 3,
                                      .refresh_min = sec(5),
                                      .refresh_max = sec(300),
                                      .stale_for = NO_LIMIT};
}

static void begin(struct resolver_settings settings)
{
    struct address given[SERVERS];
    memcpy(given, world.given, sizeof(given));
    resolver_free(&world.resolver);
    memset(&world, 0, sizeof(world));
    memcpy(world.given, given, sizeof(given));
    world.now.us = 1000000000;
    ck_assert_int_eq(resolver_new(&settings, 4711, &world.resolver), OK);
}

static struct record *add(unsigned servers, const char *name, int type, uint32_t ttl,
                          const char *target)
{
    struct record *record = &world.records[world.record_count++];
    ck_assert_uint_le(world.record_count, ARRAY_SIZE(world.records));
    *record = (struct record){.servers = servers, .type = type, .ttl = ttl, .port = 5432};
    snprintf(record->name, sizeof(record->name), "%s", name);
    snprintf(record->target, sizeof(record->target), "%s", target);
    return record;
}

static struct record *add_srv(const char *name, uint32_t ttl, unsigned port, const char *target)
{
    struct record *record = add(~0u, name, DNS_TYPE_SRV, ttl, target);
    record->port = port;
    return record;
}

static void add_address(const char *name, uint32_t ttl, const char *address)
{
    add(~0u, name, strchr(address, ':') != NULL ? DNS_TYPE_AAAA : DNS_TYPE_A, ttl, address);
}

static void forget(const char *name)
{
    for (size_t i = 0; i < world.record_count; i++)
        if (strcmp(world.records[i].name, name) == 0)
            world.records[i].name[0] = '\0';
}

static struct address address_of(const char *text)
{
    struct address address;
    ck_assert(address_parse_number(text, 0, &address));
    return address;
}

static int server_number(const struct address *at)
{
    return at->bytes[3] <= SERVERS ? at->bytes[3] : 0;
}

/* --- answers ---------------------------------------------------------------------------------- */

static bool has(const struct record *record, int server, const char *name, int type)
{
    return (record->servers & 1u << server) != 0 && strcasecmp(record->name, name) == 0 &&
           (type == 0 || record->type == type);
}

static void put_record(const struct record *record)
{
    struct address address;
    if (record->type == DNS_TYPE_SRV) {
        packet_put_srv(record->name, record->ttl, record->priority, record->weight, record->port,
                       record->target);
        return;
    }
    address = address_of(record->target);
    packet_put_address(record->name, record->ttl, &address);
}

static unsigned put_additional(int server, const struct record *service, bool write)
{
    unsigned count = 0;
    for (size_t i = 0; service->additional && i < world.record_count; i++) {
        const struct record *record = &world.records[i];
        if (!has(record, server, service->target, 0) || record->type == DNS_TYPE_SRV)
            continue;
        if (write)
            put_record(record);
        count += 1;
    }
    return count;
}

static void make_answer(int server, const struct resolver_query *query)
{
    unsigned count = 0, additional = 0;
    bool known = false;
    for (size_t i = 0; i < world.record_count; i++) {
        const struct record *record = &world.records[i];
        known |= has(record, server, query->name, 0);
        if (!has(record, server, query->name, query->type))
            continue;
        count += 1;
        additional += put_additional(server, record, false);
    }
    packet_begin(query->name, query->type, known ? 0 : 3, count, additional);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < world.record_count; i++) {
            const struct record *record = &world.records[i];
            if (!has(record, server, query->name, query->type))
                continue;
            if (pass == 0)
                put_record(record);
            else
                put_additional(server, record, true);
        }
}

static enum dns_said fault_of(const struct resolver_query *query)
{
    if (query->type == DNS_TYPE_AAAA && world.aaaa_fault != DNS_RECORDS)
        return world.aaaa_fault;
    if (query->type != DNS_TYPE_SRV && world.address_fault != DNS_RECORDS)
        return world.address_fault;
    return world.faults[server_number(&query->server)];
}

static void deliver(const struct resolver_query *query)
{
    static const int statuses[DNS_SAID_COUNT] = {
        [DNS_SILENT] = -ETIMEDOUT, [DNS_UNREACHABLE] = -ECONNREFUSED, [DNS_MALFORMED] = -EBADMSG};
    enum dns_said said = fault_of(query);
    if (said == DNS_RECORDS)
        make_answer(server_number(&query->server), query);
    else
        packet_begin(query->name, query->type, said == DNS_REFUSED ? 5 : 2, 0, 0);
    resolver_answer(world.resolver, world.now, query->number, statuses[said], packet_span());
}

/* --- time ------------------------------------------------------------------------------------- */

static void read_files(void)
{
    struct dns_system system = DNS_SYSTEM_INIT;
    dns_system_parse(span_text(world.resolv_conf), &system);
    if (world.hosts != NULL)
        buffer_append_text(&system.hosts, world.hosts);
    resolver_set_system(world.resolver, &system);
}

static uint32_t servers_asked_now(const struct resolver_query *query)
{
    uint32_t count = 0;
    for (size_t i = 0; i < world.pending_count; i++)
        count += world.pending[i].query.type == query->type &&
                 strcmp(world.pending[i].query.name, query->name) == 0;
    return count;
}

static void send_queries(void)
{
    struct resolver_query query;
    if (resolver_begins(world.resolver, world.now))
        read_files();
    while (resolver_ask(world.resolver, world.now, &query)) {
        duration wait = fault_of(&query) == DNS_SILENT ? query.timeout : LATENCY;
        ck_assert_uint_lt(world.pending_count, ARRAY_SIZE(world.pending));
        world.pending[world.pending_count++] = (struct pending){later(world.now, wait), query};
        world.pending_max = MAX_OF(world.pending_max, world.pending_count);
        world.asked[server_number(&query.server)] += 1;
        world.asked_type[query.type] += 1;
        world.at_once_max = MAX_OF(world.at_once_max, servers_asked_now(&query));
    }
}

static size_t soonest(void)
{
    size_t best = 0;
    for (size_t i = 1; i < world.pending_count; i++)
        if (world.pending[i].at.us < world.pending[best].at.us)
            best = i;
    return best;
}

/* Lets `wait` pass.  Calls `look` after each event. */
static void run_watched(duration wait, void (*look)(void))
{
    moment until = later(world.now, wait);
    for (;;) {
        send_queries();
        if (look != NULL)
            look();
        deadline next = resolver_due(world.resolver);
        size_t at = soonest();
        if (world.pending_count > 0)
            next = earlier_of(next, world.pending[at].at);
        if (next.us > until.us)
            break;
        ck_assert_int_ge(next.us, world.now.us);
        world.now = next;
        if (world.pending_count > 0 && world.pending[at].at.us == next.us) {
            struct resolver_query query = world.pending[at].query;
            world.pending[at] = world.pending[--world.pending_count];
            deliver(&query);
        }
    }
    world.now = until;
}

static void run(duration wait)
{
    run_watched(wait, NULL);
}

/* --- what is found ---------------------------------------------------------------------------- */

static const char *found(void)
{
    static char text[32768];
    size_t count, size = 0;
    const struct backend_found *all = resolver_found(world.resolver, &count);
    char address[ADDRESS_TEXT_SIZE];
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%s=%s", i > 0 ? " " : "",
                                 all[i].target,
                                 address_text(&all[i].address, address, sizeof(address)));
    return text;
}

static size_t found_count(void)
{
    size_t count;
    resolver_found(world.resolver, &count);
    return count;
}

static size_t least_found;

static void note_least(void)
{
    least_found = MIN_OF(least_found, found_count());
}

static void one_backend_by_srv(uint32_t ttl)
{
    begin(settings_for(RESOLVER_SRV, "_pg._tcp.test", 1));
    add_srv("_pg._tcp.test", ttl, 5432, "a.test");
    add_address("a.test", ttl, "10.0.0.1");
    run(sec(1));
    ck_assert_str_eq(found(), "a.test=10.0.0.1:5432");
}
