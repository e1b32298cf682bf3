/* First packets: what is read can be built again, byte for byte. */
#include "fuzz.h"
#include "wire/startup.h"

static void check_parameters(struct span packet, const struct wire_startup *startup)
{
    struct buffer out = BUFFER_INIT(WIRE_STARTUP_MAX);
    struct span rest = startup->parameters, name, value, last = SPAN_NONE;
    size_t start;
    wire_put_startup_begin(&out, startup->version, &start);
    while (wire_next_parameter(&rest, &name, &value)) {
        invariant(name.size > 0);
        wire_put_startup_parameter(&out, name, value);
        if (span_is(name, "user"))
            last = value;
    }
    wire_put_startup_end(&out, start);
    invariant(rest.size == 0 && buffer_fault(&out) == OK);
    invariant(span_equal(span_skip(buffer_span(&out), 8), span_skip(packet, 8)));
    invariant(span_equal(wire_find_parameter(startup->parameters, "user"), last));
    buffer_fini(&out);
}

static void check_negotiation(const struct wire_startup *startup)
{
    struct buffer out = BUFFER_INIT(2 * WIRE_STARTUP_MAX);
    wire_put_negotiate(&out, startup->version, startup->parameters);
    struct span rest = buffer_span(&out);
    struct wire_frame frame;
    invariant(buffer_fault(&out) == OK);
    if (rest.size > 0) {
        fault found = wire_next_frame(&rest, 2 * WIRE_STARTUP_MAX, &frame);
        invariant(found == OK && frame.type == WIRE_NEGOTIATE && rest.size == 0);
        struct wire_reader in = wire_reader_over(frame.body);
        wire_get_u32(&in);
        for (uint32_t left = wire_get_u32(&in); left > 0; left--)
            invariant(span_starts(wire_get_string(&in), SPAN("_pq_.")));
        invariant(wire_done(&in) == OK);
    }
    buffer_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_startup startup = {0};
    struct span packet = span_of(data, size);
    uint32_t length = size >= 4 ? wire_startup_length(data) : 0;
    fault found = wire_read_startup(packet, &startup);
    if (found == FAULT_UNSUPPORTED)
        invariant(startup.version >> 16 != 3);
    if (found != OK)
        return 0;
    invariant(length == size && size >= 8 && size <= WIRE_STARTUP_MAX);
    if (startup.kind == WIRE_STARTUP_CANCEL)
        invariant(startup.cancel.secret.size >= 4 && startup.cancel.secret.size <= 256);
    if (startup.kind != WIRE_STARTUP)
        return 0;
    enum wire_replication replication;
    struct span word = wire_find_parameter(startup.parameters, "replication");
    if (wire_read_replication(word, &replication) == OK)
        invariant(word.size > 0 && word.size <= strlen("database"));
    check_parameters(packet, &startup);
    check_negotiation(&startup);
    return 0;
}
