#include "machine/clock.h"
#include "people/batch.h"
#include "people/behaviours.h"
#include "stage/stage.h"

#include <stdio.h>
#include <string.h>

/*
 * Long messages, which the pooler holds whole: more of them at a time than it has memory for.  The
 * largest holder goes, and nobody who holds little.
 */
#define LONG_MIN  (2u << 20)
#define LONG_MAX  (7u << 19)
#define REST_LAST 100u /* bytes that come late: until then it is held */

static const char long_name[] = "long"; /* one without a name is not held */
static const char padding_begins[] = " --";

fault do_long_parse(struct person *person)
{
    struct batch batch;
    struct statement statement;
    struct buffer *out = &person->talk.out;
    uint32_t padding = LONG_MIN + person_draw(person, LONG_MAX - LONG_MIN);
    batch_begin(&batch, person);
    statement_echo(person, &statement);
    say("client", person->number, "parses, %u bytes longer: %s", padding, statement.text);
    size_t start = wire_begin(out, WIRE_PARSE);
    wire_put_text(out, long_name);
    wire_put_bytes(out, span_text(statement.text));
    wire_put_bytes(out, span_text(padding_begins));
    uint8_t *room = buffer_room(out, padding);
    PROVE(room != NULL);
    memset(room, 'x', padding);
    out->size += padding;
    wire_put_u8(out, 0);
    wire_put_u16(out, 0);
    wire_end(out, start);
    struct expectation next = {.what = EXPECT_PARSED};
    batch_expect(&batch, &next);
    put_bind(person, "", long_name, NULL);
    next.what = EXPECT_BOUND;
    batch_expect(&batch, &next);
    put_execute(person, "", 0);
    batch_expect(&batch, &statement.expected);
    put_target(person, WIRE_CLOSE, 'S', long_name);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_CLOSED});
    batch_sync(&batch);
    batch.anonymous = true; /* it takes its time until it is there */
    person->holds_much = true;
    fault sent = talk_flush_part(&person->talk, out->size - REST_LAST, after(sec(60)));
    if (sent == OK)
        sent = person_rests(person, 200000);
    else
        sent = person_lost(person, sent);
    if (sent == OK)
        sent = batch_run(&batch);
    person->holds_much = false;
    return sent;
}
