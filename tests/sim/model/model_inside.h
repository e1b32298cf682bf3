#pragma once
/*
 * model_inside.h - what the rooms of the model share.  Private to the model.
 *
 * A session is a coroutine; it suspends where it reads, where its answers don't fit, and in
 * model_wait (sleeping, locks).  Functions that return a fault return FAULT_UPSTREAM for an error
 * of the SQL kind, which lies in session->error then, and other faults when the session is over.
 */
#include "base/map.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "model.h"
#include "sql.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL_NAME 64 /* longest identifier, NUL included */

/* --- tables: rows by versions (model_table.c) ------------------------------------------------- */

enum model_fate { FATE_OPEN, FATE_COMMITTED, FATE_ABORTED };

/* A transaction that has written, or one of its savepoints. */
struct model_xact {
    uint32_t refs;
    enum model_fate fate;
    uint64_t order;            /* of its commit */
    struct model_xact *parent; /* counted; NULL: a whole transaction */
    struct model_session *session;
};

struct model_version {
    struct model_version *next;  /* of the same bucket */
    struct model_version *newer; /* that an update made of it */
    struct model_xact *born;     /* NULL: committed for ever */
    struct model_xact *dead;     /* NULL: nobody has deleted it */
    int32_t key;
    bool key_null;
    bool value_null;
    uint32_t size;
    char value[];
};

struct model_table {
    struct node node; /* of a session's temporary ones */
    struct model *model;
    char name[MODEL_NAME];
    uint32_t oid;
    bool has_key;
    bool temporary;
    uint32_t made; /* at which level of this transaction, from 1; 0: not in this one */
    uint32_t gone; /* the same: dropped, unless that comes to nothing */
    struct model_version **heap; /* in the order in which they were made */
    uint32_t count;
    uint32_t room;
    uint32_t dead; /* about: vacuum looks when they are many */
    uint32_t pins; /* scans that hold versions */
    struct model_version **buckets;
    uint32_t mask;
};

struct model_snapshot {
    uint64_t order; /* commits up to this one are seen */
    const struct model_xact *own;
};

/* The versions that a statement will look at. */
struct model_scan {
    struct model_table *table;
    struct model_version **rows;
    uint32_t count;
    uint32_t at;
};

void model_table_init(struct model_table *table, struct model *model, const char *name);
void model_table_fini(struct model_table *table);
/** The whole transaction of this name and the open savepoint in it, made when it is first needed.
 */
struct model_xact *model_xact_of(struct model_session *session);
/** The transaction writes, though no row of a table. */
void model_xact_write(struct model_session *session);
void model_xact_unref(struct model_xact **xact);
struct model_snapshot model_snapshot(struct model_session *session);
bool model_version_seen(const struct model_version *version, const struct model_snapshot *snapshot);
/** All versions that are seen, or those of one key. */
void model_scan_begin(struct model_scan *scan, struct model_table *table,
                      const struct model_snapshot *snapshot, const int32_t *key);
void model_scan_end(struct model_scan *scan);
/** Puts a row in; waits for others who have the key in hand.  `*ret_conflict` is the version that
 *  is in its way, if that is asked for; else 23505. */
fault model_table_insert(struct model_session *session, struct model_table *table,
                         const struct sql_value row[2],
                         struct model_version **ret_conflict) MUST_USE;
/** What can be said of a row before it is put in; 23502. */
fault model_table_check(struct model_session *session, const struct model_table *table,
                        const struct sql_value row[2]) MUST_USE;
/** Makes it ours to change: waits for others, follows what they have made of it.  `*version` is
 *  NULL then where it is gone; another one where it must be looked at again. */
fault model_table_claim(struct model_session *session, struct model_table *table,
                        struct model_version **version) MUST_USE;
void model_table_delete(struct model_session *session, struct model_table *table,
                        struct model_version *version);
fault model_table_update(struct model_session *session, struct model_table *table,
                         struct model_version *version, const struct sql_value row[2]) MUST_USE;
void model_table_vacuum(struct model_table *table);

/* --- settings (model_gucs.c) ------------------------------------------------------------------ */

