#include "machine/clock.h"
#include "people/batch.h"
#include "people/behaviours.h"
#include "stage/stage.h"
#include "wire/startup.h"

#include <stdio.h>

/*
 * What drivers seldom do and the protocol allows, and what must hold for it all the same.
 */
#define TRICKLE_PAUSE sec(5)
#define LOGIN_SLACK   sec(20)

/* Behind a failed message all is skipped up to the Sync, a Query too: it is never answered. */
fault do_query_behind_failure(struct person *person)
{
    struct batch batch;
    struct statement statement;
    batch_begin(&batch, person);
    put_bind(person, "", "nobody has prepared this", NULL);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_BOUND, .sqlstate = "26000"});
    if (person_one_in(person, 2)) { /* asked when the failure is known */
        batch_flush(&batch);
        TRY(batch_run(&batch));
    }
    statement_echo(person, &statement);
    wire_put_query(&person->talk.out, span_text(statement.text));
    say("client", person->number, "asks behind a failure: %s", statement.text);
    batch_sync(&batch);
    return batch_run(&batch);
}

static void put_typed_parse(struct person *person, const char *name, const char *text,
                            uint32_t type)
{
    struct buffer *out = &person->talk.out;
    size_t start = wire_begin(out, WIRE_PARSE);
    wire_put_text(out, name);
    wire_put_text(out, text);
    wire_put_u16(out, 1);
    wire_put_u32(out, type);
    wire_end(out, start);
}

/* The same text with one type and another is two statements. */
fault do_typed(struct person *person)
{
    static const struct {
        uint32_t type;
        const char *value;
    } kinds[] = {{23, "17"}, {25, "no number"}};
    struct batch batch;
    char name[32];
    uint32_t kind = person_draw(person, ARRAY_SIZE(kinds));
    snprintf(name, sizeof(name), "typed %u", ++person->said);
    batch_begin(&batch, person);
    batch.anonymous = true;
    put_typed_parse(person, name, "SELECT $1", kinds[kind].type);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_PARSED});
    put_bind(person, "", name, kinds[kind].value);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_BOUND});
    put_execute(person, "", 0);
    struct expectation expected = {
        .what = EXPECT_ANSWER, .has_rows = true, .rows = 1, .tag = "SELECT 1"};
    snprintf(expected.text, sizeof(expected.text), "%s", kinds[kind].value);
    batch_expect(&batch, &expected);
    put_target(person, WIRE_CLOSE, 'S', name);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_CLOSED});
    batch_sync(&batch);
    return batch_run(&batch);
}

/* What it asks comes in two parts, cut anywhere: the first may be answered before the rest of a
 * message is there. */
fault do_halves(struct person *person)
{
    struct batch batch;
    struct statement statement;
    uint32_t count = 1 + person_draw(person, 4);
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
    batch.anonymous = true; /* statements begin before all was asked */
    batch.half_sent = true;
    person->asked_at = now();
    size_t size = 1 + person_draw(person, (uint32_t)person->talk.out.size - 1);
    say("client", person->number, "sends %zu of %zu bytes first", size, person->talk.out.size);
    fault sent = talk_flush_part(&person->talk, size, after(sec(60)));
    if (sent != OK)
        return person_lost(person, sent);
    TRY(person_rests(person, person_one_in(person, 2) ? 3000 : 30000));
    return batch_run(&batch);
}

/* A startup packet that comes byte by byte, and too late: login_timeout ends it. */
fault do_slow_login(struct person *person)
{
    size_t start;
    struct talk talk = TALK_INIT;
    wire_put_startup_begin(&talk.out, WIRE_PROTOCOL_3_0, &start);
    wire_put_startup_parameter(&talk.out, SPAN("user"), SPAN("joe"));
    wire_put_startup_parameter(&talk.out, SPAN("database"), SPAN("somewhere"));
    wire_put_startup_end(&talk.out, start);
    fault done =
        stage.calm ? FAULT_CLOSED : stream_connect(&talk.stream, &stage.at, NULL, after(sec(60)));
    deadline max = later(later(now(), stage.setup.login_timeout), LOGIN_SLACK);
    while (done == OK && talk.out.size > 1 && !stream_hung_up(&talk.stream)) {
        PROVE(now().us < max.us || (!stage.calm && stage_has(KIND_silences)),
              "client %u is still let log in after login_timeout", person->number);
        done = talk_flush_part(&talk, 1, after(sec(60)));
        PROVE(co_sleep(TRICKLE_PAUSE) == OK);
    }
    talk_end(&talk);
    return OK;
}
