#include "fleet/choice.h"

#include "base/check.h"

#include <string.h>

/* --- failures in a window --------------------------------------------------------------------- */

static int64_t window_part(const struct fleet_window *window, moment now)
{
    int64_t part = window->length.us / FLEET_WINDOW_BUCKETS;
    return part <= 0 ? 0 : now.us / part;
}

void fleet_window_add(struct fleet_window *window, moment now)
{
    int64_t part = window_part(window, now);
    if (part - window->latest >= FLEET_WINDOW_BUCKETS)
        memset(window->counts, 0, sizeof(window->counts));
    else
        for (int64_t at = window->latest + 1; at <= part; at++)
            window->counts[at % FLEET_WINDOW_BUCKETS] = 0;
    window->latest = MAX_OF(part, window->latest);
    window->counts[window->latest % FLEET_WINDOW_BUCKETS] += 1;
}

uint32_t fleet_window_sum(const struct fleet_window *window, moment now)
{
    int64_t part = window_part(window, now);
    uint32_t sum = 0;
    for (int64_t back = 0; back < FLEET_WINDOW_BUCKETS && back <= window->latest; back++)
        if (part - (window->latest - back) < FLEET_WINDOW_BUCKETS)
            sum += window->counts[(window->latest - back) % FLEET_WINDOW_BUCKETS];
    return sum;
}

/* --- choice ----------------------------------------------------------------------------------- */

/* A weight of 0 is 1/256 of a weight of 1: RFC 2782 wants a very small chance, not none. */
uint64_t fleet_weight(uint16_t weight)
{
    return weight == 0 ? 1 : (uint64_t)weight * 256;
}

/* The candidates that count: those of one priority, and of the own zone only or of all. */
struct tier {
    uint16_t priority;
    bool near_only;
};

static bool tier_has(const struct tier *tier, const struct fleet_candidate *candidate)
{
    return candidate->priority == tier->priority && (candidate->near || !tier->near_only);
}

static struct tier tier_of(const struct fleet_candidate *candidates, uint32_t count,
                           uint32_t near_min)
{
    struct tier tier = {.priority = UINT16_MAX};
    uint32_t near = 0;
    for (uint32_t i = 0; i < count; i++)
        tier.priority = MIN_OF(tier.priority, candidates[i].priority);
    for (uint32_t i = 0; i < count; i++)
        near += candidates[i].near && candidates[i].priority == tier.priority;
    tier.near_only = near > 0 && near >= near_min;
    return tier;
}

/* Draws one ready candidate of the tier by weight, other than `except`.  Returns FLEET_CHOOSE_NONE
 * if there is no such candidate. */
static uint32_t tier_draw(const struct tier *tier, const struct fleet_candidate *candidates,
                          uint32_t count, uint32_t except, struct fleet_random *random)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++)
        if (i != except && candidates[i].ready && tier_has(tier, &candidates[i]))
            total += fleet_weight(candidates[i].weight);
    if (total == 0)
        return FLEET_CHOOSE_NONE;
    uint64_t point = fleet_random_below(random, total);
    for (uint32_t i = 0; i < count; i++) {
        if (i == except || !candidates[i].ready || !tier_has(tier, &candidates[i]))
            continue;
        uint64_t weight = fleet_weight(candidates[i].weight);
        if (point < weight)
            return i;
        point -= weight;
    }
    invariant(!"the point is below the total");
    return FLEET_CHOOSE_NONE;
}

/* Returns the load that the candidate would have, times its failures.  Both bounds keep the
 * products of candidate_better() in 64 bits. */
static uint64_t candidate_load(const struct fleet_candidate *candidate)
{
    uint64_t load = MIN_OF(candidate->load, UINT32_C(1) << 22) + UINT64_C(1);
    return load * (MIN_OF(candidate->failures, 1000u) + UINT64_C(1));
}

static bool candidate_better(const struct fleet_candidate *a, const struct fleet_candidate *b)
{
    return candidate_load(a) * fleet_weight(b->weight) <=
           candidate_load(b) * fleet_weight(a->weight);
}

/* Returns the best ready candidate of the tier, of which `first` is one. */
static uint32_t tier_best(const struct tier *tier, const struct fleet_candidate *candidates,
                          uint32_t count, uint32_t first)
{
    uint32_t best = first;
    for (uint32_t i = 0; i < count; i++)
        if (candidates[i].ready && tier_has(tier, &candidates[i]) &&
            !candidate_better(&candidates[best], &candidates[i]))
            best = i;
    return best;
}

uint32_t fleet_choose(const struct fleet_candidate *candidates, uint32_t count, uint32_t near_min,
                      enum fleet_draw draw, struct fleet_random *random)
{
    if (count == 0)
        return FLEET_CHOOSE_NONE;
    struct tier tier = tier_of(candidates, count, near_min);
    uint32_t first = tier_draw(&tier, candidates, count, UINT32_MAX, random);
    if (first == FLEET_CHOOSE_NONE)
        return FLEET_CHOOSE_WAIT;
    if (draw == FLEET_DRAW_ALL)
        return tier_best(&tier, candidates, count, first);
    uint32_t second = tier_draw(&tier, candidates, count, first, random);
    if (second == FLEET_CHOOSE_NONE || candidate_better(&candidates[first], &candidates[second]))
        return first;
    return second;
}