enum { GUC_COUNT_MAX = 64 };

/* What becomes of a value at the end of its transaction, as in PostgreSQL's guc.c. */
enum guc_state { GUC_SET, GUC_LOCAL, GUC_SET_LOCAL, GUC_SAVE };
struct guc_stack {
    struct guc_stack *below;
    uint32_t level;
    enum guc_state state;
    char *prior; /* NULL: the default */
    char *masked;
};
struct guc_slot {
    char *value; /* NULL: the default */
    char *reported;
    struct guc_stack *stack;
    char *reset; /* what RESET gives: of the startup packet; NULL: the server's default */
};
struct guc_custom {
    struct node node;
    char *name;
    struct guc_slot slot;
};
struct model_gucs {
    struct guc_slot slots[GUC_COUNT_MAX];
    struct list custom;
    bool any_stack; /* some slot has one */
};

void model_gucs_init(struct model_session *session);
void model_gucs_fini(struct model_session *session);
/** Changes one: `value` NULL: its default. */
fault model_guc_set(struct model_session *session, struct span name, const char *value,
                    bool local) MUST_USE;
/** Of the startup packet: what RESET goes back to. */
fault model_guc_begin(struct model_session *session, struct span name, struct span value) MUST_USE;
void model_guc_reset_all(struct model_session *session);
/** What SHOW says, its name as it is spelled; NULL: there is none. */
const char *model_guc_show(const struct model_session *session, struct span name,
                           struct sql_arena *arena, const char **ret_spelled);
/** The raw value, of a setting that exists. */
const char *model_guc_value(const struct model_session *session, const char *name);
/** The static spelling of a level of isolation. */
const char *model_guc_word(const char *isolation);
int64_t model_guc_number(const struct model_session *session, const char *name);
void model_gucs_end(struct model_session *session, bool commit, uint32_t level);
/** ParameterStatus of what has changed; `all`: of everything, in a reported parameters. */
void model_gucs_report(struct model_session *session, bool all);
/** A ParameterStatus that tells nothing new. */
void model_gucs_repeat(struct model_session *session);
/** Whether its source is the session, or it is an identity that the session took. */
bool model_guc_is_set(const struct model_session *session, struct span name);
fault model_guc_unknown(struct model_session *session, struct span name);
bool model_guc_default(struct model *model, const char *name, const char *value);
/** The value as it is kept (model_guc_values.c); raises 22023. */
struct guc_row;
fault model_guc_canon(struct model_session *session, const struct guc_row *row, const char *value,
                      struct sql_arena *arena, const char **ret) MUST_USE;
const char *model_guc_display(const struct guc_row *row, const char *value,
                              struct sql_arena *arena);

enum guc_kind {
    GUC_TEXT,
    GUC_BOOL,
    GUC_ENUM,
    GUC_INT,
    GUC_DATESTYLE,
    GUC_ENCODING,
    GUC_ZONE,
    GUC_ISOLATION,
    GUC_ROLE
};
enum guc_context { GUC_USER, GUC_SUPERUSER, GUC_RELOAD, GUC_RESTART, GUC_FIXED };
enum guc_unit { GUC_NO_UNIT, GUC_MS, GUC_S, GUC_KB };
struct guc_row {
    const char *name;
    const char *asked; /* in a copy: how a statement has spelled it */
    enum guc_kind kind;
    const char *preset;
    bool reported;
    enum guc_context context;
    enum guc_unit unit;
    int64_t min, max;
    const char *const *words; /* of an enum */
};
extern const struct guc_row guc_rows[];
extern const size_t guc_row_count;

/* --- transactions (model_transaction.c) ------------------------------------------------------- */

enum tx_block { TX_NONE, TX_STARTED, TX_IMPLICIT, TX_OPEN, TX_FAILED };
enum tx_pending { TX_NOTHING, TX_BEGIN, TX_COMMIT, TX_ROLLBACK, TX_SAVE, TX_RELEASE, TX_BACK };

