#include "machine/clock.h"
#include "model/model.h"
#include "oracle/walks.h"
#include "people/behaviours.h"
#include "people/guest.h"
#include "stage/stage.h"

#include <stdio.h>
#include <string.h>

/*
 * Those who are streamed PostgreSQL's log: each byte of it comes once and in its order, whatever
 * they say meanwhile, and none of the limits of time for queries holds for them.
 */
#define BEHIND_MAX 65536u  /* bytes of the log that it wants to hear again */
#define STREAM_MAX 400000u /* us */
#define PIECE_HEAD 25      /* of a piece: its type, two places, a clock */
#define AHEAD      (1u << 30)

struct walker {
    struct guest guest;
    struct person *person;
    uint32_t walk;
    bool physical;
    uint64_t at;  /* of the log: the next byte */
    uint64_t end; /* of the log, as it was told */
};

static uint64_t get_u64(struct wire_reader *in)
{
    uint64_t high = wire_get_u32(in);
    return high << 32 | wire_get_u32(in);
}

static void put_u64(struct buffer *out, uint64_t value)
{
    wire_put_u32(out, (uint32_t)(value >> 32));
    wire_put_u32(out, (uint32_t)value);
}

static uint8_t walker_hears(const struct walker *walker)
{
    return walker->guest.talk.frame.type;
}

/* --- its coming ------------------------------------------------------------------------------- */

static fault walker_logs_in(struct walker *walker)
{
    static const char *const words[] = {"true", "on", "1", "yes"};
    const char *word = words[person_draw(walker->person, ARRAY_SIZE(words))];
    char name[WALK_NAME];
    struct buffer parameters = BUFFER_INIT(256);
    struct link_target target;
    struct link_secret secret = {.password = SPAN(STAGE_PASSWORD)};
    walks_name(walker->walk, name);
    person_target(walker->person, &target);
    wire_put_text(&parameters, "replication");
    wire_put_text(&parameters, walker->physical ? word : "database");
    wire_put_text(&parameters, "application_name");
    wire_put_text(&parameters, name);
    struct link_login login = {.target = &target,
                               .user = SPAN("joe"),
                               .database = SPAN("app"),
                               .parameters = buffer_span(&parameters),
                               .secret = &secret};
    fault done = guest_login(&walker->guest, &login);
    say("walk", walker->walk, "logs in: %s", done == OK ? "well" : fault_story(done));
    buffer_fini(&parameters);
    return done;
}

static void check_refusal(const struct walker *walker, fault done)
{
    bool is_full = done == FAULT_UPSTREAM && strcmp(walker->guest.sqlstate, "53300") == 0;
    if (guest_is_excused(&walker->guest) || stage_has(KIND_narrowness) ||
        stage_has(KIND_short_writes))
        return;
    PROVE(is_full, "walk %u is refused: %s", walker->walk, walker->guest.sqlstate);
    walks_check_refusal(walker->walk);
}

/* --- questions -------------------------------------------------------------------------------- */

static fault walker_asks(struct walker *walker, const char *query)
{
    walks_ask(walker->walk, query);
    wire_put_query(&walker->guest.talk.out, span_text(query));
    return guest_flush(&walker->guest);
}

/* An error and ReadyForQuery. */
static fault walker_is_refused(struct walker *walker, const char *sqlstate)
{
    TRY(guest_next(&walker->guest));
    PROVE(walker_hears(walker) == WIRE_ERROR && strcmp(walker->guest.sqlstate, sqlstate) == 0,
          "walk %u hears '%c' %s instead of %s", walker->walk, walker_hears(walker),
          walker->guest.sqlstate, sqlstate);
    TRY(guest_next(&walker->guest));
    PROVE(walker_hears(walker) == WIRE_READY);
    return OK;
}

