#include "clients/behaviours.h"
#include "link/link.h"
#include "machine/clock.h"
#include "scenario/scenario.h"

#include <string.h>

/*
 * Logins with a wrong password.
 */

static fault try_login(struct span user, const char *password)
{
    struct conn conn = CONN_INIT;
    struct link_reported reported;
    struct link_secret secret = {.password = span_text(password)};
    struct link_target target = {.address = scenario.at, .host = "sim"};
    struct link_login login = {
        .target = &target, .user = user, .database = SPAN("app"), .secret = &secret};
    fault done = link_login(&conn.stream, &login, &reported, after(sec(60)));
    CHECK(done != OK, "'%.*s' is accepted with the password '%s'", SPAN_ARG(user), password);
    conn_close(&conn);
    return done;
}

/* A wrong password and an unknown user give 28P01, with no effect on other clients. */
fault behave_wrong_password(struct sim_client *client)
{
    bool nobody = sim_client_one_in(client, 3);
    const char *guess = sim_client_one_in(client, 8) ? "" : "a guess";
    client->waits_since = now();
    fault done = try_login(nobody ? SPAN("nobody") : SPAN("joe"), guess);
    trace("client", client->number, "has guessed: %s", fault_detail(done));
    const char *state = fault_detail_sqlstate(done);
    /* A last word that does not fit into the socket at once is not waited for. */
    bool excused = scenario_has(KIND_short_writes) || scenario_has(KIND_bandwidth) ||
                   scenario_has(KIND_login_timeout) || scenario_has(KIND_few_descriptors) ||
                   scenario_excuses_loss(client);
    CHECK((done == FAULT_UPSTREAM && strcmp(state, "28P01") == 0) || *guess == '\0' || excused,
          "a wrong password ends the login with '%s' (%s)", fault_detail(done), state);
    return OK;
}
