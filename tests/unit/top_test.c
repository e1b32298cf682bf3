/* Frames of `trunkline top` from tables, and their layout, without a terminal and a daemon. */
#include "cli/top_parts.h"
#include "unit.h"
#include "wire/message.h"

#include <locale.h>
#include <stdarg.h>
#include <stdio.h>

/* --- tables ----------------------------------------------------------------------------------- */

static struct top_reading *reading;
static struct top_reading *earlier;
static struct top_frame frame;
static struct top_look look;
static struct top_grid grid;

static void put_cells(struct buffer *out, const char *cells, bool head)
{
    size_t count = 1, counted = out->size;
    for (const char *at = cells; *at != '\0'; at++)
        count += *at == '|';
    wire_put_u16(out, (uint16_t)count);
    for (const char *at = cells; count > 0; count--) {
        size_t size = strcspn(at, "|");
        if (head) {
            buffer_append(out, at, size);
            for (size_t i = 0; i < 19; i++)
                buffer_append_byte(out, 0);
        } else if (size == 4 && memcmp(at, "null", 4) == 0) {
            wire_put_u32(out, UINT32_MAX);
        } else {
            wire_put_u32(out, (uint32_t)size);
            buffer_append(out, at, size);
        }
        at += size + 1;
    }
    ck_assert_uint_gt(out->size, counted);
}

/* Gives a reading a view: its columns, then its rows, each with a bar between cells. */
static void view_is(struct top_reading *it, enum top_view view, const char *columns, ...)
{
    struct buffer body = BUFFER_INIT(65536);
    struct top_table *table = &it->tables[view];
    const char *row;
    va_list rows;
    top_table_fini(table);
    *table = TOP_TABLE_INIT;
    put_cells(&body, columns, true);
    ck_assert_int_eq(top_table_head(table, buffer_span(&body)), OK);
    va_start(rows, columns);
    while ((row = va_arg(rows, const char *)) != NULL) {
        buffer_clear(&body);
        put_cells(&body, row, false);
        ck_assert_int_eq(top_table_add(table, buffer_span(&body)), OK);
    }
    va_end(rows);
    buffer_fini(&body);
    it->has[view] = true;
}

static void time_is(struct top_reading *it, int64_t us)
{
    for (size_t i = 0; i < TOP_VIEWS; i++)
        it->at[i] = (moment){us};
}

static void make(void)
{
    top_frame_fini(&frame);
    ck_assert_int_eq(top_frame_make(reading, earlier, &frame), OK);
}

static const char *drawn(uint32_t height, uint32_t width)
{
    static struct buffer text;
    buffer_fini(&text);
    text = BUFFER_INIT(1 << 20);
    top_grid_fini(&grid);
    ck_assert_int_eq(top_grid_init(&grid, height, width), OK);
    top_layout(&frame, &look, &grid);
    for (uint32_t row = 0; row < height; row++) {
        top_grid_text(&grid, row, &text);
        buffer_append_byte(&text, '\n');
    }
    buffer_append_byte(&text, 0);
    return (const char *)text.at;
}

/* The value of a panel's column in a row; fails if the panel does not have it. */
static const struct top_value *value_of(enum top_panel_id id, uint32_t row, const char *name)
{
    const struct top_panel *panel = &frame.panels[id];
    for (size_t i = 0; i < panel->column_count; i++)
        if (strcmp(panel->kind->columns[panel->columns[i]].name, name) == 0)
            return top_frame_value(panel, row, i);
    ck_abort_msg("no column %s", name);
}

static bool has_column(enum top_panel_id id, const char *name)
{
    const struct top_panel *panel = &frame.panels[id];
    for (size_t i = 0; i < panel->column_count; i++)
        if (strcmp(panel->kind->columns[panel->columns[i]].name, name) == 0)
            return true;
    return false;
}

static void press(const char *text)
{
    for (; *text != '\0'; text++)
        top_keys_press(&look, &frame, TOP_KEY_TEXT, (uint32_t)*text);
}

