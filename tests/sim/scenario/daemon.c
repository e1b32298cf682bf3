#include "scenario/scenario.h"

#include "instance/instance.h"
#include "machine/clock.h"
#include "machine/sim/world.h"
#include "scenario/nodes.h"

#include <signal.h>
#include <string.h>

/*
 * The daemon, as a thread of the simulated system.
 */

static void daemon_ended(struct mail *mail UNUSED)
{
    scenario.running = false;
    co_wake(scenario.main);
}

static void daemon_main(void *argument UNUSED)
{
    int status = instance_run(SCENARIO_CONFIG);
    CHECK(status == 0, "the daemon has ended with status %d", status);
    CHECK(scenario.leaving, "the daemon has ended by itself");
    scenario.ended.deliver = daemon_ended;
    mail_send(scenario.home, &scenario.ended);
}

static void daemon_log(void *argument UNUSED, int sink UNUSED, const char *text, size_t size)
{
    trace("daemon", 0, "%.*s", (int)size, text);
    if (memmem(text, size, " ready ", 7) != NULL)
        scenario.up = true;
    if (memmem(text, size, "primary.elected service=main", 28) != NULL)
        scenario.elected = true;
    if (memmem(text, size, "primary.elected service=twin", 28) != NULL)
        scenario.elected_twin = true;
}

static void daemon_exits(void *argument UNUSED, int status)
{
    CHECK(false, "the daemon has given up with status %d", status);
}

int64_t daemon_held_us(void)
{
    return sim_held_us("daemon");
}

void daemon_start(void)
{
    scenario.leaving = false;
    scenario.running = true;
    nodes_forget_drains();
    sim_log_to(daemon_log, NULL);
    sim_exit_by(daemon_exits, NULL);
    CHECK(os->spawn("daemon", daemon_main, NULL, &scenario.thread) == 0);
    deadline by = after(sec(60));
    while (!scenario.up) {
        CHECK(now().us < by.us, "the daemon does not start");
        CHECK(co_sleep(ms(1)) == OK);
    }
}

static void daemon_ends(void)
{
    deadline by = after(sec(60));
    while (scenario.running)
        CHECK(co_wait(by) == OK, "the daemon does not end");
    os->join(scenario.thread);
    scenario.thread = NULL;
    sim_signals_forget();
}

void daemon_stop(int signal)
{
    trace("injector", 0, "stops the daemon by signal %d", signal);
    scenario.leaving = true;
    scenario.up = false;
    CHECK(sim_signal(signal));
    daemon_ends();
}

void daemon_shut_down(const char *command)
{
    scenario.leaving = true;
    scenario.up = false;
    (void)console_try(command, chance_one_in(&scenario.chance, 2), sec(2));
    if (scenario.running)
        (void)sim_signal(SIGQUIT);
    daemon_ends();
}
