/*
 * top_model.c - frames: the values of every panel, from two readings of the console.
 *
 * Pure.  A rate is the difference of a counter between two readings of one connection.  A counter
 * that went down was reset (a new daemon, a removed pool): its rate is unknown until the next
 * frame.
 */
#include "cli/top_parts.h"

#include <stdlib.h>

/* Where a row of the present table stands in the earlier one. */
struct matching {
    const struct top_table *now;
    const struct top_table *before; /* NULL: none */
    int keys_now[TOP_PANEL_COLUMNS];
    int keys_before[TOP_PANEL_COLUMNS];
    size_t keys;
    uint32_t next; /* rows mostly keep their order: the search starts here */
    double seconds;
};

static bool cells_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool rows_equal(const struct matching *matching, uint32_t now, uint32_t before)
{
    for (size_t i = 0; i < matching->keys; i++)
        if (!cells_equal(top_table_cell(matching->now, now, matching->keys_now[i]),
                         top_table_cell(matching->before, before, matching->keys_before[i])))
            return false;
    return true;
}

/* Finds the row of the earlier table with the same keys; -1: there is none. */
static int64_t row_before(struct matching *matching, uint32_t now)
{
    if (matching->before == NULL)
        return -1;
    uint32_t rows = matching->before->rows;
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t row = (matching->next + i) % rows;
        if (!rows_equal(matching, now, row))
            continue;
        matching->next = row + 1;
        return row;
    }
    return -1;
}

static void matching_init(struct matching *matching, const struct top_panel_kind *kind,
                          enum top_view view, const struct top_reading *now,
                          const struct top_reading *before)
{
    bool both = before != NULL && before->session == now->session && before->has[view];
    *matching =
        (struct matching){.now = &now->tables[view], .before = both ? &before->tables[view] : NULL};
    if (both)
        matching->seconds = (double)between(before->at[view], now->at[view]).us / 1e6;
    for (size_t i = 0; i < kind->count; i++) {
        const struct top_column *column = &kind->columns[i];
        int at = top_table_column(matching->now, column->source);
        if (!column->key || at < 0)
            continue;
        matching->keys_now[matching->keys] = at;
        matching->keys_before[matching->keys] =
            both ? top_table_column(matching->before, column->source) : -1;
        matching->keys += 1;
    }
}

/* The counter's growth per second; unknown if it was reset. */
static struct top_value rate_of(const struct matching *matching, const struct top_column *column,
                                uint32_t now, int64_t before)
{
    double from, to;
    if (before < 0 || matching->seconds <= 0 ||
        !top_table_number(matching->now, now, top_table_column(matching->now, column->source),
                          &to) ||
        !top_table_number(matching->before, (uint32_t)before,
                          top_table_column(matching->before, column->source), &from) ||
        to < from)
        return (struct top_value){.known = false};
    double rate = (to - from) / matching->seconds;
    return (struct top_value){.known = true,
                              .number = column->kind == TOP_PERCENT ? rate / 1e4 : rate};
}

static struct top_value level_of(const struct top_table *table, const struct top_column *column,
                                 uint32_t row)
{
    int at = top_table_column(table, column->source);
    const char *text = top_table_cell(table, row, at);
    struct top_value value = {.known = text != NULL};
    double more;
    if (column->kind == TOP_NAME) {
        value.text = text;
        return value;
    }
    value.known = top_table_number(table, row, at, &value.number);
    if (column->kind == TOP_MS)
        value.number *= 1e3;
    else if (column->kind == TOP_S)
        value.number *= 1e6;
    if (column->more != NULL &&
        top_table_number(table, row, top_table_column(table, column->more), &more))
        value.number += more;
    return value;
}

static bool counts(enum top_kind kind)
{
    return kind == TOP_RATE || kind == TOP_BYTES || kind == TOP_PERCENT;
}

static fault panel_fill(struct top_panel *panel, struct matching *matching)
{
    const struct top_panel_kind *kind = panel->kind;
    for (size_t i = 0; i < kind->count; i++)
        if (top_table_column(matching->now, kind->columns[i].source) >= 0)
            panel->columns[panel->column_count++] = i;
    uint32_t rows = panel->column_count == 0 ? 0 : matching->now->rows;
    if (rows == 0)
        return OK;
    panel->values = calloc((size_t)rows * panel->column_count, sizeof(*panel->values));
    if (panel->values == NULL)
        return fault_raise(FAULT_MEMORY, "no memory for %u rows of %s", rows, kind->name);
    panel->rows = rows;
    struct top_value *value = panel->values;
    for (uint32_t row = 0; row < rows; row++) {
        int64_t before = row_before(matching, row);
        for (size_t i = 0; i < panel->column_count; i++) {
            const struct top_column *column = &kind->columns[panel->columns[i]];
            *value++ = counts(column->kind) ? rate_of(matching, column, row, before)
                                            : level_of(matching->now, column, row);
        }
    }
    return OK;
}

fault top_frame_make(const struct top_reading *now, const struct top_reading *before,
                     struct top_frame *ret)
{
    fault result = OK;
    *ret = (struct top_frame){.version = now->version};
    if (before != NULL && before->session == now->session)
        ret->interval = between(before->at[TOP_VIEW_POOLS], now->at[TOP_VIEW_POOLS]);
    for (size_t i = 0; i < TOP_PANELS && result == OK; i++) {
        const struct top_panel_kind *kind = &top_panel_kinds[i];
        enum top_view view = now->has[kind->views[0]] ? kind->views[0] : kind->views[1];
        struct matching matching;
        ret->panels[i].kind = kind;
        if (!now->has[view])
            continue;
        matching_init(&matching, kind, view, now, before);
        result = panel_fill(&ret->panels[i], &matching);
    }
    if (result != OK) {
        top_frame_fini(ret);
        return result;
    }
    top_totals_fill(ret, now, before);
    return OK;
}

void top_frame_fini(struct top_frame *frame)
{
    for (size_t i = 0; i < TOP_PANELS; i++)
        free(frame->panels[i].values);
    *frame = (struct top_frame){.version = NULL};
}