static void walker_takes_identity(struct walker *walker)
{
    unsigned high = 0, low = 0;
    struct span values[4];
    char place[32];
    struct wire_reader in = wire_reader_over(walker->guest.talk.frame.body);
    PROVE(wire_get_u16(&in) == ARRAY_SIZE(values));
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        uint32_t size = wire_get_u32(&in);
        values[i] = size == UINT32_MAX ? SPAN_NONE : wire_get_bytes(&in, size);
    }
    snprintf(place, sizeof(place), "%.*s", SPAN_ARG(values[2]));
    PROVE(sscanf(place, "%X/%X", &high, &low) == 2, "the log ends at '%s'", place);
    walker->end = (uint64_t)high << 32 | low;
    PROVE(span_is(values[3], walker->physical ? "" : "app"), "walk %u is at '%.*s'", walker->walk,
          SPAN_ARG(values[3]));
}

static fault walker_identifies(struct walker *walker)
{
    static const uint8_t must[] = {WIRE_ROW_DESCRIPTION, WIRE_DATA_ROW, WIRE_COMMAND_COMPLETE,
                                   WIRE_READY};
    TRY(walker_asks(walker, "IDENTIFY_SYSTEM"));
    for (size_t i = 0; i < ARRAY_SIZE(must); i++) {
        TRY(guest_next(&walker->guest));
        PROVE(walker_hears(walker) == must[i], "walk %u hears '%c' as answer %zu", walker->walk,
              walker_hears(walker), i);
        if (must[i] == WIRE_DATA_ROW)
            walker_takes_identity(walker);
    }
    return OK;
}

/* SQL is for those who decode, and batches for nobody. */
static fault walker_errs(struct walker *walker)
{
    char query[WALK_NAME + 16], text[PERSON_TEXT], must[WALK_NAME];
    struct buffer *out = &walker->guest.talk.out;
    if (person_one_in(walker->person, 2)) {
        size_t start = wire_begin(out, WIRE_PARSE);
        wire_put_text(out, "");
        wire_put_text(out, "SELECT 1");
        wire_put_u16(out, 0);
        wire_end(out, start);
        wire_put_empty(out, WIRE_SYNC);
        TRY(guest_flush(&walker->guest));
        return walker_is_refused(walker, "08P01");
    }
    walks_name(walker->walk, must);
    snprintf(query, sizeof(query), "SELECT '%s'", must);
    if (walker->physical) {
        TRY(walker_asks(walker, query));
        return walker_is_refused(walker, "0A000");
    }
    walks_ask(walker->walk, query);
    TRY(guest_asks(&walker->guest, query, text));
    PROVE(strcmp(text, must) == 0 ||
              (text[0] == '\0' && (stage_has(KIND_failing) || stage_has(KIND_statement_timeout))),
          "walk %u is answered '%s'", walker->walk, text);
    return OK;
}

/* --- the stream ------------------------------------------------------------------------------- */

static void walker_takes_piece(struct walker *walker)
{
    struct span body = walker->guest.talk.frame.body;
    struct wire_reader in = wire_reader_over(body);
    PROVE(walker_hears(walker) == WIRE_COPY_DATA && body.size > 1, "walk %u hears '%c' in a stream",
          walker->walk, walker_hears(walker));
    if (wire_get_u8(&in) == 'k') /* it is asked for, now and then */
        return;
    uint64_t at = get_u64(&in);
    PROVE(body.at[0] == 'w' && body.size > PIECE_HEAD && at == walker->at,
          "walk %u is sent the log from %llX on instead of %llX", walker->walk,
          (unsigned long long)at, (unsigned long long)walker->at);
    for (size_t i = PIECE_HEAD; i < body.size; i++)
        PROVE(body.at[i] == model_log_byte(walker->at++), "byte %zu of a piece of the log is wrong",
              i);
}

static fault walker_replies(struct walker *walker)
{
    struct buffer *out = &walker->guest.talk.out;
    bool asks = person_one_in(walker->person, 3);
    size_t start = wire_begin(out, WIRE_COPY_DATA);
    wire_put_u8(out, 'r');
    for (int i = 0; i < 3; i++)
        put_u64(out, walker->at);
    put_u64(out, walks_reply(walker->walk));
    wire_put_u8(out, asks);
    wire_end(out, start);
    return guest_flush(&walker->guest);
}

