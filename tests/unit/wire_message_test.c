#include "unit.h"
#include "wire/message.h"

#define MOST (1u << 20)

TEST(a_frame_is_taken_once_it_is_whole_and_not_before)
{
    static const uint8_t bytes[] = {'Q', 0, 0, 0, 6, 'a', 0, 'S', 0, 0, 0, 4, 'X'};
    for (size_t size = 0; size < 7; size++) {
        struct span part = span_of(bytes, size);
        struct wire_frame frame;
        ck_assert_int_eq(wire_next_frame(&part, MOST, &frame), FAULT_AGAIN);
        ck_assert_uint_eq(part.size, size);
    }
    struct span rest = span_of(bytes, sizeof(bytes));
    struct wire_frame frame;
    ck_assert_int_eq(wire_next_frame(&rest, MOST, &frame), OK);
    ck_assert_int_eq(frame.type, WIRE_QUERY);
    ck_assert(span_equal(frame.body, span_of("a", 2)));
    ck_assert_int_eq(wire_next_frame(&rest, MOST, &frame), OK);
    ck_assert_int_eq(frame.type, WIRE_SYNC);
    ck_assert_uint_eq(frame.body.size, 0);
    ck_assert_int_eq(wire_next_frame(&rest, MOST, &frame), FAULT_AGAIN);
    ck_assert_uint_eq(rest.size, 1);
}
END_TEST

static fault frame_with_length(uint32_t length, uint32_t max)
{
    uint8_t bytes[WIRE_HEADER + 16] = {'Q'};
    struct wire_frame frame;
    struct span rest = span_of(bytes, sizeof(bytes));
    wire_store_u32(bytes + 1, length);
    return wire_next_frame(&rest, max, &frame);
}

TEST(a_length_that_is_too_small_or_negative_or_huge_is_refused_before_its_bytes_arrive)
{
    for (uint32_t length = 0; length < 4; length++)
        ck_assert_int_eq(frame_with_length(length, UINT32_MAX), FAULT_PROTOCOL);
    ck_assert_int_eq(frame_with_length(4, MOST), OK);
    ck_assert_int_eq(frame_with_length(20, 20), OK);
    ck_assert_int_eq(frame_with_length(21, 20), FAULT_PROTOCOL);
    ck_assert_int_eq(frame_with_length(MOST, MOST), FAULT_AGAIN);
    ck_assert_int_eq(frame_with_length(MOST + 1, MOST), FAULT_PROTOCOL);
    ck_assert_int_eq(frame_with_length(INT32_MAX, MOST), FAULT_PROTOCOL);
    ck_assert_int_eq(frame_with_length(0x80000000u, MOST), FAULT_PROTOCOL);
    ck_assert_int_eq(frame_with_length(UINT32_MAX, MOST), FAULT_PROTOCOL);
    /* Even where everything is allowed the sum of length and type must not wrap. */
    ck_assert_int_eq(frame_with_length(UINT32_MAX, UINT32_MAX), FAULT_AGAIN);
}
END_TEST

TEST(a_reader_gives_fields_in_order_and_is_done_at_the_end)
{
    static const uint8_t bytes[] = {7, 1, 2, 0xff, 0xfe, 0xfd, 0xfc, 'a', 'b', 0, 0, 'x', 'y', 'z'};
    struct wire_reader in = wire_reader_over(span_of(bytes, sizeof(bytes)));
    ck_assert_uint_eq(wire_get_u8(&in), 7);
    ck_assert_uint_eq(wire_get_u16(&in), 0x0102);
    ck_assert_uint_eq(wire_get_u32(&in), 0xfffefdfc);
    ck_assert(span_is(wire_get_string(&in), "ab"));
    ck_assert_uint_eq(wire_get_string(&in).size, 0);
    ck_assert(span_is(wire_get_bytes(&in, 1), "x"));
    ck_assert_int_eq(wire_done(&in), FAULT_PROTOCOL);
    ck_assert(span_is(wire_get_rest(&in), "yz"));
    ck_assert_int_eq(wire_done(&in), OK);
    ck_assert_uint_eq(wire_get_rest(&in).size, 0);
    ck_assert_int_eq(wire_done(&in), OK);
}
END_TEST

