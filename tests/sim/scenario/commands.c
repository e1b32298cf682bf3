#include "scenario/scenario.h"

#include "machine/clock.h"
#include "machine/sim/world.h"

#include <signal.h>
#include <stdio.h>

/*
 * An administrator: all commands of the console, and invalid ones.
 */
#define MOMENT sec(2)

static const char *const harmless[] = {
    "SHOW ACTIVE_SOCKETS", "SHOW BACKENDS", "SHOW CLIENTS", "SHOW COMMANDS", "SHOW CONFIG",
    "SHOW DATABASES", "SHOW DNS_HOSTS", "SHOW DNS_ZONES", "SHOW FDS", "SHOW HELP", "SHOW LISTS",
    "SHOW MEM", "SHOW PEERS", "SHOW PEER_POOLS", "SHOW POOLS", "SHOW RELAYS", "SHOW ROUTES",
    "SHOW SERVERS", "SHOW SOCKETS", "SHOW STATE", "SHOW STATS", "SHOW STATS_AVERAGES",
    "SHOW STATS_TOTALS", "SHOW TOTALS", "SHOW PINS", "SHOW PIN_TOTALS", "SHOW USERS",
    "SHOW VERSION",
    /* Conditions, ORDER BY, LIMIT. */
    "SHOW CLIENTS WHERE state = 'idle' AND wait >= 0 ORDER BY connect_time DESC LIMIT 3",
    "SHOW SERVERS WHERE link IS NULL ORDER BY remote_pid",
    "SHOW SERVERS WHERE application_name LIKE 'client%' AND prepared_statements > 0",
    "SHOW POOLS WHERE maxwait < 1 AND user <> 'admin' ORDER BY cl_active LIMIT 1",
    "SHOW CONFIG WHERE key LIKE 'routes%' AND value IS NOT NULL ORDER BY key DESC",
    "SHOW FDS ORDER BY fd DESC LIMIT 2", "SHOW RELAYS ORDER BY events",
    /* Settings, and commands that drivers send. */
    "SET log.level = 'info'", "SET extra_float_digits = 3", "SHOW client_encoding", "BEGIN",
    "COMMIT", "SELECT 1", "",
    /* Errors. */
    "SHOW", "SHOW NONSENSE", "FLY", "SHOW POOLS WHERE nothing = 1", "SHOW POOLS ORDER BY",
    "SET nonsense = 1", "SET routes[0].pool_size = 'many'", "KILL_CLIENT 'nobody'",
    "MOVE_CLIENT ''", "SHOW 'unended", "RESUME nothing", "SHUTDOWN WAIT_FOR_GODOT"};

static uint32_t commands_draw(uint32_t limit)
{
    return chance_below(&scenario.chance, limit);
}

static void commands_pause(uint32_t most_us)
{
    CHECK(co_sleep((duration){.us = 1 + commands_draw(most_us)}) == OK);
}

void commands_run_some(void)
{
    for (uint32_t count = 1 + commands_draw(4); count > 0; count--) {
        const char *command = harmless[commands_draw(ARRAY_SIZE(harmless))];
        console_try(command, commands_draw(2) == 0, sec(100));
    }
    if (commands_draw(3) == 0)
        console_try("SHOW POOLS; SHOW STATE; SHOW NONSENSE; SHOW CLIENTS", false, sec(100));
    if (commands_draw(3) == 0)
        console_try("SHOW VERSION; SHOW LISTS", false, sec(100));
}

/* A file with errors changes nothing, by SIGHUP or by RELOAD. */
void commands_reload_broken(void)
{
    static const char *const broken[] = {"relays: [", "relays: 2\nnonsense: yes\n",
                                         "routes:\n  - {service: nobody}\n", "",
                                         "listen: []\nservices: {}\nroutes: {a: b}\n\t\n"};
    if (!scenario.up)
        return;
    sim_file_put_text(SCENARIO_CONFIG, broken[commands_draw(ARRAY_SIZE(broken))]);
    if (commands_draw(2) == 0) {
        CHECK(sim_signal(SIGHUP));
        commands_pause(50000);
    }
    CHECK(console_try("RELOAD", commands_draw(2) == 0, sec(100)) != CONSOLE_DONE,
          "a file with errors was loaded");
    setup_write(&scenario.setup);
    if (commands_draw(2) == 0)
        console_try("RELOAD", commands_draw(2) == 0, sec(100));
}

/* Commands that wait are abandoned after a while, which must have no effect. */
void commands_wait_close(void)
{
    if (commands_draw(2) == 0)
        console_try("RECONNECT app", false, sec(100));
    bool extended = commands_draw(2) == 0;
    console_try(commands_draw(2) == 0 ? "WAIT_CLOSE" : "WAIT_CLOSE app", extended, MOMENT);
}
