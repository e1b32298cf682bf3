/*
 * top_grid.c - a grid of cells that texts are drawn into: a terminal without a terminal.
 */
#include "cli/top_parts.h"

#include <stdlib.h>

#define GRID_CELLS_MAX ((uint64_t)64 * 1024 * 1024 / sizeof(struct top_cell))

fault top_grid_init(struct top_grid *grid, uint32_t height, uint32_t width)
{
    uint64_t cells = (uint64_t)height * width;
    *grid = (struct top_grid){.height = height, .width = width};
    if (cells == 0)
        return OK;
    if (cells > GRID_CELLS_MAX || (grid->cells = calloc(cells, sizeof(*grid->cells))) == NULL)
        return fault_raise(FAULT_MEMORY, "no memory for %u lines of %u columns", height, width);
    for (uint64_t i = 0; i < cells; i++)
        grid->cells[i].point = ' ';
    return OK;
}

void top_grid_fini(struct top_grid *grid)
{
    free(grid->cells);
    *grid = (struct top_grid){.height = 0};
}

uint32_t top_grid_put(struct top_grid *grid, uint32_t row, uint32_t column, uint32_t width,
                      const char *text, enum top_style style)
{
    if (row >= grid->height || column >= grid->width)
        return 0;
    struct top_cell *cells = &grid->cells[(size_t)row * grid->width + column];
    uint32_t used = 0;
    width = MIN_OF(width, grid->width - column);
    while (*text != '\0') {
        uint32_t point = top_text_next(&text);
        uint32_t wide = (uint32_t)top_text_width(point);
        if (wide == 0) {
            if (used > 0 && cells[used - 1].point != 0)
                cells[used - 1].mark = point;
            continue;
        }
        if (used + wide > width)
            break;
        cells[used] = (struct top_cell){.point = point, .style = (uint8_t)style};
        if (wide == 2)
            cells[used + 1] = (struct top_cell){.point = 0, .style = (uint8_t)style};
        used += wide;
    }
    return used;
}

void top_grid_put_right(struct top_grid *grid, uint32_t row, uint32_t column, uint32_t width,
                        const char *text, enum top_style style)
{
    uint32_t wide = top_text_columns(text);
    uint32_t blank = wide < width ? width - wide : 0;
    (void)top_grid_put(grid, row, column + blank, width - blank, text, style);
}

void top_grid_style(struct top_grid *grid, uint32_t row, enum top_style style)
{
    for (uint32_t i = 0; row < grid->height && i < grid->width; i++)
        grid->cells[(size_t)row * grid->width + i].style = (uint8_t)style;
}

void top_grid_text(const struct top_grid *grid, uint32_t row, struct buffer *out)
{
    const struct top_cell *cells = &grid->cells[(size_t)row * grid->width];
    uint32_t end = grid->width;
    char bytes[4];
    while (end > 0 && cells[end - 1].point == ' ' && cells[end - 1].mark == 0)
        end--;
    for (uint32_t i = 0; i < end; i++) {
        if (cells[i].point != 0)
            buffer_append(out, bytes, top_text_encode(cells[i].point, bytes));
        if (cells[i].mark != 0)
            buffer_append(out, bytes, top_text_encode(cells[i].mark, bytes));
    }
}
