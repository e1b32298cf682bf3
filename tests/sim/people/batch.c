#include "people/batch.h"

#include "oracle/arrivals.h"
#include "oracle/deeds.h"
#include "oracle/pins.h"
#include "stage/stage.h"

#include <stdio.h>
#include <string.h>

/*
 * Answers, held to what was asked.
 */
#define EARLY_MAX ms(2) /* a claim may begin with the first piece of what is asked */
#define LATE_MAX  ms(5)

void batch_begin(struct batch *batch, struct person *person)
{
    batch->person = person;
    batch->count = batch->at = 0;
    batch->failed = batch->any_failed = batch->refused = batch->partly = false;
    batch->in_block = person->status != WIRE_TX_IDLE;
    person->sets = batch->anonymous = batch->half_sent = false;
    person_check_silence(person);
}

void batch_expect(struct batch *batch, const struct expectation *expected)
{
    PROVE(batch->count < BATCH_MAX);
    batch->expected[batch->count++] = *expected;
    if (expected->effect == EFFECT_BEGIN)
        batch->in_block = true;
    if (expected->effect == EFFECT_COMMIT || (expected->what == EXPECT_READY && !batch->in_block))
        batch->person->may_commit = true;
    /* These change settings on the server as they run, and what comes behind is seen with them. */
    if (expected->effect != EFFECT_NONE && expected->effect != EFFECT_PREPARED &&
        expected->effect != EFFECT_CLOSED && expected->effect != EFFECT_CLOSED_ALL)
        batch->person->sets = true;
}

void batch_drop(struct batch *batch)
{
    batch->count = batch->at = 0;
}

/* --- what a statement has done ---------------------------------------------------------------- */

static void effect_ends(struct person *person, bool commit)
{
    if (commit)
        memcpy(person->now.values, person->now.lasting, sizeof(person->now.values));
    else
        person->now = person->before;
    person->before = person->now;
    person->savepoints = 0;
    person_settle(person, commit);
    person->status = WIRE_TX_IDLE;
}

static void effect_back(struct person *person)
{
    PROVE(person->savepoints > 0);
    person->now = person->at[person->savepoints - 1];
    if (person->has_deed)
        deed_back(person->deed, person->rows_at[person->savepoints - 1]);
    person->status = WIRE_TX_ACTIVE;
}

static void effect_apply(struct person *person, const struct expectation *expected)
{
    switch (expected->effect) {
    case EFFECT_BEGIN:
        person->status = WIRE_TX_ACTIVE;
        break;
    case EFFECT_COMMIT:
        effect_ends(person, person->status != WIRE_TX_FAILED);
        break;
    case EFFECT_ROLLBACK:
        effect_ends(person, false);
        break;
    case EFFECT_SAVEPOINT:
        PROVE(person->savepoints < SAVEPOINTS);
        person->at[person->savepoints] = person->now;
        person->rows_at[person->savepoints++] = person->has_deed ? deed_rows(person->deed) : 0;
        break;
    case EFFECT_BACK:
        effect_back(person);
        break;
    case EFFECT_RELEASE:
        person->savepoints -= 1;
        break;
    case EFFECT_SET:
        person->now.lasting[expected->a] = expected->b;
        person->now.values[expected->a] = expected->b;
        break;
    case EFFECT_SET_LOCAL:
        person->now.values[expected->a] = expected->b;
        break;
    case EFFECT_LISTEN:
    case EFFECT_UNLISTEN:
        person->listens = expected->effect == EFFECT_LISTEN;
        break;
    case EFFECT_PREPARED:
    case EFFECT_CLOSED:
        person->prepared[expected->a] = expected->effect == EFFECT_PREPARED;
        break;
    case EFFECT_CLOSED_ALL:
        memset(person->prepared, 0, sizeof(person->prepared));
        break;
    case EFFECT_NONE:
        break;
    }
}

/* A statement that ends a failed transaction runs within it, any other does not. */
static bool effect_leaves(enum effect effect)
{
    return effect == EFFECT_COMMIT || effect == EFFECT_ROLLBACK || effect == EFFECT_BACK;
}

/* --- errors ----------------------------------------------------------------------------------- */

