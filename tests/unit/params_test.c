#include "session/params.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static struct params_store store;

static void begin(void)
{
    ck_assert_int_eq(params_store_init(&store), OK);
}

static void end(void)
{
    params_store_fini(&store); /* proves that no set is left */
}

/* The set of "name=value,name=value". */
static struct params *set_of(const char *text)
{
    struct param all[PARAMS_MAX];
    size_t count = 0;
    while (*text != '\0') {
        const char *equals = strchr(text, '=');
        const char *stop = strchrnul(equals, ',');
        all[count].name = span_of(text, (size_t)(equals - text));
        all[count++].value = span_of(equals + 1, (size_t)(stop - equals) - 1);
        text = *stop == ',' ? stop + 1 : stop;
    }
    struct params *set = NULL;
    ck_assert_int_eq(params_intern(&store, all, count, &set), OK);
    return set;
}

/* --- sets ------------------------------------------------------------------------------------- */

TEST(equal_sets_are_one_set_whatever_the_order_and_the_case_of_names)
{
    begin();
    struct params *a = set_of("DateStyle=ISO,work_mem=4MB");
    struct params *b = set_of("Work_Mem=4MB,datestyle=ISO");
    struct params *c = set_of("work_mem=4mb,datestyle=ISO");
    ck_assert_ptr_eq(a, b);
    ck_assert_ptr_ne(a, c); /* values are compared as they are */
    ck_assert_uint_eq(a->references, 2);
    params_unref(&a);
    ck_assert_ptr_null(a);
    params_unref(&b);
    params_unref(&c);
    params_unref(&c);
    ck_assert_uint_eq(store.sets.count, 1);
    end();
}
END_TEST

/* --- digests ---------------------------------------------------------------------------------- */

static bool same_answers(const char *one, const char *other)
{
    begin();
    struct params *a = set_of(one), *b = set_of(other);
    bool same = digest_equal(&a->answer, &b->answer);
    params_unref(&a);
    params_unref(&b);
    end();
    return same;
}

TEST(no_answer_depends_on_limits_and_idle_times)
{
    ck_assert(same_answers("", "application_name=x"));
    ck_assert(same_answers("", "idle_in_transaction_session_timeout=1s,tcp_user_timeout=5"));
    ck_assert(same_answers("statement_timeout=1s", "Statement_Timeout=0"));
    ck_assert(same_answers("statement_timeout=7", "statement_timeout=24d"));
    ck_assert(!same_answers("statement_timeout=1s", ""));
    ck_assert(!same_answers("statement_timeout=1s", "statement_timeout=0x10"));
    ck_assert(!same_answers("statement_timeout=0x11", "statement_timeout=0x10"));
    ck_assert(!same_answers("lock_timeout=1s", "lock_timeout=2s"));
    ck_assert(!same_answers("DateStyle=ISO", "DateStyle=German"));
}
END_TEST

TEST(a_statement_timeout_is_read_as_postgresql_reads_it)
{
    static const struct {
        const char *set;
        int64_t ms; /* -1: it is not read; 0: there is no limit */
    } cases[] = {
        {"", -1},
        {"statement_timeout=0", 0},
        {"statement_timeout=0s", 0},
        {"statement_timeout=250", 250},
        {"statement_timeout=250ms", 250},
        {"statement_timeout=5s", 5000},
        {"statement_timeout=2min", 120000},
        {"statement_timeout=1h", 3600000},
        {"statement_timeout=24d", 2073600000},
        {"statement_timeout=2147483647", 2147483647},
        {"statement_timeout=2147483648", -1}, /* PostgreSQL refuses it */
        {"statement_timeout=25d", -1},
        {"statement_timeout=010", -1}, /* octal */
        {"statement_timeout=0x10", -1},
        {"statement_timeout=1.5s", -1},
        {"statement_timeout=1000us", -1},
        {"statement_timeout=-1", -1},
        {"statement_timeout=5 s", -1},
        {"statement_timeout=s", -1},
        {"statement_timeout=12345678901", -1},
    };
    begin();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct params *set = set_of(cases[i].set), *unlimited = NULL;
        ck_assert_int_eq(set->limited, cases[i].ms >= 0);
        ck_assert_int_eq(set->limit.us, cases[i].ms > 0 ? cases[i].ms * 1000 : NO_LIMIT.us);
        ck_assert_int_eq(params_unlimited(set, &unlimited), OK);
        if (set->limited)
            ck_assert(span_is(*params_find(unlimited, SPAN("statement_timeout")), "0"));
        else
            ck_assert_ptr_eq(unlimited, set);
        params_unref(&unlimited);
        params_unref(&set);
    }
    end();
}
END_TEST

