#include "oracle/fairness.h"

#include "scenario/scenario.h"

/*
 * Claims are served in order: within a relay strictly, between relays up to overtake_limit and one
 * release.  The bounds include delays of the network and of threads.  Only runs in which clients
 * wait for nothing else are checked.
 */
#define SAME_RELAY_SLACK    ms(250)
#define OTHER_RELAY_SLACK   ms(1500) /* overtake_limit, the longest statements, logins */
#define OTHER_VERSION_SLACK ms(500)
#define SLOW_COPIES_SLACK   ms(4000) /* hundreds of COPYs in one text, each by a slow server */

/* The pid contains the relay of the login, also after a move. */
static bool fairness_same_relay(const struct sim_client *one, const struct sim_client *other)
{
    const uint32_t relay = 127;
    return !scenario_has(KIND_moves) && (one->pid & relay) == (other->pid & relay);
}

static bool fairness_applies(void)
{
    static const enum kind kinds[] = {KIND_latency,       KIND_bandwidth,
                                      KIND_resets,        KIND_stalls,
                                      KIND_half_closes,   KIND_partitions,
                                      KIND_crashes,       KIND_terminations,
                                      KIND_starting,      KIND_full,
                                      KIND_outages,       KIND_out_of_memory,
                                      KIND_pauses,        KIND_reconnects,
                                      KIND_kills,         KIND_restarts,
                                      KIND_reloads,       KIND_slow_logins,
                                      KIND_single_use,    KIND_server_checks,
                                      KIND_route_changes, KIND_console_commands,
                                      KIND_host_names,    KIND_short_writes,
                                      KIND_refusals,      KIND_pins,
                                      KIND_preemption,    KIND_graded_hosts,
                                      KIND_paced_logins,  KIND_claim_delays};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (scenario_has(kinds[i]))
            return false;
    return true;
}

/* Versions of a route share pool_size.  A server that becomes free goes to the oldest claim of all
 * versions, so an obsolete version's client does not overtake one of the latest version by more
 * than the server's way through the router takes. */
static void fairness_check_versions(const struct sim_client *client)
{
    uint32_t latest = scenario.setup.identity;
    if (!scenario_has(KIND_shared_budget) || !client->identity_sure || client->identity == latest)
        return;
    for (uint32_t i = 0; i < scenario.plan->clients; i++) {
        const struct sim_client *other = &scenario.clients[i];
        if (other->pool != client->pool || !other->logged_in || !other->waits || other->begun ||
            !other->idle || !other->identity_sure || other->identity != latest)
            continue;
        duration ahead = between(other->waits_since, client->waits_since);
        CHECK(ahead.us < OTHER_VERSION_SLACK.us,
              "client %u of the latest version has waited %lld ms longer, and client %u of an "
              "obsolete version is served first",
              other->number, (long long)(ahead.us / 1000), client->number);
    }
}

void fairness_served(struct sim_client *client)
{
    client->begun = true;
}

void fairness_began(struct sim_client *client)
{
    client->begun = true;
    client->begun_at = client->ran_at = now();
    if (client->idle && client->pool == CLIENT_TRANSACTION)
        fairness_check_versions(client);
    if (!client->idle || client->pool != CLIENT_TRANSACTION || !fairness_applies())
        return;
    for (uint32_t i = 0; i < scenario.plan->clients; i++) {
        const struct sim_client *other = &scenario.clients[i];
        if (other == client || other->pool != client->pool || !other->waits || other->begun ||
            !other->idle)
            continue;
        bool same = fairness_same_relay(other, client);
        /* With one server, whole transactions come between. */
        duration max = same && !scenario_has(KIND_fairness) ? SAME_RELAY_SLACK : OTHER_RELAY_SLACK;
        if (!same && scenario_has(KIND_copies) && scenario_has(KIND_slow_statements))
            max = SLOW_COPIES_SLACK;
        duration ahead = between(other->waits_since, client->waits_since);
        CHECK(ahead.us < max.us,
              "client %u has waited %lld ms longer, and client %u of %s relay is served first",
              other->number, (long long)(ahead.us / 1000), client->number,
              same ? "the same" : "another");
    }
}

void fairness_answered(struct sim_client *client)
{
    client->begun_at = NEVER;
}

/* --- deadlines -------------------------------------------------------------------------------- */

#define DEADLINE_SLACK sec(2)
#define RELOAD_SLACK   ms(300) /* where nothing is delayed */

void fairness_check_wait(const struct sim_client *client)
{
    const struct setup *setup = &scenario.setup;
    if (scenario_has(KIND_stalls) || scenario_has(KIND_half_closes) ||
        scenario_has(KIND_restarts) || scenario_has(KIND_partitions) ||
        scenario_has(KIND_bandwidth) || scenario_has(KIND_latency))
        return;
    int64_t asked = between(client->waits_since, now()).us;
    /* A suspended client has no claim yet. */
    CHECK(client->begun || !client->idle || client->pool != CLIENT_TRANSACTION ||
              scenario_has(KIND_console_commands) || setup->claim_timeout.us == NO_LIMIT.us ||
              asked < setup->claim_timeout.us + DEADLINE_SLACK.us,
          "client %u waits for its claim for %lld ms", client->number, (long long)(asked / 1000));
    CHECK(!client->begun || is_never(client->begun_at) || setup->query_timeout.us == NO_LIMIT.us ||
              between(client->begun_at, now()).us < setup->query_timeout.us + DEADLINE_SLACK.us,
          "client %u waits for the answer of a query beyond query_timeout", client->number);
}

/* --- drains ----------------------------------------------------------------------------------- */

void fairness_logged_in(struct sim_client *client)
{
    moment since = scenario.setup.identity_since;
    client->identity = scenario.setup.identity;
    /* How long a reload may take. */
    duration max = scenario_has(KIND_shared_budget) ? RELOAD_SLACK : DEADLINE_SLACK;
    client->identity_sure = since.us == 0 || between(since, now()).us > max.us;
}

/* Kinds in which a reload, or the end of a connection, comes late or not at all. */
static bool fairness_drains_late(void)
{
    static const enum kind kinds[] = {KIND_stalls,           KIND_half_closes, KIND_partitions,
                                      KIND_bandwidth,        KIND_latency,     KIND_restarts,
                                      KIND_console_commands, KIND_preemption};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (scenario_has(kinds[i]))
            return true;
    return false;
}

void fairness_check_drain(const struct sim_client *client)
{
    const struct setup *setup = &scenario.setup;
    if (setup->drain_timeout.us == NO_LIMIT.us || !client->identity_sure ||
        client->identity == setup->identity || fairness_drains_late())
        return;
    int64_t passed = between(setup->identity_since, now()).us;
    CHECK(passed < setup->drain_timeout.us + DEADLINE_SLACK.us,
          "client %u is on an obsolete route %lld ms after the reload, beyond drain_timeout",
          client->number, (long long)(passed / 1000));
}
