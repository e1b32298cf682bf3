/*
 * top_layout.c - draws a frame into a grid: a head, the panels below each other, a line of keys.
 *
 * Pure: no terminal.  Panels share the lines: each gets its title, its heading and a row first, the
 * focused panel then what it wants, the others the rest in their order.  Columns that do not fit
 * are left out from the right.
 */
#include "cli/top_parts.h"

#include <stdio.h>
#include <stdlib.h>

#define HEAD_LINES  5u
#define WIDTH_LEAST 80u /* for names that are wider, if the screen is narrow */
#define NAME_NARROW 20u /* columns of a name on such a screen */
#define NAME_WIDE   60u

void top_look_init(struct top_look *look, const struct top_options *options, const char *where)
{
    *look = (struct top_look){.interval = options->interval, .where = where};
    snprintf(look->filter, sizeof(look->filter), "%s", options->filter);
    for (size_t i = 0; i < TOP_PANELS; i++) {
        look->sort[i] = top_panel_kinds[i].sort;
        look->descending[i] = top_panel_kinds[i].descending;
    }
}

/* --- the head --------------------------------------------------------------------------------- */

/* Writes "name value" and returns the next column. */
static uint32_t put_total(struct top_grid *grid, uint32_t row, uint32_t column,
                          const struct top_frame *frame, enum top_total_id id, const char *name)
{
    char text[TOP_VALUE_SIZE];
    const struct top_value *value = &frame->totals[id];
    bool alarm =
        value->known && value->number > 0 && (id == TOP_TOTAL_WAITING || id == TOP_TOTAL_FAILED);
    column += top_grid_put(grid, row, column, UINT32_MAX, name, TOP_DIM) + 1;
    column += top_grid_put(grid, row, column, UINT32_MAX,
                           top_value_text(value, top_total_kinds[id].kind, text),
                           alarm ? TOP_ALARM : TOP_BOLD);
    return column + 2;
}

struct head_item {
    uint8_t row;
    const char *lead; /* text before the first item of a group; NULL: none */
    const char *name;
    enum top_total_id id;
};

static const struct head_item head_items[] = {
    {1, NULL, "clients", TOP_TOTAL_CLIENTS},
    {1, NULL, "servers", TOP_TOTAL_SERVERS},
    {1, NULL, "waiting", TOP_TOTAL_WAITING},
    {1, NULL, "oldest", TOP_TOTAL_OLDEST_WAIT},
    {1, NULL, "received/s", TOP_TOTAL_RECEIVED},
    {1, NULL, "sent/s", TOP_TOTAL_SENT},
    {2, NULL, "claims/s", TOP_TOTAL_CLAIMS},
    {2, NULL, "transactions/s", TOP_TOTAL_TRANSACTIONS},
    {2, NULL, "queries/s", TOP_TOTAL_QUERIES},
    {2, NULL, "logins/s", TOP_TOTAL_LOGINS},
    {3, "wait ", "p50", TOP_TOTAL_WAIT_P50},
    {3, NULL, "p99", TOP_TOTAL_WAIT_P99},
    {3, "query ", "p50", TOP_TOTAL_QUERY_P50},
    {3, NULL, "p99", TOP_TOTAL_QUERY_P99},
    {3, "xact ", "p50", TOP_TOTAL_TRANSACTION_P50},
    {3, NULL, "p99", TOP_TOTAL_TRANSACTION_P99},
    {4, "slots: ", "connecting", TOP_TOTAL_CONNECTING},
    {4, NULL, "idle", TOP_TOTAL_IDLE},
    {4, NULL, "claimed", TOP_TOTAL_CLAIMED},
    {4, NULL, "recycling", TOP_TOTAL_RECYCLING},
    {4, NULL, "checking", TOP_TOTAL_CHECKING},
    {4, NULL, "failed", TOP_TOTAL_FAILED},
};