static void before_each(void)
{
    static const struct top_options options = {.interval = {1000000}};
    ck_assert_ptr_nonnull(setlocale(LC_CTYPE, "C.UTF-8"));
    reading = top_reading_new();
    earlier = top_reading_new();
    ck_assert(reading != NULL && earlier != NULL);
    reading->session = earlier->session = 1;
    time_is(earlier, 1000000);
    time_is(reading, 3000000);
    top_look_init(&look, &options, "here:6432");
}

static void after_each(void)
{
    top_frame_fini(&frame);
    top_grid_fini(&grid);
    top_reading_free(&reading);
    top_reading_free(&earlier);
}

/* --- tests ------------------------------------------------------------------------------------ */

TEST(a_rate_is_the_difference_of_a_counter_by_the_time_between)
{
    view_is(earlier, TOP_VIEW_STATS, "query_count|database", "100|a", "7|b", NULL);
    view_is(reading, TOP_VIEW_STATS, "database|query_count", "b|7", "a|150", "new|3", NULL);
    make();
    ck_assert_double_eq_tol(value_of(TOP_DATABASES, 0, "queries/s")->number, 0, 1e-9);
    ck_assert_double_eq_tol(value_of(TOP_DATABASES, 1, "queries/s")->number, 25, 1e-9);
    ck_assert(!value_of(TOP_DATABASES, 2, "queries/s")->known);
    ck_assert_double_eq_tol(frame.totals[TOP_TOTAL_QUERIES].number, 25, 1e-9);
    ck_assert(!frame.totals[TOP_TOTAL_CLAIMS].known);
}
END_TEST

TEST(a_counter_that_was_reset_has_no_rate)
{
    view_is(earlier, TOP_VIEW_STATS, "database|query_count", "a|100", NULL);
    view_is(reading, TOP_VIEW_STATS, "database|query_count", "a|99", NULL);
    make();
    ck_assert(!value_of(TOP_DATABASES, 0, "queries/s")->known);
    ck_assert(!frame.totals[TOP_TOTAL_QUERIES].known);
}
END_TEST

TEST(readings_of_two_connections_have_no_rates_though_counters_grew)
{
    view_is(earlier, TOP_VIEW_STATS, "database|query_count", "a|100", NULL);
    view_is(reading, TOP_VIEW_STATS, "database|query_count", "a|200", NULL);
    reading->session = 2;
    make();
    ck_assert(!value_of(TOP_DATABASES, 0, "queries/s")->known);
    ck_assert_int_eq(frame.interval.us, 0);
}
END_TEST

TEST(the_processor_time_of_a_relay_is_a_share)
{
    view_is(earlier, TOP_VIEW_RELAYS, "relay|cpu_us", "0|1000", NULL);
    view_is(reading, TOP_VIEW_RELAYS, "relay|cpu_us", "0|501000", NULL);
    make();
    ck_assert_double_eq_tol(value_of(TOP_RELAYS, 0, "cpu")->number, 25, 1e-9);
}
END_TEST

TEST(a_column_that_the_daemon_lacks_is_left_out)
{
    view_is(reading, TOP_VIEW_BACKENDS, "service|addr|state", "main|1.2.3.4:5|online", NULL);
    make();
    ck_assert(!has_column(TOP_BACKENDS, "role") && !has_column(TOP_BACKENDS, "lag"));
    view_is(reading, TOP_VIEW_BACKENDS, "lag_ms|role|service|addr|later", "1500|replica|m|a|x",
            NULL);
    make();
    ck_assert_str_eq(value_of(TOP_BACKENDS, 0, "role")->text, "replica");
    ck_assert_double_eq_tol(value_of(TOP_BACKENDS, 0, "lag")->number, 1.5e6, 1e-6);
    ck_assert_ptr_nonnull(strstr(drawn(24, 80), "1.5s"));
}
END_TEST

