#include "runner/run.h"

#include "machine/log.h"
#include "machine/sim/os_sim.h"
#include "machine/sim/world.h"
#include "model/model.h"
#include "oracle/answers.h"
#include "oracle/oracle.h"
#include "oracle/registers.h"
#include "oracle/spread.h"
#include "query/analysis.h"
#include "runner/memory.h"
#include "scenario/nodes.h"
#include "scenario/scenario.h"

#include <signal.h>
#include <stdio.h>

/*
 * One run, from start to end.
 */
#define CHANCE_INJECTOR      3000
#define CHANCE_CLIENT        4000
#define CHANCE_NOTIFICATIONS 5000
#define HOSTILE_EACH         4 /* clients: one of them */
#define LOOK_EACH            ms(50)
#define CHANCE_ROLES         5002
#define NOTIFY_ONE_IN        3  /* polls */
#define ROLE_ONE_IN          80 /* the same */
#define FINISHED_BY          sec(600)

struct scenario scenario;

/* --- losses and errors that a plan allows ----------------------------------------------------- */

static bool scenario_has_any(const enum kind *kinds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (scenario_has(kinds[i]))
            return true;
    return false;
}

bool scenario_may_lose_ends(void)
{
    /* One end sees the close much later than the other, or never. */
    static const enum kind kinds[] = {KIND_resets,         KIND_stalls,   KIND_half_closes,
                                      KIND_partitions,     KIND_restarts, KIND_host_names,
                                      KIND_invalid_clients};
    return scenario_has_any(kinds, ARRAY_SIZE(kinds)) ||
           (scenario_has(KIND_server_faults) && !scenario_has(KIND_spreading)) ||
           nodes_are_fenced(); /* a fence does not wait until the old primary has noticed it */
}

/* Servers have failed, and the daemon has yet to find out which of them are well.  A login that
 * began while no packets arrived ends by its own limit only, one that failed is tried again later
 * each time, and short claims wait for neither.
 */
static bool scenario_faults_linger(void)
{
    static const enum kind logins[] = {KIND_stalls,  KIND_partitions,   KIND_refusals,
                                       KIND_crashes, KIND_terminations, KIND_starting,
                                       KIND_outages, KIND_resets,       KIND_full};
    return (scenario_has(KIND_claim_timeout) && scenario_has_any(logins, ARRAY_SIZE(logins))) ||
           scenario_has(KIND_host_names) || scenario_has(KIND_server_faults) || nodes_have_roles();
}

/* When all data has arrived that was in transit at the end of the faults: closes of connections
 * and, with host_names, replies of DNS, which may take a second request. */
static deadline scenario_faults_over(void)
{
    return later(scenario.quiet_since, scenario_faults_linger() ? sec(12) : ms(200));
}

bool scenario_excuses_loss(const struct sim_client *client)
{
    static const enum kind kinds[] = {
        KIND_resets,        KIND_refusals,
        KIND_stalls,        KIND_half_closes,
        KIND_partitions,    KIND_crashes,
        KIND_starting,      KIND_full,
        KIND_terminations,  KIND_outages,
        KIND_kills,         KIND_restarts,
        KIND_query_timeout, KIND_transaction_timeout,
        KIND_promotions,    KIND_idle_timeout,
        KIND_host_names,    KIND_route_changes,
        KIND_little_memory, KIND_impostors,
        KIND_server_faults, KIND_roles,
    };
    /* A login may need a server; sessions and pinned clients keep theirs without limit. */
    if (!client->logged_in && (scenario_has(KIND_claim_timeout) || scenario_has(KIND_pins) ||
                               scenario_has(KIND_claim_delays) || client->pool == CLIENT_SESSION))
        return true;
    /* A hostile client keeps a server busy for longer than a short login_timeout. */
    if (!client->logged_in && scenario_has(KIND_hostile_clients) &&
        scenario_has(KIND_login_timeout))
        return true;
    if (!client->logged_in && (scenario_has(KIND_few_descriptors) || scenario_has(KIND_auth_query)))
        return true;
    /* A client with a long message may be disconnected for memory, also after the faults. */
    if (client->holds_long_message && scenario_has(KIND_little_memory))
        return true;
    /* A client that logged in after the faults may only be disconnected by the configuration. */
    if (scenario.quiet && client->waits_since.us > scenario_faults_over().us &&
        !scenario_has(KIND_idle_timeout) && !scenario_has(KIND_query_timeout) &&
        !scenario_has(KIND_transaction_timeout) && client->is_new)
        return false;
    return scenario_has_any(kinds, ARRAY_SIZE(kinds));
}

