#include "relay/flight/flight_values_parts.h"

#include "flight/feed_keys.h"
#include "wire/message.h"

/* Bytes of the values of a primary key. */
#define KEY_BYTES_MAX 32768u

void flight_values_init(struct flight_values *values, const struct turn_batch *batch)
{
    values->bytes = BUFFER_INIT(batch->parse.size + batch->bind.size);
    values->parse = 0;
    if (!batch->extended)
        return;
    buffer_append_span(&values->bytes, batch->parse);
    buffer_append_span(&values->bytes, batch->bind);
    values->parse = batch->parse.size;
}

void flight_values_fini(struct flight_values *values)
{
    buffer_fini(&values->bytes);
}

/* The format of one value: there is one for each, one for all, or none. */
static bool is_binary(struct span formats, uint32_t index)
{
    size_t at = formats.size == 2 ? 0 : 2 * (size_t)index;
    return at + 2 <= formats.size && (formats.at[at] != 0 || formats.at[at + 1] != 0);
}

static void read_types(struct span parse, struct verdict_value *values, uint32_t count)
{
    struct wire_reader in = wire_reader_over(parse);
    (void)wire_get_string(&in);
    uint32_t types = wire_get_u16(&in);
    for (uint32_t i = 0; i < MIN_OF(types, count) && !in.failed; i++)
        values[i].type = wire_get_u32(&in);
}

uint32_t flight_values_of(struct span parse, struct span bind,
                          struct verdict_value ret[FLIGHT_VALUES_MAX])
{
    if (bind.size == 0)
        return 0;
    struct wire_reader in = wire_reader_over(bind);
    struct span formats = wire_get_bytes(&in, 2 * (size_t)wire_get_u16(&in));
    uint32_t bound = wire_get_u16(&in), count = MIN_OF(bound, FLIGHT_VALUES_MAX);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size = wire_get_u32(&in);
        ret[i] =
            (struct verdict_value){.null = size == UINT32_MAX, .binary = is_binary(formats, i)};
        if (!ret[i].null)
            ret[i].bytes = wire_get_bytes(&in, size);
    }
    read_types(parse, ret, count);
    return in.failed ? 0 : count;
}

uint32_t flight_values_read(const struct flight_values *values,
                            struct verdict_value ret[FLIGHT_VALUES_MAX])
{
    struct span all = buffer_span(&values->bytes);
    if (all.size == 0)
        return 0;
    return flight_values_of(span_of(all.at, values->parse), span_skip(all, values->parse), ret);
}

bool flight_values_key(const struct verdict *verdict, const struct verdict_value *values,
                       uint32_t count, uint64_t *ret)
{
    struct buffer bytes = BUFFER_INIT(KEY_BYTES_MAX);
    bool found = verdict_key_bytes(verdict, values, count, &bytes);
    *ret = found ? feed_key_digest(buffer_span(&bytes)) : 0;
    buffer_fini(&bytes);
    return found;
}
