#pragma once
/*
 * plan.h - what a seed makes of a run, and what the command line takes away from it.
 *
 * Everything is drawn from the seed, each thing by itself: what is taken away leaves the rest as it
 * was, so that the minimiser gets somewhere.
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
    kind_set without; /* bits of enum kind that are taken away */
    kind_set kinds;   /* bits of those it has */
    uint32_t clients;
    uint32_t rounds; /* each client does so many things */
    bool trace;
};

/** The plan of a seed.  `clients` and `rounds`: 0 for what the seed says. */
void plan_make(struct plan *plan, uint64_t seed, kind_set without, uint32_t clients,
               uint32_t rounds);
/** A stream of chance of its own for `who` in this run. */
uint64_t plan_chance(const struct plan *plan, uint64_t who);
static inline bool plan_has(const struct plan *plan, enum kind kind)
{
    return (plan->kinds >> kind & 1) != 0;
}
/** The bits of "resets,crashes"; false: one of them is no kind. */
bool plan_read_kinds(const char *text, kind_set *ret);
/** "resets,crashes" of the bits. */
const char *plan_kinds_text(kind_set kinds, char *text, size_t size);
/** The command that plays it again. */
const char *plan_command(const struct plan *plan, char *text, size_t size);
#define PLAN_TEXT 512

/** A number below `limit` from a stream of chance. */
uint32_t chance_below(uint64_t *chance, uint32_t limit);
/** True once in `many` times. */
static inline bool chance_one_in(uint64_t *chance, uint32_t many)
{
    return chance_below(chance, many) == 0;
}
