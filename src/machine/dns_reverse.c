/* dns_reverse.c - addresses to names. */
#include "base/check.h"
#include "machine/co.h"
#include "machine/dns_parts.h"
#include "machine/loop_parts.h"
#include "machine/stream.h"

#include <ares.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#define HOSTS_SIZE_MAX (256 * 1024)

/* A PTR query.  On the heap, because it may outlive the coroutine that waits. */
struct reverse {
    struct co *asking; /* NULL: gave up; the answer frees the query */
    struct address address;
    int status;
    bool done;
    char name[DNS_NAME_SIZE];
};

int dns_name_read(struct span raw, const struct address *address, char ret[DNS_NAME_SIZE])
{
    bool six = address->family == ADDRESS_IPV6;
    struct hostent *host = NULL;
    ret[0] = '\0';
    if (raw.size > INT32_MAX)
        return -EBADMSG;
    int status = ares_parse_ptr_reply(raw.at, (int)raw.size, address->bytes, six ? 16 : 4,
                                      six ? AF_INET6 : AF_INET, &host);
    if (status != ARES_SUCCESS)
        return status == ARES_ENODATA ? -ENODATA : -EBADMSG;
    if (host->h_name != NULL && strlen(host->h_name) < DNS_NAME_SIZE)
        snprintf(ret, DNS_NAME_SIZE, "%s", host->h_name);
    ares_free_hostent(host);
    return 0;
}

void dns_reverse_name(const struct address *address, char *text, size_t size)
{
    const uint8_t *at = address->bytes;
    size_t used = 0;
    if (address->family == ADDRESS_IPV4) {
        snprintf(text, size, "%u.%u.%u.%u.in-addr.arpa", at[3], at[2], at[1], at[0]);
        return;
    }
    for (int i = 15; i >= 0; i--)
        used += (size_t)snprintf(text + used, size - used, "%x.%x.", at[i] & 15u, at[i] >> 4);
    snprintf(text + used, size - used, "ip6.arpa");
}

static void reverse_done(void *argument, int status, const uint8_t *answer, size_t size)
{
    struct reverse *reverse = argument;
    if (status == 0)
        status = dns_name_read(span_of(answer, size), &reverse->address, reverse->name);
    reverse->status = status;
    reverse->done = true;
    if (reverse->asking != NULL)
        co_wake(reverse->asking);
    else
        free(reverse);
}

static fault reverse_outcome(const struct reverse *reverse, char ret[DNS_NAME_SIZE])
{
    if (reverse->status == 0)
        snprintf(ret, DNS_NAME_SIZE, "%s", reverse->name);
    else if (reverse->status != -ENOENT && reverse->status != -ENODATA)
        return fault_raise(FAULT_NAME, "an address could not be resolved: %s",
                           strerrordesc_np(-reverse->status));
    return OK;
}

static fault ask_servers(const struct address *address, char ret[DNS_NAME_SIZE], deadline by)
{
    char name[80];
    fault result = OK;
    struct reverse *reverse = calloc(1, sizeof(*reverse));
    if (reverse == NULL)
        return fault_raise(FAULT_NAME, "no memory to resolve an address");
    reverse->address = *address;
    dns_reverse_name(address, name, sizeof(name));
    int status = os->dns_query(machine_self()->poller, name, DNS_TYPE_PTR, reverse_done, reverse);
    if (status != 0) {
        reverse->status = status;
        reverse->done = true;
    }
    reverse->asking = co_self();
    while (result == OK && !reverse->done)
        result = co_wait(by);
    reverse->asking = NULL;
    if (!reverse->done)
        return result;
    if (result == OK)
        result = reverse_outcome(reverse, ret);
    free(reverse);
    return result;
}

bool dns_hosts_name(struct span text, const struct address *address, char ret[DNS_NAME_SIZE])
{
    while (text.size > 0) {
        char line[512], number[64], name[DNS_NAME_SIZE];
        struct address found;
        const uint8_t *end = memchr(text.at, '\n', text.size);
        size_t size = end == NULL ? text.size : (size_t)(end - text.at);
        snprintf(line, sizeof(line), "%.*s", (int)MIN_OF(size, sizeof(line) - 1), text.at);
        text = span_skip(text, size + 1);
        line[strcspn(line, "#")] = '\0';
        if (sscanf(line, "%63s %253s", number, name) != 2 ||
            !address_parse_number(number, 0, &found) || found.family != address->family ||
            memcmp(found.bytes, address->bytes, found.family == ADDRESS_IPV4 ? 4 : 16) != 0)
            continue;
        snprintf(ret, DNS_NAME_SIZE, "%s", name);
        return true;
    }
    return false;
}

fault dns_reverse(const struct address *address, char ret[DNS_NAME_SIZE], deadline by)
{
    bool found = false;
    ret[0] = '\0';
    if (address->family != ADDRESS_IPV4 && address->family != ADDRESS_IPV6)
        return OK;
    char *text = malloc(HOSTS_SIZE_MAX);
    int64_t size = text == NULL ? 0 : os->file_read(dns_hosts_file(), text, HOSTS_SIZE_MAX);
    if (size > 0)
        found = dns_hosts_name(span_of(text, (size_t)size), address, ret);
    free(text);
    return found ? OK : ask_servers(address, ret, by);
}