struct tx_level {
    char name[MODEL_NAME];
    size_t told;             /* size of session->told when it began */
    struct model_xact *xact; /* NULL: it has not written */
};
#define TX_LEVELS_MAX 32
struct model_tx {
    enum tx_block block;
    enum tx_pending pending;
    bool chain;
    bool pipelining;  /* an Execute is done in this transaction */
    bool commit_soon; /* DISCARD ALL and its like */
    bool snapshot_taken;
    bool wrote;
    uint64_t xid;          /* 0: it has written nothing */
    bool defines;          /* the view */
    const char *isolation; /* as it begins; both are static */
    const char *read_only;
    uint64_t snapshot; /* of repeatable read */
    uint32_t level;    /* the innermost savepoint; 0: none */
    uint32_t target;   /* of TX_RELEASE, TX_BACK */
    struct tx_level levels[TX_LEVELS_MAX];
};

void tx_start(struct model_session *session);
/** What the statement has ordered; a transaction of its own ends. */
void tx_finish(struct model_session *session);
void tx_implicit_begin(struct model_session *session);
void tx_implicit_end(struct model_session *session);
/** After an error. */
void tx_abort(struct model_session *session);
/** The session is over. */
void tx_gone(struct model_session *session);
fault tx_run(struct model_session *session, const struct sql_stmt *stmt, const char **tag) MUST_USE;
bool tx_is_exit(const struct sql_stmt *stmt);
bool tx_is_transaction(const struct sql_stmt *stmt);
/** 25001 where it can't be; else it commits at once. */
fault tx_prevent(struct model_session *session, const char *what) MUST_USE;
/** Whether we are in a transaction that lasts. */
bool tx_in_block(const struct model_session *session);
fault tx_set_modes(struct model_session *session, const struct sql_modes *modes,
                   bool session_wide) MUST_USE;
fault tx_refuse_failed(struct model_session *session);
/** 25006 in a transaction that may only read. */
fault tx_must_write(struct model_session *session, const char *what) MUST_USE;
static inline bool tx_is_failed(const struct model_session *session);

/* --- statements, portals (model_extended.c, model_portal.c) ----------------------------------- */

/* A text with its only statement, parsed and analysed. */
struct model_plan {
    uint32_t refs;
    struct sql_arena arena;
    struct span text;
    struct sql_stmt *stmt; /* NULL: an empty text */
    struct sql_params params;
    /* Whose columns it gives: its own, or those that EXECUTE and FETCH had when it was made. */
    const struct sql_stmt *shape;
    struct model_plan *shape_owner; /* counted; NULL: itself */
    uint32_t customs;               /* times that it was planned for the values at hand */
};
fault model_plan_new(struct model_session *session, struct span text,
                     const struct sql_params *params, struct model_plan **ret) MUST_USE;
struct model_plan *model_plan_ref(struct model_plan *plan);
void model_plan_unref(struct model_plan **plan);

struct model_statement {
    struct map_link link;
    char name[MODEL_NAME];
    struct model_plan *plan;
    bool by_sql;
};
struct model_statement *model_statement_find(struct model_session *session, struct span name);
fault model_statement_missing(struct model_session *session, struct span name);
/** `plan` goes to the session.  42P05. */
fault model_statement_add(struct model_session *session, struct span name,
                          struct model_plan *take_plan) MUST_USE;
void model_statement_remove(struct model_session *session, struct span name);
void model_statements_remove_all(struct model_session *session);

