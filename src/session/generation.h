#pragma once
/*
 * generation.h - a count for each database that rises with each change of its schema.
 *
 * Statements that were parsed at different counts may mean different things, whatever else they
 * have in common.  Databases are told apart by the hash of their name at the servers: where two
 * have the same, a change in one keeps clients of the other from sharing for a moment, and no more.
 * From any thread.
 */
#include "base/span.h"

#define GENERATIONS 256u

struct generations {
    uint64_t all[GENERATIONS]; /* atomic */
};

/** The count of this database. */
uint64_t *generation_of(struct generations *generations, const char *database);
static inline uint64_t generation_now(const uint64_t *count)
{
    return __atomic_load_n(count, __ATOMIC_ACQUIRE);
}
static inline void generation_raise(uint64_t *count)
{
    __atomic_add_fetch(count, 1, __ATOMIC_ACQ_REL);
}

/** Whether a command with this tag may change what a statement means that is parsed after it. */
bool generation_changes(struct span tag);
