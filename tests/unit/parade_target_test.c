/* Connection strings of a parade's commands. */
#include "parade/target.h"
#include "unit.h"

static const struct {
    const char *text;
    const char *shown; /* as messages show it */
    const char *user, *password, *sslmode;
} sound[] = {
    {"postgresql://", "localhost:5432/", "", "", "prefer"},
    {"postgresql://u@h/d", "h:5432/d", "u", "", "prefer"},
    {"postgres://u:p%40ss:word@h:6000/d?sslmode=require", "h:6000/d", "u", "p@ss:word", "require"},
    {"postgresql://[::1]:7/d", "[::1]:7/d", "", "", "prefer"},
    {"postgresql://%2Ftmp%2Fx/d", "/tmp/x:5432/d", "", "", "prefer"},
    {"postgresql:///d?host=/tmp&port=9&user=%75", "/tmp:9/d", "u", "", "prefer"},
    {"", "localhost:5432/", "", "", "prefer"},
    {"host=h port=1 dbname=d user=u", "h:1/d", "u", "", "prefer"},
    {"  dbname = 'a b'  password='it\\'s' ", "localhost:5432/a b", "", "it's", "prefer"},
    {"password=a\\ b host=h", "h:5432/", "", "a b", "prefer"},
};

TEST(a_connection_string_names_a_database)
{
    for (size_t i = 0; i < ARRAY_SIZE(sound); i++) {
        struct parade_target target = PARADE_TARGET_INIT;
        char text[PARADE_TARGET_TEXT];
        ck_assert_msg(parade_target_read(span_text(sound[i].text), &target) == OK, "%s",
                      sound[i].text);
        ck_assert_str_eq(parade_target_text(&target, text, sizeof(text)), sound[i].shown);
        ck_assert_str_eq(target.user, sound[i].user);
        ck_assert_str_eq(target.password, sound[i].password);
        ck_assert_str_eq(target.sslmode, sound[i].sslmode);
    }
}
END_TEST

static const struct {
    const char *text;
    const char *said;
} wrong[] = {
    {"kv1", "found \"kv1\"; accepted: postgresql://HOST/DATABASE"},
    {"hots=h", "found hots in a connection string; accepted: host,"},
    {"port=0", "found port 0; accepted: 1 to 65535"},
    {"port=65536", "found port 65536; accepted: 1 to 65535"},
    {"postgresql://h:x/d", "found port x; accepted: 1 to 65535"},
    {"postgresql://h/d?x=1", "found x in a connection string"},
    {"postgresql://%zz/d", "found % without two hexadecimal digits"},
    {"postgresql://%4", "found % without two hexadecimal digits"},
    {"dbname='d", "found a quote without its end"},
    {"host=", "found host of 0 bytes; accepted: 1 to 253"},
    {"postgresql://%00/d", "found host of 1 bytes"},
    {"sslmode=on", "found sslmode on; accepted: disable,"},
    {"connect_timeout=0", "found connect_timeout 0; accepted: 1 to 3600"},
};

TEST(a_wrong_connection_string_is_refused_with_what_is_accepted)
{
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct parade_target target = PARADE_TARGET_INIT;
        fault read = parade_target_read(span_text(wrong[i].text), &target);
        ck_assert_msg(read == FAULT_CONFIG, "%s", wrong[i].text);
        ck_assert_msg(strstr(fault_detail(read), wrong[i].said) != NULL, "%s: %s", wrong[i].text,
                      fault_detail(read));
    }
}
END_TEST

TEST(what_a_string_does_not_name_keeps_its_value)
{
    struct parade_target target = PARADE_TARGET_INIT;
    ck_assert(parade_target_set(&target, SPAN("host"), SPAN("other")) == OK);
    ck_assert(parade_target_read(SPAN("dbname=d"), &target) == OK);
    ck_assert_str_eq(target.host, "other");
    ck_assert_uint_eq(target.patience, 10);
}
END_TEST

TESTS("parade_target", a_connection_string_names_a_database,
      a_wrong_connection_string_is_refused_with_what_is_accepted,
      what_a_string_does_not_name_keeps_its_value)
