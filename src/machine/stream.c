#include "machine/stream.h"

#include "machine/clock.h"
#include "machine/co.h"
#include "machine/loop_parts.h"
#include "machine/process.h"
#include "machine/tls_session.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

/* Retry interval of connect() to a Unix listener whose queue is full: no event reports room. */
#define CONNECT_RETRY ms(5)

/* --- opening and closing ---------------------------------------------------------------------- */

fault stream_adopt(struct stream *stream, int handle, bool is_unix)
{
    invariant(handle >= 0 && stream->machine == NULL);
    stream->tls = NULL;
    stream->handle = handle;
    stream->table = os->table();
    stream->is_unix = is_unix;
    stream->is_forwarded = false;
    stream->ready = 0;
    return stream_attach(stream);
}

fault stream_pair(struct stream *one, struct stream *other)
{
    int handles[2];
    int status = os->pair(handles);
    *one = *other = STREAM_INIT;
    if (status != 0)
        return fault_raise(FAULT_SYSTEM, "cannot make a pair of sockets: %s",
                           strerrordesc_np(-status));
    fault first = stream_adopt(one, handles[0], true);
    fault second = stream_adopt(other, handles[1], true);
    if (first == OK && second == OK)
        return OK;
    stream_close(one);
    stream_close(other);
    return first != OK ? first : second;
}

void stream_detach(struct stream *stream)
{
    registration_remove(stream, REGISTRATION_MOVES);
}

fault stream_attach(struct stream *stream)
{
    invariant(stream->handle >= 0 && stream->machine == NULL);
    /* The new poller reports the present readiness.  Assume WRITE until then: a write costs at most
     * an EAGAIN.  Keep HANGUP and URGENT, which it may not report again. */
    stream->ready = POLL_WRITE | (stream->ready & (POLL_HANGUP | POLL_URGENT));
    int status = registration_add(stream);
    if (status == 0)
        return OK;
    stream_close(stream);
    return fault_raise(FAULT_SYSTEM, "cannot poll a connection: %s", strerrordesc_np(-status));
}

/* Waits until the poller reports that the connection is established or has failed. */
static fault stream_await_connected(struct stream *stream, deadline by)
{
    for (;;) {
        stream->ready &= (uint8_t)~POLL_WRITE;
        TRY(stream_wait(stream, POLL_WRITE, by));
        int status = os->connect_result(stream->handle);
        if (status == 0)
            return OK;
        if (status != -EINPROGRESS)
            return fault_raise(FAULT_REFUSED, "%s", strerrordesc_np(-status));
    }
}

/* Starts a connection and returns its handle.  Suspends only to retry (see CONNECT_RETRY). */
static fault stream_dial(const struct address *to, int *ret, deadline by)
{
    for (;;) {
        int handle = os->connect(to);
        *ret = handle;
        if (handle >= 0)
            return OK;
        if (handle == -EMFILE || handle == -ENFILE || handle == -ENOBUFS || handle == -ENOMEM)
            return fault_raise(FAULT_SYSTEM, "cannot make a socket: %s", strerrordesc_np(-handle));
        if (handle != -EAGAIN || to->family != ADDRESS_UNIX)
            return fault_raise(FAULT_REFUSED, "%s", strerrordesc_np(-handle));
        if (now().us >= by.us)
            return FAULT_TIMEOUT;
        TRY(co_sleep(CONNECT_RETRY));
    }
}

fault stream_connect(struct stream *stream, const struct address *to,
                     const struct socket_options *options, deadline by)
{
    invariant(stream->machine == NULL && co_self() != NULL);
    int handle;
    TRY(stream_dial(to, &handle, by));
    TRY(stream_adopt(stream, handle, to->family == ADDRESS_UNIX));
    if (options != NULL)
        stream_set_options(stream, options);
    fault end = stream_await_connected(stream, by);
    if (end != OK)
        stream_close(stream);
    return end;
}

void stream_close(struct stream *stream)
{
    if (stream->handle < 0)
        return;
    invariant(stream->table == os->table()); /* else the number is that of another connection */
    if (stream->tls != NULL)
        tls_free(&stream->tls);
    if (stream->machine != NULL)
        registration_remove(stream, REGISTRATION_CLOSES);
    os->close(stream->handle);
    *stream = STREAM_INIT;
}

