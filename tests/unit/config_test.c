#include "config_files.h"
#include "instance/settings.h"
#include "machine/log.h"

static const char *row_value(const struct config *config, const char *key)
{
    for (size_t i = 0; i < config->row_count; i++)
        if (strcmp(config->rows[i].key, key) == 0)
            return config->rows[i].value;
    return NULL;
}

/* --- files that are taken --------------------------------------------------------------------- */

TEST(a_minimal_file_gets_the_presets)
{
    struct config *config = taken(LISTEN SERVICES ROUTES, "");
    ck_assert_uint_eq(config->version, 7);
    ck_assert_uint_ge(config->relays, 1);
    ck_assert_uint_eq(config->client_max, 10000);
    ck_assert_uint_eq(config->message_max, 16 << 20);
    ck_assert_uint_eq(config->memory_max, (size_t)1 << 30);
    ck_assert_uint_eq(config->chunk, 256 << 10);
    ck_assert_int_eq(config->login_timeout.us, sec(60).us);
    ck_assert_int_eq(config->shutdown_timeout.us, sec(30).us);
    ck_assert_int_eq(config->drain_timeout.us, NO_LIMIT.us);
    ck_assert_int_eq(config->reset_timeout.us, sec(3).us);
    ck_assert_int_eq(config->overtake_max.us, ms(50).us);
    ck_assert(config->client_socket.nodelay && config->server_socket.keepalive);
    ck_assert_int_eq(config->log_level, LOG_INFO);
    ck_assert(config->log_connections);
    ck_assert(config_console_database(config, SPAN("trunkline")));
    ck_assert(config_console_database(config, SPAN("pgbouncer")));
    ck_assert_uint_eq(config->console_user_count, 0);
    ck_assert_int_eq(config->listens[0].unix_mode, 0777);

    const struct service_config *service = &config->services[0];
    ck_assert_int_eq(service->connect_timeout.us, sec(15).us);
    ck_assert_uint_eq(service->logins_max, 8);
    ck_assert_int_eq(service->retry_min.us, ms(20).us);
    ck_assert_int_eq(service->retry_max.us, ms(250).us);

    const struct route_config *route = &config->routes[0];
    ck_assert_ptr_eq(route->service, service);
    ck_assert_ptr_null(route->database);
    ck_assert_int_eq(route->mode, POOL_SESSION);
    ck_assert_uint_eq(route->pool_size, 20);
    ck_assert_int_eq(route->claim_timeout.us, sec(120).us);
    ck_assert_int_eq(route->idle_timeout.us, sec(600).us);
    ck_assert_int_eq(route->server_lifetime.us, sec(3600).us);
    ck_assert_int_eq(route->client_idle_timeout.us, NO_LIMIT.us);
    ck_assert_uint_eq(route->prepared_max, 200);
    ck_assert_ptr_null(route->server_user);
    config_unref(&config);
}
END_TEST

static void check_service_keys(const struct service_config *service)
{
    ck_assert_str_eq(service->name, "a");
    ck_assert_int_eq(service->connect_timeout.us, sec(1).us);
    ck_assert_uint_eq(service->logins_max, 2);
    ck_assert_uint_eq(service->connections_max, 3);
    ck_assert_int_eq(service->retry_min.us, ms(4).us);
    ck_assert_int_eq(service->retry_max.us, ms(5).us);
}

static void check_route_names(const struct route_config *route)
{
    ck_assert_str_eq(route->database, "d");
    ck_assert_str_eq(route->user, "u");
    ck_assert_str_eq(route->server_database, "sd");
    ck_assert_str_eq(route->server_user, "su");
    ck_assert_str_eq(route->server_password, "sp");
    ck_assert_uint_eq(route->line, 24);
}

