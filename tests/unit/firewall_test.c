/* The firewall of a route: what the file may say, and which rule denies a statement. */
#include "config/firewall.h"
#include "config_files.h"
#include "query/outline.h"

#define WALLED(rules)                                                                              \
    LISTEN SERVICES "routes:\n"                                                                    \
                    "  - service: main\n"                                                          \
                    "    auth: trust\n"                                                            \
                    "    firewall:\n" rules

/* --- the file --------------------------------------------------------------------------------- */

TEST(a_route_has_no_firewall_unless_it_says_so)
{
    struct config *config = taken(WALLED("      {}\n"), "");
    ck_assert_int_eq(config->routes[0].firewall.mode, FIREWALL_OFF);
    ck_assert(!config->routes[0].is_examined);
    config_unref(&config);
}
END_TEST

TEST(rules_are_read_into_their_fields)
{
    struct config *config =
        taken(WALLED("      mode: enforce\n"
                     "      without_where: no\n"
                     "      deny:\n"
                     "        - {name: a, verbs: [drop, alter], tables: [t, s.u]}\n"
                     "      allow:\n"
                     "        - {name: b, functions: [f], fingerprints: [00ff00FF00ff0001]}\n"),
              "");
    const struct firewall_config *firewall = &config->routes[0].firewall;
    ck_assert_int_eq(firewall->mode, FIREWALL_ENFORCE);
    ck_assert(firewall->allows_several && !firewall->allows_no_where && !firewall->allows_unparsed);
    ck_assert(config->routes[0].is_examined);
    ck_assert_uint_eq(firewall->deny_count, 1);
    ck_assert_str_eq(firewall->denies[0].name, "a");
    ck_assert(firewall->denies[0].verbs ==
              (UINT64_C(1) << QUERY_VERB_DROP | UINT64_C(1) << QUERY_VERB_ALTER));
    ck_assert_str_eq(firewall->denies[0].tables[1], "s.u");
    ck_assert_uint_eq(firewall->allow_count, 1);
    ck_assert(firewall->allows[0].fingerprints[0] == 0x00ff00ff00ff0001u);
    config_unref(&config);
}
END_TEST

TEST(what_is_wrong_is_named)
{
    refused(WALLED("      mode: strict\n"
                   "      deny:\n"
                   "        - {name: a, verbs: [delete, remove]}\n"
                   "        - {name: a}\n"
                   "      allow:\n"
                   "        - {fingerprints: [12]}\n"),
            "t.yaml:7:7: warning: routes[0].firewall: has no effect: mode is off\n"
            "t.yaml:7:13: routes[0].firewall.mode: found \"strict\"; accepted: off, learn, warn or "
            "enforce\n"
            "t.yaml:9:37: routes[0].firewall.deny[0].verbs[1]: found \"remove\"; accepted: a verb "
            "such as select, delete or copy\n"
            "t.yaml:10:11: routes[0].firewall.deny[1]: matches every statement; it needs verbs, "
            "tables, functions or fingerprints\n"
            "t.yaml:10:11: routes[0].firewall.deny[1]: another rule is named \"a\", too\n"
            "t.yaml:12:11: routes[0].firewall.allow[0].name: missing; accepted: a text of 1 to 63 "
            "bytes\n"
            "t.yaml:12:27: routes[0].firewall.allow[0].fingerprints[0]: found \"12\"; accepted: 16 "
            "hexadecimal digits, as SHOW FIREWALL_STATEMENTS shows them\n");
}
END_TEST

TEST(rules_without_a_mode_have_a_warning)
{
    struct config *config = taken(WALLED("      deny: [{name: a, verbs: [drop]}]\n"),
                                  "t.yaml:7:7: warning: routes[0].firewall: has no effect: mode is "
                                  "off\n");
    config_unref(&config);
}
END_TEST

/* --- the judge -------------------------------------------------------------------------------- */

static const char *verdict_of(const struct firewall_config *firewall, const char *text)
{
    struct query_outline *outline = NULL;
    ck_assert_int_eq(query_outline_new(span_text(text), &outline), OK);
    struct firewall_verdict verdict = firewall_judge(firewall, outline);
    query_outline_unref(&outline);
    return verdict.reason == FIREWALL_ALLOWED && verdict.rule == NULL
               ? "allowed"
               : firewall_verdict_name(verdict);
}

static void check(const struct firewall_config *firewall, const char *text, const char *expected)
{
    const char *is = verdict_of(firewall, text);
    ck_assert_msg(strcmp(is, expected) == 0, "%s\n  is       %s\n  expected %s", text, is,
                  expected);
}

TEST(deny_rules_match_what_has_something_of_each_list)
{
    struct config *config =
        taken(WALLED("      mode: enforce\n"
                     "      deny:\n"
                     "        - {name: writes, verbs: [update, delete], tables: [log]}\n"
                     "        - {name: far, tables: [s.far]}\n"
                     "        - {name: calls, functions: [pg_sleep, x.f]}\n"),
              "");
    const struct firewall_config *firewall = &config->routes[0].firewall;
    check(firewall, "select * from log", "allowed");
    check(firewall, "delete from other", "allowed");
    check(firewall, "delete from log", "writes");
    check(firewall, "delete from x.log where true", "writes");
    check(firewall, "delete from other using log", "writes");
    check(firewall, "insert into log values (1) on conflict (a) do update set a = 1", "writes");
    check(firewall, "merge into log using b on true when matched then update set a = 1", "writes");
    check(firewall, "merge into log using b on true when not matched then insert values (1)",
          "allowed");
    check(firewall, "select * from far", "far");
    check(firewall, "select * from s.far", "far");
    check(firewall, "select * from t.far", "allowed");
    check(firewall, "select pg_catalog.pg_sleep(1)", "calls");
    check(firewall, "select f()", "calls");
    check(firewall, "select y.f()", "allowed");
    check(firewall, "", "allowed");
    config_unref(&config);
}
END_TEST