enum portal_state { PORTAL_READY, PORTAL_DONE, PORTAL_FAILED };
/* How it runs: row by row, or all at once with the rows kept. */
struct model_portal {
    struct map_link link;
    char name[MODEL_NAME];
    struct model_plan *plan;     /* counted; NULL: the statement is somebody else's */
    const struct sql_stmt *stmt; /* NULL: empty */
    enum portal_state state;
    bool held; /* WITH HOLD, and its transaction is over */
    bool hold;
    bool at_end;
    bool begun;
    bool active;            /* runs now: nobody may free it */
    uint32_t level;         /* of the savepoint it was made in */
    struct sql_arena arena; /* its parameters and formats */
    const struct sql_value *params;
    uint16_t *formats;
    uint16_t format_count;
    /* a query that runs */
    struct model_scan scan;
    struct model_table *table;
    int64_t series_at, series_to, series_step;
    bool series_over;
    bool lone_over; /* a query without FROM has one row */
    int64_t limit;  /* rows still wanted; INT64_MAX: all */
    int64_t offset;
    struct sql_arena row; /* of the row at hand */
    /* rows that were made at once: DataRow messages */
    struct buffer stored;
    size_t stored_at;
    uint64_t stored_rows;
    char tag[48];                 /* of what was run at once */
    const struct sql_stmt *shape; /* whose columns it has, if not those of stmt */
    uint64_t position;
};
struct model_portal *model_portal_find(struct model_session *session, struct span name);
fault model_portal_missing(struct model_session *session, struct span name);
struct model_portal *model_portal_new(struct model_session *session, struct span name);
void model_portal_remove(struct model_session *session, struct model_portal **portal);
/** At the end of a transaction, or of the savepoints from `level` on. */
void model_portals_end(struct model_session *session, bool commit, uint32_t level);
void model_portals_fail(struct model_session *session, uint32_t level);
void model_portals_close_all(struct model_session *session);
void model_portal_fini(struct model_portal *portal);

/* Where rows go. */
struct model_sink {
    fault (*row)(struct model_sink *sink, const struct sql_stmt *stmt,
                 const struct sql_value *values);
    struct model_session *session;
    struct model_portal *portal; /* for its formats */
    struct buffer *into;
    uint64_t rows;
};

/* --- running (model_run.c, model_change.c, model_utility.c) ----------------------------------- */

/** Plans and looks for the first rows: what goes wrong here goes wrong before any answer. */
fault model_run_begin(struct model_session *session, struct model_portal *portal) MUST_USE;
/** Runs up to `most` rows of it; writes the command's tag (empty: none, e.g. after COPY's error),
 *  or says that it is suspended. */
fault model_run(struct model_session *session, struct model_portal *portal, uint64_t max,
                bool describe, bool *ret_suspended, char tag[48]) MUST_USE;
/** The next rows of a query. */
fault model_run_rows(struct model_session *session, struct model_portal *portal, uint64_t max,
                     struct model_sink *sink) MUST_USE;
fault model_run_change(struct model_session *session, struct model_portal *portal,
                       struct model_sink *sink, char tag[48]) MUST_USE;
fault model_run_utility(struct model_session *session, struct model_portal *portal,
                        struct model_sink *sink, char tag[48]) MUST_USE;
fault model_run_prepare(struct model_session *session, const struct sql_stmt *stmt) MUST_USE;
fault model_run_execute(struct model_session *session, struct model_portal *portal,
                        struct model_sink *sink, char tag[48]) MUST_USE;
fault model_run_copy(struct model_session *session, struct model_portal *portal,
                     char tag[48]) MUST_USE;
fault model_run_fetch(struct model_session *session, const struct sql_stmt *stmt,
                      struct model_sink *sink, char tag[48]) MUST_USE;
fault model_run_declare(struct model_session *session, struct model_portal *outer) MUST_USE;
/** The table that a statement names; 42P01. */
fault model_table_find(struct model_session *session, struct span name,
                       struct model_table **ret) MUST_USE;
/** Whoever inserts there is refused by its trigger, before the first row. */
fault model_table_guard(struct model_session *session, const struct model_table *table) MUST_USE;
/** Values of all targets for the row in `columns`. */
fault model_project(const struct sql_scope *scope, const struct sql_stmt *stmt,
                    struct sql_value *values) MUST_USE;
uint32_t model_target_count(const struct sql_stmt *stmt);
/** The statement whose columns come back, through EXECUTE and FETCH; NULL: no rows. */
const struct sql_stmt *model_shape(struct model_session *session, const struct sql_stmt *stmt);
void model_discard(struct model_session *session, enum sql_discard what);
/** Temporary tables: at the session's end, and at that of a transaction or of its savepoints from
 *  `level` on. */
void model_temporary_fini(struct model_session *session);
void model_temporary_end(struct model_session *session, bool commit, uint32_t level);

/* --- advisory locks, notifications (model_locks.c, model_notify.c) ---------------------------- */

