#include "base/table.h"

#include <inttypes.h>
#include <stdio.h>

void table_text(struct table_sink *sink, const char *text)
{
    sink->cell(sink, span_text(text), text == NULL);
}

void table_span(struct table_sink *sink, struct span text)
{
    sink->cell(sink, text, false);
}

void table_int(struct table_sink *sink, int64_t value)
{
    char text[24];
    int size = snprintf(text, sizeof(text), "%" PRId64, value);
    sink->cell(sink, span_of(text, (size_t)size), false);
}

void table_bool(struct table_sink *sink, bool value)
{
    sink->cell(sink, value ? SPAN("t") : SPAN("f"), false);
}

void table_null(struct table_sink *sink)
{
    sink->cell(sink, SPAN_NONE, true);
}
