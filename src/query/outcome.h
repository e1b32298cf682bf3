#pragma once
/*
 * outcome.h - what the loss of a server leaves open if it has not answered a SQL text.
 *
 * Looks at the first word, whether a SELECT may have an INTO, and whether another statement may
 * follow.  Errs on the side of "unknown" but for SELECT: a function that it calls may write.
 */
#include "base/compiler.h"
#include "base/span.h"

#include <endian.h>

/* The text may have written, if it is a transaction of its own. */
#define QUERY_OPEN_WRITE ((uint8_t)1)
/* The text may have committed the open transaction. */
#define QUERY_OPEN_COMMIT ((uint8_t)2)

/** Returns a set of these.  The text may be followed by a NUL and more. */
uint8_t query_outcome_of(struct span text);

/** Returns whether no transaction is open behind this text, whatever comes of it, and it reads no
 *  COPY data.  `open`: a transaction is open in front of it.  False: not known.  Errs on the side
 * of false. */
bool query_is_last(struct span text, bool open);

/** Returns whether the first word of the text is SELECT, behind any blanks and parentheses. */
bool query_is_select(struct span text);

/** Whether the text begins with SELECT and a blank; in a few instructions. */
static inline bool outcome_selects(struct span text)
{
    static const uint8_t select[8] = "select ";
    uint64_t begin, word, folded = UINT64_C(0x0020202020202020);
    if (BYTE_ORDER != LITTLE_ENDIAN || UNLIKELY(text.size < sizeof(begin)))
        return false;
    memcpy(&begin, text.at, sizeof(begin));
    memcpy(&word, select, sizeof(word));
    return ((begin | folded) & UINT64_C(0x00ffffffffffffff)) == word;
}