static void draw_title(const struct top_frame *frame, const struct top_look *look,
                       struct top_grid *grid)
{
    char text[2 * TOP_TEXT_SIZE];
    int size = snprintf(text, sizeof(text), "trunkline top  %s  every %.*f s", look->where,
                        look->interval.us % 1000000 == 0 ? 0 : 1, (double)look->interval.us / 1e6);
    if (frame != NULL && size > 0 && (size_t)size < sizeof(text))
        snprintf(text + size, sizeof(text) - (size_t)size, "  %s", frame->version);
    uint32_t used = top_grid_put(grid, 0, 0, UINT32_MAX, text, TOP_BOLD);
    if (look->paused)
        (void)top_grid_put(grid, 0, used + 2, UINT32_MAX, "PAUSED", TOP_ALARM);
    if (look->problem[0] != '\0')
        (void)top_grid_put(grid, 1, 0, UINT32_MAX, look->problem, TOP_ALARM);
}

static void draw_head(const struct top_frame *frame, const struct top_look *look,
                      struct top_grid *grid)
{
    uint32_t row = 0, column = 0;
    draw_title(frame, look, grid);
    for (size_t i = 0; frame != NULL && i < ARRAY_SIZE(head_items); i++) {
        const struct head_item *item = &head_items[i];
        if (item->row == 1 && look->problem[0] != '\0')
            continue;
        if (item->row != row)
            column = 0;
        row = item->row;
        if (item->lead != NULL)
            column += top_grid_put(grid, row, column, UINT32_MAX, item->lead, TOP_DIM) +
                      (row == 3 ? 1 : 0);
        column = put_total(grid, row, column, frame, item->id, item->name);
    }
}

static void draw_foot(const struct top_look *look, struct top_grid *grid)
{
    char text[TOP_TEXT_SIZE + 64];
    if (grid->height == 0)
        return;
    if (look->typing)
        snprintf(text, sizeof(text), "filter: %s_", look->filter);
    else if (look->filter[0] != '\0')
        snprintf(text, sizeof(text), "filter: %s  (Esc ends it)", look->filter);
    else
        snprintf(text, sizeof(text),
                 "h help  q quit  p pause  / filter  Tab panel  < > sort  "
                 "r reverse  + - interval");
    (void)top_grid_put(grid, grid->height - 1, 0, UINT32_MAX, text,
                       look->typing ? TOP_BOLD : TOP_DIM);
}

/* --- a panel ---------------------------------------------------------------------------------- */

struct drawing {
    const struct top_panel *panel;
    const struct top_look *look;
    struct top_grid *grid;
    enum top_panel_id id;
    uint32_t *rows; /* those that match */
    uint32_t count;
    uint32_t lines; /* that it may use: the title, the heading, rows; 0: hidden */
    uint32_t widths[TOP_PANEL_COLUMNS];
    size_t shown; /* columns that fit */
};

static const struct top_column *column_of(const struct top_panel *panel, size_t place)
{
    return &panel->kind->columns[panel->columns[place]];
}

static void measure(struct drawing *drawing, uint32_t first, uint32_t rows)
{
    const struct top_panel *panel = drawing->panel;
    uint32_t name_max = drawing->grid->width <= WIDTH_LEAST ? NAME_NARROW : NAME_WIDE;
    uint32_t used = 1;
    char text[TOP_VALUE_SIZE];
    drawing->shown = 0;
    for (size_t i = 0; i < panel->column_count; i++) {
        const struct top_column *column = column_of(panel, i);
        uint32_t width = (uint32_t)strlen(column->name) + 1; /* and the mark of the order */
        for (uint32_t row = first; row < first + rows; row++) {
            const struct top_value *value = top_frame_value(panel, drawing->rows[row], i);
            width = MAX_OF(width, top_text_columns(top_value_text(value, column->kind, text)));
        }
        if (column->kind == TOP_NAME)
            width = MIN_OF(width, name_max);
        drawing->widths[i] = width;
        if (used + width > drawing->grid->width && i > 0)
            break;
        used += width + 1;
        drawing->shown = i + 1;
    }
}

