#pragma once
/*
 * unit.h - the part of Check that the unit tests use.
 *
 * TEST(a_sentence) { ... }, then TESTS("module", a_sentence, ...) as the file's main().
 */
#include <check.h>
#include <stdlib.h>

#define TEST(name) START_TEST(name)

/* Runs the tests, each between `setup` and `teardown` (NULL: none); returns the exit status. */
static inline int unit_run(const char *module, const TTest *const *tests, void (*setup)(void),
                           void (*teardown)(void))
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

#define TESTS(module, ...)                                                                         \
    int main(void)                                                                                 \
    {                                                                                              \
        const TTest *const tests[] = {__VA_ARGS__, NULL};                                          \
        return unit_run(module, tests, NULL, NULL);                                                \
    }
