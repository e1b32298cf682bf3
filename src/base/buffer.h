#pragma once
/*
 * buffer.h - a growable byte buffer with a size limit.
 *
 * The embedding object owns the buffer.  An append that would exceed the limit, or for which there
 * is no memory, appends nothing and marks the buffer as failed.  So writers append without checks
 * and call buffer_fault once at the end.  A new buffer owns no heap memory.
 */
#include "base/check.h"
#include "base/fault.h"

struct buffer {
    uint8_t *at;
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
    size_t max;      /* limit of `size` and `capacity`, bytes */
    fault failed;    /* OK, LIMIT or MEMORY; sticky until buffer_clear */
};

#define BUFFER_INIT(ceiling) ((struct buffer){.max = (ceiling)})

void buffer_fini(struct buffer *buffer);
/** Discards the bytes and the failure, keeps the memory. */
void buffer_clear(struct buffer *buffer);
/** Returns room for `more` bytes after the last one; NULL when the buffer has failed.  The caller
 *  adds the bytes that it wrote to `size`. */
uint8_t *buffer_room(struct buffer *buffer, size_t more);
void buffer_append(struct buffer *buffer, const void *bytes, size_t size);
void buffer_append_span(struct buffer *buffer, struct span span);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_append_byte(struct buffer *buffer, uint8_t byte);
void buffer_printf(struct buffer *buffer, const char *format, ...) PRINTF_LIKE(2, 3);
/** Removes the first `count` bytes (memmove). */
void buffer_consume(struct buffer *buffer, size_t count);

static inline fault buffer_fault(const struct buffer *buffer)
{
    return buffer->failed;
}

static inline struct span buffer_span(const struct buffer *buffer)
{
    return span_of(buffer->at, buffer->size);
}
