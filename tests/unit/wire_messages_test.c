#include "unit.h"
#include "wire/messages.h"

/* Every proper prefix of a body is malformed, and so is a body with a byte more. */
#define ASSERT_EXACT(read, body, type)                                                             \
    do {                                                                                           \
        uint8_t longer_[256];                                                                      \
        struct span body_ = (body);                                                                \
        type value_;                                                                               \
        ck_assert_uint_lt(body_.size, sizeof(longer_));                                            \
        memcpy(longer_, body_.at, body_.size);                                                     \
        longer_[body_.size] = 0;                                                                   \
        ck_assert_int_eq(read(body_, &value_), OK);                                                \
        ck_assert_int_eq(read(span_of(longer_, body_.size + 1), &value_), FAULT_PROTOCOL);         \
        for (size_t size_ = 0; size_ < body_.size; size_++)                                        \
            ck_assert_int_eq(read(span_of(longer_, size_), &value_), FAULT_PROTOCOL);              \
    } while (0)

TEST(a_parse_names_its_statement_its_text_and_its_types)
{
    struct span body = SPAN("s1\0SELECT $1\0\0\2\0\0\0\x17\xff\xff\xff\xff");
    struct wire_parse parse;
    ck_assert_int_eq(wire_read_parse(body, &parse), OK);
    ck_assert(span_is(parse.statement, "s1"));
    ck_assert(span_is(parse.query, "SELECT $1"));
    ck_assert_uint_eq(parse.types, 2);
    ck_assert_uint_eq(parse.oids.size, 8);
    ck_assert_uint_eq(wire_u32(parse.oids.at), 23);
    ASSERT_EXACT(wire_read_parse, body, struct wire_parse);
    ASSERT_EXACT(wire_read_parse, SPAN("\0\0\0\0"), struct wire_parse);
}
END_TEST

TEST(a_parse_that_promises_more_types_than_it_has_is_refused)
{
    struct wire_parse parse = {.types = 99};
    ck_assert_int_eq(wire_read_parse(SPAN("\0\0\xff\xff"), &parse), FAULT_PROTOCOL);
    ck_assert_int_eq(wire_read_parse(SPAN("\0\0\xff\xff\0\0\0\x17"), &parse), FAULT_PROTOCOL);
    ck_assert_uint_eq(parse.types, 99);
}
END_TEST

TEST(the_names_of_a_bind_are_read_while_the_rest_still_arrives)
{
    struct wire_bind_names names;
    struct span body = SPAN("portal\0statement\0and whatever follows");
    for (size_t size = 0; size < body.size; size++) {
        fault found = wire_read_bind_names(span_of(body.at, size), &names);
        ck_assert_int_eq(found, size < 17 ? FAULT_AGAIN : OK);
    }
    ck_assert(span_is(names.portal, "portal"));
    ck_assert(span_is(names.statement, "statement"));
    ck_assert_int_eq(wire_read_bind_names(SPAN("\0\0"), &names), OK);
    ck_assert_uint_eq(names.statement.size, 0);
}
END_TEST

TEST(describe_and_close_name_a_statement_or_a_portal_and_nothing_else)
{
    struct wire_target target;
    ck_assert_int_eq(wire_read_target(SPAN("Sone\0"), &target), OK);
    ck_assert_int_eq(target.kind, 'S');
    ck_assert(span_is(target.name, "one"));
    ck_assert_int_eq(wire_read_target(SPAN("Xone\0"), &target), FAULT_PROTOCOL);
    ASSERT_EXACT(wire_read_target, SPAN("P\0"), struct wire_target);
}
END_TEST

TEST(an_execute_with_a_negative_row_count_means_all)
{
    struct wire_execute execute;
    ck_assert_int_eq(wire_read_execute(SPAN("p\0\0\0\0\5"), &execute), OK);
    ck_assert(span_is(execute.portal, "p"));
    ck_assert_uint_eq(execute.rows, 5);
    ck_assert_int_eq(wire_read_execute(SPAN("\0\xff\xff\xff\xff"), &execute), OK);
    ck_assert_uint_eq(execute.rows, 0);
    ASSERT_EXACT(wire_read_execute, SPAN("p\0\0\0\0\5"), struct wire_execute);
}
END_TEST

