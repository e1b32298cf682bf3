#include "unit.h"

#include "admin/console_groups_parts.h"
#include "admin/console_parts.h"
#include "admin/console_stats.h"

#include <stdio.h>

/* --- statements and words --------------------------------------------------------------------- */

/* The statements of a text, joined by '|'. */
static const char *statements_of(const char *text, fault *ret)
{
    static char joined[512];
    struct span rest = span_text(text), statement;
    size_t used = 0;
    bool any = true;
    joined[0] = '\0';
    while ((*ret = console_next_statement(&rest, &statement, &any)) == OK && any)
        used += (size_t)snprintf(joined + used, sizeof(joined) - used, "%s%.*s",
                                 used > 0 ? "|" : "", SPAN_ARG(statement));
    return joined;
}

static const char *words_of(const char *text)
{
    static char words[CONSOLE_WORDS_MAX];
    ck_assert_int_eq(console_words(span_text(text), words), OK);
    return words;
}

static fault understand(const char *text, struct console_call *ret)
{
    static struct config_row rows[] = {
        {.key = "relays", .value = "2", .preset = "1"},
        {.key = "routes[0].pool_size", .value = "2", .preset = "1", .reloadable = true}};
    static const struct config config = {.rows = rows, .row_count = 2};
    return console_understand(span_text(text), &config, ret);
}

TEST(statements_are_parted_by_semicolons)
{
    static const struct {
        const char *text;
        const char *joined;
    } cases[] = {
        {"", ""},
        {"  \n", ""},
        {"SHOW POOLS", "SHOW POOLS"},
        {"SHOW POOLS;", "SHOW POOLS"},
        {" SHOW POOLS ; SHOW STATS;;", "SHOW POOLS |SHOW STATS|"},
        {"SET a = 'x;y'; SHOW STATS", "SET a = 'x;y'|SHOW STATS"},
        {"SET a = \"x;y\"", "SET a = \"x;y\""},
        {"-- a; b\nSHOW POOLS", "SHOW POOLS"},
        {"/* a; b */ SHOW POOLS /* ; */", "SHOW POOLS /* ; */"},
        {"-- nothing", ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        fault result;
        ck_assert_str_eq(statements_of(cases[i].text, &result), cases[i].joined);
        ck_assert_int_eq(result, OK);
    }
}

TEST(a_quote_or_comment_without_its_end_is_a_syntax_error)
{
    static const char *const wrong[] = {"'",  "SHOW 'x", "\"",       "SHOW /* x",
                                        "/*", "/*/",     "SHOW ''';"};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        fault result;
        statements_of(wrong[i], &result);
        ck_assert_int_eq(result, FAULT_SYNTAX);
    }
}

TEST(words_are_upper_case_with_one_blank_between)
{
    ck_assert_str_eq(words_of("show pools"), "SHOW POOLS");
    ck_assert_str_eq(words_of(" Show\t\n pOOls  "), "SHOW POOLS");
    ck_assert_str_eq(words_of("show/* x */pools -- y"), "SHOW POOLS");
    ck_assert_str_eq(words_of("/* x */"), "");
    ck_assert_str_eq(words_of(""), "");
}

TEST(words_beyond_the_limit_are_refused)
{
    char text[CONSOLE_WORDS_MAX + 1], words[CONSOLE_WORDS_MAX];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    ck_assert_int_eq(console_words(span_text(text), words), FAULT_SYNTAX);
    text[CONSOLE_WORDS_MAX - 1] = '\0';
    ck_assert_int_eq(console_words(span_text(text), words), OK);
    ck_assert_uint_eq(strlen(words), CONSOLE_WORDS_MAX - 1);
}

