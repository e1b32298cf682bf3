#include "machine/dns_message.h"

#include "dns_packet.h"
#include "machine/dns_system.h"
#include "machine/stream.h"
#include "unit.h"

#include <errno.h>

/* --- records ---------------------------------------------------------------------------------- */

TEST(services_and_additional_addresses_are_read)
{
    struct dns_message reading;
    struct dns_record record;
    packet_begin("db.test", DNS_TYPE_SRV, 0, 2, 1);
    packet_put_srv(NULL, 60, 10, 0, 5432, "A.test");
    packet_put_srv(NULL, 50, 20, 7, 5433, ".");
    packet_put_head("a.test", DNS_TYPE_A, 30, 4);
    packet_put(0xc0000201, 4);
    ck_assert(dns_message_open(packet_span(), &reading));
    ck_assert(dns_message_next(&reading, &record));
    ck_assert_int_eq(record.section, DNS_ANSWER);
    ck_assert_str_eq(record.owner, "db.test");
    ck_assert_str_eq(record.target, "a.test");
    ck_assert_uint_eq(record.priority, 10);
    ck_assert_uint_eq(record.port, 5432);
    ck_assert(dns_message_next(&reading, &record));
    ck_assert_str_eq(record.target, ".");
    ck_assert_uint_eq(record.weight, 7);
    ck_assert(dns_message_next(&reading, &record));
    ck_assert_int_eq(record.section, DNS_ADDITIONAL);
    ck_assert_uint_eq(record.ttl, 30);
    ck_assert_int_eq(record.address.family, ADDRESS_IPV4);
    ck_assert_uint_eq(record.address.bytes[3], 1);
    ck_assert(!dns_message_next(&reading, &record));
    ck_assert(!reading.malformed);
}
END_TEST

TEST(an_answer_cut_anywhere_is_malformed)
{
    struct dns_reply reply;
    packet_begin("db.test", DNS_TYPE_SRV, 0, 2, 0);
    packet_put_srv(NULL, 60, 10, 0, 5432, "a.test");
    packet_put_srv(NULL, 50, 20, 7, 5433, "b.test");
    ck_assert_int_eq(dns_message_reply(packet_span(), "db.test", DNS_TYPE_SRV, &reply),
                     DNS_RECORDS);
    for (size_t cut = 0; cut < packet.size; cut++)
        ck_assert_int_eq(
            dns_message_reply(span_of(packet.at, cut), "db.test", DNS_TYPE_SRV, &reply),
            DNS_MALFORMED);
}
END_TEST

TEST(a_name_that_points_to_itself_is_malformed)
{
    struct dns_reply reply;
    packet_begin("db.test", DNS_TYPE_SRV, 0, 1, 0);
    packet_put(0xc000 | (unsigned)packet.size, 2);
    packet_put(DNS_TYPE_SRV, 2);
    packet_put(1, 2);
    packet_put(0, 4);
    packet_put(0, 2);
    ck_assert_int_eq(dns_message_reply(packet_span(), "db.test", DNS_TYPE_SRV, &reply),
                     DNS_MALFORMED);
}
END_TEST

TEST(a_record_with_a_label_that_is_no_text_is_passed_over)
{
    struct dns_reply reply;
    packet_begin("db.test", DNS_TYPE_SRV, 0, 1, 0);
    packet_put_srv(NULL, 60, 10, 0, 5432, "a test");
    ck_assert_int_eq(dns_message_reply(packet_span(), "db.test", DNS_TYPE_SRV, &reply), DNS_EMPTY);
}
END_TEST

/* --- replies ---------------------------------------------------------------------------------- */

TEST(the_smallest_time_to_live_counts_and_aliases_are_followed)
{
    struct dns_reply reply;
    packet_begin("db.test", DNS_TYPE_SRV, 0, 3, 0);
    packet_put_head(NULL, DNS_TYPE_CNAME, 40, 12);
    packet_put_name("other.test");
    packet_put_srv("other.test", 90, 1, 1, 5432, "a.test");
    packet_put_srv("other.test", 60, 1, 1, 5433, "b.test");
    ck_assert_int_eq(dns_message_reply(packet_span(), "DB.test.", DNS_TYPE_SRV, &reply),
                     DNS_RECORDS);
    ck_assert_str_eq(reply.owner, "other.test");
    ck_assert_uint_eq(reply.count, 2);
    ck_assert_uint_eq(reply.ttl, 40);
}
END_TEST

