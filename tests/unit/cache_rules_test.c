/* The rules of `cache`: what the file may say, which rule is for a statement, hints in comments. */
#include "config/cache_rules.h"
#include "config_files.h"
#include "query/analysis.h"
#include "query/hint.h"

#define CACHED(rules)                                                                              \
    LISTEN SERVICES "routes:\n"                                                                    \
                    "  - service: main\n"                                                          \
                    "    auth: trust\n"                                                            \
                    "    pool: transaction\n"                                                      \
                    "    cache:\n" rules

/* --- the file --------------------------------------------------------------------------------- */

TEST(rules_are_read_into_their_fields)
{
    struct config *config =
        taken("cache_memory: 8MiB\n" CACHED(
                  "      - match: {text: \"select %\", tables: [t, app.u], functions: [f],\n"
                  "                fingerprint: 00ff00FF00ff0001}\n"
                  "        mode: ttl\n"
                  "        ttl: 5s\n"
                  "        stale: 1s\n"
                  "        max_result: 64KiB\n"
                  "        tag: prices\n"
                  "      - {mode: dedupe}\n"
                  "    cache_hints: yes\n"),
              "");
    const struct cache_config *cache = &config->routes[0].cache;
    ck_assert_uint_eq(config->cache_memory, 8u << 20);
    ck_assert(cache->hints);
    ck_assert_uint_eq(cache->rule_count, 2);
    const struct cache_rule *rule = &cache->rules[0];
    ck_assert_str_eq(rule->match.text, "select %");
    ck_assert_uint_eq(rule->match.table_count, 2);
    ck_assert_str_eq(rule->match.tables[1], "app.u");
    ck_assert_str_eq(rule->match.functions[0], "f");
    ck_assert(rule->match.fingerprint == 0x00ff00ff00ff0001u);
    ck_assert_int_eq(rule->mode, CACHE_TTL);
    ck_assert_int_eq(rule->ttl.us, sec(5).us);
    ck_assert_int_eq(rule->stale.us, sec(1).us);
    ck_assert_uint_eq(rule->result_max, 64u << 10);
    ck_assert_str_eq(rule->tag, "prices");
    ck_assert_int_eq(cache->rules[1].mode, CACHE_DEDUPE);
    ck_assert_uint_eq(cache->rules[1].match.table_count, 0);
    config_unref(&config);
}
END_TEST

TEST(a_mode_that_does_not_exist_is_refused)
{
    refused(CACHED("      - {mode: shadow}\n"
                   "      - {mode: stricter}\n"
                   "      - {tag: x}\n"),
            "t.yaml:8:16: routes[0].cache[0].of: missing; shadow tries another mode: dedupe, ttl "
            "or strict\n"
            "t.yaml:9:9: warning: routes[0].cache[1]: is never used: the rule in front of it "
            "matches every statement\n"
            "t.yaml:9:16: routes[0].cache[1].mode: found \"stricter\"; accepted: off, dedupe, "
            "ttl, strict or shadow\n"
            "t.yaml:10:9: routes[0].cache[2].mode: missing; accepted: off, dedupe, ttl, strict "
            "or shadow\n");
}
END_TEST

