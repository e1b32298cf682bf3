#pragma once
/*
 * choice.h - which of several backends gets the next connection.
 *
 * Pure.  Priority decides first, then the zone, then weight, outstanding work and recent failures
 * by the power of two choices.  Design: docs/internals/fleet.md
 */
#include "fleet/backoff.h"

/* --- failures in a window --------------------------------------------------------------------- */

#define FLEET_WINDOW_BUCKETS 10

/* Counts events of the latest `length`, in ten parts.  All zero but `length`: none yet. */
struct fleet_window {
    duration length;
    int64_t latest; /* number of the part that counts[latest % FLEET_WINDOW_BUCKETS] is about */
    uint32_t counts[FLEET_WINDOW_BUCKETS];
};

void fleet_window_add(struct fleet_window *window, moment now);
/** Returns the number of events of the latest `length`, to a tenth of it. */
uint32_t fleet_window_sum(const struct fleet_window *window, moment now);

/* --- choice ----------------------------------------------------------------------------------- */

struct fleet_candidate {
    uint16_t priority; /* lower ones first */
    uint16_t weight;   /* a share within the priority; 0: a very small one */
    bool near;         /* in the zone of this process */
    bool ready;        /* may be chosen now; otherwise it is only waited for */
    uint32_t load;     /* connections or claims that it has */
    uint32_t failures; /* in the window */
};

/* Result of fleet_choose(). */
#define FLEET_CHOOSE_WAIT UINT32_MAX       /* the backends to prefer are healthy but not ready */
#define FLEET_CHOOSE_NONE (UINT32_MAX - 1) /* there are no candidates */

enum fleet_draw {
    FLEET_DRAW_TWO, /* two are drawn, and the better one is chosen */
    FLEET_DRAW_ALL, /* the best of all, to level out what is uneven */
};

/**
 * Chooses one of the healthy candidates and returns its index, or one of the results above.
 *
 * Only the candidates of the lowest priority count.  Of these, only those of the own zone, if at
 * least `near_min` of them are there.  Two are drawn by weight (or all are), and the one with less
 * load for its weight is chosen; each failure in the window counts like one more multiple of the
 * load.
 */
uint32_t fleet_choose(const struct fleet_candidate *candidates, uint32_t count, uint32_t near_min,
                      enum fleet_draw draw, struct fleet_random *random);

/** Returns the weight for arithmetic: never 0, so that a weight of 0 is a very small share of 1. */
uint64_t fleet_weight(uint16_t weight);
