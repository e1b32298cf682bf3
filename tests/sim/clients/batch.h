#pragma once
/*
 * batch.h - messages that a client sends together, and the replies that must come.
 *
 * Each function appends a message to the client's buffer and the expected reply to the batch.
 * batch_run sends the messages and compares each reply with the expected one.  After an error the
 * replies up to the next ReadyForQuery are skipped, as the protocol says.
 */
#include "clients/client.h"

struct answers_read;

#define BATCH_MAX 160

enum expected {
    EXPECT_PARSED,
    EXPECT_BOUND,
    EXPECT_CLOSED,
    EXPECT_PARAMETERS, /* of a Describe of a statement: ParameterDescription */
    EXPECT_ROWS,       /* RowDescription */
    EXPECT_NO_ROWS,    /* NoData */
    EXPECT_ANSWER,     /* the answer of a statement: rows and the command's tag */
    EXPECT_SUSPENDED,  /* some rows, and PortalSuspended */
    EXPECT_EMPTY,
    EXPECT_COPY_IN,  /* CopyInResponse */
    EXPECT_COPY_OUT, /* all of COPY TO STDOUT */
    EXPECT_READY,
};

/* What a statement changes in the state that its session must have. */
enum effect {
    EFFECT_NONE,
    EFFECT_BEGIN,
    EFFECT_COMMIT,
    EFFECT_ROLLBACK,
    EFFECT_SAVEPOINT,
    EFFECT_BACK,    /* to the last savepoint */
    EFFECT_RELEASE, /* of it */
    EFFECT_SET,     /* value `b` of setting `a` */
    EFFECT_SET_LOCAL,
    EFFECT_LISTEN,
    EFFECT_UNLISTEN,
    EFFECT_PREPARED, /* named statement `a` */
    EFFECT_CLOSED,
    EFFECT_CLOSED_ALL,
};

struct expectation {
    enum expected what;
    enum effect effect;
    uint8_t a, b;
    bool simple; /* EXPECT_ANSWER: of a Query message: rows are described first */
    bool has_rows;
    const char *sqlstate; /* it must fail with this SQLSTATE; NULL: it must succeed */
    uint32_t rows;        /* number of rows, each with `text`, or `text` and its number */
    bool numbered;
    uint32_t first; /* number of the first */
    bool reads;     /* the row has the value of a register */
    uint32_t number;
    const struct answers_read *read; /* the row is of a shared answer; NULL: it is not */
    bool may_miss;                   /* an UPDATE whose row another one may have */
    char tag[24];
    char label[24]; /* name of the described column; empty: any */
    char text[CLIENT_TEXT];
};

struct batch {
    struct sim_client *client;
    struct expectation expected[BATCH_MAX];
    uint32_t count;
    uint32_t at;     /* index of the reply that is read */
    uint32_t rows;   /* that have come of it */
    bool failed;     /* an error came since the last ReadyForQuery */
    bool meant;      /* it was the expected one */
    bool refused;    /* no server was free */
    bool any_failed; /* in the whole batch */
    bool missed;     /* an UPDATE that may miss its row has done so */
    bool anonymous;  /* its statements do not contain the number of the login */
    bool half_sent;  /* a part was sent already, at waits_since */
    bool partly;     /* replies are read before the batch is complete */
    bool in_block;   /* the client will be in a transaction block */
};

void batch_begin(struct batch *batch, struct sim_client *client);
/** Begins a batch of plain statements, each simple, or extended with its own Sync. */
void batch_begin_mixed(struct batch *batch, struct sim_client *client, uint32_t count);
/** Sends it, and reads all answers. */
fault batch_run(struct batch *batch) MUST_USE;
/** Only sends it. */
fault batch_send(struct batch *batch) MUST_USE;
/** Reads the replies of a batch that was sent. */
fault batch_receive(struct batch *batch) MUST_USE;
/** Forgets the expected replies. */
void batch_drop(struct batch *batch);

/* --- statements ------------------------------------------------------------------------------- */

/* A statement, and the reply that must come. */
struct statement {
    char text[CLIENT_TEXT * 2];
    struct expectation expected;
};

/** Makes a statement.  A comment in it has the number of the login, which the oracle reads. */
void statement_make(struct sim_client *client, struct statement *statement, const char *tag,
                    enum effect effect, const char *format, ...) PRINTF_LIKE(5, 6);
/** A statement that returns a row with a unique text. */
void statement_echo(struct sim_client *client, struct statement *statement);
void statement_fail(struct sim_client *client, struct statement *statement);
/** Writes a row of the open record; begins one if there is none. */
void statement_write(struct sim_client *client, struct statement *statement);
/** A random statement that changes nothing; any random statement. */
void statement_plain(struct sim_client *client, struct statement *statement);
void statement_any(struct sim_client *client, struct statement *statement);
void statement_set(struct sim_client *client, struct statement *statement, bool local);
void statement_show(struct sim_client *client, struct statement *statement);

/** A Query message of one statement, with its ReadyForQuery. */
void batch_query(struct batch *batch, const struct statement *statement);
/** A Query message of several. */
void batch_queries(struct batch *batch, const struct statement *statements, uint32_t count);
/** Parse, Bind, Describe (perhaps), Execute, all unnamed; no Sync. */
void batch_extended(struct batch *batch, const struct statement *statement, bool describe);
void batch_sync(struct batch *batch);
void batch_flush(struct batch *batch);
void batch_expect(struct batch *batch, const struct expectation *expected);

/* Single messages. */
void put_parse(struct sim_client *client, const char *name, const char *text);
void put_bind(struct sim_client *client, const char *portal, const char *name, const char *value);
void put_execute(struct sim_client *client, const char *portal, uint32_t rows);
void put_target(struct sim_client *client, uint8_t type, char kind, const char *name);

/** CopyData or CopyFail. */
void put_copy(struct sim_client *client, uint8_t type, const char *text);
/** CopyData: a row of the open record. */
void put_row(struct sim_client *client);

/** Runs one statement, by the simple or the extended protocol. */
fault sim_client_run(struct sim_client *client, const struct statement *statement) MUST_USE;
