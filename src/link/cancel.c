/* cancel.c - sends a cancel request to a server. */
#include "link/dial_parts.h"

#define CANCEL_SIZE (12 + WIRE_SECRET_MAX) /* bytes of the longest CancelRequest */

/* Waits until the server closes the socket: its only reply, whether the key was right or not.  A
 * server must not be reused while a cancel request for it is in progress (PostgreSQL manual,
 * "Canceling Requests in Progress").  A reset connection proves nothing: the request may still be
 * executed. */
static fault cancel_wait_for_end(struct stream *stream, deadline by)
{
    for (;;) {
        uint8_t ignored[64];
        size_t size;
        fault what = stream_read(stream, ignored, sizeof(ignored), &size, by);
        if (what == FAULT_CLOSED && !stream->was_reset)
            return OK;
        TRY(what);
    }
}

fault link_cancel(const struct link_target *target, uint32_t pid, struct span secret, deadline by)
{
    if (secret.size == 0)
        return fault_raise(FAULT_UNSUPPORTED, "the server gave no key to cancel with");
    struct stream stream = STREAM_INIT;
    TRY(link_dial(&stream, target, DIAL_AS_CONFIGURED, by));
    struct buffer request = BUFFER_INIT(CANCEL_SIZE);
    wire_put_cancel(&request, pid, secret);
    fault what = link_send(&stream, &request, by);
    buffer_fini(&request);
    if (what == OK)
        what = cancel_wait_for_end(&stream, by);
    stream_close(&stream);
    return link_refused(what, target);
}
