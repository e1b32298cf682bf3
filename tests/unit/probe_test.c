/* probe_test.c - the row that a probe reads. */
#include "pool/probe.h"
#include "unit.h"
#include "wire/message.h"

/* The body of a DataRow with these fields; NULL: null. */
static fault row_read(const char *const *fields, uint16_t count, struct backend_sample *ret)
{
    struct buffer body = BUFFER_INIT(4096);
    wire_put_u16(&body, count);
    for (uint16_t i = 0; i < count; i++) {
        if (fields[i] == NULL) {
            wire_put_u32(&body, UINT32_MAX);
            continue;
        }
        wire_put_u32(&body, (uint32_t)strlen(fields[i]));
        wire_put_bytes(&body, span_text(fields[i]));
    }
    fault read = probe_read(buffer_span(&body), ret);
    buffer_fini(&body);
    return read;
}

START_TEST(a_row_of_a_primary_and_of_a_replica)
{
    struct backend_sample sample;
    const char *const primary[] = {"f",     "on",      "7711225923787326342", "3", "47833160",
                                   "12345", "47833200"};
    ck_assert_int_eq(row_read(primary, 7, &sample), OK);
    ck_assert(!sample.replica && sample.read_only);
    ck_assert_uint_eq(sample.system, 7711225923787326342u);
    ck_assert_uint_eq(sample.line, 3);
    ck_assert_uint_eq(sample.position, 47833160);
    ck_assert_uint_eq(sample.instance, 12345);
    ck_assert_uint_eq(sample.inserted, 47833200);
    const char *const replica[] = {"t", "off", "-2", NULL, NULL, "1", NULL};
    ck_assert_int_eq(row_read(replica, 7, &sample), OK);
    ck_assert(sample.replica && !sample.read_only);
    ck_assert_uint_eq(sample.system, UINT64_MAX - 1); /* a bigint has a sign */
    ck_assert_uint_eq(sample.line, 0);
    ck_assert_uint_eq(sample.position, 0);
}
END_TEST

START_TEST(any_other_row_is_malformed)
{
    struct backend_sample sample;
    const char *const fields[] = {"f", "on", "1", "1", "1", "1", "1", "1"};
    const char *const strange[] = {"true", "on", "1", "1", "1", "1", "1"};
    const char *const null[] = {NULL, "on", "1", "1", "1", "1", "1"};
    ck_assert_int_eq(row_read(fields, 6, &sample), FAULT_PROTOCOL);
    ck_assert_int_eq(row_read(fields, 8, &sample), FAULT_PROTOCOL);
    ck_assert_int_eq(row_read(strange, 7, &sample), FAULT_PROTOCOL);
    ck_assert_int_eq(row_read(null, 7, &sample), FAULT_PROTOCOL);
    ck_assert_int_eq(probe_read(SPAN_NONE, &sample), FAULT_PROTOCOL);
}
END_TEST

START_TEST(numbers_that_are_none_are_unknown)
{
    struct backend_sample sample;
    const char *const fields[] = {"f", "off", "x", "1x", "", "99999999999999999999999", "-"};
    ck_assert_int_eq(row_read(fields, 7, &sample), OK);
    ck_assert_uint_eq(sample.system, 0);
    ck_assert_uint_eq(sample.line, 0);
    ck_assert_uint_eq(sample.position, 0);
    ck_assert_uint_eq(sample.instance, 0);
}
END_TEST

TESTS("probe", a_row_of_a_primary_and_of_a_replica, any_other_row_is_malformed,
      numbers_that_are_none_are_unknown)
