#pragma once
/*
 * l2_reply.h - commands to Redis and its replies, as bytes: hiredis's formatter and reader,
 * bounded.
 *
 * A reply is a value, or an array of a few values; anything else that could be sent is refused, so
 * that a peer that answers nonsense costs no memory.  Pure; any thread.
 */
#include "base/buffer.h"

/* Values of the longest array: those of MGET and TIME are two. */
#define L2_ITEMS_MAX 2u

enum l2_reply_type {
    L2_REPLY_TEXT,
    L2_REPLY_NUMBER,
    L2_REPLY_NONE,
    L2_REPLY_ERROR,
    L2_REPLY_ARRAY
};

struct l2_reply {
    enum l2_reply_type type;
    int64_t number;
    struct span text; /* also of an error; owned, behind the struct */
    uint32_t count;   /* of an array */
    struct l2_reply *items[L2_ITEMS_MAX];
};

void l2_reply_free(struct l2_reply **reply); /* NULL-safe */

struct l2_reader;
/** Makes a reader for replies of at most `max` bytes; the caller owns it.  NULL without memory. */
struct l2_reader *l2_reader_new(size_t max);
void l2_reader_free(struct l2_reader **reader); /* NULL-safe */
/** Adds bytes that have arrived.  Faults: LIMIT (a reply is longer than it may be), MEMORY. */
fault l2_reader_feed(struct l2_reader *reader, struct span bytes) MUST_USE;
/** Takes the next reply; the caller owns it.  NULL: it is not whole yet.  Faults: PROTOCOL. */
fault l2_reader_next(struct l2_reader *reader, struct l2_reply **ret) MUST_USE;

/** Appends a command.  The buffer's fault says whether there was room. */
void l2_command_put(struct buffer *out, const struct span *words, uint32_t count);
