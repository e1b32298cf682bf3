#pragma once
/*
 * sample.h - what a probe of one backend found.
 *
 * The driver of the probes fills it in; the fleet decides by it (role, primary, lag).  Knows
 * nothing of PostgreSQL: a `line` is a timeline, a `position` is an LSN, a `system` is a system
 * identifier.  Two positions may be compared only if their system and line are equal.
 */
#include "base/time.h"

struct backend_sample {
    moment asked;      /* when the question was sent: what it says was true at or after that */
    moment answered;   /* when the answer came */
    moment reached;    /* when the connection was begun that it came over; 0: unknown */
    bool replica;      /* it is in recovery */
    bool read_only;    /* a primary whose sessions begin read-only */
    uint64_t system;   /* 0: unknown */
    uint32_t line;     /* 0: unknown */
    uint64_t instance; /* the same for two addresses of one running server only; 0: unknown */
    uint64_t position; /* a primary's end of its log; a replica's last replayed position; 0: unknown
                        */
    uint64_t inserted; /* a primary's end of what is not all written yet: asynchronous commits */
};

/** Returns whether two samples are of one running server. */
static inline bool sample_same_server(const struct backend_sample *a,
                                      const struct backend_sample *b)
{
    return a->instance != 0 && a->instance == b->instance && a->system == b->system;
}