TEST(services_come_from_the_view_that_there_is)
{
    view_is(reading, TOP_VIEW_RESOLVERS, "service|problem", "main|broken", NULL);
    make();
    ck_assert_str_eq(value_of(TOP_SERVICES, 0, "problem")->text, "broken");
    view_is(earlier, TOP_VIEW_SERVICES, "service|online|refused_shed", "other|3|4", NULL);
    view_is(reading, TOP_VIEW_SERVICES, "service|online|refused_shed", "other|3|10", NULL);
    make();
    ck_assert_double_eq_tol(value_of(TOP_SERVICES, 0, "shed/s")->number, 3, 1e-9);
    ck_assert_str_eq(value_of(TOP_SERVICES, 0, "service")->text, "other");
}
END_TEST

TEST(quantiles_are_those_of_the_interval)
{
    view_is(earlier, TOP_VIEW_HISTOGRAMS, "kind|from_us|below_us|count", "query|5|6|1000",
            "wait|3|4|9", NULL);
    view_is(reading, TOP_VIEW_HISTOGRAMS, "kind|from_us|below_us|count", "query|5|6|1000",
            "query|100|112|98", "query|2000|2200|2", "wait|3|4|9", NULL);
    make();
    ck_assert_double_eq_tol(frame.totals[TOP_TOTAL_QUERY_P50].number, 106, 1e-9);
    ck_assert_double_eq_tol(frame.totals[TOP_TOTAL_QUERY_P99].number, 2100, 1e-9);
    ck_assert(!frame.totals[TOP_TOTAL_WAIT_P50].known);
    view_is(reading, TOP_VIEW_HISTOGRAMS, "kind|from_us|below_us|count", "query|5|6|3", NULL);
    make();
    ck_assert(!frame.totals[TOP_TOTAL_QUERY_P50].known);
}
END_TEST

TEST(slots_are_counted_by_state)
{
    view_is(reading, TOP_VIEW_POOLS, "database|user|sv_active|sv_being_canceled|sv_idle|sv_login",
            "a|u|3|1|2|0", "b|u|1|0|0|4", NULL);
    make();
    ck_assert_double_eq_tol(frame.totals[TOP_TOTAL_CLAIMED].number, 5, 1e-9);
    ck_assert_double_eq_tol(frame.totals[TOP_TOTAL_CONNECTING].number, 4, 1e-9);
    ck_assert(!frame.totals[TOP_TOTAL_FAILED].known && !frame.totals[TOP_TOTAL_CHECKING].known);
    view_is(reading, TOP_VIEW_SLOTS, "slot|state", "1|failed", "2|idle", "3|idle", NULL);
    make();
    ck_assert_double_eq_tol(frame.totals[TOP_TOTAL_IDLE].number, 2, 1e-9);
    ck_assert_double_eq_tol(frame.totals[TOP_TOTAL_FAILED].number, 1, 1e-9);
    ck_assert_double_eq_tol(frame.totals[TOP_TOTAL_CLAIMED].number, 0, 1e-9);
}
END_TEST

TEST(the_oldest_wait_has_seconds_and_microseconds)
{
    view_is(reading, TOP_VIEW_POOLS, "database|user|cl_waiting|maxwait|maxwait_us", "a|u|1|0|300",
            "b|u|2|3|500000", NULL);
    make();
    ck_assert_double_eq_tol(frame.totals[TOP_TOTAL_OLDEST_WAIT].number, 3.5e6, 1e-6);
    ck_assert_double_eq_tol(frame.totals[TOP_TOTAL_WAITING].number, 3, 1e-9);
}
END_TEST

TEST(rows_are_sorted_and_equal_ones_keep_their_places)
{
    uint32_t count;
    view_is(reading, TOP_VIEW_POOLS, "database|user|cl_waiting", "c|u|0", "a|u|5", "b|u|0",
            "d|u|null", NULL);
    make();
    uint32_t *rows = top_rows_choose(&frame.panels[TOP_POOLS], &look, TOP_POOLS, &count);
    const uint32_t wanted[] = {1, 2, 0, 3};
    ck_assert_uint_eq(count, 4);
    ck_assert_mem_eq(rows, wanted, sizeof(wanted));
    free(rows);
}
END_TEST

