/*
 * top_screen.c - the grid on a terminal, by ncurses, and the keys.
 *
 * One thread with three coroutines: the first reads keys, the second reads the console, the third
 * takes signals.  Each of them draws; drawing never suspends.  The terminal is opened once more for
 * its keys, so that the shell's own descriptors stay blocking.
 */
#include "cli/top_parts.h"

#include "machine/clock.h"
#include "machine/co.h"
#include "machine/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define NCURSES_NOMACROS 1
#define NCURSES_WIDECHAR 1
#include <ncurses.h>

#define LOGIN_TIME   sec(10)
#define RETRY_LEAST  sec(1)
#define ESCAPE_DELAY 25 /* ms that an Escape may be the beginning of a key */

struct screen {
    const struct top_options *options;
    struct top_look look;
    struct top_link *link; /* NULL: not connected */
    struct top_reading *now;
    struct top_reading *before;
    struct top_frame frame;
    bool has_frame;
    bool is_utf8;
    FILE *in;
    SCREEN *terminal;
    struct stream keys;
    struct signals signals;
    struct co_group group;
    struct co *reader; /* of keys */
    struct co *asker;
};

/* --- drawing ---------------------------------------------------------------------------------- */

static attr_t attributes_of(uint8_t style)
{
    switch ((enum top_style)style) {
    case TOP_BOLD:
        return A_BOLD;
    case TOP_HEADING:
        return A_REVERSE;
    case TOP_FOCUS:
        return A_BOLD | A_UNDERLINE;
    case TOP_ALARM:
        return A_BOLD;
    case TOP_PLAIN:
    case TOP_DIM:
        return A_NORMAL;
    }
    return A_NORMAL;
}

static void put_cell(const struct screen *screen, int row, int column, const struct top_cell *cell)
{
    bool plain = screen->is_utf8 || cell->point < 0x80;
    wchar_t text[3] = {plain ? (wchar_t)cell->point : L'?',
                       screen->is_utf8 ? (wchar_t)cell->mark : 0, 0};
    short pair = cell->style == TOP_ALARM && has_colors() ? 1 : 0;
    cchar_t shown;
    if (setcchar(&shown, text, attributes_of(cell->style), pair, NULL) == OK)
        (void)mvadd_wch(row, column, &shown);
}

static void draw(struct screen *screen)
{
    struct top_grid grid;
    int height, width;
    getmaxyx(stdscr, height, width);
    if (height <= 0 || width <= 0 || top_grid_init(&grid, (uint32_t)height, (uint32_t)width) != OK)
        return;
    top_layout(screen->has_frame ? &screen->frame : NULL, &screen->look, &grid);
    (void)erase();
    for (int row = 0; row < height; row++)
        for (int column = 0; column < width; column++) {
            const struct top_cell *cell = &grid.cells[row * width + column];
            if (cell->point != 0 && (cell->point != ' ' || cell->style != TOP_PLAIN))
                put_cell(screen, row, column, cell);
        }
    (void)move(height - 1, width - 1);
    (void)refresh();
    top_grid_fini(&grid);
}

/* --- the terminal ----------------------------------------------------------------------------- */

static fault terminal_open(struct screen *screen)
{
    const char *path = ttyname(STDIN_FILENO);
    if (path == NULL || !isatty(STDOUT_FILENO))
        return fault_raise(FAULT_SYSTEM,
                           "standard input and output must be a terminal; for scripts "
                           "there are --once and --json");
    int handle = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (handle < 0 || (screen->in = fdopen(handle, "r")) == NULL) {
        fault failed =
            fault_raise(FAULT_SYSTEM, "cannot open %s: %s", path, strerrordesc_np(errno));
        if (handle >= 0)
            close(handle);
        return failed;
    }
    screen->terminal = newterm(NULL, stdout, screen->in);
    if (screen->terminal == NULL) {
        const char *type = getenv("TERM");
        return fault_raise(FAULT_SYSTEM, "cannot use a terminal of type %s",
                           type != NULL ? type : "\"\"");
    }
    (void)raw();
    (void)noecho();
    (void)nodelay(stdscr, TRUE);
    (void)keypad(stdscr, TRUE);
    (void)set_escdelay(ESCAPE_DELAY);
    (void)curs_set(0);
    if (has_colors() && start_color() == OK && use_default_colors() == OK)
        (void)init_pair(1, COLOR_RED, -1);
    screen->is_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    return stream_adopt(&screen->keys, dup(handle), false);
}

static void terminal_close(struct screen *screen)
{
    stream_close(&screen->keys);
    if (screen->terminal != NULL) {
        (void)endwin();
        delscreen(screen->terminal);
    }
    if (screen->in != NULL)
        (void)fclose(screen->in);
}

static void terminal_resize(struct screen *screen)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
        (void)resizeterm(size.ws_row, size.ws_col);
    (void)clearok(curscr, TRUE);
    draw(screen);
}

/* Stops the process as Ctrl-Z does, with the shell's terminal, until it is continued. */
static void terminal_suspend(struct screen *screen)
{
    (void)endwin();
    (void)raise(SIGSTOP);
    terminal_resize(screen);
}

/* --- the console ------------------------------------------------------------------------------ */

static void tell_problem(struct screen *screen, fault why)
{
    const char *detail = fault_detail(why);
    snprintf(screen->look.problem, sizeof(screen->look.problem), "not connected: %s", detail);
}

