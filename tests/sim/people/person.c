#include "people/person.h"

#include "link/link.h"
#include "machine/clock.h"
#include "oracle/arrivals.h"
#include "oracle/deeds.h"
#include "oracle/oracle.h"
#include "people/behaviours.h"
#include "stage/stage.h"

#include <stdio.h>
#include <string.h>

/*
 * One client: its connection, what it hears besides answers, its ways to lose it.
 */
#define SLICE       sec(1)
#define PATIENCE    sec(120) /* whatever the world does, it is not waited longer */
#define SERVED_BY   sec(90)  /* once the world is calm */
#define CALM_ROUNDS 2

const char *const setting_names[SETTINGS] = {"TimeZone", "DateStyle", "IntervalStyle"};
const char *const setting_values[SETTINGS][SETTING_VALUES] = {
    {"Etc/UTC", "Europe/Berlin", "Asia/Tokyo"},
    {"ISO, MDY", "ISO, DMY", "German, DMY"},
    {"postgres", "iso_8601", "sql_standard"},
};

/* --- losing it -------------------------------------------------------------------------------- */

void person_settle(struct person *person, bool done)
{
    if (!person->has_deed)
        return;
    deed_settle(person->deed, done ? DEED_DONE : DEED_UNDONE);
    person->has_deed = false;
}

void person_end(struct person *person)
{
    if (person->has_deed)
        deed_settle(person->deed, person->may_commit ? DEED_UNKNOWN : DEED_UNDONE);
    person->has_deed = false;
    if (person->connected)
        oracle_depart(person);
    talk_end(&person->talk);
    person->connected = person->waits = false;
}

fault person_lost(struct person *person, fault why)
{
    say("client", person->number, "loses its connection: %s", fault_story(why));
    PROVE(strcmp(fault_story_sqlstate(why), "08P01") != 0, "client %u (login %u) is blamed: %s",
          person->number, person->login, fault_story(why));
    PROVE(stage_excuses_loss(person), "client %u (login %u) lost its connection: %s",
          person->number, person->login, fault_story(why));
    stage.counts->lost += 1;
    return FAULT_CLOSED;
}

fault person_dismissed(struct person *person, const struct wire_error *error)
{
    say("client", person->number, "is dismissed: %.*s %.*s", SPAN_ARG(error->sqlstate),
        SPAN_ARG(error->message));
    snprintf(person->last_word, sizeof(person->last_word), "%.*s", SPAN_ARG(error->sqlstate));
    /* The memory is not taken from those who hold little. */
    PROVE(!span_is(error->sqlstate, "53200") || person->holds_much || stage_has(KIND_failing),
          "client %u (login %u) is ended for want of memory: %.*s", person->number, person->login,
          SPAN_ARG(error->message));
    PROVE(!span_is(error->sqlstate, "08P01"), "client %u (login %u) is blamed: %.*s",
          person->number, person->login, SPAN_ARG(error->message));
    PROVE(stage_excuses_loss(person), "client %u (login %u) was dismissed: %.*s (%.*s)",
          person->number, person->login, SPAN_ARG(error->message), SPAN_ARG(error->sqlstate));
    stage.counts->lost += 1;
    return FAULT_CLOSED;
}

/* --- reading ---------------------------------------------------------------------------------- */

static void person_takes_parameter(struct person *person, struct span body)
{
    struct wire_parameter said;
    PROVE(wire_read_parameter_status(body, &said) == OK);
    for (size_t i = 0; i < SETTINGS; i++)
        if (span_is(said.name, setting_names[i]))
            snprintf(person->reported[i], sizeof(person->reported[i]), "%.*s",
                     SPAN_ARG(said.value));
}

void person_check_settings(const struct person *person)
{
    for (size_t i = 0; i < SETTINGS; i++) {
        const char *must = setting_values[i][person->now.values[i]];
        PROVE(strcmp(person->reported[i], must) == 0, "client %u: %s is '%s' and was set to '%s'",
              person->number, setting_names[i], person->reported[i], must);
    }
}

void person_check_silence(struct person *person)
{
    PROVE(!person->connected || !talk_has_surplus(&person->talk),
          "client %u (login %u) is answered what it has not asked", person->number, person->login);
}

/* A message, in slices; TIMEOUT never comes back. */
static fault person_read(struct person *person)
{
    deadline begun = now();
    for (;;) {
        fault read = talk_next(&person->talk, after(SLICE));
        if (read != FAULT_TIMEOUT)
            return read == OK ? OK : person_lost(person, read);
        if (stage.stopped)
            begun = now();
        deadline since = stage.calm && stage.calm_since.us > begun.us ? stage.calm_since : begun;
        duration waited = between(since, now());
        /* An answer that fell silent is heard when the world heals. */
        PROVE(waited.us < PATIENCE.us || (!stage.calm && stage_has(KIND_silences)),
              "client %u waits for ever", person->number);
        PROVE(!stage.calm || waited.us < SERVED_BY.us,
              "client %u still waits %lld s after the world became calm", person->number,
              (long long)(waited.us / 1000000));
    }
}

