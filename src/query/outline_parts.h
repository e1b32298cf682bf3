#pragma once
/* outline_parts.h - a SQL text without its constants, as it is shown to administrators. */
#include "base/buffer.h"
#include "query/analysis.h"

/** Appends the text with $n for each constant, without comments, cut at the buffer's limit.  Of a
 *  text with other statements than SELECT, INSERT, UPDATE, DELETE and MERGE only the commands are
 *  appended, of a text that is not parsed nothing: constants may be passwords.  Faults: MEMORY. */
fault query_show_text(struct span text, const struct query_analysis *analysis,
                      struct buffer *ret) MUST_USE;
