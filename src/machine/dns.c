#include "machine/dns.h"

#include "base/check.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/dns_parts.h"
#include "machine/dns_system.h"
#include "machine/loop_parts.h"
#include "machine/stream.h"

#include <ares.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

/* Bytes that are read of a hosts file; longer files are truncated. */
#define HOSTS_SIZE_MAX (256 * 1024)
/* How long to wait for the other family's answer after the first one brought addresses: some name
 * servers never answer AAAA queries. */
#define OTHER_FAMILY_WAIT ms(250)

/* --- answers ---------------------------------------------------------------------------------- */

static void answer_add(struct dns_answer *answer, const struct address *address)
{
    for (size_t i = 0; i < answer->count; i++)
        if (address_equal(&answer->addresses[i], address))
            return;
    if (answer->count < DNS_ADDRESSES_MAX)
        answer->addresses[answer->count++] = *address;
}

static void answer_limit_ttl(struct dns_answer *answer, int seconds)
{
    duration ttl = sec(MAX_OF(seconds, 0));
    if (ttl.us < answer->ttl.us)
        answer->ttl = ttl;
}

/* Converts the status codes of c-ares' parsers to -errno. */
static int errno_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return 0;
    case ARES_ENODATA:
        return -ENODATA;
    case ARES_ENOMEM:
        return -ENOMEM;
    default:
        return -EBADMSG;
    }
}

static int answer_read_a(struct span raw, uint16_t port, struct dns_answer *answer)
{
    struct ares_addrttl found[DNS_ADDRESSES_MAX];
    int count = DNS_ADDRESSES_MAX;
    int status = ares_parse_a_reply(raw.at, (int)raw.size, NULL, found, &count);
    for (int i = 0; status == ARES_SUCCESS && i < count; i++) {
        struct address address = {.family = ADDRESS_IPV4, .port = port};
        memcpy(address.bytes, &found[i].ipaddr, 4);
        answer_add(answer, &address);
        answer_limit_ttl(answer, found[i].ttl);
    }
    return errno_of(status);
}

static int answer_read_aaaa(struct span raw, uint16_t port, struct dns_answer *answer)
{
    struct ares_addr6ttl found[DNS_ADDRESSES_MAX];
    int count = DNS_ADDRESSES_MAX;
    int status = ares_parse_aaaa_reply(raw.at, (int)raw.size, NULL, found, &count);
    for (int i = 0; status == ARES_SUCCESS && i < count; i++) {
        struct address address = {.family = ADDRESS_IPV6, .port = port};
        memcpy(address.bytes, &found[i].ip6addr, 16);
        answer_add(answer, &address);
        answer_limit_ttl(answer, found[i].ttl);
    }
    return errno_of(status);
}

int dns_answer_read(int type, struct span raw, uint16_t port, struct dns_answer *answer)
{
    size_t before = answer->count;
    if (raw.size > INT32_MAX)
        return -EBADMSG;
    int status =
        type == DNS_TYPE_A ? answer_read_a(raw, port, answer) : answer_read_aaaa(raw, port, answer);
    /* The parser returns success for an answer that has aliases only. */
    if (status == 0 && answer->count == before && before < DNS_ADDRESSES_MAX)
        return -ENODATA;
    return status;
}

/* --- hosts files ------------------------------------------------------------------------------ */

void dns_hosts_find(struct span text, const char *host, uint16_t port, struct dns_answer *answer)
{
    struct address address;
    size_t at = 0;
    while (dns_hosts_next(text, &at, host, port, &address))
        answer_add(answer, &address);
}

static fault find_in_hosts(const char *host, uint16_t port, struct dns_answer *answer)
{
    char *text = malloc(HOSTS_SIZE_MAX);
    if (text == NULL)
        return fault_raise(FAULT_NAME, "no memory to resolve \"%s\"", host);
    int64_t size = os->file_read(dns_hosts_file(), text, HOSTS_SIZE_MAX);
    if (size > 0)
        dns_hosts_find(span_of(text, (size_t)size), host, port, answer);
    free(text);
    return OK;
}

/* --- queries ---------------------------------------------------------------------------------- */

enum { QUESTION_A, QUESTION_AAAA, QUESTIONS };
static const int question_types[QUESTIONS] = {DNS_TYPE_A, DNS_TYPE_AAAA};

struct question {
    struct lookup *lookup;
    int status; /* 0 or -errno, once done */
    bool done;
    struct dns_answer answer;
};

/* A resolution.  On the heap, because its queries may outlive the coroutine that waits. */
struct lookup {
    struct co *asking; /* NULL: gave up; the last query frees the lookup */
    uint32_t pending;  /* queries under way */
    uint16_t port;
    struct question questions[QUESTIONS];
};

static void question_done(void *argument, int status, const uint8_t *answer, size_t size)
{
    struct question *question = argument;
    struct lookup *lookup = question->lookup;
    size_t which = (size_t)(question - lookup->questions);
    invariant(!question->done && lookup->pending > 0 && which < QUESTIONS);
    if (status == 0)
        status = dns_answer_read(question_types[which], span_of(answer, size), lookup->port,
                                 &question->answer);
    question->status = status;
    question->done = true;
    lookup->pending -= 1;
    if (lookup->asking != NULL)
        co_wake(lookup->asking);
    else if (lookup->pending == 0)
        free(lookup);
}

