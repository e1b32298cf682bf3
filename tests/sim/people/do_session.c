#include "machine/clock.h"
#include "oracle/arrivals.h"
#include "people/batch.h"
#include "people/behaviours.h"
#include "stage/stage.h"

#include <stdio.h>

/*
 * State that lives in a session: the pooler keeps the server for its client until it has ended.
 */

static fault asks(struct person *person, const char *tag, const char *text, const char *row)
{
    struct statement statement;
    statement_make(person, &statement, tag, EFFECT_NONE, "%s", text);
    if (row != NULL) {
        statement.expected.has_rows = true;
        statement.expected.rows = 1;
        snprintf(statement.expected.text, PERSON_TEXT, "%s", row);
    }
    struct batch batch;
    batch_begin(&batch, person);
    batch_query(&batch, &statement);
    TRY(batch_run(&batch));
    /* It may have been refused, by the limit of pins: the rest makes no sense then. */
    return batch.any_failed ? FAULT_AGAIN : OK;
}

static fault settled(fault done)
{
    return done == FAULT_AGAIN ? OK : done;
}

static fault sql_prepared(struct person *person)
{
    if (person->left_prepared)
        return OK;
    TRY(asks(person, "PREPARE", "PREPARE mine AS SELECT 'mine'", NULL));
    TRY(person_rests(person, 3000));
    fault done = asks(person, "SELECT 1", "EXECUTE mine", "mine");
    if (done == FAULT_CLOSED)
        return done;
    done = asks(person, "DEALLOCATE", "DEALLOCATE mine", NULL);
    person->left_prepared = done == FAULT_AGAIN;
    return done;
}

fault do_sql_prepared(struct person *person)
{
    return settled(sql_prepared(person));
}

static fault pinned_setting(struct person *person)
{
    TRY(asks(person, "SET", "SET lock_timeout = '7s'", NULL));
    TRY(person_rests(person, 3000));
    fault done = asks(person, "SHOW", "SHOW lock_timeout", "7s");
    if (done == FAULT_CLOSED)
        return done;
    return asks(person, "RESET", "RESET lock_timeout", NULL);
}

fault do_pinned_setting(struct person *person)
{
    return settled(pinned_setting(person));
}

static fault lock(struct person *person)
{
    char text[96];
    uint32_t key = 100000 + person->login;
    snprintf(text, sizeof(text), "SELECT pg_advisory_lock(%u)", key);
    TRY(asks(person, "SELECT 1", text, ""));
    TRY(person_rests(person, 3000));
    snprintf(text, sizeof(text), "SELECT pg_advisory_unlock(%u)", key);
    return asks(person, "SELECT 1", text, "t");
}

fault do_lock(struct person *person)
{
    return settled(lock(person));
}

#define NEWS_WITHIN ms(100) /* where nothing is late */

/* Parked, it is told of what others notify at once. */
static fault hears_news(struct person *person)
{
    duration max = {.us = 1 + person_draw(person, 400000)};
    TRY(person_hears(person, max));
    if (stage_is_exact())
        arrivals_prove_prompt(person, NEWS_WITHIN);
    return OK;
}

static fault listen_and_notify(struct person *person)
{
    person->listens = true;
    TRY(asks(person, "LISTEN", "LISTEN news", NULL));
    if (stage_has(KIND_news))
        TRY(hears_news(person));
    TRY(person_rests(person, 3000));
    fault done = asks(person, "NOTIFY", "NOTIFY news, 'of one'", NULL);
    if (done == FAULT_CLOSED)
        return done;
    TRY(asks(person, "UNLISTEN", "UNLISTEN news", NULL));
    return OK;
}

fault do_listen(struct person *person)
{
    return settled(listen_and_notify(person));
}
