#include "wire/message.h"

static_assert(WIRE_HEADER == 1 + sizeof(uint32_t), "the type, then the length");

fault wire_next_frame(struct span *rest, uint32_t max, struct wire_frame *ret)
{
    if (rest->size < WIRE_HEADER)
        return FAULT_AGAIN;
    uint32_t length = wire_u32(rest->at + 1);
    if (length < 4 || length > max)
        return FAULT_PROTOCOL;
    if (rest->size - 1 < length)
        return FAULT_AGAIN;
    ret->type = rest->at[0];
    ret->body = span_of(rest->at + WIRE_HEADER, length - 4);
    *rest = span_skip(*rest, (size_t)length + 1);
    return OK;
}

struct wire_reader wire_reader_over(struct span body)
{
    static const uint8_t nothing[1];
    const uint8_t *at = body.at != NULL ? body.at : nothing;
    invariant(body.at != NULL || body.size == 0);
    return (struct wire_reader){.at = at, .end = at + body.size};
}

static size_t wire_left(const struct wire_reader *in)
{
    invariant(in->at <= in->end);
    return (size_t)(in->end - in->at);
}

/* Takes `size` bytes.  Returns NULL and fails the reader if fewer are left. */
static const uint8_t *wire_take(struct wire_reader *in, size_t size)
{
    if (in->failed || size > wire_left(in)) {
        in->failed = true;
        in->at = in->end;
        return NULL;
    }
    const uint8_t *at = in->at;
    in->at += size;
    return at;
}

uint8_t wire_get_u8(struct wire_reader *in)
{
    const uint8_t *at = wire_take(in, 1);
    return at == NULL ? 0 : at[0];
}

uint16_t wire_get_u16(struct wire_reader *in)
{
    const uint8_t *at = wire_take(in, 2);
    return at == NULL ? 0 : wire_u16(at);
}

uint32_t wire_get_u32(struct wire_reader *in)
{
    const uint8_t *at = wire_take(in, 4);
    return at == NULL ? 0 : wire_u32(at);
}

struct span wire_get_text(struct wire_reader *in)
{
    const uint8_t *end = memchr(in->at, 0, wire_left(in));
    size_t size = end == NULL ? wire_left(in) : (size_t)(end - in->at);
    const uint8_t *at = wire_take(in, size + 1);
    return at == NULL ? SPAN_NONE : span_of(at, size);
}

struct span wire_get_bytes(struct wire_reader *in, size_t size)
{
    const uint8_t *at = wire_take(in, size);
    return at == NULL ? SPAN_NONE : span_of(at, size);
}

struct span wire_get_rest(struct wire_reader *in)
{
    return wire_get_bytes(in, wire_left(in));
}

fault wire_done(const struct wire_reader *in)
{
    return in->failed || wire_left(in) > 0 ? FAULT_PROTOCOL : OK;
}

size_t wire_begin(struct buffer *out, uint8_t type)
{
    const uint8_t header[WIRE_HEADER] = {type};
    size_t start = out->size;
    buffer_append(out, header, sizeof(header));
    return start;
}

void wire_put_u8(struct buffer *out, uint8_t value)
{
    buffer_append_byte(out, value);
}

void wire_put_u16(struct buffer *out, uint16_t value)
{
    uint8_t bytes[2];
    wire_store_u16(bytes, value);
    buffer_append(out, bytes, sizeof(bytes));
}

void wire_put_u32(struct buffer *out, uint32_t value)
{
    uint8_t bytes[4];
    wire_store_u32(bytes, value);
    buffer_append(out, bytes, sizeof(bytes));
}

void wire_put_string(struct buffer *out, struct span text)
{
    const uint8_t *nul = text.size == 0 ? NULL : memchr(text.at, 0, text.size);
    if (nul != NULL)
        text.size = (size_t)(nul - text.at);
    buffer_append_span(out, text);
    buffer_append_byte(out, 0);
}

void wire_put_text(struct buffer *out, const char *text)
{
    buffer_append(out, text, strlen(text) + 1);
}

void wire_put_bytes(struct buffer *out, struct span bytes)
{
    buffer_append_span(out, bytes);
}

void wire_end(struct buffer *out, size_t start)
{
    if (buffer_fault(out) != OK)
        return;
    invariant(out->size >= WIRE_HEADER && start <= out->size - WIRE_HEADER);
    size_t length = out->size - start - 1;
    if (length > INT32_MAX) {
        out->failed = FAULT_LIMIT;
        return;
    }
    wire_store_u32(out->at + start + 1, (uint32_t)length);
}

void wire_put_ready(struct buffer *out, enum wire_transaction status)
{
    size_t start = wire_begin(out, WIRE_READY);
    wire_put_u8(out, (uint8_t)status);
    wire_end(out, start);
}

void wire_put_empty(struct buffer *out, uint8_t type)
{
    size_t start = wire_begin(out, type);
    wire_end(out, start);
}

void wire_put_parameter_status(struct buffer *out, struct span name, struct span value)
{
    size_t start = wire_begin(out, WIRE_PARAMETER_STATUS);
    wire_put_string(out, name);
    wire_put_string(out, value);
    wire_end(out, start);
}

void wire_put_backend_key(struct buffer *out, uint32_t pid, struct span secret)
{
    size_t start = wire_begin(out, WIRE_BACKEND_KEY);
    wire_put_u32(out, pid);
    wire_put_bytes(out, secret);
    wire_end(out, start);
}

void wire_secret_keep(struct wire_secret *into, struct span secret)
{
    invariant(secret.size <= sizeof(into->at));
    into->size = (uint16_t)secret.size;
    if (secret.size > 0)
        memcpy(into->at, secret.at, secret.size);
}

void wire_put_command_complete(struct buffer *out, const char *tag)
{
    size_t start = wire_begin(out, WIRE_COMMAND_COMPLETE);
    wire_put_text(out, tag);
    wire_end(out, start);
}

void wire_put_query(struct buffer *out, struct span text)
{
    size_t start = wire_begin(out, WIRE_QUERY);
    wire_put_string(out, text);
    wire_end(out, start);
}

void wire_put_authentication(struct buffer *out, uint32_t kind, struct span rest)
{
    size_t start = wire_begin(out, WIRE_AUTHENTICATION);
    wire_put_u32(out, kind);
    wire_put_bytes(out, rest);
    wire_end(out, start);
}
