#include "machine/clock.h"
#include "people/batch.h"
#include "people/behaviours.h"
#include "stage/stage.h"
#include "wire/startup.h"

#include <stdio.h>
#include <string.h>

/*
 * Who comes by which door, as whom, and is let in or not.
 */

/* The first that a login hears: its type, and the SQLSTATE of an error; 0: its connection has ended
 * before. */
static uint8_t first_word(const struct address *at, const char *user, const char *database,
                          char sqlstate[6])
{
    size_t start;
    uint8_t type = 0;
    struct wire_error error;
    struct talk talk = TALK_INIT;
    sqlstate[0] = '\0';
    wire_put_startup_begin(&talk.out, WIRE_PROTOCOL_3_0, &start);
    wire_put_startup_parameter(&talk.out, SPAN("user"), span_text(user));
    wire_put_startup_parameter(&talk.out, SPAN("database"), span_text(database));
    wire_put_startup_end(&talk.out, start);
    fault done = stream_connect(&talk.stream, at, NULL, after(sec(60)));
    if (done == OK)
        done = talk_flush(&talk, after(sec(60)));
    if (done == OK)
        done = talk_next(&talk, after(sec(60)));
    if (done == OK)
        type = talk.frame.type;
    if (type == WIRE_ERROR && wire_read_error(talk.frame.body, &error) == OK)
        snprintf(sqlstate, 6, "%.*s", SPAN_ARG(error.sqlstate));
    talk_end(&talk);
    return type;
}

/* One database is closed for those who come by the second door, and open for others. */
fault do_other_door(struct person *person)
{
    char sqlstate[6];
    bool second = person_one_in(person, 2);
    uint8_t type = first_word(second ? &stage.at_second : &stage.at, "joe", "hidden", sqlstate);
    say("client", person->number, "hears '%c' %s at the %s door", type != 0 ? type : '-', sqlstate,
        second ? "second" : "first");
    PROVE(!second || type != WIRE_AUTHENTICATION, "client %u is let in by the wrong door",
          person->number);
    PROVE(second || strcmp(sqlstate, "28000") != 0, "client %u is not let in by the right door",
          person->number);
    return OK;
}

/* A line of the HBA file refuses her, whatever else there is. */
fault do_mallory(struct person *person)
{
    char sqlstate[6];
    bool by_socket = stage_has(KIND_unix_sockets) && person_one_in(person, 2);
    uint8_t type = first_word(by_socket ? &stage.at_socket : &stage.at, "mallory", "app", sqlstate);
    say("client", person->number, "hears '%c' %s as mallory", type != 0 ? type : '-', sqlstate);
    PROVE(type == 0 || (type == WIRE_ERROR && strcmp(sqlstate, "28000") == 0) ||
              stage_has(KIND_restarts) ||
              (stage_has(KIND_few_descriptors) && strcmp(sqlstate, "53300") == 0),
          "mallory hears '%c' %s", type, sqlstate);
    return OK;
}
