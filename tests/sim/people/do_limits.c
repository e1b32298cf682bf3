#include "machine/clock.h"
#include "people/batch.h"
#include "people/behaviours.h"
#include "stage/stage.h"
#include "wire/startup.h"

#include <string.h>

/*
 * Limits of time, in worlds where nothing is late: who is in time is not ended, and who is not is
 * ended at the limit, not sooner, and later by no more than a small part of it.
 */
#define EARLY_MAX ms(2)  /* the daemon's clock of it runs from its own part in it */
#define LATE_MAX  ms(5)  /* of 60 ms, the smallest of the limits */
#define SLEEPS    ms(20) /* each statement of a transaction that takes long */

static bool is_set(duration limit)
{
    return limit.us != NO_LIMIT.us;
}

static duration nine_tenths(duration limit)
{
    return (duration){limit.us / 10 * 9};
}

/* The connection was ended by what has this SQLSTATE, `limit` after `since`. */
static void was_ended(const struct person *person, const char *sqlstate, deadline since,
                      duration limit)
{
    int64_t passed = between(since, now()).us;
    PROVE(strcmp(person->last_word, sqlstate) == 0, "client %u is ended by '%s' instead of '%s'",
          person->number, person->last_word, sqlstate);
    PROVE(passed >= limit.us - EARLY_MAX.us && passed <= limit.us + LATE_MAX.us,
          "client %u is ended after %lld us, the limit is %lld us (%s)", person->number,
          (long long)passed, (long long)limit.us, sqlstate);
}

/* One statement that takes so long; as a Query, for it is one turn of the server. */
static fault sleeps(struct person *person, duration time)
{
    struct batch batch;
    struct statement statement;
    batch_begin(&batch, person);
    statement_make(person, &statement, "SELECT 1", EFFECT_NONE, "SELECT pg_sleep(%lld.%06lld)",
                   (long long)(time.us / 1000000), (long long)(time.us % 1000000));
    statement.expected.has_rows = true;
    statement.expected.rows = 1;
    statement.expected.text[0] = '\0';
    batch_query(&batch, &statement);
    person->whole = true;
    fault ran = batch_run(&batch);
    person->whole = false;
    return ran;
}

/* --- queries ---------------------------------------------------------------------------------- */

/* Outside of a transaction both limits run, and the shorter one ends it. */
static duration query_limit(const char **ret_sqlstate)
{
    const struct setup *setup = &stage.setup;
    bool by_transaction = setup->transaction_timeout.us < setup->query_timeout.us;
    *ret_sqlstate = by_transaction ? "25P04" : "57014";
    return by_transaction ? setup->transaction_timeout : setup->query_timeout;
}

/* Each query of a transaction has the whole time for itself. */
static fault queries_within(struct person *person)
{
    const struct setup *setup = &stage.setup;
    duration limit = setup->query_timeout;
    TRY(person_begins(person));
    if (person->status != WIRE_TX_ACTIVE)
        return OK;
    duration max = is_set(setup->transaction_timeout) ? (duration){limit.us / 3} : limit;
    for (uint32_t i = 0; i < 2; i++)
        TRY(sleeps(person, nine_tenths(max)));
    return person_rolls_back(person);
}

fault do_query_at_its_limit(struct person *person)
{
    const char *sqlstate;
    duration limit = query_limit(&sqlstate);
    if (!is_set(limit))
        return OK;
    TRY(do_echo(person)); /* it has not been silent for too long */
    if (is_set(stage.setup.query_timeout) && person->pool != PERSON_STATEMENT &&
        person_one_in(person, 3))
        return queries_within(person);
    if (person_one_in(person, 2))
        return sleeps(person, nine_tenths(limit));
    fault slept = sleeps(person, sec(600));
    if (slept != FAULT_CLOSED) /* its claim was refused */
        return slept;
    was_ended(person, sqlstate, person->ran_at, limit);
    return FAULT_CLOSED;
}

/* --- transactions ----------------------------------------------------------------------------- */

