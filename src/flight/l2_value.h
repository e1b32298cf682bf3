#pragma once
/*
 * l2_value.h - the form in which an answer lies in Redis.
 *
 * Other programs may write there, and a value may be cut or of another version.  So a value is read
 * only if all of it is sound: form, checksum, the whole key, and the messages one by one.  Pure;
 * any thread.  Design: docs/internals/flight.md
 */
#include "base/buffer.h"
#include "flight/answer.h"

/* The longest value; longer answers are not put into the second tier. */
#define L2_VALUE_MAX 8388608u

/* Spans borrow from the bytes that were read. */
struct l2_value {
    uint64_t epoch;            /* of the cache, when the execution began */
    int64_t made;              /* before the execution was sent: microseconds of Redis's clock */
    struct answer_shape shape; /* what the clients are told of the statement */
    uint32_t described;        /* bytes of the RowDescription, with which the messages begin */
    struct span key;           /* all that the answer depends on */
    struct span messages;
    uint8_t *plain; /* owned: the messages, if they lay there compressed; else NULL */
};

/* Why a value is not used. */
enum l2_flaw {
    L2_SOUND,
    L2_MALFORMED, /* another form, or other messages than an answer has */
    L2_VERSION,   /* written by another version of the daemon */
    L2_CHECKSUM,  /* changed since it was written */
    L2_OTHER_KEY, /* the digests of two keys are equal */
    L2_FLAWS,
};

/** Appends a value whose messages are the whole answer.  `compress_min`: messages of so many bytes
 *  are compressed, if that makes them shorter by an eighth; 0: none are.  False: it is longer than
 *  L2_VALUE_MAX, or the buffer's fault says what failed. */
bool l2_value_put(const struct l2_value *value, struct answer *answer, uint64_t compress_min,
                  struct buffer *out);
/** Reads a value of this key.  A sound one needs l2_value_fini. */
enum l2_flaw l2_value_read(struct span bytes, struct span key, struct l2_value *ret);
void l2_value_fini(struct l2_value *value);
/** Makes the answer of a sound value; the caller owns it, and it is complete.  NULL: it is longer
 *  than `result_max`, or there is no memory. */
struct answer *l2_value_answer(const struct l2_value *value, struct answer_memory *memory,
                               uint64_t result_max);
