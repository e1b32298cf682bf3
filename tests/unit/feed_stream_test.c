/* The messages of a replication stream, and the order in which they may come. */
#include "flight/feed_stream.h"
#include "unit.h"
#include "wire/message.h"

static struct feed_reader reader;
static struct feed_event event;
static struct buffer bytes = BUFFER_INIT(1000);

static void put_u64(uint64_t value)
{
    wire_put_u32(&bytes, (uint32_t)(value >> 32));
    wire_put_u32(&bytes, (uint32_t)value);
}

static fault data(uint64_t position, const char *text)
{
    buffer_clear(&bytes);
    buffer_append_byte(&bytes, 'w');
    put_u64(position);
    put_u64(position);
    put_u64(77);
    buffer_append_text(&bytes, text);
    return feed_read(&reader, buffer_span(&bytes), &event);
}

static fault keepalive(uint64_t position, uint8_t reply)
{
    buffer_clear(&bytes);
    buffer_append_byte(&bytes, 'k');
    put_u64(position);
    put_u64((uint64_t)-5);
    buffer_append_byte(&bytes, reply);
    return feed_read(&reader, buffer_span(&bytes), &event);
}

static fault raw(struct span payload)
{
    return feed_read(&reader, payload, &event);
}

static void is(fault told, enum feed_event_kind kind)
{
    ck_assert_int_eq(told, OK);
    ck_assert_int_eq(event.kind, kind);
}

static void start(void)
{
    reader = FEED_READER_INIT;
}

static void stop(void)
{
    buffer_fini(&bytes);
}

TEST(a_transaction_moves_the_position_by_its_commit)
{
    is(data(100, "BEGIN 7"), FEED_EVENT_BEGIN);
    is(data(100, "table s.t: INSERT: n[integer]:1"), FEED_EVENT_TEXT);
    ck_assert(event.position == 100 && event.sent == 77 && event.text.kind == FEED_INSERT);
    is(data(130, "message: transactional: 1 prefix: a, sz: 0 content:"), FEED_EVENT_TEXT);
    ck_assert_uint_eq(reader.passed, 0);
    is(data(200, "COMMIT 7"), FEED_EVENT_COMMIT);
    ck_assert(event.changes == 1 && event.messages == 1 && !event.unknown);
    ck_assert_uint_eq(reader.passed, 200);
    is(data(150, "BEGIN 6"), FEED_EVENT_BEGIN); /* it began before the other's end */
    is(data(300, "COMMIT 6"), FEED_EVENT_COMMIT);
    ck_assert(event.changes == 0 && event.messages == 0);
}

TEST(keepalives_move_it_forward_only_and_not_within_a_transaction)
{
    is(keepalive(50, 1), FEED_EVENT_KEEPALIVE);
    ck_assert(event.reply && event.sent == -5 && reader.passed == 50);
    is(keepalive(40, 0), FEED_EVENT_KEEPALIVE);
    ck_assert(!event.reply && reader.passed == 50);
    is(data(60, "BEGIN 7"), FEED_EVENT_BEGIN);
    is(keepalive(90, 0), FEED_EVENT_KEEPALIVE);
    ck_assert_uint_eq(reader.passed, 50);
    is(data(80, "COMMIT 7"), FEED_EVENT_COMMIT);
    ck_assert_uint_eq(reader.passed, 80);
    is(keepalive(90, 0), FEED_EVENT_KEEPALIVE);
    ck_assert_uint_eq(reader.passed, 90);
}

TEST(a_text_that_nobody_understands_is_in_its_commit)
{
    is(data(60, "BEGIN 7"), FEED_EVENT_BEGIN);
    is(data(61, "table s.t: INSERT: n"), FEED_EVENT_UNKNOWN);
    is(data(62, "table s.t: INSERT: n[integer]:1"), FEED_EVENT_TEXT);
    is(data(80, "COMMIT 7"), FEED_EVENT_COMMIT);
    ck_assert(event.unknown && event.changes == 1);
    is(data(81, "BEGIN 8"), FEED_EVENT_BEGIN);
    is(data(90, "COMMIT 8"), FEED_EVENT_COMMIT);
    ck_assert(!event.unknown);
}

TEST(a_message_of_no_transaction_is_between_transactions)
{
    is(data(60, "message: transactional: 0 prefix: a, sz: 0 content:"), FEED_EVENT_TEXT);
    ck_assert_uint_eq(reader.passed, 0);
    is(data(60, "BEGIN 7"), FEED_EVENT_BEGIN);
    ck_assert_int_eq(data(60, "message: transactional: 0 prefix: a, sz: 0 content:"),
                     FAULT_PROTOCOL);
}

TEST(two_phases_are_told_and_counted_to_no_commit)
{
    is(data(60, "BEGIN 7"), FEED_EVENT_BEGIN);
    is(data(61, "table s.t: INSERT: n[integer]:1"), FEED_EVENT_TEXT);
    is(data(70, "PREPARE TRANSACTION 'a', txid 7"), FEED_EVENT_TEXT);
    is(data(71, "BEGIN 8"), FEED_EVENT_BEGIN);
    is(data(80, "COMMIT 8"), FEED_EVENT_COMMIT);
    ck_assert_uint_eq(event.changes, 0);
    is(data(90, "COMMIT PREPARED 'a', txid 7"), FEED_EVENT_TEXT);
    is(data(91, "ROLLBACK PREPARED 'b', txid 6"), FEED_EVENT_TEXT);
    ck_assert_uint_eq(reader.passed, 80);
}

