#include "unit.h"
#include "wire/startup.h"

static uint32_t length_of(uint32_t word)
{
    uint8_t bytes[4];
    wire_store_u32(bytes, word);
    return wire_startup_length(bytes);
}

/* A packet with its length word made right. */
static fault read_packet(uint8_t packet[512], uint32_t code, struct span body,
                         struct wire_startup *ret)
{
    ck_assert_uint_lt(body.size, 500);
    wire_store_u32(packet, (uint32_t)body.size + 8);
    wire_store_u32(packet + 4, code);
    if (body.size > 0)
        memcpy(packet + 8, body.at, body.size);
    return wire_read_startup(span_of(packet, body.size + 8), ret);
}

TEST(a_first_length_is_taken_only_between_eight_and_the_limit)
{
    ck_assert_uint_eq(length_of(0), 0);
    ck_assert_uint_eq(length_of(7), 0);
    ck_assert_uint_eq(length_of(8), 8);
    ck_assert_uint_eq(length_of(WIRE_STARTUP_MAX), WIRE_STARTUP_MAX);
    ck_assert_uint_eq(length_of(WIRE_STARTUP_MAX + 1), 0);
    ck_assert_uint_eq(length_of(INT32_MAX), 0);
    ck_assert_uint_eq(length_of(0x80000008u), 0);
    ck_assert_uint_eq(length_of(UINT32_MAX), 0);
    /* A TLS handshake without a request before it, and HTTP. */
    ck_assert_uint_eq(wire_startup_length((const uint8_t *)"\x16\3\1\2"), 0);
    ck_assert_uint_eq(wire_startup_length((const uint8_t *)"GET "), 0);
}
END_TEST

TEST(a_startup_packet_gives_its_version_and_parameters)
{
    uint8_t packet[512];
    struct wire_startup startup;
    struct span body = SPAN("user\0ann\0database\0app\0\0");
    ck_assert_int_eq(read_packet(packet, WIRE_PROTOCOL_3_0, body, &startup), OK);
    ck_assert_int_eq(startup.kind, WIRE_STARTUP);
    ck_assert_uint_eq(startup.version, WIRE_PROTOCOL_3_0);
    ck_assert(span_is(wire_find_parameter(startup.parameters, "user"), "ann"));
    ck_assert(span_is(wire_find_parameter(startup.parameters, "database"), "app"));
    ck_assert_uint_eq(wire_find_parameter(startup.parameters, "options").size, 0);
    struct span rest = startup.parameters, name, value;
    ck_assert(wire_next_parameter(&rest, &name, &value));
    ck_assert(span_is(name, "user"));
    ck_assert(wire_next_parameter(&rest, &name, &value));
    ck_assert(span_is(value, "app"));
    ck_assert(!wire_next_parameter(&rest, &name, &value));
    ck_assert_int_eq(read_packet(packet, WIRE_PROTOCOL_3_0, SPAN("\0"), &startup), OK);
    ck_assert_uint_eq(startup.parameters.size, 0);
}
END_TEST

TEST(the_last_of_two_parameters_wins_and_an_empty_value_is_one)
{
    uint8_t packet[512];
    struct wire_startup startup;
    struct span body = SPAN("user\0a\0database\0\0user\0b\0\0");
    ck_assert_int_eq(read_packet(packet, WIRE_PROTOCOL_3_0, body, &startup), OK);
    ck_assert(span_is(wire_find_parameter(startup.parameters, "user"), "b"));
    struct span database = wire_find_parameter(startup.parameters, "database");
    ck_assert_ptr_nonnull(database.at);
    ck_assert_uint_eq(database.size, 0);
}
END_TEST