static void check_route_limits(const struct route_config *route)
{
    ck_assert_int_eq(route->mode, POOL_STATEMENT);
    ck_assert_uint_eq(route->pool_size, 2);
    ck_assert_uint_eq(route->pool_min, 1);
    ck_assert_uint_eq(route->client_max, 3);
    ck_assert_int_eq(route->claim_timeout.us, sec(4).us);
    ck_assert_int_eq(route->idle_timeout.us, sec(5).us);
    ck_assert_int_eq(route->server_lifetime.us, NO_LIMIT.us);
    ck_assert_int_eq(route->client_idle_timeout.us, sec(6).us);
    ck_assert_uint_eq(route->prepared_max, 0);
}

TEST(every_key_is_read_into_its_field)
{
    struct config *config =
        taken("listen:\n"
              "  - {host: \"*\", port: 1, backlog: 2, unix_mode: 0750}\n"
              "  - {host: /run/x}\n"
              "relays: 3\nclients: 4\nmessage_limit: 1MiB\nmemory_limit: 64MiB\n"
              "chunk_size: 16KiB\nlogin_timeout: 1s\nshutdown_timeout: never\ndrain_timeout: 2s\n"
              "cancel_timeout: 3s\ncancel_limit: 5\nreset_timeout: 4s\novertake_limit: 6ms\n"
              "client_tcp: {nodelay: no, keepalive: off, keepalive_idle: 7s, user_timeout: 8ms}\n"
              "server_tcp: {keepalive_interval: 9s, keepalive_count: 10}\n"
              "log: {level: debug, format: json, file: a.log, connections: no}\n"
              "console: {databases: [admin], users: [ann, bob], stats_users: [eve]}\n"
              "services:\n"
              "  a: {hosts: [x], connect_timeout: 1s, login_limit: 2, connection_limit: 3,\n"
              "      retry_min: 4ms, retry_max: 5ms, tls: {mode: disable}}\n"
              "routes:\n"
              "  - {database: d, user: u, service: a, pool: statement, pool_size: 2, pool_min: 1,\n"
              "     auth: trust, client_limit: 3, claim_timeout: 4s, idle_timeout: 5s,\n"
              "     server_lifetime: never, client_idle_timeout: 6s, prepared_statements: off,\n"
              "     server_database: sd, server_user: su, server_password: sp}\n",
              "");
    ck_assert_str_eq(config->listens[0].host, "*");
    ck_assert_uint_eq(config->listens[0].port, 1);
    ck_assert_int_eq(config->listens[0].backlog, 2);
    ck_assert_int_eq(config->listens[0].unix_mode, 0750);
    ck_assert_str_eq(config->listens[1].host, "/run/x");
    ck_assert_uint_eq(config->listens[1].port, 6432);
    ck_assert_uint_eq(config->relays, 3);
    ck_assert_uint_eq(config->client_max, 4);
    ck_assert_uint_eq(config->message_max, 1 << 20);
    ck_assert_uint_eq(config->memory_max, 64 << 20);
    ck_assert_uint_eq(config->chunk, 16 << 10);
    ck_assert_int_eq(config->login_timeout.us, sec(1).us);
    ck_assert_int_eq(config->shutdown_timeout.us, NO_LIMIT.us);
    ck_assert_int_eq(config->drain_timeout.us, sec(2).us);
    ck_assert_int_eq(config->cancel_timeout.us, sec(3).us);
    ck_assert_uint_eq(config->cancels_max, 5);
    ck_assert_int_eq(config->reset_timeout.us, sec(4).us);
    ck_assert_int_eq(config->overtake_max.us, ms(6).us);
    ck_assert(!config->client_socket.nodelay && !config->client_socket.keepalive);
    ck_assert_int_eq(config->client_socket.keep_idle, 7);
    ck_assert_int_eq(config->client_socket.user_timeout, 8);
    ck_assert_int_eq(config->server_socket.keep_interval, 9);
    ck_assert_int_eq(config->server_socket.keep_count, 10);
    ck_assert_int_eq(config->log_level, LOG_DEBUG);
    ck_assert_int_eq(config->log_format, LOG_FORMAT_JSON);
    ck_assert(!config->log_connections);
    ck_assert(config_console_database(config, SPAN("admin")));
    ck_assert(!config_console_database(config, SPAN("trunkline")));
    ck_assert_int_eq(config_console_role(config, SPAN("bob")), CONSOLE_ALL);
    ck_assert_int_eq(config_console_role(config, SPAN("eve")), CONSOLE_READS);
    ck_assert_int_eq(config_console_role(config, SPAN("bo")), CONSOLE_NOTHING);
    check_service_keys(&config->services[0]);
    check_route_names(&config->routes[0]);
    check_route_limits(&config->routes[0]);
    config_unref(&config);
}
END_TEST

