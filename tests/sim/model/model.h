#pragma once
/*
 * model.h - a model of a PostgreSQL 15 server, for the simulated world and for the real one.
 *
 * It speaks the protocol as the server does, message by message (tests/integration/test_model.py
 * holds it to that), and knows a small SQL over one table, kv(k int primary key, v text), and
 * temporary tables of the same columns.  A model belongs to the machine that starts it: sessions
 * are coroutines there, and all calls that change anything must come from there.  Reading the
 * table, the counters and the views of sessions never suspends.
 *
 * What is random in it comes from its seed.  Nothing but the calls below and `struct model_faults`
 * makes it misbehave.  Design: docs/internals/model-postgres.md
 */
#include "machine/stream.h"
#include "wire/messages.h"
#include "wire/startup.h"

struct model;

/* What proves a password. */
enum model_method { MODEL_SCRAM, MODEL_MD5, MODEL_CLEARTEXT };

/* Who may log in.  Without a password and a verifier: trust.  SCRAM-SHA-256 has one iteration, or
 * what the verifier has. */
struct model_user {
    const char *name;
    const char *password;
    bool superuser;
    bool replication; /* may stream the log; superusers may */
    const char
        *verifier; /* of SCRAM, as pg_authid has it; NULL: of the password, salt of its own */
    enum model_method method;
};

/* Once in how many chances; 0: never.  A chance is what the comment names. */
struct model_faults {
    uint32_t crash;     /* a read or a write: the connection ends there, in mid message too */
    uint32_t terminate; /* a message from the client: FATAL 57P01 instead of an answer */
    uint32_t slow;      /* a statement: it takes up to slow_max longer */
    uint32_t linger;    /* a query: it ends so much later than its snapshot was taken */
    uint32_t slow_login;
    duration slow_max;
    duration slow_login_max; /* 0: slow_max */
    uint32_t dismiss;        /* a login: FATAL 57P01 right behind it */
    uint32_t notice;      /* a statement: a NOTICE ahead of its answer; a login: right behind it */
    uint32_t parameter;   /* the same: a ParameterStatus that says nothing new */
    uint32_t refuse;      /* a login: FATAL 57P03, "the database system is starting up" */
    uint32_t crowded;     /* a login: FATAL 53300, "sorry, too many clients already" */
    uint32_t cancel_late; /* a cancel request: carried out up to late_max later */
    duration late_max;
    uint32_t fail;         /* a statement: ERROR 53200, "out of memory" */
    uint32_t impostor;     /* a connection: somebody else answers, with a certificate of his own */
    uint32_t flush_oddly;  /* a message: what was answered so far is sent at once */
    uint32_t asynchronous; /* a commit: it is flushed later */
    uint32_t standby;      /* a commit: others see it up to standby_max later */
    duration standby_max;
    uint32_t conflict; /* a query at a standby: it conflicts with recovery, at once or later */
};

/* Events that the oracle of a simulation observes.  Called on the model's machine; must
 * not suspend.  Any may be NULL. */
struct model_session_view;
struct model_watch {
    void *argument;
    void (*session_began)(void *argument, const struct model_session_view *session);
    void (*session_ended)(void *argument, const struct model_session_view *session);
    /* A statement begins to run: of a Query message, or by Execute. */
    void (*statement)(void *argument, const struct model_session_view *session, struct span text);
    /* Its end; `sqlstate` is NULL when it was well. */
    void (*finished)(void *argument, const struct model_session_view *session,
                     const char *sqlstate);
    /* A cancel request met it. `text` is what ran (empty: nothing did, it will be forgotten). */
    void (*cancelled)(void *argument, const struct model_session_view *session, struct span text);
    /* A transaction that wrote was committed, or not; before the client hears of it. */
    void (*decided)(void *argument, const struct model_session_view *session, bool committed);
    /* A NoticeResponse, NotificationResponse or ParameterStatus was written, as it will be sent. */
    void (*async_sent)(void *argument, const struct model_session_view *session, uint8_t type,
                       struct span body);
    /* An impostor received a login or a cancel request. */
    void (*impostor_reached)(void *argument);
    /* A standby has sent the body of a CopyData message while it is streamed to. */
    void (*status_received)(void *argument, const struct model_session_view *session,
                            struct span body);
    /* ReadyForQuery is about to be sent. */
    void (*ready)(void *argument, const struct model_session_view *session);
};

