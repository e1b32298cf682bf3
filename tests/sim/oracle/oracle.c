#include "oracle/oracle.h"

#include "machine/sim/world.h"
#include "model/model.h"
#include "oracle/arrivals.h"
#include "oracle/deeds.h"
#include "oracle/fair.h"
#include "oracle/pins.h"
#include "oracle/walks.h"
#include "stage/stage.h"

#include <stdlib.h>
#include <string.h>

#define SESSIONS_MAX 65536u
#define BUSY_TURNS   20000u /* of all threads, between two looks */
#define BUSY_MAX     ms(500)

/* A login of a client. */
struct login_record {
    struct person *person;
    bool gone;
};

/* A session of PostgreSQL, by the number that the model gives it. */
struct session_record {
    uint32_t owner; /* the login whose statements run there; 0: nobody's */
    uint32_t last;  /* who was its owner last, and may have kept it */
    bool cleaned;   /* a statement of nobody's has begun since: what it says is for nobody */
    bool left;      /* its client has been gone for so long that it does not count any more */
    deadline gone;  /* since when; 0: it is not */
};

static struct oracle {
    struct login_record *logins;
    uint32_t login_count;
    struct session_record *sessions;
    deadline over_since; /* more servers than may be; NEVER: no */
    uint64_t turns;      /* of threads without an event, at the latest look */
    deadline busy_since; /* there are very many of them; NEVER: no */
} oracle;

void oracle_init(void)
{
    oracle = (struct oracle){
        .over_since = NEVER, .busy_since = NEVER, .login_count = 1, .turns = sim_idle_turns()};
    oracle.logins = calloc(ORACLE_LOGINS_MAX, sizeof(*oracle.logins));
    oracle.sessions = calloc(SESSIONS_MAX, sizeof(*oracle.sessions));
    PROVE(oracle.logins != NULL && oracle.sessions != NULL);
    deeds_init();
    arrivals_init();
    walks_init();
}

void oracle_fini(void)
{
    free(oracle.logins);
    free(oracle.sessions);
    deeds_fini();
    arrivals_fini();
    walks_fini();
}

uint32_t oracle_enrol(struct person *person)
{
    PROVE(oracle.login_count < ORACLE_LOGINS_MAX);
    oracle.logins[oracle.login_count].person = person;
    return oracle.login_count++;
}

void oracle_depart(struct person *person)
{
    oracle.logins[person->login].gone = true;
    arrivals_forget(person->login);
}

static struct session_record *oracle_session(const struct model_session_view *session)
{
    PROVE(session->number < SESSIONS_MAX);
    return &oracle.sessions[session->number];
}

/* --- whose statement it is -------------------------------------------------------------------- */

/* The login whose number stands in the statement's comment; 0: it has none. */
static uint32_t oracle_asker(struct span text)
{
    uint32_t login = 0;
    if (text.size == 0)
        return 0;
    const uint8_t *at = memmem(text.at, text.size, "/*", 2), *end = text.at + text.size;
    if (at == NULL)
        return 0;
    for (at += 2; at < end && *at >= '0' && *at <= '9'; at++)
        login = login * 10 + (uint32_t)(*at - '0');
    return login;
}

/* Nothing is left of whoever was there before. */
static void oracle_check_clean(const struct model_session_view *session, uint32_t login)
{
    PROVE(session->locks == 0 && session->channels == 0 && session->temporary == 0,
          "login %u is given a server with %u locks, %u channels, %u temporary tables", login,
          session->locks, session->channels, session->temporary);
}

/* It runs with its client's settings. */
static void oracle_check_settings(const struct model_session_view *session,
                                  const struct person *person)
{
    PROVE(span_is(session->application_name, person->name),
          "a statement of login %u runs as '%.*s'", person->login,
          SPAN_ARG(session->application_name));
    const struct model_session *found = model_session_find(stage.model, session->pid);
    for (size_t i = 0; found != NULL && !person->sets && i < SETTINGS; i++) {
        struct span is = model_session_setting(found, setting_names[i]);
        const char *must = setting_values[i][person->now.values[i]];
        PROVE(span_is(is, must), "a statement of login %u runs with %s '%.*s' instead of '%s'",
              person->login, setting_names[i], SPAN_ARG(is), must);
    }
}

