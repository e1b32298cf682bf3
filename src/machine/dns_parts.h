#pragma once
/*
 * dns_parts.h - the pure parts of dns.c and dns_reverse.c, for them and their tests; private to
 * machine/.
 */
#include "machine/dns_message.h"

/** Adds the addresses that the text of a hosts file has for `host`; names compare without case. */
void dns_hosts_find(struct span text, const char *host, uint16_t port, struct dns_answer *answer);
/** Adds the addresses of a raw answer to a query of `type`; follows CNAMEs.  Returns 0 or -errno,
 *  with the error numbers of os->dns_query. */
int dns_answer_read(int type, struct span raw, uint16_t port, struct dns_answer *answer);

/** Finds the first name that the text of a hosts file has for an address; false: none. */
bool dns_hosts_name(struct span text, const struct address *address, char ret[DNS_NAME_SIZE]);
/** Reads the name in a raw answer to a PTR query; 0 or -errno. */
int dns_name_read(struct span raw, const struct address *address, char ret[DNS_NAME_SIZE]);

/** Writes the name of a PTR query: "4.3.2.1.in-addr.arpa", or the nibbles of an IPv6 address under
 *  ip6.arpa. */
void dns_reverse_name(const struct address *address, char *text, size_t size);

/** Sets the path of the hosts file, borrowed; NULL: the system's.  Before the first machine. */
void dns_set_hosts_path(const char *path);
const char *dns_hosts_file(void);