TEST(a_filter_keeps_the_rows_that_contain_it)
{
    uint32_t count;
    view_is(reading, TOP_VIEW_POOLS, "database|user|cl_waiting", "Shop|anna|0", "c|u|7", NULL);
    make();
    press("/SHOx");
    top_keys_press(&look, &frame, TOP_KEY_BACKSPACE, 0);
    ck_assert(look.typing);
    top_keys_press(&look, &frame, TOP_KEY_ENTER, 0);
    ck_assert(!look.typing);
    ck_assert_str_eq(look.filter, "SHO");
    uint32_t *rows = top_rows_choose(&frame.panels[TOP_POOLS], &look, TOP_POOLS, &count);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(rows[0], 0);
    free(rows);
    top_keys_press(&look, &frame, TOP_KEY_ESCAPE, 0x1B);
    ck_assert_str_eq(look.filter, "");
}
END_TEST

TEST(keys_change_the_look)
{
    view_is(reading, TOP_VIEW_POOLS, "database|user|cl_waiting|sv_idle", "a|u|0|1", NULL);
    view_is(reading, TOP_VIEW_RELAYS, "relay|clients", "0|3", NULL);
    make();
    top_keys_press(&look, &frame, TOP_KEY_TAB, '\t');
    ck_assert_int_eq(look.focus, TOP_POOLS);
    press(">");
    ck_assert_int_eq(look.sort[TOP_POOLS], 6); /* idle: the next one that this daemon has */
    ck_assert(look.descending[TOP_POOLS]);
    press("r");
    ck_assert(!look.descending[TOP_POOLS]);
    press("<<<");
    ck_assert_int_eq(look.sort[TOP_POOLS], 0);
    press("<");
    ck_assert_int_eq(look.sort[TOP_POOLS], 6);
    top_keys_press(&look, &frame, TOP_KEY_TAB, '\t');
    ck_assert_int_eq(look.focus, TOP_RELAYS);
    top_keys_press(&look, &frame, TOP_KEY_BACK_TAB, 0);
    ck_assert_int_eq(look.focus, TOP_POOLS);
    press("+");
    ck_assert_int_eq(look.interval.us, 2000000);
    press("---");
    ck_assert_int_eq(look.interval.us, 200000);
    press("p");
    ck_assert(look.paused);
    press("p");
    ck_assert(!look.paused && look.refresh);
    press("h");
    ck_assert(look.help);
    ck_assert_ptr_nonnull(strstr(drawn(24, 80), "this help"));
    press("q");
    ck_assert(!look.help && !look.quit);
    press("q");
    ck_assert(look.quit);
}
END_TEST

TEST(a_small_screen_has_a_row_of_every_panel_and_more_of_the_focused_one)
{
    view_is(reading, TOP_VIEW_POOLS, "database|user|cl_waiting", "p1|u|9", "p2|u|8", "p3|u|7",
            "p4|u|6", "p5|u|5", "p6|u|4", "p7|u|3", "p8|u|2", "p9|u|1", NULL);
    view_is(reading, TOP_VIEW_BACKENDS, "service|addr", "main|b1", "main|b2", "main|b3", "main|b4",
            "main|b5", "main|b6", "main|b7", "main|b8", "main|b9", NULL);
    view_is(reading, TOP_VIEW_RELAYS, "relay|clients", "0|3", "1|4", NULL);
    make();
    const char *text = drawn(23, 80);
    ck_assert_ptr_nonnull(strstr(text, "b9"));
    ck_assert_ptr_nonnull(strstr(text, "pools (1-1 of 9)"));
    ck_assert_ptr_null(strstr(text, "p2"));
    ck_assert_ptr_nonnull(strstr(text, "relays (1-1 of 2)"));
    top_keys_press(&look, &frame, TOP_KEY_TAB, '\t');
    top_keys_press(&look, &frame, TOP_KEY_PAGE_DOWN, 0);
    text = drawn(20, 80);
    ck_assert_ptr_nonnull(strstr(text, "p9"));
    ck_assert_ptr_null(strstr(text, "p1 "));
    ck_assert_ptr_nonnull(strstr(text, "q quit"));
    look.scroll = 0;
    ck_assert_ptr_nonnull(strstr(drawn(20, 80), "p1 "));
}
END_TEST

