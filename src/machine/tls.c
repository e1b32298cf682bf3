#include "machine/tls.h"

#include "base/check.h"
#include "machine/stream.h"
#include "machine/tls_context_parts.h"
#include "machine/tls_session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>

/* Ciphertext that one call may collect before it is sent, bytes. */
#define TLS_CHUNK (256 * 1024)
/* Maximum of plaintext in a record, and of the bytes that a record adds to it. */
#define TLS_RECORD          16384
#define TLS_RECORD_OVERHEAD 512
/* Limit of ciphertext that waits for the socket in one session; beyond it, OpenSSL must wait.  Only
 * OpenSSL's own writes (replies to KeyUpdate) can exceed a chunk. */
#define TLS_OUT_MAX (TLS_CHUNK + 64 * 1024)

#define TLS_CLOSED "the peer closed the connection"

/*
 * Invariants while no tls_ function is running:
 *  1 the thread's chunk has no owner and is empty;
 *  2 `out` is NULL, or has out_sent < out_size: it is freed once all bytes are sent;
 *  3 `starved` is set only if the bytes that OpenSSL has read are less than one record.
 */
struct tls {
    struct stream *stream; /* the owner of this session */
    SSL *ssl;              /* owned; owns the BIO */
    uint8_t *out;          /* ciphertext that the socket did not accept yet; owned */
    size_t out_size;
    size_t out_sent;
    const char *broken; /* why the session can't be used any more, static text; NULL: it works */
    fault broken_as;    /* CLOSED or TLS; OK while it works */
    struct span ahead;  /* borrowed: bytes of the handshake that were read before it began */
    bool starved;       /* OpenSSL needs more bytes for the next record */
    bool unwritable;    /* a send failed; bytes that the peer sent before can still be read */
};

/* The thread's buffer for ciphertext of the session in use: one send instead of one per record. */
struct tls_chunk {
    uint8_t *at; /* TLS_CHUNK bytes; owned by the thread */
    size_t size;
    const struct tls *owner;
};

static _Thread_local struct tls_chunk chunk;
static _Thread_local uint8_t *gathered; /* TLS_RECORD bytes after the chunk, to join short parts */

static pthread_once_t tls_once = PTHREAD_ONCE_INIT;
static pthread_key_t tls_thread_key; /* frees the chunk with its thread */
static BIO_METHOD *tls_bio_method;

/* --- the BIO: no buffer, no state ------------------------------------------------------------- */

static int bio_read(BIO *bio, char *bytes, size_t size, size_t *ret)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (UNLIKELY(tls->ahead.size > 0)) {
        *ret = MIN_OF(tls->ahead.size, size);
        memcpy(bytes, tls->ahead.at, *ret);
        tls->ahead = span_skip(tls->ahead, *ret);
        return 1;
    }
    int64_t got = stream_raw_recv(tls->stream, bytes, size);
    *ret = got > 0 ? (size_t)got : 0;
    if (got == -EAGAIN)
        BIO_set_retry_read(bio);
    return got > 0;
}

static bool out_is_full(const struct tls *tls, size_t more)
{
    return tls->out_size - tls->out_sent + chunk.size + more > TLS_OUT_MAX ||
           chunk.size + more > TLS_CHUNK;
}