TEST(the_empty_set_is_there_once)
{
    begin();
    struct params *none = set_of("");
    ck_assert_ptr_eq(none, store.none);
    ck_assert_uint_eq(none->count, 0);
    params_unref(&none);
    end();
}
END_TEST

TEST(of_equal_names_the_last_wins)
{
    begin();
    struct params *a = set_of("a=1,b=2,A=3,a=4");
    ck_assert_uint_eq(a->count, 2);
    ck_assert(span_is(*params_find(a, SPAN("A")), "4"));
    ck_assert(span_is(*params_find(a, SPAN("b")), "2"));
    ck_assert_ptr_null(params_find(a, SPAN("c")));
    ck_assert_ptr_null(params_find(a, SPAN("")));
    params_unref(&a);
    end();
}
END_TEST

TEST(names_of_which_one_begins_the_other_are_two)
{
    begin();
    struct params *a = set_of("work=1,work_mem=2,wor=3");
    ck_assert_uint_eq(a->count, 3);
    ck_assert(span_is(*params_find(a, SPAN("work")), "1"));
    ck_assert(span_is(*params_find(a, SPAN("wor")), "3"));
    params_unref(&a);
    end();
}
END_TEST

TEST(a_set_with_one_change_leads_back_to_the_same_set)
{
    begin();
    struct params *a = set_of("a=1,b=2"), *b, *c, *d;
    struct span three = SPAN("3"), one = SPAN("1");
    ck_assert_int_eq(params_with(a, SPAN("A"), &three, &b), OK);
    ck_assert(span_is(*params_find(b, SPAN("a")), "3"));
    ck_assert(span_is(*params_find(a, SPAN("a")), "1"));
    ck_assert_int_eq(params_with(b, SPAN("a"), &one, &c), OK);
    ck_assert_ptr_eq(a, c);
    ck_assert_int_eq(params_with(a, SPAN("b"), NULL, &d), OK);
    ck_assert_uint_eq(d->count, 1);
    params_assign(&d, params_ref(a));
    params_assign(&c, NULL);
    ck_assert_ptr_null(c);
    params_unref(&a);
    params_unref(&b);
    params_unref(&d);
    end();
}
END_TEST

TEST(a_set_owns_its_bytes)
{
    begin();
    char name[] = "name", value[] = "value";
    struct param param = {span_text(name), span_text(value)};
    struct params *set;
    ck_assert_int_eq(params_intern(&store, &param, 1, &set), OK);
    memset(name, 'x', 4);
    memset(value, 'x', 5);
    ck_assert(span_is(*params_find(set, SPAN("name")), "value"));
    params_unref(&set);
    end();
}
END_TEST

/* --- limits ----------------------------------------------------------------------------------- */

TEST(more_parameters_than_the_limit_are_refused)
{
    begin();
    char names[PARAMS_MAX + 1][16];
    struct param all[PARAMS_MAX + 1];
    for (int i = 0; i <= PARAMS_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "p%d", i);
        all[i] = (struct param){span_text(names[i]), SPAN("1")};
    }
    struct params *set = NULL, *more = NULL;
    ck_assert_int_eq(params_intern(&store, all, PARAMS_MAX + 1, &set), FAULT_LIMIT);
    ck_assert_int_eq(params_intern(&store, all, PARAMS_MAX, &set), OK);
    ck_assert_uint_eq(set->count, PARAMS_MAX);
    struct span value = SPAN("2");
    ck_assert_int_eq(params_with(set, SPAN("new"), &value, &more), FAULT_LIMIT);
    ck_assert_ptr_null(more);
    ck_assert_int_eq(params_with(set, SPAN("p7"), &value, &more), OK);
    params_unref(&more);
    params_unref(&set);
    end();
}
END_TEST

TEST(more_bytes_than_the_limit_are_refused)
{
    begin();
    static char big[PARAMS_SIZE_MAX];
    memset(big, 'x', sizeof(big));
    struct param param = {SPAN("a"), span_of(big, sizeof(big) - 1)};
    struct params *set = NULL;
    ck_assert_int_eq(params_intern(&store, &param, 1, &set), OK);
    params_unref(&set);
    param.value.size += 1;
    ck_assert_int_eq(params_intern(&store, &param, 1, &set), FAULT_LIMIT);
    ck_assert_ptr_null(set);
    end();
}
END_TEST

/* --- SQL -------------------------------------------------------------------------------------- */

#define PLAIN "SET LOCAL transaction_isolation='read committed';"

static void leads(const char *from, const char *to, const char *sql)
{
    struct buffer out = BUFFER_INIT(100000);
    begin();
    struct params *a = set_of(from), *b = set_of(to);
    params_write_difference(&out, a, b, true);
    ck_assert_int_eq(buffer_fault(&out), OK);
    buffer_append_byte(&out, 0);
    ck_assert_str_eq((char *)out.at, sql);
    buffer_fini(&out);
    params_unref(&a);
    params_unref(&b);
    end();
}

