/*
 * top_rows.c - which rows of a panel are shown, in which order, and how their values are written.
 */
#include "cli/top_parts.h"

#include <stdio.h>
#include <stdlib.h>

/* --- values ----------------------------------------------------------------------------------- */

/* Scales a number to four digits and a unit. */
static void print_scaled(char *text, double number, const char *const *units, double step)
{
    size_t unit = 0;
    while (number >= 9999.5 && units[unit + 1] != NULL) {
        number /= step;
        unit++;
    }
    int digits = unit > 0 && number < 99.95 ? 1 : 0;
    snprintf(text, TOP_VALUE_SIZE, "%.*f%s", digits, number, units[unit]);
}

static void print_duration(char *text, double us)
{
    if (us < 999.5)
        snprintf(text, TOP_VALUE_SIZE, "%.0fus", us);
    else if (us < 999.5e3)
        snprintf(text, TOP_VALUE_SIZE, "%.*fms", us < 99.95e3 ? 1 : 0, us / 1e3);
    else if (us < 599.5e6)
        snprintf(text, TOP_VALUE_SIZE, "%.*fs", us < 99.95e6 ? 1 : 0, us / 1e6);
    else if (us < 5999.5 * 60e6)
        snprintf(text, TOP_VALUE_SIZE, "%.0fmin", us / 60e6);
    else
        snprintf(text, TOP_VALUE_SIZE, "%.0fh", us / 3600e6);
}

const char *top_value_text(const struct top_value *value, enum top_kind kind,
                           char text[TOP_VALUE_SIZE])
{
    static const char *const numbers[] = {"", "k", "M", "G", "T", "P", "E", NULL};
    static const char *const bytes[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB", NULL};
    if (value->text != NULL)
        return value->text;
    snprintf(text, TOP_VALUE_SIZE, "-");
    if (!value->known)
        return text;
    switch (kind) {
    case TOP_NAME:
        break;
    case TOP_COUNT:
        print_scaled(text, value->number, numbers, 1000);
        break;
    case TOP_RATE:
        if (value->number > 0 && value->number < 9.95)
            snprintf(text, TOP_VALUE_SIZE, "%.1f", value->number);
        else
            print_scaled(text, value->number, numbers, 1000);
        break;
    case TOP_BYTES:
    case TOP_SIZE:
        print_scaled(text, value->number, bytes, 1024);
        break;
    case TOP_PERCENT:
        snprintf(text, TOP_VALUE_SIZE, "%.1f%%", value->number);
        break;
    case TOP_US:
    case TOP_MS:
    case TOP_S:
        print_duration(text, value->number);
        break;
    }
    return text;
}

/* --- rows ------------------------------------------------------------------------------------- */

static bool row_matches(const struct top_panel *panel, uint32_t row, const char *filter)
{
    if (filter[0] == '\0')
        return true;
    for (size_t i = 0; i < panel->column_count; i++) {
        const struct top_value *value = top_frame_value(panel, row, i);
        if (value->text != NULL && top_text_has(value->text, filter))
            return true;
    }
    return false;
}

struct ordering {
    const struct top_panel *panel;
    int place; /* of the column among those that the panel has; -1: by nothing */
    bool descending;
};

/* Unknown values sort last, in either order. */
static int compare_values(const struct top_value *a, const struct top_value *b, bool descending)
{
    if (a->known != b->known)
        return a->known ? -1 : 1;
    int order;
    if (a->text != NULL && b->text != NULL)
        order = strcmp(a->text, b->text);
    else
        order = a->number < b->number ? -1 : a->number > b->number;
    return descending ? -order : order;
}

/* Rows that are equal in the column are sorted by their keys, so that they don't change places. */
static int compare_rows(const void *left, const void *right, void *argument)
{
    const struct ordering *ordering = argument;
    const struct top_panel *panel = ordering->panel;
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    if (ordering->place < 0)
        return a < b ? -1 : a > b;
    size_t place = (size_t)ordering->place;
    int order = compare_values(top_frame_value(panel, a, place), top_frame_value(panel, b, place),
                               ordering->descending);
    for (size_t i = 0; order == 0 && i < panel->column_count; i++)
        if (panel->kind->columns[panel->columns[i]].key)
            order =
                compare_values(top_frame_value(panel, a, i), top_frame_value(panel, b, i), false);
    return order != 0 ? order : a < b ? -1 : a > b;
}

static int place_of(const struct top_panel *panel, int column)
{
    for (size_t i = 0; i < panel->column_count; i++)
        if ((int)panel->columns[i] == column)
            return (int)i;
    return -1;
}

uint32_t *top_rows_choose(const struct top_panel *panel, const struct top_look *look,
                          enum top_panel_id id, uint32_t *ret_count)
{
    uint32_t *rows = calloc((size_t)panel->rows + 1, sizeof(*rows));
    *ret_count = 0;
    if (rows == NULL)
        return NULL;
    for (uint32_t row = 0; row < panel->rows; row++)
        if (row_matches(panel, row, look->filter))
            rows[(*ret_count)++] = row;
    struct ordering ordering = {panel, place_of(panel, look->sort[id]), look->descending[id]};
    qsort_r(rows, *ret_count, sizeof(*rows), compare_rows, &ordering);
    return rows;
}