TEST(every_command_is_understood_in_any_case)
{
    for (size_t i = 0; i < console_command_count; i++) {
        const struct console_command *command = &console_commands[i];
        if (command->run == console_set)
            continue; /* the next test */
        char lower[64], with[80];
        struct console_call call;
        size_t size = strlen(command->words);
        bool needs = command->argument != NULL && command->argument[0] != '[';
        for (size_t j = 0; j <= size; j++) {
            char c = command->words[j];
            lower[j] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        }
        snprintf(with, sizeof(with), "%s Some_Name", lower);
        ck_assert_int_eq(understand(lower, &call), needs ? FAULT_SYNTAX : OK);
        ck_assert_int_eq(understand(command->words, &call), needs ? FAULT_SYNTAX : OK);
        if (command->argument == NULL) {
            ck_assert_int_eq(understand(with, &call), FAULT_SYNTAX);
            continue;
        }
        ck_assert_int_eq(understand(with, &call), OK);
        ck_assert_ptr_eq(call.command, command);
        ck_assert_str_eq(call.argument, "Some_Name");
    }
}

/* The tokens of a text, each with the first letter of its kind, joined by blanks. */
static const char *tokens_of(const char *text)
{
    static char joined[512];
    struct span rest = span_text(text);
    struct console_token token;
    size_t used = 0;
    joined[0] = '\0';
    while (console_token(&rest, &token) == OK && token.kind != TOKEN_END)
        used += (size_t)snprintf(joined + used, sizeof(joined) - used, "%s%c:%s",
                                 used > 0 ? " " : "", " wnts"[token.kind], token.text);
    return joined;
}

TEST(a_statement_is_cut_into_words_names_texts_and_signs)
{
    ck_assert_str_eq(tokens_of("PAUSE Db_1"), "w:PAUSE w:Db_1");
    ck_assert_str_eq(tokens_of("pause \"a \"\"b;\""), "w:pause n:a \"b;");
    ck_assert_str_eq(tokens_of("a>=1 and b<>'it''s' -- x"), "w:a s:>= w:1 w:and w:b s:<> t:it's");
    ck_assert_str_eq(tokens_of("a/* x */b=c"), "w:a w:b s:= w:c");
    ck_assert_str_eq(tokens_of("routes[0].pool_size=-5"), "w:routes[0].pool_size s:= w:-5");
    ck_assert_str_eq(tokens_of("  "), "");
}

TEST(a_token_without_its_end_or_without_measure_is_a_syntax_error)
{
    static char longer[CONSOLE_TEXT_MAX + 2];
    struct console_token token;
    struct span rest = SPAN("'x");
    ck_assert_int_eq(console_token(&rest, &token), FAULT_SYNTAX);
    memset(longer, 'x', sizeof(longer) - 1);
    rest = span_text(longer);
    ck_assert_int_eq(console_token(&rest, &token), FAULT_SYNTAX);
}

TEST(what_drivers_say_is_accepted)
{
    static const char *const said[] = {
        "BEGIN",
        "begin isolation level serializable",
        "START TRANSACTION",
        "COMMIT",
        "rollback",
        "END",
        "SET client_encoding TO 'UTF8'",
        "set extra_float_digits = 3",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET SESSION AUTHORIZATION DEFAULT",
        "SET SESSION client_encoding = 'UTF8'",
        "SET LOCAL statement_timeout TO 0",
        "SET TRANSACTION READ ONLY",
        "SET TIME ZONE LOCAL",
        "SET SESSION TIME ZONE 'UTC'",
        "SET NAMES 'utf8'",
        "SET ROLE NONE",
        "SET \"DateStyle\" TO ISO, MDY",
        "SET search_path = public, \"$user\"",
        "SET client_min_messages TO warning",
        "RESET client_encoding",
        "RESET SESSION AUTHORIZATION",
        "RESET TIME ZONE",
        "SELECT 1",
        "SHOW datestyle",
        "show TimeZone",
        "SHOW standard_conforming_strings",
        "RESET ALL",
        "SHOW server_version",
        "SHOW default_transaction_isolation",
        "DISCARD ALL",
    };
    for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
        struct console_call call;
        ck_assert_msg(understand(said[i], &call) == OK, "%s", said[i]);
        ck_assert_ptr_nonnull(call.command);
    }
}

