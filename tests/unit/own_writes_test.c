/* What a replica must have for a client's next read: session/own_writes.h. */
#include "base/buffer.h"
#include "session/own_writes.h"
#include "unit.h"
#include "wire/message.h"

#include <string.h>

static const struct wal_position nothing = {0};

/* The row of these columns; NULL: null. */
static bool read_row(const char *const *columns, unsigned count, bool *replica,
                     struct wal_position *ret)
{
    uint8_t row[256];
    size_t size = 2;
    row[0] = 0;
    row[1] = (uint8_t)count;
    for (unsigned i = 0; i < count; i++) {
        size_t length = columns[i] == NULL ? 0 : strlen(columns[i]);
        wire_store_u32(row + size, columns[i] == NULL ? UINT32_MAX : (uint32_t)length);
        if (length > 0)
            memcpy(row + size + 4, columns[i], length);
        size += 4 + length;
    }
    return wal_position_read(span_of(row, size), &nothing, replica, ret);
}

TEST(rows_are_read)
{
    struct wal_position told;
    bool replica;
    const char *const primary[] = {"7711221869151971126", "16/B374D848", "0000000A", NULL, NULL};
    ck_assert(read_row(primary, 5, &replica, &told));
    ck_assert(!replica && told.line == 10 && told.at == UINT64_C(0x16B374D848) &&
              told.system == UINT64_C(7711221869151971126));
    const char *const standby[] = {"-1", "0/3000060", NULL, "12", "1700000000000000"};
    ck_assert(read_row(standby, 5, &replica, &told));
    ck_assert(replica && told.line == 12 && told.at == 0x3000060 && told.system == UINT64_MAX);
    ck_assert_uint_eq(told.instance, UINT64_C(1700000000000000));
}

TEST(the_end_of_a_page_is_one_position)
{
    struct wal_position told;
    bool replica;
    const char *const behind[] = {"1", "0/4002018", "00000001", NULL, NULL};
    ck_assert(read_row(behind, 5, &replica, &told));
    ck_assert_uint_eq(told.at, 0x4002000);
    const char *const first[] = {"1", "0/5000028", "00000001", NULL, NULL}; /* of a segment */
    ck_assert(read_row(first, 5, &replica, &told));
    ck_assert_uint_eq(told.at, 0x5000000);
    const char *const other[] = {"1", "0/5000030", "00000001", NULL, NULL};
    ck_assert(read_row(other, 5, &replica, &told));
    ck_assert_uint_eq(told.at, 0x5000030);
}

TEST(other_rows_are_not_taken)
{
    struct wal_position told;
    bool replica;
    const char *const bad[][5] = {
        {"1", NULL, "00000001", NULL},    {"1", "0/0", "00000001", NULL},
        {"1", "0", "00000001", NULL},     {"1", "0/1", NULL, NULL},
        {"1", "0/1x", "00000001", NULL},  {"x", "0/1", "00000001", NULL},
        {"1", "0/1", "1000000000", NULL}, {"1", "123456789/1", "1", NULL},
        {"1", "0/1", NULL, "1", "x"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert(!read_row(bad[i], 5, &replica, &told));
    const char *const four[] = {"1", "0/1", "00000001", NULL};
    ck_assert(!read_row(four, 4, &replica, &told));
    ck_assert(!wal_position_read(SPAN_NONE, &nothing, &replica, &told));
    ck_assert(!wal_position_read(SPAN("\0\4\0\0"), &nothing, &replica, &told));
}

TEST(a_replica_must_be_past_what_the_client_has_seen)
{
    struct own_writes writes = {0};
    struct wal_position replica = {.system = 1, .line = 1, .at = 90};
    ck_assert(own_writes_within(&writes, &nothing)); /* it has seen nothing yet */
    own_writes_begin(&writes);
    ck_assert(!own_writes_within(&writes, &replica));
    own_writes_told(&writes, &(struct wal_position){.system = 1, .line = 1, .at = 100});
    ck_assert(!own_writes_within(&writes, &replica));
    ck_assert(!own_writes_within(&writes, &nothing));
    replica.at = 100;
    ck_assert(own_writes_within(&writes, &replica));
    /* A read at a replica that is further on moves the client on. */
    own_writes_begin(&writes);
    own_writes_told(&writes, &(struct wal_position){.system = 1, .line = 1, .at = 120});
    ck_assert(!own_writes_within(&writes, &replica));
    own_writes_begin(&writes);
    own_writes_told(&writes, &replica); /* less is not forgotten for it */
    replica.at = 119;
    ck_assert(!own_writes_within(&writes, &replica));
}

TEST(positions_of_other_lines_and_systems_are_not_compared)
{
    struct own_writes writes = {0};
    struct wal_position replica = {.system = 1, .line = 1, .at = 1000};
    own_writes_told(&writes, &(struct wal_position){.system = 1, .line = 1, .at = 100});
    own_writes_told(&writes, &(struct wal_position){.system = 1, .line = 2, .at = 95});
    ck_assert(!own_writes_within(&writes, &replica)); /* it follows the old primary */
    replica.line = 2;
    ck_assert(own_writes_within(&writes, &replica));
    own_writes_told(&writes, &(struct wal_position){.system = 1, .line = 1, .at = 2000});
    ck_assert(!own_writes_within(&writes, &replica)); /* what was done on line 1 is not there */
    own_writes_told(&writes, &(struct wal_position){.system = 1, .line = 2, .at = 990});
    ck_assert(own_writes_within(&writes, &replica));
    replica.system = 2;
    ck_assert(!own_writes_within(&writes, &replica));
}

TESTS("own_writes", rows_are_read, the_end_of_a_page_is_one_position, other_rows_are_not_taken,
      a_replica_must_be_past_what_the_client_has_seen,
      positions_of_other_lines_and_systems_are_not_compared)
