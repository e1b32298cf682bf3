#include "pooler/census.h"

#include "base/check.h"

#include <stdlib.h>

struct census {
    uint32_t references; /* atomic */
    uint32_t clients;    /* atomic */
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

bool census_admit(struct census *census, uint32_t most)
{
    uint32_t clients = __atomic_load_n(&census->clients, __ATOMIC_RELAXED);
    do {
        if (most > 0 && clients >= most)
            return false;
    } while (!__atomic_compare_exchange_n(&census->clients, &clients, clients + 1, true,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return true;
}

void census_dismiss(struct census *census)
{
    uint32_t before = __atomic_fetch_sub(&census->clients, 1, __ATOMIC_RELAXED);
    invariant(before > 0);
}