struct model_options {
    struct address address; /* where it listens; a port of 0 is chosen, and kept for ever */
    const struct model_user *users;
    size_t user_count;
    const char *const *databases; /* NULL at the end; NULL: any name is one */
    const char *version;          /* server_version; NULL: 15.20 */
    uint32_t connections_max;     /* max_connections; 0: 100 */
    uint32_t reserved;            /* of these, for superusers */
    bool standby;
    bool decodes;                         /* wal_level is logical, and commits are kept for it */
    struct tls_context *tls;              /* borrowed; NULL: SSLRequest is answered with 'N' */
    struct tls_context *const *impostors; /* the same, of those who answer in its place */
    uint32_t impostor_count;
    uint64_t seed;
    struct model_faults faults;
    struct model_watch watch;
};

/** Caller owns.  All that `options` points to must outlive the model. */
fault model_new(const struct model_options *options, struct model **ret) MUST_USE;
/** It must be stopped.  NULL-safe; nulls *model. */
void model_free(struct model **model);

/* --- its life, on its machine ----------------------------------------------------------------- */

/** Listens; from then on it serves.  Faults: SYSTEM. */
fault model_start(struct model *model) MUST_USE;
/** Ends as a fast shutdown does: sessions hear FATAL 57P01, newcomers 57P03, then nobody listens.
 *  Suspends until all sessions are gone, at most until `by`, then they are cut off.  What was
 *  committed stays: model_start serves it again. */
void model_stop(struct model *model, deadline by);
/** All sessions end at once, without a word and in mid message; what was not committed is lost.  It
 *  goes on listening: newcomers hear 57P03 until model_set_state(MODEL_READY). */
void model_crash(struct model *model);
/** The same for the sessions at one of its addresses.  It goes on accepting connections there. */
void model_crash_at(struct model *model, const struct address *address);
/** Nobody listens any more either (a machine that lost its power); then model_start.  Suspends
 *  until the coroutines are gone, which they are at once. */
void model_kill(struct model *model);

enum model_state {
    MODEL_READY,
    MODEL_STARTING,      /* 57P03 the database system is starting up */
    MODEL_RECOVERING,    /* 57P03 the database system is in recovery mode */
    MODEL_SHUTTING_DOWN, /* 57P03 the database system is shutting down */
};
/** What newcomers hear; those who are in stay. */
void model_set_state(struct model *model, enum model_state state);
/** A standby becomes a primary: sessions report in_hot_standby with their next ReadyForQuery. */
void model_promote(struct model *model);
/** Makes one of its addresses a standby, or a primary again.  Data is shared by all of them, but
 * for what a standby has not replayed. */
#define MODEL_NODES 8
void model_set_standby(struct model *model, const struct address *address, bool is_standby);
/** Sets the timeline of one of its addresses; 1 at first. */
void model_set_timeline(struct model *model, const struct address *address, uint32_t timeline);
/** A standby stops to replay the log, or goes on and has replayed all of it.  What is committed
 *  meanwhile is not seen there. */
void model_set_behind(struct model *model, const struct address *address, bool is_behind);
/** Whether the primary has written more than this standby has replayed. */
bool model_is_behind(const struct model *model, const struct address *address);
#define MODEL_SYSTEM "7300000000000000001" /* the system identifier */
/** Another max_connections. */
void model_set_connections(struct model *model, uint32_t max);
/** Another default of a setting, as a reload of postgresql.conf brings it.  False: no such
 *  setting, or no such value. */
bool model_set_default(struct model *model, const char *name, const char *value);
void model_set_faults(struct model *model, const struct model_faults *faults);
/** All faults off, and nobody is slow any more. */
void model_end_faults(struct model *model);

