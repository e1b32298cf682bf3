#pragma once
/* json_view.h - members of JSON that is known to be well-formed, found in place. */
#include "base/span.h"

/* Behind the value that begins here. */
static const uint8_t *json_skip(const uint8_t *at)
{
    unsigned depth = 0;
    bool quoted = false;
    for (;; at++) {
        if (quoted) {
            if (*at == '\\')
                at += 1;
            else
                quoted = *at != '"';
        } else if (*at == '"') {
            quoted = true;
        } else if (*at == '{' || *at == '[') {
            depth += 1;
            continue;
        } else if (*at == '}' || *at == ']') {
            if (depth == 0)
                return at;
            depth -= 1;
        } else if (*at == ',' && depth == 0) {
            return at;
        } else {
            continue;
        }
        if (depth == 0 && !quoted &&
            (at[1] == ',' || at[1] == '}' || at[1] == ']' || at[1] == '\0'))
            return at + 1;
    }
}

/* The members of an object, or the elements of an array (without a name), one after the other. */
struct json_walk {
    const uint8_t *at;
    struct span name;
    struct span value;
};

static struct json_walk json_begin(struct span value)
{
    bool parts = value.size > 0 && (value.at[0] == '{' || value.at[0] == '[');
    return (struct json_walk){.at = parts ? value.at + 1 : NULL};
}

static bool json_next(struct json_walk *walk)
{
    if (walk->at == NULL || *walk->at == '}' || *walk->at == ']')
        return false;
    walk->name = SPAN_NONE;
    if (*walk->at == '"') {
        const uint8_t *end = json_skip(walk->at);
        const uint8_t *close = walk->at + 1;
        while (*close != '"')
            close += *close == '\\' ? 2 : 1;
        if (close[1] == ':') {
            walk->name = span_of(walk->at + 1, (size_t)(close - walk->at) - 1);
            walk->at = close + 2;
        } else {
            close = end;
        }
    }
    const uint8_t *end = json_skip(walk->at);
    walk->value = span_of(walk->at, (size_t)(end - walk->at));
    walk->at = *end == ',' ? end + 1 : end;
    return true;
}

/* The value of a member; empty where there is none. */
static struct span json_member(struct span object, const char *name)
{
    struct json_walk walk = json_begin(object);
    while (json_next(&walk))
        if (span_is(walk.name, name))
            return walk.value;
    return SPAN_NONE;
}

/* A text without its quotes; escapes as they stand. */
static struct span json_text(struct span value)
{
    return value.size >= 2 && value.at[0] == '"' ? span_of(value.at + 1, value.size - 2)
                                                 : SPAN_NONE;
}

static struct span json_member_text(struct span object, const char *name)
{
    return json_text(json_member(object, name));
}
