#include "machine/clock.h"
#include "people/batch.h"
#include "people/behaviours.h"
#include "stage/stage.h"

#include <stdio.h>
#include <string.h>

/*
 * One statement after the other, in either protocol; long answers, and readers who take their time.
 */

fault do_echo(struct person *person)
{
    struct statement statement;
    statement_echo(person, &statement);
    return person_asks(person, &statement);
}

fault do_failure(struct person *person)
{
    struct statement statement;
    statement_fail(person, &statement);
    return person_asks(person, &statement);
}

/* Several statements in one Query message: one transaction. */
fault do_queries(struct person *person)
{
    struct batch batch;
    struct statement statements[4];
    uint32_t count = 2 + person_draw(person, ARRAY_SIZE(statements) - 1);
    batch_begin(&batch, person);
    for (uint32_t i = 0; i < count; i++)
        statement_any(person, &statements[i]);
    batch_queries(&batch, statements, count);
    return batch_run(&batch);
}

fault do_settings(struct person *person)
{
    struct statement statement;
    statement_set(person, &statement, false);
    TRY(person_asks(person, &statement));
    statement_show(person, &statement);
    TRY(person_asks(person, &statement));
    return do_echo(person);
}

fault do_rest(struct person *person)
{
    return person_rests(person, person_one_in(person, 10) ? 2000000 : 30000);
}

static void statement_series(struct person *person, struct statement *statement, uint32_t rows)
{
    char text[64];
    snprintf(text, sizeof(text), "row %u.%u ", person->login, person->said + 1);
    statement_make(person, statement, "", EFFECT_NONE,
                   "SELECT '%s' || g FROM generate_series(1, %u) AS g", text, rows);
    struct expectation *expected = &statement->expected;
    snprintf(expected->tag, sizeof(expected->tag), "SELECT %u", rows);
    snprintf(expected->text, sizeof(expected->text), "%s", text);
    expected->has_rows = expected->numbered = true;
    expected->rows = rows;
    expected->first = 1;
}

fault do_large_answer(struct person *person)
{
    struct statement statement;
    statement_series(person, &statement, 1 + person_draw(person, 1500));
    return person_asks(person, &statement);
}

/* The answers fill all that is between us and the server before they are read. */
fault do_slow_reading(struct person *person)
{
    struct batch batch;
    struct statement statement;
    batch_begin(&batch, person);
    for (uint32_t i = 0; i < 3; i++) {
        statement_series(person, &statement, 1 + person_draw(person, 1000));
        batch_query(&batch, &statement);
    }
    TRY(batch_send(&batch));
    TRY(person_rests(person, 100000));
    return batch_hear(&batch);
}

#define PADDING_MAX  6000u
#define CHUNK        16384u /* the daemon's, and the most that a record of TLS holds */
#define RECORD_SMALL 200u

static const char padding_begins[] = " --";

/* Of a Query message, without padding. */
static size_t query_size(const struct statement *statement)
{
    return WIRE_HEADER + strlen(statement->text) + sizeof(padding_begins);
}

static void batch_padded(struct batch *batch, struct statement *statement, size_t padding)
{
    struct buffer *out = &batch->person->talk.out;
    say("client", batch->person->number, "asks, %zu bytes longer: %s", padding, statement->text);
    statement->expected.simple = true;
    size_t start = wire_begin(out, WIRE_QUERY);
    wire_put_bytes(out, span_text(statement->text));
    wire_put_bytes(out, span_text(padding_begins));
    uint8_t *room = buffer_room(out, padding);
    PROVE(room != NULL);
    memset(room, 'x', padding);
    out->size += padding;
    wire_put_u8(out, 0);
    wire_end(out, start);
    batch_expect(batch, &statement->expected);
    batch_expect(batch, &(struct expectation){.what = EXPECT_READY});
}

/* Queries that fill connections and buffers by themselves. */
fault do_long_queries(struct person *person)
{
    struct batch batch;
    struct statement statement;
    batch_begin(&batch, person);
    for (uint32_t count = 1 + person_draw(person, 5); count > 0; count--) {
        statement_echo(person, &statement);
        batch_padded(&batch, &statement, 1 + person_draw(person, PADDING_MAX));
    }
    return batch_run(&batch);
}

/* Some bytes more than what is read at once: a record of their own, which has come with the first
 * and is not heard of again. */
fault do_more_than_a_chunk(struct person *person)
{
    struct batch batch;
    struct statement statement;
    batch_begin(&batch, person);
    statement_echo(person, &statement);
    size_t more = 1 + person_draw(person, RECORD_SMALL);
    batch_padded(&batch, &statement, CHUNK + more - query_size(&statement));
    return batch_run(&batch);
}
