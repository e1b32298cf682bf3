#include "machine/clock.h"
#include "people/batch.h"
#include "people/behaviours.h"
#include "stage/stage.h"

/*
 * Clients of a statement pool: no transaction lasts beyond its message.
 */

/* All in one message: nobody sees it between its statements. */
static fault block_within(struct person *person)
{
    struct batch batch;
    struct statement statements[3];
    batch_begin(&batch, person);
    statement_make(person, &statements[0], "BEGIN", EFFECT_BEGIN, "BEGIN WORK");
    statement_write(person, &statements[1]);
    statement_make(person, &statements[2], "COMMIT", EFFECT_COMMIT, "COMMIT WORK");
    batch_queries(&batch, statements, 3);
    return batch_run(&batch);
}

/* What comes until the connection ends, its answer among it; *ret_said: the reason was the right
 * one. */
static fault hear_refusal(struct person *person, bool *ret_said)
{
    struct wire_error error;
    const struct wire_frame *frame = &person->talk.frame;
    for (;;) {
        fault heard = talk_next(&person->talk, after(sec(200)));
        /* A last word that does not fit into the socket at once is not waited for. */
        if (heard != OK)
            return *ret_said || stage_has(KIND_short_writes) || stage_has(KIND_narrowness)
                       ? OK
                       : person_lost(person, heard);
        if (frame->type != WIRE_ERROR)
            continue;
        PROVE(wire_read_error(frame->body, &error) == OK);
        *ret_said = span_is(error.sqlstate, "0A000") && span_is(error.severity, "FATAL");
        if (*ret_said)
            continue;
        PROVE(stage_excuses_error(person, &error), "client %u: '%.*s' (%.*s) came for BEGIN",
              person->number, SPAN_ARG(error.message), SPAN_ARG(error.sqlstate));
        return FAULT_CLOSED;
    }
}

fault do_block(struct person *person)
{
    bool said = false;
    struct statement statement;
    struct batch batch;
    bool may_fail = stage_has(KIND_failing) || stage_has(KIND_statement_timeout) ||
                    stage_has(KIND_cancels) || stage_has(KIND_promotions);
    if (!may_fail && person_one_in(person, 2))
        return block_within(person);
    batch_begin(&batch, person);
    statement_make(person, &statement, "BEGIN", EFFECT_NONE, "BEGIN WORK");
    if (person_one_in(person, 2)) {
        batch_query(&batch, &statement);
    } else {
        batch_extended(&batch, &statement, false);
        batch_sync(&batch);
    }
    person->asked_at = now();
    TRY(person_flush(person));
    fault heard = hear_refusal(person, &said);
    person->wants_cancel = true;
    person_end(person);
    return heard;
}
