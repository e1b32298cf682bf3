#include "clients/behaviours.h"
#include "clients/extra.h"
#include "machine/clock.h"
#include "scenario/scenario.h"

#include <string.h>

/*
 * Logins with certificates: only the right one is accepted.
 */
static const char *const presented_names[PRESENTED_COUNT] = {
    [PRESENTED_JOE] = "joe's certificate",         [PRESENTED_JOEY] = "joey's certificate",
    [PRESENTED_FOREIGN] = "a foreign certificate", [PRESENTED_EXPIRED] = "an expired certificate",
    [PRESENTED_NONE] = "no certificate",           [PRESENTED_PLAIN] = "no TLS",
};

static fault login_with(struct extra_conn *extra, enum presented presented, const char *user)
{
    struct link_target target = {.address = scenario.at_certificate, .host = "localhost"};
    struct link_secret secret = {.password = SPAN_NONE};
    struct link_login login = {.target = &target,
                               .user = span_text(user),
                               .database = SPAN(SCENARIO_CERTIFICATE_DATABASE),
                               .secret = &secret};
    if (presented != PRESENTED_PLAIN) {
        target.tls_mode = TLS_MODE_VERIFY_FULL;
        target.tls = scenario.presented_tls[presented];
    }
    return extra_login(extra, &login);
}

/* Checks that the session belongs to the user. */
static fault check_session_user(struct extra_conn *extra, const char *user)
{
    char text[CLIENT_TEXT];
    TRY(extra_query(extra, "SELECT session_user", text));
    CHECK(strcmp(text, user) == 0 ||
              (text[0] == '\0' &&
               (extra_is_excused(extra) || scenario_has(KIND_out_of_memory) ||
                scenario_has(KIND_claim_delays) || scenario_has(KIND_claim_timeout) ||
                scenario_has(KIND_session_pools) || scenario_has(KIND_pins))),
          "the login of '%s' has the session of '%s' (%s)", user, text, extra->sqlstate);
    return OK;
}

static void check_refusal(const struct extra_conn *extra, enum admission admission, fault done)
{
    bool by_word = done == FAULT_UPSTREAM && strcmp(extra->sqlstate, "28000") == 0;
    bool by_handshake = done != FAULT_UPSTREAM;
    bool is_right = (admission == ADMISSION_REFUSED && by_word) ||
                    (admission == ADMISSION_NO_HANDSHAKE && by_handshake);
    /* The daemon does not wait until the socket takes a last message. */
    bool is_late = scenario_has(KIND_short_writes) || scenario_has(KIND_bandwidth) ||
                   scenario_has(KIND_few_descriptors);
    CHECK(is_right || extra_is_excused(extra) || is_late,
          "a certificate ends the login with '%s' (%s)", fault_detail(done), extra->sqlstate);
}

fault behave_certificate(struct sim_client *client)
{
    struct extra_conn extra;
    enum presented presented = (enum presented)sim_client_draw(client, PRESENTED_COUNT);
    const char *user = sim_client_one_in(client, 3) ? "joey" : "joe";
    enum admission admission = certificates_admission(&scenario.setup, presented, user);
    extra_init(&extra, client);
    fault done = login_with(&extra, presented, user);
    trace("extra connection", client->number, "presents %s as '%s': %s", presented_names[presented],
          user, done == OK ? "accepted" : fault_detail(done));
    CHECK(done != OK || admission == ADMISSION_GRANTED, "'%s' is accepted with %s", user,
          presented_names[presented]);
    if (done != OK)
        check_refusal(&extra, admission, done);
    if (done == OK && check_session_user(&extra, user) != OK)
        trace("extra connection", client->number, "has no reply");
    extra_close(&extra);
    return OK;
}