fault do_transaction_at_its_limit(struct person *person)
{
    duration limit = stage.setup.transaction_timeout;
    if (!is_set(limit))
        return OK;
    TRY(do_echo(person));
    person->whole = true;
    fault begun = person_begins(person);
    person->whole = false;
    if (begun != OK || person->status != WIRE_TX_ACTIVE)
        return begun;
    deadline since = person->ran_at;
    bool in_time = person_one_in(person, 2);
    deadline until = later(since, in_time ? nine_tenths(limit) : sec(600));
    while (now().us + SLEEPS.us < until.us) {
        fault slept = sleeps(person, SLEEPS);
        if (slept == OK)
            continue;
        PROVE(!in_time, "client %u is ended within its time", person->number);
        was_ended(person, "25P04", since, limit);
        return slept;
    }
    return person_rolls_back(person);
}

/* --- silences --------------------------------------------------------------------------------- */

static fault says_nothing(struct person *person, const char *sqlstate, duration limit)
{
    deadline since = now();
    bool in_time = person_one_in(person, 2);
    fault heard = person_hears(person, in_time ? nine_tenths(limit) : sec(600));
    if (heard == OK)
        return OK;
    PROVE(!in_time, "client %u is ended within its time", person->number);
    was_ended(person, sqlstate, since, limit);
    return heard;
}

/* What comes of a LISTEN does not interrupt the silence.  AGAIN: it was refused. */
static fault listens(struct person *person, bool on)
{
    struct batch batch;
    struct statement statement;
    statement_make(person, &statement, on ? "LISTEN" : "UNLISTEN", on ? EFFECT_LISTEN : EFFECT_NONE,
                   on ? "LISTEN news" : "UNLISTEN news");
    person->listens = true;
    batch_begin(&batch, person);
    batch_query(&batch, &statement);
    TRY(batch_run(&batch));
    return batch.any_failed ? FAULT_AGAIN : OK;
}

static fault idles(struct person *person)
{
    bool hears = stage_has(KIND_news) && stage_has(KIND_pins) && person_one_in(person, 2);
    TRY(do_echo(person)); /* its time begins with the end of a query */
    fault listening = hears ? listens(person, true) : FAULT_AGAIN;
    if (listening != OK && listening != FAULT_AGAIN)
        return listening;
    TRY(says_nothing(person, "57P05", stage.setup.client_idle_timeout));
    fault ended = listening == OK ? listens(person, false) : OK;
    return ended == FAULT_AGAIN ? OK : ended;
}

fault do_silence_at_its_limit(struct person *person)
{
    const struct setup *setup = &stage.setup;
    bool within = person->pool != PERSON_STATEMENT && person_one_in(person, 2);
    if (!within && is_set(setup->client_idle_timeout))
        return idles(person);
    if (!within || !is_set(setup->idle_transaction_timeout))
        return OK;
    TRY(person_begins(person));
    if (person->status != WIRE_TX_ACTIVE)
        return OK;
    struct statement failure;
    statement_fail(person, &failure);
    if (person_one_in(person, 2)) /* one that has failed is no other */
        TRY(person_asks(person, &failure));
    TRY(says_nothing(person, "25P03", setup->idle_transaction_timeout));
    return person_rolls_back(person);
}

/* --- logins ----------------------------------------------------------------------------------- */

/* Half of a startup packet, and no more. */
fault do_login_at_its_limit(struct person *person)
{
    size_t start, size = 0;
    uint8_t bytes[512];
    struct talk talk = TALK_INIT;
    duration limit = stage.setup.login_timeout;
    wire_put_startup_begin(&talk.out, WIRE_PROTOCOL_3_0, &start);
    wire_put_startup_parameter(&talk.out, SPAN("user"), SPAN("joe"));
    wire_put_startup_end(&talk.out, start);
    TRY(stream_connect(&talk.stream, &stage.at, NULL, after(sec(60))));
    deadline since = now();
    fault done = talk_flush_part(&talk, 1 + person_draw(person, (uint32_t)talk.out.size - 1),
                                 after(sec(60)));
    while (done == OK)
        done = stream_read(&talk.stream, bytes, sizeof(bytes), &size, after(sec(600)));
    int64_t passed = between(since, now()).us;
    PROVE(done == FAULT_CLOSED && passed >= limit.us - EARLY_MAX.us &&
              passed <= limit.us + limit.us / 20,
          "client %u is let log in for %lld us, login_timeout is %lld us", person->number,
          (long long)passed, (long long)limit.us);
    talk_end(&talk);
    return OK;
}
