#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUFFER_MIN 256

void buffer_fini(struct buffer *buffer)
{
    free(buffer->at);
    *buffer = BUFFER_INIT(buffer->max);
}

void buffer_clear(struct buffer *buffer)
{
    buffer->size = 0;
    buffer->failed = OK;
}

static bool buffer_grow(struct buffer *buffer, size_t need)
{
    size_t capacity = MAX_OF(buffer->capacity, (size_t)BUFFER_MIN);
    while (capacity < need)
        capacity *= 2;
    if (capacity > buffer->max)
        capacity = buffer->max;
    uint8_t *at = realloc(buffer->at, capacity);
    if (at == NULL) {
        buffer->failed = FAULT_MEMORY;
        return false;
    }
    buffer->at = at;
    buffer->capacity = capacity;
    return true;
}

uint8_t *buffer_room(struct buffer *buffer, size_t more)
{
    if (buffer->failed != OK)
        return NULL;
    if (more > buffer->max - buffer->size) {
        buffer->failed = FAULT_LIMIT;
        return NULL;
    }
    if (buffer->size + more > buffer->capacity && !buffer_grow(buffer, buffer->size + more))
        return NULL;
    return buffer->at + buffer->size;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t size)
{
    if (size == 0)
        return;
    uint8_t *room = buffer_room(buffer, size);
    if (room == NULL)
        return;
    memcpy(room, bytes, size);
    buffer->size += size;
}

void buffer_append_span(struct buffer *buffer, struct span span)
{
    buffer_append(buffer, span.at, span.size);
}

void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_append_byte(struct buffer *buffer, uint8_t byte)
{
    buffer_append(buffer, &byte, 1);
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list values, again;
    va_start(values, format);
    va_copy(again, values);
    int size = vsnprintf(NULL, 0, format, values);
    va_end(values);
    uint8_t *room = size < 0 ? NULL : buffer_room(buffer, (size_t)size + 1);
    if (room != NULL) {
        vsnprintf((char *)room, (size_t)size + 1, format, again);
        buffer->size += (size_t)size;
    }
    va_end(again);
}

void buffer_consume(struct buffer *buffer, size_t count)
{
    invariant(count <= buffer->size);
    buffer->size -= count;
    if (buffer->size > 0 && count > 0)
        memmove(buffer->at, buffer->at + count, buffer->size);
}
