/*
 * top_keys.c - what a key does to the screen.  Pure.
 */
#include "cli/top_parts.h"

#define PAGE         10u
#define CTRL(letter) ((letter) - '@')

/* --- the filter ------------------------------------------------------------------------------- */

static void filter_add(struct top_look *look, uint32_t point)
{
    char bytes[4];
    size_t size = strlen(look->filter), more = top_text_encode(point, bytes);
    if (point < ' ' || point == 127 || size + more >= sizeof(look->filter))
        return;
    memcpy(look->filter + size, bytes, more);
    look->filter[size + more] = '\0';
}

static void filter_take_back(struct top_look *look)
{
    size_t size = strlen(look->filter);
    while (size > 0 && ((unsigned char)look->filter[size - 1] & 0xC0) == 0x80)
        size--;
    look->filter[size > 0 ? size - 1 : 0] = '\0';
}

static void filter_press(struct top_look *look, enum top_key key, uint32_t point)
{
    switch (key) {
    case TOP_KEY_ENTER:
        look->typing = false;
        break;
    case TOP_KEY_ESCAPE:
        look->typing = false;
        look->filter[0] = '\0';
        break;
    case TOP_KEY_BACKSPACE:
        filter_take_back(look);
        break;
    case TOP_KEY_TEXT:
        if (point == CTRL('U'))
            look->filter[0] = '\0';
        else
            filter_add(look, point);
        break;
    default:
        break;
    }
    look->scroll = 0;
}

/* --- panels, order, interval ------------------------------------------------------------------ */

static void focus_move(struct top_look *look, const struct top_frame *frame, int step)
{
    for (int i = 1; i <= TOP_PANELS; i++) {
        int next = ((int)look->focus + i * step + i * TOP_PANELS) % TOP_PANELS;
        if (frame == NULL || frame->panels[next].column_count == 0)
            continue;
        look->focus = (enum top_panel_id)next;
        look->scroll = 0;
        return;
    }
}

/* Sorts by the next column that the panel has. */
static void sort_move(struct top_look *look, const struct top_frame *frame, int step)
{
    if (frame == NULL || frame->panels[look->focus].column_count == 0)
        return;
    const struct top_panel *panel = &frame->panels[look->focus];
    int count = (int)panel->column_count, place = -1;
    for (int i = 0; i < count; i++)
        if ((int)panel->columns[i] == look->sort[look->focus])
            place = i;
    if (place < 0)
        place = step > 0 ? 0 : count - 1;
    else
        place = (place + step + count) % count;
    size_t column = panel->columns[place];
    look->sort[look->focus] = (int)column;
    look->descending[look->focus] = panel->kind->columns[column].kind != TOP_NAME;
}

static void interval_change(struct top_look *look, bool longer)
{
    static const int64_t steps_ms[] = {100,   200,   500,   1000,   2000,   5000,
                                       10000, 30000, 60000, 300000, 3600000};
    const size_t last = ARRAY_SIZE(steps_ms) - 1;
    size_t i = longer ? 0 : last;
    if (longer)
        while (i < last && ms(steps_ms[i]).us <= look->interval.us)
            i++;
    else
        while (i > 0 && ms(steps_ms[i]).us >= look->interval.us)
            i--;
    look->interval = ms(steps_ms[i]);
}

static void letter_press(struct top_look *look, const struct top_frame *frame, uint32_t point)
{
    switch (point) {
    case 'q':
    case CTRL('C'):
        look->quit = true;
        break;
    case 'p':
    case ' ':
        look->paused = !look->paused;
        look->refresh = !look->paused;
        break;
    case 'h':
    case '?':
        look->help = true;
        break;
    case '/':
        look->typing = true;
        break;
    case 'r':
        look->descending[look->focus] = !look->descending[look->focus];
        break;
    case '<':
        sort_move(look, frame, -1);
        break;
    case '>':
        sort_move(look, frame, 1);
        break;
    case '+':
    case '=':
        interval_change(look, true);
        break;
    case '-':
        interval_change(look, false);
        break;
    case 'u':
        look->refresh = true;
        break;
    default:
        break;
    }
}

void top_keys_press(struct top_look *look, const struct top_frame *frame, enum top_key key,
                    uint32_t point)
{
    if (key == TOP_KEY_TEXT && point == CTRL('C')) {
        look->quit = true;
        return;
    }
    if (look->help) {
        look->help = false;
        return;
    }
    if (look->typing) {
        filter_press(look, key, point);
        return;
    }
    switch (key) {
    case TOP_KEY_TEXT:
        letter_press(look, frame, point);
        break;
    case TOP_KEY_UP:
        look->scroll -= look->scroll > 0;
        break;
    case TOP_KEY_DOWN:
        look->scroll += 1;
        break;
    case TOP_KEY_PAGE_UP:
        look->scroll -= MIN_OF(look->scroll, PAGE);
        break;
    case TOP_KEY_PAGE_DOWN:
        look->scroll += PAGE;
        break;
    case TOP_KEY_HOME:
        look->scroll = 0;
        break;
    case TOP_KEY_LEFT:
    case TOP_KEY_RIGHT:
        sort_move(look, frame, key == TOP_KEY_LEFT ? -1 : 1);
        break;
    case TOP_KEY_TAB:
    case TOP_KEY_BACK_TAB:
        focus_move(look, frame, key == TOP_KEY_TAB ? 1 : -1);
        break;
    case TOP_KEY_ESCAPE:
        look->filter[0] = '\0';
        break;
    case TOP_KEY_ENTER:
    case TOP_KEY_BACKSPACE:
        break;
    }
}
