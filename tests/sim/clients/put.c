#include "clients/batch.h"

#include "oracle/records.h"
#include "scenario/scenario.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*
 * Messages of clients; statements that contain the number of their login.
 */

/* --- messages --------------------------------------------------------------------------------- */

void put_parse(struct sim_client *client, const char *name, const char *text)
{
    struct buffer *out = &client->conn.out;
    size_t start = wire_begin(out, WIRE_PARSE);
    wire_put_text(out, name);
    wire_put_text(out, text);
    wire_put_u16(out, 0);
    wire_end(out, start);
}

void put_bind(struct sim_client *client, const char *portal, const char *name, const char *value)
{
    struct buffer *out = &client->conn.out;
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

void put_execute(struct sim_client *client, const char *portal, uint32_t rows)
{
    struct buffer *out = &client->conn.out;
    size_t start = wire_begin(out, WIRE_EXECUTE);
    wire_put_text(out, portal);
    wire_put_u32(out, rows);
    wire_end(out, start);
}

void put_target(struct sim_client *client, uint8_t type, char kind, const char *name)
{
    struct buffer *out = &client->conn.out;
    size_t start = wire_begin(out, type);
    wire_put_u8(out, (uint8_t)kind);
    wire_put_text(out, name);
    wire_end(out, start);
}

void put_copy(struct sim_client *client, uint8_t type, const char *text)
{
    size_t start = wire_begin(&client->conn.out, type);
    wire_put_bytes(&client->conn.out, span_text(text));
    if (type == WIRE_COPY_FAIL)
        wire_put_u8(&client->conn.out, 0);
    wire_end(&client->conn.out, start);
}

void put_row(struct sim_client *client)
{
    char value[RECORD_TEXT], line[RECORD_TEXT + 16];
    int32_t key = record_row(client->record, value);
    snprintf(line, sizeof(line), "%d\t%s\n", key, value);
    put_copy(client, WIRE_COPY_DATA, line);
}

/* --- statements ------------------------------------------------------------------------------- */

void statement_make(struct sim_client *client, struct statement *statement, const char *tag,
                    enum effect effect, const char *format, ...)
{
    char text[sizeof(statement->text) - 32];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    /* After the first word, where it stays when the server splits a Query into statements. */
    const char *rest = strchr(text, ' ');
    CHECK(rest != NULL);
    snprintf(statement->text, sizeof(statement->text), "%.*s /*%u.%u*/%s", (int)(rest - text), text,
             client->login, ++client->statements, rest);
    statement->expected = (struct expectation){.what = EXPECT_ANSWER, .effect = effect};
    snprintf(statement->expected.tag, sizeof(statement->expected.tag), "%s", tag);
    snprintf(statement->expected.text, CLIENT_TEXT, "%.*s", CLIENT_TEXT - 1, statement->text);
}

static void statement_has_row(struct statement *statement, const char *text)
{
    statement->expected.has_rows = true;
    statement->expected.rows = 1;
    snprintf(statement->expected.text, CLIENT_TEXT, "%s", text);
}

void statement_echo(struct sim_client *client, struct statement *statement)
{
    char text[64], label[sizeof(statement->expected.label)];
    snprintf(text, sizeof(text), "echo %u.%u", client->login, client->statements + 1);
    snprintf(label, sizeof(label), "echo_%u_%u", client->login, client->statements + 1);
    statement_make(client, statement, "SELECT 1", EFFECT_NONE, "SELECT '%s' AS %s", text, label);
    statement_has_row(statement, text);
    memcpy(statement->expected.label, label, sizeof(label));
}

void statement_fail(struct sim_client *client, struct statement *statement)
{
    statement_make(client, statement, "SELECT 1", EFFECT_NONE, "SELECT 1/0");
    statement->expected.sqlstate = "22012";
}

void statement_write(struct sim_client *client, struct statement *statement)
{
    char value[RECORD_TEXT];
    if (!client->has_record) {
        client->record = record_begin();
        client->has_record = true;
    }
    if (record_rows(client->record) == RECORD_ROWS) {
        statement_echo(client, statement);
        return;
    }
    int32_t key = record_row(client->record, value);
    statement_make(client, statement, "INSERT 0 1", EFFECT_NONE, "INSERT INTO kv VALUES (%d, '%s')",
                   key, value);
}

void statement_set(struct sim_client *client, struct statement *statement, bool local)
{
    uint8_t setting = (uint8_t)sim_client_draw(client, SETTINGS);
    uint8_t value = (uint8_t)sim_client_draw(client, SETTING_VALUES);
    if (!local && sim_client_one_in(client, 4)) {
        statement_make(client, statement, "RESET", EFFECT_SET, "RESET %s", setting_names[setting]);
        value = client->reset[setting];
    } else {
        statement_make(client, statement, "SET", local ? EFFECT_SET_LOCAL : EFFECT_SET,
                       "SET %s%s = '%s'", local ? "LOCAL " : "", setting_names[setting],
                       setting_values[setting][value]);
    }
    statement->expected.a = setting;
    statement->expected.b = value;
}

void statement_show(struct sim_client *client, struct statement *statement)
{
    uint8_t setting = (uint8_t)sim_client_draw(client, SETTINGS);
    statement_make(client, statement, "SHOW", EFFECT_NONE, "SHOW %s", setting_names[setting]);
    statement_has_row(statement, setting_values[setting][client->now.values[setting]]);
}

void statement_plain(struct sim_client *client, struct statement *statement)
{
    switch (sim_client_draw(client, 7)) {
    case 0:
        statement_fail(client, statement);
        return;
    case 1:
        statement_make(client, statement, "SELECT 1", EFFECT_NONE, "SELECT pg_sleep(0.0%u)",
                       1 + sim_client_draw(client, 20));
        statement_has_row(statement, "");
        return;
    default:
        statement_echo(client, statement);
    }
}

void statement_any(struct sim_client *client, struct statement *statement)
{
    if (sim_client_one_in(client, 6))
        statement_write(client, statement);
    else
        statement_plain(client, statement);
}

/* --- batches ---------------------------------------------------------------------------------- */

void batch_queries(struct batch *batch, const struct statement *statements, uint32_t count)
{
    char text[4 * CLIENT_TEXT] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct expectation expected = statements[i].expected;
        expected.simple = true;
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", used > 0 ? "; " : "",
                                 statements[i].text);
        CHECK(used < sizeof(text));
        batch_expect(batch, &expected);
    }
    wire_put_query(&batch->client->conn.out, span_text(text));
    trace("client", batch->client->number, "asks: %s", text);
    batch_expect(batch, &(struct expectation){.what = EXPECT_READY});
}

