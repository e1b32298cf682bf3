#include "scenario/nodes.h"

#include "machine/clock.h"
#include "machine/sim/world.h"
#include "model/model.h"
#include "oracle/fencing.h"
#include "scenario/scenario.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/*
 * Several servers of one service.
 */
#define CHANCE_NODES 2040
#define NODES_NAME   "nodes.example"
/* How long two servers are primaries: beyond the time in which the oracle wants it noticed, and the
 * times for which the daemon's thread is held in that. */
#define SPLIT sec(5)

static struct nodes {
    struct node_state all[NODES];
    uint32_t zone_min;
    uint32_t logins_per_second;
    uint32_t spares;
    duration interval;  /* rebalance_interval */
    moment all_drained; /* the last time when all listed ones may have been drained */
    bool are_drained;   /* they may be now */
    uint32_t timeline;  /* the latest */
    bool by_name;       /* the daemon finds them by a DNS name */
} nodes;

static uint32_t nodes_draw(uint32_t limit)
{
    return chance_below(&scenario.chance, limit);
}

bool nodes_exist(void)
{
    return scenario_has(KIND_graded_hosts);
}

const struct node_state *node_at(uint32_t number)
{
    return &nodes.all[number];
}

const struct node_state *node_find(const struct address *address)
{
    for (uint32_t i = 0; i < NODES; i++)
        if (address_equal(&nodes.all[i].address, address))
            return &nodes.all[i];
    return NULL;
}

duration nodes_rebalance_interval(void)
{
    return nodes.interval;
}

uint32_t nodes_zone_min(void)
{
    return nodes.zone_min;
}

uint32_t nodes_logins_per_second(void)
{
    return nodes.logins_per_second;
}

uint32_t nodes_spares(void)
{
    return nodes.spares;
}

moment nodes_changed(void)
{
    moment latest = {.us = 0};
    for (uint32_t i = 0; i < NODES; i++)
        if (nodes.all[i].changed.us > latest.us)
            latest = nodes.all[i].changed;
    return latest;
}

/* Notes whether claims may be told now that every server is drained. */
static void nodes_note_drains(void)
{
    bool all = true;
    for (uint32_t i = 0; i < NODES; i++)
        all = all && (!nodes.all[i].listed || nodes.all[i].may_be_drained);
    if (nodes.are_drained)
        nodes.all_drained = now();
    nodes.are_drained = all;
}

bool nodes_all_drained_since(moment since)
{
    return nodes.are_drained || (nodes.all_drained.us > 0 && nodes.all_drained.us >= since.us);
}

/* --- the start -------------------------------------------------------------------------------- */

static void node_grade(struct node_state *node, uint64_t *chance)
{
    static const uint16_t weights[] = {0, 1, 1, 2, 3, 10};
    node->priority = (uint16_t)chance_below(chance, 2);
    node->weight = weights[chance_below(chance, ARRAY_SIZE(weights))];
    node->is_near = chance_one_in(chance, 2);
}

void nodes_begin(void)
{
    uint64_t chance = plan_chance(scenario.plan, CHANCE_NODES);
    uint32_t zone_min = 1 + chance_below(&chance, 2);
    uint32_t interval = 200 + chance_below(&chance, 800);
    nodes = (struct nodes){.timeline = 1, .zone_min = zone_min, .interval = ms(interval)};
    if (scenario_has(KIND_paced_logins))
        nodes.logins_per_second = 10 + chance_below(&chance, 40);
    if (scenario_has(KIND_spares))
        nodes.spares = 1 + chance_below(&chance, 3);
    for (uint32_t i = 0; i < NODES; i++) {
        struct node_state *node = &nodes.all[i];
        *node = (struct node_state){.address = {.family = ADDRESS_IPV4,
                                                .port = SCENARIO_SERVER_PORT,
                                                .bytes = {127, 0, 0, (uint8_t)(1 + i)}},
                                    .is_up = true};
        node_grade(node, &chance);
        node->listed = i == 0 || nodes_have_roles() || !chance_one_in(&chance, 4);
    }
}

/* --- configuration ---------------------------------------------------------------------------- */

void nodes_put_zone(struct buffer *out)
{
    if (nodes_exist())
        buffer_printf(out, "zone: %s\n", NODE_ZONE);
}

