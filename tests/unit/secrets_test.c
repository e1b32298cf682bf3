#include "config_files.h"

/* --- the auth file ---------------------------------------------------------------------------- */

#define WITH_USERS LISTEN SERVICES "routes: [{service: main}]\nauth_file: users.txt\n"

static const char *secret_of(const struct config *config, const char *user)
{
    const struct secret *secret = config_secret(config, span_text(user));
    return secret == NULL ? NULL : secret->text;
}

TEST(the_auth_file_is_read_as_pgbouncer_does)
{
    const char users[] = "; a comment\n"
                         "# another\n"
                         "\n"
                         "\"ann\" \"plain\"\n"
                         "  \"bob\"\t\"md5c0ffeec0ffeec0ffeec0ffeec0ffee00\" rest is ignored\r\n"
                         "\"o\"\"neil\" \"a\"\"b\\c\"\n"
                         "\"last\" \"no newline\"";
    file_write("users.txt", users, strlen(users));
    struct config *config = taken(WITH_USERS, "");
    ck_assert_str_eq(secret_of(config, "ann"), "plain");
    ck_assert_str_eq(secret_of(config, "bob"), "md5c0ffeec0ffeec0ffeec0ffeec0ffee00");
    ck_assert_str_eq(secret_of(config, "o\"neil"), "a\"b\\c");
    ck_assert_str_eq(secret_of(config, "last"), "no newline");
    ck_assert_ptr_null(config_secret(config, SPAN("an")));
    ck_assert_ptr_null(config_secret(config, SPAN("")));
    config_unref(&config);
}
END_TEST

TEST(what_is_wrong_with_the_auth_file_is_told_with_its_line)
{
    char here[256], expected[2048];
    static const char users[] = "ann secret\n"
                                "\"bob\"\n"
                                "\"eve\" \"open\n"
                                "\"\" \"x\"\n"
                                "\"zed\" \"SCRAM-SHA-256$nonsense\"\n"
                                "\"nul\" \"a\0b\"\n";
    file_write("users.txt", users, sizeof(users) - 1);
    ck_assert_ptr_nonnull(getcwd(here, sizeof(here)));
    snprintf(expected, sizeof(expected),
             "%1$s/users.txt:1: accepted: \"user\" \"secret\", each in double quotes\n"
             "%1$s/users.txt:2: accepted: \"user\" \"secret\", each in double quotes\n"
             "%1$s/users.txt:3: accepted: \"user\" \"secret\", each in double quotes\n"
             "%1$s/users.txt:4: the user name is empty\n"
             "%1$s/users.txt:5: malformed SCRAM secret; accepted: "
             "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey\n"
             "%1$s/users.txt:6: found a NUL byte\n",
             here);
    refused(WITH_USERS, expected);
}
END_TEST

TEST(names_and_secrets_in_the_auth_file_have_a_longest)
{
    struct buffer text = BUFFER_INIT(1 << 16);
    char here[256], expected[1024], name[129];
    memset(name, 'n', sizeof(name));
    buffer_printf(&text, "\"%.127s\" \"x\"\n\"%.128s\" \"x\"\n\"y\" \"", name, name);
    for (int i = 0; i < 2048; i++)
        buffer_append_byte(&text, 's');
    buffer_append_text(&text, "\"\n");
    file_write("users.txt", (const char *)text.at, text.size);
    ck_assert_ptr_nonnull(getcwd(here, sizeof(here)));
    snprintf(
        expected, sizeof(expected),
        "%1$s/users.txt:2: too long; accepted: user names up to 127 and secrets up to 2047 bytes\n"
        "%1$s/users.txt:3: too long; accepted: user names up to 127 and secrets up to 2047 bytes\n",
        here);
    refused(WITH_USERS, expected);
    buffer_fini(&text);
}
END_TEST

TEST(the_last_line_of_a_user_counts_and_an_empty_secret_lets_nobody_in)
{
    char here[256], expected[1024];
    const char users[] = "\"ann\" \"one\"\n\"ann\" \"two\"\n\"bob\" \"\"\n";
    file_write("users.txt", users, strlen(users));
    ck_assert_ptr_nonnull(getcwd(here, sizeof(here)));
    snprintf(expected, sizeof(expected),
             "%1$s/users.txt:2: warning: duplicate user; this later line is used\n"
             "%1$s/users.txt:3: warning: the secret is empty, so this user can't log in\n",
             here);
    struct config *config = taken(WITH_USERS, expected);
    ck_assert_str_eq(secret_of(config, "ann"), "two");
    ck_assert_ptr_null(config_secret(config, SPAN("bob")));
    config_unref(&config);
}
END_TEST

TEST(an_auth_file_that_cannot_be_read_is_told_where_it_is_named)
{
    char here[256], expected[1024];
    ck_assert_ptr_nonnull(getcwd(here, sizeof(here)));
    snprintf(expected, sizeof(expected),
             "t.yaml:4:12: auth_file: cannot read %s/users.txt: No such file or directory\n", here);
    refused(WITH_USERS, expected);
}
END_TEST

TEST(a_big_auth_file_is_read_whole)
{
    struct buffer text = BUFFER_INIT(1 << 24);
    for (int i = 0; i < 20000; i++)
        buffer_printf(&text, "\"user%d\" \"secret%d\"\n", i, i);
    file_write("users.txt", (const char *)text.at, text.size);
    buffer_fini(&text);
    struct config *config = taken(WITH_USERS, "");
    ck_assert_str_eq(secret_of(config, "user0"), "secret0");
    ck_assert_str_eq(secret_of(config, "user19999"), "secret19999");
    ck_assert_uint_eq(config->secrets.count, 20000);
    config_unref(&config);
}
END_TEST

CONFIG_TESTS("secrets", the_auth_file_is_read_as_pgbouncer_does,
             what_is_wrong_with_the_auth_file_is_told_with_its_line,
             names_and_secrets_in_the_auth_file_have_a_longest,
             the_last_line_of_a_user_counts_and_an_empty_secret_lets_nobody_in,
             an_auth_file_that_cannot_be_read_is_told_where_it_is_named,
             a_big_auth_file_is_read_whole)
