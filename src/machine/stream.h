#pragma once
/*
 * stream.h - one end of a connection, plain or TLS, over TCP or a Unix socket.
 *
 * A stream is embedded in its owner (a client, a server).  It belongs to one machine at a time and
 * is registered there once, edge-triggered.  `ready` stores what the poller reported: READ until a
 * read came back short, WRITE until a write did, HANGUP for ever.  `waker` is woken at each new
 * readiness; there is one waiter at a time, so one coroutine does both reading and writing.
 * The *_some functions never suspend; the others suspend and take a deadline.
 * TLS: SSL objects over our own BIO, which receives and sends through this stream; no buffers while
 * idle.
 * Design: docs/internals/machine.md
 */
#include "machine/machine.h"
#include "machine/os.h"

#define STREAM_ENDPOINT_MAX 64 /* size of the largest digest, bytes */

struct buffer;
struct tls;         /* a TLS session on a stream; opaque, heap, see tls.h */
struct tls_context; /* certificates and policy; see tls.h */

struct stream {
    struct waker *waker;     /* borrowed; NULL: no waiter, readiness is only stored in `ready` */
    struct tls *tls;         /* owned; NULL: plain */
    struct machine *machine; /* where it is registered; NULL: detached or closed */
    int handle;              /* -1: closed */
    uint8_t ready;           /* POLL_READ | POLL_WRITE | POLL_HANGUP | POLL_URGENT */
    bool is_unix;
    bool is_forwarded; /* a proxy made the connection for its client (PROXY protocol) */
    bool was_reset;    /* reading failed by an error (e.g. a reset), not by the peer's end */
    bool in_handshake; /* the TLS handshake has begun but not ended: send no plaintext */
    bool in_write;     /* stream_write() has sent a part of its bytes, and the rest is missing */
    uint32_t table;    /* of the thread that may use `handle`: os->table() */
};
#define STREAM_INIT ((struct stream){.handle = -1})

/* --- opening and closing ---------------------------------------------------------------------- */

/** Takes ownership of an accepted handle and registers it with the running machine.  The poller
 *  reports readiness again, so none is lost.  Faults: SYSTEM; the handle is then closed. */
fault stream_adopt(struct stream *stream, int handle, bool is_unix) MUST_USE;
/** Connects two streams with each other, by a pair of Unix sockets.  Faults: SYSTEM; both are then
 *  closed. */
fault stream_pair(struct stream *one, struct stream *other) MUST_USE;
/** Unregisters the stream, so that it can be mailed to another machine with its TLS state; call
 *  stream_attach there. */
void stream_detach(struct stream *stream);
/** Registers a detached stream with the running machine, which has the same table of handles.
 *  Faults: SYSTEM; the stream is then closed. */
fault stream_attach(struct stream *stream) MUST_USE;
/** Connects.  Suspends.  Faults: REFUSED (with the errno's text; also reset and unreachable),
 *  TIMEOUT, SYSTEM, CANCELLED. */
fault stream_connect(struct stream *stream, const struct address *to,
                     const struct socket_options *options, deadline by) MUST_USE;
/** Closes at once; with TLS, tries to send a close_notify.  Idempotent; the stream can be used
 *  again. */
void stream_close(struct stream *stream);
/** Whether the peer is a process on this machine, whose user the kernel knows. */
static inline bool stream_is_local(const struct stream *stream)
{
    return stream->is_unix && !stream->is_forwarded;
}
static inline bool stream_open(const struct stream *stream)
{
    return stream->handle >= 0;
}

/* --- without suspending ----------------------------------------------------------------------- */

/** Reads the bytes that are available.  OK with *ret > 0; AGAIN (none now: wait for the waker);
 *  CLOSED (end or reset; TLS without close_notify counts as an end); TLS (broken). */
fault stream_read_some(struct stream *stream, void *bytes, size_t size, size_t *ret) MUST_USE;
/** Writes as many bytes as fit.  OK with *ret > 0; AGAIN; CLOSED; TLS.  With TLS, accepted bytes
 *  may still be buffered: see stream_flush_some. */
fault stream_write_some(struct stream *stream, const struct iovec *parts, int count,
                        size_t *ret) MUST_USE;