void nodes_put_hosts(struct buffer *out)
{
    const char *separator = "";
    if (nodes.by_name) {
        buffer_printf(
            out,
            "    resolver: dns\n    name: %s\n    port: %d\n    name_servers: [10.0.0.53]\n"
            "    refresh_min: 200ms\n    refresh_max: 2s\n",
            NODES_NAME, SCENARIO_SERVER_PORT);
        return;
    }
    buffer_printf(out, "    hosts: [");
    for (uint32_t i = 0; i < NODES; i++) {
        const struct node_state *node = &nodes.all[i];
        if (!node->listed)
            continue;
        buffer_printf(out, "%s\"127.0.0.%u:%d", separator, 1 + i, SCENARIO_SERVER_PORT);
        if (!nodes_are_fenced())
            buffer_printf(out, " priority=%u weight=%u zone=%s", node->priority, node->weight,
                          node->is_near ? NODE_ZONE : "west");
        buffer_printf(out, "\"");
        separator = ", ";
    }
    buffer_printf(out, "]\n");
}

/* --- injections ------------------------------------------------------------------------------- */

static void node_changes(struct node_state *node)
{
    node->changed = now();
    nodes_note_drains();
}

static void node_set_up(struct node_state *node, bool is_up)
{
    uint32_t number = (uint32_t)(node - nodes.all);
    trace("injector", 0, "server %u %s", number, is_up ? "comes back" : "fails");
    node->is_up = is_up;
    if (is_up)
        node->up_since = now();
    sim_net_refuse(&node->address, !is_up);
    if (!is_up)
        model_crash_at(scenario.model, &node->address);
    node_changes(node);
}

static struct node_state *nodes_pick(void)
{
    return &nodes.all[nodes_draw(NODES)];
}

/* The packets of one server are lost for a while. */
static void node_silence(struct node_state *node)
{
    trace("injector", 0, "server %u is silent", (uint32_t)(node - nodes.all));
    sim_net_blackhole(&node->address, true);
    node_changes(node);
    CHECK(co_sleep((duration){.us = 1 + nodes_draw(3000000)}) == OK);
    sim_net_blackhole(&node->address, false);
    node->up_since = now();
    node_changes(node);
}

void nodes_fail(void)
{
    struct node_state *node = nodes_pick();
    if (!nodes_exist() || !node->listed)
        return;
    if (!node->is_up || nodes_draw(3) > 0)
        node_set_up(node, !node->is_up);
    else if (!scenario_has(KIND_spreading))
        node_silence(node);
}

static void node_undrain(struct node_state *node, const char *name)
{
    char command[64];
    snprintf(command, sizeof(command), "UNDRAIN \"%s\"", name);
    node->drained_since.us = 0;
    enum console_outcome done = console_try(command, nodes_draw(2) == 0, sec(100));
    if (done != CONSOLE_LOST)
        node->may_be_drained = false;
    node_changes(node);
}

static void node_drain(struct node_state *node, const char *name)
{
    char command[64];
    snprintf(command, sizeof(command), "DRAIN \"%s\"", name);
    node->may_be_drained = true;
    node_changes(node);
    enum console_outcome done = console_try(command, nodes_draw(2) == 0, sec(100));
    if (done == CONSOLE_DONE)
        node->drained_since = now();
    if (done == CONSOLE_REFUSED)
        node->may_be_drained = false;
    node_changes(node);
}

/* By the host or by the address; only the latter finds it if reloads change the former. */
static const char *node_name(const struct node_state *node, char *text, size_t size)
{
    int length = snprintf(text, size, "127.0.0.%u", node->address.bytes[3]);
    if (nodes_draw(2) == 0 || scenario_has(KIND_resolver_changes))
        (void)snprintf(text + length, size - (size_t)length, ":%d", SCENARIO_SERVER_PORT);
    return text;
}

void nodes_drain(void)
{
    struct node_state *node = nodes_pick();
    char name[32];
    if (!nodes_exist() || !node->listed || !scenario.up)
        return;
    node_name(node, name, sizeof(name));
    if (node->may_be_drained)
        node_undrain(node, name);
    else
        node_drain(node, name);
}

/* Adds, removes or grades a server; the first one is always listed. */
void nodes_list(void)
{
    struct node_state *node = nodes_pick();
    if (!nodes_exist() || !scenario.up)
        return;
    bool grade = nodes_draw(3) == 0 || node == &nodes.all[0];
    if (grade)
        node_grade(node, &scenario.chance);
    else
        node->listed = !node->listed;
    node->left_since = node->listed ? (moment){0} : now();
    scenario.setup.version += 1;
    setup_write(&scenario.setup);
    trace("injector", 0, "server %u is %s", (uint32_t)(node - nodes.all),
          grade          ? "graded anew"
          : node->listed ? "added"
                         : "removed");
    CHECK(sim_signal(SIGHUP));
    node_changes(node);
}

