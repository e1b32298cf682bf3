#pragma once
/*
 * ini.h - files of sections and `key = value` lines, as PgBouncer reads them.
 *
 * A line is a section's name in brackets, a setting, a comment (`;` or `#` first), empty, or
 * `%include FILE`, which is read in its place; FILE is relative to where the program was started,
 * or else to the file that names it.  Values are taken as they are, without the blanks around them.
 * The entries own their texts.  Nothing here suspends: it is for the command line.
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

/** Reads the file.  What is wrong goes to `problems`, a line each: FAULT_INVALID then; SYSTEM: the
 *  file can't be read, with the story.  To be freed either way. */
fault ini_read(const char *path, struct ini *ret, struct buffer *problems) MUST_USE;
void ini_free(struct ini *ini);
/** The last setting of this key in the section, which counts; NULL: there is none. */
struct ini_entry *ini_find(const struct ini *ini, const char *section, const char *key);
