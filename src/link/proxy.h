#pragma once
/*
 * proxy.h - the client's address as a proxy reports it: the PROXY protocol, versions 1 and 2.
 *
 * The header comes first on a connection, unencrypted, also before TLS.  A peer that may send a
 * header can claim any address.  So a listener accepts headers only from addresses that it names,
 * and requires them from those.  The decoder is pure.  The reader suspends, and reads no byte
 * beyond the header.
 */
#include "machine/stream.h"

/* Bytes of a header that are decoded: the longest of v1; v2 up to the end of its addresses. */
#define LINK_PROXY_MAX 108

struct link_proxied {
    enum { LINK_PROXY_SELF, LINK_PROXY_UNKNOWN, LINK_PROXY_FOR } what;
    struct address from; /* with FOR; SELF: the proxy's own connection, such as a health check */
    uint32_t behind;     /* bytes that follow and are skipped: other addresses, TLVs */
};

/** Decodes the bytes read so far.  Faults: AGAIN (at least *ret_more bytes are missing; reading so
 *  many does not read beyond the header), PROTOCOL (not a PROXY header). */
fault link_proxy_decode(struct span bytes, struct link_proxied *ret, size_t *ret_more) MUST_USE;
/** Reads a whole header.  Faults: PROTOCOL (no header, or a malformed one), CLOSED, TIMEOUT,
 *  CANCELLED. */
fault link_read_proxy(struct stream *stream, struct link_proxied *ret, deadline by) MUST_USE;
