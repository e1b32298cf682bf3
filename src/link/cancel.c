#include "link/dial.h"

#define CANCEL_SIZE (12 + WIRE_SECRET_MAX) /* bytes of the longest CancelRequest */

/* The server answers only by closing the socket, whether the key was right or not; a server for
 * which a cancel is under way must not be reused before that.  (PostgreSQL manual, "Canceling
 * Requests in Progress")  A connection that was reset says nothing: it may yet be carried out. */
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