TEST(a_shadow_rule_tries_another_mode)
{
    struct config *config = taken(CACHED("      - {mode: shadow, of: dedupe, match: {text: a}}\n"
                                         "      - {mode: shadow, ttl: 5s, stale: 2s}\n"),
                                  "");
    const struct cache_rule *rules = config->routes[0].cache.rules;
    ck_assert_int_eq(rules[0].mode, CACHE_SHADOW);
    ck_assert_int_eq(rules[0].of, CACHE_DEDUPE);
    ck_assert_uint_eq(rules[1].number, 2);
    ck_assert_int_eq(rules[1].of, CACHE_TTL);
    ck_assert_int_eq(rules[1].ttl.us, sec(5).us);
    ck_assert_int_eq(rules[1].stale.us, sec(2).us);
    config_unref(&config);
    refused(CACHED("      - {mode: shadow, of: dedupe, ttl: 5s, match: {text: a}}\n"
                   "      - {mode: ttl, of: ttl, match: {text: b}}\n"
                   "      - {mode: shadow, of: strict, match: {text: c}}\n"
                   "      - {mode: shadow, of: off}\n"),
            "t.yaml:8:41: routes[0].cache[0].ttl: has an effect with mode: ttl or strict only\n"
            "t.yaml:9:25: routes[0].cache[1].of: has an effect with mode: shadow only\n"
            "t.yaml:10:16: routes[0].cache[2].mode: strict needs a feed, which tells of writes: "
            "service \"main\" has no feed_user\n"
            "t.yaml:11:16: routes[0].cache[3].of: missing; shadow tries another mode: dedupe, ttl "
            "or strict\n"
            "t.yaml:11:28: routes[0].cache[3].of: found \"off\"; accepted: none, dedupe, ttl or "
            "strict\n");
}
END_TEST

#define WARM(route)                                                                                \
    LISTEN "services: {main: {hosts: [x], tls: {mode: disable}}}\n"                                \
           "routes:\n"                                                                             \
           "  - {service: main, auth: trust, pool: transaction, " route "}\n"

TEST(statements_to_warm_are_for_a_user)
{
    struct config *config =
        taken(WARM("database: d, cache: [{mode: ttl}], cache_warm_max: 7, cache_warm: "
                   "[{text: select 1, user: u, options: -c TimeZone=UTC}]"),
              "");
    const struct cache_config *cache = &config->routes[0].cache;
    ck_assert(config->warms);
    ck_assert_uint_eq(cache->warm_count, 1);
    ck_assert_str_eq(cache->warms[0].text, "select 1");
    ck_assert_str_eq(cache->warms[0].user, "u");
    ck_assert_ptr_null(cache->warms[0].database);
    ck_assert_str_eq(cache->warms[0].options, "-c TimeZone=UTC");
    ck_assert_uint_eq(cache->warm_max, 7);
    ck_assert_uint_eq(cache->warm_rate, 20);
    config_unref(&config);
    config = taken(WARM("cache: [{mode: ttl}]"), "");
    ck_assert(!config->warms);
    config_unref(&config);
}
END_TEST

TEST(a_statement_to_warm_needs_a_rule_a_user_and_a_database)
{
    refused(WARM("cache_warm: [{text: a, user: u, database: d}]"),
            "t.yaml:4:65: routes[0].cache_warm: has no effect without rules (cache)\n");
    refused(WARM("cache_warm_max: 5"),
            "t.yaml:4:69: routes[0].cache_warm_max: has no effect without rules (cache)\n");
    refused(
        WARM("cache: [{mode: ttl}], cache_warm: [{text: a}, {text: a, user: u}, {user: u, "
             "database: d}, {text: a, user: u, database: d, options: timezone}]"),
        "t.yaml:4:88: routes[0].cache_warm[0].user: missing; the route is for any user\n"
        "t.yaml:4:99: routes[0].cache_warm[1].database: missing; the route is for any database\n"
        "t.yaml:4:119: routes[0].cache_warm[2].text: missing; accepted: a text of 1 to "
        "65535 bytes\n"
        "t.yaml:4:184: routes[0].cache_warm[3].options: found \"timezone\"; accepted: -c "
        "name=value ...\n");
}
END_TEST

TEST(settings_of_a_rule_must_fit_each_other)
{
    refused("cache_memory: 2MiB\n" CACHED(
                "      - {mode: dedupe, match: {text: a}, ttl: 1s, stale: 1s}\n"
                "      - {mode: ttl, match: {fingerprint: 00000000000000g0}}\n"
                "      - {mode: ttl, match: {fingerprint: 1}}\n"
                "      - {mode: ttl, match: {text: b}, max_result: 3MiB, ttl: 0s}\n"),
            "t.yaml:9:47: routes[0].cache[0].ttl: has an effect with mode: ttl or strict only\n"
            "t.yaml:9:58: routes[0].cache[0].stale: has an effect with mode: ttl only\n"
            "t.yaml:10:28: routes[0].cache[1].match.fingerprint: found \"00000000000000g0\"; "
            "accepted: 16 hexadecimal digits, as CACHE EXPLAIN shows them\n"
            "t.yaml:11:28: routes[0].cache[2].match.fingerprint: found \"1\"; accepted: 16 "
            "hexadecimal digits, as CACHE EXPLAIN shows them\n"
            "t.yaml:12:51: routes[0].cache[3].max_result: is larger than cache_memory\n"
            "t.yaml:12:62: routes[0].cache[3].ttl: found \"0s\"; accepted: a duration with its "
            "unit (us, ms, s, min, h, d) from 1ms to 365d\n");
}
END_TEST