/* Whether the world has given a reason for an error that nobody has asked for. */
static bool error_excused(const struct person *person, const struct wire_error *error)
{
    if (span_is(error->sqlstate, "57014"))
        /* Where ends are heard that nobody sent, a cancel request seems to be through too early. */
        return person->wants_cancel || stage_has(KIND_statement_timeout) ||
               stage_has(KIND_half_ends);
    return stage_excuses_error(person, error);
}

/* The next claim of a client whose claim was refused: it begins with the refusal, which the client
 * hears later if it was still sending. */
static deadline claim_begins(const struct person *person)
{
    deadline refused = later(person->asked_at, stage.setup.claim_timeout);
    return stage_has(KIND_punctual) && refused.us < now().us ? refused : now();
}

/* A claim is refused at claim_timeout, where nothing is late.  It begins with the first piece of
 * what is asked, or, where the server was given back between two statements, with the last. */
static void error_is_in_time(const struct person *person, const struct wire_error *error)
{
    static const char claim[] = "within claim_timeout";
    duration limit = stage.setup.claim_timeout;
    if (!stage_has(KIND_punctual) || !stage_is_exact() || !person->idle ||
        memmem(error->message.at, error->message.size, claim, sizeof(claim) - 1) == NULL)
        return;
    int64_t passed = between(person->asked_at, now()).us;
    int64_t waited = MIN_OF(passed, between(person->said_at, now()).us);
    PROVE(passed >= limit.us - EARLY_MAX.us && waited <= limit.us + limit.us / 20 + LATE_MAX.us,
          "client %u is refused after %lld us, claim_timeout is %lld us", person->number,
          (long long)passed, (long long)limit.us);
}