fault model_lock(struct model_session *session, int64_t key, bool transaction, bool wait,
                 bool *ret_got) MUST_USE;
bool model_unlock(struct model_session *session, int64_t key);
/** All of the session's, or all of its transaction's from `level` on. */
void model_unlock_all(struct model_session *session, bool transaction);
uint32_t model_locks_held(const struct model_session *session);
void model_listen(struct model_session *session, struct span channel);
void model_unlisten(struct model_session *session, struct span channel, bool all);
void model_notify(struct model_session *session, struct span channel, struct span payload);
void model_notify_end(struct model_session *session, bool commit);
/** Sends what has come for an idle session. */
void model_notify_deliver(struct model_session *session);
void model_notify_gone(struct model_session *session);

/* --- the session (model_session.c, model_out.c) ----------------------------------------------- */

struct model_error {
    bool fatal;
    char sqlstate[6];
    char message[400];
    char detail[200];
    char hint[200];
};

enum model_end { END_NOT, END_TERMINATED, END_SHUTDOWN, END_CRASHED };

struct model_session {
    struct node node;         /* of the model */
    struct node waiting_node; /* of model->waiting, while it waits for a lock */
    struct model *model;
    struct co *co;
    struct stream stream;
    struct address local; /* where it was accepted */
    moment accepted;
    bool began_standby; /* as model_is_standby() when the login ended */
    struct buffer in;   /* read and not yet taken: in_at on */
    size_t in_at;
    struct buffer out;
    uint32_t pid;
    uint32_t secret;
    uint64_t number;
    char user[MODEL_NAME];
    char database[MODEL_NAME];
    bool superuser;
    enum wire_replication replication; /* what it is for */
    bool ready;
    bool idle;     /* waits for a message */
    bool running;  /* a statement */
    bool cancel;   /* asked to */
    bool extended; /* the message at hand is one of a batch */
    bool skipping;
    bool protocol_lost; /* an error within a message: FATAL follows */
    enum model_end end; /* asked to */
    struct span query;  /* that runs, or ran; points into `query_text` */
    struct buffer query_text;
    struct model_error error;
    struct model_gucs gucs;
    struct model_tx tx;
    struct map statements;
    struct model_statement unnamed;
    struct map portals;
    struct list temporary;
    struct list channels;
    struct list pending_notifications; /* NOTIFY of this transaction */
    struct list incoming_notifications;
    struct list pending_channels;
    const struct model_session *waits_for;
    deadline statement_end; /* of statement_timeout */
    deadline lock_end;      /* of lock_timeout; 0: the statement has not waited yet */
    deadline idle_end;      /* of the timeouts of idle sessions */
    uint32_t nested;        /* EXECUTEs that we are in */
    bool ready_due;         /* ReadyForQuery comes next */
    struct buffer told;   /* what decoding will tell of this transaction; each text with its NUL */
    bool untold;          /* rows of the statement are not told one by one */
    bool decodes;         /* it has a slot of decoding */
    bool nudged;          /* there is more to decode */
    struct node *decoded; /* the latest record of model->log that was told; NULL: none */
    uint64_t decoded_to;
};

struct model_node {
    struct address address;
    bool is_standby;
    uint32_t timeline;
    uint64_t stopped; /* replay has stopped at this place; 0: it has not */
};

struct model {
    struct model_options options;
    struct listener listener;
    struct co_group coroutines;
    struct co_group acceptors;
    enum model_state state;
    bool listening;
    bool standby;
    struct model_node nodes[MODEL_NODES]; /* addresses with a role of their own */
    uint32_t node_count;
    struct list sessions;
    struct list waiting; /* sessions that wait for a lock */
    struct list locks;
    struct model_table kv;
    struct model_table guarded; /* whose trigger before INSERT refuses */
    struct model_table registers[MODEL_REGISTERS];
    struct list log;     /* records of commits (model_decode.c) */
    uint64_t inserted;   /* the end of the latest one */
    uint64_t flushed;    /* up to here */
    deadline flush_due;  /* of what is not flushed; NEVER: all is */
    uint64_t xid;        /* the latest id of a transaction */
    uint64_t completed;  /* the latest one of those that are over */
    uint32_t roles;      /* times that a role was changed */
    uint32_t definition; /* times that the view was replaced */
    uint64_t order;      /* of commits */
    uint64_t log_end;    /* of what is streamed to standbys */
    uint32_t pid;
    uint32_t notices; /* that say something of their own, so far */
    uint64_t chance;
    uint32_t next_oid;
    char *defaults[GUC_COUNT_MAX]; /* NULL: the row's */
    uint8_t mock_secret[32];
    struct model_counts counts;
};

