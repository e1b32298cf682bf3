/*
 * top_print.c - a frame as JSON or as plain text.
 */
#include "cli/top_parts.h"

/* --- JSON ------------------------------------------------------------------------------------- */

/* Characters that a terminal must not get are escaped, though JSON would allow most of them. */
static void put_string(struct buffer *out, const char *text)
{
    char bytes[4];
    buffer_append_byte(out, '"');
    while (*text != '\0') {
        const char *again = text;
        uint32_t point = top_text_decode(&text);
        uint32_t shown = top_text_next(&again);
        if (point == '"' || point == '\\')
            buffer_printf(out, "\\%c", (char)point);
        else if (point == shown && point != TOP_REPLACEMENT)
            buffer_append(out, bytes, top_text_encode(point, bytes));
        else if (point < 0x10000)
            buffer_printf(out, "\\u%04x", point);
        else
            buffer_printf(out, "\\u%04x\\u%04x", 0xD800 + ((point - 0x10000) >> 10),
                          0xDC00 + ((point - 0x10000) & 0x3FF));
    }
    buffer_append_byte(out, '"');
}

/* Durations are in microseconds, rates per second. */
static void put_value(struct buffer *out, const struct top_value *value)
{
    if (!value->known)
        buffer_append_text(out, "null");
    else if (value->text != NULL)
        put_string(out, value->text);
    else if (value->number > -1e15 && value->number < 1e15 &&
             value->number == (double)(int64_t)value->number)
        buffer_printf(out, "%.0f", value->number);
    else
        buffer_printf(out, "%.3f", value->number);
}

/* The name with its unit: "claims/s" is "claims_per_s", durations end in _us. */
static void put_key(struct buffer *out, const char *name, enum top_kind kind)
{
    const char *slash = strchr(name, '/');
    buffer_printf(out, "\"%.*s", slash == NULL ? (int)strlen(name) : (int)(slash - name), name);
    if (slash != NULL)
        buffer_append_text(out, kind == TOP_BYTES ? "_bytes_per_s" : "_per_s");
    else if (kind == TOP_US || kind == TOP_MS || kind == TOP_S)
        buffer_append_text(out, "_us");
    else if (kind == TOP_PERCENT)
        buffer_append_text(out, "_percent");
    else if (kind == TOP_SIZE)
        buffer_append_text(out, "_bytes");
    buffer_append_text(out, "\": ");
}

static void put_panel(struct buffer *out, const struct top_panel *panel)
{
    buffer_printf(out, ", \"%s\": [", panel->kind->name);
    for (uint32_t row = 0; row < panel->rows; row++) {
        buffer_append_text(out, row == 0 ? "{" : ", {");
        for (size_t i = 0; i < panel->column_count; i++) {
            const struct top_column *column = &panel->kind->columns[panel->columns[i]];
            if (i > 0)
                buffer_append_text(out, ", ");
            put_key(out, column->name, column->kind);
            put_value(out, top_frame_value(panel, row, i));
        }
        buffer_append_byte(out, '}');
    }
    buffer_append_byte(out, ']');
}

void top_print_json(const struct top_frame *frame, const char *where, int64_t at_s,
                    struct buffer *out)
{
    buffer_printf(out, "{\"time\": %lld, \"interval_us\": %lld, \"server\": ", (long long)at_s,
                  (long long)frame->interval.us);
    put_string(out, where);
    buffer_append_text(out, ", \"version\": ");
    put_string(out, frame->version);
    buffer_append_text(out, ", \"totals\": {");
    for (size_t i = 0; i < TOP_TOTALS; i++) {
        if (i > 0)
            buffer_append_text(out, ", ");
        put_key(out, top_total_kinds[i].name, top_total_kinds[i].kind);
        put_value(out, &frame->totals[i]);
    }
    buffer_append_byte(out, '}');
    for (size_t i = 0; i < TOP_PANELS; i++)
        if (frame->panels[i].column_count > 0)
            put_panel(out, &frame->panels[i]);
    buffer_append_text(out, "}\n");
}

/* --- text ------------------------------------------------------------------------------------- */

#define WIDTH_OF_TEXT 240u /* if the output is no terminal */

fault top_print_text(const struct top_frame *frame, struct top_look *look, uint32_t width,
                     struct buffer *out)
{
    struct top_grid grid;
    TRY(top_grid_init(&grid, top_layout_height(frame, look), width > 0 ? width : WIDTH_OF_TEXT));
    top_layout(frame, look, &grid);
    for (uint32_t row = 0; row + 1 < grid.height; row++) {
        top_grid_text(&grid, row, out);
        buffer_append_byte(out, '\n');
    }
    top_grid_fini(&grid);
    return buffer_fault(out);
}
