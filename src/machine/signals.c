#include "machine/signals.h"

#include <errno.h>
#include <string.h>

fault signals_open(struct signals *signals, const int *numbers, size_t count)
{
    signals->stream = STREAM_INIT;
    int handle = os->signals_open(numbers, count);
    if (handle < 0)
        return fault_raise(FAULT_SYSTEM, "cannot take signals: %s", strerrordesc_np(-handle));
    /* As on Unix sockets, a short read does not mean that the handle is drained. */
    return stream_adopt(&signals->stream, handle, true);
}

fault signals_next(struct signals *signals, int *ret, deadline by)
{
    struct stream *stream = &signals->stream;
    for (;;) {
        TRY(stream_wait(stream, POLL_READ, by));
        int number = os->signals_next(stream->handle);
        if (number > 0) {
            *ret = number;
            return OK;
        }
        if (number != -EAGAIN)
            return fault_raise(FAULT_SYSTEM, "cannot read signals: %s", strerrordesc_np(-number));
        stream->ready &= (uint8_t)~POLL_READ;
    }
}

void signals_close(struct signals *signals)
{
    stream_close(&signals->stream);
}
