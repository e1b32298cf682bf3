#pragma once
/*
 * time.h - points in time and durations as distinct types.
 *
 * `moment` is a point in monotonic time, `deadline` the moment at which something ends or falls
 * due, `duration` a length, `instant` wall-clock time since 1970.  All are in microseconds. Nothing
 * here reads a clock: see machine/clock.h.
 */
#include "base/compiler.h"

typedef struct {
    int64_t us;
} moment;
typedef moment deadline;
typedef struct {
    int64_t us;
} duration;
typedef struct {
    int64_t us;
} instant;

#define ms(n)    ((duration){.us = (int64_t)(n)*1000})
#define sec(n)   ((duration){.us = (int64_t)(n)*1000000})
#define NEVER    ((deadline){.us = INT64_MAX})
#define NO_LIMIT ((duration){.us = INT64_MAX})

static inline bool is_never(deadline by)
{
    return by.us == INT64_MAX;
}

/* Adds `wait` to `from`; saturates, so that NO_LIMIT gives NEVER. */
static inline deadline later(moment from, duration wait)
{
    if (wait.us >= INT64_MAX - from.us)
        return NEVER;
    return (deadline){.us = from.us + wait.us};
}

static inline deadline earlier_of(deadline a, deadline b)
{
    return a.us < b.us ? a : b;
}

/* The time from `from` to `to`; zero or negative when `to` is not after `from`. */
static inline duration between(moment from, moment to)
{
    return (duration){.us = to.us == INT64_MAX ? INT64_MAX : to.us - from.us};
}
