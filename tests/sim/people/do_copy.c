#include "link/link.h"
#include "machine/clock.h"
#include "oracle/deeds.h"
#include "people/batch.h"
#include "people/behaviours.h"
#include "stage/stage.h"

#include <stdio.h>
#include <string.h>

/*
 * COPY, in both directions and both protocols, with what can go wrong in it.
 */

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
        put_copy(person, WIRE_COPY_FAIL, "no more");
    } else {
        if (sqlstate != NULL)
            put_copy(person, WIRE_COPY_DATA, "this is no number\tx\n");
        /* What comes after the failure is read and forgotten. */
        if (sqlstate != NULL)
            put_copy(person, WIRE_COPY_DATA, "1\tlate\n");
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

/* A COPY in the extended protocol that has begun, with some rows, all answers heard. */
static fault copy_begins(struct person *person, struct batch *batch, struct statement *statement,
                         uint32_t rows)
{
    char tag[24];
    snprintf(tag, sizeof(tag), "COPY %u", rows);
    statement_make(person, statement, tag, EFFECT_NONE, "COPY kv FROM STDIN");
    batch_begin(batch, person);
    person->deed = deed_begin();
    person->has_deed = true;
    put_command(batch, statement, true);
    batch_expect(batch, &(struct expectation){.what = EXPECT_COPY_IN});
    batch_flush(batch);
    TRY(batch_run(batch));
    for (uint32_t i = 0; i < rows && !batch->failed; i++)
        put_row(person);
    return OK;
}

static fault batch_ends(struct batch *batch)
{
    batch_sync(batch);
    return batch_run(batch);
}

/* A Sync that COPY reads is nothing to it: the batch goes on when the COPY is done, and its client
 * may leave it so. */
fault do_copy_with_sync(struct person *person)
{
    struct batch batch;
    struct statement statement;
    TRY(copy_begins(person, &batch, &statement, 1 + person_draw(person, DEED_ROWS - 1)));
    if (batch.failed)
        return batch_ends(&batch);
    for (uint32_t syncs = 1 + person_draw(person, 2); syncs > 0; syncs--)
        wire_put_empty(&person->talk.out, WIRE_SYNC);
    wire_put_empty(&person->talk.out, WIRE_COPY_DONE);
    batch_expect(&batch, &statement.expected);
    batch_flush(&batch);
    TRY(batch_run(&batch));
    if (person_one_in(person, 2))
        TRY(person_rests(person, 5000));
    if (!person_one_in(person, 4))
        return batch_ends(&batch);
    person->wants_cancel = true;
    person_end(person);
    return OK;
}

/* The data fails, and is not brought to its end: the Sync behind it is. */
fault do_copy_without_end(struct person *person)
{
    struct batch batch;
    struct statement statement;
    TRY(copy_begins(person, &batch, &statement, person_draw(person, DEED_ROWS - 1)));
    if (batch.failed)
        return batch_ends(&batch);
    put_copy(person, WIRE_COPY_DATA, "this is no number\tx\n");
    statement.expected.sqlstate = "22P02";
    batch_expect(&batch, &statement.expected);
    return batch_ends(&batch);
}

#define LATE_DATA 60000u

/* A COPY fails while a message of its data is on its way, whose rest comes when all is answered. */
fault do_copy_late_rest(struct person *person)
{
    struct batch batch;
    struct statement statement;
    struct talk *talk = &person->talk;
    statement_make(person, &statement, "", EFFECT_NONE, "COPY kv FROM STDIN");
    statement.expected.sqlstate = "22P02";
    batch_begin(&batch, person);
    put_command(&batch, &statement, false);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_COPY_IN});
    TRY(batch_run(&batch));
    batch_expect(&batch, &statement.expected);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_READY});
    if (batch.failed)
        return batch_hear(&batch);
    put_copy(person, WIRE_COPY_DATA, "this is no number\tx\n");
    size_t before = talk->out.size;
    size_t start = wire_begin(&talk->out, WIRE_COPY_DATA);
    uint32_t size = 1 + person_draw(person, person_one_in(person, 2) ? LATE_DATA : 200);
    memset(buffer_room(&talk->out, size), 'x', size);
    talk->out.size += size;
    wire_end(&talk->out, start);
    size_t part = before + 1 + person_draw(person, (uint32_t)(talk->out.size - before));
    fault sent = talk_flush_part(talk, part, after(sec(60)));
    if (sent != OK)
        return person_lost(person, sent);
    TRY(batch_hear(&batch));
    TRY(person_rests(person, 3000));
    /* Whoever leaves before that has passed costs a server. */
    statement_echo(person, &statement);
    batch_query(&batch, &statement);
    return batch_run(&batch);
}

/* Cancelled while it begins, nobody knows which of its Syncs it reads: if the first is answered,
 * what stands behind it is too.  Its client leaves, and what comes is nobody else's; the
 * server may be given up for it. */
fault do_copy_cancelled(struct person *person)
{
    struct batch batch;
    struct statement statement;
    struct link_target target = {.address = stage.at, .host = "sim"};
    statement_make(person, &statement, "", EFFECT_NONE, "COPY kv FROM STDIN");
    batch_begin(&batch, person);
    person->deed = deed_begin();
    person->has_deed = person->may_commit = true;
    person->wants_cancel = true;
    put_command(&batch, &statement, true);
    put_row(person);
    wire_put_empty(&person->talk.out, WIRE_SYNC);
    wire_put_empty(&person->talk.out, WIRE_COPY_DONE);
    statement_make(person, &statement, "", EFFECT_NONE, "SELECT pg_sleep(0.0%u)",
                   1 + person_draw(person, 20));
    batch_extended(&batch, &statement, false);
    wire_put_empty(&person->talk.out, WIRE_SYNC);
    TRY(person_flush(person));
    TRY(person_rests(person, 10000));
    (void)!link_cancel(&target, person->pid, wire_secret_span(&person->secret), after(sec(60)));
    while (talk_next(&person->talk, after(ms(300))) == OK && person->talk.frame.type != WIRE_READY)
        continue;
    person_end(person);
    return OK;
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
