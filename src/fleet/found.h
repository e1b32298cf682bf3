#pragma once
/*
 * found.h - what resolvers report: all backends that a service may have, healthy or not.
 *
 * A value.  A resolver reports the complete set each time.  The identity of a backend is (target,
 * address with its port): a changed address or port under an unchanged target is another backend.
 * Priority, weight and zone are attributes: they may change while the backend stays.
 */
#include "machine/os.h"

/* Backends of one service.  Resolvers report no more than that. */
#define BACKENDS_FOUND_MAX 256u

/* The weight of a backend whose resolver has no weights (`hosts`, A and AAAA records). */
#define BACKEND_WEIGHT_PLAIN 100u

struct backend_found {
    const char *target;     /* the host as configured, or the SRV target; borrowed for the call */
    struct address address; /* with the port */
    uint16_t priority;      /* as in SRV: lower ones are used first; 0 where there are none */
    uint16_t weight;        /* as in SRV: a share within the priority; 0: a very small share */
    const char *zone;       /* a label such as "eu-1", borrowed for the call; "": not known */
};

/** Compares the identities of two found backends. */
bool backend_found_equal(const struct backend_found *a, const struct backend_found *b);
