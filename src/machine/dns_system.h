#pragma once
/*
 * dns_system.h - how this machine resolves names: name servers and search list of resolv.conf, and
 * the hosts file.
 *
 * A value that is read again whenever names are resolved, so that changes of the files count at the
 * next resolution.  The readers of texts are pure.
 */
#include "machine/dns.h"

#include "base/buffer.h"
#include "base/span.h"

#define DNS_PORT        53
#define DNS_SERVERS_MAX 8 /* of resolv.conf; more are ignored */
#define DNS_SEARCH_MAX  6 /* domains of the search list; more are ignored */

struct dns_system {
    struct address servers[DNS_SERVERS_MAX];
    size_t server_count;
    char search[DNS_SEARCH_MAX][DNS_NAME_SIZE];
    size_t search_count;
    uint32_t dots;       /* a name with fewer dots is tried with the search list first ("ndots") */
    struct buffer hosts; /* text of the hosts file */
};
#define DNS_SYSTEM_INIT ((struct dns_system){.dots = 1, .hosts = BUFFER_INIT(256 * 1024)})

/** Reads resolv.conf and the hosts file; a file that is not there counts as empty.  Without a name
 *  server in resolv.conf it is 127.0.0.1, as for the C library.  Faults: MEMORY. */
fault dns_system_read(struct dns_system *ret) MUST_USE;
void dns_system_fini(struct dns_system *system);
/** Reads the text of a resolv.conf: nameserver, search, domain, options ndots. */
void dns_system_parse(struct span text, struct dns_system *system);
/** Sets the path of resolv.conf, borrowed; NULL: the system's.  Before the first machine. */
void dns_set_resolv_conf(const char *path);

/** Finds the next address that the text of a hosts file has for `host`: *at is 0 at first, and
 * moves on.  Returns false at the end. */
bool dns_hosts_next(struct span text, size_t *at, const char *host, uint16_t port,
                    struct address *ret);
