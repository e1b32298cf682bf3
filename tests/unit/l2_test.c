/* The second tier without a network: values, replies, and when Redis is not asked. */
#include "flight/l2.h"
#include "flight/l2_breaker.h"
#include "flight/l2_reply.h"
#include "unit.h"
#include "wire/message.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#define RESULT_MAX 100000u

static struct answer_memory memory;
static const struct span key = SPAN("all that an answer depends on");

static void setup(void)
{
    answer_memory_init(&memory, 10000000);
}

static void teardown(void)
{
    ck_assert_uint_eq(answer_memory_bytes(&memory), 0);
}

/* --- values ----------------------------------------------------------------------------------- */

/* An answer of one column, with rows of this many bytes in all. */
static struct answer *answer_of(uint32_t size, bool described)
{
    struct answer *answer = answer_new(&memory, RESULT_MAX);
    struct buffer out = BUFFER_INIT(RESULT_MAX);
    size_t start = wire_begin(&out, WIRE_ROW_DESCRIPTION);
    wire_put_u16(&out, 0);
    wire_end(&out, start);
    answer_set_shape(answer, (struct answer_shape){{1, 2}});
    if (described)
        ck_assert_int_eq(answer_describe(answer, buffer_span(&out)), OK);
    buffer_clear(&out);
    start = wire_begin(&out, WIRE_DATA_ROW);
    for (uint32_t i = 0; i < size; i++)
        wire_put_u8(&out, (uint8_t)i);
    wire_end(&out, start);
    wire_put_command_complete(&out, "SELECT 1");
    ck_assert_int_eq(answer_append(answer, buffer_span(&out)), OK);
    answer_end(answer, ANSWER_COMPLETE);
    buffer_fini(&out);
    return answer;
}

static struct buffer value_of(uint32_t size, bool described, uint64_t compress_min)
{
    const struct l2_value value = {.epoch = 7, .made = 123456789, .key = key};
    struct buffer out = BUFFER_INIT(L2_VALUE_MAX);
    struct answer *answer = answer_of(size, described);
    ck_assert(l2_value_put(&value, answer, compress_min, &out));
    answer_unref(&answer);
    return out;
}

static void gives_its_answer(uint64_t compress_min)
{
    for (uint32_t size = 0; size < 20000; size = size * 3 + 1) {
        struct buffer bytes = value_of(size, size % 2 == 0, compress_min);
        struct answer *first = answer_of(size, size % 2 == 0);
        struct l2_value value;
        ck_assert_int_eq(l2_value_read(buffer_span(&bytes), key, &value), L2_SOUND);
        ck_assert(value.epoch == 7 && value.made == 123456789);
        struct answer *answer = l2_value_answer(&value, &memory, RESULT_MAX);
        ck_assert(answer_storable(answer));
        ck_assert_uint_eq(answer_bytes(answer), answer_bytes(first));
        ck_assert_uint_eq(answer_description(answer), answer_description(first));
        ck_assert(answer_suits(answer, (struct answer_shape){{1, 2}}));
        ck_assert(!answer_suits(answer, (struct answer_shape){{1, 3}}));
        ck_assert_ptr_null(l2_value_answer(&value, &memory, answer_bytes(first) - 1));
        l2_value_fini(&value);
        answer_unref(&answer);
        answer_unref(&first);
        buffer_fini(&bytes);
    }
}

TEST(a_value_gives_the_answer_that_was_put)
{
    gives_its_answer(0);
    gives_its_answer(64);
}
END_TEST

TEST(a_long_value_is_compressed_if_that_pays)
{
    struct buffer plain = value_of(10000, true, 0), packed = value_of(10000, true, 10000);
    struct buffer short_one = value_of(900, true, 10000), never = value_of(900, true, 0);
    ck_assert_uint_lt(packed.size, plain.size / 2);
    ck_assert_uint_eq(short_one.size, never.size);
    struct buffer *const all[] = {&plain, &packed, &short_one, &never};
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        buffer_fini(all[i]);
}
END_TEST

