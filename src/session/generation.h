#pragma once
/*
 * generation.h - a count for each database, raised by each change of its schema.
 *
 * Statements that were parsed at different counts may have different meanings, even if all else is
 * equal.  Databases are identified by the hash of their name at the servers.  If two databases have
 * the same hash, a change in one only keeps clients of the other from sharing statements for a
 * moment.  Callable from any thread.
 */
#include "base/span.h"

#define GENERATIONS 256u

struct generations {
    uint64_t all[GENERATIONS]; /* atomic */
};

/** Returns the count of this database. */
uint64_t *generation_of(struct generations *generations, const char *database);
static inline uint64_t generation_now(const uint64_t *count)
{
    return __atomic_load_n(count, __ATOMIC_ACQUIRE);
}
static inline void generation_raise(uint64_t *count)
{
    __atomic_add_fetch(count, 1, __ATOMIC_ACQ_REL);
}

/** Returns whether a command with this tag may change the meaning of statements parsed after it. */
bool generation_changes(struct span tag);
