#include "machine/clock.h"
#include "people/behaviours.h"
#include "people/guest.h"
#include "stage/stage.h"

#include <string.h>

/*
 * Those who show a certificate: the right one lets in, and nothing else does.
 */
static const char *const shown_names[SHOWINGS] = {
    [SHOWN_JOE] = "joe's certificate",         [SHOWN_JOEY] = "joey's certificate",
    [SHOWN_FOREIGN] = "a foreign certificate", [SHOWN_EXPIRED] = "an expired certificate",
    [SHOWN_NONE] = "no certificate",           [SHOWN_PLAIN] = "no TLS",
};

static fault comes(struct guest *guest, enum shown shown, const char *user)
{
    struct link_target target = {.address = stage.at_proven, .host = "localhost"};
    struct link_secret secret = {.password = SPAN_NONE};
    struct link_login login = {.target = &target,
                               .user = span_text(user),
                               .database = SPAN(STAGE_VOUCHED),
                               .secret = &secret};
    if (shown != SHOWN_PLAIN) {
        target.tls_mode = TLS_MODE_VERIFY_FULL;
        target.tls = stage.shown_tls[shown];
    }
    return guest_login(guest, &login);
}

/* A server that knows it by another name is somebody else's. */
static fault asks_who_it_is(struct guest *guest, const char *user)
{
    char text[PERSON_TEXT];
    TRY(guest_asks(guest, "SELECT session_user", text));
    PROVE(strcmp(text, user) == 0 ||
              (text[0] == '\0' &&
               (guest_is_excused(guest) || stage_has(KIND_failing) ||
                stage_has(KIND_claim_timeout) || stage_has(KIND_sessions) || stage_has(KIND_pins))),
          "who has come as '%s' is served as '%s' (%s)", user, text, guest->sqlstate);
    return OK;
}

static void check_refusal(const struct guest *guest, enum welcome welcome, fault done)
{
    bool by_word = done == FAULT_UPSTREAM && strcmp(guest->sqlstate, "28000") == 0;
    bool by_handshake = done != FAULT_UPSTREAM;
    bool is_right = (welcome == WELCOME_REFUSED && by_word) ||
                    (welcome == WELCOME_NO_HANDSHAKE && by_handshake);
    /* A last word that does not fit into the socket at once is not waited for. */
    bool is_late = stage_has(KIND_short_writes) || stage_has(KIND_narrowness) ||
                   stage_has(KIND_few_descriptors);
    PROVE(is_right || guest_is_excused(guest) || is_late,
          "a certificate ends the login with '%s' (%s)", fault_story(done), guest->sqlstate);
}

fault do_certificate(struct person *person)
{
    struct guest guest;
    enum shown shown = (enum shown)person_draw(person, SHOWINGS);
    const char *user = person_one_in(person, 3) ? "joey" : "joe";
    enum welcome welcome = certificates_welcome(&stage.setup, shown, user);
    guest_init(&guest, person);
    fault done = comes(&guest, shown, user);
    say("guest", person->number, "shows %s as '%s': %s", shown_names[shown], user,
        done == OK ? "is let in" : fault_story(done));
    PROVE(done != OK || welcome == WELCOME_IN, "'%s' is let in with %s", user, shown_names[shown]);
    if (done != OK)
        check_refusal(&guest, welcome, done);
    if (done == OK && asks_who_it_is(&guest, user) != OK)
        say("guest", person->number, "is not answered");
    guest_end(&guest);
    return OK;
}
