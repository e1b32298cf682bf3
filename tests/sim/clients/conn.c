#include "clients/conn.h"

#define CONN_READ  8192
#define CONN_FRAME (1u << 22)

void conn_close(struct conn *conn)
{
    stream_close(&conn->stream);
    buffer_fini(&conn->out);
    buffer_fini(&conn->in);
    *conn = CONN_INIT;
}

fault conn_next(struct conn *conn, deadline by)
{
    for (;;) {
        struct span rest = span_of(conn->in.at + conn->at, conn->in.size - conn->at);
        size_t before = rest.size;
        fault framed = wire_next_frame(&rest, CONN_FRAME, &conn->frame);
        conn->at += before - rest.size;
        if (framed != FAULT_AGAIN)
            return framed;
        buffer_consume(&conn->in, conn->at);
        conn->at = 0;
        uint8_t *room = buffer_room(&conn->in, CONN_READ);
        if (room == NULL)
            return buffer_fault(&conn->in);
        size_t size;
        TRY(stream_read(&conn->stream, room, CONN_READ, &size, by));
        conn->in.size += size;
    }
}

/* Reads what has arrived.  Returns false if the connection has ended. */
static bool conn_fill(struct conn *conn)
{
    fault what = OK;
    while (what == OK) {
        uint8_t *room = buffer_room(&conn->in, CONN_READ);
        size_t size = 0;
        if (room == NULL)
            return false;
        what = stream_read_some(&conn->stream, room, CONN_READ, &size);
        conn->in.size += size;
    }
    return what == FAULT_AGAIN;
}

bool conn_is_async(const struct wire_frame *frame)
{
    return frame->type == WIRE_NOTICE || frame->type == WIRE_PARAMETER_STATUS ||
           frame->type == WIRE_NOTIFICATION;
}

bool conn_has_surplus(struct conn *conn)
{
    (void)!conn_fill(conn);
    struct span rest = span_of(conn->in.at + conn->at, conn->in.size - conn->at);
    struct wire_frame frame;
    while (wire_next_frame(&rest, CONN_FRAME, &frame) == OK)
        if (!conn_is_async(&frame) && frame.type != WIRE_ERROR)
            return true;
    return false;
}

bool conn_has_reply(struct conn *conn)
{
    if (!conn_fill(conn))
        return true;
    struct span rest = span_of(conn->in.at + conn->at, conn->in.size - conn->at);
    struct wire_frame frame;
    while (wire_next_frame(&rest, CONN_FRAME, &frame) == OK)
        if (!conn_is_async(&frame))
            return true;
    return false;
}

fault conn_flush_part(struct conn *conn, size_t size, deadline by)
{
    TRY(buffer_fault(&conn->out));
    TRY(stream_write(&conn->stream, span_of(conn->out.at, size), by));
    buffer_consume(&conn->out, size);
    return OK;
}

fault conn_flush(struct conn *conn, deadline by)
{
    return conn_flush_part(conn, conn->out.size, by);
}
