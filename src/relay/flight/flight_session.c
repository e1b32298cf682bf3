#include "relay/flight/flight_session_parts.h"

#include "relay/client.h"

#include <stdlib.h>
#include <string.h>

fault flight_session_open(struct flight_session *session, const struct client *like,
                          const struct statement_catalog *catalog)
{
    *session = (struct flight_session){.stream = STREAM_INIT};
    session->buffer = malloc(FLIGHT_SESSION_BUFFER);
    if (session->buffer == NULL)
        return FAULT_MEMORY;
    fault started = client_start_internal(like, catalog, &session->stream);
    if (started != OK)
        free(TAKE(session->buffer));
    return started;
}

void flight_session_close(struct flight_session *session)
{
    stream_close(&session->stream);
    free(TAKE(session->buffer));
}

/* Reads more behind what is there; a part of a header moves to the front. */
static fault read_more(struct flight_session *session, deadline by)
{
    size_t more = 0;
    uint32_t kept = session->end - session->begin;
    invariant(kept < WIRE_HEADER);
    memmove(session->buffer, session->buffer + session->begin, kept);
    session->begin = 0;
    session->end = kept;
    TRY(stream_read(&session->stream, session->buffer + kept, FLIGHT_SESSION_BUFFER - kept, &more,
                    by));
    session->end += (uint32_t)more;
    return OK;
}

/* Waits for more of the replies, after all that has arrived was handled. */
static fault await_more(struct flight_session *session, struct flight_sink *sink, deadline by)
{
    if (!stream_may_read(&session->stream))
        sink->drained(sink);
    return read_more(session, by);
}

/* Gives the sink one message, as its parts arrive. */
static fault pass_message(struct flight_session *session, struct flight_sink *sink, uint8_t type,
                          uint64_t size, deadline by)
{
    bool first = true;
    while (size > 0) {
        if (session->begin == session->end)
            TRY(read_more(session, by));
        uint32_t here = (uint32_t)MIN_OF(size, (uint64_t)(session->end - session->begin));
        struct flight_part part = {
            .type = type,
            .first = first,
            .last = here == size,
            .bytes = span_of(session->buffer + session->begin, here),
        };
        TRY(sink->part(sink, &part));
        session->begin += here;
        size -= here;
        first = false;
    }
    return OK;
}

fault flight_session_ask(struct flight_session *session, struct span batch,
                         struct flight_sink *sink, deadline by)
{
    TRY(stream_write(&session->stream, batch, by));
    for (uint8_t type = 0; type != WIRE_READY;) {
        while (session->end - session->begin < WIRE_HEADER)
            TRY(await_more(session, sink, by));
        const uint8_t *header = session->buffer + session->begin;
        uint32_t length = wire_u32(header + 1);
        type = header[0];
        if (length < 4)
            return fault_raise(FAULT_PROTOCOL, "a message of %u bytes", length);
        TRY(pass_message(session, sink, type, (uint64_t)length + 1, by));
    }
    sink->drained(sink);
    return OK;
}
