#pragma once
/*
 * outbox.h - bytes on their way to one stream: runs inside borrowed chunks, and small made ones.
 *
 * Order is kept.  Runs point into memory that the caller keeps until the outbox is empty; made
 * bytes live in a chunk of the outbox's own, lent on first use.  Nothing is copied but what was
 * made.
 */
#include "base/span.h"
#include "machine/stream.h"
#include "session/chunk.h"

#include <sys/uio.h>

#define OUTBOX_PARTS 24

struct outbox {
    struct chunk *scratch;
    void *owned;   /* heap memory that one part points into, freed once all is sent */
    uint32_t held; /* bytes of `owned` that the store counts */
    uint32_t made; /* bytes of `scratch` in use */
    uint8_t first; /* the part under way */
    uint8_t count; /* parts in use, those already sent included */
    struct iovec parts[OUTBOX_PARTS]; /* last: the others are zeroed, these need not be */
};

static inline bool outbox_empty(const struct outbox *outbox)
{
    return outbox->first == outbox->count;
}

/* One message may add: the run before it, made bytes, a heap part, the run after it. */
#define OUTBOX_PARTS_A_MESSAGE 6

/** Whether the parts of a message and `bytes` made ones surely fit. */
static inline bool outbox_has_room(const struct outbox *outbox, const struct chunk_store *store,
                                   size_t bytes)
{
    return outbox->count + OUTBOX_PARTS_A_MESSAGE <= OUTBOX_PARTS && outbox->owned == NULL &&
           outbox->made + bytes <= store->size;
}
/** Adds a run of borrowed bytes; joins it to the last part where they touch. */
void outbox_run(struct outbox *outbox, const uint8_t *at, size_t size);
/** Room for `size` made bytes, already part of the outbox; NULL: no memory, or outbox_has_room said
 *  so. */
uint8_t *outbox_make(struct outbox *outbox, struct chunk_store *store, size_t size);
/** Adds heap bytes that the outbox frees when all is sent; one at a time. */
void outbox_take_heap(struct outbox *outbox, void *bytes, size_t size);
/** Sends what fits.  OK: it is empty now; AGAIN; CLOSED; TLS.  *ret_sent grows by the bytes sent.
 */
fault outbox_send(struct outbox *outbox, struct stream *stream, struct chunk_store *store,
                  uint64_t *ret_sent) MUST_USE;
/** Forgets everything and gives its chunk back. */
void outbox_drop(struct outbox *outbox, struct chunk_store *store);
