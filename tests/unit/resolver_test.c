#include "resolver_world.h"

/* --- finding ---------------------------------------------------------------------------------- */

TEST(srv_records_and_addresses_give_backends_that_are_named_by_their_target)
{
    begin(settings_for(RESOLVER_SRV, "_pg._tcp.test", 1));
    add_srv("_pg._tcp.test", 60, 5432, "a.test");
    add_srv("_pg._tcp.test", 60, 5433, "b.test");
    add_address("a.test", 60, "10.0.0.1");
    add_address("b.test", 60, "2001:db8::2");
    run(sec(1));
    ck_assert_str_eq(found(), "a.test=10.0.0.1:5432 b.test=[2001:db8::2]:5433");
}
END_TEST

TEST(a_name_has_addresses_of_both_families)
{
    begin(settings_for(RESOLVER_DNS, "db.test", 1));
    add_address("db.test", 60, "10.0.0.1");
    add_address("db.test", 60, "10.0.0.2");
    add_address("db.test", 60, "2001:db8::2");
    run(sec(1));
    ck_assert_str_eq(found(), "db.test=10.0.0.1:5432 db.test=10.0.0.2:5432 "
                              "db.test=[2001:db8::2]:5432");
}
END_TEST

TEST(one_target_may_have_several_ports_and_several_addresses)
{
    begin(settings_for(RESOLVER_SRV, "_pg._tcp.test", 1));
    add_srv("_pg._tcp.test", 60, 5432, "a.test");
    add_srv("_pg._tcp.test", 60, 5433, "a.test");
    add_address("a.test", 60, "10.0.0.1");
    add_address("a.test", 60, "10.0.0.2");
    run(sec(1));
    ck_assert_str_eq(found(), "a.test=10.0.0.1:5432 a.test=10.0.0.1:5433 "
                              "a.test=10.0.0.2:5432 a.test=10.0.0.2:5433");
}
END_TEST

TEST(priorities_and_weights_are_passed_on)
{
    size_t count;
    begin(settings_for(RESOLVER_SRV, "_pg._tcp.test", 1));
    struct record *record = add_srv("_pg._tcp.test", 60, 5432, "a.test");
    record->priority = 20;
    record->weight = 7;
    record = add_srv("_pg._tcp.test", 60, 5432, "b.test");
    record->priority = 10;
    add_address("a.test", 60, "10.0.0.1");
    add_address("b.test", 60, "10.0.0.2");
    run(sec(1));
    const struct backend_found *all = resolver_found(world.resolver, &count);
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(all[0].target, "b.test");
    ck_assert_uint_eq(all[0].priority, 10);
    ck_assert_uint_eq(all[0].weight, 0);
    ck_assert_uint_eq(all[1].priority, 20);
    ck_assert_uint_eq(all[1].weight, 7);
}
END_TEST

TEST(a_changed_weight_is_a_change)
{
    begin(settings_for(RESOLVER_SRV, "_pg._tcp.test", 1));
    struct record *record = add_srv("_pg._tcp.test", 10, 5432, "a.test");
    add_address("a.test", 10, "10.0.0.1");
    run(sec(1));
    uint64_t version = resolver_version(world.resolver);
    record->weight = 9;
    run(sec(10));
    ck_assert_uint_eq(resolver_version(world.resolver), version + 1);
}
END_TEST

TEST(addresses_in_the_additional_section_are_not_asked_for)
{
    begin(settings_for(RESOLVER_SRV, "_pg._tcp.test", 1));
    add_srv("_pg._tcp.test", 60, 5432, "a.test")->additional = true;
    add_address("a.test", 60, "10.0.0.1");
    run(sec(1));
    ck_assert_str_eq(found(), "a.test=10.0.0.1:5432");
    ck_assert_uint_eq(world.asked_type[DNS_TYPE_A], 0);
    ck_assert_uint_eq(world.asked_type[DNS_TYPE_AAAA], 1);
}
END_TEST

TEST(more_than_sixteen_addresses_are_found)
{
    begin(settings_for(RESOLVER_SRV, "_pg._tcp.test", 1));
    for (int i = 0; i < 200; i++) {
        char target[32], address[32];
        snprintf(target, sizeof(target), "t%d.test", i);
        snprintf(address, sizeof(address), "10.0.1.%d", i);
        add_srv("_pg._tcp.test", 60, 5432, target);
        add_address(target, 60, address);
    }
    run(sec(5));
    ck_assert_uint_eq(found_count(), 200);
    begin(settings_for(RESOLVER_DNS, "db.test", 1));
    for (int i = 0; i < 100; i++) {
        char address[32];
        snprintf(address, sizeof(address), "10.0.1.%d", i);
        add_address("db.test", 60, address);
    }
    run(sec(5));
    ck_assert_uint_eq(found_count(), 100);
}
END_TEST