/* A service of these settings, and a route with strict rules. */
#define STRICT(service, route, rules)                                                              \
    LISTEN "services: {main: {tls: {mode: disable}, " service "}}\n"                               \
           "routes:\n"                                                                             \
           "  - {service: main, auth: trust, pool: transaction, " route "cache: [" rules "]}\n"
#define WHERE "t.yaml:4:68: routes[0].cache[0].mode: "

TEST(strict_rules_have_a_feed)
{
    struct config *config =
        taken(STRICT("hosts: [x], feed_user: f, feed_password: secret, probe_timeout: 5ms", "",
                     "{mode: strict, match: {text: a}}, {mode: strict, ttl: 5s, match: {text: b}}, "
                     "{mode: ttl}"),
              "");
    const struct service_config *service = &config->services[0];
    const struct cache_rule *rules = config->routes[0].cache.rules;
    ck_assert_str_eq(service->feed.user, "f");
    ck_assert_str_eq(service->feed.password, "secret");
    ck_assert_int_eq(service->feed.probe_timeout.us, ms(5).us);
    ck_assert_int_eq(rules[0].mode, CACHE_STRICT);
    ck_assert_int_eq(rules[0].ttl.us, 0);
    ck_assert_int_eq(rules[0].stale.us, 0);
    ck_assert_int_eq(rules[1].ttl.us, sec(5).us);
    ck_assert_int_eq(rules[2].ttl.us, sec(1).us);
    for (size_t i = 0; i < config->row_count; i++)
        ck_assert_ptr_null(strstr(config->rows[i].value, "secret"));
    config_unref(&config);
    refused(STRICT("hosts: [x]", "", "{mode: off, match: {text: a}}, {mode: strict, stale: 1s}"),
            "t.yaml:4:99: routes[0].cache[1].mode: strict needs a feed, which tells of writes: "
            "service \"main\" has no feed_user\n"
            "t.yaml:4:114: routes[0].cache[1].stale: has an effect with mode: ttl only\n");
}
END_TEST

TEST(a_feed_has_the_plain_password_of_the_auth_file)
{
    static const char text[] =
        LISTEN "services:\n"
               "  a: {hosts: [x], tls: {mode: disable}, feed_user: plain}\n"
               "  b: {hosts: [x], tls: {mode: disable}, feed_user: hashed}\n"
               "  c: {hosts: [x], tls: {mode: disable}, feed_user: plain, feed_password: own}\n"
               "  d: {hosts: [x], tls: {mode: disable}, feed_user: nobody}\n"
               "  e: {hosts: [x], tls: {mode: disable}}\n"
               "routes: [{service: a, auth: trust}]\n"
               "auth_file: users.txt\n";
    static const char users[] = "\"plain\" \"md5 is my word\"\n"
                                "\"hashed\" \"md5aaaaaaaabbbbbbbbccccccccdddddddd\"\n";
    file_write("users.txt", users, strlen(users));
    struct config *config = taken(text, "");
    const struct service_config *services = config->services;
    ck_assert_str_eq(services[0].feed.password, "md5 is my word");
    ck_assert_int_eq(services[0].feed.probe_timeout.us, ms(20).us);
    ck_assert_ptr_null(services[1].feed.password);
    ck_assert_str_eq(services[2].feed.password, "own");
    ck_assert_ptr_null(services[3].feed.password);
    ck_assert_ptr_null(services[4].feed.user);
    ck_assert_ptr_null(services[4].feed.password);
    config_unref(&config);
}
END_TEST

