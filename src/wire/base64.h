#pragma once
/*
 * base64.h - base64 with padding (RFC 4648, section 4), for SCRAM only.
 *
 * Strict: no blanks, no missing padding, no stray bits, so that one run of bytes has one text.
 */
#include "base/span.h"

#define WIRE_BASE64_SIZE(bytes) (((bytes) + 2) / 3 * 4)

/** Writes WIRE_BASE64_SIZE(bytes.size) characters and a NUL; returns how many without it. */
size_t wire_base64_encode(struct span bytes, char *text);
/** False when it is malformed or longer than `most` bytes; `ret` may be written even so. */
bool wire_base64_decode(struct span text, uint8_t *ret, size_t max, size_t *ret_size) MUST_USE;
