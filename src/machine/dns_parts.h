#pragma once
/*
 * dns_parts.h - the pure parts of dns.c, for it and its tests; private to machine/.
 */
#include "machine/dns.h"

enum { DNS_TYPE_A = 1, DNS_TYPE_PTR = 12, DNS_TYPE_AAAA = 28 };

/** Adds what the text of a hosts file says about `host`; names compare without case. */
void dns_hosts_find(struct span text, const char *host, uint16_t port, struct dns_answer *answer);
/** Adds the addresses of a raw answer to a question of `type`, CNAMEs followed; 0 or -errno (as
 *  os->dns_query reports what is wrong). */
int dns_answer_read(int type, struct span raw, uint16_t port, struct dns_answer *answer);

/** The first name that the text of a hosts file has for an address; false: none. */
bool dns_hosts_name(struct span text, const struct address *address, char ret[DNS_NAME_SIZE]);
/** The name in a raw answer to a PTR question; 0 or -errno. */
int dns_name_read(struct span raw, const struct address *address, char ret[DNS_NAME_SIZE]);

/** "4.3.2.1.in-addr.arpa", or the nibbles of an IPv6 address under ip6.arpa. */
void dns_reverse_name(const struct address *address, char *text, size_t size);

/** Another hosts file, NULL: the system's.  Borrowed.  Before the first machine. */
void dns_set_hosts_path(const char *path);
const char *dns_hosts_file(void);