static void put_cell(struct drawing *drawing, uint32_t line, uint32_t at, size_t place,
                     const char *text, enum top_style style)
{
    uint32_t width = drawing->widths[place];
    if (column_of(drawing->panel, place)->kind == TOP_NAME)
        (void)top_grid_put(drawing->grid, line, at, width, text, style);
    else
        top_grid_put_right(drawing->grid, line, at, width, text, style);
}

static void draw_heading(struct drawing *drawing, uint32_t line)
{
    const struct top_look *look = drawing->look;
    char text[64];
    top_grid_style(drawing->grid, line, TOP_HEADING);
    for (size_t i = 0, at = 1; i < drawing->shown; i++) {
        bool sorts = look->sort[drawing->id] == (int)drawing->panel->columns[i];
        snprintf(text, sizeof(text), "%s%s", column_of(drawing->panel, i)->name,
                 !sorts                          ? ""
                 : look->descending[drawing->id] ? "v"
                                                 : "^");
        put_cell(drawing, line, (uint32_t)at, i, text, TOP_HEADING);
        at += drawing->widths[i] + 1;
    }
}

static bool is_among(const char *word, const char *const *words)
{
    while (*words != NULL && strcmp(*words, word) != 0)
        words++;
    return *words != NULL;
}

/* Whether the value says that something is wrong. */
static bool is_alarm(const struct top_column *column, const struct top_value *value)
{
    static const char *const numbers[] = {"waiting",
                                          "oldest_wait",
                                          "failures",
                                          "down",
                                          "shed/s",
                                          "no_backends/s",
                                          "none_online/s",
                                          "all_used/s",
                                          "rejected/s",
                                          "checks_failed/s",
                                          NULL};
    static const char *const texts[] = {"offline",     "foreign", "no_backends",
                                        "none_online", "open",    NULL};
    if (value->text != NULL)
        return strcmp(column->name, "problem") == 0 || is_among(value->text, texts);
    return value->known && value->number > 0 && is_among(column->name, numbers);
}

static void draw_row(struct drawing *drawing, uint32_t line, uint32_t row)
{
    char text[TOP_VALUE_SIZE];
    for (size_t i = 0, at = 1; i < drawing->shown; i++) {
        const struct top_value *value = top_frame_value(drawing->panel, row, i);
        const struct top_column *column = column_of(drawing->panel, i);
        put_cell(drawing, line, (uint32_t)at, i, top_value_text(value, column->kind, text),
                 is_alarm(column, value) ? TOP_ALARM : TOP_PLAIN);
        at += drawing->widths[i] + 1;
    }
}

/* Draws the panel from this line on.  Returns the line after it. */
static uint32_t draw_panel(struct drawing *drawing, struct top_look *look, uint32_t line)
{
    char text[64];
    if (drawing->lines == 0)
        return line;
    uint32_t room = drawing->lines < 2 ? 0 : drawing->lines - 2;
    uint32_t shown = MIN_OF(room, drawing->count), first = 0;
    bool focused = look->focus == drawing->id;
    if (focused) {
        look->scroll = MIN_OF(look->scroll, drawing->count - shown);
        first = look->scroll;
    }
    if (shown == drawing->count)
        snprintf(text, sizeof(text), "%s (%u)", drawing->panel->kind->name, drawing->count);
    else
        snprintf(text, sizeof(text), "%s (%u-%u of %u)", drawing->panel->kind->name,
                 MIN_OF(first + 1, drawing->count), first + shown, drawing->count);
    (void)top_grid_put(drawing->grid, line, 0, UINT32_MAX, text, focused ? TOP_FOCUS : TOP_BOLD);
    if (focused)
        (void)top_grid_put(drawing->grid, line, (uint32_t)strlen(text) + 1, UINT32_MAX, "*",
                           TOP_FOCUS);
    measure(drawing, first, shown);
    if (drawing->lines >= 2)
        draw_heading(drawing, line + 1);
    for (uint32_t i = 0; i < shown; i++)
        draw_row(drawing, line + 2 + i, drawing->rows[first + i]);
    return line + drawing->lines;
}

