#pragma once
/*
 * console_parts.h - shared declarations of the console's files.
 *
 * Private to admin/. A session lives on the relay of its client and runs on one coroutine.
 * Commands write text cells into a result, which stores them as the messages that will be sent.
 * Design: docs/internals/console.md
 */
#include "base/list.h"
#include "base/table.h"
#include "config/config.h"
#include "link/link.h"
#include "pooler/pooler.h"
#include "relay/client.h"

/* Maximum sizes of one session. */
#define CONSOLE_MESSAGE_MAX ((uint32_t)256 * 1024)     /* bytes of one message of the client */
#define CONSOLE_RECORDS_MAX ((size_t)64 * 1024 * 1024) /* bytes gathered for one result */
#define CONSOLE_ROWS_MAX    ((size_t)64 * 1024 * 1024) /* bytes of the rows of one result */
#define CONSOLE_OUT_MAX     ((size_t)4 * 1024 * 1024)  /* bytes of all other messages */
#define CONSOLE_DETAIL_MAX  ((size_t)256 * 1024)       /* bytes of a report on a reload */
#define CONSOLE_NAMES_MAX   1000u                      /* prepared statements; also portals */
#define CONSOLE_COLUMNS_MAX 64u
#define CONSOLE_WORDS_MAX   1024u /* bytes of a command, normalised */
#define CONSOLE_TEXT_MAX    256u  /* bytes of a name or value in a command, NUL included */

struct query_object;
struct console;
struct console_result;

/* --- commands --------------------------------------------------------------------------------- */

struct console_column {
    const char *name;
    enum column_type type;
    const char *help;
};

/* The columns of one kind of result. */
struct console_view {
    const struct console_column *columns;
    size_t count;
};
#define CONSOLE_VIEW(all)                                                                          \
    {                                                                                              \
        (all), ARRAY_SIZE(all)                                                                     \
    }

struct console_command {
    const char *words; /* upper case, single blanks between them */
    const char *help;
    const char *argument;            /* accepted argument, as the manual shows it; NULL: none */
    const char *option;              /* word that a second, optional argument follows, or NULL */
    const struct console_view *view; /* NULL: no rows */
    /* Writes the rows; may suspend.  Faults become an ErrorResponse; the session continues. */
    fault (*run)(struct console *console, struct console_result *result);
    const char *tag; /* of CommandComplete */
    bool admin;      /* not for users of console.stats_users */
    bool begins;     /* begins a transaction, which has no effect here */
    bool ends;
};

extern const struct console_command console_commands[];
extern const size_t console_command_count;

/* A parameter that drivers query, with its fixed value; some are reported at the login. */
struct console_setting {
    const char *name;
    const char *value;
    bool reported;
};
extern const struct console_setting console_settings[];
extern const size_t console_setting_count;

/* --- filters (console_filter.c) --------------------------------------------------------------- */

#define CONSOLE_CONDITIONS_MAX 8u

enum console_comparison {
    COMPARE_EQUAL,
    COMPARE_OTHER,
    COMPARE_LESS,
    COMPARE_AT_MOST,
    COMPARE_GREATER,
    COMPARE_AT_LEAST,
    COMPARE_LIKE,
    COMPARE_NULL,
    COMPARE_NOT_NULL,
};

struct console_condition {
    enum console_comparison how;
    uint8_t column;
    char value[CONSOLE_TEXT_MAX];
};

/* The conditions, order and limit of a SHOW. */
struct console_filter {
    bool any; /* false: all rows, unsorted */
    bool ordered;
    bool descending;
    bool limited;
    uint8_t order; /* a column */
    uint64_t limit;
    size_t count;
    struct console_condition conditions[CONSOLE_CONDITIONS_MAX]; /* all must hold */
};

/* Stores the matching rows until all are there. */
struct console_sieve {
    const struct console_filter *filter;
    struct buffer
        cells; /* of matching rows: size (or a mark for null) and bytes, one after another */
    struct buffer rows; /* uint32_t: where each begins */
    size_t row_start;
    size_t count;
};

struct console_command;
/** Parses what follows a SHOW. Faults: SYNTAX. */
fault console_read_filter(const struct console_command *command, struct span rest,
                          struct console_filter *ret) MUST_USE;
