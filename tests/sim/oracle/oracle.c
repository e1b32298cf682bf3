#include "oracle/oracle.h"

#include "machine/sim/world.h"
#include "model/model.h"
#include "oracle/answers.h"
#include "oracle/async.h"
#include "oracle/fairness.h"
#include "oracle/fencing.h"
#include "oracle/pins.h"
#include "oracle/reads.h"
#include "oracle/records.h"
#include "oracle/registers.h"
#include "oracle/replication.h"
#include "oracle/shedding.h"
#include "oracle/spread.h"
#include "scenario/nodes.h"
#include "scenario/scenario.h"

#include <stdlib.h>
#include <string.h>

#define SESSIONS_MAX 65536u
#define BUSY_TURNS   20000u /* of all threads, between two polls */
#define BUSY_MAX     ms(500)

/* A login of a client. */
struct login_record {
    struct sim_client *client;
    struct reads_seen seen;
    bool gone;
};

/* A session of PostgreSQL, by the number that the model gives it. */
struct session_record {
    uint32_t owner; /* the login whose statements run there; 0: none */
    uint32_t last;  /* the last owner, which may keep it */
    bool cleaned;   /* a statement without a login has begun since: its messages have no owner */
    bool left;      /* its client disconnected so long ago that it does not count */
    deadline gone;  /* since when; 0: connected */
};

static struct oracle {
    struct login_record *logins;
    uint32_t login_count;
    struct session_record *sessions;
    deadline over_since; /* since when servers exceed a limit; NEVER: they do not */
    uint64_t turns;      /* of threads without an event, at the latest look */
    deadline busy_since; /* since when they are too many; NEVER: they are not */
} oracle;

void oracle_init(void)
{
    oracle = (struct oracle){
        .over_since = NEVER, .busy_since = NEVER, .login_count = 1, .turns = sim_idle_turns()};
    oracle.logins = calloc(ORACLE_LOGINS_MAX, sizeof(*oracle.logins));
    oracle.sessions = calloc(SESSIONS_MAX, sizeof(*oracle.sessions));
    CHECK(oracle.logins != NULL && oracle.sessions != NULL);
    records_init();
    registers_init();
    answers_init();
    async_init();
    replication_init();
    spread_init();
    shedding_init();
    fencing_init();
}

void oracle_fini(void)
{
    free(oracle.logins);
    free(oracle.sessions);
    records_fini();
    async_fini();
    replication_fini();
}

uint32_t oracle_add_login(struct sim_client *client)
{
    CHECK(oracle.login_count < ORACLE_LOGINS_MAX);
    oracle.logins[oracle.login_count].client = client;
    return oracle.login_count++;
}

void oracle_end_login(struct sim_client *client)
{
    oracle.logins[client->login].gone = true;
    async_forget(client->login);
}

static struct session_record *oracle_session(const struct model_session_view *session)
{
    CHECK(session->number < SESSIONS_MAX);
    return &oracle.sessions[session->number];
}

/* --- owners of statements --------------------------------------------------------------------- */

/* Returns the login in the statement's comment; 0: none. */
static uint32_t oracle_login_in(struct span text)
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

/* Checks that no state of another client is left. */
static void oracle_check_clean(const struct model_session_view *session, uint32_t login)
{
    CHECK(session->locks == 0 && session->channels == 0 && session->temporary == 0,
          "login %u is given a server with %u locks, %u channels, %u temporary tables", login,
          session->locks, session->channels, session->temporary);
}

/* Checks that a statement runs with its client's settings. */
static void oracle_check_settings(const struct model_session_view *session,
                                  const struct sim_client *client)
{
    CHECK(span_is(session->application_name, client->name),
          "a statement of login %u runs as '%.*s'", client->login,
          SPAN_ARG(session->application_name));
    const struct model_session *found = model_session_find(scenario.model, session->pid);
    for (size_t i = 0; found != NULL && !client->sets && i < SETTINGS; i++) {
        struct span is = model_session_setting(found, setting_names[i]);
        const char *must = setting_values[i][client->now.values[i]];
        CHECK(span_is(is, must), "a statement of login %u runs with %s '%.*s' instead of '%s'",
              client->login, setting_names[i], SPAN_ARG(is), must);
    }
}

/* A connection of a feed, or one that passes the daemon by. */
static bool oracle_is_apart(const struct model_session_view *session)
{
    return span_is(session->user, SCENARIO_FEEDER) || span_is(session->user, SCENARIO_OUTSIDER);
}