static fault walker_listens(struct walker *walker)
{
    deadline until = after((duration){.us = 1 + person_draw(walker->person, STREAM_MAX)});
    while (now().us < until.us) {
        fault heard = guest_next_by(&walker->guest, until);
        if (heard == FAULT_TIMEOUT)
            return OK;
        TRY(heard);
        walker_takes_piece(walker);
        if (person_one_in(walker->person, 8))
            TRY(person_rests(walker->person, 20000));
        for (uint32_t i = person_draw(walker->person, 3); i > 0; i--)
            TRY(walker_replies(walker));
    }
    return OK;
}

/* What is on its way comes before the end, and each reply was heard before it. */
static fault walker_ends(struct walker *walker)
{
    static const uint8_t must[] = {WIRE_COPY_DONE, WIRE_COMMAND_COMPLETE, WIRE_COMMAND_COMPLETE,
                                   WIRE_READY};
    wire_put_empty(&walker->guest.talk.out, WIRE_COPY_DONE);
    TRY(guest_flush(&walker->guest));
    for (size_t i = 0; i < ARRAY_SIZE(must);) {
        TRY(guest_next(&walker->guest));
        if (i == 0 && walker_hears(walker) == WIRE_COPY_DATA) {
            walker_takes_piece(walker);
            continue;
        }
        PROVE(walker_hears(walker) == must[i], "walk %u hears '%c' at the end of its stream",
              walker->walk, walker_hears(walker));
        i += 1;
    }
    walks_check_heard(walker->walk);
    return OK;
}

static fault walker_starts(struct walker *walker, uint64_t at)
{
    char query[64];
    bool says_timeline = person_one_in(walker->person, 2);
    walker->at = at;
    snprintf(query, sizeof(query), "START_REPLICATION %X/%X%s", (unsigned)(at >> 32), (unsigned)at,
             says_timeline ? " TIMELINE 1" : "");
    TRY(walker_asks(walker, query));
    TRY(guest_next(&walker->guest));
    PROVE(walker_hears(walker) == WIRE_COPY_BOTH, "walk %u hears '%c' instead of a stream",
          walker->walk, walker_hears(walker));
    return OK;
}

/* CLOSED: it goes in the middle of it. */
static fault walker_streams(struct walker *walker)
{
    uint64_t behind = MIN_OF(walker->end - MODEL_LOG_BEGINS, (uint64_t)BEHIND_MAX);
    uint64_t back = person_draw(walker->person, (uint32_t)behind + 1);
    if (person_one_in(walker->person, 6)) {
        TRY(walker_starts(walker, walker->end + AHEAD));
        return walker_is_refused(walker, "XX000");
    }
    TRY(walker_starts(walker, walker->end - back));
    TRY(walker_listens(walker));
    if (person_one_in(walker->person, 3))
        return FAULT_CLOSED;
    return walker_ends(walker);
}

static fault walker_walks(struct walker *walker)
{
    TRY(walker_identifies(walker));
    if (person_one_in(walker->person, 4)) /* no stream: nothing is left in doubt */
        return OK;
    for (uint32_t i = 1 + person_draw(walker->person, 2); i > 0; i--) {
        if (person_one_in(walker->person, 3))
            TRY(walker_errs(walker));
        TRY(walker_streams(walker));
        TRY(walker_identifies(walker));
    }
    return OK;
}

fault do_replication(struct person *person)
{
    static const char *const limits[] = {"57014", "25P03", "25P04", "57P05"};
    struct walker walker = {.person = person, .walk = walks_enrol()};
    walker.physical = person_one_in(person, 2);
    guest_init(&walker.guest, person);
    fault done = walker_logs_in(&walker);
    if (done != OK) {
        check_refusal(&walker, done);
    } else {
        walks_greet(walker.walk, walker.guest.pid);
        done = walker_walks(&walker);
        for (size_t i = 0; done != OK && i < ARRAY_SIZE(limits); i++)
            PROVE(strcmp(walker.guest.sqlstate, limits[i]) != 0, "walk %u is ended by a limit: %s",
                  walker.walk, limits[i]);
        if (person_one_in(person, 2)) {
            wire_put_empty(&walker.guest.talk.out, WIRE_TERMINATE);
            (void)!talk_flush(&walker.guest.talk, after(sec(1)));
        }
    }
    guest_end(&walker.guest);
    walks_leave(walker.walk);
    return OK;
}