#define FED "feed_user: f, "

TEST(strict_rules_are_for_the_primary)
{
    refused(STRICT(FED "hosts: [x]", "target_session_attrs: any, ", "{mode: strict}"),
            "t.yaml:4:95: routes[0].cache[0].mode: strict needs the primary: target_session_attrs "
            "must be default, read-write or primary\n");
    refused(STRICT(FED "hosts: [x]", "reads: replica, ", "{mode: strict}"),
            "t.yaml:4:84: routes[0].cache[0].mode: strict needs the primary, but reads run on "
            "standbys (reads)\n");
    struct config *config = taken(STRICT(FED "hosts: [x]", "target_session_attrs: primary, ",
                                         "{mode: strict, match: {text: a}}, {mode: dedupe}"),
                                  "");
    const struct route_config *route = &config->routes[0];
    const struct route_config *standby = route_for_target(route, TARGET_STANDBY);
    const struct route_config *writes = route_for_target(route, TARGET_READ_WRITE);
    ck_assert(standby != route && writes != route);
    ck_assert_int_eq(route->cache.rules[0].mode, CACHE_STRICT);
    ck_assert_ptr_eq(writes->cache.rules, route->cache.rules);
    ck_assert_int_eq(standby->cache.rules[0].mode, CACHE_OFF);
    ck_assert_int_eq(standby->cache.rules[1].mode, CACHE_DEDUPE);
    ck_assert_ptr_eq(standby->cache.rules[0].counts, route->cache.rules[0].counts);
    config_unref(&config);
}
END_TEST

TEST(strict_rules_have_one_primary_at_a_time)
{
    static const char spread[] =
        WHERE "strict needs one primary at a time, but service \"main\" uses all of its primaries, "
              "because of a priority, a weight or a zone\n";
    static const char several[] =
        WHERE "strict needs one primary at a time: service \"main\" may have several servers and "
              "no probes (probe.user) that tell which one it is\n";
    refused(STRICT(FED "hosts: [x, y]", "", "{mode: strict}"), several);
    refused(STRICT(FED "resolver: dns, name: x", "", "{mode: strict}"), several);
    refused(STRICT(FED "hosts: [x, y weight=2], probe: {user: p}", "", "{mode: strict}"), spread);
    refused(STRICT(FED "hosts: [x, y priority=1], probe: {user: p}", "", "{mode: strict}"), spread);
    refused(STRICT(FED "hosts: [x, y zone=a], probe: {user: p}", "", "{mode: strict}"), spread);
    refused(STRICT(FED "resolver: srv, name: x, probe: {user: p}", "", "{mode: strict}"), spread);
    struct config *config =
        taken(STRICT(FED "hosts: [x, y], probe: {user: p}", "", "{mode: strict}"), "");
    config_unref(&config);
    config =
        taken(STRICT(FED "resolver: dns, name: x, probe: {user: p}", "", "{mode: strict}"), "");
    config_unref(&config);
}
END_TEST

TEST(a_rule_that_is_never_used_is_warned_about)
{
    struct config *config =
        taken(CACHED("      - {mode: off, match: {tables: [t]}}\n"
                     "      - {mode: dedupe}\n"
                     "      - {mode: ttl}\n"
                     "      - {mode: off}\n"),
              "t.yaml:10:9: warning: routes[0].cache[2]: is never used: the rule in front of it "
              "matches every statement\n");
    config_unref(&config);
}
END_TEST

TEST(session_pools_have_no_cache)
{
    refused(LISTEN SERVICES "routes: [{service: main, auth: trust, cache: [{mode: off}]}]\n",
            "t.yaml:3:46: routes[0].cache: has no effect in session pools: the pool must be "
            "transaction or statement\n");
}
END_TEST

