#pragma once
/*
 * plan.h - the plan of a run: what a seed determines, less what the command line removes.
 *
 * Each part is drawn from the seed independently, so that removing one leaves the others unchanged.
 */
#include "base/compiler.h"

#include <stddef.h>

enum kind {
#define KIND(name, one_in, costly, text) KIND_##name,
#include "runner/kinds.def"
#undef KIND
    KINDS
};

/* Bits of enum kind. */
__extension__ typedef unsigned __int128 kind_set;
static_assert(KINDS <= 128, "each kind has a bit");

struct plan {
    uint64_t seed;
    kind_set with;    /* bits of enum kind that are added */
    kind_set without; /* bits that are removed */
    kind_set kinds;   /* bits of those it has */
    uint32_t clients;
    uint32_t rounds; /* of each client */
    bool trace;
};

/** The plan of a seed.  `with`: kinds that it has, unless they are removed.  `clients`, `rounds`:
 * 0: by the seed. */
void plan_make(struct plan *plan, uint64_t seed, kind_set with, kind_set without, uint32_t clients,
               uint32_t rounds);
/** Returns the state of a random generator of this run; `who` selects it. */
uint64_t plan_chance(const struct plan *plan, uint64_t who);
static inline bool plan_has(const struct plan *plan, enum kind kind)
{
    return (plan->kinds >> kind & 1) != 0;
}
/** Reads names of kinds, as "resets,crashes".  Returns false if one is unknown. */
bool plan_read_kinds(const char *text, kind_set *ret);
/** Writes the names of kinds. */
const char *plan_kinds_text(kind_set kinds, char *text, size_t size);
/** Writes the command that repeats the run. */
const char *plan_command(const struct plan *plan, char *text, size_t size);
#define PLAN_TEXT 512

/** Returns a random number below `limit`. */
uint32_t chance_below(uint64_t *chance, uint32_t limit);
/** Returns true once in `many` calls. */
static inline bool chance_one_in(uint64_t *chance, uint32_t many)
{
    return chance_below(chance, many) == 0;
}
