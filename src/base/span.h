#pragma once
/*
 * span.h - a pointer to borrowed bytes with their count.
 *
 * A span never owns memory; the function that returns one documents how long it is valid.  The
 * bytes may include NUL and are not terminated.
 */
#include "base/compiler.h"

#include <string.h>
#include <strings.h>

struct span {
    const uint8_t *at;
    size_t size;
};
static_assert(sizeof(struct span) == 16, "a span travels in two registers");

#define SPAN(literal) ((struct span){(const uint8_t *)("" literal), sizeof(literal) - 1})
#define SPAN_NONE     ((struct span){NULL, 0})
/* For printf's "%.*s". */
#define SPAN_ARG(span) (int)(span).size, (const char *)(span).at

static inline struct span span_of(const void *at, size_t size)
{
    return (struct span){(const uint8_t *)at, size};
}

/* The text without its NUL; NULL gives the empty span. */
static inline struct span span_text(const char *text)
{
    return text == NULL ? SPAN_NONE : span_of(text, strlen(text));
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.at, b.at, a.size) == 0);
}

static inline bool span_is(struct span a, const char *text)
{
    return span_equal(a, span_text(text));
}

static inline bool span_starts(struct span a, struct span prefix)
{
    return a.size >= prefix.size && (prefix.size == 0 || memcmp(a.at, prefix.at, prefix.size) == 0);
}

/* Removes the first `count` bytes; all of them if the span is shorter. */
static inline struct span span_skip(struct span a, size_t count)
{
    if (count > a.size)
        count = a.size;
    return (struct span){a.at + count, a.size - count};
}

/* Compares without ASCII case; for keywords and setting names, never for user data. */
static inline bool span_is_nocase(struct span a, const char *text)
{
    return a.size == strlen(text) && strncasecmp((const char *)a.at, text, a.size) == 0;
}
