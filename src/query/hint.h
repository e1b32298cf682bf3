#pragma once
/*
 * hint.h - finds the hints to Trunkline in the comments of a SQL text.
 *
 * A hint is a comment that begins with `trunkline:`, in front of the first statement or behind the
 * last one.  What stands elsewhere, in a string or within another comment is none.  Pure, linear in
 * the text; takes any bytes.
 */
#include "base/span.h"

/* Hints of one text; further ones are not looked at. */
#define QUERY_HINTS_MAX 4u

/** Finds the hints of a text, which a NUL ends.  Writes what stands behind the colon, up to the end
 *  of the comment; returns how many there are. */
size_t query_hints(struct span text, struct span ret[QUERY_HINTS_MAX]);
/** Takes the next word off a hint: words are separated by blanks and commas.  False: there is none.
 */
bool query_hint_word(struct span *hint, struct span *ret);