TEST(sql_says_only_what_differs)
{
    leads("", "", "");
    leads("a=1,b=2", "A=1,B=2", "");
    leads("", "a=1", "SET \"a\"='1';");
    leads("a=1", "", "RESET \"a\";");
    leads("a=1,b=2,c=3", "b=2,c=4,d=5", "RESET \"a\";SET \"c\"='4';SET \"d\"='5';");
    leads("a=1", "a=", "SET \"a\"='';");
}
END_TEST

TEST(sql_quotes_whatever_it_is_given)
{
    leads("", "a=it's", "SET \"a\"='it''s';");
    leads("", "a='; DROP TABLE x; --", "SET \"a\"='''; DROP TABLE x; --';");
    leads("", "a=back\\slash", "SET \"a\"= E'back\\\\slash';");
    leads("", "a=\\'", "SET \"a\"= E'\\\\''';");
    leads("", "na\"me=1", "SET \"na\"\"me\"='1';");
    leads("na\"me=1", "", "RESET \"na\"\"me\";");
    leads("", "my.ext=1", "SET \"my\".\"ext\"='1';");
    leads("my.ext=1", "", "RESET \"my\".\"ext\";");
}
END_TEST

TEST(lists_are_set_as_a_startup_packet_would)
{
    leads("", "Search_Path=a b", PLAIN "SELECT pg_catalog.set_config('Search_Path','a b',false);");
    leads("", "search_path=\"$user\"; public",
          PLAIN "SELECT pg_catalog.set_config('search_path','\"$user\"; public',false);");
    leads("", "temp_tablespaces=a'b\\c",
          PLAIN "SELECT pg_catalog.set_config('temp_tablespaces', E'a''b\\\\c',false);");
    leads("search_path=a", "search_path=a,work_mem=1", "SET \"work_mem\"='1';");
    leads("search_path=a", "", "RESET \"search_path\";");
    leads("", "search_paths=a", "SET \"search_paths\"='a';");
}
END_TEST

TEST(sql_is_ascii_whatever_it_is_given)
{
    leads("", "a=\xc3\xbc", "SET \"a\"= E'\\303\\274';");
    leads("", "a=\x83\\'", "SET \"a\"= E'\\203\\\\''';");
    leads("", "a.\xff=1", PLAIN "SELECT pg_catalog.set_config( E'a.\\377','1',false);");
    leads("a.\xff=1", "", PLAIN "SELECT pg_catalog.set_config( E'a.\\377',NULL,false);");
}
END_TEST

TEST(who_the_session_is_ends_first_and_begins_last)
{
    leads("log=1,role=low", "", "RESET \"role\";RESET \"log\";");
    leads("", "role=low,session_authorization=mid,work_mem=1",
          "SET \"work_mem\"='1';SET \"session_authorization\"='mid';SET \"role\"='low';");
    leads("role=low,session_authorization=mid", "role=low,work_mem=1",
          "RESET \"session_authorization\";RESET \"role\";SET \"work_mem\"='1';"
          "SET \"role\"='low';");
    leads("role=low", "role=low", "");
}
END_TEST

static void rests(const char *text, const char *left)
{
    begin();
    struct params *set = set_of(text), *rest, *expected = set_of(left);
    ck_assert_int_eq(set->acts, strcmp(text, left) != 0);
    ck_assert_int_eq(params_at_rest(set, &rest), OK);
    ck_assert_ptr_eq(rest, expected);
    params_unref(&set);
    params_unref(&rest);
    params_unref(&expected);
    end();
}

TEST(what_acts_on_a_server_that_rests_is_known)
{
    rests("a=1,Idle_Session_Timeout=20,tcp_user_timeout=5,tcp_keepalives_count=1", "a=1");
    rests("tcp_keepalives_idle=1,tcp_keepalives_interval=1,z=1", "z=1");
    rests("statement_timeout=1", "");
    rests("statement_timeout=999ms,transaction_timeout=50", "");
    for (const char *const *spelling = (const char *[]){"0.001s", ".5s", "1e0", "0x1", "01", " 1",
                                                        "900us", "0.00001min", NULL};
         *spelling != NULL; spelling++) {
        char text[64];
        snprintf(text, sizeof(text), "statement_timeout=%s", *spelling);
        rests(text, "");
    }
    rests("statement_timeout=5min,a=1", "statement_timeout=5min,a=1");
    rests("statement_timeout=0", "statement_timeout=0");
    rests("statement_timeout=1000", "statement_timeout=1000");
    rests("statement_timeout=1s,lock_timeout=1", "statement_timeout=1s,lock_timeout=1");
}
END_TEST