TEST(the_search_list_completes_a_name_without_enough_dots)
{
    begin(settings_for(RESOLVER_DNS, "db", 1));
    world.resolv_conf = "search one.test two.test\n";
    add_address("db.two.test", 60, "10.0.0.1");
    add_address("db", 60, "10.0.0.9");
    run(sec(1));
    ck_assert_str_eq(found(), "db=10.0.0.1:5432");
    begin(settings_for(RESOLVER_DNS, "db.x", 1));
    world.resolv_conf = "search one.test two.test\n";
    add_address("db.x.two.test", 60, "10.0.0.1");
    run(sec(1));
    ck_assert_str_eq(found(), "db.x=10.0.0.1:5432");
    begin(settings_for(RESOLVER_DNS, "db.", 1));
    world.resolv_conf = "search one.test two.test\n";
    add_address("db.two.test", 60, "10.0.0.1");
    run(sec(1));
    ck_assert_str_eq(found(), "");
}
END_TEST

TEST(a_changed_resolv_conf_counts_at_the_next_round)
{
    struct resolver_settings settings = settings_for(RESOLVER_DNS, "db.test", 0);
    begin(settings);
    world.resolv_conf = "nameserver 192.0.2.1\n";
    add(1u << 1, "db.test", DNS_TYPE_A, 5, "10.0.0.1");
    add(1u << 2, "db.test", DNS_TYPE_A, 5, "10.0.0.2");
    run(sec(1));
    ck_assert_str_eq(found(), "db.test=10.0.0.1:5432");
    world.resolv_conf = "nameserver 192.0.2.2\n";
    run(sec(6));
    ck_assert_str_eq(found(), "db.test=10.0.0.2:5432");
}
END_TEST

TEST(the_hosts_file_comes_first)
{
    begin(settings_for(RESOLVER_SRV, "_pg._tcp.test", 1));
    world.hosts = "10.9.9.9 a.test\n";
    add_srv("_pg._tcp.test", 60, 5432, "a.test");
    add_address("a.test", 60, "10.0.0.1");
    run(sec(1));
    ck_assert_str_eq(found(), "a.test=10.9.9.9:5432");
    begin(settings_for(RESOLVER_DNS, "db.test", 1));
    world.hosts = "10.9.9.9 db.test\n";
    run(sec(1));
    ck_assert_str_eq(found(), "db.test=10.9.9.9:5432");
    ck_assert_uint_eq(world.asked[1], 0);
}
END_TEST

TEST(of_more_addresses_than_a_service_may_have_the_rest_is_left_out)
{
    begin(settings_for(RESOLVER_DNS, "db.test", 1));
    for (int i = 0; i < 300; i++) {
        char address[32];
        snprintf(address, sizeof(address), "10.0.%d.%d", i / 200, i % 200);
        add_address("db.test", 60, address);
    }
    run(sec(5));
    ck_assert_uint_eq(found_count(), 256);
}
END_TEST

TEST(no_more_queries_are_under_way_than_allowed)
{
    begin(settings_for(RESOLVER_SRV, "_pg._tcp.test", 1));
    for (int i = 0; i < 200; i++) {
        char target[32];
        snprintf(target, sizeof(target), "t%d.test", i);
        add_srv("_pg._tcp.test", 60, 5432, target);
        add_address(target, 60, "10.0.0.1");
    }
    run(sec(5));
    ck_assert_uint_eq(found_count(), 200);
    ck_assert_uint_eq(world.pending_max, 64);
}
END_TEST

/* --- name servers ----------------------------------------------------------------------------- */

static struct resolver_settings settings_with_list(void)
{
    struct resolver_settings settings = settings_for(RESOLVER_SRV, "_pg._tcp.test", 1);
    settings.server_service = "_dns._udp.test";
    return settings;
}