/* Each breaks the reader; it is put together again for the next. */
TEST(another_order_breaks_the_reader)
{
    static const char *const orders[][3] = {
        {"COMMIT 7"},
        {"table s.t: INSERT:"},
        {"table s.t: INS"},
        {"message: transactional: 1 prefix: a, sz: 0 content:"},
        {"PREPARE TRANSACTION 'a', txid 7"},
        {"BEGIN 7", "BEGIN 8"},
        {"BEGIN 7", "COMMIT 8"},
        {"BEGIN 7", "COMMIT"},
        {"BEGIN 7", ""},
        {"BEGIN 7", "committing streamed transaction TXN 7"},
        {"BEGIN 7", "PREPARE TRANSACTION 'a', txid 8"},
        {"BEGIN 7", "COMMIT PREPARED 'a', txid 7"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
        start();
        fault last = OK;
        for (size_t step = 0; step < 3 && orders[i][step] != NULL; step++)
            last = data(60 + step, orders[i][step]);
        ck_assert_msg(last == FAULT_PROTOCOL, "%s", orders[i][0]);
        ck_assert_int_eq(data(90, "BEGIN 9"), FAULT_PROTOCOL);
        ck_assert_int_eq(keepalive(90, 0), FAULT_PROTOCOL);
        ck_assert_uint_eq(reader.passed, 0);
    }
}

TEST(commits_come_in_the_order_of_their_positions)
{
    is(data(60, "BEGIN 7"), FEED_EVENT_BEGIN);
    is(data(80, "COMMIT 7"), FEED_EVENT_COMMIT);
    is(data(70, "BEGIN 8"), FEED_EVENT_BEGIN);
    ck_assert_int_eq(data(80, "COMMIT 8"), FAULT_PROTOCOL);
}

TEST(payloads_of_another_form_break_the_reader)
{
    static const struct span payloads[] = {
        SPAN(""),
        SPAN("x"),
        SPAN("w"),
        SPAN("w\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0"),
        SPAN("w\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\0BEGIN 7"), /* two positions */
        SPAN("w\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0BEGIN 7"), /* none */
        SPAN("k\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1"),
        SPAN("k\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\2"),
        SPAN("k\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0"),
    };
    for (size_t i = 0; i < ARRAY_SIZE(payloads); i++) {
        start();
        ck_assert_int_eq(raw(payloads[i]), FAULT_PROTOCOL);
        ck_assert(reader.broken);
    }
}

TEST(a_status_update_is_a_message_of_copy_data)
{
    struct buffer out = BUFFER_INIT(100);
    struct wire_frame frame;
    feed_put_status(&out, 0x123456789a, -2, FEED_ANSWER);
    struct span rest = buffer_span(&out);
    ck_assert_int_eq(wire_next_frame(&rest, 100, &frame), OK);
    ck_assert_int_eq(frame.type, WIRE_COPY_DATA);
    ck_assert(span_equal(frame.body, SPAN("r\0\0\0\x12\x34\x56\x78\x9a\0\0\0\x12\x34\x56\x78\x9a"
                                          "\0\0\0\x12\x34\x56\x78\x9a"
                                          "\xff\xff\xff\xff\xff\xff\xff\xfe\1")));
    feed_put_status(&out, 1, 0, FEED_NO_ANSWER);
    ck_assert_uint_eq(out.at[out.size - 1], 0);
    ck_assert_uint_eq(out.size, 78);
    buffer_fini(&out);
}

TEST(positions_without_the_header_of_a_page)
{
    const uint64_t segment = 16 << 20, at = 5 * segment;
    static const struct {
        uint64_t given, normalised;
    } cases[] = {
        {40, 0},
        {24, 24}, /* the first header of a segment is longer */
        {48, 48},
        {8192, 8192},
        {8192 + 24, 8192},
        {8192 + 40, 8192 + 40},
        {3 * 8192 + 24, 3 * 8192},
        {3 * 8192 + 32, 3 * 8192 + 32},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        ck_assert_uint_eq(feed_position_normalised(at + cases[i].given, segment),
                          at + cases[i].normalised);
    ck_assert_uint_eq(feed_position_normalised((1 << 20) + 40, 1 << 20), 1 << 20);
    ck_assert_uint_eq(feed_position_normalised((1 << 20) + 40, segment), (1 << 20) + 40);
}

int main(void)
{
    const TTest *const tests[] = {a_transaction_moves_the_position_by_its_commit,
                                  keepalives_move_it_forward_only_and_not_within_a_transaction,
                                  a_text_that_nobody_understands_is_in_its_commit,
                                  a_message_of_no_transaction_is_between_transactions,
                                  two_phases_are_told_and_counted_to_no_commit,
                                  another_order_breaks_the_reader,
                                  commits_come_in_the_order_of_their_positions,
                                  payloads_of_another_form_break_the_reader,
                                  a_status_update_is_a_message_of_copy_data,
                                  positions_without_the_header_of_a_page,
                                  NULL};
    return unit_run("feed_stream", tests, start, stop);
}
