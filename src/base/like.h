#pragma once
/* like.h - patterns as of SQL's LIKE. */
#include "base/span.h"

/** Whether a text matches a pattern, byte by byte: % is any bytes, _ one byte, \\ escapes. */
bool span_like(struct span text, struct span pattern);
