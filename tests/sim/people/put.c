#include "people/batch.h"

#include "oracle/deeds.h"
#include "stage/stage.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*
 * What clients say: messages, and statements that name who asks.
 */

/* --- messages --------------------------------------------------------------------------------- */

void put_parse(struct person *person, const char *name, const char *text)
{
    struct buffer *out = &person->talk.out;
    size_t start = wire_begin(out, WIRE_PARSE);
    wire_put_text(out, name);
    wire_put_text(out, text);
    wire_put_u16(out, 0);
    wire_end(out, start);
}

void put_bind(struct person *person, const char *portal, const char *name, const char *value)
{
    struct buffer *out = &person->talk.out;
    size_t start = wire_begin(out, WIRE_BIND);
    wire_put_text(out, portal);
    wire_put_text(out, name);
    wire_put_u16(out, 0);
    wire_put_u16(out, value == NULL ? 0 : 1);
    if (value != NULL) {
        wire_put_u32(out, (uint32_t)strlen(value));
        wire_put_bytes(out, span_text(value));
    }
    wire_put_u16(out, 0);
    wire_end(out, start);
}

void put_execute(struct person *person, const char *portal, uint32_t rows)
{
    struct buffer *out = &person->talk.out;
    size_t start = wire_begin(out, WIRE_EXECUTE);
    wire_put_text(out, portal);
    wire_put_u32(out, rows);
    wire_end(out, start);
}

void put_target(struct person *person, uint8_t type, char kind, const char *name)
{
    struct buffer *out = &person->talk.out;
    size_t start = wire_begin(out, type);
    wire_put_u8(out, (uint8_t)kind);
    wire_put_text(out, name);
    wire_end(out, start);
}

void put_copy(struct person *person, uint8_t type, const char *text)
{
    size_t start = wire_begin(&person->talk.out, type);
    wire_put_bytes(&person->talk.out, span_text(text));
    if (type == WIRE_COPY_FAIL)
        wire_put_u8(&person->talk.out, 0);
    wire_end(&person->talk.out, start);
}

void put_row(struct person *person)
{
    char value[DEED_TEXT], line[DEED_TEXT + 16];
    int32_t key = deed_row(person->deed, value);
    snprintf(line, sizeof(line), "%d\t%s\n", key, value);
    put_copy(person, WIRE_COPY_DATA, line);
}

/* --- statements ------------------------------------------------------------------------------- */

void statement_make(struct person *person, struct statement *statement, const char *tag,
                    enum effect effect, const char *format, ...)
{
    char text[sizeof(statement->text) - 32];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    /* Behind the first word, where it stays when the server cuts a Query into statements. */
    const char *rest = strchr(text, ' ');
    PROVE(rest != NULL);
    snprintf(statement->text, sizeof(statement->text), "%.*s /*%u.%u*/%s", (int)(rest - text), text,
             person->login, ++person->said, rest);
    statement->expected = (struct expectation){.what = EXPECT_ANSWER, .effect = effect};
    snprintf(statement->expected.tag, sizeof(statement->expected.tag), "%s", tag);
    snprintf(statement->expected.text, PERSON_TEXT, "%.*s", PERSON_TEXT - 1, statement->text);
}

static void statement_has_row(struct statement *statement, const char *text)
{
    statement->expected.has_rows = true;
    statement->expected.rows = 1;
    snprintf(statement->expected.text, PERSON_TEXT, "%s", text);
}

void statement_echo(struct person *person, struct statement *statement)
{
    char text[64], label[sizeof(statement->expected.label)];
    snprintf(text, sizeof(text), "echo %u.%u", person->login, person->said + 1);
    snprintf(label, sizeof(label), "echo_%u_%u", person->login, person->said + 1);
    statement_make(person, statement, "SELECT 1", EFFECT_NONE, "SELECT '%s' AS %s", text, label);
    statement_has_row(statement, text);
    memcpy(statement->expected.label, label, sizeof(label));
}

void statement_fail(struct person *person, struct statement *statement)
{
    statement_make(person, statement, "SELECT 1", EFFECT_NONE, "SELECT 1/0");
    statement->expected.sqlstate = "22012";
}

void statement_write(struct person *person, struct statement *statement)
{
    char value[DEED_TEXT];
    if (!person->has_deed) {
        person->deed = deed_begin();
        person->has_deed = true;
    }
    if (deed_rows(person->deed) == DEED_ROWS) {
        statement_echo(person, statement);
        return;
    }
    int32_t key = deed_row(person->deed, value);
    statement_make(person, statement, "INSERT 0 1", EFFECT_NONE, "INSERT INTO kv VALUES (%d, '%s')",
                   key, value);
}

