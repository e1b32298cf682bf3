/* Rules and maps: what they match, and what is told about broken ones. */
#include "config/hba.h"
#include "machine/stream.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>

static const char *files[8][2]; /* path and text */
static char said[4096];

static int memory_read(void *argument, const char *path, struct buffer *into)
{
    for (size_t i = 0; i < ARRAY_SIZE(files) && files[i][0] != NULL; i++) {
        if (strcmp(files[i][0], path) != 0)
            continue;
        buffer_append_text(into, files[i][1]);
        return 0;
    }
    return -ENOENT;
}

static int memory_list(void *argument, const char *path, struct buffer *into)
{
    buffer_append(into, "1.conf\0.hidden.conf\0readme\0", 27);
    return strcmp(path, "/d/parts") == 0 ? 0 : -ENOENT;
}

static void memory_problem(void *argument, const char *file, uint32_t line, const char *text)
{
    size_t used = strlen(said);
    snprintf(said + used, sizeof(said) - used, "%s:%u: %s\n", file, line, text);
}

static const struct hba_reader reader = {
    .read = memory_read, .list = memory_list, .problem = memory_problem};

static fault role_of(void *argument, struct span user, const char *role, bool *ret)
{
    *ret = span_is(user, "ann") && strcmp(role, "staff") == 0;
    return OK;
}

static fault host_of(void *argument, const struct address *peer, const char *name, bool *ret)
{
    *ret = peer->bytes[0] == 9 && strcmp(name, ".example.org") == 0;
    return OK;
}

static bool own(void *argument, const struct address *peer, bool network)
{
    return peer->bytes[0] == 127 && (network || peer->bytes[3] == 1);
}

static const struct hba_world world = {.in_role = role_of, .is_host = host_of, .is_own = own};

static struct hba *rules(const char *text)
{
    struct hba *hba = hba_new();
    ck_assert_ptr_nonnull(hba);
    said[0] = '\0';
    files[0][0] = "/d/hba";
    files[0][1] = text;
    hba_read_rules(hba, "/d/hba", &reader);
    return hba;
}

/* The line that a connection meets; 0: none.  `from`: "local", or an address, "+tls" behind it. */
static uint32_t meets(const struct hba *hba, const char *database, const char *user,
                      const char *from)
{
    struct address peer = {.family = ADDRESS_UNIX};
    char number[64];
    const struct hba_rule *rule;
    snprintf(number, sizeof(number), "%.*s", (int)strcspn(from, "+"), from);
    if (strcmp(number, "local") != 0)
        ck_assert(address_parse(number, 0, &peer));
    struct hba_subject subject = {.database = span_text(database),
                                  .user = span_text(user),
                                  .peer = &peer,
                                  .tls = strstr(from, "+tls") != NULL,
                                  .replication = strstr(from, "+replication") != NULL};
    ck_assert_int_eq(hba_match(hba, &subject, &world, &rule), OK);
    return rule == NULL ? 0 : rule->line;
}

START_TEST(the_first_line_that_fits_counts)
{
    struct hba *hba = rules("# comment\n"
                            "local all postgres trust\n"
                            "local sameuser all scram-sha-256\n"
                            "host app \"all\",bob 10.0.0.0/8 md5 # behind\n"
                            "hostssl all all 10.1.2.0 255.255.255.0 trust\n"
                            "hostnossl all all ::1/128 reject\n"
                            "hostgssenc all all all trust\n"
                            "host replication all all trust\n"
                            "host all +staff all password\n"
                            "host samerole all 1.2.3.4/32 trust\n"
                            "host /^db\\d{2}$ \"/^a b$\" all trust\n"
                            "host all all .example.org trust\n"
                            "host all all samehost trust\n"
                            "host all all samenet trust\n");
    ck_assert_str_eq(said, "");
    ck_assert_uint_eq(meets(hba, "x", "postgres", "local"), 2);
    ck_assert_uint_eq(meets(hba, "x", "x", "local"), 3);
    ck_assert_uint_eq(meets(hba, "x", "y", "local"), 0);
    ck_assert_uint_eq(meets(hba, "app", "all", "10.9.9.9"), 4);
    ck_assert_uint_eq(meets(hba, "app", "bob", "10.9.9.9"), 4);
    ck_assert_uint_eq(meets(hba, "app", "eve", "10.9.9.9"), 0);
    ck_assert_uint_eq(meets(hba, "app", "eve", "10.1.2.77+tls"), 5);
    ck_assert_uint_eq(meets(hba, "app", "eve", "10.1.2.77"), 0);
    ck_assert_uint_eq(meets(hba, "app", "eve", "::1"), 6);
    ck_assert_uint_eq(meets(hba, "app", "eve", "::1+tls"), 0);
    ck_assert_uint_eq(meets(hba, "app", "eve", "8.8.8.8+replication"), 8);
    ck_assert_uint_eq(meets(hba, "app", "ann", "8.8.8.8"), 9);
    ck_assert_uint_eq(meets(hba, "eve", "eve", "1.2.3.4"), 10);
    ck_assert_uint_eq(meets(hba, "db07", "a b", "8.8.8.8"), 11);
    ck_assert_uint_eq(meets(hba, "db077", "a b", "8.8.8.8"), 0);
    ck_assert_uint_eq(meets(hba, "app", "eve", "9.9.9.9"), 12);
    ck_assert_uint_eq(meets(hba, "app", "eve", "127.0.0.1"), 13);
    ck_assert_uint_eq(meets(hba, "app", "eve", "127.0.0.2"), 14);
    ck_assert(hba_needs_roles(hba));
    hba_free(&hba);
}
END_TEST