TEST(every_size_of_a_screen_can_be_drawn)
{
    view_is(reading, TOP_VIEW_POOLS, "database|user|cl_waiting", "\u6f22\u5b57|u|9", NULL);
    view_is(reading, TOP_VIEW_RELAYS, "relay|clients", "0|3", NULL);
    make();
    for (uint32_t height = 0; height < 30; height++)
        for (uint32_t width = 0; width < 90; width += 3)
            (void)drawn(height, width);
    ck_assert_ptr_nonnull(strstr(drawn(24, 80), "\u6f22\u5b57"));
}
END_TEST

TEST(a_wide_name_takes_two_columns_for_each_character)
{
    ck_assert_int_eq(top_grid_init(&grid, 1, 5), OK);
    ck_assert_uint_eq(top_grid_put(&grid, 0, 0, 5, "\u6f22\u5b57\u6f22", TOP_PLAIN), 4);
    ck_assert_uint_eq(grid.cells[0].point, 0x6f22);
    ck_assert_uint_eq(grid.cells[1].point, 0);
    ck_assert_uint_eq(grid.cells[4].point, ' ');
    ck_assert_uint_eq(top_grid_put(&grid, 0, 0, 5, "e\u0301x", TOP_PLAIN), 2);
    ck_assert_uint_eq(grid.cells[0].mark, 0x301);
}
END_TEST

TEST(what_controls_a_terminal_is_replaced)
{
    static const char *const bad[] = {"\x1b[2J",  "\x07",         "\x9b", "\xc2\x9b",
                                      "\u202e",   "\u200b",       "\xff", "\xe2\x82",
                                      "\xc0\xaf", "\xed\xa0\x80", "\n"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        const char *at = bad[i];
        ck_assert_uint_eq(top_text_next(&at), TOP_REPLACEMENT);
    }
    view_is(reading, TOP_VIEW_POOLS, "database|user|cl_waiting", "a\x1b[31mb\x9b|u\r\n|9", NULL);
    make();
    for (const char *at = drawn(24, 80); *at != '\0'; at++)
        ck_assert((unsigned char)*at >= ' ' || *at == '\n');
    ck_assert_ptr_nonnull(strstr(drawn(24, 80), "a\uFFFD[31mb\uFFFD"));
}
END_TEST

TEST(json_escapes_what_it_must)
{
    struct buffer out = BUFFER_INIT(1 << 20);
    view_is(earlier, TOP_VIEW_STATS, "database|query_count", "\"\\\x1b\u202e\xff\u6f22|100", NULL);
    view_is(reading, TOP_VIEW_STATS, "database|query_count", "\"\\\x1b\u202e\xff\u6f22|101", NULL);
    make();
    top_print_json(&frame, "here:1", 12, &out);
    buffer_append_byte(&out, 0);
    const char *text = (const char *)out.at;
    ck_assert_ptr_nonnull(strstr(text, "{\"database\": \"\\\"\\\\\\u001b\\u202e\\ufffd\u6f22\", "
                                       "\"queries_per_s\": 0.500}"));
    ck_assert_ptr_nonnull(strstr(text, "{\"time\": 12, \"interval_us\": 2000000, "));
    ck_assert_ptr_nonnull(strstr(text, "\"claims_per_s\": null"));
    buffer_fini(&out);
}
END_TEST

