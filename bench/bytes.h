#pragma once
/*
 * bytes.h - a growing byte buffer and big-endian fields, for the two programs of this folder.
 *
 * The bench shares nothing with src/, so that it can also measure a Trunkline that is broken.
 * Out of memory ends the program: it is a tool, not a daemon.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    char *at;
    size_t length;
    size_t capacity;
};

static inline void bytes_reserve(struct bytes *bytes, size_t more)
{
    if (bytes->capacity - bytes->length >= more)
        return;
    size_t wanted = bytes->capacity * 2 + more + 64;
    bytes->at = realloc(bytes->at, wanted);
    if (bytes->at == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(70);
    }
    bytes->capacity = wanted;
}

static inline void bytes_add(struct bytes *bytes, const void *from, size_t length)
{
    if (length == 0)
        return;
    bytes_reserve(bytes, length);
    memcpy(bytes->at + bytes->length, from, length);
    bytes->length += length;
}

static inline void bytes_u8(struct bytes *bytes, unsigned value)
{
    uint8_t one = (uint8_t)value;
    bytes_add(bytes, &one, 1);
}

static inline void bytes_u16(struct bytes *bytes, unsigned value)
{
    uint8_t two[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    bytes_add(bytes, two, 2);
}

static inline void bytes_set_u32(char *at, uint32_t value)
{
    uint8_t four[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                       (uint8_t)value};
    memcpy(at, four, 4);
}

static inline void bytes_u32(struct bytes *bytes, uint32_t value)
{
    char four[4];
    bytes_set_u32(four, value);
    bytes_add(bytes, four, 4);
}

/** With its terminating zero. */
static inline void bytes_text(struct bytes *bytes, const char *text)
{
    bytes_add(bytes, text, strlen(text) + 1);
}

/** Starts a message; bytes_end() with the returned position fills in its length. */
static inline size_t bytes_begin(struct bytes *bytes, char type)
{
    if (type != 0)
        bytes_u8(bytes, (uint8_t)type);
    bytes_u32(bytes, 0);
    return bytes->length - 4;
}

static inline void bytes_end(struct bytes *bytes, size_t position)
{
    bytes_set_u32(bytes->at + position, (uint32_t)(bytes->length - position));
}

static inline void bytes_consume(struct bytes *bytes, size_t length)
{
    bytes->length -= length;
    if (bytes->length > 0)
        memmove(bytes->at, bytes->at + length, bytes->length);
}

static inline void bytes_release(struct bytes *bytes)
{
    free(bytes->at);
    *bytes = (struct bytes){0};
}

static inline uint32_t get_u32(const char *at)
{
    const uint8_t *four = (const uint8_t *)at;
    return (uint32_t)four[0] << 24 | (uint32_t)four[1] << 16 | (uint32_t)four[2] << 8 | four[3];
}

static inline unsigned get_u16(const char *at)
{
    const uint8_t *two = (const uint8_t *)at;
    return (unsigned)two[0] << 8 | two[1];
}
