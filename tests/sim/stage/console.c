#include "stage/stage.h"

#include "link/link.h"
#include "machine/clock.h"
#include "people/talk.h"

/*
 * An administrator at the console.
 */

/* Orders one thing; what the world does to the connection is no failure. */
static fault console_asks(struct talk *talk, const char *command)
{
    struct buffer none = BUFFER_INIT(16);
    struct link_greeting greeting;
    struct link_secret secret = {.password = SPAN("secret")};
    struct link_target target = {.address = stage.at, .host = "sim"};
    struct link_login login = {.target = &target,
                               .user = SPAN("admin"),
                               .database = SPAN("trunkline"),
                               .parameters = buffer_span(&none),
                               .secret = &secret};
    TRY(link_login(&talk->stream, &login, &greeting, after(sec(30))));
    buffer_fini(&greeting.parameters);
    wire_put_query(&talk->out, span_text(command));
    TRY(talk_flush(talk, after(sec(30))));
    do {
        TRY(talk_next(talk, after(sec(100))));
        if (talk->frame.type == WIRE_ERROR) {
            struct wire_error error;
            PROVE(wire_read_error(talk->frame.body, &error) == OK);
            say("console", 0, "%s: %.*s", command, SPAN_ARG(error.message));
        }
    } while (talk->frame.type != WIRE_READY);
    return OK;
}

bool console_order(const char *command)
{
    struct talk talk = TALK_INIT;
    say("console", 0, "%s", command);
    fault done = console_asks(&talk, command);
    talk_end(&talk);
    say("console", 0, "%s: %s", command, done == OK ? "done" : fault_story(done));
    return done == OK;
}
