/* Answers that one thread produces while others read: bytes, ends, limits, memory. */
#include "flight/answer.h"
#include "unit.h"

#include <pthread.h>
#include <string.h>

static struct answer_memory memory;
static uint8_t pattern[1 << 20];

static void setup(void)
{
    answer_memory_init(&memory, 64 << 20);
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)(i * 31 + i / 251);
}

/* Each test frees all that it made. */
static void teardown(void)
{
    ck_assert_uint_eq(answer_memory_bytes(&memory), 0);
}

static void append(struct answer *answer, uint64_t from, size_t size)
{
    ck_assert_int_eq(answer_append(answer, span_of(pattern + from, size)), OK);
}

/* A complete answer with a RowDescription of `described` bytes. */
static struct answer *complete(size_t described, size_t size, uint64_t result_max)
{
    struct answer *answer = answer_new(&memory, result_max);
    ck_assert_ptr_nonnull(answer);
    if (described > 0)
        ck_assert_int_eq(answer_describe(answer, span_of(pattern, described)), OK);
    append(answer, described, size - described);
    answer_end(answer, ANSWER_COMPLETE);
    return answer;
}

/* Reads what is published, at most `most` bytes at a time, and compares it.  Returns the bytes. */
static uint64_t read_some(struct answer_reader *reader, size_t most)
{
    uint64_t bytes = 0;
    for (;;) {
        struct span next = answer_peek(reader);
        if (next.size == 0)
            return bytes;
        size_t size = MIN_OF(next.size, most);
        ck_assert_int_eq(memcmp(next.at, pattern + reader->at, size), 0);
        answer_consume(reader, size);
        bytes += size;
    }
}

/* --- bytes ------------------------------------------------------------------------------------ */

TEST(an_answer_is_read_as_it_was_appended)
{
    static const size_t sizes[] = {1, 511, 512, 513, 4608, 4609, 70000, 1 << 20};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct answer *answer = complete(0, sizes[i], 1 << 20);
        struct answer_reader reader;
        ck_assert_uint_eq(answer_bytes(answer), sizes[i]);
        ck_assert(answer_storable(answer));
        ck_assert_uint_eq(answer_footprint(answer), answer_memory_bytes(&memory));
        ck_assert(answer_open(answer, ANSWER_WHOLE, &reader));
        ck_assert_uint_eq(read_some(&reader, 1000), sizes[i]);
        ck_assert_int_eq(answer_read_all(&reader), ANSWER_COMPLETE);
        answer_close(&reader);
        answer_close(&reader); /* as nothing */
        answer_unref(&answer);
        ck_assert_ptr_null(answer);
    }
}
END_TEST

TEST(what_is_not_published_is_not_read)
{
    struct answer *answer = answer_new(&memory, 1000);
    struct answer_reader reader;
    ck_assert(answer_open(answer, ANSWER_WHOLE, &reader));
    append(answer, 0, 100);
    ck_assert_uint_eq(answer_peek(&reader).size, 0);
    ck_assert_uint_eq(answer_lag(&reader), 0);
    answer_publish(answer);
    ck_assert_uint_eq(answer_lag(&reader), 100);
    append(answer, 100, 50);
    ck_assert_uint_eq(read_some(&reader, 100), 100);
    ck_assert_int_eq(answer_read_all(&reader), ANSWER_RUNNING);
    answer_end(answer, ANSWER_BROKEN); /* and what was not published never is */
    ck_assert_uint_eq(read_some(&reader, 100), 0);
    ck_assert_int_eq(answer_read_all(&reader), ANSWER_BROKEN);
    ck_assert(!answer_storable(answer));
    answer_close(&reader);
    answer_unref(&answer);
}
END_TEST

TEST(an_error_is_read_and_never_stored)
{
    struct answer *answer = answer_new(&memory, 1000);
    struct answer_reader reader;
    append(answer, 0, 30);
    answer_end(answer, ANSWER_ERROR);
    ck_assert(!answer_storable(answer));
    ck_assert(answer_open(answer, ANSWER_WHOLE, &reader));
    ck_assert_int_eq(answer_read_all(&reader), ANSWER_RUNNING);
    ck_assert_uint_eq(read_some(&reader, 7), 30);
    ck_assert_int_eq(answer_read_all(&reader), ANSWER_ERROR);
    answer_close(&reader);
    answer_unref(&answer);
}
END_TEST