/* One that says it is longer, or shorter, than it is. */
TEST(a_compressed_value_of_another_size_is_malformed)
{
    static const uint8_t sizes[][4] = {
        {0, 0, 0, 1}, {0, 0, 0x27, 0x10}, {0, 0x7f, 0xff, 0xff}, {0xff, 0xff, 0xff, 0xff}};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct buffer bytes = value_of(10000, true, 64);
        struct l2_value value;
        memcpy(bytes.at + 56, sizes[i], sizeof(sizes[i]));
        uint64_t sum = XXH3_64bits(bytes.at + 16, bytes.size - 16);
        for (size_t at = 0; at < 8; at++)
            bytes.at[8 + at] = (uint8_t)(sum >> (56 - 8 * at));
        ck_assert_int_eq(l2_value_read(buffer_span(&bytes), key, &value), L2_MALFORMED);
        buffer_fini(&bytes);
    }
}
END_TEST

TEST(no_byte_of_a_value_can_change)
{
    struct buffer bytes = value_of(40, true, 0);
    struct l2_value value;
    for (size_t i = 0; i < bytes.size; i++) {
        bytes.at[i] ^= 0x20;
        ck_assert_int_ne(l2_value_read(buffer_span(&bytes), key, &value), L2_SOUND);
        bytes.at[i] ^= 0x20;
        ck_assert_int_ne(l2_value_read(span_of(bytes.at, i), key, &value), L2_SOUND);
    }
    ck_assert_int_eq(l2_value_read(buffer_span(&bytes), key, &value), L2_SOUND);
    bytes.at[7] += 1;
    ck_assert_int_eq(l2_value_read(buffer_span(&bytes), key, &value), L2_VERSION);
    buffer_fini(&bytes);
}
END_TEST

TEST(a_value_of_another_key_is_not_taken)
{
    struct buffer bytes = value_of(40, true, 0);
    struct l2_value value;
    const struct span others[] = {SPAN("all that an answer depends oN"), SPAN(""),
                                  SPAN("all that an answer depends on "),
                                  SPAN("all that an answer depends o")};
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        ck_assert_int_eq(l2_value_read(buffer_span(&bytes), others[i], &value), L2_OTHER_KEY);
    buffer_fini(&bytes);
}
END_TEST

TEST(messages_that_are_no_answer_are_not_put_together)
{
    const struct l2_value value = {.key = key};
    struct l2_value read;
    const struct span wrong[] = {SPAN("Z\0\0\0\5I"),
                                 SPAN("D\0\0\0\4"),
                                 SPAN("C\0\0\0\5\0Z\0\0\0\5I"),
                                 SPAN("C\0\0\0\3"),
                                 SPAN("C\0\0\0\4C\0\0\0\4"),
                                 SPAN("T\0\0\0\4C\0\0\0\4"),
                                 SPAN("D\0\0\0\4E\0\0\0\4C\0\0\0\4"),
                                 SPAN("C\0\0")};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct buffer bytes = BUFFER_INIT(L2_VALUE_MAX);
        struct answer *answer = answer_new(&memory, RESULT_MAX);
        ck_assert_int_eq(answer_append(answer, wrong[i]), OK);
        answer_end(answer, ANSWER_COMPLETE);
        ck_assert(l2_value_put(&value, answer, 0, &bytes));
        ck_assert_int_eq(l2_value_read(buffer_span(&bytes), key, &read), L2_MALFORMED);
        answer_unref(&answer);
        buffer_fini(&bytes);
    }
}
END_TEST

/* --- replies ---------------------------------------------------------------------------------- */

/* Feeds a text in pieces and returns the first reply; NULL with OK: it is not whole. */
static fault reply_of(const char *text, size_t piece, struct l2_reply **ret)
{
    struct l2_reader *reader = l2_reader_new(1000);
    struct span rest = span_text(text);
    fault read = OK;
    *ret = NULL;
    while (rest.size > 0 && read == OK && *ret == NULL) {
        size_t size = MIN_OF(piece, rest.size);
        read = l2_reader_feed(reader, span_of(rest.at, size));
        if (read == OK)
            read = l2_reader_next(reader, ret);
        rest = span_skip(rest, size);
    }
    l2_reader_free(&reader);
    return read;
}

TEST(replies_are_read_in_any_pieces)
{
    for (size_t piece = 1; piece < 40; piece++) {
        struct l2_reply *reply;
        ck_assert_int_eq(reply_of("*2\r\n$-1\r\n$5\r\na\r\nbc\r\n", piece, &reply), OK);
        ck_assert_int_eq(reply->type, L2_REPLY_ARRAY);
        ck_assert_int_eq(reply->items[0]->type, L2_REPLY_NONE);
        ck_assert(span_is(reply->items[1]->text, "a\r\nbc"));
        l2_reply_free(&reply);
        ck_assert_int_eq(reply_of("-OOM no\r\n", piece, &reply), OK);
        ck_assert(reply->type == L2_REPLY_ERROR && span_is(reply->text, "OOM no"));
        l2_reply_free(&reply);
        ck_assert_int_eq(reply_of(":-42\r\n", piece, &reply), OK);
        ck_assert(reply->type == L2_REPLY_NUMBER && reply->number == -42);
        l2_reply_free(&reply);
    }
}
END_TEST

