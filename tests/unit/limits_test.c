#include "config/hba.h"
#include "config_files.h"
#include "instance/config_reader.h"
#include "machine/clock.h"
#include "machine/os.h"
#include "machine/stream.h"
#include "stats/stats.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/*
 * Limits of docs/LIMITS.md that no other test meets from both sides: at the limit all is well, and
 * one beyond it is refused in the way that is written there.
 */

/* --- an HBA file ------------------------------------------------------------------------------ */

static struct {
    size_t size;    /* of the file, filled up with a comment; 0: as it is */
    uint32_t deep;  /* so many files, each within the one before */
    uint32_t words; /* in the list of databases */
    uint32_t rules;
    char said[2048];
    uint32_t problems;
} made;

static int made_read(void *argument UNUSED, const char *path, struct buffer *into)
{
    unsigned number = 0;
    ck_assert_int_eq(sscanf(path, "/d/%u", &number), 1);
    if (number < made.deep) {
        buffer_printf(into, "include /d/%u\n", number + 1);
        return 0;
    }
    for (uint32_t i = 0; i < made.rules; i++)
        buffer_append_text(into, "local a b trust\n");
    if (made.words > 0) {
        buffer_append_text(into, "local ");
        for (uint32_t i = 0; i < made.words; i++)
            buffer_append_text(into, i == 0 ? "a" : ",a");
        buffer_append_text(into, " b trust\n");
    }
    if (made.size > 0) {
        buffer_append_byte(into, '#');
        while (into->size < made.size && buffer_fault(into) == OK)
            buffer_append_byte(into, 'x');
    }
    return buffer_fault(into) == OK ? 0 : -EFBIG;
}

static void made_problem(void *argument UNUSED, const char *file UNUSED, uint32_t line UNUSED,
                         const char *text)
{
    snprintf(made.said, sizeof(made.said), "%s", text);
    made.problems += 1;
}

static uint32_t hba_problems(void)
{
    static const struct hba_reader reader = {.read = made_read, .problem = made_problem};
    struct hba *hba = hba_new();
    ck_assert_ptr_nonnull(hba);
    made.problems = 0;
    made.said[0] = '\0';
    hba_read_rules(hba, "/d/0", &reader);
    hba_free(&hba);
    return made.problems;
}

TEST(hba_files_nest_as_deep_as_they_may)
{
    made.rules = 1;
    made.deep = HBA_DEPTH_MAX;
    ck_assert_uint_eq(hba_problems(), 0);
    made.deep += 1;
    ck_assert_uint_eq(hba_problems(), 1);
    ck_assert_ptr_nonnull(strstr(made.said, "files nest too deep"));
}
END_TEST

TEST(an_hba_file_has_as_many_rules_as_it_may)
{
    made.rules = HBA_RULES_MAX;
    ck_assert_uint_eq(hba_problems(), 0);
    made.rules += 1;
    ck_assert_uint_eq(hba_problems(), 1);
    ck_assert_str_eq(made.said, "more than 100000 rules");
}
END_TEST

TEST(a_line_of_an_hba_file_has_as_many_words_as_it_may)
{
    made.words = HBA_TOKENS_MAX;
    ck_assert_uint_eq(hba_problems(), 0);
    made.words += 1;
    ck_assert_uint_ge(hba_problems(), 1);
}
END_TEST

TEST(an_hba_file_is_as_long_as_it_may_be)
{
    made.rules = 1;
    made.size = HBA_FILE_MAX;
    ck_assert_uint_eq(hba_problems(), 0);
    made.size += 1;
    ck_assert_uint_eq(hba_problems(), 1);
    ck_assert_ptr_nonnull(strstr(made.said, "cannot read"));
}
END_TEST

/* --- the configuration ------------------------------------------------------------------------ */

TEST(there_are_as_many_relays_as_there_may_be)
{
    struct config *config = taken("relays: 128\n" LISTEN SERVICES ROUTES, "");
    ck_assert_uint_eq(config->relays, RELAYS_MAX);
    config_unref(&config);
    ck_assert_ptr_null(load("relays: 129\n" LISTEN SERVICES ROUTES));
    ck_assert_ptr_nonnull(strstr(said, "128"));
}
END_TEST

static struct config *load_filled(const char *text, size_t size)
{
    char *file = malloc(size + 1);
    ck_assert_ptr_nonnull(file);
    memset(file, '\n', size);
    memcpy(file, text, strlen(text));
    file[size] = '\0';
    struct config *config = load(file);
    free(file);
    return config;
}

