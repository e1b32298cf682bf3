/* Verdicts: which texts are asked about, the question, the rows of the answer, keys. */
#include "flight/resolve.h"
#include "flight/resolve_parts.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static struct query_analysis *analysis;
static struct resolve *resolve;
static struct verdict *verdict;
static struct resolve_rules rules;
static struct buffer sql;

static void setup(void)
{
    sql = BUFFER_INIT(RESOLVE_QUESTION_MAX);
    rules = (struct resolve_rules){NULL, 0};
}

static void teardown(void)
{
    query_analysis_free(&analysis);
    resolve_free(&resolve);
    verdict_unref(&verdict);
    buffer_fini(&sql);
}

static struct query_analysis *analyze(const char *text)
{
    query_analysis_free(&analysis);
    ck_assert_int_eq(query_analyze(span_text(text), &analysis), OK);
    return analysis;
}

/* --- rows ------------------------------------------------------------------------------------- */

/* Cells are separated by "|"; "-" is NULL. */
static fault give(const char *row)
{
    struct span cells[RESOLVE_COLUMNS];
    char copy[512], *rest = copy;
    snprintf(copy, sizeof(copy), "%s", row);
    for (size_t i = 0; i < RESOLVE_COLUMNS; i++) {
        char *cell = strsep(&rest, "|");
        ck_assert_msg(cell != NULL, "%s", row);
        cells[i] = strcmp(cell, "-") == 0 ? SPAN_NONE : span_text(cell);
    }
    return resolve_row(resolve, cells);
}

static void begin(const char *text)
{
    resolve_free(&resolve);
    verdict_unref(&verdict);
    resolve = resolve_new(analyze(text), &rules);
    ck_assert_ptr_nonnull(resolve);
    ck_assert_int_eq(give("session|150004|-|UTF8|UTF8|on"), OK);
}

static void finish(void)
{
    ck_assert_int_eq(give("end|-|-|-|-|-"), OK);
    ck_assert_int_eq(resolve_end(resolve, &verdict), OK);
}

/* The verdict of a text with one more row. */
static void judge(const char *text, const char *row)
{
    begin(text);
    ck_assert_int_eq(give(row), OK);
    finish();
}

static const char *reason(void)
{
    return verdict->reason == VERDICT_REASONS ? "" : verdict_reason_word(verdict->reason);
}

static const char *written_reason(void)
{
    return verdict->written_reason == VERDICT_REASONS
               ? ""
               : verdict_reason_word(verdict->written_reason);
}

