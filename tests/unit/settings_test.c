#include "instance/settings.h"
#include "unit.h"

/* --- the table -------------------------------------------------------------------------------- */

static void rows_are_sound(const struct setting *rows)
{
    for (const struct setting *row = rows; row->name != NULL; row++) {
        int64_t value;
        struct buffer text = BUFFER_INIT(1024);
        ck_assert_ptr_nonnull(row->help);
        ck_assert_msg(row->help[strlen(row->help) - 1] == '.', "%s: help is a sentence", row->name);
        setting_accepts(row, &text);
        ck_assert_uint_gt(text.size, 0);
        if (row->rows != NULL)
            rows_are_sound(row->rows);
        if (setting_is_number(row)) {
            ck_assert_ptr_nonnull(row->preset);
            ck_assert_msg(setting_read(row, span_text(row->preset), &value), "%s: bad preset",
                          row->name);
            buffer_clear(&text);
            setting_print(row, value, &text);
            int64_t again;
            ck_assert_msg(setting_read(row, buffer_span(&text), &again) && again == value,
                          "%s: what is printed can be read", row->name);
        }
        if (row->kind == SETTING_COUNT || row->kind == SETTING_BYTES)
            ck_assert_msg(row->size == 8 || row->max < (INT64_C(1) << (row->size * 8)),
                          "%s: the range fits the field", row->name);
        if (setting_is_text(row))
            ck_assert_int_gt(row->max, 0);
        buffer_fini(&text);
    }
}

TEST(every_row_of_the_table_is_sound)
{
    rows_are_sound(config_settings);
}
END_TEST

static const struct setting wait_row = {.kind = SETTING_DURATION,
                                        .size = 8,
                                        .min = 1000,
                                        .max = INT64_C(86400000000),
                                        .word = "never",
                                        .word_value = INT64_MAX};
static const struct setting size_row = {
    .kind = SETTING_BYTES, .size = 8, .min = 0, .max = INT64_C(1) << 40};
static const struct setting whole_row = {
    .kind = SETTING_SECONDS, .size = 4, .min = 1000000, .max = INT64_C(60000000)};

struct unit_case {
    const struct setting *row;
    const char *text;
    int64_t value; /* -1: refused */
    const char *printed;
};

TEST(units_are_read_and_printed_in_the_largest_one_that_fits)
{
    static const struct unit_case cases[] = {
        {&wait_row, "5s", 5000000, "5s"},
        {&wait_row, "250ms", 250000, "250ms"},
        {&wait_row, "1500us", 1500, "1500us"},
        {&wait_row, "120s", 120000000, "2min"},
        {&wait_row, "1h", INT64_C(3600000000), "1h"},
        {&wait_row, "90min", INT64_C(5400000000), "90min"},
        {&wait_row, "1d", INT64_C(86400000000), "1d"},
        {&wait_row, "5 s", 5000000, "5s"},
        {&wait_row, "never", INT64_MAX, "never"},
        {&wait_row, "2d", -1, NULL},
        {&wait_row, "999us", -1, NULL},
        {&wait_row, "5", -1, NULL},
        {&wait_row, "5m", -1, NULL},
        {&wait_row, "s", -1, NULL},
        {&wait_row, "", -1, NULL},
        {&wait_row, "-5s", -1, NULL},
        {&wait_row, "1.5s", -1, NULL},
        {&wait_row, "5s ", -1, NULL},
        {&wait_row, "99999999999999999999s", -1, NULL},
        {&wait_row, "9223372036854775807s", -1, NULL},
        {&size_row, "16MiB", 16 << 20, "16MiB"},
        {&size_row, "64KiB", 64 << 10, "64KiB"},
        {&size_row, "65537B", 65537, "65537B"},
        {&size_row, "0B", 0, "0B"},
        {&size_row, "1GiB", 1 << 30, "1GiB"},
        {&size_row, "16MB", -1, NULL},
        {&size_row, "65536", -1, NULL},
        {&whole_row, "5s", 5, "5s"},
        {&whole_row, "1min", 60, "1min"},
        {&whole_row, "1500ms", -1, NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct unit_case *it = &cases[i];
        int64_t value = -1;
        bool read = setting_read(it->row, span_text(it->text), &value);
        ck_assert_msg(read == (it->value >= 0) && value == it->value, "\"%s\"", it->text);
        if (!read)
            continue;
        struct buffer text = BUFFER_INIT(64);
        setting_print(it->row, value, &text);
        ck_assert_msg(span_is(buffer_span(&text), it->printed), "\"%s\" is printed as %.*s",
                      it->text, SPAN_ARG(buffer_span(&text)));
        buffer_fini(&text);
    }
}
END_TEST

TEST(the_distance_of_two_names_counts_edits_and_swaps)
{
    ck_assert_uint_eq(setting_distance(SPAN("pool"), SPAN("pool"), 9), 0);
    ck_assert_uint_eq(setting_distance(SPAN("pool"), SPAN("poll"), 9), 1);
    ck_assert_uint_eq(setting_distance(SPAN("pool"), SPAN("opol"), 9), 1);
    ck_assert_uint_eq(setting_distance(SPAN("pool"), SPAN("polo"), 9), 1);
    ck_assert_uint_eq(setting_distance(SPAN(""), SPAN("host"), 9), 4);
    ck_assert_uint_eq(setting_distance(SPAN("kitten"), SPAN("sitting"), 9), 3);
    ck_assert_uint_eq(setting_distance(SPAN("abcdef"), SPAN("uvwxyz"), 2), 3);
}
END_TEST

TESTS("settings", every_row_of_the_table_is_sound,
      units_are_read_and_printed_in_the_largest_one_that_fits,
      the_distance_of_two_names_counts_edits_and_swaps)
