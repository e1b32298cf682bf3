/*
 * top_table.c - the rows of one SHOW, found by the names of their columns.
 */
#include "cli/top_parts.h"
#include "wire/message.h"

#include <stdlib.h>

#define NULL_CELL UINT32_MAX

void top_table_fini(struct top_table *table)
{
    buffer_fini(&table->text);
    buffer_fini(&table->cells);
}

static void cell_add(struct top_table *table, struct span text, bool null)
{
    uint32_t at = null ? NULL_CELL : (uint32_t)table->text.size;
    buffer_append(&table->cells, &at, sizeof(at));
    if (null)
        return;
    buffer_append_span(&table->text, text);
    buffer_append_byte(&table->text, 0);
}

static fault table_fault(const struct top_table *table)
{
    TRY(buffer_fault(&table->text));
    return buffer_fault(&table->cells);
}

fault top_table_head(struct top_table *table, struct span body)
{
    struct wire_reader in = wire_reader_over(body);
    uint16_t count = wire_get_u16(&in);
    if (table->columns != 0 || count == 0 || count > TOP_COLUMNS_MAX)
        return fault_raise(FAULT_PROTOCOL,
                           "the console sent a result of %u columns; accepted: 1 "
                           "to %u",
                           count, TOP_COLUMNS_MAX);
    for (uint16_t i = 0; i < count; i++) {
        cell_add(table, wire_get_string(&in), false);
        (void)wire_get_bytes(&in, 18); /* table, attribute, type, size, modifier, format */
    }
    table->columns = count;
    TRY(wire_done(&in));
    return table_fault(table);
}

fault top_table_add(struct top_table *table, struct span body)
{
    struct wire_reader in = wire_reader_over(body);
    uint16_t count = wire_get_u16(&in);
    if (count == 0 || count != table->columns)
        return fault_raise(FAULT_PROTOCOL, "the console sent a row of %u columns; announced: %u",
                           count, table->columns);
    for (uint16_t i = 0; i < count; i++) {
        uint32_t size = wire_get_u32(&in);
        bool null = size == UINT32_MAX;
        cell_add(table, null ? SPAN_NONE : wire_get_bytes(&in, size), null);
    }
    TRY(wire_done(&in));
    TRY(table_fault(table));
    table->rows += 1;
    return OK;
}

/* The cell at this place; names of columns are row 0. */
static const char *cell_at(const struct top_table *table, uint32_t row, uint32_t column)
{
    uint32_t at;
    size_t place = ((size_t)row * table->columns + column) * sizeof(at);
    memcpy(&at, table->cells.at + place, sizeof(at));
    return at == NULL_CELL ? NULL : (const char *)table->text.at + at;
}

int top_table_column(const struct top_table *table, const char *name)
{
    for (uint32_t i = 0; i < table->columns; i++)
        if (strcmp(cell_at(table, 0, i), name) == 0)
            return (int)i;
    return -1;
}

const char *top_table_cell(const struct top_table *table, uint32_t row, int column)
{
    if (column < 0 || row >= table->rows)
        return NULL;
    return cell_at(table, row + 1, (uint32_t)column);
}

bool top_table_number(const struct top_table *table, uint32_t row, int column, double *ret)
{
    const char *text = top_table_cell(table, row, column);
    char *end;
    if (text == NULL || *text == '\0')
        return false;
    double number = strtod(text, &end);
    if (*end != '\0' || !__builtin_isfinite(number))
        return false;
    *ret = number;
    return true;
}

/* --- readings --------------------------------------------------------------------------------- */

const char *const top_view_names[TOP_VIEWS] = {
    [TOP_VIEW_POOLS] = "POOLS",
    [TOP_VIEW_STATS] = "STATS_TOTALS",
    [TOP_VIEW_RELAYS] = "RELAYS",
    [TOP_VIEW_HISTOGRAMS] = "HISTOGRAMS",
    [TOP_VIEW_BACKENDS] = "BACKENDS",
    [TOP_VIEW_RESOLVERS] = "RESOLVERS",
    [TOP_VIEW_SERVICES] = "SERVICES",
    [TOP_VIEW_SLOTS] = "SLOTS",
    /* Claims that hold a server are as many as clients at work: they are left out. */
    [TOP_VIEW_CLAIMS] = "CLAIMS WHERE state = 'waiting' ORDER BY age_ms DESC LIMIT 100",
};

struct top_reading *top_reading_new(void)
{
    struct top_reading *reading = calloc(1, sizeof(*reading));
    if (reading != NULL)
        for (size_t i = 0; i < TOP_VIEWS; i++)
            reading->tables[i] = TOP_TABLE_INIT;
    return reading;
}

void top_reading_free(struct top_reading **reading)
{
    if (*reading == NULL)
        return;
    for (size_t i = 0; i < TOP_VIEWS; i++)
        top_table_fini(&(*reading)->tables[i]);
    free(*reading);
    *reading = NULL;
}
