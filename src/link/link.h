#pragma once
/*
 * link.h - the PostgreSQL protocol outside of the hot path: TLS, logins, cancel requests, single
 * messages.
 *
 * The hot path frames its messages itself.  Functions with a deadline suspend the running coroutine
 * until then at most.  Knows no pools and no routes.  Design: docs/internals/link.md
 */
#include "machine/stream.h"
#include "machine/tls.h"
#include "wire/messages.h"
#include "wire/scram.h"
#include "wire/startup.h"

/* Channel binding of SCRAM: if both sides support it, always, or never. */
enum link_binding { LINK_BINDING_PREFER, LINK_BINDING_REQUIRE, LINK_BINDING_DISABLE };

/* Where and how to connect. */
struct link_target {
    struct address address;
    const char *host; /* as configured: for SNI and verify-full */
    enum tls_mode tls_mode;
    struct tls_context *tls; /* borrowed; NULL when disabled */
    bool tls_direct;         /* TLS from the first byte, no SSLRequest; the mode then requires it */
    enum link_binding binding;
    struct socket_options socket;
};

/* Credentials for a server.  Each of them may be missing. */
struct link_secret {
    struct span password;   /* plain text */
    char md5[MD5_TEXT];     /* stored form; "" when unknown */
    bool have_keys;         /* `keys` is valid, for its salt and iterations */
    struct scram_keys keys; /* kept by link_login after a derivation, so that it is done once */
};

struct link_login {
    const struct link_target *target;
    struct span user;
    struct span database;
    struct span parameters;     /* further startup parameters: name NUL value NUL ... */
    uint32_t version;           /* protocol version to ask for; 0: 3.0 */
    struct link_secret *secret; /* borrowed; `keys` may be filled in */
};

/* Values that the server reported up to its first ReadyForQuery. */
struct link_reported {
    uint32_t version; /* protocol version in use */
    uint32_t pid;
    struct wire_secret secret; /* of the cancel key; empty: the server sent none */
    struct buffer parameters;  /* ParameterStatus: name NUL value NUL ...; the caller calls fini */
    bool in_hot_standby;
    bool read_only; /* default_transaction_read_only is on */
};

/**
 * Connects `stream`, negotiates TLS, logs in, and reads up to the first ReadyForQuery.
 *
 * Closes the stream on a fault.  Skips notices.  With TLS_MODE_PREFER a server that rejects the
 * encrypted connection (28000) is tried without TLS.  A server with an older protocol version
 * negotiates or rejects; after a rejection a new connection asks for 3.0.  Bytes before a TLS
 * handshake and replies after ReadyForQuery are a PROTOCOL fault.  Faults: REFUSED (connect
 * refused, reset or unreachable; also if the server closes during the login), TIMEOUT, TLS,
 * PROTOCOL, AUTH, UNSUPPORTED (a method of authentication), UPSTREAM (the server's own
 * ErrorResponse: detail and SQLSTATE are the server's), LIMIT, MEMORY, SYSTEM, CANCELLED.
 *
 * Needs a CO_LARGE stack if the target has TLS.  `ret` needs no preparation.
 */
fault link_login(struct stream *stream, const struct link_login *login, struct link_reported *ret,
                 deadline by) MUST_USE;

/** Connects on a stream of its own, with TLS as the target says, sends a CancelRequest, and waits
 *  until the server closes the connection.  Faults: those of link_login that come before it is
 *  sent, and UNSUPPORTED: `secret` is empty, since the server sent no key. */
fault link_cancel(const struct link_target *target, uint32_t pid, struct span secret,
                  deadline by) MUST_USE;

/** Derives the SCRAM keys of a password on another thread, with the salt and iterations of `like`:
 *  this takes most of a millisecond at least.  Suspends.  Faults: MEMORY, SYSTEM, TIMEOUT,
 *  CANCELLED. */
fault link_derive(struct span password, const struct scram_keys *like, struct scram_keys *ret,
                  deadline by) MUST_USE;

/* --- accepting clients ------------------------------------------------------------------------ */

struct link_accept {
    enum tls_mode tls_mode;
    struct tls_context *tls; /* borrowed; NULL when disabled */
};
/**
 * Reads a client's first packets, up to its startup packet or cancel request.
 *
 * Answers GSSENCRequest with 'N', and SSLRequest with 'S' (and the handshake) or 'N', each at most
 * once.  Rejects unencrypted bytes after an SSLRequest.  Starts TLS at once if the first byte is
 * that of a TLS handshake; then ALPN must name PostgreSQL.  The packet is decoded over `bytes` (at
 * least WIRE_STARTUP_MAX).  On Unix sockets TLS is neither offered nor required, as in PostgreSQL.
 * A connection that closes before its first byte is CLOSED without a detail (a probe).
 *
 * Faults: CLOSED, TIMEOUT, PROTOCOL, UNSUPPORTED (major version), TLS, AUTH (TLS is required and
 * not used), CANCELLED.
 */
fault link_read_startup(struct stream *stream, const struct link_accept *accept, uint8_t *bytes,
                        struct wire_startup *ret, deadline by) MUST_USE;

/** Clears `into` and reads one whole message of at most `max` bytes into it; the frame points into
 *  it.  Faults: CLOSED, TIMEOUT, PROTOCOL, LIMIT, MEMORY, CANCELLED. */
fault link_read_message(struct stream *stream, struct buffer *into, uint32_t max,
                        struct wire_frame *ret, deadline by) MUST_USE;
/** Reads a message as link_read_message() does, from a peer that waits for an answer before it
 *  sends more: takes what has arrived in one read.  Faults: also PROTOCOL if bytes follow the
 *  message. */
fault link_read_answer(struct stream *stream, struct buffer *into, uint32_t max,
                       struct wire_frame *ret, deadline by) MUST_USE;
/** Writes the buffer's bytes and clears the buffer.  Faults: those of the buffer, CLOSED,
 *  TIMEOUT. */
fault link_send(struct stream *stream, struct buffer *bytes, deadline by) MUST_USE;