TEST(what_is_no_command_is_a_syntax_error)
{
    static const char *const wrong[] = {
        "SHOW",       "SHOW NOTHING", "DROP TABLE t", "SHOWPOOLS", "SETTER", "SELECT 2",
        "RELOAD NOW", "COMMITTED",    "SET",          "SET = 5",   "RESET",  "SET client_encoding"};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct console_call call;
        ck_assert_msg(understand(wrong[i], &call) == FAULT_SYNTAX, "%s", wrong[i]);
    }
}

TEST(a_setting_of_the_file_can_not_be_set)
{
    struct console_call call;
    ck_assert_int_eq(understand("SET relays = 3", &call), FAULT_UNSUPPORTED);
    ck_assert_int_eq(understand("set RELAYS to 3", &call), FAULT_UNSUPPORTED);
}

TEST(a_setting_that_is_not_there_is_an_error_with_what_was_meant)
{
    static const struct {
        const char *statement;
        const char *meant; /* NULL: nothing */
    } cases[] = {
        {"SET relay = 3", "relays"},
        {"set RELAY to 3", "relays"},
        {"RESET relay", "relays"},
        {"SET SESSION relay = 3", "relays"},
        {"SET pool_sise = 3", "routes[0].pool_size"},
        {"SET routes[0].pool_sise = 3", "routes[0].pool_size"},
        {"SET client_encodnig = 'UTF8'", "client_encoding"},
        {"SET row_securty = on", "row_security"},
        {"SET client = 5", NULL},
        {"SET myapp.user = 5", NULL},
        {"RESET nothing_of_this_name", NULL},
        {"SET time = 5", NULL},
        {"SET session = 5", NULL},
        {"SET ge = 5", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct console_call call;
        char wanted[200] = "there is no setting";
        ck_assert_msg(understand(cases[i].statement, &call) == FAULT_SYNTAX, "%s",
                      cases[i].statement);
        ck_assert_str_eq(fault_detail_sqlstate(FAULT_SYNTAX), "42704");
        if (cases[i].meant != NULL)
            snprintf(wanted, sizeof(wanted), "did you mean \"%s\"?", cases[i].meant);
        ck_assert_msg(strstr(fault_detail(FAULT_SYNTAX), wanted) != NULL, "%s: %s",
                      cases[i].statement, fault_detail(FAULT_SYNTAX));
        ck_assert((strstr(fault_detail(FAULT_SYNTAX), "did you mean") != NULL) ==
                  (cases[i].meant != NULL));
    }
}

TEST(a_reset_or_a_scope_is_not_for_settings_of_the_file)
{
    static const char *const wrong[] = {"RESET routes[0].pool_size", "RESET relays",
                                        "SET SESSION routes[0].pool_size = 7",
                                        "SET LOCAL routes[0].pool_size = 7"};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct console_call call;
        ck_assert_msg(understand(wrong[i], &call) == FAULT_UNSUPPORTED, "%s", wrong[i]);
    }
}

TEST(a_setting_that_reloads_can_be_set)
{
    static const char *const forms[] = {"SET routes[0].pool_size = 7",
                                        "set Routes[0].Pool_Size to '7';",
                                        "set routes[0].pool_size=7"};
    static const char *const wrong[] = {
        "SET routes[0].pool_size", "SET routes[0].pool_size =", "SET routes[0].pool_size 7",
        "SET routes[0].pool_size = 7 8", "SET routes[9].pool_size = 7"};
    struct console_call call;
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        struct span text = span_text(forms[i]), statement;
        bool any;
        ck_assert_int_eq(console_next_statement(&text, &statement, &any), OK);
        char copy[64];
        snprintf(copy, sizeof(copy), "%.*s", SPAN_ARG(statement));
        ck_assert_int_eq(understand(copy, &call), OK);
        ck_assert_ptr_eq(call.command->run, console_set);
        ck_assert(call.command->admin);
        ck_assert_str_eq(call.argument, "routes[0].pool_size");
        ck_assert_str_eq(call.value, "7");
    }
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        ck_assert_int_eq(understand(wrong[i], &call), FAULT_SYNTAX);
}

