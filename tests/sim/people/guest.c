#include "people/guest.h"

#include "machine/clock.h"
#include "stage/stage.h"

#include <stdio.h>
#include <string.h>

#define PATIENCE sec(120)

void guest_init(struct guest *guest, const struct person *person)
{
    *guest = (struct guest){.host = *person, .talk = TALK_INIT};
    guest->host.greeted = false;
    guest->host.is_new = stage.calm;
    guest->host.asked_at = now();
}

fault guest_login(struct guest *guest, const struct link_login *login)
{
    struct link_greeting greeting;
    fault done = link_login(&guest->talk.stream, login, &greeting, after(PATIENCE));
    if (done != OK) {
        snprintf(guest->sqlstate, sizeof(guest->sqlstate), "%s", fault_story_sqlstate(done));
        return done;
    }
    guest->pid = greeting.pid;
    guest->host.greeted = true;
    buffer_fini(&greeting.parameters);
    return OK;
}

void guest_end(struct guest *guest)
{
    talk_end(&guest->talk);
}

/* It may wait for a server, or for its turn, as nobody else's does. */
bool guest_is_excused(const struct guest *guest)
{
    bool waits = !guest->host.greeted;
    return stage_excuses_loss(&guest->host) ||
           (waits && (stage_has(KIND_login_timeout) || stage_has(KIND_sessions)));
}

static fault guest_is_lost(struct guest *guest, fault why)
{
    say("guest", guest->host.number, "loses its connection: %s", fault_story(why));
    PROVE(strcmp(fault_story_sqlstate(why), "08P01") != 0 && guest_is_excused(guest),
          "the guest of client %u lost its connection: %s", guest->host.number, fault_story(why));
    return FAULT_CLOSED;
}

static fault guest_takes_error(struct guest *guest)
{
    struct wire_error error;
    PROVE(wire_read_error(guest->talk.frame.body, &error) == OK);
    snprintf(guest->sqlstate, sizeof(guest->sqlstate), "%.*s", SPAN_ARG(error.sqlstate));
    say("guest", guest->host.number, "is told: %s %.*s", guest->sqlstate, SPAN_ARG(error.message));
    if (!span_is(error.severity, "FATAL"))
        return OK;
    PROVE(!span_is(error.sqlstate, "08P01") && guest_is_excused(guest),
          "the guest of client %u is dismissed: %.*s", guest->host.number, SPAN_ARG(error.message));
    return FAULT_CLOSED;
}

fault guest_flush(struct guest *guest)
{
    fault sent = talk_flush(&guest->talk, after(PATIENCE));
    return sent == OK ? OK : guest_is_lost(guest, sent);
}

fault guest_next_by(struct guest *guest, deadline by)
{
    do {
        fault read = talk_next(&guest->talk, by);
        if (read == FAULT_TIMEOUT)
            return read;
        if (read != OK)
            return guest_is_lost(guest, read);
    } while (talk_is_unasked(&guest->talk.frame));
    return guest->talk.frame.type == WIRE_ERROR ? guest_takes_error(guest) : OK;
}

fault guest_next(struct guest *guest)
{
    fault next = guest_next_by(guest, after(PATIENCE));
    PROVE(next != FAULT_TIMEOUT || stage_has(KIND_silences),
          "the guest of client %u waits for ever", guest->host.number);
    return next == FAULT_TIMEOUT ? FAULT_CLOSED : next;
}

fault guest_asks(struct guest *guest, const char *query, char text[PERSON_TEXT])
{
    text[0] = '\0';
    wire_put_query(&guest->talk.out, span_text(query));
    TRY(guest_flush(guest));
    do {
        TRY(guest_next(guest));
        const struct wire_frame *frame = &guest->talk.frame;
        if (frame->type != WIRE_DATA_ROW)
            continue;
        struct wire_reader in = wire_reader_over(frame->body);
        (void)wire_get_u16(&in);
        uint32_t size = wire_get_u32(&in);
        PROVE(text[0] == '\0' && size < PERSON_TEXT, "'%s' is answered twice", query);
        snprintf(text, PERSON_TEXT, "%.*s", (int)size, (const char *)in.at);
    } while (guest->talk.frame.type != WIRE_READY);
    return OK;
}
