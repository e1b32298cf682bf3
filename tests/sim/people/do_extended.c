#include "machine/clock.h"
#include "people/batch.h"
#include "people/behaviours.h"
#include "stage/stage.h"

#include <stdio.h>
#include <string.h>

/*
 * The extended protocol: pipelines, named statements, portals, Flush and many Syncs.
 */

fault do_pipeline(struct person *person)
{
    struct batch batch;
    struct statement statement;
    uint32_t count = 1 + person_draw(person, 20);
    batch_begin(&batch, person);
    for (uint32_t i = 0; i < count; i++) {
        statement_plain(person, &statement);
        if (person_one_in(person, 2)) {
            batch_query(&batch, &statement);
            continue;
        }
        batch_extended(&batch, &statement, person_one_in(person, 3));
        batch_sync(&batch);
    }
    return batch_run(&batch);
}

/* Statements that are prepared under a name: the same texts for all clients, told apart by what
 * they answer. */
static const char *const prepared_names[PREPARED] = {"one", "two", "three", "fails"};
static const char *const prepared_texts[PREPARED] = {
    "SELECT $1 || ' by the first'",
    "SELECT $1 || ' by the second'",
    "SELECT $1 || ' by the third'",
    "SELECT 1/length($1)",
};
static const char *const prepared_answers[PREPARED] = {" by the first", " by the second",
                                                       " by the third", ""};

static void batch_prepare(struct batch *batch, uint8_t which, const char *name)
{
    struct expectation parsed = {.what = EXPECT_PARSED,
                                 .effect = name[0] == '\0' ? EFFECT_NONE : EFFECT_PREPARED,
                                 .a = which};
    batch->anonymous = true;
    put_parse(batch->person, name, prepared_texts[which]);
    batch_expect(batch, &parsed);
}

static void batch_execute(struct batch *batch, uint8_t which, const char *name)
{
    char value[64];
    struct person *person = batch->person;
    bool fails = which == PREPARED - 1;
    batch->anonymous = true;
    snprintf(value, sizeof(value), "%u.%u", person->login, ++person->said);
    put_bind(person, "", name, fails ? "" : value);
    /* The planner computes it already, as long as it plans for the values at hand. */
    batch_expect(batch,
                 &(struct expectation){.what = EXPECT_BOUND, .sqlstate = fails ? "22012" : NULL});
    put_execute(person, "", 0);
    struct expectation expected = {.what = EXPECT_ANSWER,
                                   .has_rows = true,
                                   .rows = 1,
                                   .sqlstate = fails ? "22012" : NULL,
                                   .tag = "SELECT 1"};
    snprintf(expected.text, sizeof(expected.text), "%s%s", value, prepared_answers[which]);
    batch_expect(batch, &expected);
    say("client", person->number, "executes '%s' with %s", name, value);
}

static void batch_close(struct batch *batch, uint8_t which, const char *name)
{
    put_target(batch->person, WIRE_CLOSE, 'S', name);
    batch_expect(batch,
                 &(struct expectation){.what = EXPECT_CLOSED, .effect = EFFECT_CLOSED, .a = which});
}

fault do_prepared(struct person *person)
{
    struct batch batch;
    uint8_t which = (uint8_t)person_draw(person, PREPARED);
    const char *name = prepared_names[which];
    batch_begin(&batch, person);
    if (!person->prepared[which])
        batch_prepare(&batch, which, name);
    if (person_one_in(person, 4)) {
        put_target(person, WIRE_DESCRIBE, 'S', name);
        batch_expect(&batch, &(struct expectation){.what = EXPECT_PARAMETERS});
        batch_expect(&batch, &(struct expectation){.what = EXPECT_ROWS});
    }
    batch_execute(&batch, which, name);
    if (person_one_in(person, 4))
        batch_close(&batch, which, name);
    batch_sync(&batch);
    return batch_run(&batch);
}

/* SQL's DEALLOCATE gives up what Parse has prepared: alone or among others, within a transaction or
 * not, and what is not there it names. */