TEST(nothing_is_understood_as_nothing)
{
    struct console_call call;
    size_t count;
    ck_assert_int_eq(understand("", &call), OK);
    ck_assert_ptr_null(call.command);
    ck_assert_ptr_null(console_call_columns(&call, &count));
    ck_assert_uint_eq(count, 0);
}

TEST(times_are_those_of_utc)
{
    char text[CONSOLE_TIME_SIZE];
    ck_assert_str_eq(console_time(0, text), "1970-01-01 00:00:00 UTC");
    ck_assert_str_eq(console_time(INT64_C(1785585600) * 1000000 + 999999, text),
                     "2026-08-01 12:00:00 UTC");
}

/* --- rows ------------------------------------------------------------------------------------- */

static const struct console_column kinds[] = {
    {"text", COLUMN_TEXT, ""},       {"four", COLUMN_INT4, ""}, {"eight", COLUMN_INT8, ""},
    {"numeric", COLUMN_NUMERIC, ""}, {"bool", COLUMN_BOOL, ""},
};

static void write_kinds(struct console_result *result, int64_t number)
{
    table_text(&result->sink, "x");
    table_int(&result->sink, number);
    table_int(&result->sink, number);
    table_int(&result->sink, number);
    table_bool(&result->sink, true);
    table_end_row(&result->sink);
}

static void assert_bytes(struct span span, const void *bytes, size_t size)
{
    ck_assert_uint_eq(span.size, size);
    ck_assert_mem_eq(span.at, bytes, size);
}

TEST(a_row_is_written_as_a_message)
{
    struct console_result result;
    static const char row[] = "D\0\0\0\x29\0\5\0\0\0\1x\0\0\0\3-42\0\0\0\3-42\0\0\0\3-42\0\0\0\1t";
    console_result_init(&result, kinds, ARRAY_SIZE(kinds), 0);
    write_kinds(&result, -42);
    ck_assert_int_eq(console_result_fault(&result), OK);
    ck_assert_uint_eq(result.count, 1);
    ck_assert_uint_eq(wire_u32(result.rows.at + 1), result.rows.size - 1);
    assert_bytes(span_skip(buffer_span(&result.rows), 5), row + 5, sizeof(row) - 1 - 5);
    console_result_fini(&result);
}

TEST(a_missing_value_is_null)
{
    struct console_result result;
    static const char row[] = "D\0\0\0\x0a\0\1\xff\xff\xff\xff";
    console_result_init(&result, kinds, 1, 0);
    table_text(&result.sink, NULL);
    table_end_row(&result.sink);
    assert_bytes(buffer_span(&result.rows), row, sizeof(row) - 1);
    console_result_fini(&result);
}

TEST(numbers_are_written_in_binary_where_asked_for)
{
    struct console_result result;
    static const char row[] = "\0\5\0\0\0\1x\0\0\0\4\xff\xfe\x79\x60\0\0\0\x8\xff\xff\xff\xff\xff"
                              "\xfe\x79\x60\0\0\0\x0c\0\2\0\1\x40\0\0\0\0\x0a\0\0\0\0\0\1\1";
    console_result_init(&result, kinds, ARRAY_SIZE(kinds), UINT64_MAX);
    write_kinds(&result, -100000);
    struct span body = span_skip(buffer_span(&result.rows), 5);
    assert_bytes(body, row, sizeof(row) - 1);
    console_result_fini(&result);
}