TEST(relative_paths_start_at_the_directory_of_the_file)
{
    char here[256], log[512];
    ck_assert_ptr_nonnull(getcwd(here, sizeof(here)));
    snprintf(log, sizeof(log), "%s/t.log", here);
    struct config *config = taken(LISTEN SERVICES ROUTES "log: {file: t.log}\n", "");
    ck_assert_str_eq(config->log_file, log);
    config_unref(&config);
    config = taken(LISTEN SERVICES ROUTES "log: {file: /var/t.log}\n", "");
    ck_assert_str_eq(config->log_file, "/var/t.log");
    config_unref(&config);
}
END_TEST

TEST(hosts_may_be_names_addresses_directories_each_with_a_port_or_not)
{
    struct config *config =
        taken(LISTEN ROUTES
              "services: {main: {tls: {mode: disable}, hosts: [db1, \"db2:1\", \"[::1]:2\",\n"
              "  \"[::1]\", \"::1\", /run/pg, \"/run/pg:3\", \"/run/a:b\", 10.0.0.1:4]}}\n",
              "");
    static const struct host_config expected[] = {
        {"db1", 5432},     {"db2", 1},     {"::1", 2},         {"::1", 5432},   {"::1", 5432},
        {"/run/pg", 5432}, {"/run/pg", 3}, {"/run/a:b", 5432}, {"10.0.0.1", 4},
    };
    const struct service_config *service = &config->services[0];
    ck_assert_uint_eq(service->host_count, ARRAY_SIZE(expected));
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        ck_assert_str_eq(service->hosts[i].host, expected[i].host);
        ck_assert_uint_eq(service->hosts[i].port, expected[i].port);
    }
    ck_assert_str_eq(row_value(config, "services.main.hosts"),
                     "db1:5432, db2:1, [::1]:2, [::1]:5432, [::1]:5432, /run/pg:5432, /run/pg:3, "
                     "/run/a:b:5432, 10.0.0.1:4");
    config_unref(&config);
}
END_TEST

TEST(the_rows_for_the_console_show_values_and_presets_and_hide_passwords)
{
    struct config *config =
        taken(LISTEN SERVICES
              "routes: [{database: d, service: main, auth: trust, server_password: secret,\n"
              "          claim_timeout: 3600s}]\nrelays: 2\nconsole: {users: [a, b]}\n",
              "");
    ck_assert_str_eq(row_value(config, "listen[0].host"), "127.0.0.1");
    ck_assert_str_eq(row_value(config, "listen[0].tls.mode"), "disable");
    ck_assert_str_eq(row_value(config, "routes[0].claim_timeout"), "1h");
    ck_assert_str_eq(row_value(config, "routes[0].server_password"), "********");
    ck_assert_str_eq(row_value(config, "routes[0].server_user"), "");
    ck_assert_str_eq(row_value(config, "routes[0].user"), "*");
    ck_assert_str_eq(row_value(config, "routes[0].service"), "main");
    ck_assert_str_eq(row_value(config, "routes[0].client_limit"), "off");
    ck_assert_str_eq(row_value(config, "client_tcp.keepalive_idle"), "system");
    ck_assert_str_eq(row_value(config, "console.users"), "a, b");
    ck_assert_str_eq(row_value(config, "relays"), "2");
    for (size_t i = 0; i < config->row_count; i++) {
        const struct config_row *row = &config->rows[i];
        if (strcmp(row->key, "routes[0].claim_timeout") == 0)
            ck_assert(row->reloadable && strcmp(row->preset, "2min") == 0);
        if (strcmp(row->key, "relays") == 0)
            ck_assert(!row->reloadable && strcmp(row->preset, "auto") == 0);
    }
    config_unref(&config);
}
END_TEST