/** TLS: sends buffered ciphertext; OK when none is left, AGAIN, CLOSED, TLS.  Plain: OK. */
fault stream_flush_some(struct stream *stream) MUST_USE;
/** Ends the sending direction: the peer reads all bytes, then the end.  Reading goes on. */
void stream_end(struct stream *stream);
/** Whether TLS, which the stream has, holds decrypted bytes. */
bool stream_tls_has_bytes(const struct stream *stream);
/** Whether a read is worth trying: the poller reported READ, or TLS holds decrypted bytes. */
static inline bool stream_may_read(const struct stream *stream)
{
    return (stream->ready & POLL_READ) != 0 ||
           (UNLIKELY(stream->tls != NULL) && stream_tls_has_bytes(stream));
}
/** Whether a write is worth trying. */
static inline bool stream_may_write(const struct stream *stream)
{
    return (stream->ready & POLL_WRITE) != 0;
}
/** Whether the peer has ended or reset the connection; there may still be bytes to read. */
static inline bool stream_hung_up(const struct stream *stream)
{
    return (stream->ready & POLL_HANGUP) != 0;
}
/** Whether the stream can be parked without buffers: TLS holds no bytes in either direction. */
bool stream_quiet(const struct stream *stream);

/* --- suspending (logins, console) ------------------------------------------------------------- */

/** Reads 1 to `size` bytes.  Suspends.  Faults: TIMEOUT, CLOSED, TLS, CANCELLED. */
fault stream_read(struct stream *stream, void *bytes, size_t size, size_t *ret,
                  deadline by) MUST_USE;
/** Reads exactly `size` bytes.  Suspends.  Faults: as stream_read. */
fault stream_read_all(struct stream *stream, void *bytes, size_t size, deadline by) MUST_USE;
/** Writes and flushes all bytes.  Suspends.  Faults: as stream_read; a part of the bytes may have
 *  been sent then, see stream_takes_message(). */
fault stream_write(struct stream *stream, struct span bytes, deadline by) MUST_USE;
/** Whether a message may be sent now: the peer would not read it within a TLS handshake, or within
 *  bytes whose stream_write() has failed. */
static inline bool stream_takes_message(const struct stream *stream)
{
    return !stream->in_handshake && !stream->in_write;
}
/** Suspends until a read or a write is worth trying (`what`: POLL_READ and/or POLL_WRITE).
 *  Faults: TIMEOUT, CLOSED (no open stream), CANCELLED. */
fault stream_wait(struct stream *stream, uint32_t what, deadline by) MUST_USE;

/** Run a TLS handshake.  Suspend.  `read`: bytes of the handshake that were read already; `host`:
 *  the name to verify and to send as SNI, NULL: none.  Faults: TLS (with OpenSSL's reason),
 *  TIMEOUT, CLOSED, CANCELLED. */
fault stream_tls_accept(struct stream *stream, struct tls_context *context, struct span read,
                        deadline by) MUST_USE;
fault stream_tls_connect(struct stream *stream, struct tls_context *context, const char *host,
                         deadline by) MUST_USE;
/** Whether ALPN selected the protocol "postgresql". */
bool stream_tls_agreed(const struct stream *stream);
/** Formats the TLS session as PgBouncer's `tls` column: "TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH...";
 *  empty when plain. */
const char *stream_tls_text(const struct stream *stream, char *text, size_t size);

/** Whether the peer sent a certificate that was verified against the configured authorities. */
bool stream_tls_verified(const struct stream *stream);
/* Kinds of names in a certificate. */
enum stream_name { STREAM_NAME_CN, STREAM_NAME_DN, STREAM_NAME_SAN };
/** Appends the names of the peer's certificate, each followed by a NUL: its common name, its
 *  subject (RFC 2253), or all its DNS names, mail addresses and URIs. */
void stream_tls_names(const struct stream *stream, enum stream_name kind, struct buffer *out);
/** Computes the digest of the server's certificate (RFC 5929, tls-server-end-point), at either end.
 *  Returns its size; 0: no TLS, or the certificate defines no digest. */
size_t stream_tls_endpoint(const struct stream *stream, uint8_t ret[STREAM_ENDPOINT_MAX]);