TEST(zero_is_a_numeric_without_digits)
{
    struct console_result result;
    static const char cell[] = "\0\0\0\x8\0\0\0\0\0\0\0\0";
    console_result_init(&result, &kinds[3], 1, 1);
    table_int(&result.sink, 0);
    table_end_row(&result.sink);
    assert_bytes(span_skip(buffer_span(&result.rows), 7), cell, sizeof(cell) - 1);
    console_result_fini(&result);
}

TEST(rows_are_given_out_in_portions)
{
    struct console_result result;
    struct span rows;
    console_result_init(&result, kinds, 1, 0);
    for (int i = 0; i < 5; i++) {
        table_text(&result.sink, "12345");
        table_end_row(&result.sink);
    }
    size_t size = result.rows.size / 5;
    ck_assert(console_result_take(&result, 2, &rows));
    ck_assert_uint_eq(rows.size, 2 * size);
    ck_assert(console_result_take(&result, 2, &rows));
    ck_assert(!console_result_take(&result, 2, &rows));
    ck_assert_uint_eq(rows.size, size);
    ck_assert(!console_result_take(&result, 0, &rows));
    ck_assert_uint_eq(rows.size, 0);
    console_result_fini(&result);
}

TEST(an_answer_beyond_its_ceiling_is_a_limit)
{
    struct console_result result;
    console_result_init(&result, kinds, 1, 0);
    result.rows.max = 100;
    for (int i = 0; i < 20; i++) {
        table_text(&result.sink, "12345");
        table_end_row(&result.sink);
    }
    ck_assert_int_eq(console_result_fault(&result), FAULT_LIMIT);
    ck_assert_str_eq(fault_sqlstate(FAULT_LIMIT), "54000");
    console_result_fini(&result);
}

TEST(columns_are_described_with_their_types)
{
    struct buffer out = BUFFER_INIT(4096);
    static const char one[] = "T\0\0\0\x1d\0\1four\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\1";
    console_put_columns(&out, &kinds[1], 1, 1);
    assert_bytes(buffer_span(&out), one, sizeof(one) - 1);
    buffer_clear(&out);
    console_put_columns(&out, NULL, 0, 0);
    assert_bytes(buffer_span(&out), "n\0\0\0\4", 5);
    buffer_fini(&out);
}

/* --- sums ------------------------------------------------------------------------------------- */

struct summed {
    struct console_groups_row row;
    int sum;
};

TEST(rows_of_one_key_are_summed_in_the_order_of_their_first)
{
    struct console_groups tally;
    static const char *const keys[][2] = {{"a", "bc"}, {"ab", "c"}, {"a", "bc"}, {"a", ""}};
    console_groups_init(&tally, sizeof(struct summed));
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        struct summed *row =
            console_groups_row(&tally, span_text(keys[i][0]), span_text(keys[i][1]));
        row->sum += 1;
    }
    ck_assert_uint_eq(tally.rows.count, 3);
    const struct summed *first =
        (const void *)LIST_ENTRY(list_first(&tally.rows), struct console_groups_row, node);
    ck_assert_int_eq(first->sum, 2);
    ck_assert_ptr_null(console_groups_find(&tally, SPAN("abc"), SPAN("")));
    ck_assert_int_eq(console_groups_fault(&tally), OK);
    console_groups_fini(&tally);
}

TEST(more_rows_than_fit_are_a_limit)
{
    struct console_groups tally;
    console_groups_init(&tally, sizeof(struct summed));
    tally.map.max = 1;
    ck_assert_ptr_nonnull(console_groups_row(&tally, SPAN("a"), SPAN("")));
    ck_assert_ptr_null(console_groups_row(&tally, SPAN("b"), SPAN("")));
    ck_assert_ptr_nonnull(console_groups_row(&tally, SPAN("a"), SPAN("")));
    ck_assert_int_eq(console_groups_fault(&tally), FAULT_LIMIT);
    console_groups_fini(&tally);
}

