#pragma once
/*
 * stream.h - one end of a connection, plain or TLS, over TCP or a Unix socket.
 *
 * Embedded in its owner (a client, a server), belongs to exactly one machine at a time, and is
 * registered there once, edge-triggered.  `ready` remembers what the poller said: READ until a read
 * came back short, WRITE until a write did, HANGUP for ever.  Whoever waits sets `waker`; it is
 * woken at each new readiness.  One waits at a time: reading and writing at once is one coroutine's
 * work. The *_some calls never suspend; the others do, and take a deadline. TLS: SSL objects over
 * our own BIO, which calls os->recv and os->send through this stream; no buffers while idle.
 * Design: docs/internals/machine.md
 */
#include "machine/machine.h"
#include "machine/os.h"

#define STREAM_ENDPOINT_MAX 64 /* bytes of the largest digest */

struct buffer;
struct tls;         /* a TLS session on a stream; opaque, heap, see tls.h */
struct tls_context; /* certificates and policy; see tls.h */

struct stream {
    struct waker *waker;     /* borrowed; NULL: nobody waits, readiness is just remembered */
    struct tls *tls;         /* owned; NULL: plain */
    struct machine *machine; /* where it is registered; NULL: detached or closed */
    int handle;              /* -1: closed */
    uint8_t ready;           /* POLL_READ | POLL_WRITE | POLL_HANGUP | POLL_URGENT */
    bool is_unix;
    bool is_forwarded; /* who speaks is not who has connected */
    bool was_reset;    /* it has ended, and not because the peer has ended it */
    bool is_shaking;   /* TLS is agreed but does not stand: the peer would take no plain word */
};
#define STREAM_INIT ((struct stream){.handle = -1})

/* --- life ------------------------------------------------------------------------------------- */

/** Takes over an accepted handle and registers it with the running machine.  Readiness is reported
 *  again, so nothing is lost.  Faults: SYSTEM; the handle is then closed. */
fault stream_adopt(struct stream *stream, int handle, bool is_unix) MUST_USE;
/** Unregisters: from now on the handle can be mailed to another machine (TLS state goes along).
 *  The stream's owner then calls stream_attach over there. */
void stream_detach(struct stream *stream);
/** Registers a detached stream with the running machine. */
fault stream_attach(struct stream *stream) MUST_USE;
/** Connects.  Suspends.  Faults: REFUSED (with the errno's text; also reset and unreachable),
 *  TIMEOUT, SYSTEM, CANCELLED. */
fault stream_connect(struct stream *stream, const struct address *to,
                     const struct socket_options *options, deadline by) MUST_USE;
/** Closes at once; with TLS, tries one close_notify.  Idempotent; the stream can be used anew. */
void stream_close(struct stream *stream);
/** Whether the peer is a process of this machine, which the kernel knows. */
static inline bool stream_is_local(const struct stream *stream)
{
    return stream->is_unix && !stream->is_forwarded;
}
static inline bool stream_open(const struct stream *stream)
{
    return stream->handle >= 0;
}

/* --- without suspending ----------------------------------------------------------------------- */

/** Reads what is there.  OK with *ret > 0; AGAIN (nothing now: wait for the waker); CLOSED (end or
 *  reset; TLS without close_notify counts as an end); TLS (broken). */
fault stream_read_some(struct stream *stream, void *bytes, size_t size, size_t *ret) MUST_USE;
/** Writes what fits.  OK with *ret > 0; AGAIN; CLOSED; TLS.  With TLS, bytes that it accepted may
 *  still be inside: see stream_flush_some. */
fault stream_write_some(struct stream *stream, const struct iovec *parts, int count,
                        size_t *ret) MUST_USE;
/** TLS: sends ciphertext that is still inside; OK when none is left, AGAIN, CLOSED.  Plain: OK. */
fault stream_flush_some(struct stream *stream) MUST_USE;
/** Nothing more will be sent, which the peer hears behind what was; it may still be listened to. */
void stream_end(struct stream *stream);
/** Something may be there to read: readiness is remembered, or TLS holds decrypted bytes. */
bool stream_may_read(const struct stream *stream);
static inline bool stream_may_write(const struct stream *stream)
{
    return (stream->ready & POLL_WRITE) != 0;
}
/** The peer has ended or reset (there may still be bytes to read). */
static inline bool stream_hung_up(const struct stream *stream)
{
    return (stream->ready & POLL_HANGUP) != 0;
}
/** Whether it can be parked without memory: nothing undelivered in TLS in either direction. */
bool stream_quiet(const struct stream *stream);

/* --- suspending (logins, console) ------------------------------------------------------------- */

/** Reads 1 to `size` bytes.  Faults: TIMEOUT, CLOSED, TLS, CANCELLED. */
fault stream_read(struct stream *stream, void *bytes, size_t size, size_t *ret,
                  deadline by) MUST_USE;
/** Reads exactly `size` bytes. */
fault stream_read_all(struct stream *stream, void *bytes, size_t size, deadline by) MUST_USE;
/** Writes all, and flushes. */
fault stream_write(struct stream *stream, struct span bytes, deadline by) MUST_USE;
/** Suspends until a read or a write is worth trying (`what`: POLL_READ and/or POLL_WRITE). */
fault stream_wait(struct stream *stream, uint32_t what, deadline by) MUST_USE;

