#include "base/span.h"
#include "machine/log.h"
#include "machine/log_line.h"
#include "machine/os_linux_log.h"
#include "machine/os_linux_parts.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct log_line line;

static const char *build(enum log_format format, const struct log_pair *pairs, size_t count)
{
    struct log_head head = {.wall_us = 1795222923456789,
                            .process = 77,
                            .level = LOG_NOTICE,
                            .name = "server.closed",
                            .pairs = pairs,
                            .count = count};
    line.format = format;
    log_line_build(&line, &head);
    ck_assert_uint_le(line.size, LOG_LINE_MAX);
    ck_assert_int_eq(line.bytes[line.size - 1], '\n');
    line.bytes[line.size - 1] = '\0';
    return line.bytes;
}

#define built(format, ...)                                                                         \
    build(format, (const struct log_pair[]){__VA_ARGS__},                                          \
          ARRAY_SIZE(((const struct log_pair[]){__VA_ARGS__})))

TEST(a_line_of_text_reads_like_a_sentence)
{
    ck_assert_str_eq(built(LOG_FORMAT_TEXT, log_text("server", "s1"), log_number("port", 5432),
                           log_quote("reason", "gone")),
                     "2026-11-21 01:02:03.456 UTC [77] NOTICE server.closed server=s1 port=5432 "
                     "reason=\"gone\"");
}
END_TEST

TEST(a_line_of_json_has_one_member_per_pair)
{
    ck_assert_str_eq(built(LOG_FORMAT_JSON, log_text("server", "17"), log_number("port", -1),
                           log_number("age_ms", INT64_MIN), log_text("at", "h:5"),
                           log_quote("reason", "a b, c")),
                     "{\"ts\":\"2026-11-21T01:02:03.456Z\",\"level\":\"NOTICE\",\"pid\":77,"
                     "\"event\":\"server.closed\",\"server\":\"17\",\"port\":-1,"
                     "\"age_ms\":-9223372036854775808,\"at\":\"h:5\",\"reason\":\"a b, c\"}");
}
END_TEST

TEST(a_value_can_not_end_its_line_or_pass_for_another_pair)
{
    const char *evil = "x\" level=EMERG\nfake=\"1\\\x01\x7f\xff";
    ck_assert_str_eq(strstr(built(LOG_FORMAT_TEXT, log_text("user", evil)), "user="),
                     "user=\"x\\\" level=EMERG\\nfake=\\\"1\\\\\\x01\\x7f\\xff\"");
    ck_assert_str_eq(strstr(built(LOG_FORMAT_JSON, log_text("user", evil)), "\"user"),
                     "\"user\":\"x\\\" level=EMERG\\nfake=\\\"1\\\\\\u0001\\u007f\\ufffd\"}");
    ck_assert_str_eq(strstr(built(LOG_FORMAT_TEXT, log_text("user", "a=b")), "user="),
                     "user=\"a=b\"");
}
END_TEST

TEST(characters_that_viewers_take_for_controls_are_escaped)
{
    /* The end of a line, a terminal's CSI, a separator of lines, writing from right to left. */
    const char *evil = "a\xc2\x85"
                       "b\xc2\x9b"
                       "c\xe2\x80\xa8"
                       "d\xe2\x80\xae"
                       "e\xc2\xa0"
                       "f";
    ck_assert_str_eq(strstr(built(LOG_FORMAT_TEXT, log_text("user", evil)), "user="),
                     "user=\"a\\xc2\\x85b\\xc2\\x9bc\\xe2\\x80\\xa8d\\xe2\\x80\\xaee\xc2\xa0"
                     "f\"");
    ck_assert_str_eq(strstr(built(LOG_FORMAT_JSON, log_text("user", evil)), "\"user"),
                     "\"user\":\"a\\u0085b\\u009bc\\u2028d\\u202ee\xc2\xa0"
                     "f\"}");
}
END_TEST