static void oracle_statement(void *argument UNUSED, const struct model_session_view *session,
                             struct span text)
{
    struct session_record *record = oracle_session(session);
    uint32_t login = oracle_asker(text);
    say("backend", session->pid, "runs %.*s", SPAN_ARG(text));
    if (session->replicates) {
        walks_run(session, text);
        return;
    }
    if (span_is(text, "DISCARD ALL"))
        record->owner = 0;
    record->cleaned = login == 0;
    if (login == 0)
        return;
    PROVE(login < oracle.login_count, "a statement of nobody: %.*s", SPAN_ARG(text));
    PROVE(record->owner == 0 || record->owner == login, "'%.*s' runs on a server of login %u",
          SPAN_ARG(text), record->owner);
    if (record->last != login)
        oracle_check_clean(session, login);
    record->owner = record->last = login;
    if (oracle.logins[login].gone)
        return;
    oracle_check_settings(session, oracle.logins[login].person);
    fair_begins(oracle.logins[login].person);
}

/* Who has the server, by its application_name: what it asks first may fail before it runs. */
static void oracle_serves(const struct model_session_view *session)
{
    static const char prefix[] = "client ";
    struct span name = session->application_name;
    uint32_t login = 0;
    if (name.size < sizeof(prefix) || memcmp(name.at, prefix, sizeof(prefix) - 1) != 0)
        return;
    for (size_t i = sizeof(prefix) - 1; i < name.size; i++)
        login = login * 10 + (uint32_t)(name.at[i] - '0');
    if (login < oracle.login_count && !oracle.logins[login].gone)
        fair_is_served(oracle.logins[login].person);
}

/* Notifications are for whoever has asked for them, also between its statements. */
static void oracle_told(void *argument UNUSED, const struct model_session_view *session,
                        uint8_t type, struct span body)
{
    const struct session_record *record = oracle_session(session);
    uint32_t login = record->cleaned ? 0 : record->owner;
    if (login == 0 && type == WIRE_NOTIFICATION)
        login = record->last;
    if (login == 0 || !oracle.logins[login].gone)
        arrivals_told(login, type, body);
}

static void oracle_ready(void *argument UNUSED, const struct model_session_view *session)
{
    struct session_record *record = oracle_session(session);
    oracle_serves(session);
    if (record->owner != 0)
        arrivals_are_due(record->owner);
    if (session->status != WIRE_TX_IDLE)
        return;
    if (record->owner != 0 && !oracle.logins[record->owner].gone)
        fair_rests(oracle.logins[record->owner].person);
    if (!span_is(session->database, "session"))
        record->owner = 0;
}

/* --- cancel requests -------------------------------------------------------------------------- */

static void oracle_cancelled(void *argument UNUSED, const struct model_session_view *session,
                             struct span text)
{
    uint32_t login = oracle_asker(text);
    say("backend", session->pid, "is cancelled in '%.*s'", SPAN_ARG(text));
    if (text.size == 0)
        return;
    if (login == 0)
        login = oracle_session(session)->owner;
    if (login == 0)
        return;
    const struct login_record *record = &oracle.logins[login];
    PROVE(record->gone || record->person->wants_cancel || stage_excuses_loss(record->person),
          "login %u was cancelled unasked: %.*s", login, SPAN_ARG(text));
}

/* --- who is asked ----------------------------------------------------------------------------- */

static void oracle_betrayed(void *argument UNUSED)
{
    PROVE(false, "a server is told who wants to log in, and its certificate is not PostgreSQL's");
}

/* --- limits ----------------------------------------------------------------------------------- */

/* PostgreSQL does not notice the end of a client while a statement of it runs, for hours if it
 * must: nobody can wait for that. */
#define LEFT_AFTER ms(500)

static void oracle_note_gone(const struct model_session_view *session)
{
    struct session_record *record = oracle_session(session);
    if (!session->gone)
        return;
    if (record->gone.us == 0)
        record->gone = now();
    record->left = between(record->gone, now()).us > LEFT_AFTER.us;
}

/* Nor does it hear of an end that is lost before it has something to say. */
static bool oracle_sleeps(const struct model_session_view *view)
{
    static const char sleep[] = "pg_sleep(600)";
    return stage_may_lose_ends() && view->running && view->query.size > 0 &&
           memmem(view->query.at, view->query.size, sleep, sizeof(sleep) - 1) != NULL;
}

