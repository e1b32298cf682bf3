/* Keys of tables, and the values of rows: which rows of the feed are one reader's. */
#include "flight/feed_keys.h"
#include "unit.h"

#include <stdio.h>

#define TABLE_A 7u

static struct generations_table *table;
static struct feed_keys *keys;
static struct buffer bytes = BUFFER_INIT(32768);
static uint64_t database;

static void setup(void)
{
    table = generations_table_new(GENERATIONS_SLOTS_DEFAULT);
    database = generations_database(table, SPAN("main"), SPAN("app"));
    keys = feed_keys_new(table, database);
    ck_assert_ptr_nonnull(keys);
}

static void teardown(void)
{
    feed_keys_free(&keys);
    generations_table_free(&table);
    buffer_fini(&bytes);
}

static uint64_t catalog(void)
{
    return generations_catalog(table, database);
}

static void change_catalog(void)
{
    struct generations_writes writes;
    generations_writes_init(&writes, database);
    generations_writes_catalog(table, &writes);
    generations_raise(table, &writes);
}

/* A verdict whose key is one column, or two. */
static struct verdict verdict_of(struct verdict_key two[2], const char *a, const char *b)
{
    two[0] =
        (struct verdict_key){.type = VERDICT_KEY_INTEGER, .parameter = 1, .name = span_text(a)};
    two[1] = (struct verdict_key){
        .type = VERDICT_KEY_TEXT, .parameter = 2, .name = span_text(b == NULL ? "" : b)};
    return (struct verdict){.keys = two, .keys_count = b == NULL ? 1 : 2, .reads_count = 1};
}

static bool declare(uint32_t relation, uint64_t in, const char *a, const char *b)
{
    struct verdict_key two[2];
    struct verdict verdict = verdict_of(two, a, b);
    return feed_keys_declare(keys, relation, in, &verdict);
}

static bool found(uint32_t relation)
{
    struct feed_key key;
    return feed_keys_find(keys, relation, &key);
}

/* --- keys of tables --------------------------------------------------------------------------- */

TEST(a_key_that_was_declared_is_found)
{
    struct feed_key key;
    ck_assert(!found(TABLE_A));
    ck_assert(declare(TABLE_A, catalog(), "n", "w"));
    ck_assert(declare(TABLE_A, catalog(), "n", "w"));
    ck_assert(feed_keys_find(keys, TABLE_A, &key));
    ck_assert_uint_eq(key.count, 2);
    ck_assert(span_is(feed_name_span(&key.columns[1].name), "w"));
    ck_assert_int_eq(key.columns[1].type, VERDICT_KEY_TEXT);
    ck_assert(!found(TABLE_A + 1));
}

TEST(of_two_keys_none_counts_until_the_catalog_changes)
{
    ck_assert(declare(TABLE_A, catalog(), "n", NULL));
    ck_assert(!declare(TABLE_A, catalog(), "m", NULL));
    ck_assert(!found(TABLE_A));
    ck_assert(!declare(TABLE_A, catalog(), "n", NULL));
    ck_assert(!found(TABLE_A));
    change_catalog();
    ck_assert(declare(TABLE_A, catalog(), "m", NULL));
    ck_assert(found(TABLE_A));
    ck_assert(!declare(TABLE_A, catalog(), "m", "w"));
    ck_assert(!found(TABLE_A));
}

TEST(the_columns_of_a_key_have_an_order)
{
    ck_assert(declare(TABLE_A, catalog(), "n", "w"));
    ck_assert(!declare(TABLE_A, catalog(), "w", "n"));
}

TEST(a_key_of_another_catalog_is_not_used)
{
    uint64_t before = catalog();
    ck_assert(declare(TABLE_A, before, "n", NULL));
    change_catalog();
    ck_assert(!found(TABLE_A));
    ck_assert(!declare(TABLE_A, before, "n", NULL));
    ck_assert(!found(TABLE_A));
    ck_assert(!declare(TABLE_A, catalog() + 1, "n", NULL));
    ck_assert_uint_eq(feed_keys_count(keys), 0);
    ck_assert(declare(TABLE_A, catalog(), "n", NULL));
    ck_assert(found(TABLE_A));
}

TEST(tables_are_bounded_and_none_is_forgotten)
{
    for (uint32_t i = 0; i < FEED_KEYS_MAX; i++)
        ck_assert(declare(i, catalog(), "n", NULL));
    ck_assert(!declare(FEED_KEYS_MAX, catalog(), "n", NULL));
    ck_assert(!found(FEED_KEYS_MAX));
    for (uint32_t i = 0; i < FEED_KEYS_MAX; i++)
        ck_assert(found(i) && declare(i, catalog(), "n", NULL));
    change_catalog();
    ck_assert(declare(FEED_KEYS_MAX, catalog(), "n", NULL));
    ck_assert_uint_eq(feed_keys_count(keys), 1);
}