TEST(what_is_no_reply_costs_nothing)
{
    const char *const wrong[] = {"x\r\n",           "*3\r\n:1\r\n:2\r\n:3\r\n",
                                 "*2000000000\r\n", "*1\r\n*1\r\n:1\r\n",
                                 "$x\r\n",          "HTTP/1.1 400\r\n"};
    struct l2_reply *reply;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        ck_assert_int_eq(reply_of(wrong[i], 5, &reply), FAULT_PROTOCOL);
        ck_assert_ptr_null(reply);
    }
    char text[2001];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    memcpy(text, "$500000000\r\n", 12);
    ck_assert_int_eq(reply_of(text, 100, &reply), FAULT_LIMIT);
}
END_TEST

TEST(commands_have_their_lengths)
{
    struct buffer out = BUFFER_INIT(1000);
    l2_command_put(&out, (struct span[]){SPAN("GET"), SPAN("a\r\nb")}, 2);
    ck_assert(span_is(buffer_span(&out), "*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n"));
    buffer_fini(&out);
}
END_TEST

/* --- the breaker ------------------------------------------------------------------------------ */

static moment at(int64_t milliseconds)
{
    return (moment){milliseconds * 1000};
}

TEST(failures_in_a_row_open_it)
{
    struct l2_breaker breaker = {0};
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 1; i < L2_FAILURES_MAX; i++)
            ck_assert(!l2_breaker_failed(&breaker, at(0), 0));
        l2_breaker_succeeded(&breaker);
    }
    for (uint32_t i = 1; i < L2_FAILURES_MAX; i++)
        ck_assert(!l2_breaker_failed(&breaker, at(0), 0));
    ck_assert(l2_breaker_admits(&breaker, at(0), ms(50)));
    ck_assert(l2_breaker_failed(&breaker, at(0), 0));
    ck_assert(!l2_breaker_admits(&breaker, at(999), ms(50)));
    ck_assert(l2_breaker_admits(&breaker, at(1000), ms(50)));
    ck_assert(!l2_breaker_admits(&breaker, at(1049), ms(50))); /* one tries */
    l2_breaker_succeeded(&breaker);
    ck_assert(l2_breaker_admits(&breaker, at(1049), ms(50)));
}
END_TEST

TEST(pauses_double_up_to_a_limit)
{
    struct l2_breaker breaker = {0};
    int64_t time = 0, pauses[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
    for (size_t i = 0; i < ARRAY_SIZE(pauses); i++) {
        ck_assert(l2_breaker_broke(&breaker, at(time), 0));
        ck_assert(!l2_breaker_broke(&breaker, at(time), 0)); /* what was sent before */
        ck_assert(!l2_breaker_admits(&breaker, at(time + pauses[i] - 1), ms(50)));
        time += pauses[i];
        ck_assert(l2_breaker_admits(&breaker, at(time), ms(50)));
    }
}
END_TEST

TEST(a_trial_that_is_never_told_of_does_not_close_it_for_ever)
{
    struct l2_breaker breaker = {0};
    l2_breaker_broke(&breaker, at(0), UINT32_MAX);
    ck_assert(!l2_breaker_admits(&breaker, at(749), ms(50)));
    ck_assert(l2_breaker_admits(&breaker, at(751), ms(50)));
    ck_assert(l2_breaker_admits(&breaker, at(801), ms(50)));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_value_gives_the_answer_that_was_put,
                                  a_long_value_is_compressed_if_that_pays,
                                  a_compressed_value_of_another_size_is_malformed,
                                  no_byte_of_a_value_can_change,
                                  a_value_of_another_key_is_not_taken,
                                  messages_that_are_no_answer_are_not_put_together,
                                  replies_are_read_in_any_pieces,
                                  what_is_no_reply_costs_nothing,
                                  commands_have_their_lengths,
                                  failures_in_a_row_open_it,
                                  pauses_double_up_to_a_limit,
                                  a_trial_that_is_never_told_of_does_not_close_it_for_ever,
                                  NULL};
    return unit_run("l2", tests, setup, teardown);
}