void nodes_rename(void)
{
    struct address addresses[NODES];
    if (!nodes_are_fenced() || !scenario.up)
        return;
    for (uint32_t i = 0; i < NODES; i++)
        addresses[i] = nodes.all[i].address;
    sim_dns_set(NODES_NAME, addresses, NODES, nodes_draw(4));
    nodes.by_name = !nodes.by_name;
    scenario.setup.version += 1;
    setup_write(&scenario.setup);
    trace("injector", 0, "servers are found by %s", nodes.by_name ? "their name" : "a list");
    CHECK(sim_signal(SIGHUP));
}

/* --- roles ------------------------------------------------------------------------------------ */

bool nodes_have_roles(void)
{
    return nodes_exist() && scenario_has(KIND_roles);
}

bool nodes_are_fenced(void)
{
    return nodes_have_roles() && scenario_has(KIND_fencing) && scenario_has(KIND_probes);
}

bool nodes_have_twin(void)
{
    return nodes_are_fenced() && scenario_has(KIND_twin_services);
}

bool nodes_ask_patroni(void)
{
    return nodes_are_fenced() && !nodes_have_twin() && scenario_has(KIND_patroni);
}

void nodes_await_election(void)
{
    deadline by = after(sec(60));
    while (nodes_are_fenced() &&
           !(scenario.elected && (scenario.elected_twin || !nodes_have_twin())))
        CHECK(co_sleep(ms(10)) == OK && now().us < by.us, "no primary is elected");
}

/* The statement pool's, in a third of the runs each. */
static const char *nodes_target(const char *database)
{
    static const char *const targets[] = {"standby", "any", "prefer-standby"};
    bool other = nodes_have_roles() && strcmp(database, "statement") == 0;
    if (nodes_are_fenced() && strcmp(database, "session") == 0)
        return scenario.plan->seed % 2 == 0 ? "read-write" : "primary";
    return other ? targets[scenario.plan->seed % ARRAY_SIZE(targets)] : "default";
}

bool nodes_split_reads(struct span database)
{
    return nodes_are_fenced() && scenario_has(KIND_reads) && !span_is(database, "session") &&
           !span_is(database, "statement");
}

void nodes_put_target(struct buffer *out, const char *database)
{
    if (nodes_have_roles())
        buffer_printf(out, "    target_session_attrs: %s\n", nodes_target(database));
    if (nodes_split_reads(span_text(database)))
        buffer_printf(out, "    reads: %s\n    read_wait: %s\n",
                      scenario.plan->seed % 3 == 0 ? "replica" : "prefer-replica",
                      scenario.plan->seed % 2 == 0 ? "20ms" : "off");
}

static bool target_needs_primary(const char *target)
{
    return strcmp(target, "default") == 0 || strcmp(target, "primary") == 0 ||
           strcmp(target, "read-write") == 0;
}

bool nodes_may_use(const char *database, bool is_standby)
{
    const char *target = nodes_target(database);
    if (target_needs_primary(target))
        return !is_standby || nodes_split_reads(span_text(database));
    return is_standby || strcmp(target, "standby") != 0;
}

bool nodes_need_primary(struct span database)
{
    char name[16];
    snprintf(name, sizeof(name), "%.*s", SPAN_ARG(database));
    return target_needs_primary(nodes_target(name));
}

/* The promoted server begins a timeline, and the standbys follow it. */
static void nodes_begin_timeline(const struct node_state *primary)
{
    nodes.timeline += 1;
    for (uint32_t i = 0; i < NODES; i++)
        if (&nodes.all[i] == primary || nodes.all[i].is_standby)
            model_set_timeline(scenario.model, &nodes.all[i].address, nodes.timeline);
}

void nodes_put_probe(struct buffer *out)
{
    if (scenario_has(KIND_probes))
        buffer_printf(out,
                      "    probe: {user: prober, database: %s, interval: 200ms, timeout: 1s}\n"
                      "    lag_limit: %" PRId64 "us\n",
                      SCENARIO_PROBE_DATABASE, SCENARIO_LAG_LIMIT.us);
    if (nodes_ask_patroni())
        buffer_printf(out, "    patroni: {port: %d, timeout: 200ms}\n", SCENARIO_PATRONI_PORT);
}

