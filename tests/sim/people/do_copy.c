#include "machine/clock.h"
#include "oracle/deeds.h"
#include "people/batch.h"
#include "people/behaviours.h"
#include "stage/stage.h"

#include <stdio.h>

/*
 * COPY, in both directions and both protocols, with what can go wrong in it.
 */

static void put_data(struct person *person, const char *text)
{
    size_t start = wire_begin(&person->talk.out, WIRE_COPY_DATA);
    wire_put_bytes(&person->talk.out, span_text(text));
    wire_end(&person->talk.out, start);
}

static void put_row(struct person *person)
{
    char value[DEED_TEXT], line[DEED_TEXT + 16];
    int32_t key = deed_row(person->deed, value);
    snprintf(line, sizeof(line), "%d\t%s\n", key, value);
    put_data(person, line);
}

static void put_fail(struct person *person)
{
    size_t start = wire_begin(&person->talk.out, WIRE_COPY_FAIL);
    wire_put_text(&person->talk.out, "no more");
    wire_end(&person->talk.out, start);
}

/* The command in either protocol; false: with a Sync behind it that COPY reads. */
static void put_command(struct batch *batch, const struct statement *statement, bool extended)
{
    struct person *person = batch->person;
    say("client", person->number, "copies: %s", statement->text);
    if (!extended) {
        wire_put_query(&person->talk.out, span_text(statement->text));
        return;
    }
    put_parse(person, "", statement->text);
    put_bind(person, "", "", NULL);
    put_execute(person, "", 0);
    batch_expect(batch, &(struct expectation){.what = EXPECT_PARSED});
    batch_expect(batch, &(struct expectation){.what = EXPECT_BOUND});
}

/* COPY FROM STDIN with so many good rows; `sqlstate`: it fails at its end, with this. */
static fault copies(struct person *person, const char *sqlstate, bool by_client)
{
    char tag[24];
    struct batch batch;
    struct statement statement;
    uint32_t rows = 1 + person_draw(person, DEED_ROWS - 1);
    bool extended = person_one_in(person, 2);
    bool waits = person_one_in(person, 2);
    snprintf(tag, sizeof(tag), "COPY %u", rows);
    statement_make(person, &statement, tag, EFFECT_NONE, "COPY kv FROM STDIN");
    batch_begin(&batch, person);
    person->deed = deed_begin();
    person->has_deed = true;
    put_command(&batch, &statement, extended);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_COPY_IN});
    if (waits) {
        if (extended)
            wire_put_empty(&person->talk.out, WIRE_FLUSH);
        TRY(batch_run(&batch));
    }
    if (batch.failed && !extended) {
        batch_expect(&batch, &(struct expectation){.what = EXPECT_READY});
        return batch_hear(&batch);
    }
    for (uint32_t i = 0; i < rows; i++)
        put_row(person);
    statement.expected.sqlstate = sqlstate;
    if (by_client) {
        put_fail(person);
    } else {
        if (sqlstate != NULL)
            put_data(person, "this is no number\tx\n");
        /* What comes after the failure is read and forgotten. */
        if (sqlstate != NULL)
            put_data(person, "1\tlate\n");
        wire_put_empty(&person->talk.out, WIRE_COPY_DONE);
    }
    batch_expect(&batch, &statement.expected);
    if (extended)
        wire_put_empty(&person->talk.out, WIRE_SYNC);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_READY});
    return batch_run(&batch);
}

fault do_copy_in(struct person *person)
{
    return copies(person, NULL, false);
}

fault do_copy_failure(struct person *person)
{
    bool by_client = person_one_in(person, 2);
    return copies(person, by_client ? "57014" : "22P02", by_client);
}

fault do_copy_out(struct person *person)
{
    struct batch batch;
    struct statement statement;
    bool extended = person_one_in(person, 2);
    statement_make(person, &statement, "COPY", EFFECT_NONE, "COPY kv TO STDOUT");
    batch_begin(&batch, person);
    put_command(&batch, &statement, extended);
    statement.expected.what = EXPECT_COPY_OUT;
    batch_expect(&batch, &statement.expected);
    if (extended)
        wire_put_empty(&person->talk.out, WIRE_SYNC);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_READY});
    return batch_run(&batch);
}
