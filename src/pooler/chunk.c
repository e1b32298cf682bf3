#include "pooler/chunk.h"

#include <stdlib.h>

/* Idle chunks that are kept: enough for the turns that usually are under way at once. */
#define CHUNKS_KEPT 64

void chunk_store_init(struct chunk_store *store, uint32_t size, uint32_t most)
{
    *store = (struct chunk_store){.size = size, .most = MAX_OF(most, 4u)};
    list_init(&store->idle);
}

void chunk_store_fini(struct chunk_store *store)
{
    invariant(store->lent == 0);
    for (struct node *node; (node = list_pop(&store->idle)) != NULL;)
        free(LIST_ENTRY(node, struct chunk, node));
}

struct chunk *chunk_lend(struct chunk_store *store)
{
    struct node *node = list_pop(&store->idle);
    struct chunk *chunk = NULL;
    if (node != NULL)
        chunk = LIST_ENTRY(node, struct chunk, node);
    else if (store->lent < store->most)
        chunk = malloc(sizeof(*chunk) + store->size);
    if (chunk == NULL) {
        store->short_of += 1;
        return NULL;
    }
    chunk->node = (struct node){NULL, NULL};
    chunk->size = store->size;
    store->lent += 1;
    return chunk;
}

void chunk_return(struct chunk_store *store, struct chunk **chunk)
{
    if (*chunk == NULL)
        return;
    invariant(store->lent > 0);
    store->lent -= 1;
    if (store->idle.count < CHUNKS_KEPT && (*chunk)->size == store->size)
        list_push_front(&store->idle, &(*chunk)->node);
    else
        free(*chunk);
    *chunk = NULL;
}
