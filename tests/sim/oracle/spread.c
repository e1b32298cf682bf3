#include "oracle/spread.h"

#include "machine/clock.h"
#include "machine/co.h"
#include "model/model.h"
#include "scenario/nodes.h"
#include "scenario/scenario.h"

#include <stdio.h>
#include <string.h>

/*
 * What the model sees of the choice among several servers.  Times are those at which the model
 * accepted a connection; the daemon has decided shortly before.
 */
#define ACCEPTS_MAX    64u
#define DRAINED_SLACK  sec(1) /* connects, and grants that were under way when DRAIN returned */
#define LEFT_SLACK     sec(2) /* and a reload */
#define LAG_SLACK      sec(2) /* probes, and the closing of connections */
#define SETTLED_AFTER  sec(2) /* and a rebalance_interval: the daemon knows what has changed */
#define PACE_SLACK     2u /* logins: the network's jitter moves them across the end of a second */
#define REST_INTERVALS 12 /* of rebalance_interval, in which connections level out */

static struct spread {
    struct {
        moment accepts[ACCEPTS_MAX]; /* the latest logins, in the order of their connects */
        uint32_t count;
    } nodes[NODES];
    uint64_t logins;
} spread;

void spread_init(void)
{
    spread = (struct spread){0};
}

static bool spread_has_any(const enum kind *kinds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (scenario_has(kinds[i]))
            return true;
    return false;
}

/* Connects, or statements, may arrive long after they were sent. */
static bool spread_is_late(void)
{
    static const enum kind kinds[] = {KIND_bandwidth, KIND_stalls, KIND_partitions,
                                      KIND_half_closes, KIND_cancel_rush};
    return spread_has_any(kinds, ARRAY_SIZE(kinds)) ||
           (scenario_has(KIND_server_faults) && !scenario_has(KIND_spreading));
}

/* --- drains ----------------------------------------------------------------------------------- */

static bool node_is_drained(const struct node_state *node, moment then)
{
    return node->drained_since.us > 0 && between(node->drained_since, then).us > DRAINED_SLACK.us;
}

/* A restart, which takes time, is the first to read the file. */
static bool node_has_left(const struct node_state *node, moment then)
{
    return node->left_since.us > 0 && !scenario_has(KIND_restarts) &&
           !scenario_has(KIND_console_commands) &&
           between(node->left_since, then).us > LEFT_SLACK.us;
}

/* Beyond lag_limit, and several probes have seen it. */
static bool node_lags(const struct node_state *node, const struct model_session_view *session)
{
    char database[16];
    snprintf(database, sizeof(database), "%.*s", SPAN_ARG(session->database));
    return node->lag_since.us > 0 && session->standby && nodes_limit_lag(database) &&
           between(node->lag_since, now()).us > SCENARIO_LAG_LIMIT.us + LAG_SLACK.us;
}

void spread_claimed(const struct model_session_view *session, uint32_t login)
{
    const struct node_state *node = node_find(&session->local);
    if (span_is(session->database, "session")) /* the client has it since its login */
        return;
    CHECK(node == NULL || spread_is_late() || !node_is_drained(node, now()),
          "login %u is given a connection to server %u, which is drained", login,
          session->local.bytes[3]);
    CHECK(node == NULL || spread_is_late() || !node_lags(node, session),
          "login %u is given a connection to server %u, which is %lld ms behind", login,
          session->local.bytes[3], (long long)(between(node->lag_since, now()).us / 1000));
    CHECK(node == NULL || spread_is_late() || !node_has_left(node, now()),
          "login %u is given a connection to server %u, which was removed", login,
          session->local.bytes[3]);
}

/* --- roles ------------------------------------------------------------------------------------ */

bool spread_is_refused(const struct model_session_view *session)
{
    char database[16];
    snprintf(database, sizeof(database), "%.*s", SPAN_ARG(session->database));
    return nodes_have_roles() && !nodes_may_use(database, session->began_standby);
}

