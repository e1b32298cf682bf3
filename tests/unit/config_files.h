#pragma once
/*
 * config_files.h - configuration files for a test: written, loaded, and what was said about them.
 *
 * Each test (a process of its own) works in a directory of its own.
 */
#include "instance/config_load.h"
#include "unit.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTEN   "listen: [{host: 127.0.0.1, port: 6432}]\n"
#define SERVICES "services: {main: {hosts: [\"127.0.0.1:5432\"], tls: {mode: disable}}}\n"
#define ROUTES   "routes: [{service: main, auth: trust}]\n"

/* A directory of its own for each test (Check forks), and what the last load said. */
static char said[16384];

static void setup(void)
{
    char here[] = "/tmp/trunkline-config-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(here));
    ck_assert_int_eq(chdir(here), 0);
}

static void teardown(void)
{
    char here[256];
    ck_assert_ptr_nonnull(getcwd(here, sizeof(here)));
    unlink("t.yaml");
    unlink("users.txt");
    ck_assert_int_eq(rmdir(here), 0);
}

static void file_write(const char *name, const char *text, size_t size)
{
    FILE *file = fopen(name, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(chmod(name, 0600), 0);
}

static struct config *load(const char *text)
{
    struct config *config = NULL;
    struct buffer problems = BUFFER_INIT(sizeof(said) - 1);
    file_write("t.yaml", text, strlen(text));
    fault loaded = config_load("t.yaml", 7, &config, &problems);
    memcpy(said, problems.at != NULL ? problems.at : (const uint8_t *)"", problems.size);
    said[problems.size] = '\0';
    buffer_fini(&problems);
    ck_assert((loaded == OK) == (config != NULL));
    ck_assert(loaded == OK || loaded == FAULT_CONFIG);
    return config;
}

/* The file is refused with exactly these lines. */
static inline void refused(const char *text, const char *problems)
{
    struct config *config = load(text);
    ck_assert_ptr_null(config);
    ck_assert_str_eq(said, problems);
}

/* The file is taken, with exactly these warnings. */
static inline struct config *taken(const char *text, const char *warnings)
{
    struct config *config = load(text);
    ck_assert_str_eq(said, warnings);
    ck_assert_ptr_nonnull(config);
    return config;
}

static inline int config_run(const char *module, const TTest *const *tests)
{
    Suite *suite = suite_create(module);
    TCase *group = tcase_create(module);
    tcase_set_timeout(group, 60);
    tcase_add_checked_fixture(group, setup, teardown);
    for (; *tests != NULL; tests++)
        tcase_add_test(group, *tests);
    suite_add_tcase(suite, group);
    SRunner *runner = srunner_create(suite);
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define CONFIG_TESTS(module, ...)                                                                  \
    int main(void)                                                                                 \
    {                                                                                              \
        const TTest *const tests[] = {__VA_ARGS__, NULL};                                          \
        return config_run(module, tests);                                                          \
    }
