#include "link/link.h"
#include "machine/clock.h"
#include "people/behaviours.h"
#include "stage/stage.h"

#include <string.h>

/*
 * Those who do not know the password.
 */

static fault strangers_knock(struct span user, const char *password)
{
    struct talk talk = TALK_INIT;
    struct link_greeting greeting;
    struct link_secret secret = {.password = span_text(password)};
    struct link_target target = {.address = stage.at, .host = "sim"};
    struct link_login login = {
        .target = &target, .user = user, .database = SPAN("app"), .secret = &secret};
    fault done = link_login(&talk.stream, &login, &greeting, after(sec(60)));
    PROVE(done != OK, "'%.*s' is let in with the password '%s'", SPAN_ARG(user), password);
    talk_end(&talk);
    return done;
}

/* Whoever guesses, or does not exist, hears 28P01, and it costs nobody else anything. */
fault do_wrong_password(struct person *person)
{
    bool nobody = person_one_in(person, 3);
    const char *guess = person_one_in(person, 8) ? "" : "a guess";
    person->asked_at = now();
    fault done = strangers_knock(nobody ? SPAN("nobody") : SPAN("joe"), guess);
    say("client", person->number, "has guessed: %s", fault_story(done));
    const char *state = fault_story_sqlstate(done);
    /* A last word that does not fit into the socket at once is not waited for. */
    bool excused = stage_has(KIND_short_writes) || stage_has(KIND_narrowness) ||
                   stage_has(KIND_login_timeout) || stage_has(KIND_few_descriptors) ||
                   stage_excuses_loss(person);
    PROVE((done == FAULT_UPSTREAM && strcmp(state, "28P01") == 0) || *guess == '\0' || excused,
          "a wrong password ends the login with '%s' (%s)", fault_story(done), state);
    return OK;
}
