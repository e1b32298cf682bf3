#pragma once
/*
 * batch.h - what a client sends at once, and the answers that it must get.
 *
 * Each put appends the bytes to the person's buffer and what must come back to the batch;
 * batch_run sends and reads, and holds each answer to its question.  An error that must or may come
 * takes the answers up to the next ReadyForQuery with it, as the protocol says.
 */
#include "people/person.h"

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

/* What a statement does to what its client believes. */
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
    const char *sqlstate; /* it must fail with this; NULL: it must not fail */
    uint32_t rows;        /* so many, each with `text`; or text followed by its number */
    bool numbered;
    uint32_t first; /* number of the first */
    char tag[24];
    char label[24]; /* of the column that is described; empty: any */
    char text[PERSON_TEXT];
};

struct batch {
    struct person *person;
    struct expectation expected[BATCH_MAX];
    uint32_t count;
    uint32_t at;     /* while answers are read */
    bool failed;     /* the unit that is read: an error came */
    bool meant;      /* it was the one that had to come */
    bool refused;    /* it was for want of a server */
    bool any_failed; /* in the whole batch */
    bool anonymous;  /* what it asks does not say who asks */
    bool half_sent;  /* its first part has gone out, and asked_at is the time of that */
    bool partly;     /* answers are heard before all that is asked has its expectation */
    bool in_block;   /* what the client will be in when all went well so far */
};

void batch_begin(struct batch *batch, struct person *person);
/** Sends it, and reads all answers. */
fault batch_run(struct batch *batch) MUST_USE;
/** Only sends it. */
fault batch_send(struct batch *batch) MUST_USE;
/** Only reads; what was put was sent. */
fault batch_hear(struct batch *batch) MUST_USE;
/** What was put will not be heard: forgotten. */
void batch_drop(struct batch *batch);

/* --- statements ------------------------------------------------------------------------------- */

/* A statement's text, and what it must bring. */
struct statement {
    char text[PERSON_TEXT * 2];
    struct expectation expected;
};

/** The text says who asks: in a comment that the oracle reads. */
void statement_make(struct person *person, struct statement *statement, const char *tag,
                    enum effect effect, const char *format, ...) PRINTF_LIKE(5, 6);
/** A row that repeats a text of its own. */
void statement_echo(struct person *person, struct statement *statement);
void statement_fail(struct person *person, struct statement *statement);
/** Writes a row of the deed that is open; begins one if there is none. */
void statement_write(struct person *person, struct statement *statement);
/** Some harmless statement; one that changes nothing. */
void statement_plain(struct person *person, struct statement *statement);
void statement_any(struct person *person, struct statement *statement);
void statement_set(struct person *person, struct statement *statement, bool local);
void statement_show(struct person *person, struct statement *statement);

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
void put_parse(struct person *person, const char *name, const char *text);
void put_bind(struct person *person, const char *portal, const char *name, const char *value);
void put_execute(struct person *person, const char *portal, uint32_t rows);
void put_target(struct person *person, uint8_t type, char kind, const char *name);

/** CopyData or CopyFail. */
void put_copy(struct person *person, uint8_t type, const char *text);
/** CopyData: a row of the deed that is open. */
void put_row(struct person *person);

/** Asks one statement by itself, in one protocol or the other. */
fault person_asks(struct person *person, const struct statement *statement) MUST_USE;