/** pg_terminate_backend, pg_cancel_backend, and a backend that dies without a word.  False: there
 *  is none. */
bool model_terminate(struct model *model, uint32_t pid);
bool model_cancel(struct model *model, uint32_t pid);
bool model_crash_session(struct model *model, uint32_t pid);
/** NOTIFY of somebody else, in a transaction that is committed at once.  Returns how many sessions
 *  listen. */
uint32_t model_announce(struct model *model, const char *channel, const char *payload);

/* --- looking in, never suspends --------------------------------------------------------------- */

/** Where it listens. */
struct address model_address(const struct model *model);

/* A session as it is now.  Spans live until it runs again. */
struct model_session_view {
    uint32_t pid;
    uint64_t number; /* logins of this model, counted */
    struct span user;
    struct span database;
    struct span application_name;
    enum wire_transaction status;
    bool running;        /* a statement */
    bool gone;           /* its client's end has come, which it does not look at while it runs */
    bool ready;          /* logged in */
    bool replicates;     /* it was begun for that */
    struct span query;   /* that runs, or ran last */
    uint32_t statements; /* prepared, with a name */
    uint32_t portals;
    uint32_t locks;       /* advisory, of the session */
    uint32_t channels;    /* listened to */
    uint32_t temporary;   /* tables */
    struct address local; /* to which the client connected, with the port */
    moment accepted;      /* the connection */
    bool standby;         /* it is one now */
    bool began_standby;   /* it was one when the login ended */
    bool in_block;        /* in a transaction that a BEGIN has begun */
    uint32_t timeline;
    uint64_t place; /* in the log, up to which the server has written or replayed */
    const struct stream *stream;
};
/** All sessions, in order of their logins: NULL ends. */
struct model_session;
const struct model_session *model_session_next(const struct model *model,
                                               const struct model_session *after);
struct model_session_view model_session_look(const struct model_session *session);
/** What SHOW would say there; the empty span where there is no such setting. */
struct span model_session_setting(const struct model_session *session, const char *name);
/** NULL: none with this pid. */
const struct model_session *model_session_find(const struct model *model, uint32_t pid);

#define MODEL_LOG_BEGINS   0x3000000u
#define MODEL_LOG_AT_FIRST 0x100000u
/** Where the log ends that standbys are streamed, and what stands at a place in it. */
uint64_t model_log_end(const struct model *model);
uint8_t model_log_byte(uint64_t at);

struct model_counts {
    uint64_t connections; /* accepted, cancel requests too */
    uint64_t logins;
    uint64_t refused;
    uint64_t cancels; /* requests with a good key */
    uint64_t statements;
    uint64_t commits; /* of transactions that wrote */
    uint64_t crashes;
    uint32_t sessions;     /* alive */
    uint32_t sessions_max; /* ever at a time */
};
struct model_counts model_counts(const struct model *model);

/** The committed value of a key in kv: false when there is none.  The span lives until the table
 *  changes. */
bool model_table_read(const struct model *model, int32_t key, struct span *ret);
/** Each committed row. */
void model_table_each(const struct model *model, void *argument,
                      void (*each)(void *argument, int32_t key, struct span value));
/* Tables of the same columns as kv, whose rows are written again and again. */
#define MODEL_REGISTERS 2u
extern const char *const model_register_names[MODEL_REGISTERS]; /* reg_a, reg_b */
/** Changes a role from another database, which no log of this one tells; or replaces the view
 * "seen", which the event trigger tells.  The view shows the sum of both. */
void model_change_role(struct model *model);
uint32_t model_context(const struct model *model);
/** The committed value of a row of one of them. */
bool model_register_read(const struct model *model, uint32_t table, int32_t key, struct span *ret);
/** Puts a committed row there, as if it had always been. */
fault model_register_put(struct model *model, uint32_t table, int32_t key,
                         struct span value) MUST_USE;
/** Puts a committed row there, as if it had always been. */
fault model_table_put(struct model *model, int32_t key, struct span value) MUST_USE;