bool scenario_excuses_error(const struct sim_client *client, const struct wire_error *error)
{
    if (span_is(error->sqlstate, "53200"))
        return scenario_has(KIND_out_of_memory);
    /* A standby takes no writes. */
    if (span_is(error->sqlstate, "25006"))
        return scenario_has(KIND_promotions) || nodes_have_roles();
    if (span_is(error->sqlstate, "53300"))
        return scenario_has(KIND_claim_timeout) || scenario_has(KIND_pins) ||
               scenario_has(KIND_claim_delays) || scenario_excuses_loss(client);
    /* Checked by spread_check_refusal. */
    if (span_is(error->sqlstate, "57P03") && scenario_has(KIND_server_drains))
        return scenario_has(KIND_claim_timeout) || scenario_excuses_loss(client);
    /* A claim that has expired reports the last login that failed; the next one, begun while there
     * were faults, may take longer than claim_timeout. */
    if (span_is(error->sqlstate, "57P03") &&
        (scenario_has(KIND_starting) || scenario_has(KIND_outages)))
        return scenario_has(KIND_claim_timeout) || scenario_excuses_loss(client);
    return scenario_excuses_loss(client);
}

uint32_t scenario_pool_max(void)
{
    return scenario.setup.pool_size_ever + scenario.setup.pool_reserve;
}

bool scenario_is_exact(void)
{
    static const enum kind kinds[] = {
        KIND_latency,       KIND_bandwidth,   KIND_short_writes, KIND_resets,
        KIND_stalls,        KIND_half_closes, KIND_partitions,   KIND_preemption,
        KIND_stale_hints,   KIND_wall_steps,  KIND_outages,      KIND_pauses,
        KIND_kills,         KIND_restarts,    KIND_host_names,   KIND_console_commands,
        KIND_route_changes,
    };
    return !scenario_has_any(kinds, ARRAY_SIZE(kinds));
}

/* --- clients ---------------------------------------------------------------------------------- */

static void scenario_client_finished(struct mail *mail UNUSED)
{
    scenario.finished += 1;
    co_wake(scenario.main);
}

static void scenario_machine_main(void *argument)
{
    struct co_group group;
    co_group_init(&group);
    for (uintptr_t i = (uintptr_t)argument; i < scenario.plan->clients; i += SCENARIO_MACHINES)
        CHECK(co_group_start(&group, sim_client_main, &scenario.clients[i], CO_LARGE) == OK);
    co_group_join(&group);
    machine_stop();
}

static void scenario_start_clients(void)
{
    for (uint32_t i = 0; i < scenario.plan->clients; i++) {
        struct sim_client *client = &scenario.clients[i];
        *client = (struct sim_client){.number = i,
                                      .chance = plan_chance(scenario.plan, CHANCE_CLIENT + i),
                                      .conn = CONN_INIT};
        if (scenario_has(KIND_session_pools) && i % 3 == 0)
            client->pool = CLIENT_SESSION;
        if (scenario_has(KIND_statement_pools) && i % 3 == 1)
            client->pool = CLIENT_STATEMENT;
        client->hostile = scenario_has(KIND_hostile_clients) && i % HOSTILE_EACH == 1;
        scenario.done[i].deliver = scenario_client_finished;
    }
    for (uintptr_t i = 0; i < SCENARIO_MACHINES; i++)
        CHECK(machine_new("clients", scenario_machine_main, (void *)i, &scenario.machines[i]) ==
              OK);
}

static void scenario_join_clients(void)
{
    deadline by = after(FINISHED_BY);
    while (scenario_has(KIND_spreading) && scenario.resting < scenario.plan->clients)
        CHECK(co_sleep(LOOK_EACH) == OK && now().us < by.us, "%u of %u clients are not served",
              scenario.plan->clients - scenario.resting, scenario.plan->clients);
    if (scenario_has(KIND_spreading))
        spread_check_rest(scenario.model);
    scenario.rested = true;
    while (scenario.finished < scenario.plan->clients)
        CHECK(co_wait(by) == OK, "%u of %u clients are not done",
              scenario.plan->clients - scenario.finished, scenario.plan->clients);
    for (int i = 0; i < SCENARIO_MACHINES; i++)
        machine_join(&scenario.machines[i]);
}

/* --- the run ---------------------------------------------------------------------------------- */

static void scenario_notify(void)
{
    char text[32];
    snprintf(text, sizeof(text), "news %u", ++scenario.notified);
    if (model_announce(scenario.model, "news", text) > 0)
        trace("injector", 0, "says %s", text);
}

static void scenario_notify_came(struct mail *mail UNUSED)
{
    scenario_notify();
}

void scenario_notify_soon(void)
{
    mail_send(scenario.home, &scenario.notify);
}

static void scenario_poll(void *argument UNUSED)
{
    uint64_t chance = plan_chance(scenario.plan, CHANCE_NOTIFICATIONS);
    uint64_t role = plan_chance(scenario.plan, CHANCE_ROLES);
    while (co_sleep(LOOK_EACH) == OK) {
        nodes_poll();
        oracle_poll(scenario.model);
        if (answers_exist() && chance_one_in(&role, ROLE_ONE_IN))
            model_change_role(scenario.model);
        if (scenario_has(KIND_notifications) && chance_one_in(&chance, NOTIFY_ONE_IN))
            scenario_notify();
    }
}

/* Descriptors of the daemon itself, and of a few clients and servers (instance/budget.c). */
static uint64_t scenario_descriptors(void)
{
    const uint32_t own = 64, each_listener = 16, each_machine = 4, clients = 6, servers = 6;
    uint32_t relays = scenario.setup.relays;
    uint32_t listeners = 1u + scenario_has(KIND_unix_sockets) + scenario_has(KIND_listeners) +
                         scenario_has(KIND_proxies) + scenario_has(KIND_certificates);
    return own + each_listener * listeners + each_machine * (relays + 1) +
           SCENARIO_CANCELS * relays + clients + servers;
}

