#include "link/link.h"
#include "machine/clock.h"
#include "machine/sim/world.h"
#include "oracle/deeds.h"
#include "people/batch.h"
#include "people/behaviours.h"
#include "stage/stage.h"

#include <stdio.h>
#include <string.h>

/*
 * Hostile clients: any message at any time, COPY above all, cut and sent in pieces, cancelled,
 * abandoned.  They may lose their connection for it and hear whatever they like, but nothing that
 * is somebody else's, and no more ReadyForQuery than they have asked for.  Everybody else is a
 * verifying victim: see batch.c.
 */
#define STEPS_MAX   10u
#define COPIES_MAX  300u
#define HEARS_FOR   ms(30)
#define ANSWERED_BY sec(100)

/* --- what it hears ---------------------------------------------------------------------------- */

/* No number behind `prefix` is another login's. */
static void check_own(const struct person *person, const char *prefix)
{
    struct span rest = person->talk.frame.body;
    size_t size = strlen(prefix);
    const uint8_t *at;
    while (rest.size > size && (at = memmem(rest.at, rest.size, prefix, size)) != NULL) {
        uint32_t login = 0;
        rest = span_skip(rest, (size_t)(at - rest.at) + size);
        for (; rest.size > 0 && *rest.at >= '0' && *rest.at <= '9'; rest = span_skip(rest, 1))
            login = login * 10 + (uint32_t)(*rest.at - '0');
        PROVE(login == 0 || login == person->login,
              "hostile client %u (login %u) hears what is of login %u", person->number,
              person->login, login);
    }
}

/* CLOSED: its connection has ended, which may be whatever the reason. */
static fault hears(struct person *person, deadline by)
{
    TRY(talk_next(&person->talk, by));
    uint8_t type = person->talk.frame.type;
    check_own(person, "echo ");
    check_own(person, "echo_");
    if (type == WIRE_PARAMETER_STATUS) /* application_name */
        check_own(person, "client ");
    PROVE(type != WIRE_NOTIFICATION, "hostile client %u is notified and does not listen",
          person->number);
    if (type == WIRE_READY) {
        PROVE(person->owed > 0, "hostile client %u hears ReadyForQuery and has not asked",
              person->number);
        person->owed -= 1;
    }
    return OK;
}

/* It is answered, but no server does it: none is free, or none lets the pool in. */
static bool is_refused(const struct person *person)
{
    struct wire_error error;
    return person->talk.frame.type == WIRE_ERROR &&
           wire_read_error(person->talk.frame.body, &error) == OK &&
           (span_is(error.sqlstate, "53300") || span_is(error.sqlstate, "08006"));
}

/* --- what it says ----------------------------------------------------------------------------- */

static void put_sync(struct person *person)
{
    wire_put_empty(&person->talk.out, WIRE_SYNC);
    person->owed += 1;
}

static void put_query(struct person *person, const char *text)
{
    say("client", person->number, "asks, hostile: %.*s", 200, text);
    wire_put_query(&person->talk.out, span_text(text));
    person->owed += 1;
}

static void put_call(struct person *person)
{
    size_t start = wire_begin(&person->talk.out, WIRE_FUNCTION_CALL);
    wire_put_u32(&person->talk.out, person_draw(person, 100000));
    wire_put_u16(&person->talk.out, 0);
    wire_put_u16(&person->talk.out, 0);
    wire_put_u16(&person->talk.out, 0);
    wire_end(&person->talk.out, start);
    person->owed += 1;
}

/* A row may or may not come to be there: a deed of its own, whose end nobody knows. */
static void put_good_row(struct person *person)
{
    char value[DEED_TEXT], line[DEED_TEXT + 16];
    uint32_t deed = deed_begin();
    int32_t key = deed_row(deed, value);
    deed_settle(deed, DEED_UNKNOWN);
    int size = snprintf(line, sizeof(line), "%d\t%s\n", key, value);
    if (person_one_in(person, 4)) { /* in two pieces, with something ignored between them */
        char first[sizeof(line)];
        snprintf(first, sizeof(first), "%.*s", size / 2, line);
        put_copy(person, WIRE_COPY_DATA, first);
        if (person_one_in(person, 2))
            put_sync(person);
        put_copy(person, WIRE_COPY_DATA, line + size / 2);
        return;
    }
    put_copy(person, WIRE_COPY_DATA, line);
}

static void put_bad_row(struct person *person)
{
    static const char *const rows[] = {"bad\n", "bad\tx\n", "\n", "1\n", "\xff\xff\xff\xff", "b"};
    put_copy(person, WIRE_COPY_DATA, rows[person_draw(person, ARRAY_SIZE(rows))]);
}

static const char *portal_of(struct person *person)
{
    return person_one_in(person, 3) ? "hp" : "";
}