TEST(a_name_that_no_column_has_is_no_key)
{
    char name[FEED_NAME_MAX + 2];
    memset(name, 'n', sizeof(name));
    name[FEED_NAME_MAX + 1] = '\0';
    ck_assert(!declare(TABLE_A, catalog(), name, NULL));
    ck_assert(!declare(TABLE_A, catalog(), "", NULL));
    name[FEED_NAME_MAX] = '\0';
    ck_assert(declare(TABLE_A, catalog(), name, NULL));
}

/* --- values of rows --------------------------------------------------------------------------- */

/* The key (n, w), or n alone, of an INSERT's columns. */
static bool digest_of(const char *columns, bool both, uint64_t *ret)
{
    struct feed_text read;
    struct feed_key key;
    char text[512];
    if (!found(TABLE_A))
        ck_assert(declare(TABLE_A, catalog(), "n", both ? "w" : NULL));
    ck_assert(feed_keys_find(keys, TABLE_A, &key));
    snprintf(text, sizeof(text), "table s.a: INSERT: %s", columns);
    ck_assert_msg(feed_read_text(span_text(text), &read) == OK, "%s", text);
    return feed_key_of_row(&key, read.new_row, &bytes, ret);
}

/* The digest of the statement `n = $1 [and w = $2]`. */
static uint64_t asked(const char *n, const char *w)
{
    struct verdict_key two[2];
    struct verdict verdict = verdict_of(two, "n", w == NULL ? NULL : "w");
    struct verdict_value values[2] = {{.bytes = span_text(n)},
                                      {.bytes = span_text(w == NULL ? "" : w)}};
    struct buffer text = BUFFER_INIT(1000);
    ck_assert(verdict_key_bytes(&verdict, values, 2, &text));
    uint64_t digest = feed_key_digest(buffer_span(&text));
    buffer_fini(&text);
    return digest;
}

TEST(a_row_has_the_digest_of_the_statement_that_reads_it)
{
    uint64_t digest;
    ck_assert(digest_of("v[integer]:1 n[bigint]:-7 w[text]:'it''s\n\\n'", true, &digest));
    ck_assert_uint_eq(digest, asked("-7", "it's\n\\n"));
    ck_assert(digest_of("w[character varying]:'' n[smallint]:0", true, &digest));
    ck_assert_uint_eq(digest, asked("-0", ""));
    ck_assert_uint_ne(digest, asked("0", " "));
    ck_assert(digest_of("n[integer]:1 w[text]:'1'", true, &digest));
    ck_assert_uint_ne(digest, asked("11", ""));
}

TEST(a_value_that_is_missing_or_of_another_form_is_unknown)
{
    static const char *const rows[] = {
        "n[integer]:1",
        "w[text]:'a'",
        "n[integer]:null w[text]:'a'",
        "n[integer]:1 w[text]:null",
        "n[integer]:1 w[text]:unchanged-toast-datum",
        "n[numeric]:1 w[text]:'a'",
        "n[integer]:1 w[character]:'a'",
        "n[integer]:1 w[s.text]:'a'",
        "n[integer]:'1' w[text]:'a'",
        "\"N\"[integer]:1 w[text]:'a'",
    };
    uint64_t digest;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        ck_assert_msg(!digest_of(rows[i], true, &digest), "%s", rows[i]);
    ck_assert(digest_of("n[integer]:1 w[text]:'a' x[text]:unchanged-toast-datum", true, &digest));
    struct feed_key key;
    ck_assert(feed_keys_find(keys, TABLE_A, &key));
    ck_assert(!feed_key_of_row(&key, (struct feed_row){0}, &bytes, &digest));
}

/* Any text is the same for both sides, whatever quotes and brackets it has. */
TEST(random_texts_agree)
{
    static const char letters[] = "'\\[]:\" ab\n,";
    uint32_t seed = 1;
    for (uint32_t round = 0; round < 5000; round++) {
        char text[16] = {0}, row[128], number[16];
        size_t size = (size_t)snprintf(row, sizeof(row), "w[text]:'");
        seed = seed * 1664525 + 1013904223;
        for (uint32_t i = 0, left = seed; i < (seed >> 28) % 10; i++, left /= 11) {
            text[i] = letters[left % 11];
            if (text[i] == '\'')
                row[size++] = '\'';
            row[size++] = text[i];
        }
        snprintf(number, sizeof(number), "%d", (int32_t)seed);
        snprintf(row + size, sizeof(row) - size, "' n[integer]:%s", number);
        uint64_t digest;
        ck_assert(digest_of(row, true, &digest));
        ck_assert_uint_eq(digest, asked(number, text));
    }
}

int main(void)
{
    const TTest *const tests[] = {
        a_key_that_was_declared_is_found,
        of_two_keys_none_counts_until_the_catalog_changes,
        the_columns_of_a_key_have_an_order,
        a_key_of_another_catalog_is_not_used,
        tables_are_bounded_and_none_is_forgotten,
        a_name_that_no_column_has_is_no_key,
        a_row_has_the_digest_of_the_statement_that_reads_it,
        a_value_that_is_missing_or_of_another_form_is_unknown,
        random_texts_agree,
        NULL,
    };
    return unit_run("feed_keys", tests, setup, teardown);
}
