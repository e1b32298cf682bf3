/* What comes from Redis.  The first byte says what the rest is: 'v' a value of the key "key", 'c'
 * the same, whose checksum is made right; any other one: replies, in pieces of so many bytes. */
#include "base/check.h"
#include "flight/l2_reply.h"
#include "flight/l2_value.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define RESULT_MAX 65536u
/* In a value; see l2_value.c. */
#define CHECKSUM_AT 8u
#define COVERED_AT  16u

static void read_value(struct span bytes)
{
    struct answer_memory memory;
    struct l2_value value;
    answer_memory_init(&memory, 1u << 20);
    if (l2_value_read(bytes, SPAN("key"), &value) != L2_SOUND)
        return;
    struct answer *answer = l2_value_answer(&value, &memory, RESULT_MAX);
    invariant(answer == NULL || answer_storable(answer));
    invariant(answer == NULL || answer_bytes(answer) == value.messages.size);
    answer_unref(&answer);
    l2_value_fini(&value);
    invariant(answer_memory_bytes(&memory) == 0);
}

static void seal(uint8_t *value, size_t size)
{
    uint64_t sum = XXH3_64bits(value + COVERED_AT, size - COVERED_AT);
    for (size_t i = 0; i < 8; i++)
        value[CHECKSUM_AT + i] = (uint8_t)(sum >> (56 - 8 * i));
}

static void read_replies(struct span rest, size_t piece)
{
    struct l2_reader *reader = l2_reader_new(65536);
    fault read = OK;
    while (rest.size > 0 && read == OK) {
        size_t size = MIN_OF(piece, rest.size);
        struct l2_reply *reply = NULL;
        read = l2_reader_feed(reader, span_of(rest.at, size));
        do {
            l2_reply_free(&reply);
            if (read == OK)
                read = l2_reader_next(reader, &reply);
            invariant(reply == NULL || reply->count <= L2_ITEMS_MAX);
        } while (reply != NULL);
        rest = span_skip(rest, size);
    }
    l2_reader_free(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy;
    if (size == 0)
        return 0;
    struct span input = fuzz_copy(data, size, &copy), rest = span_skip(input, 1);
    if (*input.at == 'c' && rest.size > COVERED_AT)
        seal(copy + 2, rest.size);
    if (*input.at == 'c' || *input.at == 'v')
        read_value(rest);
    else
        read_replies(rest, MAX_OF(*input.at, (uint8_t)1));
    free(copy);
    return 0;
}
