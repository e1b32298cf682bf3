#include "link/link.h"
#include "machine/clock.h"
#include "people/batch.h"
#include "people/behaviours.h"
#include "stage/stage.h"

/*
 * Clients cancel what they ask: while it runs, before it may have begun, again and again.
 */
#define CANCELS_MAX     50u
#define CANCELS_AT_ONCE 6u

/* OK: the request is through, and meets nothing that comes later.  Meanwhile it does not listen:
 * its answer may have come. */
static fault cancels(struct person *person)
{
    person->waits = false;
    struct link_target target = {.address = stage.at, .host = "sim"};
    return link_cancel(&target, person->pid, wire_secret_span(&person->secret), after(sec(60)));
}

/* A sleep that ends by itself, unless it is cancelled. */
static void batch_sleep(struct batch *batch, struct person *person, const char *seconds)
{
    struct statement statement;
    statement_make(person, &statement, "SELECT 1", EFFECT_NONE, "SELECT pg_sleep(%s)", seconds);
    statement.expected.has_rows = true;
    statement.expected.rows = 1;
    statement.expected.text[0] = '\0';
    batch_begin(batch, person);
    batch_query(batch, &statement);
}

fault do_cancel(struct person *person)
{
    struct batch batch;
    batch_sleep(&batch, person, "0.2");
    TRY(batch_send(&batch));
    TRY(person_rests(person, person_one_in(person, 3) ? 2000 : 250000));
    say("client", person->number, "cancels");
    person->wants_cancel = true;
    fault through = cancels(person);
    TRY(batch_hear(&batch));
    person->wants_cancel = through != OK;
    return OK;
}

/* Cancels what may not have begun: its claim waits, or has been granted right now. */
fault do_cancel_at_once(struct person *person)
{
    struct batch batch;
    batch_sleep(&batch, person, "0.004");
    person->wants_cancel = true;
    TRY(batch_send(&batch));
    fault through = OK;
    for (uint32_t i = 0; i < CANCELS_AT_ONCE && !talk_is_answered(&person->talk); i++) {
        TRY(person_rests(person, 3000));
        say("client", person->number, "cancels at once");
        fault came = cancels(person);
        through = through == OK ? came : through;
    }
    TRY(batch_hear(&batch));
    person->wants_cancel = through != OK;
    return OK;
}

/* Asked for again and again, a cancellation comes: the key is good wherever the client is.  Only
 * who is suspended has not been heard yet, so that there is nothing to cancel. */
fault do_cancel_again(struct person *person)
{
    struct batch batch;
    struct statement statement;
    statement_make(person, &statement, "SELECT 1", EFFECT_NONE, "SELECT pg_sleep(600)");
    statement.expected.has_rows = true;
    statement.expected.sqlstate = "57014";
    batch_begin(&batch, person);
    batch_query(&batch, &statement);
    person->wants_cancel = true;
    TRY(batch_send(&batch));
    fault through = OK;
    for (uint32_t sent = 0; sent < CANCELS_MAX && !talk_is_answered(&person->talk);) {
        TRY(person_rests(person, person_one_in(person, 2) ? 2000 : 200000));
        fault came = cancels(person);
        through = through == OK ? came : through;
        sent = stage.stopped ? 0 : sent + 1;
    }
    PROVE(talk_is_answered(&person->talk) || stage_excuses_loss(person),
          "client %u has cancelled '%s' %u times in vain", person->number, statement.text,
          CANCELS_MAX);
    /* No request can come through: it does not wait for the end of such a query. */
    if (!talk_is_answered(&person->talk)) {
        person_end(person);
        return FAULT_CLOSED;
    }
    TRY(batch_hear(&batch));
    person->wants_cancel = through != OK;
    return OK;
}