void console_sieve_init(struct console_sieve *sieve, const struct console_filter *filter);
void console_sieve_fini(struct console_sieve *sieve);
void console_sieve_cell(struct console_sieve *sieve, struct span text, bool null);
/** Ends a row; it is stored if it matches the conditions. */
void console_sieve_row(struct console_sieve *sieve, const struct console_column *columns);
/** Writes the rows in their order.  Suspends from time to time.  Faults: LIMIT, MEMORY. */
fault console_sieve_pour(struct console_sieve *sieve, const struct console_column *columns,
                         size_t column_count, struct table_sink *sink) MUST_USE;

/* A parsed statement. */
struct console_call {
    const struct console_command *command; /* NULL: an empty statement */
    struct console_column setting_column;  /* SHOW of one setting: its only column */
    const struct console_setting *setting;
    struct console_filter filter;
    char argument[CONSOLE_TEXT_MAX]; /* the argument, unquoted; "": none */
    char value[CONSOLE_TEXT_MAX];    /* SET of a setting: the new value; or of the option */
};
/** Parses SET and RESET.  `ret->command` is NULL if the key is a PostgreSQL parameter that drivers
 *  set: the statement changes nothing.  Faults: SYNTAX (42704: no such setting), UNSUPPORTED. */
fault console_understand_set(struct span statement, const struct config *config,
                             struct console_call *ret) MUST_USE;
/** Parses a statement.  Faults: SYNTAX, UNSUPPORTED. Pure; `config` says which settings are those
 *  of the configuration file. */
fault console_understand(struct span statement, const struct config *config,
                         struct console_call *ret) MUST_USE;
const struct console_column *console_call_columns(const struct console_call *call,
                                                  size_t *ret_count);

/* --- text (console_text.c) -------------------------------------------------------------------- */

/** Takes the next statement off `text`, up to its semicolon or the end.  Sets *ret_any to false if
 *  only blanks and comments are left.  Faults: SYNTAX (a quote or comment without its end). */
fault console_next_statement(struct span *text, struct span *ret, bool *ret_any) MUST_USE;
/** Writes the statement's words in upper case, separated by one blank, without comments.  Fault:
 *  SYNTAX, if they do not fit. */
fault console_words(struct span statement, char words[CONSOLE_WORDS_MAX]) MUST_USE;

enum console_token_kind { TOKEN_END, TOKEN_WORD, TOKEN_NAME, TOKEN_TEXT, TOKEN_SIGN };
/* A word as written, a "name" or 'text' without its quotes, or a sign. */
struct console_token {
    enum console_token_kind kind;
    char text[CONSOLE_TEXT_MAX];
};
/** Takes the next token off `rest`.  Fault: SYNTAX, if it is too long or has no end. */
fault console_token(struct span *rest, struct console_token *ret) MUST_USE;
/** Whether the token is this word; ignores case. */
bool console_token_is(const struct console_token *token, const char *word);

/** Formats microseconds since 1970 as "2026-08-01 12:00:00 UTC". */
#define CONSOLE_TIME_SIZE 32
const char *console_time(int64_t us, char text[CONSOLE_TIME_SIZE]);

/* --- results (console_result.c) --------------------------------------------------------------- */

struct console_result {
    struct table_sink sink; /* writes rows into this */
    const struct console_column *columns;
    size_t column_count;
    struct console_sieve *sieve; /* gets the rows first; NULL: no conditions */
    uint64_t binary;             /* bit i: column i is sent in binary */
    struct buffer rows;          /* DataRow messages */
    size_t row_start;
    size_t cell; /* cells of the row being written; 0: none */
    uint64_t count;
    size_t sent; /* bytes of `rows` that a portal has returned */
};

void console_result_init(struct console_result *result, const struct console_column *columns,
                         size_t count, uint64_t binary);
void console_result_fini(struct console_result *result);
/** Returns OK; LIMIT (54000) or MEMORY if rows did not fit. */
fault console_result_fault(const struct console_result *result) MUST_USE;
/** Returns the messages of the next `max` rows (0: all), or of fewer if fewer are left.  Returns
 *  true if there are more. */
