#include "flight/sketch.h"

#include <stdlib.h>

#define ROWS 4u
/* Words that one look-up halves. */
#define HALVING_STEP 8u
/* Look-ups per entry between two halvings, and the number of entries that is assumed at least. */
#define SAMPLE      10u
#define ENTRIES_MIN 64u

struct counter {
    uint32_t word;
    uint32_t shift;
};

/* Odd numbers with bits all over, one for each row. */
static const uint64_t factors[ROWS] = {
    UINT64_C(0x9e3779b97f4a7c15),
    UINT64_C(0xc2b2ae3d27d4eb4f),
    UINT64_C(0x165667b19e3779f9),
    UINT64_C(0xd6e8feb86659fd93),
};

static struct counter counter_of(const struct sketch *sketch, uint64_t low, uint64_t high,
                                 uint32_t row)
{
    uint64_t mixed = (low + row * high) * factors[row];
    return (struct counter){(uint32_t)(mixed >> 32) & sketch->mask,
                            (uint32_t)(mixed >> 28 & 15) * 4};
}

bool sketch_init(struct sketch *sketch, uint32_t entries)
{
    invariant(IS_POWER_OF_TWO(entries));
    *sketch = (struct sketch){.mask = entries - 1, .halved = entries};
    sketch->words = calloc(entries, sizeof(*sketch->words));
    return sketch->words != NULL;
}

void sketch_fini(struct sketch *sketch)
{
    free(sketch->words);
    *sketch = (struct sketch){0};
}

static void sketch_halve(struct sketch *sketch)
{
    invariant(sketch->halved <= sketch->mask + 1);
    uint32_t end = MIN_OF(sketch->halved + HALVING_STEP, sketch->mask + 1);
    for (; sketch->halved < end; sketch->halved++)
        sketch->words[sketch->halved] =
            sketch->words[sketch->halved] >> 1 & UINT64_C(0x7777777777777777);
}

uint32_t sketch_estimate(const struct sketch *sketch, uint64_t low, uint64_t high)
{
    uint32_t least = SKETCH_COUNT_MAX;
    for (uint32_t row = 0; row < ROWS; row++) {
        struct counter at = counter_of(sketch, low, high, row);
        uint32_t count = (uint32_t)(sketch->words[at.word] >> at.shift & 15);
        least = MIN_OF(least, count);
    }
    return least;
}

/* Raises only the smallest of the four counters: the others count other keys too. */
void sketch_add(struct sketch *sketch, uint64_t low, uint64_t high, uint32_t entries)
{
    sketch_halve(sketch);
    uint32_t count = sketch_estimate(sketch, low, high);
    for (uint32_t row = 0; row < ROWS && count < SKETCH_COUNT_MAX; row++) {
        struct counter at = counter_of(sketch, low, high, row);
        uint64_t *word = &sketch->words[at.word];
        if ((*word >> at.shift & 15) == count)
            *word += UINT64_C(1) << at.shift;
    }
    uint64_t sample = (uint64_t)SAMPLE * MAX_OF(entries, ENTRIES_MIN);
    sketch->added += sketch->added < UINT32_MAX;
    if (sketch->added >= sample && sketch->halved > sketch->mask) {
        sketch->halved = 0;
        sketch->added = 0;
    }
}