void statement_set(struct person *person, struct statement *statement, bool local)
{
    uint8_t setting = (uint8_t)person_draw(person, SETTINGS);
    uint8_t value = (uint8_t)person_draw(person, SETTING_VALUES);
    if (!local && person_one_in(person, 4)) {
        statement_make(person, statement, "RESET", EFFECT_SET, "RESET %s", setting_names[setting]);
        value = person->reset[setting];
    } else {
        statement_make(person, statement, "SET", local ? EFFECT_SET_LOCAL : EFFECT_SET,
                       "SET %s%s = '%s'", local ? "LOCAL " : "", setting_names[setting],
                       setting_values[setting][value]);
    }
    statement->expected.a = setting;
    statement->expected.b = value;
}

void statement_show(struct person *person, struct statement *statement)
{
    uint8_t setting = (uint8_t)person_draw(person, SETTINGS);
    statement_make(person, statement, "SHOW", EFFECT_NONE, "SHOW %s", setting_names[setting]);
    statement_has_row(statement, setting_values[setting][person->now.values[setting]]);
}

void statement_plain(struct person *person, struct statement *statement)
{
    switch (person_draw(person, 7)) {
    case 0:
        statement_fail(person, statement);
        return;
    case 1:
        statement_make(person, statement, "SELECT 1", EFFECT_NONE, "SELECT pg_sleep(0.0%u)",
                       1 + person_draw(person, 20));
        statement_has_row(statement, "");
        return;
    default:
        statement_echo(person, statement);
    }
}

void statement_any(struct person *person, struct statement *statement)
{
    if (person_one_in(person, 6))
        statement_write(person, statement);
    else
        statement_plain(person, statement);
}

/* --- batches ---------------------------------------------------------------------------------- */

void batch_queries(struct batch *batch, const struct statement *statements, uint32_t count)
{
    char text[4 * PERSON_TEXT] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct expectation expected = statements[i].expected;
        expected.simple = true;
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", used > 0 ? "; " : "",
                                 statements[i].text);
        PROVE(used < sizeof(text));
        batch_expect(batch, &expected);
    }
    wire_put_query(&batch->person->talk.out, span_text(text));
    say("client", batch->person->number, "asks: %s", text);
    batch_expect(batch, &(struct expectation){.what = EXPECT_READY});
}

void batch_query(struct batch *batch, const struct statement *statement)
{
    batch_queries(batch, statement, 1);
}

void batch_extended(struct batch *batch, const struct statement *statement, bool describe)
{
    struct person *person = batch->person;
    struct expectation next = {.what = EXPECT_PARSED};
    snprintf(next.text, PERSON_TEXT, "%s", statement->expected.text);
    memcpy(next.label, statement->expected.label, sizeof(next.label));
    put_parse(person, "", statement->text);
    batch_expect(batch, &next);
    put_bind(person, "", "", NULL);
    next.what = EXPECT_BOUND;
    /* A constant that can't be computed fails when it is planned. */
    next.sqlstate = statement->expected.sqlstate;
    batch_expect(batch, &next);
    if (describe) {
        put_target(person, WIRE_DESCRIBE, 'P', "");
        next.what = statement->expected.has_rows || statement->expected.sqlstate != NULL
                        ? EXPECT_ROWS
                        : EXPECT_NO_ROWS;
        batch_expect(batch, &next);
    }
    put_execute(person, "", 0);
    batch_expect(batch, &statement->expected);
    say("client", person->number, "parses, binds and executes: %s", statement->text);
}

void batch_sync(struct batch *batch)
{
    wire_put_empty(&batch->person->talk.out, WIRE_SYNC);
    batch_expect(batch, &(struct expectation){.what = EXPECT_READY});
}

void batch_flush(struct batch *batch)
{
    wire_put_empty(&batch->person->talk.out, WIRE_FLUSH);
}

fault person_asks(struct person *person, const struct statement *statement)
{
    struct batch batch;
    batch_begin(&batch, person);
    if (person_one_in(person, 2)) {
        batch_query(&batch, statement);
    } else {
        batch_extended(&batch, statement, person_one_in(person, 3));
        batch_sync(&batch);
    }
    return batch_run(&batch);
}
