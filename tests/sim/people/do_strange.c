#include "link/link.h"
#include "machine/clock.h"
#include "people/batch.h"
#include "people/behaviours.h"
#include "stage/stage.h"

#include <string.h>

/*
 * Those who do not speak the protocol, or lie in it.  They are got rid of, and it costs nobody else
 * anything.
 */
#define RID_OF sec(10) /* beyond login_timeout */
#define BEYOND (64u << 20)

/* Reads what comes until the connection ends; it must, soon. */
static fault hears_end(struct person *person, struct talk *talk)
{
    uint8_t bytes[512];
    size_t size;
    deadline by = later(later(now(), stage.setup.login_timeout), RID_OF);
    for (;;) {
        fault read = stream_read(&talk->stream, bytes, sizeof(bytes), &size, by);
        PROVE(read != FAULT_TIMEOUT || stage_has(KIND_silences) || stage_has(KIND_orders) ||
                  stage_has(KIND_narrowness) || stage_has(KIND_restarts),
              "client %u talks nonsense and is not got rid of", person->number);
        if (read != OK)
            return read;
    }
}

static void put_noise(struct person *person, struct buffer *out)
{
    uint32_t size = 1 + person_draw(person, 300);
    for (uint32_t i = 0; i < size; i++)
        wire_put_u8(out, (uint8_t)person_draw(person, 256));
}

/* A startup packet of a sort. */
static void put_strange_start(struct person *person, struct buffer *out)
{
    static const uint32_t lengths[] = {0, 3, 7, 8, 9, 10001, 0x7fffffff, 0xffffffff};
    static const uint32_t codes[] = {80877103, 80877104, 80877102, 0x30000, 0x20000, 0x40000, 0};
    switch (person_draw(person, 4)) {
    case 0:
        put_noise(person, out);
        break;
    case 1:
        wire_put_u8(out, 0x16); /* as TLS begins */
        put_noise(person, out);
        break;
    default:
        wire_put_u32(out, lengths[person_draw(person, ARRAY_SIZE(lengths))]);
        wire_put_u32(out, codes[person_draw(person, ARRAY_SIZE(codes))]);
        put_noise(person, out);
    }
}

fault do_strange_start(struct person *person)
{
    struct talk talk = TALK_INIT;
    put_strange_start(person, &talk.out);
    fault done = stream_connect(&talk.stream, &stage.at, NULL, after(sec(60)));
    if (done == OK)
        done = talk_flush(&talk, after(sec(60)));
    if (done == OK && person_one_in(person, 3))
        stream_close(&talk.stream);
    else if (done == OK)
        (void)!hears_end(person, &talk);
    talk_end(&talk);
    return OK;
}

/* Logged in, and then a message that is none, or the beginning of a very long one. */
fault do_strange_message(struct person *person)
{
    struct buffer *out = &person->talk.out;
    bool is_none = person_one_in(person, 2);
    person->wants_cancel = true;
    if (is_none) {
        static const uint8_t types[] = {'y', 'R', 'Z', 0, 255, 'p', 'T'};
        wire_put_u8(out, types[person_draw(person, ARRAY_SIZE(types))]);
        wire_put_u32(out, person_draw(person, 20));
        put_noise(person, out);
    } else {
        wire_put_u8(out, person_one_in(person, 2) ? WIRE_QUERY : WIRE_BIND);
        wire_put_u32(out, BEYOND);
        put_noise(person, out);
    }
    say("client", person->number, "says something strange, of %zu bytes", out->size);
    fault sent = talk_flush(&person->talk, after(sec(60)));
    if (sent == OK && is_none)
        (void)!hears_end(person, &person->talk);
    else
        TRY(person_rests(person, 20000));
    person_end(person);
    return OK;
}

/* A key that is nobody's, or that of a client with another secret: nothing is cancelled. */
fault do_wrong_key(struct person *person)
{
    struct link_target target = {.address = stage.at, .host = "sim"};
    struct wire_secret secret = person->secret;
    struct span bytes = wire_secret_span(&secret);
    if (bytes.size > 0)
        ((uint8_t *)(uintptr_t)bytes.at)[person_draw(person, (uint32_t)bytes.size)] ^= 1;
    uint32_t pid = person_one_in(person, 2) ? person->pid : person_draw(person, 100000);
    (void)!link_cancel(&target, pid, bytes, after(sec(60)));
    return do_echo(person);
}