/* A server that has changed its role since the login may be in use until the daemon is told. */
void spread_check_role(const struct model_session_view *session)
{
    char database[16];
    if (!nodes_have_roles() || session->standby != session->began_standby)
        return;
    snprintf(database, sizeof(database), "%.*s", SPAN_ARG(session->database));
    CHECK(nodes_may_use(database, session->standby), "a statement of pool %s runs at a %s",
          database, session->standby ? "standby" : "primary");
}

/* --- the choice of a server ------------------------------------------------------------------- */

static moment spread_latest(uint32_t number)
{
    uint32_t count = spread.nodes[number].count;
    return count == 0 ? (moment){0} : spread.nodes[number].accepts[(count - 1) % ACCEPTS_MAX];
}

/* Whether the daemon has seen that the server is well. */
static bool node_is_proven(uint32_t number)
{
    const struct node_state *node = node_at(number);
    return spread.nodes[number].count > 0 && spread_latest(number).us > node->up_since.us;
}

static bool node_serves(const struct node_state *node)
{
    return node->listed && node->is_up && !node->may_be_drained;
}

/* The servers that may be chosen, if those of the set are healthy. */
static void spread_tier_of(uint32_t healthy, bool tier[NODES])
{
    uint32_t best = UINT32_MAX, near = 0;
    for (uint32_t i = 0; i < NODES; i++)
        if ((healthy >> i & 1) != 0)
            best = MIN_OF(best, (uint32_t)node_at(i)->priority);
    for (uint32_t i = 0; i < NODES; i++) {
        tier[i] = (healthy >> i & 1) != 0 && node_at(i)->priority == best;
        near += tier[i] && node_at(i)->is_near;
    }
    for (uint32_t i = 0; i < NODES && near >= MAX_OF(nodes_zone_min(), 1u); i++)
        tier[i] = tier[i] && node_at(i)->is_near;
}

static uint32_t spread_healthy(void)
{
    uint32_t healthy = 0;
    for (uint32_t i = 0; i < NODES; i++)
        healthy |= (uint32_t)node_serves(node_at(i)) << i;
    return healthy;
}

static duration spread_settled_after(void)
{
    return (duration){.us = SETTLED_AFTER.us + nodes_rebalance_interval().us};
}

/* A login that only finds out how a server is may go to any. */
static void spread_check_choice(uint32_t number, moment accepted)
{
    bool tier[NODES];
    if (!scenario_has(KIND_spreading) || !node_is_proven(number) ||
        between(nodes_changed(), accepted).us < spread_settled_after().us)
        return;
    for (uint32_t i = 0; i < NODES; i++)
        if (node_serves(node_at(i)) && !node_is_proven(i))
            return;
    spread_tier_of(spread_healthy(), tier);
    CHECK(tier[number], "a login goes to server %u, and others have a better priority or zone",
          number + 1);
}

/* --- pace, limits ----------------------------------------------------------------------------- */

static bool spread_is_paced(void)
{
    static const enum kind kinds[] = {KIND_latency, KIND_preemption, KIND_restarts, KIND_host_names,
                                      KIND_host_changes};
    return nodes_logins_per_second() > 0 && !spread_is_late() &&
           !spread_has_any(kinds, ARRAY_SIZE(kinds));
}

/* Services, each with limits of its own. */
static uint32_t spread_services(void)
{
    return scenario_has(KIND_route_changes) || nodes_have_twin() ? 2 : 1;
}

/* Adds a login to those of its server and returns its place.  Slow logins end in another order than
 * they have begun. */
static uint32_t spread_insert(uint32_t number, moment accepted)
{
    moment *accepts = spread.nodes[number].accepts;
    uint32_t count = spread.nodes[number].count++, at = count;
    for (; at > 0 && count - at < ACCEPTS_MAX - 1; at--) {
        if (accepts[(at - 1) % ACCEPTS_MAX].us <= accepted.us)
            break;
        accepts[at % ACCEPTS_MAX] = accepts[(at - 1) % ACCEPTS_MAX];
    }
    accepts[at % ACCEPTS_MAX] = accepted;
    return at;
}

