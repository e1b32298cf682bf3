#include "stage/stage.h"

#include "instance/instance.h"
#include "machine/clock.h"
#include "machine/sim/world.h"

#include <signal.h>
#include <string.h>

/*
 * The daemon, as a thread of the simulated world.
 */

static void daemon_ended(struct mail *mail UNUSED)
{
    stage.running = false;
    co_wake(stage.main);
}

static void daemon_main(void *argument UNUSED)
{
    int status = instance_run(STAGE_CONFIG);
    PROVE(status == 0, "the daemon has ended with status %d", status);
    PROVE(stage.leaving, "the daemon has ended by itself");
    stage.ended.deliver = daemon_ended;
    mail_send(stage.home, &stage.ended);
}

static void daemon_log(void *argument UNUSED, int sink UNUSED, const char *text, size_t size)
{
    say("daemon", 0, "%.*s", (int)size, text);
    if (memmem(text, size, " ready ", 7) != NULL)
        stage.up = true;
}

static void daemon_exits(void *argument UNUSED, int status)
{
    PROVE(false, "the daemon has given up with status %d", status);
}

void daemon_start(void)
{
    stage.leaving = false;
    stage.running = true;
    sim_log_to(daemon_log, NULL);
    sim_exit_by(daemon_exits, NULL);
    PROVE(os->spawn("daemon", daemon_main, NULL, &stage.thread) == 0);
    deadline by = after(sec(60));
    while (!stage.up) {
        PROVE(now().us < by.us, "the daemon does not start");
        PROVE(co_sleep(ms(1)) == OK);
    }
}

static void daemon_ends(void)
{
    deadline by = after(sec(60));
    while (stage.running)
        PROVE(co_wait(by) == OK, "the daemon does not end");
    os->join(stage.thread);
    stage.thread = NULL;
    sim_signals_forget();
}

void daemon_stop(int signal)
{
    say("director", 0, "stops the daemon by signal %d", signal);
    stage.leaving = true;
    stage.up = false;
    PROVE(sim_signal(signal));
    daemon_ends();
}

void daemon_shut_down(const char *order)
{
    stage.leaving = true;
    stage.up = false;
    (void)console_try(order, chance_one_in(&stage.chance, 2), sec(2));
    if (stage.running)
        (void)sim_signal(SIGQUIT);
    daemon_ends();
}