TEST(a_service_with_a_cached_route_is_watched)
{
    struct config *config =
        taken(LISTEN "services:\n"
                     "  main: {hosts: [x], tls: {mode: disable}}\n"
                     "  other: {hosts: [y], tls: {mode: disable}}\n"
                     "routes:\n"
                     "  - {database: a, service: main, auth: trust}\n"
                     "  - {database: b, service: other, auth: trust}\n"
                     "  - {service: main, auth: trust, pool: statement, cache: [{mode: dedupe}]}\n",
              "");
    ck_assert(config->routes[0].is_watched);
    ck_assert(!config->routes[1].is_watched);
    ck_assert(config->routes[2].is_watched);
    config_unref(&config);
}
END_TEST

/* --- the choice ------------------------------------------------------------------------------- */

#define NONE    (-1)
#define UNKNOWN (-2)

/* The number of the rule for a text, without and with its analysis. */
static int chosen(const struct cache_config *cache, const char *text, bool analyzed)
{
    size_t number = 99;
    struct query_analysis *analysis = NULL;
    if (analyzed)
        ck_assert_int_eq(query_analyze(span_text(text), &analysis), OK);
    enum cache_choice choice = cache_rules_choose(cache, span_text(text), analysis, &number);
    query_analysis_free(&analysis);
    ck_assert(choice != CACHE_CHOICE_UNKNOWN || !analyzed);
    ck_assert(choice == CACHE_CHOICE_RULE || number == 99);
    return choice == CACHE_CHOICE_RULE ? (int)number : choice == CACHE_CHOICE_NONE ? NONE : UNKNOWN;
}

static void chooses(const struct cache_config *cache, const char *text, int plain, int analyzed)
{
    ck_assert_msg(chosen(cache, text, false) == plain, "%s: %d", text, chosen(cache, text, false));
    ck_assert_msg(chosen(cache, text, true) == analyzed, "%s: %d", text, chosen(cache, text, true));
}

TEST(the_first_rule_that_matches_is_chosen)
{
    struct config *config =
        taken(CACHED("      - {mode: off, match: {text: \"select 1%\"}}\n"
                     "      - {mode: dedupe, match: {text: \"select%\", tables: [t, app.u]}}\n"
                     "      - {mode: ttl, match: {functions: [f, app.g]}}\n"
                     "      - {mode: ttl, match: {text: \"values%\"}}\n"),
              "");
    const struct cache_config *cache = &config->routes[0].cache;
    chooses(cache, "select 1 from t", 0, 0);
    chooses(cache, "select 2 from t", UNKNOWN, 1);
    chooses(cache, "select 2 from \"t\" x join y using (a)", UNKNOWN, 1);
    chooses(cache, "select 2 from other.t", UNKNOWN, 1);
    chooses(cache, "select 2 from u", UNKNOWN, NONE);
    chooses(cache, "select 2 from app.u", UNKNOWN, 1);
    chooses(cache, "select 2 from public.u", UNKNOWN, NONE);
    chooses(cache, "select f(2) from v", UNKNOWN, 2);
    chooses(cache, "select g(2) from v", UNKNOWN, NONE);
    chooses(cache, "select app.g(2) from v", UNKNOWN, 2);
    chooses(cache, "with t as (select 1) select 2 from t", UNKNOWN, NONE);
    chooses(cache, "values (1)", UNKNOWN, 3);
    chooses(cache, "VALUES (1)", UNKNOWN, NONE);
    chooses(cache, "select from from t", UNKNOWN, NONE);
    config_unref(&config);
}
END_TEST

TEST(texts_are_matched_as_a_whole)
{
    struct config *config =
        taken(CACHED("      - {mode: dedupe, match: {text: \"select a_b\\\\_c\"}}\n"
                     "      - {mode: dedupe, match: {text: \"%prices%\"}}\n"),
              "");
    const struct cache_config *cache = &config->routes[0].cache;
    chooses(cache, "select axb_c", 0, 0);
    chooses(cache, "select axbxc", NONE, NONE);
    chooses(cache, "select axb_c ", NONE, NONE);
    chooses(cache, "select * from prices where x", 1, 1);
    chooses(cache, "prices", 1, 1);
    config_unref(&config);
}
END_TEST