/* Server 1 knows only which name servers there are. */
static void list_servers(void)
{
    begin(settings_with_list());
    add(1u << 1, "_dns._udp.test", DNS_TYPE_SRV, 10, "ns2.test")->port = 53;
    add(1u << 1, "ns2.test", DNS_TYPE_A, 10, "192.0.2.2");
    add(1u << 2, "_pg._tcp.test", DNS_TYPE_SRV, 10, "a.test");
    add(1u << 2, "a.test", DNS_TYPE_A, 10, "10.0.0.1");
}

TEST(backends_are_found_through_listed_name_servers)
{
    list_servers();
    run(sec(1));
    ck_assert_str_eq(found(), "a.test=10.0.0.1:5432");
    ck_assert_uint_ge(world.asked[2], 1);
}
END_TEST

TEST(a_name_server_that_is_no_longer_listed_is_not_asked)
{
    list_servers();
    run(sec(1));
    forget("_dns._udp.test");
    add(1u << 1, "_dns._udp.test", DNS_TYPE_SRV, 10, "ns3.test")->port = 53;
    add(1u << 1, "ns3.test", DNS_TYPE_A, 10, "192.0.2.3");
    add(1u << 3, "_pg._tcp.test", DNS_TYPE_SRV, 10, "b.test");
    add(1u << 3, "b.test", DNS_TYPE_A, 10, "10.0.0.2");
    run(sec(10));
    ck_assert_str_eq(found(), "b.test=10.0.0.2:5432");
    uint32_t asked = world.asked[2];
    run(sec(60));
    ck_assert_uint_eq(world.asked[2], asked);
}
END_TEST

TEST(of_more_name_servers_than_fit_the_rest_is_not_asked)
{
    begin(settings_with_list());
    world.faults[2] = DNS_FAILED;
    for (unsigned i = 1; i <= 70; i++)
        add(1u << 1, "_dns._udp.test", DNS_TYPE_SRV, 10, "ns2.test")->port = i;
    add(1u << 1, "ns2.test", DNS_TYPE_A, 10, "192.0.2.2");
    run(sec(1));
    /* 64 less the one that was given. */
    ck_assert_uint_eq(world.asked[2], 63);
}
END_TEST

TEST(the_first_good_answer_counts_and_a_dead_server_delays_nothing)
{
    begin(settings_for(RESOLVER_SRV, "_pg._tcp.test", 2));
    world.faults[1] = DNS_SILENT;
    add_srv("_pg._tcp.test", 60, 5432, "a.test");
    add_address("a.test", 60, "10.0.0.1");
    run(ms(50));
    ck_assert_str_eq(found(), "a.test=10.0.0.1:5432");
    /* That a.test has no AAAA record is believed when the other server had its time to object. */
    run(ms(2000));
    ck_assert_uint_eq(resolver_rounds(world.resolver), 1);
}
END_TEST

TEST(no_more_servers_are_asked_at_once_than_allowed)
{
    begin(settings_for(RESOLVER_SRV, "_pg._tcp.test", 4));
    for (int i = 1; i <= SERVERS; i++)
        world.faults[i] = DNS_FAILED;
    run(sec(1));
    ck_assert_uint_eq(world.at_once_max, 2);
    for (int i = 1; i <= SERVERS; i++)
        ck_assert_uint_eq(world.asked[i], 1);
}
END_TEST

TEST(a_server_that_fails_is_held_and_comes_back)
{
    begin(settings_for(RESOLVER_DNS, "db.test", 4));
    add_address("db.test", 5, "10.0.0.1");
    world.faults[1] = DNS_SILENT;
    run(sec(60));
    ck_assert_uint_ge(world.asked[3], 8);
    /* Held for 5, 10, 20, ... seconds: asked in few of the twelve rounds, with two queries each. */
    ck_assert_uint_le(world.asked[1], 10);
    world.faults[1] = DNS_RECORDS;
    run(sec(120));
    uint32_t asked = world.asked[1];
    run(sec(20));
    ck_assert_uint_gt(world.asked[1], asked);
}
END_TEST

TEST(servers_that_only_fail_are_told_apart_from_names_that_do_not_exist)
{
    const char *wrong;
    begin(settings_for(RESOLVER_SRV, "_pg._tcp.test", 1));
    add(1u << 3, "_pg._tcp.test", DNS_TYPE_SRV, 10, "a.test");
    run(sec(1));
    ck_assert(!resolver_succeeded(world.resolver, &wrong));
    ck_assert_str_eq(wrong, "SRV records of \"_pg._tcp.test\": 192.0.2.1:53 said \"nxdomain\"");
    world.faults[1] = DNS_REFUSED;
    run(sec(12));
    ck_assert(!resolver_succeeded(world.resolver, &wrong));
    ck_assert_ptr_nonnull(strstr(wrong, "said \"refused\""));
}
END_TEST