bool nodes_limit_lag(const char *database)
{
    return nodes_have_roles() && scenario_has(KIND_probes) &&
           strcmp(nodes_target(database), "standby") == 0;
}

void nodes_poll(void)
{
    for (uint32_t i = 0; i < NODES; i++) {
        struct node_state *node = &nodes.all[i];
        if (!nodes_have_roles() || !model_is_behind(scenario.model, &node->address))
            node->lag_since.us = 0;
        else if (node->lag_since.us == 0)
            node->lag_since = now();
    }
}

static void node_set_role(struct node_state *node, bool is_standby)
{
    trace("injector", 0, "server %u is %s", (uint32_t)(node - nodes.all),
          is_standby ? "a standby" : "the primary");
    if (!is_standby)
        patroni_lead((uint32_t)(node - nodes.all));
    node->is_standby = is_standby;
    model_set_standby(scenario.model, &node->address, is_standby);
    if (is_standby) /* PostgreSQL becomes a standby by a restart only */
        model_crash_at(scenario.model, &node->address);
    else
        nodes_begin_timeline(node);
    if (is_standby)
        fencing_demoted((uint32_t)(node - nodes.all));
    node_changes(node);
}

void nodes_begin_roles(void)
{
    for (uint32_t i = 1; nodes_have_roles() && i < NODES; i++)
        node_set_role(&nodes.all[i], true);
}

/* A standby stops to replay, or goes on. */
void nodes_lag(void)
{
    struct node_state *node = nodes_pick();
    if (!nodes_have_roles() || !node->is_standby)
        return;
    node->is_behind = !node->is_behind;
    trace("injector", 0, "server %u %s", (uint32_t)(node - nodes.all),
          node->is_behind ? "falls behind" : "catches up");
    model_set_behind(scenario.model, &node->address, node->is_behind);
    node->lag_since.us = 0;
    node_changes(node);
}

static struct node_state *nodes_primary(void)
{
    for (uint32_t i = 0; i < NODES; i++)
        if (!nodes.all[i].is_standby)
            return &nodes.all[i];
    return NULL;
}

static void nodes_pause(uint32_t most_us)
{
    CHECK(co_sleep((duration){.us = 1 + nodes_draw(most_us)}) == OK);
}

/* Where the old primary is fenced, it mostly goes on to call itself that, and now and then the new
 * one does not for a while. */
static void nodes_replace(struct node_state *old, struct node_state *node)
{
    bool fenced = nodes_are_fenced(), beside = (nodes_draw(4) == 0) != fenced;
    if (nodes_draw(fenced ? 5 : 2) == 0)
        node_set_up(old, false);
    if (!beside)
        node_set_role(old, true);
    nodes_pause(500000);
    node_set_role(node, false);
    nodes_pause(500000);
    if (fenced && beside && nodes_draw(3) == 0) {
        node_set_role(node, true);
        nodes_pause(1000000);
        node_set_role(node, false);
        nodes_pause(500000);
    }
    if (beside)
        node_set_role(old, true);
    node_set_up(old, true);
    node_set_up(node, true);
}

/* --- the fence -------------------------------------------------------------------------------- */

static void node_elect_in(const struct node_state *node, const char *option, const char *service)
{
    char command[96];
    snprintf(command, sizeof(command), "ELECT \"127.0.0.%u:%d\"%s%s", node->address.bytes[3],
             SCENARIO_SERVER_PORT, option, service);
    (void)console_try(command, nodes_draw(2) == 0, sec(1));
}

/* In each service that has the server. */
static void node_elect(const struct node_state *node)
{
    bool alone = !nodes_have_twin() && !scenario_has(KIND_route_changes);
    fencing_chosen((uint32_t)(node - nodes.all));
    node_elect_in(node, alone ? "" : " SERVICE ", alone ? "" : "main");
    if (nodes_have_twin())
        node_elect_in(node, " SERVICE ", "twin");
    if (scenario_has(KIND_route_changes))
        node_elect_in(node, " SERVICE ", "second");
}

/* Two servers on one timeline call themselves the primary.  By the operator's choice, by a higher
 * timeline, or because one of them is demoted, there is one again. */
static void nodes_end_split(struct node_state *one, struct node_state *two)
{
    bool swap = nodes_draw(2) == 0;
    struct node_state *winner = swap ? two : one, *loser = swap ? one : two;
    struct node_state *third = nodes_pick();
    uint32_t way = nodes_draw(3);
    fencing_contested(false);
    patroni_lead((uint32_t)(winner - nodes.all));
    if (way == 0)
        node_elect(winner);
    if (way == 1 && third->is_standby) {
        node_set_up(third, true);
        node_set_role(third, false);
        nodes_pause(500000);
        node_set_role(winner, true);
    }
    nodes_pause(1000000);
    node_set_role(loser, true);
}

