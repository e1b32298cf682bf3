#include "pool/census.h"

#include "base/check.h"

#include <stdlib.h>

struct census {
    uint32_t references; /* atomic */
    uint32_t clients;    /* atomic */
    uint32_t pinned;     /* atomic */
};

struct census *census_new(void)
{
    struct census *census = calloc(1, sizeof(*census));
    if (census != NULL)
        census->references = 1;
    return census;
}

struct census *census_ref(struct census *census)
{
    uint32_t before = __atomic_fetch_add(&census->references, 1, __ATOMIC_RELAXED);
    invariant(before > 0);
    return census;
}

void census_unref(struct census **census)
{
    struct census *gone = TAKE(*census);
    if (gone == NULL)
        return;
    uint32_t before = __atomic_fetch_sub(&gone->references, 1, __ATOMIC_ACQ_REL);
    invariant(before > 0);
    if (before == 1)
        free(gone);
}

/* One more, unless there are `most` (0: no limit). */
static bool count_in(uint32_t *counter, uint32_t most)
{
    uint32_t count = __atomic_load_n(counter, __ATOMIC_RELAXED);
    do {
        if (most > 0 && count >= most)
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

bool census_admit(struct census *census, uint32_t most)
{
    return count_in(&census->clients, most);
}

void census_dismiss(struct census *census)
{
    count_out(&census->clients);
}

bool census_pin(struct census *census, uint32_t most)
{
    return count_in(&census->pinned, most);
}

void census_unpin(struct census *census)
{
    count_out(&census->pinned);
}
