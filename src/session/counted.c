#include "session/counted.h"

#include "machine/machine.h"

#include <stdlib.h>

void counted_in(struct chunk_store *store)
{
    machine_set_own(store);
}

bool counted_add(uint64_t size)
{
    struct chunk_store *store = machine_own();
    return store == NULL || chunk_hold(store, size);
}

void counted_remove(uint64_t size)
{
    struct chunk_store *store = machine_own();
    if (store != NULL)
        chunk_unhold(store, size);
}

void *counted_alloc(size_t size)
{
    if (!counted_add(size))
        return NULL;
    void *at = malloc(size);
    if (at == NULL)
        counted_remove(size);
    return at;
}

void counted_free(void *at, size_t size)
{
    if (at == NULL)
        return;
    counted_remove(size);
    free(at);
}