TEST(anchors_and_aliases_may_share_what_repeats)
{
    struct config *config = taken(LISTEN "services: {a: &it {hosts: [x], tls: {mode: disable}},\n"
                                         "           b: *it}\n"
                                         "routes: [{service: b, auth: trust}]\n",
                                  "");
    ck_assert_str_eq(config->routes[0].service->name, "b");
    config_unref(&config);
}
END_TEST

/* --- files that are refused ------------------------------------------------------------------- */

TEST(all_problems_are_told_at_once_in_the_order_of_the_file)
{
    refused("listen:\n"
            "  - host: 127.0.0.1\n"
            "    prot: 6432\n"
            "relays: many\n"
            "services:\n"
            "  main:\n"
            "    hosts: [\"127.0.0.1:99999\"]\n"
            "    tls: {mode: maybe}\n"
            "routes:\n"
            "  - {database: app, service: mian, pool_size: 0, auth: trust}\n"
            "  - {user: x, auth: trust, claim_timeout: 5}\n",
            "t.yaml:3:5: listen[0].prot: unknown key; did you mean \"port\"?\n"
            "t.yaml:4:9: relays: found \"many\"; accepted: a whole number from 1 to 128, or auto\n"
            "t.yaml:7:13: services.main.hosts[0]: found \"127.0.0.1:99999\"; accepted: a list of "
            "\"host\", \"host:port\", \"[IPv6]:port\", \"/directory\" or \"/directory:port\"; "
            "\"@name\" in place of a directory: an abstract Unix socket; behind it "
            "\" priority=N\", \" weight=N\" (0 to 65535) and \" zone=NAME\"\n"
            "t.yaml:8:17: services.main.tls.mode: found \"maybe\"; accepted: disable, prefer, "
            "require, verify-ca or verify-full\n"
            "t.yaml:10:30: routes[0].service: there is no service \"mian\"; did you mean "
            "\"main\"?\n"
            "t.yaml:10:47: routes[0].pool_size: found \"0\"; accepted: a whole number from 1 to "
            "100000\n"
            "t.yaml:11:5: routes[1].service: missing; accepted: a key of services (only auth: "
            "block needs none)\n"
            "t.yaml:11:43: routes[1].claim_timeout: found \"5\"; accepted: a duration with its "
            "unit (us, ms, s, min, h, d) from 1ms to 1d, or never\n");
}
END_TEST

TEST(values_of_the_wrong_type_are_named_for_what_they_are)
{
    refused("listen: {host: x}\nrelays: [1]\nservices: [a]\nroutes: 5\nlog: {level: }\n"
            "auth_file: ~\nconsole: {users: ann}\nchunk_size: {}\n",
            "t.yaml:1:9: listen: found a mapping; accepted: a list of mappings\n"
            "t.yaml:2:9: relays: found a list; accepted: a whole number from 1 to 128, or auto\n"
            "t.yaml:3:11: services: found a list; accepted: a mapping\n"
            "t.yaml:4:9: routes: found \"5\"; accepted: a list of mappings\n"
            "t.yaml:5:14: log.level: found nothing; accepted: error, warning, notice, info or "
            "debug\n"
            "t.yaml:6:12: auth_file: found nothing; accepted: a path, relative to this file unless "
            "it begins with a slash\n"
            "t.yaml:7:18: console.users: found \"ann\"; accepted: a list of user names\n"
            "t.yaml:8:13: chunk_size: found a mapping; accepted: a size with its unit (B, KiB, "
            "MiB, GiB) from 16KiB to 1MiB\n");
}
END_TEST

