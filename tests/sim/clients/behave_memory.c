#include "clients/batch.h"
#include "clients/behaviours.h"
#include "machine/clock.h"
#include "scenario/scenario.h"

#include <stdio.h>
#include <string.h>

/*
 * Long messages, which the pooler holds in memory: more than memory_limit allows.  The client with
 * the longest is disconnected, and no client with short messages.
 */
#define LONG_MIN  (2u << 20)
#define LONG_MAX  (7u << 19)
#define REST_LAST 100u /* bytes that come late: until then it is held */

static const char long_name[] = "long"; /* one without a name is not held */
static const char padding_begins[] = " --";

fault behave_long_parse(struct sim_client *client)
{
    struct batch batch;
    struct statement statement;
    struct buffer *out = &client->conn.out;
    uint32_t padding = LONG_MIN + sim_client_draw(client, LONG_MAX - LONG_MIN);
    batch_begin(&batch, client);
    statement_echo(client, &statement);
    trace("client", client->number, "parses, %u bytes longer: %s", padding, statement.text);
    size_t start = wire_begin(out, WIRE_PARSE);
    wire_put_text(out, long_name);
    wire_put_bytes(out, span_text(statement.text));
    wire_put_bytes(out, span_text(padding_begins));
    uint8_t *room = buffer_room(out, padding);
    CHECK(room != NULL);
    memset(room, 'x', padding);
    out->size += padding;
    wire_put_u8(out, 0);
    wire_put_u16(out, 0);
    wire_end(out, start);
    struct expectation next = {.what = EXPECT_PARSED};
    batch_expect(&batch, &next);
    put_bind(client, "", long_name, NULL);
    next.what = EXPECT_BOUND;
    batch_expect(&batch, &next);
    put_execute(client, "", 0);
    batch_expect(&batch, &statement.expected);
    put_target(client, WIRE_CLOSE, 'S', long_name);
    batch_expect(&batch, &(struct expectation){.what = EXPECT_CLOSED});
    batch_sync(&batch);
    batch.anonymous = true; /* it takes its time until it is there */
    client->holds_long_message = true;
    fault sent = conn_flush_part(&client->conn, out->size - REST_LAST, after(sec(60)));
    if (sent == OK)
        sent = sim_client_pause(client, 200000);
    else
        sent = sim_client_lost(client, sent);
    if (sent == OK)
        sent = batch_run(&batch);
    client->holds_long_message = false;
    return sent;
}
