#include "fleet/backoff.h"

#include "base/check.h"

uint64_t fleet_random_next(struct fleet_random *random)
{
    /* SplitMix64 by Sebastiano Vigna, public domain. */
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t fleet_random_below(struct fleet_random *random, uint64_t bound)
{
    invariant(bound > 0);
    /* The bias of the remainder is below 2^-20 for all bounds that the fleet has. */
    return fleet_random_next(random) % bound;
}

duration fleet_random_shorten(struct fleet_random *random, duration whole, uint32_t jitter)
{
    int64_t part = whole.us / 100 * jitter + whole.us % 100 * jitter / 100;
    if (part <= 0 || whole.us == NO_LIMIT.us)
        return whole;
    return (duration){.us = whole.us - (int64_t)fleet_random_below(random, (uint64_t)part + 1)};
}

void fleet_backoff_fail(struct fleet_backoff *backoff, const struct fleet_pauses *pauses,
                        struct fleet_random *random)
{
    invariant(pauses->min.us > 0 && pauses->min.us <= pauses->max.us && pauses->jitter <= 100);
    if (backoff->step.us < pauses->min.us)
        backoff->step = pauses->min;
    else if (backoff->step.us > pauses->max.us / 2)
        backoff->step = pauses->max;
    else
        backoff->step.us *= 2;
    backoff->pause = fleet_random_shorten(random, backoff->step, pauses->jitter);
    invariant(backoff->pause.us >= 0 && backoff->pause.us <= pauses->max.us);
}

void fleet_backoff_skip(struct fleet_backoff *backoff)
{
    backoff->pause = ms(0);
}

void fleet_backoff_reset(struct fleet_backoff *backoff)
{
    backoff->step = backoff->pause = ms(0);
}

void fleet_pace_start(struct fleet_pace *pace, uint32_t per_second, struct fleet_random *random,
                      moment now)
{
    if (per_second == 0)
        return;
    int64_t gap = (1000000 + per_second - 1) / per_second;
    gap += (int64_t)fleet_random_below(random, (uint64_t)gap / 4 + 1);
    pace->next = later(now, (duration){.us = gap});
}