TEST(an_empty_mapping_lists_what_is_missing)
{
    refused("{}\n", "t.yaml:1:1: listen: missing; accepted: a list of mappings\n"
                    "t.yaml:1:1: routes: missing; accepted: a list of mappings\n");
    refused("", "t.yaml: found nothing; accepted: a mapping of settings\n");
    refused("# nothing\n", "t.yaml: found nothing; accepted: a mapping of settings\n");
    refused("hello\n", "t.yaml:1:1: found \"hello\"; accepted: a mapping\n");
    refused("listen: []\nroutes: []\n",
            "t.yaml:1:9: listen: found 0 entries; accepted: 1 to 64\n"
            "t.yaml:2:9: routes: found 0 entries; accepted: 1 to 4096\n");
}
END_TEST

TEST(a_key_that_is_set_twice_is_an_error)
{
    refused("relays: 1\n" LISTEN SERVICES ROUTES "relays: 2\n",
            "t.yaml:5:1: relays: this key is already set in line 1\n");
    refused(LISTEN ROUTES "services:\n  main: {hosts: [a], tls: {mode: disable}}\n"
                          "  main: {hosts: [b], tls: {mode: disable}}\n",
            "t.yaml:5:3: services.main: this name is already used in line 4\n");
}
END_TEST

TEST(an_unknown_key_far_from_all_others_gets_the_list)
{
    refused(LISTEN SERVICES ROUTES "console: {xyzzy: 1}\n",
            "t.yaml:4:11: console.xyzzy: unknown key; accepted: users, stats_users, databases\n");
    refused(LISTEN SERVICES "routes: [{service: main, auth: trust, pool_sise: 1, client: 2}]\n",
            "t.yaml:3:39: routes[0].pool_sise: unknown key; did you mean \"pool_size\"?\n"
            "t.yaml:3:53: routes[0].client: unknown key; did you mean \"client_limit\"?\n");
}
END_TEST

TEST(broken_yaml_is_told_with_its_place)
{
    refused(LISTEN "routes: [{user: *, service: main}]\n",
            "t.yaml:2:18: YAML: while scanning an alias: did not find expected alphabetic or "
            "numeric character; write \"*\" in quotes\n");
    refused("listen: [\n", "t.yaml:2:1: YAML: while parsing a flow node: did not find expected "
                           "node content\n");
    refused("clients: 5\n---\nc: d\n", "t.yaml:1:1: listen: missing; accepted: a list of mappings\n"
                                       "t.yaml:1:1: routes: missing; accepted: a list of mappings\n"
                                       "t.yaml:3:1: found a second document; accepted: one\n");
    refused("a: \xff\n", "t.yaml: YAML: invalid leading UTF-8 octet, at byte 3\n");
    refused("a: *b\n", "t.yaml:1:4: YAML: found undefined alias\n");
}
END_TEST

TEST(a_file_that_cannot_be_read_is_told)
{
    struct config *config = NULL;
    struct buffer problems = BUFFER_INIT(4096);
    ck_assert_int_eq(config_load("none.yaml", 1, &config, &problems), FAULT_CONFIG);
    ck_assert(
        span_is(buffer_span(&problems), "none.yaml: cannot read it: No such file or directory\n"));
    ck_assert_str_eq(fault_detail(FAULT_CONFIG), "none.yaml: 1 problem");
    buffer_fini(&problems);
}
END_TEST

TEST(listeners_may_not_share_an_address_and_port)
{
    refused(
        "listen: [{host: a}, {host: b}, {host: A}, {host: /run}, {host: /run}]\n" SERVICES ROUTES,
        "t.yaml:1:32: listen[2]: A port 6432 is already used by listen[0]\n"
        "t.yaml:1:57: listen[4]: /run port 6432 is already used by listen[3]\n");
    refused(
        "listen: [{host: \"*\"}, {host: b}, {host: /run}, {host: b, port: 1}]\n" SERVICES ROUTES,
        "t.yaml:1:23: listen[1]: b port 6432 is already used by listen[0]\n");
    refused("listen: [{host: run/socket}, {host: \"[::1]\"}]\n" SERVICES ROUTES,
            "t.yaml:1:17: listen[0].host: found \"run/socket\"; accepted: a name, an address (IPv6 "
            "without brackets), \"*\", an absolute directory, or \"@name\"\n"
            "t.yaml:1:37: listen[1].host: found \"[::1]\"; accepted: a name, an address (IPv6 "
            "without brackets), \"*\", an absolute directory, or \"@name\"\n");
}
END_TEST

