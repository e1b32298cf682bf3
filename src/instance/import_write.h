#pragma once
/*
 * import_write.h - writes PgBouncer's values as YAML. Private to the import.
 */
#include "instance/import.h"

/** Appends a scalar, in quotes if YAML would give it another meaning. */
void import_put_text(struct buffer *out, const char *value);
/** Appends "key: value" and a newline, after `indent` blanks. */
void import_put_line(struct buffer *out, int indent, const char *key, const char *value);
/** Appends the row's setting with PgBouncer's value. */
void import_put_setting(struct buffer *out, int indent, const struct import_row *row,
                        const char *value);
/** Takes the next name of a list separated by commas or blanks; returns false if there is none.
 *  Names are cut to `size`, the size of `ret`. */
bool import_next_name(const char **list, char *ret, size_t size);
