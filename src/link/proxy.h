#pragma once
/*
 * proxy.h - who a connection is from, as a proxy in front says: the PROXY protocol, v1 and v2.
 *
 * The header is the first that a connection sends, in the clear, also ahead of TLS.  Whoever may
 * send one can pass for any address, so a listener takes it from addresses that it names, and from
 * those it must come.  The decoder is pure; the reader suspends, and takes not a byte more.
 */
#include "machine/stream.h"

/* What is looked at of a header: the longest of v1, and v2 up to the end of its addresses. */
#define LINK_PROXY_MAX 108

struct link_proxied {
    enum { LINK_PROXY_SELF, LINK_PROXY_UNKNOWN, LINK_PROXY_FOR } what;
    struct address from; /* PROXY_FOR only; SELF: the proxy speaks for itself, as to look at us */
    uint32_t behind;     /* bytes that still follow and mean nothing to us: other addresses, TLVs */
};

/** Decodes as much as is there.  OK; AGAIN: *ret_more bytes at least are missing, and may be read
 *  without reading too much; PROTOCOL: it is none. */
fault link_proxy_decode(struct span bytes, struct link_proxied *ret, size_t *ret_more) MUST_USE;
/** Reads a whole header.  Faults: PROTOCOL (with what it is not), CLOSED, TIMEOUT, CANCELLED. */
fault link_read_proxy(struct stream *stream, struct link_proxied *ret, deadline by) MUST_USE;
