#include "fleet/lag.h"

#include "base/check.h"

#include <string.h>

/* Of positions that lie close together for their age one is enough: a lag is then too short by this
 * part of it at most. */
#define CLOSE 16

/* Drops positions that lie close together; else the oldest. */
static void lag_thin(struct fleet_lag *lag, moment now)
{
    uint32_t kept = 1;
    for (uint32_t i = 1; i < lag->count; i++) {
        bool last = i + 1 == lag->count;
        duration gap = last ? NO_LIMIT : between(lag->at[kept - 1].seen, lag->at[i + 1].seen);
        if (gap.us > between(lag->at[i].seen, now).us / CLOSE)
            lag->at[kept++] = lag->at[i];
    }
    if (kept == lag->count)
        memmove(&lag->at[0], &lag->at[1], --kept * sizeof(lag->at[0]));
    lag->count = kept;
}

/* Drops what the primary's log does not go on from.  A higher line begins somewhere below the
 * primary's position: what lies beyond that was never on it, and what lies before it a replica
 * still lacks since it was first seen. */
static void lag_follow(struct fleet_lag *lag, const struct backend_sample *primary)
{
    if (lag->system != primary->system || (lag->line == primary->line && lag->count > 0 &&
                                           lag->at[lag->count - 1].position > primary->position))
        lag->count = 0;
    while (lag->count > 0 && lag->at[lag->count - 1].position > primary->position)
        lag->count -= 1;
    lag->system = primary->system;
    lag->line = primary->line;
}

void fleet_lag_note(struct fleet_lag *lag, const struct backend_sample *primary)
{
    if (primary->replica || primary->position == 0)
        return;
    if (lag->count > 0 && lag->system == primary->system && primary->line < lag->line)
        return;
    lag_follow(lag, primary);
    if (lag->count > 0 && lag->at[lag->count - 1].position == primary->position)
        return;
    if (lag->count == FLEET_LAG_POSITIONS)
        lag_thin(lag, primary->asked);
    invariant(lag->count < FLEET_LAG_POSITIONS);
    lag->at[lag->count].position = primary->position;
    lag->at[lag->count++].seen = primary->asked;
}

duration fleet_lag_of(const struct fleet_lag *lag, const struct backend_sample *replica, moment now)
{
    if (lag->count == 0 || replica->position == 0 || replica->system != lag->system ||
        replica->line != lag->line)
        return FLEET_LAG_UNKNOWN;
    for (uint32_t i = 0; i < lag->count; i++)
        if (lag->at[i].position > replica->position)
            return (duration){.us = MAX_OF(between(lag->at[i].seen, now).us, INT64_C(0))};
    return (duration){.us = 0};
}

/* Any number of pools may have limits.  A limit between the lag and 5/4 of it is exceeded only if
 * it was before, and all limits below an exceeded one are. */
duration fleet_lag_counts(duration lag, duration before)
{
    if (lag.us < 0)
        return before;
    int64_t most = lag.us > INT64_MAX / 5 ? INT64_MAX : lag.us * 5 / 4;
    return (duration){.us = MAX_OF(lag.us, MIN_OF(before.us, most))};
}