TEST(a_startup_packet_must_end_with_its_terminator_exactly)
{
    uint8_t packet[512];
    struct wire_startup startup;
    static const struct span bad[] = {
        {NULL, 0},
        {(const uint8_t *)"user", 4},
        {(const uint8_t *)"user\0", 5},
        {(const uint8_t *)"user\0ann", 8},
        {(const uint8_t *)"user\0ann\0", 9},
        {(const uint8_t *)"user\0\0", 6},
        {(const uint8_t *)"\0\0", 2},
        {(const uint8_t *)"user\0ann\0\0\0", 11},
        {(const uint8_t *)"user\0ann\0\0database\0app\0\0", 24},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_int_eq(read_packet(packet, WIRE_PROTOCOL_3_0, bad[i], &startup), FAULT_PROTOCOL);
}
END_TEST

TEST(a_packet_whose_length_word_lies_is_refused)
{
    uint8_t packet[512];
    struct wire_startup startup;
    ck_assert_int_eq(read_packet(packet, WIRE_PROTOCOL_3_0, SPAN("\0"), &startup), OK);
    wire_store_u32(packet, 10);
    ck_assert_int_eq(wire_read_startup(span_of(packet, 9), &startup), FAULT_PROTOCOL);
    wire_store_u32(packet, 8);
    ck_assert_int_eq(wire_read_startup(span_of(packet, 9), &startup), FAULT_PROTOCOL);
    ck_assert_int_eq(wire_read_startup(span_of(packet, 7), &startup), FAULT_PROTOCOL);
    ck_assert_int_eq(wire_read_startup(SPAN_NONE, &startup), FAULT_PROTOCOL);
}
END_TEST

TEST(another_major_version_is_unsupported_and_named_while_any_minor_is_read)
{
    uint8_t packet[512];
    struct wire_startup startup = {0};
    ck_assert_int_eq(read_packet(packet, 0x00020000, SPAN("x"), &startup), FAULT_UNSUPPORTED);
    ck_assert_uint_eq(startup.version, 0x00020000);
    ck_assert_int_eq(read_packet(packet, 0x00040000, SPAN("\0"), &startup), FAULT_UNSUPPORTED);
    /* A request code that nobody has made yet. */
    ck_assert_int_eq(read_packet(packet, 80877105, SPAN_NONE, &startup), FAULT_UNSUPPORTED);
    ck_assert_uint_eq(startup.version, 80877105);
    ck_assert_int_eq(read_packet(packet, 0x00030000 + 9999, SPAN("\0"), &startup), OK);
    ck_assert_uint_eq(startup.version & 0xffff, 9999);
}
END_TEST

TEST(tls_and_gss_requests_carry_nothing)
{
    uint8_t packet[512];
    struct wire_startup startup;
    ck_assert_int_eq(read_packet(packet, WIRE_SSL_REQUEST, SPAN_NONE, &startup), OK);
    ck_assert_int_eq(startup.kind, WIRE_STARTUP_SSL);
    ck_assert_int_eq(read_packet(packet, WIRE_GSS_REQUEST, SPAN_NONE, &startup), OK);
    ck_assert_int_eq(startup.kind, WIRE_STARTUP_GSS);
    ck_assert_int_eq(read_packet(packet, WIRE_SSL_REQUEST, SPAN("x"), &startup), FAULT_PROTOCOL);
    ck_assert_int_eq(read_packet(packet, WIRE_GSS_REQUEST, SPAN("x"), &startup), FAULT_PROTOCOL);
}
END_TEST

TEST(a_cancel_request_has_a_secret_of_4_to_256_bytes)
{
    uint8_t packet[512];
    uint8_t body[300] = {0xff, 0xff, 0xff, 0xfe, 'k', 'e', 'y', '!'};
    struct wire_startup startup;
    for (size_t size = 0; size < sizeof(body); size++) {
        fault found = read_packet(packet, WIRE_CANCEL_REQUEST, span_of(body, size), &startup);
        ck_assert_int_eq(found, size >= 8 && size <= 260 ? OK : FAULT_PROTOCOL);
        if (found != OK)
            continue;
        ck_assert_int_eq(startup.kind, WIRE_STARTUP_CANCEL);
        ck_assert_uint_eq(startup.cancel.pid, 0xfffffffe);
        ck_assert_uint_eq(startup.cancel.secret.size, size - 4);
    }
}
END_TEST

TEST(what_the_connecting_side_builds_is_what_this_side_reads)
{
    struct buffer out = BUFFER_INIT(4096);
    struct wire_startup startup;
    size_t start;
    buffer_append_text(&out, "before");
    wire_put_startup_begin(&out, WIRE_PROTOCOL_3_0, &start);
    wire_put_startup_parameter(&out, SPAN("user"), SPAN("ann"));
    wire_put_startup_parameter(&out, SPAN("options"), SPAN("-c a=b"));
    wire_put_startup_end(&out, start);
    ck_assert_int_eq(wire_read_startup(span_skip(buffer_span(&out), 6), &startup), OK);
    ck_assert(span_is(wire_find_parameter(startup.parameters, "options"), "-c a=b"));
    buffer_clear(&out);
    wire_put_ssl_request(&out);
    ck_assert_int_eq(wire_read_startup(buffer_span(&out), &startup), OK);
    ck_assert_int_eq(startup.kind, WIRE_STARTUP_SSL);
    buffer_clear(&out);
    wire_put_cancel(&out, 77, SPAN("\x80\0\0\1"));
    ck_assert_int_eq(wire_read_startup(buffer_span(&out), &startup), OK);
    ck_assert_uint_eq(startup.cancel.pid, 77);
    ck_assert_uint_eq(wire_u32(startup.cancel.secret.at), 0x80000001);
    buffer_fini(&out);
}
END_TEST

TEST(a_startup_packet_that_passes_the_ceiling_leaves_a_failed_buffer)
{
    for (size_t ceiling = 0; ceiling < 18; ceiling++) {
        struct buffer out = BUFFER_INIT(ceiling);
        size_t start;
        wire_put_startup_begin(&out, WIRE_PROTOCOL_3_0, &start);
        wire_put_startup_parameter(&out, SPAN("user"), SPAN("ann"));
        wire_put_startup_end(&out, start);
        ck_assert_int_eq(buffer_fault(&out), FAULT_LIMIT);
        buffer_fini(&out);
    }
}
END_TEST

TEST(negotiation_lists_what_is_unknown_and_is_silent_when_nothing_is)
{
    struct buffer out = BUFFER_INIT(4096);
    struct span plain = SPAN("user\0ann\0_pq\0x\0");
    struct span odd = SPAN("_pq_.one\0on\0user\0ann\0_pq_.two\0\0");
    wire_put_negotiate(&out, WIRE_PROTOCOL_3_0, plain);
    wire_put_negotiate(&out, WIRE_PROTOCOL_3_0, SPAN_NONE);
    wire_put_negotiate(&out, 0x00030001, plain);
    wire_put_negotiate(&out, WIRE_PROTOCOL_3_2, plain);
    ck_assert_uint_eq(out.size, 0);
    wire_put_negotiate(&out, 0x0003270f, plain);
    ck_assert(span_equal(buffer_span(&out), SPAN("v\0\0\0\x0c\0\3\0\2\0\0\0\0")));
    buffer_clear(&out);
    wire_put_negotiate(&out, WIRE_PROTOCOL_3_0, odd);
    ck_assert(
        span_equal(buffer_span(&out), SPAN("v\0\0\0\x1e\0\3\0\0\0\0\0\2_pq_.one\0_pq_.two\0")));
    buffer_fini(&out);
}
END_TEST

TEST(replication_is_a_boolean_or_of_a_database)
{
    static const struct {
        const char *word;
        fault read;
        enum wire_replication kind;
    } rows[] = {
        {"database", OK, WIRE_REPLICATION_LOGICAL},
        {"1", OK, WIRE_REPLICATION_PHYSICAL},
        {"t", OK, WIRE_REPLICATION_PHYSICAL},
        {"TRUE", OK, WIRE_REPLICATION_PHYSICAL},
        {"on", OK, WIRE_REPLICATION_PHYSICAL},
        {"ye", OK, WIRE_REPLICATION_PHYSICAL},
        {"0", OK, WIRE_REPLICATION_NONE},
        {"off", OK, WIRE_REPLICATION_NONE},
        {"of", OK, WIRE_REPLICATION_NONE},
        {"n", OK, WIRE_REPLICATION_NONE},
        {"F", OK, WIRE_REPLICATION_NONE},
        {"o", FAULT_PROTOCOL, WIRE_REPLICATION_NONE},
        {"", FAULT_PROTOCOL, WIRE_REPLICATION_NONE},
        {"Database", FAULT_PROTOCOL, WIRE_REPLICATION_NONE},
        {"trues", FAULT_PROTOCOL, WIRE_REPLICATION_NONE},
        {"10", FAULT_PROTOCOL, WIRE_REPLICATION_NONE},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        enum wire_replication kind = WIRE_REPLICATION_NONE;
        ck_assert_int_eq(wire_read_replication(span_text(rows[i].word), &kind), rows[i].read);
        ck_assert_int_eq(kind, rows[i].kind);
    }
}
END_TEST

/* --- options: each row was tried with PostgreSQL 15 ------------------------------------------- */

static fault write_setting(void *argument, struct span name, struct span value)
{
    buffer_printf(argument, "[%.*s|%.*s]", SPAN_ARG(name), SPAN_ARG(value));
    return OK;
}

static void assert_options(const char *options, fault expected, const char *settings)
{
    struct buffer out = BUFFER_INIT(4096);
    uint8_t scratch[256];
    ck_assert_uint_lt(strlen(options), sizeof(scratch));
    struct span wrong = SPAN_NONE;
    fault found = wire_read_options(span_text(options), scratch, write_setting, &out, &wrong);
    ck_assert(found == OK || wrong.at != NULL);
    buffer_append_byte(&out, 0);
    ck_assert_msg(found == expected, "%s: %s", options, fault_name(found));
    ck_assert_str_eq((const char *)out.at, settings);
    buffer_fini(&out);
}

TEST(options_take_every_form_that_postgres_takes)
{
    assert_options("", OK, "");
    assert_options(" \t\r\n\v\f", OK, "");
    assert_options("-c a=b", OK, "[a|b]");
    assert_options("-ca=b", OK, "[a|b]");
    assert_options("--a=b", OK, "[a|b]");
    assert_options("  -c\ta=b\v--c=d  -ce=f ", OK, "[a|b][c|d][e|f]");
    assert_options("-c search-path=x --work-mem=1MB", OK, "[search_path|x][work_mem|1MB]");
    assert_options("-c my.a=x -c my.a=y", OK, "[my.a|x][my.a|y]");
    assert_options("-c a=b --", OK, "[a|b]");
    assert_options("--", OK, "");
}
END_TEST

TEST(values_of_options_may_hold_anything)
{
    assert_options("-c a=b=c -c d=-c", OK, "[a|b=c][d|-c]");
    assert_options("-c a=+%20x", OK, "[a|+%20x]");
    assert_options("-c a=", OK, "[a|]");
    assert_options("--a=", OK, "[a|]");
    assert_options("-c a=--b=c", OK, "[a|--b=c]");
    assert_options("-c --a=x", OK, "[__a|x]");
    assert_options("-c a=x-y", OK, "[a|x-y]");
    assert_options("-c search_path=\"A\",b", OK, "[search_path|\"A\",b]");
    assert_options("-c a='b", OK, "[a|'b]");
}
END_TEST

TEST(a_backslash_takes_the_next_character_as_it_is)
{
    assert_options("-c a=b\\ c", OK, "[a|b c]");
    assert_options("-c a=b\\\\c", OK, "[a|b\\c]");
    assert_options("-c a=b\\\\ --c=d", OK, "[a|b\\][c|d]");
    assert_options("-c a=b=c\\ -c", OK, "[a|b=c -c]");
    assert_options("-c a=b\\\tc", OK, "[a|b\tc]");
    assert_options("-c a=x\\", OK, "[a|x]");
    assert_options("-\\c a=esc", OK, "[a|esc]");
    assert_options("-c a\\=b", OK, "[a|b]");
    assert_options("-c a=\\n", OK, "[a|n]");
}
END_TEST

TEST(options_that_are_no_setting_are_refused)
{
    static const char *const bad[] = {
        "-c",    "-c a",      "--a", "x",     "-",         "-x",        "-E-",  "-c =x",     "--=x",
        "-c --", "-c -c a=b", "\\",  "-c \\", "\\ -c a=b", "-- -c a=b", "-- x", "-fx",       "a=b",
        "-f",    "-W",        "-t",  "-tp",   "-t x",      "-A",        "-",    "-\xc3\xa4", "-d",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_options(bad[i], FAULT_PROTOCOL, "");
    assert_options("-c a=b foo", FAULT_PROTOCOL, "[a|b]");
    assert_options("-eq", FAULT_PROTOCOL, "[datestyle|euro]");
}
END_TEST

TEST(short_switches_stand_for_their_settings)
{
    assert_options("-e", OK, "[datestyle|euro]");
    assert_options("-S 64", OK, "[work_mem|64]");
    assert_options("-S64 -W1", OK, "[work_mem|64][post_auth_delay|1]");
    assert_options("-ec a=1", OK, "[datestyle|euro][a|1]");
    assert_options("-es-a=1", OK, "[datestyle|euro][log_statement_stats|true][a|1]");
    assert_options("-EnbjT -C x -D y -r z -v 7", OK, "");
    assert_options("-B 1 -N 2 -p 3 -h x -k y -il", OK,
                   "[shared_buffers|1][max_connections|2][port|3][listen_addresses|x]"
                   "[unix_socket_directories|y][listen_addresses|*][ssl|true]");
    assert_options("-FOP", OK,
                   "[fsync|false][allow_system_table_mods|true][ignore_system_indexes|true]");
    assert_options("-fs -fi -fo -fb -ft -fn -fm -fhash", OK,
                   "[enable_seqscan|false][enable_indexscan|false][enable_indexonlyscan|false]"
                   "[enable_bitmapscan|false][enable_tidscan|false][enable_nestloop|false]"
                   "[enable_mergejoin|false][enable_hashjoin|false]");
    assert_options("-tpa -tplanner -te", OK,
                   "[log_parser_stats|true][log_planner_stats|true][log_executor_stats|true]");
    assert_options("-d0 -d -1 -d 1x", OK,
                   "[log_min_messages|notice][log_min_messages|notice][log_min_messages|debug1]");
    assert_options("-d3", OK,
                   "[log_min_messages|debug3][log_statement|all][debug_print_parse|true]");
    assert_options("-d5", OK,
                   "[log_min_messages|debug5][log_statement|all][debug_print_parse|true]"
                   "[debug_print_plan|true][debug_print_rewritten|true]");
    assert_options("-d 99", OK, "[log_min_messages|99]");
}
END_TEST

static fault refuse_setting(void *argument, struct span name, struct span value)
{
    *(int *)argument += 1;
    return FAULT_UNSUPPORTED;
}

TEST(the_first_refusal_of_a_setting_ends_the_reading)
{
    int calls = 0;
    uint8_t scratch[64];
    struct span wrong;
    ck_assert_int_eq(
        wire_read_options(SPAN("-c a=b -c c=d"), scratch, refuse_setting, &calls, &wrong),
        FAULT_UNSUPPORTED);
    ck_assert_int_eq(calls, 1);
}
END_TEST

TESTS("wire_startup", a_first_length_is_taken_only_between_eight_and_the_limit,
      a_startup_packet_gives_its_version_and_parameters,
      the_last_of_two_parameters_wins_and_an_empty_value_is_one,
      a_startup_packet_must_end_with_its_terminator_exactly,
      a_packet_whose_length_word_lies_is_refused,
      another_major_version_is_unsupported_and_named_while_any_minor_is_read,
      tls_and_gss_requests_carry_nothing, a_cancel_request_has_a_secret_of_4_to_256_bytes,
      what_the_connecting_side_builds_is_what_this_side_reads,
      a_startup_packet_that_passes_the_ceiling_leaves_a_failed_buffer,
      negotiation_lists_what_is_unknown_and_is_silent_when_nothing_is,
      replication_is_a_boolean_or_of_a_database, options_take_every_form_that_postgres_takes,
      values_of_options_may_hold_anything, a_backslash_takes_the_next_character_as_it_is,
      options_that_are_no_setting_are_refused, short_switches_stand_for_their_settings,
      the_first_refusal_of_a_setting_ends_the_reading)
