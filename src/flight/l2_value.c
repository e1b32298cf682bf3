#include "flight/l2_value.h"

#include "wire/messages.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Of the form: the fields below are those of this version. */
#define MAGIC        "tl-l2\n"
#define VERSION      2u
#define VERSION_AT   6u
#define CHECKSUM_AT  8u
#define EPOCH_AT     16u
#define MADE_AT      24u
#define SHAPE_AT     32u
#define KEY_SIZE_AT  48u
#define DESCRIBED_AT 52u
#define PLAIN_AT     56u /* bytes of the messages, if they are compressed; else 0 */
#define HEAD         60u

/* No compressed byte stands for more than so many. */
#define RATIO_MAX 255u

/* --- numbers ---------------------------------------------------------------------------------- */

static void store_u64(uint8_t *at, uint64_t value)
{
    wire_store_u32(at, (uint32_t)(value >> 32));
    wire_store_u32(at + 4, (uint32_t)value);
}

static uint64_t read_u64(const uint8_t *at)
{
    return (uint64_t)wire_u32(at) << 32 | wire_u32(at + 4);
}

static uint64_t checksum(struct span value)
{
    struct span covered = span_skip(value, EPOCH_AT);
    return XXH3_64bits(covered.at, covered.size);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void put_head(const struct l2_value *value, const struct answer *answer, uint8_t head[HEAD])
{
    struct answer_shape shape = answer_shape(answer);
    static_assert(sizeof(MAGIC) - 1 == VERSION_AT, "the version follows the mark");
    memcpy(head, MAGIC, VERSION_AT);
    wire_store_u16(head + VERSION_AT, VERSION);
    store_u64(head + EPOCH_AT, value->epoch);
    store_u64(head + MADE_AT, (uint64_t)value->made);
    memcpy(head + SHAPE_AT, &shape, sizeof(shape));
    wire_store_u32(head + KEY_SIZE_AT, (uint32_t)value->key.size);
    wire_store_u32(head + DESCRIBED_AT, (uint32_t)answer_description(answer));
}

static void put_messages(struct answer *answer, struct buffer *out)
{
    struct answer_reader reader;
    if (!answer_open(answer, ANSWER_WHOLE, &reader))
        return;
    for (struct span part; (part = answer_peek(&reader)).size > 0;) {
        buffer_append_span(out, part);
        answer_consume(&reader, part.size);
    }
    answer_close(&reader);
}

/* Compresses what stands behind `from`.  Returns the size before, or 0: it stays as it is. */
static uint32_t compress(struct buffer *out, size_t from)
{
    uint32_t size = (uint32_t)(out->size - from);
    int room = LZ4_compressBound((int)size);
    char *made = malloc((size_t)room);
    if (made == NULL)
        return 0;
    int made_size = LZ4_compress_default((const char *)out->at + from, made, (int)size, room);
    bool pays = made_size > 0 && (uint32_t)made_size < size - size / 8;
    if (pays) {
        memcpy(out->at + from, made, (size_t)made_size);
        out->size = from + (size_t)made_size;
    }
    free(made);
    return pays ? size : 0;
}

bool l2_value_put(const struct l2_value *value, struct answer *answer, uint64_t compress_min,
                  struct buffer *out)
{
    uint8_t head[HEAD] = {0};
    size_t start = out->size;
    invariant(answer_storable(answer));
    if (value->key.size > L2_VALUE_MAX ||
        answer_bytes(answer) > L2_VALUE_MAX - HEAD - value->key.size)
        return false;
    put_head(value, answer, head);
    buffer_append(out, head, sizeof(head));
    buffer_append_span(out, value->key);
    put_messages(answer, out);
    if (buffer_fault(out) != OK)
        return false;
    size_t messages = start + HEAD + value->key.size;
    if (compress_min > 0 && out->size - messages >= compress_min)
        wire_store_u32(out->at + start + PLAIN_AT, compress(out, messages));
    struct span whole = span_skip(buffer_span(out), start);
    store_u64(out->at + start + CHECKSUM_AT, checksum(whole));
    return true;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Whether the messages are those of an answer: a RowDescription of this size, if any, rows, and a
 * CommandComplete. */
static bool messages_are_sound(struct span messages, uint32_t described)
{
    uint8_t type = 0;
    uint32_t at = 0;
    while (messages.size >= WIRE_HEADER && type != WIRE_COMMAND_COMPLETE) {
        uint64_t size = (uint64_t)wire_u32(messages.at + 1) + 1;
        type = messages.at[0];
        if (size < WIRE_HEADER || size > messages.size)
            return false;
        bool first = at == 0 && described > 0;
        if (first ? type != WIRE_ROW_DESCRIPTION || size != described
                  : type != WIRE_DATA_ROW && type != WIRE_COMMAND_COMPLETE)
            return false;
        messages = span_skip(messages, size);
        at += 1;
    }
    return type == WIRE_COMMAND_COMPLETE && messages.size == 0;
}

/* Decompresses the messages, of `size` bytes.  False: they are not that. */
static bool decompress(struct l2_value *value, uint32_t size)
{
    struct span from = value->messages;
    if (size > L2_VALUE_MAX || size > from.size * RATIO_MAX)
        return false;
    value->plain = malloc(size);
    if (value->plain == NULL || LZ4_decompress_safe((const char *)from.at, (char *)value->plain,
                                                    (int)from.size, (int)size) != (int)size) {
        l2_value_fini(value);
        return false;
    }
    value->messages = span_of(value->plain, size);
    return true;
}

void l2_value_fini(struct l2_value *value)
{
    free(value->plain);
    value->plain = NULL;
}

enum l2_flaw l2_value_read(struct span bytes, struct span key, struct l2_value *ret)
{
    if (bytes.size < HEAD || bytes.size > L2_VALUE_MAX || memcmp(bytes.at, MAGIC, VERSION_AT) != 0)
        return L2_MALFORMED;
    if (wire_u16(bytes.at + VERSION_AT) != VERSION)
        return L2_VERSION;
    if (read_u64(bytes.at + CHECKSUM_AT) != checksum(bytes))
        return L2_CHECKSUM;
    uint32_t key_size = wire_u32(bytes.at + KEY_SIZE_AT);
    struct span rest = span_skip(bytes, HEAD);
    if (key_size > rest.size)
        return L2_MALFORMED;
    if (!span_equal(span_of(rest.at, key_size), key))
        return L2_OTHER_KEY;
    struct l2_value value = {
        .epoch = read_u64(bytes.at + EPOCH_AT),
        .made = (int64_t)read_u64(bytes.at + MADE_AT),
        .described = wire_u32(bytes.at + DESCRIBED_AT),
        .key = span_of(rest.at, key_size),
        .messages = span_skip(rest, key_size),
    };
    memcpy(&value.shape, bytes.at + SHAPE_AT, sizeof(value.shape));
    uint32_t plain = wire_u32(bytes.at + PLAIN_AT);
    if (plain > 0 && !decompress(&value, plain))
        return L2_MALFORMED;
    if (!messages_are_sound(value.messages, value.described)) {
        l2_value_fini(&value);
        return L2_MALFORMED;
    }
    *ret = value;
    return L2_SOUND;
}

struct answer *l2_value_answer(const struct l2_value *value, struct answer_memory *memory,
                               uint64_t result_max)
{
    if (value->messages.size > result_max)
        return NULL;
    struct answer *answer = answer_new(memory, result_max);
    if (answer == NULL)
        return NULL;
    fault made = OK;
    answer_set_shape(answer, value->shape);
    if (value->described > 0)
        made = answer_describe(answer, span_of(value->messages.at, value->described));
    if (made == OK)
        made = answer_append(answer, span_skip(value->messages, value->described));
    answer_end(answer, made == OK ? ANSWER_COMPLETE : ANSWER_BROKEN);
    if (made != OK)
        answer_unref(&answer);
    return answer;
}
