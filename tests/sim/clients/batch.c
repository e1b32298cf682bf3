#include "clients/batch.h"

#include "oracle/answers.h"
#include "oracle/async.h"
#include "oracle/pins.h"
#include "oracle/records.h"
#include "oracle/registers.h"
#include "oracle/shedding.h"
#include "oracle/spread.h"
#include "scenario/nodes.h"
#include "scenario/scenario.h"

#include <stdio.h>
#include <string.h>

/*
 * Compares replies with the expected ones.
 */
#define EARLY_MAX ms(2) /* a claim may begin with the first part of a message */
#define LATE_MAX  ms(5)

void batch_begin(struct batch *batch, struct sim_client *client)
{
    batch->client = client;
    batch->count = batch->at = 0;
    batch->failed = batch->any_failed = batch->refused = batch->partly = false;
    batch->in_block = client->status != WIRE_TX_IDLE;
    client->sets = batch->anonymous = batch->half_sent = batch->missed = false;
    sim_client_check_no_surplus(client);
}

void batch_expect(struct batch *batch, const struct expectation *expected)
{
    CHECK(batch->count < BATCH_MAX);
    batch->expected[batch->count++] = *expected;
    if (expected->effect == EFFECT_BEGIN)
        batch->in_block = true;
    if (expected->effect == EFFECT_COMMIT || (expected->what == EXPECT_READY && !batch->in_block))
        batch->client->may_commit = true;
    /* These change settings on the server as they run, and what comes behind is seen with them. */
    if (expected->effect != EFFECT_NONE && expected->effect != EFFECT_PREPARED &&
        expected->effect != EFFECT_CLOSED && expected->effect != EFFECT_CLOSED_ALL)
        batch->client->sets = true;
}

void batch_drop(struct batch *batch)
{
    batch->count = batch->at = 0;
}

/* --- what a statement has done ---------------------------------------------------------------- */

static void effect_ends(struct sim_client *client, bool commit)
{
    if (commit)
        memcpy(client->now.values, client->now.lasting, sizeof(client->now.values));
    else
        client->now = client->before;
    client->before = client->now;
    client->savepoints = 0;
    sim_client_settle_record(client, commit);
    client->status = WIRE_TX_IDLE;
}

static void effect_back(struct sim_client *client)
{
    CHECK(client->savepoints > 0);
    client->now = client->at[client->savepoints - 1];
    if (client->has_record)
        record_roll_back_from(client->record, client->rows_at[client->savepoints - 1]);
    client->status = WIRE_TX_ACTIVE;
}

static void effect_apply(struct sim_client *client, const struct expectation *expected)
{
    switch (expected->effect) {
    case EFFECT_BEGIN:
        client->status = WIRE_TX_ACTIVE;
        break;
    case EFFECT_COMMIT:
        effect_ends(client, client->status != WIRE_TX_FAILED);
        break;
    case EFFECT_ROLLBACK:
        effect_ends(client, false);
        break;
    case EFFECT_SAVEPOINT:
        CHECK(client->savepoints < SAVEPOINTS);
        client->at[client->savepoints] = client->now;
        client->rows_at[client->savepoints++] =
            client->has_record ? record_rows(client->record) : 0;
        break;
    case EFFECT_BACK:
        effect_back(client);
        break;
    case EFFECT_RELEASE:
        client->savepoints -= 1;
        break;
    case EFFECT_SET:
        client->now.lasting[expected->a] = expected->b;
        client->now.values[expected->a] = expected->b;
        break;
    case EFFECT_SET_LOCAL:
        client->now.values[expected->a] = expected->b;
        break;
    case EFFECT_LISTEN:
    case EFFECT_UNLISTEN:
        client->listens = expected->effect == EFFECT_LISTEN;
        break;
    case EFFECT_PREPARED:
    case EFFECT_CLOSED:
        client->prepared[expected->a] = expected->effect == EFFECT_PREPARED;
        break;
    case EFFECT_CLOSED_ALL:
        memset(client->prepared, 0, sizeof(client->prepared));
        break;
    case EFFECT_NONE:
        break;
    }
}

/* A statement that ends a failed transaction runs within it, any other does not. */
static bool effect_ends_block(enum effect effect)
{
    return effect == EFFECT_COMMIT || effect == EFFECT_ROLLBACK || effect == EFFECT_BACK;
}

/* --- errors ----------------------------------------------------------------------------------- */

