#pragma once
/*
 * uuid.h - version 7 UUIDs (RFC 9562): milliseconds of wall time, then random bits.
 *
 * Pure: the caller passes the time and the random bytes (machine/ids.h does both).
 */
#include "base/span.h"
#include "base/time.h"

struct uuid {
    uint8_t bytes[16];
};

/* Size of the text form with hyphens, NUL included. */
#define UUID_TEXT_SIZE 37

struct uuid uuid_make(instant now, const uint8_t random[10]);
/** Writes 36 lower-case characters and a NUL; returns `text`. */
const char *uuid_text(const struct uuid *uuid, char text[UUID_TEXT_SIZE]);