void batch_query(struct batch *batch, const struct statement *statement)
{
    batch_queries(batch, statement, 1);
}

void batch_extended(struct batch *batch, const struct statement *statement, bool describe)
{
    struct sim_client *client = batch->client;
    struct expectation next = {.what = EXPECT_PARSED};
    snprintf(next.text, CLIENT_TEXT, "%s", statement->expected.text);
    memcpy(next.label, statement->expected.label, sizeof(next.label));
    put_parse(client, "", statement->text);
    batch_expect(batch, &next);
    put_bind(client, "", "", NULL);
    next.what = EXPECT_BOUND;
    /* A constant that can't be computed fails when it is planned. */
    next.sqlstate = statement->expected.sqlstate;
    batch_expect(batch, &next);
    if (describe) {
        put_target(client, WIRE_DESCRIBE, 'P', "");
        next.what = statement->expected.has_rows || strncmp(statement->text, "SELECT ", 7) == 0
                        ? EXPECT_ROWS
                        : EXPECT_NO_ROWS;
        batch_expect(batch, &next);
    }
    put_execute(client, "", 0);
    batch_expect(batch, &statement->expected);
    trace("client", client->number, "parses, binds and executes: %s", statement->text);
}

void batch_sync(struct batch *batch)
{
    wire_put_empty(&batch->client->conn.out, WIRE_SYNC);
    batch_expect(batch, &(struct expectation){.what = EXPECT_READY});
}

void batch_flush(struct batch *batch)
{
    wire_put_empty(&batch->client->conn.out, WIRE_FLUSH);
}

fault sim_client_run(struct sim_client *client, const struct statement *statement)
{
    struct batch batch;
    batch_begin(&batch, client);
    if (sim_client_one_in(client, 2)) {
        batch_query(&batch, statement);
    } else {
        batch_extended(&batch, statement, sim_client_one_in(client, 3));
        batch_sync(&batch);
    }
    return batch_run(&batch);
}

void batch_begin_mixed(struct batch *batch, struct sim_client *client, uint32_t count)
{
    struct statement statement;
    batch_begin(batch, client);
    for (uint32_t i = 0; i < count; i++) {
        statement_plain(client, &statement);
        if (sim_client_one_in(client, 2)) {
            batch_query(batch, &statement);
            continue;
        }
        batch_extended(batch, &statement, sim_client_one_in(client, 3));
        batch_sync(batch);
    }
}
