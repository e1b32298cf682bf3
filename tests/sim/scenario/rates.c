#include "scenario/scenario.h"

#include "machine/sim/world.h"
#include "model/model.h"
#include "scenario/nodes.h"

/*
 * The rates of faults in the simulated system and in the model, from the plan.
 */
#define CHANCE_RATES 2001

/* Draws a number up to `max`; each order of magnitude is equally likely. */
static uint32_t rates_draw(uint64_t *chance, uint32_t max)
{
    uint32_t bits = 32 - (uint32_t)__builtin_clz(max);
    uint32_t scale = (uint32_t)1 << (bits - 1 - chance_below(chance, 6));
    return scale + chance_below(chance, scale);
}

static struct sim_rates rates_without_faults(void)
{
    struct sim_rates rates = sim_rates_usual();
    rates.late = rates.short_writes = rates.preempted = rates.meets = 0;
    rates.stale = rates.late_event = rates.pieces = 0;
    return rates;
}

/* In half of the runs the socket buffers hold more than one read. */
static void rates_room(struct sim_rates *rates, uint64_t *chance)
{
    if (!chance_one_in(chance, 2))
        return;
    rates->ring_min = 32768;
    rates->ring_max = 131072;
}

static void rates_network(struct sim_rates *rates, uint64_t *chance)
{
    rates_room(rates, chance);
    if (scenario_has(KIND_latency)) {
        rates->late = rates_draw(chance, 200000);
        rates->late_max = rates_draw(chance, 100000);
    }
    if (scenario_has(KIND_bandwidth)) {
        rates->bandwidth_min = 200000;
        rates->bandwidth_max = 10000000;
        rates->ring_min = 1024;
        rates->ring_max = 4096;
        rates->pieces = 600000;
        rates->single = 400000;
    }
    if (scenario_has(KIND_short_writes))
        rates->short_writes = rates_draw(chance, 400000);
    if (scenario_has(KIND_resets)) {
        rates->reset = rates_draw(chance, 8000);
        rates->reset_overtakes = rates_draw(chance, 900000);
    }
    if (scenario_has(KIND_refusals))
        rates->refused = rates_draw(chance, 300000);
    if (scenario_has(KIND_stalls)) {
        rates->unanswered = rates_draw(chance, 40000);
        rates->silenced = rates_draw(chance, 2000);
    }
    if (scenario_has(KIND_half_closes))
        rates->ended = rates_draw(chance, 6000);
}

static struct sim_rates rates_of_system(void)
{
    uint64_t chance = plan_chance(scenario.plan, CHANCE_RATES);
    struct sim_rates rates = sim_rates_usual();
    if (!scenario_has(KIND_latency))
        rates.late = 0;
    if (!scenario_has(KIND_short_writes))
        rates.short_writes = 0;
    if (!scenario_has(KIND_preemption))
        rates.preempted = rates.meets = 0;
    if (!scenario_has(KIND_stale_hints))
        rates.stale = rates.late_event = 0;
    rates_network(&rates, &chance);
    if (scenario_has(KIND_host_names)) {
        rates.dns_latency_max = rates_draw(&chance, 100000);
        rates.dns_fails = rates_draw(&chance, 200000);
        rates.dns_silent = rates_draw(&chance, 50000);
    }
    if (scenario_has(KIND_preemption)) {
        rates.preempted = rates_draw(&chance, 60000);
        rates.preempted_max = rates_draw(&chance, 20000);
        rates.meets = rates_draw(&chance, 300000);
        if (scenario_has(KIND_short_sessions))
            rates.preempted = 60000;
    }
    if (scenario_has(KIND_cancel_rush)) {
        rates.preempted = 500000 + chance_below(&chance, 400000);
        rates.preempted_max = 1000 + chance_below(&chance, 3000);
        rates.meets = 300000;
    }
    if (scenario_has(KIND_wall_steps)) {
        rates.wall_step = rates_draw(&chance, 20000);
        rates.wall_step_max = rates_draw(&chance, 1000000000);
    }
    return rates;
}

/* Commits that are flushed late, and those that are seen late. */
static void rates_commits(struct model_faults *faults)
{
    uint64_t chance = plan_chance(scenario.plan, CHANCE_RATES + 2);
    if (!scenario_has(KIND_flight))
        return;
    if (chance_one_in(&chance, 2))
        faults->asynchronous = 1 + chance_below(&chance, 4);
    if (chance_one_in(&chance, 2))
        faults->standby = 1 + chance_below(&chance, 4);
    faults->linger = chance_one_in(&chance, 2) ? 3 : 0;
    faults->standby_max = ms(chance_one_in(&chance, 2) ? 5 : 60);
}

static struct model_faults rates_of_model(void)
{
    uint64_t chance = plan_chance(scenario.plan, CHANCE_RATES + 1);
    struct model_faults faults = {.slow_max = ms(20)};
    faults.slow = scenario_has(KIND_slow_statements) ? 4 : 0;
    faults.slow_login = scenario_has(KIND_slow_logins) ? 3 : 0;
    /* Longer than claims wait. */
    faults.slow_login_max = scenario_has(KIND_claim_timeout) ? ms(2500) : faults.slow_max;
    faults.notice = scenario_has(KIND_notices) ? 20 : 0;
    faults.parameter = scenario_has(KIND_notices) ? 20 : 0;
    faults.flush_oddly = scenario_has(KIND_odd_flushes) ? 3 : 0;
    faults.cancel_late = scenario_has(KIND_late_cancels) ? 2 : 0;
    /* Late enough that the client is killed first. */
    faults.late_max = scenario_has(KIND_kills) ? ms(4000) : faults.slow_max;
    faults.fail = scenario_has(KIND_out_of_memory) ? 30 : 0;
    faults.crash = scenario_has(KIND_crashes) ? 100 + chance_below(&chance, 400) : 0;
    faults.terminate = scenario_has(KIND_terminations) ? 100 + chance_below(&chance, 200) : 0;
    faults.dismiss = scenario_has(KIND_terminations) ? 10 : 0;
    faults.conflict = nodes_split_reads(SPAN("app")) ? 20 : 0;
    faults.impostor = scenario_has(KIND_impostors) ? 4 : 0;
    faults.refuse = scenario_has(KIND_starting) ? 4 : 0;
    faults.crowded = scenario_has(KIND_full) ? 4 : 0;
    rates_commits(&faults);
    return faults;
}

void rates_begin(void)
{
    struct sim_rates rates = rates_of_system();
    struct model_faults faults = rates_of_model();
    sim_set_rates(&rates);
    model_set_faults(scenario.model, &faults);
}

void rates_end_faults(void)
{
    struct sim_rates rates = rates_without_faults();
    sim_end_faults();
    sim_set_rates(&rates);
    model_end_faults(scenario.model);
    /* Writes need a primary. */
    if ((scenario_has(KIND_host_names) || nodes_exist()) && scenario_has(KIND_promotions))
        model_promote(scenario.model);
    hostname_settle();
    nodes_settle();
    trace("injector", 0, "all faults end");
}

void rates_set_quiet(void)
{
    scenario.quiet_since = now();
    scenario.quiet = true;
    trace("injector", 0, "the second part begins");
}
