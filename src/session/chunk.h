#pragma once
/*
 * chunk.h - the relay's big buffers, lent for as long as bytes are under way and not a moment
 * longer.
 *
 * One store per relay, nothing shared; its ceiling counts long messages on the heap too.  A chunk
 * is lent when bytes are about to be read and given back when they have been sent; the most
 * recently used one is lent first, so that a quiet relay works in one warm chunk.  Chunks beyond a
 * few idle ones are freed.
 */
#include "base/fault.h"
#include "base/list.h"

struct chunk {
    struct node node; /* in the store while not lent */
    uint32_t size;    /* bytes in `bytes` */
    uint8_t bytes[];
};

struct chunk_store {
    struct list idle;
    uint32_t size; /* of one chunk, bytes */
    uint32_t lent;
    uint32_t max;      /* lent at a time; from memory= */
    uint64_t held;     /* bytes on the heap that count like chunks: long messages */
    uint64_t short_of; /* how often none was to be had */
};

void chunk_store_init(struct chunk_store *store, uint32_t size, uint32_t max);
/** Another ceiling; what is lent beyond it comes back when it is given back. */
void chunk_store_bound(struct chunk_store *store, uint32_t max);
void chunk_store_fini(struct chunk_store *store); /* none may be lent */
/** NULL at the ceiling or without memory, with the story raised; the next too. */
struct chunk *chunk_lend(struct chunk_store *store);
/** Counts memory on the heap in; false at the ceiling. */
bool chunk_hold(struct chunk_store *store, uint64_t bytes);
/** Whether so much could be held now. */
bool chunk_has_room(const struct chunk_store *store, uint64_t bytes);
void chunk_unhold(struct chunk_store *store, uint64_t bytes);
/** What is in use. */
uint64_t chunk_store_bytes(const struct chunk_store *store);
/** NULL-safe; *chunk is NULL afterwards. */
void chunk_return(struct chunk_store *store, struct chunk **chunk);
