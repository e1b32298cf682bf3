#pragma once
/*
 * message.h - PostgreSQL protocol 3.0: the frame of a message, reading its fields, building one.
 *
 * Pure: no socket, no clock, no heap of its own.  Spans point into the bytes they were read from.
 * Source: PostgreSQL 15 manual, chapter 55 "Frontend/Backend Protocol".
 */
#include "base/buffer.h"

/* Message types, by direction.  The same letter may mean two things. */
enum wire_client_type {
    WIRE_BIND = 'B',
    WIRE_CLOSE = 'C',
    WIRE_COPY_DATA = 'd', /* both directions */
    WIRE_COPY_DONE = 'c', /* both directions */
    WIRE_COPY_FAIL = 'f',
    WIRE_DESCRIBE = 'D',
    WIRE_EXECUTE = 'E',
    WIRE_FLUSH = 'H',
    WIRE_FUNCTION_CALL = 'F',
    WIRE_PARSE = 'P',
    WIRE_PASSWORD = 'p', /* also SASL and GSS responses */
    WIRE_QUERY = 'Q',
    WIRE_SYNC = 'S',
    WIRE_TERMINATE = 'X',
};
enum wire_server_type {
    WIRE_AUTHENTICATION = 'R',
    WIRE_BACKEND_KEY = 'K',
    WIRE_BIND_COMPLETE = '2',
    WIRE_CLOSE_COMPLETE = '3',
    WIRE_COMMAND_COMPLETE = 'C',
    WIRE_COPY_IN = 'G',
    WIRE_COPY_OUT = 'H',
    WIRE_COPY_BOTH = 'W',
    WIRE_DATA_ROW = 'D',
    WIRE_EMPTY_QUERY = 'I',
    WIRE_ERROR = 'E',
    WIRE_FUNCTION_RESULT = 'V',
    WIRE_NEGOTIATE = 'v',
    WIRE_NO_DATA = 'n',
    WIRE_NOTICE = 'N',
    WIRE_NOTIFICATION = 'A',
    WIRE_PARAMETER_DESCRIPTION = 't',
    WIRE_PARAMETER_STATUS = 'S',
    WIRE_PARSE_COMPLETE = '1',
    WIRE_PORTAL_SUSPENDED = 's',
    WIRE_READY = 'Z',
    WIRE_ROW_DESCRIPTION = 'T',
};

/* ReadyForQuery's status byte. */
enum wire_transaction { WIRE_TX_IDLE = 'I', WIRE_TX_ACTIVE = 'T', WIRE_TX_FAILED = 'E' };

/* The secret of a cancel key: 4 bytes in protocol 3.0 and 3.1, 4 to 256 in 3.2. */
#define WIRE_SECRET_MIN 4u
#define WIRE_SECRET_MAX 256u
struct wire_secret {
    uint16_t size; /* 0: none */
    uint8_t at[WIRE_SECRET_MAX];
};
static inline struct span wire_secret_span(const struct wire_secret *secret)
{
    return (struct span){secret->at, secret->size};
}
/** Copies `secret`, which has at most WIRE_SECRET_MAX bytes. */
void wire_secret_keep(struct wire_secret *into, struct span secret);

/* Bytes of a message header: the type and the length.  Every message but the startup packet has
 * one. */
#define WIRE_HEADER 5

static inline uint16_t wire_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}
static inline uint32_t wire_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}
static inline void wire_store_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}
static inline void wire_store_u32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

struct wire_frame {
    uint8_t type;
    struct span body; /* after the length */
};

/** Removes the first whole message from `rest` and writes it to `ret`.  Faults: AGAIN (the message
 *  is incomplete), PROTOCOL (its length is below 4 or above `max` bytes). */
fault wire_next_frame(struct span *rest, uint32_t max, struct wire_frame *ret) MUST_USE;

/* --- reading fields: after the first failure a reader returns zeros --------------------------- */

struct wire_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};
struct wire_reader wire_reader_over(struct span body);
uint8_t wire_get_u8(struct wire_reader *in);
uint16_t wire_get_u16(struct wire_reader *in);
uint32_t wire_get_u32(struct wire_reader *in);
/** Reads a string up to its NUL.  Skips the NUL, which is not part of the span. */
struct span wire_get_text(struct wire_reader *in);
/** The same, quicker for a name: most are empty. */
static inline struct span wire_get_string(struct wire_reader *in)
{
    return in->at != in->end && in->at[0] == 0 ? span_of(in->at++, 0) : wire_get_text(in);
}
struct span wire_get_bytes(struct wire_reader *in, size_t size);
struct span wire_get_rest(struct wire_reader *in);
/** Returns OK if no read overran and no bytes are left; PROTOCOL otherwise. */
fault wire_done(const struct wire_reader *in) MUST_USE;

/* --- building: appends to a buffer; check buffer_fault() once at the end ---------------------- */

/** Appends the type and room for the length.  Returns the offset at which the message starts. */
size_t wire_begin(struct buffer *out, uint8_t type);
void wire_put_u8(struct buffer *out, uint8_t value);
void wire_put_u16(struct buffer *out, uint16_t value);
void wire_put_u32(struct buffer *out, uint32_t value);
/** Appends `text` and a NUL.  Cuts `text` at its first NUL. */
void wire_put_string(struct buffer *out, struct span text);
void wire_put_text(struct buffer *out, const char *text);
void wire_put_bytes(struct buffer *out, struct span bytes);
/** Fills in the length of the message that starts at `start`. */
void wire_end(struct buffer *out, size_t start);

/* Whole small messages. */
void wire_put_ready(struct buffer *out, enum wire_transaction status);
void wire_put_empty(struct buffer *out, uint8_t type); /* type and length 4 */
void wire_put_parameter_status(struct buffer *out, struct span name, struct span value);
void wire_put_backend_key(struct buffer *out, uint32_t pid, struct span secret);
void wire_put_command_complete(struct buffer *out, const char *tag);
void wire_put_query(struct buffer *out, struct span text);
void wire_put_authentication(struct buffer *out, uint32_t kind, struct span rest);
