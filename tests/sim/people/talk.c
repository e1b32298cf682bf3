#include "people/talk.h"

#define TALK_READ  8192
#define TALK_FRAME (1u << 22)

void talk_end(struct talk *talk)
{
    stream_close(&talk->stream);
    buffer_fini(&talk->out);
    buffer_fini(&talk->in);
    *talk = TALK_INIT;
}

fault talk_next(struct talk *talk, deadline by)
{
    for (;;) {
        struct span rest = span_of(talk->in.at + talk->at, talk->in.size - talk->at);
        size_t before = rest.size;
        fault framed = wire_next_frame(&rest, TALK_FRAME, &talk->frame);
        talk->at += before - rest.size;
        if (framed != FAULT_AGAIN)
            return framed;
        buffer_consume(&talk->in, talk->at);
        talk->at = 0;
        uint8_t *room = buffer_room(&talk->in, TALK_READ);
        if (room == NULL)
            return buffer_fault(&talk->in);
        size_t size;
        TRY(stream_read(&talk->stream, room, TALK_READ, &size, by));
        talk->in.size += size;
    }
}

/* What is there; false: the connection has ended. */
static bool talk_fill(struct talk *talk)
{
    fault what = OK;
    while (what == OK) {
        uint8_t *room = buffer_room(&talk->in, TALK_READ);
        size_t size = 0;
        if (room == NULL)
            return false;
        what = stream_read_some(&talk->stream, room, TALK_READ, &size);
        talk->in.size += size;
    }
    return what == FAULT_AGAIN;
}

bool talk_is_unasked(const struct wire_frame *frame)
{
    return frame->type == WIRE_NOTICE || frame->type == WIRE_PARAMETER_STATUS ||
           frame->type == WIRE_NOTIFICATION;
}

bool talk_has_surplus(struct talk *talk)
{
    (void)!talk_fill(talk);
    struct span rest = span_of(talk->in.at + talk->at, talk->in.size - talk->at);
    struct wire_frame frame;
    while (wire_next_frame(&rest, TALK_FRAME, &frame) == OK)
        if (!talk_is_unasked(&frame) && frame.type != WIRE_ERROR)
            return true;
    return false;
}

bool talk_is_answered(struct talk *talk)
{
    if (!talk_fill(talk))
        return true;
    struct span rest = span_of(talk->in.at + talk->at, talk->in.size - talk->at);
    struct wire_frame frame;
    while (wire_next_frame(&rest, TALK_FRAME, &frame) == OK)
        if (!talk_is_unasked(&frame))
            return true;
    return false;
}

fault talk_flush_part(struct talk *talk, size_t size, deadline by)
{
    TRY(buffer_fault(&talk->out));
    TRY(stream_write(&talk->stream, span_of(talk->out.at, size), by));
    buffer_consume(&talk->out, size);
    return OK;
}

fault talk_flush(struct talk *talk, deadline by)
{
    return talk_flush_part(talk, talk->out.size, by);
}