bool console_result_take(struct console_result *result, uint32_t max, struct span *ret);
void console_put_columns(struct buffer *out, const struct console_column *columns, size_t count,
                         uint64_t binary);

/* --- a session -------------------------------------------------------------------------------- */

struct console {
    struct client *client;
    struct pooler *pooler;
    const struct console_call *call; /* the command being run */
    struct span user;                /* the client's own */
    bool own;              /* the client process belongs to the daemon's user or to root */
    struct config *config; /* version in force when the current statement began; counted */
    struct buffer in;
    struct buffer out;
    struct buffer detail; /* detail of the current error: every problem of a reload */
    struct list statements;
    struct list portals;
    bool in_transaction; /* as BEGIN and COMMIT have set it */
    bool skipping;       /* an extended batch failed: until its Sync */
    bool sending;        /* console_send() has begun and not ended: no error may be sent */
};

/** Returns what the client may do by the configuration in force. */
enum console_role console_role(const struct console *console);
/** Runs a call and writes its rows into `result`.  Faults are reported to the client. */
fault console_run(struct console *console, const struct console_call *call,
                  struct console_result *result) MUST_USE;
/** Appends the fault as an ErrorResponse. */
void console_refuse(struct console *console, fault why);
/** Appends the CommandComplete of a call. */
void console_complete(struct console *console, const struct console_call *call, uint64_t rows);
/** Sends `out`, then `rows`, in slices.  Suspends.  Faults end the session. */
fault console_send(struct console *console, struct span rows) MUST_USE;
void console_ready(struct console *console);

/** Answers one message of the extended protocol (console_extended.c).  Faults end the session. */
fault console_extended(struct console *console, const struct wire_frame *frame) MUST_USE;
void console_extended_fini(struct console *console);

/* --- views and commands ----------------------------------------------------------------------- */

extern const struct console_view console_view_statements;
extern const struct console_view console_view_pins, console_view_pin_totals, console_view_reads;
/* Rows of EXPLAIN, of two columns, and lists of names in them.  console_explain.c */
void console_write_item(struct table_sink *sink, const char *item, const char *value);
/** Appends a name to a list. */
void console_put_object(struct buffer *out, const struct query_object *object);
/** Writes a list as a row, unless it is empty, and empties it. */
void console_write_list(struct table_sink *sink, const char *item, struct buffer *list);

extern const struct console_view console_view_cache, console_view_cache_rules,
    console_view_cache_totals, console_view_cache_tier, console_view_cache_reasons,
    console_view_cache_flush, console_view_cache_warm, console_view_cache_explain,
    console_view_feed, console_view_flights, console_view_firewall,
    console_view_firewall_statements, console_view_firewall_forget, console_view_firewall_explain;
/** The tables of answers from memory; NULL if no route of the configuration has rules.  They are
 *  made before a relay gets the first version that has some. */
struct flight_env *console_flights(const struct console *console);
extern const struct console_view console_view_connections, console_view_sockets, console_view_users,
    console_view_peers, console_view_peer_pools, console_view_memory, console_view_state,
    console_view_version, console_view_fds, console_view_dns_hosts, console_view_dns_zones,
    console_view_resolve, console_view_resolvers, console_view_slots, console_view_claims,
    console_view_services, console_view_pools, console_view_routes, console_view_relays,
    console_view_databases, console_view_lists, console_view_stats, console_view_stats_totals,
    console_view_histograms, console_view_stats_averages, console_view_totals;

