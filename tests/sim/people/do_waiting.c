#include "link/link.h"
#include "people/batch.h"
#include "people/behaviours.h"
#include "stage/stage.h"

/*
 * What clients do while they wait for a server.
 */
#define CANCELS_MOST 6u

/* Cancels what may not have begun: its claim waits, or has been granted right now. */
fault do_cancel_at_once(struct person *person)
{
    struct batch batch;
    struct statement statement;
    struct link_target target = {.address = stage.at, .host = "sim"};
    statement_make(person, &statement, "SELECT 1", EFFECT_NONE, "SELECT pg_sleep(0.004)");
    statement.expected.has_rows = true;
    statement.expected.rows = 1;
    statement.expected.text[0] = '\0';
    batch_begin(&batch, person);
    batch_query(&batch, &statement);
    person->wants_cancel = true;
    TRY(batch_send(&batch));
    fault through = OK;
    for (uint32_t i = 0; i < CANCELS_MOST && !talk_is_answered(&person->talk); i++) {
        TRY(person_rests(person, 3000));
        say("client", person->number, "cancels at once");
        fault sent =
            link_cancel(&target, person->pid, wire_secret_span(&person->secret), after(sec(60)));
        through = through == OK ? sent : through;
    }
    TRY(batch_hear(&batch));
    person->wants_cancel = through != OK;
    return OK;
}