TEST(a_fingerprint_stands_for_texts_that_differ_in_literals)
{
    struct query_analysis *analysis;
    char rules[256];
    ck_assert_int_eq(query_analyze(SPAN("select a from t where b = 1"), &analysis), OK);
    snprintf(rules, sizeof(rules),
             CACHED("      - {mode: dedupe, match: {fingerprint: \"%016llx\"}}\n"),
             (unsigned long long)analysis->fingerprint);
    query_analysis_free(&analysis);
    struct config *config = taken(rules, "");
    const struct cache_config *cache = &config->routes[0].cache;
    chooses(cache, "SELECT a FROM t WHERE b = 'x'", UNKNOWN, 0);
    chooses(cache, "select a from t where c = 1", UNKNOWN, NONE);
    chooses(cache, "", UNKNOWN, NONE);
    config_unref(&config);
}
END_TEST

TEST(what_a_rule_matches_has_a_text)
{
    struct buffer out = BUFFER_INIT(4096);
    const char *tables[] = {"t", "app.u"};
    struct cache_match match = {.text = "a%", .tables = tables, .table_count = 2};
    cache_rules_write_match(&match, &out);
    ck_assert(span_is(buffer_span(&out), "text=a% tables=t,app.u"));
    buffer_clear(&out);
    cache_rules_write_match(&(struct cache_match){.fingerprint_text = "x", .fingerprint = 255},
                            &out);
    ck_assert(span_is(buffer_span(&out), "fingerprint=00000000000000ff"));
    buffer_clear(&out);
    cache_rules_write_match(&(struct cache_match){0}, &out);
    ck_assert(span_is(buffer_span(&out), "all"));
    buffer_fini(&out);
    ck_assert_str_eq(cache_rules_mode_text(CACHE_OFF), "off");
    ck_assert_str_eq(cache_rules_mode_text(CACHE_TTL), "ttl");
}
END_TEST

/* --- hints ------------------------------------------------------------------------------------ */

static struct cache_rule hinted(const char *text)
{
    struct cache_rule rule = {.mode = CACHE_DEDUPE, .ttl = sec(1), .tag = "kept"};
    cache_rules_hint(span_text(text), &rule);
    ck_assert_str_eq(rule.tag, "kept");
    return rule;
}

static void hints_mode(const char *text, enum cache_mode mode)
{
    ck_assert_msg(hinted(text).mode == mode, "%s", text);
}

TEST(a_hint_stands_in_a_comment_in_front_or_behind)
{
    hints_mode("/* trunkline: off */ select 1", CACHE_OFF);
    hints_mode("select 1 /* trunkline: off */", CACHE_OFF);
    hints_mode("select 1; /*trunkline:off*/ ;", CACHE_OFF);
    hints_mode("-- trunkline: off\nselect 1", CACHE_OFF);
    hints_mode("select 1 -- trunkline: off", CACHE_OFF);
    hints_mode("/* a */ /* trunkline: off */ select 1", CACHE_OFF);
    hints_mode("/* trunkline: replica */ select 1 /* trunkline: off */", CACHE_OFF);
    hints_mode("/* trunkline: replica, off */ select 1", CACHE_OFF);
    hints_mode("/* trunkline: off", CACHE_OFF);
}
END_TEST

TEST(what_is_no_comment_at_the_edge_is_no_hint)
{
    hints_mode("select /* trunkline: off */ 1", CACHE_DEDUPE);
    hints_mode("select '/* trunkline: off */'", CACHE_DEDUPE);
    hints_mode("select 1 as \"/* trunkline: off */\"", CACHE_DEDUPE);
    hints_mode("select 1 /* see trunkline: off */", CACHE_DEDUPE);
    hints_mode("/* /* trunkline: off */ */ select 1", CACHE_DEDUPE);
    hints_mode("/* trunkline: */ select 1", CACHE_DEDUPE);
    hints_mode("/* trunkline off */ select 1", CACHE_DEDUPE);
    hints_mode("/* trunkline: offer */ select 1", CACHE_DEDUPE);
    hints_mode("/* trunkline: strict */ select 1", CACHE_DEDUPE);
    hints_mode("/* trunkline: ttl=5 */ select 1", CACHE_DEDUPE);
    hints_mode("/* trunkline: ttl=-5s */ select 1", CACHE_DEDUPE);
    hints_mode("/* trunkline: ttl=2000d */ select 1", CACHE_DEDUPE);
    hints_mode("", CACHE_DEDUPE);
}
END_TEST