TEST(allow_rules_match_what_has_nothing_else)
{
    struct config *config = taken(
        WALLED("      mode: enforce\n"
               "      deny: [{name: never, tables: [secret]}]\n"
               "      allow:\n"
               "        - {name: reads, verbs: [select], tables: [a, s.b, secret]}\n"
               "        - {name: calls, verbs: [select], tables: [c], functions: [f, s.g]}\n"),
        "");
    const struct firewall_config *firewall = &config->routes[0].firewall;
    check(firewall, "select * from a, s.b", "reads");
    check(firewall, "begin; select * from a; commit", "reads");
    check(firewall, "select * from s.a", "allow");
    check(firewall, "select * from b", "allow");
    check(firewall, "select * from a, d", "allow");
    check(firewall, "select * from secret", "never");
    check(firewall, "update a set x = 1", "allow");
    check(firewall, "select f(1), s.g(2) from c", "calls");
    check(firewall, "select g(2) from c", "allow");
    check(firewall, "rollback", "reads");
    check(firewall, "prepare transaction 'x'", "allow");
    config_unref(&config);
}
END_TEST

TEST(a_fingerprint_does_not_stand_for_a_body)
{
    struct query_outline *outline = NULL;
    uint64_t fingerprints[2];
    struct firewall_rule rule = {.name = "known", .fingerprints = fingerprints};
    struct firewall_config firewall = {
        .allows_several = true, .allows_no_where = true, .allows = &rule, .allow_count = 1};
    const char *texts[] = {"do 'begin end'", "select 1"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        ck_assert_int_eq(query_outline_new(span_text(texts[i]), &outline), OK);
        fingerprints[rule.fingerprint_count++] = outline->fingerprint;
        query_outline_unref(&outline);
    }
    check(&firewall, "select 2", "known");
    check(&firewall, "do 'begin delete from a; end'", "allow");
    rule.verbs = UINT64_C(1) << QUERY_VERB_DO;
    rule.verb_count = 1;
    check(&firewall, "do 'begin delete from a; end'", "known");
    check(&firewall, "select 2", "allow");
}
END_TEST

TEST(settings_decide_what_no_rule_does)
{
    struct config *config = taken(WALLED("      mode: enforce\n"
                                         "      multi_statement: no\n"
                                         "      without_where: no\n"
                                         "      deny: [{name: drops, verbs: [drop]}]\n"),
                                  "");
    struct firewall_config firewall = config->routes[0].firewall;
    check(&firewall, "select 1; drop table a", "drops");
    check(&firewall, "select 1; select 2", "multi_statement");
    check(&firewall, "update a set x = 1", "without_where");
    check(&firewall, "not sql", "unparsed");
    check(&firewall, "execute p", "unparsed");
    ck_assert_int_eq(firewall_judge(&firewall, NULL).reason, FIREWALL_UNPARSED);
    ck_assert_int_eq(firewall_judge_call(&firewall).reason, FIREWALL_UNPARSED);
    firewall.allows_unparsed = true;
    check(&firewall, "not sql", "allowed");
    check(&firewall, "explain execute p", "allowed");
    check(&firewall, "explain execute p; drop table a", "drops");
    ck_assert_int_eq(firewall_judge(&firewall, NULL).reason, FIREWALL_ALLOWED);
    ck_assert_int_eq(firewall_judge_call(&firewall).reason, FIREWALL_ALLOWED);
    config_unref(&config);
}
END_TEST

TEST(what_names_more_than_the_lists_hold_is_not_parsed)
{
    char text[4096] = "select * from t0";
    struct config *config =
        taken(WALLED("      {mode: enforce, deny: [{name: a, tables: [t199]}]}\n"), "");
    for (unsigned i = 1; i < 200; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), ", t%u", i);
    check(&config->routes[0].firewall, text, "unparsed");
    config_unref(&config);
}
END_TEST

TEST(verdicts_are_counted_where_they_belong)
{
    struct config *config =
        taken(WALLED("      {mode: enforce, deny: [{name: a, verbs: [drop]}]}\n"), "");
    const struct firewall_config *firewall = &config->routes[0].firewall;
    struct firewall_verdict by_rule = {FIREWALL_RULE, &firewall->denies[0]};
    firewall_count(firewall, by_rule, 7, true, 100);
    firewall_count(firewall, by_rule, 8, false, 200);
    firewall_count(firewall, (struct firewall_verdict){FIREWALL_SEVERAL, NULL}, 9, true, 300);
    ck_assert_uint_eq(firewall->denies[0].counts->hits, 2);
    ck_assert_uint_eq(firewall->denies[0].counts->denied, 1);
    ck_assert_uint_eq(firewall->denies[0].counts->last_fingerprint, 8);
    ck_assert_uint_eq(firewall->counts[FIREWALL_SEVERAL].denied, 1);
    ck_assert_int_eq(firewall->counts[FIREWALL_SEVERAL].last, 300);
    config_unref(&config);
}
END_TEST

CONFIG_TESTS("firewall", a_route_has_no_firewall_unless_it_says_so,
             rules_are_read_into_their_fields, what_is_wrong_is_named,
             rules_without_a_mode_have_a_warning, deny_rules_match_what_has_something_of_each_list,
             allow_rules_match_what_has_nothing_else, a_fingerprint_does_not_stand_for_a_body,
             settings_decide_what_no_rule_does, what_names_more_than_the_lists_hold_is_not_parsed,
             verdicts_are_counted_where_they_belong)
