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

#define PADDING_MOST 6000u

/* Queries that fill connections and buffers by themselves. */
fault do_long_queries(struct person *person)
{
    struct batch batch;
    struct statement statement;
    struct buffer *out = &person->talk.out;
    batch_begin(&batch, person);
    for (uint32_t count = 1 + person_draw(person, 5); count > 0; count--) {
        uint32_t padding = 1 + person_draw(person, PADDING_MOST);
        statement_echo(person, &statement);
        statement.expected.simple = true;
        say("client", person->number, "asks, %u bytes longer: %s", padding, statement.text);
        size_t start = wire_begin(out, WIRE_QUERY);
        wire_put_bytes(out, span_text(statement.text));
        wire_put_bytes(out, SPAN(" --"));
        uint8_t *room = buffer_room(out, padding);
        PROVE(room != NULL);
        memset(room, 'x', padding);
        out->size += padding;
        wire_put_u8(out, 0);
        wire_end(out, start);
        batch_expect(&batch, &statement.expected);
        batch_expect(&batch, &(struct expectation){.what = EXPECT_READY});
    }
    return batch_run(&batch);
}
