#pragma once
/*
 * outbox.h - bytes to be sent to one stream: runs inside borrowed chunks, and small made messages.
 *
 * Bytes are sent in the order in which they were added.  Runs point into memory that the caller
 * keeps until the outbox is empty.  Made bytes are written into a scratch chunk that belongs to the
 * outbox and is lent on first use.  Only made bytes are copied.
 */
#include "base/span.h"
#include "machine/stream.h"
#include "session/chunk.h"

#include <sys/uio.h>

#define OUTBOX_PARTS 24

struct outbox {
    struct chunk *scratch;
    void *owned;   /* heap memory that one part points into; freed when all is sent */
    uint32_t held; /* bytes of `owned` that the store counts */
    uint32_t made; /* bytes of `scratch` in use */
    uint8_t first; /* index of the part being sent */
    uint8_t count; /* parts in use, including those already sent */
    struct iovec parts[OUTBOX_PARTS]; /* last field: needs no zeroing, unlike the others */
};

static inline bool outbox_empty(const struct outbox *outbox)
{
    return outbox->first == outbox->count;
}

/* Parts that one message may add: the run before it, made bytes, a heap part, the run after it. */
#define OUTBOX_PARTS_A_MESSAGE 6

/** Returns whether the parts of one message and `bytes` made bytes are sure to fit. */
static inline bool outbox_has_room(const struct outbox *outbox, const struct chunk_store *store,
                                   size_t bytes)
{
    return outbox->count + OUTBOX_PARTS_A_MESSAGE <= OUTBOX_PARTS && outbox->owned == NULL &&
           outbox->made + bytes <= store->size;
}
/** Adds a run of borrowed bytes; joins it to the last part where they touch. */
void outbox_run(struct outbox *outbox, const uint8_t *at, size_t size);
/** Reserves `size` made bytes, already part of the outbox, and returns where to write them.  NULL:
 *  no memory, or no room (outbox_has_room). */
uint8_t *outbox_make(struct outbox *outbox, struct chunk_store *store, size_t size);
/** Adds heap bytes and takes ownership: the outbox frees them when all is sent.  Only one such part
 *  at a time. */
void outbox_take_heap(struct outbox *outbox, void *bytes, size_t size);
/** Sends what the stream accepts.  OK: the outbox is empty; AGAIN; CLOSED; TLS.  *ret_sent grows by
 *  the bytes sent. */
fault outbox_send(struct outbox *outbox, struct stream *stream, struct chunk_store *store,
                  uint64_t *ret_sent) MUST_USE;
/** Drops all parts, frees the heap part and returns the scratch chunk. */
void outbox_drop(struct outbox *outbox, struct chunk_store *store);
