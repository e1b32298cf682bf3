#include "fleet/target.h"
#include "unit.h"

TEST(targets_have_the_names_of_libpq)
{
    for (enum fleet_target target = TARGET_ANY; target < TARGETS; target++)
        ck_assert_int_eq(target_named(span_text(target_name(target))), target);
    ck_assert_int_eq(target_named(SPAN("default")), TARGETS);
    ck_assert_int_eq(target_named(SPAN("primary ")), TARGETS);
    ck_assert_int_eq(target_named(SPAN("")), TARGETS);
}
END_TEST

/* The columns: a primary, a primary whose sessions begin read-only, a replica. */
TEST(a_target_accepts_the_roles_that_libpq_accepts)
{
    static const struct {
        enum fleet_target target;
        bool fallback, accepts[3];
    } rows[] = {
        {TARGET_DEFAULT, false, {true, true, false}},
        {TARGET_DEFAULT, true, {true, true, true}},
        {TARGET_ANY, false, {true, true, true}},
        {TARGET_READ_WRITE, false, {true, false, false}},
        {TARGET_READ_ONLY, false, {false, true, true}},
        {TARGET_PRIMARY, false, {true, true, false}},
        {TARGET_STANDBY, true, {false, false, true}},
        {TARGET_PREFER_STANDBY, false, {false, false, true}},
        {TARGET_PREFER_STANDBY, true, {true, true, true}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        for (int found = 0; found < 3; found++)
            ck_assert_msg(target_accepts(rows[i].target, found == 2, found == 1,
                                         rows[i].fallback) == rows[i].accepts[found],
                          "%s, backend %d", target_name(rows[i].target), found);
}
END_TEST

TESTS("fleet_target", targets_have_the_names_of_libpq,
      a_target_accepts_the_roles_that_libpq_accepts)