TEST(a_reader_that_overran_yields_zeros_from_then_on)
{
    static const uint8_t bytes[] = {1, 2, 3};
    struct wire_reader in = wire_reader_over(span_of(bytes, sizeof(bytes)));
    ck_assert_uint_eq(wire_get_u32(&in), 0);
    ck_assert_uint_eq(wire_get_u8(&in), 0);
    ck_assert_uint_eq(wire_get_u16(&in), 0);
    ck_assert_uint_eq(wire_get_bytes(&in, 0).size, 0);
    ck_assert_uint_eq(wire_get_rest(&in).size, 0);
    ck_assert_int_eq(wire_done(&in), FAULT_PROTOCOL);

    in = wire_reader_over(span_of(bytes, sizeof(bytes)));
    ck_assert_ptr_null(wire_get_string(&in).at);
    ck_assert_int_eq(wire_done(&in), FAULT_PROTOCOL);

    in = wire_reader_over(span_of(bytes, sizeof(bytes)));
    ck_assert_ptr_null(wire_get_bytes(&in, SIZE_MAX).at);
    ck_assert_int_eq(wire_done(&in), FAULT_PROTOCOL);

    in = wire_reader_over(SPAN_NONE);
    ck_assert_int_eq(wire_done(&in), OK);
    ck_assert_uint_eq(wire_get_string(&in).size, 0);
    ck_assert_int_eq(wire_done(&in), FAULT_PROTOCOL);
}
END_TEST

TEST(what_is_built_can_be_taken_apart_again)
{
    struct buffer out = BUFFER_INIT(4096);
    struct wire_frame frame;
    wire_put_ready(&out, WIRE_TX_FAILED);
    wire_put_empty(&out, WIRE_PARSE_COMPLETE);
    wire_put_parameter_status(&out, SPAN("TimeZone"), SPAN("UTC"));
    wire_put_backend_key(&out, 0x7fffffff, SPAN("\xde\xad\xbe\xef"));
    wire_put_command_complete(&out, "SELECT 1");
    wire_put_query(&out, SPAN("SELECT\0 2"));
    wire_put_authentication(&out, 5, SPAN("salt"));
    ck_assert_int_eq(buffer_fault(&out), OK);
    static const struct {
        uint8_t type;
        struct span body;
    } expected[] = {
        {WIRE_READY, {(const uint8_t *)"E", 1}},
        {WIRE_PARSE_COMPLETE, {NULL, 0}},
        {WIRE_PARAMETER_STATUS, {(const uint8_t *)"TimeZone\0UTC", 13}},
        {WIRE_BACKEND_KEY, {(const uint8_t *)"\x7f\xff\xff\xff\xde\xad\xbe\xef", 8}},
        {WIRE_COMMAND_COMPLETE, {(const uint8_t *)"SELECT 1", 9}},
        {WIRE_QUERY, {(const uint8_t *)"SELECT", 7}},
        {WIRE_AUTHENTICATION, {(const uint8_t *)"\0\0\0\5salt", 8}},
    };
    struct span rest = buffer_span(&out);
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        ck_assert_int_eq(wire_next_frame(&rest, MOST, &frame), OK);
        ck_assert_int_eq(frame.type, expected[i].type);
        ck_assert(span_equal(frame.body, expected[i].body));
    }
    ck_assert_uint_eq(rest.size, 0);
    buffer_fini(&out);
}
END_TEST

TEST(a_message_that_passes_the_ceiling_leaves_a_failed_buffer_and_no_wrong_length)
{
    char text[100] = {0};
    for (size_t ceiling = 0; ceiling < 30; ceiling++) {
        struct buffer out = BUFFER_INIT(ceiling);
        size_t start = wire_begin(&out, WIRE_COPY_DATA);
        wire_put_u8(&out, 1);
        wire_put_u16(&out, 2);
        wire_put_u32(&out, 3);
        wire_put_text(&out, "text");
        wire_put_bytes(&out, span_of(text, sizeof(text)));
        wire_end(&out, start);
        ck_assert_int_eq(buffer_fault(&out), FAULT_LIMIT);
        ck_assert_uint_le(out.size, ceiling);
        buffer_fini(&out);
    }
}
END_TEST

TESTS("wire_message", a_frame_is_taken_once_it_is_whole_and_not_before,
      a_length_that_is_too_small_or_negative_or_huge_is_refused_before_its_bytes_arrive,
      a_reader_gives_fields_in_order_and_is_done_at_the_end,
      a_reader_that_overran_yields_zeros_from_then_on, what_is_built_can_be_taken_apart_again,
      a_message_that_passes_the_ceiling_leaves_a_failed_buffer_and_no_wrong_length)