/* Checks each run of logins that the one at this place is part of. */
static void spread_check_pace(uint32_t number, uint32_t at)
{
    uint32_t most = (nodes_logins_per_second() + PACE_SLACK) * spread_services();
    const moment *accepts = spread.nodes[number].accepts;
    if (!spread_is_paced() || most >= ACCEPTS_MAX)
        return;
    for (uint32_t last = at; last < spread.nodes[number].count && last - at <= most; last++) {
        if (last < most || spread.nodes[number].count - (last - most) > ACCEPTS_MAX)
            continue;
        duration took = between(accepts[(last - most) % ACCEPTS_MAX], accepts[last % ACCEPTS_MAX]);
        CHECK(took.us >= sec(1).us,
              "%u logins at server %u within %lld ms, logins_per_second is %u", most + 1,
              number + 1, (long long)(took.us / 1000), nodes_logins_per_second());
    }
}

static void spread_check_limit(const struct model *model, const struct node_state *node)
{
    uint32_t count = 0, most = scenario.setup.connections_max * spread_services();
    for (const struct model_session *at = model_session_next(model, NULL); at != NULL;
         at = model_session_next(model, at)) {
        struct model_session_view view = model_session_look(at);
        count += !view.gone && !span_is(view.database, SCENARIO_PROBE_DATABASE) &&
                 address_equal(&view.local, &node->address);
    }
    CHECK(count <= most || scenario_may_lose_ends(),
          "server %u has %u connections, and may have %u", node->address.bytes[3], count, most);
}

void spread_began(const struct model *model, const struct model_session_view *session)
{
    const struct node_state *node = node_find(&session->local);
    if (node == NULL || span_is(session->database, SCENARIO_PROBE_DATABASE))
        return;
    uint32_t number = (uint32_t)(node - node_at(0));
    moment accepted = session->accepted;
    spread.logins += 1;
    CHECK(spread_is_late() || !node_is_drained(node, accepted),
          "a login goes to server %u, which is drained", number + 1);
    CHECK(spread_is_late() || !node_has_left(node, accepted),
          "a login goes to server %u, which was removed", number + 1);
    spread_check_choice(number, accepted);
    spread_check_pace(number, spread_insert(number, accepted));
    if (nodes_exist())
        spread_check_limit(model, node);
}

/* --- refusals --------------------------------------------------------------------------------- */

void spread_check_refusal(struct span message, moment since)
{
    static const char drained[] = "all of its servers are drained";
    bool says = memmem(message.at, message.size, drained, sizeof(drained) - 1) != NULL;
    CHECK(!says || nodes_all_drained_since(since),
          "a claim is refused because all servers are drained, and they are not");
}

void spread_check_shed(struct span message, moment since)
{
    static const char shed[] = "is overloaded: all clients have waited longer";
    bool says = memmem(message.at, message.size, shed, sizeof(shed) - 1) != NULL;
    CHECK(!says || between(since, now()).us >= SCENARIO_DELAY_TARGET.us,
          "a claim is shed after %lld us, claim_delay_target is %lld us",
          (long long)between(since, now()).us, (long long)SCENARIO_DELAY_TARGET.us);
}

/* --- at rest ---------------------------------------------------------------------------------- */

static uint64_t node_weight(const struct node_state *node)
{
    return node->weight == 0 ? 1 : (uint64_t)node->weight * 256;
}

/* Counts a pool's connections at each server.  Returns their sum. */
static uint32_t spread_count(const struct model *model, const char *database, uint32_t open[NODES])
{
    uint32_t sum = 0;
    memset(open, 0, NODES * sizeof(*open));
    for (const struct model_session *at = model_session_next(model, NULL); at != NULL;
         at = model_session_next(model, at)) {
        struct model_session_view view = model_session_look(at);
        const struct node_state *node = node_find(&view.local);
        if (node == NULL || view.gone || view.replicates || !span_is(view.database, database))
            continue;
        open[node - node_at(0)] += 1;
        sum += 1;
    }
    return sum;
}

