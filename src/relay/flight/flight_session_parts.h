#pragma once
/*
 * flight_session_parts.h - runs statements as a client that is a part of the daemon.
 *
 * A session is one end of a connection whose other end is an internal client (client.h): it waits
 * for a server like any client of its pool, and has the session parameters of the client for which
 * it was opened.  It belongs to the coroutine that opened it, on that client's relay.  It outlives
 * the client that it was opened for.
 */
#include "machine/stream.h"
#include "wire/message.h"

struct client;
struct statement_catalog;

#define FLIGHT_SESSION_BUFFER 8192u
struct flight_session {
    struct stream stream;
    uint32_t begin, end; /* bytes read and not handled, in `buffer` */
    uint8_t *buffer;     /* FLIGHT_SESSION_BUFFER; owned */
};

/* A part of a message of the server. */
struct flight_part {
    uint8_t type;
    bool first;        /* `bytes` begins with the header */
    bool last;         /* and ends with the message */
    struct span bytes; /* valid during the call */
};

/* Takes the replies as they arrive.  `drained`: whole messages were handled, and no more has
 * arrived yet. */
struct flight_sink {
    fault (*part)(struct flight_sink *sink, const struct flight_part *part);
    void (*drained)(struct flight_sink *sink);
};

/** Opens a session whose statements depend on `catalog`.  Faults: MEMORY, SYSTEM; nothing is to be
 *  closed then. */
fault flight_session_open(struct flight_session *session, const struct client *like,
                          const struct statement_catalog *catalog) MUST_USE;
/** Sends a batch, which ends with a Query or a Sync, and gives the sink all replies, the
 *  ReadyForQuery too.  Suspends.  Faults: CLOSED (the server or the client is gone), TIMEOUT,
 *  CANCELLED, PROTOCOL, and those of the sink; the session can only be closed then. */
fault flight_session_ask(struct flight_session *session, struct span batch,
                         struct flight_sink *sink, deadline by) MUST_USE;
/** Closes a session.  A statement under way is cancelled at the server. */
void flight_session_close(struct flight_session *session);