static void lookup_ask(struct lookup *lookup, const char *host)
{
    lookup->pending = QUESTIONS;
    for (size_t i = 0; i < QUESTIONS; i++) {
        struct question *question = &lookup->questions[i];
        question->lookup = lookup;
        question->answer.ttl = NO_LIMIT;
        int status =
            os->dns_query(machine_self()->poller, host, question_types[i], question_done, question);
        if (status != 0)
            question_done(question, status, NULL, 0);
    }
}

static fault lookup_wait(struct lookup *lookup, deadline by)
{
    bool patient = true;
    while (lookup->pending > 0) {
        bool found = false;
        for (size_t i = 0; i < QUESTIONS; i++)
            found |= lookup->questions[i].done && lookup->questions[i].answer.count > 0;
        if (found && patient)
            by = earlier_of(by, after(OTHER_FAMILY_WAIT));
        patient = !found;
        fault waited = co_wait(by);
        if (waited == FAULT_TIMEOUT && found)
            return OK;
        TRY(waited);
    }
    return OK;
}

static const char *status_text(int status)
{
    switch (-status) {
    case ENOENT:
        return "no such name";
    case ENODATA:
        return "the name has no address";
    case ETIMEDOUT:
        return "no name server answered";
    case ECONNREFUSED: /* c-ares does not report which of these */
        return "every name server failed, refused or can't be reached";
    case EINVAL:
        return "not a valid name";
    case ENOMEM:
        return "no memory";
    default:
        return "malformed answer";
    }
}

/* Merges the answers, IPv4 first: an unreachable address costs a failed connect, and IPv6 is more
 * often half configured. */
static fault lookup_merge(const struct lookup *lookup, const char *host, struct dns_answer *answer)
{
    int status = -ENODATA;
    for (size_t i = 0; i < QUESTIONS; i++) {
        const struct question *question = &lookup->questions[i];
        for (size_t k = 0; k < question->answer.count; k++)
            answer_add(answer, &question->answer.addresses[k]);
        if (question->answer.count > 0 && question->answer.ttl.us < answer->ttl.us)
            answer->ttl = question->answer.ttl;
        if (question->done && status == -ENODATA)
            status = question->status;
    }
    if (answer->count > 0)
        return OK;
    return fault_raise(FAULT_NAME, "host \"%s\" could not be resolved: %s", host,
                       status_text(status));
}

static fault ask_servers(const char *host, uint16_t port, struct dns_answer *answer, deadline by)
{
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    if (lookup == NULL)
        return fault_raise(FAULT_NAME, "no memory to resolve \"%s\"", host);
    lookup->asking = co_self();
    lookup->port = port;
    lookup_ask(lookup, host);
    fault result = lookup_wait(lookup, by);
    if (result == OK)
        result = lookup_merge(lookup, host, answer);
    else if (result == FAULT_TIMEOUT)
        fault_raise(FAULT_TIMEOUT, "host \"%s\" was not resolved in time", host);
    lookup->asking = NULL;
    if (lookup->pending == 0)
        free(lookup);
    return result;
}

/* --- resolution ------------------------------------------------------------------------------- */

/* Adds the wildcard addresses of both families, because our IPv6 listeners are IPv6 only. */
static void answer_wildcard(uint16_t port, struct dns_answer *answer)
{
    char text[16];
    if (os->file_read("/proc/net/if_inet6", text, sizeof(text)) > 0)
        answer_add(answer, &(struct address){.family = ADDRESS_IPV6, .port = port});
    answer_add(answer, &(struct address){.family = ADDRESS_IPV4, .port = port});
}

static fault resolve_name(const char *host, uint16_t port, struct dns_answer *answer, deadline by)
{
    TRY(find_in_hosts(host, port, answer));
    return answer->count > 0 ? OK : ask_servers(host, port, answer, by);
}

fault dns_resolve(const char *host, uint16_t port, struct dns_answer *ret, deadline by)
{
    struct dns_answer answer = {.ttl = NO_LIMIT};
    fault result = OK;
    if (*host == '\0')
        return fault_raise(FAULT_NAME, "an empty host name can't be resolved");
    if (strcmp(host, "*") == 0)
        answer_wildcard(port, &answer);
    else if (address_parse(host, port, &answer.addresses[0]))
        answer.count = 1;
    else
        result = resolve_name(host, port, &answer, by);
    if (result == OK)
        *ret = answer;
    return result;
}

/* --- one name server -------------------------------------------------------------------------- */

int dns_ask(const struct address *server, const char *name, int type, duration timeout,
            void (*done)(void *argument, int status, const uint8_t *answer, size_t size),
            void *argument)
{
    return os->dns_ask(machine_self()->poller, server, name, type, timeout, done, argument);
}