TEST(a_configuration_file_is_as_long_as_it_may_be)
{
    struct config *config = load_filled(LISTEN SERVICES ROUTES, CONFIG_FILE_MAX);
    ck_assert_str_eq(said, "");
    ck_assert_ptr_nonnull(config);
    config_unref(&config);
    ck_assert_ptr_null(load_filled(LISTEN SERVICES ROUTES, CONFIG_FILE_MAX + 1));
    ck_assert_ptr_nonnull(strstr(said, "cannot read it"));
}
END_TEST

/* One user, and a comment up to this size. */
static void auth_file_of(size_t size)
{
    static const char user[] = "\"ann\" \"secret\"\n#";
    char *file = malloc(size);
    ck_assert_ptr_nonnull(file);
    memset(file, 'x', size);
    memcpy(file, user, sizeof(user) - 1);
    file_write("users.txt", file, size);
    free(file);
}

TEST(an_auth_file_is_as_long_as_it_may_be)
{
    static const char with_users[] = LISTEN SERVICES ROUTES "auth_file: users.txt\n";
    auth_file_of((size_t)64 * 1024 * 1024);
    struct config *config = taken(with_users, "");
    ck_assert_uint_eq(config->secrets.count, 1);
    config_unref(&config);
    auth_file_of((size_t)64 * 1024 * 1024 + 1);
    ck_assert_ptr_null(load(with_users));
    ck_assert_ptr_nonnull(strstr(said, "auth_file: cannot read"));
}
END_TEST

/* --- a command that gives a secret ------------------------------------------------------------ */

static duration command_takes;

/* Instead of a process: ends in its time, or at the deadline. */
static int command_run(const char *const *words UNUSED, deadline by, struct os_output *output)
{
    if (between(now_exact(), by).us < command_takes.us)
        return -ETIMEDOUT;
    memcpy(output->at, "secret\n", 7);
    output->size = 7;
    return 0;
}

TEST(a_command_that_gives_a_secret_has_its_time)
{
    static const char text[] = LISTEN SERVICES
        "routes: [{service: main, auth: trust, server_password: {command: [give]}}]\n";
    struct os *real = (struct os *)(uintptr_t)os, played = *os;
    played.run = command_run;
    os = &played;
    command_takes = ms(9900); /* the clock is the real one: it may stand still for a while */
    struct config *config = taken(text, "");
    ck_assert_str_eq(config->routes[0].server_password, "secret");
    config_unref(&config);
    command_takes = (duration){sec(10).us + 1};
    ck_assert_ptr_null(load(text));
    ck_assert_ptr_nonnull(strstr(said, "the command did not finish within 10s"));
    os = real;
}
END_TEST

/* --- pools that have departed ----------------------------------------------------------------- */

TEST(the_pools_of_so_many_databases_are_remembered)
{
    struct map departed = MAP_INIT(STATS_DEPARTED_MAX);
    struct local_pool_stats one = {.queries = 1};
    char name[16];
    for (unsigned i = 0; i < 10001; i++) {
        snprintf(name, sizeof(name), "d%u", i);
        stats_depart(&departed, name, &one);
        ck_assert_uint_eq(departed.count, i < 10000 ? i + 1 : 10000);
    }
    stats_depart(&departed, "d0", &one);
    stats_depart(&departed, "d9999", &one);
    uint64_t queries = 0;
    for (struct map_link *link = map_next(&departed, NULL); link != NULL;
         link = map_next(&departed, link))
        queries += MAP_ENTRY(link, struct stats_departed, link)->stats.queries;
    ck_assert_uint_eq(queries, 10002);
    stats_departed_clear(&departed);
}
END_TEST

/* --- a fault's detail ------------------------------------------------------------------------- */

TEST(a_story_is_as_long_as_it_may_be_and_cut_beyond_that)
{
    char text[FAULT_STORY_MAX + 1];
    memset(text, 'x', sizeof(text));
    text[FAULT_STORY_MAX - 1] = '\0';
    ck_assert_str_eq(fault_detail(fault_raise(FAULT_LIMIT, "%s", text)), text);
    memset(text, 'x', sizeof(text));
    text[FAULT_STORY_MAX] = '\0';
    const char *told = fault_detail(fault_raise(FAULT_LIMIT, "%s", text));
    ck_assert_uint_eq(strlen(told), FAULT_STORY_MAX - 1);
}
END_TEST

CONFIG_TESTS("limits", hba_files_nest_as_deep_as_they_may, an_hba_file_has_as_many_rules_as_it_may,
             a_line_of_an_hba_file_has_as_many_words_as_it_may, an_hba_file_is_as_long_as_it_may_be,
             there_are_as_many_relays_as_there_may_be, a_configuration_file_is_as_long_as_it_may_be,
             an_auth_file_is_as_long_as_it_may_be, a_command_that_gives_a_secret_has_its_time,
             the_pools_of_so_many_databases_are_remembered,
             a_story_is_as_long_as_it_may_be_and_cut_beyond_that)
