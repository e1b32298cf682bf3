#pragma once
/*
 * table.h - an interface to write rows independently of their output (the console, a test, JSON).
 *
 * The module whose state is shown declares its columns and writes cells in that order; `struct
 * table_sink` is the output.  Writing never fails and never suspends: a sink that runs out of
 * memory records that itself.
 */
#include "base/span.h"

enum column_type { COLUMN_TEXT, COLUMN_INT4, COLUMN_INT8, COLUMN_NUMERIC, COLUMN_BOOL };

struct column {
    const char *name;
    enum column_type type;
};

struct table_sink {
    void (*begin)(struct table_sink *sink, const struct column *columns, size_t count);
    /* Writes the next cell of the current row; `null` cells have an empty span. */
    void (*cell)(struct table_sink *sink, struct span text, bool null);
    void (*end_row)(struct table_sink *sink);
};

static inline void table_begin(struct table_sink *sink, const struct column *columns, size_t count)
{
    sink->begin(sink, columns, count);
}

static inline void table_end_row(struct table_sink *sink)
{
    sink->end_row(sink);
}

void table_text(struct table_sink *sink, const char *text); /* NULL writes a null cell */
void table_span(struct table_sink *sink, struct span text);
void table_int(struct table_sink *sink, int64_t value);
void table_bool(struct table_sink *sink, bool value);
void table_null(struct table_sink *sink);
