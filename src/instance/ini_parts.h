#pragma once
/*
 * ini_parts.h - reads files of sections and `key = value` lines, as PgBouncer does.
 *
 * A line is a section's name in brackets, a setting, a comment (`;` or `#` first), empty, or
 * `%include FILE`, which is read in its place.  FILE is relative to the current directory, or else
 * to the file that names it.  Values are stored without the blanks around them.  Entries own their
 * texts.  For the command line only: nothing suspends.
 */
#include "base/buffer.h"

struct ini_entry {
    char *section;
    char *key;
    char *value;
    char *file;
    uint32_t line; /* from 1 */
};

struct ini {
    struct ini_entry *entries; /* in the order of the file */
    size_t count;
};

/** Reads the file.  Problems go to `problems`, one line each.  Faults: INVALID (there were
 *  problems), SYSTEM (the file can't be read, with the detail).  The caller frees *ret in either
 *  case. */
fault ini_read(const char *path, struct ini *ret, struct buffer *problems) MUST_USE;
void ini_free(struct ini *ini);
/** Returns the last setting of this key in the section, which overrides earlier ones; NULL:
 *  none. */
struct ini_entry *ini_find(const struct ini *ini, const char *section, const char *key);