/* A row, and the reasons that it gives. */
static const struct {
    const char *row;
    const char *reason;
    const char *written;
} rows[] = {
    {"rel|r|20000|t|public|rp", "", ""},
    {"rel|r|20000|t|public|mp", "", ""},
    {"rel|r|20000|t|public|ru", "unlogged", ""},
    {"rel|r|20000|t|pg_temp_3|rt", "temporary", ""},
    {"rel|r|20000|t|public|fp", "foreign", ""},
    {"rel|r|20000|t|public|Sp", "sequence", ""},
    {"rel|r|20000|t|public|cp", "relation", ""},
    {"rel|r|1259|pg_class|pg_catalog|rp", "catalog", ""},
    {"rel|r|20000|t|public|r", "relation", "relation"},
    {"behind|-|-|-|-|-", "behind", "behind"},
    {"missing|r|-|t|-|-", "missing", "missing"},
    {"denied|r|20000|t|-|-", "denied", "denied"},
    {"call|fs|1770|to_char|pg_catalog|timestamptz,text", "", ""},
    {"call|fs|1|to_char|pg_catalog|timestamptz", "stable", ""},
    {"call|fs|20000|to_char|public|timestamptz,text", "function", "function"},
    {"call|fs|1770|to_char|public|timestamptz,text", "function", "function"},
    {"call|ov|1|f|pg_catalog|int4", "volatile", "volatile"},
    {"call|fv|1574|nextval|pg_catalog|regclass", "volatile", ""},
    {"call|os|20000|f|public|int4", "operator", "operator"},
    {"call|ni|20000|f|public|int4", "function", "function"},
    {"call|f|1|f|pg_catalog|int4", "volatile", "volatile"},
    {"node|r|-|{QUERY|-|-", "", ""},
    {"node|r|-|{XMLEXPR|-|-", "expression", "expression"},
    {"node|w|-|{XMLEXPR|-|-", "", "expression"},
    {"node|w|-|{FIELDSTORE|-|-", "", ""},
    {"node|r|-|{FIELDSTORE|-|-", "expression", ""},
    {"node|r|-|{TABLESAMPLECLAUSE|-|-", "sample", ""},
    {"node|r|-|{SQLVALUEFUNCTION :op 8|-|-", "time_value", ""},
    {"node|r|-|{SQLVALUEFUNCTION :op 9|-|-", "", ""},
    {"node|r|-|{SQLVALUEFUNCTION :op 10|-|-", "", ""},
    {"node|d|-|{SQLVALUEFUNCTION :op 10|-|-", "time_value", ""},
    {"node|w|-|{SQLVALUEFUNCTION :op 3|-|-", "", ""},
    {"node|d|-|{COERCETODOMAIN|-|-", "expression", "expression"},
    {"node|r|-|{COERCETODOMAIN|-|-", "", ""},
    {"node|r|-|:varattno -|-|-", "system_column", ""},
    {"node|r|-|:hasForUpdate true|-|-", "locking", ""},
    {"node|w|-|:varattno -|-|-", "", ""},
    {"type|v|25|text|pg_catalog|b", "", ""},
    {"type|k|1082|date|pg_catalog|b", "time_cast", ""},
    {"type|c|1082|date|pg_catalog|b", "", ""},
    {"type|v|1266|timetz|pg_catalog|b", "time_type", ""},
    {"type|v|2205|regclass|pg_catalog|b", "reg_type", ""},
    {"type|v|1033|aclitem|pg_catalog|b", "type", ""},
    {"type|v|20000|text|public|b", "type", ""},
    {"type|c|20000|text|public|b", "type", ""},
    {"opclass|-|20000|ops|-|-", "operator", ""},
    {"type|v|20000|spans|public|r", "", ""},
    {"type|v|20000|spans|public|r!", "type", ""},
    {"cast|-|20000|text|int4|-", "cast", "cast"},
    {"trigger|u|20000|audit|t|-", "", "trigger"},
    {"rel|i|20000|t|public|rp", "", ""},
    {"rel|i|20000|t|public|fp", "", "foreign"},
    {"rel|i|1259|t|pg_catalog|rp", "", "catalog"},
};

TEST(rows_give_the_reasons)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        judge("select x from t", rows[i].row);
        ck_assert_msg(strcmp(reason(), rows[i].reason) == 0, "%s: %s", rows[i].row, reason());
        ck_assert_msg(strcmp(written_reason(), rows[i].written) == 0, "%s: %s", rows[i].row,
                      written_reason());
        ck_assert_int_eq(verdict->writes, rows[i].written[0] == '\0' ? VERDICT_WRITES_NOTHING
                                                                     : VERDICT_WRITES_DATABASE);
    }
}

TEST(the_most_important_reason_is_told_with_its_name)
{
    begin("select x from t");
    ck_assert_int_eq(give("call|fv|1|f|pg_catalog|int4"), OK);
    ck_assert_int_eq(give("missing|r|-|t|s|-"), OK);
    ck_assert_int_eq(give("missing|r|-|other|s|-"), OK);
    finish();
    ck_assert_str_eq(reason(), "missing");
    ck_assert(span_is(verdict->because, "s.t"));
    ck_assert_uint_eq(verdict->reads_count, 0);
}

