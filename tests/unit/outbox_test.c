#include "session/outbox.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

/*
 * A world with one socket, which takes as many bytes as the test allows: sending can be cut at any
 * byte.  Reading it is not needed.
 */
static struct {
    uint8_t bytes[4096];
    size_t size;
    size_t room; /* until the next AGAIN */
    int calls;
    int failure;
} wire;

static int64_t take_vector(int handle, const struct iovec *parts, int count)
{
    size_t taken = 0;
    wire.calls += 1;
    if (wire.failure != 0)
        return -wire.failure;
    for (int i = 0; i < count; i++) {
        size_t step = MIN_OF(parts[i].iov_len, wire.room);
        ck_assert_uint_le(wire.size + step, sizeof(wire.bytes));
        ck_assert_uint_gt(parts[i].iov_len, 0);
        memcpy(wire.bytes + wire.size, parts[i].iov_base, step);
        wire.size += step;
        wire.room -= step;
        taken += step;
    }
    return taken == 0 ? -EAGAIN : (int64_t)taken;
}

static int64_t take(int handle, const void *bytes, size_t size)
{
    struct iovec part = {(void *)(uintptr_t)bytes, size};
    return take_vector(handle, &part, 1);
}

static struct os world;
static struct chunk_store store;
static struct stream stream;
static struct outbox outbox;

static void begin(size_t room)
{
    world = os_linux;
    world.send = take;
    world.send_vector = take_vector;
    os = &world;
    memset(&wire, 0, sizeof(wire));
    wire.room = room;
    stream = (struct stream){.handle = 1, .ready = POLL_WRITE};
    outbox = (struct outbox){0};
    chunk_store_init(&store, 256, 4);
}

static void end(void)
{
    ck_assert(outbox_empty(&outbox));
    ck_assert_ptr_null(outbox.scratch);
    ck_assert_ptr_null(outbox.owned);
    ck_assert_uint_eq(store.lent, 0);
    chunk_store_fini(&store);
    os = &os_linux;
}

static void make(const char *text)
{
    uint8_t *at = outbox_make(&outbox, &store, strlen(text));
    ck_assert_ptr_nonnull(at);
    memcpy(at, text, strlen(text));
}

static void run(const char *text)
{
    outbox_run(&outbox, (const uint8_t *)text, strlen(text));
}

/* Each kind of part, with neighbours of each other kind. */
static const char *fill(void)
{
    run("one ");
    make("two ");
    make("three ");
    run("four ");
    outbox_take_heap(&outbox, strdup("five "), 5);
    run("six ");
    make("seven");
    return "one two three four five six seven";
}

TEST(what_is_sent_is_what_was_put_in_wherever_it_is_cut)
{
    const char *all = "one two three four five six seven";
    for (size_t first = 0; first <= strlen(all); first++) {
        for (size_t next = 1; next <= 7; next += 3) {
            begin(first);
            uint64_t sent = 0;
            ck_assert_str_eq(fill(), all);
            fault result = outbox_send(&outbox, &stream, &store, &sent);
            while (result == FAULT_AGAIN) {
                ck_assert_uint_eq(sent, wire.size);
                ck_assert(!outbox_empty(&outbox));
                wire.room = next;
                stream.ready |= POLL_WRITE;
                result = outbox_send(&outbox, &stream, &store, &sent);
            }
            ck_assert_int_eq(result, OK);
            ck_assert_uint_eq(sent, strlen(all));
            ck_assert(span_is(span_of(wire.bytes, wire.size), all));
            end();
        }
    }
}
END_TEST

TEST(runs_that_touch_are_one_part_and_one_call)
{
    static const char text[] = "abcdefghij";
    begin(100);
    uint64_t sent = 0;
    for (int i = 0; i < 10; i++)
        outbox_run(&outbox, (const uint8_t *)text + i, 1);
    outbox_run(&outbox, NULL, 0);
    ck_assert_uint_eq(outbox.count, 1);
    ck_assert_int_eq(outbox_send(&outbox, &stream, &store, &sent), OK);
    ck_assert_int_eq(wire.calls, 1);
    ck_assert(span_is(span_of(wire.bytes, wire.size), text));
    end();
}
END_TEST

TEST(made_bytes_behind_each_other_are_one_part)
{
    begin(100);
    uint64_t sent = 0;
    for (int i = 0; i < 20; i++)
        make("ab");
    ck_assert_uint_eq(outbox.count, 1);
    ck_assert_int_eq(outbox_send(&outbox, &stream, &store, &sent), OK);
    ck_assert_uint_eq(wire.size, 40);
    end();
}
END_TEST

TEST(an_empty_outbox_sends_nothing)
{
    begin(0);
    uint64_t sent = 0;
    ck_assert_int_eq(outbox_send(&outbox, &stream, &store, &sent), OK);
    ck_assert_int_eq(wire.calls, 0);
    end();
}
END_TEST

TEST(a_peer_that_has_gone_leaves_the_outbox_to_its_owner)
{
    begin(0);
    wire.failure = ECONNRESET;
    uint64_t sent = 0;
    fill();
    ck_assert_int_eq(outbox_send(&outbox, &stream, &store, &sent), FAULT_CLOSED);
    ck_assert(!outbox_empty(&outbox));
    outbox_drop(&outbox, &store);
    end();
}
END_TEST

TEST(an_outbox_says_beforehand_that_it_is_full)
{
    static const char text[] = "a-b-c-d-e-f-g-h-i-j-k-l-m-n-o-p-q-r-s-t-u-v-w-x-y-z";
    begin(1000);
    int parts = 0;
    while (outbox_has_room(&outbox, &store, 10))
        outbox_run(&outbox, (const uint8_t *)text + 2 * (size_t)parts++, 1);
    ck_assert_int_gt(parts, 10);
    for (int i = 0; i < 5; i++) /* what one message may still add */
        outbox_run(&outbox, (const uint8_t *)text + 2 * (size_t)parts++, 1);
    outbox_drop(&outbox, &store);
    ck_assert(outbox_has_room(&outbox, &store, 256));
    ck_assert(!outbox_has_room(&outbox, &store, 257));
    ck_assert_ptr_nonnull(outbox_make(&outbox, &store, 200));
    ck_assert(!outbox_has_room(&outbox, &store, 57));
    ck_assert_ptr_null(outbox_make(&outbox, &store, 57));
    outbox_take_heap(&outbox, strdup("x"), 1);
    ck_assert(!outbox_has_room(&outbox, &store, 0)); /* one heap part at a time */
    outbox_drop(&outbox, &store);
    end();
}
END_TEST

TEST(without_a_chunk_nothing_is_made)
{
    struct chunk *lent[4];
    begin(0);
    for (size_t i = 0; i < ARRAY_SIZE(lent); i++)
        lent[i] = chunk_lend(&store);
    ck_assert_ptr_null(outbox_make(&outbox, &store, 1));
    ck_assert(outbox_empty(&outbox));
    for (size_t i = 0; i < ARRAY_SIZE(lent); i++)
        chunk_return(&store, &lent[i]);
    end();
}
END_TEST

TESTS("outbox", what_is_sent_is_what_was_put_in_wherever_it_is_cut,
      runs_that_touch_are_one_part_and_one_call, made_bytes_behind_each_other_are_one_part,
      an_empty_outbox_sends_nothing, a_peer_that_has_gone_leaves_the_outbox_to_its_owner,
      an_outbox_says_beforehand_that_it_is_full, without_a_chunk_nothing_is_made)