TEST(values_must_fit_each_other)
{
    refused(LISTEN "services: {a: {hosts: [x], retry_min: 1s, tls: {mode: disable}}}\n"
                   "routes: [{service: a, pool_size: 2, pool_min: 3, auth: trust},\n"
                   "         {database: x, service: a, fresh: yes, pool: transaction}]\n"
                   "message_limit: 1GiB\nmemory_limit: 16MiB\n",
            "t.yaml:2:39: services.a.retry_min: is longer than retry_max\n"
            "t.yaml:3:47: routes[0].pool_min: found 3; accepted: at most pool_size, 2\n"
            "t.yaml:4:10: warning: routes[1]: never matches: routes[0] in line 3 takes all its "
            "clients\n"
            "t.yaml:4:10: routes[1].auth: this method needs an auth_file, but none is set\n"
            "t.yaml:4:43: routes[1].fresh: has an effect in session pools only\n"
            "t.yaml:6:15: memory_limit: is smaller than message_limit\n");
}
END_TEST

TEST(a_route_that_can_never_match_is_warned_about)
{
    struct config *config = taken(
        LISTEN SERVICES "routes:\n"
                        "  - {database: a, service: main, auth: trust}\n"
                        "  - {database: a, user: u, auth: block}\n"
                        "  - {database: b, user: u, auth: block}\n"
                        "  - {user: u, auth: block}\n"
                        "  - {database: c, user: u, auth: block}\n",
        "t.yaml:5:5: warning: routes[1]: never matches: routes[0] in line 4 takes all its clients\n"
        "t.yaml:8:5: warning: routes[4]: never matches: routes[3] in line 7 takes all its "
        "clients\n");
    config_unref(&config);
}
END_TEST

TEST(tls_needs_the_files_of_its_mode)
{
    refused("listen: [{tls: {mode: allow}}, {port: 1, tls: {mode: prefer}}]\n" ROUTES
            "services: {main: {hosts: [x], tls: {mode: verify-full}}}\n",
            "t.yaml:1:16: listen[0].tls: mode allow needs a certificate (cert) and its key\n"
            "t.yaml:1:54: listen[1].tls.mode: found \"prefer\"; accepted: disable, allow, require, "
            "verify-ca or verify-full\n"
            "t.yaml:3:36: services.main.tls: mode verify-full needs certificate authorities "
            "(ca)\n");
    struct config *config =
        taken("listen: [{tls: {cert: a}}]\n" SERVICES ROUTES,
              "t.yaml:1:16: warning: listen[0].tls: certificates and keys have no effect "
              "while mode is disable\n");
    config_unref(&config);
}
END_TEST

TEST(patroni_needs_its_port_and_probes)
{
    refused(LISTEN ROUTES "services:\n"
                          "  main:\n"
                          "    hosts: [x]\n"
                          "    patroni: {port: 8008, tls: {mode: verify-ca}}\n",
            "t.yaml:6:14: services.main.patroni: needs probes (probe.user): a server is asked for "
            "its role before its Patroni is\n"
            "t.yaml:6:32: services.main.patroni.tls: mode verify-ca needs certificate authorities "
            "(ca)\n");
    struct config *config =
        taken(LISTEN ROUTES "services:\n"
                            "  main: {hosts: [x], tls: {mode: disable}, probe: {user: p},\n"
                            "    patroni: {timeout: 2s}}\n",
              "t.yaml:5:14: warning: services.main.patroni: has no effect without its port\n");
    ck_assert_uint_eq(config->services[0].patroni.port, 0);
    config_unref(&config);
}
END_TEST