TEST(texts_keys_and_parameters_are_exactly_as_long_as_they_say)
{
    ASSERT_EXACT(wire_read_query, SPAN("SELECT 1\0"), struct span);
    ASSERT_EXACT(wire_read_parameter_status, SPAN("a\0b\0"), struct wire_parameter);
    struct wire_key key;
    ck_assert_int_eq(wire_read_backend_key(SPAN("\x80\0\0\1abcd"), &key), OK);
    ck_assert_uint_eq(key.pid, 0x80000001);
    ck_assert(span_is(key.secret, "abcd"));
    uint8_t longest[4 + WIRE_SECRET_MAX + 1] = {0};
    for (size_t size = 0; size <= sizeof(longest); size++)
        ck_assert_int_eq(wire_read_backend_key(span_of(longest, size), &key),
                         size >= 8 && size < sizeof(longest) ? OK : FAULT_PROTOCOL);
    ck_assert_uint_eq(key.secret.size, WIRE_SECRET_MAX);
    struct span text;
    ck_assert_int_eq(wire_read_query(SPAN("SELECT 1\0; DROP\0"), &text), FAULT_PROTOCOL);
}
END_TEST

TEST(a_negotiation_names_as_many_options_as_it_counts)
{
    struct wire_negotiate said;
    ASSERT_EXACT(wire_read_negotiate, SPAN("\0\3\0\0\0\0\0\2_pq_.a\0_pq_.b\0"),
                 struct wire_negotiate);
    ck_assert_int_eq(wire_read_negotiate(SPAN("\0\3\0\2\0\0\0\1_pq_.a\0"), &said), OK);
    ck_assert_uint_eq(said.version, 0x30002);
    ck_assert_uint_eq(said.count, 1);
    ck_assert(span_equal(said.names, SPAN("_pq_.a\0")));
    ck_assert_int_eq(wire_read_negotiate(SPAN("\0\3\0\2\xff\xff\xff\xff_pq_.a\0"), &said),
                     FAULT_PROTOCOL);
}
END_TEST

TEST(an_error_gives_its_fields_and_the_severity_that_is_not_translated)
{
    struct wire_error found;
    struct span body = SPAN("SFEHLER\0VERROR\0C42601\0Mwrong\0Ddetail\0Hhint\0Ffile.c\0zodd\0\0");
    ck_assert_int_eq(wire_read_error(body, &found), OK);
    ck_assert(span_is(found.severity, "ERROR"));
    ck_assert(span_is(found.sqlstate, "42601"));
    ck_assert(span_is(found.message, "wrong"));
    ck_assert(span_is(found.detail, "detail"));
    ck_assert(span_is(found.hint, "hint"));
    ASSERT_EXACT(wire_read_error, body, struct wire_error);
}
END_TEST

TEST(an_error_without_sqlstate_or_without_anything_is_still_read)
{
    struct wire_error found;
    ck_assert_int_eq(wire_read_error(SPAN("SFATAL\0Mgone\0\0"), &found), OK);
    ck_assert(span_is(found.severity, "FATAL"));
    ck_assert(span_is(found.message, "gone"));
    ck_assert_uint_eq(found.sqlstate.size, 0);
    ck_assert_int_eq(wire_read_error(SPAN("\0"), &found), OK);
    ck_assert_uint_eq(found.severity.size, 0);
    ck_assert_uint_eq(found.message.size, 0);
    ck_assert_int_eq(wire_read_error(SPAN_NONE, &found), FAULT_PROTOCOL);
}
END_TEST

static struct wire_frame report_of(struct buffer *out, const struct wire_report *report)
{
    struct wire_frame frame;
    buffer_clear(out);
    wire_put_report(out, report);
    struct span rest = buffer_span(out);
    ck_assert_int_eq(wire_next_frame(&rest, 65536, &frame), OK);
    ck_assert_uint_eq(rest.size, 0);
    return frame;
}