static void scenario_open(void)
{
    /* Stays for as long as the model. */
    static struct model_user users[] = {{.name = "joe"},
                                        {.name = "admin", .superuser = true},
                                        {.name = "asker"},
                                        {.name = "joey"},
                                        {.name = "prober"},
                                        {.name = SCENARIO_FEEDER, .replication = true},
                                        {.name = SCENARIO_OUTSIDER}};
    /* Everywhere: its name has several addresses. */
    struct address at = {.family = ADDRESS_IPV4, .port = SCENARIO_SERVER_PORT};
    hostname_begin();
    nodes_begin();
    keys_make();
    setup_make(&scenario.setup, scenario.plan);
    secrets_user(&scenario.setup, &users[0]);
    const struct model_options options = {
        .address = at,
        .users = users,
        .user_count = ARRAY_SIZE(users),
        .seed = plan_chance(scenario.plan, CHANCE_INJECTOR + 1),
        .standby = scenario_has(KIND_promotions),
        .decodes = scenario_has(KIND_flight),
        .tls = scenario.model_tls,
        .impostors = scenario.impostors,
        .impostor_count = SCENARIO_IMPOSTORS,
        .watch = oracle_watch(),
    };
    CHECK(model_new(&options, &scenario.model) == OK);
    nodes_begin_roles();
    registers_begin(scenario.model);
    answers_begin(scenario.model);
    CHECK(model_start(scenario.model) == OK);
    scenario.at =
        (struct address){.family = ADDRESS_IPV4, .port = SCENARIO_PORT, .bytes = {127, 0, 0, 1}};
    scenario.at_second = scenario.at;
    scenario.at_second.port = SCENARIO_SECOND_PORT;
    scenario.at_certificate = scenario.at;
    scenario.at_certificate.port = SCENARIO_CERTIFICATE_PORT;
    scenario.at_socket = (struct address){.family = ADDRESS_UNIX};
    snprintf(scenario.at_socket.path, sizeof(scenario.at_socket.path), "%s/.s.PGSQL.%d",
             SCENARIO_FOLDER, SCENARIO_PORT);
    setup_write(&scenario.setup);
    secrets_serve_command();
    sim_descriptors(scenario_has(KIND_few_descriptors) ? scenario_descriptors() : 1 << 20);
    proxy_begin();
    patroni_begin();
    daemon_start();
    nodes_await_election();
}

static void scenario_close(void)
{
    proxy_end();
    daemon_stop(SIGTERM);
    patroni_end();
    model_stop(scenario.model, after(sec(30)));
    oracle_end(scenario.model);
    model_free(&scenario.model);
    keys_drop();
}

static void scenario_main(void *argument UNUSED)
{
    struct co_group looking;
    scenario.home = machine_self();
    scenario.notify.deliver = scenario_notify_came;
    scenario.main = co_self();
    oracle_init();
    co_group_init(&looking);
    scenario_open();
    CHECK(co_group_start(&looking, scenario_poll, NULL, CO_SMALL) == OK);
    rates_begin();
    scenario_start_clients();
    injector_run();
    rates_end_faults();
    injector_undo();
    rates_set_quiet();
    scenario_join_clients();
    co_group_cancel(&looking);
    co_group_join(&looking);
    scenario_close();
    oracle_fini();
    scenario.counts->simulated_us = now().us;
    machine_stop();
}

static void scenario_leak(void *argument UNUSED, const char *what)
{
    trace("oracle", 0, "is left: %s", what);
}

static void scenario_trace(void *argument UNUSED, const char *text, size_t size)
{
    printf("%.*s\n", (int)size, text);
}

/* The parser of SQL keeps memory for the next text, as long as its thread exists: here for ever. */
static void warm_parser(void)
{
    struct query_analysis *analysis = NULL;
    CHECK(query_analyze(SPAN("SELECT v::int4 FROM reg_a WHERE k = 1"), &analysis) == OK);
    query_analysis_free(&analysis);
}

uint64_t run_play(const struct plan *plan, struct counts *counts)
{
    CHECK(plan->clients <= SCENARIO_CLIENTS);
    scenario = (struct scenario){
        .plan = plan, .counts = counts, .chance = plan_chance(plan, CHANCE_INJECTOR)};
    os_sim_start(plan->seed);
    /* The log's targets are never freed. */
    CHECK(log_configure(LOG_INFO, LOG_FORMAT_TEXT, NULL) == 0);
    warm_parser();
    memory_watch();
    if (plan->trace)
        sim_trace(scenario_trace, NULL);
    CHECK(machine_run("scenario", scenario_main, NULL) == OK);
    CHECK(sim_leaks(scenario_leak, NULL) == 0, "an object of the simulated system was not freed");
    uint64_t history = os_sim_history();
    os_sim_finish();
    memory_prove_all_back();
    return history;
}