static void oracle_statement(void *argument UNUSED, const struct model_session_view *session,
                             struct span text)
{
    struct session_record *record = oracle_session(session);
    uint32_t login = oracle_login_in(text);
    trace("backend", session->pid, "runs %.*s", SPAN_ARG(text));
    if (oracle_is_apart(session))
        return;
    if (session->replicates) {
        replication_statement(session, text);
        return;
    }
    if (span_is(text, "DISCARD ALL"))
        record->owner = 0;
    record->cleaned = login == 0;
    fencing_statement(session, login);
    if (login == 0 && record->owner == 0)
        shedding_served_unknown(text);
    if (login == 0)
        return;
    CHECK(login < oracle.login_count, "a statement of an unknown login: %.*s", SPAN_ARG(text));
    CHECK(record->owner == 0 || record->owner == login, "'%.*s' runs on a server of login %u",
          SPAN_ARG(text), record->owner);
    if (record->last != login)
        oracle_check_clean(session, login);
    spread_check_role(session);
    if (reads_begin_again(text, &oracle.logins[login].seen))
        async_lose(login);
    reads_began(session, login, text, &oracle.logins[login].seen);
    if (record->owner == 0 && record->last != login)
        spread_claimed(session, login);
    if (record->owner == 0 && !oracle.logins[login].gone)
        shedding_served(oracle.logins[login].client);
    record->owner = record->last = login;
    if (oracle.logins[login].gone)
        return;
    oracle_check_settings(session, oracle.logins[login].client);
    CHECK(!scenario.suspended || oracle.logins[login].client->hostile,
          "'%.*s' begins while all clients are suspended", SPAN_ARG(text));
    fairness_began(oracle.logins[login].client);
}

static void oracle_finished(void *argument UNUSED, const struct model_session_view *session,
                            const char *sqlstate)
{
    uint32_t login = oracle_login_in(session->query);
    if (login != 0 && reads_run_again(session, sqlstate))
        async_forgive(login);
    if (login != 0)
        reads_ended(session, login, sqlstate, &oracle.logins[login].seen);
    if (sqlstate == NULL && login != 0 && fencing_is_late(session) && !oracle.logins[login].gone)
        oracle.logins[login].client->late_login = login;
}

/* Finds the client by application_name: its first statement may fail before it runs. */
static void oracle_served(const struct model_session_view *session)
{
    static const char prefix[] = "client ";
    struct span name = session->application_name;
    uint32_t login = 0;
    if (name.size < sizeof(prefix) || memcmp(name.at, prefix, sizeof(prefix) - 1) != 0)
        return;
    for (size_t i = sizeof(prefix) - 1; i < name.size; i++)
        login = login * 10 + (uint32_t)(name.at[i] - '0');
    if (login < oracle.login_count && !oracle.logins[login].gone)
        fairness_served(oracle.logins[login].client);
}

/* Notifications are for the client that listens, also between its statements. */
static void oracle_async_sent(void *argument UNUSED, const struct model_session_view *session,
                              uint8_t type, struct span body)
{
    const struct session_record *record = oracle_session(session);
    uint32_t login = record->cleaned ? 0 : record->owner;
    if (login == 0 && type == WIRE_NOTIFICATION)
        login = record->last;
    if (login == 0 || !oracle.logins[login].gone)
        async_sent(login, type, body);
}

static void oracle_ready(void *argument UNUSED, const struct model_session_view *session)
{
    struct session_record *record = oracle_session(session);
    oracle_served(session);
    /* Not behind a statement of the pooler's own: the connection of the owner may have been reset.
     */
    if (record->owner != 0 && !record->cleaned)
        async_due(record->owner);
    shedding_freed(session);
    if (session->status != WIRE_TX_IDLE)
        return;
    if (record->owner != 0 && !oracle.logins[record->owner].gone)
        fairness_answered(oracle.logins[record->owner].client);
    if (!span_is(session->database, "session"))
        record->owner = 0;
}

static void oracle_decided(void *argument UNUSED, const struct model_session_view *session UNUSED,
                           bool committed)
{
    if (committed)
        answers_look(scenario.model);
}

/* --- cancel requests -------------------------------------------------------------------------- */

static void oracle_cancelled(void *argument UNUSED, const struct model_session_view *session,
                             struct span text)
{
    uint32_t login = oracle_login_in(text);
    trace("backend", session->pid, "is cancelled in '%.*s'", SPAN_ARG(text));
    if (text.size == 0)
        return;
    if (login == 0)
        login = oracle_session(session)->owner;
    if (login == 0)
        return;
    const struct login_record *record = &oracle.logins[login];
    CHECK(record->gone || record->client->wants_cancel || scenario_excuses_loss(record->client),
          "login %u was cancelled without a request: %.*s", login, SPAN_ARG(text));
}

/* --- impostors -------------------------------------------------------------------------------- */

static void oracle_impostor_reached(void *argument UNUSED)
{
    CHECK(false,
          "a server whose certificate is not PostgreSQL's receives a login or a cancel request");
}

/* --- limits ----------------------------------------------------------------------------------- */

/* PostgreSQL does not notice the end of a client while a statement of it runs. */
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

/* Nor does it notice an end that was lost, before it sends. */
static bool oracle_is_lost_sleep(const struct model_session_view *view)
{
    static const char sleep[] = "pg_sleep(600)";
    return scenario_may_lose_ends() && view->running && view->query.size > 0 &&
           memmem(view->query.at, view->query.size, sleep, sizeof(sleep) - 1) != NULL;
}