static fault screen_read(struct screen *screen)
{
    struct top_reading *reading = NULL;
    struct top_frame frame;
    if (screen->link == NULL)
        TRY(top_link_open(screen->options, &screen->link, after(LOGIN_TIME)));
    TRY(top_link_read(screen->link, &reading, after(LOGIN_TIME)));
    fault made = top_frame_make(reading, screen->now, &frame);
    if (made != OK) {
        top_reading_free(&reading);
        return made;
    }
    top_frame_fini(&screen->frame);
    top_reading_free(&screen->before);
    screen->before = screen->now;
    screen->now = reading;
    screen->frame = frame;
    screen->has_frame = true;
    screen->look.problem[0] = '\0';
    return OK;
}

static void ask_main(void *argument)
{
    struct screen *screen = argument;
    struct top_look *look = &screen->look;
    screen->asker = co_self();
    while (!co_cancelled() && !look->quit) {
        moment began = now_exact();
        look->refresh = false;
        fault read = screen_read(screen);
        if (read == FAULT_CANCELLED)
            break;
        if (read != OK) {
            tell_problem(screen, read);
            top_link_close(&screen->link);
        }
        draw(screen);
        while (!co_cancelled() && !look->quit && !look->refresh) {
            duration wait = look->interval;
            if (read != OK)
                wait.us = MAX_OF(wait.us, RETRY_LEAST.us);
            deadline by = look->paused ? NEVER : later(began, wait);
            if (!look->paused && between(by, now_exact()).us >= 0)
                break;
            (void)!co_wait(by);
        }
    }
    top_link_close(&screen->link);
    screen->asker = NULL;
}

/* --- signals and keys ------------------------------------------------------------------------- */

static void signals_main(void *argument)
{
    struct screen *screen = argument;
    int number;
    while (signals_next(&screen->signals, &number, NEVER) == OK) {
        if (number == SIGWINCH) {
            terminal_resize(screen);
            continue;
        }
        screen->look.quit = true;
        co_wake(screen->reader);
    }
}

struct key {
    wint_t code;
    enum top_key key;
};

static enum top_key key_of(int status, wint_t code)
{
    static const struct key keys[] = {
        {KEY_UP, TOP_KEY_UP},         {KEY_DOWN, TOP_KEY_DOWN},
        {KEY_LEFT, TOP_KEY_LEFT},     {KEY_RIGHT, TOP_KEY_RIGHT},
        {KEY_PPAGE, TOP_KEY_PAGE_UP}, {KEY_NPAGE, TOP_KEY_PAGE_DOWN},
        {KEY_HOME, TOP_KEY_HOME},     {KEY_BTAB, TOP_KEY_BACK_TAB},
        {KEY_ENTER, TOP_KEY_ENTER},   {KEY_BACKSPACE, TOP_KEY_BACKSPACE},
    };
    static const struct key texts[] = {
        {'\t', TOP_KEY_TAB},    {'\r', TOP_KEY_ENTER},    {'\n', TOP_KEY_ENTER},
        {0x1B, TOP_KEY_ESCAPE}, {127, TOP_KEY_BACKSPACE}, {'\b', TOP_KEY_BACKSPACE},
    };
    const struct key *all = status == KEY_CODE_YES ? keys : texts;
    size_t count = status == KEY_CODE_YES ? ARRAY_SIZE(keys) : ARRAY_SIZE(texts);
    for (size_t i = 0; i < count; i++)
        if (all[i].code == code)
            return all[i].key;
    return TOP_KEY_TEXT;
}

/* Applies the keys that have arrived. */
static void keys_take(struct screen *screen)
{
    wint_t code;
    int status;
    screen->keys.ready &= (uint8_t)~POLL_READ;
    while ((status = get_wch(&code)) != ERR) {
        if (status == KEY_CODE_YES && key_of(status, code) == TOP_KEY_TEXT)
            continue;
        if (status == OK && code == ('Z' - '@')) {
            terminal_suspend(screen);
            continue;
        }
        top_keys_press(&screen->look, screen->has_frame ? &screen->frame : NULL,
                       key_of(status, code), (uint32_t)code);
    }
}

static fault keys_main(struct screen *screen)
{
    screen->reader = co_self();
    TRY(co_group_start(&screen->group, ask_main, screen, CO_LARGE));
    TRY(co_group_start(&screen->group, signals_main, screen, CO_LARGE));
    draw(screen);
    while (!screen->look.quit) {
        if (!stream_may_read(&screen->keys)) {
            screen->keys.waker = co_waker(screen->reader);
            fault woken = co_wait(NEVER);
            screen->keys.waker = NULL;
            TRY(woken);
        }
        keys_take(screen);
        if (stream_hung_up(&screen->keys))
            break; /* the terminal is gone */
        draw(screen);
        if (screen->asker != NULL)
            co_wake(screen->asker);
    }
    return OK;
}

fault top_screen_run(const struct top_options *options, const char *where)
{
    static const int numbers[] = {SIGWINCH, SIGTERM, SIGHUP, SIGINT, SIGQUIT};
    struct screen screen = {.options = options, .keys = STREAM_INIT};
    top_look_init(&screen.look, options, where);
    co_group_init(&screen.group);
    TRY(signals_open(&screen.signals, numbers, ARRAY_SIZE(numbers)));
    fault result = terminal_open(&screen);
    if (result == OK)
        result = keys_main(&screen);
    struct fault_detail why = fault_detail_save();
    co_group_cancel(&screen.group);
    co_group_join(&screen.group);
    terminal_close(&screen);
    signals_close(&screen.signals);
    top_frame_fini(&screen.frame);
    top_reading_free(&screen.now);
    top_reading_free(&screen.before);
    fault_detail_restore(&why);
    return result;
}
