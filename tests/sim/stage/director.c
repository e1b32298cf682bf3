#include "stage/stage.h"

#include "machine/clock.h"
#include "machine/sim/world.h"
#include "model/model.h"

#include <signal.h>

/*
 * What happens to the world as a whole, at moments drawn from the seed.
 */
#define TROUBLES_MAX  sec(40)
#define PAUSE_MAX     200000 /* us between two events */
#define HELD_BACK_MAX sec(5)

static uint32_t director_draw(uint32_t limit)
{
    return chance_below(&stage.chance, limit);
}

static void director_rests(uint32_t most_us)
{
    PROVE(co_sleep((duration){.us = 1 + director_draw(most_us)}) == OK);
}

static void trouble_outage(void)
{
    say("director", 0, "PostgreSQL crashes");
    model_crash(stage.model);
    director_rests(300000);
    model_set_state(stage.model, MODEL_READY);
    say("director", 0, "PostgreSQL has recovered");
}

/* In the middle of which an administrator may lose patience with all who wait. */
static void trouble_blackout(void)
{
    say("director", 0, "nothing passes to PostgreSQL");
    names_blackhole(true);
    if (stage_has(KIND_kills)) {
        director_rests(1000000);
        moves_kill(1);
    }
    director_rests(3000000);
    names_blackhole(false);
    say("director", 0, "it passes again");
}

static void trouble_promotion(void)
{
    say("director", 0, "the standby is promoted");
    model_promote(stage.model);
}

/* Several in haste: the next one comes before all have taken the last. */
static void trouble_reload(void)
{
    uint32_t count = director_draw(3) == 0 ? 4 : 1;
    if (!stage.up)
        return;
    for (uint32_t i = 0; i < count; i++) {
        setup_change(&stage.setup, &stage.chance);
        setup_write(&stage.setup);
        say("director", 0, "reloads version %u", stage.setup.version);
        PROVE(sim_signal(SIGHUP));
        director_rests(1000);
    }
}

static void trouble_restart(void)
{
    static const char *const orders[] = {"SHUTDOWN", "SHUTDOWN WAIT_FOR_SERVERS",
                                         "SHUTDOWN WAIT_FOR_CLIENTS"};
    uint32_t lot = director_draw(4);
    if (stage_has(KIND_orders) && lot < ARRAY_SIZE(orders))
        daemon_shut_down(orders[lot]);
    else
        daemon_stop(director_draw(2) == 0 ? SIGTERM : SIGQUIT);
    director_rests(50000);
    daemon_start();
}

/* An order was not answered: it may be on its way still, and arrive behind what ends it. */
static bool director_doubts;
static bool director_disabled; /* or may be so */

static void director_stops(const char *command)
{
    stage.stopped = true;
    director_doubts |= !console_order(command);
}

static void director_resumes(const char *command)
{
    stage.stopped = !console_order(command);
    director_doubts |= stage.stopped;
}

/* Once more when the world has healed, behind all that was held back. */
void director_makes_good(void)
{
    static const char *const resumes[] = {"RESUME", "RESUME app"};
    while (director_disabled && !console_order("ENABLE app"))
        director_rests(100000);
    if (!director_doubts)
        return;
    PROVE(co_sleep(HELD_BACK_MAX) == OK);
    for (size_t i = 0; i < ARRAY_SIZE(resumes); i++)
        while (!console_order(resumes[i]))
            director_rests(100000);
    stage.stopped = false;
}

static void trouble_pause(void)
{
    /* Clients of session pools keep a pause of all waiting until they leave. */
    bool all = !stage_has(KIND_sessions);
    director_stops(all ? "PAUSE" : "PAUSE app");
    director_rests(100000);
    director_resumes(all ? "RESUME" : "RESUME app");
}

static void trouble_reconnect(void)
{
    console_order("RECONNECT");
}

static void trouble_kill(void)
{
    director_stops("KILL app");
    director_rests(50000);
    director_resumes("RESUME app");
}

static void trouble_kill_some(void)
{
    moves_kill(2);
}

/* Nothing begins for a while, of anybody. */
static void trouble_suspend(void)
{
    stage.stopped = true;
    director_doubts |= console_try("SUSPEND", director_draw(2) == 0, sec(2)) != CONSOLE_DONE;
    director_rests(50000);
    director_resumes("RESUME");
}

/* Nobody else comes in for a while. */
static void trouble_disable(void)
{
    if (!stage_has(KIND_kills))
        return;
    director_disabled |=
        console_try("DISABLE app", director_draw(2) == 0, sec(100)) != CONSOLE_REFUSED;
    director_rests(50000);
    director_disabled = !console_order("ENABLE app");
}

static const struct {
    enum kind kind;
    void (*happens)(void);
} troubles[] = {
    {KIND_outages, trouble_outage},
    {KIND_blackouts, trouble_blackout},
    {KIND_promotions, trouble_promotion},
    {KIND_reloads, trouble_reload},
    {KIND_identities, trouble_reload},
    {KIND_restarts, trouble_restart},
    {KIND_pauses, trouble_pause},
    {KIND_reconnects, trouble_reconnect},
    {KIND_kills, trouble_kill},
    {KIND_kills, trouble_kill_some},
    {KIND_names, names_change},
    {KIND_names, names_change},
    {KIND_orders, orders_talk},
    {KIND_orders, orders_talk},
    {KIND_orders, orders_reload},
    {KIND_orders, orders_wait},
    {KIND_orders, trouble_suspend},
    {KIND_orders, trouble_disable},
    {KIND_moves, moves_order},
};

static void director_acts(void)
{
    size_t which = director_draw(ARRAY_SIZE(troubles));
    if (stage_has(troubles[which].kind))
        troubles[which].happens();
}

void director_troubles(void)
{
    deadline end = after(TROUBLES_MAX);
    director_doubts = director_disabled = false;
    while (stage.rounds_over < stage.plan->clients && now().us < end.us) {
        director_rests(PAUSE_MAX);
        director_acts();
        if (stage_has(KIND_moves)) /* most of those who do little are gone before long */
            moves_order();
    }
}
