#pragma once
/*
 * number.h - whole numbers as servers write them in a row's text form.
 *
 * Pure.  The whole text is the number: no blanks, no sign but where one is named.
 */
#include "base/span.h"

/** Reads the digits of a number to the base 10 or 16.  False: there is none, there is something
 * else beside it, or it needs more than 64 bits; *ret is unchanged then. */
bool number_read(struct span text, unsigned base, uint64_t *ret);
/** The same of a decimal bigint, which may begin with a minus; *ret has its bits. */
bool number_read_bigint(struct span text, uint64_t *ret);