/* --- failures change nothing ------------------------------------------------------------------ */

TEST(servfail_refused_timeouts_and_garbage_change_nothing)
{
    static const enum dns_said faults[] = {DNS_FAILED, DNS_REFUSED, DNS_SILENT, DNS_UNREACHABLE,
                                           DNS_MALFORMED};
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
        one_backend_by_srv(10);
        world.faults[1] = faults[i];
        least_found = found_count();
        run_watched(sec(3600), note_least);
        ck_assert_uint_eq(least_found, 1);
        ck_assert_str_eq(found(), "a.test=10.0.0.1:5432");
    }
}
END_TEST

TEST(a_failure_of_every_address_query_changes_nothing)
{
    one_backend_by_srv(10);
    world.address_fault = DNS_SILENT;
    run(sec(300));
    ck_assert_str_eq(found(), "a.test=10.0.0.1:5432");
    /* Nor if the targets are others, whose addresses were never known. */
    forget("_pg._tcp.test");
    add_srv("_pg._tcp.test", 10, 5432, "b.test");
    run(sec(300));
    ck_assert_str_eq(found(), "a.test=10.0.0.1:5432");
}
END_TEST

TEST(a_failure_of_one_family_keeps_its_addresses)
{
    begin(settings_for(RESOLVER_DNS, "db.test", 1));
    add_address("db.test", 10, "10.0.0.1");
    add_address("db.test", 10, "2001:db8::1");
    run(sec(1));
    world.aaaa_fault = DNS_FAILED;
    run(sec(60));
    ck_assert_str_eq(found(), "db.test=10.0.0.1:5432 db.test=[2001:db8::1]:5432");
}
END_TEST

TEST(stale_answers_are_used_for_as_long_as_they_may)
{
    struct resolver_settings settings = settings_for(RESOLVER_SRV, "_pg._tcp.test", 1);
    settings.stale_for = sec(60);
    begin(settings);
    add_srv("_pg._tcp.test", 10, 5432, "a.test");
    add_address("a.test", 10, "10.0.0.1");
    run(sec(1));
    world.faults[1] = DNS_FAILED;
    run(sec(50));
    ck_assert_uint_eq(found_count(), 1);
    run(sec(20));
    ck_assert_uint_eq(found_count(), 0);
}
END_TEST

TEST(a_name_that_is_gone_empties_the_service_after_three_rounds)
{
    one_backend_by_srv(5);
    forget("_pg._tcp.test");
    uint64_t rounds = resolver_rounds(world.resolver);
    while (resolver_rounds(world.resolver) < rounds + 2) {
        run(ms(100));
        ck_assert_uint_eq(found_count(), 1);
    }
    run(sec(7));
    ck_assert_uint_eq(found_count(), 0);
    add_srv("_pg._tcp.test", 5, 5432, "a.test");
    run(sec(7));
    ck_assert_str_eq(found(), "a.test=10.0.0.1:5432");
}
END_TEST

TEST(an_empty_answer_between_good_ones_is_forgotten)
{
    one_backend_by_srv(5);
    for (int i = 0; i < 6; i++) {
        forget("_pg._tcp.test");
        run(sec(9));
        ck_assert_uint_eq(found_count(), 1);
        add_srv("_pg._tcp.test", 5, 5432, "a.test");
        run(sec(7));
        ck_assert_uint_eq(found_count(), 1);
    }
}
END_TEST

TEST(the_target_of_one_dot_means_no_service)
{
    begin(settings_for(RESOLVER_SRV, "_pg._tcp.test", 1));
    add_srv("_pg._tcp.test", 5, 5432, ".");
    run(sec(30));
    ck_assert_uint_eq(found_count(), 0);
    one_backend_by_srv(5);
    forget("_pg._tcp.test");
    add_srv("_pg._tcp.test", 5, 5432, ".");
    run(sec(30));
    ck_assert_uint_eq(found_count(), 0);
}
END_TEST

/* --- changes ---------------------------------------------------------------------------------- */

TEST(a_new_address_under_an_old_name_is_seen)
{
    one_backend_by_srv(10);
    forget("a.test");
    add_address("a.test", 10, "10.0.0.2");
    run(sec(10));
    ck_assert_str_eq(found(), "a.test=10.0.0.2:5432");
}
END_TEST