/* False: it was asked for. */
static bool person_takes_unasked(struct person *person)
{
    const struct wire_frame *frame = &person->talk.frame;
    if (!talk_is_unasked(frame))
        return false;
    arrivals_heard(person, frame);
    if (frame->type == WIRE_PARAMETER_STATUS)
        person_takes_parameter(person, frame->body);
    PROVE(frame->type != WIRE_NOTIFICATION || person->listens,
          "client %u is notified and does not listen", person->number);
    return true;
}

/* CLOSED: it is the last word. */
static fault person_takes_error(struct person *person)
{
    struct wire_error error;
    PROVE(wire_read_error(person->talk.frame.body, &error) == OK);
    return span_is(error.severity, "FATAL") ? person_dismissed(person, &error) : OK;
}

fault person_next(struct person *person)
{
    do
        TRY(person_read(person));
    while (person_takes_unasked(person));
    return person->talk.frame.type == WIRE_ERROR ? person_takes_error(person) : OK;
}

fault person_hears(struct person *person, duration max)
{
    deadline by = after(max);
    for (;;) {
        fault read = talk_next(&person->talk, by);
        if (read == FAULT_TIMEOUT)
            return OK;
        if (read != OK)
            return person_lost(person, read);
        if (person_takes_unasked(person))
            continue;
        PROVE(person->talk.frame.type == WIRE_ERROR, "client %u hears a '%c' and has asked nothing",
              person->number, person->talk.frame.type);
        TRY(person_takes_error(person));
    }
}

/* What it says may come in pieces, which end anywhere; close together or a while apart. */
static fault person_dribbles(struct person *person)
{
    struct talk *talk = &person->talk;
    fault sent = OK;
    for (uint32_t i = 1 + person_draw(person, 4); i > 0 && talk->out.size > 1 && sent == OK; i--) {
        size_t part = 1 + person_draw(person, (uint32_t)talk->out.size - 1);
        sent = talk_flush_part(talk, part, after(PATIENCE));
        if (sent == OK && person_one_in(person, 2))
            sent = person_rests(person, person_one_in(person, 2) ? 200 : 10000);
    }
    return sent;
}

fault person_flush(struct person *person)
{
    bool in_pieces = person_one_in(person, 6) && !person->whole;
    fault sent = in_pieces ? person_dribbles(person) : OK;
    if (sent == OK)
        sent = talk_flush(&person->talk, after(PATIENCE));
    PROVE(sent != FAULT_TIMEOUT, "client %u can't send", person->number);
    person->said_at = now();
    return sent == OK ? OK : person_lost(person, sent);
}

fault person_rests(struct person *person, uint32_t most_us)
{
    PROVE(co_sleep((duration){.us = 1 + person_draw(person, most_us)}) == OK);
    return OK;
}

/* --- coming ----------------------------------------------------------------------------------- */

static void person_resets(struct person *person)
{
    person->talk = TALK_INIT;
    person->login = oracle_enrol(person);
    person->is_new = stage.calm;
    person->greeted = false;
    person->last_word[0] = '\0';
    person->holds_much = person->whole = false;
    /* Some say nothing of themselves, and must be given nothing of the others'. */
    bool plain = person_one_in(person, 4) || stage_has(KIND_plainness);
    person->name[0] = '\0';
    if (!plain)
        snprintf(person->name, sizeof(person->name), "client %u", person->login);
    person->status = WIRE_TX_IDLE;
    person->savepoints = person->said = person->owed = 0;
    person->has_deed = person->listens = person->may_commit = person->left_prepared = false;
    person->sets = person->wants_cancel = person->waits = false;
    memset(person->prepared, 0, sizeof(person->prepared));
    for (size_t i = 0; i < SETTINGS; i++) {
        uint8_t value =
            !plain && person_one_in(person, 3) ? (uint8_t)person_draw(person, SETTING_VALUES) : 0;
        person->now.values[i] = person->now.lasting[i] = value;
        person->reset[i] = value;
    }
    person->before = person->now;
}