TEST(valid_utf8_stays_and_broken_utf8_is_marked)
{
    ck_assert_str_eq(
        strstr(built(LOG_FORMAT_JSON, log_text("a", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x98")),
               "\"a\""),
        "\"a\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x98\"}");
    /* An overlong slash, a surrogate, a character cut short. */
    ck_assert_str_eq(strstr(built(LOG_FORMAT_JSON, log_text("a", "\xc0\xaf"
                                                                 "\xed\xa0\x80"
                                                                 "\xe2\x82")),
                            "\"a\""),
                     "\"a\":\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\"}");
}
END_TEST

TEST(every_type_of_value_is_written_in_every_format)
{
    const struct uuid id = {{0x01, 0x9a, 0xbc, [15] = 0xff}};
    const char *volatile none = NULL;
    const struct log_pair pairs[] = {
        log_span("a", span_of("xyz", 2)),
        log_number("b", (size_t)7),
        log_number("c", (uint8_t)200),
        log_number("d", UINT64_MAX),
        log_number("e", -8LL),
        log_percent("f", 60),
        log_nothing(),
        log_text("g", none),
        log_quote("h", "plain"),
        log_quote_span("i", span_of("a b", 3)),
        log_id("j", &id),
        log_text("k", "5"),
        log_text("l", ""),
        log_quote("m", none),
    };
    ck_assert_str_eq(strstr(build(LOG_FORMAT_TEXT, pairs, ARRAY_SIZE(pairs)), "a="),
                     "a=xy b=7 c=200 d=18446744073709551615 e=-8 f=60% g=(null) h=\"plain\" "
                     "i=\"a b\" j=019abc00-0000-0000-0000-0000000000ff k=5 l=\"\" m=\"(null)\"");
    ck_assert_str_eq(strstr(build(LOG_FORMAT_LOGFMT, pairs, ARRAY_SIZE(pairs)), "a="),
                     "a=xy b=7 c=200 d=18446744073709551615 e=-8 f=60% g=(null) h=\"plain\" "
                     "i=\"a b\" j=019abc00-0000-0000-0000-0000000000ff k=5 l=\"\" m=\"(null)\"");
    ck_assert_str_eq(
        strstr(build(LOG_FORMAT_JSON, pairs, ARRAY_SIZE(pairs)), "\"a\""),
        "\"a\":\"xy\",\"b\":7,\"c\":200,\"d\":18446744073709551615,\"e\":-8,\"f\":\"60%\","
        "\"g\":\"(null)\",\"h\":\"plain\",\"i\":\"a b\","
        "\"j\":\"019abc00-0000-0000-0000-0000000000ff\",\"k\":\"5\",\"l\":\"\",\"m\":\"(null)\"}");
    ck_assert_str_eq(build(LOG_FORMAT_TEXT, NULL, 0),
                     "2026-11-21 01:02:03.456 UTC [77] NOTICE server.closed");
}
END_TEST

static int evaluated;

static const char *evaluate(void)
{
    evaluated += 1;
    return "x";
}

TEST(pairs_of_an_event_that_no_target_writes_are_not_evaluated)
{
    ck_assert_int_eq(log_configure(LOG_NOTICE, LOG_FORMAT_TEXT, "/dev/null"), 0);
    log_event(LOG_INFO, "test.filtered", log_text("a", evaluate()));
    ck_assert_int_eq(evaluated, 0);
    log_event(LOG_NOTICE, "test.written", log_text("a", evaluate()));
    ck_assert_int_eq(evaluated, 1);
    log_finish();
}
END_TEST

TEST(a_line_that_is_too_long_is_cut_and_still_closed)
{
    char quotes[3000];
    memset(quotes, '"', sizeof(quotes));
    quotes[sizeof(quotes) - 1] = '\0';
    const char *json =
        built(LOG_FORMAT_JSON, log_text("a", quotes), log_text("b", quotes), log_text("c", quotes));
    ck_assert_uint_gt(strlen(json), LOG_LINE_MAX - 64);
    ck_assert_str_eq(json + strlen(json) - 4, "\\\"\"}");
}
END_TEST

TEST(a_value_is_as_long_as_it_may_be_and_cut_beyond_that)
{
    char whole[LOG_VALUE_MAX + 1], longer[LOG_VALUE_MAX + 2];
    ck_assert_uint_eq(LOG_VALUE_MAX, 2048);
    memset(whole, 'x', sizeof(whole));
    memset(longer, 'x', sizeof(longer));
    whole[LOG_VALUE_MAX - 1] = 'z';
    whole[LOG_VALUE_MAX] = longer[LOG_VALUE_MAX + 1] = '\0';
    longer[LOG_VALUE_MAX] = 'z';
    const char *at =
        strstr(built(LOG_FORMAT_TEXT, log_text("a", whole), log_text("b", "next")), "a=");
    ck_assert_uint_eq(strcspn(at, " "), 2 + LOG_VALUE_MAX);
    ck_assert_str_eq(at + 2 + LOG_VALUE_MAX - 1, "z b=next");
    at = strstr(built(LOG_FORMAT_TEXT, log_text("a", longer), log_text("b", "next")), "a=");
    ck_assert_uint_eq(strcspn(at, " "), 2 + LOG_VALUE_MAX);
    ck_assert_str_eq(at + 2 + LOG_VALUE_MAX - 1, "x b=next");
    at = strstr(built(LOG_FORMAT_TEXT, log_span("a", span_of(longer, LOG_VALUE_MAX + 1)),
                      log_text("b", "next")),
                "a=");
    ck_assert_str_eq(at + 2 + LOG_VALUE_MAX - 1, "x b=next");
}
END_TEST

/* --- the writer ------------------------------------------------------------------------------- */

static char folder[] = "/tmp/log_test.XXXXXX";

static const char *folder_path(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static size_t file_text(const char *name, char *text, size_t size)
{
    int file = open(folder_path(name), O_RDONLY);
    ck_assert_int_ge(file, 0);
    ssize_t got = read(file, text, size - 1);
    ck_assert_int_ge(got, 0);
    text[got] = '\0';
    close(file);
    return (size_t)got;
}

TEST(events_reach_the_file_and_a_reload_changes_level_format_and_file)
{
    static char text[65536];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(log_configure(LOG_NOTICE, LOG_FORMAT_TEXT, folder_path("one")), 0);
    log_event(LOG_NOTICE, "test.first", log_number("n", 1));
    log_event(LOG_DEBUG, "test.hidden", log_number("n", 2));
    log_finish();
    file_text("one", text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "NOTICE test.first n=1\n"));
    ck_assert_ptr_null(strstr(text, "hidden"));

    ck_assert_int_eq(log_configure(LOG_NOTICE, LOG_FORMAT_TEXT, folder_path("one")), 0);
    ck_assert_int_eq(log_configure(LOG_DEBUG, LOG_FORMAT_JSON, folder_path("two")), 0);
    ck_assert_int_eq(log_configure(LOG_DEBUG, LOG_FORMAT_JSON, folder_path("no/such")), -ENOENT);
    log_event(LOG_DEBUG, "test.third", log_number("n", 3));
    log_finish();
    log_event(LOG_DEBUG, "test.late", log_number("n", 4));
    file_text("two", text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "\"level\":\"DEBUG\""));
    ck_assert_ptr_nonnull(strstr(text, "\"event\":\"test.third\",\"n\":3}\n"));
    ck_assert_ptr_nonnull(strstr(text, "\"event\":\"test.late\",\"n\":4}\n"));
    unlink(folder_path("one"));
    unlink(folder_path("two"));
    rmdir(folder);
}
END_TEST

TEST(a_reader_that_stands_still_costs_lines_which_are_counted_and_told)
{
    static char text[1024 * 1024];
    enum { EVENTS = 20000 };
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(mkfifo(folder_path("pipe"), 0600), 0);
    int reader = open(folder_path("pipe"), O_RDONLY | O_NONBLOCK);
    ck_assert_int_eq(log_configure(LOG_NOTICE, LOG_FORMAT_TEXT, folder_path("pipe")), 0);
    uint64_t before = os_linux_log_dropped();
    for (int i = 0; i < EVENTS; i++)
        log_event(LOG_NOTICE, "test.flood", log_number("n", i));
    uint64_t dropped = os_linux_log_dropped() - before;
    ck_assert_uint_gt(dropped, 0);

    fcntl(reader, F_SETFL, 0);
    size_t size = 0;
    uint64_t told = 0;
    while (told < dropped) {
        ssize_t got = read(reader, text + size, sizeof(text) - 1 - size);
        ck_assert_int_gt(got, 0);
        size += (size_t)got;
        text[size] = '\0';
        told = 0;
        for (char *at = text; (at = strstr(at, "log.dropped lines=")) != NULL; at++)
            told += strtoull(at + strlen("log.dropped lines="), NULL, 10);
    }
    ck_assert_uint_eq(told, dropped);
    log_finish();
    uint64_t lines = 0;
    for (char *at = text; (at = strstr(at, "test.flood")) != NULL; at++)
        lines++;
    ck_assert_uint_eq(lines + dropped, EVENTS);
    close(reader);
    unlink(folder_path("pipe"));
    rmdir(folder);
}
END_TEST

static void *hundred_events(void *argument)
{
    for (int i = 0; i < 100; i++)
        log_event(LOG_NOTICE, "test.thread", log_text("who", (const char *)argument),
                  log_number("n", i));
    return NULL;
}

TEST(lines_of_several_threads_stay_whole)
{
    static char text[65536];
    pthread_t threads[4];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(log_configure(LOG_NOTICE, LOG_FORMAT_TEXT, folder_path("file")), 0);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_create(&threads[i], NULL, hundred_events, (char *[]){"a", "b", "c", "d"}[i]);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    log_finish();
    file_text("file", text, sizeof(text));
    int lines = 0;
    for (char *at = text; *at != '\0'; at = strchr(at, '\n') + 1) {
        ck_assert_ptr_nonnull(strstr(at, "NOTICE test.thread who="));
        ck_assert_int_eq(strncmp(at, "20", 2), 0);
        lines++;
    }
    ck_assert_int_eq(lines, 400);
    unlink(folder_path("file"));
    rmdir(folder);
}
END_TEST

TESTS("log", a_line_of_text_reads_like_a_sentence, a_line_of_json_has_one_member_per_pair,
      a_value_can_not_end_its_line_or_pass_for_another_pair,
      characters_that_viewers_take_for_controls_are_escaped,
      valid_utf8_stays_and_broken_utf8_is_marked, every_type_of_value_is_written_in_every_format,
      pairs_of_an_event_that_no_target_writes_are_not_evaluated,
      a_line_that_is_too_long_is_cut_and_still_closed,
      a_value_is_as_long_as_it_may_be_and_cut_beyond_that,
      events_reach_the_file_and_a_reload_changes_level_format_and_file,
      a_reader_that_stands_still_costs_lines_which_are_counted_and_told,
      lines_of_several_threads_stay_whole)
