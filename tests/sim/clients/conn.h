#pragma once
/*
 * conn.h - a client's end of a connection: writes bytes, reads whole messages.
 *
 * Belongs to the client's machine.
 */
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/stream.h"
#include "wire/messages.h"

struct conn {
    struct stream stream;
    struct buffer out;
    struct buffer in;
    size_t at;               /* of `in`: bytes of messages that were read */
    struct wire_frame frame; /* the last message; lives until the next is read */
};
#define CONN_MAX (1 << 22)
#define CONN_INIT                                                                                  \
    ((struct conn){                                                                                \
        .stream = STREAM_INIT, .out = BUFFER_INIT(CONN_MAX), .in = BUFFER_INIT(CONN_MAX)})

void conn_close(struct conn *conn);
/** Reads a message.  Faults: TIMEOUT (call again: nothing is lost), CLOSED and similar. */
fault conn_next(struct conn *conn, deadline by) MUST_USE;
/** Tells asynchronous messages: notices, notifications and parameter reports. */
bool conn_is_async(const struct wire_frame *frame);
/** Returns, without suspending, whether a reply or the end of the connection has arrived. */
bool conn_has_reply(struct conn *conn);
/** Returns, without suspending, whether a message has arrived that is neither asynchronous nor an
 *  error. */
bool conn_has_surplus(struct conn *conn);
/** Sends all of `out`. */
fault conn_flush(struct conn *conn, deadline by) MUST_USE;
/** Sends the first `size` bytes of `out`, and removes them. */
fault conn_flush_part(struct conn *conn, size_t size, deadline by) MUST_USE;
