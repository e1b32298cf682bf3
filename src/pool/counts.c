#include "pool/counts.h"

#include "base/check.h"

#include <stdlib.h>

struct counts {
    uint32_t references; /* atomic */
    uint32_t clients;    /* atomic */
    uint32_t pinned;     /* atomic */
};

struct counts *counts_new(void)
{
    struct counts *counts = calloc(1, sizeof(*counts));
    if (counts != NULL)
        counts->references = 1;
    return counts;
}

struct counts *counts_ref(struct counts *counts)
{
    uint32_t before = __atomic_fetch_add(&counts->references, 1, __ATOMIC_RELAXED);
    invariant(before > 0);
    return counts;
}

void counts_unref(struct counts **counts)
{
    struct counts *gone = TAKE(*counts);
    if (gone == NULL)
        return;
    uint32_t before = __atomic_fetch_sub(&gone->references, 1, __ATOMIC_ACQ_REL);
    invariant(before > 0);
    if (before == 1)
        free(gone);
}

/* Adds one, unless the counter has reached `max` (0: no limit). */
static bool count_in(uint32_t *counter, uint32_t max)
{
    uint32_t count = __atomic_load_n(counter, __ATOMIC_RELAXED);
    do {
        if (max > 0 && count >= max)
            return false;
    } while (!__atomic_compare_exchange_n(counter, &count, count + 1, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return true;
}

static void count_out(uint32_t *counter)
{
    uint32_t before = __atomic_fetch_sub(counter, 1, __ATOMIC_RELAXED);
    invariant(before > 0);
}

bool counts_admit(struct counts *counts, uint32_t max)
{
    return count_in(&counts->clients, max);
}

void counts_dismiss(struct counts *counts)
{
    count_out(&counts->clients);
}

bool counts_pin(struct counts *counts, uint32_t max)
{
    return count_in(&counts->pinned, max);
}

void counts_unpin(struct counts *counts)
{
    count_out(&counts->pinned);
}