static void person_put_parameters(const struct person *person, struct buffer *out)
{
    if (person->name[0] != '\0') {
        buffer_append(out, "application_name", sizeof("application_name"));
        buffer_append(out, person->name, strlen(person->name) + 1);
    }
    for (size_t i = 0; i < SETTINGS; i++) {
        const char *value = setting_values[i][person->now.values[i]];
        if (person->now.values[i] == 0)
            continue;
        buffer_append(out, setting_names[i], strlen(setting_names[i]) + 1);
        buffer_append(out, value, strlen(value) + 1);
    }
}

static void person_greeted(struct person *person, struct link_greeting *greeting)
{
    struct span rest = buffer_span(&greeting->parameters), name, value;
    person->pid = greeting->pid;
    person->secret = greeting->secret;
    while (wire_next_parameter(&rest, &name, &value))
        for (size_t i = 0; i < SETTINGS; i++)
            if (span_is(name, setting_names[i]))
                snprintf(person->reported[i], sizeof(person->reported[i]), "%.*s", SPAN_ARG(value));
    buffer_fini(&greeting->parameters);
    person_check_settings(person);
}

void person_target(const struct person *person, struct link_target *ret)
{
    /* As libpq's own users set it: a connection that has fallen silent ends. */
    *ret = (struct link_target){
        .address = stage.at,
        .host = "sim",
        .socket = {.keepalive = true, .keep_idle = 20, .keep_interval = 5, .keep_count = 3}};
    bool by_socket = stage_has(KIND_unix_sockets) && person->number % 3 == 0;
    bool by_second = stage_has(KIND_listeners) && person->number % 4 == 1;
    if (stage_has(KIND_proxies) && person->number % 2 == 0)
        ret->address = proxy_address();
    if (by_second)
        ret->address = stage.at_second;
    if (by_socket)
        ret->address = stage.at_socket;
    by_socket |= by_second; /* nor does that one encrypt */
    if (stage.client_tls != NULL && !by_socket && person->number % 4 > 0) {
        ret->tls_mode = TLS_MODE_REQUIRE;
        ret->tls = stage.client_tls;
    }
}

fault person_begin(struct person *person)
{
    static const char *const databases[] = {[PERSON_TRANSACTION] = "app",
                                            [PERSON_SESSION] = "session",
                                            [PERSON_STATEMENT] = "statement"};
    struct buffer parameters = BUFFER_INIT(1024);
    struct link_greeting greeting;
    struct link_secret secret = {.password = SPAN(STAGE_PASSWORD)};
    struct link_target target;
    person_target(person, &target);
    person_resets(person);
    person_put_parameters(person, &parameters);
    struct link_login login = {.target = &target,
                               .user = SPAN("joe"),
                               .database = span_text(databases[person->pool]),
                               .parameters = buffer_span(&parameters),
                               .secret = &secret};
    say("client", person->number, "logs in as login %u", person->login);
    person->connected = true;
    person->asked_at = now();
    fault done = link_login(&person->talk.stream, &login, &greeting,
                            after(stage.calm ? SERVED_BY : PATIENCE));
    buffer_fini(&parameters);
    if (done != OK)
        return person_lost(person, done);
    stage.counts->logins += 1;
    person->greeted = true;
    person_greeted(person, &greeting);
    return OK;
}

/* --- what it does ----------------------------------------------------------------------------- */

static void person_acts(struct person *person)
{
    fault done = person->connected ? OK : person_begin(person);
    if (done == OK)
        done = person->hostile ? hostile_acts(person) : behaviour_draw(person)(person);
    /* The end of its transaction may have failed. */
    while (done == OK && person->connected && person->status != WIRE_TX_IDLE)
        done = person_rolls_back(person);
    PROVE(done == OK || done == FAULT_CLOSED);
    if (done == OK && !person->hostile)
        person_check_silence(person);
    if (done != OK && person->connected)
        person_end(person);
    /* Whoever is refused at once comes back a little later. */
    if (done != OK)
        (void)!person_rests(person, 20000);
}

void person_main(void *argument)
{
    struct person *person = argument;
    (void)!person_rests(person, stage_has(KIND_haste) ? 1000 : 20000);
    for (uint32_t i = 0; i < stage.plan->rounds && !stage.calm; i++)
        person_acts(person);
    stage.rounds_over += 1;
    while (!stage.calm)
        (void)!person_rests(person, 100000);
    for (uint32_t i = 0; i < CALM_ROUNDS; i++)
        person_acts(person);
    /* Whoever comes now is served. */
    if (person->connected)
        person_end(person);
    deadline by = after(SERVED_BY);
    while (!person->connected || do_echo(person) != OK) {
        PROVE(now().us < by.us, "client %u is not served although all is well", person->number);
        person_end(person);
        if (person_begin(person) != OK)
            person_end(person);
        (void)!person_rests(person, 10000);
    }
    person_end(person);
    mail_send(stage.home, &stage.done[person->number]);
}