static inline bool tx_is_failed(const struct model_session *session)
{
    return session->tx.block == TX_FAILED;
}

/** Whether the server to which the client has connected is a standby. */
bool model_is_standby(const struct model_session *session);
/** Returns its timeline, and the place in the log up to which it has written or replayed. */
uint32_t model_timeline(const struct model_session *session);
/** When it was started: different for each address with a role. */
uint32_t model_started(const struct model_session *session);
uint64_t model_place(const struct model_session *session);
/** How many commits the session's server has replayed, or made. */
uint64_t model_replayed(const struct model_session *session);
/** Whether a standby has stopped to replay. */
bool model_any_behind(const struct model *model);
/** Draws below `limit`. */
uint64_t model_draw(struct model *model, uint64_t limit);
/** True once in `chances`; 0: never. */
bool model_chance(struct model *model, uint32_t chances);
/** Part of session->error; returns FAULT_UPSTREAM. */
fault model_raise(struct model_session *session, const char *sqlstate, const char *format, ...)
    PRINTF_LIKE(3, 4) COLD;
fault model_raise_fatal(struct model_session *session, const char *sqlstate, const char *format,
                        ...) PRINTF_LIKE(3, 4) COLD;
void model_detail(struct model_session *session, const char *format, ...) PRINTF_LIKE(2, 3);
void model_hint(struct model_session *session, const char *format, ...) PRINTF_LIKE(2, 3);
/** A warning or notice, if client_min_messages lets it through. */
fault model_warn(struct model_session *session, const char *severity, const char *sqlstate,
                 const char *format, ...) PRINTF_LIKE(4, 5);

/** Tells whoever watches of the message that begins at `start` of what is written. */
void model_tells(const struct model_session *session, size_t start);
/** Sends all that is written; may cut it and end the session. */
fault model_flush(struct model_session *session) MUST_USE;
/** Sends when much is written, as the server's buffer of 8 KiB does. */
fault model_flush_much(struct model_session *session) MUST_USE;
void model_put_error(struct model_session *session);
void model_put_row_description(struct model_session *session, const struct sql_stmt *stmt,
                               const struct model_portal *portal);
void model_put_row(struct buffer *out, struct sql_arena *arena, const struct sql_stmt *stmt,
                   const struct sql_value *values, const struct model_portal *portal);

/** The next message; answers nothing.  `copying`: within COPY, where nobody is idle. */
fault model_read(struct model_session *session, bool copying, struct wire_frame *ret) MUST_USE;
/** The same for who streams: AGAIN if no whole message has come by then. */
fault model_read_by(struct model_session *session, deadline by, struct wire_frame *ret) MUST_USE;
/** Whether the session must stop what it does: 57014, or its end. */
fault model_check(struct model_session *session) MUST_USE;
/** Waits for a wake-up or until `by`: OK for both; the faults of model_check. */
fault model_wait(struct model_session *session, deadline by) MUST_USE;
/** Takes its time, if it is a slow one. */
fault model_dawdle(struct model_session *session) MUST_USE;
/** The same behind the rows of a query, which others may change meanwhile. */
fault model_linger(struct model_session *session) MUST_USE;
/** At a standby, a query may conflict with recovery, `rarer` times as rarely as the fault says. */
fault model_conflict(struct model_session *session, uint32_t rarer) MUST_USE;
/** The same for a lock that another session holds; 40P01, 55P03. */
fault model_wait_lock(struct model_session *session, const struct model_session *holder) MUST_USE;
void model_wake_waiters(struct model *model);

