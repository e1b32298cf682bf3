#pragma once
/*
 * saslprep.h - the one spelling of a password that SCRAM hashes (RFC 4013), as pg_saslprep does it.
 */
#include "base/span.h"

/* Longest password that is prepared, NUL included; a longer one is taken as it is. */
#define WIRE_SASLPREP_MAX 4096

/** The prepared password, in `room`; `password` itself when it is ASCII, not UTF-8, forbidden,
 * empty once prepared, too long, or when this build has no libidn. */
struct span wire_saslprep(struct span password, char room[WIRE_SASLPREP_MAX]);