/** TLS handshakes.  Suspend.  `read`: what has been read of it already; `host`: the name to verify
 *  and to send as SNI; NULL for none.  Faults: TLS (with OpenSSL's reason), TIMEOUT, CLOSED,
 *  CANCELLED. */
fault stream_tls_accept(struct stream *stream, struct tls_context *context, struct span read,
                        deadline by) MUST_USE;
fault stream_tls_connect(struct stream *stream, struct tls_context *context, const char *host,
                         deadline by) MUST_USE;
/** Whether both ends have agreed, by ALPN, that they speak PostgreSQL's protocol. */
bool stream_tls_agreed(const struct stream *stream);
/** "TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH..." as PgBouncer's `tls` column; empty when plain. */
const char *stream_tls_text(const struct stream *stream, char *text, size_t size);

/** Whether the peer has shown a certificate that our authorities have signed. */
bool stream_tls_verified(const struct stream *stream);
/* What of a certificate is a name. */
enum stream_name { STREAM_NAME_CN, STREAM_NAME_DN, STREAM_NAME_SAN };
/** Appends the names of the peer's certificate, each with a NUL behind it: its common name, its
 *  subject (RFC 2253), or all DNS names, mail addresses and URIs that it is for. */
void stream_tls_names(const struct stream *stream, enum stream_name kind, struct buffer *out);
/** The digest of the server's certificate (RFC 5929, tls-server-end-point), from either end; 0
 *  bytes: plain, or a certificate that defines none. */
size_t stream_tls_endpoint(const struct stream *stream, uint8_t ret[STREAM_ENDPOINT_MAX]);

void stream_set_options(struct stream *stream, const struct socket_options *options);
/** From now on bytes are announced when there are so many of them; 1: as usual.  Its end is always
 *  announced at once.  The caller looks by itself, in time, whether fewer have come. */
void stream_set_low_water(struct stream *stream, uint32_t bytes);
/** A read is to be tried although none was announced. */
static inline void stream_look(struct stream *stream)
{
    stream->ready |= POLL_READ;
}
/** Whether the peer is a process of our own user, or of root; false where that is not known. */
bool stream_peer_is_own(const struct stream *stream);
/** The number of the user at the other end of a Unix socket; false where that is not known. */
bool stream_peer_user(const struct stream *stream, uint32_t *ret);
fault stream_local(const struct stream *stream, struct address *ret) MUST_USE;

/* --- listening -------------------------------------------------------------------------------- */

struct listener {
    struct stream stream; /* only its registration is used */
    struct address address;
    bool adopted;
};
/** Binds and listens (a port of 0 is filled in).  `unix_mode`: permission bits of a Unix socket.
 *  Faults: SYSTEM, saying the address and why. */
fault listener_open(struct listener *listener, const struct address *at, int backlog,
                    int unix_mode) MUST_USE;
/** Takes over a socket that was bound by somebody else; its file stays when it is closed. */
fault listener_adopt(struct listener *listener, int handle, const struct address *at,
                     int backlog) MUST_USE;
/** Another backlog; another mode of a Unix socket, unless it is negative. */
void listener_change(struct listener *listener, int backlog, int unix_mode);
/** The group of a Unix socket's file (negative: stays), and for how many seconds a connection that
 *  sends nothing is not accepted.  Faults: SYSTEM. */
fault listener_tune(const struct listener *listener, int64_t group, int defer) MUST_USE;
/** The next connection, not registered anywhere: a bare handle.  Suspends.  Out of descriptors it
 *  raises SYSTEM after having waited a little; the caller logs and goes on. */
fault listener_accept(struct listener *listener, int *ret_handle, struct address *ret_peer,
                      deadline by) MUST_USE;
void listener_close(struct listener *listener); /* removes a Unix socket's file */

/* --- addresses -------------------------------------------------------------------------------- */

/** "127.0.0.1:5432", "[::1]:5432", "/run/postgresql/.s.PGSQL.5432". */
const char *address_text(const struct address *address, char *text, size_t size);
#define ADDRESS_TEXT_SIZE 128
/** The host part only ("unix" for Unix sockets), as PgBouncer's `addr` column. */
const char *address_host_text(const struct address *address, char *text, size_t size);
bool address_equal(const struct address *a, const struct address *b);
/** A numeric address, or an absolute directory (gives DIR/.s.PGSQL.PORT; "@NAME" the same in the
 *  abstract namespace, as libpq has it); false when `host` is a
 *  name. */
bool address_parse(const char *host, uint16_t port, struct address *ret);
/** A numeric address and nothing else. */
bool address_parse_number(const char *number, uint16_t port, struct address *ret);
/** Whether a host is that of a Unix socket: a directory, or "@NAME" in the abstract namespace. */
static inline bool address_host_is_unix(const char *host)
{
    return host[0] == '/' || host[0] == '@';
}
/** A Unix socket that is no file: who may connect is not for us to say. */
static inline bool address_is_abstract(const struct address *address)
{
    return address->family == ADDRESS_UNIX && address->path[0] == '@';
}