static int bio_write(BIO *bio, const char *bytes, size_t size, size_t *ret)
{
    struct tls *tls = BIO_get_data(bio);
    invariant(chunk.owner == tls);
    BIO_clear_retry_flags(bio);
    *ret = 0;
    if (out_is_full(tls, size)) {
        BIO_set_retry_write(bio);
        return 0;
    }
    *ret = size;
    if (tls->unwritable)
        return 1;
    memcpy(chunk.at + chunk.size, bytes, size);
    chunk.size += size;
    return 1;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

static void tls_prepare(void)
{
    tls_bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    invariant(tls_bio_method != NULL);
    BIO_meth_set_read_ex(tls_bio_method, bio_read);
    BIO_meth_set_write_ex(tls_bio_method, bio_write);
    BIO_meth_set_ctrl(tls_bio_method, bio_control);
    invariant(pthread_key_create(&tls_thread_key, free) == 0);
}

/* --- sending ciphertext ----------------------------------------------------------------------- */

static void out_drop(struct tls *tls)
{
    free(tls->out);
    tls->out = NULL;
    tls->out_size = tls->out_sent = 0;
    if (chunk.owner == tls)
        chunk.size = 0;
}

static fault tls_break(struct tls *tls, fault code, const char *why)
{
    if (tls->broken_as == OK) {
        tls->broken_as = code;
        tls->broken = why;
    }
    out_drop(tls);
    return fault_raise(code, "%s", why);
}

static bool out_pending(const struct tls *tls)
{
    return tls->out != NULL;
}

/* Sends `bytes` from offset *sent on, as many as the socket accepts; adds to *sent. */
static fault send_bytes(struct tls *tls, const uint8_t *bytes, size_t size, size_t *sent)
{
    while (*sent < size) {
        int64_t done = stream_raw_send(tls->stream, bytes + *sent, size - *sent);
        if (done == -EAGAIN)
            return FAULT_AGAIN;
        if (done <= 0) {
            tls->unwritable = true;
            out_drop(tls);
            return fault_raise(FAULT_CLOSED, TLS_CLOSED);
        }
        *sent += (size_t)done;
    }
    return OK;
}

static fault send_out(struct tls *tls)
{
    if (!out_pending(tls))
        return OK;
    TRY(send_bytes(tls, tls->out, tls->out_size, &tls->out_sent));
    free(tls->out);
    tls->out = NULL;
    tls->out_size = tls->out_sent = 0;
    return OK;
}

/* Appends `size` bytes to the ciphertext that waits for the socket. */
static fault keep_bytes(struct tls *tls, const uint8_t *bytes, size_t size)
{
    size_t kept = tls->out_size - tls->out_sent;
    uint8_t *all = malloc(kept + size);
    if (all == NULL)
        return tls_break(tls, FAULT_TLS, "no memory for ciphertext that the peer does not take");
    if (kept > 0)
        memcpy(all, tls->out + tls->out_sent, kept);
    memcpy(all + kept, bytes, size);
    free(tls->out);
    tls->out = all;
    tls->out_size = kept + size;
    tls->out_sent = 0;
    return OK;
}

/* Sends waiting ciphertext, then the chunk.  Returns OK also if the socket did not accept all of
 * it: the rest is stored in `out`. */
static fault send_chunk(struct tls *tls)
{
    size_t sent = 0;
    size_t size = chunk.size;
    if (size == 0)
        return OK;
    fault result = send_out(tls);
    if (result == OK)
        result = send_bytes(tls, chunk.at, size, &sent);
    chunk.size = 0;
    return result == FAULT_AGAIN ? keep_bytes(tls, chunk.at + sent, size - sent) : result;
}

/* tls_begin and tls_end enclose every call of OpenSSL that may write. */
static fault tls_begin(struct tls *tls)
{
    invariant(chunk.owner == NULL && chunk.size == 0);
    if (UNLIKELY(tls->broken_as != OK))
        return fault_raise(tls->broken_as, "%s", tls->broken);
    if (UNLIKELY(chunk.at == NULL)) {
        chunk.at = malloc(TLS_CHUNK + TLS_RECORD);
        if (chunk.at == NULL)
            return fault_raise(FAULT_TLS, "no memory for the thread's TLS chunk");
        gathered = chunk.at + TLS_CHUNK;
        pthread_setspecific(tls_thread_key, chunk.at);
    }
    chunk.owner = tls;
    ERR_clear_error();
    return OK;
}

static fault tls_end(struct tls *tls)
{
    invariant(chunk.owner == tls);
    fault result = send_chunk(tls);
    chunk.owner = NULL;
    invariant(chunk.size == 0);
    return result;
}

/* --- results of OpenSSL ----------------------------------------------------------------------- */

/* Returns OpenSSL's reason as a static text, which a session may store. */
static const char *static_reason(unsigned long code)
{
    const char *reason = ERR_SYSTEM_ERROR(code) ? NULL : ERR_reason_error_string(code);
    return reason != NULL ? reason : "TLS failed for no stated reason";
}

static fault tls_failed(struct tls *tls)
{
    long verified = SSL_get_verify_result(tls->ssl);
    unsigned long code = ERR_get_error();
    ERR_clear_error();
    if (ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK) {
        const char *why = X509_verify_cert_error_string(verified);
        (void)tls_break(tls, FAULT_TLS, why);
        return fault_raise(FAULT_TLS, "certificate verify failed: %s", why);
    }
    if (code == 0 || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return tls_break(tls, FAULT_CLOSED, TLS_CLOSED);
    return tls_break(tls, FAULT_TLS, static_reason(code));
}

/* The fault of an SSL_ call that did not succeed. */
static fault tls_outcome(struct tls *tls, int result)
{
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        tls->starved = true;
        return FAULT_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        return FAULT_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return fault_raise(FAULT_CLOSED, TLS_CLOSED);
    default:
        /* Send the alert that OpenSSL may have written, which tells the peer the reason. */
        (void)send_chunk(tls);
        return tls_failed(tls);
    }
}

/* --- bytes ------------------------------------------------------------------------------------ */

static bool worth_reading(const struct tls *tls)
{
    return SSL_has_pending(tls->ssl) || (tls->stream->ready & POLL_READ) != 0;
}

fault tls_read_some(struct tls *tls, void *bytes, size_t size, size_t *ret)
{
    size_t total = 0;
    fault result = OK;
    invariant(size > 0);
    TRY(tls_begin(tls));
    do {
        size_t got = 0;
        int done = SSL_read_ex(tls->ssl, (uint8_t *)bytes + total, size - total, &got);
        tls->starved = false;
        if (done != 1)
            result = tls_outcome(tls, done);
        total += got;
    } while (result == OK && total < size && worth_reading(tls));
    fault sent = tls_end(tls);
    if (total > 0) {
        /* Deliver the bytes first; the session stores a failure for the next call. */
        *ret = total;
        return OK;
    }
    invariant(result != OK);
    return result == FAULT_AGAIN && sent != OK ? sent : result;
}

/* The position in the parts of a gathering write. */
struct tls_parts {
    const struct iovec *at;
    const struct iovec *end;
    size_t done; /* bytes of at[0] */
};

static void parts_skip(struct tls_parts *parts, size_t count)
{
    while (parts->at < parts->end && count >= parts->at->iov_len - parts->done) {
        count -= parts->at->iov_len - parts->done;
        parts->at++;
        parts->done = 0;
    }
    parts->done += count;
}

/* The plaintext of the next record: bytes of one part, or short parts joined in `gathered`. */
static struct span parts_next(const struct tls_parts *parts)
{
    const uint8_t *first = parts->at->iov_base;
    size_t size = parts->at->iov_len - parts->done;
    if (size >= TLS_RECORD || parts->at + 1 == parts->end)
        return span_of(first + parts->done, MIN_OF(size, TLS_RECORD));
    size_t room = TLS_RECORD;
    size_t done = parts->done;
    for (const struct iovec *at = parts->at; at < parts->end && room > 0; at++, done = 0) {
        size = MIN_OF(at->iov_len - done, room);
        if (size > 0)
            memcpy(gathered + TLS_RECORD - room, (const uint8_t *)at->iov_base + done, size);
        room -= size;
    }
    return span_of(gathered, TLS_RECORD - room);
}

/* Encrypts records until the parts end or ciphertext waits for the socket; adds the plaintext's
 * size to *ret. */
static fault write_records(struct tls *tls, struct tls_parts *parts, size_t *ret)
{
    for (parts_skip(parts, 0); parts->at < parts->end;) {
        if (chunk.size + TLS_RECORD + TLS_RECORD_OVERHEAD > TLS_CHUNK)
            TRY(send_chunk(tls));
        if (out_pending(tls))
            return FAULT_AGAIN;
        struct span next = parts_next(parts);
        size_t done = 0;
        int result = SSL_write_ex(tls->ssl, next.at, next.size, &done);
        if (result != 1)
            return tls_outcome(tls, result);
        invariant(done > 0 && done <= next.size);
        *ret += done;
        parts_skip(parts, done);
    }
    return OK;
}

fault tls_write_some(struct tls *tls, const struct iovec *parts, int count, size_t *ret)
{
    struct tls_parts rest = {.at = parts, .end = parts + count};
    size_t total = 0;
    TRY(tls_flush_some(tls));
    if (!stream_may_write(tls->stream))
        return FAULT_AGAIN;
    TRY(tls_begin(tls));
    fault result = write_records(tls, &rest, &total);
    fault sent = tls_end(tls);
    if (sent != OK)
        return sent;
    if (total == 0 && result != OK)
        return result;
    invariant(total > 0);
    *ret = total;
    return OK;
}

fault tls_flush_some(struct tls *tls)
{
    if (tls->broken_as != OK)
        return fault_raise(tls->broken_as, "%s", tls->broken);
    if (tls->unwritable)
        return fault_raise(FAULT_CLOSED, TLS_CLOSED);
    return send_out(tls);
}

bool tls_has_pending(const struct tls *tls)
{
    return !tls->starved && SSL_has_pending(tls->ssl);
}

bool tls_quiet(const struct tls *tls)
{
    return !out_pending(tls) && !SSL_has_pending(tls->ssl);
}

/* --- sessions --------------------------------------------------------------------------------- */

static struct tls *tls_new(struct stream *stream, const struct tls_context *context)
{
    pthread_once(&tls_once, tls_prepare);
    struct tls *tls = calloc(1, sizeof(*tls));
    SSL *ssl = SSL_new(context->ssl);
    BIO *bio = BIO_new(tls_bio_method);
    if (tls == NULL || ssl == NULL || bio == NULL) {
        BIO_free(bio);
        SSL_free(ssl);
        free(tls);
        return NULL;
    }
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    tls->stream = stream;
    tls->ssl = ssl;
    return tls;
}

/* Tries to send a close_notify; gives up if the socket does not accept it now. */
static void tls_send_close_notify(struct tls *tls)
{
    if (tls->broken_as != OK || tls->unwritable || out_pending(tls) ||
        !SSL_is_init_finished(tls->ssl))
        return;
    /* Keep the detail: a failure here is not the reason why the connection is closed. */
    struct fault_detail told = fault_detail_save();
    if (tls_begin(tls) == OK) {
        (void)SSL_shutdown(tls->ssl);
        (void)tls_end(tls);
        ERR_clear_error();
    }
    fault_detail_restore(&told);
}

void tls_free(struct tls **tls)
{
    struct tls *gone = TAKE(*tls);
    if (gone == NULL)
        return;
    tls_send_close_notify(gone);
    SSL_free(gone->ssl);
    free(gone->out);
    free(gone);
}

/* --- handshake -------------------------------------------------------------------------------- */

enum host_kind { HOST_NONE, HOST_NUMBER, HOST_NAME };

static enum host_kind host_kind(const char *host)
{
    uint8_t bytes[16];
    if (host == NULL || *host == '\0' || *host == '/')
        return HOST_NONE;
    if (inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1)
        return HOST_NUMBER;
    return HOST_NAME;
}

/* Sets the name for SNI; in mode verify-full also the name or address to check the certificate
 * with.
 */
static fault expect_host(struct tls *tls, const struct tls_context *context, const char *host)
{
    enum host_kind kind = host_kind(host);
    X509_VERIFY_PARAM *wanted = SSL_get0_param(tls->ssl);
    if (kind == HOST_NAME && SSL_set_tlsext_host_name(tls->ssl, host) != 1)
        return fault_raise(FAULT_TLS, "\"%s\" can't be sent as a server name", host);
    if (context->mode != TLS_MODE_VERIFY_FULL)
        return OK;
    int done = 0;
    X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (kind == HOST_NUMBER)
        done = X509_VERIFY_PARAM_set1_ip_asc(wanted, host);
    else if (kind == HOST_NAME)
        done = X509_VERIFY_PARAM_set1_host(wanted, host, 0);
    if (done != 1)
        return fault_raise(FAULT_TLS, "verify-full needs a host to compare the certificate with");
    return OK;
}

/* Runs one step of the handshake without suspending: OK when done, AGAIN to wait. */
static fault handshake_step(struct tls *tls)
{
    fault result = OK;
    TRY(tls_begin(tls));
    tls->starved = false;
    int done = SSL_do_handshake(tls->ssl);
    if (done != 1)
        result = tls_outcome(tls, done);
    fault sent = tls_end(tls);
    return result == OK || result == FAULT_AGAIN ? (sent != OK ? sent : result) : result;
}

/* Runs the handshake until it is done and its last bytes are sent.  Suspends. */
static fault handshake_run(struct tls *tls, deadline by)
{
    fault result;
    while ((result = handshake_step(tls)) == FAULT_AGAIN) {
        uint32_t what = POLL_READ | (out_pending(tls) ? POLL_WRITE : 0);
        TRY(stream_wait(tls->stream, what, by));
        fault sent = tls_flush_some(tls);
        if (sent != OK && sent != FAULT_AGAIN)
            return sent;
    }
    TRY(result);
    while ((result = tls_flush_some(tls)) == FAULT_AGAIN)
        TRY(stream_wait(tls->stream, POLL_WRITE, by));
    return result;
}

static fault handshake(struct stream *stream, struct tls_context *context, const char *host,
                       struct span read, deadline by)
{
    invariant(stream_open(stream) && stream->tls == NULL);
    struct tls *tls = tls_new(stream, context);
    fault result = OK;
    if (tls == NULL)
        return fault_raise(FAULT_TLS, "no memory for a TLS session");
    tls->ahead = read;
    if (context->server)
        SSL_set_accept_state(tls->ssl);
    else
        SSL_set_connect_state(tls->ssl);
    if (!context->server)
        result = expect_host(tls, context, host);
    if (result == OK)
        result = handshake_run(tls, by);
    if (result == OK && tls->ahead.size > 0)
        result = fault_raise(FAULT_TLS, "%zu bytes too many before the handshake", tls->ahead.size);
    if (result == OK)
        stream->tls = tls;
    else
        tls_free(&tls);
    return result;
}

fault stream_tls_accept(struct stream *stream, struct tls_context *context, struct span read,
                        deadline by)
{
    invariant(context->server);
    return handshake(stream, context, NULL, read, by);
}

fault stream_tls_connect(struct stream *stream, struct tls_context *context, const char *host,
                         deadline by)
{
    invariant(!context->server);
    return handshake(stream, context, host, SPAN_NONE, by);
}

bool stream_tls_agreed(const struct stream *stream)
{
    const unsigned char *name = NULL;
    unsigned size = 0;
    if (stream->tls != NULL)
        SSL_get0_alpn_selected(stream->tls->ssl, &name, &size);
    return size > 0;
}

void *tls_ssl(const struct tls *tls)
{
    return tls->ssl;
}

const char *tls_text(const struct tls *tls, char *text, size_t size)
{
    SSL *ssl = tls->ssl;
    long group = SSL_get_negotiated_group(ssl);
    const char *name = group > 0 ? OBJ_nid2sn((int)(group & 0xffff)) : NULL;
    snprintf(text, size, "%s/%s%s%s", SSL_get_version(ssl), SSL_get_cipher_name(ssl),
             name != NULL ? "/ECDH=" : "", name != NULL ? name : "");
    return text;
}