/* A conflict with recovery: reads that are split run at the primary then, as long as no row was
 * forwarded, and unless they are in a transaction. */
static bool conflict_excused(const struct batch *batch)
{
    const struct sim_client *client = batch->client;
    return nodes_split_reads(SPAN("app")) && (client->pool != CLIENT_TRANSACTION ||
                                              client->status != WIRE_TX_IDLE || batch->rows > 0);
}

/* Returns whether the plan allows an error that was not expected. */
static bool error_excused(const struct batch *batch, const struct wire_error *error)
{
    const struct sim_client *client = batch->client;
    if (span_is(error->sqlstate, "40001"))
        return conflict_excused(batch);
    if (span_is(error->sqlstate, "57014"))
        /* With half_closes, a cancel request may count as carried out too early. */
        return client->wants_cancel || scenario_has(KIND_statement_timeout) ||
               scenario_has(KIND_half_closes);
    return scenario_excuses_error(client, error);
}

/* Returns when the next claim begins after a refused one: at the refusal, which the client may read
 * later because it was still sending. */
static deadline claim_begins(const struct sim_client *client)
{
    deadline refused = later(client->waits_since, scenario.setup.claim_timeout);
    return scenario_has(KIND_exact_limits) && refused.us < now().us ? refused : now();
}

/* Checks that a claim is refused at claim_timeout, if the plan delays nothing.  The claim begins
 * with the first part of the batch or, if the server was released between two statements, with the
 * last. */
static void error_is_in_time(const struct sim_client *client, const struct wire_error *error)
{
    static const char claim[] = "within claim_timeout";
    duration limit = scenario.setup.claim_timeout;
    if (!scenario_has(KIND_exact_limits) || !scenario_is_exact() || !client->idle ||
        memmem(error->message.at, error->message.size, claim, sizeof(claim) - 1) == NULL)
        return;
    int64_t passed = between(client->waits_since, now()).us;
    int64_t waited = MIN_OF(passed, between(client->sent_at, now()).us);
    CHECK(passed >= limit.us - EARLY_MAX.us && waited <= limit.us + limit.us / 20 + LATE_MAX.us,
          "client %u is refused after %lld us, claim_timeout is %lld us", client->number,
          (long long)passed, (long long)limit.us);
}

/* Recognizes the errors of claim_timeout: a limit was reached, or logins at servers failed. */
static bool error_is_of_claim(const struct wire_error *error)
{
    static const char words[] = "became free within claim_timeout";
    return span_is(error->sqlstate, "53300") ||
           memmem(error->message.at, error->message.size, words, sizeof(words) - 1) != NULL;
}

