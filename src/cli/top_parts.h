#pragma once
/*
 * top_parts.h - what the files of `trunkline top` share.
 *
 * Tables, frames and grids are plain values of one thread; only top_ask.c and top_screen.c suspend.
 * Texts of the daemon are untrusted: they pass top_text_next() before a terminal gets them.
 */
#include "base/buffer.h"
#include "base/time.h"

/* --- options (top_options.c) ------------------------------------------------------------------ */

#define TOP_TEXT_SIZE 256u /* bytes of a name on the command line, NUL included */

enum top_mode { TOP_LIVE, TOP_ONCE, TOP_JSON };

struct top_options {
    enum top_mode mode;
    duration interval;
    char host[TOP_TEXT_SIZE];
    char user[TOP_TEXT_SIZE];
    char database[TOP_TEXT_SIZE];
    char filter[TOP_TEXT_SIZE];
    char password[1024];
    char sslmode[16];
    const char *authorities; /* file of trusted certificates; NULL: none */
    uint16_t port;
    bool ask_password; /* -W */
};

/** Reads arguments and environment.  `ret_problem` says what is wrong if false is returned. */
bool top_options_read(char **arguments, struct top_options *ret, char *ret_problem, size_t size);
/** Finds the password of a connection in the text of a password file (as libpq's).  Returns false
 *  if no line matches. */
bool top_options_find_password(const char *file, const struct top_options *options, char *ret,
                               size_t size);

/* --- untrusted text (top_text.c) -------------------------------------------------------------- */

#define TOP_REPLACEMENT 0xFFFDu

/** Takes the next character off UTF-8 text.  Returns TOP_REPLACEMENT for malformed bytes. */
uint32_t top_text_decode(const char **text);
/** As top_text_decode, but returns TOP_REPLACEMENT also for characters that control a terminal or
 *  the direction of text. */
uint32_t top_text_next(const char **text);
/** Columns that a character takes: 0 (combines with the one before), 1 or 2. */
int top_text_width(uint32_t point);
/** Writes the character as UTF-8.  Returns its bytes, at most 4. */
size_t top_text_encode(uint32_t point, char ret[4]);
/** Columns that the text takes as it is shown. */
uint32_t top_text_columns(const char *text);
/** Whether `text` contains `part`; ignores ASCII case. */
bool top_text_has(const char *text, const char *part);

/* --- tables (top_table.c) --------------------------------------------------------------------- */

#define TOP_TABLE_MAX   ((size_t)64 * 1024 * 1024) /* bytes of one table */
#define TOP_COLUMNS_MAX 128u

/* The rows of one SHOW, as text. */
struct top_table {
    struct buffer text;  /* cells, each with a NUL */
    struct buffer cells; /* uint32_t: where each cell begins in `text`; names of columns first */
    uint32_t columns;
    uint32_t rows;
};
#define TOP_TABLE_INIT                                                                             \
    ((struct top_table){.text = BUFFER_INIT(TOP_TABLE_MAX), .cells = BUFFER_INIT(TOP_TABLE_MAX)})

void top_table_fini(struct top_table *table);
/** Reads a RowDescription.  Faults: PROTOCOL, LIMIT, MEMORY. */
fault top_table_head(struct top_table *table, struct span body) MUST_USE;
/** Reads a DataRow.  Faults: PROTOCOL (also if the row has other columns), LIMIT, MEMORY. */
fault top_table_add(struct top_table *table, struct span body) MUST_USE;
/** The column with this name; -1: there is none. */
int top_table_column(const struct top_table *table, const char *name);
/** A cell; NULL: null, or there is no such column. */
const char *top_table_cell(const struct top_table *table, uint32_t row, int column);
/** Reads a cell as a number.  Returns false if it is none. */
bool top_table_number(const struct top_table *table, uint32_t row, int column, double *ret);

/* --- readings --------------------------------------------------------------------------------- */

/* The views that are read.  A daemon need not have all of them. */
enum top_view {
    TOP_VIEW_POOLS, /* the first one: every daemon has it */
    TOP_VIEW_STATS,
    TOP_VIEW_RELAYS,
    TOP_VIEW_HISTOGRAMS,
    TOP_VIEW_BACKENDS,
    TOP_VIEW_RESOLVERS,
    TOP_VIEW_SERVICES,
    TOP_VIEW_SLOTS,
    TOP_VIEW_CLAIMS,
    TOP_VIEWS,
};
extern const char *const top_view_names[TOP_VIEWS]; /* what follows SHOW */

