#include "oracle/deeds.h"
#include "people/batch.h"
#include "people/behaviours.h"
#include "stage/stage.h"

#include <stdio.h>
#include <string.h>

/*
 * COPY with Syncs in it, ahead of its failure and behind it, as libpq sends one: what PostgreSQL
 * answers of them is known, and all of it must come (docs/internals/model-postgres.md).
 */
#define SYNCS_MAX 4u

struct copying {
    struct person *person;
    struct batch batch;
    struct statement statement;
    struct statement next;
    bool extended;
    bool waits;           /* for the server to ask for data */
    bool asks_on;         /* a query stands behind all that */
    const char *sqlstate; /* it fails with this; NULL: it does not */
    bool refused;         /* before it reads anything */
    uint32_t syncs;       /* all of them */
    uint32_t answered;    /* that are answered if the COPY begins */
};

static void put_syncs(struct copying *copying, uint32_t count, bool answered)
{
    for (uint32_t i = 0; i < count; i++)
        wire_put_empty(&copying->person->talk.out, WIRE_SYNC);
    copying->syncs += count;
    copying->answered += answered ? count : 0;
}

static uint32_t draw_syncs(struct copying *copying)
{
    return person_draw(copying->person, SYNCS_MAX);
}

static void put_command(struct copying *copying)
{
    struct person *person = copying->person;
    struct batch *batch = &copying->batch;
    say("client", person->number, "copies among Syncs: %s", copying->statement.text);
    if (copying->extended) {
        put_parse(person, "", copying->statement.text);
        put_bind(person, "", "", NULL);
        put_execute(person, "", 0);
        batch_expect(batch, &(struct expectation){.what = EXPECT_PARSED});
        batch_expect(batch, &(struct expectation){.what = EXPECT_BOUND});
        put_syncs(copying, copying->waits ? 1 : draw_syncs(copying), copying->refused);
    } else {
        wire_put_query(&person->talk.out, span_text(copying->statement.text));
    }
    batch_expect(batch, &(struct expectation){.what = EXPECT_COPY_IN});
}

static void put_rows(struct copying *copying, uint32_t rows)
{
    struct person *person = copying->person;
    for (uint32_t i = 0; i < rows; i++) {
        put_row(person);
        if (person_one_in(person, 3))
            put_syncs(copying, 1, copying->refused);
    }
    if (copying->sqlstate == NULL) {
        put_syncs(copying, draw_syncs(copying), false);
        return;
    }
    if (!copying->refused)
        put_copy(person, WIRE_COPY_DATA, "this is no number\tx\n");
    put_syncs(copying, draw_syncs(copying), true);
}

static void put_end(struct copying *copying)
{
    struct person *person = copying->person;
    if (copying->sqlstate == NULL || person_one_in(person, 2))
        wire_put_empty(&person->talk.out, WIRE_COPY_DONE);
    put_syncs(copying, copying->extended ? 1 + draw_syncs(copying) : draw_syncs(copying), true);
    if (copying->asks_on) {
        if (person_one_in(person, 3))
            statement_fail(person, &copying->next);
        else
            statement_echo(person, &copying->next);
        copying->next.expected.simple = true;
        wire_put_query(&person->talk.out, span_text(copying->next.text));
    }
}

/* What follows CopyInResponse, or the error in its place. */
static fault hears_rest(struct copying *copying)
{
    struct batch *batch = &copying->batch;
    bool began = !batch->failed;
    if (began)
        batch_expect(batch, &copying->statement.expected);
    if (began)
        TRY(batch_hear(batch));
    if (began && batch->failed && !batch->meant) {
        /* For a reason of the world's, and how far it had come is not known. */
        copying->person->wants_cancel = true;
        person_end(copying->person);
        return OK;
    }
    uint32_t ready = began ? copying->answered : copying->syncs;
    for (ready += !copying->extended; ready > 0; ready--)
        batch_expect(batch, &(struct expectation){.what = EXPECT_READY});
    if (copying->asks_on) {
        batch_expect(batch, &copying->next.expected);
        batch_expect(batch, &(struct expectation){.what = EXPECT_READY});
    }
    batch->partly = false;
    return batch_hear(batch);
}

static fault copies_among_syncs(struct copying *copying, const char *table)
{
    char tag[24];
    struct person *person = copying->person;
    struct batch *batch = &copying->batch;
    uint32_t rows = 1 + person_draw(person, DEED_ROWS - 1);
    snprintf(tag, sizeof(tag), "COPY %u", rows);
    statement_make(person, &copying->statement, tag, EFFECT_NONE, "COPY %s FROM STDIN", table);
    copying->statement.expected.sqlstate = copying->sqlstate;
    batch_begin(batch, person);
    batch->partly = true;
    person->deed = deed_begin();
    person->has_deed = person->may_commit = true;
    put_command(copying);
    if (copying->waits) {
        TRY(batch_run(batch));
        if (batch->failed) {
            put_syncs(copying, !copying->extended && copying->syncs == 0 ? 1 : 0, true);
            copying->asks_on = false;
            TRY(batch_send(batch));
            return hears_rest(copying);
        }
    }
    put_rows(copying, rows);
    put_end(copying);
    TRY(batch_run(batch));
    return hears_rest(copying);
}

fault do_copy_syncs(struct person *person)
{
    struct copying copying = {.person = person};
    copying.extended = person_one_in(person, 2);
    copying.waits = person_one_in(person, 3);
    copying.asks_on = person_one_in(person, 2);
    switch (person_draw(person, 3)) {
    case 0:
        return copies_among_syncs(&copying, "kv");
    case 1:
        copying.sqlstate = "P0001";
        copying.refused = true;
        return copies_among_syncs(&copying, "guarded");
    default:
        copying.sqlstate = "22P02";
        return copies_among_syncs(&copying, "kv");
    }
}

/* --- many of them in one text ----------------------------------------------------------------- */

#define COPIES_MAX 300u

/* Their ends, Syncs and a query are there before the first of them has begun. */
fault do_many_copies(struct person *person)
{
    static const char more[] = "; COPY kv FROM STDIN";
    char text[PERSON_TEXT + COPIES_MAX * sizeof(more)];
    struct copying copying = {.person = person, .asks_on = true};
    struct batch *batch = &copying.batch;
    uint32_t count = person_one_in(person, 2) ? 2 + person_draw(person, 5)
                                              : COPIES_MAX - person_draw(person, 60);
    statement_make(person, &copying.statement, "COPY 0", EFFECT_NONE, "COPY kv FROM STDIN");
    size_t used = (size_t)snprintf(text, sizeof(text), "%s", copying.statement.text);
    for (uint32_t i = 1; i < count; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s", more);
    say("client", person->number, "copies %u times in one text", count);
    batch_begin(batch, person);
    batch->partly = true;
    wire_put_query(&person->talk.out, span_text(text));
    for (uint32_t i = 0; i < count; i++)
        wire_put_empty(&person->talk.out, WIRE_COPY_DONE);
    put_end(&copying);
    TRY(batch_send(batch));
    for (uint32_t i = 0; i < count && !batch->failed; i++) {
        batch_drop(batch);
        batch_expect(batch, &(struct expectation){.what = EXPECT_COPY_IN});
        if (i + 1 < count)
            batch_expect(batch, &copying.statement.expected);
        TRY(batch_hear(batch));
    }
    return hears_rest(&copying);
}