/* Sizes on both sides of the end of the first chunk and of the second. */
TEST(the_row_description_can_be_left_out)
{
    static const size_t sizes[] = {0, 1, 200, 511, 512, 513, 4607, 4608, 4609, 9000};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct answer *answer = answer_new(&memory, 20000);
        struct answer_reader reader;
        ck_assert(answer_open(answer, ANSWER_ROWS, &reader));
        ck_assert_int_eq(answer_describe(answer, span_of(pattern, sizes[i])), OK);
        ck_assert_uint_eq(answer_description(answer), 0);
        answer_publish(answer);
        ck_assert_uint_eq(answer_description(answer), sizes[i]);
        ck_assert_uint_eq(answer_peek(&reader).size, 0);
        append(answer, sizes[i], 1000);
        answer_end(answer, ANSWER_COMPLETE);
        ck_assert_uint_eq(read_some(&reader, 5000), 1000);
        ck_assert_int_eq(answer_read_all(&reader), ANSWER_COMPLETE);
        answer_close(&reader);
        answer_unref(&answer);
    }
}
END_TEST

TEST(a_description_without_rows_is_all_read_when_it_is_left_out)
{
    struct answer *answer = complete(300, 300, 1000);
    struct answer_reader reader;
    ck_assert(answer_open(answer, ANSWER_ROWS, &reader));
    ck_assert_int_eq(answer_read_all(&reader), ANSWER_COMPLETE);
    answer_close(&reader);
    answer_unref(&answer);
}
END_TEST

/* --- limits ----------------------------------------------------------------------------------- */

TEST(an_answer_is_stored_up_to_its_limit)
{
    struct answer *fits = complete(0, 10000, 10000), *longer = complete(0, 10001, 10000);
    struct answer_reader reader;
    ck_assert(answer_storable(fits));
    ck_assert(!answer_storable(longer));
    ck_assert(answer_open(fits, ANSWER_WHOLE, &reader));
    answer_close(&reader);
    ck_assert(!answer_open(longer, ANSWER_WHOLE, &reader));
    answer_unref(&fits);
    answer_unref(&longer);
}
END_TEST

/* Beyond the limit the reader that is there gets all of it, and holds no more than it has not
 * read. */
TEST(an_answer_beyond_its_limit_goes_on_for_its_readers)
{
    struct answer *answer = answer_new(&memory, 1000);
    struct answer_reader reader, late;
    ck_assert(answer_open(answer, ANSWER_WHOLE, &reader));
    for (uint64_t at = 0; at + 1024 <= sizeof(pattern); at += 1024) {
        append(answer, at, 1024);
        answer_publish(answer);
        ck_assert(!answer_open(answer, ANSWER_WHOLE, &late));
        ck_assert_uint_eq(answer_lag(&reader), 1024);
        ck_assert_uint_eq(read_some(&reader, 600), 1024);
        ck_assert_uint_lt(answer_memory_bytes(&memory), 3 * 65536);
    }
    answer_end(answer, ANSWER_COMPLETE);
    ck_assert_uint_eq(reader.at, sizeof(pattern));
    ck_assert_int_eq(answer_read_all(&reader), ANSWER_COMPLETE);
    answer_close(&reader);
    answer_unref(&answer);
}
END_TEST

TEST(an_answer_beyond_its_limit_that_is_not_read_takes_no_memory)
{
    struct answer *answer = answer_new(&memory, 1000);
    struct answer_reader reader;
    ck_assert(answer_open(answer, ANSWER_WHOLE, &reader));
    append(answer, 0, 200000);
    uint64_t before = answer_memory_bytes(&memory);
    answer_close(&reader);
    for (int i = 0; i < 100; i++)
        append(answer, 0, 100000);
    ck_assert_uint_le(answer_memory_bytes(&memory), before);
    answer_end(answer, ANSWER_COMPLETE);
    ck_assert_uint_lt(answer_memory_bytes(&memory), 1000);
    answer_unref(&answer);
}
END_TEST

TEST(without_memory_an_answer_is_broken_and_all_is_counted)
{
    answer_memory_bound(&memory, 20000);
    struct answer *answer = answer_new(&memory, 1 << 20);
    struct answer_reader reader;
    ck_assert(answer_open(answer, ANSWER_WHOLE, &reader));
    append(answer, 0, 4000);
    answer_publish(answer);
    ck_assert_int_eq(answer_append(answer, span_of(pattern + 4000, 100000)), FAULT_MEMORY);
    ck_assert_uint_le(answer_memory_bytes(&memory), 20000);
    answer_end(answer, ANSWER_BROKEN);
    ck_assert_uint_eq(read_some(&reader, 5000), 4000);
    ck_assert_int_eq(answer_read_all(&reader), ANSWER_BROKEN);
    answer_close(&reader);
    answer_unref(&answer);
    answer_memory_bound(&memory, 100);
    ck_assert_ptr_null(answer_new(&memory, 1000));
    ck_assert_str_eq(fault_sqlstate(FAULT_MEMORY), "53200");
}
END_TEST

TEST(a_producer_may_give_up_without_an_end)
{
    struct answer *answer = answer_new(&memory, 1 << 20);
    append(answer, 0, 100000);
    answer_unref(&answer);
    answer = answer_new(&memory, 10);
    append(answer, 0, 100000);
    answer_unref(&answer);
}
END_TEST