/* --- bytes on the handle ---------------------------------------------------------------------- */

/* Marks both directions as ready after the peer's end or an error, so that calls get the reason. */
static void stream_note_end(struct stream *stream)
{
    stream->ready |= POLL_READ | POLL_WRITE | POLL_HANGUP;
}

/* Whether a short read means that the socket is drained.  On TCP any later bytes, or a FIN, give a
 * new edge.  Exceptions: Unix sockets, where a read stops between messages that carried
 * descriptors; a mark of urgent data; and a FIN whose edge was reported before. */
static bool stream_short_is_drained(const struct stream *stream)
{
    return !stream->is_unix && (stream->ready & (POLL_HANGUP | POLL_URGENT)) == 0;
}

int64_t stream_raw_recv(struct stream *stream, void *bytes, size_t size)
{
    if ((stream->ready & POLL_READ) == 0)
        return -EAGAIN;
    int64_t got = os->recv(stream->handle, bytes, size);
    if (got == -EAGAIN) {
        stream->ready &= (uint8_t)~POLL_READ;
    } else if (got <= 0) {
        stream->was_reset = got < 0;
        stream_note_end(stream);
    } else if ((size_t)got < size && stream_short_is_drained(stream)) {
        stream->ready &= (uint8_t)~POLL_READ;
    }
    return got;
}

/* Updates `ready` after a send of `size` bytes that returned `sent`. */
static int64_t stream_note_sent(struct stream *stream, int64_t sent, size_t size)
{
    if (sent == -EAGAIN || (sent >= 0 && (size_t)sent < size))
        stream->ready &= (uint8_t)~POLL_WRITE;
    else if (sent < 0)
        stream_note_end(stream);
    return sent;
}

int64_t stream_raw_send(struct stream *stream, const void *bytes, size_t size)
{
    if ((stream->ready & POLL_WRITE) == 0)
        return -EAGAIN;
    return stream_note_sent(stream, os->send(stream->handle, bytes, size), size);
}

static int64_t stream_raw_send_vector(struct stream *stream, const struct iovec *parts, int count)
{
    if ((stream->ready & POLL_WRITE) == 0)
        return -EAGAIN;
    if (count == 1)
        return stream_raw_send(stream, parts[0].iov_base, parts[0].iov_len);
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    return stream_note_sent(stream, os->send_vector(stream->handle, parts, count), size);
}

/* The fault of a call that moved no bytes. */
static fault stream_fault(int64_t status)
{
    if (status == -EAGAIN)
        return FAULT_AGAIN;
    if (status == 0)
        return fault_raise(FAULT_CLOSED, "peer closed the connection");
    return fault_raise(FAULT_CLOSED, "connection lost: %s", strerrordesc_np((int)-status));
}

/* --- without suspending ----------------------------------------------------------------------- */

fault stream_read_some(struct stream *stream, void *bytes, size_t size, size_t *ret)
{
    invariant(size > 0);
    if (UNLIKELY(stream->handle < 0))
        return stream_fault(0);
    if (stream->tls != NULL)
        return tls_read_some(stream->tls, bytes, size, ret);
    int64_t got = stream_raw_recv(stream, bytes, size);
    if (got <= 0)
        return stream_fault(got);
    *ret = (size_t)got;
    return OK;
}

fault stream_write_some(struct stream *stream, const struct iovec *parts, int count, size_t *ret)
{
    invariant(count > 0);
    if (UNLIKELY(stream->handle < 0))
        return stream_fault(0);
    if (stream->tls != NULL)
        return tls_write_some(stream->tls, parts, count, ret);
    int64_t sent = stream_raw_send_vector(stream, parts, count);
    if (sent < 0)
        return stream_fault(sent);
    *ret = (size_t)sent;
    return OK;
}

fault stream_flush_some(struct stream *stream)
{
    if (stream->tls == NULL)
        return OK;
    return tls_flush_some(stream->tls);
}

void stream_end(struct stream *stream)
{
    if (stream->handle >= 0)
        os->shut(stream->handle);
}

bool stream_tls_has_bytes(const struct stream *stream)
{
    return tls_has_pending(stream->tls);
}

bool stream_quiet(const struct stream *stream)
{
    return stream->tls == NULL || tls_quiet(stream->tls);
}

/* --- suspending ------------------------------------------------------------------------------- */

