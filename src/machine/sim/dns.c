/* dns.c - name servers of the simulation and their answers. */
#include "base/check.h"
#include "machine/dns_parts.h"
#include "machine/sim/inside.h"
#include "machine/stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*
 * Names.  An answer has the addresses that the name has when the answer is sent, not when the query
 * was.  Answers are delivered in the querying machine's poll_wait, raw, as name servers send them.
 */
#define ADDRESSES_MAX 32
#define SERVICES_MAX  32
#define SERVERS_MAX   16
#define ANSWER_MAX    8192
/* Timeout of a query that gets no answer, us. */
#define SILENCE INT64_C(5000000)

struct sim_name {
    char *name;
    char *points_to; /* the target of a PTR record */
    int status;
    uint32_t ttl;
    size_t count;
    struct address addresses[ADDRESSES_MAX];
    size_t service_count;
    struct sim_service services[SERVICES_MAX];
};

/* A name server that does not answer as the names say. */
struct sim_name_server {
    struct address at;
    enum dns_said behaviour;
};

struct sim_question {
    struct sim_question *next;
    uint64_t number;
    int poller;
    int type;
    bool answered;
    bool is_raw;             /* of dns_ask: failures are answers, too */
    enum dns_said behaviour; /* of the server that is asked; DNS_RECORDS: none */
    int status;
    size_t size;
    uint8_t answer[ANSWER_MAX];
    void (*done)(void *argument, int status, const uint8_t *answer, size_t size);
    void *argument;
    char name[256];
};

static struct sim_dns {
    struct sim_name **names;
    size_t count;
    struct sim_name_server servers[SERVERS_MAX];
    size_t server_count;
    struct sim_question *questions; /* newest first */
    uint64_t number;
} dns;

/* --- names ------------------------------------------------------------------------------------ */

static struct sim_name *name_find(const char *name)
{
    for (size_t i = 0; i < dns.count; i++)
        if (strcasecmp(dns.names[i]->name, name) == 0)
            return dns.names[i];
    return NULL;
}

static struct sim_name *name_make(const char *name)
{
    struct sim_name *entry = name_find(name);
    if (entry == NULL) {
        entry = calloc(1, sizeof(*entry));
        dns.names = reallocarray(dns.names, dns.count + 1, sizeof(struct sim_name *));
        invariant(entry != NULL && dns.names != NULL);
        entry->name = strdup(name);
        invariant(entry->name != NULL);
        dns.names[dns.count++] = entry;
    }
    free(entry->points_to);
    entry->points_to = NULL;
    entry->count = 0;
    entry->service_count = 0;
    entry->status = 0;
    sim_note_text("name", name, strlen(name));
    return entry;
}

void sim_dns_set(const char *name, const struct address *addresses, size_t count, uint32_t ttl)
{
    struct sim_name *entry = name_make(name);
    invariant(count <= ADDRESSES_MAX);
    entry->ttl = ttl;
    entry->count = count;
    if (count > 0)
        memcpy(entry->addresses, addresses, count * sizeof(*addresses));
}

void sim_dns_set_services(const char *name, const struct sim_service *services, size_t count,
                          uint32_t ttl)
{
    struct sim_name *entry = name_make(name);
    invariant(count <= SERVICES_MAX);
    entry->ttl = ttl;
    entry->service_count = count;
    if (count > 0)
        memcpy(entry->services, services, count * sizeof(*services));
}

void sim_dns_server(const struct address *server, enum dns_said behaviour)
{
    size_t i = 0;
    while (i < dns.server_count && !address_equal(&dns.servers[i].at, server))
        i++;
    invariant(i < SERVERS_MAX);
    dns.servers[i] = (struct sim_name_server){*server, behaviour};
    dns.server_count = MAX_OF(dns.server_count, i + 1);
}

void sim_dns_fail(const char *name, int status)
{
    name_make(name)->status = status;
}

