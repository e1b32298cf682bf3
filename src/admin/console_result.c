/*
 * console_result.c - result rows: a sink whose cells become DataRow messages at once.
 *
 * Cells arrive as text.  If a client asked for binary format, a number is converted to PostgreSQL's
 * binary form: some drivers (asyncpg, pgx) always ask for that.
 */
#include "admin/console_parts.h"

#include <stdlib.h>

#define CELL_NULL UINT32_MAX

struct type {
    uint32_t oid;
    uint16_t size; /* for RowDescription; 0xffff: varies */
};

static const struct type types[] = {
    [COLUMN_TEXT] = {25, 0xffff},      [COLUMN_INT4] = {23, 4}, [COLUMN_INT8] = {20, 8},
    [COLUMN_NUMERIC] = {1700, 0xffff}, [COLUMN_BOOL] = {16, 1},
};

/* --- one cell --------------------------------------------------------------------------------- */

static int64_t number_of(struct span text)
{
    char copy[24];
    size_t size = MIN_OF(text.size, sizeof(copy) - 1);
    memcpy(copy, text.at, size);
    copy[size] = '\0';
    return strtoll(copy, NULL, 10);
}

static void put_u64(struct buffer *out, uint64_t value)
{
    wire_put_u32(out, (uint32_t)(value >> 32));
    wire_put_u32(out, (uint32_t)value);
}

/* Writes a whole number as digits of base 10000, the highest first. */
static void put_numeric(struct buffer *out, int64_t value)
{
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    uint16_t digits[5];
    uint16_t count = 0;
    for (; rest > 0; rest /= 10000)
        digits[count++] = (uint16_t)(rest % 10000);
    wire_put_u32(out, 8u + 2u * count);
    wire_put_u16(out, count);
    wire_put_u16(out, count == 0 ? 0 : (uint16_t)(count - 1)); /* weight of the first digit */
    wire_put_u16(out, value < 0 ? 0x4000 : 0);
    wire_put_u16(out, 0);
    while (count > 0)
        wire_put_u16(out, digits[--count]);
}

static void put_binary(struct buffer *out, enum column_type type, struct span text)
{
    switch (type) {
    case COLUMN_INT4:
        wire_put_u32(out, 4);
        wire_put_u32(out, (uint32_t)number_of(text));
        return;
    case COLUMN_INT8:
        wire_put_u32(out, 8);
        put_u64(out, (uint64_t)number_of(text));
        return;
    case COLUMN_NUMERIC:
        put_numeric(out, number_of(text));
        return;
    case COLUMN_BOOL:
        wire_put_u32(out, 1);
        wire_put_u8(out, span_is(text, "t"));
        return;
    default:
        wire_put_u32(out, (uint32_t)text.size);
        wire_put_bytes(out, text);
    }
}

/* --- the sink --------------------------------------------------------------------------------- */

static struct console_result *result_of(struct table_sink *sink)
{
    return CONTAINER_OF(sink, struct console_result, sink);
}

/* Checks that a producer in a lower layer declares the same columns as the console. */
static void result_begin(struct table_sink *sink, const struct column *columns, size_t count)
{
    const struct console_result *result = result_of(sink);
    invariant(count == result->column_count);
    for (size_t i = 0; i < count; i++)
        costly_invariant(strcmp(columns[i].name, result->columns[i].name) == 0);
}

static void result_cell(struct table_sink *sink, struct span text, bool null)
{
    struct console_result *result = result_of(sink);
    struct buffer *rows = &result->rows;
    invariant(result->cell < result->column_count);
    size_t column = result->cell++;
    if (result->sieve != NULL) {
        console_sieve_cell(result->sieve, text, null);
        return;
    }
    if (rows->failed != OK)
        return;
    if (column == 0) {
        result->row_start = wire_begin(rows, WIRE_DATA_ROW);
        wire_put_u16(rows, (uint16_t)result->column_count);
    }
    if (null)
        wire_put_u32(rows, CELL_NULL);
    else if ((result->binary >> column & 1) != 0)
        put_binary(rows, result->columns[column].type, text);
    else
        put_binary(rows, COLUMN_TEXT, text); /* text is its own binary form */
}

static void result_end_row(struct table_sink *sink)
{
    struct console_result *result = result_of(sink);
    invariant(result->cell == result->column_count);
    result->cell = 0;
    if (result->sieve != NULL) {
        console_sieve_row(result->sieve, result->columns);
        return;
    }
    if (result->rows.failed != OK)
        return;
    wire_end(&result->rows, result->row_start);
    result->count += 1;
}

void console_result_init(struct console_result *result, const struct console_column *columns,
                         size_t count, uint64_t binary)
{
    invariant(count <= CONSOLE_COLUMNS_MAX);
    *result = (struct console_result){
        .sink = {.begin = result_begin, .cell = result_cell, .end_row = result_end_row},
        .columns = columns,
        .column_count = count,
        .binary = binary,
        .rows = BUFFER_INIT(CONSOLE_ROWS_MAX),
    };
}

void console_result_fini(struct console_result *result)
{
    buffer_fini(&result->rows);
}

fault console_result_fault(const struct console_result *result)
{
    fault failed = buffer_fault(&result->rows);
    if (failed == FAULT_LIMIT)
        return fault_raise(FAULT_LIMIT, "the result exceeds %zu MiB", CONSOLE_ROWS_MAX >> 20);
    return failed;
}

bool console_result_take(struct console_result *result, uint32_t max, struct span *ret)
{
    struct span rest = span_skip(buffer_span(&result->rows), result->sent);
    size_t size = rest.size;
    if (max > 0) {
        for (size = 0; size < rest.size && max > 0; max--)
            size += 1 + wire_u32(rest.at + size + 1);
    }
    *ret = span_of(rest.at, size);
    result->sent += size;
    return result->sent < result->rows.size;
}

/* --- their description ------------------------------------------------------------------------ */

void console_put_columns(struct buffer *out, const struct console_column *columns, size_t count,
                         uint64_t binary)
{
    if (count == 0) {
        wire_put_empty(out, WIRE_NO_DATA);
        return;
    }
    size_t start = wire_begin(out, WIRE_ROW_DESCRIPTION);
    wire_put_u16(out, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        const struct type *type = &types[columns[i].type];
        wire_put_text(out, columns[i].name);
        wire_put_u32(out, 0); /* of no table */
        wire_put_u16(out, 0);
        wire_put_u32(out, type->oid);
        wire_put_u16(out, type->size);
        wire_put_u32(out, UINT32_MAX); /* no type modifier */
        wire_put_u16(out, (uint16_t)(binary >> i & 1));
    }
    wire_end(out, start);
}