TEST(a_report_is_an_error_or_a_notice_by_its_severity)
{
    struct buffer out = BUFFER_INIT(4096);
    struct wire_report report = {.sqlstate = "53300", .message = "full", .hint = "wait"};
    struct wire_error found;
    static const char *const severities[] = {"ERROR", "FATAL", "PANIC", "NOTICE", "WARNING"};
    for (size_t i = 0; i < ARRAY_SIZE(severities); i++) {
        report.severity = severities[i];
        struct wire_frame frame = report_of(&out, &report);
        ck_assert_int_eq(frame.type, i < 3 ? WIRE_ERROR : WIRE_NOTICE);
        ck_assert_int_eq(wire_read_error(frame.body, &found), OK);
        ck_assert(span_is(found.severity, severities[i]));
        ck_assert(span_is(found.sqlstate, "53300"));
        ck_assert(span_is(found.message, "full"));
        ck_assert(span_is(found.hint, "wait"));
        ck_assert_uint_eq(found.detail.size, 0);
    }
    buffer_fini(&out);
}
END_TEST

TEST(a_report_always_has_an_sqlstate_of_five_characters)
{
    struct buffer out = BUFFER_INIT(4096);
    static const char *const states[] = {NULL, "", "42", "420000"};
    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        struct wire_report report = {"ERROR", states[i], "odd", NULL, NULL};
        struct wire_error found;
        ck_assert_int_eq(wire_read_error(report_of(&out, &report).body, &found), OK);
        ck_assert(span_is(found.sqlstate, "XX000"));
    }
    buffer_fini(&out);
}
END_TEST

TEST(an_authentication_request_has_the_size_of_its_kind)
{
    struct wire_auth_request request;
    ck_assert_int_eq(wire_read_authentication(SPAN("\0\0\0\0"), &request), OK);
    ck_assert_uint_eq(request.kind, WIRE_AUTH_OK);
    ck_assert_int_eq(wire_read_authentication(SPAN("\0\0\0\0x"), &request), FAULT_PROTOCOL);
    ck_assert_int_eq(wire_read_authentication(SPAN("\0\0\0\3x"), &request), FAULT_PROTOCOL);
    ck_assert_int_eq(wire_read_authentication(SPAN("\0\0\0\5abcd"), &request), OK);
    ck_assert(span_is(request.rest, "abcd"));
    ck_assert_int_eq(wire_read_authentication(SPAN("\0\0\0\5abc"), &request), FAULT_PROTOCOL);
    ck_assert_int_eq(wire_read_authentication(SPAN("\0\0\0\5abcde"), &request), FAULT_PROTOCOL);
    ck_assert_int_eq(wire_read_authentication(SPAN("\0\0\0"), &request), FAULT_PROTOCOL);
    ck_assert_int_eq(wire_read_authentication(SPAN("\0\0\0\7gss"), &request), OK);
    ck_assert_uint_eq(request.kind, 7);
}
END_TEST

TEST(a_mechanism_is_found_in_its_list_by_its_whole_name_only)
{
    struct span both = SPAN("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
    ck_assert(wire_sasl_offers(both, "SCRAM-SHA-256"));
    ck_assert(wire_sasl_offers(both, "SCRAM-SHA-256-PLUS"));
    ck_assert(!wire_sasl_offers(both, "SCRAM-SHA-1"));
    ck_assert(!wire_sasl_offers(SPAN("SCRAM-SHA-256-PLUS\0\0"), "SCRAM-SHA-256"));
    ck_assert(!wire_sasl_offers(SPAN("\0SCRAM-SHA-256\0\0"), "SCRAM-SHA-256"));
    ck_assert(!wire_sasl_offers(SPAN("SCRAM-SHA-256"), "SCRAM-SHA-256"));
    ck_assert(!wire_sasl_offers(SPAN_NONE, "SCRAM-SHA-256"));
}
END_TEST

TESTS("wire_messages", a_parse_names_its_statement_its_text_and_its_types,
      a_parse_that_promises_more_types_than_it_has_is_refused,
      the_names_of_a_bind_are_read_while_the_rest_still_arrives,
      describe_and_close_name_a_statement_or_a_portal_and_nothing_else,
      an_execute_with_a_negative_row_count_means_all,
      texts_keys_and_parameters_are_exactly_as_long_as_they_say,
      a_negotiation_names_as_many_options_as_it_counts,
      an_error_gives_its_fields_and_the_severity_that_is_not_translated,
      an_error_without_sqlstate_or_without_anything_is_still_read,
      a_report_is_an_error_or_a_notice_by_its_severity,
      a_report_always_has_an_sqlstate_of_five_characters,
      an_authentication_request_has_the_size_of_its_kind,
      a_mechanism_is_found_in_its_list_by_its_whole_name_only)
