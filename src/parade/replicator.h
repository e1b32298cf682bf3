#pragma once
/*
 * replicator.h - carries the rows of a parade between its shard instances.
 *
 * Serves the instances of one zone: a coroutine for each of them, and one for each pair of an
 * instance and another member of its shard, all on the running machine.  No member needs to be
 * reachable.  Design: docs/internals/parade-replicator.md
 */
#include "parade/target.h"

/* A shard instance. */
struct parade_replica {
    struct parade_target target;
    const char *zone;
    uint32_t number; /* of the peer */
    bool local;      /* it is served: it pulls from the other members of its shard */
};

/** Runs until SIGTERM or SIGINT, then lets each connection end its statement.  A shard is a
 *  database name.  `replicas` are borrowed.  Suspends.  Faults: MEMORY, SYSTEM. */
fault parade_replicator_run(const struct parade_replica *replicas, size_t count) MUST_USE;