static bool spread_has_clients(enum sim_client_pool pool)
{
    for (uint32_t i = 0; i < scenario.plan->clients; i++)
        if (scenario.clients[i].pool == pool)
            return true;
    return false;
}

/* Whether none of the connections of a server would be fewer for the weight elsewhere: the rule by
 * which the daemon divides.  A server may have a little more than one above its share by it: of
 * weights 2, 3, 1 and 0 the second may have three of four connections. */
static bool share_is_fair(const bool tier[NODES], const uint32_t open[NODES], uint32_t number)
{
    uint64_t weight = node_weight(node_at(number));
    for (uint32_t i = 0; i < NODES; i++)
        if (tier[i] && open[number] * node_weight(node_at(i)) > (open[i] + 1) * weight)
            return false;
    return true;
}

/* Whether every server of the tier has its share, and others have none, if those of the set are
 * taken for healthy. */
static bool shares_hold(uint32_t healthy, const uint32_t open[NODES], uint32_t sum)
{
    bool tier[NODES];
    uint64_t weights = 0;
    spread_tier_of(healthy, tier);
    for (uint32_t i = 0; i < NODES; i++)
        weights += tier[i] ? node_weight(node_at(i)) : 0;
    for (uint32_t i = 0; i < NODES; i++) {
        uint64_t share = tier[i] ? sum * node_weight(node_at(i)) : 0, is = open[i] * weights;
        uint64_t apart = is > share ? is - share : share - is;
        bool above = is > share && share_is_fair(tier, open, i);
        if (tier[i] ? apart > weights && !above : open[i] > 0)
            return false;
    }
    return true;
}

/* A server that has failed may be taken for healthy until a login is tried there. */
static void spread_check_shares(const struct model *model, const char *database)
{
    uint32_t open[NODES], sum = spread_count(model, database, open);
    uint32_t healthy = spread_healthy(), failed = 0;
    bool hold = sum <= nodes_spares(); /* none is moved */
    for (uint32_t i = 0; i < NODES; i++)
        failed |= (uint32_t)(node_at(i)->listed && !node_at(i)->is_up) << i;
    for (uint32_t also = failed; !hold; also = (also - 1) & failed) {
        hold = shares_hold(healthy | also, open, sum);
        if (also == 0)
            break;
    }
    CHECK(hold, "the connections of pool %s have not levelled out: %u, %u, %u, %u, %u", database,
          open[0], open[1], open[2], open[3], open[4]);
}

static void spread_check_spares(const struct model *model, const char *database)
{
    uint32_t open[NODES], sum = spread_count(model, database, open);
    uint32_t least = MIN_OF(nodes_spares(), scenario.setup.pool_size);
    CHECK(sum >= least, "pool %s has %u connections, all idle, and must keep %u", database, sum,
          least);
}

static void spread_check_pool(const struct model *model, const char *database,
                              enum sim_client_pool pool)
{
    if (!spread_has_clients(pool))
        return;
    spread_check_shares(model, database);
    spread_check_spares(model, database);
}

void spread_check_rest(const struct model *model)
{
    int64_t interval = nodes_rebalance_interval().us;
    CHECK(co_sleep((duration){.us = SETTLED_AFTER.us + REST_INTERVALS * interval}) == OK);
    uint64_t logins = spread.logins;
    spread_check_pool(model, "app", CLIENT_TRANSACTION);
    spread_check_pool(model, "statement", CLIENT_STATEMENT);
    CHECK(co_sleep((duration){.us = 2 * interval}) == OK);
    CHECK(spread.logins == logins, "%llu logins within two intervals, although nothing changes",
          (unsigned long long)(spread.logins - logins));
}
