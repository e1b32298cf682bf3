#include "stage/stage.h"

#include "machine/sim/world.h"
#include "model/model.h"

/*
 * How much goes wrong in the world and in PostgreSQL, from the plan.
 */
#define CHANCE_MOOD 2001

/* Any number up to `most`, the small as often as the large. */
static uint32_t mood_rate(uint64_t *chance, uint32_t max)
{
    uint32_t bits = 32 - (uint32_t)__builtin_clz(max);
    uint32_t scale = (uint32_t)1 << (bits - 1 - chance_below(chance, 6));
    return scale + chance_below(chance, scale);
}

static struct sim_rates mood_calm_rates(void)
{
    struct sim_rates rates = sim_rates_usual();
    rates.late = rates.short_writes = rates.preempted = rates.meets = 0;
    rates.stale = rates.late_event = rates.pieces = 0;
    return rates;
}

/* As real ones do, half of all worlds' connections hold more than anybody reads at once. */
static void mood_room(struct sim_rates *rates, uint64_t *chance)
{
    if (!chance_one_in(chance, 2))
        return;
    rates->ring_min = 32768;
    rates->ring_max = 131072;
}

static void mood_network(struct sim_rates *rates, uint64_t *chance)
{
    mood_room(rates, chance);
    if (stage_has(KIND_lateness)) {
        rates->late = mood_rate(chance, 200000);
        rates->late_max = mood_rate(chance, 100000);
    }
    if (stage_has(KIND_narrowness)) {
        rates->bandwidth_min = 200000;
        rates->bandwidth_max = 10000000;
        rates->ring_min = 1024;
        rates->ring_max = 4096;
        rates->pieces = 600000;
        rates->single = 400000;
    }
    if (stage_has(KIND_short_writes))
        rates->short_writes = mood_rate(chance, 400000);
    if (stage_has(KIND_resets)) {
        rates->reset = mood_rate(chance, 8000);
        rates->reset_overtakes = mood_rate(chance, 900000);
    }
    if (stage_has(KIND_refusals))
        rates->refused = mood_rate(chance, 300000);
    if (stage_has(KIND_silences)) {
        rates->unanswered = mood_rate(chance, 40000);
        rates->silenced = mood_rate(chance, 2000);
    }
    if (stage_has(KIND_half_ends))
        rates->ended = mood_rate(chance, 6000);
}

static struct sim_rates mood_rates(void)
{
    uint64_t chance = plan_chance(stage.plan, CHANCE_MOOD);
    struct sim_rates rates = sim_rates_usual();
    if (!stage_has(KIND_lateness))
        rates.late = 0;
    if (!stage_has(KIND_short_writes))
        rates.short_writes = 0;
    if (!stage_has(KIND_preemption))
        rates.preempted = rates.meets = 0;
    if (!stage_has(KIND_staleness))
        rates.stale = rates.late_event = 0;
    mood_network(&rates, &chance);
    if (stage_has(KIND_names)) {
        rates.dns_latency_max = mood_rate(&chance, 100000);
        rates.dns_fails = mood_rate(&chance, 200000);
        rates.dns_silent = mood_rate(&chance, 50000);
    }
    if (stage_has(KIND_preemption)) {
        rates.preempted = mood_rate(&chance, 60000);
        rates.preempted_max = mood_rate(&chance, 20000);
        rates.meets = mood_rate(&chance, 300000);
        if (stage_has(KIND_haste))
            rates.preempted = 60000;
    }
    if (stage_has(KIND_wall_steps)) {
        rates.wall_step = mood_rate(&chance, 20000);
        rates.wall_step_max = mood_rate(&chance, 1000000000);
    }
    return rates;
}

static struct model_faults mood_faults(void)
{
    uint64_t chance = plan_chance(stage.plan, CHANCE_MOOD + 1);
    struct model_faults faults = {.slow_max = ms(20)};
    faults.slow = stage_has(KIND_slowness) ? 4 : 0;
    faults.slow_login = stage_has(KIND_slow_logins) ? 3 : 0;
    /* Longer than claims wait. */
    faults.slow_login_max = stage_has(KIND_claim_timeout) ? ms(2500) : faults.slow_max;
    faults.notice = stage_has(KIND_notices) ? 20 : 0;
    faults.parameter = stage_has(KIND_notices) ? 20 : 0;
    faults.flush_oddly = stage_has(KIND_odd_flushes) ? 3 : 0;
    faults.cancel_late = stage_has(KIND_late_cancels) ? 2 : 0;
    /* So late that whoever has asked for it is ended meanwhile. */
    faults.late_max = stage_has(KIND_kills) ? ms(4000) : faults.slow_max;
    faults.fail = stage_has(KIND_failing) ? 30 : 0;
    faults.crash = stage_has(KIND_crashes) ? 100 + chance_below(&chance, 400) : 0;
    faults.terminate = stage_has(KIND_terminations) ? 100 + chance_below(&chance, 200) : 0;
    faults.dismiss = stage_has(KIND_terminations) ? 10 : 0;
    faults.impostor = stage_has(KIND_impostors) ? 4 : 0;
    faults.refuse = stage_has(KIND_starting) ? 4 : 0;
    faults.crowded = stage_has(KIND_full) ? 4 : 0;
    return faults;
}

void mood_begin(void)
{
    struct sim_rates rates = mood_rates();
    struct model_faults faults = mood_faults();
    sim_set_rates(&rates);
    model_set_faults(stage.model, &faults);
}

void mood_heals(void)
{
    struct sim_rates rates = mood_calm_rates();
    sim_calm();
    sim_set_rates(&rates);
    model_calm(stage.model);
    /* Of several standbys none will do. */
    if (stage_has(KIND_names) && stage_has(KIND_promotions))
        model_promote(stage.model);
    names_settle();
    say("director", 0, "the world heals");
}

void mood_calm(void)
{
    stage.calm_since = now();
    stage.calm = true;
    say("director", 0, "the world is calm");
}