START_TEST(files_include_others)
{
    files[1][0] = "/d/users";
    files[1][1] = "ann bob\n# none\n\"c d\"";
    files[2][0] = "/d/parts/1.conf";
    files[2][1] = "host two all all trust\n";
    files[3][0] = "/d/more";
    files[3][1] = "\n\nhost three all all trust\n";
    struct hba *hba = rules("host one @users all trust\n"
                            "include_dir parts\n"
                            "include more\n"
                            "include_if_exists none\n"
                            "host four \\\n"
                            "  all all trust\n"
                            "host five all all trust\n");
    ck_assert_str_eq(said, "");
    ck_assert_uint_eq(meets(hba, "one", "bob", "1.1.1.1"), 1);
    ck_assert_uint_eq(meets(hba, "one", "c d", "1.1.1.1"), 1);
    ck_assert_uint_eq(meets(hba, "one", "c", "1.1.1.1"), 0);
    ck_assert_uint_eq(meets(hba, "two", "x", "1.1.1.1"), 1);
    ck_assert_uint_eq(meets(hba, "three", "x", "1.1.1.1"), 3);
    ck_assert_uint_eq(meets(hba, "four", "x", "1.1.1.1"), 5);
    ck_assert_uint_eq(meets(hba, "five", "x", "1.1.1.1"), 7);
    ck_assert_str_eq(hba_rule(hba, 1)->file, "/d/parts/1.conf");
    hba_free(&hba);
}
END_TEST

START_TEST(every_broken_line_is_told)
{
    struct hba *hba = rules("remote all all all trust\n"
                            "host all\n"
                            "host all all 1.2.3.4/33 trust\n"
                            "host all all 1.2.3.4 ::1 trust\n"
                            "host all all all guess\n"
                            "host all all all peer\n"
                            "local all all md5 map=x\n"
                            "local all \"open peer\n"
                            "host /( all all trust\n"
                            "host all all all ldap ldapserver=a\n"
                            "include none\n");
    const char *line = said;
    for (unsigned i = 1; i <= 11; i++) {
        char start[32];
        snprintf(start, sizeof(start), "/d/hba:%u: ", i);
        ck_assert_msg(strncmp(line, start, strlen(start)) == 0, "line %u: %s", i, said);
        line = strchr(line, '\n') + 1;
    }
    ck_assert_str_eq(line, "");
    hba_free(&hba);
}
END_TEST

START_TEST(a_file_that_includes_itself_ends)
{
    struct hba *hba = rules("host all all all trust\ninclude hba\n");
    ck_assert_ptr_nonnull(strstr(said, "too deep"));
    hba_free(&hba);
    hba = rules("host all @hba all trust\n");
    ck_assert_ptr_nonnull(strstr(said, "too deep"));
    hba_free(&hba);
}
END_TEST

static bool allows(const struct hba *hba, const char *map, const char *outer, const char *user)
{
    bool allowed;
    ck_assert_int_eq(hba_map_allows(hba, map, span_text(outer), span_text(user), &world, &allowed),
                     OK);
    return allowed;
}

START_TEST(maps_say_who_may_be_whom)
{
    struct hba *hba = hba_new();
    said[0] = '\0';
    files[0][0] = "/d/ident";
    files[0][1] = "m bob robert\n"
                  "m /^(.*)@example\\.org$ \\1\n"
                  "m /^(.*)@two\\.org$ x_\\1_y\n"
                  "m root all\n"
                  "m carl +staff\n"
                  "m /^dan /^d\n"
                  "other \"e f\" \"g h\"\n";
    hba_read_maps(hba, "/d/ident", &reader);
    ck_assert_str_eq(said, "");
    ck_assert(allows(hba, "m", "bob", "robert"));
    ck_assert(!allows(hba, "m", "bob", "bob"));
    ck_assert(!allows(hba, "other", "bob", "robert"));
    ck_assert(allows(hba, "m", "ann@example.org", "ann"));
    ck_assert(!allows(hba, "m", "all@example.org", "ann"));
    ck_assert(!allows(hba, "m", "@example.org", ""));
    ck_assert(!allows(hba, "m", "ann@exampleXorg", "ann"));
    ck_assert(allows(hba, "m", "ann@two.org", "x_ann_y"));
    ck_assert(allows(hba, "m", "root", "anyone"));
    ck_assert(allows(hba, "m", "carl", "ann"));
    ck_assert(!allows(hba, "m", "carl", "eve"));
    ck_assert(allows(hba, "m", "daniel", "dora"));
    ck_assert(allows(hba, "other", "e f", "g h"));
    ck_assert(allows(hba, NULL, "x", "x"));
    ck_assert(!allows(hba, NULL, "", ""));
    ck_assert(hba_has_map(hba, "other") && !hba_has_map(hba, "third"));
    hba_free(&hba);
}
END_TEST