/* --- all panels ------------------------------------------------------------------------------- */

/* Gives out lines: three for each panel while they last, beginning with the focused one, then what
 * it wants to the focused one, then the rest in order. */
static void share_lines(struct drawing drawings[TOP_PANELS], enum top_panel_id focus,
                        uint32_t lines)
{
    for (size_t i = 0; i < TOP_PANELS; i++) {
        struct drawing *drawing = &drawings[(focus + i) % TOP_PANELS];
        uint32_t least = drawing->count == 0 ? 2 : 3;
        if (drawing->panel == NULL || lines < least)
            continue;
        drawing->lines = least;
        lines -= least;
    }
    for (size_t i = 0; i <= TOP_PANELS; i++) {
        struct drawing *drawing = &drawings[i == 0 ? focus : i - 1];
        if (drawing->lines == 0)
            continue;
        uint32_t more = MIN_OF(lines, drawing->count + 2 - drawing->lines);
        drawing->lines += more;
        lines -= more;
    }
}

static void draw_panels(const struct top_frame *frame, struct top_look *look, struct top_grid *grid)
{
    struct drawing drawings[TOP_PANELS] = {{.panel = NULL}};
    uint32_t line = HEAD_LINES;
    for (size_t i = 0; i < TOP_PANELS; i++) {
        struct drawing *drawing = &drawings[i];
        if (frame->panels[i].column_count == 0)
            continue;
        *drawing = (struct drawing){
            .panel = &frame->panels[i], .look = look, .grid = grid, .id = (enum top_panel_id)i};
        drawing->rows =
            top_rows_choose(drawing->panel, look, (enum top_panel_id)i, &drawing->count);
    }
    if (grid->height > HEAD_LINES + 1)
        share_lines(drawings, look->focus, grid->height - HEAD_LINES - 1);
    for (size_t i = 0; i < TOP_PANELS; i++) {
        line = draw_panel(&drawings[i], look, line);
        free(drawings[i].rows);
    }
}

uint32_t top_layout_height(const struct top_frame *frame, const struct top_look *look)
{
    uint32_t height = HEAD_LINES + 1;
    for (size_t i = 0; i < TOP_PANELS; i++)
        if (frame->panels[i].column_count > 0)
            height += frame->panels[i].rows + 2;
    return height;
}

static void draw_help(struct top_grid *grid)
{
    static const char *const lines[] = {
        "q, Ctrl-C      quit",
        "p, space       pause, and go on",
        "/              filter: rows that contain the text; Enter keeps it, Esc ends it",
        "Tab, Shift-Tab next or previous panel: sorting and scrolling are about it",
        "<, >, arrows   sort by the column to the left or right",
        "r              reverse the order",
        "up, down, Page scroll the panel; Home: to its first row",
        "+, -           a longer or shorter interval",
        "u              read the console now",
        "h, ?           this help; any key ends it",
        "",
        "\"-\" is a value that is not known: a rate needs two readings of one daemon.",
        "p50 and p99 are of the latest interval.  cpu is of one processor.",
    };
    for (uint32_t i = 0; i < ARRAY_SIZE(lines); i++)
        (void)top_grid_put(grid, 2 + i, 2, UINT32_MAX, lines[i], TOP_PLAIN);
}

void top_layout(const struct top_frame *frame, struct top_look *look, struct top_grid *grid)
{
    if (look->help) {
        draw_title(frame, look, grid);
        for (uint32_t i = 0; i < grid->width && grid->height > 1; i++)
            grid->cells[grid->width + i] = (struct top_cell){.point = ' '};
        draw_help(grid);
        return;
    }
    draw_head(frame, look, grid);
    if (frame != NULL)
        draw_panels(frame, look, grid);
    draw_foot(look, grid);
}
