#pragma once
/*
 * link.h - a stream that speaks PostgreSQL: negotiating, logging in, cancelling, single messages.
 *
 * Used before and after the hot path (which frames for itself).  Everything suspends on the running
 * coroutine, bounded by a deadline.  Knows no pools and no routes.  Design: docs/internals/link.md
 */
#include "machine/stream.h"
#include "machine/tls.h"
#include "wire/messages.h"
#include "wire/scram.h"
#include "wire/startup.h"

/* SCRAM bound to the TLS channel: where both ends can, always, or never. */
enum link_binding { LINK_BINDING_PREFER, LINK_BINDING_REQUIRE, LINK_BINDING_DISABLE };

/* Where and how to dial. */
struct link_target {
    struct address address;
    const char *host; /* as configured: for SNI and verify-full */
    enum tls_mode tls_mode;
    struct tls_context *tls; /* borrowed; NULL when disabled */
    bool tls_direct;         /* TLS from the first byte; the mode requires it then */
    enum link_binding binding;
    struct socket_options socket;
};

/* What we can prove to a server.  Any may be missing. */
struct link_secret {
    struct span password;   /* plain text */
    char md5[MD5_TEXT];     /* stored form; "" when unknown */
    bool have_keys;         /* `keys` are good for their salt and iterations */
    struct scram_keys keys; /* kept by link_login after a derivation, so that it is done once */
};

struct link_login {
    const struct link_target *target;
    struct span user;
    struct span database;
    struct span parameters;     /* further startup parameters: name NUL value NUL ... */
    uint32_t version;           /* of the protocol, to ask for; 0: 3.0 */
    struct link_secret *secret; /* borrowed; `keys` may be filled in */
};

/* What the server said until its first ReadyForQuery. */
struct link_greeting {
    uint32_t version; /* of the protocol that is spoken now */
    uint32_t pid;
    struct wire_secret secret; /* of the cancel key; empty where the server gave none */
    struct buffer parameters;  /* ParameterStatus: name NUL value NUL ...; caller's to fini */
    bool in_hot_standby;
};

/**
 * Connects `stream`, negotiates TLS, logs in, and reads up to the first ReadyForQuery.
 *
 * On a fault the stream is closed.  Notices are skipped.  A server that speaks an older version
 * says so, or refuses; then it is asked for 3.0 on a new connection.  Bytes before a TLS handshake
 * and answers behind ReadyForQuery are a PROTOCOL fault.  Faults: REFUSED (connect refused,
 * reset or unreachable; also when it closes during the login), TIMEOUT, TLS, PROTOCOL, AUTH,
 * UNSUPPORTED (a method of authentication), UPSTREAM (the server's own ErrorResponse: story and
 * SQLSTATE are the server's), LIMIT, MEMORY, SYSTEM, CANCELLED.
 *
 * Needs a CO_LARGE stack where the target has TLS.  `ret` needs no preparation.
 */
fault link_login(struct stream *stream, const struct link_login *login, struct link_greeting *ret,
                 deadline by) MUST_USE;

/** Dials, negotiates TLS if the session has it, sends a CancelRequest, and waits until the server
 *  closes.  Uses a stream of its own.  Faults: those of link_login that come before it is sent, and
 *  UNSUPPORTED for the empty secret of a server that gave no key. */
fault link_cancel(const struct link_target *target, uint32_t pid, struct span secret,
                  deadline by) MUST_USE;

/** Keys of a password for the salt and iterations of `like`, made on another thread: it takes most
 *  of a millisecond at least.  Faults: MEMORY, SYSTEM, TIMEOUT, CANCELLED. */
fault link_derive(struct span password, const struct scram_keys *like, struct scram_keys *ret,
                  deadline by) MUST_USE;

/* --- the side that accepts -------------------------------------------------------------------- */

struct link_accept {
    enum tls_mode tls_mode;
    struct tls_context *tls; /* borrowed; NULL when disabled */
};
/**
 * Reads a client's first packets: answers GSSENCRequest with 'N' and SSLRequest with 'S' (and the
 * handshake) or 'N', each at most once, refuses plaintext buffered behind an SSLRequest, shakes
 * hands at once where the first byte is that of TLS (then ALPN must name PostgreSQL), and returns
 * the startup or cancel packet, decoded over `bytes` (at least WIRE_STARTUP_MAX). On Unix sockets
 * there is no TLS, as in PostgreSQL, and none is required. A connection that closes before its
 * first byte is CLOSED without a story (a probe).
 *
 * Faults: CLOSED, TIMEOUT, PROTOCOL, UNSUPPORTED (major version), TLS, AUTH (TLS is required and
 * not used), CANCELLED.
 */
fault link_read_startup(struct stream *stream, const struct link_accept *accept, uint8_t *bytes,
                        struct wire_startup *ret, deadline by) MUST_USE;

/** Reads one whole message of at most `most` bytes into `into` (cleared first); the frame points
 *  into it.  Faults: CLOSED, TIMEOUT, PROTOCOL, LIMIT, CANCELLED. */
fault link_read_message(struct stream *stream, struct buffer *into, uint32_t max,
                        struct wire_frame *ret, deadline by) MUST_USE;
/** As link_read_message, for a peer that has nothing more to say until it is answered: reads
 * whatever has come at once.  Faults: also PROTOCOL when bytes follow the message. */
fault link_read_answer(struct stream *stream, struct buffer *into, uint32_t max,
                       struct wire_frame *ret, deadline by) MUST_USE;
/** Writes the buffer's bytes and clears it. Faults: those of the buffer, CLOSED, TIMEOUT. */
fault link_send(struct stream *stream, struct buffer *bytes, deadline by) MUST_USE;