static bool oracle_limits_hold(const struct model *model)
{
    uint32_t in_session = 0, in_statements = 0, hidden = 0, by_certificate = 0, others = 0;
    uint32_t replications = 0;
    const struct setup *setup = &scenario.setup;
    for (const struct model_session *at = model_session_next(model, NULL); at != NULL;
         at = model_session_next(model, at)) {
        struct model_session_view view = model_session_look(at);
        oracle_note_gone(&view);
        if (view.replicates && !oracle_is_apart(&view))
            replications += !oracle_session(&view)->left;
        if (view.replicates || span_is(view.database, SCENARIO_AUTH_DATABASE) ||
            span_is(view.database, SCENARIO_PROBE_DATABASE) || oracle_is_apart(&view) ||
            oracle_session(&view)->left || spread_is_refused(&view) ||
            (scenario.quiet && oracle_is_lost_sleep(&view)))
            continue;
        if (span_is(view.database, "session"))
            in_session += 1;
        else if (span_is(view.database, "statement"))
            in_statements += 1;
        else if (span_is(view.database, "hidden"))
            hidden += 1;
        else if (span_is(view.database, SCENARIO_CERTIFICATE_DATABASE))
            by_certificate += 1;
        else
            others += 1;
    }
    uint32_t all = in_session + in_statements + hidden + by_certificate + others + replications;
    /* The versions of a pool share its size; a service's limit is for each address. */
    uint32_t max = scenario_pool_max();
    uint32_t services = scenario_has(KIND_route_changes) ? SCENARIO_IDENTITIES
                        : nodes_have_twin()              ? 2
                                                         : 1;
    uint32_t addresses = scenario_has(KIND_host_names) ? SCENARIO_ADDRESSES
                         : nodes_exist()               ? NODES
                                                       : 1;
    /* One of the identities has the servers of "hidden" at "app". */
    uint32_t at_app = scenario_has(KIND_route_changes) && scenario_has(KIND_listeners) ? 2 : 1;
    return in_session <= max && in_statements <= max && hidden <= max &&
           by_certificate <= max * 2 /* joe and joey */ &&
           others <=
               max * at_app * (scenario_has(KIND_reads) || scenario_has(KIND_flight) ? 2 : 1) &&
           replications <= setup->replication_limit * services &&
           all <= setup->connections_max * addresses * services &&
           (setup->servers_max == 0 || all <= setup->servers_max);
}

static void oracle_began(void *argument UNUSED, const struct model_session_view *session)
{
    trace("backend", session->pid, "begins at server %u%s", session->local.bytes[3],
          session->standby ? ", a standby" : "");
    oracle_session(session)->owner = 0;
    if (oracle_is_apart(session))
        return;
    if (session->replicates)
        replication_server_began(session);
    spread_began(scenario.model, session);
    bool holds = oracle_limits_hold(scenario.model);
    /* A connection that was reset may have ended at one end only. */
    CHECK(holds || scenario_may_lose_ends(), "there are more servers than there may be");
}

static void oracle_ended(void *argument UNUSED, const struct model_session_view *session)
{
    trace("backend", session->pid, "ends");
    if (session->replicates && !oracle_is_apart(session))
        replication_server_ended(session);
}

static void oracle_status_received(void *argument, const struct model_session_view *session,
                                   struct span body)
{
    if (!oracle_is_apart(session))
        replication_server_received(argument, session, body);
}

#define OVER_MAX sec(40) /* what keepalives of the model take, and some more */

/* Checks that threads do not wake each other endlessly without events. */
static void oracle_check_idle(void)
{
    uint64_t turns = sim_idle_turns();
    bool busy = turns - oracle.turns > BUSY_TURNS;
    oracle.turns = turns;
    if (!busy)
        oracle.busy_since = NEVER;
    else if (is_never(oracle.busy_since))
        oracle.busy_since = now();
    CHECK(!busy || between(oracle.busy_since, now()).us < BUSY_MAX.us,
          "threads run endlessly without events");
}

void oracle_poll(const struct model *model)
{
    oracle_check_idle();
    pins_check(model);
    replication_check();
    for (uint32_t i = 0; i < scenario.plan->clients; i++)
        if (scenario.clients[i].waits)
            fairness_check_wait(&scenario.clients[i]);
    if (oracle_limits_hold(model))
        oracle.over_since = NEVER;
    else if (is_never(oracle.over_since))
        oracle.over_since = now();
    moment since =
        oracle.over_since.us > scenario.quiet_since.us ? oracle.over_since : scenario.quiet_since;
    CHECK(!scenario.quiet || is_never(oracle.over_since) || between(since, now()).us < OVER_MAX.us,
          "there are more servers than there may be, and that lasts");
}

/* --- beginning and end ------------------------------------------------------------------------ */

struct model_watch oracle_watch(void)
{
    return (struct model_watch){
        .session_began = oracle_began,
        .session_ended = oracle_ended,
        .statement = oracle_statement,
        .finished = oracle_finished,
        .decided = oracle_decided,
        .cancelled = oracle_cancelled,
        .async_sent = oracle_async_sent,
        .impostor_reached = oracle_impostor_reached,
        .status_received = oracle_status_received,
        .ready = oracle_ready,
    };
}

void oracle_end(const struct model *model)
{
    CHECK(model_session_next(model, NULL) == NULL, "a server is left when the daemon has ended");
    records_check(model);
}