TEST(a_chain_of_aliases_that_never_ends_has_no_records)
{
    struct dns_reply reply;
    packet_begin("db.test", DNS_TYPE_SRV, 0, 1, 0);
    packet_put_head(NULL, DNS_TYPE_CNAME, 40, 9);
    packet_put_name("db.test");
    ck_assert_int_eq(dns_message_reply(packet_span(), "db.test", DNS_TYPE_SRV, &reply), DNS_EMPTY);
}
END_TEST

TEST(response_codes_are_told_apart)
{
    static const struct {
        unsigned code;
        enum dns_said said;
    } codes[] = {{0, DNS_EMPTY},   {1, DNS_FAILED},  {2, DNS_FAILED},
                 {3, DNS_NO_NAME}, {5, DNS_REFUSED}, {9, DNS_FAILED}};
    struct dns_reply reply;
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        packet_begin("db.test", DNS_TYPE_SRV, codes[i].code, 0, 0);
        ck_assert_int_eq(dns_message_reply(packet_span(), "db.test", DNS_TYPE_SRV, &reply),
                         codes[i].said);
    }
    ck_assert_int_eq(dns_said_of(-ETIMEDOUT), DNS_SILENT);
    ck_assert_int_eq(dns_said_of(-ECONNREFUSED), DNS_UNREACHABLE);
}
END_TEST

/* --- the machine's files ---------------------------------------------------------------------- */

TEST(resolv_conf_has_servers_a_search_list_and_dots)
{
    struct dns_system system = {.dots = 1};
    dns_system_parse(SPAN("# comment\n"
                          "nameserver 192.0.2.1 # first\n"
                          "nameserver nonsense\n"
                          "nameserver 2001:db8::1\n"
                          "domain old.test\n"
                          "; another comment\n"
                          "search a.test b.test.\n"
                          "options timeout:1 ndots:3\n"),
                     &system);
    char text[ADDRESS_TEXT_SIZE];
    ck_assert_uint_eq(system.server_count, 2);
    ck_assert_str_eq(address_text(&system.servers[0], text, sizeof(text)), "192.0.2.1:53");
    ck_assert_str_eq(address_text(&system.servers[1], text, sizeof(text)), "[2001:db8::1]:53");
    ck_assert_uint_eq(system.search_count, 2);
    ck_assert_str_eq(system.search[0], "a.test");
    ck_assert_str_eq(system.search[1], "b.test");
    ck_assert_uint_eq(system.dots, 3);
}
END_TEST

TEST(resolv_conf_with_more_than_fits_keeps_the_first)
{
    struct dns_system system = {.dots = 1};
    for (int i = 0; i < 2; i++)
        dns_system_parse(SPAN("nameserver 192.0.2.1\nnameserver 192.0.2.1\nnameserver 192.0.2.1\n"
                              "nameserver 192.0.2.1\nnameserver 192.0.2.1\n"
                              "search a b c d e f g h\noptions ndots:99 ndots:x ndots:\n"),
                         &system);
    ck_assert_uint_eq(system.server_count, DNS_SERVERS_MAX);
    ck_assert_uint_eq(system.search_count, DNS_SEARCH_MAX);
    ck_assert_uint_eq(system.dots, 15);
}
END_TEST

TEST(a_hosts_file_may_name_a_host_on_several_lines)
{
    struct span text = SPAN("192.0.2.1 a.test b.test\n# 192.0.2.2 b.test\n2001:db8::1 B.test\n");
    struct address address;
    size_t at = 0;
    ck_assert(dns_hosts_next(text, &at, "b.test", 5432, &address));
    ck_assert_int_eq(address.family, ADDRESS_IPV4);
    ck_assert(dns_hosts_next(text, &at, "b.test", 5432, &address));
    ck_assert_int_eq(address.family, ADDRESS_IPV6);
    ck_assert_uint_eq(address.port, 5432);
    ck_assert(!dns_hosts_next(text, &at, "b.test", 5432, &address));
}
END_TEST

TESTS("dns_message", services_and_additional_addresses_are_read,
      an_answer_cut_anywhere_is_malformed, a_name_that_points_to_itself_is_malformed,
      a_record_with_a_label_that_is_no_text_is_passed_over,
      the_smallest_time_to_live_counts_and_aliases_are_followed,
      a_chain_of_aliases_that_never_ends_has_no_records, response_codes_are_told_apart,
      resolv_conf_has_servers_a_search_list_and_dots,
      resolv_conf_with_more_than_fits_keeps_the_first,
      a_hosts_file_may_name_a_host_on_several_lines)
