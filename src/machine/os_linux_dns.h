#pragma once
/*
 * os_linux_dns.h - settings of the resolver of os_linux, for tests; private to machine/.
 */

/** Sets the name servers of resolvers that are created later ("127.0.0.1:5353,..."; NULL: those of
 *  resolv.conf), and the timeout of each try.  Before the first machine. */
void os_linux_dns_set(const char *servers, int timeout_ms);