TEST(values_are_short_and_have_units)
{
    static const struct {
        enum top_kind kind;
        double number;
        const char *text;
    } cases[] = {
        {TOP_COUNT, 9999, "9999"},     {TOP_COUNT, 10000, "10.0k"},   {TOP_RATE, 0, "0"},
        {TOP_RATE, 0.25, "0.2"},       {TOP_RATE, 1234567, "1235k"},  {TOP_BYTES, 5, "5B"},
        {TOP_SIZE, 1048576, "1024kB"}, {TOP_PERCENT, 12.34, "12.3%"}, {TOP_US, 0, "0us"},
        {TOP_US, 999, "999us"},        {TOP_US, 1500, "1.5ms"},       {TOP_MS, 2e6, "2.0s"},
        {TOP_S, 3e9, "50min"},         {TOP_US, 1e12, "278h"}};
    char text[TOP_VALUE_SIZE];
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct top_value value = {.known = true, .number = cases[i].number};
        ck_assert_str_eq(top_value_text(&value, cases[i].kind, text), cases[i].text);
    }
    ck_assert_str_eq(top_value_text(&(struct top_value){.known = false}, TOP_US, text), "-");
}
END_TEST

TEST(a_malformed_result_is_refused)
{
    struct top_table table = TOP_TABLE_INIT;
    struct buffer body = BUFFER_INIT(1000);
    put_cells(&body, "a|b", false);
    ck_assert_int_eq(top_table_add(&table, buffer_span(&body)), FAULT_PROTOCOL);
    buffer_clear(&body);
    put_cells(&body, "a|b", true);
    ck_assert_int_eq(top_table_head(&table, span_of(body.at, body.size - 1)), FAULT_PROTOCOL);
    top_table_fini(&table);
    table = TOP_TABLE_INIT;
    ck_assert_int_eq(top_table_head(&table, buffer_span(&body)), OK);
    buffer_clear(&body);
    put_cells(&body, "1", false);
    ck_assert_int_eq(top_table_add(&table, buffer_span(&body)), FAULT_PROTOCOL);
    ck_assert_uint_eq(table.rows, 0);
    top_table_fini(&table);
    buffer_fini(&body);
}
END_TEST

TEST(a_password_file_is_read_as_libpq_reads_it)
{
    struct top_options options = {
        .host = "db\\1", .user = "a:b", .database = "trunkline", .port = 6432};
    char password[64];
    static const char file[] = "# *:*:*:*:comment\nother:*:*:*:no\n"
                               "db\\\\1:6432:*:a\\:b:se\\:cret\n*:*:*:*:rest\n";
    ck_assert(top_options_find_password(file, &options, password, sizeof(password)));
    ck_assert_str_eq(password, "se:cret");
    options.port = 1;
    ck_assert(top_options_find_password(file, &options, password, sizeof(password)));
    ck_assert_str_eq(password, "rest");
    ck_assert(!top_options_find_password("x:*:*:*:no", &options, password, sizeof(password)));
    snprintf(options.host, sizeof(options.host), "/run/trunkline");
    ck_assert(
        top_options_find_password("localhost:*:*:*:unix", &options, password, sizeof(password)));
    ck_assert_str_eq(password, "unix");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_rate_is_the_difference_of_a_counter_by_the_time_between,
        a_counter_that_was_reset_has_no_rate,
        readings_of_two_connections_have_no_rates_though_counters_grew,
        the_processor_time_of_a_relay_is_a_share,
        a_column_that_the_daemon_lacks_is_left_out,
        services_come_from_the_view_that_there_is,
        quantiles_are_those_of_the_interval,
        slots_are_counted_by_state,
        the_oldest_wait_has_seconds_and_microseconds,
        rows_are_sorted_and_equal_ones_keep_their_places,
        a_filter_keeps_the_rows_that_contain_it,
        keys_change_the_look,
        a_small_screen_has_a_row_of_every_panel_and_more_of_the_focused_one,
        every_size_of_a_screen_can_be_drawn,
        a_wide_name_takes_two_columns_for_each_character,
        what_controls_a_terminal_is_replaced,
        json_escapes_what_it_must,
        values_are_short_and_have_units,
        a_malformed_result_is_refused,
        a_password_file_is_read_as_libpq_reads_it,
        NULL};
    return unit_run("top", tests, before_each, after_each);
}
