#pragma once
/*
 * tls_session.h - what stream.c and tls.c know of each other; private to machine/.
 *
 * A session (`struct tls`, opaque, heap) is made by stream_tls_accept and stream_tls_connect in
 * tls.c, which put it into stream->tls once the handshake is done; the stream owns it from then on.
 * The session keeps a pointer to its stream: a stream with TLS stays at its address until it is
 * closed (detach, mail, attach is fine).  Its BIO reads by stream_raw_recv and writes into the
 * thread's chunk, which stream_raw_send sends; the session keeps only what the socket did not take.
 * All calls come from the stream's machine.
 */
#include "machine/stream.h"

/* --- by stream.c, for tls.c ------------------------------------------------------------------- */

/** One recv on the bare handle: bytes, 0 (end), or -errno.  Keeps the stream's readiness: returns
 *  -EAGAIN without a system call while READ is not remembered; clears READ when drained. */
int64_t stream_raw_recv(struct stream *stream, void *bytes, size_t size);
/** One send on the bare handle: bytes or -errno; the same for WRITE. */
int64_t stream_raw_send(struct stream *stream, const void *bytes, size_t size);

/* --- by tls.c, for stream.c ------------------------------------------------------------------- */

/** OK with *ret > 0 (decrypted); AGAIN (wants bytes, or wants to write: flush and wait for either);
 *  CLOSED (close_notify, end or reset); TLS (broken).  Never suspends. */
fault tls_read_some(struct tls *tls, void *bytes, size_t size, size_t *ret) MUST_USE;
/** OK with *ret > 0 (accepted; ciphertext may still be inside); AGAIN; CLOSED; TLS. */
fault tls_write_some(struct tls *tls, const struct iovec *parts, int count, size_t *ret) MUST_USE;
/** Sends ciphertext that is still inside: OK when none is left, AGAIN, CLOSED, TLS. */
fault tls_flush_some(struct tls *tls) MUST_USE;
/** Decrypted bytes, or a whole record, wait inside: a read is worth trying without the poller. */
bool tls_has_pending(const struct tls *tls);
/** Nothing undelivered in either direction and no partial record: it can be parked. */
bool tls_quiet(const struct tls *tls);
/** Tries one close_notify (never waits) and frees the session.  NULL-safe.  The stream's handle is
 *  still open. */
void tls_free(struct tls **tls);
/** OpenSSL's own session (SSL), for tls_names.c. */
void *tls_ssl(const struct tls *tls);
/** The session in words, as stream_tls_text. */
const char *tls_text(const struct tls *tls, char *text, size_t size);