void sim_dns_reverse(const struct address *address, const char *name)
{
    char text[80];
    dns_reverse_name(address, text, sizeof(text));
    struct sim_name *entry = name_make(text);
    entry->points_to = strdup(name);
    invariant(entry->points_to != NULL);
    entry->ttl = 60;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void put_number(struct sim_question *question, uint32_t value, int bytes)
{
    invariant(question->size + 4 <= ANSWER_MAX);
    while (bytes-- > 0)
        question->answer[question->size++] = (uint8_t)(value >> 8 * bytes);
}

/* Writes a name as labels with their lengths. */
static void put_name(struct sim_question *question, const char *name)
{
    while (*name != '\0') {
        size_t size = strcspn(name, ".");
        invariant(question->size + size + 2 <= ANSWER_MAX && size < 64);
        put_number(question, (uint32_t)size, 1);
        memcpy(question->answer + question->size, name, size);
        question->size += size;
        name += size + (name[size] == '.');
    }
    put_number(question, 0, 1);
}

/* Writes the head of a record; its owner is a pointer to the name in the question section. */
static void put_record_head(struct sim_question *question, uint32_t ttl)
{
    put_number(question, 0xc00c, 2);
    put_number(question, (uint32_t)question->type, 2);
    put_number(question, 1, 2);
    put_number(question, ttl, 4);
}

static bool is_of_type(const struct address *address, int type)
{
    return address->family == (type == DNS_TYPE_A ? ADDRESS_IPV4 : ADDRESS_IPV6);
}

static uint32_t put_addresses(struct sim_question *question, const struct sim_name *entry)
{
    uint32_t count = 0;
    size_t bytes = question->type == DNS_TYPE_A ? 4 : 16;
    for (size_t i = 0; i < entry->count; i++) {
        if (!is_of_type(&entry->addresses[i], question->type))
            continue;
        put_record_head(question, entry->ttl);
        put_number(question, (uint32_t)bytes, 2);
        invariant(question->size + bytes <= ANSWER_MAX);
        memcpy(question->answer + question->size, entry->addresses[i].bytes, bytes);
        question->size += bytes;
        count += 1;
    }
    return count;
}

static uint32_t put_pointer(struct sim_question *question, const struct sim_name *entry)
{
    put_record_head(question, entry->ttl);
    size_t length_at = question->size;
    put_number(question, 0, 2);
    put_name(question, entry->points_to);
    size_t size = question->size - length_at - 2;
    question->answer[length_at + 1] = (uint8_t)size;
    return 1;
}

/* Writes the length of the data that began behind `length_at`. */
static void put_length(struct sim_question *question, size_t length_at)
{
    size_t size = question->size - length_at - 2;
    question->answer[length_at] = (uint8_t)(size >> 8);
    question->answer[length_at + 1] = (uint8_t)size;
}

static uint32_t put_services(struct sim_question *question, const struct sim_name *entry)
{
    for (size_t i = 0; i < entry->service_count; i++) {
        const struct sim_service *service = &entry->services[i];
        put_record_head(question, entry->ttl);
        size_t length_at = question->size;
        put_number(question, 0, 2);
        put_number(question, service->priority, 2);
        put_number(question, service->weight, 2);
        put_number(question, service->port, 2);
        put_name(question, strcmp(service->target, ".") == 0 ? "" : service->target);
        put_length(question, length_at);
    }
    return (uint32_t)entry->service_count;
}

static uint32_t put_records(struct sim_question *question, const struct sim_name *entry)
{
    switch (question->type) {
    case DNS_TYPE_PTR:
        return entry->points_to == NULL ? 0 : put_pointer(question, entry);
    case DNS_TYPE_SRV:
        return put_services(question, entry);
    default:
        return put_addresses(question, entry);
    }
}

/* Writes the whole answer packet. */
static void question_fill(struct sim_question *question, const struct sim_name *entry)
{
    uint32_t count;
    put_number(question, (uint32_t)question->number & 0xffff, 2);
    put_number(question, 0x8180, 2); /* response, recursion desired and available */
    put_number(question, 1, 2);
    put_number(question, 0, 2);
    put_number(question, 0, 4);
    put_name(question, question->name);
    put_number(question, (uint32_t)question->type, 2);
    put_number(question, 1, 2);
    count = entry == NULL ? 0 : put_records(question, entry);
    question->answer[7] = (uint8_t)count;
    if (count == 0 && !question->is_raw) {
        question->status = -ENODATA;
        question->size = 0;
    }
}

/* --- queries ---------------------------------------------------------------------------------- */

/* The status of a question that `dns_query` asked. */
static int question_status(const struct sim_name *entry, bool silent)
{
    int status = silent ? -ETIMEDOUT : entry == NULL ? -ENOENT : entry->status;
    if (!silent && sim_chance(LOT_FAULT, sim_rates.dns_fails))
        status = -ECONNREFUSED;
    return status;
}

/* What the server says to a question of `dns_ask`. */
static enum dns_said question_said(const struct sim_question *question,
                                   const struct sim_name *entry, bool silent)
{
    if (question->behaviour != DNS_RECORDS)
        return question->behaviour;
    if (silent)
        return DNS_SILENT;
    if (sim_chance(LOT_FAULT, sim_rates.dns_fails))
        return DNS_FAILED;
    if (entry == NULL || entry->status == -ENOENT)
        return DNS_NO_NAME;
    return entry->status == 0 ? DNS_RECORDS : dns_said_of(entry->status);
}

/* Answers a question of `dns_ask`: by a message with a response code, or by a status. */
static void question_answer_raw(struct sim_question *question, const struct sim_name *entry,
                                bool silent)
{
    enum dns_said said = question_said(question, entry, silent);
    static const uint8_t codes[DNS_SAID_COUNT] = {
        [DNS_FAILED] = 2, [DNS_NO_NAME] = 3, [DNS_REFUSED] = 5};
    question->status = said == DNS_SILENT        ? -ETIMEDOUT
                       : said == DNS_UNREACHABLE ? -ECONNREFUSED
                       : said == DNS_MALFORMED   ? -EBADMSG
                                                 : 0;
    if (question->status != 0)
        return;
    question_fill(question, codes[said] == 0 ? entry : NULL);
    question->answer[3] |= codes[said];
}

static void question_answer(int64_t number, int64_t silent)
{
    struct sim_question *question = dns.questions;
    while (question != NULL && question->number != (uint64_t)number)
        question = question->next;
    if (question == NULL)
        return;
    const struct sim_name *entry = name_find(question->name);
    question->answered = true;
    if (question->is_raw)
        question_answer_raw(question, entry, silent != 0);
    else
        question->status = question_status(entry, silent != 0);
    if (question->status == 0 && !question->is_raw)
        question_fill(question, entry);
    sim_note("answer", number, question->status);
    sim_poller_answers(question->poller);
}

/* Makes a question that has not been asked yet. */
static struct sim_question *question_new(int poller, const char *name, int type)
{
    struct sim_question *question = calloc(1, sizeof(*question));
    invariant(question != NULL);
    question->number = ++dns.number;
    question->poller = poller;
    question->type = type;
    snprintf(question->name, sizeof(question->name), "%s", name);
    size_t size = strlen(question->name);
    if (size > 0 && question->name[size - 1] == '.')
        question->name[size - 1] = '\0';
    question->next = dns.questions;
    dns.questions = question;
    sim_note_text("ask", name, strlen(name));
    return question;
}

static void question_send(struct sim_question *question, int64_t silence)
{
    bool silent = sim_chance(LOT_FAULT, sim_rates.dns_silent) || question->behaviour == DNS_SILENT;
    int64_t wait = 1 + (int64_t)sim_below(LOT_NET, sim_rates.dns_latency_max + (uint64_t)1);
    sim_event_put(sim_now() + (silent ? silence : wait), question_answer, (int64_t)question->number,
                  silent);
}

int sim_dns_query(int poller, const char *name, int type,
                  void (*done)(void *argument, int status, const uint8_t *answer, size_t size),
                  void *argument)
{
    struct sim_question *question = question_new(poller, name, type);
    question->done = done;
    question->argument = argument;
    question_send(question, SILENCE);
    return 0;
}

int sim_dns_ask(int poller, const struct address *server, const char *name, int type,
                duration timeout,
                void (*done)(void *argument, int status, const uint8_t *answer, size_t size),
                void *argument)
{
    struct sim_question *question = question_new(poller, name, type);
    question->done = done;
    question->argument = argument;
    question->is_raw = true;
    for (size_t i = 0; i < dns.server_count; i++)
        if (address_equal(&dns.servers[i].at, server))
            question->behaviour = dns.servers[i].behaviour;
    question_send(question, timeout.us);
    return 0;
}

/* Removes the poller's oldest query from the list; with `answered`, the oldest answered one. */
static struct sim_question *question_take(int poller, bool answered)
{
    struct sim_question **link = &dns.questions, **found = NULL;
    for (; *link != NULL; link = &(*link)->next)
        if ((*link)->poller == poller && (!answered || (*link)->answered))
            found = link; /* the oldest */
    if (found == NULL)
        return NULL;
    struct sim_question *question = *found;
    *found = question->next;
    return question;
}

void sim_dns_deliver(int poller)
{
    struct sim_question *question;
    while ((question = question_take(poller, true)) != NULL) {
        question->done(question->argument, question->status, question->answer, question->size);
        free(question);
    }
}

void sim_dns_cancel(int poller)
{
    struct sim_question *question;
    while ((question = question_take(poller, false)) != NULL) {
        question->done(question->argument, -ECANCELED, question->answer, 0);
        free(question);
    }
}

uint32_t sim_dns_leaks(void (*each)(void *argument, const char *what), void *argument)
{
    uint32_t count = 0;
    for (const struct sim_question *it = dns.questions; it != NULL; it = it->next) {
        each(argument, it->name);
        count += 1;
    }
    return count;
}

void sim_dns_finish(void)
{
    for (size_t i = 0; i < dns.count; i++) {
        free(dns.names[i]->name);
        free(dns.names[i]->points_to);
        free(dns.names[i]);
    }
    free(dns.names);
    dns = (struct sim_dns){0};
}
