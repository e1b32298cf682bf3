#include "flight/l2_breaker.h"

/* Of a pause: up to a quarter is taken off at random, so that daemons do not come back together. */
static duration pause_of(uint32_t opened, uint32_t random)
{
    duration pause = L2_PAUSE_MIN;
    for (uint32_t i = 1; i < opened && pause.us < L2_PAUSE_MAX.us; i++)
        pause.us *= 2;
    if (pause.us > L2_PAUSE_MAX.us)
        pause = L2_PAUSE_MAX;
    pause.us -= (int64_t)((double)pause.us / 4 * random / UINT32_MAX);
    return pause;
}

bool l2_breaker_admits(struct l2_breaker *breaker, moment now, duration patience)
{
    if (!breaker->open)
        return true;
    if (now.us < breaker->until.us || now.us < breaker->trying.us)
        return false;
    breaker->trying = later(now, patience);
    return true;
}

void l2_breaker_succeeded(struct l2_breaker *breaker)
{
    *breaker = (struct l2_breaker){0};
}

bool l2_breaker_broke(struct l2_breaker *breaker, moment now, uint32_t random)
{
    bool was_open = breaker->open && breaker->trying.us == 0;
    if (was_open) /* what was sent before it opened */
        return false;
    breaker->opened += 1;
    breaker->open = true;
    breaker->trying = (deadline){0};
    breaker->until = later(now, pause_of(breaker->opened, random));
    return true;
}

bool l2_breaker_failed(struct l2_breaker *breaker, moment now, uint32_t random)
{
    breaker->failures += 1;
    if (breaker->failures < L2_FAILURES_MAX)
        return false;
    return l2_breaker_broke(breaker, now, random);
}
