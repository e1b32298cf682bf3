#pragma once
/*
 * dial.h - a connection that is ready for its first packet, and how servers' refusals are told.
 *
 * Private to link/: what logging in, cancelling and accepting share.
 */
#include "link/link.h"

enum dial_kind {
    DIAL_AS_CONFIGURED, /* with TLS as the target says */
    DIAL_PLAIN,         /* the second try of TLS_MODE_PREFER */
};

/**
 * Connects and negotiates TLS (never on Unix sockets).  With TLS_MODE_PREFER a failed handshake is
 * followed by one plain connection.  On a fault the stream is closed.
 * Faults: REFUSED (also when the server closes meanwhile), TIMEOUT, TLS, PROTOCOL, UPSTREAM,
 * CANCELLED, SYSTEM, MEMORY.
 */
fault link_dial(struct stream *stream, const struct link_target *target, enum dial_kind kind,
                deadline by) MUST_USE;

/** A server that closes before it has let us in refuses: CLOSED becomes REFUSED, all else stays. */
fault link_refused(fault what, const struct link_target *target);

/** Raises what an ErrorResponse says, with the server's own SQLSTATE; always UPSTREAM. */
fault link_raise_upstream(struct span error_body);

/** Whether bytes are in the socket before a TLS handshake: they would be those of somebody in the
 *  middle, so that is PROTOCOL, and the story says they came behind `what`.  Also CLOSED. */
fault link_check_silence(struct stream *stream, const char *what) MUST_USE;