/* It is the answer to `expected`; what follows in its unit is skipped. */
static fault batch_error(struct batch *batch, const struct expectation *expected)
{
    struct person *person = batch->person;
    struct wire_error error;
    PROVE(wire_read_error(person->talk.frame.body, &error) == OK);
    say("client", person->number, "hears %.*s %.*s", SPAN_ARG(error.sqlstate),
        SPAN_ARG(error.message));
    error_is_in_time(person, &error);
    pins_check_refusal(error.message);
    batch->failed = batch->any_failed = true;
    bool refused = person->status == WIRE_TX_FAILED && !effect_leaves(expected->effect) &&
                   span_is(error.sqlstate, "25P02");
    batch->refused = span_is(error.sqlstate, "53300");
    bool meant = expected->sqlstate != NULL && span_is(error.sqlstate, expected->sqlstate);
    batch->meant = meant;
    PROVE(refused || meant || error_excused(person, &error),
          "client %u: '%.*s' (%.*s) came for '%s'", person->number, SPAN_ARG(error.message),
          SPAN_ARG(error.sqlstate), expected->text);
    stage.counts->errors += meant;
    stage.counts->cancelled += span_is(error.sqlstate, "57014");
    if (person->status == WIRE_TX_ACTIVE) {
        person->status = WIRE_TX_FAILED;
        person->now = person->savepoints > 0 ? person->at[person->savepoints - 1] : person->before;
    }
    return OK;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* The next message of an answer; *ret_error: it is an error, and was dealt with. */
static fault batch_next(struct batch *batch, const struct expectation *expected, bool *ret_error)
{
    struct person *person = batch->person;
    TRY(person_next(person));
    *ret_error = person->talk.frame.type == WIRE_ERROR;
    return *ret_error ? batch_error(batch, expected) : OK;
}

static void batch_wrong(const struct batch *batch, const struct expectation *expected)
{
    const struct wire_frame *frame = &batch->person->talk.frame;
    PROVE(false, "client %u: a '%c' of %zu bytes ('%.*s') came as answer %u of %u ('%s', %d)",
          batch->person->number, frame->type, frame->body.size, (int)MIN_OF(frame->body.size, 60),
          (const char *)frame->body.at, batch->at, batch->count, expected->text, expected->what);
}

static void batch_row(const struct batch *batch, const struct expectation *expected, uint32_t row)
{
    char text[PERSON_TEXT + 16];
    const struct person *person = batch->person;
    struct wire_reader in = wire_reader_over(person->talk.frame.body);
    uint16_t columns = wire_get_u16(&in);
    uint32_t size = columns > 0 ? wire_get_u32(&in) : 0;
    struct span got = wire_get_bytes(&in, size);
    PROVE(columns == 1 && wire_done(&in) == OK, "client %u: a row of %u columns", person->number,
          columns);
    if (expected->numbered)
        snprintf(text, sizeof(text), "%s%u", expected->text, expected->first + row);
    else
        snprintf(text, sizeof(text), "%s", expected->text);
    PROVE(span_is(got, text), "client %u: '%.*s' came instead of '%s'", person->number,
          SPAN_ARG(got), text);
}

/* A description is the one of this statement's rows. */
static void batch_label(const struct batch *batch, const struct expectation *expected)
{
    const struct person *person = batch->person;
    struct wire_reader in = wire_reader_over(person->talk.frame.body);
    (void)wire_get_u16(&in);
    struct span got = wire_get_string(&in);
    PROVE(expected->label[0] == '\0' || span_is(got, expected->label),
          "client %u: rows of '%.*s' are described for '%s'", person->number, SPAN_ARG(got),
          expected->text);
}

static void batch_tag(const struct batch *batch, const struct expectation *expected)
{
    const struct person *person = batch->person;
    const char *tag = expected->tag;
    if (expected->effect == EFFECT_COMMIT && person->status == WIRE_TX_FAILED)
        tag = "ROLLBACK";
    struct wire_reader in = wire_reader_over(person->talk.frame.body);
    struct span got = wire_get_string(&in);
    PROVE(span_is(got, tag), "client %u: '%.*s' came instead of '%s' for '%s'", person->number,
          SPAN_ARG(got), tag, expected->text);
}

/* Rows, and the command's tag or that there is more. */
static fault batch_answer(struct batch *batch, const struct expectation *expected)
{
    bool error;
    uint32_t rows = 0;
    struct person *person = batch->person;
    bool described = !expected->simple || !expected->has_rows;
    for (;;) {
        TRY(batch_next(batch, expected, &error));
        if (error)
            return OK;
        uint8_t type = person->talk.frame.type;
        if (type == WIRE_ROW_DESCRIPTION && !described) {
            described = true;
            batch_label(batch, expected);
            continue;
        }
        if (type != WIRE_DATA_ROW || !described || rows == expected->rows)
            break;
        batch_row(batch, expected, rows++);
    }
    uint8_t end =
        expected->what == EXPECT_SUSPENDED ? WIRE_PORTAL_SUSPENDED : WIRE_COMMAND_COMPLETE;
    if (person->talk.frame.type != end || !described || rows != expected->rows)
        batch_wrong(batch, expected);
    PROVE(expected->sqlstate == NULL, "client %u: '%s' did not fail with %s", person->number,
          expected->text, expected->sqlstate);
    PROVE(person->status != WIRE_TX_FAILED || effect_leaves(expected->effect),
          "client %u: '%s' ran in a transaction that has failed", person->number, expected->text);
    if (end == WIRE_COMMAND_COMPLETE)
        batch_tag(batch, expected);
    effect_apply(person, expected);
    stage.counts->answered += 1;
    return OK;
}

/* A line of the table: "key TAB deed N row M". */
static void batch_line(const struct batch *batch)
{
    char line[96];
    int key;
    unsigned deed, row;
    struct span body = batch->person->talk.frame.body;
    snprintf(line, sizeof(line), "%.*s", SPAN_ARG(body));
    PROVE(sscanf(line, "%d\tdeed %u row %u\n", &key, &deed, &row) == 3 &&
              key == (int)(1000 + deed * DEED_ROWS + row),
          "client %u: '%s' is no line of the table", batch->person->number, line);
}

/* All lines, their end, and the tag that counts them. */
static fault batch_copy_out(struct batch *batch, const struct expectation *expected)
{
    bool error;
    uint32_t lines = 0;
    const struct wire_frame *frame = &batch->person->talk.frame;
    TRY(batch_next(batch, expected, &error));
    if (error)
        return OK;
    if (frame->type != WIRE_COPY_OUT)
        batch_wrong(batch, expected);
    for (;;) {
        TRY(batch_next(batch, expected, &error));
        if (error)
            return OK;
        if (frame->type != WIRE_COPY_DATA)
            break;
        batch_line(batch);
        lines += 1;
    }
    if (frame->type != WIRE_COPY_DONE)
        batch_wrong(batch, expected);
    TRY(batch_next(batch, expected, &error));
    if (error)
        return OK;
    struct expectation tag = {.what = EXPECT_ANSWER};
    snprintf(tag.tag, sizeof(tag.tag), "COPY %u", lines);
    if (frame->type != WIRE_COMMAND_COMPLETE)
        batch_wrong(batch, expected);
    batch_tag(batch, &tag);
    return OK;
}

/* ReadyForQuery: the end of a unit. */
static fault batch_ready(struct batch *batch, const struct expectation *expected)
{
    struct person *person = batch->person;
    TRY(person_next(person));
    if (person->talk.frame.type == WIRE_ERROR) {
        /* Of the commit itself. */
        TRY(batch_error(batch, expected));
        TRY(person_next(person));
    }
    if (person->talk.frame.type != WIRE_READY || person->talk.frame.body.size != 1)
        batch_wrong(batch, expected);
    uint8_t status = person->talk.frame.body.at[0];
    PROVE(status == person->status, "client %u: the transaction is '%c', and was said to be '%c'",
          person->number, person->status, status);
    if (status == WIRE_TX_IDLE)
        effect_ends(person, !batch->failed);
    /* What stands behind it may need a claim of its own. */
    person->said_at = now();
    if (batch->failed && batch->refused) {
        person->asked_at = claim_begins(person);
        person->begun = batch->anonymous;
    }
    batch->failed = batch->refused = false;
    if (batch->at == batch->count)
        person->may_commit = false;
    person_check_settings(person);
    return OK;
}

static fault batch_one(struct batch *batch, const struct expectation *expected)
{
    static const uint8_t types[] = {
        [EXPECT_PARSED] = WIRE_PARSE_COMPLETE, [EXPECT_BOUND] = WIRE_BIND_COMPLETE,
        [EXPECT_CLOSED] = WIRE_CLOSE_COMPLETE, [EXPECT_PARAMETERS] = WIRE_PARAMETER_DESCRIPTION,
        [EXPECT_ROWS] = WIRE_ROW_DESCRIPTION,  [EXPECT_NO_ROWS] = WIRE_NO_DATA,
        [EXPECT_EMPTY] = WIRE_EMPTY_QUERY,     [EXPECT_COPY_IN] = WIRE_COPY_IN,
    };
    if (expected->what == EXPECT_READY)
        return batch_ready(batch, expected);
    if (batch->failed)
        return OK;
    if (expected->what == EXPECT_ANSWER || expected->what == EXPECT_SUSPENDED)
        return batch_answer(batch, expected);
    if (expected->what == EXPECT_COPY_OUT)
        return batch_copy_out(batch, expected);
    bool error;
    TRY(batch_next(batch, expected, &error));
    if (error)
        return OK;
    if (batch->person->talk.frame.type != types[expected->what])
        batch_wrong(batch, expected);
    if (expected->what == EXPECT_ROWS)
        batch_label(batch, expected);
    effect_apply(batch->person, expected);
    return OK;
}

fault batch_hear(struct batch *batch)
{
    struct person *person = batch->person;
    person->waits = true;
    fault heard = OK;
    while (heard == OK && batch->at < batch->count)
        heard = batch_one(batch, &batch->expected[batch->at++]);
    person->waits = false;
    person->sets = false;
    if (heard == OK && !batch->partly)
        arrivals_prove_all(person);
    return heard;
}

/* Whether the oracle can see whose its statements are: each begins with who asks. */
static bool batch_is_named(const struct batch *batch)
{
    return batch->count > 0 && !batch->anonymous;
}

fault batch_send(struct batch *batch)
{
    struct person *person = batch->person;
    if (!batch->half_sent)
        person->asked_at = now();
    person->idle = person->status == WIRE_TX_IDLE && batch->at == 0;
    person->begun = !batch_is_named(batch);
    person->begun_at = NEVER; /* until the oracle sees it */
    person->waits = true;
    return person_flush(person);
}

fault batch_run(struct batch *batch)
{
    TRY(batch_send(batch));
    return batch_hear(batch);
}
