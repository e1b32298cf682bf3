#pragma once
/*
 * flight_limit_parts.h - the statement_timeout of a client that waits for an answer.
 *
 * The execution has none of its own (client_start_internal), so each client that waits has its
 * limit kept here, counted from when the execution was sent or the client joined it.  At the limit
 * the client gets the error that PostgreSQL would send, if need be behind the rows that it has got:
 * then first comes the rest of a message of which it has a part.  Pure.
 */
#include "base/buffer.h"
#include "base/time.h"
#include "session/params.h"
#include "wire/message.h"

struct flight_limit {
    duration limit; /* NO_LIMIT: the client has set none */
    deadline by;    /* 0: the execution was not sent yet */
    bool over;      /* it has passed: `error` ends the reply */
    uint8_t header[WIRE_HEADER];
    uint8_t header_size; /* bytes of a header of which the client has a part */
    uint64_t left;       /* bytes of a message of which it has the header */
    struct buffer error; /* ErrorResponse and ReadyForQuery */
    uint32_t error_at;   /* bytes of these that were sent */
};

/** Begins; `params` are those of the client's session. */
void flight_limit_init(struct flight_limit *limit, const struct params *params);
void flight_limit_fini(struct flight_limit *limit);
/** Notes that the execution runs.  True: the timer has to be set, to `limit->by`. */
bool flight_limit_start(struct flight_limit *limit, moment at);
/** Whether it has passed by now, which was not noted yet. */
bool flight_limit_passed(const struct flight_limit *limit, moment at);
/** Notes bytes of messages that were sent to the client. */
void flight_limit_note(struct flight_limit *limit, struct span sent);
/** Makes the error that ends the reply.  MEMORY. */
fault flight_limit_end(struct flight_limit *limit) MUST_USE;
/** Returns how many of the bytes that come next belong to a message of which the client has a part;
 *  more if its header tells.  0: the error comes next. */
size_t flight_limit_rest(const struct flight_limit *limit);
/** Returns what is left to send of the error. */
struct span flight_limit_error(const struct flight_limit *limit);
