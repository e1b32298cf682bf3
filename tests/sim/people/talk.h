#pragma once
/*
 * talk.h - a client's end of a connection: bytes out, whole messages in.
 *
 * Belongs to the client's machine.  Waits in slices, so that it is noticed when the world has
 * become calm and the answer is due.
 */
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/stream.h"
#include "wire/messages.h"

struct talk {
    struct stream stream;
    struct buffer out;
    struct buffer in;
    size_t at;               /* of `in`: what was taken as messages */
    struct wire_frame frame; /* the last message; lives until the next is read */
};
#define TALK_MAX (1 << 22)
#define TALK_INIT                                                                                  \
    ((struct talk){                                                                                \
        .stream = STREAM_INIT, .out = BUFFER_INIT(TALK_MAX), .in = BUFFER_INIT(TALK_MAX)})

void talk_end(struct talk *talk);
/** A whole message.  Faults: TIMEOUT (nothing is lost: ask again), CLOSED and its like. */
fault talk_next(struct talk *talk, deadline by) MUST_USE;
/** Whether it is a notice, a notification or a parameter. */
bool talk_is_unasked(const struct wire_frame *frame);
/** Without suspending: whether something has come that is not said unasked, or the end. */
bool talk_is_answered(struct talk *talk);
/** Without suspending: whether an answer is there that nobody has asked for: anything but an error
 *  and what is said unasked. */
bool talk_has_surplus(struct talk *talk);
/** Sends all that is in `out`. */
fault talk_flush(struct talk *talk, deadline by) MUST_USE;
/** Sends the first `size` bytes of it, and forgets them. */
fault talk_flush_part(struct talk *talk, size_t size, deadline by) MUST_USE;