static fault deallocates(struct person *person, uint8_t which)
{
    struct batch batch;
    struct statement statements[3];
    struct statement *given_up = &statements[1];
    bool all = person_one_in(person, 5);
    statement_echo(person, &statements[0]);
    if (all)
        statement_make(person, given_up, "DEALLOCATE ALL", EFFECT_CLOSED_ALL, "DEALLOCATE ALL");
    else
        statement_make(person, given_up, "DEALLOCATE", EFFECT_CLOSED, "DEALLOCATE %s",
                       prepared_names[which]);
    if (!all && !person->prepared[which])
        given_up->expected.sqlstate = "26000";
    given_up->expected.a = which;
    statement_echo(person, &statements[2]);
    batch_begin(&batch, person);
    switch (person_draw(person, 3)) {
    case 0:
        batch_query(&batch, given_up);
        break;
    case 1:
        batch_queries(&batch, statements, ARRAY_SIZE(statements));
        break;
    default:
        batch_extended(&batch, given_up, false);
        batch_sync(&batch);
    }
    return batch_run(&batch);
}

/* It must be there if it was prepared, and must not if it was given up. */
static fault looks_for(struct person *person, uint8_t which)
{
    struct batch batch;
    if (person->status == WIRE_TX_FAILED)
        return OK;
    batch_begin(&batch, person);
    if (person->prepared[which]) {
        batch_execute(&batch, which, prepared_names[which]);
    } else {
        batch.anonymous = true;
        put_bind(person, "", prepared_names[which], "nothing");
        batch_expect(&batch, &(struct expectation){.what = EXPECT_BOUND, .sqlstate = "26000"});
    }
    batch_sync(&batch);
    return batch_run(&batch);
}

fault do_deallocate(struct person *person)
{
    struct batch batch;
    uint8_t which = (uint8_t)person_draw(person, PREPARED - 1);
    if (!person->prepared[which] && !person_one_in(person, 3)) {
        batch_begin(&batch, person);
        batch_prepare(&batch, which, prepared_names[which]);
        batch_sync(&batch);
        TRY(batch_run(&batch));
    }
    if (person->pool != PERSON_STATEMENT && person_one_in(person, 3))
        TRY(person_begins(person));
    TRY(deallocates(person, which));
    TRY(looks_for(person, which));
    while (person->status != WIRE_TX_IDLE)
        TRY(person_rolls_back(person));
    return looks_for(person, which);
}

/* The unnamed statement stays from one batch to the next, on whichever server that runs. */
static fault unnamed(struct person *person)
{
    struct batch batch;
    uint8_t which = (uint8_t)person_draw(person, PREPARED - 1);
    batch_begin(&batch, person);
    batch_prepare(&batch, which, "");
    batch_sync(&batch);
    TRY(batch_run(&batch));
    if (batch.any_failed)
        return OK;
    for (uint32_t times = 1 + person_draw(person, 4); times > 0; times--) {
        TRY(person_rests(person, 10000));
        batch_begin(&batch, person);
        batch_execute(&batch, which, "");
        batch_sync(&batch);
        TRY(batch_run(&batch));
    }
    return OK;
}

/* Until there is another one: what an earlier server still has of the first is no use. */
fault do_unnamed(struct person *person)
{
    for (uint32_t times = 2 + person_draw(person, 4); times > 0; times--)
        TRY(unnamed(person));
    return OK;
}

/* Many that were prepared before, in one breath: each may have to be brought back for another. */
fault do_prepared_pipeline(struct person *person)
{
    struct batch batch;
    batch_begin(&batch, person);
    for (uint8_t i = 0; i + 1 < PREPARED; i++) {
        if (person->prepared[i])
            continue;
        batch_prepare(&batch, i, prepared_names[i]);
        batch_sync(&batch);
    }
    TRY(batch_run(&batch));
    if (batch.any_failed)
        return OK;
    batch_begin(&batch, person);
    for (uint32_t count = 2 + person_draw(person, 8); count > 0; count--) {
        uint8_t which = (uint8_t)person_draw(person, PREPARED - 1);
        batch_execute(&batch, which, prepared_names[which]);
        if (person_one_in(person, 4))
            batch_sync(&batch);
    }
    batch_sync(&batch);
    return batch_run(&batch);
}

/* What a name means is known when its Parse is answered, and the Bind that uses it comes in two
 * pieces meanwhile. */
static fault bind_in_pieces(struct person *person)
{
    struct batch batch;
    uint8_t which = (uint8_t)person_draw(person, PREPARED - 1);
    const char *name = prepared_names[which];
    batch_begin(&batch, person);
    if (person->prepared[which])
        batch_close(&batch, which, name);
    batch_prepare(&batch, which, name);
    batch_sync(&batch);
    say("client", person->number, "prepares and binds '%s' in pieces", name);
    size_t named = person->talk.out.size + WIRE_HEADER + sizeof("") + strlen(name) + 1;
    batch_execute(&batch, which, name);
    batch_sync(&batch);
    fault sent = talk_flush_part(&person->talk, named, after(sec(60)));
    if (sent != OK)
        return person_lost(person, sent);
    TRY(person_rests(person, 300));
    return batch_run(&batch);
}