fault console_show_clients(struct console *console, struct console_result *result) MUST_USE;
fault console_show_servers(struct console *console, struct console_result *result) MUST_USE;
fault console_show_sockets(struct console *console, struct console_result *result) MUST_USE;
fault console_show_active_sockets(struct console *console, struct console_result *result) MUST_USE;
fault console_show_statements(struct console *console, struct console_result *result) MUST_USE;
fault console_reset_statements(struct console *console, struct console_result *result) MUST_USE;
fault console_show_pins(struct console *console, struct console_result *result) MUST_USE;
fault console_show_pin_totals(struct console *console, struct console_result *result) MUST_USE;
fault console_show_reads(struct console *console, struct console_result *result) MUST_USE;
fault console_show_fds(struct console *console, struct console_result *result) MUST_USE;
fault console_show_users(struct console *console, struct console_result *result) MUST_USE;
fault console_show_version(struct console *console, struct console_result *result) MUST_USE;
fault console_show_memory(struct console *console, struct console_result *result) MUST_USE;
fault console_show_dns_hosts(struct console *console, struct console_result *result) MUST_USE;
fault console_show_dns_zones(struct console *console, struct console_result *result) MUST_USE;
fault console_show_slots(struct console *console, struct console_result *result) MUST_USE;
fault console_show_claims(struct console *console, struct console_result *result) MUST_USE;
fault console_show_services(struct console *console, struct console_result *result) MUST_USE;
fault console_show_resolvers(struct console *console, struct console_result *result) MUST_USE;
fault console_resolve(struct console *console, struct console_result *result) MUST_USE;
fault console_show_pools(struct console *console, struct console_result *result) MUST_USE;
fault console_show_routes(struct console *console, struct console_result *result) MUST_USE;
fault console_show_relays(struct console *console, struct console_result *result) MUST_USE;
fault console_show_databases(struct console *console, struct console_result *result) MUST_USE;
fault console_show_histograms(struct console *console, struct console_result *result) MUST_USE;
fault console_show_lists(struct console *console, struct console_result *result) MUST_USE;
fault console_show_stats(struct console *console, struct console_result *result) MUST_USE;
fault console_show_stats_totals(struct console *console, struct console_result *result) MUST_USE;
fault console_show_stats_averages(struct console *console, struct console_result *result) MUST_USE;
fault console_show_totals(struct console *console, struct console_result *result) MUST_USE;
fault console_show_state(struct console *console, struct console_result *result) MUST_USE;
fault console_show_cache(struct console *console, struct console_result *result) MUST_USE;
fault console_show_cache_rules(struct console *console, struct console_result *result) MUST_USE;
fault console_show_cache_totals(struct console *console, struct console_result *result) MUST_USE;
fault console_show_cache_tier(struct console *console, struct console_result *result) MUST_USE;
fault console_show_cache_reasons(struct console *console, struct console_result *result) MUST_USE;
fault console_show_feed(struct console *console, struct console_result *result) MUST_USE;
fault console_show_flights(struct console *console, struct console_result *result) MUST_USE;
fault console_cache_flush(struct console *console, struct console_result *result) MUST_USE;
fault console_cache_flush_tag(struct console *console, struct console_result *result) MUST_USE;
fault console_cache_warm(struct console *console, struct console_result *result) MUST_USE;
fault console_cache_explain(struct console *console, struct console_result *result) MUST_USE;
fault console_show_firewall(struct console *console, struct console_result *result) MUST_USE;
fault console_show_firewall_statements(struct console *console,
                                       struct console_result *result) MUST_USE;
fault console_firewall_explain(struct console *console, struct console_result *result) MUST_USE;
fault console_firewall_forget(struct console *console, struct console_result *result) MUST_USE;
fault console_set(struct console *console, struct console_result *result) MUST_USE;
fault console_reload(struct console *console, struct console_result *result) MUST_USE;
fault console_pause(struct console *console, struct console_result *result) MUST_USE;
fault console_resume(struct console *console, struct console_result *result) MUST_USE;
fault console_suspend(struct console *console, struct console_result *result) MUST_USE;
fault console_disable(struct console *console, struct console_result *result) MUST_USE;
fault console_enable(struct console *console, struct console_result *result) MUST_USE;
fault console_drain(struct console *console, struct console_result *result) MUST_USE;
fault console_elect(struct console *console, struct console_result *result) MUST_USE;
fault console_switchover(struct console *console, struct console_result *result) MUST_USE;
fault console_undrain(struct console *console, struct console_result *result) MUST_USE;
fault console_reconnect(struct console *console, struct console_result *result) MUST_USE;
fault console_wait_close(struct console *console, struct console_result *result) MUST_USE;
fault console_kill(struct console *console, struct console_result *result) MUST_USE;
fault console_move_client(struct console *console, struct console_result *result) MUST_USE;
fault console_kill_client(struct console *console, struct console_result *result) MUST_USE;
fault console_shutdown(struct console *console, struct console_result *result) MUST_USE;

const char *console_mode_text(enum pool_mode mode);