/* Another server calls itself the primary, too: on the same timeline, or behind Patroni's back on
 * one of its own. */
static void node_promote_apart(struct node_state *node)
{
    bool own = nodes_ask_patroni() && nodes_draw(2) == 0;
    trace("injector", 0, "server %u is a primary on %s timeline", (uint32_t)(node - nodes.all),
          own ? "its own" : "the same");
    if (own)
        model_set_timeline(scenario.model, &node->address, ++nodes.timeline);
    node->is_standby = false;
    model_set_standby(scenario.model, &node->address, false);
    node_changes(node);
    fencing_contested(!nodes_ask_patroni());
    fencing_promoted_apart((uint32_t)(node - nodes.all));
}

static void nodes_split(struct node_state *old, struct node_state *one)
{
    struct node_state *two = nodes_pick();
    if (two == old || two == one)
        return;
    node_set_up(one, true);
    node_set_up(two, true);
    if (nodes_draw(2) == 0)
        node_set_up(old, false);
    node_set_role(old, true);
    nodes_pause(200000);
    node_set_role(one, false);
    nodes_pause(300000);
    node_promote_apart(two);
    CHECK(co_sleep(SPLIT) == OK);
    nodes_pause(3000000);
    nodes_end_split(one, two);
    node_set_up(old, true);
}

static void switchover_main(void *argument UNUSED)
{
    (void)console_try("SWITCHOVER main", false, sec(2));
}

/* By plan; now and then the operator's tool does nothing in time. */
static void nodes_switch_over(struct node_state *old, struct node_state *node)
{
    struct co_group group;
    co_group_init(&group);
    CHECK(co_group_start(&group, switchover_main, NULL, CO_LARGE) == OK);
    nodes_pause(300000);
    if (nodes_draw(4) > 0) {
        node_set_up(node, true);
        node_set_role(old, true);
        nodes_pause(300000);
        node_set_role(node, false);
    }
    co_group_join(&group);
}

void nodes_fail_over(void)
{
    struct node_state *old = nodes_primary(), *node = nodes_pick();
    if (!nodes_have_roles() || old == node)
        return;
    uint32_t lot = nodes_are_fenced() ? nodes_draw(6) : UINT32_MAX;
    if (lot <= 1)
        nodes_split(old, node);
    else if (lot == 2)
        nodes_switch_over(old, node);
    else
        nodes_replace(old, node);
}

/* The primary and a standby are well. */
static void nodes_settle_roles(void)
{
    struct node_state *primary = nodes_primary();
    if (!nodes_have_roles())
        return;
    for (uint32_t i = 0; i < NODES; i++) {
        model_set_behind(scenario.model, &nodes.all[i].address, false);
        /* All follow the last primary. */
        model_set_timeline(scenario.model, &nodes.all[i].address, nodes.timeline);
    }
    patroni_lead((uint32_t)(primary - nodes.all));
    node_set_up(primary, true);
    node_set_up(primary == &nodes.all[0] ? &nodes.all[1] : &nodes.all[0], true);
}

/* --- the end of the faults -------------------------------------------------------------------- */

void nodes_settle(void)
{
    /* Of two primaries on one timeline, one that does not answer is waited for. */
    bool fail = scenario_has(KIND_server_faults) && !nodes_are_fenced();
    uint32_t well;
    if (!nodes_exist())
        return;
    do
        well = nodes_draw(NODES);
    while (!nodes.all[well].listed);
    for (uint32_t i = 0; i < NODES; i++)
        if (fail || !nodes.all[i].is_up)
            node_set_up(&nodes.all[i], !fail || i == well || nodes_draw(2) == 0);
    nodes_settle_roles();
}

void nodes_put_back(void)
{
    for (uint32_t i = 0; nodes_exist() && i < NODES; i++) {
        char name[32];
        struct node_state *node = &nodes.all[i];
        node_name(node, name, sizeof(name));
        while (node->may_be_drained)
            node_undrain(node, name);
    }
}

void nodes_forget_drains(void)
{
    for (uint32_t i = 0; i < NODES; i++) {
        nodes.all[i].drained_since.us = 0;
        nodes.all[i].may_be_drained = false;
    }
    nodes_note_drains();
}
