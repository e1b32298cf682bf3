#include "base/span.h"
#include "machine/log.h"
#include "machine/log_line.h"
#include "machine/os_linux.h"
#include "machine/os_linux_log.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct log_line line;

static const char *built(enum log_format format, const char *pairs, ...) PRINTF_LIKE(2, 3);
static const char *built(enum log_format format, const char *pairs, ...)
{
    struct log_head head = {
        .wall_us = 1795222923456789, .process = 77, .level = LOG_NOTICE, .name = "server.closed"};
    va_list values;
    va_start(values, pairs);
    line.format = format;
    log_line_build(&line, &head, pairs, values);
    va_end(values);
    ck_assert_uint_le(line.size, LOG_LINE_MAX);
    ck_assert_int_eq(line.bytes[line.size - 1], '\n');
    line.bytes[line.size - 1] = '\0';
    return line.bytes;
}

TEST(a_line_of_text_reads_like_a_sentence)
{
    ck_assert_str_eq(built(LOG_FORMAT_TEXT, "server=%s port=%d reason=\"%s\"", "s1", 5432, "gone"),
                     "2026-11-21 01:02:03.456 UTC [77] NOTICE server.closed server=s1 port=5432 "
                     "reason=\"gone\"");
}
END_TEST

TEST(a_line_of_json_has_one_member_per_pair)
{
    ck_assert_str_eq(built(LOG_FORMAT_JSON,
                           "server=%s port=%d age_ms=%" PRId64 " at=%s:%u reason=\"%s, %s\"", "17",
                           -1, INT64_MIN, "h", 5u, "a b", "c"),
                     "{\"ts\":\"2026-11-21T01:02:03.456Z\",\"level\":\"NOTICE\",\"pid\":77,"
                     "\"event\":\"server.closed\",\"server\":\"17\",\"port\":-1,"
                     "\"age_ms\":-9223372036854775808,\"at\":\"h:5\",\"reason\":\"a b, c\"}");
}
END_TEST

TEST(a_value_can_not_end_its_line_or_pass_for_another_pair)
{
    const char *evil = "x\" level=EMERG\nfake=\"1\\\x01\x7f\xff";
    ck_assert_str_eq(strstr(built(LOG_FORMAT_TEXT, "user=%s", evil), "user="),
                     "user=\"x\\\" level=EMERG\\nfake=\\\"1\\\\\\x01\\x7f\\xff\"");
    ck_assert_str_eq(strstr(built(LOG_FORMAT_JSON, "user=%s", evil), "\"user"),
                     "\"user\":\"x\\\" level=EMERG\\nfake=\\\"1\\\\\\u0001\\u007f\\ufffd\"}");
    ck_assert_str_eq(strstr(built(LOG_FORMAT_TEXT, "user=%s", "a=b"), "user="), "user=\"a=b\"");
}
END_TEST

TEST(valid_utf8_stays_and_broken_utf8_is_marked)
{
    ck_assert_str_eq(
        strstr(built(LOG_FORMAT_JSON, "a=%s", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x98"), "\"a\""),
        "\"a\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x98\"}");
    /* An overlong slash, a surrogate, a character cut short. */
    ck_assert_str_eq(strstr(built(LOG_FORMAT_JSON, "a=%s",
                                  "\xc0\xaf"
                                  "\xed\xa0\x80"
                                  "\xe2\x82"),
                            "\"a\""),
                     "\"a\":\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\"}");
}
END_TEST

TEST(every_conversion_takes_its_own_argument)
{
    const char *volatile nothing = NULL;
    ck_assert_str_eq(
        strstr(built(LOG_FORMAT_TEXT, "a=%.*s b=%zu c=%5.2f d=%c e=%08x f=%% g=%lld h=%s i=%#jx", 2,
                     "xyz", (size_t)7, 1.5, 'q', 255u, -8LL, nothing, (uintmax_t)16),
               "a="),
        "a=xy b=7 c=\" 1.50\" d=q e=000000ff f=% g=-8 h=(null) i=0x10");
}
END_TEST

TEST(a_bare_word_and_an_empty_value_are_shown)
{
    ck_assert_str_eq(strstr(built(LOG_FORMAT_TEXT, "%s a=%s b=\"\"", "word", ""), "word"),
                     "word a=\"\" b=\"\"");
    ck_assert_str_eq(strstr(built(LOG_FORMAT_JSON, "%s a=%s", "word", ""), "\"text"),
                     "\"text\":\"word\",\"a\":\"\"}");
    ck_assert_str_eq(built(LOG_FORMAT_TEXT, " "),
                     "2026-11-21 01:02:03.456 UTC [77] NOTICE server.closed");
}
END_TEST

TEST(a_line_that_is_too_long_is_cut_and_still_closed)
{
    char quotes[3000];
    memset(quotes, '"', sizeof(quotes));
    quotes[sizeof(quotes) - 1] = '\0';
    const char *json = built(LOG_FORMAT_JSON, "a=%s b=%s c=%s", quotes, quotes, quotes);
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
    const char *at = strstr(built(LOG_FORMAT_TEXT, "a=%s b=%s", whole, "next"), "a=");
    ck_assert_uint_eq(strcspn(at, " "), 2 + LOG_VALUE_MAX);
    ck_assert_str_eq(at + 2 + LOG_VALUE_MAX - 1, "z b=next");
    at = strstr(built(LOG_FORMAT_TEXT, "a=%s b=%s", longer, "next"), "a=");
    ck_assert_uint_eq(strcspn(at, " "), 2 + LOG_VALUE_MAX);
    ck_assert_str_eq(at + 2 + LOG_VALUE_MAX - 1, "x b=next");
    at = strstr(built(LOG_FORMAT_TEXT, "a=%.*s b=%s", LOG_VALUE_MAX + 1, longer, "next"), "a=");
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
    log_event(LOG_NOTICE, "test.first", "n=%d", 1);
    log_event(LOG_DEBUG, "test.hidden", "n=%d", 2);
    log_finish();
    file_text("one", text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "NOTICE test.first n=1\n"));
    ck_assert_ptr_null(strstr(text, "hidden"));

    ck_assert_int_eq(log_configure(LOG_NOTICE, LOG_FORMAT_TEXT, folder_path("one")), 0);
    ck_assert_int_eq(log_configure(LOG_DEBUG, LOG_FORMAT_JSON, folder_path("two")), 0);
    ck_assert_int_eq(log_configure(LOG_DEBUG, LOG_FORMAT_JSON, folder_path("no/such")), -ENOENT);
    log_event(LOG_DEBUG, "test.third", "n=%d", 3);
    log_finish();
    log_event(LOG_DEBUG, "test.late", "n=%d", 4);
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
        log_event(LOG_NOTICE, "test.flood", "n=%d", i);
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
        log_event(LOG_NOTICE, "test.thread", "who=%s n=%d", (const char *)argument, i);
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
      valid_utf8_stays_and_broken_utf8_is_marked, every_conversion_takes_its_own_argument,
      a_bare_word_and_an_empty_value_are_shown, a_line_that_is_too_long_is_cut_and_still_closed,
      a_value_is_as_long_as_it_may_be_and_cut_beyond_that,
      events_reach_the_file_and_a_reload_changes_level_format_and_file,
      a_reader_that_stands_still_costs_lines_which_are_counted_and_told,
      lines_of_several_threads_stay_whole)