/* What the console said at one time. */
struct top_reading {
    struct top_table tables[TOP_VIEWS];
    moment at[TOP_VIEWS];
    bool has[TOP_VIEWS];
    uint64_t session; /* changes with every connection: rates need two readings of one */
    char version[TOP_TEXT_SIZE];
};
struct top_reading *top_reading_new(void); /* NULL: no memory */
void top_reading_free(struct top_reading **reading);

/* --- the model (top_model.c, top_panels.c) ---------------------------------------------------- */

enum top_kind {
    TOP_NAME,    /* text */
    TOP_COUNT,   /* a number */
    TOP_RATE,    /* per second; the source counts */
    TOP_BYTES,   /* per second; the source counts bytes */
    TOP_PERCENT, /* of one processor; the source counts microseconds */
    TOP_SIZE,    /* bytes */
    TOP_US,      /* a duration; the source has microseconds */
    TOP_MS,      /* a duration; the source has milliseconds */
    TOP_S,       /* a duration; the source has seconds */
};

struct top_column {
    const char *name;   /* the heading, and the key in JSON */
    const char *source; /* the column of the view */
    enum top_kind kind;
    bool key;         /* names the row, together with the other keys */
    const char *more; /* a column that adds microseconds to seconds; NULL: none */
};

enum top_panel_id {
    TOP_BACKENDS,
    TOP_POOLS,
    TOP_DATABASES,
    TOP_RELAYS,
    TOP_SERVICES,
    TOP_CLAIMS,
    TOP_PANELS,
};
#define TOP_PANEL_COLUMNS 24u

struct top_panel_kind {
    const char *name;
    enum top_view views[2]; /* the first one that the daemon has */
    const struct top_column *columns;
    size_t count;
    int sort; /* the column that sorts at first; -1: as the console has them */
    bool descending;
};
extern const struct top_panel_kind top_panel_kinds[TOP_PANELS];

struct top_value {
    bool known;
    double number;    /* rates: per second; durations: microseconds */
    const char *text; /* borrowed from the reading; NULL: a number */
};

struct top_panel {
    const struct top_panel_kind *kind;
    size_t columns[TOP_PANEL_COLUMNS]; /* those of the kind that the daemon has */
    size_t column_count;
    struct top_value *values; /* rows × column_count */
    uint32_t rows;
};

enum top_total_id {
    TOP_TOTAL_CLIENTS,
    TOP_TOTAL_WAITING,
    TOP_TOTAL_OLDEST_WAIT,
    TOP_TOTAL_SERVERS,
    TOP_TOTAL_CLAIMS,
    TOP_TOTAL_TRANSACTIONS,
    TOP_TOTAL_QUERIES,
    TOP_TOTAL_LOGINS,
    TOP_TOTAL_RECEIVED,
    TOP_TOTAL_SENT,
    TOP_TOTAL_WAIT_P50,
    TOP_TOTAL_WAIT_P99,
    TOP_TOTAL_QUERY_P50,
    TOP_TOTAL_QUERY_P99,
    TOP_TOTAL_TRANSACTION_P50,
    TOP_TOTAL_TRANSACTION_P99,
    TOP_TOTAL_CONNECTING,
    TOP_TOTAL_IDLE,
    TOP_TOTAL_CLAIMED,
    TOP_TOTAL_RECYCLING,
    TOP_TOTAL_CHECKING,
    TOP_TOTAL_FAILED,
    TOP_TOTALS,
};
struct top_total_kind {
    const char *name;
    enum top_kind kind;
};
extern const struct top_total_kind top_total_kinds[TOP_TOTALS];

/* What a screen shows.  Borrows from the reading that it was made of. */
struct top_frame {
    struct top_panel panels[TOP_PANELS];
    struct top_value totals[TOP_TOTALS];
    const char *version;
    duration interval; /* between the two readings; 0: there was no earlier one */
};

/** Makes a frame of a reading and an earlier one (NULL: none; rates and quantiles are unknown then,
 *  as after a reset of their counters).  Faults: MEMORY. */
fault top_frame_make(const struct top_reading *now, const struct top_reading *before,
                     struct top_frame *ret) MUST_USE;
void top_frame_fini(struct top_frame *frame);
static inline const struct top_value *top_frame_value(const struct top_panel *panel, uint32_t row,
                                                      size_t column)
{
    return &panel->values[(size_t)row * panel->column_count + column];
}

/** Computes the totals of the frame (top_totals.c). */
void top_totals_fill(struct top_frame *frame, const struct top_reading *now,
                     const struct top_reading *before);

/* --- layout (top_layout.c, top_grid.c) -------------------------------------------------------- */

enum top_style { TOP_PLAIN, TOP_BOLD, TOP_HEADING, TOP_FOCUS, TOP_ALARM, TOP_DIM };