/* --- averages --------------------------------------------------------------------------------- */

/* What a look at `second` sees of queries, of which there are 10 a second. */
static uint64_t look_at(struct stats_window *window, int64_t second, int64_t *ret_seconds)
{
    struct local_pool_stats stats = {.queries = (uint64_t)second * 10}, since;
    duration during;
    console_stats_look(window, &stats, (deadline){second * 1000000}, &since, &during);
    *ret_seconds = during.us / 1000000;
    return since.queries;
}

TEST(the_first_look_sees_all_since_the_beginning)
{
    struct stats_window window = {.older_at = {0}};
    int64_t seconds;
    ck_assert_uint_eq(look_at(&window, 600, &seconds), 6000);
    ck_assert_int_eq(seconds, 600);
}

TEST(looks_in_short_order_see_one_to_two_periods)
{
    struct stats_window window = {.older_at = {0}};
    for (int64_t second = 15; second < 1000; second += 15) {
        int64_t seconds;
        uint64_t queries = look_at(&window, second, &seconds);
        ck_assert_uint_eq(queries, (uint64_t)seconds * 10);
        ck_assert_int_le(seconds, 120);
        if (second >= 60)
            ck_assert_int_ge(seconds, 60);
    }
}

TEST(less_than_a_second_counts_as_one)
{
    struct stats_window window = {.older_at = {0}};
    int64_t seconds;
    ck_assert_uint_eq(look_at(&window, 0, &seconds), 0);
    ck_assert_int_eq(seconds, 1);
}

TEST(what_departed_pools_counted_stays)
{
    struct map departed = MAP_INIT(2);
    struct local_pool_stats stats = {.transactions = 3, .logins = 1};
    stats_depart(&departed, "app", &stats);
    stats_depart(&departed, "app", &stats);
    stats_depart(&departed, "other", &stats);
    stats_depart(&departed, "too many", &stats);
    ck_assert_uint_eq(departed.count, 2);
    struct map_link *link = map_next(&departed, NULL);
    for (; link != NULL; link = map_next(&departed, link)) {
        const struct stats_departed *gone = MAP_ENTRY(link, struct stats_departed, link);
        uint64_t times = strcmp(gone->database, "app") == 0 ? 2 : 1;
        ck_assert_uint_eq(gone->stats.transactions, times * 3);
        ck_assert_uint_eq(gone->stats.logins, times);
    }
    stats_departed_clear(&departed);
    ck_assert_uint_eq(departed.count, 0);
}

TESTS("console", statements_are_parted_by_semicolons,
      a_quote_or_comment_without_its_end_is_a_syntax_error,
      words_are_upper_case_with_one_blank_between, words_beyond_the_limit_are_refused,
      every_command_is_understood_in_any_case, a_statement_is_cut_into_words_names_texts_and_signs,
      a_token_without_its_end_or_without_measure_is_a_syntax_error, what_drivers_say_is_accepted,
      what_is_no_command_is_a_syntax_error, a_setting_of_the_file_can_not_be_set,
      a_setting_that_is_not_there_is_an_error_with_what_was_meant,
      a_reset_or_a_scope_is_not_for_settings_of_the_file, a_setting_that_reloads_can_be_set,
      nothing_is_understood_as_nothing, times_are_those_of_utc, a_row_is_written_as_a_message,
      a_missing_value_is_null, numbers_are_written_in_binary_where_asked_for,
      zero_is_a_numeric_without_digits, rows_are_given_out_in_portions,
      an_answer_beyond_its_ceiling_is_a_limit, columns_are_described_with_their_types,
      rows_of_one_key_are_summed_in_the_order_of_their_first, more_rows_than_fit_are_a_limit,
      the_first_look_sees_all_since_the_beginning, looks_in_short_order_see_one_to_two_periods,
      less_than_a_second_counts_as_one, what_departed_pools_counted_stays)
