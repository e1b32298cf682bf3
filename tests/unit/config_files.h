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

/* Files and directories that the test made, other than t.yaml and users.txt. */
static char parts[2048][48];
static size_t part_count;

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
    while (part_count > 0)
        ck_assert_int_eq(remove(parts[--part_count]), 0);
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

/* Makes a file that an `include` names, or with NULL a directory. */
static inline void part_write(const char *name, const char *text)
{
    ck_assert_uint_lt(part_count, ARRAY_SIZE(parts));
    snprintf(parts[part_count++], sizeof(parts[0]), "%s", name);
    if (text != NULL)
        file_write(name, text, strlen(text));
    else
        ck_assert_int_eq(mkdir(name, 0700), 0);
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

#define CONFIG_TESTS(module, ...)                                                                  \
    int main(void)                                                                                 \
    {                                                                                              \
        const TTest *const tests[] = {__VA_ARGS__, NULL};                                          \
        return unit_run(module, tests, setup, teardown);                                           \
    }