TEST(a_new_port_under_an_old_name_is_seen)
{
    one_backend_by_srv(10);
    forget("_pg._tcp.test");
    add_srv("_pg._tcp.test", 10, 6543, "a.test");
    run(sec(10));
    ck_assert_str_eq(found(), "a.test=10.0.0.1:6543");
}
END_TEST

TEST(another_order_changes_nothing)
{
    begin(settings_for(RESOLVER_DNS, "db.test", 1));
    add_address("db.test", 10, "10.0.0.1");
    add_address("db.test", 10, "10.0.0.2");
    run(sec(1));
    uint64_t version = resolver_version(world.resolver);
    forget("db.test");
    add_address("db.test", 10, "10.0.0.2");
    add_address("db.test", 10, "10.0.0.1");
    run(sec(60));
    ck_assert_uint_eq(resolver_version(world.resolver), version);
}
END_TEST

TEST(nothing_is_dropped_before_what_replaces_it_is_found)
{
    one_backend_by_srv(10);
    least_found = 1;
    forget("_pg._tcp.test");
    add_srv("_pg._tcp.test", 10, 5432, "b.test");
    add_address("b.test", 10, "10.0.0.2");
    run_watched(sec(10), note_least);
    ck_assert_uint_eq(least_found, 1);
    ck_assert_str_eq(found(), "b.test=10.0.0.2:5432");
}
END_TEST

TEST(a_new_name_by_a_reload_keeps_the_backends_until_it_is_found)
{
    one_backend_by_srv(10);
    struct resolver_settings settings = settings_for(RESOLVER_DNS, "other.test", 1);
    world.faults[1] = DNS_FAILED;
    resolver_set(world.resolver, &settings);
    run(sec(30));
    ck_assert_str_eq(found(), "a.test=10.0.0.1:5432");
    world.faults[1] = DNS_RECORDS;
    add_address("other.test", 10, "10.0.0.7");
    run(sec(60));
    ck_assert_str_eq(found(), "other.test=10.0.0.7:5432");
}
END_TEST

TEST(answers_to_the_questions_before_a_reload_are_ignored)
{
    begin(settings_for(RESOLVER_DNS, "db.test", 1));
    add_address("db.test", 10, "10.0.0.1");
    add_address("other.test", 10, "10.0.0.7");
    send_queries();
    struct resolver_settings settings = settings_for(RESOLVER_DNS, "other.test", 1);
    resolver_set(world.resolver, &settings);
    run(sec(1));
    ck_assert_str_eq(found(), "other.test=10.0.0.7:5432");
}
END_TEST

/* --- intervals -------------------------------------------------------------------------------- */

static duration interval_after(uint32_t ttl)
{
    one_backend_by_srv(ttl);
    uint64_t rounds = resolver_rounds(world.resolver);
    moment from = world.now;
    while (resolver_rounds(world.resolver) == rounds) {
        run(ms(100));
        ck_assert_uint_eq(found_count(), 1);
    }
    return between(from, world.now);
}

TEST(a_round_begins_after_four_fifths_of_the_time_to_live)
{
    duration wait = interval_after(100);
    ck_assert_int_ge(wait.us, sec(70).us);
    ck_assert_int_le(wait.us, sec(80).us);
}
END_TEST

TEST(the_time_to_live_of_srv_records_counts_too)
{
    begin(settings_for(RESOLVER_SRV, "_pg._tcp.test", 1));
    add_srv("_pg._tcp.test", 20, 5432, "a.test");
    add_address("a.test", 3600, "10.0.0.1");
    run(sec(17));
    ck_assert_uint_eq(resolver_rounds(world.resolver), 2);
}
END_TEST

TEST(a_time_to_live_of_zero_asks_at_the_shortest_interval_and_drops_nothing)
{
    one_backend_by_srv(0);
    least_found = 1;
    uint64_t rounds = resolver_rounds(world.resolver);
    run_watched(sec(55), note_least);
    ck_assert_uint_eq(least_found, 1);
    ck_assert_uint_ge(resolver_rounds(world.resolver) - rounds, 9);
    ck_assert_uint_le(resolver_rounds(world.resolver) - rounds, 11);
}
END_TEST

