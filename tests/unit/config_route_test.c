#include "config/config.h"
#include "config_files.h"

#include <string.h>

#define HEAD LISTEN SERVICES

static const struct route_config *route(const struct config *config, const char *database,
                                        const char *user)
{
    return config_route(config, span_text(database), span_text(user));
}

TEST(the_first_route_that_matches_wins)
{
    struct config *config =
        taken(HEAD "routes:\n"
                   "  - {database: app, user: reports, service: main, auth: trust}\n"
                   "  - {database: app, user: mallory, auth: block}\n"
                   "  - {database: app, service: main, auth: trust}\n"
                   "  - {user: admin, service: main, auth: trust}\n",
              "");
    ck_assert_ptr_eq(route(config, "app", "reports"), &config->routes[0]);
    ck_assert_ptr_eq(route(config, "app", "mallory"), &config->routes[1]);
    ck_assert_ptr_eq(route(config, "app", "admin"), &config->routes[2]);
    ck_assert_ptr_eq(route(config, "other", "admin"), &config->routes[3]);
    ck_assert_ptr_null(route(config, "other", "mallory"));
    ck_assert_ptr_null(route(config, "APP2", "reports"));
    ck_assert_ptr_null(route(config, "ap", "reports"));
    config_unref(&config);
}
END_TEST

/* Both files' only route. */
static bool same(const char *one, const char *other)
{
    char text[1000];
    struct config *configs[2];
    const char *const routes[] = {one, other};
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof(text),
                 LISTEN "services:\n  main: {hosts: [\"127.0.0.1:1\"], tls: {mode: disable}}\n"
                        "  second: {hosts: [\"127.0.0.1:1\"], tls: {mode: disable}}\n"
                        "routes: [{auth: trust, %s}]\n",
                 routes[i]);
        configs[i] = load(text);
        ck_assert_msg(configs[i] != NULL, "%s", said);
    }
    bool result = route_same_identity(&configs[0]->routes[0], &configs[1]->routes[0]);
    for (int i = 0; i < 2; i++)
        config_unref(&configs[i]);
    return result;
}

TEST(limits_are_not_identity)
{
    ck_assert(same("service: main", "service: main, pool_size: 3, pool_min: 1, claim_timeout: 7s"));
    ck_assert(same("service: main", "service: main, idle_timeout: 1s, server_lifetime: 1min"));
    ck_assert(same("service: main", "service: main, prepared_statements: 7"));
    ck_assert(same("service: main", "service: main, server_password: other"));
    ck_assert(same("service: main", "service: main, password_command: other"));
}
END_TEST

TEST(what_servers_are_and_how_they_are_treated_is_identity)
{
    ck_assert(!same("service: main", "service: second"));
    ck_assert(!same("service: main, pool: transaction", "service: main, pool: session"));
    ck_assert(!same("service: main", "service: main, database: app"));
    ck_assert(!same("service: main", "service: main, server_user: other"));
    ck_assert(!same("service: main", "service: main, server_database: other"));
    ck_assert(!same("service: main", "service: main, prepared_statements: off"));
}
END_TEST

TEST(the_hosts_of_a_service_are_not_the_identity_of_its_routes)
{
    struct config *one = taken(HEAD ROUTES, "");
    struct config *other = taken(LISTEN "services: {main: {hosts: [\"127.0.0.1:5433\"], "
                                        "tls: {mode: disable}}}\n" ROUTES,
                                 "");
    ck_assert(route_same_identity(&one->routes[0], &other->routes[0]));
    config_unref(&one);
    config_unref(&other);
}
END_TEST

TEST(a_version_lives_as_long_as_somebody_holds_it)
{
    struct config *config = taken(HEAD ROUTES "console: {users: [admin]}\n", "");
    struct config *held = config_ref(config);
    config_unref(&config);
    ck_assert_ptr_null(config);
    ck_assert_int_eq(config_console_role(held, SPAN("admin")), CONSOLE_ALL);
    ck_assert_int_eq(config_console_role(held, SPAN("Admin")), CONSOLE_NOTHING);
    ck_assert_ptr_null(config_secret(held, SPAN("nobody")));
    config_unref(&held);
    config_unref(&held);
}
END_TEST

CONFIG_TESTS("config_route", the_first_route_that_matches_wins, limits_are_not_identity,
             what_servers_are_and_how_they_are_treated_is_identity,
             the_hosts_of_a_service_are_not_the_identity_of_its_routes,
             a_version_lives_as_long_as_somebody_holds_it)
