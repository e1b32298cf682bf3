#include "session/accepted.h"
#include "unit.h"

#include <stdio.h>

static struct param param(const char *name, const char *value)
{
    return (struct param){span_text(name), span_text(value)};
}

TEST(a_value_that_was_taken_is_known_by_its_name_and_itself)
{
    struct map all = MAP_INIT(ACCEPTED_MAX);
    struct span canonical;
    struct param taken = param("TimeZone", "utc");
    accepted_add(&all, &taken, SPAN("UTC"));
    struct param same = param("timezone", "utc");
    ck_assert(accepted_find(&all, &same, &canonical));
    ck_assert(span_is(canonical, "UTC"));
    struct param other_value = param("TimeZone", "UTC");
    ck_assert(!accepted_find(&all, &other_value, &canonical));
    struct param other_name = param("DateZone", "utc"); /* as long */
    ck_assert(!accepted_find(&all, &other_name, &canonical));
    struct param longer = param("TimeZone2", "utc");
    ck_assert(!accepted_find(&all, &longer, &canonical));
    accepted_clear(&all);
    ck_assert(!accepted_find(&all, &taken, &canonical));
    map_fini(&all);
}
END_TEST

TEST(what_does_not_fit_is_forgotten_with_all_the_others)
{
    char text[16];
    struct map all = MAP_INIT(ACCEPTED_MAX);
    struct span canonical;
    for (uint32_t i = 0; i < ACCEPTED_MAX; i++) {
        snprintf(text, sizeof(text), "%u", i);
        struct param one = param("work_mem", text);
        accepted_add(&all, &one, SPAN("x"));
        accepted_add(&all, &one, SPAN("y")); /* it is known */
    }
    struct param first = param("work_mem", "0");
    ck_assert_uint_eq(all.count, ACCEPTED_MAX);
    ck_assert(accepted_find(&all, &first, &canonical));
    ck_assert(span_is(canonical, "x"));
    struct param more = param("work_mem", "more");
    accepted_add(&all, &more, SPAN("more"));
    ck_assert_uint_eq(all.count, 1);
    ck_assert(accepted_find(&all, &more, &canonical));
    accepted_clear(&all);
    map_fini(&all);
}
END_TEST

TEST(shared_values_are_taken_apart_again)
{
    static const uint8_t flat[] = "TimeZone\0utc\0UTC\0DateStyle\0\0ISO, MDY";
    struct span rest = span_of(flat, sizeof(flat));
    struct accepted_value value;
    ck_assert(accepted_next(&rest, &value));
    ck_assert(span_is(value.param.name, "TimeZone"));
    ck_assert(span_is(value.param.value, "utc"));
    ck_assert(span_is(value.canonical, "UTC"));
    ck_assert_uint_eq(value.flat.size, 17);
    ck_assert(accepted_next(&rest, &value));
    ck_assert(span_is(value.canonical, "ISO, MDY"));
    ck_assert_uint_eq(value.param.value.size, 0);
    ck_assert(!accepted_next(&rest, &value));
}
END_TEST

TEST(shared_values_are_dropped_when_there_is_no_room)
{
    uint8_t flat[1024] = "a";
    struct buffer shared = BUFFER_INIT(ACCEPTED_SHARED_MAX);
    memset(flat + 2, 'b', sizeof(flat) - 4); /* the value; its spelling is empty */
    struct span one = span_of(flat, sizeof(flat));
    flat[2] = 'A';
    ck_assert(accepted_share(&shared, one));
    ck_assert(!accepted_share(&shared, one));
    for (size_t i = 1; i < ACCEPTED_SHARED_MAX / sizeof(flat); i++) {
        flat[2] = (uint8_t)('A' + i);
        ck_assert(accepted_share(&shared, one));
    }
    ck_assert_uint_eq(shared.size, ACCEPTED_SHARED_MAX);
    flat[3] = 'x';
    ck_assert(accepted_share(&shared, one));
    ck_assert_uint_eq(shared.size, sizeof(flat));
    buffer_fini(&shared);
}
END_TEST

TESTS("accepted", a_value_that_was_taken_is_known_by_its_name_and_itself,
      what_does_not_fit_is_forgotten_with_all_the_others, shared_values_are_taken_apart_again,
      shared_values_are_dropped_when_there_is_no_room)
