#pragma once
/*
 * feed_stream.h - the stream of a logical replication connection: what it has told, and up to
 * where.
 *
 * Pure: the caller has the connection and gives the payload of each CopyData message.  The reader
 * holds no memory.  It checks the order in which things are told: a fault other than of one text
 * means that the feed can't be trusted any more, and the reader refuses everything from then on.
 *
 * Design: docs/internals/feed.md
 */
#include "flight/feed_text.h"

/* The options that the reader needs, as START_REPLICATION takes them.  Transactions that decode as
 * empty are told, so are those of other origins; a transaction is told as a whole, at its commit.
 */
#define FEED_OPTIONS                                                                               \
    "\"include-xids\" '1', \"include-timestamp\" '0', \"skip-empty-xacts\" '0', "                  \
    "\"only-local\" '0'"

enum feed_event_kind {
    FEED_EVENT_KEEPALIVE,
    FEED_EVENT_BEGIN,
    FEED_EVENT_COMMIT,
    FEED_EVENT_TEXT,    /* `text` has a change, a message, or a phase of two */
    FEED_EVENT_UNKNOWN, /* within a transaction: a text that the decoder does not understand */
};

struct feed_event {
    enum feed_event_kind kind;
    struct feed_text text; /* of BEGIN, COMMIT and TEXT */
    uint64_t position;     /* of a change: its record's; of a COMMIT: the end of its record */
    int64_t sent;          /* when the server sent it: its clock, microseconds since 2000 */
    bool reply;            /* the server asks for a status update at once */
    /* Of a COMMIT. */
    uint32_t changes;  /* texts of changes, without messages */
    uint32_t messages; /* transactional ones */
    bool unknown;      /* there was a FEED_EVENT_UNKNOWN */
};

struct feed_reader {
    uint64_t passed;    /* all that was committed up to here, and can be decoded, has been told */
    uint64_t committed; /* position of the last COMMIT */
    uint32_t xid;       /* of the open transaction, 0: none is open */
    uint32_t changes;
    uint32_t messages;
    bool unknown;
    bool broken;
};

#define FEED_READER_INIT ((struct feed_reader){0})

/** Reads the payload of one CopyData message.  The event's spans point into it.  Faults: PROTOCOL
 *  (the stream can't be understood any more). */
fault feed_read(struct feed_reader *reader, struct span payload, struct feed_event *ret) MUST_USE;

enum feed_answer { FEED_NO_ANSWER, FEED_ANSWER };

/** Appends a status update in its CopyData message: what was written, flushed and applied ends
 *  before `position`.  FEED_ANSWER requests a keepalive.  `now` is microseconds since 2000. */
void feed_put_status(struct buffer *out, uint64_t position, int64_t now, enum feed_answer wanted);

/** A position of the log without a page header that ends there.  The insert position behind a full
 *  page is past the next one's header, where nothing is sent up to until a record follows it. */
uint64_t feed_position_normalised(uint64_t position, uint64_t segment_size);