TEST(a_hint_has_a_mode_and_a_ttl)
{
    hints_mode("/* trunkline: dedupe */ select 1", CACHE_DEDUPE);
    struct cache_rule rule = hinted("select 1 /* trunkline: ttl=250ms */");
    ck_assert_int_eq(rule.mode, CACHE_TTL);
    ck_assert_int_eq(rule.ttl.us, ms(250).us);
    hints_mode("/* trunkline: ttl=5s off */ select 1", CACHE_OFF);
    hints_mode("/* trunkline: off */ select 1 /* trunkline: ttl=5s */", CACHE_TTL);
}
END_TEST

TEST(a_hint_changes_what_a_shadow_rule_tries)
{
    static const char *const texts[] = {
        "/* trunkline: ttl=5s */ select 1",
        "/* trunkline: off ttl=5s */ select 1",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct cache_rule rule = {.mode = CACHE_SHADOW, .of = CACHE_STRICT};
        cache_rules_hint(span_text(texts[i]), &rule);
        ck_assert_int_eq(rule.mode, CACHE_SHADOW);
        ck_assert_int_eq(rule.of, CACHE_TTL);
    }
    struct cache_rule rule = {.mode = CACHE_SHADOW, .of = CACHE_STRICT};
    cache_rules_hint(SPAN("/* trunkline: ttl=5s off */ select 1"), &rule);
    ck_assert_int_eq(rule.mode, CACHE_OFF);
}
END_TEST

TEST(further_hints_mean_nothing)
{
    struct span hints[QUERY_HINTS_MAX];
    struct buffer text = BUFFER_INIT(4096);
    for (unsigned i = 1; i < QUERY_HINTS_MAX; i++)
        buffer_append_text(&text, "/* trunkline: replica */");
    buffer_append_text(&text, "/* trunkline: off */ select 1");
    buffer_append_byte(&text, '\0');
    ck_assert_uint_eq(query_hints(buffer_span(&text), hints), QUERY_HINTS_MAX);
    hints_mode((const char *)text.at, CACHE_OFF);
    text.size -= 1;
    buffer_append_text(&text, " /* trunkline: ttl=5s */");
    buffer_append_byte(&text, '\0');
    ck_assert_uint_eq(query_hints(buffer_span(&text), hints), QUERY_HINTS_MAX);
    hints_mode((const char *)text.at, CACHE_OFF);
    buffer_fini(&text);
}
END_TEST

CONFIG_TESTS("cache_rules", statements_to_warm_are_for_a_user,
             a_statement_to_warm_needs_a_rule_a_user_and_a_database,
             rules_are_read_into_their_fields, a_mode_that_does_not_exist_is_refused,
             a_shadow_rule_tries_another_mode, a_hint_changes_what_a_shadow_rule_tries,
             settings_of_a_rule_must_fit_each_other, strict_rules_have_a_feed,
             a_feed_has_the_plain_password_of_the_auth_file, strict_rules_are_for_the_primary,
             strict_rules_have_one_primary_at_a_time, a_rule_that_is_never_used_is_warned_about,
             session_pools_have_no_cache, a_service_with_a_cached_route_is_watched,
             the_first_rule_that_matches_is_chosen, texts_are_matched_as_a_whole,
             a_fingerprint_stands_for_texts_that_differ_in_literals, what_a_rule_matches_has_a_text,
             a_hint_stands_in_a_comment_in_front_or_behind,
             what_is_no_comment_at_the_edge_is_no_hint, a_hint_has_a_mode_and_a_ttl,
             further_hints_mean_nothing)
