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
