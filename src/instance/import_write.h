#pragma once
/*
 * import_write.h - values of PgBouncer, written as YAML.  Private to the import.
 */
#include "instance/import.h"

/** A scalar; quoted where YAML would take it for something else. */
void import_put_text(struct buffer *out, const char *value);
/** "key: value" and a line's end, behind so many blanks. */
void import_put_line(struct buffer *out, int indent, const char *key, const char *value);
/** The row's setting with PgBouncer's value. */
void import_put_setting(struct buffer *out, int indent, const struct import_row *row,
                        const char *value);
/** The next name of a list with commas or blanks between; false: there is none.  `size`: of
 *  `ret`, which names are cut to. */
bool import_next_name(const char **list, char *ret, size_t size);
