#pragma once
/*
 * dns.h - host name resolution: numeric addresses, Unix socket directories, /etc/hosts, then A and
 * AAAA records.
 *
 * Suspends on the running machine's loop; never blocks a thread.
 */
#include "machine/os.h"

#define DNS_ADDRESSES_MAX 16

struct dns_answer {
    struct address addresses[DNS_ADDRESSES_MAX];
    size_t count;
    duration ttl; /* the smallest of all records; NO_LIMIT for numbers and hosts files */
};

/** Resolves `host`; "*" gives the wildcard addresses, IPv6 first where the machine has IPv6.
 *  Suspends.  Faults: NAME (the detail says why), TIMEOUT, CANCELLED. */
fault dns_resolve(const char *host, uint16_t port, struct dns_answer *ret, deadline by) MUST_USE;

/** Asks one name server on the running machine, see os->dns_ask. */
int dns_ask(const struct address *server, const char *name, int type, duration timeout,
            void (*done)(void *argument, int status, const uint8_t *answer, size_t size),
            void *argument);

/* Size of the longest name, NUL included. */
#define DNS_NAME_SIZE 254

/** Resolves an address to its name, by the hosts file, then by PTR; "" when it has none.  The owner
 *  of the address can set any PTR record: confirm the name by dns_resolve.
 *  Suspends.  Faults: TIMEOUT, CANCELLED, NAME (no name server answered). */
fault dns_reverse(const struct address *address, char ret[DNS_NAME_SIZE], deadline by) MUST_USE;
