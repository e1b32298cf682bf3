#include "oracle/fencing.h"

#include "machine/clock.h"
#include "machine/sim/world.h"
#include "model/model.h"
#include "scenario/nodes.h"
#include "scenario/scenario.h"

#include <string.h>

/* Probes of all servers, over connections with latency, and a fence.  Where answers come in time,
 * only a login may take as long as the probe's timeout of 1 s. */
#define NOTICED_AFTER sec(2)

/* A daemon that was held for less than this gets its answers in time. */
#define HELD_MAX ms(300)

#define SERVICES 2u

/* Where the statements of clients run, of each service. */
static struct fencing {
    bool begun; /* one has run */
    uint32_t number;
    uint32_t timeline;
    moment since;
    bool permitted[NODES]; /* on the same timeline, instead of this server */
    bool unseen; /* it may have been demoted and promoted again: the daemon may know of neither */
    moment contested;       /* since when two servers are primaries on one timeline; 0: not */
    int64_t contested_held; /* daemon_held_us() at that time */
} services[SERVICES];

/* What Patroni says. */
static struct {
    uint32_t leader;
    moment led;                /* since when it is */
    int64_t led_held;          /* daemon_held_us() at that time */
    bool apart[NODES];         /* promoted behind Patroni's back */
    int64_t apart_held[NODES]; /* daemon_held_us() at that time */
} patroni;

void fencing_init(void)
{
    memset(services, 0, sizeof(services));
    memset(&patroni, 0, sizeof(patroni));
}

static struct fencing *fencing_of(const struct model_session_view *session)
{
    return &services[nodes_have_twin() && span_is(session->database, "session")];
}

/* Whether the daemon has had the time to notice by `sent` what happened at `since`, when its main
 * thread had been held off its processor for `held` in all.  The times of that in between do not
 * count: in one turn the thread reads hundreds of hints if there are many pools and relays, and it
 * may be held at each, so the turn takes a second, which is microseconds elsewhere. */
static bool fencing_has_passed(moment since, int64_t held, moment sent)
{
    int64_t all = daemon_held_us();
    int64_t meanwhile = all < held ? all : all - held; /* less: the daemon was restarted */
    return between(since, sent).us >= NOTICED_AFTER.us + meanwhile;
}

/* Whether probes are answered in time. */
static bool fencing_is_punctual(void)
{
    static const enum kind kinds[] = {KIND_bandwidth,   KIND_stalls,          KIND_half_closes,
                                      KIND_slow_logins, KIND_few_descriptors, KIND_cancel_rush};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (scenario_has(kinds[i]))
            return false;
    return true;
}

/* Whether the session may be of a pool for reads, which took its server for a standby still. */
static bool fencing_reads(const struct model_session_view *session)
{
    moment changed = node_find(&session->local)->changed;
    return nodes_split_reads(session->database) &&
           (session->began_standby || !fencing_is_punctual() ||
            between(changed, session->accepted).us < NOTICED_AFTER.us);
}

/* Whether the session is of a pool that needs the primary, and its server is fenced. */
static bool fencing_applies(const struct model_session_view *session)
{
    return nodes_are_fenced() && !session->standby &&
           !span_is(session->database, SCENARIO_PROBE_DATABASE) &&
           !span_is(session->database, SCENARIO_AUTH_DATABASE) &&
           node_find(&session->local) != NULL && nodes_need_primary(session->database) &&
           !fencing_reads(session);
}

static uint32_t fencing_number(const struct model_session_view *session)
{
    return (uint32_t)(node_find(&session->local) - node_at(0));
}

bool fencing_is_late(const struct model_session_view *session)
{
    const struct fencing *fencing = fencing_of(session);
    return fencing_applies(session) && fencing->begun && session->timeline <= fencing->timeline &&
           fencing_number(session) != fencing->number;
}

static void fencing_check_contested(const struct model_session_view *session, moment sent)
{
    const struct fencing *fencing = fencing_of(session);
    moment contested = fencing->contested;
    CHECK(contested.us == 0 || !fencing_is_punctual() ||
              !fencing_has_passed(contested, fencing->contested_held, sent),
          "a statement is sent to server %u, and two servers have been primaries on one timeline "
          "for %lld ms",
          fencing_number(session) + 1, (long long)(between(contested, sent).us / 1000));
}

/* Whether each question to Patroni about a server that was promoted behind its back is answered in
 * time.  Question and probe share a second, which a thread that is held again and again may spend
 * between their steps. */