/* --- packed ----------------------------------------------------------------------------------- */

TEST(a_packed_answer_has_the_same_bytes_and_little_else)
{
    static const size_t sizes[] = {20, 300, 512, 1000, 5000, 100000, 1 << 20};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct answer *answer = complete(20, sizes[i], 1 << 20);
        struct answer *packed = answer_pack(answer);
        struct answer_reader reader;
        answer_unref(&answer);
        ck_assert_uint_eq(answer_bytes(packed), sizes[i]);
        ck_assert_uint_eq(answer_description(packed), 20);
        ck_assert_uint_eq(answer_memory_bytes(&memory), answer_footprint(packed));
        ck_assert_uint_le(answer_footprint(packed), sizes[i] + sizes[i] / 7 + 160);
        ck_assert(answer_open(packed, ANSWER_ROWS, &reader));
        ck_assert_uint_eq(read_some(&reader, 77), sizes[i] - 20);
        answer_close(&reader);
        struct answer *again = answer_pack(packed);
        ck_assert_ptr_eq(again, packed); /* it is small already */
        answer_unref(&again);
        answer_unref(&packed);
    }
}
END_TEST

TEST(without_memory_for_a_copy_the_answer_itself_is_kept)
{
    struct answer *answer = complete(0, 100, 1000);
    answer_memory_bound(&memory, answer_memory_bytes(&memory));
    struct answer *packed = answer_pack(answer);
    ck_assert_ptr_eq(packed, answer);
    answer_unref(&packed);
    answer_unref(&answer);
}
END_TEST

/* --- threads ---------------------------------------------------------------------------------- */

#define READERS 3

/* Opens, reads to the end however fast the producer is, or leaves early. */
struct reading {
    struct answer *answer; /* a reference of its own */
    uint64_t leave_at;
    uint64_t bytes;
    bool opened;
    enum answer_end end;
};

static void *read_along(void *argument)
{
    struct reading *reading = argument;
    struct answer_reader reader;
    reading->opened = answer_open(reading->answer, ANSWER_WHOLE, &reader);
    while (reading->opened && reading->bytes < reading->leave_at) {
        reading->bytes += read_some(&reader, 3000);
        reading->end = answer_read_all(&reader);
        if (reading->end != ANSWER_RUNNING)
            break;
    }
    if (reading->opened)
        answer_close(&reader);
    answer_unref(&reading->answer);
    return NULL;
}

static void produce(struct answer *answer, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 500) {
        append(answer, at, MIN_OF(bytes - at, 500));
        answer_publish(answer);
    }
    answer_end(answer, ANSWER_COMPLETE);
}

TEST(threads_read_while_one_produces)
{
    for (uint32_t round = 0; round < 60; round++) {
        size_t bytes = round % 3 == 0 ? 2000 : 300000;
        uint64_t result_max = round % 2 == 0 ? bytes : bytes / 4;
        struct answer *answer = answer_new(&memory, result_max);
        struct reading readings[READERS];
        pthread_t threads[READERS];
        for (uint32_t i = 0; i < READERS; i++) {
            readings[i] = (struct reading){.answer = answer_ref(answer),
                                           .leave_at = i == 1 ? bytes / 2 : UINT64_MAX};
            ck_assert_int_eq(pthread_create(&threads[i], NULL, read_along, &readings[i]), 0);
        }
        produce(answer, bytes);
        answer_unref(&answer); /* the last reference is a reader's, at times */
        for (uint32_t i = 0; i < READERS; i++) {
            pthread_join(threads[i], NULL);
            ck_assert(readings[i].opened || result_max < bytes);
            if (readings[i].opened && i != 1)
                ck_assert_uint_eq(readings[i].bytes, bytes);
            if (readings[i].opened && i != 1)
                ck_assert_int_eq(readings[i].end, ANSWER_COMPLETE);
        }
        ck_assert_uint_eq(answer_memory_bytes(&memory), 0);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        an_answer_is_read_as_it_was_appended,
        what_is_not_published_is_not_read,
        an_error_is_read_and_never_stored,
        the_row_description_can_be_left_out,
        a_description_without_rows_is_all_read_when_it_is_left_out,
        an_answer_is_stored_up_to_its_limit,
        an_answer_beyond_its_limit_goes_on_for_its_readers,
        an_answer_beyond_its_limit_that_is_not_read_takes_no_memory,
        without_memory_an_answer_is_broken_and_all_is_counted,
        a_producer_may_give_up_without_an_end,
        a_packed_answer_has_the_same_bytes_and_little_else,
        without_memory_for_a_copy_the_answer_itself_is_kept,
        threads_read_while_one_produces,
        NULL,
    };
    return unit_run("answer", tests, setup, teardown);
}
