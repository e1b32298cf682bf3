/* Values of primary keys, as clients bind them and as the feed tells them.  The first byte is 'v':
 * a type of key, a format, a type of Parse and the value follow; 'b': the size of the Parse behind
 * the statement's name, the Parse, and the Bind behind its names; 'r': a text of test_decoding,
 * whose row has a key of the columns n and w. */
#include "base/check.h"
#include "flight/feed_keys.h"
#include "fuzz.h"
#include "relay/flight/flight_values_parts.h"
#include "wire/message.h"

#include <stdlib.h>
#include <string.h>

#define ROOM 65536u

/* --- one value -------------------------------------------------------------------------------- */

/* The canonical text of a value is that of itself. */
static void check_canonical(enum verdict_key_type type, struct span text)
{
    struct buffer again = BUFFER_INIT(ROOM);
    struct verdict_value value = {.bytes = text};
    bool has = verdict_key_text(type, &value, &again);
    invariant(has && buffer_fault(&again) == OK && span_equal(buffer_span(&again), text));
    buffer_fini(&again);
}

static void read_value(struct span rest)
{
    static const uint32_t types[] = {0, 20, 21, 23, 25, 1042, 1043, 2950, 1700, 705};
    struct buffer text = BUFFER_INIT(ROOM);
    if (rest.size < 3)
        return;
    enum verdict_key_type type = rest.at[0] % (VERDICT_KEY_UUID + 1);
    struct verdict_value value = {
        .bytes = span_skip(rest, 3),
        .null = (rest.at[1] & 2) != 0,
        .binary = (rest.at[1] & 1) != 0,
        .type = types[rest.at[2] % ARRAY_SIZE(types)],
    };
    bool has = verdict_key_text(type, &value, &text);
    invariant(has || text.size == 0);
    invariant(!has || !value.null);
    if (has && buffer_fault(&text) == OK)
        check_canonical(type, buffer_span(&text));
    buffer_fini(&text);
}

/* --- the values of a Bind --------------------------------------------------------------------- */

static const struct verdict_key columns[] = {
    {.type = VERDICT_KEY_INTEGER, .parameter = 1, .name = SPAN("n")},
    {.type = VERDICT_KEY_TEXT, .parameter = 2, .repeated = true, .name = SPAN("w")},
};

static void read_bind(struct span rest)
{
    struct flight_values values;
    struct verdict_value bound[FLIGHT_VALUES_MAX];
    struct verdict verdict = {.reads_count = 1, .keys_count = ARRAY_SIZE(columns), .keys = columns};
    if (rest.size < 2)
        return;
    size_t size = MIN_OF(wire_u16(rest.at), rest.size - 2);
    struct turn_batch batch = {
        .extended = true,
        .parse = span_of(rest.at + 2, size),
        .bind = span_skip(rest, 2 + size),
    };
    flight_values_init(&values, &batch);
    uint32_t count = flight_values_read(&values, bound);
    struct span all = buffer_span(&values.bytes);
    invariant(count <= FLIGHT_VALUES_MAX);
    for (uint32_t i = 0; i < count; i++)
        invariant(bound[i].bytes.size == 0 ||
                  (bound[i].bytes.at >= all.at &&
                   bound[i].bytes.at + bound[i].bytes.size <= all.at + all.size));
    struct buffer bytes = BUFFER_INIT(ROOM);
    bool has = verdict_key_bytes(&verdict, bound, count, &bytes);
    invariant(!has || count >= ARRAY_SIZE(columns));
    buffer_fini(&bytes);
    flight_values_fini(&values);
}

/* --- a row of the feed ------------------------------------------------------------------------ */

static void put_name(struct feed_name *name, struct span text)
{
    memcpy(name->at, text.at, text.size);
    name->size = (uint8_t)text.size;
}

static void read_told(struct span rest)
{
    struct feed_text text;
    struct feed_key key = {.count = ARRAY_SIZE(columns)};
    struct buffer bytes = BUFFER_INIT(ROOM);
    uint64_t digest;
    for (uint32_t i = 0; i < key.count; i++) {
        key.columns[i].type = columns[i].type;
        put_name(&key.columns[i].name, columns[i].name);
    }
    if (feed_read_text(rest, &text) == OK) {
        (void)!feed_key_of_row(&key, text.new_row, &bytes, &digest);
        (void)!feed_key_of_row(&key, text.old_row, &bytes, &digest);
    }
    buffer_fini(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *memory;
    if (size == 0)
        return 0;
    struct span input = fuzz_copy(data, size, &memory), rest = span_skip(input, 1);
    if (*input.at == 'v')
        read_value(rest);
    else if (*input.at == 'b')
        read_bind(rest);
    else if (*input.at == 'r')
        read_told(rest);
    free(memory);
    return 0;
}
