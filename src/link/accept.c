/* accept.c - the start of a client's connection: TLS and GSS requests, the startup packet. */
#include "link/dial_parts.h"

/* An accepted connection until its startup packet. */
struct greeter {
    struct stream *stream;
    const struct link_accept *accept;
    uint8_t *bytes; /* the packet; at least WIRE_STARTUP_MAX */
    bool asked_tls;
    bool asked_gss;
    deadline by;
};

/* The first byte of a TLS record that holds a handshake. */
#define RECORD_HANDSHAKE 0x16

/* Returns whether TLS is offered.  Like PostgreSQL, never on Unix sockets. */
static bool greeter_has_tls(const struct greeter *greeter)
{
    return greeter->accept->tls_mode != TLS_MODE_DISABLE && greeter->accept->tls != NULL &&
           !stream_is_local(greeter->stream);
}

static bool greeter_requires_tls(const struct greeter *greeter)
{
    return greeter->accept->tls_mode >= TLS_MODE_REQUIRE && !stream_is_local(greeter->stream);
}

static fault greeter_closed(const struct greeter *greeter, size_t have)
{
    if (have > 0)
        return fault_raise(FAULT_CLOSED, "closed within its startup packet, after %zu bytes", have);
    if (greeter->asked_tls || greeter->asked_gss)
        return fault_raise(FAULT_CLOSED, "closed after its SSLRequest or GSSENCRequest");
    return fault_raise(FAULT_CLOSED, "%s", ""); /* a probe: no detail */
}

/* Reads until there are at least `size` bytes.  More may arrive: after an SSLRequest the
 * caller rejects them. */
static fault greeter_fill(struct greeter *greeter, size_t *have, size_t size)
{
    invariant(size <= WIRE_STARTUP_MAX && *have <= WIRE_STARTUP_MAX);
    while (*have < size) {
        size_t got = 0;
        fault what = stream_read(greeter->stream, greeter->bytes + *have, WIRE_STARTUP_MAX - *have,
                                 &got, greeter->by);
        if (what == FAULT_CLOSED)
            return greeter_closed(greeter, *have);
        TRY(what);
        *have += got;
    }
    return OK;
}

static fault greeter_shake_hands(struct greeter *greeter, struct span read)
{
    struct stream *stream = greeter->stream;
    invariant(greeter->asked_tls && stream->tls == NULL);
    stream->in_handshake = true;
    TRY(stream_tls_accept(stream, greeter->accept->tls, read, greeter->by));
    stream->in_handshake = false;
    return OK;
}

/* Handles TLS without an SSLRequest, which begins with a byte that no packet length has.  Requires
 * ALPN, as PostgreSQL 17 does: only ALPN shows that the client means a database, and not a web
 * server that listens elsewhere. */
static fault greeter_direct_tls(struct greeter *greeter, size_t have)
{
    if (greeter->asked_tls || greeter->asked_gss)
        return fault_raise(FAULT_PROTOCOL,
                           "a TLS handshake after a refused SSLRequest or GSSENCRequest");
    if (!greeter_has_tls(greeter))
        return fault_raise(FAULT_PROTOCOL, "a TLS handshake, and this listener has no TLS");
    greeter->asked_tls = true;
    TRY(greeter_shake_hands(greeter, span_of(greeter->bytes, have)));
    if (!stream_tls_agreed(greeter->stream))
        return fault_raise(FAULT_PROTOCOL, "direct TLS without ALPN for \"postgresql\"");
    return OK;
}

static fault greeter_packet(struct greeter *greeter, struct wire_startup *ret)
{
    size_t have = 0;
    TRY(greeter_fill(greeter, &have, 4));
    if (greeter->bytes[0] == RECORD_HANDSHAKE && greeter->stream->tls == NULL) {
        TRY(greeter_direct_tls(greeter, have));
        have = 0;
        TRY(greeter_fill(greeter, &have, 4));
    }
    uint32_t length = wire_startup_length(greeter->bytes);
    if (length == 0)
        return fault_raise(FAULT_PROTOCOL, "startup packet of %u bytes, the limits are 8 and %u",
                           wire_u32(greeter->bytes), WIRE_STARTUP_MAX);
    invariant(length <= WIRE_STARTUP_MAX);
    TRY(greeter_fill(greeter, &have, length));
    invariant(have >= length);

    struct wire_startup packet = {0};
    fault what = wire_read_startup(span_of(greeter->bytes, length), &packet);
    if (what == FAULT_UNSUPPORTED)
        return fault_raise(what, "protocol version %u.%u is not supported, 3.0 to 3.2 are",
                           packet.version >> 16, packet.version & 0xffff);
    if (what != OK)
        return fault_raise(what, "malformed startup packet of %u bytes", length);
    packet.behind = span_of(greeter->bytes + length, have - length);
    *ret = packet;
    return OK;
}

static fault greeter_answer_tls(struct greeter *greeter, size_t behind)
{
    if (greeter->stream->tls != NULL)
        return fault_raise(FAULT_PROTOCOL, "an SSLRequest inside TLS");
    if (greeter->asked_tls)
        return fault_raise(FAULT_PROTOCOL, "a second SSLRequest");
    greeter->asked_tls = true;
    if (behind > 0)
        return fault_raise(FAULT_PROTOCOL, "unencrypted bytes after an SSLRequest");
    if (!greeter_has_tls(greeter))
        return stream_write(greeter->stream, SPAN("N"), greeter->by);
    TRY(link_check_silence(greeter->stream, "an SSLRequest"));
    greeter->stream->in_handshake = true; /* the peer may read the 'S' before the write returns */
    TRY(stream_write(greeter->stream, SPAN("S"), greeter->by));
    return greeter_shake_hands(greeter, SPAN_NONE);
}

static fault greeter_answer_gss(struct greeter *greeter, size_t behind)
{
    if (greeter->stream->tls != NULL)
        return fault_raise(FAULT_PROTOCOL, "a GSSENCRequest inside TLS");
    if (greeter->asked_gss)
        return fault_raise(FAULT_PROTOCOL, "a second GSSENCRequest");
    greeter->asked_gss = true;
    if (behind > 0)
        return fault_raise(FAULT_PROTOCOL, "unencrypted bytes after a GSSENCRequest");
    return stream_write(greeter->stream, SPAN("N"), greeter->by);
}

fault link_read_startup(struct stream *stream, const struct link_accept *accept, uint8_t *bytes,
                        struct wire_startup *ret, deadline by)
{
    struct greeter greeter = {.stream = stream, .accept = accept, .bytes = bytes, .by = by};
    struct wire_startup packet = {0};
    for (;;) {
        TRY(greeter_packet(&greeter, &packet));
        if (packet.kind == WIRE_STARTUP_SSL)
            TRY(greeter_answer_tls(&greeter, packet.behind.size));
        else if (packet.kind == WIRE_STARTUP_GSS)
            TRY(greeter_answer_gss(&greeter, packet.behind.size));
        else
            break;
    }
    /* TLS that was offered has begun. */
    invariant(!greeter.asked_tls || !greeter_has_tls(&greeter) || stream->tls != NULL);
    /* A cancel request is exempt: it has its own key, and libpq before version 17 sends it
     * unencrypted. */
    if (packet.kind == WIRE_STARTUP && stream->tls == NULL && greeter_requires_tls(&greeter))
        return fault_raise(FAULT_AUTH, "TLS is required here, and this connection has none");
    *ret = packet;
    return OK;
}