/* It is the answer to `expected`; what follows in its unit is skipped. */
static fault batch_error(struct batch *batch, const struct expectation *expected)
{
    struct sim_client *client = batch->client;
    struct wire_error error;
    CHECK(wire_read_error(client->conn.frame.body, &error) == OK);
    trace("client", client->number, "receives %.*s %.*s", SPAN_ARG(error.sqlstate),
          SPAN_ARG(error.message));
    error_is_in_time(client, &error);
    pins_check_refusal(error.message);
    spread_check_refusal(error.message, client->waits_since);
    shedding_check(client, error.message);
    if (batch->at == 0 && !batch->any_failed)
        spread_check_shed(error.message, client->waits_since);
    batch->failed = batch->any_failed = true;
    bool refused = client->status == WIRE_TX_FAILED && !effect_ends_block(expected->effect) &&
                   span_is(error.sqlstate, "25P02");
    batch->refused = error_is_of_claim(&error);
    bool meant = expected->sqlstate != NULL && span_is(error.sqlstate, expected->sqlstate);
    if (expected->read != NULL)
        meant = answers_check_error(client, expected->read, error.sqlstate, error.message);
    batch->meant = meant;
    CHECK(refused || meant || error_excused(batch, &error),
          "client %u: '%.*s' (%.*s) came for '%s'", client->number, SPAN_ARG(error.message),
          SPAN_ARG(error.sqlstate), expected->text);
    scenario.counts->errors += meant;
    scenario.counts->cancelled += span_is(error.sqlstate, "57014");
    if (client->status == WIRE_TX_ACTIVE) {
        client->status = WIRE_TX_FAILED;
        client->now = client->savepoints > 0 ? client->at[client->savepoints - 1] : client->before;
    }
    return OK;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* The next message of an answer; *ret_error: it is an error, and was dealt with. */
static fault batch_next(struct batch *batch, const struct expectation *expected, bool *ret_error)
{
    struct sim_client *client = batch->client;
    TRY(sim_client_next(client));
    *ret_error = client->conn.frame.type == WIRE_ERROR;
    return *ret_error ? batch_error(batch, expected) : OK;
}

static void batch_unexpected(const struct batch *batch, const struct expectation *expected)
{
    const struct wire_frame *frame = &batch->client->conn.frame;
    CHECK(false, "client %u: a '%c' of %zu bytes ('%.*s') came as answer %u of %u ('%s', %d)",
          batch->client->number, frame->type, frame->body.size, (int)MIN_OF(frame->body.size, 60),
          (const char *)frame->body.at, batch->at, batch->count, expected->text, expected->what);
}

static void batch_row(const struct batch *batch, const struct expectation *expected, uint32_t row)
{
    char text[CLIENT_TEXT + 16];
    const struct sim_client *client = batch->client;
    struct wire_reader in = wire_reader_over(client->conn.frame.body);
    uint16_t columns = wire_get_u16(&in);
    uint32_t size = columns > 0 ? wire_get_u32(&in) : 0;
    struct span got = wire_get_bytes(&in, size);
    CHECK(columns == 1 && wire_done(&in) == OK, "client %u: a row of %u columns", client->number,
          columns);
    if (expected->reads) {
        register_check(client, expected->number, got);
        return;
    }
    if (expected->read != NULL) {
        answers_check(client, expected->read, got);
        return;
    }
    if (expected->numbered)
        snprintf(text, sizeof(text), "%s%u", expected->text, expected->first + row);
    else
        snprintf(text, sizeof(text), "%s", expected->text);
    CHECK(span_is(got, text), "client %u: '%.*s' came instead of '%s'", client->number,
          SPAN_ARG(got), text);
}

/* A description is the one of this statement's rows. */
static void batch_label(const struct batch *batch, const struct expectation *expected)
{
    const struct sim_client *client = batch->client;
    struct wire_reader in = wire_reader_over(client->conn.frame.body);
    (void)wire_get_u16(&in);
    struct span got = wire_get_string(&in);
    CHECK(expected->label[0] == '\0' || span_is(got, expected->label),
          "client %u: rows of '%.*s' are described for '%s'", client->number, SPAN_ARG(got),
          expected->text);
}

static void batch_tag(struct batch *batch, const struct expectation *expected)
{
    const struct sim_client *client = batch->client;
    const char *tag = expected->tag;
    if (expected->effect == EFFECT_COMMIT && client->status == WIRE_TX_FAILED)
        tag = "ROLLBACK";
    struct wire_reader in = wire_reader_over(client->conn.frame.body);
    struct span got = wire_get_string(&in);
    batch->missed |= expected->may_miss && span_is(got, "UPDATE 0");
    CHECK(span_is(got, tag) || batch->missed, "client %u: '%.*s' came instead of '%s' for '%s'",
          client->number, SPAN_ARG(got), tag, expected->text);
}

/* Rows, and the command's tag or that there is more. */
static fault batch_answer(struct batch *batch, const struct expectation *expected)
{
    bool error;
    struct sim_client *client = batch->client;
    bool described = !expected->simple || !expected->has_rows;
    batch->rows = 0;
    for (;;) {
        TRY(batch_next(batch, expected, &error));
        if (error)
            return OK;
        uint8_t type = client->conn.frame.type;
        if (type == WIRE_ROW_DESCRIPTION && !described) {
            described = true;
            batch_label(batch, expected);
            continue;
        }
        if (type != WIRE_DATA_ROW || !described || batch->rows == expected->rows)
            break;
        batch_row(batch, expected, batch->rows++);
    }
    uint8_t end =
        expected->what == EXPECT_SUSPENDED ? WIRE_PORTAL_SUSPENDED : WIRE_COMMAND_COMPLETE;
    if (client->conn.frame.type != end || !described || batch->rows != expected->rows)
        batch_unexpected(batch, expected);
    CHECK(expected->sqlstate == NULL, "client %u: '%s' did not fail with %s", client->number,
          expected->text, expected->sqlstate);
    CHECK(client->status != WIRE_TX_FAILED || effect_ends_block(expected->effect),
          "client %u: '%s' ran in a transaction that has failed", client->number, expected->text);
    if (end == WIRE_COMMAND_COMPLETE)
        batch_tag(batch, expected);
    effect_apply(client, expected);
    scenario.counts->answered += 1;
    return OK;
}

/* A line of the table: "key TAB xact N row M". */
static void batch_line(const struct batch *batch)
{
    char line[96];
    int key;
    unsigned record, row;
    struct span body = batch->client->conn.frame.body;
    snprintf(line, sizeof(line), "%.*s", SPAN_ARG(body));
    if (register_is_line(line))
        return;
    CHECK(sscanf(line, "%d\txact %u row %u\n", &key, &record, &row) == 3 &&
              key == (int)(1000 + record * RECORD_ROWS + row),
          "client %u: '%s' is no line of the table", batch->client->number, line);
}

/* All lines, their end, and the tag that counts them. */
static fault batch_copy_out(struct batch *batch, const struct expectation *expected)
{
    bool error;
    uint32_t lines = 0;
    const struct wire_frame *frame = &batch->client->conn.frame;
    TRY(batch_next(batch, expected, &error));
    if (error)
        return OK;
    if (frame->type != WIRE_COPY_OUT)
        batch_unexpected(batch, expected);
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
        batch_unexpected(batch, expected);
    TRY(batch_next(batch, expected, &error));
    if (error)
        return OK;
    struct expectation tag = {.what = EXPECT_ANSWER};
    snprintf(tag.tag, sizeof(tag.tag), "COPY %u", lines);
    if (frame->type != WIRE_COMMAND_COMPLETE)
        batch_unexpected(batch, expected);
    batch_tag(batch, &tag);
    return OK;
}

/* ReadyForQuery: the end of a unit. */
static fault batch_ready(struct batch *batch, const struct expectation *expected)
{
    struct sim_client *client = batch->client;
    TRY(sim_client_next(client));
    if (client->conn.frame.type == WIRE_ERROR) {
        /* Of the commit itself. */
        TRY(batch_error(batch, expected));
        TRY(sim_client_next(client));
    }
    if (client->conn.frame.type != WIRE_READY || client->conn.frame.body.size != 1)
        batch_unexpected(batch, expected);
    uint8_t status = client->conn.frame.body.at[0];
    CHECK(status == client->status,
          "client %u: the transaction status is '%c', and was said to be '%c'", client->number,
          client->status, status);
    if (status == WIRE_TX_IDLE)
        effect_ends(client, !batch->failed);
    /* What stands behind it may need a claim of its own. */
    client->sent_at = now();
    if (batch->failed && batch->refused) {
        client->refused = true;
        client->waits_since = claim_begins(client);
        client->begun = batch->anonymous;
    }
    batch->failed = batch->refused = false;
    if (batch->at == batch->count)
        client->may_commit = false;
    sim_client_check_settings(client);
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
    if (batch->client->conn.frame.type != types[expected->what])
        batch_unexpected(batch, expected);
    if (expected->what == EXPECT_ROWS)
        batch_label(batch, expected);
    effect_apply(batch->client, expected);
    return OK;
}

fault batch_receive(struct batch *batch)
{
    struct sim_client *client = batch->client;
    client->waits = true;
    client->reads_since = now();
    fault heard = OK;
    while (heard == OK && batch->at < batch->count)
        heard = batch_one(batch, &batch->expected[batch->at++]);
    client->waits = false;
    client->sets = false;
    CHECK(heard != OK || client->late_login == 0 || client->late_login != client->login,
          "login %u is told of a statement that an old primary ran after the new one ran others",
          client->login);
    if (heard == OK && !batch->partly)
        async_check_all(client);
    return heard;
}

/* Returns whether each statement contains the number of its login. */
static bool batch_is_named(const struct batch *batch)
{
    return batch->count > 0 && !batch->anonymous;
}

fault batch_send(struct batch *batch)
{
    struct sim_client *client = batch->client;
    if (!batch->half_sent)
        client->waits_since = now();
    client->idle = client->status == WIRE_TX_IDLE && batch->at == 0;
    client->begun = !batch_is_named(batch);
    client->refused = false;
    client->begun_at = NEVER; /* until the oracle sees it */
    client->waits = true;
    return sim_client_flush(client);
}

fault batch_run(struct batch *batch)
{
    TRY(batch_send(batch));
    return batch_receive(batch);
}
