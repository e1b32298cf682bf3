#include "machine/clock.h"
#include "machine/sim/world.h"
#include "people/batch.h"
#include "people/behaviours.h"
#include "stage/stage.h"
#include "wire/startup.h"

/*
 * How clients go.
 */

fault do_leave(struct person *person)
{
    wire_put_empty(&person->talk.out, WIRE_TERMINATE);
    TRY(person_flush(person));
    person_end(person);
    return OK;
}

static duration duration_sum(duration a, duration b)
{
    return (duration){a.us + b.us};
}

/* Gone without a word, by an end or a reset. */
static fault vanishes(struct person *person)
{
    person->wants_cancel = true;
    TRY(person_rests(person, stage_has(KIND_haste) ? 100 : 3000));
    if (person_one_in(person, 3))
        sim_net_linger(&person->talk.stream);
    say("client", person->number, "vanishes");
    person_end(person);
    return OK;
}

/* In the middle of something. */
fault do_vanish(struct person *person)
{
    struct batch batch;
    struct statement statement;
    batch_begin(&batch, person);
    person->wants_cancel = true;
    switch (person_draw(person, 4)) {
    case 0:
        statement_make(person, &statement, "BEGIN", EFFECT_BEGIN, "BEGIN WORK");
        TRY(person_asks(person, &statement));
        if (person_one_in(person, 2)) { /* its end takes it back */
            statement_set(person, &statement, false);
            TRY(person_asks(person, &statement));
        }
        statement_write(person, &statement);
        TRY(person_asks(person, &statement));
        return vanishes(person);
    case 1:
        statement_make(person, &statement, "SELECT 1", EFFECT_NONE, "SELECT pg_sleep(0.5)");
        batch_query(&batch, &statement);
        break;
    case 2:
        statement_write(person, &statement);
        batch_extended(&batch, &statement, false);
        break;
    default:
        for (uint32_t i = 0; i < 20; i++) {
            statement_echo(person, &statement);
            batch_query(&batch, &statement);
        }
    }
    TRY(person_flush(person));
    return vanishes(person);
}

/* What it says ends at any byte. */
fault do_cut(struct person *person)
{
    struct batch batch;
    struct statement statement;
    batch_begin(&batch, person);
    person->wants_cancel = true;
    uint32_t count = 1 + person_draw(person, 5);
    for (uint32_t i = 0; i < count; i++) {
        statement_write(person, &statement);
        batch_extended(&batch, &statement, person_one_in(person, 3));
    }
    if (person_one_in(person, 2))
        batch_flush(&batch);
    batch_sync(&batch);
    size_t size = 1 + person_draw(person, (uint32_t)person->talk.out.size);
    say("client", person->number, "sends %zu of %zu bytes", size, person->talk.out.size);
    fault sent = talk_flush_part(&person->talk, size, after(sec(60)));
    if (sent != OK)
        return person_lost(person, sent);
    return vanishes(person);
}

/* Where there is no descriptor for one more, each who is in front of it may wait at the door. */
static duration door_max(void)
{
    return stage_has(KIND_few_descriptors) ? sec(3 * (1 + stage.plan->clients)) : sec(0);
}

/* A byte now and then, until it is thrown out, or has had enough. */
static fault dribbles(struct person *person, struct talk *talk)
{
    duration max = duration_sum(stage.setup.login_timeout, door_max());
    deadline by = later(now(), duration_sum(max, sec(2)));
    bool patient = stage_has(KIND_login_timeout);
    while (talk->out.size > 1) {
        uint8_t byte;
        size_t size;
        TRY(talk_flush_part(talk, 1, by));
        fault read = stream_read(&talk->stream, &byte, 1, &size, after(ms(250)));
        if (read != FAULT_TIMEOUT)
            return read == OK ? FAULT_AGAIN : read;
        PROVE(!patient || now().us < by.us || stage_has(KIND_silences),
              "client %u has not logged in and is not thrown out", person->number);
        if (!patient && person_one_in(person, 4))
            return OK;
    }
    return OK;
}

/* A startup packet that never comes to its end. */
fault do_half_login(struct person *person)
{
    size_t start;
    struct talk talk = TALK_INIT;
    wire_put_startup_begin(&talk.out, WIRE_PROTOCOL_3_0, &start);
    wire_put_startup_parameter(&talk.out, SPAN("user"), SPAN("joe"));
    wire_put_startup_parameter(&talk.out, SPAN("database"), SPAN("app"));
    wire_put_startup_end(&talk.out, start);
    fault done = stream_connect(&talk.stream, &stage.at, NULL, after(sec(60)));
    if (done == OK)
        (void)!dribbles(person, &talk);
    talk_end(&talk);
    return OK;
}

/* Says nothing within a transaction, or outside of one, until it is thrown out for that. */
fault do_idle_too_long(struct person *person)
{
    struct statement statement;
    duration max = stage.setup.client_idle_timeout;
    if (person_one_in(person, 2)) {
        statement_make(person, &statement, "BEGIN", EFFECT_BEGIN, "BEGIN WORK");
        TRY(person_asks(person, &statement));
        max = stage.setup.idle_transaction_timeout;
    }
    deadline by = later(now(), duration_sum(max, sec(2)));
    fault heard = talk_next(&person->talk, by);
    while (heard == OK && person->talk.frame.type != WIRE_ERROR)
        heard = talk_next(&person->talk, by);
    /* Who is suspended is not looked at. */
    PROVE(heard != FAULT_TIMEOUT || stage_has(KIND_silences) || stage_has(KIND_lateness) ||
              stage_has(KIND_orders),
          "client %u idles and is not thrown out", person->number);
    person->wants_cancel = true;
    person_end(person);
    return OK;
}