TEST(a_time_to_live_shorter_than_the_interval_drops_nothing)
{
    struct resolver_settings settings = settings_for(RESOLVER_SRV, "_pg._tcp.test", 1);
    settings.refresh_min = settings.refresh_max = sec(3600);
    begin(settings);
    add_srv("_pg._tcp.test", 10, 5432, "a.test");
    add_address("a.test", 10, "10.0.0.1");
    run(sec(1));
    least_found = 1;
    run_watched(sec(7000), note_least);
    ck_assert_uint_eq(least_found, 1);
    ck_assert_uint_eq(resolver_rounds(world.resolver), 2);
}
END_TEST

TEST(the_longest_interval_bounds_a_long_time_to_live)
{
    duration wait = interval_after(86400);
    ck_assert_int_ge(wait.us, sec(265).us);
    ck_assert_int_le(wait.us, sec(300).us);
}
END_TEST

TEST(two_processes_do_not_ask_at_the_same_time)
{
    deadline due[2];
    for (uint64_t i = 0; i < 2; i++) {
        struct resolver_settings settings = settings_for(RESOLVER_DNS, "db.test", 1);
        begin(settings);
        resolver_free(&world.resolver);
        ck_assert_int_eq(resolver_new(&settings, 99 + 16 * i, &world.resolver), OK);
        add_address("db.test", 1000, "10.0.0.1");
        run(sec(1));
        due[i] = resolver_due(world.resolver);
    }
    ck_assert_int_ne(due[0].us, due[1].us);
}
END_TEST

TEST(demands_begin_a_round_at_most_once_a_second)
{
    one_backend_by_srv(3600);
    uint64_t rounds = resolver_rounds(world.resolver);
    for (int i = 0; i < 100; i++) {
        resolver_demand(world.resolver);
        run(ms(100));
    }
    ck_assert_uint_ge(resolver_rounds(world.resolver) - rounds, 9);
    ck_assert_uint_le(resolver_rounds(world.resolver) - rounds, 11);
    run(sec(10));
    rounds = resolver_rounds(world.resolver);
    resolver_demand(world.resolver);
    run(ms(100));
    ck_assert_uint_eq(resolver_rounds(world.resolver), rounds + 1);
}
END_TEST

TESTS("resolver", srv_records_and_addresses_give_backends_that_are_named_by_their_target,
      a_name_has_addresses_of_both_families,
      one_target_may_have_several_ports_and_several_addresses, priorities_and_weights_are_passed_on,
      a_changed_weight_is_a_change, addresses_in_the_additional_section_are_not_asked_for,
      more_than_sixteen_addresses_are_found, the_search_list_completes_a_name_without_enough_dots,
      a_changed_resolv_conf_counts_at_the_next_round, the_hosts_file_comes_first,
      backends_are_found_through_listed_name_servers,
      a_name_server_that_is_no_longer_listed_is_not_asked,
      the_first_good_answer_counts_and_a_dead_server_delays_nothing,
      no_more_servers_are_asked_at_once_than_allowed,
      of_more_addresses_than_a_service_may_have_the_rest_is_left_out,
      no_more_queries_are_under_way_than_allowed,
      of_more_name_servers_than_fit_the_rest_is_not_asked,
      a_server_that_fails_is_held_and_comes_back,
      servers_that_only_fail_are_told_apart_from_names_that_do_not_exist,
      servfail_refused_timeouts_and_garbage_change_nothing,
      a_failure_of_every_address_query_changes_nothing, a_failure_of_one_family_keeps_its_addresses,
      stale_answers_are_used_for_as_long_as_they_may,
      a_name_that_is_gone_empties_the_service_after_three_rounds,
      an_empty_answer_between_good_ones_is_forgotten, the_target_of_one_dot_means_no_service,
      a_new_address_under_an_old_name_is_seen, a_new_port_under_an_old_name_is_seen,
      another_order_changes_nothing, nothing_is_dropped_before_what_replaces_it_is_found,
      a_new_name_by_a_reload_keeps_the_backends_until_it_is_found,
      answers_to_the_questions_before_a_reload_are_ignored,
      a_round_begins_after_four_fifths_of_the_time_to_live,
      the_time_to_live_of_srv_records_counts_too,
      a_time_to_live_of_zero_asks_at_the_shortest_interval_and_drops_nothing,
      a_time_to_live_shorter_than_the_interval_drops_nothing,
      the_longest_interval_bounds_a_long_time_to_live, two_processes_do_not_ask_at_the_same_time,
      demands_begin_a_round_at_most_once_a_second)
