#include "session/kept.h"

#include "machine/machine.h"

#include <stdlib.h>

void kept_count_in(struct chunk_store *store)
{
    machine_set_own(store);
}

bool kept_count(uint64_t size)
{
    struct chunk_store *store = machine_own();
    return store == NULL || chunk_hold(store, size);
}

void kept_uncount(uint64_t size)
{
    struct chunk_store *store = machine_own();
    if (store != NULL)
        chunk_unhold(store, size);
}

void *kept_alloc(size_t size)
{
    if (!kept_count(size))
        return NULL;
    void *at = malloc(size);
    if (at == NULL)
        kept_uncount(size);
    return at;
}

void kept_free(void *at, size_t size)
{
    if (at == NULL)
        return;
    kept_uncount(size);
    free(at);
}
