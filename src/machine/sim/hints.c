/* hints.c - hints of the simulation: atomic values that a thread may read late. */
#include "machine/loop_parts.h"
#include "machine/sim/inside.h"

#include <stdlib.h>
#include <string.h>

/*
 * The values of hints at their last fresh read, for stale reads.  Only hints in memory that was
 * declared by hint_begin can be stale.  Regions are looked up by address and reset by hint_begin,
 * so that the history does not depend on which memory the allocator reuses.
 */
#define FOUND 256

struct hint_past {
    uint64_t value;
    bool known;
};

struct hint_region {
    uintptr_t at;
    size_t size;
    struct hint_past *past; /* one for each eight bytes; NULL until the first look */
};

/* A cache of look-ups; cleared when a region begins. */
struct hint_found {
    const uint64_t *hint;
    struct hint_past *past;
};

static struct sim_hints {
    struct hint_region *regions; /* by address, none overlapping */
    size_t count;
    size_t capacity;
    struct hint_found found[FOUND];
} hints;

/* The index of the first region that ends after `at`. */
static size_t region_find(uintptr_t at)
{
    size_t from = 0, to = hints.count;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (hints.regions[middle].at + hints.regions[middle].size > at)
            to = middle;
        else
            from = middle + 1;
    }
    return from;
}

static void sim_forget_hints(const void *memory, size_t size)
{
    uintptr_t at = (uintptr_t)memory;
    memset(hints.found, 0, sizeof(hints.found));
    size_t first = region_find(at), last = first;
    while (last < hints.count && hints.regions[last].at < at + size)
        free(hints.regions[last++].past);
    if (hints.count + 1 - (last - first) > hints.capacity) {
        hints.capacity = MAX_OF(2 * hints.capacity, (size_t)64);
        hints.regions = reallocarray(hints.regions, hints.capacity, sizeof(*hints.regions));
        invariant(hints.regions != NULL);
    }
    memmove(hints.regions + first + 1, hints.regions + last,
            (hints.count - last) * sizeof(*hints.regions));
    hints.count = hints.count + 1 - (last - first);
    hints.regions[first] = (struct hint_region){at, size, NULL};
}

static struct hint_past *hint_search(const uint64_t *hint)
{
    uintptr_t at = (uintptr_t)hint;
    size_t place = region_find(at);
    if (place == hints.count || hints.regions[place].at > at)
        return NULL;
    struct hint_region *region = &hints.regions[place];
    if (region->past == NULL)
        region->past = calloc(region->size / sizeof(*hint) + 1, sizeof(*region->past));
    invariant(region->past != NULL);
    return &region->past[(at - region->at) / sizeof(*hint)];
}

static struct hint_past *hint_find(const uint64_t *hint)
{
    struct hint_found *found = &hints.found[(uintptr_t)hint / sizeof(*hint) % FOUND];
    if (found->hint != hint)
        *found = (struct hint_found){hint, hint_search(hint)};
    return found->past;
}

/* Reads a hint; with the probability of the rates, returns the value of the last fresh read. */
static uint64_t sim_stale_hint(const uint64_t *hint)
{
    sim_meet();
    uint64_t value = __atomic_load_n(hint, __ATOMIC_RELAXED);
    struct hint_past *past = hint_find(hint);
    if (past == NULL)
        return value;
    if (past->known && sim_chance(LOT_HINT, sim_rates.stale))
        return past->value;
    *past = (struct hint_past){value, true};
    return value;
}

void sim_hints_start(void)
{
    machine_stale_hint = sim_stale_hint;
    machine_forget_hints = sim_forget_hints;
}

void sim_hints_finish(void)
{
    for (size_t i = 0; i < hints.count; i++)
        free(hints.regions[i].past);
    free(hints.regions);
    hints = (struct sim_hints){0};
    machine_stale_hint = NULL;
    machine_forget_hints = NULL;
}
