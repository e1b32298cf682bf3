#pragma once
/*
 * dial_parts.h - connects to a server, ready for the first packet; turns a server's refusals into
 * faults.
 *
 * Private to link/: shared by login, cancel and accept.
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

/** Turns CLOSED into REFUSED: a server that closes before the login has ended refuses the
 *  connection.  Returns other faults unchanged. */
fault link_refused(fault what, const struct link_target *target);

/** Raises UPSTREAM with the message and the SQLSTATE of a server's ErrorResponse; XX000 if it has
 *  no valid SQLSTATE. */
fault link_raise_upstream(struct span error_body);

/** Raises PROTOCOL if bytes are in the socket before a TLS handshake: they may be those of a man in
 *  the middle.  The detail says that they came after `what`.  Other fault: CLOSED. */
fault link_check_silence(struct stream *stream, const char *what) MUST_USE;