static bool stream_worth(const struct stream *stream, uint32_t what)
{
    return ((what & POLL_READ) != 0 && stream_may_read(stream)) ||
           ((what & POLL_WRITE) != 0 && stream_may_write(stream));
}

fault stream_wait(struct stream *stream, uint32_t what, deadline by)
{
    invariant((what & (POLL_READ | POLL_WRITE)) != 0);
    while (!stream_worth(stream, what)) {
        if (stream->handle < 0)
            return stream_fault(0);
        struct waker *before = stream->waker;
        stream->waker = co_waker(co_self());
        fault end = co_wait(by);
        /* If the stream was closed meanwhile, it has no waker any more. */
        stream->waker = stream->handle < 0 ? NULL : before;
        TRY(end);
    }
    return OK;
}

/* Waits after a read returned AGAIN.  TLS may have to send a reply first (a key update). */
static fault stream_await_read(struct stream *stream, deadline by)
{
    fault flushed = stream_flush_some(stream);
    if (flushed != OK && flushed != FAULT_AGAIN)
        return flushed;
    return stream_wait(stream, flushed == OK ? POLL_READ : POLL_READ | POLL_WRITE, by);
}

fault stream_read(struct stream *stream, void *bytes, size_t size, size_t *ret, deadline by)
{
    for (;;) {
        fault end = stream_read_some(stream, bytes, size, ret);
        if (end != FAULT_AGAIN)
            return end;
        TRY(stream_await_read(stream, by));
    }
}

fault stream_read_all(struct stream *stream, void *bytes, size_t size, deadline by)
{
    size_t filled = 0;
    while (filled < size) {
        size_t got = 0;
        TRY(stream_read(stream, (char *)bytes + filled, size - filled, &got, by));
        filled += got;
    }
    return OK;
}

static fault stream_flush(struct stream *stream, deadline by)
{
    for (;;) {
        fault end = stream_flush_some(stream);
        if (end != FAULT_AGAIN)
            return end;
        TRY(stream_wait(stream, POLL_WRITE, by));
    }
}

fault stream_write(struct stream *stream, struct span bytes, deadline by)
{
    while (bytes.size > 0) {
        struct iovec part = {(void *)(uintptr_t)bytes.at, bytes.size};
        size_t sent = 0;
        fault end = stream_write_some(stream, &part, 1, &sent);
        if (end == FAULT_AGAIN) {
            TRY(stream_wait(stream, POLL_WRITE, by));
            continue;
        }
        TRY(end);
        bytes = span_skip(bytes, sent);
        stream->in_write = bytes.size > 0;
    }
    return stream_flush(stream, by);
}

/* --- properties and options ------------------------------------------------------------------- */

const char *stream_tls_text(const struct stream *stream, char *text, size_t size)
{
    if (stream->tls != NULL)
        return tls_text(stream->tls, text, size);
    invariant(size > 0);
    text[0] = '\0';
    return text;
}

/* Ignores failures: an option that the kernel refuses is no reason to refuse a connection. */
void stream_set_options(struct stream *stream, const struct socket_options *options)
{
    if (stream->handle >= 0 && !stream->is_unix)
        (void)os->set_options(stream->handle, options);
}

void stream_set_low_water(struct stream *stream, uint32_t bytes)
{
    if (stream->handle >= 0 && !stream->is_unix)
        (void)os->set_low_water(stream->handle, (int)bytes);
}

bool stream_peer_is_own(const struct stream *stream)
{
    int64_t user =
        stream->handle < 0 || !stream_is_local(stream) ? -ENOTSUP : os->peer_user(stream->handle);
    return user == 0 || (user > 0 && user == process_user());
}

bool stream_peer_user(const struct stream *stream, uint32_t *ret)
{
    int64_t user =
        stream->handle < 0 || !stream_is_local(stream) ? -ENOTSUP : os->peer_user(stream->handle);
    if (user < 0)
        return false;
    *ret = (uint32_t)user;
    return true;
}

fault stream_local(const struct stream *stream, struct address *ret)
{
    int status = stream->handle < 0 ? -ENOTCONN : os->local_address(stream->handle, ret);
    if (status < 0)
        return fault_raise(FAULT_SYSTEM, "no local address: %s", strerrordesc_np(-status));
    return OK;
}