static const char *name_of(struct person *person)
{
    static const char *const names[] = {"", "", "h1", "h2"};
    return names[person_draw(person, ARRAY_SIZE(names))];
}

static void make_copy(struct person *person, struct statement *statement)
{
    static const char *const tables[] = {"kv", "kv", "kv", "kv", "guarded", "nowhere"};
    if (person_one_in(person, 12))
        statement_make(person, statement, "", EFFECT_NONE, "COPY (SELECT 'echo %u.0') TO STDOUT",
                       person->login);
    else
        statement_make(person, statement, "", EFFECT_NONE, "COPY %s FROM STDIN",
                       tables[person_draw(person, ARRAY_SIZE(tables))]);
}

static void make_any(struct person *person, struct statement *statement)
{
    static const char *const words[] = {"BEGIN WORK", "COMMIT WORK", "ROLLBACK WORK",
                                        "SELECT nonsense", "SELECT g FROM generate_series(1, 3) g"};
    uint32_t lot = person_draw(person, 12);
    if (lot < ARRAY_SIZE(words))
        statement_make(person, statement, "", EFFECT_NONE, "%s", words[lot]);
    else if (lot < 9)
        statement_echo(person, statement);
    else
        statement_plain(person, statement);
}

/* --- COPY ------------------------------------------------------------------------------------- */

