#pragma once
/*
 * dns.h - names to addresses: numbers, Unix directories, /etc/hosts, then A and AAAA.
 *
 * Suspends on the running machine's loop; never blocks a thread.
 */
#include "machine/os.h"

#define DNS_ADDRESSES_MAX 16

struct dns_answer {
    struct address addresses[DNS_ADDRESSES_MAX];
    size_t count;
    duration ttl; /* of the shortest-lived record; NO_LIMIT for numbers and hosts files */
};

/** Resolves `host` ("*" gives the wildcard addresses, IPv6 first where there is IPv6).
 *  Faults: NAME (with why), TIMEOUT, CANCELLED. */
fault dns_resolve(const char *host, uint16_t port, struct dns_answer *ret, deadline by) MUST_USE;

/* The longest name, NUL included. */
#define DNS_NAME_SIZE 254

/** The name of a number's machine, by the hosts file, then PTR; "" when it has none.  It is only
 *  what whoever owns the number says: ask dns_resolve for the way back.
 *  Faults: TIMEOUT, CANCELLED, NAME (no name server answered). */
fault dns_reverse(const struct address *address, char ret[DNS_NAME_SIZE], deadline by) MUST_USE;
