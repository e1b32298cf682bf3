#include "machine/clock.h"
#include "people/batch.h"
#include "people/behaviours.h"
#include "stage/stage.h"

/*
 * Transactions: what they write is held against the table at the end (oracle/deeds.c).
 */

static fault asks(struct person *person, const char *tag, enum effect effect, const char *text)
{
    struct statement statement;
    statement_make(person, &statement, tag, effect, "%s", text);
    return person_asks(person, &statement);
}

fault person_begins(struct person *person)
{
    return asks(person, "BEGIN", EFFECT_BEGIN, "BEGIN WORK");
}

fault person_rolls_back(struct person *person)
{
    return asks(person, "ROLLBACK", EFFECT_ROLLBACK, "ROLLBACK WORK");
}

static fault ends(struct person *person)
{
    if (person_one_in(person, 4))
        return asks(person, "ROLLBACK", EFFECT_ROLLBACK, "ROLLBACK WORK");
    return asks(person, "COMMIT", EFFECT_COMMIT, "COMMIT WORK");
}

fault do_transaction(struct person *person)
{
    struct statement statement;
    uint32_t count = person_draw(person, 5);
    TRY(person_begins(person));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t lot = person_draw(person, 8);
        if (lot < 4)
            statement_write(person, &statement);
        else if (lot == 4)
            statement_set(person, &statement, person_one_in(person, 2));
        else if (lot == 5 && person->status == WIRE_TX_ACTIVE)
            statement_show(person, &statement);
        else
            statement_any(person, &statement);
        TRY(person_asks(person, &statement));
        if (person_one_in(person, 3))
            TRY(person_rests(person, 5000));
    }
    return ends(person);
}

/* Errors are undone to a savepoint, and the rest is committed. */
fault do_savepoints(struct person *person)
{
    struct statement statement;
    TRY(person_begins(person));
    statement_write(person, &statement);
    TRY(person_asks(person, &statement));
    if (person->status != WIRE_TX_ACTIVE)
        return ends(person);
    TRY(asks(person, "SAVEPOINT", EFFECT_SAVEPOINT, "SAVEPOINT a"));
    if (person->status != WIRE_TX_ACTIVE)
        return ends(person);
    statement_write(person, &statement);
    TRY(person_asks(person, &statement));
    if (person_one_in(person, 2))
        statement_fail(person, &statement);
    else
        statement_set(person, &statement, person_one_in(person, 2));
    TRY(person_asks(person, &statement));
    if (person->status == WIRE_TX_FAILED || person_one_in(person, 2))
        TRY(asks(person, "ROLLBACK", EFFECT_BACK, "ROLLBACK TO SAVEPOINT a"));
    statement_write(person, &statement);
    TRY(person_asks(person, &statement));
    return ends(person);
}

/* Several writes without BEGIN in one batch: all of them or none. */
fault do_atomic_batch(struct person *person)
{
    struct batch batch;
    struct statement statement;
    uint32_t count = 2 + person_draw(person, 4);
    batch_begin(&batch, person);
    for (uint32_t i = 0; i < count; i++) {
        if (person_one_in(person, 8))
            statement_fail(person, &statement);
        else
            statement_write(person, &statement);
        batch_extended(&batch, &statement, person_one_in(person, 4));
    }
    batch_sync(&batch);
    return batch_run(&batch);
}