static void put_many_copies(struct person *person)
{
    static const char copy[] = "; COPY kv FROM STDIN";
    char text[PERSON_TEXT + sizeof(copy) * COPIES_MAX];
    struct statement statement;
    uint32_t count = person_one_in(person, 6) ? 200 + person_draw(person, COPIES_MAX - 200)
                                              : 2 + person_draw(person, 4);
    statement_make(person, &statement, "", EFFECT_NONE, "COPY kv FROM STDIN");
    size_t used = (size_t)snprintf(text, sizeof(text), "%s", statement.text);
    for (uint32_t i = 1; i < count; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s", copy);
    put_query(person, text);
    for (uint32_t i = 0; i < count; i++)
        wire_put_empty(&person->talk.out, WIRE_COPY_DONE);
}

static void put_copy_command(struct person *person)
{
    struct statement statement;
    make_copy(person, &statement);
    if (person_one_in(person, 2)) {
        put_query(person, statement.text);
        return;
    }
    say("client", person->number, "parses, binds and executes, hostile: %s", statement.text);
    put_parse(person, "", statement.text);
    put_bind(person, "", "", NULL);
    put_execute(person, "", 0);
    if (person_one_in(person, 2)) /* as libpq does it */
        put_sync(person);
}

static void put_copy_part(struct person *person)
{
    switch (person_draw(person, 10)) {
    case 0:
    case 1:
        put_good_row(person);
        break;
    case 2:
    case 3:
        put_bad_row(person);
        break;
    case 4:
        wire_put_empty(&person->talk.out, WIRE_FLUSH);
        break;
    case 5:
        wire_put_empty(&person->talk.out, WIRE_COPY_DONE);
        break;
    case 6:
        put_copy(person, WIRE_COPY_FAIL, "no more");
        break;
    default:
        put_sync(person);
    }
}

static void put_copying(struct person *person)
{
    if (person_one_in(person, 12)) {
        put_many_copies(person);
    } else {
        put_copy_command(person);
        for (uint32_t parts = person_draw(person, 6); parts > 0; parts--)
            put_copy_part(person);
    }
    if (person_one_in(person, 2))
        put_sync(person);
}

/* --- anything --------------------------------------------------------------------------------- */

static void put_extended(struct person *person)
{
    struct statement statement;
    const char *name = name_of(person), *portal = portal_of(person);
    uint8_t type = person_one_in(person, 2) ? WIRE_CLOSE : WIRE_DESCRIBE;
    uint32_t rows = person_draw(person, 3);
    make_any(person, &statement);
    switch (person_draw(person, 6)) {
    case 0:
        put_parse(person, name, statement.text);
        break;
    case 1:
        put_bind(person, portal, name, NULL);
        break;
    case 2:
        put_execute(person, portal, rows);
        break;
    case 3:
        put_target(person, type, 'P', portal);
        break;
    case 4:
        put_target(person, type, 'S', name);
        break;
    default:
        put_parse(person, "", statement.text);
        put_bind(person, "", "", NULL);
        put_execute(person, "", 0);
    }
}

static void put_something(struct person *person)
{
    struct statement statement;
    uint32_t lot = person_draw(person, 40);
    if (lot < 18) {
        put_copying(person);
    } else if (lot < 24) {
        put_copy_part(person);
    } else if (lot < 32) {
        put_extended(person);
    } else if (lot < 37) {
        make_any(person, &statement);
        put_query(person, statement.text);
    } else if (lot == 37) {
        put_call(person);
    } else if (lot == 38 && person_one_in(person, 4)) {
        put_copy(person, WIRE_PASSWORD, "open");
    } else {
        put_sync(person);
    }
}

/* --- how it says it --------------------------------------------------------------------------- */

/* In one write, or cut anywhere. */
static fault sends(struct person *person)
{
    struct talk *talk = &person->talk;
    uint32_t cuts = person_one_in(person, 2) ? 0 : person_draw(person, 5);
    for (; cuts > 0 && talk->out.size > 1; cuts--) {
        TRY(talk_flush_part(talk, 1 + person_draw(person, (uint32_t)talk->out.size - 1),
                            after(sec(60))));
        if (person_one_in(person, 2))
            TRY(person_rests(person, 3000));
    }
    return talk_flush(talk, after(sec(60)));
}

static void cancels(struct person *person)
{
    struct link_target target = {.address = stage.at, .host = "sim"};
    for (uint32_t i = 1 + person_draw(person, 2); i > 0; i--) {
        (void)!person_rests(person, 4000);
        (void)!link_cancel(&target, person->pid, wire_secret_span(&person->secret), after(sec(60)));
    }
}

/* Whatever state it is in, behind these it is in no transaction, and an empty text is answered, or
 * the connection ends. */
static fault comes_to_rest(struct person *person)
{
    deadline begun = now();
    put_copy(person, WIRE_COPY_FAIL, "enough");
    put_sync(person);
    put_query(person, "ROLLBACK");
    put_query(person, "");
    TRY(sends(person));
    for (;;) {
        fault heard = hears(person, after(sec(1)));
        if (heard == OK && (person->talk.frame.type == WIRE_EMPTY_QUERY || is_refused(person)))
            return OK;
        if (heard != FAULT_TIMEOUT) {
            TRY(heard);
            continue;
        }
        if (stage.stopped)
            begun = now();
        PROVE(between(begun, now()).us < ANSWERED_BY.us || stage_has(KIND_silences) ||
                  stage_has(KIND_half_ends),
              "hostile client %u (login %u) is left without an answer", person->number,
              person->login);
        if (stage_has(KIND_silences) && between(begun, now()).us > HEARS_FOR.us)
            return heard;
    }
}

static fault hears_for_a_while(struct person *person)
{
    deadline by = after(HEARS_FOR);
    fault heard = OK;
    while (heard == OK)
        heard = hears(person, by);
    return heard == FAULT_TIMEOUT ? OK : heard;
}

static fault goes(struct person *person)
{
    switch (person_draw(person, 4)) {
    case 0:
        wire_put_empty(&person->talk.out, WIRE_TERMINATE);
        (void)!talk_flush(&person->talk, after(sec(1)));
        break;
    case 1:
        sim_net_linger(&person->talk.stream);
        break;
    default: /* in the middle of a message, perhaps */
        if (person_one_in(person, 2)) {
            put_something(person);
            (void)!talk_flush_part(
                &person->talk, person_draw(person, (uint32_t)person->talk.out.size), after(sec(1)));
        }
    }
    return FAULT_CLOSED;
}

/* A COPY whose row is bad, and Syncs: which of them are answered decides when the server is free.
 */
static void put_failing_copy(struct person *person)
{
    put_copy_command(person);
    for (uint32_t parts = person_draw(person, 3); parts > 0; parts--) {
        if (person_one_in(person, 2))
            put_good_row(person);
        else
            put_sync(person);
    }
    put_bad_row(person);
    for (uint32_t syncs = person_draw(person, 3); syncs > 0; syncs--)
        put_sync(person);
    if (person_one_in(person, 3))
        wire_put_empty(&person->talk.out, WIRE_COPY_DONE);
    if (person_one_in(person, 3))
        put_sync(person);
}

static void put_attack(struct person *person)
{
    if (person_one_in(person, 2)) {
        put_failing_copy(person);
        return;
    }
    for (uint32_t steps = 1 + person_draw(person, STEPS_MAX); steps > 0; steps--)
        put_something(person);
}

/* It says nothing behind an attack for a while, so that its server may be given to somebody else.
 */
static fault attacks(struct person *person)
{
    for (uint32_t times = 1 + person_draw(person, 3); times > 0; times--) {
        put_attack(person);
        TRY(sends(person));
        if (person_one_in(person, 6))
            cancels(person);
        if (!person_one_in(person, 3))
            TRY(hears_for_a_while(person));
    }
    return person_one_in(person, 4) ? goes(person) : comes_to_rest(person);
}

/* Its connection may end of it, and nobody else's. */
fault hostile_acts(struct person *person)
{
    person->wants_cancel = true;
    person->idle = false;
    say("client", person->number, "is hostile");
    if (attacks(person) != OK)
        person_end(person);
    return OK;
}
