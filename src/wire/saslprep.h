#pragma once
/*
 * saslprep.h - SASLprep (RFC 4013): normalizes a password before SCRAM hashes it, as pg_saslprep;
 * private to wire/.
 */
#include "base/span.h"

/* Bytes of the longest password that is prepared, NUL included.  A longer password is used
 * unchanged. */
#define WIRE_SASLPREP_MAX 4096

/** Returns the prepared password, in `room`.  Returns `password` itself if it is ASCII, not UTF-8,
 *  has a NUL or a forbidden character, is empty after preparation or too long, or if this build has
 *  no libidn. */
struct span wire_saslprep(struct span password, char room[WIRE_SASLPREP_MAX]);
