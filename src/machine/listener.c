/* listener.c - listening sockets. */
#include "machine/stream.h"

#include "machine/clock.h"
#include "machine/co.h"
#include "machine/log.h"

#include <errno.h>
#include <string.h>

/* Stores the handle without registering it: other machines may be the ones that accept. */
static void listener_keep(struct listener *listener, int handle)
{
    listener->stream.handle = handle;
    listener->stream.table = os->table();
    listener->stream.is_unix = listener->address.family == ADDRESS_UNIX;
}

fault listener_open(struct listener *listener, const struct address *at, int backlog, int unix_mode)
{
    *listener = (struct listener){.stream = STREAM_INIT, .address = *at};
    char text[ADDRESS_TEXT_SIZE];
    int handle = os->listen(at, backlog, unix_mode);
    if (handle < 0)
        return fault_raise(FAULT_SYSTEM, "cannot listen on %s: %s",
                           address_text(at, text, sizeof(text)), strerrordesc_np(-handle));
    struct address bound;
    if (at->family != ADDRESS_UNIX && os->local_address(handle, &bound) == 0)
        listener->address.port = bound.port;
    listener_keep(listener, handle);
    return OK;
}

fault listener_adopt(struct listener *listener, int handle, const struct address *at, int backlog)
{
    *listener = (struct listener){.stream = STREAM_INIT, .address = *at, .adopted = true};
    char text[ADDRESS_TEXT_SIZE];
    int status = os->listen_again(handle, at, backlog, -1);
    if (status < 0) {
        os->close(handle);
        return fault_raise(FAULT_SYSTEM, "cannot listen on %s, which was passed: %s",
                           address_text(at, text, sizeof(text)), strerrordesc_np(-status));
    }
    listener_keep(listener, handle);
    return OK;
}

void listener_change(struct listener *listener, int backlog, int unix_mode)
{
    char text[ADDRESS_TEXT_SIZE];
    int status = os->listen_again(listener->stream.handle, &listener->address, backlog, unix_mode);
    if (status < 0)
        log_event(LOG_WARNING, "listener.unchanged",
                  log_text("address", address_text(&listener->address, text, sizeof(text))),
                  log_quote("reason", strerrordesc_np(-status)));
}

fault listener_tune(const struct listener *listener, int64_t group, int defer)
{
    char text[ADDRESS_TEXT_SIZE];
    int64_t wanted = listener->adopted ? -1 : group;
    int status = os->listen_tune(listener->stream.handle, &listener->address, wanted, defer);
    if (status == 0)
        return OK;
    return fault_raise(FAULT_SYSTEM, "cannot set the %s of %s: %s",
                       listener->address.family == ADDRESS_UNIX ? "group" : "deferred accept",
                       address_text(&listener->address, text, sizeof(text)),
                       strerrordesc_np(-status));
}

/* Most other errors concern a single connection that is gone. */
bool listener_is_exhausted(int status)
{
    return status == -EMFILE || status == -ENFILE || status == -ENOBUFS || status == -ENOMEM;
}

fault listener_accept(struct listener *listener, int *ret_handle, struct address *ret_peer,
                      deadline by)
{
    struct stream *stream = &listener->stream;
    if (stream->machine == NULL)
        TRY(stream_attach(stream));
    for (;;) {
        TRY(stream_wait(stream, POLL_READ, by));
        int handle = os->accept(stream->handle, ret_peer);
        if (handle >= 0) {
            *ret_handle = handle;
            return OK;
        }
        if (handle == -EAGAIN)
            stream->ready &= (uint8_t)~POLL_READ;
        if (!listener_is_exhausted(handle))
            continue;
        TRY(co_sleep(LISTENER_REST));
        return fault_raise(FAULT_SYSTEM, "cannot accept: %s", strerrordesc_np(-handle));
    }
}

void listener_close(struct listener *listener)
{
    if (!stream_open(&listener->stream))
        return;
    stream_close(&listener->stream);
    if (listener->address.family == ADDRESS_UNIX && !listener->adopted &&
        !address_is_abstract(&listener->address))
        (void)os->file_unlink(listener->address.path);
}
