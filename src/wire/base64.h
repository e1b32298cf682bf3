#pragma once
/*
 * base64.h - base64 with padding (RFC 4648, section 4), for SCRAM only; private to
 * wire/.
 *
 * Strict: rejects blanks, missing padding and stray bits, so that each byte string has one text.
 */
#include "base/span.h"

#define WIRE_BASE64_SIZE(bytes) (((bytes) + 2) / 3 * 4)

/** Writes WIRE_BASE64_SIZE(bytes.size) characters and a NUL.  Returns their number without the
 *  NUL. */
size_t wire_base64_encode(struct span bytes, char *text);
/** Decodes `text` into at most `max` bytes.  Returns false if `text` is malformed or decodes to
 *  more; `ret` may be overwritten even so. */
bool wire_base64_decode(struct span text, uint8_t *ret, size_t max, size_t *ret_size) MUST_USE;
