#include "relay/flight/flight_limit_parts.h"

#include "base/check.h"
#include "wire/messages.h"

void flight_limit_init(struct flight_limit *limit, const struct params *params)
{
    *limit = (struct flight_limit){.limit = params->limit, .error = BUFFER_INIT(1024)};
}

void flight_limit_fini(struct flight_limit *limit)
{
    buffer_fini(&limit->error);
}

bool flight_limit_start(struct flight_limit *limit, moment at)
{
    if (limit->limit.us == NO_LIMIT.us || limit->by.us != 0)
        return false;
    limit->by = later(at, limit->limit);
    return true;
}

bool flight_limit_passed(const struct flight_limit *limit, moment at)
{
    return limit->by.us != 0 && !limit->over && limit->by.us <= at.us;
}

void flight_limit_note(struct flight_limit *limit, struct span sent)
{
    if (limit->limit.us == NO_LIMIT.us)
        return;
    while (sent.size > 0) {
        size_t step = (size_t)MIN_OF((uint64_t)sent.size, limit->left);
        if (step == 0) {
            step = 1;
            limit->header[limit->header_size++] = sent.at[0];
        } else {
            limit->left -= step;
        }
        if (limit->header_size == WIRE_HEADER) {
            limit->left = wire_u32(limit->header + 1) - 4;
            limit->header_size = 0;
        }
        sent = span_skip(sent, step);
    }
}

fault flight_limit_end(struct flight_limit *limit)
{
    static const uint8_t ready[] = {WIRE_READY, 0, 0, 0, 5, WIRE_TX_IDLE};
    const struct wire_report report = {
        .severity = "ERROR",
        .sqlstate = "57014",
        .message = "canceling statement due to statement timeout",
    };
    invariant(!limit->over);
    wire_put_report(&limit->error, &report);
    buffer_append(&limit->error, ready, sizeof(ready));
    limit->over = true;
    return buffer_fault(&limit->error);
}

size_t flight_limit_rest(const struct flight_limit *limit)
{
    size_t header = limit->header_size > 0 ? (size_t)(WIRE_HEADER - limit->header_size) : 0;
    return header + (size_t)limit->left;
}

struct span flight_limit_error(const struct flight_limit *limit)
{
    return span_skip(buffer_span(&limit->error), limit->error_at);
}
