/* address.c - addresses: parsing, printing, comparing. */
#include "machine/stream.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Handles numeric addresses only.  Only the interface name of an IPv6 scope needs a system call. */

static const char *address_number(const struct address *address, char *text, size_t size)
{
    int family = address->family == ADDRESS_IPV4 ? AF_INET : AF_INET6;
    if (inet_ntop(family, address->bytes, text, (socklen_t)size) == NULL)
        snprintf(text, size, "?");
    size_t used = strlen(text);
    if (address->scope != 0 && used < size)
        snprintf(text + used, size - used, "%%%u", address->scope);
    return text;
}

const char *address_text(const struct address *address, char *text, size_t size)
{
    char number[INET6_ADDRSTRLEN + 12];
    invariant(size > 0);
    switch (address->family) {
    case ADDRESS_IPV4:
        snprintf(text, size, "%s:%u", address_number(address, number, sizeof(number)),
                 address->port);
        break;
    case ADDRESS_IPV6:
        snprintf(text, size, "[%s]:%u", address_number(address, number, sizeof(number)),
                 address->port);
        break;
    case ADDRESS_UNIX:
        snprintf(text, size, "%s", address->path);
        break;
    case ADDRESS_NONE:
        snprintf(text, size, "none");
        break;
    }
    return text;
}

const char *address_host_text(const struct address *address, char *text, size_t size)
{
    invariant(size > 0);
    if (address->family == ADDRESS_IPV4 || address->family == ADDRESS_IPV6)
        return address_number(address, text, size);
    snprintf(text, size, "%s", address->family == ADDRESS_UNIX ? "unix" : "none");
    return text;
}

bool address_equal(const struct address *a, const struct address *b)
{
    if (a->family != b->family)
        return false;
    switch (a->family) {
    case ADDRESS_IPV4:
        return a->port == b->port && memcmp(a->bytes, b->bytes, 4) == 0;
    case ADDRESS_IPV6:
        return a->port == b->port && a->scope == b->scope && memcmp(a->bytes, b->bytes, 16) == 0;
    case ADDRESS_UNIX:
        return strcmp(a->path, b->path) == 0;
    case ADDRESS_NONE:
        break;
    }
    return true;
}

/* Parses an IPv6 address with an optional scope: "fe80::1%eth0" or "fe80::1%2". */
static bool address_parse_scoped(const char *host, struct address *address)
{
    char number[INET6_ADDRSTRLEN];
    const char *percent = strchr(host, '%');
    if (percent == NULL)
        return inet_pton(AF_INET6, host, address->bytes) == 1;
    size_t size = (size_t)(percent - host);
    if (size >= sizeof(number) || percent[1] == '\0')
        return false;
    memcpy(number, host, size);
    number[size] = '\0';
    char *end;
    unsigned long scope = strtoul(percent + 1, &end, 10);
    address->scope =
        *end == '\0' && scope <= UINT32_MAX ? (uint32_t)scope : if_nametoindex(percent + 1);
    return address->scope != 0 && inet_pton(AF_INET6, number, address->bytes) == 1;
}

bool address_parse_number(const char *number, uint16_t port, struct address *ret)
{
    struct address address = {.port = port};
    if (inet_pton(AF_INET, number, address.bytes) == 1)
        address.family = ADDRESS_IPV4;
    else if (address_parse_scoped(number, &address))
        address.family = ADDRESS_IPV6;
    else
        return false;
    *ret = address;
    return true;
}

bool address_parse(const char *host, uint16_t port, struct address *ret)
{
    struct address address = {.port = port};
    if (address_host_is_unix(host)) {
        address.family = ADDRESS_UNIX;
        int size = snprintf(address.path, sizeof(address.path), "%s/.s.PGSQL.%u", host, port);
        if (size < 0 || (size_t)size >= sizeof(address.path))
            return false;
        *ret = address;
        return true;
    }
    return address_parse_number(host, port, ret);
}
