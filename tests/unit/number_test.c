/* Whole numbers in the rows of servers. */
#include "base/number.h"
#include "unit.h"

static const struct {
    const char *text;
    unsigned base;
    bool is;
    uint64_t number;
} numbers[] = {
    {"0", 10, true, 0},
    {"007", 10, true, 7},
    {"18446744073709551615", 10, true, UINT64_MAX},
    {"18446744073709551616", 10, false, 0},
    {"99999999999999999999", 10, false, 0},
    {"B374d848", 16, true, 0xB374D848},
    {"FFFFFFFFFFFFFFFF", 16, true, UINT64_MAX},
    {"10000000000000000", 16, false, 0},
    {"", 10, false, 0},
    {"12a", 10, false, 0},
    {"g", 16, false, 0},
    {"-1", 10, false, 0},
    {"+1", 10, false, 0},
    {" 1", 10, false, 0},
    {"1 ", 10, false, 0},
    {"0x1", 16, false, 0},
};

TEST(a_number_is_all_digits_and_fits)
{
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uint64_t number = 42;
        bool is = number_read(span_text(numbers[i].text), numbers[i].base, &number);
        ck_assert_msg(is == numbers[i].is, "%s", numbers[i].text);
        ck_assert_msg(number == (is ? numbers[i].number : 42), "%s", numbers[i].text);
    }
}
END_TEST

static const struct {
    const char *text;
    bool is;
    int64_t number;
} bigints[] = {
    {"7711557410483180469", true, INT64_C(7711557410483180469)},
    {"9223372036854775807", true, INT64_MAX},
    {"9223372036854775808", false, 0},
    {"-9223372036854775808", true, INT64_MIN},
    {"-9223372036854775809", false, 0},
    {"-1", true, -1},
    {"-0", true, 0},
    {"-", false, 0},
    {"--1", false, 0},
    {"", false, 0},
};

TEST(a_bigint_may_be_negative)
{
    for (size_t i = 0; i < ARRAY_SIZE(bigints); i++) {
        uint64_t bits = 42;
        bool is = number_read_bigint(span_text(bigints[i].text), &bits);
        ck_assert_msg(is == bigints[i].is, "%s", bigints[i].text);
        ck_assert_msg((int64_t)bits == (is ? bigints[i].number : 42), "%s", bigints[i].text);
    }
}
END_TEST

TESTS("number", a_number_is_all_digits_and_fits, a_bigint_may_be_negative)