TEST(problems_beyond_the_most_that_are_told_are_counted)
{
    struct buffer text = BUFFER_INIT(1 << 16);
    buffer_append_text(&text, LISTEN SERVICES "routes:\n");
    for (int i = 0; i < 250; i++)
        buffer_append_text(&text, "  - 1\n");
    buffer_append_byte(&text, '\0');
    ck_assert_ptr_null(load((const char *)text.at));
    ck_assert_ptr_nonnull(strstr(said, "t.yaml:203:5: routes[199]: found \"1\"; accepted: a "
                                       "mapping\n... and 50 more\n"));
    buffer_fini(&text);
}
END_TEST

/* --- versions --------------------------------------------------------------------------------- */

TEST(the_first_route_that_matches_counts)
{
    struct config *config =
        taken(LISTEN SERVICES "routes:\n"
                              "  - {database: app, user: mallory, auth: block}\n"
                              "  - {database: app, service: main, auth: trust}\n"
                              "  - {user: ann, service: main, auth: trust}\n",
              "");
    ck_assert_ptr_eq(config_route(config, SPAN("app"), SPAN("mallory")), &config->routes[0]);
    ck_assert_ptr_eq(config_route(config, SPAN("app"), SPAN("ann")), &config->routes[1]);
    ck_assert_ptr_eq(config_route(config, SPAN("other"), SPAN("ann")), &config->routes[2]);
    ck_assert_ptr_null(config_route(config, SPAN("other"), SPAN("bob")));
    config_unref(&config);
}
END_TEST

static bool same(const char *a, const char *b)
{
    char text[1024];
    snprintf(text, sizeof(text),
             LISTEN "services: {main: {hosts: [x], tls: {mode: disable}},\n"
                    "           b: {hosts: [x], tls: {mode: disable}}}\n"
                    "routes: [{auth: trust, database: d, %s}]\n",
             a);
    struct config *one = taken(text, "");
    snprintf(text, sizeof(text),
             LISTEN "services: {main: {hosts: [y], tls: {mode: disable}},\n"
                    "           b: {hosts: [x], tls: {mode: disable}}}\n"
                    "routes: [{auth: trust, database: d, %s}]\n",
             b);
    struct config *two = taken(text, "");
    bool equal = route_same_identity(&one->routes[0], &two->routes[0]);
    config_unref(&one);
    config_unref(&two);
    return equal;
}

TEST(limits_and_hosts_are_no_part_of_the_identity_of_a_route)
{
    ck_assert(same("service: main", "service: main"));
    ck_assert(same("service: main, pool_size: 2", "service: main, pool_size: 3"));
    ck_assert(same("service: main, claim_timeout: 1s", "service: main, idle_timeout: 3s"));
    ck_assert(same("service: main, prepared_statements: 1", "service: main"));
    ck_assert(!same("service: main, prepared_statements: off", "service: main"));
    ck_assert(!same("service: main, prepared_statements: off",
                    "service: main, prepared_statements: private"));
    ck_assert(same("service: main, prepared_statements: private", "service: main"));
    ck_assert(!same("service: main", "service: b"));
    ck_assert(!same("service: main", "service: main, user: u"));
    ck_assert(!same("service: main", "service: main, pool: transaction"));
    ck_assert(!same("service: main", "service: main, fresh: yes"));
    ck_assert(!same("service: main, server_user: a", "service: main, server_user: b"));
}
END_TEST

TEST(a_version_lives_as_long_as_its_last_reference)
{
    struct config *config = taken(LISTEN SERVICES ROUTES, "");
    struct config *second = config_ref(config);
    config_unref(&config);
    ck_assert_ptr_null(config);
    ck_assert_str_eq(second->services[0].name, "main");
    config_unref(&second);
    config_unref(&second);
}
END_TEST

