#pragma once
/*
 * os_linux_dns.h - what tests may tell the resolver of os_linux; private to machine/.
 */

/** Which name servers resolvers made from now on ask ("127.0.0.1:5353,..."; NULL: resolv.conf's),
 * and how long each may take.  Before the first machine. */
void os_linux_dns_set(const char *servers, int timeout_ms);
