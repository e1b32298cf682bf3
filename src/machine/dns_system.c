/* dns_system.c - reads resolv.conf and the hosts file. */
#include "machine/dns_system.h"

#include "machine/dns_parts.h"
#include "machine/stream.h"

#include <stdio.h>
#include <stdlib.h>

/* Bytes that are read of resolv.conf; a longer file is truncated. */
#define RESOLV_CONF_SIZE_MAX 4096
#define DOTS_MAX             15

static const char *dns_hosts_path = "/etc/hosts";
static const char *dns_resolv_conf = "/etc/resolv.conf";

void dns_set_resolv_conf(const char *path)
{
    dns_resolv_conf = path != NULL ? path : "/etc/resolv.conf";
}

void dns_set_hosts_path(const char *path)
{
    dns_hosts_path = path != NULL ? path : "/etc/hosts";
}

const char *dns_hosts_file(void)
{
    return dns_hosts_path;
}

/* --- words of a line -------------------------------------------------------------------------- */

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

/* Takes the next word of a line; empty at the line's end. */
static struct span take_word(struct span *line)
{
    while (line->size > 0 && is_blank(*line->at))
        *line = span_skip(*line, 1);
    struct span word = {line->at, 0};
    while (word.size < line->size && !is_blank(word.at[word.size]))
        word.size++;
    *line = span_skip(*line, word.size);
    return word;
}

static struct span take_line(struct span *text)
{
    const uint8_t *end = memchr(text->at, '\n', text->size);
    struct span line = {text->at, end != NULL ? (size_t)(end - text->at) : text->size};
    *text = span_skip(*text, line.size + 1);
    const uint8_t *comment = line.size > 0 ? memchr(line.at, '#', line.size) : NULL;
    if (comment != NULL)
        line.size = (size_t)(comment - line.at);
    return line;
}

/* --- hosts files ------------------------------------------------------------------------------ */

bool dns_hosts_next(struct span text, size_t *at, const char *host, uint16_t port,
                    struct address *ret)
{
    struct span rest = span_skip(text, *at);
    while (rest.size > 0) {
        char number[64];
        struct span line = take_line(&rest);
        struct span first = take_word(&line);
        struct span name = take_word(&line);
        while (name.size > 0 && !span_is_nocase(name, host))
            name = take_word(&line);
        if (name.size == 0 || first.size >= sizeof(number))
            continue;
        snprintf(number, sizeof(number), "%.*s", SPAN_ARG(first));
        if (!address_parse_number(number, port, ret))
            continue;
        *at = text.size - rest.size;
        return true;
    }
    return false;
}

/* --- resolv.conf ------------------------------------------------------------------------------ */

static void take_server(struct span line, struct dns_system *system)
{
    char number[64];
    struct span word = take_word(&line);
    if (word.size == 0 || word.size >= sizeof(number) || system->server_count == DNS_SERVERS_MAX)
        return;
    snprintf(number, sizeof(number), "%.*s", SPAN_ARG(word));
    if (address_parse_number(number, DNS_PORT, &system->servers[system->server_count]))
        system->server_count += 1;
}

/* The latest line of `search` or `domain` replaces those before. */
static void take_search(struct span line, size_t max, struct dns_system *system)
{
    system->search_count = 0;
    for (struct span word = take_word(&line); word.size > 0; word = take_word(&line)) {
        if (word.at[word.size - 1] == '.')
            word.size -= 1;
        if (word.size == 0 || word.size >= DNS_NAME_SIZE || system->search_count == max)
            continue;
        snprintf(system->search[system->search_count++], DNS_NAME_SIZE, "%.*s", SPAN_ARG(word));
    }
}

static void take_options(struct span line, struct dns_system *system)
{
    for (struct span word = take_word(&line); word.size > 0; word = take_word(&line)) {
        if (word.size < 7 || word.size > 9 || !span_starts(word, SPAN("ndots:")))
            continue;
        unsigned dots = 0;
        for (size_t i = 6; i < word.size; i++)
            dots = word.at[i] >= '0' && word.at[i] <= '9' ? dots * 10 + (word.at[i] - '0') : 1000;
        if (dots < 1000)
            system->dots = MIN_OF(dots, DOTS_MAX);
    }
}

void dns_system_parse(struct span text, struct dns_system *system)
{
    while (text.size > 0) {
        struct span line = take_line(&text);
        struct span word = take_word(&line);
        if (word.size > 0 && *word.at == ';')
            continue;
        if (span_is(word, "nameserver"))
            take_server(line, system);
        else if (span_is(word, "search"))
            take_search(line, DNS_SEARCH_MAX, system);
        else if (span_is(word, "domain"))
            take_search(line, 1, system);
        else if (span_is(word, "options"))
            take_options(line, system);
    }
}

/* --- the files -------------------------------------------------------------------------------- */

fault dns_system_read(struct dns_system *ret)
{
    char text[RESOLV_CONF_SIZE_MAX];
    struct dns_system system = DNS_SYSTEM_INIT;
    int64_t size = os->file_read(dns_resolv_conf, text, sizeof(text));
    if (size > 0)
        dns_system_parse(span_of(text, (size_t)size), &system);
    if (system.server_count == 0)
        system.servers[system.server_count++] =
            (struct address){.family = ADDRESS_IPV4, .port = DNS_PORT, .bytes = {127, 0, 0, 1}};
    uint8_t *room = buffer_room(&system.hosts, system.hosts.max);
    if (room == NULL)
        return fault_raise(FAULT_MEMORY, "no memory to read \"%s\"", dns_hosts_file());
    size = os->file_read(dns_hosts_file(), room, system.hosts.max);
    system.hosts.size = size > 0 ? (size_t)size : 0;
    *ret = system;
    return OK;
}

void dns_system_fini(struct dns_system *system)
{
    buffer_fini(&system->hosts);
}