void model_session_run(struct model_session *session);
/** Whatever a statement begins with: faults, its text for those who look. */
fault model_statement_begins(struct model_session *session, struct span text) MUST_USE;
void model_statement_ends(struct model_session *session, const char *sqlstate);
/** Whether a text is one in UTF-8; 22021. */
fault model_check_text(struct model_session *session, struct span text) MUST_USE;
/** How many of its bytes are good, from the first on. */
size_t model_text_good(struct span text);
/** A string of a message, and its end; 08P01. */
fault model_get_string(struct model_session *session, struct wire_reader *in,
                       struct span *ret) MUST_USE;
fault model_get_end(struct model_session *session, const struct wire_reader *in) MUST_USE;
fault model_query(struct model_session *session, struct span text) MUST_USE;
fault model_parse(struct model_session *session, struct span body) MUST_USE;
fault model_bind(struct model_session *session, struct span body) MUST_USE;
fault model_describe(struct model_session *session, struct span body) MUST_USE;
fault model_execute(struct model_session *session, struct span body) MUST_USE;
fault model_close(struct model_session *session, struct span body) MUST_USE;

/* The log, for logical decoding (model_decode.c). */
enum model_change { MODEL_INSERTS, MODEL_UPDATES, MODEL_DELETES };
void model_log_init(struct model *model);
void model_log_fini(struct model *model);
/** Gives the transaction its id, unless it has one. */
void model_log_xid(struct model_session *session);
/** The transaction is over, and can be seen if it was committed. */
void model_log_completed(struct model_session *session);
struct span model_log_snapshot(struct model_session *session, struct sql_arena *arena);
/** Suspends until all transactions that write now have ended. */
fault model_log_await_running(struct model_session *session) MUST_USE;
/** What decoding will tell of this transaction. */
void model_log_tell(struct model_session *session, const char *format, ...) PRINTF_LIKE(2, 3);
void model_log_row(struct model_session *session, const struct model_table *table,
                   enum model_change change, int32_t old, const struct sql_value row[2]);
/** Drops what was told behind this size: of a savepoint, or all. */
void model_log_forget(struct model_session *session, size_t from);
/** Inserts the transaction's commit and flushes it, or not yet.  May suspend: others see nothing of
 *  the transaction before it returns. */
void model_log_commit(struct model_session *session);
uint64_t model_log_inserted(struct model *model);
uint64_t model_log_flushed(struct model *model);
void model_decode_begin(struct model_session *session);
/** Sends what is flushed. */
fault model_decode_some(struct model_session *session) MUST_USE;
deadline model_decode_due(const struct model_session *session);

/* What the pooler asks for answers from memory, and the view (model_catalog.c). */
/** The table reg_a or reg_b; NULL: another name. */
struct model_table *model_register(struct model *model, struct span name);
int64_t model_settings_digest(const struct model_session *session);
bool model_asks_catalog(const struct sql_parser *parser);
fault model_read_catalog(struct sql_parser *parser, struct sql_stmt *stmt) MUST_USE;
bool model_asks_facts(const struct sql_parser *parser);
fault model_read_facts(struct sql_parser *parser, struct sql_stmt *stmt) MUST_USE;
bool model_reads_view(const struct sql_parser *parser);
fault model_read_view(struct sql_parser *parser, struct sql_stmt *stmt) MUST_USE;
fault model_call_pick(const struct sql_scope *scope, const struct sql_value *args,
                      struct sql_value *ret);
fault model_call_digest(const struct sql_scope *scope, const struct sql_value *args,
                        struct sql_value *ret);
fault model_call_fact(const struct sql_scope *scope, const struct sql_value *args,
                      struct sql_value *ret);
fault model_call_context(const struct sql_scope *scope, const struct sql_value *args,
                         struct sql_value *ret);

/** A Query message on a connection for replication (model_walsender.c). */
fault model_replication_command(struct model_session *session, struct span text) MUST_USE;

/** Startup packet to reported parameters. */
fault model_login(struct model_session *session) MUST_USE;
void model_cancel_request(struct model *model, const struct wire_cancel *cancel);
struct model_session *model_session_by_pid(const struct model *model, uint32_t pid);