START_TEST(options_belong_to_methods)
{
    struct hba *hba =
        rules("hostssl all all all cert map=m clientname=SAN\n"
              "hostssl all all all md5 clientcert=verify-full clientname=DN\n"
              "host all all all ldap ldapserver=h ldapprefix=x\n"
              "host all all all ldap ldapserver=\"a b\" ldapprefix=\"cn=\" ldapsuffix=\",dc=x\" "
              "ldaptls=1\n"
              "host all all all pam pamservice=svc pam_use_hostname=1\n");
    ck_assert_str_eq(said, "");
    ck_assert_str_eq(hba_rule(hba, 0)->how.map, "m");
    ck_assert_int_eq(hba_rule(hba, 0)->how.clientname, AUTH_NAME_SAN);
    ck_assert_int_eq(hba_rule(hba, 1)->how.clientcert, AUTH_CLIENTCERT_FULL);
    ck_assert_int_eq(hba_rule(hba, 2)->how.ldap->scope, 2);
    ck_assert_str_eq(hba_rule(hba, 3)->how.ldap->suffix, ",dc=x");
    ck_assert(hba_rule(hba, 3)->how.ldap->start_tls);
    ck_assert_str_eq(hba_rule(hba, 4)->how.pam_service, "svc");
    ck_assert(hba_rule(hba, 4)->how.pam_hostname);
    hba_free(&hba);
}
END_TEST

START_TEST(ldap_urls_are_decoded)
{
#ifdef WITH_LDAP /* else such a URL is refused */
    struct hba *hba =
        rules("host all all all ldap ldapurl=\"ldaps://h:1636/dc=a,dc=b??one?(x=$username)\"\n"
              "host all all all ldap ldapurl=\"ldap://h/ou%3da%20b,dc=c?%75id,mail\"\n"
              "host all all all ldap ldapserver=old ldapurl=\"LDAP:///dc=x\"\n");
    ck_assert_str_eq(said, "");
    const struct auth_ldap *ldap = hba_rule(hba, 0)->how.ldap;
    ck_assert_str_eq(ldap->scheme, "ldaps");
    ck_assert_str_eq(ldap->server, "h");
    ck_assert_uint_eq(ldap->port, 1636);
    ck_assert_str_eq(ldap->base, "dc=a,dc=b");
    ck_assert_ptr_null(ldap->attribute);
    ck_assert_int_eq(ldap->scope, 1);
    ck_assert_str_eq(ldap->filter, "(x=$username)");
    ldap = hba_rule(hba, 1)->how.ldap;
    ck_assert_str_eq(ldap->scheme, "ldap");
    ck_assert_uint_eq(ldap->port, 389);
    ck_assert_str_eq(ldap->base, "ou=a b,dc=c");
    ck_assert_str_eq(ldap->attribute, "uid");
    ck_assert_int_eq(ldap->scope, 0);
    ck_assert_ptr_null(ldap->filter);
    ck_assert_str_eq(hba_rule(hba, 2)->how.ldap->server, "old");
    hba_free(&hba);
    hba = rules("host all all all ldap ldapurl=http://h/dc=a\n"
                "host all all all ldap ldapurl=ldapi://h/dc=a\n"
                "host all all all ldap ldapurl=ldap://h:99999/dc=a\n"
                "host all all all ldap ldapurl=ldap://h/dc=a?uid?tree\n");
    ck_assert_ptr_nonnull(strstr(said,
                                 ":1: found ldapurl=\"http://h/dc=a\": the scheme is not ldap "
                                 "or ldaps; accepted: ldap[s]://host[:port]/base[?attribute"));
    ck_assert_ptr_nonnull(strstr(said, ":2: found ldapurl=\"ldapi://h/dc=a\": the scheme is not"));
    ck_assert_ptr_nonnull(
        strstr(said, ":3: found ldapurl=\"ldap://h:99999/dc=a\": the host or port"));
    ck_assert_ptr_nonnull(
        strstr(said, ":4: found ldapurl=\"ldap://h/dc=a?uid?tree\": the scope is"));
    hba_free(&hba);
#endif
}
END_TEST

TESTS("hba", the_first_line_that_fits_counts, files_include_others, every_broken_line_is_told,
      a_file_that_includes_itself_ends, maps_say_who_may_be_whom, options_belong_to_methods,
      ldap_urls_are_decoded)