TEST(sql_beyond_the_buffer_is_its_fault)
{
    struct buffer out = BUFFER_INIT(10);
    begin();
    struct params *to = set_of("application_name=much too long for that");
    params_write_difference(&out, store.none, to, true);
    ck_assert_int_eq(buffer_fault(&out), FAULT_LIMIT);
    buffer_fini(&out);
    params_unref(&to);
    end();
}
END_TEST

/* --- flat ------------------------------------------------------------------------------------- */

static void survives(const char *text)
{
    struct params_store there;
    struct buffer flat = BUFFER_INIT(100000), again = BUFFER_INIT(100000);
    begin();
    ck_assert_int_eq(params_store_init(&there), OK);
    struct params *set = set_of(text), *back, *moved;
    params_write_flat(&flat, set);
    ck_assert_int_eq(params_read_flat(&store, buffer_span(&flat), &back), OK);
    ck_assert_ptr_eq(set, back);
    ck_assert_int_eq(params_read_flat(&there, buffer_span(&flat), &moved), OK);
    params_write_flat(&again, moved);
    ck_assert(span_equal(buffer_span(&flat), buffer_span(&again)));
    buffer_fini(&flat);
    buffer_fini(&again);
    params_unref(&set);
    params_unref(&back);
    params_unref(&moved);
    params_store_fini(&there);
    end();
}

TEST(a_flat_set_is_the_same_set_again_also_elsewhere)
{
    survives("");
    survives("a=1");
    survives("a=");
    survives("a=,b=2,c=");
    survives("search_path=x\\y'z,DateStyle=ISO; DMY,my.setting=1");
}
END_TEST

/* --- defaults --------------------------------------------------------------------------------- */

/* Whether a set on a session with the defaults `from` is `wanted` on one with the defaults `to`. */
static void rebases(const char *set_text, const char *from_text, const char *to_text,
                    const char *wanted_text)
{
    begin();
    struct params *set = set_of(set_text), *from = set_of(from_text), *to = set_of(to_text);
    struct params *wanted = set_of(wanted_text), *made = NULL, *back = NULL;
    ck_assert_int_eq(params_rebase(set, from, to, &made), OK);
    ck_assert_msg(made == wanted, "%s from %s to %s", set_text, from_text, to_text);
    ck_assert_int_eq(params_rebase(made, to, from, &back), OK);
    ck_assert(back == set);
    struct params **all[] = {&set, &from, &to, &wanted, &made, &back};
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        params_unref(all[i]);
    end();
}

TEST(a_set_means_the_same_on_a_session_with_other_defaults)
{
    rebases("", "zone=UTC,style=ISO", "zone=UTC,style=ISO", "");
    rebases("", "zone=UTC,style=ISO", "zone=Lima,style=ISO", "zone=UTC");
    rebases("zone=Lima", "zone=UTC", "zone=Lima", "");
    rebases("zone=Oslo,work=1", "zone=UTC", "zone=Lima", "zone=Oslo,work=1");
    rebases("Zone=lima", "zone=UTC", "zone=Lima", "zone=lima");
    rebases("", "zone=UTC,path=a", "zone=UTC", ""); /* a version that reports less */
}
END_TEST

TEST(defaults_are_the_reported_values_that_follow_a_client)
{
    static const char said[] = "server_version\0"
                               "15.1\0"
                               "TimeZone\0"
                               "UTC\0"
                               "is_superuser\0"
                               "on";
    begin();
    struct params *wanted = set_of("TimeZone=UTC"), *made = NULL;
    ck_assert_int_eq(params_read_defaults(&store, span_of(said, sizeof(said)), &made), OK);
    ck_assert(made == wanted);
    params_unref(&wanted);
    params_unref(&made);
    end();
}
END_TEST

TESTS("params", no_answer_depends_on_limits_and_idle_times,
      a_statement_timeout_is_read_as_postgresql_reads_it,
      equal_sets_are_one_set_whatever_the_order_and_the_case_of_names, the_empty_set_is_there_once,
      of_equal_names_the_last_wins, names_of_which_one_begins_the_other_are_two,
      a_set_with_one_change_leads_back_to_the_same_set, a_set_owns_its_bytes,
      more_parameters_than_the_limit_are_refused, more_bytes_than_the_limit_are_refused,
      sql_says_only_what_differs, sql_quotes_whatever_it_is_given,
      lists_are_set_as_a_startup_packet_would, sql_is_ascii_whatever_it_is_given,
      who_the_session_is_ends_first_and_begins_last, what_acts_on_a_server_that_rests_is_known,
      sql_beyond_the_buffer_is_its_fault, a_flat_set_is_the_same_set_again_also_elsewhere,
      a_set_means_the_same_on_a_session_with_other_defaults,
      defaults_are_the_reported_values_that_follow_a_client)
