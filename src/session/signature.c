#include "session/signature.h"

#include "wire/message.h"

#include <openssl/sha.h>

/* Bytes of a column behind its name: table and column number, 6; type, length and modifier, 10;
 * format, 2. */
#define COLUMN_ORIGIN 6u
#define COLUMN_TYPE   10u
#define COLUMN_BYTES  18u

struct digest digest_of(struct span bytes)
{
    uint8_t whole[SHA256_DIGEST_LENGTH];
    struct digest digest;
    SHA256(bytes.at, bytes.size, whole);
    memcpy(digest.bytes, whole, sizeof(digest.bytes));
    return digest;
}

/* Writes names, types, lengths and modifiers of a RowDescription's columns to `to`, which may
 * overlap their beginning.  Returns the end of what was written; NULL: malformed columns. */
static uint8_t *keep_columns(struct span columns, uint8_t *to)
{
    while (columns.size > 0) {
        const uint8_t *end = memchr(columns.at, '\0', columns.size);
        size_t name = end == NULL ? columns.size : (size_t)(end - columns.at) + 1;
        if (columns.size - name < COLUMN_BYTES)
            return NULL;
        memmove(to, columns.at, name);
        memmove(to + name, columns.at + name + COLUMN_ORIGIN, COLUMN_TYPE);
        to += name + COLUMN_TYPE;
        columns = span_skip(columns, name + COLUMN_BYTES);
    }
    return to;
}

bool signature_read(struct buffer *messages, struct signature *ret)
{
    struct span rest = buffer_span(messages);
    struct wire_frame parameters, row;
    bool good = buffer_fault(messages) == OK &&
                wire_next_frame(&rest, SIGNATURE_MAX, &parameters) == OK &&
                wire_next_frame(&rest, SIGNATURE_MAX, &row) == OK && rest.size == 0 &&
                parameters.type == WIRE_PARAMETER_DESCRIPTION;
    if (good)
        ret->whole = digest_of(buffer_span(messages));
    if (good && row.type == WIRE_ROW_DESCRIPTION && row.body.size >= 2) {
        uint8_t *columns = messages->at + (row.body.at - messages->at) + 2;
        uint8_t *end = keep_columns(span_of(columns, row.body.size - 2), columns);
        good = end != NULL;
        if (good)
            messages->size = (size_t)(end - messages->at);
    }
    if (good)
        ret->shape = digest_of(buffer_span(messages));
    buffer_fini(messages);
    return good;
}