TEST(a_long_name_is_cut)
{
    char row[400], name[301];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    snprintf(row, sizeof(row), "missing|r|-|%s|s|-", name);
    judge("select 1", row);
    ck_assert_uint_eq(verdict->because.size, RESOLVE_BECAUSE_MAX);
}

TEST(time_becomes_timetz_at_a_time_zone)
{
    judge("select 1", "call|fs|1|timezone|pg_catalog|text,timetz");
    ck_assert_str_eq(reason(), "");
    judge("select make_time(1, 2, 3)", "call|fs|1|timezone|pg_catalog|text,timetz");
    ck_assert_str_eq(reason(), "time_type");
    begin("select 1");
    ck_assert_int_eq(give("type|v|1083|time|pg_catalog|b"), OK);
    ck_assert_int_eq(give("call|fs|1|timezone|pg_catalog|text,timetz"), OK);
    finish();
    ck_assert_str_eq(reason(), "time_type");
}

TEST(the_session_decides_how_a_text_is_read)
{
    static const struct {
        const char *text;
        const char *row;
        const char *reason;
    } sessions[] = {
        {"select 1", "session|110022|-|UTF8|UTF8|on", "version"},
        {"select 1", "session|120000|-|LATIN1|LATIN1|off", ""},
        {"select '\303\274'", "session|150004|-|UTF8|UTF8|off", ""},
        {"select '\303\274'", "session|150004|-|UTF8|LATIN1|on", "encoding"},
        {"select '\303\274'", "session|150004|-|LATIN1|UTF8|on", "encoding"},
        {"select '\\'", "session|150004|-|UTF8|UTF8|on", ""},
        {"select '\\'", "session|150004|-|UTF8|UTF8|off", "strings"},
        {"select '\\'", "session|150004|-|UTF8|UTF8|-", "strings"},
        {"select 1", "session|-|-|UTF8|UTF8|on", "version"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(sessions); i++) {
        judge(sessions[i].text, sessions[i].row);
        ck_assert_str_eq(reason(), sessions[i].reason);
        ck_assert_str_eq(written_reason(), sessions[i].reason);
    }
}

TEST(an_answer_that_is_not_whole_gives_no_verdict)
{
    begin("select 1");
    ck_assert_int_eq(resolve_end(resolve, &verdict), FAULT_PROTOCOL);
    resolve_free(&resolve);
    resolve = resolve_new(analysis, &rules);
    ck_assert_int_eq(give("end|-|-|-|-|-"), OK);
    ck_assert_int_eq(resolve_end(resolve, &verdict), FAULT_PROTOCOL);
    ck_assert_int_eq(give("other|-|-|-|-|-"), FAULT_PROTOCOL);
    ck_assert_int_eq(give("-|-|-|-|-|-"), FAULT_PROTOCOL);
    ck_assert_int_eq(give("rel|r|x|t|public|rp"), FAULT_PROTOCOL);
    ck_assert_int_eq(give("rel|r|4294967296|t|public|rp"), FAULT_PROTOCOL);
    ck_assert_int_eq(give("rel|r|4294967295|t|public|rp"), OK);
}

TEST(rows_are_bounded)
{
    begin("select 1");
    for (uint32_t i = 1; i < RESOLVE_ROWS_MAX; i++)
        ck_assert_int_eq(give("node|r|-|{VAR|-|-"), OK);
    ck_assert_int_eq(give("node|r|-|{VAR|-|-"), FAULT_LIMIT);
}

static void give_relations(const char *how, uint32_t count)
{
    char row[100];
    for (uint32_t i = 0; i < 2 * count; i++) {
        snprintf(row, sizeof(row), "rel|%s|%u|table_%u|public|rp", how, 20000 + i % count, i);
        ck_assert_int_eq(give(row), OK);
    }
}

TEST(so_many_relations_are_listed)
{
    begin("delete from t");
    give_relations("u", VERDICT_RELATIONS_MAX);
    give_relations("r", VERDICT_RELATIONS_MAX);
    finish();
    ck_assert_str_eq(reason(), "writes");
    ck_assert_int_eq(verdict->writes, VERDICT_WRITES_LISTED);
    ck_assert_uint_eq(verdict->written_count, VERDICT_RELATIONS_MAX);
    ck_assert_uint_eq(verdict->written[59].oid, 20059);
    ck_assert(span_is(verdict->written[59].name, "table_59"));
    begin("delete from t");
    give_relations("u", VERDICT_RELATIONS_MAX + 1);
    finish();
    ck_assert_int_eq(verdict->writes, VERDICT_WRITES_DATABASE);
    ck_assert_str_eq(written_reason(), "behind");
}

TEST(so_many_relations_are_read)
{
    begin("select x from t");
    give_relations("r", VERDICT_RELATIONS_MAX);
    finish();
    ck_assert_str_eq(reason(), "");
    ck_assert_uint_eq(verdict->reads_count, VERDICT_RELATIONS_MAX);
    begin("select x from t");
    give_relations("r", VERDICT_RELATIONS_MAX + 1);
    finish();
    ck_assert_str_eq(reason(), "behind");
}

TEST(a_view_and_a_temporary_target_have_no_rows_for_others)
{
    begin("select x from v");
    ck_assert_int_eq(give("rel|r|20001|v|public|vp"), OK);
    ck_assert_int_eq(give("rel|r|20002|t|public|pp"), OK);
    finish();
    ck_assert(!verdict->reads[0].stored && verdict->reads[1].stored);
    judge("delete from t", "rel|u|20000|t|pg_temp_1|rt");
    ck_assert_int_eq(verdict->writes, VERDICT_WRITES_LISTED);
    ck_assert_uint_eq(verdict->written_count, 0);
}

TEST(a_declared_function_is_allowed_by_its_whole_name)
{
    struct query_object table = {SPAN("kv"), SPAN("t")};
    struct resolve_declared declared = {{SPAN("kv"), SPAN("get")}, &table, 1};
    rules = (struct resolve_rules){&declared, 1};
    judge("select kv.get(1)", "call|fv|20000|get|kv|int4");
    ck_assert_str_eq(reason(), "");
    judge("select kv.get(1)", "call|fv|20000|get|other|int4");
    ck_assert_str_eq(reason(), "function");
    judge("select * from v", "call|nv|20000|get|kv|int4");
    ck_assert_str_eq(reason(), "function");
    resolve_question(analyze("select get(1), kv.get(2)"), &rules, &sql);
    buffer_append_byte(&sql, '\0');
    ck_assert_ptr_nonnull(strstr((char *)sql.at, "('r', 0, 'kv', 't', 0, true)"));
    buffer_clear(&sql);
    resolve_question(analyze("select other.get(1), set(2)"), &rules, &sql);
    buffer_append_byte(&sql, '\0');
    ck_assert_ptr_null(strstr((char *)sql.at, "'kv'"));
}

/* --- questions -------------------------------------------------------------------------------- */

TEST(the_catalog_is_asked_only_if_it_matters)
{
    static const struct {
        const char *text;
        bool asks, asks_for_writes;
        const char *reason;
        enum verdict_extent writes;
    } texts[] = {
        {"select 1", true, true, "", VERDICT_WRITES_NOTHING},
        {"select now() for update", false, true, "locking", VERDICT_WRITES_DATABASE},
        {"delete from t", false, true, "writes", VERDICT_WRITES_DATABASE},
        {"begin", false, false, "utility", VERDICT_WRITES_NOTHING},
        {"set x.y = 1", false, false, "utility", VERDICT_WRITES_NOTHING},
        {"drop table t", false, false, "utility", VERDICT_WRITES_DATABASE},
        {"select 1; select 2", false, false, "several", VERDICT_WRITES_DATABASE},
        {"selec", false, false, "unparsed", VERDICT_WRITES_DATABASE},
        {"", false, false, "empty", VERDICT_WRITES_NOTHING},
        {"explain analyze delete from t", false, false, "writes", VERDICT_WRITES_DATABASE},
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        analyze(texts[i].text);
        ck_assert_int_eq(resolve_asks(analysis, false), texts[i].asks);
        ck_assert_int_eq(resolve_asks(analysis, true), texts[i].asks_for_writes);
        if (texts[i].asks)
            continue;
        ck_assert_int_eq(resolve_without(analysis, &verdict), OK);
        ck_assert_str_eq(reason(), texts[i].reason);
        ck_assert_int_eq(verdict->writes, texts[i].writes);
        verdict_unref(&verdict);
    }
}

/* A text with this number of functions and types: names of their own. */
static const char *text_of(uint32_t functions, uint32_t types)
{
    static char text[16384];
    size_t size = (size_t)snprintf(text, sizeof(text), "select ");
    for (uint32_t i = 0; i < functions; i++)
        size +=
            (size_t)snprintf(text + size, sizeof(text) - size, "%sf%u()", i == 0 ? "" : ", ", i);
    for (uint32_t i = 0; i < types; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, ", 'a'::t%u", i);
    return text;
}

TEST(so_many_names_are_looked_up)
{
    ck_assert(resolve_asks(analyze(text_of(128, 128)), false));
    static char text[20000];
    snprintf(text, sizeof(text), "%s, 1 = 1", text_of(128, 128));
    ck_assert(!resolve_asks(analyze(text), false));
    ck_assert_int_eq(resolve_without(analysis, &verdict), OK);
    ck_assert_str_eq(reason(), "names");
}

TEST(a_question_is_ascii_and_within_its_limit)
{
    static char text[65536];
    size_t size = (size_t)snprintf(text, sizeof(text), "select 1");
    for (uint32_t i = 0; i < 127; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size,
                                 ", \"%061u'\\\".\"%060u'\xc3\xbc\"(), 'a'::\"%062u'\"", i, i, i);
    resolve_question(analyze(text), &rules, &sql);
    ck_assert_int_eq(buffer_fault(&sql), OK);
    for (size_t i = 0; i < sql.size; i++)
        ck_assert(sql.at[i] != '\\' && sql.at[i] < 0x80 && (sql.at[i] >= ' ' || sql.at[i] == '\n'));
}

TEST(a_name_is_written_without_any_quoting)
{
    resolve_question(analyze("select \"a'b\" from \"x\\y\".\"p q\" where a @> 1"), &rules, &sql);
    buffer_append_byte(&sql, '\0');
    ck_assert_ptr_nonnull(strstr((char *)sql.at, "convert_from(pg_catalog.decode('785c79', 'hex'), "
                                                 "'UTF8')::pg_catalog.name, 'p q', 0, false)"));
    ck_assert_ptr_nonnull(strstr((char *)sql.at, "('o', 0, NULL, '@>', 0, false)"));
    ck_assert_ptr_null(strstr((char *)sql.at, "a'b"));
}

/* --- keys ------------------------------------------------------------------------------------- */

static const char *canonical(enum verdict_key_type type, struct verdict_value value)
{
    static char text[64];
    struct buffer key = BUFFER_INIT(60);
    bool known = verdict_key_text(type, &value, &key) && buffer_fault(&key) == OK;
    snprintf(text, sizeof(text), "%.*s", SPAN_ARG(buffer_span(&key)));
    buffer_fini(&key);
    return known ? text : NULL;
}

#define TEXT_VALUE(literal) ((struct verdict_value){.bytes = SPAN(literal)})
#define BINARY(literal, oid)                                                                       \
    ((struct verdict_value){.bytes = SPAN(literal), .binary = true, .type = (oid)})

TEST(integers_have_one_text)
{
    enum verdict_key_type type = VERDICT_KEY_INTEGER;
    ck_assert_str_eq(canonical(type, TEXT_VALUE("7")), "7");
    ck_assert_str_eq(canonical(type, TEXT_VALUE(" +007\t")), "7");
    ck_assert_str_eq(canonical(type, TEXT_VALUE("-0")), "0");
    ck_assert_str_eq(canonical(type, TEXT_VALUE("9223372036854775807")), "9223372036854775807");
    ck_assert_str_eq(canonical(type, TEXT_VALUE("-9223372036854775808")), "-9223372036854775808");
    ck_assert_ptr_null(canonical(type, TEXT_VALUE("9223372036854775808")));
    ck_assert_ptr_null(canonical(type, TEXT_VALUE("-9223372036854775809")));
    static const char *const others[] = {"", " ", "-", "1 2", "1.0", "1e3", "0x10", "1_0", "x"};
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        ck_assert_ptr_null(canonical(type, (struct verdict_value){.bytes = span_text(others[i])}));
    ck_assert_str_eq(canonical(type, BINARY("\xff\xfe", 21)), "-2");
    ck_assert_str_eq(canonical(type, BINARY("\xff\xff\xff\xfe", 23)), "-2");
    ck_assert_str_eq(canonical(type, BINARY("\x80\0\0\0\0\0\0\0", 0)), "-9223372036854775808");
    ck_assert_ptr_null(canonical(type, BINARY("\0\0\0\1", 20)));
    ck_assert_ptr_null(canonical(type, BINARY("\0\0\1", 0)));
    ck_assert_ptr_null(canonical(type, BINARY("\0\0\0\1", 1700)));
    ck_assert_ptr_null(canonical(type, (struct verdict_value){.null = true}));
}

TEST(uuids_have_one_text)
{
    enum verdict_key_type type = VERDICT_KEY_UUID;
    static const char *const same[] = {"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
                                       "A0EEBC999C0B4EF8BB6D6BB9BD380A11",
                                       "{a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11}"};
    for (size_t i = 0; i < ARRAY_SIZE(same); i++)
        ck_assert_str_eq(canonical(type, (struct verdict_value){.bytes = span_text(same[i])}),
                         same[0]);
    ck_assert_str_eq(canonical(type, BINARY("\xa0\xee\xbc\x99\x9c\x0b\x4e\xf8\xbb\x6d\x6b\xb9\xbd"
                                            "8\x0a\x11",
                                            2950)),
                     same[0]);
    ck_assert_ptr_null(canonical(type, TEXT_VALUE("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1")));
    ck_assert_ptr_null(canonical(type, TEXT_VALUE("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a111")));
    ck_assert_ptr_null(canonical(type, TEXT_VALUE("g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")));
    ck_assert_ptr_null(canonical(type, BINARY("\xa0\xee", 2950)));
}

TEST(texts_are_their_bytes)
{
    enum verdict_key_type type = VERDICT_KEY_TEXT;
    ck_assert_str_eq(canonical(type, TEXT_VALUE(" a ")), " a ");
    ck_assert_str_eq(canonical(type, TEXT_VALUE("")), "");
    ck_assert_str_eq(canonical(type, BINARY("a", 1043)), "a");
    ck_assert_ptr_null(canonical(type, BINARY("a", 1042)));
    ck_assert_ptr_null(canonical(type, TEXT_VALUE("\xc3\xbc")));
}

TEST(a_parameter_may_have_some_types)
{
    static const uint32_t good[] = {0, 20, 23, 25, 1007, 1043, 1082, 1184, 1700, 2950, 3802};
    static const uint32_t bad[] = {1, 1083, 1183, 1266, 1270, 2205, 2210, 2249, 16384, 20000};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        ck_assert(verdict_parameter_type(good[i]));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert(!verdict_parameter_type(bad[i]));
}

TEST(the_whole_primary_key_is_needed)
{
    struct verdict_value values[2] = {TEXT_VALUE("b"), TEXT_VALUE("07")};
    begin("select x from t where b = $1 and a = $2");
    ck_assert_int_eq(give("rel|r|20000|t|public|rp"), OK);
    ck_assert_int_eq(give("key|1|20000|a|int4|d"), OK);
    ck_assert_int_eq(give("key|2|20000|b|text|d"), OK);
    finish();
    ck_assert_uint_eq(verdict->keys_count, 2);
    ck_assert_uint_eq(verdict->key_relation, 20000);
    ck_assert(verdict_key_bytes(verdict, values, 2, &sql));
    ck_assert(span_equal(buffer_span(&sql), SPAN("\1\0\0\0"
                                                 "7\1\0\0\0b")));
    ck_assert(!verdict_key_bytes(verdict, values, 1, &sql));
    ck_assert_uint_eq(sql.size, 10);
    begin("select x from t where b = $1 and a = $2");
    ck_assert_int_eq(give("key|1|20000|a|int4|d"), OK);
    ck_assert_int_eq(give("key|2|20000|b|text|n"), OK);
    finish();
    ck_assert_uint_eq(verdict->keys_count, 0);
    ck_assert(!verdict_key_bytes(verdict, values, 2, &sql));
    judge("select x from t where a = 5", "key|1|20000|a|numeric|d");
    ck_assert_uint_eq(verdict->keys_count, 0);
    judge("select x from t where a = 5", "key|1|20000|a|-|d");
    ck_assert_uint_eq(verdict->keys_count, 0);
}

TEST(a_primary_key_has_so_many_columns)
{
    char text[400], row[100];
    size_t size = (size_t)snprintf(text, sizeof(text), "select x from t where c1 = 1");
    for (uint32_t i = 2; i <= VERDICT_KEYS_MAX + 1; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, " and c%u = %u", i, i);
    for (uint32_t extra = 0; extra < 2; extra++) {
        begin(text);
        for (uint32_t i = 1; i <= VERDICT_KEYS_MAX + extra; i++) {
            snprintf(row, sizeof(row), "key|%u|20000|c%u|int8|d", i, i);
            ck_assert_int_eq(give(row), OK);
        }
        finish();
        ck_assert_uint_eq(verdict->keys_count, extra == 0 ? VERDICT_KEYS_MAX : 0);
    }
}

TEST(a_verdict_lives_until_its_last_reference)
{
    judge("select x from t where k = 1", "rel|r|20000|t|public|rp");
    struct verdict *other = verdict_ref(verdict);
    verdict_unref(&verdict);
    ck_assert_ptr_null(verdict);
    ck_assert(span_is(other->reads[0].schema, "public"));
    ck_assert_uint_gt(verdict_bytes(other), sizeof(*other));
    verdict_unref(&other);
}

int main(void)
{
    const TTest *const tests[] = {
        rows_give_the_reasons,
        the_most_important_reason_is_told_with_its_name,
        a_long_name_is_cut,
        time_becomes_timetz_at_a_time_zone,
        the_session_decides_how_a_text_is_read,
        an_answer_that_is_not_whole_gives_no_verdict,
        rows_are_bounded,
        so_many_relations_are_listed,
        so_many_relations_are_read,
        a_view_and_a_temporary_target_have_no_rows_for_others,
        a_declared_function_is_allowed_by_its_whole_name,
        the_catalog_is_asked_only_if_it_matters,
        so_many_names_are_looked_up,
        a_question_is_ascii_and_within_its_limit,
        a_name_is_written_without_any_quoting,
        integers_have_one_text,
        uuids_have_one_text,
        texts_are_their_bytes,
        a_parameter_may_have_some_types,
        the_whole_primary_key_is_needed,
        a_primary_key_has_so_many_columns,
        a_verdict_lives_until_its_last_reference,
        NULL,
    };
    return unit_run("resolve", tests, setup, teardown);
}
