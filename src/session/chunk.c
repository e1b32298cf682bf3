#include "session/chunk.h"

#include <inttypes.h>
#include <stdlib.h>

/* Idle chunks to keep: enough for the turns that are usually under way at once. */
#define CHUNKS_KEPT 64

void chunk_store_init(struct chunk_store *store, uint32_t size, uint32_t max)
{
    *store = (struct chunk_store){.size = size, .max = MAX_OF(max, 4u)};
    list_init(&store->idle);
}

void chunk_store_bound(struct chunk_store *store, uint32_t max)
{
    store->max = MAX_OF(max, 4u);
}

void chunk_store_fini(struct chunk_store *store)
{
    invariant(store->lent == 0);
    costly_invariant(store->held == 0);
    for (struct node *node; (node = list_pop(&store->idle)) != NULL;)
        free(LIST_ENTRY(node, struct chunk, node));
}

uint64_t chunk_store_bytes(const struct chunk_store *store)
{
    return (uint64_t)store->lent * store->size + store->held;
}

bool chunk_has_room(const struct chunk_store *store, uint64_t bytes)
{
    return chunk_store_bytes(store) + bytes <= (uint64_t)store->max * store->size;
}

static COLD void store_refuse(struct chunk_store *store, uint64_t bytes)
{
    store->short_of += 1;
    (void)fault_raise(FAULT_MEMORY,
                      "no memory for %" PRIu64 " bytes: %" PRIu64 " are in use, and this relay's "
                      "part of memory_limit is %" PRIu64,
                      bytes, chunk_store_bytes(store), (uint64_t)store->max * store->size);
}

/* Frees idle chunks until all chunks and `bytes` are within the limit.  Idle chunks are not counted
 * in chunk_store_bytes, but they are memory. */
static void store_trim(struct chunk_store *store, uint64_t bytes)
{
    while (store->idle.count > 0 &&
           !chunk_has_room(store, bytes + (uint64_t)store->idle.count * store->size))
        free(LIST_ENTRY(list_pop(&store->idle), struct chunk, node));
}

bool chunk_hold(struct chunk_store *store, uint64_t bytes)
{
    if (UNLIKELY(!chunk_has_room(store, bytes + (uint64_t)store->idle.count * store->size))) {
        if (!chunk_has_room(store, bytes)) {
            store_refuse(store, bytes);
            return false;
        }
        store_trim(store, bytes);
    }
    store->held += bytes;
    return true;
}

void chunk_unhold(struct chunk_store *store, uint64_t bytes)
{
    invariant(store->held >= bytes);
    store->held -= bytes;
}

struct chunk *chunk_lend(struct chunk_store *store)
{
    struct node *node = list_pop(&store->idle);
    struct chunk *chunk = NULL;
    if (node != NULL)
        chunk = LIST_ENTRY(node, struct chunk, node);
    else if (chunk_has_room(store, store->size))
        chunk = malloc(sizeof(*chunk) + store->size);
    if (chunk == NULL) {
        store_refuse(store, store->size);
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
    invariant(store->lent > 0 && (*chunk)->node.next == NULL); /* lent: in no list */
    store->lent -= 1;
    if (store->idle.count < CHUNKS_KEPT && (*chunk)->size == store->size)
        list_push_front(&store->idle, &(*chunk)->node);
    else
        free(*chunk);
    *chunk = NULL;
}
