#include "config_files.h"
#include "instance/config_reader.h"
#include "machine/stream.h"
#include "pooler/auth/hba.h"

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
    made.deep = HBA_DEPTH_MOST;
    ck_assert_uint_eq(hba_problems(), 0);
    made.deep += 1;
    ck_assert_uint_eq(hba_problems(), 1);
    ck_assert_ptr_nonnull(strstr(made.said, "files nest too deep"));
}
END_TEST

TEST(an_hba_file_has_as_many_rules_as_it_may)
{
    made.rules = HBA_RULES_MOST;
    ck_assert_uint_eq(hba_problems(), 0);
    made.rules += 1;
    ck_assert_uint_eq(hba_problems(), 1);
    ck_assert_str_eq(made.said, "more than 100000 rules");
}
END_TEST

TEST(a_line_of_an_hba_file_has_as_many_words_as_it_may)
{
    made.words = HBA_TOKENS_MOST;
    ck_assert_uint_eq(hba_problems(), 0);
    made.words += 1;
    ck_assert_uint_ge(hba_problems(), 1);
}
END_TEST

TEST(an_hba_file_is_as_long_as_it_may_be)
{
    made.rules = 1;
    made.size = HBA_FILE_MOST;
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
    ck_assert_uint_eq(config->relays, RELAYS_MOST);
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
    struct config *config = load_filled(LISTEN SERVICES ROUTES, CONFIG_FILE_MOST);
    ck_assert_str_eq(said, "");
    ck_assert_ptr_nonnull(config);
    config_unref(&config);
    ck_assert_ptr_null(load_filled(LISTEN SERVICES ROUTES, CONFIG_FILE_MOST + 1));
    ck_assert_ptr_nonnull(strstr(said, "cannot read it"));
}
END_TEST

/* --- a fault's story -------------------------------------------------------------------------- */

TEST(a_story_is_as_long_as_it_may_be_and_cut_beyond_that)
{
    char text[FAULT_STORY_MOST + 1];
    memset(text, 'x', sizeof(text));
    text[FAULT_STORY_MOST - 1] = '\0';
    ck_assert_str_eq(fault_story(fault_raise(FAULT_LIMIT, "%s", text)), text);
    memset(text, 'x', sizeof(text));
    text[FAULT_STORY_MOST] = '\0';
    const char *told = fault_story(fault_raise(FAULT_LIMIT, "%s", text));
    ck_assert_uint_eq(strlen(told), FAULT_STORY_MOST - 1);
}
END_TEST

CONFIG_TESTS("limits", hba_files_nest_as_deep_as_they_may, an_hba_file_has_as_many_rules_as_it_may,
             a_line_of_an_hba_file_has_as_many_words_as_it_may, an_hba_file_is_as_long_as_it_may_be,
             there_are_as_many_relays_as_there_may_be, a_configuration_file_is_as_long_as_it_may_be,
             a_story_is_as_long_as_it_may_be_and_cut_beyond_that)
