#include "stage/stage.h"

#include "link/link.h"
#include "machine/clock.h"
#include "people/talk.h"

/*
 * An administrator at the console.
 */

/* What is done with each row of an answer; NULL: nothing. */
struct look {
    void (*row)(void *argument, struct span row);
    void *argument;
};

static void console_hears(struct talk *talk, const char *command, const struct look *look)
{
    struct wire_error error;
    if (talk->frame.type == WIRE_DATA_ROW && look->row != NULL)
        look->row(look->argument, talk->frame.body);
    if (talk->frame.type != WIRE_ERROR)
        return;
    PROVE(wire_read_error(talk->frame.body, &error) == OK);
    say("console", 0, "%s: %.*s", command, SPAN_ARG(error.message));
}

/* Orders one thing; what the world does to the connection is no failure. */
static fault console_asks(struct talk *talk, const char *command, const struct look *look)
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
        console_hears(talk, command, look);
    } while (talk->frame.type != WIRE_READY);
    return OK;
}

bool console_look(const char *command, void (*row)(void *argument, struct span row), void *argument)
{
    struct talk talk = TALK_INIT;
    struct look look = {row, argument};
    say("console", 0, "%s", command);
    fault done = console_asks(&talk, command, &look);
    talk_end(&talk);
    say("console", 0, "%s: %s", command, done == OK ? "done" : fault_story(done));
    return done == OK;
}

bool console_order(const char *command)
{
    return console_look(command, NULL, NULL);
}
