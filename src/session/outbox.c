#include "session/outbox.h"

#include <stdlib.h>

void outbox_run(struct outbox *outbox, const uint8_t *at, size_t size)
{
    if (size == 0)
        return;
    if (outbox->count > outbox->first) {
        struct iovec *last = &outbox->parts[outbox->count - 1];
        if ((const uint8_t *)last->iov_base + last->iov_len == at) {
            last->iov_len += size;
            return;
        }
    }
    invariant(outbox->count < OUTBOX_PARTS);
    outbox->parts[outbox->count++] = (struct iovec){(void *)at, size};
}

uint8_t *outbox_make(struct outbox *outbox, struct chunk_store *store, size_t size)
{
    if (outbox->scratch == NULL) {
        outbox->scratch = chunk_lend(store);
        outbox->made = 0;
    }
    invariant(outbox->scratch == NULL || outbox->made <= outbox->scratch->size);
    if (outbox->scratch == NULL || outbox->made + size > outbox->scratch->size ||
        outbox->count >= OUTBOX_PARTS)
        return NULL;
    uint8_t *at = outbox->scratch->bytes + outbox->made;
    outbox->made += (uint32_t)size;
    outbox_run(outbox, at, size);
    return at;
}

void outbox_take_heap(struct outbox *outbox, void *bytes, size_t size)
{
    invariant(outbox->owned == NULL);
    outbox->owned = bytes;
    outbox_run(outbox, bytes, size);
}

void outbox_drop(struct outbox *outbox, struct chunk_store *store)
{
    outbox->first = outbox->count = 0;
    outbox->made = 0;
    free(outbox->owned);
    outbox->owned = NULL;
    if (outbox->held > 0)
        chunk_unhold(store, outbox->held);
    outbox->held = 0;
    chunk_return(store, &outbox->scratch);
}

static void outbox_advance(struct outbox *outbox, size_t sent)
{
    while (sent > 0) {
        invariant(outbox->first < outbox->count);
        struct iovec *part = &outbox->parts[outbox->first];
        size_t step = MIN_OF(sent, part->iov_len);
        part->iov_base = (uint8_t *)part->iov_base + step;
        part->iov_len -= step;
        sent -= step;
        if (part->iov_len == 0)
            outbox->first += 1;
    }
}

/* Below this, copying several parts together costs less than handing the kernel a vector. */
#define TOGETHER_MAX 1024u

static size_t outbox_left(const struct outbox *outbox)
{
    size_t left = 0;
    for (uint8_t i = outbox->first; i < outbox->count; i++)
        left += outbox->parts[i].iov_len;
    return left;
}

/* Sends several parts.  Not inlined, so that its buffer does not lie on the stack of the common
 * case of one part. */
static NEVER_INLINE fault outbox_try_parts(const struct outbox *outbox, struct stream *stream,
                                           size_t *ret_sent)
{
    const struct iovec *parts = outbox->parts + outbox->first;
    int count = outbox->count - outbox->first;
    uint8_t together[TOGETHER_MAX];
    if (outbox_left(outbox) > sizeof(together))
        return stream_write_some(stream, parts, count, ret_sent);
    struct iovec whole = {together, 0};
    for (int i = 0; i < count; i++) {
        memcpy(together + whole.iov_len, parts[i].iov_base, parts[i].iov_len);
        whole.iov_len += parts[i].iov_len;
    }
    return stream_write_some(stream, &whole, 1, ret_sent);
}

static fault outbox_try(const struct outbox *outbox, struct stream *stream, size_t *ret_sent)
{
    if (outbox->count - outbox->first > 1)
        return outbox_try_parts(outbox, stream, ret_sent);
    return stream_write_some(stream, outbox->parts + outbox->first, 1, ret_sent);
}

fault outbox_send(struct outbox *outbox, struct stream *stream, struct chunk_store *store,
                  uint64_t *ret_sent)
{
    while (!outbox_empty(outbox)) {
        size_t sent = 0;
        TRY(outbox_try(outbox, stream, &sent));
        invariant(sent > 0);
        outbox_advance(outbox, sent);
        *ret_sent += sent;
    }
    if (outbox->scratch != NULL || outbox->owned != NULL)
        outbox_drop(outbox, store);
    outbox->first = outbox->count = 0;
    return stream->tls != NULL ? stream_flush_some(stream) : OK;
}
