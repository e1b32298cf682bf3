#pragma once
/*
 * codel.h - controlled delay: sheds claims when the queue never gets short.
 *
 * Pure; after K. Nichols and V. Jacobson, "Controlling Queue Delay" (ACM Queue, 2012) and RFC 8289.
 * A queue that empties now and then is a burst and stays.  A queue in which every claim has waited
 * longer than `target` for a whole `interval` is an overload: then claims are refused, one after
 * interval, the next after interval / sqrt(2), interval / sqrt(3) and so on, until a claim has
 * waited less.
 */
#include "base/time.h"

struct fleet_codel_limits {
    duration target;   /* a wait that is acceptable at all times; 0: nothing is shed */
    duration interval; /* how long all claims may wait longer than that */
};

/* All zero: the queue was short. */
struct fleet_codel {
    deadline above;  /* since target is exceeded: when the first claim is shed; 0: not exceeded */
    deadline next;   /* while shedding: when the next claim is shed */
    uint32_t count;  /* claims shed since shedding began */
    uint32_t before; /* `count` when the last shedding ended */
    bool shedding;
    uint64_t shed; /* claims shed in all, for counters */
};

/** Decides about the claim that is next to be served and has waited since `since`.  Returns true if
 *  it is to be refused. */
bool fleet_codel_sheds(struct fleet_codel *codel, const struct fleet_codel_limits *limits,
                       moment since, moment now);
/** Records that the queue is empty. */
void fleet_codel_empty(struct fleet_codel *codel);
