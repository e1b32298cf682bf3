/* Frames off a stream, then their fields: the first byte of a body says in which order. */
#include "fuzz.h"
#include "wire/message.h"

#define MOST 4096u

static void read_fields(struct span body)
{
    struct wire_reader in = wire_reader_over(body);
    while (!in.failed && in.at < in.end) {
        uint8_t what = wire_get_u8(&in);
        switch (what % 6) {
        case 0:
            wire_get_u16(&in);
            break;
        case 1:
            wire_get_u32(&in);
            break;
        case 2: {
            struct span text = wire_get_string(&in);
            invariant(text.size == 0 || memchr(text.at, 0, text.size) == NULL);
            break;
        }
        case 3:
            invariant(wire_get_bytes(&in, what).size == (in.failed ? 0 : what));
            break;
        case 4:
            wire_get_rest(&in);
            break;
        default:
            break;
        }
        invariant(in.at >= body.at && in.at <= body.at + body.size);
    }
    invariant(!in.failed || (wire_get_u32(&in) == 0 && wire_done(&in) == FAULT_PROTOCOL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_of(data, size);
    struct wire_frame frame;
    struct buffer out = BUFFER_INIT(size + WIRE_HEADER);
    for (;;) {
        struct span before = rest;
        fault found = wire_next_frame(&rest, MOST, &frame);
        if (found != OK) {
            invariant(found == FAULT_AGAIN || found == FAULT_PROTOCOL);
            invariant(rest.at == before.at && rest.size == before.size);
            break;
        }
        invariant(frame.body.size + 4 <= MOST);
        invariant(before.size == rest.size + WIRE_HEADER + frame.body.size);
        size_t start = wire_begin(&out, frame.type);
        wire_put_bytes(&out, frame.body);
        wire_end(&out, start);
        read_fields(frame.body);
    }
    /* What was taken apart is what is built. */
    invariant(buffer_fault(&out) == OK && out.size == size - rest.size);
    invariant(span_equal(buffer_span(&out), span_of(data, out.size)));
    buffer_fini(&out);
    return 0;
}
