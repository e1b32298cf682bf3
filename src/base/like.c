#include "base/like.h"

/* Compares one element of a pattern with one byte; *size is the element's length. */
static bool element_matches(struct span pattern, uint8_t byte, size_t *size)
{
    bool escaped = pattern.at[0] == '\\' && pattern.size > 1;
    *size = escaped ? 2 : 1;
    return (!escaped && pattern.at[0] == '_') || pattern.at[*size - 1] == byte;
}

/* Behind each % the rest is tried further on until it matches. */
bool span_like(struct span text, struct span pattern)
{
    struct span retry_text = SPAN_NONE, retry_pattern = SPAN_NONE;
    bool retry = false;
    size_t size;
    while (text.size > 0) {
        if (pattern.size > 0 && pattern.at[0] == '%') {
            pattern = retry_pattern = span_skip(pattern, 1);
            retry_text = text;
            retry = true;
        } else if (pattern.size > 0 && element_matches(pattern, text.at[0], &size)) {
            pattern = span_skip(pattern, size);
            text = span_skip(text, 1);
        } else if (retry) {
            retry_text = text = span_skip(retry_text, 1);
            pattern = retry_pattern;
        } else {
            return false;
        }
    }
    while (pattern.size > 0 && pattern.at[0] == '%')
        pattern = span_skip(pattern, 1);
    return pattern.size == 0;
}
