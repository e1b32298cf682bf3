#pragma once
/*
 * dns.h - names to addresses: numbers, Unix directories, /etc/hosts, then A and AAAA.
 *
 * Suspends on the running machine's loop; never blocks a thread.
 */
#include "machine/os.h"

#define DNS_ADDRESSES_MOST 16

struct dns_answer {
    struct address addresses[DNS_ADDRESSES_MOST];
    size_t count;
    duration ttl; /* of the shortest-lived record; NO_LIMIT for numbers and hosts files */
};

/** Resolves `host` ("*" gives the wildcard addresses, IPv6 first where there is IPv6).
 *  Faults: NAME (with why), TIMEOUT, CANCELLED. */
fault dns_resolve(const char *host, uint16_t port, struct dns_answer *ret, deadline by) MUST_USE;
