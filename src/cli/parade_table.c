/* parade_table.c - prints a table whose columns are as wide as their widest cell. */
#include "cli/parade_parts.h"

#include <stdio.h>

#define COLUMNS_MAX 24

static struct span cell_at(const struct cli_parade_grid *grid, size_t index)
{
    const size_t *ends = (const size_t *)(const void *)grid->ends.at;
    size_t from = index > 0 ? ends[index - 1] : 0;
    return span_of(grid->bytes.at + from, ends[index] - from);
}

static size_t rows_of(const struct cli_parade_grid *grid)
{
    return grid->ends.size / sizeof(size_t) / grid->columns;
}

void cli_parade_grid_add(struct cli_parade_grid *grid, struct span cell)
{
    buffer_append_span(&grid->bytes, cell);
    buffer_append(&grid->ends, &grid->bytes.size, sizeof(grid->bytes.size));
}

void cli_parade_grid_init(struct cli_parade_grid *grid, const char *heads)
{
    *grid = (struct cli_parade_grid){.bytes = BUFFER_INIT(CLI_PARADE_GRID_MAX),
                                     .ends = BUFFER_INIT(CLI_PARADE_GRID_MAX)};
    while (*heads != '\0') {
        size_t size = strcspn(heads, " ");
        cli_parade_grid_add(grid, span_of(heads, size));
        heads += size;
        heads += *heads == ' ';
        grid->columns += 1;
    }
    invariant(grid->columns <= COLUMNS_MAX);
}

void cli_parade_grid_take(struct cli_parade_grid *grid, const char *first,
                          const struct parade_session *session)
{
    size_t columns = grid->columns - (first != NULL);
    for (uint32_t row = 0; row < parade_session_rows(session); row++) {
        if (first != NULL)
            cli_parade_grid_add(grid, span_text(first));
        for (uint32_t column = 0; column < columns; column++)
            cli_parade_grid_add(grid, parade_session_cell(session, row, column));
    }
}

/* --- printing --------------------------------------------------------------------------------- */

static bool is_number(struct span cell)
{
    for (size_t i = 0; i < cell.size; i++)
        if (strchr("0123456789.-~", cell.at[i]) == NULL)
            return false;
    return true;
}

/* Characters, not bytes: those of UTF-8 that begin one. */
static int width_of(struct span cell)
{
    int width = 0;
    for (size_t i = 0; i < cell.size; i++)
        width += (cell.at[i] & 0xc0) != 0x80;
    return width;
}

static void print_cell(struct span cell, int width, bool right, bool last)
{
    int blanks = width - width_of(cell);
    if (right)
        printf("%*s%.*s", blanks, "", SPAN_ARG(cell));
    else
        printf("%.*s%*s", SPAN_ARG(cell), last ? 0 : blanks, "");
    fputs(last ? "\n" : "  ", stdout);
}

static void print_rows(const struct cli_parade_grid *grid)
{
    size_t rows = rows_of(grid), columns = grid->columns;
    int widths[COLUMNS_MAX] = {0};
    bool numbers[COLUMNS_MAX];
    for (size_t column = 0; column < columns; column++) {
        numbers[column] = true;
        for (size_t row = 0; row < rows; row++) {
            struct span cell = cell_at(grid, row * columns + column);
            widths[column] = MAX_OF(widths[column], width_of(cell));
            numbers[column] = numbers[column] && (row == 0 || is_number(cell));
        }
    }
    for (size_t i = 0; i < rows * columns; i++) {
        size_t column = i % columns;
        print_cell(cell_at(grid, i), widths[column], numbers[column], column + 1 == columns);
    }
}

void cli_parade_grid_print(struct cli_parade_grid *grid)
{
    if (buffer_fault(&grid->bytes) == OK && buffer_fault(&grid->ends) == OK && rows_of(grid) > 1)
        print_rows(grid);
    buffer_fini(&grid->bytes);
    buffer_fini(&grid->ends);
}