void stream_set_options(struct stream *stream, const struct socket_options *options);
/** Sets how many bytes make the stream readable (SO_RCVLOWAT); 1: the default.  The peer's end is
 *  always reported at once.  The caller must check for fewer bytes by itself, with stream_look. */
void stream_set_low_water(struct stream *stream, uint32_t bytes);
/** Makes the next read try the socket although the poller reported nothing. */
static inline void stream_look(struct stream *stream)
{
    stream->ready |= POLL_READ;
}
/** Whether the peer runs as our own user or as root; false if unknown. */
bool stream_peer_is_own(const struct stream *stream);
/** Returns the uid of the peer of a Unix socket; false if unknown. */
bool stream_peer_user(const struct stream *stream, uint32_t *ret);
/** Returns the local address.  Faults: SYSTEM. */
fault stream_local(const struct stream *stream, struct address *ret) MUST_USE;

/* --- listening -------------------------------------------------------------------------------- */

struct listener {
    struct stream stream; /* only its registration is used: from the first listener_accept on */
    struct address address;
    bool adopted; /* by listener_adopt: the socket's file is not ours */
};
/** Binds and listens; port 0 is replaced by the port that the system chose.  `unix_mode`:
 * permission bits of a Unix socket.  Faults: SYSTEM, with address and reason. */
fault listener_open(struct listener *listener, const struct address *at, int backlog,
                    int unix_mode) MUST_USE;
/** Takes ownership of a socket that another process has bound; listener_close leaves its file.
 *  Faults: SYSTEM; the handle is then closed. */
fault listener_adopt(struct listener *listener, int handle, const struct address *at,
                     int backlog) MUST_USE;
/** Changes the backlog and, unless negative, the mode of a Unix socket.  Logs a failure. */
void listener_change(struct listener *listener, int backlog, int unix_mode);
/** Sets the group of a Unix socket's file (negative: unchanged), or for TCP how many seconds a
 *  connection that sends nothing is not accepted.  Faults: SYSTEM. */
fault listener_tune(const struct listener *listener, int64_t group, int defer) MUST_USE;
/* Pause of accepting without free descriptors; closed connections of our own may free some. */
#define LISTENER_REST ms(100)
/** Whether this error of accept(2) means that descriptors or memory are lacking. */
bool listener_is_exhausted(int status);
/** Accepts the next connection and returns its handle, which is not registered.  Suspends.  Without
 *  free descriptors or memory it waits 100 ms and raises SYSTEM: the caller logs and calls again.
 *  Faults: SYSTEM, TIMEOUT, CANCELLED. */
fault listener_accept(struct listener *listener, int *ret_handle, struct address *ret_peer,
                      deadline by) MUST_USE;
/** Closes the listener; removes a Unix socket's file unless the listener was adopted. */
void listener_close(struct listener *listener);

/* --- addresses -------------------------------------------------------------------------------- */

/** Formats an address: "127.0.0.1:5432", "[::1]:5432", "/run/postgresql/.s.PGSQL.5432". */
const char *address_text(const struct address *address, char *text, size_t size);
#define ADDRESS_TEXT_SIZE 128
/** Formats the host part only ("unix" for Unix sockets), as PgBouncer's `addr` column. */
const char *address_host_text(const struct address *address, char *text, size_t size);
bool address_equal(const struct address *a, const struct address *b);
/** Parses a numeric address or an absolute directory, which gives DIR/.s.PGSQL.PORT; "@NAME" gives
 *  the same in the abstract namespace, as in libpq.  Returns false when `host` is a name. */
bool address_parse(const char *host, uint16_t port, struct address *ret);
/** Parses a numeric address only. */
bool address_parse_number(const char *number, uint16_t port, struct address *ret);
/** Whether `host` means a Unix socket: a directory, or "@NAME" in the abstract namespace. */
static inline bool address_host_is_unix(const char *host)
{
    return host[0] == '/' || host[0] == '@';
}
/** Whether this is an abstract Unix socket: it has no file, so no owner and no mode. */
static inline bool address_is_abstract(const struct address *address)
{
    return address->family == ADDRESS_UNIX && address->path[0] == '@';
}