struct top_cell {
    uint32_t point; /* 0: the second column of a wide character */
    uint32_t mark;  /* combines with it; 0: none */
    uint8_t style;
};
struct top_grid {
    uint32_t height;
    uint32_t width;
    struct top_cell *cells;
};

/** Makes an empty grid.  Faults: MEMORY. */
fault top_grid_init(struct top_grid *grid, uint32_t height, uint32_t width) MUST_USE;
void top_grid_fini(struct top_grid *grid);
/** Writes untrusted text into `width` columns from `column` on; cuts what does not fit.  Returns
 *  the columns used.  Writes nothing outside of the grid. */
uint32_t top_grid_put(struct top_grid *grid, uint32_t row, uint32_t column, uint32_t width,
                      const char *text, enum top_style style);
/** Same, at the right end of these columns. */
void top_grid_put_right(struct top_grid *grid, uint32_t row, uint32_t column, uint32_t width,
                        const char *text, enum top_style style);
void top_grid_style(struct top_grid *grid, uint32_t row, enum top_style style);
/** Appends a row as UTF-8 without blanks at its end. */
void top_grid_text(const struct top_grid *grid, uint32_t row, struct buffer *out);

/* What the user has chosen. */
struct top_look {
    enum top_panel_id focus;
    int sort[TOP_PANELS]; /* index of a column of the kind; -1: none */
    bool descending[TOP_PANELS];
    uint32_t scroll; /* first row shown of the focused panel */
    char filter[TOP_TEXT_SIZE];
    bool typing; /* the filter is being typed */
    bool paused;
    bool help;
    bool quit;
    bool refresh; /* a reading is wanted now */
    duration interval;
    const char *where;             /* host and port */
    char problem[FAULT_STORY_MAX]; /* why there is no connection; "": there is one */
};
void top_look_init(struct top_look *look, const struct top_options *options, const char *where);

/** Writes a value as a screen has it: "-" if it is unknown. */
#define TOP_VALUE_SIZE 32u
const char *top_value_text(const struct top_value *value, enum top_kind kind,
                           char text[TOP_VALUE_SIZE]);
/** Returns the rows of a panel that match the filter, in their order; the caller frees them.  NULL:
 *  no memory.  Pure. */
uint32_t *top_rows_choose(const struct top_panel *panel, const struct top_look *look,
                          enum top_panel_id id, uint32_t *ret_count);
/** Draws the frame (NULL: none yet).  `look->scroll` is corrected. */
void top_layout(const struct top_frame *frame, struct top_look *look, struct top_grid *grid);
/** Lines that a layout of the whole frame takes. */
uint32_t top_layout_height(const struct top_frame *frame, const struct top_look *look);

/* --- keys (top_keys.c) ------------------------------------------------------------------------ */

enum top_key {
    TOP_KEY_TEXT, /* a character */
    TOP_KEY_UP,
    TOP_KEY_DOWN,
    TOP_KEY_LEFT,
    TOP_KEY_RIGHT,
    TOP_KEY_PAGE_UP,
    TOP_KEY_PAGE_DOWN,
    TOP_KEY_HOME,
    TOP_KEY_TAB,
    TOP_KEY_BACK_TAB,
    TOP_KEY_ENTER,
    TOP_KEY_ESCAPE,
    TOP_KEY_BACKSPACE,
};
#define TOP_INTERVAL_LEAST ms(100)
#define TOP_INTERVAL_MOST  sec(3600)
/** Changes the look by a key.  Pure. */
void top_keys_press(struct top_look *look, const struct top_frame *frame, enum top_key key,
                    uint32_t point);

/* --- asking (top_ask.c) ----------------------------------------------------------------------- */

struct top_link;
/** Connects and logs in.  Suspends.  Faults: those of link_login, with a detail that names the
 *  address. */
fault top_link_open(const struct top_options *options, struct top_link **ret, deadline by) MUST_USE;
void top_link_close(struct top_link **link);
/** Reads all views.  Suspends.  Faults: those of the link; UPSTREAM (this is no console). */
fault top_link_read(struct top_link *link, struct top_reading **ret, deadline by) MUST_USE;

/* --- output (top_print.c, top_screen.c) ------------------------------------------------------- */

/** Appends the frame as one JSON object. */
void top_print_json(const struct top_frame *frame, const char *where, int64_t at_s,
                    struct buffer *out);
/** Appends the frame as plain text, `width` columns wide (0: as wide as it is). */
fault top_print_text(const struct top_frame *frame, struct top_look *look, uint32_t width,
                     struct buffer *out) MUST_USE;

/** Shows frames until the user quits.  Suspends.  Faults: SYSTEM (no terminal). */
fault top_screen_run(const struct top_options *options, const char *where) MUST_USE;
