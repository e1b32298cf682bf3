#pragma once
/*
 * tls_session.h - the interface between stream.c and tls.c; private to machine/.
 *
 * stream_tls_accept and stream_tls_connect in tls.c create a session (`struct tls`, opaque, heap)
 * and store it in stream->tls once the handshake is done; from then on the stream owns it.
 * The session points to its stream: a stream with TLS stays at its address until it is closed
 * (detach, mail and attach are allowed).  The session's BIO reads by stream_raw_recv and writes
 * into the thread's chunk, which is sent by stream_raw_send; the session stores only the bytes that
 * the socket did not accept.
 * All calls come from the stream's machine.
 */
#include "machine/stream.h"

/* --- defined by stream.c ---------------------------------------------------------------------- */

/** Receives once from the handle: bytes, 0 (end), or -errno.  Updates `ready`: returns -EAGAIN
 *  without a system call while READ is not set; clears READ when the socket is drained. */
int64_t stream_raw_recv(struct stream *stream, void *bytes, size_t size);
/** Sends once on the handle: bytes or -errno.  Updates `ready` in the same way for WRITE. */
int64_t stream_raw_send(struct stream *stream, const void *bytes, size_t size);

/* --- defined by tls.c ------------------------------------------------------------------------- */

/** Reads and decrypts.  OK with *ret > 0; AGAIN (needs to read or to write: flush and wait for
 *  either); CLOSED (close_notify, end or reset); TLS (broken).  Never suspends. */
fault tls_read_some(struct tls *tls, void *bytes, size_t size, size_t *ret) MUST_USE;
/** Encrypts and sends.  OK with *ret > 0 (accepted; ciphertext may still be buffered); AGAIN;
 *  CLOSED; TLS.  Never suspends. */
fault tls_write_some(struct tls *tls, const struct iovec *parts, int count, size_t *ret) MUST_USE;
/** Sends buffered ciphertext: OK when none is left, AGAIN, CLOSED, TLS.  Never suspends. */
fault tls_flush_some(struct tls *tls) MUST_USE;
/** Whether decrypted bytes or a whole record are buffered: a read is worth trying at once. */
bool tls_has_pending(const struct tls *tls);
/** Whether nothing is buffered in either direction, partial records included. */
bool tls_quiet(const struct tls *tls);
/** Tries to send a close_notify (never waits) and frees the session.  NULL-safe.  The stream's
 *  handle must still be open. */
void tls_free(struct tls **tls);
/** OpenSSL's session (SSL *), for tls_names.c. */
void *tls_ssl(const struct tls *tls);
/** Formats the session as stream_tls_text does. */
const char *tls_text(const struct tls *tls, char *text, size_t size);