static bool oracle_limits_hold(const struct model *model)
{
    uint32_t in_session = 0, in_statements = 0, hidden = 0, vouched = 0, others = 0;
    uint32_t walks = 0;
    const struct setup *setup = &stage.setup;
    for (const struct model_session *at = model_session_next(model, NULL); at != NULL;
         at = model_session_next(model, at)) {
        struct model_session_view view = model_session_look(at);
        oracle_note_gone(&view);
        if (view.replicates)
            walks += !oracle_session(&view)->left;
        if (view.replicates || span_is(view.database, STAGE_ASKING) ||
            oracle_session(&view)->left || (stage.calm && oracle_sleeps(&view)))
            continue;
        if (span_is(view.database, "session"))
            in_session += 1;
        else if (span_is(view.database, "statement"))
            in_statements += 1;
        else if (span_is(view.database, "hidden"))
            hidden += 1;
        else if (span_is(view.database, STAGE_VOUCHED))
            vouched += 1;
        else
            others += 1;
    }
    uint32_t all = in_session + in_statements + hidden + vouched + others + walks;
    /* The versions of a pool share its size; a service's limit is for each address. */
    uint32_t max = stage_pool_max();
    uint32_t services = stage_has(KIND_identities) ? STAGE_IDENTITIES : 1;
    uint32_t addresses = stage_has(KIND_names) ? STAGE_ADDRESSES : 1;
    /* One of the identities has the servers of "hidden" at "app". */
    uint32_t at_app = stage_has(KIND_identities) && stage_has(KIND_listeners) ? 2 : 1;
    return in_session <= max && in_statements <= max && hidden <= max &&
           vouched <= max * 2 /* joe and joey */ && others <= max * at_app &&
           walks <= setup->walks_max * services &&
           all <= setup->connections_max * addresses * services &&
           (setup->servers_max == 0 || all <= setup->servers_max);
}

static void oracle_began(void *argument UNUSED, const struct model_session_view *session)
{
    say("backend", session->pid, "begins");
    oracle_session(session)->owner = 0;
    if (session->replicates)
        walks_began(session);
    bool holds = oracle_limits_hold(stage.model);
    /* A connection that was reset may have ended at one end only. */
    PROVE(holds || stage_may_lose_ends(), "there are more servers than there may be");
}

static void oracle_ended(void *argument UNUSED, const struct model_session_view *session)
{
    say("backend", session->pid, "ends");
    if (session->replicates)
        walks_ended(session);
}

#define OVER_MAX sec(40) /* what keepalives of the model take, and some more */

/* Threads that keep each other going for ever, about nothing. */
static void oracle_rests(void)
{
    uint64_t turns = sim_idle_turns();
    bool busy = turns - oracle.turns > BUSY_TURNS;
    oracle.turns = turns;
    if (!busy)
        oracle.busy_since = NEVER;
    else if (is_never(oracle.busy_since))
        oracle.busy_since = now();
    PROVE(!busy || between(oracle.busy_since, now()).us < BUSY_MAX.us,
          "threads go round and round, though nothing happens");
}

void oracle_look(const struct model *model)
{
    oracle_rests();
    pins_check(model);
    walks_check();
    for (uint32_t i = 0; i < stage.plan->clients; i++)
        if (stage.people[i].waits)
            fair_waits(&stage.people[i]);
    if (oracle_limits_hold(model))
        oracle.over_since = NEVER;
    else if (is_never(oracle.over_since))
        oracle.over_since = now();
    deadline since =
        oracle.over_since.us > stage.calm_since.us ? oracle.over_since : stage.calm_since;
    PROVE(!stage.calm || is_never(oracle.over_since) || between(since, now()).us < OVER_MAX.us,
          "there are more servers than there may be, and that lasts");
}

/* --- beginning and end ------------------------------------------------------------------------ */

struct model_watch oracle_watch(void)
{
    return (struct model_watch){
        .session_began = oracle_began,
        .session_ended = oracle_ended,
        .statement = oracle_statement,
        .cancelled = oracle_cancelled,
        .told = oracle_told,
        .betrayed = oracle_betrayed,
        .replied = walks_replied,
        .ready = oracle_ready,
    };
}

void oracle_end(const struct model *model)
{
    PROVE(model_session_next(model, NULL) == NULL, "a server is left when the daemon has ended");
    deeds_check(model);
}
