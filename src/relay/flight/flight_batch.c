#include "relay/flight/flight_batch_parts.h"

#include "relay/flight/flight_key.h"
#include "wire/message.h"

#include <string.h>

void flight_batch_parse(struct buffer *messages, const struct flight_name *name, struct span parse)
{
    if (!name->parses)
        return;
    size_t start = wire_begin(messages, WIRE_PARSE);
    wire_put_text(messages, name->text);
    wire_put_bytes(messages, parse);
    wire_end(messages, start);
}

void flight_batch_execute(struct buffer *messages, const struct flight_name *name, struct span bind,
                          bool describes)
{
    size_t start = wire_begin(messages, WIRE_BIND);
    wire_put_text(messages, "");
    wire_put_text(messages, name->text);
    wire_put_bytes(messages, bind);
    wire_end(messages, start);
    if (describes) {
        start = wire_begin(messages, WIRE_DESCRIBE);
        wire_put_u8(messages, 'P');
        wire_put_text(messages, "");
        wire_end(messages, start);
    }
    start = wire_begin(messages, WIRE_EXECUTE);
    wire_put_text(messages, "");
    wire_put_u32(messages, 0);
    wire_end(messages, start);
}

/* A simple query has no parameters, and results as text. */
void flight_batch_init(struct flight_batch *batch, const struct turn_batch *from, bool extends)
{
    static const uint8_t nothing[6];
    *batch = (struct flight_batch){.extended = from->extended || extends,
                                   .parse = BUFFER_INIT(from->text.size + 4),
                                   .bind = BUFFER_INIT(from->bind.size + sizeof(nothing))};
    if (from->extended) {
        buffer_append_span(&batch->parse, from->parse);
        buffer_append_span(&batch->bind, from->bind);
        return;
    }
    wire_put_string(&batch->parse, flight_key_text_of(from));
    if (extends) {
        wire_put_u16(&batch->parse, 0);
        buffer_append(&batch->bind, nothing, sizeof(nothing));
    }
}

void flight_batch_fini(struct flight_batch *batch)
{
    buffer_fini(&batch->parse);
    buffer_fini(&batch->bind);
}

fault flight_batch_fault(const struct flight_batch *batch)
{
    TRY(buffer_fault(&batch->parse));
    return buffer_fault(&batch->bind);
}

void flight_batch_put(const struct flight_batch *batch, const struct flight_name *name,
                      struct buffer *messages)
{
    size_t start;
    if (!batch->extended) {
        start = wire_begin(messages, WIRE_QUERY);
        wire_put_bytes(messages, buffer_span(&batch->parse));
        wire_end(messages, start);
        return;
    }
    flight_batch_parse(messages, name, buffer_span(&batch->parse));
    if (batch->tells) {
        start = wire_begin(messages, WIRE_DESCRIBE);
        wire_put_u8(messages, 'S');
        wire_put_text(messages, name->text);
        wire_end(messages, start);
    }
    flight_batch_execute(messages, name, buffer_span(&batch->bind), true);
    start = wire_begin(messages, WIRE_SYNC);
    wire_end(messages, start);
}