TEST(what_a_reload_cannot_change_is_told)
{
    struct config *old = taken(LISTEN SERVICES ROUTES "relays: 1\nclients: 5\n", "");
    struct config *new = taken(LISTEN SERVICES ROUTES "relays: 2\nclients: 6\n", "");
    struct buffer told = BUFFER_INIT(4096);
    char expected[512];
    ck_assert_int_eq(config_keep_unreloadable(old, new, &told), OK);
    snprintf(expected, sizeof(expected),
             "%s: warning: relays: stays 1 until the next start, not 2\n", new->path);
    ck_assert(span_is(buffer_span(&told), expected));
    buffer_fini(&told);
    ck_assert_uint_eq(new->relays, 1);
    ck_assert_str_eq(row_value(new, "relays"), "1");
    ck_assert_uint_eq(new->client_max, 6);
    config_unref(&old);
    config_unref(&new);
}
END_TEST

#define REDIS(sentinels) "cache_redis: {master: m, sentinels: [" sentinels "]}\n"

TEST(a_reload_tells_that_the_sentinels_stay)
{
    struct config *old = taken(LISTEN SERVICES ROUTES REDIS("{host: a}, {host: b}"), "");
    struct config *new = taken(LISTEN SERVICES ROUTES REDIS("{host: c}"), "");
    struct buffer told = BUFFER_INIT(4096);
    ck_assert_int_eq(config_keep_unreloadable(old, new, &told), OK);
    buffer_append_byte(&told, '\0');
    const char *text = (const char *)told.at;
    ck_assert_msg(
        strstr(text, "cache_redis.sentinels[0].host: stays a until the next start, not c"), "%s",
        text);
    ck_assert_msg(strstr(text, "cache_redis.sentinels: stay 2 until the next start, not 1"), "%s",
                  text);
    buffer_fini(&told);
    config_unref(&old);
    config_unref(&new);
}
END_TEST

/* The next version's elements of lists have no counterparts that they could keep a value of.  The
 * Sentinels are read at the start only: what has changed is told one by one. */
static void check_reloadable(const struct setting *rows, bool in_list)
{
    for (const struct setting *row = rows; row->name != NULL; row++) {
        bool list = row->kind == SETTING_LIST || row->kind == SETTING_NAMED;
        if (list && strcmp(row->name, "sentinels") == 0)
            continue;
        if (list || row->kind == SETTING_GROUP)
            check_reloadable(row->rows, in_list || list);
        else if (in_list || row->kind == SETTING_SPECIAL)
            ck_assert_msg(row->reloadable, "%s", row->name);
    }
}

TEST(only_single_values_may_stay_until_the_next_start)
{
    check_reloadable(config_settings, false);
}
END_TEST

CONFIG_TESTS("config", a_minimal_file_gets_the_presets, every_key_is_read_into_its_field,
             relative_paths_start_at_the_directory_of_the_file,
             hosts_may_be_names_addresses_directories_each_with_a_port_or_not,
             the_rows_for_the_console_show_values_and_presets_and_hide_passwords,
             anchors_and_aliases_may_share_what_repeats,
             all_problems_are_told_at_once_in_the_order_of_the_file,
             values_of_the_wrong_type_are_named_for_what_they_are,
             an_empty_mapping_lists_what_is_missing, a_key_that_is_set_twice_is_an_error,
             an_unknown_key_far_from_all_others_gets_the_list, broken_yaml_is_told_with_its_place,
             only_single_values_may_stay_until_the_next_start,
             a_reload_tells_that_the_sentinels_stay, a_file_that_cannot_be_read_is_told,
             listeners_may_not_share_an_address_and_port, values_must_fit_each_other,
             a_route_that_can_never_match_is_warned_about, tls_needs_the_files_of_its_mode,
             patroni_needs_its_port_and_probes, problems_beyond_the_most_that_are_told_are_counted,
             the_first_route_that_matches_counts,
             limits_and_hosts_are_no_part_of_the_identity_of_a_route,
             a_version_lives_as_long_as_its_last_reference, what_a_reload_cannot_change_is_told)
