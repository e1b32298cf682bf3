#pragma once
/*
 * chunk.h - the relay's I/O buffers, lent only while bytes are under way.
 *
 * Each relay has its own store; threads share none.  The store's limit also counts long messages
 * on the heap.  A chunk is lent when bytes are about to be read and returned when they have been
 * sent.  The most recently used chunk is lent first, so that a quiet relay works in one warm chunk.
 * Idle chunks beyond a small number are freed.
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
    uint32_t max;      /* limit of the store, in chunks; from memory_limit */
    uint64_t held;     /* bytes on the heap that count against the limit: long messages */
    uint64_t short_of; /* requests refused for want of memory */
};

void chunk_store_init(struct chunk_store *store, uint32_t size, uint32_t max);
/** Sets a new limit.  Chunks lent beyond it stay lent until they are returned. */
void chunk_store_bound(struct chunk_store *store, uint32_t max);
void chunk_store_fini(struct chunk_store *store); /* none may be lent */
/** Lends a chunk.  NULL at the limit or without memory; FAULT_MEMORY's message is then set. */
struct chunk *chunk_lend(struct chunk_store *store);
/** Counts `bytes` of heap memory against the limit.  false at the limit; FAULT_MEMORY's message is
 *  then set. */
bool chunk_hold(struct chunk_store *store, uint64_t bytes);
/** Returns whether `bytes` more are within the limit now. */
bool chunk_has_room(const struct chunk_store *store, uint64_t bytes);
/** Ends the count of `bytes` that chunk_hold counted. */
void chunk_unhold(struct chunk_store *store, uint64_t bytes);
/** Returns the bytes in use: lent chunks and held heap memory. */
uint64_t chunk_store_bytes(const struct chunk_store *store);
/** Returns a lent chunk to the store.  NULL-safe; *chunk is NULL afterwards. */
void chunk_return(struct chunk_store *store, struct chunk **chunk);
