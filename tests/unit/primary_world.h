#pragma once
/* primary_world.h - backends as the election of a primary sees them; for its tests. */
#include "fleet/primary.h"
#include "machine/stream.h"
#include "unit.h"

#define FRESH  sec(3)
#define SYSTEM 77u

static inline moment at(int64_t milliseconds)
{
    return (moment){sec(1000).us + milliseconds * 1000};
}

static inline struct primary_candidate claimant(uint64_t backend, uint32_t line, int64_t asked)
{
    return (struct primary_candidate){
        .backend = backend,
        .tried = true,
        .sampled = true,
        .sample = {.asked = at(asked), .answered = at(asked), .system = SYSTEM, .line = line},
    };
}

static inline struct primary_candidate replica(uint64_t backend, int64_t asked)
{
    struct primary_candidate it = claimant(backend, 1, asked);
    it.sample.replica = true;
    return it;
}

static inline enum primary_order judge(struct primary *primary, const struct primary_candidate *all,
                                       size_t count, int64_t now)
{
    return primary_judge(primary, all, count, FRESH, at(0), at(now));
}

/* Judges, and has every relay acknowledge the fence at once. */
static inline enum primary_state
settle(struct primary *primary, const struct primary_candidate *all, size_t count, int64_t now)
{
    if (judge(primary, all, count, now) == PRIMARY_FENCE)
        ck_assert_int_eq(primary_await(primary, 0), PRIMARY_SETTLED);
    return primary->state;
}
