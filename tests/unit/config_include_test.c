#include "config_files.h"
#include "instance/config_reader.h"
#include "machine/log.h"

static bool path_ends(const char *path, const char *end)
{
    size_t size = strlen(path), tail = strlen(end);
    return path[0] == '/' && size >= tail && strcmp(path + size - tail, end) == 0;
}

/* --- files that are taken --------------------------------------------------------------------- */

TEST(files_of_a_pattern_are_read_in_the_order_of_their_names)
{
    part_write("conf.d", NULL);
    part_write("conf.d/20.yaml", "routes: [{database: c, service: b, auth: trust}]\n"
                                 "services: {c: {hosts: [h], tls: {mode: disable}}}\n");
    part_write("conf.d/10.yaml", "services: {b: {hosts: [h], tls: {mode: disable}}}\n"
                                 "routes:\n  - {database: b, service: c, auth: trust}\n"
                                 "log: {level: debug}\n");
    part_write("conf.d/.30.yaml", "no: yes\n");
    part_write("conf.d/40.yml", "no: yes\n");
    struct config *config = taken("include: conf.d/*.yaml\nlog: {connections: no}\n" LISTEN SERVICES
                                  "routes: [{database: a, service: main, auth: trust}]\n",
                                  "");
    ck_assert_uint_eq(config->route_count, 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(config->routes[i].database[0], "abc"[i]);
    ck_assert_uint_eq(config->service_count, 3);
    ck_assert_int_eq(config->log_level, LOG_DEBUG);
    ck_assert(!config->log_connections);
    ck_assert_uint_eq(config->file_count, 3);
    ck_assert(path_ends(config->files[0], "/t.yaml"));
    ck_assert(path_ends(config->files[1], "/conf.d/10.yaml"));
    ck_assert(path_ends(config->files[2], "/conf.d/20.yaml"));
    ck_assert(path_ends(config->routes[1].file, "/conf.d/10.yaml"));
    ck_assert_uint_eq(config->routes[1].line, 3);
    config_unref(&config);
}
END_TEST

TEST(paths_and_includes_start_at_the_directory_of_their_file)
{
    part_write("conf.d", NULL);
    part_write("conf.d/more", NULL);
    part_write("conf.d/a.yaml", "include: [more/b.yaml]\nauth_file: \"../users.txt\"\n");
    part_write("conf.d/more/b.yaml",
               "services: {main: {hosts: [h], tls: {mode: disable}}}\n"
               "routes: [{service: main, auth: trust, server_user: u, server_password: {file: "
               "secret}}]\n");
    part_write("conf.d/more/secret", "abc\n");
    file_write("users.txt", "\"joe\" \"x\"\n", 10);
    struct config *config =
        taken("include: [./conf.d/a.yaml, none/*.yaml, none*.yaml]\n" LISTEN, "");
    ck_assert(path_ends(config->auth_file, "/conf.d/../users.txt"));
    ck_assert_str_eq(config->routes[0].server_password, "abc");
    ck_assert_uint_eq(config->file_count, 3);
    config_unref(&config);
}
END_TEST

TEST(an_included_file_may_be_empty)
{
    part_write("a.yaml", "# all of it is a comment\n");
    struct config *config = taken("include: a.yaml\n" LISTEN SERVICES ROUTES, "");
    config_unref(&config);
}
END_TEST

TEST(a_list_that_is_shared_by_an_alias_grows_at_one_place_only)
{
    part_write("a.yaml", "console: {users: [c]}\nlisten: [{host: 127.0.0.1, port: 7777}]\n");
    struct config *config = taken("include: a.yaml\nignore_startup_parameters: &names [a, b]\n"
                                  "console: {users: *names}\n" LISTEN SERVICES ROUTES,
                                  "");
    ck_assert_uint_eq(config->ignored_count, 2);
    ck_assert_uint_eq(config->console_user_count, 3);
    ck_assert_uint_eq(config->listen_count, 2);
    config_unref(&config);
}
END_TEST

TEST(an_open_included_file_with_a_secret_is_warned_about)
{
    part_write("a.yaml", "routes: [{service: main, auth: trust, server_user: u,\n"
                         "          server_password: abc}]\n");
    ck_assert_int_eq(chmod("a.yaml", 0644), 0);
    struct config *config =
        taken("include: a.yaml\n" LISTEN SERVICES,
              "a.yaml:2:28: warning: routes[0].server_password: is a secret in a "
              "file of mode 0644, which other users can read\n");
    config_unref(&config);
}
END_TEST

TEST(a_value_of_set_has_no_file)
{
    struct config *config = NULL;
    struct buffer problems = BUFFER_INIT(4096);
    part_write("a.yaml", "clients: 7\n");
    file_write("t.yaml", "include: a.yaml\n" LISTEN SERVICES ROUTES,
               strlen("include: a.yaml\n" LISTEN SERVICES ROUTES));
    struct span set = span_of("clients\0"
                              "9",
                              10);
    ck_assert_int_eq(config_load_with("t.yaml", 1, set, &config, &problems), OK);
    ck_assert_uint_eq(config->client_max, 9);
    config_unref(&config);
    set = span_of("clients\0"
                  "x",
                  10);
    ck_assert_int_eq(config_load_with("t.yaml", 1, set, &config, &problems), FAULT_CONFIG);
    ck_assert(span_is(buffer_span(&problems), "t.yaml: clients: found \"x\"; accepted: a whole "
                                              "number from 1 to 10000000\n"));
    buffer_fini(&problems);
}
END_TEST

/* --- files that are refused ------------------------------------------------------------------- */

TEST(problems_name_the_file_and_line)
{
    part_write("a.yaml", "# a comment\nroutes:\n  - {service: none, auth: trust}\n");
    part_write("b.yaml", "clients: many\nrelay: 1\n");
    part_write("c.yaml", "- a\n");
    part_write("d.yaml", "a: [\n");
    part_write("e.yaml", "users: {}\n---\nusers: {}\n");
    refused("include: [a.yaml, b.yaml, c.yaml, d.yaml, e.yaml]\n" LISTEN SERVICES ROUTES
            "relays: 0\n",
            "c.yaml:1:1: found a list; accepted: a mapping\n"
            "d.yaml:2:1: YAML: while parsing a flow node: did not find expected node content\n"
            "e.yaml:3:1: found a second document; accepted: one\n"
            "b.yaml:1:10: clients: found \"many\"; accepted: a whole number from 1 to 10000000\n"
            "b.yaml:2:1: relay: unknown key; did you mean \"relays\"?\n"
            "a.yaml:3:5: warning: routes[1]: never matches: routes[0] in t.yaml:4 takes all its "
            "clients\n"
            "a.yaml:3:15: routes[1].service: there is no service \"none\"; accepted: a key of "
            "services\n"
            "t.yaml:5:9: relays: found \"0\"; accepted: a whole number from 1 to 128, or auto\n");
}
END_TEST

TEST(a_setting_given_twice_names_both_places)
{
    part_write("a.yaml", "clients: 5\nlog: {level: debug}\n"
                         "services:\n  main: {hosts: [h], tls: {mode: disable}}\n");
    refused("include: a.yaml\nclients: 6\nlog: {level: info}\n" LISTEN SERVICES ROUTES,
            "a.yaml:1:1: clients: this key is already set in t.yaml:2\n"
            "a.yaml:2:7: log.level: this key is already set in t.yaml:3\n"
            "a.yaml:4:3: services.main: this name is already used in t.yaml:5\n");
    part_write("b.yaml", "include: []\nlog: {}\ninclude: []\nlog: {}\n");
    refused("include: b.yaml\nlog: {level: info}\n" LISTEN SERVICES ROUTES,
            "b.yaml:3:1: include: this key is already set in line 1\n"
            "b.yaml:4:1: log: this key is already set in t.yaml:2\n");
}
END_TEST

TEST(a_route_that_another_file_hides_is_warned_about_with_its_place)
{
    part_write("a.yaml", "routes: [{database: x, service: main, auth: trust}]\n");
    struct config *config =
        taken("include: a.yaml\n" LISTEN SERVICES ROUTES,
              "a.yaml:1:10: warning: routes[1]: never matches: routes[0] in t.yaml:4 takes all its "
              "clients\n");
    config_unref(&config);
}
END_TEST

TEST(a_path_needs_its_file_and_a_pattern_does_not)
{
    refused("include:\n  - none/*.yaml\n  - none.yaml\n" LISTEN SERVICES ROUTES,
            "t.yaml:3:5: include: cannot read none.yaml: No such file or directory\n");
    part_write("file", "users: {}\n");
    refused("include: [file/*.yaml, \"*/a.yaml\", {a: b}, \"\"]\n" LISTEN SERVICES ROUTES,
            "t.yaml:1:11: include: cannot list file/: Not a directory\n"
            "t.yaml:1:24: include: found \"*/a.yaml\"; accepted: a pattern in the last part of the "
            "path only\n"
            "t.yaml:1:36: include: found a mapping; accepted: a path or a pattern, or a list of "
            "them\n"
            "t.yaml:1:44: include: found \"\"; accepted: a path or a pattern, or a list of them\n");
}
END_TEST

TEST(a_file_is_included_once)
{
    part_write("a.yaml", "include: [b.yaml]\n");
    part_write("b.yaml", "include: [a.yaml, t.yaml]\n");
    refused("include:\n  - a.yaml\n  - b.yaml\n" LISTEN SERVICES ROUTES,
            "b.yaml:1:11: include: a.yaml is already included, in t.yaml:2\n"
            "b.yaml:1:19: include: t.yaml is the main file\n"
            "t.yaml:3:5: include: b.yaml is already included, in a.yaml:1\n");
    /* The same file by another path: the depth ends it. */
    part_write("d", NULL);
    part_write("c.yaml", "include: d/../c.yaml\n");
    struct config *config = load("include: c.yaml\n" LISTEN SERVICES ROUTES);
    ck_assert_ptr_null(config);
    ck_assert_ptr_nonnull(strstr(said, "c.yaml: accepted: a nesting depth of files up to 10\n"));
}
END_TEST

TEST(files_and_bytes_have_a_limit)
{
    char name[48];
    part_write("d", NULL);
    for (unsigned i = 0; i < CONFIG_FILES_MAX - 1; i++) {
        snprintf(name, sizeof(name), "d/%04u.yaml", i);
        part_write(name, "");
    }
    struct config *config = taken("include: d/*\n" LISTEN SERVICES ROUTES, "");
    ck_assert_uint_eq(config->file_count, CONFIG_FILES_MAX);
    config_unref(&config);
    refused(
        "include: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,\n"
        "1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,\n"
        "1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,\n"
        "1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" LISTEN SERVICES ROUTES,
        "t.yaml:1:10: include: found 101 paths; accepted: up to 100\n");
    part_write("d/x.yaml", "");
    refused("include: d/*\n" LISTEN SERVICES ROUTES,
            "t.yaml:1:10: include: d/x.yaml: accepted: a number of files up to 1000\n");

    char *large = malloc(CONFIG_FILE_MAX);
    ck_assert_ptr_nonnull(large);
    memset(large, '#', CONFIG_FILE_MAX);
    file_write("d/x.yaml", large, CONFIG_FILE_MAX);
    free(large);
    refused("include: d/x.yaml\n" LISTEN SERVICES ROUTES,
            "t.yaml:1:10: include: d/x.yaml is too large; accepted: 8 MiB, all files together\n");
}
END_TEST

CONFIG_TESTS("config_include", files_of_a_pattern_are_read_in_the_order_of_their_names,
             paths_and_includes_start_at_the_directory_of_their_file, an_included_file_may_be_empty,
             a_list_that_is_shared_by_an_alias_grows_at_one_place_only,
             an_open_included_file_with_a_secret_is_warned_about, a_value_of_set_has_no_file,
             problems_name_the_file_and_line, a_setting_given_twice_names_both_places,
             a_route_that_another_file_hides_is_warned_about_with_its_place,
             a_path_needs_its_file_and_a_pattern_does_not, a_file_is_included_once,
             files_and_bytes_have_a_limit)
