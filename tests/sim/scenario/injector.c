#include "scenario/scenario.h"

#include "machine/clock.h"
#include "machine/sim/world.h"
#include "model/model.h"
#include "scenario/nodes.h"

#include <signal.h>

/*
 * The fault injector: events that affect the whole run, at times drawn from the seed.
 */
#define INJECTION_MAX sec(40)
#define PAUSE_MAX     200000 /* us between two events */
#define NODES_SETTLE  4000000
#define HELD_BACK_MAX sec(5)
#define RARELY        sec(2) /* between reloads of shared_budget: clients of both versions compete */

static uint32_t injector_draw(uint32_t limit)
{
    return chance_below(&scenario.chance, limit);
}

static void injector_pause(uint32_t most_us)
{
    CHECK(co_sleep((duration){.us = 1 + injector_draw(most_us)}) == OK);
}

static void inject_outage(void)
{
    trace("injector", 0, "PostgreSQL crashes");
    model_crash(scenario.model);
    injector_pause(300000);
    model_set_state(scenario.model, MODEL_READY);
    trace("injector", 0, "PostgreSQL has recovered");
}

/* During it, an administrator may kill all clients. */
static void inject_partition(void)
{
    trace("injector", 0, "partition: no packet reaches PostgreSQL");
    hostname_set_blackhole(true);
    if (scenario_has(KIND_kills)) {
        injector_pause(1000000);
        moves_kill(1);
    }
    injector_pause(3000000);
    hostname_set_blackhole(false);
    trace("injector", 0, "the partition ends");
}

static void inject_promotion(void)
{
    trace("injector", 0, "the standby is promoted");
    model_promote(scenario.model);
}

/* One reload, or several before the relays have applied the first. */
static void inject_reload(void)
{
    bool rarely = scenario_has(KIND_shared_budget);
    uint32_t count = !rarely && injector_draw(3) == 0 ? 4 : 1;
    moment last = scenario.setup.identity_since;
    if (!scenario.up || (rarely && last.us != 0 && between(last, now()).us < RARELY.us))
        return;
    for (uint32_t i = 0; i < count; i++) {
        setup_change(&scenario.setup, &scenario.chance);
        setup_write(&scenario.setup);
        trace("injector", 0, "reloads version %u", scenario.setup.version);
        CHECK(sim_signal(SIGHUP));
        injector_pause(1000);
    }
}

static void inject_restart(void)
{
    static const char *const orders[] = {"SHUTDOWN", "SHUTDOWN WAIT_FOR_SERVERS",
                                         "SHUTDOWN WAIT_FOR_CLIENTS"};
    uint32_t lot = injector_draw(4);
    if (scenario_has(KIND_console_commands) && lot < ARRAY_SIZE(orders))
        daemon_shut_down(orders[lot]);
    else
        daemon_stop(injector_draw(2) == 0 ? SIGTERM : SIGQUIT);
    injector_pause(50000);
    daemon_start();
}

/* A command has no reply: it may arrive after the command that reverts it. */
static bool injector_doubts;
static bool injector_disabled; /* or it may be */

static void injector_stop_clients(const char *command)
{
    scenario.stopped = true;
    injector_doubts |= !console_execute(command);
}

static void injector_resume_clients(const char *command)
{
    scenario.suspended = false;
    scenario.stopped = !console_execute(command);
    injector_doubts |= scenario.stopped;
}

/* Again after the faults, when all delayed data has arrived. */
void injector_undo(void)
{
    static const char *const resumes[] = {"RESUME", "RESUME app"};
    nodes_put_back();
    while (injector_disabled && !console_execute("ENABLE app"))
        injector_pause(100000);
    if (!injector_doubts)
        return;
    CHECK(co_sleep(HELD_BACK_MAX) == OK);
    for (size_t i = 0; i < ARRAY_SIZE(resumes); i++)
        while (!console_execute(resumes[i]))
            injector_pause(100000);
    scenario.stopped = false;
}

static void inject_pause(void)
{
    /* PAUSE of all waits until clients of session pools disconnect. */
    bool all = !scenario_has(KIND_session_pools);
    injector_stop_clients(all ? "PAUSE" : "PAUSE app");
    injector_pause(100000);
    injector_resume_clients(all ? "RESUME" : "RESUME app");
}

static void inject_reconnect(void)
{
    console_execute("RECONNECT");
}

static void inject_kill(void)
{
    injector_stop_clients("KILL app");
    injector_pause(50000);
    injector_resume_clients("RESUME app");
}

static void inject_kill_clients(void)
{
    moves_kill(2);
}

/* No client is read for a while. */
static void inject_suspend(void)
{
    scenario.stopped = true;
    scenario.suspended = console_try("SUSPEND", injector_draw(2) == 0, sec(2)) == CONSOLE_DONE;
    injector_doubts |= !scenario.suspended;
    injector_pause(50000);
    injector_resume_clients("RESUME");
}

/* No login is accepted for a while. */
static void inject_disable(void)
{
    if (!scenario_has(KIND_kills))
        return;
    injector_disabled |=
        console_try("DISABLE app", injector_draw(2) == 0, sec(100)) != CONSOLE_REFUSED;
    injector_pause(50000);
    injector_disabled = !console_execute("ENABLE app");
}

static const struct {
    enum kind kind;
    void (*inject)(void);
} injections[] = {
    {KIND_outages, inject_outage},
    {KIND_partitions, inject_partition},
    {KIND_promotions, inject_promotion},
    {KIND_reloads, inject_reload},
    {KIND_route_changes, inject_reload},
    {KIND_restarts, inject_restart},
    {KIND_pauses, inject_pause},
    {KIND_reconnects, inject_reconnect},
    {KIND_kills, inject_kill},
    {KIND_kills, inject_kill_clients},
    {KIND_host_names, hostname_change},
    {KIND_host_names, hostname_change},
    {KIND_console_commands, commands_run_some},
    {KIND_console_commands, commands_run_some},
    {KIND_console_commands, commands_reload_broken},
    {KIND_console_commands, commands_wait_close},
    {KIND_console_commands, inject_suspend},
    {KIND_console_commands, inject_disable},
    {KIND_moves, moves_move},
    {KIND_server_faults, nodes_fail},
    {KIND_server_drains, nodes_drain},
    {KIND_host_changes, nodes_list},
    {KIND_roles, nodes_fail_over},
    {KIND_roles, nodes_fail_over},
    {KIND_roles, nodes_lag},
    {KIND_resolver_changes, nodes_rename},
    {KIND_resolver_changes, nodes_rename},
};

static void injector_step(void)
{
    if (nodes_are_fenced() && injector_draw(2) == 0) {
        if (scenario_has(KIND_resolver_changes) && injector_draw(4) == 0)
            nodes_rename();
        if (scenario_has(KIND_reads) && injector_draw(4) > 0)
            nodes_lag();
        else
            nodes_fail_over();
        return;
    }
    size_t which = injector_draw(ARRAY_SIZE(injections));
    if (scenario_has(injections[which].kind))
        injections[which].inject();
}

void injector_run(void)
{
    deadline end = after(INJECTION_MAX);
    injector_doubts = injector_disabled = false;
    while (scenario.rounds_over < scenario.plan->clients && now().us < end.us) {
        injector_pause(PAUSE_MAX);
        injector_step();
        if (scenario_has(KIND_moves)) /* few clients stay long */
            moves_move();
        if (scenario_has(KIND_spreading)) /* between two events, connections level out */
            injector_pause(NODES_SETTLE);
    }
}