fault do_bind_in_pieces(struct person *person)
{
    /* Without the Parse, the Bind would fail. */
    if (stage_has(KIND_failing) || stage_has(KIND_claim_timeout))
        return OK;
    if (person->pool == PERSON_STATEMENT || person_one_in(person, 2))
        return bind_in_pieces(person);
    TRY(person_begins(person));
    if (person->status != WIRE_TX_ACTIVE)
        return OK;
    TRY(bind_in_pieces(person));
    return person_rolls_back(person);
}

/* The rest of a batch is skipped behind an error, the next one is not; a statement that is missing
 * is said to be missing. */
fault do_failing_batch(struct person *person)
{
    struct batch batch;
    struct statement statement;
    uint8_t which = (uint8_t)person_draw(person, PREPARED);
    batch_begin(&batch, person);
    if (person_one_in(person, 2)) {
        statement_fail(person, &statement);
        batch_extended(&batch, &statement, false);
    } else {
        put_bind(person, "", "nobody has prepared this", NULL);
        batch_expect(&batch, &(struct expectation){.what = EXPECT_BOUND, .sqlstate = "26000"});
    }
    if (!person->prepared[which])
        batch_prepare(&batch, which, prepared_names[which]);
    if (person_one_in(person, 2))
        batch_close(&batch, which, prepared_names[which]);
    batch_sync(&batch);
    statement_echo(person, &statement);
    batch_extended(&batch, &statement, true);
    batch_sync(&batch);
    return batch_run(&batch);
}

/* Some rows at a time, out of a portal with a name, with Flush or Sync in between. */
fault do_portal(struct person *person)
{
    struct batch batch;
    struct statement statement;
    char text[64];
    uint32_t rows = 2 + person_draw(person, 20), at = 1;
    uint32_t step = 1 + person_draw(person, 6);
    snprintf(text, sizeof(text), "part %u.%u ", person->login, person->said + 1);
    statement_make(person, &statement, "", EFFECT_NONE,
                   "SELECT '%s' || g FROM generate_series(1, %u) AS g", text, rows);
    batch_begin(&batch, person);
    put_parse(person, "", statement.text);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_PARSED});
    put_bind(person, "p", "", NULL);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_BOUND});
    while (at <= rows + 1) {
        struct expectation expected = {
            .what = EXPECT_SUSPENDED, .numbered = true, .rows = step, .first = at};
        if (at + step > rows + 1) {
            /* Rows that were there exactly are only known to be the last by one more look. */
            expected.what = EXPECT_ANSWER;
            expected.rows = rows + 1 - at;
            snprintf(expected.tag, sizeof(expected.tag), "SELECT %u", expected.rows);
        }
        snprintf(expected.text, sizeof(expected.text), "%s", text);
        put_execute(person, "p", step);
        batch_expect(&batch, &expected);
        at += step;
        if (expected.what == EXPECT_ANSWER)
            break;
        if (person_one_in(person, 3)) {
            batch_flush(&batch);
            TRY(batch_run(&batch));
            if (batch.failed)
                break;
        }
    }
    batch_sync(&batch);
    return batch_run(&batch);
}

/* Answers are asked for before the batch is at its end. */
fault do_flushes(struct person *person)
{
    struct batch batch;
    struct statement statement;
    uint32_t count = 1 + person_draw(person, 4);
    batch_begin(&batch, person);
    for (uint32_t i = 0; i < count && !batch.failed; i++) {
        statement_any(person, &statement);
        batch_extended(&batch, &statement, person_one_in(person, 3));
        batch_flush(&batch);
        TRY(batch_run(&batch));
        if (person_one_in(person, 3))
            TRY(person_rests(person, 3000));
    }
    batch_sync(&batch);
    return batch_run(&batch);
}

fault do_many_syncs(struct person *person)
{
    struct batch batch;
    struct statement statement;
    uint32_t count = 1 + person_draw(person, 8);
    batch_begin(&batch, person);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t syncs = person_draw(person, 3); syncs > 0; syncs--)
            batch_sync(&batch);
        statement_echo(person, &statement);
        batch_extended(&batch, &statement, false);
        batch_sync(&batch);
    }
    batch_sync(&batch);
    return batch_run(&batch);
}