static bool fencing_hears_patroni(uint32_t number)
{
    static const enum kind kinds[] = {KIND_resets, KIND_refusals, KIND_partitions, KIND_latency,
                                      KIND_server_faults};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (scenario_has(kinds[i]))
            return false;
    int64_t held = daemon_held_us() - patroni.apart_held[number];
    return fencing_is_punctual() && held >= 0 && held < HELD_MAX.us;
}

static void fencing_check_leader(const struct model_session_view *session, moment sent)
{
    uint32_t number = fencing_number(session);
    bool late = fencing_has_passed(patroni.led, patroni.led_held, sent);
    bool apart = patroni.apart[number] && fencing_hears_patroni(number);
    if (!nodes_ask_patroni() || !fencing_is_punctual() || number == patroni.leader)
        return;
    CHECK(!apart && !late,
          "a statement is sent to server %u, and server %u has been Patroni's leader for %lld ms",
          number + 1, patroni.leader + 1, (long long)(between(patroni.led, sent).us / 1000));
}

static void fencing_follow(const struct model_session_view *session, moment sent)
{
    struct fencing *fencing = fencing_of(session);
    trace("oracle", 0, "statements of \"%.*s\" run at server %u, on timeline %u",
          SPAN_ARG(session->database), fencing_number(session), session->timeline);
    fencing->unseen = fencing->begun && session->timeline > fencing->timeline;
    fencing->begun = true;
    fencing->number = fencing_number(session);
    fencing->timeline = session->timeline;
    fencing->since = sent;
    memset(fencing->permitted, 0, sizeof(fencing->permitted));
    if (nodes_ask_patroni()) /* the daemon may hear of a leader after it has used another server */
        fencing->permitted[patroni.leader] = true;
}

/* The elected server was demoted and promoted between two probes: the daemon does not know yet that
 * it is on the timeline of another, which it elects. */
static bool fencing_is_unseen(const struct fencing *fencing, moment sent)
{
    return fencing->unseen &&
           between(node_at(fencing->number)->changed, sent).us < NOTICED_AFTER.us;
}

/* What the daemon knows of a primary may be older than Patroni's answer, for which it has waited.
 */
static bool fencing_waited(uint32_t number, moment sent)
{
    return nodes_ask_patroni() && between(node_at(number)->changed, sent).us < NOTICED_AFTER.us;
}

void fencing_statement(const struct model_session_view *session, uint32_t login)
{
    moment sent = sim_net_sent_at(session->stream);
    if (!fencing_applies(session))
        return;
    const struct fencing *fencing = fencing_of(session);
    fencing_check_contested(session, sent);
    fencing_check_leader(session, sent);
    if (!fencing_is_late(session)) {
        if (login != 0 && (!fencing->begun || session->timeline > fencing->timeline))
            fencing_follow(session, sent);
        return;
    }
    if (sent.us <= fencing->since.us)
        return;
    uint32_t number = fencing_number(session);
    CHECK(fencing_waited(number, sent) ||
              (session->timeline == fencing->timeline &&
               (fencing->permitted[number] || fencing_is_unseen(fencing, sent))),
          "a statement is sent to server %u on timeline %u, after one ran at server %u on %u",
          number + 1, session->timeline, fencing->number + 1, fencing->timeline);
    if (login != 0)
        fencing_follow(session, sent);
}

void fencing_demoted(uint32_t number)
{
    patroni.apart[number] = false;
    for (uint32_t i = 0; i < SERVICES; i++)
        if (number == services[i].number)
            memset(services[i].permitted, true, sizeof(services[i].permitted));
}

void fencing_chosen(uint32_t number)
{
    for (uint32_t i = 0; i < SERVICES; i++)
        services[i].permitted[number] = true;
}

void fencing_led(uint32_t number)
{
    if (nodes_ask_patroni()) /* as if the operator had chosen it */
        fencing_chosen(number);
    if (number != patroni.leader) {
        patroni.led = now();
        patroni.led_held = daemon_held_us();
    }
    patroni.leader = number;
    patroni.apart[number] = false;
}

void fencing_promoted_apart(uint32_t number)
{
    patroni.apart[number] = true;
    patroni.apart_held[number] = daemon_held_us();
}

void fencing_contested(bool is_contested)
{
    for (uint32_t i = 0; i < SERVICES; i++) {
        services[i].contested = is_contested ? now() : (moment){0};
        services[i].contested_held = daemon_held_us();
    }
}
