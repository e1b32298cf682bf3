#pragma once
/*
 * share.h - how many connections a pool should have, how they are divided among backends, and which
 * idle ones move.
 *
 * Pure arithmetic.  The sums never exceed the limits that are given.  Design:
 * docs/internals/fleet.md
 */
#include "base/time.h"

struct fleet_wants {
    uint32_t claimed; /* connections in use */
    uint32_t spares;  /* further ones to keep ready */
    uint32_t min;     /* at least so many in all */
    uint32_t max;     /* never more */
};

/** Returns how many connections the pool should have open without a further claim. */
uint32_t fleet_wanted(const struct fleet_wants *wants);

struct fleet_share {
    uint16_t weight;
    bool serves;    /* healthy, of the tier in use, not draining: gets a share */
    uint32_t max;   /* connections that this pool may have there */
    uint32_t open;  /* connections that it has there, logins included */
    uint32_t idle;  /* of these: idle, may be closed */
    uint32_t share; /* result of fleet_divide() */
    uint32_t move;  /* result of fleet_moves(): idle connections to close */
};

/** Divides `total` by weight.  Each serving backend gets its part, rounded so that the sum is
 *  `total` exactly, or the sum of `max` if that is less. */
void fleet_divide(struct fleet_share *shares, uint32_t count, uint32_t total);

/** Plans moves from backends that have more than their share to those that have less: at most
 *  `moves_max`, only idle connections, and so that at least `spares` idle ones stay. fleet_divide()
 *  was called before.  Returns the number of moves. */
uint32_t fleet_moves(struct fleet_share *shares, uint32_t count, uint32_t moves_max,
                     uint32_t spares);
