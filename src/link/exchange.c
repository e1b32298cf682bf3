/* exchange.c - whole messages during a login: reading and sending them. */
#include "link/dial_parts.h"

#include <inttypes.h>

fault link_read_message(struct stream *stream, struct buffer *into, uint32_t max,
                        struct wire_frame *ret, deadline by)
{
    buffer_clear(into);
    uint8_t *header = buffer_room(into, WIRE_HEADER);
    if (header == NULL)
        return buffer_fault(into);
    TRY(stream_read_all(stream, header, WIRE_HEADER, by));
    uint8_t type = header[0];
    uint32_t length = wire_u32(header + 1);
    if (length < 4)
        return fault_raise(FAULT_PROTOCOL, "message of type 0x%02x with a length of %u", type,
                           length);
    if (length >= max)
        return fault_raise(FAULT_LIMIT,
                           "message of type 0x%02x and %" PRIu64 " bytes, the limit is %u", type,
                           length + UINT64_C(1), max);
    into->size = WIRE_HEADER;

    /* buffer_room() may move the header. */
    uint32_t size = length - 4;
    uint8_t *body = buffer_room(into, size);
    if (body == NULL)
        return buffer_fault(into);
    if (size > 0)
        TRY(stream_read_all(stream, body, size, by));
    into->size += size;
    invariant(into->size == length + 1 && into->size <= max);
    *ret = (struct wire_frame){.type = type, .body = span_of(body, size)};
    return OK;
}

/* Most answers are shorter than this and arrive whole in one read. */
#define ANSWER_USUAL 512u

fault link_read_answer(struct stream *stream, struct buffer *into, uint32_t max,
                       struct wire_frame *ret, deadline by)
{
    buffer_clear(into);
    for (;;) {
        size_t got = 0;
        struct span rest = buffer_span(into);
        fault framed = wire_next_frame(&rest, max, ret);
        if (framed == OK && rest.size > 0)
            return fault_raise(FAULT_PROTOCOL, "%zu bytes after a '%c' message that needs a reply",
                               rest.size, ret->type);
        if (framed != FAULT_AGAIN)
            return framed == OK
                       ? OK
                       : fault_raise(framed, "malformed message, or one of more than %u bytes",
                                     max);
        uint8_t *room = buffer_room(into, ANSWER_USUAL);
        if (room == NULL)
            return buffer_fault(into);
        TRY(stream_read(stream, room, ANSWER_USUAL, &got, by));
        invariant(got > 0 && got <= ANSWER_USUAL);
        into->size += got;
    }
}

fault link_send(struct stream *stream, struct buffer *bytes, deadline by)
{
    fault what = buffer_fault(bytes);
    if (what == OK && bytes->size > 0)
        what = stream_write(stream, buffer_span(bytes), by);
    buffer_clear(bytes);
    return what;
}

/* Rejects bytes that are in the socket already.  The callers reject those that they have read
 * after the request or its answer (CVE-2021-23214). */
fault link_check_silence(struct stream *stream, const char *what)
{
    uint8_t byte;
    size_t size = 0;
    invariant(stream->tls == NULL); /* with TLS, bytes in the socket are encrypted */
    fault got = stream_read_some(stream, &byte, 1, &size);
    if (got == FAULT_AGAIN)
        return OK;
    TRY(got);
    return fault_raise(FAULT_PROTOCOL, "unencrypted bytes after %s", what);
}
